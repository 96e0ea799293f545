"""Audit events: who did what, when and from where.

Each event is a row, shown to its user and by `flask events`, and one line of JSON
in the log `foxtrot.audit`. No event holds a secret, and nothing of it can break
out of its line. What was typed as an address and belongs to nobody is kept as a
keyed hash only, because people type their passwords there.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, cast

from flask import current_app
from sqlalchemy import (
    BigInteger,
    Index,
    Integer,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column

from app import logs
from app.batches import walked
from app.client import Client
from app.db import Base, db, on_commit, transaction, utcnow
from app.metrics import EVENTS, Meter
from app.secret_key import SecretKey

PURPOSE: Final = "audit v1"


class Event(StrEnum):
    """What can happen. The names are part of the contract: they do not change."""

    USER_CREATED = "user.created"
    USER_DISABLED = "user.disabled"
    USER_ENABLED = "user.enabled"
    USER_DELETED = "user.deleted"
    SCOPES_CHANGED = "scopes.changed"
    USERS_IMPORTED = "users.imported"
    USERS_EXPORTED = "users.exported"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LIMIT_REACHED = "limit.reached"
    USER_UNLOCKED = "user.unlocked"
    PASSWORD_CHANGED = "password.changed"  # noqa: S105 - a name, not a secret
    RESET_LINK_MADE = "reset_link.made"
    SESSION_ENDED = "session.ended"
    EVERYTHING_ENDED = "everything.ended"
    REFRESH_SUCCEEDED = "refresh.succeeded"
    REFRESH_REPLAYED = "refresh.replayed"
    REFRESH_RETRIED = "refresh.retried"
    REFRESH_REUSED = "refresh.reused"
    WARNING_DISMISSED = "warning.dismissed"
    TOKENS_ATTACKED = "tokens.attacked"
    SERVICE_ADDED = "service.added"
    SERVICE_CHANGED = "service.changed"
    SERVICE_SECRET_MADE = "service.secret_made"  # noqa: S105 - a name, not a secret
    SERVICE_DISABLED = "service.disabled"
    SERVICE_ENABLED = "service.enabled"
    SERVICE_REMOVED = "service.removed"
    CLIENT_SUCCEEDED = "client.succeeded"
    CLIENT_REFUSED = "client.refused"
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - a name, not a secret
    KEY_ROTATED = "key.rotated"
    KEY_RETIRED = "key.retired"
    KEY_REMOVED = "key.removed"
    KEYS_REWRAPPED = "keys.rewrapped"


LOG_ONLY: Final = frozenset({Event.REFRESH_SUCCEEDED, Event.CLIENT_SUCCEEDED, Event.CLIENT_REFUSED})
"""Too ordinary and too many for a row each, or for the asking by anybody at no cost."""


BY_ANYBODY: Final = frozenset({Event.LOGIN_FAILED, Event.LIMIT_REACHED})
"""What anybody can have happen to any user, as often as they like."""


class AuditEvent(Base):
    """Something that happened. The public ids in it outlive the rows of what they name."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_user", "user", "id"),
        Index("ix_audit_events_user_name", "user", "name", "id"),
        Index("ix_audit_events_name_at", "name", "at"),
    )

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True
    )
    at: Mapped[datetime]
    name: Mapped[str]
    user: Mapped[str | None]
    session: Mapped[str | None]
    address: Mapped[str]
    device: Mapped[str]
    request_id: Mapped[str]
    reason: Mapped[str | None]
    typed_hash: Mapped[str | None]
    service: Mapped[str | None]
    actor: Mapped[str | None]


_COLUMNS: Final = tuple(AuditEvent.__table__.columns.keys())
_INSERT: Final = insert(cast(Table, AuditEvent.__table__))


