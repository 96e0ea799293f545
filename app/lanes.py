"""Hashing lanes: how many password hashes a machine computes at once, and who waits for one.

A hash takes a core and 16 MiB for a quarter of a second, on purpose. All processes that share
a data folder share its lanes, as many as the machine has cores: files in the folder `lanes`,
each locked by whoever hashes (`flock(2)`), so that the system frees the lane of a process that
is killed. Few more may wait, in each process; whoever comes then, or waits too long, is refused.
Hashing is done in threads of its own, which yield to those that answer requests: on Linux each
thread has a nice value of its own (`setpriority(2)`, "C library/kernel differences").

Knows nothing of passwords; `users` says what is to be computed. No thread remains when nothing
is to be done, and no file stays open.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from app.errors import Busy, Unavailable

R = TypeVar("R")

QUEUE: Final = 16
"""How many hashes may wait in one process."""

PATIENCE: Final = 5.0
"""For how many seconds one may wait."""

NICENESS: Final = 10
"""A tenth of the weight of other threads, where both want the same core."""

_log = logging.getLogger("foxtrot.lanes")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def cores() -> int:
    """How many cores this process may use: by its affinity, and by the limits of its cgroups."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return max(1, math.ceil(min([len(os.sched_getaffinity(0)), *_quotas(_CGROUPS, _OWN_CGROUP)])))


def _quotas(mount: Path, own: Path) -> Iterator[float]:
    """The limits in cores of a process and of all that it is part of (cgroup-v2.rst, cpu.max)."""
    with suppress(OSError, ValueError, StopIteration):
        path = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::"))
        folder = mount / path.strip("/")
        for level in [folder, *folder.parents]:
            if not level.is_relative_to(mount):
                return
            with suppress(OSError, ValueError):
                quota, period = (level / "cpu.max").read_text().split()
                yield int(quota) / int(period)


class Lanes:
    """The lanes of one machine, as one process uses them.

    :param folder: where the files are; all processes of the machine name the same.
    :param number: of lanes; all processes say the same.
    :param tell: is told how many hashes run and how many wait in this process, at each change.
    """

    def __init__(
        self,
        folder: Path,
        number: int,
        *,
        queue: int = QUEUE,
        patience: float = PATIENCE,
        tell: Callable[[int, int], None] | None = None,
    ) -> None:
        self.number = number
        self._folder = folder
        self._queue = queue
        self._patience = patience
        self._lock = threading.Lock()
        self._jobs: deque[_Job[Any]] = deque()
        self._idle = set(range(number))
        self._open: set[int] = set()
        self._running = 0
        self._tell = tell
        _ALL.add(self)

    @property
    def waiting(self) -> int:
        """How many hashes wait in this process, now."""
        return len(self._jobs)

    def run(self, work: Callable[[], R]) -> R:
        """Do *work* in a lane; give what it gives, or raise what it raises.

        :raises Busy: too many wait already, or its turn did not come in time.
        :raises Unavailable: there is no lane, because its file cannot be opened.
        """
        job = _Job(work)
        with self._lock:
            self._refuse_if_full()
            self._jobs.append(job)
        self._note(0)
        try:
            self._start_thread()
            return job.result(self._patience)
        finally:
            self._leave_queue(job)
            self._note(0)

    def expect_room(self) -> None:
        """Refuse who would be refused by `run`, before anything is written down for their sake.

        :raises Busy: too many wait already.
        """
        with self._lock:
            self._refuse_if_full()

    def _refuse_if_full(self) -> None:
        if len(self._jobs) >= self._queue + len(self._idle):
            raise Busy

    def _leave_queue(self, job: _Job[Any]) -> None:
        with self._lock, suppress(ValueError):
            self._jobs.remove(job)

    def _start_thread(self) -> None:
        """Have one more thread try for a lane, if one is left to try and somebody waits."""
        with self._lock:
            if not self._idle or not self._jobs:
                return
            number = self._idle.pop()
        try:
            threading.Thread(target=self._work_in, args=(number,), daemon=True).start()
        except RuntimeError:  # the system has no more threads; those that there are go on
            self._idle.add(number)

    def _work_in(self, number: int) -> None:
        """Be the thread of a lane until nobody waits."""
        _yield_to_others()
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with self._file(f"{number}") as lane, self._file(f"{number}.next") as turn:
                while self._jobs:
                    with self._held(lane, turn):
                        job = self._next()
                        if job is not None:
                            self._note(1)
                            job.do()
                            self._note(-1)
        except OSError as error:
            self._refuse_all(error)
        finally:
            self._idle.add(number)
        self._start_thread()  # for whoever came while this one was ending

    def _note(self, more: int) -> None:
        """Tell how much is going on, now that so many more run."""
        with self._lock:
            self._running += more
            if self._tell is not None:
                self._tell(self._running, len(self._jobs))

    def _next(self) -> _Job[Any] | None:
        with self._lock:
            return self._jobs.popleft() if self._jobs else None

    def _refuse_all(self, error: OSError) -> None:
        _log.error("No password can be hashed: %s", error)
        while (job := self._next()) is not None:
            job.refuse()

    @contextmanager
    def _held(self, lane: int, turn: int) -> Iterator[None]:
        """Hold a lane of the machine. While another process has it, other lanes are tried, too.

        Whoever had a lane stands behind those who wait for it: one of them holds the second
        file, and is next.
        """
        try:
            if not _locks(turn) or not _locks(lane):
                self._start_thread()
                fcntl.flock(turn, fcntl.LOCK_EX)
                fcntl.flock(lane, fcntl.LOCK_EX)
            fcntl.flock(turn, fcntl.LOCK_UN)
            yield
        finally:
            fcntl.flock(lane, fcntl.LOCK_UN)

    @contextmanager
    def _file(self, name: str) -> Iterator[int]:
        """Open a file, which unlocks it in the end."""
        opened = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        self._open.add(opened)
        try:
            yield opened
        finally:
            self._open.discard(opened)
            os.close(opened)

    def begin_anew(self) -> None:
        """In a process that was just forked, leave the lanes to the threads of its parent."""
        for opened in self._open:
            os.close(opened)
        self._lock = threading.Lock()
        self._jobs, self._open, self._idle = deque(), set(), set(range(self.number))
        self._running = 0


class _Job(Generic[R]):
    """What is to be done in a lane, and what came of it."""

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._future: Future[R] = Future()

    def do(self) -> None:
        if self._future.set_running_or_notify_cancel():
            try:
                self._future.set_result(self._work())
            except BaseException as error:
                self._future.set_exception(error)

    def refuse(self) -> None:
        if self._future.set_running_or_notify_cancel():
            self._future.set_exception(Unavailable())

    def result(self, patience: float) -> R:
        """Wait so many seconds for it to begin, and then for its end."""
        with suppress(TimeoutError):
            return self._future.result(patience)
        if self._future.cancel():
            raise Busy
        return self._future.result()


def _locks(opened: int) -> bool:
    """Lock a file if nobody else has; say whether it is ours now."""
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _yield_to_others() -> None:
    """Lower the priority of this thread, and of no other."""
    if sys.platform == "linux":
        nice = os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICENESS
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(nice, 19))


_ALL: Final[weakref.WeakSet[Lanes]] = weakref.WeakSet()


def _begin_all_anew() -> None:
    for lanes in _ALL:
        lanes.begin_anew()


os.register_at_fork(after_in_child=_begin_all_anew)
