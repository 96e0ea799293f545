"""One-time links: a secret for one purpose, good once, for half an hour.

`setup` makes the first administrator, `reset` lets a user choose a new password.
Only the hash of the secret is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, ForeignKey, Row, and_, insert, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app import users
from app.batches import walked
from app.db import Base, db, transaction, turn, utcnow
from app.errors import NotFound
from app.ids import digest, new_secret
from app.users import User

SETUP: Final = "setup"
RESET: Final = "reset"
LIFETIME: Final = timedelta(minutes=30)
INVITED: Final = timedelta(days=7)
KEEP: Final = timedelta(days=1)
"""How long a link is kept that is worthless: it is answered like one that never was."""


class OneTimeLink(Base):
    """A link that was handed out. `purpose` is part of every look-up."""

    __tablename__ = "one_time_links"

    id: Mapped[int] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    secret_hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def make(purpose: str, user: User | None = None, now: datetime | None = None) -> str:
    """Make a link and give its secret, the only time it is ever seen.

    Earlier unused links of the same purpose and user die.
    """
    now = now or utcnow()
    secret = new_secret()
    user_id = user.id if user else None
    with transaction():
        if user_id is None:
            turn("one-time links")
        elif not users.lock(user_id):
            raise NotFound("This user was deleted just now.")
        void(purpose, user_id, now)
        db.session.add(
            OneTimeLink(
                purpose=purpose,
                secret_hash=digest(secret),
                user_id=user_id,
                expires_at=now + LIFETIME,
            )
        )
    return secret


def make_many(user_ids: Iterable[int], now: datetime) -> dict[int, str]:
    """Make a link for each of many new users, to choose their first password; inside a transaction.

    They are good for `INVITED`, because they have to reach people first. Gives the secrets.
    """
    secrets = {user_id: new_secret() for user_id in user_ids}
    rows = [
        {
            "purpose": RESET,
            "secret_hash": digest(secret),
            "user_id": user_id,
            "expires_at": now + INVITED,
        }
        for user_id, secret in secrets.items()
    ]
    db.session.execute(insert(OneTimeLink), rows)
    return secrets


def check(purpose: str, secret: str, now: datetime | None = None) -> int | None:
    """Make sure that a link is good, and give the row id of the user it was made for.

    :raises NotFound: unknown, used, expired, or for another purpose.
    """
    query = select(OneTimeLink.user_id).where(_is_good(purpose, secret, now or utcnow()))
    return _only_row(db.session.execute(query).first())


def redeem(purpose: str, secret: str, now: datetime | None = None) -> int | None:
    """Use a link up, and give the row id of the user it was made for.

    One conditional update decides: of many at once one wins.

    :raises NotFound: unknown, used, expired, or for another purpose.
    """
    now = now or utcnow()
    claim = update(OneTimeLink).where(_is_good(purpose, secret, now)).values(used_at=now)
    with transaction():
        return _only_row(db.session.execute(claim.returning(OneTimeLink.user_id)).first())


def void(purpose: str, user_id: int | None, now: datetime | None = None) -> None:
    """Make the links of one purpose and user worthless, as far as they were not used."""
    unused = update(OneTimeLink).where(
        OneTimeLink.purpose == purpose,
        OneTimeLink.user_id.is_not_distinct_from(user_id),
        OneTimeLink.used_at.is_(None),
    )
    with transaction():
        db.session.execute(unused.values(used_at=now or utcnow()))


def void_all(now: datetime | None = None) -> None:
    """Make every link that was not used yet worthless."""
    unused = update(OneTimeLink).where(OneTimeLink.used_at.is_(None))
    with transaction():
        db.session.execute(unused.values(used_at=now or utcnow()))


def prune(now: datetime, limit: int) -> Iterator[int]:
    """Delete links that were used or ran out, a day ago or more."""
    at = now - KEEP
    is_over = or_(OneTimeLink.expires_at <= at, OneTimeLink.used_at <= at)
    may_be = OneTimeLink.expires_at <= at + INVITED  # made by then, whichever lifetime it has
    yield from walked(OneTimeLink.id, is_over, may_be, limit)


def _is_good(purpose: str, secret: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        OneTimeLink.secret_hash == digest(secret),
        OneTimeLink.purpose == purpose,
        OneTimeLink.used_at.is_(None),
        OneTimeLink.expires_at > now,
    )


def _only_row(row: Row[int | None] | None) -> int | None:
    if row is None:
        raise NotFound("This link is not valid any more. Ask for a new one.")
    return row[0]
