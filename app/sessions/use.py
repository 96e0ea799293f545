"""Finding login sessions, and writing down that they are used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, select, update
from sqlalchemy.orm import contains_eager

from app.client import Client
from app.db import FAILURES, db, row_count, transaction, utcnow
from app.ids import digest
from app.sessions.table import IS_LIVE, LAST_USED_FIRST, LoginSession, limit, limits
from app.users import User

TOUCH_EVERY: Final = timedelta(minutes=1)
_log = logging.getLogger("foxtrot.app")


def by_secret(secret: str, client: Client, now: datetime | None = None) -> LoginSession | None:
    """Find the live session whose cookie this is, and note once a minute that it was used."""
    now = now or utcnow()
    query = select(LoginSession).where(LoginSession.secret_hash == digest(secret))
    session = db.session.scalar(query)
    if session is None or not session.is_live(now):
        return None
    if now - session.last_seen_at >= min(TOUCH_EVERY, limit("IDLE") / 10):
        return _noted(session, client, now)
    return session


def _noted(session: LoginSession, client: Client, now: datetime) -> LoginSession | None:
    """Write down a use, unless the session has ended meanwhile."""
    public_id = session.public_id
    try:
        with transaction():
            found = hold(public_id)
            if found is None or not found.is_live(now):
                return None
            note_use(found, client, now)
    except FAILURES:
        _log.warning("The use of a session cannot be written down now; it is let through.")
    return session


def by_public_id(public_id: str, subject: str, now: datetime | None = None) -> LoginSession | None:
    """Find the live session of that `sid`, if it is that subject's."""
    session = find(public_id)
    if session is None or session.user.public_id != subject:
        return None
    return session if session.is_live(now or utcnow()) else None


def find(public_id: str) -> LoginSession | None:
    """Find a session, live or not, by the id that tokens carry."""
    if not public_id.isascii() or "\0" in public_id:
        return None
    return db.session.scalar(select(LoginSession).where(LoginSession.public_id == public_id))


def hold(public_id: str) -> LoginSession | None:
    """Inside a transaction, find a session and keep everybody else from changing it."""
    held = select(LoginSession).where(LoginSession.public_id == public_id)
    held = held.with_for_update(of=LoginSession).execution_options(populate_existing=True)
    return db.session.scalar(held)


def live(user: User | None = None, now: datetime | None = None) -> Sequence[LoginSession]:
    """The live sessions of a user, or of everybody, last used first."""
    query = select(LoginSession).join(LoginSession.user).options(contains_eager(LoginSession.user))
    query = query.where(IS_LIVE).order_by(*LAST_USED_FIRST)
    if user is not None:
        query = query.where(LoginSession.user_id == user.id)
    return db.session.scalars(query, limits(now or utcnow())).all()


def note_use(session: LoginSession, client: Client, now: datetime) -> None:
    """Inside a transaction, write down that a session was used, and from where."""
    session.last_seen_at = max(now, session.last_seen_at)
    session.address, session.user_agent = client.address, client.user_agent


def note_shown(session: LoginSession, token_id: str) -> bool:
    """Write down that the access token of the newest refresh was shown here: it has arrived.

    Says whether there was something to write; then what was read of the session is old.
    """
    if session.unseen_answer is None or session.unseen_answer != token_id:
        return False
    still_unseen = and_(LoginSession.id == session.id, LoginSession.unseen_answer == token_id)
    try:
        with transaction():
            row_count(update(LoginSession).where(still_unseen).values(unseen_answer=None))
    except FAILURES:
        _log.warning("The use of an access token cannot be written down now; it is let through.")
    return True
