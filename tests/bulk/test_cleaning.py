"""What nobody can ask about any more is deleted, by one worker, and no answer changes."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text

from app import accounts, audit, links, login, machines, sessions
from app.audit import AuditEvent, Event
from app.cleaning import Cleaner, Upkeep, claim, clean, counted
from app.db import db, transaction, utcnow
from app.links import OneTimeLink
from app.machines import RevokedToken
from app.sessions import Ending, LoginSession
from app.status_lists import GONE_AFTER, EndedRange
from tests.conftest import MakeApp, add_user, find_user, on_both_databases, on_postgresql
from tests.processes import free_port, run, serving
from tests.sessions.test_status_lists import status_of
from tests.support import NO_LOGIN_LIMITS, PASSWORD, SOMEWHERE, claims_of, get, post_json

HOUR, DAY, MINUTE = timedelta(hours=1), timedelta(days=1), timedelta(minutes=1)
ALICE = "alice@example.com"


def begin(app: Flask, ago: timedelta, email: str = ALICE) -> str:
    """Begin a session in the past; gives its id."""
    with app.app_context():
        user = find_user(app, email)
        session = sessions.start(user, SOMEWHERE, now=utcnow() - ago)
        return session.public_id


def end(app: Flask, session_id: str, ago: timedelta) -> None:
    """End it, in the past."""
    with app.app_context():
        session = sessions.find(session_id)
        assert session is not None
        sessions.end(session, Ending.SIGNED_OUT, SOMEWHERE, utcnow() - ago)


def left(app: Flask, table: Any = LoginSession) -> int:
    """How many rows there are."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(table)) or 0


def prune(app: Flask, limit: int = 100, later: timedelta = timedelta(0)) -> dict[str, int]:
    """Clean to the end; gives the counts."""
    with app.app_context():
        return counted(clean(utcnow() + later, limit=limit))


# What is deleted, and what stays


@on_both_databases
def test_a_session_goes_once_no_list_has_it(app: Flask, alice: str) -> None:
    """A little later than its bit; one that has just ended stays."""
    old, recent = begin(app, 3 * DAY), begin(app, 3 * DAY)
    end(app, old, GONE_AFTER + MINUTE)
    end(app, recent, GONE_AFTER - MINUTE)
    assert prune(app)["sessions"] == 1
    with app.app_context():
        assert (sessions.find(old), sessions.find(recent) is None) == (None, False)


@on_both_databases
@pytest.mark.parametrize(
    ("ago", "stays"),
    [(91 * DAY + 2 * HOUR, False), (31 * DAY + 2 * HOUR, False), (30 * DAY, True), (DAY, True)],
)
def test_a_session_that_ran_out_goes_too(
    app: Flask, alice: str, ago: timedelta, stays: bool
) -> None:
    """By the limit for sessions that nobody uses: 30 days, and as long as any token could live."""
    for _ in range(3):
        begin(app, ago)
    begin(app, HOUR)
    prune(app, limit=2)
    assert left(app) == (4 if stays else 1)


@on_both_databases
def test_a_session_that_is_used_stays_among_those_that_go(app: Flask, alice: str) -> None:
    """The oldest is still used; those after it are not, over several steps."""
    begin(app, 60 * DAY)
    with app.app_context(), transaction():
        db.session.execute(
            LoginSession.__table__.update().values(last_seen_at=utcnow())  # type: ignore[attr-defined]  # a Table
        )
    for _ in range(7):
        begin(app, 50 * DAY)
    assert prune(app, limit=2)["sessions"] == 7
    assert left(app) == 1


@on_both_databases
def test_links_go_a_day_after_they_are_worthless(app: Flask, alice: str) -> None:
    """Used or run out; one that is good stays."""
    with app.app_context():
        user = find_user(app, alice)
        links.make(links.SETUP, now=utcnow() - 2 * DAY)
        links.make(links.RESET, user, utcnow() - HOUR)
        links.make(links.RESET, user)
    assert prune(app)["links"] == 1
    assert left(app, OneTimeLink) == 2


@on_both_databases
def test_links_go_also_behind_many_that_are_good_for_longer(app: Flask, alice: str) -> None:
    """Those of an import are good for a week; the ones made after them are not."""
    with app.app_context():
        user = find_user(app, alice)
        with transaction():
            for _ in range(5):
                links.make_many([user.id], utcnow() - 3 * DAY)
        links.make(links.SETUP, now=utcnow() - 2 * DAY)
    assert prune(app, limit=2)["links"] == 1
    assert left(app, OneTimeLink) == 5


@on_both_databases
def test_revoked_tokens_go_once_they_have_expired(app: Flask) -> None:
    """Verifiers' leeway included."""
    with app.app_context(), transaction():
        for name, ago in (("old", machines.KEEP + MINUTE), ("new", MINUTE)):
            db.session.add(RevokedToken(jti=name, expires_at=utcnow() - ago))
    assert prune(app)["revoked tokens"] == 1
    assert left(app, RevokedToken) == 1


