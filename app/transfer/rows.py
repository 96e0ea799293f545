"""A row of a file: what it says of a user, as columns of the table, and back again.

Judged as `users.create` judges an address; a password comes as the hash that another system
made, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from app import addresses, passwords, users
from app.errors import ValidationFailed
from app.ids import new_id

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

_RFC3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_YES: Final = frozenset({"true", "yes", "1"})
_NO: Final = frozenset({"false", "no", "0"})

Row = Mapping[str, Any]


class BadRow(Exception):
    """Why a row cannot be imported."""


def read(row: Row, now: datetime) -> dict[str, Any]:
    """The columns of the table for a row, or why there are none (`BadRow`)."""
    if unknown := row.keys() - _KNOWN:
        if unreadable := unknown & _NO_ROW.keys():
            raise BadRow(_NO_ROW[unreadable.pop()])
        named = ", ".join(sorted(ascii(name)[:40] for name in unknown))
        raise BadRow(f"unknown columns: {named}; known are: {', '.join(COLUMNS)}")
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
            raise BadRow("email: the file is not in UTF-8; save it in UTF-8") from None
    raise BadRow("email: expected an e-mail address such as ann@example.com")


def _id(given: Any) -> str:
    if given in (None, ""):
        return new_id("u")
    if isinstance(given, str) and re.fullmatch(r"u_[0-9a-z]{26}", given, re.ASCII):
        return given
    raise BadRow("id: expected one that an export wrote; without it the user gets a new one")


def _hash(given: Any) -> str:
    if given in (None, ""):
        return ""
    is_text = isinstance(given, str) and given.isascii() and given.isprintable()
    if is_text and passwords.can_verify(given):
        return str(given)
    raise BadRow(
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
    raise BadRow("scopes: expected a list of scopes, or their names with a space between them")


def _flag(row: Row, name: str) -> bool:
    given = row.get(name)
    if given is None or isinstance(given, bool):
        return bool(given)
    if isinstance(given, str) and given.lower() in _YES | _NO | {""}:
        return given.lower() in _YES
    raise BadRow(f"{name}: expected true or false")


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
    raise BadRow(
        "created_at: expected a time of the past with its zone, such as 2024-05-01T10:00:00Z"
    )


def as_row(user: Any, *, with_hashes: bool) -> dict[str, Any]:
    row = {
        "id": user.public_id,
        "email": user.email,
        "email_verified": user.email_verified_at is not None,
        "scopes": user.own_scopes.split(),
        "created_at": user.created_at.isoformat().replace("+00:00", "Z"),
        "disabled": user.disabled_at is not None,
    }
    return {**row, "password_hash": user.password_hash} if with_hashes else row
