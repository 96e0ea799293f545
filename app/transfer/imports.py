"""An import: rows that are good and new become users.

An address that somebody has already is left alone, so an import can be run again. Rows are
written many at once, in transactions short enough for others to write between them, and
memory does not grow with their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from typing import cast as typed

from sqlalchemy import ARRAY, Table, any_, bindparam, cast, func, insert, select
from sqlalchemy.exc import IntegrityError

from app import audit, links, tokens
from app.audit import Event
from app.client import Client
from app.db import db, read_now, transaction
from app.transfer.rows import BadRow, Row, read
from app.users import User

BATCH: Final = 1000
TRIES: Final = 3

_USERS: Final = typed("Table", User.__table__)


class Failure(NamedTuple):
    """A row that was not imported, and why."""

    number: int
    row: Row
    reason: str


@dataclass
class Outcome:
    """What became of some rows; `reset_links` are addresses and URLs."""

    imported: int = 0
    existing: int = 0
    failed: list[Failure] = field(default_factory=list)
    reset_links: list[tuple[str, str]] = field(default_factory=list)


class Import:
    """One import; `add` takes its rows, many at a time.

    :param dry_run: judge only, and write nothing.
    :param with_links: make a link for each new user without a password; see `links.INVITED`.
    """

    def __init__(
        self, client: Client, now: datetime, *, dry_run: bool = False, with_links: bool = False
    ) -> None:
        self._client = client
        self._now = now
        self._dry_run = dry_run
        self._with_links = with_links and not dry_run
        self._seen = _Seen()
        self._has_begun = False
        self.imported = 0

    def add(self, rows: Iterable[tuple[int, Row]]) -> Outcome:
        """Judge numbered rows, and write those that are good and new."""
        outcome = Outcome()
        judged: dict[str, tuple[int, Row, dict[str, Any]]] = {}
        for number, row in rows:
            try:
                values = read(row, self._now)
                if values["email_key"] in judged:
                    raise BadRow(_TWICE)
                judged[values["email_key"]] = (number, row, values)
            except BadRow as bad:
                outcome.failed.append(Failure(number, row, str(bad)))
        for key in self._seen.again(judged):
            number, row, _ = judged.pop(key)
            outcome.failed.append(Failure(number, row, _TWICE))
        self._write(judged, outcome)
        self.imported += outcome.imported
        return outcome

    def end(self) -> None:
        """Write down how many came."""
        self._seen.close()
        if self._has_begun:
            reason = str(self.imported)
            audit.record(Event.USERS_IMPORTED, self._client, reason=reason, now=self._now)

    def _write(self, judged: dict[str, Any], outcome: Outcome) -> None:
        """Try again where somebody registered one of the addresses just now."""
        for attempt in range(TRIES):
            try:
                with transaction():
                    self._write_once(judged, outcome)
                self._has_begun |= outcome.imported > 0 and not self._dry_run
                return
            except IntegrityError:
                if attempt == TRIES - 1:
                    raise

    def _write_once(self, judged: dict[str, Any], outcome: Outcome) -> None:
        known = _taken(User.email_key, judged)
        named = {row["id"] for _, row, _ in judged.values() if row.get("id")}
        taken = _taken(User.public_id, named)
        new, doubled = [], []
        for key, (number, row, values) in judged.items():
            if key in known:
                continue
            if values["public_id"] in taken:
                doubled.append(Failure(number, row, "id: another user has it"))
                continue
            taken.add(values["public_id"])
            new.append(values)
        if new and not self._dry_run:
            self._insert(new, outcome)
        outcome.existing = len(known)
        outcome.imported = len(new)
        outcome.failed += doubled

    def _insert(self, new: Sequence[dict[str, Any]], outcome: Outcome) -> None:
        if not self._has_begun:
            audit.record(Event.USERS_IMPORTED, self._client, reason="begun", now=self._now)
        _insert(new)
        without = [values["email_key"] for values in new if not values["password_hash"]]
        if without and self._with_links:
            query = select(User.id, User.email).where(User.email_key.in_(without))
            ids = {row.id: row.email for row in db.session.execute(query)}
            secrets = links.make_many(ids, self._now)
            outcome.reset_links = [
                (ids[user_id], f"{tokens.issuer()}/reset?token={secret}")
                for user_id, secret in secrets.items()
            ]


_TWICE: Final = "email: this address stands in the file before"


def _taken(column: Any, wanted: Collection[str]) -> set[str]:
    """Which of these texts a user has already."""
    if not wanted:
        return set()
    among = column.in_(list(wanted))
    if db.engine.dialect.name == "postgresql":  # one array instead of a thousand parameters
        among = column == any_(cast(list(wanted), ARRAY(column.type)))
    return {found for (found,) in read_now(select(column).where(among))}


def _insert(new: Sequence[dict[str, Any]]) -> None:
    """Insert rows; on PostgreSQL as one statement with an array for each column."""
    connection = db.session.connection()
    if connection.dialect.name != "postgresql":
        connection.execute(insert(_USERS), new)
        return
    connection.execute(_FROM_ARRAYS, {name: [row.get(name) for row in new] for name in _WRITTEN})


_WRITTEN: Final = [name for name in _USERS.columns.keys() if name != "id"]  # noqa: SIM118 - not a dict
_FROM_ARRAYS: Final = insert(_USERS).from_select(
    _WRITTEN,
    select(
        *(
            func.unnest(cast(bindparam(name, type_=array), array))
            for name, array in ((name, ARRAY(_USERS.columns[name].type)) for name in _WRITTEN)
        )
    ),
)


class _Seen:
    """The addresses of the file so far, in a temporary file, so that memory stays flat."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (key BLOB PRIMARY KEY) WITHOUT ROWID")

    def again(self, keys: Iterable[str]) -> list[str]:
        """Remember keys; gives those that were here before."""
        hashes = {blake2b(key.encode(), digest_size=16).digest(): key for key in keys}
        marked = f"SELECT key FROM seen WHERE key IN ({','.join('?' * len(hashes))})"  # noqa: S608
        found = self._database.execute(marked, list(hashes)).fetchall()
        known = {key for (key,) in found}
        new = sorted((key,) for key in hashes if key not in known)
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO seen VALUES (?)", new)
        self._database.execute("COMMIT")
        return [hashes[key] for key in known]

    def close(self) -> None:
        self._database.close()