@on_both_databases
def test_events_go_after_the_time_of_the_setting(make_app: MakeApp) -> None:
    """Also behind many of a clock that went wrong."""
    app = make_app(FOXTROT_EVENTS_KEPT="40d")
    with app.app_context():
        for ago in (-20 * 365 * DAY, -20 * 365 * DAY, 41 * DAY, 41 * DAY, 39 * DAY, HOUR):
            audit.record(Event.WARNING_DISMISSED, SOMEWHERE, now=utcnow() - ago)
    before = left(app, AuditEvent)
    assert prune(app, limit=2)["events"] == 2
    assert left(app, AuditEvent) == before - 2


@on_both_databases
def test_the_numbers_of_deleted_users_sessions_go(app: Flask, alice: str) -> None:
    """Once no list has them."""
    begin(app, HOUR)
    with app.app_context():
        accounts.delete(find_user(app, alice), SOMEWHERE)
    assert prune(app)["ended ranges"] == 0
    assert prune(app, later=GONE_AFTER + MINUTE)["ended ranges"] == 1
    assert left(app, EndedRange) == 0


@on_both_databases
def test_the_number_of_a_session_that_was_deleted_is_never_given_again(
    app: Flask, alice: str
) -> None:
    """Or a new session would have the place of an old one in its list."""
    end(app, begin(app, 9 * DAY), 8 * DAY)
    with app.app_context():
        last = db.session.scalar(select(func.max(LoginSession.id))) or 0
    prune(app)
    assert left(app) == 0
    begin(app, HOUR)
    with app.app_context():
        assert (db.session.scalar(select(LoginSession.id)) or 0) > last


# No answer changes


class Life(NamedTuple):
    """A session: how many hours ago it began, was refreshed and ended, as far as it was."""

    began: int
    refreshed: int | None
    ended: int | None


class Held(NamedTuple):
    """What its client holds."""

    refresh_tokens: list[str]
    access_tokens: list[str]
    is_dead: bool


hours = st.integers(0, 60) | st.sampled_from([25, 26, 31 * 24, 32 * 24, 91 * 24, 92 * 24])
lives = st.builds(Life, hours, st.none() | hours, st.none() | hours)


def live_through(app: Flask, life: Life) -> Held:
    """Sign in, refresh and sign out, each as many hours ago as it was."""
    now = utcnow()
    began, refreshed, ended = (None if ago is None else now - ago * HOUR for ago in life)
    with app.app_context():
        first = login.with_tokens(ALICE, PASSWORD, SOMEWHERE, now=began)
        assert first.refresh_token is not None
        assert first.access_token is not None
        held = [first.refresh_token], [first.access_token.text]
        session_id = str(claims_of(first.access_token.text)["sid"])
        if refreshed and began and began < refreshed and (ended is None or refreshed < ended):
            with_next = refresh_at(first.refresh_token, refreshed)
            held = [*held[0], *with_next[0]], [*held[1], *with_next[1]]
        if ended and began and began < ended:
            found = sessions.find(session_id)
            assert found is not None
            sessions.end(found, Ending.SIGNED_OUT, SOMEWHERE, ended)
        found = sessions.find(session_id)
        return Held(*held, is_dead=found is None or not found.is_live(now))


def refresh_at(token: str, moment: datetime) -> tuple[list[str], list[str]]:
    """What a refresh gives, if the session lives."""
    try:
        renewal = login.refresh(token, SOMEWHERE, now=moment)
    except Exception:
        return [], []
    return [renewal.refresh_token], [renewal.access_token.text]


def answers(app: Flask, held: Held) -> list[object]:
    """Everything that can be asked about a session, here and at other services."""
    client = app.test_client()
    app.extensions["foxtrot_status_lists"]._lists.clear()  # as if a second had passed
    said: list[object] = []
    for token in held.access_tokens:
        own = get(client, "/api/me", token)
        good_elsewhere = claims_of(token)["exp"] + 30 > time.time() and not status_of(client, token)
        said += [own.status_code, (own.get_json() or {}).get("reason"), good_elsewhere]
    for token in held.refresh_tokens if held.is_dead else ():
        answer = post_json(client, "/auth/refresh", {"refresh_token": token})
        said += [answer.status_code, answer.get_json()["code"]]
    return said


@pytest.fixture
def longest_lived(make_app: MakeApp) -> Flask:
    """A service whose tokens live for a day, the longest there is."""
    app = make_app(
        FOXTROT_ACCESS_TOKEN_LIFETIME="24h",
        FOXTROT_SESSIONS_PER_USER="1000",
        FOXTROT_LIMIT_REFRESH="off",
        **NO_LOGIN_LIMITS,
    )
    add_user(app, ALICE)
    return app


