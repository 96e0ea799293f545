"""What services do with their credentials: get a token, ask about one, end one.

A machine client gets tokens in its own name (RFC 6749 section 4.4). A service that
cannot verify tokens by itself asks here (RFC 7662), and hears of those that are for it.
Who holds a token ends it here (RFC 7009): a session by its refresh token, a machine its
own access tokens one by one. Whatever a token says, the database has the last word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.orm import Mapped, mapped_column

from app import audit, refresh_tokens, services, sessions, throttles, tokens
from app.audit import Event
from app.batches import repeated
from app.client import Client
from app.db import Base, db, transaction, turn, utcnow
from app.errors import InvalidRequest, UnauthorizedClient, Unavailable, UnsupportedTokenType
from app.services import Service
from app.sessions import Ending
from app.tokens import AccessToken, Wish
from foxtrot import InvalidToken, Token, Verifier, signature
from foxtrot import Unavailable as CannotTell
from foxtrot.claims import judged
from foxtrot.verifier import DEFAULT_LEEWAY

KEEP: Final = timedelta(minutes=2)
"""How long a revoked token is remembered beyond its `exp`; more than any verifier's leeway."""


class RevokedToken(Base):
    """A machine's access token that was ended before its time."""

    __tablename__ = "revoked_tokens"

    jti: Mapped[str] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


def authenticate(
    client_id: str, secret: str, client: Client, now: datetime | None = None
) -> Service:
    """Find out which service shows this secret; a good one is never kept waiting.

    :raises InvalidClient: it is nobody's.
    :raises TooManyAttempts: likewise, and neither were too many others from this address.
    """
    with throttles.counted_refusals(throttles.CLIENTS, client, now):
        return services.authenticate(client_id, secret, client, now)


def get_token(
    service: Service, wish: Wish, client: Client, now: datetime | None = None
) -> AccessToken:
    """Give a machine an access token in its own name.

    :raises UnauthorizedClient: it may not use any scope of another service.
    :raises InvalidTarget, InvalidScope: more was asked for than it may use.
    """
    if not service.may:
        raise UnauthorizedClient(
            "This service may not call others. Say what it may use with: flask services set-may"
        )
    token = tokens.mint_for_service(service, wish, now)
    audit.record(Event.CLIENT_SUCCEEDED, client, service=service.public_id, now=now)
    return token


def introspect(text: str, caller: Service, now: datetime | None = None) -> dict[str, Any] | None:
    """The claims of a token that is good for a service now, or None (RFC 7662 section 2.2).

    Its `scope` names what its holder still may. No token is good here after its `exp`, to the
    second; refresh tokens never are.

    :raises Unavailable: it cannot be said now.
    """
    now = now or utcnow()
    holder = Holder(now)
    try:
        token = verifier_for(caller.name, holder).verify(text)
    except InvalidToken:
        return None
    except CannotTell:
        raise Unavailable from None
    if token.expires_at <= now.timestamp():
        return None
    try:
        claims = _thawed(token.claims)
    except RecursionError:  # who shares the secret of HS256 nests claims as deep as they like
        return None
    if token.session_id is not None and (session := sessions.find(token.session_id)) is not None:
        sessions.note_shown(session, str(token.claims["jti"]))
    return {**claims, "scope": " ".join(sorted(holder.scopes or ()))}


def revoke_own(text: str, service: Service, client: Client, now: datetime | None = None) -> None:
    """End an access token that a machine got; one that is no token, or dead, changes nothing.

    :raises InvalidRequest: it was given to somebody else (RFC 7009 section 2.1).
    """
    now = now or utcnow()
    token = _read(text, now)
    if token is None:
        return
    if token.subject != service.public_id:
        raise InvalidRequest("This token was given to somebody else, who alone may revoke it.")
    jti, expires_at = str(token.claims["jti"]), datetime.fromtimestamp(token.expires_at, now.tzinfo)
    with transaction():
        turn("revoked tokens")
        if db.session.get(RevokedToken, jti) is None:
            db.session.add(RevokedToken(jti=jti, expires_at=expires_at))
            audit.record(Event.TOKEN_REVOKED, client, service=service.public_id, now=now)


def revoke_held(text: str, client: Client, now: datetime | None = None) -> None:
    """End the session of a user by a token of it; one that is no token, or dead, changes nothing.

    The token is a refresh token, or an access token that is for the login service, too, which may
    end its own session here. One that was narrowed to other services may not.

    :raises UnsupportedTokenType: it is an access token for others alone.
    """
    now = now or utcnow()
    session = refresh_tokens.session_of(text)
    if session is None:
        token = _read(text, now)
        if token is None:
            return
        if token.session_id is None or tokens.issuer() not in token.audience:
            raise UnsupportedTokenType(
                "This access token is for other services, so it cannot be revoked. Revoke the"
                " refresh token: that ends the session, and with it all tokens."
            )
        session = sessions.by_public_id(token.session_id, token.subject, now)
    if session is not None:
        sessions.end(session, Ending.SIGNED_OUT, client, now)


def holder_scopes(token: Token, now: datetime | None = None) -> frozenset[str] | None:
    """What of a token its holder still may, by the database; None if the token has ended."""
    if token.session_id is not None:
        session = sessions.by_public_id(token.session_id, token.subject, now)
        return None if session is None else token.scopes & session.user.scopes
    service = services.by_public_id(token.subject)
    if service is None or service.disabled_at is not None:
        return None
    if db.session.get(RevokedToken, str(token.claims["jti"])) is not None:
        return None
    return token.scopes & service.may


def prune(now: datetime, limit: int) -> Iterator[int]:
    """Forget revoked tokens that have expired."""
    at = now - KEEP
    by_expiry = RevokedToken.expires_at
    yield from repeated(RevokedToken.jti, by_expiry < at, limit, order_by=by_expiry)


class Holder:
    """Tells a verifier whether a token has ended at a moment, and keeps what its holder may."""

    def __init__(self, now: datetime) -> None:
        self.scopes: frozenset[str] | None = None
        self._now = now

    def ended(self, token: Token) -> bool:
        self.scopes = holder_scopes(token, self._now)
        return self.scopes is None

    def clock(self) -> float:
        return self._now.timestamp()


def verifier_for(audience: str, holder: Holder) -> Verifier:
    """A verifier as the service *audience* has one, which asks the database for the rest."""
    return Verifier(
        tokens.issuer(),
        audience,
        keys=tokens.key_sources(),
        status=holder,
        remember=0,
        clock=holder.clock,
    )


def _read(text: str, now: datetime) -> Token | None:
    """A token of ours that has not expired, for whichever service; whether it ended is not asked.

    :raises Unavailable: it cannot be said now.
    """
    try:
        signed = signature.check(text, tokens.key_sources())
        expected = (tokens.issuer(), None, now.timestamp(), DEFAULT_LEEWAY)
        return judged(signed.header, signed.claims, *expected)
    except InvalidToken:
        return None
    except CannotTell:
        raise Unavailable from None


def _thawed(value: Any) -> Any:
    """Claims as JSON can write them: they are kept read-only."""
    if isinstance(value, Mapping):
        return {name: _thawed(part) for name, part in value.items()}
    return [_thawed(part) for part in value] if isinstance(value, tuple) else value
