"""The notes, in one SQLite file.

Each verb takes the owner and puts it into its one SQL statement, so no question
can be asked about somebody else's notes. Who the owner is, the routes have
learned from the access token.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypedDict, cast

from flask import Flask, current_app, g

MAX_ID: Final = 10**18 - 1
"""Larger than any note's id, and small enough for SQLite."""

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS notes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        owner TEXT NOT NULL,
        text TEXT NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS notes_by_owner ON notes (owner, id);
"""


class Note(TypedDict):
    """A note as its owner sees it."""

    id: int
    text: str
    created_at: str


def init_app(app: Flask) -> None:
    """Make the database unless it is there; close each request's connection to it."""
    path = Path(app.config["NOTES_DATABASE"])
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(_connect(path)) as connection:
        with suppress(sqlite3.OperationalError):  # another worker is switching it just now
            connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    app.teardown_appcontext(_close)


def add(owner: str, text: str) -> Note:
    """Keep a new note."""
    created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    row = (owner, text, created_at)
    done = _connection().execute(
        "INSERT INTO notes (owner, text, created_at) VALUES (?, ?, ?)", row
    )
    return {"id": cast(int, done.lastrowid), "text": text, "created_at": created_at}


def page(owner: str, after: int, limit: int) -> tuple[list[Note], str | None]:
    """Give up to *limit* notes, newest first, that follow the note *after*.

    With them comes the cursor of the next page, None on the last. A cursor stays
    good whatever is added or deleted meanwhile.
    """
    rows = _connection().execute(
        "SELECT id, text, created_at FROM notes WHERE owner = ? AND id < ?"
        " ORDER BY id DESC LIMIT ?",
        (owner, after, limit + 1),
    )
    found = [cast(Note, dict(row)) for row in rows]
    return found[:limit], str(found[limit - 1]["id"]) if len(found) > limit else None


def delete(owner: str, note_id: int) -> bool:
    """Delete a note; False if this owner has no such note."""
    done = _connection().execute("DELETE FROM notes WHERE owner = ? AND id = ?", (owner, note_id))
    return done.rowcount == 1


def _connection() -> sqlite3.Connection:
    """The connection of the request being handled."""
    if "connection" not in g:
        g.connection = _connect(current_app.config["NOTES_DATABASE"])
    return cast(sqlite3.Connection, g.connection)


def _connect(path: str | Path) -> sqlite3.Connection:
    """Connect; each statement is a transaction of its own and waits its turn to write."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def _close(_: BaseException | None) -> None:
    if "connection" in g:
        g.pop("connection").close()
