"""`flask serve` under load: files or memory run out, a worker aborts, it is told to stop.

Further faults of it are in `tests/test_server.py`. The last test here ends the server of all.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psutil
import pytest

from tests import slow
from tests.sessions.crowd import PATIENCE, at_once
from tests.support import NO_LOGIN_LIMITS, PASSWORD, cheap_settings
from tests.test_server import ALICE, SECONDS, Served, ask, served, workers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sets limits as Linux has them")

CLIENTS = 8
LOG_IS_FULL = ("sh", "-c", 'exec "$@" >/dev/full 2>&1', "sh")
"""The system says that the disk is full to whoever writes there (full(4))."""

FILES = 64
MEGABYTE = 1 << 20


@contextmanager
def service(folder: Path, number: int, *wrapper: str) -> Iterator[Served]:
    """So many workers that are ready; Alice has an account."""
    settings = {**cheap_settings(folder), **NO_LOGIN_LIMITS, "FOXTROT_LIMIT_REGISTRATION": "off"}
    with served(settings, "--workers", str(number), wrapper=wrapper) as found:
        assert ask(found.port, "/auth/register", ALICE)[0] == 201
        until(lambda: len(ready(found.process)) == number)
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two workers for the tests of this file, whose log is on a full disk from the start."""
    with service(tmp_path_factory.mktemp("serve"), 2, *LOG_IS_FULL) as found:
        yield found


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def ready(process: subprocess.Popen[str]) -> set[int]:
    """The workers that listen already: each has a thread for every request of its own."""
    return {pid for pid in workers(process) if psutil.Process(pid).num_threads() > 16}


# What runs out


def test_a_full_disk_of_the_log_stops_no_start_and_no_request(server: Served) -> None:
    """What cannot be written down is lost, and the answers come."""
    assert ask(server.port, "/auth/login", ALICE)[0] == 200


