"""Deleting many rows a few at a time: each step is a short transaction, so hardly anybody waits.

On SQLite the write lock is let go after each step. On PostgreSQL rows that somebody
else holds are left for the next time. What there is to delete is read first, so that
nothing is locked where there is nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db import db, read_now, transaction

Prune = Callable[[datetime, int], Iterator[int]]
"""Deletes what is over at a moment, so many rows a step at most; gives the number each time."""

Key = InstrumentedAttribute[Any]


def repeated(
    key: Key, is_over: ColumnElement[bool], limit: int, order_by: Key | None = None
) -> Iterator[int]:
    """Delete the rows that meet a condition which an index answers, or a small table."""
    wanted = select(key).where(is_over).order_by(key if order_by is None else order_by).limit(limit)
    while read_now(wanted.limit(1)):
        deleted = _delete(key, wanted)
        yield deleted
        if deleted < limit:
            return


def walked(
    key: Key, is_over: ColumnElement[bool], may_be: ColumnElement[bool], limit: int
) -> Iterator[int]:
    """Go through a large table from its oldest row on, and delete those that are over.

    Ends at the first step in which no row *may be* over: what comes after it is younger.
    """
    rows = select(key, is_over, or_(may_be, is_over)).order_by(key).limit(limit)
    page: Sequence[Any] = read_now(rows)
    while any(row[2] for row in page):
        found = [row[0] for row in page if row[1]]
        yield _delete(key, select(key).where(key.in_(found), is_over)) if found else 0
        page = read_now(rows.where(key > page[-1][0]))


def _delete(key: Key, wanted: Select[Any]) -> int:
    """Delete the rows of a query that nobody else holds."""
    with transaction():
        free = wanted.with_for_update(skip_locked=True)
        found: Sequence[Any] = db.session.scalars(free).all()
        if found:
            unseen = {"synchronize_session": False}
            db.session.execute(delete(key.class_).where(key.in_(found)), execution_options=unseen)
    return len(found)
