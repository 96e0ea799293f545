"""The signature of a JWT, and nothing else.

Splits the compact form (RFC 7515 section 3.1), reads header and claims
strictly, finds the key and verifies. What the claims mean is `verifier`'s
business.
"""

from __future__ import annotations

import binascii
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from foxtrot.errors import InvalidToken, Unavailable
from foxtrot.jwk import Key
from foxtrot.keys import KeySource

MAX_TOKEN_CHARACTERS: Final = 8192


class Signed(NamedTuple):
    """A token whose signature passed. Its claims have not been judged.

    Objects in it are read-only and lists are tuples, so that it can be shared.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


class _Segments(NamedTuple):
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signing_input: bytes
    signature: bytes


def check(
    text: str,
    keys: KeySource | tuple[KeySource, ...] | str | bytes,
    max_characters: int = MAX_TOKEN_CHARACTERS,
) -> Signed:
    """Verify the signature of a JWT in compact form, of *max_characters* at most.

    *keys* is one key source, several, or a bare HS256 secret. A bare secret is
    taken as it is, however weak: old tokens can be examined with it. A
    `Verifier` cannot be built on a weak one.

    :raises InvalidToken: with one of the reasons `too_large`, `malformed`,
        `wrong_algorithm`, `unknown_key`, `bad_signature`.
    :raises UnusableKey: a bare secret that is empty or no secret at all.
    :raises Unavailable: a source has no keys yet, and no key of another fits.
    """
    segments = _split(text, max_characters)
    algorithm, kid = segments.header["alg"], segments.header.get("kid")
    found, unavailable = _candidates(keys, algorithm, kid)
    for key in found:
        if key.verify(segments.signing_input, segments.signature):
            return Signed(segments.header, segments.claims)
    raise unavailable or InvalidToken("bad_signature" if found else "unknown_key")


def _candidates(
    keys: KeySource | tuple[KeySource, ...] | str | bytes, algorithm: str, kid: str | None
) -> tuple[Sequence[Key], Unavailable | None]:
    """At most one key of each source for that algorithm; and whether one source cannot tell."""
    if isinstance(keys, str | bytes):
        if algorithm != "HS256":
            raise InvalidToken("wrong_algorithm")
        return [Key.from_unjudged_secret(keys)], None
    sources = keys if isinstance(keys, tuple) else (keys,)
    fitting = [source for source in sources if algorithm in source.algorithms]
    if not fitting:
        raise InvalidToken("wrong_algorithm")
    found: list[Key] = []
    unavailable = None
    for source in fitting:
        try:
            key = source.find(kid, algorithm)
        except Unavailable as error:
            unavailable = error
        else:
            found += [key] if key is not None and key.algorithm == algorithm else []
    return found, unavailable


def _split(text: str, max_characters: int) -> _Segments:
    if not isinstance(text, str):
        raise InvalidToken("malformed")
    if len(text) > max_characters:
        raise InvalidToken("too_large")
    try:
        encoded = text.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidToken("malformed") from None
    parts = encoded.split(b".")
    if len(parts) != 3:
        raise InvalidToken("malformed")
    header, claims, signature = parts
    return _Segments(
        header=_read_header(header),
        claims=_read_object(claims),
        signing_input=encoded[: -len(signature) - 1],
        signature=_decode(signature),
    )


def _read_header(segment: bytes) -> Mapping[str, Any]:
    """Read the JOSE header.

    Extensions are refused, critical or not known (RFC 7515 section 4.1.11, RFC
    7797), and keys that a header brings along are never looked at.
    """
    header = _read_object(segment)
    if not isinstance(header.get("alg"), str) or not isinstance(header.get("kid", ""), str):
        raise InvalidToken("malformed")
    if "crit" in header or "b64" in header:
        raise InvalidToken("malformed")
    return header


def _read_object(segment: bytes) -> Mapping[str, Any]:
    try:
        value = _DECODER.decode(_decode(segment).decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidToken("malformed") from None
    if not isinstance(value, MappingProxyType):
        raise InvalidToken("malformed")
    return value


def _decode(segment: bytes) -> bytes:
    """Decode base64url that is written in the one canonical way (RFC 7515 section 2)."""
    try:
        decoded = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except binascii.Error:
        raise InvalidToken("malformed") from None
    if urlsafe_b64encode(decoded).rstrip(b"=") != segment:
        raise InvalidToken("malformed")
    return decoded


def _read_members(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    """Build an object, refusing a member that is given twice (RFC 7519 section 4)."""
    members = {_checked(name): _checked(value) for name, value in pairs}
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return MappingProxyType(members)


def _checked(value: Any) -> Any:
    """Refuse a text with half a surrogate pair; make a list a tuple."""
    if isinstance(value, str):
        value.isascii() or value.encode("utf-8")
    elif isinstance(value, list):
        return tuple(map(_checked, value))
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_read_members, parse_constant=_refuse_constant)
