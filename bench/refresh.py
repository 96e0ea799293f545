"""What a refresh costs: refreshes a second, by those of a bare route that commits one row.

    .venv/bin/pip install -r requirements-test.txt && .venv/bin/python bench/refresh.py

The bare route is a Flask app of its own on the same database: it adds one row, as wide
as what a refresh writes, to the same Flask-SQLAlchemy session, commits, and answers
"ok". A refresh has to read JSON, find a session and its user, judge, claim, note and
log, and sign an access token besides. Both are called in one process through the WSGI
interface, as a server does; nothing else is left out: the audit log is written (to a
file), and every commit waits for the disk. Before and after, it is made sure that all
rows are there, that each refresh is logged, and that the database does wait.

The contenders take turns of a few calls in a shuffled order, and times are divided
within a turn. A run's ratio is the median over its turns, the figure printed the
median over the runs. Time is the wall clock's, because commits wait; the less the
disk takes, the more the ratio is one of processor time, which is shown beside it.
Each refresh is one of another session, whose client was here twelve minutes before and
sends a fresh `Idempotency-Key`, as our clients do. The figures of several threads at
once are printed, and promise nothing: with SQLite they wait for each other.

Ends with status 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, redirect_stderr
from datetime import timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any, Final, NamedTuple

from flask import Flask
from sqlalchemy import BigInteger, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app import create_app, login, refresh_tokens, schema, sessions, tokens
from app.client import Client
from app.db import db, disconnect, engine_options, init_app, transaction, utcnow
from app.ids import digest, new_id
from app.users import User
from tests import postgresql
from tests.support import cheap_settings, postgresql_settings

TURN: Final = 12
"""Calls that are timed in one go, before the other contender has its turn."""

WARM_UP: Final = 20
"""Turns that do not count."""

SESSIONS_PER_USER: Final = 10
PAUSE: Final = timedelta(minutes=12)
LEAST: Final = 0.6
"""The promise: refreshes a second, by those of the bare route."""

BARE: Final = "bare route, one row"
OURS: Final = "POST /auth/refresh"

CLIENT: Final = Client("192.0.2.1", "python-requests/2.32.5")

Environ = dict[str, Any]


class BenchBase(DeclarativeBase):
    """For the bare route's table alone."""


class Row(BenchBase):
    """As wide as what a refresh writes into the row of its session."""

    __tablename__ = "bench_rows"

    refresh_hash: Mapped[str] = mapped_column(primary_key=True)
    rotations: Mapped[str]
    unseen_answer: Mapped[str]
    last_seen_at: Mapped[int] = mapped_column(BigInteger)
    address: Mapped[str]
    user_agent: Mapped[str]


ROTATION: Final = json.dumps([[1, 0, "0" * 64, "0" * 16, "0" * 64, 0, None]])


class Spent(NamedTuple):
    """What a turn took, in seconds."""

    wall: float
    processor: float


Run = dict[str, list[Spent]]


# The contenders.


def bare_app(url: str) -> Flask:
    """Make a Flask app whose one route commits one row."""
    app = Flask("bare")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(url)
    init_app(app)
    with app.app_context():
        BenchBase.metadata.create_all(db.engine)

    @app.post("/rows")
    def add() -> str:
        row = Row(
            refresh_hash=secrets.token_hex(32),
            rotations=ROTATION,
            unseen_answer="t_" + "0" * 26,
            last_seen_at=time.time_ns() // 1000,
            address=CLIENT.address,
            user_agent=CLIENT.user_agent,
        )
        db.session.add(row)
        db.session.commit()
        return "ok"

    return app


