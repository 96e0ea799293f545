"""Accounts: how one begins, what changes it, and whom that puts out.

Registering, the first administrator, passwords and the links to choose one, disabling and
deleting. Where a session is to begin with it, `login` begins it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from flask import current_app

from app import audit, links, login, proofs, sessions, status_lists, throttles, tokens, users
from app.audit import AuditEvent, Event
from app.client import Client
from app.db import db, transaction, turn, utcnow
from app.errors import (
    InvalidCredentials,
    NotFound,
    NotSignedIn,
    RegistrationClosed,
    ValidationFailed,
)
from app.login import SignIn
from app.proofs import Proof
from app.sessions import Ending, LoginSession
from app.users import Holder, User

WARN_FOR: Final = timedelta(days=14)
"""How long a person is warned of a session that was copied."""


def register(email: str, password: str, client: Client, now: datetime | None = None) -> User:
    """Make an account for whoever asks, where the operator allows it.

    :raises RegistrationClosed: the operator does not.
    :raises Busy: too many others are hashed at the moment; this one is not counted.
    :raises TooManyAttempts: there were too many from this address.
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    user = _prepare_registration(email, password, client, now)
    users.save(user, client)
    return user


def register_with_cookie(
    email: str,
    password: str,
    client: Client,
    *,
    instead_of: LoginSession | None = None,
    now: datetime | None = None,
) -> SignIn:
    """Make an account as `register` does, and sign the browser in, or neither."""
    user = _prepare_registration(email, password, client, now)
    with transaction():
        users.save(user, client)
        since = user.password_changed_at
        return login.begin_with_cookie(Holder.of(user), since, client, instead_of, now)


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


def reset_url(user: User, client: Client) -> str:
    """Make the link by which a user chooses a new password."""
    with transaction():
        secret = links.make(links.RESET, user)
        audit.record(Event.RESET_LINK_MADE, client, user=user.public_id)
    return f"{tokens.issuer()}/reset?token={secret}"


def check_setup(secret: str, client: Client, now: datetime | None = None) -> None:
    """Make sure that the first administrator may be made with this link.

    :raises NotFound: the link is not good, or there is an administrator already.
    :raises TooManyAttempts: it is not good, and neither were too many others.
    """
    with throttles.counted_refusals(throttles.LINKS, client, now):
        _check_setup(secret, now)


def _check_setup(secret: str, now: datetime | None) -> None:
    try:
        links.check(links.SETUP, secret, now)  # first: it costs a stranger's request less
    except NotFound:
        raise NotFound(
            "This link is not valid any more. While there is no administrator, the command"
            " “flask setup-link” prints a new one, on the machine of this service."
        ) from None
    if users.any_admin():
        raise NotFound


def check_reset(secret: str, client: Client, now: datetime | None = None) -> User:
    """Give the user who may choose a new password with this link.

    :raises NotFound: the link is not good.
    :raises TooManyAttempts: it is not good, and neither were too many others.
    """
    with throttles.counted_refusals(throttles.LINKS, client, now):
        return _holder_of_reset(secret, now)


def _holder_of_reset(secret: str, now: datetime | None) -> User:
    user = db.session.get(User, links.check(links.RESET, secret, now))
    if user is None:
        raise NotFound  # deleted just now
    return user


