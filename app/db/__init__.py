"""The database: one session, one way to write, one type for times.

SQLite takes its write lock when a transaction that writes begins (`BEGIN
IMMEDIATE`), never half way, so that nothing read in it can be overwritten by
somebody else; it runs in WAL mode, and a commit that was acknowledged is on the
disk (`synchronous=FULL`). On PostgreSQL transactions run beside each other: who
decides by what it reads locks the row (`with_for_update`), writes by a condition,
or takes a `turn`. On both, who waits for a lock in vain gives up after a while, and a
server that is silent is not waited for any longer (`patience`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Final, cast

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    Connection,
    CursorResult,
    Delete,
    Engine,
    Executable,
    MetaData,
    Row,
    Update,
    event,
    func,
    select,
    text,
)
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.exc import DatabaseError, InterfaceError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError
from sqlalchemy.types import TypeDecorator

from app.db import patience
from app.db.patience import at_most

BUSY_SECONDS: Final = 5
SILENT_SECONDS: Final = BUSY_SECONDS + 1
"""For how long a server is waited for that does not answer; it gives up before, if it lives."""

FAILURES: Final = (
    DatabaseError,
    InterfaceError,
    PendingRollbackError,
    PoolTimeoutError,
    ObjectDeletedError,
    StaleDataError,
)
"""What the database raises when it cannot answer now, is not what it should be, or lost a row
to somebody else meanwhile."""

_LIMITS: Final = {
    "lock_timeout": BUSY_SECONDS,
    "statement_timeout": BUSY_SECONDS,
    "idle_in_transaction_session_timeout": 60,  # of a worker that was cut off, who holds locks
}
_EACH_FOR_ITSELF: Final[dict[str, dict[str, Any]]] = {
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
    "sqlite": {"begins": None},  # as AUTOCOMMIT would do, which forgets what _set_up_sqlite set
}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def utcnow() -> datetime:
    """The time now, aware and in UTC. Rules take it as an argument."""
    return datetime.now(UTC)


def to_microseconds(moment: datetime) -> int:
    """A moment as a whole number of microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(number: int) -> datetime:
    """The moment that many microseconds after the epoch, in UTC."""
    return _EPOCH + timedelta(microseconds=number)


class UtcTime(TypeDecorator[datetime]):
    """A moment, kept as a whole number of microseconds since the epoch."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class Base(DeclarativeBase):
    """The base of all tables; constraints are named so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: UtcTime}


db = SQLAlchemy()


def init_app(app: Flask, *, serves: bool = True) -> None:
    """Attach the database to *app* and teach it its manners.

    :param serves: whether requests wait for it; a command may take its time.
    """
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", _set_up_sqlite)
            event.listen(db.engine, "begin", _begin_sqlite)
        else:
            _be_patient(db.engine, serves=serves)


def engine_options(url: str) -> dict[str, Any]:
    """How the engine behaves: it waits shortly, drops dead connections, logs no values."""
    if url.startswith("sqlite"):
        # They cost little, and who reads must not queue behind those who wait to write.
        return {"max_overflow": 95, "pool_timeout": BUSY_SECONDS, "hide_parameters": True}
    return {
        "poolclass": patience.Pool,
        "pool_timeout": patience.POLL_SECONDS,
        "pool_pre_ping": True,
        "hide_parameters": True,
    }


def file() -> Path | None:
    """The file of a SQLite database."""
    url = db.engine.url
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


@contextmanager
def transaction() -> Iterator[None]:
    """Write, all or nothing. Inside another transaction it is part of that one.

    What was read before is read anew inside.
    """
    session = db.session()
    if "connection" in session.info:
        yield
        return
    session.rollback()
    try:
        session.info["connection"] = session.connection(
            execution_options={"begins": "BEGIN IMMEDIATE"}
        )
        yield
        session.commit()
    except BaseException:
        session.rollback()
        session.info.pop("on_commit", None)
        raise
    finally:
        session.info.pop("connection", None)
    for action in session.info.pop("on_commit", []):
        action()


