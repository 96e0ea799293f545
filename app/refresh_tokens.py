"""Refresh tokens: one family for each login session, rotated on each use (RFC 9700 section 4.14.2).

A token is opaque to clients: `<session>.<number>.<secret>.<seal>`. The session's row
holds the hash of its one unused token; a used one needs no row, because its seal,
a MAC by a key of the server, proves that it was handed out. The first use of a token
makes its one successor, from a fresh nonce in the session's row, the token's own text
and a key of the server: so who comes again with the same text can be given the same
successor, and nobody can be given it from the database alone.

Accidents are forgiven. Two tabs, a reply that got lost, a client that tries again:
for `WINDOW` after its first use a token is answered with the newest successor, which
nobody has used yet. A client that was cut off for longer may come back with the
`Idempotency-Key` of its first try, which opens the window once more. Anything else
can only be a second holder of the token: the session ends. All that decides stands in
the session's row. A first use claims it by one write, on condition that it is as it was
read; everything else locks it first. So there is never a second branch, and no refresh
outlives the end of its session.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, reduce
from typing import Any, Final, Literal, NamedTuple

from flask import current_app
from sqlalchemy import Connection, bindparam, select, update

from app import audit, rotations, sessions
from app.audit import Event
from app.client import Client
from app.db import release
from app.errors import AppError, NotSignedIn, TooManyAttempts
from app.ids import digest, new_secret
from app.rotations import Rotation
from app.secret_key import SecretKey
from app.sessions import Ending, Grant, LoginSession, Snapshot
from app.users import Holder, User

SUCCESSORS: Final = "refresh tokens v1"
SEALS: Final = "refresh token seals v1"
MAX_STEPS: Final = 16
RETRY_LIMIT: Final = timedelta(hours=24)
MAX_RETRIES: Final = 3
NONCE_BYTES: Final = 32
SEAL_BYTES: Final = 16

_TOKEN: Final = re.compile(r"(s_[0-9a-z]{26})\.([0-9]{1,9})\.[\w-]{43}\.[\w-]{22}", re.ASCII)

# Built once, because building a statement takes longer than carrying it out.

_FIND_UNUSED: Final = (
    select(
        LoginSession.id,
        LoginSession.user_id,
        LoginSession.authenticated_at,
        LoginSession.created_at,
        LoginSession.last_seen_at,
        LoginSession.granted_audience,
        LoginSession.granted_scope,
        LoginSession.rotations,
        User.public_id,
        User.email,
        User.own_scopes,
    )
    .join(LoginSession.user)
    .where(
        LoginSession.public_id == bindparam("sid"),
        LoginSession.refresh_hash == bindparam("token"),
        sessions.IS_LIVE,
    )
)
_CLAIM: Final = update(LoginSession).where(
    LoginSession.id == bindparam("session"),
    LoginSession.refresh_hash == bindparam("token"),
    LoginSession.rotations.is_not_distinct_from(bindparam("rotations_read")),
    LoginSession.ended_at.is_(None),
)


@dataclass(frozen=True)
class Attempt:
    """A refresh token that was handed out here and that somebody presents.

    `access_token_id` is the `jti` of the access token that will go with the successor,
    `retry_key` the request's `Idempotency-Key`.
    """

    text: str
    session_id: str
    number: int
    client: Client
    access_token_id: str
    retry_key: str | None
    now: datetime


@dataclass(frozen=True)
class Successor:
    """The next token of a session."""

    session: LoginSession | Snapshot
    text: str


@dataclass(frozen=True)
class FirstUse:
    """The first use of a token, to be claimed; until then nothing has happened."""

    successor: Successor
    claim: Mapping[str, Any]


def first(session_id: str) -> str:
    """Make the first token of the family of a session that is about to begin."""
    return _sealed(f"{session_id}.1.{new_secret()}", _all_keys()[0])


def present(
    text: str, client: Client, *, access_token_id: str, retry_key: str | None, now: datetime
) -> Attempt:
    """Look at what somebody presents; what was never handed out costs the database nothing.

    :raises NotSignedIn: it was not handed out here.
    """
    named = _named(text)
    if named is None:
        raise NotSignedIn
    return Attempt(text, named[1], int(named[2]), client, access_token_id, retry_key, now)


def session_of(text: str) -> LoginSession | None:
    """Find the session of a token, used or not, live or not."""
    named = _named(text)
    return sessions.find(named[1]) if named else None


def snapshot_of(attempt: Attempt) -> Snapshot | None:
    """What the session of a token may do that will be answered; None for any other token.

    Costs and gives the same whether the token is unused or was used just now: whoever asks for what
    is refused must not learn that. The connection is given back, so that nobody waits for it.
    """
    session = sessions.find(attempt.session_id)
    found = None
    if session is not None and session.is_live(attempt.now) and _is_answered(attempt, session):
        user = Holder.of(session.user)
        times = (session.authenticated_at, session.created_at, session.last_seen_at)
        found = Snapshot(session.id, session.public_id, *times, session.grant, user)
    release()
    return found


def first_use(attempt: Attempt, connection: Connection) -> FirstUse | None:
    """Find the successor of the unused token of a live session; None for any other token."""
    unused = {"sid": attempt.session_id, "token": digest(attempt.text)}
    row = connection.execute(_FIND_UNUSED, {**unused, **sessions.limits(attempt.now)}).first()
    if row is None:
        return None
    rotation = _rotate(attempt)
    successor = _successor(attempt.text, rotation)
    kept = rotations.still_open(rotations.load(row.rotations), attempt.now)
    claim: dict[str, Any] = {
        "session": row.id,
        "token": unused["token"],
        "rotations_read": row.rotations,
        "refresh_hash": digest(successor),
        "rotations": rotations.dump([*kept, rotation]),
        "unseen_answer": attempt.access_token_id,
        "last_seen_at": max(attempt.now, row.last_seen_at),
        "address": attempt.client.address,
        "user_agent": attempt.client.user_agent,
    }
    grant = Grant.of(row.granted_audience, row.granted_scope)
    user = Holder(row.user_id, row.public_id, row.email, row.own_scopes)
    times = (row.authenticated_at, row.created_at, claim["last_seen_at"])
    session = Snapshot(row.id, attempt.session_id, *times, grant, user)
    return FirstUse(Successor(session, successor), claim)


def claim(use: FirstUse, connection: Connection) -> bool:
    """Trade the token for its successor, unless the session has changed or ended meanwhile.

    Of many at once one wins.
    """
    return connection.execute(_CLAIM, use.claim).rowcount == 1


def replay(attempt: Attempt) -> Successor | AppError:
    """Judge a token that is not unused, inside a transaction: an accident, a retry or a thief.

    A refusal is given back and not raised, because what was written about it must stay.
    """
    session = sessions.hold(attempt.session_id)
    if session is None or not session.is_live(attempt.now):
        return NotSignedIn()
    if session.refresh_hash == digest(attempt.text):
        return TooManyAttempts()  # unused after all: somebody changed the session meanwhile
    kept = rotations.load(session.rotations)
    onwards = _onwards(kept, attempt)
    match _forgiven(attempt, session, onwards):
        case "just used":
            return _answer_again(attempt, session, onwards)
        case "retried late":
            return _answer_late(attempt, session, kept)
    record(Event.REFRESH_REUSED, attempt, session)
    sessions.end(session, Ending.REFRESH_REUSED, attempt.client, attempt.now)
    return NotSignedIn()


def record(event: Event, attempt: Attempt, session: LoginSession | Snapshot) -> None:
    """Write down what became of a token."""
    user, sid = session.user.public_id, session.public_id
    audit.record(event, attempt.client, user=user, session=sid, now=attempt.now)


def _is_answered(attempt: Attempt, session: LoginSession) -> bool:
    """Say whether a token of a live session is unused, or its use is forgiven."""
    forgiven = _forgiven(attempt, session, _onwards(rotations.load(session.rotations), attempt))
    return session.refresh_hash == digest(attempt.text) or forgiven is not None


def _onwards(kept: Sequence[Rotation], attempt: Attempt) -> list[Rotation]:
    """The use of a token and all later ones, as far as they are kept."""
    return [rotation for rotation in kept if rotation.number >= attempt.number]


def _forgiven(
    attempt: Attempt, session: LoginSession, onwards: Sequence[Rotation]
) -> Literal["just used", "retried late"] | None:
    """Say why a used token is answered again, if it is."""
    if not onwards or onwards[0].number != attempt.number:
        return None
    with_key = _has_key(onwards[0], attempt)
    if onwards[0].is_in_window(attempt.now, with_key=with_key):
        return "just used"
    is_late = with_key and _may_retry_late(session, onwards, attempt.now)
    return "retried late" if is_late else None


def _named(text: str) -> re.Match[str] | None:
    """The session and the number of a token that was handed out, at some time."""
    named = _TOKEN.fullmatch(text)
    unsealed, _, _ = text.rpartition(".")
    if named and any(hmac.compare_digest(text, _sealed(unsealed, keys)) for keys in _all_keys()):
        return named
    return None


def _rotate(attempt: Attempt) -> Rotation:
    retry_hash = None if attempt.retry_key is None else _retry_hash(attempt.text, attempt.retry_key)
    nonce, key_id = os.urandom(NONCE_BYTES), _all_keys()[0].id
    return Rotation(attempt.number, attempt.now, nonce, key_id, retry_hash)


def _has_key(rotation: Rotation, attempt: Attempt) -> bool:
    """Say whether a request carries the `Idempotency-Key` of the first use."""
    if attempt.retry_key is None or rotation.retry_hash is None:
        return False
    return hmac.compare_digest(rotation.retry_hash, _retry_hash(attempt.text, attempt.retry_key))


def _answer_again(
    attempt: Attempt, session: LoginSession, onwards: Sequence[Rotation]
) -> Successor | AppError:
    """Give the newest successor, if it is not too far and can be made; nothing is rotated."""
    if len(onwards) > MAX_STEPS or not all(map(_has_its_key, onwards)):
        return TooManyAttempts()
    if attempt.client.is_elsewhere(session.address, session.user_agent):
        record(Event.REFRESH_REPLAYED, attempt, session)
    return Successor(session, reduce(_successor, onwards, attempt.text))


def _may_retry_late(session: LoginSession, onwards: Sequence[Rotation], now: datetime) -> bool:
    """Say whether the first answer never arrived, and it is not too late to come back."""
    rotation, *later = onwards
    return (
        not later
        and session.unseen_answer is not None
        and rotation.retries < MAX_RETRIES
        and now - rotation.used_at < RETRY_LIMIT
        and _has_its_key(rotation)
    )


def _answer_late(attempt: Attempt, session: LoginSession, kept: Sequence[Rotation]) -> Successor:
    """Give the direct successor, and open the window once more for who has the key."""
    *before, rotation = kept
    retried = rotation._replace(retries=rotation.retries + 1, retried_at=attempt.now)
    session.rotations = rotations.dump([*before, retried])
    sessions.note_use(session, attempt.client, attempt.now)
    record(Event.REFRESH_RETRIED, attempt, session)
    return Successor(session, _successor(attempt.text, rotation))


def _has_its_key(rotation: Rotation) -> bool:
    """Say whether the keys that made the successor are at hand still."""
    return any(keys.id == rotation.key_id for keys in _all_keys())


def _successor(text: str, rotation: Rotation) -> str:
    """Make the token that follows upon the one of this text, by the keys of its first use."""
    keys = next(keys for keys in _all_keys() if keys.id == rotation.key_id)
    made = hmac.digest(keys.successors, rotation.nonce + text.encode(), hashlib.sha256)
    session = text.partition(".")[0]
    return _sealed(f"{session}.{rotation.number + 1}.{_base64url(made)}", keys)


def _sealed(unsealed: str, keys: _Keys) -> str:
    """Add the seal, by which the token is known as ours once it was used."""
    seal = hmac.digest(keys.seals, unsealed.encode(), hashlib.sha256)[:SEAL_BYTES]
    return f"{unsealed}.{_base64url(seal)}"


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _retry_hash(text: str, retry_key: str) -> str:
    return digest(text + retry_key)


class _Keys(NamedTuple):
    """What one secret of the service makes tokens with; `id` names them in a row."""

    id: str
    successors: bytes
    seals: bytes


def _all_keys() -> list[_Keys]:
    """Those of the current secret first, then of those before it."""
    return _keys_of(current_app.extensions["foxtrot_secret_key"])


@lru_cache(maxsize=16)
def _keys_of(secret_key: SecretKey) -> list[_Keys]:
    both = (secret_key.derive_all(purpose) for purpose in (SUCCESSORS, SEALS))
    return [
        _Keys(digest(successors.hex())[:16], successors, seals)
        for successors, seals in zip(*both, strict=True)
    ]
