"""Access tokens: what goes into one, and how it is signed (RFC 9068).

Decides audience and scopes, mints, and lists the key sources of this service's own
API. Keys come from `keys`, the session from `sessions`, who may be called from `services`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

import jwt
from flask import current_app

from app import services, sessions, status_lists
from app.db import utcnow
from app.errors import InvalidScope, InvalidTarget
from app.ids import new_id
from app.keys import MAX_AGE, KeyRing
from app.services import OWN_SCOPES, Service
from app.sessions import Grant, LoginSession, Snapshot
from app.users import Holder, User
from foxtrot.claims import Token
from foxtrot.keys import KeySource, SharedSecret
from foxtrot.status_list import TYPE as STATUS_LIST_TYPE

KEYS_MAX_AGE: Final = int(MAX_AGE.total_seconds())
"""Seconds for which anybody may keep a copy of the JWK Set, and of the metadata that name it."""

ClaimsHook = Callable[[Mapping[str, Any]], Mapping[str, Any]]

TYPE: Final = "at+jwt"
CLIENT_ID: Final = "foxtrot"

RESERVED_CLAIMS: Final = frozenset(
    {
        "iss",
        "sub",
        "uid",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "sid",
        "scope",
        "client_id",
        "auth_time",
        "acr",
        "amr",
        "status",
        "cnf",
        "act",
        "may_act",
    }
)

_log = logging.getLogger("foxtrot.app")


@dataclass(frozen=True)
class AccessToken:
    """A minted token and what the answer of RFC 6749 section 5.1 says about it."""

    text: str
    expires_in: int
    scope: str


@dataclass(frozen=True)
class Wish:
    """What an access token is wanted for.

    :param audience: the services; all, by default.
    :param scope: the scopes; all that fit, by default.
    :param for_issuer: whether the token may be for this service, too.
    """

    audience: Sequence[str] | None = None
    scope: Sequence[str] | None = None
    for_issuer: bool = True


ANYTHING: Final = Wish()


def mint(
    session: LoginSession | Snapshot,
    wish: Wish = ANYTHING,
    *,
    token_id: str | None = None,
    now: datetime | None = None,
) -> AccessToken:
    """Mint an access token for a session, within what was granted to it.

    :param token_id: its `jti`, where that had to be known before.
    :raises InvalidTarget: an audience is not known here, or was not granted.
    :raises InvalidScope: the user does not hold a scope, it does not fit the audience, or it
        was not granted.
    """
    user = session.user
    audiences = _audience_for(user, session.grant, wish)
    scopes = _choose_scopes(user, session.grant, audiences, wish.scope)
    about_session = {
        "jti": token_id or new_token_id(),
        "sid": session.public_id,
        "client_id": CLIENT_ID,
        "auth_time": int(session.authenticated_at.timestamp()),
        "status": status_lists.place_of(session),
    }
    claims = {**_custom_claims(user), **about_session}
    until = sessions.runs_until(session.created_at, session.last_seen_at)
    return _mint(user.public_id, audiences, scopes, claims, now or utcnow(), until)


def refuse_wish(session: Snapshot, wish: Wish) -> None:
    """Refuse what no token of a session may be for, as `mint` does.

    :raises InvalidTarget, InvalidScope: as in `mint`.
    """
    audiences = _audience_for(session.user, session.grant, wish)
    _choose_scopes(session.user, session.grant, audiences, wish.scope)


def mint_for_service(
    service: Service, wish: Wish = ANYTHING, now: datetime | None = None
) -> AccessToken:
    """Mint an access token for a machine, in its own name (RFC 6749 section 4.4).

    It is for the services that declare what the machine may use, and carries no other scope.

    :raises InvalidTarget: an audience is not known here, or declares nothing that it may use.
    :raises InvalidScope: it may not use a scope, or the scope does not fit the audience.
    """
    possible = [
        one.name for one in services.open_to(service.may, wish.audience or ()) if one.scopes
    ]
    audiences = _choose_audience(possible, wish.audience)
    scopes = _narrowed(service.may & services.declared_by(audiences), wish.scope)
    claims = {
        "jti": new_token_id(),
        "client_id": service.public_id,
        "status": status_lists.place_of_machine(service),
    }
    return _mint(service.public_id, audiences, scopes, claims, now or utcnow())


def prepare() -> None:
    """See to the signing key before a transaction in which a token is minted.

    :raises Unavailable: there is none.
    """
    _ring().signing_key()


def new_token_id() -> str:
    """The `jti` of a token that is about to be minted."""
    return new_id("t")


def choose_grant(user: User, wish: Wish) -> Grant:
    """What a session is to be granted, of what was wished for at the sign-in.

    :raises InvalidTarget, InvalidScope: as in `mint`.
    """
    everything = Grant()
    audiences = _audience_for(user, everything, wish)
    scopes = _choose_scopes(user, everything, audiences, wish.scope)
    is_for_all = wish.audience is None and wish.for_issuer
    return Grant(None if is_for_all else audiences, None if wish.scope is None else scopes)


def effective_scopes(token: Token, user: User) -> frozenset[str]:
    """What a token may do at this service's own API: its scopes, if the user holds them still.

    Own scopes count only in a token that no other service could have received,
    or have signed.
    """
    scopes = token.scopes & user.scopes
    if token.audience != (issuer(),) or may_be_forged(token):
        scopes -= OWN_SCOPES
    return scopes


def may_be_forged(token: Token) -> bool:
    """Say whether a service could have signed a token itself, for any session that it knows of."""
    return token.algorithm == "HS256"


def own_key_sources(ring: KeyRing, shared_secret: str | None) -> list[KeySource]:
    """Where the verifier of the own API finds its keys."""
    sources: list[KeySource] = [ring]
    if shared_secret is not None:
        sources.append(SharedSecret(shared_secret))
    return sources


def publishes_keys() -> bool:
    """Say whether services find public keys here, or share a secret instead."""
    return _ring().shows_keys()


def published_keys() -> list[dict[str, Any]]:
    """The JWK Set's keys; none while services share a secret."""
    return _ring().public_set() if publishes_keys() else []


