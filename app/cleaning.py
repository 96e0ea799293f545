"""Cleaning: what nobody can ask about any more is deleted, so that no table grows for ever.

Which rows are over is said by the room that owns them, as `prune`; here is the list of
these, and who cleans when. Every worker looks now and then, when a request comes, whether
a cleaning is due; one claims it in the database and cleans in a thread of its own.
Nothing that is deleted changes any answer.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from app import audit, links, machines, status_lists, throttles
from app.batches import Prune
from app.db import Base, db, read_now, transaction, turn, utcnow

CLEANINGS: Final[Mapping[str, Prune]] = {
    "sessions": status_lists.prune_sessions,
    "ended ranges": status_lists.prune_ranges,
    "links": links.prune,
    "revoked tokens": machines.prune,
    "counters of limits": throttles.prune,
    "events": audit.prune,
}
"""What is cleaned, and by whom."""

LIMIT: Final = 500
"""Rows a step, at most: SQLite's writers wait for one step."""

REST: Final = 3.0
"""After a step others have this many times its duration for themselves."""

LEAST_REST: Final = 0.005
NAME: Final = "cleaning"

_log = logging.getLogger("foxtrot.app")


class Upkeep(Base):
    """When something is due that one worker does for all."""

    __tablename__ = "upkeep"

    name: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]


def clean(now: datetime, *, limit: int = LIMIT) -> Iterator[tuple[str, int]]:
    """Delete what is over; after each step, say of what it deleted how many rows."""
    for name, prune in CLEANINGS.items():
        steps = prune(now, limit)
        began = time.perf_counter()
        for deleted in steps:
            yield name, deleted
            time.sleep(max(LEAST_REST, REST * (time.perf_counter() - began)))
            began = time.perf_counter()


def counted(steps: Iterator[tuple[str, int]]) -> dict[str, int]:
    """Carry out all steps; gives how many rows were deleted of what."""
    counts = dict.fromkeys(CLEANINGS, 0)
    for name, deleted in steps:
        counts[name] += deleted
    return counts


def claim(every: timedelta, now: datetime) -> bool:
    """Say whether a cleaning is due and ours; then none is due for as long as *every*.

    A moment that lies farther ahead was set by a clock that went wrong.
    """
    if not _is_due(every, now):
        return False
    with transaction():
        turn(NAME)
        if not _is_due(every, now):
            return False
        postpone(every, now)
    return True


def postpone(every: timedelta, now: datetime) -> None:
    """Have no cleaning begin by itself for as long as *every*."""
    with transaction():
        db.session.merge(Upkeep(name=NAME, due_at=now + every))


def _is_due(every: timedelta, now: datetime) -> bool:
    found = read_now(select(Upkeep.due_at).where(Upkeep.name == NAME))
    return not any(now < due_at <= now + every for (due_at,) in found)


class Cleaner:
    """Has one app's database cleaned, by whichever worker is the first to see that it is due.

    :param in_context: makes the app context in which the cleaning runs.
    :param every: how long after one cleaning the next is due.
    """

    def __init__(
        self, in_context: Callable[[], AbstractContextManager[object]], every: timedelta
    ) -> None:
        self._in_context = in_context
        self._every = every
        self._thread: threading.Thread | None = None
        self._look_at = time.monotonic() + self._pause()

    def look(self) -> None:
        """When the time has come, look in the background whether a cleaning is due."""
        if time.monotonic() < self._look_at or (self._thread and self._thread.is_alive()):
            return
        self._look_at = time.monotonic() + self._pause()
        self._thread = threading.Thread(target=self._clean, name="foxtrot-cleaning", daemon=True)
        self._thread.start()

    def _pause(self) -> float:
        """Not all workers at the same moment."""
        return self._every.total_seconds() / 10 * random.uniform(0.5, 1)  # noqa: S311 - no secret

    def _clean(self) -> None:
        try:
            with self._in_context():
                if claim(self._every, utcnow()):
                    counts = counted(self._keeping_the_claim(clean(utcnow())))
                    _log.info("Cleaned: %s", counts)
        except Exception:
            _log.warning("The cleaning failed; it is tried again.", exc_info=True)

    def _keeping_the_claim(self, steps: Iterator[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """One cleaning at a time, however long it takes."""
        renewed = time.monotonic()
        for step in steps:
            if time.monotonic() - renewed > self._every.total_seconds() / 4:
                postpone(self._every, utcnow())
                renewed = time.monotonic()
            yield step
