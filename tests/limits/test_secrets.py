"""Registering, and secrets of 256 bits: what is refused is counted, a good one never waits."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import accounts, links, login
from app.client import Client
from app.errors import NotSignedIn, TooManyAttempts
from tests.conftest import MakeApp, find_user
from tests.limits.conftest import HOME, on_all_stores, send
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, access_token, get, log_in, post_json

THREE = "3/15m"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Behind one proxy, with limits that are soon reached."""
    names = ["REGISTRATION", "LINKS", "REFRESH", "CLIENTS"]
    limits = {f"FOXTROT_LIMIT_{name}": THREE for name in names}
    return make_app(FOXTROT_TRUSTED_PROXIES="1", **limits)


def register(client: FlaskClient, email: str, address: str = HOME) -> int:
    body = {"email": email, "password": PASSWORD}
    return post_json(client, "/auth/register", body, X_Forwarded_For=address).status_code


@on_all_stores
def test_attempts_to_register_are_limited(client: FlaskClient, alice: str) -> None:
    """Those that succeed and those that learn of an account alike; from each address for itself."""
    emails = ["new@example.com", alice, "newer@example.com", alice, "newest@example.com"]
    assert [register(client, email) for email in emails] == [201, 409, 201, 429, 429]
    assert register(client, "newest@example.com", "192.0.2.66") == 201


def test_the_page_to_register_says_in_how_many_minutes(client: FlaskClient, alice: str) -> None:
    """With what was typed."""
    for _ in range(3):
        assert send(client, "/register", email=alice, password=PASSWORD).status_code == 409
    answer = send(client, "/register", email="new@example.com", password=PASSWORD)
    assert answer.status_code == 429
    assert "Try again in 5 minutes." in answer.text
    assert "new@example.com" in answer.text
    assert int(answer.headers["Retry-After"]) > 200


def refresh(client: FlaskClient, token: str, address: str = HOME) -> int:
    body = {"refresh_token": token}
    return post_json(client, "/auth/refresh", body, X_Forwarded_For=address).status_code


@on_all_stores
def test_refused_refresh_tokens_are_limited_and_good_ones_are_not(
    client: FlaskClient, alice: str
) -> None:
    """From the very same address; and nothing that was refused comes alive."""
    ended, good = (log_in(client, alice).get_json()["refresh_token"] for _ in range(2))
    post_json(client, "/auth/logout", {"refresh_token": ended})
    assert [refresh(client, ended) for _ in range(5)] == [401] * 3 + [429] * 2
    assert refresh(client, good) == 200
    assert refresh(client, ended, "192.0.2.66") == 401


def test_what_never_was_a_refresh_token_is_limited_too(client: FlaskClient, alice: str) -> None:
    """Without asking the database."""
    assert [refresh(client, "x" * 43) for _ in range(5)] == [401] * 3 + [429] * 2
    assert refresh(client, "x" * 43, "192.0.2.66") == 401
    assert refresh(client, log_in(client, alice).get_json()["refresh_token"]) == 200


def test_a_copied_token_ends_its_session_whatever_is_counted(app: Flask, alice: str) -> None:
    """Also where its holder is told to wait."""
    thief, owner, later = Client(HOME, "x"), Client("192.0.2.66", "y"), NOON + timedelta(hours=1)
    with app.app_context():
        copied = login.with_tokens(alice, PASSWORD, owner, now=NOON).refresh_token or ""
        newest = login.refresh(copied, owner, now=NOON).refresh_token
        ended = login.with_tokens(alice, PASSWORD, owner, now=NOON).refresh_token or ""
        login.log_out(ended, owner, NOON)
        for _ in range(3):
            with pytest.raises(NotSignedIn):
                login.refresh(ended, thief, now=later)
        with pytest.raises(TooManyAttempts):
            login.refresh(copied, thief, now=later)
        with pytest.raises(NotSignedIn):
            login.refresh(newest, owner, now=later)


@on_all_stores
@pytest.mark.parametrize("path", ["/setup", "/reset"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bad_links_are_limited_and_good_ones_are_not(
    app: Flask, client: FlaskClient, alice: str, path: str, method: str
) -> None:
    """On a page that says in how many minutes."""

    def follow(token: str) -> tuple[int, str]:
        fields = {"token": token, "email": "new@example.com", "password": "seven green lamps above"}
        if method == "POST":
            answer = send(client, path, **fields)
        else:
            headers = {"X-Forwarded-For": HOME}
            answer = get(client, f"{path}?token={token}", headers=headers)
        return answer.status_code, answer.text

    with app.app_context():
        user = find_user(app, alice) if path == "/reset" else None
        good = links.make(path[1:], user)
    assert [follow("x" * 43)[0] for _ in range(3)] == [404] * 3
    status, page = follow("x" * 43)
    assert status == 429
    assert "Try again in 5 minutes." in page
    assert follow(good)[0] in (200, 303)


def test_wrong_credentials_of_services_are_limited_and_right_ones_are_not(
    client: FlaskClient, runner: FlaskCliRunner, alice: str
) -> None:
    """Guessed, unknown or old; OAuth's own words (RFC 6749 section 5.2) and the header."""
    made = runner.invoke(args=["services", "add", "nightly", "--may", "notes:read", "--json"])
    assert made.exit_code == 0, made.output
    shown = json.loads(made.output)
    token = access_token(client, alice, audience="notes")

    def ask(path: str, secret: str, **more: str) -> tuple[int, str | None]:
        form = {"client_id": shown["id"], "client_secret": secret, **more}
        headers = {"X-Forwarded-For": HOME}
        answer = client.post(f"/oauth/{path}", data=form, headers=headers, base_url=ORIGIN)
        return answer.status_code, answer.headers.get("Retry-After")

    wrong = [ask(path, "wrong", token=token)[0] for path in ("token", "introspect", "revoke")]
    assert wrong == [400, 401, 401]
    assert ask("token", "wrong", grant_type="client_credentials")[0] == 401
    status, wait = ask("token", "wrong", grant_type="client_credentials")
    assert (status, int(wait or 0) > 200) == (429, True)
    right = ask("token", shown["secret"], grant_type="client_credentials")
    assert right[0] == 200


def test_asking_for_a_link_tells_nobody_anything(client: FlaskClient, alice: str) -> None:
    """Only the operator makes one, so a stranger learns nothing of accounts there."""
    for email in (alice, "nobody@example.com"):
        assert send(client, "/reset", email=email).status_code == 404


def test_a_wrong_link_leaves_the_good_one_as_it_was(app: Flask, client: FlaskClient) -> None:
    """Whoever tries others does not use it up."""
    with app.app_context():
        good = accounts.setup_url().partition("token=")[2]
    for _ in range(5):
        send(client, "/setup", token="x" * 43, email="eve@example.com", password=PASSWORD)
    with app.app_context():
        accounts.check_setup(good, SOMEWHERE)