def issuer() -> str:
    """The issuer's URL, `iss` of every token and the own API's audience."""
    return str(current_app.config["ISSUER"])


def _mint(
    subject: str,
    audiences: Sequence[str],
    scopes: frozenset[str],
    further: Mapping[str, Any],
    now: datetime,
    until: datetime | None = None,
) -> AccessToken:
    """Sign what was decided; no token is good for longer than the session behind it (*until*)."""
    issued_at = int(now.timestamp())
    lifetime = current_app.config["FOXTROT_ACCESS_TOKEN_LIFETIME"]
    if until is not None:
        lifetime = max(1, min(lifetime, int(until.timestamp()) - issued_at))
    claims = {
        **further,
        "iss": issuer(),
        "sub": subject,
        "uid": subject,
        "aud": list(audiences),
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + lifetime,
        "scope": " ".join(sorted(scopes)),
    }
    return AccessToken(_sign(claims, audiences, now), lifetime, str(claims["scope"]))


def _audience_for(user: User | Holder, grant: Grant, wish: Wish) -> tuple[str, ...]:
    """The audience of a user's token: the wish, of what they may call and what was granted."""
    wanted = [name for name in wish.audience or () if name != issuer()]
    known = (issuer(), *(one.name for one in services.open_to(user.scopes, wanted)))
    possible = [name for name in known if grant.audience is None or name in grant.audience]
    if not wish.for_issuer:
        possible = [name for name in possible if name != issuer()]
    return _choose_audience(possible, wish.audience)


