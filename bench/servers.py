"""Which server serves the login service best: speed, slow clients, start, stop.

    apt-get install -y wrk
    .venv/bin/pip install -r requirements.txt -r bench/requirements.txt
    .venv/bin/python bench/servers.py

The contenders serve the same app on a SQLite database of their own, each with two processes:
`flask serve` (Granian, and a buffer for bodies before the app's threads), Granian as its own
command serves WSGI, and Gunicorn with `gthread`. Threads are as many as `flask serve` has.

Speed is that of `GET /api/me` with a token, asked by `wrk` over eight connections that stay
open, in turns of some seconds; the figures are requests a second, and the server's processor
time for each. Slow clients are 200 at once of each kind alone, and of all four together: who
sends nothing, who sends half a head, who sends half a body, and who does not read a long answer.
Meanwhile ordinary requests come, each on a new connection; the time of the slowest is printed,
or that none was answered in ten seconds. A stop is SIGTERM while a request's body is on its way.

Ends with status 1 if an ordinary request to `flask serve` took two seconds or more, or if it does
not stop with exit code 0.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.request import Request, urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app.lanes import QUEUE, cores
from tests import slow
from tests.processes import ROOT, clean_environ, free_port, wait_until_up
from tests.support import PASSWORD, cheap_settings

OURS: Final = "flask serve"
WORKERS: Final = 2
THREADS: Final = cores() + QUEUE + 16
PATIENCE: Final = 10.0
MOST: Final = 2.0
"""The promise: seconds for an ordinary request, whoever else is slow."""

ALICE: Final = {"email": "alice@example.com", "password": PASSWORD}


def commands(port: int) -> dict[str, list[str]]:
    """How each contender is started."""
    python, address = sys.executable, f"127.0.0.1:{port}"
    counts = ["--workers", str(WORKERS)]
    granian = [
        "--interface",
        "wsgi",
        "--factory",
        "--blocking-threads",
        str(THREADS),
        "--http",
        "1",
    ]
    gunicorn = ["--worker-class", "gthread", "--threads", str(THREADS), "--no-control-socket"]
    return {
        OURS: [python, "-m", "flask", "serve", "--port", str(port), *counts],
        "granian, WSGI": [
            *[python, "-m", "granian", "app:create_app", "--port", str(port)],
            *[*counts, *granian, "--respawn-failed-workers"],
        ],
        "gunicorn, gthread": [
            *[python, "-m", "gunicorn", "app:create_app()", "--bind", address],
            *[*counts, *gunicorn],
        ],
    }


class Server(NamedTuple):
    """A contender that runs."""

    port: int
    process: subprocess.Popen[str]
    start: float
    token: str


@contextmanager
def running(name: str, folder: Path) -> Iterator[Server]:
    """Start a contender on a data folder of its own; Alice signs in."""
    port, settings = free_port(), cheap_settings(folder)
    environ = clean_environ({**settings, "FLASK_RUN_PORT": str(port)})
    began = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            commands(port)[name], cwd=ROOT, env=environ, stdout=log, stderr=log, text=True
        )
    try:
        wait_until_up(f"http://localhost:{port}/readyz", process)
        start = time.monotonic() - began
        ask(port, "/auth/register", ALICE)
        token = json.loads(ask(port, "/auth/login", ALICE))["access_token"]
        yield Server(port, process, start, token)
    finally:
        process.kill()
        process.wait()
        for pid in pids_below(process.pid):
            subprocess.run(["kill", "-9", str(pid)], check=False, stderr=subprocess.DEVNULL)


def ask(port: int, path: str, body: Any = None, token: str = "") -> bytes:
    """One request on a connection of its own."""
    request = Request(f"http://localhost:{port}{path}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urlopen(request, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def pids_below(pid: int) -> list[int]:
    """All processes that descend from one."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            found += [child, *pids_below(child)]
    return found


def processor_seconds(pid: int) -> float:
    """The processor time of a server so far, with all its processes."""
    return sum(time.clock_gettime(~each << 3 | 2) for each in [pid, *pids_below(pid)])


def speed(server: Server, seconds: int) -> tuple[float, float]:
    """Requests a second, and microseconds of the processor for each."""
    before = processor_seconds(server.process.pid)
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "-H", f"Authorization: Bearer {server.token}"]
    command += [f"http://localhost:{server.port}/api/me"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    spent = processor_seconds(server.process.pid) - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(said)
    requests = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]  # it says so
    return requests / seconds, spent / requests * 1e6


def slowest(server: Server, kinds: Sequence[str]) -> float:
    """The longest that an ordinary request takes beside slow clients; infinite for no answer."""
    taken = []
    with ExitStack() as opened:
        try:
            for kind in kinds:
                opened.enter_context(slow.clients(server.port, kind))
            for path, body in [("/healthz", None), ("/api/me", None), ("/auth/login", ALICE)] * 3:
                began = time.monotonic()
                ask(server.port, path, body, server.token)
                taken.append(time.monotonic() - began)
        except OSError:
            return float("inf")
    return max(taken)


def stop(server: Server) -> tuple[bool, int | None]:
    """Whether a request in hand was answered after SIGTERM, and the exit code."""
    body = json.dumps(ALICE).encode()
    head = slow.KINDS["bodies"].format(port=server.port).replace("60000", str(len(body)))
    with slow.connected(server.port, "idle") as connection:
        connection.sendall(head.encode() + body[:-1])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        try:
            connection.sendall(body[-1:])
            answered = connection.recv(100).startswith(b"HTTP/1.1 200")
        except OSError:
            answered = False
    try:
        return answered, server.process.wait(40)
    except subprocess.TimeoutExpired:
        return answered, None


def measure(name: str, seconds: int) -> bool:
    """Print what a contender does; say whether it keeps the promises."""
    with (
        tempfile.TemporaryDirectory(prefix="foxtrot-bench-") as folder,
        running(name, Path(folder)) as server,
    ):
        print(f"\n{name}\n  start {server.start:.1f} s")
        speed(server, 1)
        rate, spent = speed(server, seconds)
        print(f"  GET /api/me: {rate:.0f} a second, {spent:.0f} µs of the processor each")
        times = {}
        for kinds in [*([kind] for kind in slow.KINDS), list(slow.KINDS)]:
            times[" + ".join(kinds)] = longest = slowest(server, kinds)
            said = "no answer" if longest == float("inf") else f"{longest * 1000:.0f} ms"
            print(f"  beside 200 each of {' + '.join(kinds)}: {said}", flush=True)
        answered, code = stop(server)
        print(f"  SIGTERM: in hand {'answered' if answered else 'LOST'}, exit code {code}")
    return max(times.values()) < MOST and answered and code == 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if `flask serve` breaks a promise."""
    parser = argparse.ArgumentParser(description="Which server serves the login service best.")
    parser.add_argument("--seconds", type=int, default=10, help="of wrk for each (default 10)")
    chosen = parser.parse_args(arguments)
    kept = {name: measure(name, chosen.seconds) for name in commands(0)}
    print(f"\n  {'kept' if kept[OURS] else 'BROKEN'}: slow clients and SIGTERM, {OURS}")
    return 0 if kept[OURS] else 1


if __name__ == "__main__":
    sys.exit(main())
