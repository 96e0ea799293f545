"""Hashing lanes: never more hashes at once than lanes, with real threads and processes."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app import lanes as lanes_module
from app.db import db
from app.errors import Busy, Unavailable
from app.lanes import Lanes, cores
from tests.conftest import MakeApp, add_user
from tests.processes import ROOT, clean_environ
from tests.support import ORIGIN, PASSWORD, access_token, get, log_in, post_json, submit

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
SECONDS = 20

ALONE = """
import sys, types
app = sys.modules["app"] = types.ModuleType("app")
app.__path__ = ["app"]  # the room alone: the whole app takes a second to import
import os, threading, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from app.lanes import Lanes
folder = Path(sys.argv[1])
"""

KEEP = """
def work():
    print("in", flush=True)
    sys.stdin.readline()
Lanes(folder, 1).run(work)
"""
"""A process that keeps the one lane until it is told a line."""

HASH = """
lanes = Lanes(folder, 2, patience=60)
def work():
    began = time.monotonic()
    time.sleep(0.01)
    return began, time.monotonic()
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(6) as pool:
    for began, ended in pool.map(lambda _: lanes.run(work), range(30)):
        print(began, ended)
"""
"""A process that puts six jobs at once into two lanes, and says when each began and ended."""


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other threads or processes do."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


@contextmanager
def program(source: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, past its first line."""
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE + source, str(folder)],
        cwd=ROOT,
        env=clean_environ({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() in ("in\n", "ready\n")
            yield process
        finally:
            process.kill()


@contextmanager
def full(lanes: Lanes, jobs: int) -> Iterator[None]:
    """Put jobs into lanes of this process that do not end before the block does."""
    end, begun, threads = threading.Event(), threading.Semaphore(0), []

    def work() -> None:
        begun.release()
        end.wait()

    for number in range(jobs):
        threads.append(threading.Thread(target=lanes.run, args=(work,)))
        threads[-1].start()
        if number < lanes.number:
            assert begun.acquire(timeout=SECONDS)
    until(lambda: lanes.waiting == max(0, jobs - lanes.number))
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_work_is_done_and_its_failures_are_passed_on(tmp_path: Path) -> None:
    """As if it had been called."""
    lanes = Lanes(tmp_path, 1)
    assert lanes.run(lambda: 6 * 7) == 42
    with pytest.raises(ZeroDivisionError):
        lanes.run(lambda: 1 // 0)
    assert lanes.run(lambda: "still there") == "still there"


def test_never_more_at_once_than_lanes(tmp_path: Path) -> None:
    """In one process, with more threads than lanes."""
    lanes, now, most = Lanes(tmp_path, 2), [0], [0]

    def work() -> None:
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.003)
        now[0] -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda _: lanes.run(work), range(60)))
    assert most == [2]


def test_processes_share_the_lanes(tmp_path: Path) -> None:
    """Three processes, six jobs at once in each, two lanes: by the clock that all share."""
    with ExitStack() as opened:
        processes = [opened.enter_context(program(HASH, tmp_path)) for _ in range(3)]
        with ThreadPoolExecutor(3) as pool:
            said = list(
                pool.map(lambda process: process.communicate("go\n", SECONDS)[0], processes)
            )
    spans = [tuple(map(float, line.split())) for line in "".join(said).splitlines()]
    assert len(spans) == 3 * 30
    assert all(sum(b <= at < e for b, e in spans) <= 2 for at, _ in spans)
    assert any(sum(b <= at < e for b, e in spans) == 2 for at, _ in spans)


