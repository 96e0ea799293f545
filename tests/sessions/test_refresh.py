"""Refreshing: each token is traded once for the next pair; a dead one is dead in one way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import accounts, sessions, users
from app.db import db, transaction
from app.sessions import Ending, LoginSession
from tests.conftest import find_user, on_both_databases
from tests.sessions.conftest import (
    COOKIE,
    DAY,
    HOUR,
    KEY,
    SESSION_ENDED,
    Program,
    refresh,
    refusal,
)
from tests.support import ORIGIN, SOMEWHERE, claims_of, get, log_in, post_json

# Rotation


@on_both_databases
def test_a_refresh_gives_a_new_pair(client: FlaskClient, alice: str) -> None:
    """With all members that the login's answer had (RFC 6749 section 5.1)."""
    first = log_in(client, alice).get_json()
    answer = refresh(client, first["refresh_token"])
    second = answer.get_json()
    assert answer.status_code == 200
    assert second.keys() == first.keys()
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]


def test_the_answer_is_kept_by_no_cache(client: FlaskClient, program: Program) -> None:
    """It holds two secrets (RFC 6749 section 5.1)."""
    assert refresh(client, program.first.refresh).headers["Cache-Control"] == "no-store"


def test_a_refresh_stays_in_the_session(client: FlaskClient, program: Program) -> None:
    """Only what is new is new: another `jti`, the same `sid`, subject and sign-in."""
    old = claims_of(program.first.access)
    new = claims_of(refresh(client, program.first.refresh).get_json()["access_token"])
    for name in ("sid", "sub", "aud", "scope", "auth_time", "client_id"):
        assert new[name] == old[name]
    assert new["jti"] != old["jti"]


def test_the_new_access_token_opens_the_api(client: FlaskClient, program: Program) -> None:
    """As the first one did."""
    token = refresh(client, program.first.refresh).get_json()["access_token"]
    assert get(client, "/api/me", token).status_code == 200


@on_both_databases
def test_a_program_stays_signed_in_as_long_as_it_refreshes(program: Program) -> None:
    """Every 29 days, up to the absolute limit of 90."""
    token = program.first.refresh
    for day in (29, 58, 87):
        token = program.refresh(token, day * DAY).refresh
    assert program.refusal(token, 90 * DAY) == "session_ended"


def test_a_refresh_needs_no_cookie_and_no_origin(client: FlaskClient, program: Program) -> None:
    """The token alone says who is there; a cookie is neither read nor set."""
    answer = refresh(client, program.first.refresh)
    assert "Set-Cookie" not in answer.headers
    assert client.get_cookie(COOKIE) is None


def test_no_token_is_stored(app: Flask, program: Program) -> None:
    """Only hashes: who reads the table cannot refresh."""
    second = program.refresh(program.first.refresh, 60)
    with app.app_context():
        stored = repr([vars(row) for row in db.session.query(LoginSession)])
    assert program.first.refresh not in stored
    assert second.refresh not in stored


def test_a_token_has_256_random_bits(program: Program) -> None:
    """In 43 characters of base64url, the first and each after it."""
    second = program.refresh(program.first.refresh, 60)
    secrets = [token.split(".")[2] for token in (program.first.refresh, second.refresh)]
    assert [len(secret) for secret in secrets] == [43, 43]
    assert secrets[0] != secrets[1]


# Dead tokens


def end(app: Flask, program: Program) -> None:
    session = sessions.find(program.session_id)
    assert session is not None
    sessions.end(session, Ending.ENDED_BY_OPERATOR, SOMEWHERE)


def disable(app: Flask, program: Program) -> None:
    accounts.disable(find_user(app, "alice@example.com"), SOMEWHERE)


def delete(app: Flask, program: Program) -> None:
    users.delete(find_user(app, "alice@example.com"), SOMEWHERE)


def move(**by: int) -> Callable[[Flask, Program], None]:
    """Move times of the session into the past."""

    def do(app: Flask, program: Program) -> None:
        with transaction():
            session = sessions.find(program.session_id)
            for name, seconds in by.items():
                setattr(session, name, getattr(session, name) - timedelta(seconds=seconds))

    return do


def copy(app: Flask, program: Program) -> None:
    token = program.first.refresh
    program.refresh(token, 60)
    program.refusal(token, HOUR)


CAUSES: dict[str, Callable[[Flask, Program], None]] = {
    "ended": end,
    "user disabled": disable,
    "user deleted": delete,
    "unused for 30 days": move(last_seen_at=30 * DAY),
    "90 days old": move(created_at=90 * DAY),
    "copied": copy,
}


@pytest.fixture
def unknown(client: FlaskClient) -> TestResponse:
    """The answer to a token that never was."""
    return refresh(client, "x" * 43)


