"""From a server that may fail to the database and back: never unlimited, and never held up long.

After a failure the server is left alone for a moment, so that it costs at most one request in
that time its time-out. What was counted at the one place is not known at the other: at most
as many pass at both as the rate lets pass at each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

from app.ratelimit.counters import Counter, Refusal, Store
from app.ratelimit.valkey import FAILURES

R = TypeVar("R")

PAUSE: Final = 2.0
"""For how many seconds a server that failed is not asked again."""

_log = logging.getLogger("foxtrot.app")


class FallbackStore:
    """Counts in the first store while it answers, else in the second.

    :param clock: gives the seconds of a clock that never goes back.
    """

    def __init__(
        self,
        first: Store,
        second: Store,
        pause: float = PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._first = first
        self._second = second
        self._pause = pause
        self._clock = clock
        self._asked_again_at: float | None = None

    def take(self, counters: Sequence[Counter], now: datetime) -> Refusal | None:
        """As of `Store`."""
        return self._ask(lambda store: store.take(counters, now))

    def settle(
        self, now: datetime, *, give_back: Sequence[Counter] = (), forget: Sequence[Counter] = ()
    ) -> None:
        """As of `Store`."""
        self._ask(lambda store: store.settle(now, give_back=give_back, forget=forget))

    def _ask(self, question: Callable[[Store], R]) -> R:
        if not self._may_ask_first():
            return question(self._second)
        try:
            answer = question(self._first)
        except FAILURES as error:
            self._leave_alone(error)
            return question(self._second)
        if self._asked_again_at is not None:
            self._asked_again_at = None
            _log.warning("FOXTROT_REDIS_URL answers again; limits are counted there.")
        return answer

    def _may_ask_first(self) -> bool:
        """Say whether to ask it; after a pause the others go on as before until one knows."""
        if self._asked_again_at is None:
            return True
        now = self._clock()
        if now < self._asked_again_at:
            return False
        self._asked_again_at = now + self._pause
        return True

    def _leave_alone(self, error: Exception) -> None:
        if self._asked_again_at is None:
            said = "FOXTROT_REDIS_URL does not answer (%s); limits are counted in the database."
            _log.error(said, type(error).__name__)
        self._asked_again_at = self._clock() + self._pause
