"""Signing in: from an address and a password to a session, and to a token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import current_app

from app import links, sessions, tokens, users
from app.db import db, transaction
from app.errors import NotFound, RegistrationClosed
from app.sessions import Client, LoginSession
from app.users import User


def with_password(
    email: str,
    password: str,
    client: Client,
    *,
    with_secret: bool,
    audience: Sequence[str] | None = None,
    scope: Sequence[str] | None = None,
    now: datetime | None = None,
) -> tuple[LoginSession, str | None]:
    """Sign somebody in: a session, and on demand the secret for a browser's cookie.

    *audience* and *scope* are what tokens will be asked for at once.

    :raises InvalidCredentials: address and password are nobody's.
    :raises InvalidTarget, InvalidScope: more was asked for than there is; no session begins.
    """
    user = users.authenticate(email, password)
    row_id, proven_at = user.id, user.password_changed_at
    tokens.choose_scopes(user, tokens.choose_audience(audience), scope)
    with transaction():
        user = users.hold(row_id, proven_at)
        return sessions.start(user, client, with_secret=with_secret, now=now)


def register(email: str, password: str) -> User:
    """Make an account for whoever asks, where the operator allows it.

    :raises RegistrationClosed: the operator does not.
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    if not registration_is_open():
        raise RegistrationClosed
    return users.create(email, password)


def registration_is_open() -> bool:
    """Say whether anybody may make an account."""
    return bool(current_app.config["FOXTROT_REGISTRATION"] == "open")


def setup_url() -> str:
    """Make the link by which the first administrator is made.

    :raises NotFound: there is an administrator already.
    """
    if users.any_admin():
        raise NotFound(
            "There is an administrator already. Make more with: flask users create EMAIL --admin"
        )
    return f"{tokens.issuer()}/setup?token={links.make(links.SETUP)}"


def reset_url(user: User) -> str:
    """Make the link by which a user chooses a new password."""
    return f"{tokens.issuer()}/reset?token={links.make(links.RESET, user)}"


def check_setup(secret: str, now: datetime | None = None) -> None:
    """Make sure that the first administrator may be made with this link.

    :raises NotFound: the link is not good, or there is an administrator already.
    """
    if users.any_admin():
        raise NotFound
    links.check(links.SETUP, secret, now)


def check_reset(secret: str, now: datetime | None = None) -> User:
    """Give the user who may choose a new password with this link.

    :raises NotFound: the link is not good.
    """
    return db.session.get_one(User, links.check(links.RESET, secret, now))


def set_up(
    secret: str, email: str, password: str, client: Client, now: datetime | None = None
) -> tuple[LoginSession, str | None]:
    """Make the first administrator by a setup link, and sign them in.

    The link is used up only if all goes well.

    :raises NotFound: the link is not good, or there is an administrator already.
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    check_setup(secret, now)
    user = users.prepare(email, password, scopes=[users.ADMIN], now=now)
    with transaction():
        links.redeem(links.SETUP, secret, now)
        if users.any_admin():
            raise NotFound
        users.save(user)
        return sessions.start(user, client, with_secret=True, now=now)


def reset_password(secret: str, password: str, now: datetime | None = None) -> None:
    """Choose a new password by a reset link; every session of the user ends.

    :raises NotFound: the link is not good.
    :raises ValidationFailed: the password is not acceptable; the link stays good.
    """
    user = check_reset(secret, now)
    hashed = users.new_hash(password, user.email)
    with transaction():
        links.redeem(links.RESET, secret, now)
        users.adopt_hash(user, hashed, now)
        sessions.end_all(user, now)
