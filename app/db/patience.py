"""How long anybody waits for PostgreSQL: for a short time, and never everybody at once.

A server that is frozen, or cut off, refuses nothing: the kernel, or nobody, goes on to
acknowledge what is sent, and time-outs that the server keeps itself never come. So whoever
waits here looks at the clock ten times a second. Once nothing at all has come from the server
for three seconds, only a few go on to wait, and whoever comes besides is refused at once:
threads are left for what needs no database. An answer, to anybody, ends that.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar, cast

import psycopg
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

CONNECT_SECONDS: Final = 4
QUEUE_SECONDS: Final = 5
SILENT_SECONDS: Final = 3
FEW: Final = 4
PAUSE_SECONDS: Final = 1
POLL_SECONDS: Final = 0.1
FOR_EVER: Final = float("inf")

T = TypeVar("T")
_mine = threading.local()


class Silence(psycopg.OperationalError):
    """The server was waited for in vain, or others wait for it in vain already."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Wait in this thread no longer than that, for all that the block asks of the database."""
    before = getattr(_mine, "deadline", None)
    _mine.deadline = min(before or FOR_EVER, time.monotonic() + seconds)
    try:
        yield
    finally:
        _mine.deadline = before


class Line:
    """Those of one process who wait for one server.

    :param patience: for how many seconds anybody waits for an answer; None: without end.
    """

    def __init__(self, patience: float | None) -> None:
        self._has_limit = patience is not None
        self._patience = patience or FOR_EVER
        self._lock = threading.Lock()
        self._waiting = 0
        self._heard_at = 0.0
        self._is_silent = False
        self._closed_until = 0.0
        self.doors = threading.Semaphore(FEW)

    @contextmanager
    def place(self) -> Iterator[float]:
        """Be one of those who wait; gives the time at which to give up.

        :raises Silence: enough others wait in vain already.
        """
        deadline = self._enter()
        heard = True
        try:
            yield deadline
        except (Silence, psycopg.errors.ConnectionTimeout):
            heard = False
            raise
        finally:
            self._leave(heard)

    def check(self, deadline: float) -> None:
        """Look at the clock while waiting.

        :raises Silence: it was long enough, or too many wait.
        """
        now = time.monotonic()
        if now >= deadline:
            if deadline != getattr(_mine, "deadline", None):
                self._closed_until = now + PAUSE_SECONDS
            raise Silence("the database does not answer")
        self.refuse_crowd(others=self._waiting - 1)

    def refuse_crowd(self, others: int | None = None) -> None:
        """Give up if a few others wait, and nobody has heard anything for a while.

        :raises Silence: it is so.
        """
        others = self._waiting if others is None else others
        is_silent = time.monotonic() - self._heard_at > SILENT_SECONDS
        if self._has_limit and others >= FEW and is_silent:
            raise Silence("others wait for the database in vain")

    def deadline(self, seconds: float | None = None) -> float:
        """When somebody who begins to wait now is to give up."""
        wanted = time.monotonic() + min(self._patience, seconds or FOR_EVER)
        return min(wanted, getattr(_mine, "deadline", None) or FOR_EVER)

    def _enter(self) -> float:
        now, deadline = time.monotonic(), self.deadline()
        with self._lock:
            if self._waiting == 0 and not self._is_silent:
                self._heard_at = now
            if now < self._closed_until or now >= deadline:
                raise Silence("the database did not answer a moment ago")
            self.refuse_crowd()
            self._waiting += 1
        return deadline

    def _leave(self, heard: bool) -> None:
        with self._lock:
            self._waiting -= 1
            self._is_silent = not heard
            if heard:
                self._heard_at = time.monotonic()
                self._closed_until = 0.0


class Connection(psycopg.Connection[Any]):
    """A connection whose user gives up a server that is silent, and drops the connection then."""

    line: Line | None = None

    def wait(
        self,
        gen: Generator[Any, Any, T],
        interval: float = POLL_SECONDS,
        timeout: float | None = None,
    ) -> T:
        """Wait for an answer, as everything in psycopg that blocks does by this method."""
        if self.line is None:
            return super().wait(gen, interval, timeout)
        try:
            with self.line.place() as deadline:
                return super().wait(_watched(gen, self.line, deadline), interval, timeout)
        except Silence:
            self.pgconn.finish()  # whatever comes on it later belongs to nobody
            raise

    def rollback(self) -> None:
        """Roll back; a connection that is lost has done so by itself, and that is no failure."""
        try:
            super().rollback()
        except psycopg.OperationalError:
            self.close()


@contextmanager
def without_end(connection: Connection) -> Iterator[None]:
    """Wait on that connection for as long as it takes."""
    line, connection.line = connection.line, None
    try:
        yield
    finally:
        connection.line = line


def _watched(gen: Generator[Any, Any, T], line: Line, deadline: float) -> Generator[Any, Any, T]:
    """Do what *gen* does, and look at the clock whenever psycopg wakes it for nothing."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready:
                line.check(deadline)
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # what the generator returns


def connector(line: Line) -> Callable[..., Connection]:
    """How the engine connects (SQLAlchemy's event `do_connect`): few at a time."""

    def connect(
        _dialect: object, _record: object, cargs: Sequence[Any], cparams: Mapping[str, Any]
    ) -> Connection:
        with line.place() as deadline:
            while not line.doors.acquire(timeout=POLL_SECONDS):
                line.check(deadline)
            seconds = min(CONNECT_SECONDS, deadline - time.monotonic())  # psycopg: 2 at least
            try:
                connection = Connection.connect(
                    *cargs, **{**cparams, "connect_timeout": math.ceil(seconds)}
                )
            finally:
                line.doors.release()
        connection.line = line
        return connection

    return connect


class Pool(QueuePool):
    """A pool that nobody queues for in vain.

    A server that has no connection left is asked again, as long as anybody would wait; one
    of ours may be given back meanwhile.
    """

    line: Line | None = None

    def recreate(self) -> Pool:
        """Give an empty pool like this one."""
        fresh = cast("Pool", super().recreate())
        fresh.line = self.line
        return fresh

    def connect(self) -> PoolProxiedConnection:
        """Give a connection: one that is free, or else a new one."""
        line = self.line or Line(None)
        deadline = line.deadline(QUEUE_SECONDS)
        while True:
            try:
                return super().connect()
            except PoolTimeoutError:
                if time.monotonic() >= deadline:
                    raise
            except psycopg.OperationalError as error:
                if not _is_full(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(POLL_SECONDS)
            line.refuse_crowd()


def _is_full(error: psycopg.OperationalError) -> bool:
    """Say whether the server has no connection left (53300); libpq tells it in words only."""
    said = str(error)
    return "too many" in said or "remaining connection slots" in said