def environ_of(path: str, body: bytes = b"", **headers: str) -> Environ:
    """Build what a server hands over for one request."""
    named = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "RAW_URI": path,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "5000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "bench",
        "REMOTE_ADDR": CLIENT.address,
        "REMOTE_PORT": "50000",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_HOST": "localhost:5000",
        "HTTP_USER_AGENT": CLIENT.user_agent,
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_CONNECTION": "keep-alive",
        **named,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def call(app: Flask, environ: Environ) -> bytes:
    """Call as a server does; the answer must be a 200 or 201."""
    statuses: list[str] = []

    def start_response(status: str, *_rest: Any) -> Callable[[bytes], None]:
        statuses.append(status)
        return lambda _written: None

    body = app.wsgi_app(environ, start_response)
    answer = b"".join(body)
    body.close()  # type: ignore[attr-defined]  # werkzeug's iterator has it
    if statuses[0][:2] != "20":
        raise RuntimeError(f"{environ['PATH_INFO']} answered {statuses[0]}: {answer.decode()}")
    return answer


class Bare:
    """The bare route."""

    name = BARE

    def __init__(self, app: Flask) -> None:
        self.app = app

    def environs(self) -> list[Environ]:
        """The same request, over and over."""
        return [environ_of("/rows") for _ in range(TURN)]


