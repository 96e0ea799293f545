"""Bring the database to the newest schema, safely with many workers at once.

SQLite is migrated by the service itself when it starts. On PostgreSQL it is a
step of the deployment (`flask db upgrade`); a service that finds an old schema
says so in `/readyz`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from app.db import db, exclusive_connection
from app.errors import StartRefused

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "migrations"


def is_current() -> bool:
    """Say whether the database has exactly the schema that this code needs."""
    with db.engine.connect() as connection:
        return _revision(connection) == _head()


def migrate_if_sqlite() -> None:
    """Upgrade a SQLite database that is behind; of many processes one does it.

    :raises StartRefused: the schema is newer than this code.
    """
    if db.engine.dialect.name != "sqlite" or is_current():
        return
    with exclusive_connection() as connection:
        revision = _revision(connection)
        if revision != _head():
            _refuse_unknown(revision)
            _upgrade(connection)


def has_tables() -> bool:
    """Say whether there is a schema at all."""
    return inspect(db.engine).has_table("users")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _head() -> str | None:
    return ScriptDirectory(str(DIRECTORY)).get_current_head()


def _refuse_unknown(revision: str | None) -> None:
    known = {script.revision for script in ScriptDirectory(str(DIRECTORY)).walk_revisions()}
    if revision is not None and revision not in known:
        raise StartRefused(
            f"The database has schema {revision}, which is newer than this version of the service."
            " Start the version that made it, or restore a backup from before the upgrade."
        )


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