@contextmanager
def core_statements() -> Iterator[Connection]:
    """A connection past the ORM, where that takes too long; each statement is for itself.

    Whoever decides by what one statement has read writes on condition that it is so still.
    Inside a transaction they are part of that one, and objects do not learn of what is written.
    """
    if (held := _held()) is not None:
        db.session.flush()
        yield held
        return
    if db.session.registry.has():
        db.session.rollback()  # what was read before is read anew afterwards
    with db.engine.connect() as connection:
        yield connection.execution_options(**_EACH_FOR_ITSELF[connection.dialect.name])


@contextmanager
def core_transaction() -> Iterator[Connection]:
    """A short transaction past the ORM, on a connection of its own.

    Whoever has one already gives it back first (`release`), so that nobody needs two. Inside a
    transaction it is a part of that one, which can fail by itself.
    """
    if (held := _held()) is not None:
        db.session.flush()
        with held.begin_nested():
            yield held
        return
    with (
        db.engine.connect().execution_options(begins="BEGIN IMMEDIATE") as connection,
        connection.begin(),
    ):
        yield connection


def _held() -> Connection | None:
    """The connection of the transaction under way in this thread, if there is one."""
    held: Connection | None = None
    if db.session.registry.has():
        held = db.session().info.get("connection")
    return held


def turn(name: str) -> None:
    """Wait until nobody else has this name's turn; it ends with the transaction.

    On SQLite the transaction itself is such a turn.
    """
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))


def on_commit(action: Callable[[], None]) -> None:
    """Do something once the transaction under way is on the disk; at once outside of one."""
    if _held() is None:
        action()
    else:
        db.session().info.setdefault("on_commit", []).append(action)


def read_now(statement: Executable) -> Sequence[Row[Any]]:
    """Rows as they are now, also where this request began to read before."""
    if (held := _held()) is not None:
        return held.execute(statement).all()
    with db.engine.connect() as connection:
        return connection.execute(statement).all()


def reach(seconds: float) -> None:
    """See whether the database answers, before what it says is waited for.

    For who has an older answer at hand, or need not be right.

    :raises DatabaseError: it does not, after so many seconds, or a few more if nobody was there.
    """
    with at_most(seconds), db.engine.connect():
        pass


def row_count(change: Update | Delete) -> int:
    """Carry out an update or a delete, and give the number of rows that met its conditions."""
    options = {"synchronize_session": False}
    result = db.session.execute(change, execution_options=options)
    return cast("CursorResult[Any]", result).rowcount


def release() -> None:
    """Give the connection back before work that takes long and needs no database."""
    if _held() is None:
        db.session.rollback()


def disconnect() -> None:
    """Close all connections; the next use opens new ones."""
    db.session.remove()
    db.engine.dispose()


@contextmanager
def exclusive_connection() -> Iterator[Connection]:
    """One connection on which nobody else migrates meanwhile.

    SQLite's write lock does that; on PostgreSQL an advisory lock.
    """
    with (
        db.engine.connect().execution_options(begins="BEGIN IMMEDIATE") as connection,
        connection.begin(),
    ):
        if connection.dialect.name == "postgresql":
            for limit in _LIMITS:  # however long they take
                connection.execute(text(f"SET LOCAL {limit} = 0"))
            waiting: Any = connection.connection.dbapi_connection
            with patience.without_end(waiting):
                lock_migrations(connection)
                yield connection
        else:
            yield connection


def lock_migrations(connection: Connection) -> None:
    """On PostgreSQL, let nobody else migrate until the transaction ends."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": 70787482})


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _be_patient(engine: Engine, *, serves: bool) -> None:
    line = patience.Line(SILENT_SECONDS if serves else None)
    limits = _LIMITS if serves else {"lock_timeout": BUSY_SECONDS}

    def set_up(connection: Any, _record: object) -> None:
        for name, seconds in limits.items():
            connection.execute(f"SET {name} = '{seconds}s'")
        connection.execute("SET default_transaction_isolation = 'read committed'")
        connection.commit()

    cast("patience.Pool", engine.pool).line = line
    event.listen(engine, "do_connect", patience.connector(line))
    event.listen(engine, "connect", set_up)


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait by itself while another process does the same."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    how = connection.get_execution_options().get("begins", "BEGIN")
    if how is not None:
        connection.exec_driver_sql(how)