def _choose_audience(possible: Sequence[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """What was wished for of what is possible, in the order of that."""
    wanted = possible if wanted is None else wanted
    if not wanted or not set(wanted) <= set(possible):
        raise InvalidTarget(
            "There is no service of that name here, or the token may not be for it. Known"
            f" are: {', '.join(possible) or 'none'}."
        )
    return tuple(name for name in possible if name in wanted)


def _choose_scopes(
    user: User | Holder, grant: Grant, audiences: Sequence[str], wanted: Sequence[str] | None
) -> frozenset[str]:
    """The scopes of a token: what was wished for, of what the user holds and was granted.

    One that services declare goes into tokens for these alone; one that nobody declares, into all.
    """
    held = user.scopes if grant.scope is None else user.scopes & grant.scope
    if tuple(audiences) != (issuer(),):
        if misplaced := held & OWN_SCOPES & set(wanted or ()):
            raise InvalidScope(
                f"The scope {' '.join(sorted(misplaced))} goes only into a token for this service"
                f' alone. Ask for "audience": "{issuer()}", too.'
            )
        held = held - OWN_SCOPES
    return _narrowed(held - (services.declared_by() - services.declared_by(audiences)), wanted)


def _narrowed(held: frozenset[str], wanted: Sequence[str] | None) -> frozenset[str]:
    if wanted is None:
        return held
    if not held.issuperset(wanted):
        raise InvalidScope(
            "A scope was asked for that you do not hold, that was not granted at the sign-in, or"
            " that none of the services declares which the token is for."
            f" Possible are: {' '.join(sorted(held)) or 'none'}."
        )
    return frozenset(wanted)


def _custom_claims(user: User | Holder) -> dict[str, Any]:
    """Ask the operator's hook; what it may not set is left out."""
    hook = cast("ClaimsHook | None", current_app.extensions.get("foxtrot_claims_hook"))
    if hook is None:
        return {}
    given = {"id": user.public_id, "email": user.email, "scopes": sorted(user.scopes)}
    custom = dict(hook(given))
    if refused := RESERVED_CLAIMS & custom.keys():
        _log.warning("The claims hook may not set %s", ", ".join(sorted(refused)))
    return {name: value for name, value in custom.items() if name not in RESERVED_CLAIMS}


def _sign(claims: Mapping[str, Any], audiences: Sequence[str], now: datetime) -> str:
    """Sign; with the shared secret only what goes to those who share it."""
    if tuple(audiences) == (issuer(),):
        return _sign_with_key(claims, TYPE, now)
    return _sign_for_services(claims, TYPE, now)


def _sign_for_services(claims: Mapping[str, Any], typ: str, now: datetime) -> str:
    if _shares_secret(now):
        secret = current_app.config["FOXTROT_SHARED_SECRET"]
        return jwt.encode(dict(claims), secret, "HS256", headers={"typ": typ})
    return _sign_with_key(claims, typ, now)


def _sign_with_key(claims: Mapping[str, Any], typ: str, now: datetime) -> str:
    kid, private_key, algorithm = _ring().signing_key(now)
    return jwt.encode(dict(claims), private_key, algorithm, headers={"typ": typ, "kid": kid})


def sign_status_list(claims: Mapping[str, Any]) -> str:
    """Sign a status list with what services verify tokens with: the key, or the secret.

    draft-ietf-oauth-status-list section 5.1 permits a MAC, which is all that they can check.
    """
    return _sign_for_services(claims, STATUS_LIST_TYPE, utcnow())


def status_list_key() -> str:
    """The name of what signs status lists now."""
    now = utcnow()
    return "HS256" if _shares_secret(now) else _ring().signing_key(now).kid


def _shares_secret(now: datetime) -> bool:
    """Say whether services verify with the shared secret, and it is still there to sign with."""
    return current_app.config["FOXTROT_SHARED_SECRET"] is not None and _ring().shares_secret(now)


def _ring() -> KeyRing:
    ring: KeyRing = current_app.extensions["foxtrot_keys"]
    return ring
