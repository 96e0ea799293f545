"""What logins get of the machine, and what a flood of them leaves to everybody else.

    apt-get install -y wrk
    .venv/bin/pip install -r requirements-test.txt -r bench/requirements.txt
    .venv/bin/python bench/login.py

The first figure is logins a second, by those that the machine could do if it did nothing but hash:
its cores, less the processor time of the clients of this bench, divided by the time of one hash.
That is measured in the same turn, with as many threads hashing as there are cores, because memory
is shared; the time of one alone is printed beside it. Sixteen clients log in over connections that
stay open, each with the next of sixteen accounts. Done for the default hash, and for
cheaper ones.

The second part is the guarded API, `GET /api/me` with a token seen before, asked by `wrk` over
eight connections: idle, and while sixteen clients log in as fast as they can. Requests a second
and the 99th percentile of their times are divided by the idle ones of the same round. Two others
are measured beside it, on the same server with the same workers, threads and hash, and no lanes:
an app with flask-jwt-extended, and one by hand with PyJWT. They have no database.

Ends with status 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from importlib import import_module as peer
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import jwt
from flask import Flask, Response, request
from werkzeug.security import check_password_hash, generate_password_hash

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app import passwords, server
from app.lanes import QUEUE, cores
from tests.processes import ROOT, clean_environ, free_port, stop, wait_until_up
from tests.support import NO_LOGIN_LIMITS, PASSWORD

DEFAULT: Final = "scrypt:16384:8:5"
HALF: Final = "scrypt:8192:8:5"
"""Half of that."""

CHEAPEST: Final = passwords.ARGON2ID_DEFAULT
"""The cheapest that is recommended; what a login costs besides weighs most beside it."""

LEAST: Final = {DEFAULT: 0.95, HALF: 0.85, CHEAPEST: 0.0}
"""The promise: logins, by those that the machine could do. For the last one there is none."""

KEPT: Final = 0.6
"""The promise: requests a second to the guarded API in a flood, by those without."""

LONGER: Final = 3.0
"""The promise: the 99th percentile of their times in a flood, by that without."""

CLIENTS: Final = 16
WORKERS: Final = max(2, cores())
THREADS: Final = cores() + QUEUE + 16
OURS: Final = "Foxtrot"
EXTENDED: Final = "flask-jwt-extended"
BY_HAND: Final = "by hand"
SECRET: Final = "a secret of this bench, which is long enough"
METHOD: Final = "BENCH_HASH"

ACCOUNTS: Final = [f"user{number}@example.com" for number in range(CLIENTS)]

SCRIPT: Final = """
function done(summary, latency)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format('\\n[%d, %d, %d, %d]\\n',
    summary.requests, summary.duration, latency:percentile(99), failed))