def looks(answer: TestResponse) -> tuple[int, Any, dict[str, str]]:
    headers = {name: value for name, value in answer.headers if name != "X-Request-ID"}
    return answer.status_code, answer.get_json(), headers


@on_both_databases
@pytest.mark.parametrize("cause", CAUSES)
def test_a_dead_token_is_like_one_that_never_was(
    app: Flask, client: FlaskClient, program: Program, unknown: TestResponse, cause: str
) -> None:
    """One answer for all causes, to the last header: a thief learns nothing."""
    with app.app_context():
        CAUSES[cause](app, program)
    answer = refresh(client, program.first.refresh)
    assert refusal(answer) == SESSION_ENDED
    assert looks(answer) == looks(unknown)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_wish_does_not_tell_dead_tokens_apart(
    app: Flask, client: FlaskClient, program: Program, cause: str
) -> None:
    """Scopes and audiences are judged only for those who are signed in."""
    with app.app_context():
        CAUSES[cause](app, program)
    answer = refresh(client, program.first.refresh, audience="billing", scope="nothing")
    assert refusal(answer) == SESSION_ENDED


def test_a_dead_token_is_told_as_every_401(client: FlaskClient) -> None:
    """With the scheme by which one signs in, and kept by no cache."""
    answer = refresh(client, "x" * 43)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content_type == "application/problem+json"


# Bad input

BAD_BODIES: list[tuple[Any, int]] = [
    ({}, 422),
    ({"refresh_token": None}, 422),
    ({"refresh_token": 1}, 422),
    ({"refresh_token": ["x"]}, 422),
    ({"refresh_token": "x" * 1001}, 422),
    ({"refresh_token": "x", "token": "x"}, 422),
    ({"refresh_token": "x", "grant_type": "refresh_token"}, 422),
    ({"refresh_token": "x", "audience": 1}, 422),
    ({"refresh_token": "x", "scope": ["notes:read"]}, 422),
    ({"refresh_token": "x\0"}, 400),
    ({"refresh_token": "\ud800"}, 400),
    ([], 400),
    ({"refresh_token": ""}, 401),
    ({"refresh_token": " "}, 401),
    ({"refresh_token": "é" * 43}, 401),
    ({"refresh_token": "x" * 1000}, 401),
    ({"refresh_token": "%"}, 401),
]


@pytest.mark.parametrize(("body", "status"), BAD_BODIES, ids=str)
def test_what_is_no_token_is_refused(client: FlaskClient, body: Any, status: int) -> None:
    """Never by a fault of ours, whatever it is."""
    assert post_json(client, "/auth/refresh", body).status_code == status


def test_a_token_is_taken_to_the_letter(client: FlaskClient, program: Program) -> None:
    """Neither spaces around it nor another case make it another spelling of the same."""
    token = program.first.refresh
    for almost in (
        f" {token}",
        f"{token} ",
        f"{token}\n",
        token.swapcase(),
        token[:-1],
        token + "=",
    ):
        assert refusal(refresh(client, almost)) == SESSION_ENDED
    assert refresh(client, token).status_code == 200


BAD_KEYS = [
    "",
    "x" * 21,
    "x" * 129,
    "x" * 21 + " ",
    "x" * 21 + "+",
    "x" * 21 + "é",
    '"' + "x" * 22 + '"',
    "x" * 22 + "," + "x" * 22,
]


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_idempotency_key_is_refused_and_keeps_the_token(
    client: FlaskClient, program: Program, key: str
) -> None:
    """A slip in a client is told at its first use, not at the accident it is for."""
    assert refusal(refresh(client, program.first.refresh, key)) == (400, "invalid_request")
    assert refresh(client, program.first.refresh, KEY).status_code == 200


def test_two_idempotency_keys_are_refused(client: FlaskClient, program: Program) -> None:
    """Which one would count cannot be known."""
    headers = [("Idempotency-Key", KEY), ("Idempotency-Key", "b" * 22)]
    body = {"refresh_token": program.first.refresh}
    answer = client.post("/auth/refresh", json=body, headers=headers, base_url=ORIGIN)
    assert refusal(answer) == (400, "invalid_request")


@pytest.mark.parametrize("key", ["x" * 22, "x" * 128, "AZaz09-_" * 4])
def test_a_good_idempotency_key_is_taken(client: FlaskClient, program: Program, key: str) -> None:
    """22 to 128 characters of `A-Z a-z 0-9 - _`."""
    assert refresh(client, program.first.refresh, key).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_only_post_refreshes(client: FlaskClient, method: str) -> None:
    """What changes something is no link."""
    assert client.open("/auth/refresh", method=method, base_url=ORIGIN).status_code == 405
