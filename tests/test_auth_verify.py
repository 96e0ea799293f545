"""`GET /auth/verify`: a proxy asks whether to let a request through to a service."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import accounts, users
from tests.conftest import add_user, find_user
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


@pytest.mark.parametrize("header", ["", "Basic YTpi", "Bearer", "Bearer a=b, c=d"])
def test_without_a_token_it_is_401(client: FlaskClient, header: str) -> None:
    """Never 400, which nginx would make a 500."""
    path = "/auth/verify?audience=notes"
    answer = client.get(path, headers={"Authorization": header}, base_url=ORIGIN)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("text", ["x", "x.y.z", "é", "a b", "eyJ.eyJ.", "x" * 9000])
def test_a_malformed_token_is_401(client: FlaskClient, text: str) -> None:
    """With the reason."""
    answer = verify(client, text)
    assert (answer.status_code, answer.get_json()["code"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


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


def test_it_may_be_called_with_get_alone(client: FlaskClient) -> None:
    """It changes nothing."""
    assert client.post("/auth/verify", base_url=ORIGIN).status_code == 405
