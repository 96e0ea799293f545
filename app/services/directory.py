"""Whom tokens may be for, and the scopes that these declare.

Each process knows the services that tokens are for, and looks at the table again every half
minute.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import select

from app.db import FAILURES, reach, read_now, utcnow
from app.services.table import Service, is_reserved

REREAD: Final = timedelta(seconds=30)

_log = logging.getLogger("foxtrot.app")


@dataclass(frozen=True)
class Audience:
    """A service that tokens may be for, and the scopes that it declares."""

    name: str
    scopes: frozenset[str]


class Directory:
    """The services of one app that tokens may be for, read from the table now and then."""

    def __init__(self) -> None:
        self._known: tuple[Audience, ...] | None = None
        self._read_at: datetime | None = None
        self._changes = 0

    def audiences(
        self, wanted: Collection[str] = (), now: datetime | None = None
    ) -> tuple[Audience, ...]:
        """All of them, oldest first; read anew where one is wanted that is not known."""
        now = now or utcnow()
        known = self._known
        if known is None or not self._is_fresh(now) or not _names(known).issuperset(wanted):
            known = self._read(now)
        return known

    def forget(self) -> None:
        """Read anew at the next question: the table has changed."""
        self._changes += 1
        self._read_at = None

    def _is_fresh(self, now: datetime) -> bool:
        return self._read_at is not None and abs(now - self._read_at) < REREAD

    def _read(self, now: datetime) -> tuple[Audience, ...]:
        """Read the table, or go on with what is known where it cannot be read."""
        changes, known = self._changes, self._known
        try:
            if known is not None:
                reach(1)
            known = _read_audiences()
        except FAILURES:
            if known is None:
                raise
            _log.warning("The services cannot be read now; those known are used.")
        if changes == self._changes:  # else what was read may be older than the change
            self._known, self._read_at = known, now
        return known


def _names(audiences: Collection[Audience]) -> set[str]:
    return {one.name for one in audiences}


_AUDIENCES: Final = (
    select(Service.name, Service.declared_scopes, Service.granted_scopes)
    .where(Service.disabled_at.is_(None))
    .order_by(Service.id)
)


def _read_audiences() -> tuple[Audience, ...]:
    """Those that are called: who only calls others declares nothing, and is nobody's audience."""
    return tuple(
        Audience(row.name, frozenset(row.declared_scopes.split()))
        for row in read_now(_AUDIENCES)
        if (row.declared_scopes or not row.granted_scopes) and not is_reserved(row.name)
    )


def open_to(held: Collection[str], wanted: Collection[str] = ()) -> list[Audience]:
    """The services that whoever holds these scopes may call.

    One that declares no scope is for everybody, another for those who hold at least one of its.
    """
    audiences = _directory().audiences(wanted)
    return [one for one in audiences if not one.scopes or not one.scopes.isdisjoint(held)]


def knows(name: str) -> bool:
    """Say whether tokens may be for a service of this name."""
    return any(one.name == name for one in _directory().audiences([name]))


def declared_by(names: Collection[str] | None = None) -> frozenset[str]:
    """The scopes that these services declare; without names, those of all."""
    audiences = _directory().audiences()
    return frozenset().union(
        *(one.scopes for one in audiences if names is None or one.name in names)
    )


def forget() -> None:
    """Have this process read the table anew: it has changed."""
    _directory().forget()


def _directory() -> Directory:
    directory: Directory = current_app.extensions["foxtrot_services"]
    return directory
