"""Users who arrive or leave in bulk: as rows, which a door reads from a file or writes to one.

Rows are judged as `users.create` judges an address; a password comes as the hash that
another system made, or not at all. An address that somebody has already is left alone, so
an import can be run again. Rows are written many at once, in transactions short enough for
others to write between them, and memory does not grow with their number.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from typing import cast as typed

from sqlalchemy import ARRAY, Table, any_, bindparam, cast, func, insert, select
from sqlalchemy.exc import IntegrityError

from app import addresses, audit, links, passwords, tokens, users
from app.audit import Event
from app.client import Client
from app.db import db, read_now, transaction
from app.errors import ValidationFailed
from app.ids import new_id
from app.users import User

COLUMNS: Final = (
    "id",
    "email",
    "email_verified",
    "password_hash",
    "scopes",
    "created_at",
    "disabled",
)
NOTES: Final = frozenset({"line", "reason"})
"""What a file of failed rows says besides; so it can be mended and imported."""

NO_OBJECT: Final = "not an object"
TOO_LONG: Final = "not an object, but a line that is too long"
MORE_FIELDS: Final = "more fields than the header has"
_NO_ROW: Final = {
    NO_OBJECT: 'expected a JSON object on one line, such as {"email": "ann@example.com"}',
    TOO_LONG: "expected a JSON object on one line of at most 64 KiB",
    MORE_FIELDS: "there are more fields than the header has; one with a comma in it needs quotes",
}
"""What stands in place of a row that could not be read, and the reason to give for it."""

BATCH: Final = 1000
TRIES: Final = 3

_USERS: Final = typed("Table", User.__table__)
_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_YES: Final = frozenset({"true", "yes", "1"})
_NO: Final = frozenset({"false", "no", "0"})

Row = Mapping[str, Any]


class Failure(NamedTuple):
    """A row that was not imported, and why."""

    number: int
    row: Row
    reason: str


class _Bad(Exception):
    """Why a row cannot be imported."""


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
                    raise _Bad(_TWICE)
                judged[values["email_key"]] = (number, row, values)
            except _Bad as bad:
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


def read(row: Row, now: datetime) -> dict[str, Any]:
    """The columns of the table for a row, or why there are none (`_Bad`)."""
    if unknown := row.keys() - _KNOWN:
        if unreadable := unknown & _NO_ROW.keys():
            raise _Bad(_NO_ROW[unreadable.pop()])
        named = ", ".join(sorted(ascii(name)[:40] for name in unknown))
        raise _Bad(f"unknown columns: {named}; known are: {', '.join(COLUMNS)}")
    address, key = _address(row.get("email"))
    disabled, verified = (_flag(row, name) for name in ("disabled", "email_verified"))
    return {
        "public_id": _id(row.get("id")),
        "email": address,
        "email_key": key,
        "email_verified_at": now if verified else None,
        "password_hash": _hash(row.get("password_hash")),
        "password_changed_at": now,
        "own_scopes": _scopes(row.get("scopes")),
        "created_at": _moment(row.get("created_at"), now),
        "disabled_at": now if disabled else None,
    }


_KNOWN: Final = frozenset(COLUMNS) | NOTES


def _address(given: Any) -> addresses.Address:
    try:
        if isinstance(given, str):
            return addresses.check(given)
    except ValidationFailed:
        if any("\udc80" <= letter <= "\udcff" for letter in given):
            raise _Bad("email: the file is not in UTF-8; save it in UTF-8") from None
    raise _Bad("email: expected an e-mail address such as ann@example.com")


def _id(given: Any) -> str:
    if given in (None, ""):
        return new_id("u")
    if isinstance(given, str) and re.fullmatch(r"u_[0-9a-z]{26}", given, re.ASCII):
        return given
    raise _Bad("id: expected one that an export wrote; without it the user gets a new one")


def _hash(given: Any) -> str:
    if given in (None, ""):
        return ""
    is_text = isinstance(given, str) and given.isascii() and given.isprintable()
    if is_text and passwords.can_verify(given):
        return str(given)
    raise _Bad(
        "password_hash: expected one by werkzeug (scrypt or pbkdf2), argon2id, bcrypt (cost up to"
        " 14) or Django (pbkdf2_sha256), whole, and not so costly that it would stop the service"
    )


def _scopes(given: Any) -> str:
    if given in (None, "", []):
        return ""
    scopes = given.split(" ") if isinstance(given, str) else given
    if isinstance(scopes, list) and all(
        isinstance(one, str) and users.is_scope(one) for one in scopes
    ):
        return " ".join(sorted(set(scopes)))
    raise _Bad("scopes: expected a list of scopes, or their names with a space between them")


def _flag(row: Row, name: str) -> bool:
    given = row.get(name)
    if given is None or isinstance(given, bool):
        return bool(given)
    if isinstance(given, str) and given.lower() in _YES | _NO | {""}:
        return given.lower() in _YES
    raise _Bad(f"{name}: expected true or false")


def _moment(given: Any, now: datetime) -> datetime:
    if given in (None, ""):
        return now
    try:
        if _RFC3339.fullmatch(given):
            moment = datetime.fromisoformat(given).astimezone(UTC)
            if datetime(1970, 1, 1, tzinfo=UTC) <= moment <= now:
                return moment
    except (ValueError, TypeError, OverflowError):
        pass
    raise _Bad(
        "created_at: expected a time of the past with its zone, such as 2024-05-01T10:00:00Z"
    )


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


def everybody(
    client: Client, now: datetime, *, with_hashes: bool = False
) -> Iterator[dict[str, Any]]:
    """All users as rows that an import takes, oldest first, a page at a time; it is an event.

    :param with_hashes: with their password hashes, which let whoever has them guess at home.
    """
    reason = "with-hashes" if with_hashes else "without-hashes"
    audit.record(Event.USERS_EXPORTED, client, reason=reason, now=now)
    query, after = select(_USERS).order_by(User.id).limit(BATCH), 0
    while page := read_now(query.where(User.id > after)):
        for row in page:
            yield _as_row(row, with_hashes=with_hashes)
        after = page[-1].id


def _as_row(user: Any, *, with_hashes: bool) -> dict[str, Any]:
    row = {
        "id": user.public_id,
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "scopes": user.own_scopes.split(),
        "created_at": user.created_at.isoformat().replace("+00:00", "Z"),
        "disabled": user.disabled_at is not None,
    }
    return {**row, "password_hash": user.password_hash} if with_hashes else row
