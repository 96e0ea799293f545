"""A house with sessions of two people, and every way in which a session ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import links, login, sessions
from app.db import transaction, utcnow
from app.errors import NotSignedIn
from tests.conftest import find_user
from tests.sessions.conftest import (
    DAY,
    NEW_PASSWORD,
    delete,
    refresh,
    signed_in_browser,
    token_by_cookie,
)
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, claims_of, log_in, post_json, submit

ALICE, BOB = "alice@example.com", "bob@example.com"


@dataclass
class Held:
    """What somebody has of one session."""

    access: str
    refresh: str | None = None
    used: str | None = None
    browser: FlaskClient | None = None

    @property
    def id(self) -> str:
        return str(claims_of(self.access)["sid"])


class House:
    """A service with the sessions of two people."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()
        self.browser = self._by_cookie(ALICE)
        self.program, self.other = self._by_token(ALICE), self._by_token(ALICE)
        self.bobs = [self._by_cookie(BOB), self._by_token(BOB)]

    def _by_cookie(self, email: str) -> Held:
        browser = signed_in_browser(self.app, email)
        token = token_by_cookie(browser, audience=ORIGIN).get_json()["access_token"]
        return Held(token, browser=browser)

    def _by_token(self, email: str) -> Held:
        first = log_in(self.client, email).get_json()
        answer = refresh(self.client, first["refresh_token"], audience=ORIGIN).get_json()
        return Held(answer["access_token"], answer["refresh_token"], first["refresh_token"])

    @property
    def alices(self) -> dict[str, Held]:
        return {"browser": self.browser, "program": self.program, "other": self.other}

    def form(self, path: str, **fields: str) -> TestResponse:
        """Send a form of the account page, in Alice's browser."""
        assert self.browser.browser is not None
        return submit(self.browser.browser, path, **fields)

    def run(self, *arguments: str, stdin: str = "") -> None:
        """Run a command, as the operator."""
        result = self.app.test_cli_runner().invoke(args=arguments, input=stdin)
        assert result.exit_code == 0, result.output


def by_http(path: str) -> Callable[[House], TestResponse]:
    return lambda house: house.form(path)


def by_command(*arguments: str, stdin: str = "") -> Callable[[House], None]:
    return lambda house: house.run(*arguments, stdin=stdin)


def log_out(house: House, token: str | None) -> TestResponse:
    return post_json(house.client, "/auth/logout", {"refresh_token": token})


def log_out_by_cookie(house: House) -> TestResponse:
    assert house.browser.browser is not None
    return house.browser.browser.post("/auth/logout", headers={"Origin": ORIGIN}, base_url=ORIGIN)


def sign_in_anew(house: House) -> TestResponse:
    return house.form("/login", email=ALICE, password=PASSWORD)


def change_password_by_api(house: House) -> TestResponse:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    headers = {"Authorization": f"Bearer {house.other.access}"}
    return post_json(house.client, "/api/me/password", body, **headers)


def change_password_by_page(house: House) -> TestResponse:
    return house.form("/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)


def reset_by_link(house: House) -> TestResponse:
    with house.app.app_context():
        secret = links.make(links.RESET, find_user(house.app, ALICE))
    return submit(house.client, "/reset", token=secret, password=NEW_PASSWORD)


def steal(house: House) -> None:
    now = utcnow() + timedelta(seconds=21)
    with house.app.app_context(), pytest.raises(NotSignedIn):
        login.refresh(str(house.program.used), SOMEWHERE, now=now)


def move(**by: int) -> Callable[[House], None]:
    """Move a time of the program's and of the browser's session into the past."""

    def do(house: House) -> None:
        with house.app.app_context(), transaction():
            for session in (sessions.find(house.program.id), sessions.find(house.browser.id)):
                for name, seconds in by.items():
                    setattr(session, name, getattr(session, name) - timedelta(seconds=seconds))

    return do


def too_many(house: House) -> None:
    for _ in range(2):
        assert log_in(house.client, ALICE).status_code == 200


ALL = {"browser", "program", "other"}
SET_PASSWORD = ("users", "set-password", ALICE, "--password-stdin")

Ending = Callable[[House], Any]
ENDINGS: dict[str, tuple[Ending, set[str]]] = {
    "log out by cookie": (log_out_by_cookie, {"browser"}),
    "log out by form": (by_http("/logout"), {"browser"}),
    "sign in anew": (sign_in_anew, {"browser"}),
    "log out by refresh token": (lambda at: log_out(at, at.program.refresh), {"program"}),
    "log out by used refresh token": (lambda at: log_out(at, at.program.used), {"program"}),
    "end the own by API": (
        lambda at: delete(at.client, f"/api/sessions/{at.program.id}", at.program.access),
        {"program"},
    ),
    "end one by API": (
        lambda at: delete(at.client, f"/api/sessions/{at.program.id}", at.other.access),
        {"program"},
    ),
    "end a browser by API": (
        lambda at: delete(at.client, f"/api/sessions/{at.browser.id}", at.other.access),
        {"browser"},
    ),
    "end one by page": (
        lambda at: at.form(f"/account/sessions/{at.program.id}/end"),
        {"program"},
    ),
    "end the own by page": (
        lambda at: at.form(f"/account/sessions/{at.browser.id}/end"),
        {"browser"},
    ),
    "end others by API": (
        lambda at: delete(at.client, "/api/sessions?except=current", at.other.access),
        {"browser", "program"},
    ),
    "end others by page": (by_http("/account/sessions/end-others"), {"program", "other"}),
    "end all by API": (lambda at: delete(at.client, "/api/sessions", at.other.access), ALL),
    "end all by page": (by_http("/account/sessions/end-all"), ALL),
    "change password by API": (change_password_by_api, {"browser", "program"}),
    "change password by page": (change_password_by_page, {"program", "other"}),
    "reset link": (reset_by_link, ALL),
    "operator sets password": (by_command(*SET_PASSWORD, stdin=NEW_PASSWORD), ALL),
    "operator disables": (by_command("users", "disable", ALICE), ALL),
    "operator deletes": (by_command("users", "delete", ALICE, "--yes"), ALL),
    "operator ends one": (lambda at: at.run("sessions", "end", at.program.id), {"program"}),
    "operator ends two": (
        lambda at: at.run("sessions", "end", at.program.id, at.browser.id),
        {"program", "browser"},
    ),
    "operator ends a user's": (by_command("sessions", "end", "--user", ALICE), ALL),
    "too many sessions": (too_many, {"browser"}),
    "theft": (steal, {"program"}),
    "idle limit": (move(last_seen_at=30 * DAY), {"program", "browser"}),
    "absolute limit": (move(created_at=90 * DAY), {"program", "browser"}),
}