def test_large_bodies_take_no_memory(server: Served) -> None:
    """Twenty of ten megabytes at once, at workers that may not grow by thirty: 413, no more."""
    found = [psutil.Process(pid) for pid in workers(server.process)]
    before = sum(one.memory_info().rss for one in found)
    for one in found:
        most = one.memory_info().vms + 30 * MEGABYTE
        resource.prlimit(one.pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    heads = at_once([partial(send_large, server.port, chunked=n % 2 == 0) for n in range(20)])
    grown = sum(one.memory_info().rss for one in found) - before
    for one in found:
        resource.prlimit(one.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    assert {head.split(b" ")[1] for head in heads} == {b"413"}
    assert all(one.is_running() for one in found)
    assert grown < 20 * MEGABYTE


def send_large(port: int, *, chunked: bool) -> bytes:
    """Ten megabytes, in chunks or by their length; gives the answer's first line."""
    frame = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {10 * MEGABYTE}"
    head = f"POST /auth/login HTTP/1.1\r\nHost: localhost:{port}\r\n{frame}\r\n"
    part = b"100000\r\n" + b" " * MEGABYTE + b"\r\n" if chunked else b" " * MEGABYTE
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode())
        with suppress(ConnectionError):  # it need not listen to all of it
            for _ in range(10):
                connection.sendall(part)
        return connection.recv(100)


def test_who_may_open_few_files_serves_few_at_once(tmp_path: Path) -> None:
    """200 idle connections, then 40 at once, with 64 files: 503 at worst, and nobody dies."""
    with service(tmp_path, 1, "prlimit", f"--nofile={FILES}") as found:
        before = workers(found.process)
        token = ask(found.port, "/auth/login", ALICE)[1]["access_token"]
        with slow.clients(found.port, "idle", 200):
            until(lambda: all(open_files(pid) > FILES // 2 for pid in before))
        asked = [("/auth/login", ALICE), ("/api/me", None), ("/.well-known/jwks.json", None)] * 13
        answers = at_once([partial(ask, found.port, *one, token) for one in asked])
        assert {status for status, _ in answers} <= {200, 503}
        assert [ask(found.port, *one, token)[0] for one in asked[:3]] == [200] * 3
        assert workers(found.process) == before
        found.process.terminate()
        assert "Traceback" not in found.process.communicate(timeout=PATIENCE)[0]


def open_files(pid: int) -> int:
    """How many a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


# What clients do


@pytest.mark.parametrize(
    ("head", "statuses"),
    [
        (b"GET /" + b"x" * MEGABYTE + b" HTTP/1.1\r\n", {b"414", b"431"}),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"x" * MEGABYTE + b"\r\n", {b"431"}),
        (b"GET / HTTP/1.1\r\n" + b"X-Many: x\r\n" * 10_000, {b"431"}),
    ],
    ids=["URL", "header", "headers"],
)
def test_a_head_that_is_too_long_is_refused(
    server: Served, head: bytes, statuses: set[bytes]
) -> None:
    """A megabyte, or ten thousand (RFC 9110 section 15.5.15, RFC 6585 section 5)."""
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
        with suppress(ConnectionError):  # it need not listen to all of it
            connection.sendall(head + f"Host: localhost:{server.port}\r\n\r\n".encode())
        with suppress(ConnectionError):
            assert connection.recv(100).split(b" ")[1] in statuses
    assert ask(server.port, "/healthz")[0] == 200


def test_connections_that_are_reset_leave_nothing_open(server: Served) -> None:
    """A hundred, each in the middle of a body, or of an answer."""
    before = {pid: open_files(pid) for pid in workers(server.process)}
    for kind in ("bodies", "readers") * 50:
        connection = slow.connected(server.port, kind)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    until(lambda: all(open_files(pid) <= number + 5 for pid, number in before.items()))
    assert ask(server.port, "/auth/login", ALICE)[0] == 200
    assert workers(server.process) == before.keys()


# Many at once


def test_fifty_writers_at_two_workers_never_see_a_locked_database(server: Served) -> None:
    """Each makes an account, signs in and refreshes; who is too many at once comes again."""
    codes = at_once([partial(write, server.port, number) for number in range(50)])
    assert codes == [[201, 200, 200]] * 50


def write(port: int, number: int) -> list[int]:
    """What one of them is answered."""
    credentials = {"email": f"user{number}@example.com", "password": PASSWORD}
    made = insist(port, "/auth/register", credentials)
    begun = insist(port, "/auth/login", credentials)
    gone_on = insist(port, "/auth/refresh", {"refresh_token": begun[1].get("refresh_token")})
    return [made[0], begun[0], gone_on[0]]


def insist(port: int, path: str, body: object) -> tuple[int, dict[str, str]]:
    """Ask until no lane is lacking (`busy`)."""
    while True:
        status, said = ask(port, path, body, timeout=PATIENCE)
        if said.get("code") != "busy":
            return status, said
        time.sleep(0.05)


# Ends under load


class Client:
    """Asks again and again, each time on a new connection, and counts what comes of it."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.headers = port, {"Authorization": f"Bearer {token}"}
        self.seen: Counter[int | str] = Counter()

    def live(self, over: threading.Event) -> None:
        while not over.wait(0.01):
            connection = HTTPConnection("localhost", self.port, timeout=PATIENCE)
            try:
                connection.connect()
            except OSError:
                self.seen["refused"] += 1
            else:
                self.seen[self._ask(connection)] += 1
            finally:
                connection.close()

    def _ask(self, connection: HTTPConnection) -> int | str:
        try:
            connection.request("GET", "/api/me", headers=self.headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            return "failed"
        return answer.status


@contextmanager
def load(port: int) -> Iterator[list[Client]]:
    """Clients that ask until the block ends."""
    token = ask(port, "/auth/login", ALICE)[1]["access_token"]
    over, clients = threading.Event(), [Client(port, token) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        lives = [pool.submit(client.live, over) for client in clients]
        try:
            each_goes_on(clients)
            yield clients
        finally:
            over.set()
    for life in lives:
        life.result()


def each_goes_on(clients: list[Client]) -> None:
    """Wait until each has been answered a few times more."""
    goals = [client.seen[200] + 5 for client in clients]
    until(lambda: all(one.seen[200] >= n for one, n in zip(clients, goals, strict=True)))


def kinds(clients: list[Client]) -> set[int | str]:
    """What any of them saw."""
    return {kind for client in clients for kind in client.seen}


def test_a_worker_that_aborts_costs_what_it_had_in_hand(server: Served) -> None:
    """Each client loses one request at most, and the next one is answered."""
    before = workers(server.process)
    with load(server.port) as clients:
        os.kill(min(before), signal.SIGABRT)
        each_goes_on(clients)
        until(lambda: len(ready(server.process) - {min(before)}) == len(before))
        each_goes_on(clients)
    assert kinds(clients) <= {200, "failed"}
    assert max(client.seen["failed"] for client in clients) <= 1


def test_sigterm_under_load_fails_no_request(server: Served) -> None:
    """Nobody is let in any more, and whoever was is answered; exit code 0."""
    with load(server.port) as clients:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert kinds(clients) <= {200, "refused"}
