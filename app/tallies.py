"""Numbers that the processes of one machine add up together.

Each process keeps its own in memory and in a file of its own, which it locks for as long
as it lives. Whoever reads them adds up all files; those whose process has died are folded into one
file of the past, so that nothing counted is lost by a kill or a restart, and the folder
does not grow. Nobody has to clean up at the start, and none of many workers goes first.

The numbers are written and not mapped into memory: where the disk is full a write is
refused and made up for later, while a mapped page would kill the process (SIGBUS).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct, error, pack
from typing import Final, NamedTuple

Key = tuple[str, ...]
Numbers = dict[Key, list[float]]

_HEAD: Final = Struct("<HHI")
_SUFFIX: Final = ".counts"
_PAST: Final = "past.json"
_LOCK: Final = "lock"
_PASSING: Final = 1

_log = logging.getLogger("foxtrot.app")


class Everybodys(NamedTuple):
    """The sums over all processes, and how many of them live."""

    numbers: Numbers
    processes: int


class Tallies:
    """The numbers of this process, beside those of the others in the same folder.

    Safe with threads, and with processes that are forked after it was made.

    :param folder: made when the first number is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file = _File(folder)

    def add(self, key: Key, amounts: Sequence[float]) -> None:
        """Add to the numbers of that key, one by one; they last when the process ends."""
        with self._lock:
            numbers = self._mine().numbers.setdefault(key, [0.0] * len(amounts))
            for place, amount in enumerate(amounts):
                numbers[place] += amount
            self._file.write(key, numbers, lasting=True)

    def put(self, key: Key, value: float) -> None:
        """Replace the number of that key; it is forgotten when the process ends."""
        with self._lock:
            self._mine().numbers[key] = [value]
            self._file.write(key, [value], lasting=False)

    def everybodys(self) -> Everybodys:
        """Add up what all processes have counted, those that died included."""
        with self._lock:
            mine = self._mine()
            sums = {key: list(numbers) for key, numbers in mine.numbers.items()}
        try:
            others = _others(self._folder, mine.name)
        except OSError as problem:
            _log.warning("The numbers of other processes cannot be read: %s", problem)
            others = []
        for numbers in others:
            _add(sums, numbers)
        return Everybodys(sums, 1 + len(others[1:]))

    def _mine(self) -> _File:
        if self._file.process != os.getpid():
            self._file = _File(self._folder)
        return self._file


class _File:
    """The numbers of one process: what it has counted, and where in its file each stands."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self.name = f"{self.process}.{secrets.token_hex(8)}{_SUFFIX}"
        self.numbers: Numbers = {}
        self._places: dict[Key, int] = {}
        self._end = 0
        self._folder = folder
        self._descriptor: int | None = None

    def write(self, key: Key, numbers: Sequence[float], *, lasting: bool) -> None:
        """Bring the file up to date; what cannot be written now is with the next write."""
        try:
            if self._descriptor is None:
                self._descriptor = _create(self._folder, self.name)
                weakref.finalize(self, os.close, self._descriptor)
            place = self._places.get(key)
            if place is not None:
                os.pwrite(self._descriptor, pack(f"<{len(numbers)}d", *numbers), place)
            else:
                self._append(self._descriptor, key, numbers, lasting)
        except OSError as problem:
            _log.warning("A number cannot be written down now: %s", problem)

    def _append(self, descriptor: int, key: Key, numbers: Sequence[float], lasting: bool) -> None:
        text = json.dumps(key).encode()
        head = _HEAD.pack(len(text), len(numbers), 0 if lasting else _PASSING)
        record = head + text + pack(f"<{len(numbers)}d", *numbers)
        if os.pwrite(descriptor, record, self._end) == len(record):  # else the next overwrites it
            self._places[key] = self._end + len(head) + len(text)
            self._end += len(record)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Make files and fold them one process after the other."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a process forked meanwhile has it open, too
        os.close(descriptor)


def _create(folder: Path, name: str) -> int:
    """Make the file of a process and lock it, before anybody can take it for a dead one's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _turn(folder):
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(folder / name, flags, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _others(folder: Path, mine: str) -> list[Numbers]:
    """The numbers of the past, then those of each other process that lives."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _turn(folder):
        files = [path for path in folder.glob(f"*{_SUFFIX}") if path.name != mine]
        dead = [path for path in files if _is_dead(path)]
        past = _fold(folder, dead)
        living = [_read(path) for path in files if path not in dead]
    return [past, *({key: list(n) for key, (n, _) in numbers.items()} for numbers in living)]


def _is_dead(path: Path) -> bool:
    """Say whether nobody holds the lock of a file: the system gives it back at any end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        return True
    finally:
        os.close(descriptor)


def _fold(folder: Path, dead: Sequence[Path]) -> Numbers:
    """Add the files of the dead to the past, each once, and remove them.

    Whoever is killed in between leaves a past that names what it has taken in already.
    """
    past, taken = _read_past(folder / _PAST)
    new = [path for path in dead if path.name not in taken]
    for path in new:
        _add(past, {key: numbers for key, (numbers, lasting) in _read(path).items() if lasting})
    if new:
        _write_past(folder / _PAST, past, [path.name for path in dead])
    for path in dead:
        path.unlink(missing_ok=True)
    return past


def _read_past(path: Path) -> tuple[Numbers, frozenset[str]]:
    try:
        said = json.loads(path.read_text("ascii"))
        numbers = {tuple(key): [float(n) for n in values] for key, values in said["numbers"]}
        return numbers, frozenset(said["taken"])
    except FileNotFoundError:
        return {}, frozenset()
    except (ValueError, KeyError, TypeError):
        _log.warning("%s is damaged; the numbers of the past begin anew.", path)
        return {}, frozenset()


def _write_past(path: Path, numbers: Numbers, taken: Sequence[str]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"numbers": list(numbers.items()), "taken": list(taken)}), "ascii")
    beside.replace(path)


def _read(path: Path) -> dict[Key, tuple[list[float], bool]]:
    """What stands in the file of a process, up to what it may be writing just now."""
    found: dict[Key, tuple[list[float], bool]] = {}
    with suppress(error, ValueError):
        content, place = path.read_bytes(), 0
        while place < len(content):
            length, count, flags = _HEAD.unpack_from(content, place)
            numbers = place + _HEAD.size + length
            key = tuple(json.loads(content[place + _HEAD.size : numbers]))
            values = Struct(f"<{count}d").unpack_from(content, numbers)
            found[key] = list(values), flags != _PASSING
            place = numbers + 8 * count
    return found


def _add(sums: Numbers, more: Mapping[Key, Sequence[float]]) -> None:
    for key, numbers in more.items():
        known = sums.get(key)
        if known is None or len(known) != len(numbers):  # of another version: the newest counts
            sums[key] = list(numbers)
        else:
            sums[key] = [one + other for one, other in zip(known, numbers, strict=True)]
