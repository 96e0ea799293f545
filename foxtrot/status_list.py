"""A Token Status List and the token that carries it: written, read, and judged.

draft-ietf-oauth-status-list: section 4.1 the compressed byte array, section 4.2 its JSON
form, section 5.1 the Status List Token in JWT format, section 8.3 what to check. Who
fetches one is `foxtrot.status`.
"""

from __future__ import annotations

import binascii
import math
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from foxtrot import signature
from foxtrot.keys import KeySource

TYPE: Final = "statuslist+jwt"
MEDIA_TYPE: Final = "application/statuslist+jwt"

MAX_LIST_BYTES: Final = 131_072
"""What a list may grow to when it is decompressed: 2^20 statuses of one bit."""

MAX_TOKEN_CHARACTERS: Final = 262_144

DEFAULT_TTL: Final = 60.0
"""Seconds for which a list without `ttl` is taken as fresh."""


@dataclass(frozen=True, slots=True)
class StatusList:
    """Statuses of *bits* bits each, packed from the least significant bit on (section 4.1)."""

    bits: int
    data: bytes

    @classmethod
    def of(
        cls, indices: Iterable[int], size: int, ranges: Iterable[tuple[int, int]] = ()
    ) -> StatusList:
        """A list of *size* statuses of one bit, a multiple of 8, of which some are 1.

        Those are *indices*, and *ranges*, each from its first index to its last.
        """
        data = bytearray(size // 8)
        for index in indices:
            data[index >> 3] |= 1 << (index & 7)
        for first, last in ranges:
            ones = (1 << (last - first + 1)) - 1 << (first & 7)
            start, stop = first >> 3, (last >> 3) + 1
            both = int.from_bytes(data[start:stop], "little") | ones
            data[start:stop] = both.to_bytes(stop - start, "little")
        return cls(1, bytes(data))

    def __len__(self) -> int:
        return len(self.data) * 8 // self.bits

    def __getitem__(self, index: int) -> int:
        """The status at *index*: 0 is valid, everything else is not (section 7).

        :raises IndexError: the list is not so long, or the index is negative.
        """
        if index < 0:
            raise IndexError(index)
        position = index * self.bits
        return self.data[position >> 3] >> (position & 7) & ((1 << self.bits) - 1)

    def encode(self, level: int = 6) -> dict[str, Any]:
        """The member `status_list`, compressed by zlib at *level* (section 4.2)."""
        packed = urlsafe_b64encode(zlib.compress(self.data, level))
        return {"bits": self.bits, "lst": packed.rstrip(b"=").decode()}

    @classmethod
    def decode(cls, member: object, limit: int = MAX_LIST_BYTES) -> StatusList:
        """Read the member `status_list`; at most *limit* bytes are ever decompressed.

        :raises ValueError: it is no Status List, is broken, or is larger.
        """
        if not isinstance(member, Mapping):
            raise ValueError("status_list is not an object")
        bits, packed = member.get("bits"), member.get("lst")
        if type(bits) is not int or bits not in (1, 2, 4, 8):
            raise ValueError("the bits of a status list are 1, 2, 4 or 8")
        if not isinstance(packed, str):
            raise ValueError("the lst of a status list is a text")
        return cls(bits, _decompress(_from_base64url(packed), limit))


def _from_base64url(text: str) -> bytes:
    try:
        encoded = text.encode("ascii")
        decoded = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    except (UnicodeEncodeError, binascii.Error):
        decoded, encoded = b"", b"="
    if urlsafe_b64encode(decoded).rstrip(b"=") != encoded:
        raise ValueError("the lst of a status list is not base64url")
    return decoded


def _decompress(packed: bytes, limit: int) -> bytes:
    inflating = zlib.decompressobj()
    try:
        data = inflating.decompress(packed, limit + 1)
    except zlib.error as error:
        raise ValueError(f"the status list cannot be decompressed: {error}") from None
    if len(data) > limit:
        raise ValueError(f"the status list is larger than {limit} bytes")
    if not inflating.eof or inflating.unused_data:
        raise ValueError("the status list is cut off, or something follows it")
    return data


@dataclass(frozen=True, slots=True)
class StatusListToken:
    """A Status List Token that was judged and found good. Times are seconds since the epoch."""

    statuses: StatusList
    issued_at: float
    expires_at: float
    ttl: float


def read(
    text: str,
    uri: str,
    issuer: str,
    keys: tuple[KeySource, ...],
    *,
    now: float,
    leeway: float = 30,
) -> StatusListToken:
    """Read the Status List Token that is to be the one of *uri*.

    :raises ValueError: it is none, or not this one, or not of now.
    :raises InvalidToken: its signature is not that of one of *keys*.
    :raises Unavailable: there are no keys yet.
    """
    signed = signature.check(text, keys, MAX_TOKEN_CHARACTERS)
    claims = signed.claims
    if signed.header.get("typ") != TYPE:
        raise ValueError(f"it is no status list: its typ is not {TYPE}")
    if claims.get("sub") != uri:
        raise ValueError("its sub is not the address that it was asked for at")
    if claims.get("iss", issuer) != issuer:
        raise ValueError("it was issued by somebody else")
    issued_at, expires_at = _times(claims)
    if issued_at > now + leeway or now >= expires_at + leeway:
        raise ValueError("it is not valid yet, or has expired; check that the clocks agree")
    statuses = StatusList.decode(claims.get("status_list"))
    return StatusListToken(statuses, issued_at, expires_at, _ttl(claims))


def _times(claims: Mapping[str, Any]) -> tuple[float, float]:
    """`iat`, and `exp` where there is one (section 5.1)."""
    issued_at, expires_at = claims.get("iat"), claims.get("exp", math.inf)
    if not _is_number(issued_at) or not (expires_at == math.inf or _is_number(expires_at)):
        raise ValueError("its iat or exp is not a time")
    return float(issued_at), float(expires_at)  # type: ignore[arg-type]  # numbers, asked above


def _ttl(claims: Mapping[str, Any]) -> float:
    ttl = claims.get("ttl", DEFAULT_TTL)
    if not _is_number(ttl) or ttl == 0:
        raise ValueError("its ttl is not a positive number")
    return float(ttl)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1e12  # type: ignore[operator]
