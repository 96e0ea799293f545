"""The table of services, and how one of them is found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from flask import current_app
from sqlalchemy import BigInteger, Integer, select
from sqlalchemy.orm import Mapped, mapped_column

from app import users
from app.db import Base, db, read_now

OWN_SCOPES: Final = frozenset({users.ACCOUNT, users.ADMIN})
"""Scopes of the login service itself, which no other may declare or use."""


class Service(Base):
    """A service by its name. `public_id` is a machine's `client_id` and `sub`; never reused.

    `declared_scopes` are those that its own routes ask for, `granted_scopes` those that
    it may use at others, with tokens of its own.
    """

    __tablename__ = "services"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own name and type

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True
    )
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    declared_scopes: Mapped[str]
    granted_scopes: Mapped[str]
    secret_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    def __repr__(self) -> str:
        return f"<Service {self.public_id} {self.name}>"

    @property
    def declares(self) -> frozenset[str]:
        """The scopes that its routes ask for."""
        return frozenset(self.declared_scopes.split())

    @property
    def may(self) -> frozenset[str]:
        """The scopes that it may use at other services."""
        return frozenset(self.granted_scopes.split())


_ENABLED: Final = select(Service.id).where(Service.disabled_at.is_(None)).order_by(Service.id)


def by_name(name: str) -> Service | None:
    """Find a service by its name."""
    return db.session.scalar(select(Service).where(Service.name == name))


def by_public_id(public_id: str) -> Service | None:
    """Find a service by the id that tokens carry. Whatever the text, one query is made."""
    sought = public_id if public_id.isascii() and "\0" not in public_id else ""
    return db.session.scalar(select(Service).where(Service.public_id == sought))


def everyone() -> Sequence[Service]:
    """All services, in the order in which they were added."""
    return db.session.scalars(select(Service).order_by(Service.id)).all()


def enabled_numbers() -> Sequence[int]:
    """The `id` of each service that is not disabled, in order; one is never given twice."""
    return [row.id for row in read_now(_ENABLED)]


def is_reserved(name: str) -> bool:
    """Say whether this is the name of the login service itself, which no other may have."""
    return bool(name == current_app.config["ISSUER"])