@on_both_databases
@settings(
    max_examples=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(histories=st.lists(lives, min_size=1, max_size=5), limit=st.integers(1, 4))
def test_what_is_deleted_changes_no_answer(
    longest_lived: Flask, histories: list[Life], limit: int
) -> None:
    """Dead refresh tokens stay 401, and ended sessions' tokens refused everywhere until `exp`."""
    everything = [live_through(longest_lived, life) for life in histories]
    before = [answers(longest_lived, held) for held in everything]
    prune(longest_lived, limit)
    assert [answers(longest_lived, held) for held in everything] == before


def test_an_ended_sessions_refresh_token_stays_refused(app: Flask, alice: str) -> None:
    """By the same answer, when its row is long gone."""
    held = live_through(app, Life(50, None, 49))
    assert prune(app)["sessions"] == 1
    answer = post_json(
        app.test_client(), "/auth/refresh", {"refresh_token": held.refresh_tokens[0]}
    )
    assert (answer.status_code, answer.get_json()["code"]) == (401, "session_ended")


# Nobody waits for it


def test_on_sqlite_others_write_between_the_steps(app: Flask, alice: str, data_dir: Path) -> None:
    """The lock is let go each time; this writer does not wait for it at all."""
    for _ in range(6):
        begin(app, 100 * DAY)
    steps = 0
    with app.app_context(), closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as other:
        other.execute("PRAGMA busy_timeout = 0")
        for _ in clean(utcnow(), limit=2):
            other.execute("UPDATE users SET own_scopes = 'x'")
            other.commit()
            steps += 1
    assert steps >= 3


@on_postgresql
def test_on_postgresql_a_row_that_somebody_holds_is_left(app: Flask, alice: str) -> None:
    """For the next time; nothing waits."""
    held, _ = begin(app, 100 * DAY), begin(app, 100 * DAY)
    with app.app_context(), db.engine.connect() as other:
        query = text("SELECT 1 FROM login_sessions WHERE public_id = :held FOR UPDATE")
        other.execute(query, {"held": held})
        assert prune(app)["sessions"] == 1
    assert prune(app)["sessions"] == 1


# Who cleans, and when


@on_both_databases
def test_of_many_workers_one_cleans(app: Flask) -> None:
    """And none again until the next time is due."""

    def try_to(now: datetime) -> bool:
        with app.app_context():
            return claim(HOUR, now)

    def claims(now: datetime) -> int:
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(try_to, [now] * 8))

    now = utcnow()
    assert [claims(now + after) for after in (0 * HOUR, HOUR / 2, HOUR, HOUR)] == [1, 0, 1, 0]


def test_a_clock_that_went_wrong_stops_no_cleaning(app: Flask) -> None:
    """A claim of twenty years from now is nobody's."""
    with app.app_context():
        assert claim(HOUR, utcnow() + 20 * 365 * DAY)
        assert claim(HOUR, utcnow())


def test_a_request_has_the_cleaning_done_in_the_background(app: Flask, alice: str) -> None:
    """Once it is due; before, nothing is begun."""
    begin(app, 100 * DAY)
    idle, due = Cleaner(app.app_context, HOUR), Cleaner(app.app_context, timedelta(0))
    idle.look()
    assert idle._thread is None
    due.look()
    assert due._thread is not None
    due._thread.join(30)
    assert left(app) == 0


def test_a_cleaning_that_fails_is_told_and_harms_nobody(
    make_app: MakeApp, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next one tries again."""
    app = make_app()
    with app.app_context(), transaction():
        db.session.execute(text("DROP TABLE upkeep"))
    cleaner = Cleaner(app.app_context, timedelta(0))
    cleaner.look()
    assert cleaner._thread is not None
    cleaner._thread.join(30)
    assert "The cleaning failed" in caplog.text


@on_both_databases
def test_servers_clean_by_themselves(database: dict[str, str], app: Flask, alice: str) -> None:
    """Two real ones on one database, asked now and then."""
    for _ in range(5):
        begin(app, 100 * DAY)
    ports, often = [free_port(), free_port()], {**database, "FOXTROT_CLEANING_EVERY": "1s"}
    client = ExitStack()
    with client:
        for port in ports:
            client.enter_context(serving(port=port, settings=often))
        deadline = time.monotonic() + 30
        while left(app) and time.monotonic() < deadline:
            for port in ports:
                urllib.request.urlopen(f"http://localhost:{port}/healthz", timeout=5).close()
            time.sleep(0.05)
    assert left(app) == 0
    assert left(app, Upkeep) == 1


def test_commands_clean_only_when_asked(app: Flask, alice: str, database: dict[str, str]) -> None:
    """Others than `flask prune` leave everything as it is."""
    begin(app, 100 * DAY)
    assert run("users", "list", settings={**database, "FOXTROT_CLEANING_EVERY": "1s"}).stdout
    assert (left(app), left(app, Upkeep)) == (1, 0)
    pruned = run("prune", "--json", settings=database)
    assert json.loads(pruned.stdout)["deleted"]["sessions"] == 1
    assert left(app) == 0


def test_pruning_says_what_it_deleted(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """In words, a line each; the second time there is nothing."""
    begin(app, 100 * DAY)
    assert "sessions: 1 deleted" in runner.invoke(args=["prune"]).output
    assert "sessions: 0 deleted" in runner.invoke(args=["prune"]).output
