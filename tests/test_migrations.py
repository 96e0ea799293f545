"""The schema: from nothing to the newest, by one of many processes, and back (app/schema.py)."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask
from sqlalchemy import create_engine, text

from app import create_app, schema
from app.db import Base, db
from tests.conftest import add_user, dispose
from tests.processes import free_port, run
from tests.support import ORIGIN, cheap_settings
from tests.test_start import try_to_start

FILE = "foxtrot.sqlite3"
T = TypeVar("T")


def rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    """What another program reads in a database."""
    with closing(sqlite3.connect(folder / FILE)) as database:
        return database.execute(query).fetchall()


def shape(file: Path) -> dict[str, list[list[tuple[object, ...]]]]:
    """The columns, foreign keys and unique columns of all tables but Alembic's own."""
    with closing(sqlite3.connect(file)) as database:
        tables = [
            str(name)
            for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name not in ("alembic_version", "sqlite_sequence")
        ]
        return {table: list(_facts(database, table)) for table in tables}


def _facts(database: sqlite3.Connection, table: str) -> Iterable[list[tuple[object, ...]]]:
    yield database.execute(
        'SELECT name, type, "notnull", pk FROM pragma_table_info(?)', (table,)
    ).fetchall()
    yield database.execute(
        'SELECT "from", "table", "to", on_delete FROM pragma_foreign_key_list(?)', (table,)
    ).fetchall()
    yield database.execute(
        'SELECT i."unique", c.name FROM pragma_index_list(?) i, pragma_index_info(i.name) c'
        " ORDER BY c.name",
        (table,),
    ).fetchall()


# What the migrations make


def test_the_migrations_make_what_the_models_say(app: Flask) -> None:
    """Alembic finds nothing to add, to remove or to change."""
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_the_migrations_make_the_same_tables_as_the_models(data_dir: Path, tmp_path: Path) -> None:
    """Column by column, with keys and indexes, as SQLite itself reads them."""
    engine = create_engine(f"sqlite:///{tmp_path / 'models'}")
    Base.metadata.create_all(engine)
    engine.dispose()
    assert shape(data_dir / FILE) == shape(tmp_path / "models")


def test_the_operator_can_ask_whether_a_migration_is_missing(data_dir: Path) -> None:
    """`flask db check`, for whoever changes a model."""
    done = run("db", "check", settings=cheap_settings(data_dir))
    assert done.returncode == 0, done.stderr


def test_the_number_of_a_session_is_never_given_again(data_dir: Path) -> None:
    """Not after the last row is deleted, either."""
    ((sql,),) = rows(data_dir, "SELECT sql FROM sqlite_master WHERE name = 'login_sessions'")
    assert "AUTOINCREMENT" in str(sql)


def test_downgrade_and_upgrade_lead_back_to_the_same_schema(app: Flask, data_dir: Path) -> None:
    """`flask db downgrade base` leaves nothing of ours, `flask db upgrade` makes it all again."""
    before = shape(data_dir / FILE)
    with app.app_context():
        schema.downgrade("base")
        assert shape(data_dir / FILE) == {}
        schema.upgrade()
    assert shape(data_dir / FILE) == before


def test_a_database_that_is_current_is_left_alone(data_dir: Path) -> None:
    """A second start writes nothing."""
    before = (data_dir / FILE).read_bytes()
    dispose(create_app(cheap_settings(data_dir)))
    assert (data_dir / FILE).read_bytes() == before


def test_an_old_database_is_upgraded_by_the_start(data_dir: Path) -> None:
    """What the first migration undoes is done again."""
    app = create_app(cheap_settings(data_dir))
    with app.app_context():
        schema.downgrade("base")
    dispose(app)
    (data_dir / "secret").unlink()
    app = create_app(cheap_settings(data_dir))
    assert app.test_client().get("/readyz", base_url=ORIGIN).status_code == 200
    dispose(app)


# Many at once (processes are forked, as on Linux and macOS)


def all_at_once(workers: int, task: Callable[[int], object]) -> list[int]:
    """Fork workers that run a task at the same moment; give their exit codes.

    For a process without threads: see `apart`.
    """
    moment = time.monotonic() + 0.2
    forked = []
    for worker in range(workers):
        forked.append(os.fork())
        if forked[-1] == 0:
            code = 1
            try:
                time.sleep(max(0.0, moment - time.monotonic()))
                code = 0 if task(worker) else 1
            finally:
                os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in forked]


def apart(task: Callable[[str], T], folder: Path) -> T:
    """Run a function of this module in a fresh process that has opened nothing."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, str(folder)).result()


def start_eight(folder: str) -> list[int]:
    """Start eight times at once; each looks whether it is ready."""

    def start(_worker: int) -> bool:
        app = create_app(cheap_settings(Path(folder)))
        return app.test_client().get("/readyz", base_url=ORIGIN).status_code == 200

    return all_at_once(8, start)


@pytest.mark.parametrize("attempt", ["first", "second", "third"])
def test_of_many_first_starts_one_makes_everything(attempt: str, tmp_path: Path) -> None:
    """Eight processes on an empty folder come up with one schema, one key, one secret."""
    assert apart(start_eight, tmp_path) == [0] * 8
    assert rows(tmp_path, "SELECT count(*) FROM alembic_version") == [(1,)]
    assert rows(tmp_path, "SELECT count(*) FROM signing_keys") == [(2,)]
    assert {path.name for path in tmp_path.iterdir()} <= {
        FILE,
        f"{FILE}-wal",
        f"{FILE}-shm",
        "secret",
    }


def test_of_many_servers_started_at_once_all_come_up(tmp_path: Path) -> None:
    """Real `flask run` processes on an empty folder."""
    ports = [str(free_port()) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        starts = pool.map(
            lambda port: try_to_start(cheap_settings(tmp_path), "--port", port), ports
        )
        assert [start.code for start in starts] == [None] * 3
    assert rows(tmp_path, "SELECT count(*) FROM signing_keys") == [(2,)]


def preload(folder: str) -> tuple[int, list[int]]:
    """Build the app, then fork as a preloading server does; each worker makes users.

    Gives the number of connections that were open before, and the exit codes.
    """
    app = create_app(cheap_settings(Path(folder)))

    def make_users(worker: int) -> bool:
        return all(add_user(app, f"w{worker}n{number}@example.com") for number in range(5))

    with app.app_context():
        inherited: int = db.engine.pool.checkedin()  # type: ignore[attr-defined]  # a QueuePool
    return inherited, all_at_once(4, make_users)


def test_workers_that_are_forked_inherit_no_connection(tmp_path: Path) -> None:
    """A SQLite connection that is carried over a fork can corrupt the file."""
    inherited, codes = apart(preload, tmp_path)
    assert inherited == 0
    assert codes == [0] * 4
    assert rows(tmp_path, "SELECT count(*) FROM users") == [(20,)]
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]


# How SQLite is spoken to


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)],
)
def test_every_connection_has_the_same_manners(app: Flask, pragma: str, value: object) -> None:
    """Readers beside writers, commits on the disk, references kept, patience with others."""
    with app.app_context(), db.engine.connect() as one, db.engine.connect() as other:
        for connection in (one, other):
            assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value
