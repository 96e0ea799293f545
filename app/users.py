"""Users: who they are and what they may do.

Leaves how they prove it to `proofs`, sign-in sessions to `sessions`, hashing to
`passwords` and what an address is to `addresses`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from flask import current_app
from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app import addresses, audit, passwords
from app.audit import Event
from app.client import Client
from app.db import Base, db, release, transaction, utcnow
from app.errors import EmailTaken, ValidationFailed
from app.ids import new_id
from app.lanes import Lanes

ADMIN: Final = "admin"
ACCOUNT: Final = "account"
PAGE: Final = 100


class User(Base):
    """A person with an account. `public_id` is the `sub` of tokens and is never reused."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    email_key: Mapped[str] = mapped_column(unique=True)
    email_verified_at: Mapped[datetime | None]
    password_hash: Mapped[str]
    password_changed_at: Mapped[datetime]
    own_scopes: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    unlocked_at: Mapped[datetime | None]

    def __repr__(self) -> str:
        return f"<User {self.public_id}>"

    @property
    def scopes(self) -> frozenset[str]:
        """All scopes this user holds: `account`, everybody's and their own."""
        return _all_scopes(self.own_scopes)


@dataclass(frozen=True)
class Holder:
    """Of a user what their tokens are made of, read past the ORM."""

    id: int
    public_id: str
    email: str
    own_scopes: str

    @classmethod
    def of(cls, user: User) -> Holder:
        """Take it from a user that was read by the ORM."""
        return cls(user.id, user.public_id, user.email, user.own_scopes)

    @property
    def scopes(self) -> frozenset[str]:
        """As of `User`."""
        return _all_scopes(self.own_scopes)


def create(
    email: str,
    password: str,
    client: Client,
    *,
    scopes: Iterable[str] = (),
    now: datetime | None = None,
) -> User:
    """Make a user.

    :raises ValidationFailed: the address or the password is not acceptable.
    :raises EmailTaken: somebody has this address.
    """
    user = prepare(email, password, scopes=scopes, now=now)
    save(user, client)
    return user


def prepare(
    email: str, password: str, *, scopes: Iterable[str] = (), now: datetime | None = None
) -> User:
    """Do what takes long about a new user, outside any transaction; `save` does the rest."""
    now = now or utcnow()
    try:
        address, key = addresses.check(email)
    except ValidationFailed as refusal:
        errors = refusal.errors | _password_errors(password, email[: addresses.MAX_CHARACTERS])
        raise ValidationFailed(errors) from None
    if by_email(address) is not None:
        raise EmailTaken
    return User(
        public_id=new_id("u"),
        email=address,
        email_key=key,
        password_hash=new_hash(password, address),
        password_changed_at=now,
        own_scopes=" ".join(sorted(set(scopes))),
        created_at=now,
    )


def save(user: User, client: Client) -> None:
    """Write a new user.

    :raises EmailTaken: somebody was faster.
    """
    try:
        with transaction():
            db.session.add(user)
            db.session.flush()
            audit.record(Event.USER_CREATED, client, user=user.public_id, now=user.created_at)
    except IntegrityError:
        raise EmailTaken from None


_LOCK: Final = (
    select(User.id).where(User.id == bindparam("user_id")).with_for_update(key_share=True)
)


def lock(user_id: int) -> bool:
    """Inside a transaction, keep a row for oneself; say whether it is still there.

    Whatever concerns many sessions of a user, or their links, locks the user first: so no two
    of these wait for each other, each with what the other wants. New rows that only refer to
    the user are not kept waiting (`FOR NO KEY UPDATE`).
    """
    return db.session.scalar(_LOCK, {"user_id": user_id}) is not None


def lock_all() -> None:
    """Inside a transaction, keep all rows, for what concerns everybody's sessions."""
    db.session.execute(select(User.id).order_by(User.id).with_for_update(key_share=True))


def by_email(email: str) -> User | None:
    """Find a user by address, however it is spelled."""
    key = addresses.fold(email)
    return (key and db.session.scalar(select(User).where(User.email_key == key))) or None


def by_public_id(public_id: str) -> User | None:
    """Find a user by the id that tokens carry."""
    if not public_id.isascii() or "\0" in public_id:
        return None
    return db.session.scalar(select(User).where(User.public_id == public_id))


