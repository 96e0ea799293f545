"""What the tests of sessions share: programs that refresh, browsers with a cookie, events.

Time is an argument of the rules: a `Program` says how many seconds after its sign-in
something happens, and nothing waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import audit, login
from app.client import Client
from app.errors import AppError
from app.login import Renewal, SignIn
from app.tokens import ANYTHING, Wish
from tests.conftest import find_user
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, bearer, claims_of, get, post_json, submit

COOKIE = "foxtrot_session"
NEW_PASSWORD = "seven green lamps above the harbour"
KEY = "a-key-of-22-characters"
OTHER_KEY = "another-key-of-enough-characters"
ELSEWHERE = Client("198.51.100.7", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0")
HOUR = 3_600
DAY = 24 * HOUR


@dataclass(frozen=True)
class Pair:
    """What a program holds after a sign-in or a refresh."""

    refresh: str
    access: str


@dataclass
class Program:
    """A program that signed in; it refreshes so many seconds later."""

    app: Flask
    first: Pair
    began: datetime

    @property
    def session_id(self) -> str:
        return str(claims_of(self.first.access)["sid"])

    def refresh(
        self,
        token: str,
        at: float,
        *,
        key: str | None = None,
        client: Client = SOMEWHERE,
        wish: Wish = ANYTHING,
    ) -> Pair:
        """Trade a token *at* seconds after the sign-in; raises what the rules raise."""
        now = self.began + timedelta(seconds=at)
        with self.app.app_context():
            return _pair(login.refresh(token, client, wish, retry_key=key, now=now))

    def refusal(self, token: str, at: float, **more: Any) -> str:
        """The code with which a refresh is refused."""
        with pytest.raises(AppError) as caught:
            self.refresh(token, at, **more)
        return caught.value.code

    def is_signed_in(self) -> bool:
        """Whether its session lives, as our own API sees it."""
        return get(self.app.test_client(), "/api/me", self.first.access).status_code == 200

    def events(self) -> list[str]:
        """What happened to its session since the sign-in, oldest first."""
        found = events_of(self.app, self.session_id)
        return [f"{event.name} {event.reason}" if event.reason else event.name for event in found]


def _pair(sign_in: SignIn | Renewal) -> Pair:
    assert sign_in.refresh_token is not None
    assert sign_in.access_token is not None
    return Pair(sign_in.refresh_token, sign_in.access_token.text)


def chain(program: Program, length: int) -> list[str]:
    """Refresh so many times in one second; gives all tokens."""
    tokens = [program.first.refresh]
    for _ in range(length):
        tokens.append(program.refresh(tokens[-1], 60).refresh)
    return tokens


def sign_program_in(app: Flask, email: str, wish: Wish = ANYTHING) -> Program:
    """Sign a program in, now."""
    began = datetime.now(UTC)
    with app.app_context():
        return Program(
            app, _pair(login.with_tokens(email, PASSWORD, SOMEWHERE, wish, now=began)), began
        )


@pytest.fixture
def program(app: Flask, alice: str) -> Program:
    """Alice's program, which has just signed in."""
    return sign_program_in(app, alice)


def events_of(app: Flask, session_id: str) -> list[audit.AuditEvent]:
    """The events of a session but its beginning, oldest first."""
    found = [event for event in all_events(app) if event.session == session_id]
    return [event for event in found if event.name != "login.succeeded"]


def all_events(app: Flask) -> list[audit.AuditEvent]:
    """Every event there is, oldest first."""
    with app.app_context():
        return audit.newest(1000)[::-1]


def user_id(app: Flask, email: str) -> str:
    """The id that tokens and events carry."""
    with app.app_context():
        return find_user(app, email).public_id


# By HTTP


def refresh(
    client: FlaskClient, token: str, /, key: str | None = None, **wish: Any
) -> TestResponse:
    """Trade a refresh token as a program does."""
    headers = {} if key is None else {"Idempotency-Key": key}
    return post_json(client, "/auth/refresh", {"refresh_token": token, **wish}, **headers)


def log_in_for_cookie(client: FlaskClient, email: str, **more: Any) -> TestResponse:
    """Log in by JSON as our own page in a browser does."""
    body = {"email": email, "password": PASSWORD, "session": "cookie", **more}
    return post_json(client, "/auth/login", body, Origin=ORIGIN)


def token_by_cookie(client: FlaskClient, origin: str = ORIGIN, **wish: Any) -> TestResponse:
    """Ask for a token as a page in a browser does."""
    return post_json(client, "/auth/token", wish, Origin=origin)


def signed_in_browser(app: Flask, email: str) -> FlaskClient:
    """A browser whose person has filled in the form."""
    client = app.test_client()
    assert submit(client, "/login", email=email, password=PASSWORD).status_code == 303
    return client


def delete(client: FlaskClient, path: str, token: str) -> TestResponse:
    """DELETE with a token."""
    return client.delete(path, headers=bearer(token), base_url=ORIGIN)


def refusal(answer: TestResponse) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, answer.get_json()["code"]


SESSION_ENDED = (401, "session_ended")

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """What the log of audit events got since the test began, line by line."""

    def read() -> list[dict[str, Any]]:
        records = [record for record in caplog.records if record.name == "foxtrot.audit"]
        return [json.loads(record.getMessage()) for record in records]

    return read
