"""Whether anything gets slower with the number of users and sessions, and how fast users come in.

    .venv/bin/pip install -r requirements-test.txt && .venv/bin/python bench/scale.py

Fills two databases, one with a thousand users and one with very many, three sessions each, and
measures in both: a sign-in with its look-up, a refresh, the list of a user's sessions, the status
list, and one step of the cleaning. The users are imported by `flask users import`, in a process
of its own, whose rows a second and memory are measured, too. The sessions are written by SQL: they
live, but for some that ended within the last day; as many in both, because how many those are is
what building a status list depends on.

Both sizes take turns in a shuffled order, and times are divided within a turn; printed is the
median over the turns. Passwords are hashed at next to no cost. With `--plot` the curve is drawn
over several sizes, as SVG, by this file alone.

Ends with status 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import psutil
from flask import Flask
from sqlalchemy import create_engine, text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app import create_app, login, passwords, schema, status_lists, tokens, users
from app.client import Client
from app.db import db, disconnect, transaction, utcnow
from app.ids import new_id
from app.sessions import LoginSession
from tests import postgresql
from tests.processes import ROOT, clean_environ, flask
from tests.support import CHEAP_HASH, ORIGIN, PASSWORD, bearer, cheap_settings, postgresql_settings

SMALL: Final = 1_000
SESSIONS_PER_USER: Final = 3
ENDED_LATELY: Final = 300
MOST: Final = 1.2
"""The promise: times, by those at a thousand users."""

LEAST_ROWS: Final = 20_000
"""The promise: imported rows a second."""

MOST_GROWTH: Final = 32
"""The promise: MiB that an import's memory grows between its middle and its last third."""

CLIENT: Final = Client("192.0.2.1", "python-requests/2.32.5")
STEP: Final = 50
"""Rows that one measured step of the cleaning deletes."""

FILL: Final = {
    "sqlite": """
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :rows - 1)
        INSERT INTO login_sessions (public_id, user_id, address, user_agent, authenticated_at,
            created_at, last_seen_at, ended_at, refresh_hash)
        SELECT 's_' || printf('%026d', i), 1 + i % :users, '192.0.2.1', 'curl/8.5.0', :begun,
            :begun, :used, NULL, printf('%064x', i) FROM n""",
    "postgresql": """
        INSERT INTO login_sessions (public_id, user_id, address, user_agent, authenticated_at,
            created_at, last_seen_at, ended_at, refresh_hash)
        SELECT 's_' || lpad(i::text, 26, '0'), 1 + i % :users, '192.0.2.1', 'curl/8.5.0', :begun,
            :begun, :used, NULL, lpad(to_hex(i), 64, '0')
        FROM generate_series(0, :rows - 1) AS i""",
}


@dataclass
class Imported:
    """How fast users came in, and what that took."""

    rows_per_second: float
    rows_per_processor_second: float
    growth: float


@dataclass
class House:
    """An app on its own database, of one size."""

    app: Flask
    users: int
    imported: Imported
    refresh_tokens: list[str]

    def some_email(self) -> str:
        return f"User.{random.randrange(self.users)}@mail0.example.com"


# Filling.


def write_users(file: Path, number: int) -> None:
    """Write a file of users, with a hash each."""
    hashed = passwords.hash_password(PASSWORD, CHEAP_HASH)
    with file.open("w") as opened:
        for each in range(number):
            email = f"User.{each}@mail0.example.com"
            row = {"email": email, "password_hash": hashed, "created_at": "2024-05-01T10:00:00Z"}
            opened.write(json.dumps(row) + "\n")


def import_users(file: Path, number: int, settings: dict[str, str]) -> Imported:
    """Import it by the command; time counts without the start of Python."""
    empty = file.with_suffix(".empty.jsonl")
    empty.write_text("")
    start, start_processor, _ = run_import(empty, settings)
    seconds, processor, memory = run_import(file, settings)
    third = len(memory) // 3  # Python has started by then
    grown = max(memory[-third:], default=0) - max(memory[third : 2 * third], default=0)
    walls, processors = max(seconds - start, 0.001), max(processor - start_processor, 0.001)
    return Imported(number / walls, number / processors, grown / 2**20)


