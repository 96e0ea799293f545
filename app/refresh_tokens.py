"""Refresh tokens: one family for each login session, rotated on each use (RFC 9700 section 4.14.2).

A token is opaque and kept as its hash. Its first use claims it and makes its one
successor, from a fresh nonce in its row, its own text and a key of the server: so
who comes again with the same text can be given the same successor, and nobody can
be given it from the database alone.

Accidents are forgiven. Two tabs, a reply that got lost, a client that tries again:
for `WINDOW` after its first use a token is answered with the newest successor that
nobody has used yet. A client that was cut off for longer may come back with the
`Idempotency-Key` of its first try, which opens the window once more. Anything else
can only be a second holder of the token: the session ends. Whether a session is live
is read from its own row, which is locked first, so that no refresh outlives the end
of its session.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import ForeignKey, Index, LargeBinary, bindparam, func, insert, select, update
from sqlalchemy.orm import Mapped, mapped_column

from app import audit, sessions
from app.audit import Event
from app.client import Client
from app.db import Base, db, execute
from app.errors import AppError, NotSignedIn, TooManyAttempts
from app.ids import digest, new_secret
from app.secret_key import SecretKey
from app.sessions import Ending, LoginSession

PURPOSE: Final = "refresh tokens v1"
WINDOW: Final = timedelta(seconds=20)
MAX_STEPS: Final = 16
RETRY_LIMIT: Final = timedelta(hours=24)
MAX_RETRIES: Final = 3
NONCE_BYTES: Final = 32


class RefreshToken(Base):
    """A token that was handed out. `nonce` makes its successor, and goes when nobody may ask.

    `used_at` is its first use, `retried_at` its last late retry: from either the window counts.
    """

    __tablename__ = "refresh_tokens"

    hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(
        ForeignKey("login_sessions.id", ondelete="CASCADE"), index=True
    )
    used_at: Mapped[datetime | None]
    retried_at: Mapped[datetime | None]
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary)
    key_id: Mapped[str | None]
    retry_hash: Mapped[str | None]
    retries: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        Index(
            "ix_refresh_tokens_nonce",
            session_id,
            sqlite_where=nonce.is_not(None),
            postgresql_where=nonce.is_not(None),
        ),
    )


# Built once, because building a statement takes longer than carrying it out.

_SESSION_OF: Final = (
    select(LoginSession)
    .join(RefreshToken, RefreshToken.session_id == LoginSession.id)
    .where(RefreshToken.hash == bindparam("token"))
)
_HOLD_SESSION: Final = _SESSION_OF.with_for_update(of=LoginSession).execution_options(
    populate_existing=True
)
_ROW: Final = (
    select(RefreshToken)
    .where(RefreshToken.hash == bindparam("token"))
    .execution_options(populate_existing=True)
)
_INSERT: Final = insert(RefreshToken)
_CLAIM: Final = update(RefreshToken).where(
    RefreshToken.hash == bindparam("token"), RefreshToken.used_at.is_(None)
)
_ERASE_NONCES: Final = (
    update(RefreshToken)
    .where(
        RefreshToken.session_id == bindparam("session"),
        RefreshToken.nonce.is_not(None),
        func.coalesce(RefreshToken.retried_at, RefreshToken.used_at) < bindparam("over"),
        RefreshToken.hash != bindparam("kept"),
    )
    .values(nonce=None)
)


@dataclass(frozen=True)
class Successor:
    """The next token of a session."""

    session: LoginSession
    text: str


def begin(session: LoginSession) -> str:
    """Make the first token of a session's family, inside the transaction that begins it."""
    text = new_secret()
    _insert(text, session)
    return text


def session_of(text: str) -> LoginSession | None:
    """Find the session of a token, used or not, live or not."""
    return db.session.scalar(_SESSION_OF, {"token": digest(text)})


def exchange(
    text: str, client: Client, *, answer: str, retry_key: str | None, now: datetime
) -> Successor | AppError:
    """Trade a token for its successor, inside a transaction.

    A refusal is given back and not raised, because what was written about it must stay.

    :param answer: the `jti` of the access token that will go with the successor.
    :param retry_key: the request's `Idempotency-Key`.
    """
    session = _hold_session(text)
    if session is None or not session.is_live(now):
        return NotSignedIn()
    nonce = os.urandom(NONCE_BYTES)
    if not _claim(text, nonce, retry_key, now):
        return _judge_replay(text, session, client, retry_key, now)
    successor = _successor(text, nonce)
    _insert(successor, session)
    _erase_nonces(session, text, now)
    sessions.note_refresh(session, client, answer, now)
    _record(Event.REFRESH_SUCCEEDED, session, client, now)
    return Successor(session, successor)


