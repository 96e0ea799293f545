"""Decide whether an access token is to be believed.

`Verifier` joins the signature check with the rules for claims (RFC 7519
section 4.1, RFC 9068 section 4, RFC 8725 section 3) and with the question
whether the session behind the token has ended. It knows nothing of HTTP.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from foxtrot import signature
from foxtrot.errors import InvalidToken, Unavailable
from foxtrot.issuer import IssuerKeys
from foxtrot.keys import KeySource, PublicKey, SharedSecret

REQUIRED_CLAIMS: Final = ("iss", "aud", "sub", "exp", "iat", "jti")

MAX_LIFETIME: Final = 86_400.0
"""Seconds between `iat` and `exp` beyond which a token is not an access token."""

MAX_LEEWAY: Final = 60.0

_LAST_SECOND: Final = 253_402_300_799  # the end of the year 9999
_STRING_CLAIMS: Final = ("iss", "sub", "jti")
_OPTIONAL_STRING_CLAIMS: Final = ("scope", "sid", "client_id", "uid")
_TIME_CLAIMS: Final = ("exp", "iat", "nbf", "auth_time")


class Token:
    """An access token that was verified. Times are seconds since the epoch, UTC."""

    __slots__ = (
        "_not_after",
        "_not_before",
        "algorithm",
        "audience",
        "claims",
        "expires_at",
        "issued_at",
        "issuer",
        "scopes",
        "session_id",
        "subject",
    )

    def __init__(self, claims: dict[str, Any], algorithm: str, leeway: float) -> None:
        audience = claims["aud"]
        self.subject: str = claims["sub"]
        self.issuer: str = claims["iss"]
        self.audience: tuple[str, ...] = (
            (audience,) if isinstance(audience, str) else tuple(audience)
        )
        self.scopes: frozenset[str] = frozenset(claims.get("scope", "").split())
        self.session_id: str | None = claims.get("sid")
        self.issued_at: float = claims["iat"]
        self.expires_at: float = claims["exp"]
        self.algorithm: str = algorithm
        self.claims: Mapping[str, Any] = MappingProxyType(claims)
        self._not_before = max(claims["iat"], claims.get("nbf", 0)) - leeway
        self._not_after = claims["exp"] + leeway

    def __repr__(self) -> str:
        return f"<Token sub={self.subject!r} aud={self.audience!r} scopes={sorted(self.scopes)}>"


class Status(Protocol):
    """Who knows whether the session behind a token has ended."""

    def ended(self, token: Token) -> bool:
        """Say whether *token* must be refused although it has not expired."""


class Verifier:
    """Verifies access tokens of one issuer for one audience.

    :param issuer: the issuer's URL; `iss` must equal it, character by character.
    :param audience: this service's name; it must stand in `aud`.
    :param secret: a shared secret (HS256), at least 32 bytes.
    :param public_key: one public key in PEM.
    :param keys: key sources, asked in turn.
    :param status: asked last, whether the token's session has ended.
    :param leeway: seconds by which clocks may disagree, 60 at most; for `exp`,
        `nbf` and `iat` alike.
    :param remember: how many verified tokens are kept, so that a signature is not
        checked again while neither token nor keys have changed; 0 for none.
    :param clock: gives the time in seconds since the epoch.

    At most one of *secret*, *public_key* and *keys*; with none of them the keys
    are found through the issuer's metadata (RFC 8414).

    :raises WeakKey: the secret or key is too short or publicly known.
    :raises UnusableKey: the key cannot be read or is for another purpose.
    :raises ValueError: an argument is missing or contradicts another.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        *,
        secret: str | bytes | None = None,
        public_key: str | bytes | None = None,
        keys: Sequence[KeySource] | None = None,
        status: Status | None = None,
        leeway: float = 30,
        remember: int = 4096,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(issuer, str) or not issuer:
            raise ValueError("A verifier needs the issuer's URL.")
        if not isinstance(audience, str) or not audience:
            raise ValueError("A verifier needs its service's name, the audience.")
        if not 0 <= leeway <= MAX_LEEWAY:
            raise ValueError(f"leeway is 0 to {MAX_LEEWAY:g} seconds.")
        self.issuer = issuer
        self.audience = audience
        self._sources = _sources(issuer, secret, public_key, keys)
        self._status = status
        self._leeway = float(leeway)
        self._clock = clock
        self._seen = _SeenTokens(remember)

    def verify(self, text: str) -> Token:
        """Verify a token, or refuse it.

        :raises InvalidToken: the token must not be accepted; `.reason` says why.
        :raises Unavailable: no key or no status can be had now; never accept.
        """
        if not isinstance(text, str):
            raise InvalidToken("malformed")
        now = self._clock()
        generation = self._generation()
        token = self._seen.get(text, generation)
        if token is None:
            signed = self._check_signature(text)
            token = self.judge(signed, now)
            self._seen.add(text, token, generation)
        elif not token._not_before <= now < token._not_after:
            self._seen.forget(text)
            raise InvalidToken("expired" if now >= token._not_after else "not_yet_valid")
        if self._status is not None:
            self._refuse_ended(self._status, token)
        return token

    def judge(self, signed: signature.Signed, now: float | None = None) -> Token:
        """Judge type and claims of a token whose signature passed.

        :raises InvalidToken: with all reasons that apply in `.reasons`.
        """
        if now is None:
            now = self._clock()
        reasons = _type_reasons(signed.header) | _claim_reasons(signed.claims)
        reasons |= self._value_reasons(signed.claims, now)
        if reasons:
            raise InvalidToken(reasons)
        return Token(signed.claims, signed.header["alg"], self._leeway)

    def _generation(self) -> int:
        if len(self._sources) == 1:
            return self._sources[0].generation
        return sum(source.generation for source in self._sources)

    def _check_signature(self, text: str) -> signature.Signed:
        try:
            return signature.check(text, self._sources)
        except (InvalidToken, Unavailable):
            raise
        except Exception as error:
            raise Unavailable("The keys cannot be read at the moment.") from error

    def _value_reasons(self, claims: dict[str, Any], now: float) -> set[str]:
        """Compare the claims with what this verifier expects (RFC 9068 section 4)."""
        reasons = set()
        if "iss" in claims and claims["iss"] != self.issuer:
            reasons.add("wrong_issuer")
        if "aud" in claims and not self._is_among(claims["aud"]):
            reasons.add("wrong_audience")
        for name in ("iat", "nbf"):
            if _is_time(claims.get(name)) and claims[name] > now + self._leeway:
                reasons.add("not_yet_valid")
        if _is_time(claims.get("exp")) and now >= claims["exp"] + self._leeway:
            reasons.add("expired")
        return reasons

    def _is_among(self, audience: object) -> bool:
        return audience == self.audience or (
            isinstance(audience, list) and self.audience in audience
        )

    @staticmethod
    def _refuse_ended(status: Status, token: Token) -> None:
        try:
            ended = status.ended(token)
        except (InvalidToken, Unavailable):
            raise
        except Exception as error:
            raise Unavailable("Whether the session has ended cannot be known now.") from error
        if ended:
            raise InvalidToken("revoked")


