"""`GET /auth/verify`: a proxy asks whether to let a request through to a service."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import accounts, users
from tests.conftest import add_service, add_user, find_user
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, access_token, claims_of, get, post_json


def verify(
    client: FlaskClient, token: str | None, audience: str = "notes", **more: str
) -> TestResponse:
    query = urlencode({"audience": audience, **more})
    return get(client, f"/auth/verify?{query}", token)


def test_a_good_token_gets_through_and_says_whose_it_is(client: FlaskClient, alice: str) -> None:
    """The headers are for the service behind the proxy."""
    token = access_token(client, alice)
    answer = verify(client, token)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers["X-Foxtrot-User"] == claims_of(token)["sub"]
    assert answer.headers["X-Foxtrot-Session"] == claims_of(token)["sid"]
    assert answer.headers["X-Foxtrot-Scopes"] == "notes:read notes:write"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("scope", ["notes:read", "notes:read notes:write"])
def test_scopes_that_the_token_has_are_granted(client: FlaskClient, alice: str, scope: str) -> None:
    """One or several, all of which it must have."""
    assert verify(client, access_token(client, alice), scope=scope).status_code == 204


def test_a_scope_that_is_missing_is_403(client: FlaskClient, alice: str) -> None:
    """And named, as RFC 6750 has it."""
    token = access_token(client, alice, scope="notes:read")
    answer = verify(client, token, scope="notes:read notes:write")
    assert (answer.status_code, answer.get_json()["code"]) == (403, "insufficient_scope")
    assert 'scope="notes:read notes:write"' in answer.headers["WWW-Authenticate"]
    assert "X-Foxtrot-User" not in answer.headers


def verify_header(client: FlaskClient, header: str) -> TestResponse:
    headers = {"Authorization": header}
    return client.get("/auth/verify?audience=notes", headers=headers, base_url=ORIGIN)


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer2 x"])
def test_without_a_token_it_is_401(client: FlaskClient, header: str) -> None:
    """And no error is named, as RFC 6750 section 3.1 has it."""
    answer = verify_header(client, header)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Foxtrot"'


@pytest.mark.parametrize(
    "text", ["", " ", "=", "a=b, c=d", "x", "x.y.z", "é", "a b", "eyJ.eyJ.", "x" * 9000]
)
def test_a_malformed_token_is_401(client: FlaskClient, text: str) -> None:
    """With the reason. Never 400, as at a service: nginx would make it a 500."""
    answer = verify_header(client, f"Bearer {text}")
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (401, "invalid_token")
    told = f'error="invalid_token", error_description="{problem["detail"]}"'
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="Foxtrot", {told}'


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "  Bearer", "Bearer   "])
def test_the_header_is_read_as_at_a_service(client: FlaskClient, alice: str, scheme: str) -> None:
    """The scheme in any case, and spaces around the token."""
    header = f"{scheme} {access_token(client, alice)} "
    assert verify_header(client, header).status_code == 204


def test_a_token_for_another_service_is_refused(client: FlaskClient, alice: str) -> None:
    """The proxy says before which service it stands."""
    token = access_token(client, alice, audience="notes")
    assert verify(client, token, audience=ORIGIN).get_json()["reason"] == "wrong_audience"
    own = access_token(client, alice, audience=ORIGIN)
    assert verify(client, own).get_json()["reason"] == "wrong_audience"
    assert verify(client, own, audience=ORIGIN).status_code == 204


def test_an_unknown_service_is_a_mistake_of_the_proxy(client: FlaskClient, alice: str) -> None:
    """So is leaving it out."""
    token = access_token(client, alice)
    assert verify(client, token, audience="nots").get_json()["code"] == "invalid_target"
    assert get(client, "/auth/verify", token).get_json()["code"] == "invalid_target"


def test_a_logout_counts_at_once(client: FlaskClient, alice: str) -> None:
    """The database is asked, not a list."""
    answer = post_json(client, "/auth/login", {"email": alice, "password": PASSWORD}).get_json()
    token = answer["access_token"]
    assert verify(client, token).status_code == 204
    post_json(client, "/auth/logout", {"refresh_token": answer["refresh_token"]})
    assert verify(client, token).get_json()["reason"] == "revoked"


def test_a_user_who_was_disabled_is_refused_at_once(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Though the token is good for minutes yet."""
    token = access_token(client, alice)
    with app.app_context():
        accounts.disable(find_user(app, alice), SOMEWHERE)
    assert verify(client, token).status_code == 401


def test_a_scope_that_was_taken_away_is_missing_at_once(app: Flask, client: FlaskClient) -> None:
    """What the token says is what was true when it was issued."""
    token = access_token(client, add_user(app, "bob@example.com", "reports:read"))
    assert verify(client, token, scope="reports:read").status_code == 204
    with app.app_context():
        users.set_scopes(find_user(app, "bob@example.com"), [], SOMEWHERE)
    assert verify(client, token, scope="reports:read").status_code == 403


def test_scopes_of_the_login_service_stay_out(app: Flask, client: FlaskClient) -> None:
    """A service behind a proxy learns of no scope that is not for it."""
    token = access_token(client, add_user(app, "root@example.com", "admin"))
    assert verify(client, token).headers["X-Foxtrot-Scopes"] == "notes:read notes:write"


def test_scopes_of_other_services_stay_out(app: Flask, client: FlaskClient, alice: str) -> None:
    """Of a token for several services, each learns of its own scopes, and of nobody's."""
    add_service(app, "wiki", "wiki:read")
    with app.app_context():
        users.set_scopes(find_user(app, alice), ["wiki:read", "nobody:s"], SOMEWHERE)
    token = access_token(client, alice)
    assert verify(client, token).headers["X-Foxtrot-Scopes"] == "nobody:s notes:read notes:write"
    at_wiki = verify(client, token, audience="wiki").headers["X-Foxtrot-Scopes"]
    assert at_wiki == "nobody:s wiki:read"
    assert verify(client, token, scope="wiki:read").status_code == 403


def test_it_may_be_called_with_get_alone(client: FlaskClient) -> None:
    """It changes nothing."""
    assert client.post("/auth/verify", base_url=ORIGIN).status_code == 405
