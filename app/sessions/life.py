"""How login sessions begin and end."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from flask import current_app
from sqlalchemy import ColumnElement, and_, bindparam, insert, select, update

from app import audit, users
from app.audit import Event
from app.client import Client
from app.db import db, row_count, transaction, utcnow
from app.ids import new_id
from app.sessions.table import (
    IS_LIVE,
    LAST_USED_FIRST,
    PASSWORD,
    Grant,
    LoginSession,
    Snapshot,
    limits,
    runs_until,
)
from app.users import Holder, User

_INSERT: Final = insert(LoginSession).returning(LoginSession.id)
_NOT_ENDED: Final = (
    select(
        LoginSession.id,
        LoginSession.public_id,
        LoginSession.created_at,
        LoginSession.last_seen_at,
        User.public_id.label("user"),
    )
    .join(LoginSession.user)
    .where(LoginSession.ended_at.is_(None))
    .order_by(LoginSession.id)
    .with_for_update(of=LoginSession)
)
_SURPLUS: Final = (
    select(LoginSession.id)
    .join(LoginSession.user)
    .where(IS_LIVE, LoginSession.user_id == bindparam("user_id"))
    .order_by(*LAST_USED_FIRST)
    .offset(bindparam("most"))
)
"""The live sessions of a user, but for so many that were used last."""


class Ending(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "signed_out"
    SIGNED_IN_ANEW = "signed_in_anew"
    ENDED_BY_USER = "ended_by_user"
    ENDED_BY_OPERATOR = "ended_by_operator"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name, not a secret
    USER_DISABLED = "user_disabled"
    REFRESH_REUSED = "refresh_reused"
    TOO_MANY_SESSIONS = "too_many_sessions"


def start(
    user: User | Holder,
    client: Client,
    *,
    public_id: str | None = None,
    secret_hash: str | None = None,
    refresh_hash: str | None = None,
    grant: Grant | None = None,
    instead_of: LoginSession | None = None,
    now: datetime | None = None,
) -> Snapshot:
    """Begin a session, past the ORM: most of what a sign-in costs besides its hash is here.

    Where a user has more sessions than the setting permits, those end that were
    unused longest.

    :param user: whom the caller holds (`users.lock`, `proofs.hold`) or has just made: so no two
        sessions both find the last room.
    :param public_id: its own, where that had to be known before.
    :param secret_hash: of the secret in a browser's cookie.
    :param refresh_hash: of the first refresh token of a client with tokens.
    :param instead_of: the session that the same browser had before; it ends first.
    """
    now, grant = now or utcnow(), grant or Grant()
    public_id = public_id or new_id("s")
    holder = user if isinstance(user, Holder) else Holder.of(user)
    columns = {
        "public_id": public_id,
        "user_id": holder.id,
        "secret_hash": secret_hash,
        "refresh_hash": refresh_hash,
        "amr": PASSWORD,
        "granted_audience": None if grant.audience is None else " ".join(grant.audience),
        "granted_scope": None if grant.scope is None else " ".join(sorted(grant.scope)),
        "address": client.address,
        "user_agent": client.user_agent,
        "authenticated_at": now,
        "created_at": now,
        "last_seen_at": now,
    }
    with transaction():
        if instead_of is not None:
            end(instead_of, Ending.SIGNED_IN_ANEW, client, now)
        _make_room(holder.id, client, now)
        number: int = db.session.connection().execute(_INSERT, columns).scalar_one()
        audit.record(
            Event.LOGIN_SUCCEEDED, client, user=holder.public_id, session=public_id, now=now
        )
    return Snapshot(number, public_id, now, now, now, grant, holder)


def end(
    session: LoginSession | Snapshot, ending: Ending, client: Client, now: datetime | None = None
) -> int:
    """End a session, and give 1 if it was live. Ending it again changes nothing."""
    return _end(LoginSession.id == session.id, ending, client, now or utcnow())


def end_others(
    session: LoginSession, ending: Ending, client: Client, now: datetime | None = None
) -> int:
    """End every session of a user but this one. Gives the number of those that were live."""
    user_id, this = session.user_id, session.id
    others = and_(LoginSession.user_id == user_id, LoginSession.id != this)
    with transaction():
        users.lock(user_id)
        return _end(others, ending, client, now or utcnow())


def end_all(user: User, ending: Ending, client: Client, now: datetime | None = None) -> int:
    """End every session of a user. Gives the number of those that were live."""
    user_id = user.id
    with transaction():
        users.lock(user_id)
        return _end(LoginSession.user_id == user_id, ending, client, now or utcnow())


def end_everybodys(client: Client, now: datetime | None = None) -> int:
    """End every session there is, as one event. Gives the number of those that were not ended."""
    now = now or utcnow()
    query = update(LoginSession).where(LoginSession.ended_at.is_(None)).values(ended_at=now)
    with transaction():
        ended = row_count(query)
        audit.record(Event.EVERYTHING_ENDED, client, now=now)
    return ended


def _end(which: ColumnElement[bool], ending: Ending, client: Client, now: datetime) -> int:
    """End sessions, locked in one order; those that had not run out get an event each."""
    ended = 0
    with transaction():
        found = db.session.execute(_NOT_ENDED.where(which)).all()
        if found:
            these = LoginSession.id.in_([one.id for one in found])
            row_count(update(LoginSession).where(these).values(ended_at=now))
        for one in found:
            if now < runs_until(one.created_at, one.last_seen_at):
                _record_end(one.user, one.public_id, ending, client, now)
                ended += 1
    return ended


def _record_end(user: str, sid: str, ending: Ending, client: Client, now: datetime) -> None:
    audit.record(Event.SESSION_ENDED, client, user=user, session=sid, reason=ending.value, now=now)


def _make_room(user_id: int, client: Client, now: datetime) -> None:
    """End what would be too much with one more session."""
    most = current_app.config["FOXTROT_SESSIONS_PER_USER"]
    whose = {"user_id": user_id, "most": most - 1}
    surplus = db.session.scalars(_SURPLUS, limits(now) | whose).all()
    if surplus:
        _end(LoginSession.id.in_(surplus), Ending.TOO_MANY_SESSIONS, client, now)
