"""Login sessions: one for each sign-in, on the server, ended when somebody says so.

A browser holds the session's secret in a cookie; a JSON client holds tokens that
name the session (`sid`). Whatever a cookie or a token says, it counts only while
its session is live.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import BigInteger, ForeignKey, Integer, select, update
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db import Base, db, transaction, utcnow
from app.ids import digest, new_id, new_secret
from app.users import User

TOUCH_EVERY: Final = timedelta(minutes=1)
MAX_TEXT: Final = 300


@dataclass(frozen=True)
class Client:
    """From where a sign-in came, as far as the request says."""

    address: str
    user_agent: str


class LoginSession(Base):
    """A sign-in on one device. `id` is never reused; `public_id` is the tokens' `sid`."""

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

    user: Mapped[User] = relationship(lazy="joined", innerjoin=True)

    def __repr__(self) -> str:
        return f"<LoginSession {self.public_id}>"

    def is_live(self, now: datetime) -> bool:
        """Say whether this session still lets its user in."""
        return (
            self.ended_at is None
            and self.user.disabled_at is None
            and now < self.last_seen_at + _limit("IDLE")
            and now < self.created_at + _limit("ABSOLUTE")
        )


def start(
    user: User, client: Client, *, with_secret: bool, now: datetime | None = None
) -> tuple[LoginSession, str | None]:
    """Begin a session; with a secret for a cookie, or without one for a client with tokens."""
    now = now or utcnow()
    secret = new_secret() if with_secret else None
    session = LoginSession(
        public_id=new_id("s"),
        user_id=user.id,
        secret_hash=digest(secret) if secret else None,
        address=_printable(client.address),
        user_agent=_printable(client.user_agent),
        authenticated_at=now,
        created_at=now,
        last_seen_at=now,
    )
    with transaction():
        db.session.add(session)
        db.session.flush()
    return session, secret


def by_secret(secret: str, now: datetime | None = None) -> LoginSession | None:
    """Find the live session whose cookie this is, and note that it was used."""
    now = now or utcnow()
    query = select(LoginSession).where(LoginSession.secret_hash == digest(secret))
    session = db.session.scalar(query)
    if session is None or not session.is_live(now):
        return None
    if now - session.last_seen_at >= min(TOUCH_EVERY, _limit("IDLE") / 10):
        with transaction():
            session.last_seen_at = now
    return session


def by_public_id(public_id: str, subject: str, now: datetime | None = None) -> LoginSession | None:
    """Find the live session of that `sid`, if it is that subject's."""
    query = select(LoginSession).where(LoginSession.public_id == public_id)
    session = db.session.scalar(query)
    if session is None or session.user.public_id != subject:
        return None
    return session if session.is_live(now or utcnow()) else None


def end(session: LoginSession, now: datetime | None = None) -> None:
    """End a session. Ending it again changes nothing."""
    with transaction():
        session.ended_at = session.ended_at or now or utcnow()


def end_all(user: User, now: datetime | None = None) -> None:
    """End every session of a user."""
    query = update(LoginSession).where(
        LoginSession.user_id == user.id, LoginSession.ended_at.is_(None)
    )
    with transaction():
        db.session.execute(query.values(ended_at=now or utcnow()))


def _printable(text: str) -> str:
    """What a client says of itself, without what databases and terminals choke on."""
    return "".join(character for character in text[:MAX_TEXT] if character.isprintable())


def _limit(kind: str) -> timedelta:
    return timedelta(seconds=current_app.config[f"FOXTROT_SESSION_{kind}_LIMIT"])