def set_up(
    secret: str,
    email: str,
    password: str,
    client: Client,
    now: datetime | None = None,
    *,
    instead_of: LoginSession | None = None,
) -> SignIn:
    """Make the first administrator by a setup link, and sign the browser in.

    The link is used up only if all goes well.

    :raises NotFound: the link is not good, or there is an administrator already.
    :raises TooManyAttempts: it is not good, and neither were too many others.
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    check_setup(secret, client, now)
    user = users.prepare(email, password, scopes=[users.ADMIN], now=now)
    with throttles.counted_refusals(throttles.LINKS, client, now), transaction():
        turn("first administrator")
        links.redeem(links.SETUP, secret, now)
        if users.any_admin():
            raise NotFound
        users.save(user, client)
        since = user.password_changed_at
        return login.begin_with_cookie(Holder.of(user), since, client, instead_of, now)


def reset_password(secret: str, password: str, client: Client, now: datetime | None = None) -> None:
    """Choose a new password by a reset link; every session of the user ends.

    :raises NotFound: the link is not good.
    :raises TooManyAttempts: it is not good, and neither were too many others.
    :raises ValidationFailed: the password is not acceptable; the link stays good.
    """
    user = check_reset(secret, client, now)
    user_id, hashed = user.id, users.new_hash(password, user.email)
    with throttles.counted_refusals(throttles.LINKS, client, now), transaction():
        users.lock(user_id)
        links.redeem(links.RESET, secret, now)
        _adopt_password(user, hashed, client, now)
        sessions.end_all(user, Ending.PASSWORD_CHANGED, client, now)


def set_password(user: User, password: str, client: Client, now: datetime | None = None) -> None:
    """Give a user a new password, as the operator; every session of theirs ends.

    :raises ValidationFailed: it is not acceptable.
    """
    hashed = users.new_hash(password, user.email)
    with transaction():
        users.lock(user.id)
        _adopt_password(user, hashed, client, now)
        sessions.end_all(user, Ending.PASSWORD_CHANGED, client, now)


def change_password(
    session: LoginSession,
    current: str,
    new: str,
    client: Client,
    now: datetime | None = None,
) -> None:
    """Change the password of whoever is signed in; their other sessions end.

    :raises NotSignedIn: meanwhile the session ended, or the password was changed.
    :raises WrongPassword: the current one is not right.
    :raises TooManyAttempts: there were too many in this session; nothing is judged.
    :raises ValidationFailed: the new one is not acceptable.
    """
    user = session.user
    proof = proofs.check_password(user, current, client, session=session.public_id, now=now)
    if new == current:
        raise ValidationFailed({"new_password": ["Choose another one than the current password."]})
    hashed = users.new_hash(new, user.email, field="new_password")
    with transaction():
        _hold_who_is_signed_in(proof)
        if not session.is_live(now or utcnow()):
            raise NotSignedIn
        _adopt_password(user, hashed, client, now)
        sessions.end_others(session, Ending.PASSWORD_CHANGED, client, now)


def _hold_who_is_signed_in(proof: Proof) -> None:
    try:
        proofs.hold(proof)
    except InvalidCredentials:
        raise NotSignedIn from None


def disable(user: User, client: Client, now: datetime | None = None) -> None:
    """Keep a user out: every session of theirs ends, and none begins until they are enabled."""
    with transaction():
        users.disable(user, client, now)
        sessions.end_all(user, Ending.USER_DISABLED, client, now)


def unlock(user: User, client: Client, now: datetime | None = None) -> None:
    """Have all that was counted against a user begin anew, wherever it is counted."""
    with transaction():
        user.unlocked_at = now or utcnow()
        audit.record(Event.USER_UNLOCKED, client, user=user.public_id, now=now)


def theft_to_hear_of(user: User, now: datetime) -> AuditEvent | None:
    """The newest use of a copied session, unless the person did something about it since."""
    thefts = audit.newest(1, user=user.public_id, name=Event.REFRESH_REUSED)
    dismissals = audit.newest(1, user=user.public_id, name=Event.WARNING_DISMISSED)
    heard = max([user.password_changed_at, *(dismissal.at for dismissal in dismissals)])
    return next((theft for theft in thefts if theft.at > max(heard, now - WARN_FOR)), None)


def dismiss_theft_warning(user: User, event_id: str, client: Client, now: datetime) -> None:
    """Warn no more of that event. One that was not shown yet stays."""
    theft = theft_to_hear_of(user, now)
    if theft is not None and event_id == str(theft.id):
        audit.record(Event.WARNING_DISMISSED, client, user=user.public_id)


def delete(user: User, client: Client, now: datetime | None = None) -> None:
    """Remove a user and everything that is theirs; their tokens are refused everywhere."""
    with transaction():
        users.lock(user.id)
        status_lists.keep(user, now)
        users.delete(user, client)


def end_everything(client: Client, now: datetime | None = None) -> int:
    """End all that an old backup brought back, and all sessions that began since it was made."""
    with transaction():
        users.lock_all()
        links.void_all(now)
        status_lists.skip_ahead(now)
        return sessions.end_everybodys(client, now)


def _prepare_registration(email: str, password: str, client: Client, now: datetime | None) -> User:
    if not registration_is_open():
        raise RegistrationClosed
    users.lanes().expect_room()
    with throttles.registration(client, now):
        return users.prepare(email, password, now=now)


def _adopt_password(user: User, hashed: str, client: Client, now: datetime | None) -> None:
    """Give a user a new password; a link that was made to choose one is done with."""
    links.void(links.RESET, user.id, now)
    users.adopt_hash(user, hashed, client, now)
