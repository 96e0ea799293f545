"""Whether anything leaks: a real server, asked for an hour by everybody at once.

    .venv/bin/pip install -r requirements-test.txt && .venv/bin/python bench/soak.py --minutes 60

Programs sign in, refresh, come again with a token that they used before, look at their sessions,
sign out, and get their passwords wrong; services fetch keys and status lists; meanwhile the
operator rotates the signing keys, the service cleans every few seconds, and old sessions are put
there for it to delete. Every second the memory, the open files and the threads of
all processes of the server are read, and the connections of the database.

Each of them must be as high in the last quarter as in the second one, within the bounds below.
No answer may be a 5xx other than an announced 503 (with `Retry-After`), and no request may go
without an answer.
Ends with status 1 if one of that is not so. `--server` takes another command line than
`flask run`, with `{port}` in it.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from sqlalchemy import func, select

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app import create_app, sessions, users
from app.client import Client
from app.db import db, disconnect, transaction, utcnow
from app.sessions import Ending, LoginSession
from app.status_lists import GONE_AFTER
from tests import postgresql
from tests.processes import ROOT, clean_environ, flask, free_port, run, stop, wait_until_up
from tests.support import PASSWORD, cheap_settings, postgresql_settings

CLIENTS: Final = 6
PEOPLE: Final = 40
OPERATOR_EVERY: Final = 7.0
"""Seconds between two rotations of the keys, and two lots of old sessions."""

ROTATES_AFTER: Final = 10
"""Minutes until a key may sign that was published at the beginning; it is refused before."""

BOUNDS: Final = {"memory MiB": (1.10, 24.0), "open files": (1.0, 8.0), "threads": (1.0, 8.0),
                 "connections": (1.0, 4.0), "rows": (1.10, 2_000.0)}  # fmt: skip
"""How much higher the end may be: this many times, and so much more."""


@dataclass
class Tally:
    """What came back, and what was read."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    read: list[dict[str, float]] = field(default_factory=list)

    def note(self, what: str, status: int, headers: Any) -> None:
        """Count an answer; a 5xx must be an announced 503."""
        self.answers[f"{what} {status}"] += 1
        if status >= 500 and not (status == 503 and headers.get("Retry-After")):
            self.faults.append(f"{what} answered {status}")


class Caller:
    """One client of the service, over a connection that stays open."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._connection = HTTPConnection("localhost", port, timeout=30)

    def call(self, what: str, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Ask, once more where the connection was closed meanwhile; gives the JSON."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        for attempt in range(2):
            try:
                text = None if body is None else json.dumps(body)
                self._connection.request(method, path, text, headers)
                answer = self._connection.getresponse()
                data = answer.read()
                break
            except (OSError, HTTPException) as error:
                self._connection.close()
                if attempt:
                    self._tally.faults.append(f"{what} got no answer: {error!r}")
                    return None
        self._tally.note(what, answer.status, answer.headers)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        return json.loads(data) if is_json and answer.status < 300 else None

    def close(self) -> None:
        self._connection.close()


def live(port: int, tally: Tally, until: float, number: int) -> None:
    """Be a client, until the time is over."""
    caller, rng = Caller(port, tally), random.Random(number)
    while time.monotonic() < until:
        one_life(caller, rng, f"u{rng.randrange(PEOPLE)}@example.com")
    caller.close()


def one_life(caller: Caller, rng: random.Random, email: str) -> None:
    """Sign in, refresh some times, look around, and perhaps sign out."""
    password = PASSWORD if rng.random() > 0.1 else "wrong"
    signed_in = caller.call(
        "sign-in", "POST", "/auth/login", {"email": email, "password": password}
    )
    caller.call("keys", "GET", "/.well-known/jwks.json")
    caller.call("list", "GET", "/status-lists/0")
    if signed_in is None:
        return
    for _ in range(rng.randrange(1, 5)):
        body = {"refresh_token": signed_in["refresh_token"]}
        renewed = caller.call("refresh", "POST", "/auth/refresh", body)
        if rng.random() < 0.2:
            caller.call("replay", "POST", "/auth/refresh", body)
        if renewed is None:
            return
        signed_in = renewed
        caller.call("me", "GET", "/api/me", token=signed_in["access_token"])
    if rng.random() < 0.7:
        caller.call(
            "sign-out", "POST", "/auth/logout", {"refresh_token": signed_in["refresh_token"]}
        )


def operate(settings: dict[str, str], tally: Tally, until: float) -> None:
    """Rotate keys, and put old sessions there."""
    app = create_app({**settings, "FOXTROT_CLEANING_EVERY": "0"})
    while time.monotonic() < until:
        done = run("keys", "rotate", settings=settings)
        tally.answers[f"rotation {done.returncode}"] += 1
        with app.app_context():
            age(500)
        time.sleep(OPERATOR_EVERY)
    with app.app_context():
        disconnect()


def age(number: int) -> None:
    """Let sessions that have ended be of two days ago, and add some."""
    then = utcnow() - 2 * GONE_AFTER
    client = Client("192.0.2.9", "soak")
    user = users.by_email("u0@example.com")
    assert user is not None
    for _ in range(number // 10):
        with transaction():
            for _ in range(10):
                session = sessions.start(user, client, now=then)
                sessions.end(session, Ending.SIGNED_OUT, client, then)
        time.sleep(0.1)  # others write, too


# Reading.


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The server and its workers."""
    first = psutil.Process(process.pid)
    return [first, *first.children(recursive=True)]