def test_no_process_starves_another(tmp_path: Path) -> None:
    """Who had a lane stands behind those who wait: none is done long before the others."""
    with ExitStack() as opened:
        processes = [opened.enter_context(program(HASH, tmp_path)) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            said = list(
                pool.map(lambda process: process.communicate("go\n", SECONDS)[0], processes)
            )
    first, second = [[float(line.split()[1]) for line in text.splitlines()] for text in said]
    assert sum(end < max(first) for end in second) > 15
    assert sum(end < max(second) for end in first) > 15


def test_a_process_that_is_killed_leaves_its_lane(tmp_path: Path) -> None:
    """The system frees it, and who waits comes to their turn."""
    with program(KEEP, tmp_path) as process, ThreadPoolExecutor(1) as pool:
        waits = pool.submit(Lanes(tmp_path, 1, patience=SECONDS).run, lambda: "done")
        assert not waits.done()
        process.send_signal(signal.SIGKILL)
        assert waits.result(SECONDS) == "done"


def test_who_waits_too_long_is_refused_and_leaves_the_queue(tmp_path: Path) -> None:
    """Also where the lane is kept by a process that hangs."""
    lanes = Lanes(tmp_path, 1, queue=1, patience=0.05)
    with program(KEEP, tmp_path):
        for _ in range(3):
            with pytest.raises(Busy):
                lanes.run(lambda: "never")
            assert lanes.waiting == 0
    until(lambda: threads_of_lanes() == 0)
    assert lanes.run(lambda: "done") == "done"


def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    """And lets others in again as soon as it is not full."""
    lanes = Lanes(tmp_path, 2, queue=3)
    with full(lanes, 5), pytest.raises(Busy):
        lanes.run(lambda: "never")
    assert lanes.run(lambda: "done") == "done"


def test_a_free_lane_is_found_while_another_is_kept(tmp_path: Path) -> None:
    """By a process that comes with one job only, whichever lane it tries first."""
    with program(KEEP, tmp_path):
        lanes = Lanes(tmp_path, 2)
        assert [lanes.run(lambda: "done") for _ in range(20)] == ["done"] * 20


def test_lanes_that_cannot_be_opened_are_no_reason_to_hash_without(tmp_path: Path) -> None:
    """Refused as whatever else does not answer, until they are there again."""
    (tmp_path / "lanes").write_text("")
    lanes = Lanes(tmp_path / "lanes", 2)
    with pytest.raises(Unavailable):
        lanes.run(lambda: "never")
    (tmp_path / "lanes").unlink()
    assert lanes.run(lambda: "done") == "done"


@ON_LINUX
def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """No thread, no open file, once the work is done."""
    lanes = Lanes(tmp_path, 2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: lanes.run(lambda: None), range(200)))
    until(lambda: threads_of_lanes() == 0)
    assert not [file for file in Path("/proc/self/fd").iterdir() if tmp_path in leads_to(file)]
    assert lanes.waiting == 0


def leads_to(file: Path) -> Sequence[Path]:
    """The folders of an open file; none for one that was closed just now."""
    try:
        return file.readlink().parents
    except OSError:
        return ()


def threads_of_lanes() -> int:
    """How many threads of lanes there are in this process."""
    return sum("_work_in" in thread.name for thread in threading.enumerate())


@ON_LINUX
def test_a_lane_yields_to_other_threads(tmp_path: Path) -> None:
    """Its thread is nicer than ours, and ours as before (setpriority(2))."""

    def nice() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, lanes = nice(), Lanes(tmp_path, 1)
    assert [lanes.run(nice) for _ in range(2)] == [min(19, before + 10)] * 2
    assert nice() == before


FORK = """
lanes, inside, end = Lanes(folder, 1), threading.Event(), threading.Event()
def work():
    inside.set()
    end.wait()
thread = threading.Thread(target=lanes.run, args=(work,))
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    sys.stdin.readline()
    print(lanes.waiting, lanes.run(lambda: "done"), flush=True)
    sys.stdin.readline()
    os._exit(0)
print("in", flush=True)
end.set()
thread.join()
print(lanes.run(lambda: "done"), flush=True)
os.waitpid(child, 0)
"""


def test_a_fork_in_the_middle_of_a_hash_leaves_both_in_order(tmp_path: Path) -> None:
    """The child keeps nothing of its parent's lane, and has lanes of its own."""
    with program(FORK, tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "0 done\n"
        process.communicate("go\n", SECONDS)
        assert process.returncode == 0


# Through the doors


@contextmanager
def busy(client: FlaskClient) -> Iterator[None]:
    """Fill the lanes of the client's app, and the queue before them."""
    lanes: Lanes = client.application.extensions["foxtrot_lanes"]
    with full(lanes, lanes.number + lanes_module.QUEUE):
        yield


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    """The app with two lanes, whatever this machine has; and Alice."""
    app = make_app(FOXTROT_HASH_LANES="2")
    add_user(app, ALICE)
    return app.test_client()


ALICE = "alice@example.com"


@pytest.mark.parametrize("email", [ALICE, "nobody@example.com"])
def test_a_login_beyond_the_queue_is_busy(client: FlaskClient, email: str) -> None:
    """503 and when to come again, known address or not; then as ever."""
    with busy(client):
        answer = log_in(client, email)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "busy")
    assert int(answer.headers["Retry-After"]) > 0
    assert log_in(client, email).status_code in (200, 401)


