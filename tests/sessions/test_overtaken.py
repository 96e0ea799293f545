"""What happens to a session between the moment a refresh reads it and the moment it writes.

The operator's claims hook is called just there, and lets somebody else go first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import update

from app import accounts, sessions
from app.db import row_count, transaction
from app.sessions import Ending, LoginSession
from tests.conftest import MakeApp, find_user, on_both_databases
from tests.sessions.crowd import is_unused, refresh, sign_in
from tests.support import SOMEWHERE

pytestmark = on_both_databases
MEANWHILE: list[Callable[[], object]] = []


def hook(user: Mapping[str, Any]) -> dict[str, Any]:
    """Let each of `MEANWHILE` go first, once, in a thread and so with a connection of its own."""
    with ThreadPoolExecutor() as pool:
        while MEANWHILE:
            pool.submit(MEANWHILE.pop()).result(30)
    return {}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app with that hook."""
    return make_app(FOXTROT_CLAIMS_HOOK=f"{__name__}:hook")


def in_app(app: Flask, action: Callable[[], object]) -> Callable[[], object]:
    """Do something as a command does."""

    def act() -> object:
        with app.app_context():
            return action()

    return act


def test_another_refresh_goes_first(app: Flask, alice: str) -> None:
    """Both get the one successor, as when the second had come a moment later."""
    token = sign_in(app, alice)["refresh_token"]
    others = []
    MEANWHILE.append(lambda: others.append(refresh(app, token)))
    mine, other = refresh(app, token), others[0]
    assert (mine.status_code, other.status_code) == (200, 200)
    assert mine.get_json()["refresh_token"] == other.get_json()["refresh_token"]
    assert is_unused(app, mine.get_json()["refresh_token"])


ENDINGS: dict[str, Callable[[Flask, str], object]] = {
    "signing out everywhere": lambda app, email: sessions.end_all(
        find_user(app, email), Ending.ENDED_BY_USER, SOMEWHERE
    ),
    "disabling": lambda app, email: accounts.disable(find_user(app, email), SOMEWHERE),
    "deleting": lambda app, email: accounts.delete(find_user(app, email), SOMEWHERE),
    "another password": lambda app, email: accounts.set_password(
        find_user(app, email), "seven quiet herons at dusk", SOMEWHERE
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_end_of_the_session_goes_first(app: Flask, alice: str, ending: str) -> None:
    """No refresh outlives it."""
    token = sign_in(app, alice)["refresh_token"]
    MEANWHILE.append(in_app(app, partial(ENDINGS[ending], app, alice)))
    assert refresh(app, token).status_code == 401
    assert not MEANWHILE
    assert refresh(app, token).status_code == 401


def test_a_late_retry_goes_first(app: Flask, alice: str) -> None:
    """What it wrote down stays, and the token that was overtaken is as good as before."""
    token = sign_in(app, alice)["refresh_token"]
    change = update(LoginSession).values(rotations="[]")

    def note() -> None:
        with transaction():
            row_count(change)

    MEANWHILE.append(in_app(app, note))
    answer = refresh(app, token)
    assert (answer.status_code, answer.get_json()["code"]) == (429, "too_many_attempts")
    assert "Retry-After" in answer.headers
    assert refresh(app, token).status_code == 200
