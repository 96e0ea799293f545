"""Counters in a table of the database: shared by all workers, and still there after a restart.

A take is decided by the write itself, on condition that there is room; so of many at once
exactly as many pass as there is room for. Keys are always gone through in the same order, so
that nobody waits for somebody who waits for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Connection,
    Delete,
    Update,
    bindparam,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.batches import repeated
from app.db import Base, core_transaction, read_now, to_microseconds
from app.ratelimit.counters import Counter, Refusal, longest


class RateLimit(Base):
    """A counter: the moment, in microseconds since the epoch, at which it is empty again."""

    __tablename__ = "rate_limits"

    key: Mapped[str] = mapped_column(primary_key=True)
    free_at: Mapped[int] = mapped_column(BigInteger, index=True)


_TAKE: Final = text(
    """
    INSERT INTO rate_limits (key, free_at) VALUES (:key, :first)
    ON CONFLICT (key) DO UPDATE SET free_at = :step + CASE
        WHEN rate_limits.free_at BETWEEN :now AND :horizon THEN rate_limits.free_at
        ELSE :now END
    WHERE rate_limits.free_at <= :last OR rate_limits.free_at > :horizon
    RETURNING free_at
    """
)
_GIVE_BACK: Final = (
    update(RateLimit)
    .where(RateLimit.key == bindparam("sought"))
    .values(free_at=RateLimit.free_at - bindparam("step"))
)
_FORGET: Final = delete(RateLimit).where(RateLimit.key == bindparam("sought"))


class _Full(Exception):
    """Somebody else took the last one."""


class DatabaseStore:
    """Counters in the database of the app that is current."""

    def take(self, counters: Sequence[Counter], now: datetime) -> Refusal | None:
        """As of `Store`. One that is refused writes nothing, so a flood keeps no writer waiting."""
        moment = to_microseconds(now)
        if not counters or (refusal := _refusal(counters, moment)):
            return refusal if counters else None
        try:
            with core_transaction() as connection:
                for counter in sorted(counters):
                    _take_one(connection, counter, moment)
        except _Full:
            return _refusal(counters, moment) or Refusal(counters[0], 1)
        return None

    def settle(
        self,
        now: datetime,  # noqa: ARG002 - of `Store`
        *,
        give_back: Sequence[Counter] = (),
        forget: Sequence[Counter] = (),
    ) -> None:
        """As of `Store`."""
        if not give_back and not forget:
            return
        steps: dict[Counter, Delete | Update] = dict.fromkeys(forget, _FORGET)
        steps |= {counter: _GIVE_BACK for counter in give_back if counter not in steps}
        with core_transaction() as connection:
            for counter, statement in sorted(steps.items(), key=lambda pair: pair[0]):
                values = {"sought": counter.key, "step": counter.rate.step}
                connection.execute(statement, values)


def prune(now: datetime, limit: int) -> Iterator[int]:
    """Remove counters that are empty, so many a step; gives how many each time."""
    return repeated(
        RateLimit.key, RateLimit.free_at < to_microseconds(now), limit, RateLimit.free_at
    )


def _take_one(connection: Connection, counter: Counter, now: int) -> None:
    rate = counter.rate
    values = {
        "key": counter.key,
        "first": now + rate.step,
        "step": rate.step,
        "now": now,
        "last": rate.last(now),
        "horizon": rate.horizon(now),
    }
    if connection.execute(_TAKE, values).first() is None:
        raise _Full


def _refusal(counters: Sequence[Counter], now: int) -> Refusal | None:
    keys = [counter.key for counter in counters]
    query = select(RateLimit.key, RateLimit.free_at).where(RateLimit.key.in_(keys))
    held = {row.key: row.free_at for row in read_now(query)}
    return longest([(one, one.rate.wait(held.get(one.key), now)) for one in counters])
