"""What a request does for one person does not depend on how many there are (docs/scale.md).

Without a clock: what the doors ask of the database is written down, and the database says how
it would go about it. `bench/scale.py` measures the same with a million users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from flask import Flask
from sqlalchemy import event, text

from app.cleaning import clean
from app.db import db, utcnow
from tests.conftest import on_both_databases
from tests.sessions.crowd import refresh, sign_in
from tests.support import ORIGIN, PASSWORD, bearer, get, log_in, post_json, submit

FEW = {"services", "signing_keys", "upkeep", "ended_ranges"}
"""Tables that do not grow with the number of users or sessions.

`ended_ranges` has a row for each user who was deleted within a day.
"""

Asked = list[tuple[str, Any]]


@contextmanager
def written_down(app: Flask) -> Iterator[Asked]:
    """The statements that are sent to the database in the block, with their parameters."""
    asked: Asked = []

    def note(_c: object, _u: object, statement: str, given: Any, _x: object, many: bool) -> None:
        asked.append((statement, given[0] if many else given))

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def whole_tables(app: Flask, asked: Asked) -> list[str]:
    """The steps by which the database would go through all rows of a table that grows."""
    with app.app_context(), db.engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        steps = on_postgresql(raw) if isinstance(raw, psycopg.Connection) else on_sqlite(raw)
        found = {
            f"{step} in: {statement}"
            for statement, given in asked
            if statement.lstrip().split()[0] in ("SELECT", "UPDATE", "DELETE", "WITH")
            for table, step in steps(statement, given)
            if table not in FEW
        }
        connection.rollback()
    return sorted(found)


def on_sqlite(raw: Any) -> Callable[[str, Any], Iterator[tuple[str, str]]]:
    """EXPLAIN QUERY PLAN says `SCAN` where it reads on and on, and `SEARCH` where it finds."""

    def steps(statement: str, given: Any) -> Iterator[tuple[str, str]]:
        for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", given):
            words = str(row[3]).split()
            if words[0] == "SCAN" and words[1:] not in (["CONSTANT", "ROW"],):
                yield words[1], str(row[3])

    return steps


def on_postgresql(raw: psycopg.Connection) -> Callable[[str, Any], Iterator[tuple[str, str]]]:
    """EXPLAIN, told to go through a whole table only where there is no other way."""
    cursor = psycopg.ClientCursor(raw)
    cursor.execute("SET LOCAL enable_seqscan = off")

    def steps(statement: str, given: Any) -> Iterator[tuple[str, str]]:
        cursor.execute(f"EXPLAIN {statement}".encode(), given)
        for (line,) in cursor.fetchall():
            if "Seq Scan on " in line:
                yield line.partition("Seq Scan on ")[2].split()[0], line.strip()

    return steps


def live(app: Flask, email: str) -> None:
    """Sign in and out by either door, refresh, look at the own sessions and end them."""
    client, browser = app.test_client(), app.test_client()
    tokens = sign_in(app, email)
    log_in(client, email, "a wrong password, long enough")
    log_in(client, "nobody@example.com")
    tokens = refresh(app, tokens["refresh_token"]).get_json()
    refresh(app, "x" * 43)
    token = sign_in(app, email)["access_token"]
    for path in ("/api/me", "/api/sessions", "/status-lists/0", "/.well-known/jwks.json"):
        assert get(client, path, token).status_code == 200
    submit(browser, "/login", email=email, password=PASSWORD)
    assert get(browser, "/account").status_code == 200
    submit(browser, "/logout")
    post_json(client, "/auth/logout", {"refresh_token": tokens["refresh_token"]})
    ended = client.delete("/api/sessions", headers=bearer(token), base_url=ORIGIN)
    assert ended.status_code == 204


@on_both_databases
def test_no_request_goes_through_everybody(app: Flask, alice: str) -> None:
    """Every row that it needs is found by an index, in either database."""
    with written_down(app) as asked:
        live(app, alice)
    assert len(asked) > 50
    assert whole_tables(app, asked) == []


@on_both_databases
def test_a_request_that_did_would_be_seen(app: Flask, alice: str) -> None:
    """So the test above can fail."""
    with written_down(app) as asked, app.app_context():
        db.session.execute(text("SELECT count(*) FROM login_sessions WHERE user_agent = 'x'"))
    (found,) = whole_tables(app, asked)
    assert "login_sessions" in found


WALKED = ("audit_events", "login_sessions", "one_time_links")
"""The cleaning goes through these from the oldest row on, and stops at the first young one."""


@on_both_databases
def test_the_cleaning_finds_what_is_over_by_an_index(app: Flask, alice: str) -> None:
    """Or the write lock of SQLite would be held for as long as it looks."""
    live(app, alice)
    with written_down(app) as asked, app.app_context():
        list(clean(utcnow() + timedelta(days=400)))
    deletes = [statement for statement, _ in asked if statement.startswith("DELETE")]
    assert any("rate_limits" in statement for statement in deletes)
    assert [step for step in whole_tables(app, asked) if not walks(step)] == []


def walks(step: str) -> bool:
    """Say whether it is a step of a walk: so many rows from where the last one ended."""
    return "LIMIT" in step and any(f"ORDER BY {table}.id" in step for table in WALKED)
