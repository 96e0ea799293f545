"""Login sessions: one for each sign-in on a device, on the server, ended when somebody says so.

A browser holds the session's secret in a cookie; a JSON client holds a family of
refresh tokens and access tokens that name the session (`sid`). Whatever a cookie
or a token says, it counts only while its session is live.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from flask import current_app
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Integer,
    and_,
    bindparam,
    select,
    update,
)
from sqlalchemy.orm import Mapped, contains_eager, mapped_column, relationship

from app import audit, users
from app.audit import Event
from app.client import Client, name_device
from app.db import FAILURES, Base, db, row_count, transaction, utcnow
from app.ids import digest, new_id, new_secret
from app.users import Holder, User

TOUCH_EVERY: Final = timedelta(minutes=1)
_log = logging.getLogger("foxtrot.app")

PASSWORD: Final = "pwd"  # noqa: S105 - RFC 8176 section 2: how the user proved who they are


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


@dataclass(frozen=True)
class Grant:
    """What the tokens of a session may be for, at most; None for all that its user may."""

    audience: tuple[str, ...] | None = None
    scope: frozenset[str] | None = None

    @classmethod
    def of(cls, audience: str | None, scope: str | None) -> Grant:
        """Read what stands in a row."""
        return cls(
            None if audience is None else tuple(audience.split()),
            None if scope is None else frozenset(scope.split()),
        )


class LoginSession(Base):
    """A sign-in on one device. `id` is never reused; `public_id` is the tokens' `sid`.

    `address` and `user_agent` are those of its last use. `refresh_hash` is of its
    one unused refresh token, `rotations` what `refresh_tokens` knows of those just
    used; `unseen_answer` is the `jti` of the access token that the newest use was
    first answered with, for as long as nobody has shown it here.
    """

    __tablename__ = "login_sessions"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own name and type

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True
    )
    public_id: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    secret_hash: Mapped[str | None] = mapped_column(unique=True)
    address: Mapped[str]
    user_agent: Mapped[str]
    authenticated_at: Mapped[datetime]
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    amr: Mapped[str] = mapped_column(server_default=PASSWORD)
    granted_audience: Mapped[str | None]
    granted_scope: Mapped[str | None]
    unseen_answer: Mapped[str | None]
    refresh_hash: Mapped[str | None]
    rotations: Mapped[str | None]

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    def __repr__(self) -> str:
        return f"<LoginSession {self.public_id}>"

    @property
    def grant(self) -> Grant:
        """What this session's tokens may be for, at most."""
        return Grant.of(self.granted_audience, self.granted_scope)

    @property
    def device(self) -> str:
        """What used it last, in plain words."""
        return name_device(self.user_agent)

    def is_live(self, now: datetime) -> bool:
        """Say whether this session still lets its user in."""
        return self.is_running(now) and self.user.disabled_at is None

    def is_running(self, now: datetime) -> bool:
        """Say whether this session was not ended and has not run out."""
        return self.ended_at is None and now < runs_until(self.created_at, self.last_seen_at)


@dataclass(frozen=True)
class Snapshot:
    """Of a live session what its tokens are made of, read past the ORM."""

    id: int
    public_id: str
    authenticated_at: datetime
    created_at: datetime
    last_seen_at: datetime
    grant: Grant
    user: Holder


IS_LIVE: Final = and_(
    LoginSession.ended_at.is_(None),
    LoginSession.last_seen_at > bindparam("used_after"),
    LoginSession.created_at > bindparam("begun_after"),
    User.disabled_at.is_(None),
)
"""`LoginSession.is_live` for the database; its parameters are `limits(now)`."""


def start(
    user: User,
    client: Client,
    *,
    with_secret: bool,
    grant: Grant | None = None,
    instead_of: LoginSession | None = None,
    now: datetime | None = None,
) -> tuple[LoginSession, str | None]:
    """Begin a session; with a secret for a cookie, or without one for a client with tokens.

    Where a user has more sessions than the setting permits, those end that were
    unused longest.

    :param instead_of: the session that the same browser had before; it ends first.
    """
    now, grant = now or utcnow(), grant or Grant()
    secret = new_secret() if with_secret else None
    session = LoginSession(
        public_id=new_id("s"),
        user_id=user.id,
        secret_hash=digest(secret) if secret else None,
        amr=PASSWORD,
        granted_audience=None if grant.audience is None else " ".join(grant.audience),
        granted_scope=None if grant.scope is None else " ".join(sorted(grant.scope)),
        address=client.address,
        user_agent=client.user_agent,
        authenticated_at=now,
        created_at=now,
        last_seen_at=now,
    )
    with transaction():
        users.lock(user.id)
        if instead_of is not None:
            end(instead_of, Ending.SIGNED_IN_ANEW, client, now)
        _make_room(user, client, now)
        db.session.add(session)
        db.session.flush()
        audit.record(
            Event.LOGIN_SUCCEEDED, client, user=user.public_id, session=session.public_id, now=now
        )
    return session, secret


def by_secret(secret: str, client: Client, now: datetime | None = None) -> LoginSession | None:
    """Find the live session whose cookie this is, and note once a minute that it was used."""
    now = now or utcnow()
    query = select(LoginSession).where(LoginSession.secret_hash == digest(secret))
    session = db.session.scalar(query)
    if session is None or not session.is_live(now):
        return None
    if now - session.last_seen_at >= min(TOUCH_EVERY, _limit("IDLE") / 10):
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
    query = query.where(IS_LIVE)
    if user is not None:
        query = query.where(LoginSession.user_id == user.id)
    query = query.order_by(LoginSession.last_seen_at.desc(), LoginSession.id.desc())
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


def end(session: LoginSession, ending: Ending, client: Client, now: datetime | None = None) -> int:
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
    not_ended = select(LoginSession).where(which, LoginSession.ended_at.is_(None))
    in_order = not_ended.order_by(LoginSession.id).with_for_update(of=LoginSession)
    ended = 0
    with transaction():
        found = db.session.scalars(in_order.execution_options(populate_existing=True))
        for session in found.all():
            if session.is_running(now):
                _record_end(session, ending, client, now)
                ended += 1
            session.ended_at = now
    return ended


def _record_end(session: LoginSession, ending: Ending, client: Client, now: datetime) -> None:
    user, sid = session.user.public_id, session.public_id
    audit.record(Event.SESSION_ENDED, client, user=user, session=sid, reason=ending.value, now=now)


def _make_room(user: User, client: Client, now: datetime) -> None:
    """End what would be too much with one more session."""
    most = current_app.config["FOXTROT_SESSIONS_PER_USER"]
    surplus = [session.id for session in live(user, now)[most - 1 :]]
    if surplus:
        _end(LoginSession.id.in_(surplus), Ending.TOO_MANY_SESSIONS, client, now)


def runs_until(created_at: datetime, last_seen_at: datetime) -> datetime:
    """When a session runs out by itself, if nobody uses it any more."""
    return min(last_seen_at + _limit("IDLE"), created_at + _limit("ABSOLUTE"))


def limits(now: datetime) -> dict[str, datetime]:
    """Since when a live session must have been used, and have begun."""
    return {"used_after": now - _limit("IDLE"), "begun_after": now - _limit("ABSOLUTE")}


def _limit(kind: str) -> timedelta:
    return timedelta(seconds=current_app.config[f"FOXTROT_SESSION_{kind}_LIMIT"])
