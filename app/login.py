"""Signing in, staying signed in, and what ends it: from an address and a password to tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from flask import current_app

from app import audit, links, refresh_tokens, sessions, status_lists, tokens, users
from app.audit import Event
from app.client import Client
from app.db import core_transaction, db, transaction, turn, utcnow
from app.errors import (
    InvalidCredentials,
    NotFound,
    NotSignedIn,
    RegistrationClosed,
    ValidationFailed,
)
from app.refresh_tokens import Attempt, Successor
from app.sessions import Ending, LoginSession
from app.tokens import ANYTHING, AccessToken, Wish
from app.users import Proof, User


@dataclass(frozen=True)
class SignIn:
    """A session that began or went on, and what its client gets: all of it is shown once."""

    session: LoginSession
    secret: str | None = None
    refresh_token: str | None = None
    access_token: AccessToken | None = None


@dataclass(frozen=True)
class Renewal:
    """What the client of a session that goes on gets; likewise."""

    refresh_token: str
    access_token: AccessToken


def with_cookie(
    email: str,
    password: str,
    client: Client,
    wish: Wish | None = None,
    *,
    instead_of: LoginSession | None = None,
    now: datetime | None = None,
) -> SignIn:
    """Sign a browser in, by a cookie. Its session may do all that its user may.

    :param wish: what a first access token is wanted for, where one is wanted.
    :param instead_of: the session that the browser had before; it ends.
    :raises InvalidCredentials: address and password are nobody's.
    :raises InvalidTarget, InvalidScope: more was asked for than there is; no session begins.
    """
    proof = users.authenticate(email, password, client, now)
    if wish is not None:
        tokens.prepare()
    with transaction():
        sign_in = _begin_with_cookie(users.hold(proof), client, instead_of, now)
        if wish is None:
            return sign_in
        return replace(sign_in, access_token=tokens.mint(sign_in.session, wish, now=now))


def with_tokens(
    email: str,
    password: str,
    client: Client,
    wish: Wish = ANYTHING,
    now: datetime | None = None,
) -> SignIn:
    """Sign a program in, by a refresh token.

    :param wish: all that the session's tokens may ever be for.
    :raises InvalidCredentials: address and password are nobody's.
    :raises InvalidTarget, InvalidScope: more was asked for than there is; no session begins.
    """
    proof = users.authenticate(email, password, client, now)
    tokens.prepare()
    with transaction():
        user = users.hold(proof)
        grant = tokens.choose_grant(user, wish)
        session, _ = sessions.start(user, client, with_secret=False, grant=grant, now=now)
        refresh_token = refresh_tokens.begin(session)
        access_token = tokens.mint(session, now=now)
    return SignIn(session, refresh_token=refresh_token, access_token=access_token)


def refresh(
    refresh_token: str,
    client: Client,
    wish: Wish = ANYTHING,
    *,
    retry_key: str | None = None,
    now: datetime | None = None,
) -> Renewal:
    """Trade a refresh token for an access token and the next refresh token.

    :param wish: what the access token is wanted for, of what the session was granted.
    :param retry_key: the request's `Idempotency-Key`, by which it may be tried again later.
    :raises NotSignedIn: the token is dead, for whatever cause.
    :raises TooManyAttempts: too much happened at once; the token is as good as before.
    :raises InvalidTarget, InvalidScope: more was asked for than was granted; likewise.
    """
    attempt = Attempt(refresh_token, client, tokens.new_token_id(), retry_key, now or utcnow())
    tokens.prepare()
    if wish != ANYTHING and (known := refresh_tokens.snapshot_of(attempt)):
        tokens.refuse_wish(known, wish)  # before anything tells whether the token was used
    return _go_on(attempt, wish) or _come_again(attempt, wish)


def _go_on(attempt: Attempt, wish: Wish) -> Renewal | None:
    """The first use of a refresh token; None for what is not that."""
    with core_transaction() as connection:
        successor = refresh_tokens.first_use(attempt, connection)
        if successor is None:
            return None
        renewal = _renewed(attempt, successor, wish)
    refresh_tokens.record(Event.REFRESH_SUCCEEDED, attempt, successor.session)
    return renewal


def _come_again(attempt: Attempt, wish: Wish) -> Renewal:
    """A refresh token that cannot be used for the first time."""
    with transaction():
        successor = refresh_tokens.replay(attempt)
        if isinstance(successor, Successor):
            return _renewed(attempt, successor, wish)
    raise successor


def _renewed(attempt: Attempt, successor: Successor, wish: Wish) -> Renewal:
    token = tokens.mint(successor.session, wish, token_id=attempt.answer, now=attempt.now)
    return Renewal(successor.text, token)


def log_out(refresh_token: str, client: Client, now: datetime | None = None) -> None:
    """End the session of a refresh token. One that is dead or unknown changes nothing."""
    session = refresh_tokens.session_of(refresh_token)
    if session is not None:
        sessions.end(session, Ending.SIGNED_OUT, client, now)


def register(email: str, password: str, client: Client, now: datetime | None = None) -> User:
    """Make an account for whoever asks, where the operator allows it.

    :raises RegistrationClosed: the operator does not.
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    user = _prepare_registration(email, password, now)
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
    user = _prepare_registration(email, password, now)
    with transaction():
        users.save(user, client)
        return _begin_with_cookie(user, client, instead_of, now)


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
    :raises ValidationFailed, EmailTaken: as in `users.create`.
    """
    check_setup(secret, now)
    user = users.prepare(email, password, scopes=[users.ADMIN], now=now)
    with transaction():
        turn("first administrator")
        links.redeem(links.SETUP, secret, now)
        if users.any_admin():
            raise NotFound
        users.save(user, client)
        return _begin_with_cookie(user, client, instead_of, now)


def reset_password(secret: str, password: str, client: Client, now: datetime | None = None) -> None:
    """Choose a new password by a reset link; every session of the user ends.

    :raises NotFound: the link is not good.
    :raises ValidationFailed: the password is not acceptable; the link stays good.
    """
    user = check_reset(secret, now)
    user_id, hashed = user.id, users.new_hash(password, user.email)
    with transaction():
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
    :raises ValidationFailed: the new one is not acceptable.
    """
    user = session.user
    proof = users.check_password(user, current, client, now)
    if new == current:
        raise ValidationFailed({"new_password": ["Choose another one than the current password."]})
    hashed = users.new_hash(new, user.email, field="new_password")
    with transaction():
        user = _hold_who_is_signed_in(proof)
        if not session.is_live(now or utcnow()):
            raise NotSignedIn
        _adopt_password(user, hashed, client, now)
        sessions.end_others(session, Ending.PASSWORD_CHANGED, client, now)


def _hold_who_is_signed_in(proof: Proof) -> User:
    try:
        return users.hold(proof)
    except InvalidCredentials:
        raise NotSignedIn from None


def disable(user: User, client: Client, now: datetime | None = None) -> None:
    """Keep a user out: every session of theirs ends, and none begins until they are enabled."""
    with transaction():
        users.disable(user, client, now)
        sessions.end_all(user, Ending.USER_DISABLED, client, now)


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


def _prepare_registration(email: str, password: str, now: datetime | None) -> User:
    if not registration_is_open():
        raise RegistrationClosed
    return users.prepare(email, password, now=now)


def _begin_with_cookie(
    user: User, client: Client, instead_of: LoginSession | None, now: datetime | None
) -> SignIn:
    session, secret = sessions.start(user, client, with_secret=True, instead_of=instead_of, now=now)
    return SignIn(session, secret=secret)


def _adopt_password(user: User, hashed: str, client: Client, now: datetime | None) -> None:
    """Give a user a new password; a link that was made to choose one is done with."""
    links.void(links.RESET, user.id, now)
    users.adopt_hash(user, hashed, client, now)
