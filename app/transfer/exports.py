"""An export: all users as rows that an import takes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from app import audit
from app.audit import Event
from app.client import Client
from app.db import read_now
from app.transfer.rows import as_row
from app.users import User

PAGE: Final = 1000


def everybody(
    client: Client, now: datetime, *, with_hashes: bool = False
) -> Iterator[dict[str, Any]]:
    """All users as rows that an import takes, oldest first, a page at a time; it is an event.

    :param with_hashes: with their password hashes, which let whoever has them guess at home.
    """
    reason = "with-hashes" if with_hashes else "without-hashes"
    audit.record(Event.USERS_EXPORTED, client, reason=reason, now=now)
    query, after = select(User.__table__).order_by(User.id).limit(PAGE), 0
    while page := read_now(query.where(User.id > after)):
        for row in page:
            yield as_row(row, with_hashes=with_hashes)
        after = page[-1].id