def _hold_session(text: str) -> LoginSession | None:
    """Lock the session of a token, before anything else is locked."""
    return db.session.scalar(_HOLD_SESSION, {"token": digest(text)})


def _claim(text: str, nonce: bytes, retry_key: str | None, now: datetime) -> bool:
    """Use a token up; of many at once one wins."""
    retry_hash = None if retry_key is None else _retry_hash(text, retry_key)
    claimed = execute(
        _CLAIM,
        token=digest(text),
        used_at=now,
        nonce=nonce,
        key_id=_key_id(),
        retry_hash=retry_hash,
    )
    return claimed.rowcount == 1


def _judge_replay(
    text: str, session: LoginSession, client: Client, retry_key: str | None, now: datetime
) -> Successor | AppError:
    """A token that was used before: an accident, a late retry, or a thief."""
    token = _row(text)
    if token is None or token.used_at is None:
        return NotSignedIn()
    has_key = _has_key(token, text, retry_key)
    if _is_in_window(token, has_key, now):
        return _answer_again(text, token, session, client, now)
    successor = _late_successor(text, token, session, now) if has_key else None
    if successor is None:
        _record(Event.REFRESH_REUSED, session, client, now)
        sessions.end(session, Ending.REFRESH_REUSED, client, now)
        return NotSignedIn()
    token.retries, token.retried_at = token.retries + 1, now
    sessions.note_use(session, client, now)
    _record(Event.REFRESH_RETRIED, session, client, now)
    return Successor(session, successor)


def _has_key(token: RefreshToken, text: str, retry_key: str | None) -> bool:
    """Say whether a request carries the `Idempotency-Key` of the first use."""
    if retry_key is None or token.retry_hash is None:
        return False
    return hmac.compare_digest(token.retry_hash, _retry_hash(text, retry_key))


def _is_in_window(token: RefreshToken, has_key: bool, now: datetime) -> bool:
    """Say whether the first use was just now, or the late retry of a client with this key."""
    moments = [token.used_at, token.retried_at if has_key else None]
    return any(moment is not None and now - moment <= WINDOW for moment in moments)


def _answer_again(
    text: str, token: RefreshToken, session: LoginSession, client: Client, now: datetime
) -> Successor | AppError:
    newest = _newest_unused(text, token)
    if newest is None:
        return TooManyAttempts()
    if client.is_elsewhere(session.address, session.user_agent):
        _record(Event.REFRESH_REPLAYED, session, client, now)
    return Successor(session, newest)


def _newest_unused(text: str, token: RefreshToken) -> str | None:
    """Walk from a used token to its newest descendant, which nobody has used; it rotates nothing.

    None where that is too far.
    """
    for _ in range(MAX_STEPS):
        if token.nonce is None or token.key_id != _key_id():
            return None
        text = _successor(text, token.nonce)
        following = _row(text)
        if following is None:
            return None
        if following.used_at is None:
            return text
        token = following
    return None


def _late_successor(
    text: str, token: RefreshToken, session: LoginSession, now: datetime
) -> str | None:
    """The successor, if the first answer never arrived and it is not too late to come back."""
    if token.used_at is None or now - token.used_at >= RETRY_LIMIT or token.retries >= MAX_RETRIES:
        return None
    if session.unseen_answer is None or token.nonce is None or token.key_id != _key_id():
        return None
    successor = _successor(text, token.nonce)
    following = _row(successor)
    return successor if following is not None and following.used_at is None else None


def _erase_nonces(session: LoginSession, claimed: str, now: datetime) -> None:
    """Forget how to make successors that have been used themselves and nobody may ask for again."""
    execute(_ERASE_NONCES, session=session.id, over=now - WINDOW, kept=digest(claimed))


def _insert(text: str, session: LoginSession) -> None:
    execute(_INSERT, hash=digest(text), session_id=session.id)


def _row(text: str) -> RefreshToken | None:
    return db.session.scalar(_ROW, {"token": digest(text)})


def _successor(text: str, nonce: bytes) -> str:
    made = hmac.new(_key(), nonce + text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return urlsafe_b64encode(made).rstrip(b"=").decode()


def _retry_hash(text: str, retry_key: str) -> str:
    return digest(text + retry_key)


def _key() -> bytes:
    secret_key: SecretKey = current_app.extensions["foxtrot_secret_key"]
    return secret_key.derive(PURPOSE)


def _key_id() -> str:
    """Names the key in a row, so that a row of another secret is known as such."""
    return digest(_key().hex())[:16]


def _record(event: Event, session: LoginSession, client: Client, now: datetime) -> None:
    audit.record(event, client, user=session.user.public_id, session=session.public_id, now=now)
