"""`flask serve`, as a process with workers of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskCliRunner

from tests import slow
from tests.processes import ROOT, clean_environ, flask, free_port, stop, wait_until_up
from tests.support import NO_LOGIN_LIMITS, PASSWORD, cheap_settings

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
SECONDS = 20
SLOW_HASH = "scrypt:65536:8:2"
"""Some tenths of a second."""

ALICE = {"email": "alice@example.com", "password": PASSWORD}


class Served(NamedTuple):
    """A running server."""

    port: int
    process: subprocess.Popen[str]


@contextmanager
def served(
    settings: dict[str, str], *arguments: str, wrapper: Sequence[str] = ()
) -> Iterator[Served]:
    """Run `flask serve` until the block ends."""
    port = free_port()
    process = subprocess.Popen(
        [*wrapper, *flask("serve", "--port", str(port), *arguments)],
        cwd=ROOT,
        env=clean_environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_up(f"http://localhost:{port}/readyz", process)
        yield Served(port, process)
    finally:
        stop(process)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data of this module are."""
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Served]:
    """Three workers that start at once on an empty folder; Alice has an account."""
    with served({**cheap_settings(folder), **NO_LOGIN_LIMITS}, "--workers", "3") as found:
        assert ask(found.port, "/auth/register", ALICE)[0] == 201
        yield found


