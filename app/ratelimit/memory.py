"""Counters of this process alone, for what is cheaper to refuse than to count together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from threading import Lock
from typing import Final

from app.db import to_microseconds
from app.ratelimit.counters import Counter, Refusal, longest

MOST: Final = 10_000
"""How many counters are kept; beyond it all begin anew."""


class MemoryStore:
    """Counters in a dictionary."""

    def __init__(self) -> None:
        self._free_at: dict[str, int] = {}
        self._lock = Lock()

    def take(self, counters: Sequence[Counter], now: datetime) -> Refusal | None:
        """As of `Store`."""
        moment = to_microseconds(now)
        with self._lock:
            held = [(one, self._free_at.get(one.key)) for one in counters]
            refusal = longest([(one, one.rate.wait(free, moment)) for one, free in held])
            if refusal is None:
                self._make_room()
                for one, free in held:
                    self._free_at[one.key] = one.rate.after(free, moment)
        return refusal

    def settle(
        self,
        now: datetime,  # noqa: ARG002 - of `Store`
        *,
        give_back: Sequence[Counter] = (),
        forget: Sequence[Counter] = (),
    ) -> None:
        """As of `Store`."""
        with self._lock:
            for one in give_back:
                if one.key in self._free_at:
                    self._free_at[one.key] -= one.rate.step
            for one in forget:
                self._free_at.pop(one.key, None)

    def _make_room(self) -> None:
        if len(self._free_at) >= MOST:
            self._free_at.clear()
