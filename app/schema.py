"""Bring the database to the newest schema, safely with many workers at once.

SQLite is migrated by the service itself when it starts. On PostgreSQL it is a
step of the deployment (`flask db upgrade`); a service that finds an old schema
says so in `/readyz`. One that runs while a newer version migrates goes on, because a
migration only adds what workers of the version before can do without
(tests/faults/test_upgrades.py looks at each).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from app.db import Base, db, exclusive_connection, file, lock_migrations, reach
from app.errors import StartRefused

REACH_SECONDS: Final = 2
DIRECTORY: Final = Path(__file__).resolve().parent.parent / "migrations"


def is_current() -> bool:
    """Say whether the database is there and has exactly the schema that this code needs."""
    path = file()
    if path is not None and not path.exists():
        return False
    with db.engine.connect() as connection:
        return _revision(connection) == _head()


class Watch:
    """Says whether this process can serve with the schema that it finds.

    It can with its own; and once it did, also with one of a newer version, which has come
    meanwhile. Who starts with a newer one cannot: perhaps it is much newer.
    """

    def __init__(self) -> None:
        self._was_current = False
        _known()

    def is_ready(self) -> bool:
        """Look at a database that answers shortly.

        :raises DatabaseError: it does not.
        """
        reach(REACH_SECONDS)
        return self.can_serve()

    def can_serve(self) -> bool:
        """Look, however long that takes."""
        if is_current():
            self._was_current = True
            return True
        return self._was_current and _is_newer()


def _is_newer() -> bool:
    """Say whether a database that is not current has a schema that this code does not know."""
    path = file()
    if path is not None and not path.exists():
        return False
    with db.engine.connect() as connection:
        found = _revision(connection)
    return found is not None and found not in _known()


def migrate_if_sqlite(*, must_exist: bool) -> None:
    """Upgrade a SQLite database that is behind; of many processes one does it.

    :param must_exist: there was a database here before, so a missing one is lost.
    :raises StartRefused: the file is lost or cut, or newer than this code.
    """
    path = file()
    if path is None:
        return
    _refuse_damaged(path, must_exist=must_exist)
    if is_current():
        return
    with exclusive_connection() as connection:
        revision = _revision(connection)
        if revision != _head():
            _refuse_unknown(revision)
            _upgrade(connection)


def upgrade() -> None:
    """Bring the database to the newest schema; whoever does the same meanwhile is waited for.

    :raises StartRefused: the database is newer than this code.
    """
    with exclusive_connection() as connection:
        _refuse_unknown(_revision(connection))
        _upgrade(connection)


def upgrade_other(connection: Connection) -> None:
    """Bring another PostgreSQL database to the newest schema, in its transaction under way.

    :raises StartRefused: it is newer than this code.
    """
    lock_migrations(connection)
    _refuse_unknown(_revision(connection))
    _upgrade(connection)


def downgrade(revision: str) -> None:
    """Bring the database back to an older schema; `base` leaves nothing.

    :raises StartRefused: there is no such schema, or it is newer than this code.
    """
    with exclusive_connection() as connection:
        _refuse_unknown(_revision(connection))
        try:
            command.downgrade(_config(connection), revision)
        except CommandError as error:
            raise StartRefused(f"There is no way back to {revision!r}: {error}") from None


def revision() -> tuple[str | None, str | None]:
    """The schema that the database has, None without any, and the newest that this code knows."""
    with db.engine.connect() as connection:
        return _revision(connection), _head()


def differences() -> list[str]:
    """What the models say and the migrations do not make; for whoever changes a model."""
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return [repr(one) for one in compare_metadata(context, Base.metadata)]


def _refuse_damaged(path: Path, *, must_exist: bool) -> None:
    """Never make a new database where there was one: all users would be gone without a word."""
    has_content = path.exists() and (path.is_dir() or path.stat().st_size > 0)
    if must_exist and not has_content:
        raise StartRefused(
            f"The database {path} is missing or empty, but the secret beside it says that there was"
            " one. Put it back from the backup; to begin anew, remove the secret too."
        )
    if path.with_name(f"{path.name}-wal").exists():
        return  # SQLite mends by itself what a crash left
    if path.is_file() and _is_cut(path):
        raise StartRefused(
            f"The database {path} is shorter than it says it is. Put it back from the backup."
        )


def _is_cut(path: Path) -> bool:
    """Compare the size with the header (https://www.sqlite.org/fileformat2.html section 1.3)."""
    with path.open("rb") as opened:
        header = opened.read(100)
    if len(header) < 100 or header[24:28] != header[92:96]:
        return False
    page_size = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return path.stat().st_size < pages * (65_536 if page_size == 1 else page_size)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


@cache
def _head() -> str | None:
    """The schema of this code, as it was at the start; files of a newer version do not count."""
    return ScriptDirectory(str(DIRECTORY)).get_current_head()


@cache
def _known() -> frozenset[str]:
    scripts = ScriptDirectory(str(DIRECTORY)).walk_revisions()
    return frozenset(script.revision for script in scripts)


def _refuse_unknown(revision: str | None) -> None:
    if revision is not None and revision not in _known():
        raise StartRefused(
            f"The database has schema {revision}, which is newer than this version of the service."
            " Start the version that made it, or restore a backup from before the upgrade."
        )


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
