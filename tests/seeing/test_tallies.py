"""Numbers of several processes: right across workers, after a kill, on a full disk."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from app.tallies import Tallies
from tests.disks import small_disk
from tests.processes import free_port, serving
from tests.seeing.conftest import TOKEN, sample
from tests.sessions.network import call
from tests.support import CHEAP_HASH

FORK = multiprocessing.get_context("fork")
KEY = ("something", "label")


def add(folder: Path, times: int, *, and_die: bool = False) -> None:
    """Count in this process."""
    tallies = Tallies(folder)
    for _ in range(times):
        tallies.add(KEY, (1.0, 0.5))
    tallies.put(("running",), 1.0)
    if and_die:
        os.kill(os.getpid(), signal.SIGKILL)


def in_processes(folder: Path, number: int, times: int, *, and_die: bool = False) -> None:
    """Count in processes of their own, all at once, until they have ended."""
    each = [
        FORK.Process(target=add, args=(folder, times), kwargs={"and_die": and_die})
        for _ in range(number)
    ]
    for process in each:
        process.start()
    for process in each:
        process.join(30)


@pytest.mark.parametrize("and_die", [False, True], ids=["ended", "killed"])
def test_no_count_of_a_process_that_is_no_more_is_lost(tmp_path: Path, and_die: bool) -> None:
    """Whether it ended or was killed; what it had in hand is over."""
    reader = Tallies(tmp_path / "metrics")
    reader.add(KEY, (1.0, 0.5))
    for _ in range(2):
        in_processes(tmp_path / "metrics", 4, 250, and_die=and_die)
        reader.everybodys()
    numbers, processes = reader.everybodys()
    assert numbers[KEY] == [2001.0, 1000.5]
    assert ("running",) not in numbers
    assert processes == 1
    assert sorted(path.suffix for path in (tmp_path / "metrics").iterdir()) == [
        "",
        ".counts",
        ".json",
    ]


def test_many_may_read_while_many_count(tmp_path: Path) -> None:
    """Nothing is counted twice, however many fold the files of the dead at once."""
    folder = tmp_path / "metrics"
    readers = [Tallies(folder) for _ in range(4)]
    in_processes(folder, 3, 50)
    threads = [Thread(target=reader.everybodys) for reader in readers for _ in range(5)]
    for thread in threads:
        thread.start()
    in_processes(folder, 3, 50)
    for thread in threads:
        thread.join()
    assert [reader.everybodys().numbers[KEY][0] for reader in readers] == [300.0] * 4


def test_threads_lose_nothing(tmp_path: Path) -> None:
    """Of one process."""
    tallies = Tallies(tmp_path)

    def count() -> None:
        for _ in range(500):
            tallies.add(KEY, (1.0,))

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tallies.everybodys().numbers[KEY] == [2000.0]
    assert Tallies(tmp_path).everybodys().numbers[KEY] == [2000.0]


def test_a_killed_fold_is_not_done_twice(tmp_path: Path) -> None:
    """Killed after the past was written and before the file was removed, it is not added again."""
    in_processes(tmp_path, 1, 10)
    (dead,) = tmp_path.glob("*.counts")
    content = dead.read_bytes()
    assert Tallies(tmp_path).everybodys().numbers[KEY][0] == 10
    dead.write_bytes(content)
    assert Tallies(tmp_path).everybodys().numbers[KEY][0] == 10
    assert not dead.exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"numbers": 1, "taken": []}'])
def test_a_damaged_past_begins_anew(tmp_path: Path, content: bytes) -> None:
    """Numbers are worth less than answers."""
    (tmp_path / "past.json").write_bytes(content)
    add(tmp_path, 1)
    assert Tallies(tmp_path).everybodys().numbers[KEY][0] == 1


def test_half_a_record_is_passed_over(tmp_path: Path) -> None:
    """Of a process that was killed while it wrote."""
    in_processes(tmp_path, 1, 10)
    (dead,) = tmp_path.glob("*.counts")
    dead.write_bytes(dead.read_bytes() + dead.read_bytes()[:20])
    assert Tallies(tmp_path).everybodys().numbers[KEY][0] == 10


def test_a_full_disk_costs_no_request_and_no_process(tmp_path: Path) -> None:
    """It counts in memory, and makes up for it when there is room again."""
    with small_disk(tmp_path / "disk", "64k") as disk:
        tallies = Tallies(disk.folder / "metrics")
        tallies.add(KEY, (1.0,))
        disk.fill(os.getpid())
        for number in range(500):
            tallies.add((*KEY, "x" * 50, str(number)), (1.0,))
        assert len(tallies.everybodys().numbers) == 501
        disk.free(os.getpid())
        for number in range(500):
            tallies.add((*KEY, "x" * 50, str(number)), (1.0,))
        assert len(Tallies(disk.folder / "metrics").everybodys().numbers) == 501


def test_two_servers_tell_the_sum(tmp_path: Path) -> None:
    """Whichever is asked, and also after one of them was killed."""
    settings = {
        "FOXTROT_DATA_DIR": str(tmp_path),
        "FOXTROT_PASSWORD_HASH": CHEAP_HASH,
        "FOXTROT_METRICS_TOKEN": TOKEN,
    }
    ports = free_port(), free_port()
    with ExitStack() as stack:
        one, _ = (stack.enter_context(serving(port=port, settings=settings)) for port in ports)
        for port, times in zip(ports, (3, 4), strict=True):
            for _ in range(times):
                call(f"http://localhost:{port}/auth/refresh", {"refresh_token": "x"})
        assert [refused(port) for port in ports] == [(7, 2), (7, 2)]
        one.kill()
        one.wait()
        assert refused(ports[1]) == (7, 1)


def refused(port: int) -> tuple[float, float]:
    """How many refreshes were refused, and how many processes count."""
    answer = call(f"http://localhost:{port}/metrics", Authorization=f"Bearer {TOKEN}")
    (count,) = sample(answer.body, "foxtrot_refreshes_total", {"outcome": "refused"})
    (workers,) = sample(answer.body, "foxtrot_workers", {})
    return count, workers
