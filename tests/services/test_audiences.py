"""Which services a user's token is for, and which scopes go to which of them (app/services/)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import services, users
from tests.conftest import MakeApp, add_service, add_user, find_user
from tests.services.conftest import change, register
from tests.support import ORIGIN, SOMEWHERE, access_token, claims_of, log_in, post_json


def given(client: FlaskClient, email: str, **wish: Any) -> tuple[list[str], str]:
    """Audience and scope of a token."""
    claims = claims_of(access_token(client, email, **wish))
    return claims["aud"], claims["scope"]


def test_the_first_start_knows_the_notes(make_app: MakeApp) -> None:
    """So the first call of the README works without another command."""
    app = make_app()
    with app.app_context():
        assert [(one.name, one.declared_scopes) for one in services.everyone()] == [
            ("notes", "notes:read notes:write")
        ]


def test_a_service_with_scopes_is_for_those_who_hold_one(
    client: FlaskClient, alice: str, bob: str
) -> None:
    """Alice holds no scope of billing."""
    assert given(client, alice)[0] == [ORIGIN, "notes"]
    assert given(client, bob)[0] == [ORIGIN, "notes", "billing"]


def test_a_service_without_scopes_is_for_everybody(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """It asks who somebody is, and no more."""
    add_service(app, "wiki")
    assert given(client, alice) == ([ORIGIN, "notes", "wiki"], "notes:read notes:write")
    assert given(client, alice, audience="wiki") == (["wiki"], "")


def test_a_service_that_a_user_may_not_call_is_not_named_to_them(
    client: FlaskClient, alice: str
) -> None:
    """It is refused like one that there is not."""
    answer = log_in(client, alice, audience="billing")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_target")
    assert f"Known are: {ORIGIN}, notes." in answer.get_json()["detail"]


NARROWED: list[tuple[Any, str]] = [
    ("notes", "notes:read notes:write"),
    ("billing", "billing:write"),
    (["notes", "billing"], "billing:write notes:read notes:write"),
    (ORIGIN, "account"),
    ([ORIGIN, "billing"], "billing:write"),
]


@pytest.mark.parametrize(("audience", "scope"), NARROWED, ids=str)
def test_a_declared_scope_goes_only_to_who_declares_it(
    client: FlaskClient, bob: str, audience: Any, scope: str
) -> None:
    """What is stolen at the notes cannot write bills."""
    assert given(client, bob, audience=audience)[1] == scope


def test_a_scope_that_does_not_fit_the_audience_is_refused(client: FlaskClient, bob: str) -> None:
    """And those that do are named."""
    answer = log_in(client, bob, audience="notes", scope="billing:write")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_scope")
    assert "Possible are: notes:read notes:write." in answer.get_json()["detail"]


def test_a_scope_that_nobody_declares_goes_into_all_tokens(app: Flask, client: FlaskClient) -> None:
    """A service that was added by its name alone goes on as before."""
    carol = add_user(app, "carol@example.com", "photos:read")
    assert given(client, carol, audience="notes")[1] == "notes:read notes:write photos:read"
    assert given(client, carol, audience=ORIGIN)[1] == "account photos:read"


def test_two_services_may_declare_one_scope(app: Flask, client: FlaskClient, bob: str) -> None:
    """A token for either may carry it."""
    add_service(app, "archive", "billing:write")
    assert given(client, bob, audience="archive") == (["archive"], "billing:write")
    assert given(client, bob, audience="billing") == (["billing"], "billing:write")


def test_who_only_calls_others_is_no_audience(app: Flask, client: FlaskClient, alice: str) -> None:
    """A worker that has no routes gets nobody's token."""
    register(app, "worker", may=["notes:read"])
    register(app, "gateway", scopes=["notes:read"], may=["billing:read"])
    assert given(client, alice)[0] == [ORIGIN, "notes", "gateway"]


def test_a_refresh_is_for_those_who_may_be_called_now(
    app: Flask, client: FlaskClient, bob: str
) -> None:
    """The next token of a session follows what its user holds."""
    first = log_in(client, bob).get_json()
    with app.app_context():
        users.set_scopes(find_user(app, bob), [], SOMEWHERE)
    second = post_json(client, "/auth/refresh", {"refresh_token": first["refresh_token"]})
    assert claims_of(second.get_json()["access_token"])["aud"] == [ORIGIN, "notes"]


@pytest.mark.parametrize("verb", [services.disable, services.remove])
def test_a_service_that_is_taken_out_gets_no_token(
    app: Flask, client: FlaskClient, bob: str, verb: Any
) -> None:
    """By name it is as unknown as any other; what it declared is nobody's again."""
    change(app, verb, "billing")
    assert given(client, bob)[0] == [ORIGIN, "notes"]
    assert log_in(client, bob, audience="billing").status_code == 400


def test_a_disabled_service_comes_back(app: Flask, client: FlaskClient, bob: str) -> None:
    """As it was."""
    change(app, services.disable, "billing")
    change(app, services.enable, "billing")
    assert given(client, bob, audience="billing") == (["billing"], "billing:write")


def test_the_metadata_name_the_scopes_that_services_declare(client: FlaskClient) -> None:
    """RFC 8414 section 2; our own are no business of other clients."""
    metadata = client.get("/.well-known/oauth-authorization-server", base_url=ORIGIN).get_json()
    assert metadata["scopes_supported"] == [
        "billing:read",
        "billing:write",
        "notes:read",
        "notes:write",
    ]
