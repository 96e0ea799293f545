"""The move of a whole installation from SQLite to PostgreSQL: all of it, or nothing.

Every table of the models is copied as it is, row by row, with the numbers of its rows; a
number that was given once is never given again over there. It is done in one transaction of
the other database, whose schema is made in it too, and while nobody writes here. Here nothing
is changed. Who moves has to stop the service before, and to change its settings afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    select,
    text,
)

from app import keys, schema
from app.db import Base, exclusive_connection, file
from app.errors import MoveRefused
from app.secret_key import SecretKey
from app.services import Service

BATCH: Final = 1000
CONNECT_SECONDS: Final = 5
NOT_OURS: Final = frozenset({"alembic_version", "sqlite_sequence", "sqlite_stat1", "sqlite_stat4"})

Report = Callable[[str, int, int], None]
"""Is told of a table, how many of its rows are there by now, and how many it has."""


def to_postgresql(url: str, secret_key: SecretKey, report: Report) -> dict[str, int]:
    """Copy everything; gives the number of rows by table.

    :param url: of the other database, which is empty or has only what a migration makes.
    :raises MoveRefused: this is no SQLite, or damaged, or the other database is in use.
    :raises StartRefused: the secret does not open the signing keys there.
    """
    if file() is None:
        raise MoveRefused("This installation is not on SQLite: there is nothing to move.")
    engine = create_engine(
        url, hide_parameters=True, connect_args={"connect_timeout": CONNECT_SECONDS}
    )
    try:
        with exclusive_connection() as here, engine.begin() as there:
            _refuse_damaged(here)
            _prepare(there)
            for table in Base.metadata.sorted_tables:
                _copy(table, here, there, report)
            counts = _compare(here, there)
            keys.check_opens(there, secret_key)
    finally:
        engine.dispose()
    return counts


def _refuse_damaged(here: Connection) -> None:
    """Damage is not to be carried over."""
    unknown = set(inspect(here).get_table_names()) - NOT_OURS - set(Base.metadata.tables)
    if unknown:
        raise MoveRefused(f"The database here has tables that are not ours: {_listed(unknown)}.")
    for check, sound in (("integrity_check", [("ok",)]), ("foreign_key_check", [])):
        found = [tuple(row) for row in here.execute(text(f"PRAGMA {check}"))]
        if found != sound:
            raise MoveRefused(
                f"The database here is damaged; PRAGMA {check} says: {found[0]}."
                " Put it back from the backup."
            )


def _prepare(there: Connection) -> None:
    """Make the schema, and see that nothing is lost."""
    tables = set(inspect(there).get_table_names())
    if tables and "alembic_version" not in tables:
        raise MoveRefused(
            f"The other database is not empty: it has the tables {_listed(tables)}."
            " Make one for this service alone."
        )
    schema.upgrade_other(there)
    used = [table.name for table in Base.metadata.sorted_tables if _is_used(table, there)]
    if used:
        raise MoveRefused(
            f"The other database is not empty: there are rows in {_listed(used)}."
            " Nothing is moved on top of them; make a fresh database."
        )
    there.execute(delete(Service))


def _is_used(table: Table, there: Connection) -> bool:
    """Say whether it has rows, besides the service that the migration makes."""
    made = Service.name == "notes"
    rows = select(func.count()).select_from(table)
    if table is Service.__table__:
        rows = rows.where(~made | Service.secret_hash.is_not(None))
    return bool(there.scalar(rows))


def _copy(table: Table, here: Connection, there: Connection, report: Report) -> None:
    total = _count(table, here)
    done = 0
    report(table.name, done, total)
    for batch in _batches(table, here):
        there.execute(insert(table), batch)
        done += len(batch)
        report(table.name, done, total)
    _go_on_after(table, here, there)


def _batches(table: Table, here: Connection) -> Iterator[Sequence[Any]]:
    rows = here.execute(select(table).order_by(*table.primary_key), execution_options=_STREAM)
    for batch in rows.mappings().partitions():
        yield [dict(row) for row in batch]


def _go_on_after(table: Table, here: Connection, there: Connection) -> None:
    """Have the other database give only numbers that were never given here."""
    column = table.autoincrement_column
    sequence = column is not None and there.scalar(
        select(func.pg_get_serial_sequence(table.name, column.name))
    )
    if column is None or not sequence:
        return
    given = "SELECT max(seq) FROM sqlite_sequence WHERE name = :name"
    last = max(
        here.scalar(select(func.max(column))) or 0,
        here.scalar(text(given), {"name": table.name}) or 0,
    )
    there.execute(select(func.setval(sequence, max(last, 1), last > 0)))


def _compare(here: Connection, there: Connection) -> dict[str, int]:
    counts = {table.name: _count(table, here) for table in Base.metadata.sorted_tables}
    for table in Base.metadata.sorted_tables:
        moved = _count(table, there)
        if moved != counts[table.name]:
            raise MoveRefused(
                f"Of {counts[table.name]} rows of {table.name}, {moved} arrived. Nothing was moved."
            )
    return counts


def _count(table: Table, connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _listed(names: set[str] | list[str]) -> str:
    return ", ".join(sorted(names))


_STREAM: Final = {"yield_per": BATCH}
