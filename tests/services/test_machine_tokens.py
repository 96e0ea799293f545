"""Tokens for machines, in their own name (RFC 6749 section 4.4)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import services
from foxtrot import JWKSet, SharedSecret, Verifier
from tests.conftest import MakeApp, add_service, on_both_databases
from tests.services.conftest import Machine, ask_token, change, machine_token, refusal, register
from tests.support import ORIGIN, claims_of, get, header_of

SECRET = "hV4sQ9xTn2LwYc7RbK0mZdEo3JgAu6Pi/shared"


@on_both_databases
def test_a_machine_gets_a_token(client: FlaskClient, worker: Machine) -> None:
    """The body of RFC 6749 section 5.1, and no refresh token (section 4.4.3)."""
    answer = ask_token(client, worker)
    assert answer.status_code == 200
    assert set(answer.get_json()) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.get_json()["token_type"], answer.get_json()["expires_in"]) == ("Bearer", 900)
    assert answer.headers["Cache-Control"] == "no-store"


def test_its_token_says_who_it_is(client: FlaskClient, worker: Machine) -> None:
    """RFC 9068 section 2.2: `sub` and `client_id` are one; there is no session and no sign-in."""
    token = machine_token(client, worker)
    claims = claims_of(token)
    assert header_of(token)["typ"] == "at+jwt"
    assert claims["sub"] == claims["uid"] == claims["client_id"] == worker.id
    assert worker.id.startswith("s_")
    assert (claims["aud"], claims["scope"]) == (["notes"], "notes:read")
    assert not {"sid", "auth_time"} & claims.keys()


def test_a_service_accepts_it(client: FlaskClient, worker: Machine) -> None:
    """By the verifier that everybody uses."""
    token = machine_token(client, worker)
    jwks = JWKSet(get(client, "/.well-known/jwks.json").get_json())
    verified = Verifier(ORIGIN, "notes", keys=[jwks]).verify(token)
    assert (verified.subject, set(verified.scopes)) == (worker.id, {"notes:read"})
    assert verified.session_id is None


def test_with_a_shared_secret_it_is_signed_by_that(make_app: MakeApp) -> None:
    """It is for services alone, who share it."""
    app = make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SECRET)
    token = machine_token(app.test_client(), register(app, "worker", may=["notes:read"]))
    assert Verifier(ORIGIN, "notes", keys=[SharedSecret(SECRET)]).verify(token)


@pytest.mark.parametrize("path", ["/api/me", "/api/sessions"])
def test_our_own_api_does_not_accept_it(client: FlaskClient, worker: Machine, path: str) -> None:
    """A machine has no account."""
    answer = get(client, path, machine_token(client, worker))
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "wrong_audience")


@pytest.fixture
def robot(app: Flask) -> Machine:
    """A machine that may use scopes of two services."""
    return register(app, "robot", may=["notes:read", "notes:write", "billing:read"])


WISHES: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, ["notes", "billing"], "billing:read notes:read notes:write"),
    ({"scope": "notes:read"}, ["notes", "billing"], "notes:read"),
    ({"audience": "notes"}, ["notes"], "notes:read notes:write"),
    ({"resource": "billing"}, ["billing"], "billing:read"),
    (
        {"audience": "notes", "resource": "billing"},
        ["notes", "billing"],
        "billing:read notes:read notes:write",
    ),
    (
        {"audience": ["billing", "notes"], "scope": "billing:read"},
        ["notes", "billing"],
        "billing:read",
    ),
    ({"audience": "", "scope": ""}, ["notes", "billing"], "billing:read notes:read notes:write"),
    ({"unknown": "x"}, ["notes", "billing"], "billing:read notes:read notes:write"),
]


@pytest.mark.parametrize(("wish", "audience", "scope"), WISHES, ids=str)
def test_audience_and_scope_narrow_it(
    client: FlaskClient, robot: Machine, wish: dict[str, Any], audience: list[str], scope: str
) -> None:
    """RFC 8707 calls an audience a resource; what is empty or unknown is ignored."""
    claims = claims_of(machine_token(client, robot, **wish))
    assert (claims["aud"], claims["scope"]) == (audience, scope)


MORE: list[tuple[dict[str, Any], str]] = [
    ({"scope": "notes:delete"}, "invalid_scope"),
    ({"scope": "notes:write"}, "invalid_scope"),
    ({"scope": "account"}, "invalid_scope"),
    ({"scope": "admin"}, "invalid_scope"),
    ({"scope": "notes:read\tnotes:write"}, "invalid_scope"),
    ({"audience": "billing"}, "invalid_target"),
    ({"audience": ORIGIN}, "invalid_target"),
    ({"resource": "https://notes.example.com"}, "invalid_target"),
    ({"audience": ["notes", "billing"]}, "invalid_target"),
    ({"audience": "worker"}, "invalid_target"),
]


@pytest.mark.parametrize(("wish", "code"), MORE, ids=str)
def test_more_than_it_may_is_refused(
    client: FlaskClient, worker: Machine, wish: dict[str, Any], code: str
) -> None:
    """The issuer's own scopes and API are never among it."""
    assert refusal(ask_token(client, worker, **wish)) == (400, code)


