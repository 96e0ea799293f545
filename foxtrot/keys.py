"""Where verification keys come from: a shared secret, a PEM, a JWK Set.

A key source answers `find(kid, alg)` with a key or None, names the
`algorithms` it can ever give a key for, and counts up `generation` whenever a
key that it gave before would not be given again. `foxtrot.issuer.IssuerKeys`
is the source that fetches a JWK Set by URL.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from foxtrot.errors import UnusableKey
from foxtrot.jwk import Key

MAX_KEYS_IN_SET: Final = 100

_log = logging.getLogger("foxtrot")


class KeySource(Protocol):
    """What a `Verifier` asks for keys."""

    @property
    def algorithms(self) -> frozenset[str]:
        """The algorithms whose keys this source may give."""

    @property
    def generation(self) -> int:
        """A number that changes when a key may have been withdrawn."""

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Give the key of that name and algorithm, or None.

        :raises Unavailable: the source has no keys yet and cannot get them now.
        """


class _SingleKey:
    """One key. Without a `kid` of its own it answers to any."""

    generation = 0

    def __init__(self, key: Key) -> None:
        self._key = key
        self.algorithms = frozenset({key.algorithm})

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        key = self._key
        if algorithm != key.algorithm or (key.kid is not None and kid != key.kid):
            return None
        return key


class SharedSecret(_SingleKey):
    """HS256 with a secret that the issuer and its services share.

    Every holder can issue tokens in anybody's name, to all the others.

    :raises WeakKey: shorter than 32 bytes, or publicly known.
    """

    def __init__(self, secret: str | bytes, kid: str | None = None) -> None:
        super().__init__(Key.from_secret(secret, kid))


class PublicKey(_SingleKey):
    """One public key in PEM: P-256 (ES256), Ed25519 (EdDSA) or RSA (RS256).

    :raises UnusableKey: not such a key.
    """

    def __init__(self, pem: str | bytes, kid: str | None = None) -> None:
        super().__init__(Key.from_pem(pem, kid))


class JWKSet:
    """A JWK Set (RFC 7517 section 5) that does not change.

    A token must name its key by `kid`, exactly.

    :raises UnusableKey: not a set, mixed, ambiguous, or without one usable key.
    """

    generation = 0

    def __init__(self, jwks: Mapping[str, Any] | str | bytes) -> None:
        self._keys = load_jwk_set(jwks)
        if not self._keys:
            raise UnusableKey("The JWK Set holds no key that can verify a token.")
        self.algorithms = frozenset(key.algorithm for key in self._keys.values())

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        return find_in(self._keys, kid, algorithm)


def find_in(keys: Mapping[str, Key], kid: str | None, algorithm: str) -> Key | None:
    """Look a key up by its exact name, and only for its own algorithm."""
    key = keys.get(kid) if kid is not None else None
    return key if key is not None and key.algorithm == algorithm else None


def load_jwk_set(jwks: Mapping[str, Any] | str | bytes) -> dict[str, Key]:
    """Load the usable keys of a JWK Set, by `kid`.

    A single key that is of no use here is passed over with a warning, as RFC
    7517 section 5 recommends. What makes the whole set untrustworthy refuses it.

    :raises UnusableKey: not a JWK Set, two keys of one name, a secret or
        private key in it, or keys of which none is usable.
    """
    entries = _entries(jwks)
    names = [entry.get("kid") for entry in entries]
    for kid in names:
        if names.count(kid) > 1 and kid is not None:
            raise UnusableKey(f"The JWK Set has two keys named {kid!r}.")
    for entry in entries:  # every private key has `d`: RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037
        if entry.get("kty") == "oct" or "d" in entry:
            raise UnusableKey("The JWK Set holds secret key material; publish public keys only.")
    keys: dict[str, Key] = {}
    for entry in entries:
        try:
            key = Key.from_jwk(entry)
        except UnusableKey as error:
            _log.warning("A key of the JWK Set is passed over: %s", error)
        else:
            keys[str(key.kid)] = key
    if entries and not keys:
        raise UnusableKey("The JWK Set holds no key that can verify a token.")
    return keys


def _entries(jwks: Mapping[str, Any] | str | bytes) -> list[dict[str, Any]]:
    if isinstance(jwks, str | bytes):
        try:
            jwks = json.loads(jwks)
        except (ValueError, RecursionError):
            raise UnusableKey("The JWK Set is not JSON.") from None
    entries = jwks.get("keys") if isinstance(jwks, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnusableKey("A JWK Set is an object with a list `keys` of objects.")
    if len(entries) > MAX_KEYS_IN_SET:
        raise UnusableKey(f"The JWK Set has more than {MAX_KEYS_IN_SET} keys.")
    return entries