end
"""
"""For wrk: requests, microseconds, the 99th percentile in microseconds, failures."""


# The others, in the processes that serve them.


def by_hand() -> Flask:
    """Log in and guard with PyJWT alone."""
    app, stored = Flask("by_hand"), generate_password_hash(PASSWORD, os.environ[METHOD])

    @app.post("/auth/login")
    def log_in() -> Any:
        body = request.get_json()
        if not check_password_hash(stored, body["password"]):
            return {"error": "wrong"}, 401
        claims = {"sub": body["email"], "exp": int(time.time()) + 900}
        return {"access_token": jwt.encode(claims, SECRET, "HS256")}

    @app.get("/api/me")
    def me() -> Any:
        text = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = jwt.decode(text, SECRET, ["HS256"])
        except jwt.InvalidTokenError:
            return Response(status=401)
        return {"email": claims["sub"]}

    app.get("/readyz")(lambda: "ready")
    return app


def extended() -> Flask:
    """Log in and guard with flask-jwt-extended."""
    library: Any = peer("flask_jwt_extended")
    app, stored = Flask("extended"), generate_password_hash(PASSWORD, os.environ[METHOD])
    app.config["JWT_SECRET_KEY"] = SECRET
    library.JWTManager(app)

    @app.post("/auth/login")
    def log_in() -> Any:
        body = request.get_json()
        if not check_password_hash(stored, body["password"]):
            return {"error": "wrong"}, 401
        return {"access_token": library.create_access_token(identity=body["email"])}

    def me() -> Any:
        return {"email": library.get_jwt_identity()}

    app.get("/api/me")(library.jwt_required()(me))
    app.get("/readyz")(lambda: "ready")
    return app


OTHERS: Final[dict[str, Callable[[], Flask]]] = {EXTENDED: extended, BY_HAND: by_hand}


@contextmanager
def running(name: str, method: str, folder: Path) -> Iterator[int]:
    """Serve a contender; give its port."""
    port, settings = free_port(), {METHOD: method}
    if name == OURS:
        settings = {
            "FOXTROT_DATA_DIR": str(folder),
            "FOXTROT_PASSWORD_HASH": method,
            **NO_LOGIN_LIMITS,
        }
        command = [sys.executable, "-m", "flask", "serve", "--port", str(port)]
        command += ["--workers", str(WORKERS), "--threads", str(THREADS)]
    else:
        command = [sys.executable, str(Path(__file__).resolve()), "--serve", name, str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environ(settings), stdout=log, stderr=log, text=True
        )
    try:
        wait_until_up(f"http://localhost:{port}/readyz", process)
        if name == OURS:
            for email in ACCOUNTS:
                call(HTTPConnection("localhost", port), "/auth/register", email)
        yield port
    finally:
        stop(process)


# The clients.


def call(connection: HTTPConnection, path: str, email: str, password: str = PASSWORD) -> int:
    """Send an address and a password; give the status."""
    body = json.dumps({"email": email, "password": password})
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def token_of(port: int) -> str:
    """Log in once, and take the token."""
    connection = HTTPConnection("localhost", port)
    body = json.dumps({"email": ACCOUNTS[0], "password": PASSWORD})
    connection.request("POST", "/auth/login", body, {"Content-Type": "application/json"})
    return str(json.load(connection.getresponse())["access_token"])


class Flood:
    """Clients that log in again and again, until they are told to stop."""

    def __init__(self, port: int) -> None:
        self._end = threading.Event()
        self._port = port
        self.statuses: list[int] = []
        self._threads = [threading.Thread(target=self._log_in, args=(each,)) for each in ACCOUNTS]

    def __enter__(self) -> Flood:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _log_in(self, email: str) -> None:
        connection = HTTPConnection("localhost", self._port, timeout=60)
        while not self._end.is_set():
            self.statuses.append(call(connection, "/auth/login", email))
            if self.statuses[-1] == 503:
                self._end.wait(1)


# The measuring.


def hash_seconds(method: str, threads: int, seconds: float) -> float:
    """The time of one hash, with so many at once."""
    stored = passwords.hash_password(PASSWORD, method)
    until = time.monotonic() + seconds

    def work(_: int) -> list[float]:
        taken = []
        while time.monotonic() < until:
            began = time.monotonic()
            passwords.verify(stored, PASSWORD, method)
            taken.append(time.monotonic() - began)
        return taken

    with ThreadPoolExecutor(threads) as pool:
        return median([each for taken in pool.map(work, range(threads)) for each in taken])


def login_turn(port: int, method: str, seconds: float) -> float:
    """Logins, by those that the machine could do; hashing alone is timed before and after."""
    before = hash_seconds(method, cores(), seconds / 4)
    with Flood(port) as flood:
        time.sleep(1)
        spent, began, first = time.process_time(), time.monotonic(), flood.statuses.count(200)
        time.sleep(seconds)
        done = flood.statuses.count(200) - first
        wall, spent = time.monotonic() - began, time.process_time() - spent
    each = (before + hash_seconds(method, cores(), seconds / 4)) / 2
    return done / ((wall * cores() - spent) / each)


class Api(NamedTuple):
    """What the guarded API does: requests a second, and the 99th percentile in milliseconds."""

    rate: float
    longest: float


def api_turn(port: int, token: str, seconds: int, script: Path) -> Api:
    """Let wrk ask for some seconds; every answer must be a good one."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "-s", str(script)]
    command += ["-H", f"Authorization: Bearer {token}", f"http://localhost:{port}/api/me"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests, microseconds, longest, failed = json.loads(said.splitlines()[-1])
    if failed or not requests:
        raise RuntimeError(said)
    return Api(requests / microseconds * 1e6, longest / 1000)


def flood_round(port: int, token: str, seconds: int, script: Path) -> tuple[Api, Api, int]:
    """The guarded API without a flood and in one; and how many logins there were meanwhile."""
    idle = api_turn(port, token, seconds, script)
    with Flood(port) as flood:
        time.sleep(1)
        first = flood.statuses.count(200)
        flooded = api_turn(port, token, seconds, script)
        logins = flood.statuses.count(200) - first
    return idle, flooded, logins


def compare_flood(name: str, rounds: int, seconds: int, folder: Path) -> tuple[float, float]:
    """Print what a flood leaves of a contender's API; give both ratios."""
    folder.mkdir()
    script = folder / "done.lua"
    script.write_text(SCRIPT)
    with running(name, DEFAULT, folder) as port:
        token = token_of(port)
        api_turn(port, token, 1, script)
        measured = [flood_round(port, token, seconds, script) for _ in range(rounds)]
    rate = median(flooded.rate / idle.rate for idle, flooded, _ in measured)
    longest = median(flooded.longest / idle.longest for idle, flooded, _ in measured)
    idle, flooded, _ = measured[-1]
    logins = median(logins for _, _, logins in measured) / seconds
    print(
        f"  {name:20}{rate:8.2f} of the requests, p99 x {longest:.1f}"
        f" ({idle.longest:.0f} to {flooded.longest:.0f} ms), {logins:.1f} logins a second",
        flush=True,
    )
    return rate, longest


def compare_logins(method: str, rounds: int, seconds: int, folder: Path) -> float:
    """Print what logins get of the machine; give the ratio."""
    folder.mkdir()
    alone = hash_seconds(method, 1, 1)
    together = hash_seconds(method, cores(), 1)
    print(f"{method}: {alone * 1000:.0f} ms alone, {together * 1000:.0f} with all cores at it")
    with running(OURS, method, folder) as port:
        return median(login_turn(port, method, seconds) for _ in range(rounds))


def kept(promise: str, value: float, *, least: float = 0, most: float = float("inf")) -> bool:
    """Print whether a promise is kept."""
    good = least <= value <= most
    bound = f"at least {least:.2f}" if most == float("inf") else f"at most {most:.2f}"
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:.3f} ({bound})", flush=True)
    return good


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Logins, and what a flood of them leaves.")
    parser.add_argument("--rounds", type=int, default=5, help="that count (default 5)")
    parser.add_argument("--seconds", type=int, default=8, help="of each turn (default 8)")
    parser.add_argument("--serve", nargs=2, metavar=("NAME", "PORT"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    chosen = options(arguments)
    if chosen.serve:
        name, port = chosen.serve
        server.serve(OTHERS[name], "127.0.0.1", int(port), WORKERS, THREADS, 65_536)
        return 0
    results = []
    with tempfile.TemporaryDirectory(prefix="foxtrot-bench-") as name:
        folder = Path(name)
        for number, (method, least) in enumerate(LEAST.items()):
            value = compare_logins(method, chosen.rounds, chosen.seconds, folder / str(number))
            results.append(kept("logins, by what the machine could do", value, least=least))
        print(f"The guarded API while {CLIENTS} clients log in, {DEFAULT}:")
        compare = partial(compare_flood, rounds=chosen.rounds, seconds=chosen.seconds)
        found = {each: compare(each, folder=folder / each) for each in (OURS, *OTHERS)}
        results.append(kept("requests in a flood, by those without", found[OURS][0], least=KEPT))
        results.append(kept("their p99 in a flood, by that without", found[OURS][1], most=LONGER))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
