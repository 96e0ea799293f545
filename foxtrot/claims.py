"""What an access token says, and the rules for saying it.

The rules of RFC 7519 section 4.1, RFC 9068 sections 2 and 4 and RFC 8725 section
3, for tokens whose signature has passed. Every broken rule is reported, not
only the first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from foxtrot.errors import InvalidToken

REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "exp", "iat", "jti")
"""RFC 9068 section 2.2 demands `client_id` of issuers besides. A verifier does not: nothing here is
decided by it, and section 4 has no service compare it with anything."""

MAX_LIFETIME: Final = 86_400.0
"""Seconds between `iat` and `exp` beyond which a token is not an access token."""

_LAST_SECOND: Final = 253_402_300_799  # the end of the year 9999
_STRING_CLAIMS: Final = ("iss", "sub", "jti")
_OPTIONAL_STRING_CLAIMS: Final = ("scope", "sid", "client_id", "uid")
_TIME_CLAIMS: Final = ("exp", "iat", "nbf", "auth_time")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Token:
    """An access token that was verified. Times are seconds since the epoch, UTC.

    One object may serve many requests, so nothing in it can be changed.
    """

    subject: str
    issuer: str
    audience: tuple[str, ...]
    scopes: frozenset[str]
    session_id: str | None
    issued_at: float
    expires_at: float
    algorithm: str
    claims: Mapping[str, Any]
    not_before: float
    not_after: float
    status_list: str | None
    """The address of the list that has the token's status; "" if the claim is malformed."""
    status_index: int
    """Its place in the list."""

    @classmethod
    def of(cls, claims: Mapping[str, Any], algorithm: str, leeway: float) -> Token:
        """Make a token of claims that were judged and found good.

        `not_before` and `not_after` are the times with the *leeway*, in seconds.
        """
        audience = claims["aud"]
        status_list, status_index = _status_place(claims)
        return cls(
            subject=claims["sub"],
            issuer=claims["iss"],
            audience=(audience,) if isinstance(audience, str) else audience,
            scopes=frozenset(filter(None, claims.get("scope", "").split(" "))),
            session_id=claims.get("sid"),
            issued_at=claims["iat"],
            expires_at=claims["exp"],
            algorithm=algorithm,
            claims=claims,
            not_before=max(claims["iat"], claims.get("nbf", 0)) - leeway,
            not_after=claims["exp"] + leeway,
            status_list=status_list,
            status_index=status_index,
        )

    def __repr__(self) -> str:
        return f"<Token sub={self.subject!r} aud={self.audience!r} scopes={sorted(self.scopes)}>"


def _status_place(claims: Mapping[str, Any]) -> tuple[str | None, int]:
    """Read the claim `status` (draft-ietf-oauth-status-list section 6.2).

    All tokens of a list share its address: comparing it is comparing one object with itself.
    """
    if "status" not in claims:
        return None, 0
    try:
        place = claims["status"]["status_list"]
        uri, index = place["uri"], place["idx"]
    except (KeyError, TypeError, IndexError):
        return "", 0
    if type(uri) is not str or type(index) is not int or index < 0:
        return "", 0
    return sys.intern(uri), index


def judged(
    header: Mapping[str, Any],
    claims: Mapping[str, Any],
    issuer: str,
    audience: str | None,
    now: float,
    leeway: float,
) -> Token:
    """The token that claims make whose signature passed.

    :param audience: whom it must be for; None for the issuer alone, who asks about tokens for any.
    :param now: seconds since the epoch.
    :param leeway: seconds by which clocks may disagree.
    :raises InvalidToken: with all reasons that apply in `.reasons`.
    """
    reasons = type_reasons(header) | shape_reasons(claims)
    reasons |= value_reasons(claims, issuer, audience, now, leeway)
    if reasons:
        raise InvalidToken(reasons)
    return Token.of(claims, header["alg"], leeway)


def type_reasons(header: Mapping[str, Any]) -> set[str]:
    """RFC 9068 section 4: `typ` is `at+jwt` or `application/at+jwt`."""
    typ = header.get("typ")
    if isinstance(typ, str) and typ.lower() in ("at+jwt", "application/at+jwt"):
        return set()
    return {"wrong_type"}


def shape_reasons(claims: Mapping[str, Any]) -> set[str]:
    """What is wrong with the claims whoever looks at them."""
    reasons = set()
    if any(name not in claims for name in REQUIRED_CLAIMS):
        reasons.add("missing_claim")
    if not (_strings_are_good(claims) and _times_are_good(claims) and _audience_is_good(claims)):
        reasons.add("bad_claim")
    return reasons


def _strings_are_good(claims: Mapping[str, Any]) -> bool:
    for name in _STRING_CLAIMS:
        value = claims.get(name, "absent")
        if not isinstance(value, str) or not value or "\0" in value:
            return False
    for name in _OPTIONAL_STRING_CLAIMS:
        value = claims.get(name, "")
        if not isinstance(value, str) or "\0" in value:
            return False
    return "uid" not in claims or claims["uid"] == claims.get("sub")


def _times_are_good(claims: Mapping[str, Any]) -> bool:
    if not all(name not in claims or _is_time(claims[name]) for name in _TIME_CLAIMS):
        return False
    if "exp" not in claims or "iat" not in claims:
        return True
    return bool(0 < claims["exp"] - claims["iat"] <= MAX_LIFETIME)


def _audience_is_good(claims: Mapping[str, Any]) -> bool:
    audience = claims.get("aud", "absent")
    if isinstance(audience, str):
        return audience != "" and "\0" not in audience
    return (
        isinstance(audience, tuple)
        and bool(audience)
        and all(isinstance(name, str) and name and "\0" not in name for name in audience)
    )


def _is_time(value: object) -> bool:
    """RFC 7519 section 2, NumericDate: a JSON number of seconds."""
    if type(value) is int:
        return 0 <= value <= _LAST_SECOND
    return type(value) is float and math.isfinite(value) and 0 <= value <= _LAST_SECOND


def value_reasons(
    claims: Mapping[str, Any], issuer: str, audience: str | None, now: float, leeway: float
) -> set[str]:
    """Compare the claims with what a verifier expects (RFC 9068 section 4)."""
    reasons = set()
    if "iss" in claims and claims["iss"] != issuer:
        reasons.add("wrong_issuer")
    if audience is not None and "aud" in claims and not _is_among(audience, claims["aud"]):
        reasons.add("wrong_audience")
    for name in ("iat", "nbf"):
        if _is_time(claims.get(name)) and claims[name] > now + leeway:
            reasons.add("not_yet_valid")
    if _is_time(claims.get("exp")) and now >= claims["exp"] + leeway:
        reasons.add("expired")
    return reasons


def _is_among(audience: str, named: object) -> bool:
    return named == audience or (isinstance(named, tuple) and audience in named)