def run_import(file: Path, settings: dict[str, str]) -> tuple[float, float, list[int]]:
    """Seconds, those of its processor time, and the memory now and then, of one import."""
    command = flask("users", "import", str(file))
    process = psutil.Popen(
        command,
        cwd=ROOT,
        env=clean_environ(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    memory: list[int] = []

    def watch() -> None:
        while process.poll() is None:
            try:
                memory.append(process.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.1)

    began, before = time.perf_counter(), children_seconds()
    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - began
    watcher.join()
    if process.returncode:
        raise RuntimeError(errors.decode())
    return seconds, children_seconds() - before, memory


def children_seconds() -> float:
    """The processor time of all processes that were started and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def fill_sessions(number: int) -> None:
    """Write sessions by SQL: begun ten days ago, used this morning."""
    now = int(time.time() * 1e6)
    day = 86_400_000_000
    rows = number * SESSIONS_PER_USER
    values = {"rows": rows, "users": number, "begun": now - 10 * day, "used": now - day // 4}
    ended = random.sample(range(1, rows + 1), ENDED_LATELY)
    end = text("UPDATE login_sessions SET ended_at = :at WHERE id = :id")
    engine = create_engine(db.engine.url)  # the service's own gives up after some seconds
    with engine.begin() as connection:
        connection.execute(text(FILL[engine.dialect.name]), values)
        connection.execute(end, [{"at": now - day // 24, "id": each} for each in ended])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What the database does by itself after a while: gather statistics.
        vacuum = engine.dialect.name == "postgresql"
        connection.execute(text("VACUUM ANALYZE" if vacuum else "ANALYZE"))
    engine.dispose()


@contextmanager
def house(settings: dict[str, str], number: int, folder: Path, turns: int) -> Iterator[House]:
    """Build a service with that many users."""
    app = create_app(settings)
    with app.app_context():
        schema.upgrade()
        tokens.prepare()
        disconnect()
    file = folder / f"{number}.jsonl"
    write_users(file, number)
    imported = import_users(file, number, settings)
    file.unlink()
    with app.app_context():
        fill_sessions(number)
        first = [sign_in(f"User.{each}@mail0.example.com") for each in range(turns * 4 + 40)]
        disconnect()
    yield House(app, number, imported, first)
    with app.app_context():
        disconnect()


def sign_in(email: str) -> str:
    """Sign a program in; gives its refresh token."""
    token = login.with_tokens(email, PASSWORD, CLIENT).refresh_token
    assert token is not None
    return token


# What is measured, each once.


def log_in(of: House) -> Callable[[], object]:
    """POST /auth/login, all of it."""
    body = {"email": of.some_email(), "password": PASSWORD}
    client = of.app.test_client()
    return lambda: expect(client.post("/auth/login", json=body, base_url=ORIGIN))


def refresh(of: House) -> Callable[[], object]:
    """POST /auth/refresh."""
    body = {"refresh_token": of.refresh_tokens.pop()}
    client = of.app.test_client()
    return lambda: expect(client.post("/auth/refresh", json=body, base_url=ORIGIN))


def list_sessions(of: House) -> Callable[[], object]:
    """GET /api/sessions, of a user with three and one more."""
    client = of.app.test_client()
    body = {"email": of.some_email(), "password": PASSWORD, "audience": ORIGIN}
    answer = client.post("/auth/login", json=body, base_url=ORIGIN).get_json()
    headers = bearer(answer["access_token"])
    return lambda: expect(client.get("/api/sessions", headers=headers, base_url=ORIGIN))


def status_list(of: House) -> Callable[[], object]:
    """GET /status-lists/0, built anew."""
    client = of.app.test_client()
    of.app.extensions["foxtrot_status_lists"]._lists.clear()
    return lambda: expect(client.get("/status-lists/0", base_url=ORIGIN))


def prune(of: House) -> Callable[[], object]:
    """One step of the cleaning, which finds so many rows to delete."""
    over = utcnow() - status_lists.GONE_AFTER - timedelta(hours=1)
    with of.app.app_context(), transaction():
        user = users.by_email(of.some_email())
        assert user is not None
        for _ in range(STEP):
            db.session.add(old_session(user.id, over))

    def step() -> None:
        with of.app.app_context():
            assert sum(status_lists.prune_sessions(utcnow(), STEP)) == STEP

    return step


def old_session(user_id: int, over: datetime) -> LoginSession:
    """One that ended long ago."""
    return LoginSession(
        public_id=new_id("s"),
        user_id=user_id,
        address="",
        user_agent="",
        authenticated_at=over,
        created_at=over,
        last_seen_at=over,
        ended_at=over,
    )


def expect(answer: object) -> None:
    """It must be a good answer."""
    if getattr(answer, "status_code", None) != 200:
        raise RuntimeError(getattr(answer, "text", "no answer"))


MEASURED: Final[dict[str, Callable[[House], Callable[[], object]]]] = {
    "sign-in": log_in,
    "refresh": refresh,
    "session list": list_sessions,
    "status list": status_list,
    "cleaning step": prune,
}

Times = dict[str, list[float]]


def measure(houses: Sequence[House], turns: int) -> list[Times]:
    """Let all sizes take turns."""
    times: list[Times] = [{name: [] for name in MEASURED} for _ in houses]
    for turn in range(turns + 3):
        for name, prepare in MEASURED.items():
            for number in random.sample(range(len(houses)), len(houses)):
                call = prepare(houses[number])
                began = time.perf_counter()
                call()
                if turn >= 3:
                    times[number][name].append(time.perf_counter() - began)
    return times


# What is said of it.


def kept(promise: str, value: float, bound: float, *, most: bool) -> bool:
    """Print whether a promise is kept."""
    good = value <= bound if most else value >= bound
    word = "most" if most else "least"
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:,.2f} (at {word} {bound:,g})")
    return good


def judge(title: str, houses: Sequence[House], times: Sequence[Times]) -> bool:
    """Print the figures and the promises of one database."""
    print(f"\n{title}")
    results = []
    for name in MEASURED:
        medians = [median(one[name]) * 1e3 for one in times]
        shown = "".join(
            f"{of.users:>11,}: {ms:7.2f} ms" for of, ms in zip(houses, medians, strict=True)
        )
        ratio = median(a / b for a, b in zip(times[-1][name], times[0][name], strict=True))
        print(f"  {name:14}{shown}")
        results.append(kept(f"{name}, by that at {SMALL:,} users", ratio, MOST, most=True))
    imported = houses[-1].imported
    print(f"  imported rows a second of processor time: {imported.rows_per_processor_second:,.0f}")
    results.append(kept("imported rows a second", imported.rows_per_second, LEAST_ROWS, most=False))
    results.append(kept("MiB that it grew meanwhile", imported.growth, MOST_GROWTH, most=True))
    return all(results)


def draw(file: Path, found: dict[str, tuple[Sequence[House], Sequence[Times]]]) -> None:
    """Draw the times by the number of users, over those at a thousand; as SVG."""
    width, height, left, top = 720, 96 + 240 * len(found), 70, 40
    colours = ["#1f6f8b", "#b23a48", "#4f772d", "#8a5a00", "#5f4b8b"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for row, (title, (houses, times)) in enumerate(found.items()):
        base, high = top + row * 240, 180
        parts.append(f'<text x="{left}" y="{base - 12}" font-weight="bold">{title}</text>')
        for mark in (0.0, 0.5, 1.0, 1.2, 1.5):
            y = base + high - high * mark / 1.5
            dash = ' stroke-dasharray="4 4"' if mark == MOST else ""
            parts.append(
                f'<path d="M{left} {y:.1f}H{width - 160}" stroke="#bbb"{dash}/>'
                f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{mark:g}×</text>'
            )
        across = (width - 160 - left) / max(1, len(houses) - 1)
        for place, of in enumerate(houses):
            x = left + place * across
            parts.append(
                f'<text x="{x:.1f}" y="{base + high + 18}" text-anchor="middle">{of.users:,}</text>'
            )
        for name, colour, number in zip(MEASURED, colours, range(9), strict=False):
            ratios = [
                median(a / b for a, b in zip(one[name], times[0][name], strict=True))
                for one in times
            ]
            points = " ".join(
                f"{left + place * across:.1f},{base + high - high * min(ratio, 1.5) / 1.5:.1f}"
                for place, ratio in enumerate(ratios)
            )
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(
                f'<text x="{width - 150}" y="{base + 16 + 20 * number}" fill="{colour}">'
                f"{name}</text>"
            )
    parts.append("</svg>\n")
    file.write_text("\n".join(parts))


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Whether anything gets slower with the users.")
    parser.add_argument("--sqlite", type=int, default=200_000, help="users (default 200000)")
    parser.add_argument("--postgresql", type=int, default=1_000_000, help="users (default 1000000)")
    parser.add_argument("--turns", type=int, default=60, help="turns that count (default 60)")
    parser.add_argument("--plot", type=Path, help="draw a plot into this file, with sizes between")
    return parser.parse_args(arguments)


def sizes(most: int, *, between: bool) -> list[int]:
    """A thousand, what is asked for, and steps between."""
    steps = [size for size in (10_000, 100_000) if between and SMALL < size < most]
    return [SMALL, *steps, most]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    chosen = options(arguments)
    found: dict[str, tuple[Sequence[House], Sequence[Times]]] = {}
    results = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foxtrot-bench-")))
        log = opened.enter_context((folder / "log").open("w"))
        opened.enter_context(redirect_stderr(log))
        for title in ("sqlite", "postgresql"):
            most = getattr(chosen, title)
            if not most:
                continue
            with ExitStack() as databases:
                cluster = (
                    databases.enter_context(postgresql.running()) if title == "postgresql" else None
                )
                houses = []
                for size in sizes(most, between=chosen.plot is not None):
                    data = folder / f"{title}-{size}"
                    settings = cheap_settings(data)
                    if cluster is not None:
                        settings = postgresql_settings(
                            databases.enter_context(cluster.database()), data
                        )
                    settings["FOXTROT_CLEANING_EVERY"] = "0"
                    built = house(settings, size, folder, chosen.turns)
                    houses.append(databases.enter_context(built))
                times = measure(houses, chosen.turns)
                results.append(judge(f"{title}, {most:,} users", houses, times))
                named = {"sqlite": "SQLite, by users", "postgresql": "PostgreSQL, by users"}
                found[named[title]] = (houses, times)
    if chosen.plot is not None:
        draw(chosen.plot, found)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
