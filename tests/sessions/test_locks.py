"""Transactions of PostgreSQL that meet in the middle, made to do so by locks that a test holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from app import accounts, audit, links, login, sessions, users
from app.db import db, utcnow
from app.errors import InvalidCredentials, NotFound
from app.sessions import Ending
from tests.conftest import MakeApp, add_user, begin_session, find_user, on_postgresql
from tests.sessions.crowd import PATIENCE, is_accepted, refresh, sign_in
from tests.support import PASSWORD, SOMEWHERE, claims_of, log_in

pytestmark = on_postgresql
NEW_PASSWORD = "seven quiet herons at dusk"
ALICE = "alice@example.com"


@contextmanager
def held(url: str, query: str, *values: object) -> Iterator[None]:
    """Hold the rows of a query, as a transaction under way would."""
    with psycopg.connect(url) as connection:
        connection.execute(f"{query} FOR UPDATE".encode(), values)
        yield
        connection.rollback()


class Actors:
    """Threads that each do one thing in the app; the test waits until they wait for a lock."""

    def __init__(self, app: Flask, pool: ThreadPoolExecutor) -> None:
        self.app, self.pool = app, pool
        self.waiting = 0

    def begin(self, action: Callable[[], object]) -> Future[object]:
        """Start one, and wait until it has to wait."""
        self.waiting += 1
        future = self.pool.submit(self._do, action)
        query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        deadline = time.monotonic() + PATIENCE
        while not future.done() and time.monotonic() < deadline:
            with self.app.app_context(), db.engine.connect() as connection:
                if connection.execute(query).scalar() == self.waiting:
                    return future
            time.sleep(0.01)
        raise AssertionError(f"It does not wait: {future}")

    def _do(self, action: Callable[[], object]) -> object:
        with self.app.app_context():
            return action()


@pytest.fixture
def actors(app: Flask) -> Iterator[Actors]:
    """Threads for the test's app."""
    with ThreadPoolExecutor() as pool:
        yield Actors(app, pool)


def test_a_lock_that_is_not_let_go_of_is_answered_with_503(
    app: Flask, alice: str, postgresql_url: str
) -> None:
    """As on SQLite: a forgotten transaction does not hold up the threads of the service."""
    token = sign_in(app, alice)["refresh_token"]
    with held(postgresql_url, "SELECT 1 FROM login_sessions"):
        began = time.monotonic()
        answer = refresh(app, token)
        assert 4 < time.monotonic() - began < 30
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert refresh(app, token).status_code == 200


def test_a_sign_in_does_not_undo_a_new_password(
    make_app: MakeApp, database: dict[str, str], postgresql_url: str
) -> None:
    """It hashes the old password anew because the setting has moved, and comes too late."""
    add_user(make_app(), ALICE)
    app = make_app(FOXTROT_PASSWORD_HASH="scrypt:2048:1:1")
    with ThreadPoolExecutor() as pool:
        actors = Actors(app, pool)
        with held(postgresql_url, "SELECT 1 FROM users"):
            change = actors.begin(
                lambda: accounts.set_password(find_user(app, ALICE), NEW_PASSWORD, SOMEWHERE)
            )
            late = actors.begin(lambda: login.with_tokens(ALICE, PASSWORD, SOMEWHERE))
        change.result(PATIENCE)
        with pytest.raises(InvalidCredentials):
            late.result(PATIENCE)
    assert log_in(app.test_client(), ALICE, PASSWORD).status_code == 401
    assert log_in(app.test_client(), ALICE, NEW_PASSWORD).status_code == 200


