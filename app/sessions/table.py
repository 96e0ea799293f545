"""The table of login sessions, and what makes one live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import BigInteger, ForeignKey, Integer, and_, bindparam
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.client import name_device
from app.db import Base
from app.users import Holder, User

PASSWORD: Final = "pwd"  # noqa: S105 - RFC 8176 section 2: how the user proved who they are


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

LAST_USED_FIRST: Final = (LoginSession.last_seen_at.desc(), LoginSession.id.desc())


def runs_until(created_at: datetime, last_seen_at: datetime) -> datetime:
    """When a session runs out by itself, if nobody uses it any more."""
    return min(last_seen_at + limit("IDLE"), created_at + limit("ABSOLUTE"))


def limits(now: datetime) -> dict[str, datetime]:
    """Since when a live session must have been used, and have begun."""
    return {"used_after": now - limit("IDLE"), "begun_after": now - limit("ABSOLUTE")}


def limit(kind: str) -> timedelta:
    """How long a session lasts: unused (`IDLE`), or at all (`ABSOLUTE`)."""
    return timedelta(seconds=current_app.config[f"FOXTROT_SESSION_{kind}_LIMIT"])