def reading(
    process: subprocess.Popen[str], database: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What the server holds now."""
    memory, files, threads = 0.0, 0.0, 0.0
    for one in family(process):
        try:
            memory += one.memory_info().rss / 2**20
            files += one.num_fds()
            threads += one.num_threads()
        except psutil.NoSuchProcess:
            continue
    return {"memory MiB": memory, "open files": files, "threads": threads, **database()}


def watch(
    process: subprocess.Popen[str],
    database: Callable[[], dict[str, float]],
    tally: Tally,
    until: float,
) -> None:
    """Read every second, or a hundred times in all."""
    while time.monotonic() < until:
        tally.read.append(reading(process, database))
        time.sleep(1)


def growth(tally: Tally) -> Iterator[tuple[str, float, float, bool]]:
    """Of each figure the second quarter, the last one, and whether that is within bounds."""
    quarter = max(1, len(tally.read) // 4)
    for name, (times, more) in BOUNDS.items():
        before, after = (
            median(one[name] for one in part if name in one) if part and name in part[0] else 0.0
            for part in (tally.read[quarter : 2 * quarter], tally.read[-quarter:])
        )
        yield name, before, after, after <= max(before * times, before + more)


# The server.


@contextmanager
def server(command: str | None, port: int, settings: dict[str, str], log: Path) -> Iterator[Any]:
    """Start it; its output goes into a file."""
    words = shlex.split(command.format(port=port)) if command else flask("run", "--port", str(port))
    with log.open("w") as written:
        process = subprocess.Popen(
            words, cwd=ROOT, env=clean_environ(settings), stdout=written, stderr=written, text=True
        )
        try:
            wait_until_up(f"http://localhost:{port}/healthz", process)
            yield process
        finally:
            stop(process)


@contextmanager
def installation(
    kind: str, folder: Path
) -> Iterator[tuple[dict[str, str], Callable[[], dict[str, float]]]]:
    """The settings of a service with some people, and what to read of its database."""
    with ExitStack() as opened:
        settings = cheap_settings(folder / "data")
        cluster = None
        if kind == "postgresql":
            cluster = opened.enter_context(postgresql.running())
            settings = postgresql_settings(
                opened.enter_context(cluster.database()), folder / "data"
            )
        settings |= {"FOXTROT_CLEANING_EVERY": "5s", "FOXTROT_SESSIONS_PER_USER": "20"}
        assert run("db", "upgrade", settings=settings).returncode == 0
        app = create_app({**settings, "FOXTROT_CLEANING_EVERY": "0"})
        with app.app_context():
            for number in range(PEOPLE):
                users.create(f"u{number}@example.com", PASSWORD, Client("", ""))
            disconnect()

        def read() -> dict[str, float]:
            with app.app_context():
                old = LoginSession.ended_at < utcnow() - GONE_AFTER
                rows = db.session.scalar(select(func.count()).where(old))
                disconnect()
            found = {"rows": float(rows or 0)}
            if cluster is not None:
                query = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'test_%'"
                found["connections"] = float(cluster.execute(query)[0][0])
            return found

        yield settings, read


def soak(kind: str, minutes: float, command: str | None, folder: Path) -> bool:
    """Run one server against one database; print the verdict."""
    tally, port = Tally(), free_port()
    with installation(kind, folder) as (settings, read):
        settings["FOXTROT_PUBLIC_URL"] = f"http://localhost:{port}"
        with server(command, port, settings, folder / "log") as process:
            until = time.monotonic() + minutes * 60
            work: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
                (operate, (settings, tally, until)),
                (watch, (process, read, tally, until)),
                *((live, (port, tally, until, number)) for number in range(CLIENTS)),
            ]
            threads = [threading.Thread(target=each, args=given) for each, given in work]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return verdict(kind, minutes, tally)


def verdict(kind: str, minutes: float, tally: Tally) -> bool:
    """Print what came of it."""
    print(f"\n{kind}, {minutes:g} minutes, {sum(tally.answers.values()):,} answers")
    for what, number in sorted(tally.answers.items()):
        print(f"  {what:24}{number:10,}")
    good = not tally.faults and tally.answers["refresh 200"] > 0
    if minutes >= ROTATES_AFTER and not tally.answers["rotation 0"]:
        print("  BROKEN: no key was rotated")
        good = False
    for fault, number in Counter(tally.faults).most_common(10):
        print(f"  BROKEN: {fault} ({number} times)")
    for name, before, after, is_flat in growth(tally):
        word = "flat" if is_flat else "GROWN"
        print(f"  {word}: {name}: {before:,.1f} in the second quarter, {after:,.1f} in the last")
        good = good and is_flat
    return good


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak and print; 1 if something grew or failed."""
    parser = argparse.ArgumentParser(description="Whether anything leaks.")
    parser.add_argument("--minutes", type=float, default=60, help="for each database (default 60)")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--server", help="another command line than flask run, with {port} in it")
    chosen = parser.parse_args(arguments)
    kinds = ["sqlite", "postgresql"] if chosen.database == "both" else [chosen.database]
    results = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="foxtrot-soak-") as folder:
            results.append(soak(kind, chosen.minutes, chosen.server, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