def record(
    event: Event,
    client: Client,
    *,
    user: str | None = None,
    session: str | None = None,
    service: str | None = None,
    reason: str | None = None,
    typed: str | None = None,
    now: datetime | None = None,
) -> None:
    """Write down that something happened, in the transaction under way or in its own.

    :param user: the public id of the user it happened to.
    :param session: the public id of their login session.
    :param service: the public id of the service that it concerns.
    :param reason: one word of ours that says more; of a signing key, its name.
    :param typed: what was given as an address and is nobody's; its keyed hash is kept.
    """
    columns = {
        "at": now or utcnow(),
        "name": event.value,
        "user": user,
        "session": session,
        "service": service,
        "reason": reason,
        "address": client.address,
        "device": client.device,
        "request_id": client.request_id,
        "actor": client.actor,
        "typed_hash": None if typed is None else _keyed_hash(typed),
    }
    if event not in LOG_ONLY:
        with transaction():
            db.session.connection().execute(_INSERT, columns)
    on_commit(lambda: _tell(columns))


def of_user(user: str, limit: int) -> list[AuditEvent]:
    """The newest events of a user, newest first; at most a third of them are `BY_ANYBODY`.

    Anybody can fail to sign in, as often as it takes to push all else off the list.
    """
    failed = newest(limit // 3, user=user, among=BY_ANYBODY)
    others = newest(limit - limit // 3, user=user, other_than=BY_ANYBODY)
    return sorted([*failed, *others], key=lambda event: event.id, reverse=True)


def newest(
    limit: int,
    *,
    user: str | None = None,
    name: Event | None = None,
    among: Collection[Event] = (),
    other_than: Collection[Event] = (),
) -> list[AuditEvent]:
    """The newest events, newest first; of one user, of one name or some, or of all but some."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if user is not None:
        query = query.where(AuditEvent.user == user)
    if name is not None:
        query = query.where(AuditEvent.name == name.value)
    if among:
        query = query.where(AuditEvent.name.in_([one.value for one in among]))
    if other_than:
        query = query.where(AuditEvent.name.not_in([one.value for one in other_than]))
    return list(db.session.scalars(query))


def count_on(day: date, names: Sequence[Event]) -> dict[str, int]:
    """How many events of these names there were on a day in UTC."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    query = select(AuditEvent.name, func.count()).where(
        AuditEvent.name.in_([name.value for name in names]),
        AuditEvent.at >= begin,
        AuditEvent.at < begin + timedelta(days=1),
    )
    return {row[0]: row[1] for row in db.session.execute(query.group_by(AuditEvent.name))}


def forget(user: str) -> None:
    """Remove the events of a user who is being deleted: addresses are personal data."""
    with transaction():
        db.session.execute(delete(AuditEvent).where(AuditEvent.user == user))


def prune(now: datetime, limit: int) -> Iterator[int]:
    """Delete events that are older than the setting.

    Those of tomorrow are of a clock that went wrong, and say nothing of the ones after them.
    """
    kept = timedelta(seconds=current_app.config["FOXTROT_EVENTS_KEPT"])
    is_over = AuditEvent.at <= now - kept
    tells_nothing = AuditEvent.at > now + timedelta(days=1)
    yield from walked(AuditEvent.id, is_over, or_(is_over, tells_nothing), limit)


def as_dict(event: AuditEvent) -> dict[str, str]:
    """An event for programs; what it does not have is left out."""
    return _members({name: getattr(event, name) for name in _COLUMNS})


def _tell(columns: Mapping[str, Any]) -> None:
    """Log an event that is on the disk, and count it."""
    logs.json_line(logs.audit, _members(columns))
    meter: Meter = current_app.extensions["foxtrot_metrics"]
    meter.count(EVENTS, columns["name"])


def _members(columns: Mapping[str, Any]) -> dict[str, str]:
    members = {
        "at": columns["at"].isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": columns["name"],
        "user": columns["user"],
        "session": columns["session"],
        "service": columns["service"],
        "reason": columns["reason"],
        "actor": columns["actor"],
        "address": columns["address"] or None,
        "device": columns["device"],
        "request_id": columns["request_id"],
        "typed_hash": columns["typed_hash"],
    }
    return {name: value for name, value in members.items() if value is not None}


def _keyed_hash(typed: str) -> str:
    """Tells equal texts from different ones, and nothing to whoever lacks the secret."""
    secret_key: SecretKey = current_app.extensions["foxtrot_secret_key"]
    text = typed.encode("utf-8", "surrogatepass")
    return hmac.new(secret_key.derive(PURPOSE), text, hashlib.sha256).hexdigest()[:32]
