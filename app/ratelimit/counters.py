"""What a rate is, and what a counter holds: the generic cell rate algorithm (ITU-T I.371).

A counter is one moment, at which all that was taken will have run off. Each take moves it
by the share of one, and is refused where that would be further away than the whole period.
So `10/15m` lets ten pass at once and then one every ninety seconds. A moment in the past is
an empty counter, one too far ahead is left over from a clock that was wrong, and counts as
empty, too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

SECOND: Final = 1_000_000
SLACK: Final = 60 * SECOND
"""How much the clocks of several machines may differ, in microseconds."""


class Rate(NamedTuple):
    """So many in so many seconds."""

    limit: int
    seconds: int

    @property
    def step(self) -> int:
        """The share of one, in microseconds."""
        return self.seconds * SECOND // self.limit

    @property
    def span(self) -> int:
        """The share of all of them."""
        return self.step * self.limit

    def last(self, now: int) -> int:
        """The latest moment that a counter may hold for one more to pass."""
        return now + self.span - self.step

    def horizon(self, now: int) -> int:
        """The latest moment that a counter can hold by clocks that are right."""
        return now + 2 * self.span + SLACK

    def wait(self, free_at: int | None, now: int) -> int:
        """How many microseconds until one more passes; 0 or less if it does now."""
        if free_at is None or free_at > self.horizon(now):
            return 0
        return free_at - self.last(now)

    def after(self, free_at: int | None, now: int) -> int:
        """What a counter holds once one more was taken."""
        counts = free_at is not None and now <= free_at <= self.horizon(now)
        return self.step + (free_at if counts and free_at is not None else now)


class Counter(NamedTuple):
    """One thing that is counted. The key tells it from all others, at this and other rates."""

    key: str
    rate: Rate


class Refusal(NamedTuple):
    """The counter that let nothing pass for longest, and for how many seconds it will not."""

    counter: Counter
    seconds: int


class Store(Protocol):
    """Where counters are kept. What it does, it does whole, also with many workers at once."""

    def take(self, counters: Sequence[Counter], now: datetime) -> Refusal | None:
        """Count one in each, or, if one of them is full, in none; say which and for how long."""
        ...

    def settle(
        self, now: datetime, *, give_back: Sequence[Counter] = (), forget: Sequence[Counter] = ()
    ) -> None:
        """Take back what was counted in some; have others begin anew."""
        ...


def longest(waits: Collection[tuple[Counter, int]]) -> Refusal | None:
    """The refusal of counters with these waits, in microseconds; None if none has to wait."""
    full = [(counter, wait) for counter, wait in waits if wait > 0]
    if not full:
        return None
    counter, wait = max(full, key=lambda pair: pair[1])
    return Refusal(counter, -(-wait // SECOND))