def test_it_is_not_for_a_service_that_declares_nothing(
    app: Flask, client: FlaskClient, worker: Machine
) -> None:
    """Such a one is open to every person, not to every machine."""
    add_service(app, "wiki")
    assert claims_of(machine_token(client, worker))["aud"] == ["notes"]
    assert refusal(ask_token(client, worker, audience="wiki")) == (400, "invalid_target")


def test_a_service_that_may_use_nothing_gets_no_token(client: FlaskClient, notes: Machine) -> None:
    """Its secret is for asking about tokens."""
    assert refusal(ask_token(client, notes)) == (400, "unauthorized_client")


GRANTS = ["password", "refresh_token", "authorization_code", "CLIENT_CREDENTIALS", "x"]


@pytest.mark.parametrize("grant", GRANTS)
def test_there_is_one_grant(client: FlaskClient, worker: Machine, grant: str) -> None:
    """People sign in elsewhere."""
    answer = ask_token(client, worker, grant_type=grant)
    assert refusal(answer) == (400, "unsupported_grant_type")


def test_what_its_service_no_longer_declares_is_gone(
    app: Flask, client: FlaskClient, worker: Machine, robot: Machine
) -> None:
    """A scope that belongs to nobody is in no machine's token."""
    change(app, services.set_scopes, "notes", ["notes:write"])
    assert claims_of(machine_token(client, robot))["scope"] == "billing:read notes:write"
    assert refusal(ask_token(client, worker)) == (400, "invalid_target")


def test_the_operator_changes_what_it_may(app: Flask, client: FlaskClient, worker: Machine) -> None:
    """From the next token on."""
    change(app, services.set_may, "worker", ["billing:write"])
    claims = claims_of(machine_token(client, worker))
    assert (claims["aud"], claims["scope"]) == (["billing"], "billing:write")


def test_the_metadata_name_the_endpoints(client: FlaskClient) -> None:
    """RFC 8414 section 2: all that a client library needs."""
    metadata = get(client, "/.well-known/oauth-authorization-server").get_json()
    assert metadata["token_endpoint"] == f"{ORIGIN}/oauth/token"
    assert metadata["introspection_endpoint"] == f"{ORIGIN}/oauth/introspect"
    assert metadata["revocation_endpoint"] == f"{ORIGIN}/oauth/revoke"
    assert metadata["grant_types_supported"] == ["client_credentials"]
    assert metadata["response_types_supported"] == []
    for name in ("token", "introspection", "revocation"):
        methods = metadata[f"{name}_endpoint_auth_methods_supported"]
        assert methods[:2] == ["client_secret_basic", "client_secret_post"]
    assert metadata["revocation_endpoint_auth_methods_supported"][2:] == ["none"]
