"""What tokens and status lists are signed with, and the keys that verify them.

Keys come from `keys`. While services share a secret, it signs what they have to verify.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import jwt
from flask import current_app

from app.db import utcnow
from app.keys import MAX_AGE, KeyRing
from foxtrot.keys import KeySource, SharedSecret
from foxtrot.status_list import TYPE as STATUS_LIST_TYPE

KEYS_MAX_AGE: Final = int(MAX_AGE.total_seconds())
"""Seconds for which anybody may keep a copy of the JWK Set, and of the metadata that name it."""

TYPE: Final = "at+jwt"


def issuer() -> str:
    """The issuer's URL, `iss` of every token and the own API's audience."""
    return str(current_app.config["ISSUER"])


def prepare() -> None:
    """See to the signing key before a transaction in which a token is minted.

    :raises Unavailable: there is none.
    """
    _ring().signing_key()


def sign(claims: Mapping[str, Any], audiences: Sequence[str], now: datetime) -> str:
    """Sign; with the shared secret only what goes to those who share it."""
    if tuple(audiences) == (issuer(),):
        return _sign_with_key(claims, TYPE, now)
    return _sign_for_services(claims, TYPE, now)


def sign_status_list(claims: Mapping[str, Any]) -> str:
    """Sign a status list with what services verify tokens with: the key, or the secret.

    draft-ietf-oauth-status-list section 5.1 permits a MAC, which is all that they can check.
    """
    return _sign_for_services(claims, STATUS_LIST_TYPE, utcnow())


def status_list_key() -> str:
    """The name of what signs status lists now."""
    now = utcnow()
    return "HS256" if _shares_secret(now) else _ring().signing_key(now).kid


def own_key_sources(ring: KeyRing, shared_secret: str | None) -> list[KeySource]:
    """Where the verifier of the own API finds its keys."""
    sources: list[KeySource] = [ring]
    if shared_secret is not None:
        sources.append(SharedSecret(shared_secret))
    return sources


def key_sources() -> tuple[KeySource, ...]:
    """The keys of this app, to verify a token with."""
    return tuple(own_key_sources(_ring(), current_app.config["FOXTROT_SHARED_SECRET"]))


def publishes_keys() -> bool:
    """Say whether services find public keys here, or share a secret instead."""
    return _ring().shows_keys()


def published_keys() -> list[dict[str, Any]]:
    """The JWK Set's keys; none while services share a secret."""
    return _ring().public_set() if publishes_keys() else []


def _sign_for_services(claims: Mapping[str, Any], typ: str, now: datetime) -> str:
    if _shares_secret(now):
        secret = current_app.config["FOXTROT_SHARED_SECRET"]
        return jwt.encode(dict(claims), secret, "HS256", headers={"typ": typ})
    return _sign_with_key(claims, typ, now)


def _sign_with_key(claims: Mapping[str, Any], typ: str, now: datetime) -> str:
    kid, private_key, algorithm = _ring().signing_key(now)
    return jwt.encode(dict(claims), private_key, algorithm, headers={"typ": typ, "kid": kid})


def _shares_secret(now: datetime) -> bool:
    """Say whether services verify with the shared secret, and it is still there to sign with."""
    return current_app.config["FOXTROT_SHARED_SECRET"] is not None and _ring().shares_secret(now)


def _ring() -> KeyRing:
    ring: KeyRing = current_app.extensions["foxtrot_keys"]
    return ring
