"""Many at once, for the tests of this folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.db import db
from app.ids import digest
from app.sessions import LoginSession
from tests.support import ORIGIN, get, log_in, post_json

T = TypeVar("T")
PATIENCE = 60


def at_once(tasks: Iterable[Callable[[], T]]) -> list[T]:
    """Run each in a thread of its own, all from the same moment on; give what they return."""
    listed = list(tasks)
    barrier = threading.Barrier(len(listed))

    def run(task: Callable[[], T]) -> T:
        barrier.wait(PATIENCE)
        return task()

    with ThreadPoolExecutor(len(listed)) as pool:
        return list(pool.map(run, listed))


def refresh(app: Flask, token: str, **headers: str) -> TestResponse:
    """Use a refresh token, as a client without cookies."""
    return post_json(app.test_client(), "/auth/refresh", {"refresh_token": token}, **headers)


def sign_in(app: Flask, email: str, **more: str) -> dict[str, str]:
    """Log in as a program; the access token is for this service alone and so holds `account`."""
    answer = log_in(app.test_client(), email, audience=ORIGIN, **more)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    tokens: dict[str, str] = answer.get_json()
    return tokens


def is_accepted(app: Flask, access_token: str) -> bool:
    """Say whether the login service takes an access token."""
    status = get(app.test_client(), "/api/me", access_token).status_code
    assert status in (200, 401)
    return status == 200


def is_unused(app: Flask, token: str) -> bool:
    """Say whether a refresh token is the one with which its session goes on."""
    its_session = select(LoginSession).where(LoginSession.refresh_hash == digest(token))
    with app.app_context():
        return db.session.scalar(its_session) is not None
