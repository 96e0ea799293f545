"""Access tokens: what goes into one, and how it is signed (RFC 9068).

Decides audience and scopes, mints, and wires the verifier of this service's own
API. Keys come from `keys`, the session from `sessions`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

import jwt
from flask import current_app

from app.db import utcnow
from app.errors import InvalidScope, InvalidTarget
from app.ids import new_id
from app.keys import KeyRing
from app.sessions import LoginSession
from app.users import ACCOUNT, ADMIN, User
from foxtrot.claims import Token
from foxtrot.keys import KeySource, SharedSecret

ClaimsHook = Callable[[Mapping[str, Any]], Mapping[str, Any]]

TYPE: Final = "at+jwt"
CLIENT_ID: Final = "foxtrot"
OWN_SCOPES: Final = frozenset({ACCOUNT, ADMIN})
"""Scopes that mean something here and must not be in the hands of another service."""

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


def mint(
    session: LoginSession,
    *,
    audience: Sequence[str] | None = None,
    scope: Sequence[str] | None = None,
    now: datetime | None = None,
) -> AccessToken:
    """Mint an access token for a session.

    :param audience: the services it is for; all, by default.
    :param scope: the scopes it carries; all that fit, by default.
    :raises InvalidTarget: an audience is not known here.
    :raises InvalidScope: the user does not hold a scope, or it does not fit the audience.
    """
    audiences = choose_audience(audience)
    scopes = choose_scopes(session.user, audiences, scope)
    issued_at = int((now or utcnow()).timestamp())
    lifetime = current_app.config["FOXTROT_ACCESS_TOKEN_LIFETIME"]
    claims = {
        **_custom_claims(session.user),
        "iss": issuer(),
        "sub": session.user.public_id,
        "uid": session.user.public_id,
        "aud": list(audiences),
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + lifetime,
        "jti": new_id("t"),
        "sid": session.public_id,
        "scope": " ".join(sorted(scopes)),
        "client_id": CLIENT_ID,
        "auth_time": int(session.authenticated_at.timestamp()),
    }
    return AccessToken(_sign(claims, audiences), lifetime, str(claims["scope"]))


def choose_audience(wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The audience of a token: what was wished for, of what is known."""
    known = tuple(dict.fromkeys((issuer(), *current_app.config["FOXTROT_AUDIENCES"])))
    if wanted is None:
        return known
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        raise InvalidTarget(
            f"There is no service of that name here. Known are: {', '.join(known)}."
        )
    return tuple(name for name in known if name in wanted)


def choose_scopes(
    user: User, audiences: Sequence[str], wanted: Sequence[str] | None
) -> frozenset[str]:
    """The scopes of a token: what was wished for, of what the user holds."""
    held = user.scopes
    if tuple(audiences) != (issuer(),):
        held = held - OWN_SCOPES
    if wanted is None:
        return held
    if not held.issuperset(wanted):
        raise InvalidScope(
            "A scope was asked for that you do not hold, or that goes only into a token whose"
            f" sole audience is {issuer()}. Possible are: {' '.join(sorted(held))}."
        )
    return frozenset(wanted)


def effective_scopes(token: Token, user: User) -> frozenset[str]:
    """What a token may do at this service's own API: its scopes, if the user holds them still.

    Own scopes count only in a token that no other service could have received,
    or have signed.
    """
    scopes = token.scopes & user.scopes
    if token.audience != (issuer(),) or token.algorithm == "HS256":
        scopes -= OWN_SCOPES
    return scopes


def own_key_sources(ring: KeyRing, shared_secret: str | None) -> list[KeySource]:
    """Where the verifier of the own API finds its keys."""
    sources: list[KeySource] = [ring]
    if shared_secret is not None:
        sources.append(SharedSecret(shared_secret))
    return sources


def publishes_keys() -> bool:
    """Say whether services find public keys here, or share a secret instead."""
    return bool(current_app.config["FOXTROT_ALGORITHM"] != "HS256")


def published_keys() -> list[dict[str, Any]]:
    """The JWK Set's keys; none while services share a secret."""
    ring: KeyRing = current_app.extensions["foxtrot_keys"]
    return ring.public_set() if publishes_keys() else []


def issuer() -> str:
    """The issuer's URL, `iss` of every token and the own API's audience."""
    return str(current_app.config["ISSUER"])


def _custom_claims(user: User) -> dict[str, Any]:
    """Ask the operator's hook; what it may not set is left out."""
    hook = cast("ClaimsHook | None", current_app.extensions.get("foxtrot_claims_hook"))
    if hook is None:
        return {}
    given = {"id": user.public_id, "email": user.email, "scopes": sorted(user.scopes)}
    custom = dict(hook(given))
    if refused := RESERVED_CLAIMS & custom.keys():
        _log.warning("The claims hook may not set %s", ", ".join(sorted(refused)))
    return {name: value for name, value in custom.items() if name not in RESERVED_CLAIMS}


def _sign(claims: Mapping[str, Any], audiences: Sequence[str]) -> str:
    """Sign; with the shared secret only what goes to those who share it."""
    config = current_app.config
    if config["FOXTROT_ALGORITHM"] == "HS256" and tuple(audiences) != (issuer(),):
        secret = config["FOXTROT_SHARED_SECRET"]
        return jwt.encode(dict(claims), secret, "HS256", headers={"typ": TYPE})
    kid, private_key = current_app.extensions["foxtrot_keys"].signing_key()
    algorithm = asymmetric_algorithm(config["FOXTROT_ALGORITHM"])
    return jwt.encode(dict(claims), private_key, algorithm, headers={"typ": TYPE, "kid": kid})


def asymmetric_algorithm(configured: str) -> str:
    """The algorithm of key pairs: with a shared secret for services, ES256 for this one."""
    return "ES256" if configured == "HS256" else configured
