"""Signing in by JSON, and what the token lets one do."""

from __future__ import annotations

from flask.testing import FlaskClient

from tests.support import access_token, claims_of, get, header_of, log_in, post_json


def test_a_login_answers_with_a_bearer_token(client: FlaskClient, alice: str) -> None:
    """RFC 6749 section 5.1."""
    answer = log_in(client, alice)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_token_opens_the_api(client: FlaskClient, alice: str) -> None:
    """The subject of the token is the user's id."""
    token = access_token(client, alice)
    me = get(client, "/api/me", token).get_json()
    assert me["id"] == claims_of(token)["sub"]
    assert header_of(token)["typ"] == "at+jwt"


def test_registering_twice_is_a_conflict(client: FlaskClient, alice: str) -> None:
    """However the address is spelled."""
    body = {"email": alice.upper(), "password": "another horse battery staple"}
    answer = post_json(client, "/auth/register", body)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "email_taken")