def _sources(
    issuer: str,
    secret: str | bytes | None,
    public_key: str | bytes | None,
    keys: Sequence[KeySource] | None,
) -> tuple[KeySource, ...]:
    if sum(given is not None for given in (secret, public_key, keys)) > 1:
        raise ValueError("Give at most one of secret, public_key and keys.")
    if secret is not None:
        return (SharedSecret(secret),)
    if public_key is not None:
        return (PublicKey(public_key),)
    if keys is not None:
        if not keys:
            raise ValueError("keys is empty; leave it out to find the keys by the issuer's URL.")
        return tuple(keys)
    return (IssuerKeys(issuer),)


def _type_reasons(header: dict[str, Any]) -> set[str]:
    """RFC 9068 section 4: `typ` is `at+jwt` or `application/at+jwt`."""
    typ = header.get("typ")
    if isinstance(typ, str) and typ.lower() in ("at+jwt", "application/at+jwt"):
        return set()
    return {"wrong_type"}


def _claim_reasons(claims: dict[str, Any]) -> set[str]:
    """What is wrong with the claims whoever looks at them."""
    reasons = set()
    if any(name not in claims for name in REQUIRED_CLAIMS):
        reasons.add("missing_claim")
    if not (_strings_are_good(claims) and _times_are_good(claims) and _audience_is_good(claims)):
        reasons.add("bad_claim")
    return reasons


def _strings_are_good(claims: dict[str, Any]) -> bool:
    for name in _STRING_CLAIMS:
        value = claims.get(name, "absent")
        if not isinstance(value, str) or not value or "\0" in value:
            return False
    for name in _OPTIONAL_STRING_CLAIMS:
        if not isinstance(claims.get(name, ""), str):
            return False
    return "uid" not in claims or claims["uid"] == claims.get("sub")


def _times_are_good(claims: dict[str, Any]) -> bool:
    if not all(name not in claims or _is_time(claims[name]) for name in _TIME_CLAIMS):
        return False
    if "exp" not in claims or "iat" not in claims:
        return True
    return bool(0 < claims["exp"] - claims["iat"] <= MAX_LIFETIME)


def _audience_is_good(claims: dict[str, Any]) -> bool:
    audience = claims.get("aud", "absent")
    if isinstance(audience, str):
        return audience != ""
    return (
        isinstance(audience, list)
        and bool(audience)
        and all(isinstance(name, str) and name for name in audience)
    )


def _is_time(value: object) -> bool:
    """RFC 7519 section 2, NumericDate: a JSON number of seconds."""
    if type(value) is int:
        return 0 <= value <= _LAST_SECOND
    return type(value) is float and math.isfinite(value) and 0 <= value <= _LAST_SECOND


class _SeenTokens:
    """Verified tokens by their exact text, in two generations.

    When the young half is full it becomes the old one and the former old half
    is dropped, so memory is bounded and what is in use stays. All is dropped
    when the keys change.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._keys_generation = 0
        self._young: dict[str, Token] = {}
        self._old: dict[str, Token] = {}

    def get(self, text: str, keys_generation: int) -> Token | None:
        if keys_generation != self._keys_generation:
            self._young, self._old = {}, {}
            self._keys_generation = keys_generation
            return None
        token = self._young.get(text)
        if token is None and (token := self._old.get(text)) is not None:
            self._put(text, token)
        return token

    def add(self, text: str, token: Token, keys_generation: int) -> None:
        """Remember a token, unless the keys changed while it was being verified."""
        if keys_generation == self._keys_generation:
            self._put(text, token)

    def forget(self, text: str) -> None:
        self._young.pop(text, None)
        self._old.pop(text, None)

    def _put(self, text: str, token: Token) -> None:
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        if self._half:
            self._young[text] = token