def ask(
    port: int, path: str, body: Any = None, token: str | None = None, timeout: float = SECONDS
) -> tuple[int, Any]:
    """One request on a connection of its own; the status and the JSON of the answer."""
    request = urllib.request.Request(f"http://localhost:{port}{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def raw(port: int, *parts: bytes) -> str:
    """All that the server answers on a connection, which it is to close."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        with suppress(ConnectionError):
            while more := connection.recv(65_536):
                answer += more
    return answer.decode("latin-1")


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def workers(process: subprocess.Popen[str]) -> set[int]:
    """The processes of a server that answer requests."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    everywhere = children.parent.parent.glob("*/children")
    pids = {int(pid) for file in everywhere for pid in file.read_text().split()}
    return {pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


# What it serves


def test_it_serves_what_flask_run_serves(server: Served) -> None:
    """Signing in, the guarded API, a page and a file; with the URL in use as the issuer."""
    status, begun = ask(server.port, "/auth/login", ALICE)
    assert status == 200
    assert ask(server.port, "/api/me", token=begun["access_token"])[1]["email"] == ALICE["email"]
    metadata = ask(server.port, "/.well-known/oauth-authorization-server")[1]
    assert metadata["issuer"] == f"http://localhost:{server.port}"
    with urllib.request.urlopen(f"http://localhost:{server.port}{slow.LARGE}") as answer:
        assert answer.read() == (ROOT / "app" / slow.LARGE[1:]).read_bytes()


def test_all_workers_made_one_key_and_one_secret(server: Served) -> None:
    """A token of each is good at all."""
    tokens = [ask(server.port, "/auth/login", ALICE)[1]["access_token"] for _ in range(8)]
    assert {ask(server.port, "/api/me", token=token)[0] for token in tokens * 2} == {200}


REQUESTS = {
    "HEAD": (b"HEAD /login HTTP/1.1\r\n%s\r\n", 200),
    "a body by chunks": (
        b"POST /auth/logout HTTP/1.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n%s\r\n2\r\n{}\r\n0\r\n\r\n",
        204,
    ),
    "a part of a file": (
        b"GET /static/style.css HTTP/1.1\r\nRange: bytes=0-9\r\n%s\r\n",
        206,
    ),
    "a long body": (
        b"POST /auth/login HTTP/1.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 70000\r\n%s\r\n" + b" " * 70_000,
        413,
    ),
    "endless chunks": (
        b"POST /auth/login HTTP/1.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n%s\r\n" + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 4,
        413,
    ),
    "two lengths": (
        b"POST /login HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n%s\r\n",
        400,
    ),
    "no path of ours": (b"GET /%%ff%%00/../x HTTP/1.1\r\n%s\r\n", 404),
    "nonsense": (b"\x16\x03\x01\r\n%s\r\n", 400),
}


@pytest.mark.parametrize(("request_", "status"), REQUESTS.values(), ids=REQUESTS.keys())
def test_requests_of_all_shapes(server: Served, request_: bytes, status: int) -> None:
    """Each gets its answer, and the next client too."""
    ends = f"Host: localhost:{server.port}\r\nConnection: close\r\n".encode()
    head, _, _ = raw(server.port, request_ % ends).partition("\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert ask(server.port, "/healthz")[0] == 200


FORM = b"Content-Type: application/x-www-form-urlencoded\r\n%s"
CUT_OFF = {
    "by its length": FORM + b"Content-Length: 99\r\n\r\nclient_id=foxtrot&token=abc",
    "between chunks": FORM + b"Transfer-Encoding: chunked\r\n\r\n7\r\ntoken=a\r\n",
    "in a chunk": FORM + b"Transfer-Encoding: chunked\r\n\r\n9\r\ntoken=a",
    "by nonsense": FORM + b"Transfer-Encoding: chunked\r\n\r\n7\r\ntoken=a\r\nzz\r\n",
}


@pytest.mark.parametrize("request_", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_body_that_broke_off_is_not_taken_for_the_whole(server: Served, request_: bytes) -> None:
    """Half a password must not become somebody's password (RFC 9112 section 8)."""
    head = f"POST /oauth/revoke HTTP/1.1\r\nHost: localhost:{server.port}\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port), SECONDS) as connection:
        connection.sendall(head + request_ % b"")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-length: 0" in answer, "the app was asked"


def test_a_header_with_an_underscore_is_not_taken_for_another(server: Served) -> None:
    """A proxy that removes `X-Real-Thing` may leave `X_Real_Thing` (RFC 3875 section 4.1.18)."""
    wrong = f"GET /api/me HTTP/1.1\r\nHost: localhost:{server.port}\r\nConnection: close\r\n"
    said = raw(server.port, f"{wrong}X: 1\r\nContent_Type: a\r\nAuthoriz_ation: x\r\n\r\n".encode())
    assert said.startswith("HTTP/1.1 401 ")


# Slow clients


def slowest(server: Served, token: str) -> float:
    """The seconds that the slowest of ordinary requests takes, each on a new connection."""
    taken = []
    for path, body in [("/healthz", None), ("/api/me", None), ("/auth/login", ALICE)] * 5:
        began = time.monotonic()
        assert ask(server.port, path, body, token)[0] == 200
        taken.append(time.monotonic() - began)
    return max(taken)


def test_slow_clients_keep_nobody_waiting(server: Served) -> None:
    """200 of each kind at once: no request; half a head; half a body; an answer not read."""
    token = ask(server.port, "/auth/login", ALICE)[1]["access_token"]
    with ExitStack() as opened:
        for kind in slow.KINDS:
            opened.enter_context(slow.clients(server.port, kind))
        assert slowest(server, token) < 2


def test_a_body_that_does_not_come_is_given_up(server: Served) -> None:
    """After ten seconds in all, however often a byte of it comes (RFC 9110 section 15.5.9)."""
    with slow.clients(server.port, "bodies", 1) as (connection,):
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")


# The end


def test_sigterm_finishes_what_is_in_hand(server: Served, folder: Path) -> None:
    """Exit code 0; nobody who was heard is left without an answer."""
    settings = {**cheap_settings(folder), **NO_LOGIN_LIMITS, "FOXTROT_PASSWORD_HASH": SLOW_HASH}
    with served(settings, "--workers", "2") as other, ThreadPoolExecutor(4) as pool:
        logins = [pool.submit(ask, other.port, "/auth/login", ALICE) for _ in range(2)]
        until(lambda: taken(folder / "lanes") > 0)
        other.process.send_signal(signal.SIGTERM)
        assert [login.result()[0] for login in logins] == [200] * 2
        assert other.process.wait(SECONDS) == 0


def taken(folder: Path) -> int:
    """How many lanes are locked, as the system has it (proc_locks(5))."""
    numbers = {file.stat().st_ino for file in folder.glob("[0-9]")}
    locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sum(int(lock[5].rpartition(":")[2]) in numbers for lock in locks if lock[1] == "FLOCK")


@ON_LINUX
def test_a_worker_that_is_killed_is_replaced(server: Served) -> None:
    """The others answer meanwhile."""
    before = workers(server.process)
    assert len(before) == 3
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(workers(server.process) - before) == 1)
    until(lambda: answers(server.port))
    assert [answers(server.port) for _ in range(10)] == [True] * 10


def answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


# What is refused


def test_debug_mode_is_refused(runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only this machine is served."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with socket.create_server(("127.0.0.1", 0)) as other:  # in any case nothing is served here
        done = runner.invoke(args=["serve", "--port", str(other.getsockname()[1])])
    assert (done.exit_code, "FLASK_DEBUG" in done.output) == (1, True)


def test_a_taken_port_is_said_in_one_line(runner: FlaskCliRunner) -> None:
    """Before any worker is started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        done = runner.invoke(args=["serve", "--port", port])
    assert done.exit_code == 1
    assert f"Port {port} is in use" in done.output


def test_it_stops_without_a_word(tmp_path: Path) -> None:
    """No worker is torn down under threads that still run, which would abort it."""
    for number in range(3):
        with served(cheap_settings(tmp_path / str(number)), "--workers", "2") as found:
            found.process.send_signal(signal.SIGTERM)
            assert found.process.wait(30) == 0
            assert "panic" not in (found.process.stdout.read() if found.process.stdout else "")


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """Not even one that was killed: the port is free again."""
    with served(cheap_settings(tmp_path), "--workers", "2") as found:
        found.process.kill()
        found.process.wait(30)
        until(lambda: not listens(found.port))


def listens(port: int) -> bool:
    """Say whether anybody is there."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
