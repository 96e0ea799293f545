"""From every older schema the data come along, and workers of before go on (OPS-10).

A migration only adds what the version before can do without, so both serve one database while
one machine after another is restarted. What is no longer needed is removed a version later.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, inspect, text

from app import schema
from app.db import db, exclusive_connection
from app.errors import StartRefused
from tests.conftest import MakeApp, on_both_databases, on_postgresql
from tests.faults.world import CREDENTIALS, World
from tests.processes import ROOT, run
from tests.sessions.network import Server, status_of_access
from tests.support import get, log_in

BEFORE_THE_RULE = "0006"
"""Older than it, and than anything that was released."""

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "next", "{head}"


def upgrade():
    op.add_column("users", sa.Column("nickname", sa.String()))
    op.add_column("login_sessions", sa.Column("level", sa.BigInteger(), server_default="1"))
    op.create_table("nicknames", sa.Column("id", sa.BigInteger(), primary_key=True))
    op.create_index("ix_users_nickname", "users", ["nickname"])
"""


@on_both_databases
def test_whoever_had_an_account_has_one_after_each_upgrade(app: Flask, alice: str) -> None:
    """Back to each revision that has users, and up to the newest again."""
    script = ScriptDirectory(str(schema.DIRECTORY))
    older = [one.revision for one in script.walk_revisions()][1:]
    assert older
    for revision in older:
        with app.app_context():
            schema.downgrade(revision)
            assert schema.revision()[0] == revision
            schema.upgrade()
        assert log_in(app.test_client(), alice).status_code == 200


# What a migration may do

Shape = dict[str, dict[str, Any]]


def shape(connection: Connection) -> Shape:
    """What a worker can know of each table: columns, what is demanded of rows, and the rows."""
    found = inspect(connection)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            },
            "rules": sorted(map(repr, rules(found, table))),
            "links": [key["options"].get("ondelete") for key in found.get_foreign_keys(table)],
        }
        for table in found.get_table_names()
        if table not in ("alembic_version", "sqlite_sequence")
    }


def rules(found: Any, table: str) -> Iterator[object]:
    """What a row has to fulfil."""
    yield found.get_pk_constraint(table)
    yield from found.get_unique_constraints(table)
    yield from (index for index in found.get_indexes(table) if index["unique"])
    yield from found.get_check_constraints(table)
    yield from found.get_foreign_keys(table)


def contents(connection: Connection, tables: Shape) -> dict[str, list[Any]]:
    """All rows, of the columns that there were."""
    return {
        name: sorted(map(repr, connection.execute(text(f"SELECT {names} FROM {name}")).all()))
        for name, table in tables.items()
        for names in [", ".join(f'"{column}"' for column in table["columns"])]
    }


def harm(before: Shape, after: Shape) -> list[str]:
    """What of a change a worker of before would not survive."""
    found = [f"{table} is gone" for table in before.keys() - after.keys()]
    for table in before.keys() & after.keys():
        old, new = before[table], after[table]
        for name in old["columns"].keys() | new["columns"].keys():
            if name in old["columns"]:
                if new["columns"].get(name) != old["columns"][name]:
                    found.append(f"{table}.{name} is not what it was")
            elif new["columns"][name][1:] == (False, None):
                found.append(f"{table}.{name} is demanded of those who do not know it")
        if new["rules"] != old["rules"]:
            found.append(f"{table} demands something else")
    for table in after.keys() - before.keys():
        if not set(after[table]["links"]) <= {"CASCADE", "SET NULL"}:
            found.append(f"{table} keeps rows from being deleted")
    return found