class Ours:
    """Clients of the service: sessions that go on, each once."""

    name = OURS

    def __init__(self, app: Flask, calls: int) -> None:
        self.app = app
        with app.app_context():
            tokens.prepare()
        with app.app_context(), transaction():
            users = [add_user(number) for number in range(-(-calls // SESSIONS_PER_USER))]
            first = [begin(user) for user in users for _ in range(SESSIONS_PER_USER)]
        with app.app_context():
            self._tokens = [refreshed_before(token) for token in first]
        random.shuffle(self._tokens)

    def environs(self) -> list[Environ]:
        """Take the tokens of some sessions."""
        bodies = [json.dumps({"refresh_token": self._tokens.pop()}) for _ in range(TURN)]
        return [
            environ_of("/auth/refresh", body.encode(), idempotency_key=secrets.token_urlsafe(24))
            for body in bodies
        ]


def add_user(number: int) -> User:
    """Make a user, without a password."""
    email, now = f"user-{number}@example.com", utcnow()
    user = User(
        public_id=new_id("u"),
        email=email,
        email_key=email,
        password_hash="",
        password_changed_at=now,
        created_at=now,
    )
    db.session.add(user)
    db.session.flush()
    return user


def begin(user: User) -> str:
    """Begin a session, a while ago; give its token."""
    session_id = new_id("s")
    token = refresh_tokens.first(session_id)
    sessions.start(
        user,
        CLIENT,
        public_id=session_id,
        refresh_hash=digest(token),
        now=utcnow() - 2 * PAUSE,
    )
    return token


def refreshed_before(token: str) -> str:
    """Refresh once, not quite so long ago; give the newest token."""
    return login.refresh(token, CLIENT, now=utcnow() - PAUSE).refresh_token


# The databases.


@contextmanager
def contenders(settings: dict[str, str], calls: int) -> Iterator[tuple[Bare, Ours]]:
    """Both on the database of the settings; ours for that many calls."""
    with ExitStack() as opened:
        app = create_app(settings)
        opened.callback(dispose, app)
        with app.app_context():
            schema.upgrade()
        bare = bare_app(app.config["SQLALCHEMY_DATABASE_URI"])
        opened.callback(dispose, bare)
        for each in (app, bare):
            require_durable(each)
        yield Bare(bare), Ours(app, calls)


def dispose(app: Flask) -> None:
    """Close an app's connections."""
    with app.app_context():
        disconnect()


def require_durable(app: Flask) -> None:
    """Make sure that a commit waits for the disk."""
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            found = [db.session.scalar(text("PRAGMA synchronous")) == 2]
        else:
            names = ("fsync", "synchronous_commit", "full_page_writes")
            found = [db.session.scalar(text(f"SHOW {name}")) == "on" for name in names]
    if not all(found):
        raise RuntimeError("Commits do not wait for the disk here.")


def rows_of(app: Flask) -> int:
    """Count what the bare route has written."""
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(Row)) or 0


def logged(log: Path) -> int:
    """Count the refreshes in the audit log."""
    return log.read_text().count('"refresh.succeeded"')


# The measuring.


def timed_turn(contender: Bare | Ours, pool: ThreadPoolExecutor | None) -> Spent:
    """Call some times, one after the other or several at once."""
    environs = contender.environs()
    app = contender.app
    wall, processor = time.perf_counter(), time.process_time()
    if pool is None:
        for environ in environs:
            call(app, environ)
    else:
        list(pool.map(lambda environ: call(app, environ), environs))
    return Spent(time.perf_counter() - wall, time.process_time() - processor)


def timed_run(bare: Bare, ours: Ours, turns: int, pool: ThreadPoolExecutor | None = None) -> Run:
    """Let both take turns."""
    run: Run = {BARE: [], OURS: []}
    both: list[Bare | Ours] = [bare, ours]
    gc.collect()
    gc.freeze()  # what the bench itself holds is nothing that a server looks through
    for _ in range(turns):
        random.shuffle(both)
        for contender in both:
            run[contender.name].append(timed_turn(contender, pool))
    return run


def by_wall(spent: Spent) -> float:
    """The seconds that count."""
    return spent.wall


def by_processor(spent: Spent) -> float:
    """Those in which it did not wait."""
    return spent.processor


def ratio(runs: Sequence[Run], clock: Callable[[Spent], float] = by_wall) -> float:
    """How many refreshes there are for one row: medians over the turns and over the runs."""
    return median(
        median(clock(bare) / clock(ours) for bare, ours in zip(run[BARE], run[OURS], strict=True))
        for run in runs
    )


def show(title: str, runs: Sequence[Run]) -> None:
    """Print one table."""
    print(f"\n{title:32}{'a second':>10}{'µs':>8}{'x bare':>9}{'CPU µs':>9}{'x bare':>9}")
    for name in (BARE, OURS):
        every = [spent for run in runs for spent in run[name]]
        wall, processor = (mean(map(clock, every)) / TURN for clock in (by_wall, by_processor))
        ratios = (1.0, 1.0) if name == BARE else (ratio(runs), ratio(runs, by_processor))
        print(
            f"  {name:30}{1 / wall:10.0f}{wall * 1e6:8.0f}{ratios[0]:9.2f}"
            f"{processor * 1e6:9.0f}{ratios[1]:9.2f}"
        )


def compare(title: str, settings: dict[str, str], log: Path, chosen: argparse.Namespace) -> float:
    """Measure on one database; give the ratio with one thread."""
    turns = [chosen.turns] * chosen.runs
    calls = (WARM_UP + 2 * sum(turns)) * TURN
    with contenders(settings, calls) as (bare, ours):
        before = logged(log)
        timed_run(bare, ours, WARM_UP)
        runs = [timed_run(bare, ours, number) for number in turns]
        show(title, runs)
        with ThreadPoolExecutor(chosen.threads) as pool:
            at_once = [timed_run(bare, ours, number, pool) for number in turns]
        show(f"{title}, {chosen.threads} threads", at_once)
        if (rows_of(bare.app), logged(log) - before) != (calls, calls):
            raise RuntimeError("Not every row was written, or not every refresh was logged.")
    return ratio(runs)


def kept(promise: str, value: float) -> bool:
    """Print whether the promise is kept."""
    good = value >= LEAST
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:.3f} (at least {LEAST:.2f})")
    return good


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What a refresh costs.")
    parser.add_argument("--runs", type=int, default=5, help="runs that count (default 5)")
    parser.add_argument("--turns", type=int, default=20, help=f"of {TURN} calls each (default 20)")
    parser.add_argument("--threads", type=int, default=4, help="threads at once (default 4)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    chosen = options(arguments)
    results = []
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foxtrot-bench-")))
        log = folder / "log"
        opened.enter_context(redirect_stderr(opened.enter_context(log.open("w"))))
        settings = cheap_settings(folder / "sqlite")
        results.append(kept("SQLite", compare("SQLite", settings, log, chosen)))
        url = opened.enter_context(opened.enter_context(postgresql.running()).database())
        settings = postgresql_settings(url, folder / "postgresql")
        results.append(kept("PostgreSQL", compare("PostgreSQL", settings, log, chosen)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
