"""Proofs: finding out whether somebody knows the password of a user.

It costs the same, writes as much and is refused in the same words for an unknown address, a
wrong password and a disabled user. How often somebody may try is for `throttles` to say,
before anything is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from sqlalchemy import Row, bindparam, select, update

from app import addresses, audit, passwords, throttles, users
from app.audit import Event
from app.client import Client
from app.db import core_statements, db, release, row_count, transaction
from app.errors import InvalidCredentials, WrongPassword
from app.throttles import Account
from app.users import Holder, User


@dataclass(frozen=True)
class Proof:
    """A password was right: whose, and since when it is theirs."""

    user_id: int
    public_id: str
    password_changed_at: datetime


def authenticate(email: str, password: str, client: Client, now: datetime | None = None) -> Proof:
    """Find out whose address and password these are.

    Costs the same, writes as much and raises the same for an unknown address, a
    wrong password and a disabled user.

    :raises InvalidCredentials: they are nobody's.
    :raises TooManyAttempts: there were too many; nothing is judged.
    :raises Busy: too many others are judged at the moment; likewise, and this one is not counted.
    """
    users.lanes().expect_room()
    known = _known(_stored(email), email)
    with throttles.password_try(known.account, client, now=now):
        proof = _prove(known, password)
        if proof is None:
            _record_failure(email, client, now)
            raise InvalidCredentials
    return proof


def check_password(
    user: User, password: str, client: Client, *, session: str, now: datetime | None = None
) -> Proof:
    """Make sure that a user who is signed in knows their password, too.

    :param session: the public id of the session in which they are asked.
    :raises WrongPassword: it is not theirs; it counts as a failed login.
    :raises TooManyAttempts: there were too many in this session; nothing is judged.
    :raises Busy: as in `authenticate`.
    """
    users.lanes().expect_room()
    known = _known(user, user.email)
    with throttles.password_try(known.account, client, session=session, now=now):
        proof = _prove(known, password)
        if proof is None:
            _record_failure(known.account.typed, client, now, reason="current_password")
            raise WrongPassword
    return proof


def hold(proof: Proof) -> Holder:
    """Inside a transaction, keep a user as they were when they proved who they are.

    :raises InvalidCredentials: since then they got another password, or were disabled or deleted.
    """
    found = db.session.connection().execute(_HELD, {"user_id": proof.user_id}).first()
    if found is None or found.disabled_at or found.password_changed_at != proof.password_changed_at:
        raise InvalidCredentials
    return Holder(found.id, found.public_id, found.email, found.own_scopes)


@dataclass(frozen=True)
class _Known:
    """What a password is judged by, of a user or of nobody, read before it takes long."""

    account: Account
    stored: str | None = None
    proof: Proof | None = None


_Stored = Row[int, str, str, datetime, datetime | None, datetime | None]
_STORED: Final = select(
    User.id,
    User.public_id,
    User.password_hash,
    User.password_changed_at,
    User.disabled_at,
    User.unlocked_at,
).where(User.email_key == bindparam("key"))
_HELD: Final = (
    select(
        User.id,
        User.public_id,
        User.email,
        User.own_scopes,
        User.password_changed_at,
        User.disabled_at,
    )
    .where(User.id == bindparam("user_id"))
    .with_for_update(key_share=True)
)
_PUBLIC_ID: Final = select(User.public_id).where(User.email_key == bindparam("key"))


def _stored(email: str) -> _Stored | None:
    """What is stored of an address: no object is made of it, whose time would tell that it is."""
    with core_statements() as connection:
        return connection.execute(_STORED, {"key": addresses.fold(email) or ""}).first()


def _known(user: User | _Stored | None, typed: str) -> _Known:
    if user is None:
        return _Known(Account(typed))
    since = user.password_changed_at
    account = Account(typed, user.public_id, since, user.unlocked_at)
    proof = None if user.disabled_at else Proof(user.id, user.public_id, since)
    return _Known(account, user.password_hash, proof)


def _prove(known: _Known, password: str) -> Proof | None:
    """Compare with the password of a user, or at the same cost with nobody's."""
    stored, proof = known.stored, known.proof
    release()
    method = users.hash_method()
    compare = partial(passwords.compare, stored, password, method, renews=proof is not None)
    is_right, renewed = users.lanes().run(compare)
    if not is_right or proof is None:
        return None
    if renewed is not None:
        _renew_hash(proof.user_id, stored, renewed)
    return proof


def _record_failure(
    email: str, client: Client, now: datetime | None, reason: str | None = None
) -> None:
    """Write down a failed sign-in: the user's, unless they were deleted while it was judged."""
    with transaction():
        key = addresses.fold(email)
        public_id = db.session.scalar(_PUBLIC_ID, {"key": key or ""})
        typed = None if public_id else key or email
        audit.record(
            Event.LOGIN_FAILED, client, user=public_id, typed=typed, reason=reason, now=now
        )


def _renew_hash(user_id: int, stored: str | None, hashed: str) -> None:
    """Keep the hash by the current parameters, unless the password changed meanwhile."""
    unchanged = update(User).where(User.id == user_id, User.password_hash == stored)
    with transaction():
        row_count(unchanged.values(password_hash=hashed))