def test_a_sign_in_beyond_the_limit_and_the_end_of_all_do_not_block_each_other(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """Both end several sessions, after the operator has lowered the limit."""
    oldest, *_ = [claims_of(sign_in(app, alice)["access_token"])["sid"] for _ in range(4)]
    app.config["FOXTROT_SESSIONS_PER_USER"] = 1
    query = "SELECT 1 FROM login_sessions WHERE public_id = %s"
    with held(postgresql_url, query, oldest):
        end = actors.begin(
            lambda: sessions.end_all(find_user(app, alice), Ending.ENDED_BY_USER, SOMEWHERE)
        )
        start = actors.begin(lambda: login.with_tokens(alice, PASSWORD, SOMEWHERE))
    assert end.result(PATIENCE) == 4
    start.result(PATIENCE)


def test_a_reset_link_and_the_end_of_its_user_do_not_block_each_other(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """The user is deleted while they choose a new password; the link leads nowhere then."""
    with app.app_context():
        secret = links.make(links.RESET, find_user(app, alice))
    with held(postgresql_url, "SELECT 1 FROM users"):
        delete = actors.begin(lambda: users.delete(find_user(app, alice), SOMEWHERE))
        reset = actors.begin(lambda: accounts.reset_password(secret, NEW_PASSWORD, SOMEWHERE))
    delete.result(PATIENCE)
    with pytest.raises(NotFound):
        reset.result(PATIENCE)


def test_a_new_reset_link_and_the_end_of_its_user_do_not_block_each_other(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """It makes an earlier link worthless, which the deletion wants to remove."""
    with app.app_context():
        accounts.reset_url(find_user(app, alice), SOMEWHERE)
    with held(postgresql_url, "SELECT 1 FROM users"):
        delete = actors.begin(lambda: users.delete(find_user(app, alice), SOMEWHERE))
        make = actors.begin(lambda: accounts.reset_url(find_user(app, alice), SOMEWHERE))
    delete.result(PATIENCE)
    assert isinstance(make.exception(PATIENCE), NotFound)


def test_a_new_reset_link_and_the_use_of_an_old_one_do_not_block_each_other(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """Whoever comes first wins."""
    with app.app_context():
        secret = links.make(links.RESET, find_user(app, alice))
    with held(postgresql_url, "SELECT 1 FROM users"):
        reset = actors.begin(lambda: accounts.reset_password(secret, NEW_PASSWORD, SOMEWHERE))
        make = actors.begin(lambda: accounts.reset_url(find_user(app, alice), SOMEWHERE))
    reset.result(PATIENCE)
    assert make.result(PATIENCE)


def test_an_access_token_of_a_user_who_is_deleted_meanwhile_is_refused(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """It is the first after a refresh, which is written down; the service does not fail over it."""
    tokens = refresh(app, sign_in(app, alice)["refresh_token"]).get_json()
    with held(postgresql_url, "SELECT 1 FROM login_sessions"):
        delete = actors.begin(lambda: users.delete(find_user(app, alice), SOMEWHERE))
        shown = actors.begin(lambda: is_accepted(app, tokens["access_token"]))
    delete.result(PATIENCE)
    assert shown.result(PATIENCE) is False


def test_a_deleted_user_leaves_no_event_of_a_refresh_that_was_under_way(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """A replay from another device, which is written down with its address."""
    token = sign_in(app, alice)["refresh_token"]
    assert refresh(app, token).status_code == 200
    with held(postgresql_url, "SELECT 1 FROM login_sessions"):
        replay = actors.begin(lambda: login.refresh(token, SOMEWHERE))
        delete = actors.begin(lambda: users.delete(find_user(app, alice), SOMEWHERE))
    replay.result(PATIENCE)
    delete.result(PATIENCE)
    with app.app_context():
        assert {event.name for event in audit.newest(9)} == {"user.deleted"}


def test_the_end_of_everything_and_of_a_user_do_not_block_each_other(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """Each wants the user, sessions and links of the same person."""
    sign_in(app, alice)
    with held(postgresql_url, "SELECT 1 FROM users"):
        delete = actors.begin(lambda: users.delete(find_user(app, alice), SOMEWHERE))
        everything = actors.begin(lambda: accounts.end_everything(SOMEWHERE))
    delete.result(PATIENCE)
    everything.result(PATIENCE)


def test_a_cookie_whose_session_ends_while_its_use_is_noted_is_dead(
    app: Flask, alice: str, actors: Actors, postgresql_url: str
) -> None:
    """At once, also for the request that was under way."""
    with app.app_context():
        earlier = utcnow() - timedelta(minutes=2)
        user = find_user(app, alice)
        _, secret = begin_session(user, earlier)
    with psycopg.connect(postgresql_url) as other:
        other.execute("UPDATE login_sessions SET ended_at = 1")
        asked = actors.begin(lambda: sessions.by_secret(secret, SOMEWHERE))
        other.commit()
    assert asked.result(PATIENCE) is None
