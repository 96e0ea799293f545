"""What it costs to guard a Flask route on a real server: requests a second, by those of a bare one.

    apt-get install -y wrk nodejs npm
    .venv/bin/pip install -r bench/requirements.txt && .venv/bin/python bench/server.py

Each contender is served by a Gunicorn of its own, with one worker of four threads, and
asked by `wrk` over eight connections that stay open. All get the same few tokens over and
over, which every guard has seen; what a new token costs is in `bench/guard.py`, whose
contenders these are. Ours has its default settings: it finds the ES256 keys by the
issuer's URL and asks its status list (`bench/issuer.py`). The others have no such list.

The fast peer from another language is @fastify/jwt with its cache, in one process of
Node.js, installed by npm into a temporary folder; left out, with a line that says so,
where there is no Node.js or nothing can be installed. It is compared with a bare fastify
route, too; like the hand-written decorator it looks at no scope.

The contenders take turns of a second in a shuffled order, and are divided within a round:
by the bare route of their framework, and by the bare Flask route. The figure printed is
the median over the rounds. Requests a second are not printed: they tell about the machine.
They also depend on what else it does, and much, so that on a busy one the same figure is
good to a tenth or two only. Requests for a second of the server's processor time depend on
it less; these are printed beside them, and promise nothing.

Ends with status 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module as peer
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from bench.guard import BARE, BY_HAND, OURS, OURS_WITHOUT, TURN, Application, contenders
from bench.issuer import AUDIENCE, ENDED, FORK, PEM, SECRET, Issuer, running

HERE: Final = Path(__file__).resolve().parent
CONNECTIONS: Final = 8
THREADS: Final = 4
SECONDS: Final = 60
"""For a server to start or to stop; npm has twice as long."""

LEAST: Final = 0.9
"""The promise: requests a second, by those of the bare route."""

IN_FLASK: Final = (
    BARE,
    OURS,
    OURS_WITHOUT,
    BY_HAND,
    "flask-jwt-extended",
    "Authlib ResourceProtector",
)
BARE_FASTIFY: Final = "bare fastify route"
IN_FASTIFY: Final = {
    BARE_FASTIFY: "",
    "@fastify/jwt, cache": "hash",
    "@fastify/jwt, cache keyed by token": "token",
}

SCRIPT: Final = """
local tokens, requests, last = {%s}, {}, 0
function init()
  for i, token in ipairs(tokens) do
    requests[i] = wrk.format("GET", "/notes", {["Authorization"] = "Bearer " .. token})
  end
end
function request()
  last = last %% #requests + 1
  return requests[last]
end
function done(summary)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('\\n[%%d, %%d, %%d]\\n', summary.requests, summary.duration, failed))
end
"""
"""For wrk: the tokens in turn; at the end, requests, microseconds and failures."""


class Server(NamedTuple):
    """Where it listens, and the process that answers."""

    port: int
    pid: int


class Rate(NamedTuple):
    """Requests a second: by the clock on the wall, and of the server's processor time."""

    wall: float
    processor: float


Round = dict[str, Rate]
"""What each contender did in its turn."""


# The servers.


@contextmanager
def gunicorn(application: Application) -> Iterator[Server]:
    """Serve a WSGI application."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        process = FORK.Process(target=serve, args=(application, listening.fileno()))
        process.start()
    try:
        assert process.pid is not None
        yield Server(port, worker_of(process.pid))
    finally:
        process.terminate()
        process.join(SECONDS)


def worker_of(pid: int) -> int:
    """Wait for the one worker of a Gunicorn to be there; give its process."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.05)
    raise RuntimeError("Gunicorn has no worker.")


def serve(application: Application, listening: int) -> None:
    """Be a Gunicorn with one worker, on a socket that listens already."""
    settings = {
        "bind": f"fd://{listening}",
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": SECONDS,
        "graceful_timeout": 1,
        "loglevel": "error",
        "control_socket_disable": True,
    }

    def load_config(self: Any) -> None:
        for name, value in settings.items():
            self.cfg.set(name, value)

    base = peer("gunicorn.app.base").BaseApplication
    members = {"load_config": load_config, "load": lambda _self: application}
    type("Server", (base,), members)().run()


