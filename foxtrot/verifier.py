"""Decide whether an access token is to be believed.

`Verifier` joins the signature check with the rules for claims and with the
question whether the session behind the token has ended. It knows nothing of
HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from foxtrot import signature
from foxtrot.claims import Token, judged
from foxtrot.errors import InvalidToken, StaleStatus, Unavailable
from foxtrot.issuer import IssuerKeys
from foxtrot.keys import KeySource, PublicKey, SharedSecret
from foxtrot.status import StatusLists

DEFAULT_LEEWAY: Final = 30.0
MAX_LEEWAY: Final = 60.0

OnStale = Literal["allow", "deny"]

_log = logging.getLogger("foxtrot")


class Status(Protocol):
    """Who knows whether the session behind a token has ended."""

    def ended(self, token: Token) -> bool:
        """Say whether *token* must be refused although it has not expired.

        :raises StaleStatus: that cannot be known now, and `on_stale` decides.
        :raises Unavailable: that cannot be known now, and no token is to be accepted.
        """


class Verifier:
    """Verifies access tokens of one issuer for one audience.

    :param issuer: the issuer's URL; `iss` must equal it, character by character.
    :param audience: this service's name; it must stand in `aud`.
    :param secret: a shared secret (HS256), at least 32 bytes.
    :param public_key: one public key in PEM.
    :param keys: key sources, asked in turn.
    :param status: asked last, whether the token's session has ended: the issuer's status
        lists by default; None never asks, and a token is good until it expires.
    :param on_stale: what becomes of a good token while the issuer's status list cannot be
        had: "allow" lets it through until it expires, "deny" does not (`Unavailable`).
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
        status: Status | Literal["issuer"] | None = "issuer",
        on_stale: OnStale = "allow",
        leeway: float = DEFAULT_LEEWAY,
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
        self._leeway = float(leeway)
        self._clock = clock
        self._status = self._lists() if status == "issuer" else status
        self._on_stale = _checked(on_stale)
        self._seen = _SeenTokens(remember)

    def _lists(self) -> StatusLists:
        return StatusLists(self.issuer, self._sources, leeway=self._leeway, clock=self._clock)

    def verify(self, text: str, *, on_stale: OnStale | None = None) -> Token:
        """Verify a token, or refuse it.

        :param on_stale: for this token, other than for the rest.
        :raises InvalidToken: the token must not be accepted; `.reason` says why.
        :raises Unavailable: no key or no status can be had now; never accept.
        """
        try:
            return self._verify(text, on_stale or self._on_stale)
        except (InvalidToken, Unavailable):
            raise
        except Exception as error:
            _log.exception("A token could not be judged")
            raise Unavailable("The token cannot be judged at the moment.") from error

    def _verify(self, text: str, on_stale: OnStale) -> Token:
        if not isinstance(text, str):
            raise InvalidToken("malformed")
        now = self._clock()
        generation = self._generation()
        token = self._seen.get(text, generation)
        if token is None:
            token = self.judge(signature.check(text, self._sources), now)
            self._seen.add(text, token, generation)
        elif not token.not_before <= now < token.not_after:
            self._seen.forget(text)
            raise InvalidToken("expired" if now >= token.not_after else "not_yet_valid")
        try:
            if self._status is not None and self._status.ended(token):
                raise InvalidToken("revoked")
        except StaleStatus:
            if on_stale != "allow":
                raise
        return token

    def judge(self, signed: signature.Signed, now: float | None = None) -> Token:
        """Judge type and claims of a token whose signature passed.

        :raises InvalidToken: with all reasons that apply in `.reasons`.
        """
        if now is None:
            now = self._clock()
        expected = (self.issuer, self.audience, now, self._leeway)
        return judged(signed.header, signed.claims, *expected)

    def _generation(self) -> _Generation:
        if len(self._sources) == 1:
            return self._sources[0].generation
        return tuple(source.generation for source in self._sources)


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


def _checked(on_stale: OnStale) -> OnStale:
    if on_stale not in ("allow", "deny"):
        raise ValueError('on_stale is "allow" or "deny".')
    return on_stale


_Generation = int | tuple[int, ...]
"""That of the only source of keys, or those of all; compared as a whole."""

_Seen = tuple[_Generation, Token]


class _SeenTokens:
    """Verified tokens by their exact text, each with the generation of the keys by which it was.

    When the young half is full it becomes the old one and the former old half
    is dropped, so memory is bounded and what is in use stays. What was verified by
    keys of another generation is not known here.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[str, _Seen] = {}
        self._old: dict[str, _Seen] = {}

    def get(self, text: str, keys_generation: _Generation) -> Token | None:
        seen = self._young.get(text)
        if seen is None:
            seen = self._old.get(text)
            if seen is None:
                return None
            self._put(text, seen)
        generation, token = seen
        return token if generation == keys_generation else None

    def add(self, text: str, token: Token, keys_generation: _Generation) -> None:
        """Remember a token, and the generation of before it was verified."""
        self._put(text, (keys_generation, token))

    def forget(self, text: str) -> None:
        self._young.pop(text, None)
        self._old.pop(text, None)

    def _put(self, text: str, seen: _Seen) -> None:
        if len(self._young) >= self._half:
            self._young, self._old = {}, self._young
        if self._half:
            self._young[text] = seen