def everybody() -> Iterator[User]:
    """All users, in the order in which they were made, read a page at a time."""
    after = 0
    query = select(User).order_by(User.id).limit(PAGE)
    while page := db.session.scalars(query.where(User.id > after)).all():
        yield from page
        after = page[-1].id


def is_scope(text: str) -> bool:
    """Say whether a text can be a scope (RFC 6749 section 3.3)."""
    return bool(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}", text))


def any_admin(besides: int | None = None) -> bool:
    """Say whether an enabled user holds the scope `admin`.

    :param besides: the `id` of one who does not count.
    """
    may_be = User.own_scopes.contains(ADMIN)
    query = select(User.own_scopes).where(may_be, User.disabled_at.is_(None))
    if besides is not None:
        query = query.where(User.id != besides)
    return any(ADMIN in scopes.split() for scopes in db.session.scalars(query))


def new_hash(password: str, email: str, *, field: str = "password") -> str:
    """Judge and hash a new password.

    :param field: what the client calls it.

    :raises ValidationFailed: it is not acceptable.
    :raises Busy: too many others are hashed at the moment.
    """
    if errors := _password_errors(password, email, field):
        raise ValidationFailed(errors)
    release()
    return lanes().run(partial(passwords.hash_password, password, hash_method()))


def adopt_hash(user: User, hashed: str, client: Client, now: datetime | None = None) -> None:
    """Make a hash the user's, which ends what the old password could do."""
    with transaction():
        user.password_hash = hashed
        user.password_changed_at = now or utcnow()
        audit.record(Event.PASSWORD_CHANGED, client, user=user.public_id, now=now)


def set_scopes(user: User, scopes: Iterable[str], client: Client) -> None:
    """Replace the scopes that a user holds besides everybody's."""
    with transaction():
        user.own_scopes = " ".join(sorted(set(scopes)))
        audit.record(Event.SCOPES_CHANGED, client, user=user.public_id)


def disable(user: User, client: Client, now: datetime | None = None) -> None:
    """Keep a user out, until `enable`; what it ends besides is `accounts.disable`."""
    with transaction():
        if user.disabled_at is None:
            user.disabled_at = now or utcnow()
            audit.record(Event.USER_DISABLED, client, user=user.public_id, now=now)


def enable(user: User, client: Client) -> None:
    """Let a disabled user in again."""
    with transaction():
        if user.disabled_at is not None:
            user.disabled_at = None
            audit.record(Event.USER_ENABLED, client, user=user.public_id)


def delete(user: User, client: Client) -> None:
    """Remove a user and everything that is theirs. The id is never given again.

    One event stays, which says that this id was deleted.
    """
    public_id = user.public_id
    with transaction():
        db.session.delete(user)
        db.session.flush()  # waits for whatever still goes on in their sessions and writes events
        audit.forget(public_id)
        audit.record(Event.USER_DELETED, client, user=public_id)


def password_advice(password: str, email: str = "") -> list[str]:
    """What keeps a new password from being accepted, in words for the person."""
    return passwords.weaknesses(
        password,
        min_length=current_app.config["FOXTROT_PASSWORD_MIN_LENGTH"],
        context=_context_words(email),
    )


def _all_scopes(own: str) -> frozenset[str]:
    return frozenset({ACCOUNT, *current_app.config["FOXTROT_DEFAULT_SCOPES"], *own.split()})


def _password_errors(password: str, email: str, field: str = "password") -> dict[str, list[str]]:
    advice = password_advice(password, email)
    return {field: advice} if advice else {}


def _context_words(email: str) -> list[str]:
    name, _, domain = email.casefold().partition("@")
    words = [email, name, *domain.split("."), current_app.config["FOXTROT_SITE_NAME"]]
    return [word[:64] for word in words if word]


def lanes() -> Lanes:
    """Where passwords are hashed."""
    lanes: Lanes = current_app.extensions["foxtrot_lanes"]
    return lanes


def hash_method() -> str:
    """How new passwords are hashed here."""
    return str(current_app.config["FOXTROT_PASSWORD_HASH"])