def test_whatever_hashes_is_busy_then(client: FlaskClient) -> None:
    """Registering, and changing a password."""
    token = access_token(client, ALICE, audience=ORIGIN)
    new = {"email": "bob@example.com", "password": PASSWORD}
    change = {"current_password": PASSWORD, "new_password": f"another {PASSWORD}"}
    bearer = {"Authorization": f"Bearer {token}"}
    with busy(client):
        codes = [
            post_json(client, "/auth/register", new).get_json()["code"],
            post_json(client, "/api/me/password", change, **bearer).get_json()["code"],
        ]
    assert codes == ["busy", "busy"]


def test_a_person_gets_a_page(client: FlaskClient) -> None:
    """That says what to do, in words."""
    with busy(client):
        answer = submit(client, "/login", email=ALICE, password=PASSWORD)
    assert answer.status_code == 503
    assert answer.content_type.startswith("text/html")
    assert "Retry-After" in answer.headers
    assert re.search("Try again in a few seconds", answer.text)


def test_nothing_is_written_down_against_who_was_not_heard(client: FlaskClient) -> None:
    """Busy is no failed sign-in."""
    with busy(client):
        log_in(client, ALICE, "wrong password, long enough")
    runner = client.application.test_cli_runner()
    assert "login.failed" not in runner.invoke(args=["events"]).output


def test_who_is_not_heard_costs_the_database_no_write(client: FlaskClient) -> None:
    """So a flood of sign-ins does not keep those waiting who renew a token."""
    path = Path(client.application.config["FOXTROT_DATA_DIR"]) / "foxtrot.sqlite3"
    new = {"email": "bob@example.com", "password": PASSWORD}
    with closing(sqlite3.connect(path)) as other, busy(client):
        other.execute("BEGIN IMMEDIATE")  # whoever writes now waits for five seconds in vain
        answers = [log_in(client, ALICE), post_json(client, "/auth/register", new)]
    assert [answer.get_json()["code"] for answer in answers] == ["busy", "busy"]


def test_tokens_are_checked_and_renewed_meanwhile(client: FlaskClient) -> None:
    """The guarded API, refreshing, the JWK Set: none of them waits for a lane."""
    begun = log_in(client, ALICE).get_json()
    with busy(client):
        renewed = post_json(client, "/auth/refresh", {"refresh_token": begun["refresh_token"]})
        assert renewed.status_code == 200
        assert get(client, "/api/me", renewed.get_json()["access_token"]).status_code == 200
        assert get(client, "/.well-known/jwks.json").status_code == 200


def test_no_connection_is_held_while_waiting(client: FlaskClient) -> None:
    """Of the database: nobody else has to wait for those who wait."""
    app = client.application
    lanes: Lanes = app.extensions["foxtrot_lanes"]
    with app.app_context():
        pool = db.engine.pool
    with ThreadPoolExecutor(8) as threads, full(lanes, 2):
        logins = [threads.submit(log_in, app.test_client(), ALICE) for _ in range(8)]
        until(lambda: lanes.waiting == 8)
        assert pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool
    assert {login.result().status_code for login in logins} == {200}


# How many lanes there are


def limit(mount: Path, *levels: str) -> Path:
    """Make cgroups below each other; the content of cpu.max of each, from the outermost."""
    folder = mount
    folder.mkdir()
    for number, content in enumerate(levels):
        folder = folder / f"level{number}"
        folder.mkdir()
        (folder / "cpu.max").write_text(content)
    own = mount.parent / "own"
    own.write_text(f"0::/{folder.relative_to(mount)}\n")
    return own


@ON_LINUX
@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (["150000 100000", "max 100000"], [1.5]),
        (["400000 100000", "50000 100000"], [0.5, 4.0]),
        (["max 100000"], []),
        (["nonsense"], []),
        ([], []),
    ],
)
def test_limits_of_containers_count(
    levels: list[str], expected: list[float], tmp_path: Path
) -> None:
    """Those of all levels (Linux, Documentation/admin-guide/cgroup-v2.rst)."""
    own = limit(tmp_path / "cgroup", *levels)
    assert list(lanes_module._quotas(tmp_path / "cgroup", own)) == expected


@ON_LINUX
def test_cores_are_those_that_this_process_may_use() -> None:
    """As many as the system lets it have, at least one."""
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