@contextmanager
def fastify(folder: Path, issuer: Issuer, cache: str) -> Iterator[Server]:
    """Serve the route with Node.js."""
    settings = {
        "CACHE": cache,
        "ALGORITHM": issuer.algorithm,
        "ISSUER": issuer.url,
        "AUDIENCE": AUDIENCE,
        "KEY": SECRET.hex() if issuer.algorithm == "HS256" else PEM.decode(),
        "NODE_ENV": "production",
        "NODE_NO_WARNINGS": "1",
    }
    process = subprocess.Popen(
        ["node", folder / "fastify.mjs"], env=os.environ | settings, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield Server(int(process.stdout.readline()), process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def installed_fastify(folder: Path) -> bool:
    """Install what the peer in Node.js needs; False, and a line, if that cannot be done."""
    for name in ("package.json", "fastify.mjs"):
        shutil.copy(HERE / name, folder)
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=2 * SECONDS)
        subprocess.run(["node", "--version"], check=True, capture_output=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"@fastify/jwt: left out, it cannot be installed here: {error}")
        return False
    return True


@contextmanager
def servers(issuer: Issuer, folder: Path | None) -> Iterator[dict[str, Server]]:
    """Serve every contender. Without a *folder*, none in Node.js."""
    with ExitStack() as opened:
        found = {
            name: opened.enter_context(gunicorn(application))
            for name, application in contenders(issuer, IN_FLASK).items()
        }
        for name, cache in IN_FASTIFY.items() if folder else ():
            assert folder is not None
            found[name] = opened.enter_context(fastify(folder, issuer, cache))
        for name, server in found.items():
            require_guard(name, server.port, issuer)
        yield found


def status_of(port: int, token: str) -> int:
    """Ask once, with that token."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/notes")
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def require_guard(name: str, port: int, issuer: Issuer) -> None:
    """Make sure that a guard lets the right ones in, and ours nobody whose session has ended."""
    token = issuer.sign(0)
    head, _, signature = token.rpartition(".")
    if status_of(port, token) != 200:
        raise RuntimeError(f"{name} refuses a good token.")
    if name not in (BARE, BARE_FASTIFY) and status_of(port, f"{head}.{signature[::-1]}") == 200:
        raise RuntimeError(f"{name} lets a forged token in.")
    if name == OURS and status_of(port, issuer.sign(0, place=ENDED[0])) == 200:
        raise RuntimeError(f"{name} lets a token in whose session has ended.")


# The measuring.


def processor_seconds(pid: int) -> float:
    """The processor time of another process, whose clock is named so (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | 2)


def one_turn(server: Server, script: Path) -> Rate:
    """Let wrk ask for a second; every answer must be a good one."""
    address = f"http://127.0.0.1:{server.port}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1s", "-s", str(script), address]
    start = processor_seconds(server.pid)
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    spent = processor_seconds(server.pid) - start
    requests, microseconds, failed = json.loads(answer.stdout.splitlines()[-1])
    if failed or not requests:
        raise RuntimeError(f"Of {requests} requests, {failed} failed:\n{answer.stdout}")
    return Rate(requests / microseconds * 1e6, requests / spent)


def one_round(found: dict[str, Server], script: Path) -> Round:
    """Let each contender have its turn."""
    names = random.sample(list(found), len(found))
    measured = {name: one_turn(found[name], script) for name in names}
    return {name: measured[name] for name in found}


def ratio(rounds: Sequence[Round], name: str, base: str) -> Rate:
    """The medians over the rounds."""
    walls = [each[name].wall / each[base].wall for each in rounds]
    return Rate(
        median(walls), median(each[name].processor / each[base].processor for each in rounds)
    )


def show(title: str, rounds: Sequence[Round]) -> None:
    """Print one table."""
    print(f"\n{title:38}{'x bare':>8}{'of CPU':>8}{'x bare Flask':>14}{'of CPU':>8}")
    for name in rounds[0]:
        base = BARE_FASTIFY if name in IN_FASTIFY else BARE
        own, flask = ratio(rounds, name, base), ratio(rounds, name, BARE)
        print(
            f"  {name:36}{own.wall:8.2f}{own.processor:8.2f}"
            f"{flask.wall:14.2f}{flask.processor:8.2f}"
        )


def kept(promise: str, value: float) -> bool:
    """Print whether the promise is kept."""
    good = value >= LEAST
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:.3f} (at least {LEAST:.2f})")
    return good


def compare(algorithm: str, number: int, folder: Path, *, with_fastify: bool) -> bool:
    """Measure all contenders with one algorithm; say whether the promise is kept."""
    with running(algorithm) as issuer, servers(issuer, folder if with_fastify else None) as found:
        script = folder / f"{algorithm}.lua"
        script.write_text(SCRIPT % ", ".join(f'"{issuer.sign(each)}"' for each in range(TURN)))
        one_round(found, script)
        measured = [one_round(found, script) for _ in range(number)]
    show(f"{algorithm}, a token seen before", measured)
    rate = ratio(measured, OURS, BARE).wall
    return kept(f"{algorithm}, requests a second, by those of a bare route", rate)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What it costs to guard a route on a server.")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that count (default 15)")
    chosen = parser.parse_args(arguments)
    if not shutil.which("wrk"):
        parser.error("wrk is needed: apt-get install -y wrk")
    try:
        peer("gunicorn")
    except ModuleNotFoundError:
        parser.error("Gunicorn is needed: pip install -r bench/requirements.txt")
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    chosen = options(arguments)
    with tempfile.TemporaryDirectory(prefix="foxtrot-bench-") as name:
        folder = Path(name)
        with_fastify = installed_fastify(folder)
        results = [
            compare(algorithm, chosen.rounds, folder, with_fastify=with_fastify)
            for algorithm in ("ES256", "HS256")
        ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