@on_both_databases
def test_a_migration_does_nothing_that_a_worker_of_before_would_not_survive(
    app: Flask, alice: str
) -> None:
    """Each since the rule: it adds, and changes neither what is there nor what is demanded."""
    assert log_in(app.test_client(), alice).status_code == 200
    script = ScriptDirectory(str(schema.DIRECTORY))
    newer = [one.revision for one in script.iterate_revisions("head", BEFORE_THE_RULE)][:-1]
    with app.app_context():
        schema.downgrade(BEFORE_THE_RULE)
        for revision in reversed(newer):
            with exclusive_connection() as connection:
                before = shape(connection)
                rows = contents(connection, before)
                command.upgrade(schema._config(connection), revision)
                assert harm(before, shape(connection)) == [], revision
                assert contents(connection, before) == rows, revision


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users DROP COLUMN unlocked_at",
        "ALTER TABLE users RENAME COLUMN unlocked_at TO unlocked",
        "CREATE UNIQUE INDEX new ON users (created_at)",
        "DROP TABLE upkeep",
        "CREATE TABLE new (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users (id))",
    ],
)
def test_what_it_would_not_survive_is_found(app: Flask, change: str) -> None:
    """By the test before this one."""
    with app.app_context(), db.engine.begin() as connection:
        before = shape(connection)
        connection.execute(text(change))
        assert harm(before, shape(connection))


# Two versions at once


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the next version, whose schema has more."""
    root = tmp_path_factory.mktemp("next")
    for name in ("app", "migrations"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("swagger-ui"))
    for name in ("foxtrot", "templates"):
        (root / name).symlink_to(ROOT / name)
    for name in ("config.py", "config_values.py"):
        shutil.copy(ROOT / name, root)
    head = ScriptDirectory(str(schema.DIRECTORY)).get_current_head()
    (root / "migrations" / "versions" / "next.py").write_text(NEXT.format(head=head))
    return root


@contextmanager
def in_use(world: World) -> Iterator[set[int]]:
    """Somebody signs in, refreshes and signs out all the time; gives what they were answered."""
    over, seen = threading.Event(), set[int]()

    def live() -> None:
        while not over.wait(0.02):
            begun = world.ask("/auth/login", CREDENTIALS)
            renewed = world.refresh(begun.body)
            ended = world.ask("/auth/logout", {"refresh_token": renewed.body.get("refresh_token")})
            seen.update({begun.status, renewed.status, ended.status})

    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(live)
        try:
            yield seen
        finally:
            over.set()
    living.result()


@on_postgresql
def test_two_versions_serve_one_database(
    app: Flask, database: dict[str, str], next_version: Path, tmp_path: Path
) -> None:
    """The old one serves through the migration and afterwards; tokens of each are good at both."""
    settings = {**database, "FOXTROT_LIMIT_REGISTRATION": "off"}
    old, new = Server(settings, tmp_path / "old"), Server(settings, tmp_path / "new", next_version)
    old.settings = new.settings = {**settings, "FOXTROT_PUBLIC_URL": old.url}
    with old:
        world = World(old)
        world.settle()
        with in_use(world) as seen:
            assert run("db", "upgrade", settings=settings, root=next_version).returncode == 0
            with new:
                other = World(new)
                other.tokens = other.ask("/auth/login", CREDENTIALS).body
                assert world.ask("/readyz").status == other.ask("/readyz").status == 200
                for mine, there in ((world, other), (other, world)):
                    for one in (there, mine, there):
                        mine.tokens = one.refresh(mine.tokens).body
                        assert status_of_access(one.url, mine.tokens["access_token"]) == 200
    assert seen == {200, 204}


@on_both_databases
def test_an_old_worker_is_not_started_on_a_newer_schema(
    app: Flask, database: dict[str, str], make_app: MakeApp
) -> None:
    """It may be much newer: refused on SQLite, and not ready on PostgreSQL. Who runs goes on."""
    assert get(app.test_client(), "/readyz").status_code == 200
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'next'"))
    assert get(app.test_client(), "/readyz").status_code == 200
    if "FOXTROT_DATABASE_URL" in database:
        assert get(make_app().test_client(), "/readyz").status_code == 503
    else:
        with pytest.raises(StartRefused, match="newer"):
            make_app()
