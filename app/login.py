"""Signing in, staying signed in, and signing out: from an address and a password to tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from app import audit, proofs, refresh_tokens, sessions, throttles, tokens
from app.audit import Event
from app.client import Client
from app.db import core_statements, transaction, utcnow
from app.errors import InvalidScope, InvalidTarget, NotSignedIn
from app.ids import digest, new_id, new_secret
from app.proofs import Proof
from app.refresh_tokens import Attempt, Successor
from app.sessions import Ending, LoginSession, Snapshot
from app.tokens import ANYTHING, AccessToken, Wish
from app.users import Holder

NOT_GRANTED: Final = "not_granted"
"""The reason of a failed sign-in whose password was right."""


@dataclass(frozen=True)
class SignIn:
    """A session that began, whose it is, and what its client gets: that is shown once."""

    session: Snapshot
    user_id: str
    password_changed_at: datetime
    secret: str | None = None
    refresh_token: str | None = None
    access_token: AccessToken | None = None


@dataclass(frozen=True)
class Renewal:
    """What the client of a session that goes on gets; likewise."""

    user_id: str
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
    :raises TooManyAttempts: there were too many; nothing is judged.
    :raises InvalidTarget, InvalidScope: more was asked for than there is; no session begins.
    """
    proof = proofs.authenticate(email, password, client, now)
    if wish is not None:
        tokens.prepare()
    with _begun(proof, client, now):
        user, since = proofs.hold(proof), proof.password_changed_at
        sign_in = begin_with_cookie(user, since, client, instead_of, now)
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
    :raises TooManyAttempts: there were too many; nothing is judged.
    :raises InvalidTarget, InvalidScope: more was asked for than there is; no session begins.
    """
    proof = proofs.authenticate(email, password, client, now)
    tokens.prepare()
    with _begun(proof, client, now):
        user = proofs.hold(proof)
        grant = tokens.choose_grant(user, wish)
        session_id = new_id("s")
        refresh_token = refresh_tokens.first(session_id)
        session = sessions.start(
            user,
            client,
            public_id=session_id,
            refresh_hash=digest(refresh_token),
            grant=grant,
            now=now,
        )
        access_token = tokens.mint(session, now=now)
        return SignIn(
            session,
            user.public_id,
            proof.password_changed_at,
            refresh_token=refresh_token,
            access_token=access_token,
        )


@contextmanager
def _begun(proof: Proof, client: Client, now: datetime | None) -> Iterator[None]:
    """Begin a session in the block, or write down that somebody knew the password in vain.

    Else whoever asks for what there is not could try passwords, and their owner would not hear
    that one was right.
    """
    try:
        with transaction():
            yield
    except (InvalidTarget, InvalidScope):
        user, reason = proof.public_id, NOT_GRANTED
        audit.record(Event.LOGIN_FAILED, client, user=user, reason=reason, now=now)
        raise


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
    :raises TooManyAttempts: too much happened at once, or too many tokens from this address were
        refused; the token is as good as before.
    :raises InvalidTarget, InvalidScope: more was asked for than was granted; likewise.
    """
    now, jti = now or utcnow(), tokens.new_token_id()
    try:
        attempt = refresh_tokens.present(
            refresh_token, client, access_token_id=jti, retry_key=retry_key, now=now
        )
    except NotSignedIn:
        throttles.count_garbage(throttles.REFRESH, client, now)
        raise
    tokens.prepare()
    if wish != ANYTHING and (known := refresh_tokens.snapshot_of(attempt)):
        tokens.refuse_wish(known, wish)  # before anything tells whether the token was used
    renewal = _go_on(attempt, wish)
    if renewal is not None:
        return renewal
    try:
        return _come_again(attempt, wish)
    except NotSignedIn:
        throttles.count_refusal(throttles.REFRESH, client, now)
        raise


def _go_on(attempt: Attempt, wish: Wish) -> Renewal | None:
    """The first use of a refresh token; None for what is not that, or was not first."""
    with core_statements() as connection:
        use = refresh_tokens.first_use(attempt, connection)
        if use is None:
            return None
        renewal = _renewed(attempt, use.successor, wish)  # if it fails, nothing has happened
        if not refresh_tokens.claim(use, connection):
            return None
    refresh_tokens.record(Event.REFRESH_SUCCEEDED, attempt, use.successor.session)
    return renewal


def _come_again(attempt: Attempt, wish: Wish) -> Renewal:
    """A refresh token that cannot be used for the first time."""
    with transaction():
        successor = refresh_tokens.replay(attempt)
        if isinstance(successor, Successor):
            return _renewed(attempt, successor, wish)
    raise successor


def _renewed(attempt: Attempt, successor: Successor, wish: Wish) -> Renewal:
    jti = attempt.access_token_id
    token = tokens.mint(successor.session, wish, token_id=jti, now=attempt.now)
    return Renewal(successor.session.user.public_id, successor.text, token)


def log_out(refresh_token: str, client: Client, now: datetime | None = None) -> None:
    """End the session of a refresh token. One that is dead or unknown changes nothing."""
    session = refresh_tokens.session_of(refresh_token)
    if session is not None:
        sessions.end(session, Ending.SIGNED_OUT, client, now)


def begin_with_cookie(
    user: Holder,
    password_changed_at: datetime,
    client: Client,
    instead_of: LoginSession | None,
    now: datetime | None,
) -> SignIn:
    """Begin a browser's session for a user who has just proved who they are, or was just made."""
    secret = new_secret()
    session = sessions.start(
        user, client, secret_hash=digest(secret), instead_of=instead_of, now=now
    )
    return SignIn(session, user.public_id, password_changed_at, secret)
