"""RSA signatures with a fault in their padding, made with the real key.

A PKCS #1 v1.5 signature (RFC 8017 section 9.2) is 00 01 FF.. 00 and a DER value
that names the hash. Who reads that value leniently believes forged signatures, so it
has to be compared byte by byte. Here each element of it is spoiled in each way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.verifier.minting import SigningKey, flipped

SHA256_OID: Final = bytes.fromhex("608648016503040201")

OTHER_OIDS: Final = {
    "SHA-1": bytes.fromhex("2b0e03021a"),
    "SHA-224": bytes.fromhex("608648016503040204"),
    "SHA-384": bytes.fromhex("608648016503040202"),
    "SHA-512": bytes.fromhex("608648016503040203"),
    "SHA3-256": bytes.fromhex("608648016503040208"),
    "SHA-256 with RSA": bytes.fromhex("2a864886f70d01010b"),
}

Encode = Callable[[int, bytes], bytes]
ELEMENTS: Final = ("digest info", "algorithm", "oid", "null", "digest")


def der(tag: int, body: bytes) -> bytes:
    """Write one element of fewer than 128 bytes as DER demands it."""
    return bytes([tag, len(body)]) + body


def with_length(length: int, octets: int) -> Encode:
    """Write a length of one's own choice, in so many octets."""
    return lambda tag, body: bytes([tag, 0x80 | octets]) + length.to_bytes(octets, "big") + body


def longer(octets: int, more: int) -> Encode:
    """Write the length too large by *more*, which a short integer would not see."""
    return lambda tag, body: with_length(len(body) + more, octets)(tag, body)


FAULTS: Final[dict[str, Encode]] = {
    "length in long form": longer(1, 0),
    "length with a leading zero": longer(2, 0),
    "length one too large": lambda tag, body: bytes([tag, len(body) + 1]) + body,
    "length one too small": lambda tag, body: bytes([tag, max(len(body) - 1, 0)]) + body,
    "length overflowing 32 bits": longer(5, 1 << 32),
    "length overflowing 64 bits": longer(9, 1 << 64),
    "length 2^31 - 1": with_length((1 << 31) - 1, 4),
    "length 2^31": with_length(1 << 31, 4),
    "length 2^32 - 1": with_length((1 << 32) - 1, 4),
    "length 2^40 - 1": with_length((1 << 40) - 1, 5),
    "length 2^64 - 1": with_length((1 << 64) - 1, 8),
    "length all ones": lambda tag, body: bytes([tag, 0xFF]) + body,
    "length cut off": lambda tag, body: bytes([tag, 0x81]),
    "indefinite length": lambda tag, body: bytes([tag, 0x80]) + body + b"\0\0",
    "indefinite length, unterminated": lambda tag, body: bytes([tag, 0x80]) + body,
    "indefinite length, end cut": lambda tag, body: bytes([tag, 0x80]) + body + b"\0",
    "indefinite length, end not empty": lambda tag, body: bytes([tag, 0x80]) + body + b"\0\1\0",
    "removed": lambda tag, body: b"",
    "tag alone": lambda tag, body: bytes([tag]),
    "zeros appended": lambda tag, body: der(tag, body + b"\0\0"),
    "zeros prepended": lambda tag, body: der(tag, b"\0\0" + body),
    "zeros behind": lambda tag, body: der(tag, body) + b"\0\0",
    "null appended": lambda tag, body: der(tag, body + b"\5\0"),
    "null behind": lambda tag, body: der(tag, body) + b"\5\0",
    "null with a length behind": lambda tag, body: der(tag, body) + b"\5\x81\0",
    "garbage prepended": lambda tag, body: der(tag, b"\x49\x81\x77" + body),
    "garbage in front": lambda tag, body: b"\x25\2\5\0" + der(tag, body),
    "garbage behind": lambda tag, body: der(tag, body) + b"\xde\xad\xbe\xef",
    "high tag number behind": lambda tag, body: der(tag, body) + b"\xbf\x7f\0",
    "undefined tags in front": lambda tag, body: b"\xaa\x02\xaa\0" + der(tag, body),
    "sequence in front": lambda tag, body: b"\x30\0" + der(tag, body),
    "sequence behind": lambda tag, body: der(tag, body) + b"\x30\0",
    "in a sequence": lambda tag, body: der(0x30, der(tag, body)),
    "composed": lambda tag, body: der(tag | 0x20, der(tag, body[:1]) + der(tag, body[1:])),
    "composed with indefinite length": lambda tag, body: (
        bytes([tag | 0x20, 0x80]) + der(tag, body) + b"\0\0"
    ),
    "replaced by null": lambda tag, body: b"\x05\0" if tag != 5 else b"\x05\x01\0",
    "replaced by an empty set": lambda tag, body: b"\x31\0",
    "tag + 1": lambda tag, body: der(tag + 1, body),
    "tag of an application": lambda tag, body: der(tag ^ 0x40, body),
    "tag of a context": lambda tag, body: der(tag ^ 0x80, body),
    "tag of ones": lambda tag, body: der(0xFF, body),
    "value dropped": lambda tag, body: der(tag, b""),
    "value cut at its end": lambda tag, body: der(tag, body[:-1]),
    "value cut at its beginning": lambda tag, body: der(tag, body[1:]),
    "first bit changed": lambda tag, body: der(tag, flipped(body or b"\1", 0)),
    "last bit changed": lambda tag, body: der(tag, flipped(body or b"\1", len(body) * 8 - 1)),
    "twice": lambda tag, body: der(tag, body) * 2,
}


def digest_info(message: bytes, element: str = "", encode: Encode = der) -> bytes:
    """Write the DER value for *message*, with one *element* of it written by *encode*."""

    def write(name: str, tag: int, body: bytes) -> bytes:
        return encode(tag, body) if name == element else der(tag, body)

    algorithm = write("oid", 6, SHA256_OID) + write("null", 5, b"")
    digest = write("digest", 4, hashlib.sha256(message).digest())
    return write("digest info", 0x30, write("algorithm", 0x30, algorithm) + digest)


def padded(value: bytes, size: int) -> bytes:
    return b"\0\1" + b"\xff" * (size - 3 - len(value)) + b"\0" + value


PADDINGS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "block type 0": lambda value, size: b"\0\0" + padded(value, size)[2:],
    "block type 2": lambda value, size: b"\0\2" + padded(value, size)[2:],
    "first byte 1": lambda value, size: b"\1\1" + padded(value, size)[2:],
    "no padding": lambda value, size: b"\0\1\0" + value + bytes(size - 3 - len(value)),
    "eight bytes of padding": lambda value, size: padded(value, len(value) + 11).ljust(
        size, b"\xff"
    ),
    "zeros instead of ones": lambda value, size: padded(value, size).replace(b"\xff", b"\0"),
    "one byte of padding changed": lambda value, size: padded(value, size).replace(
        b"\xff", b"\xfe", 1
    ),
    "last byte of padding changed": lambda value, size: padded(value, size).replace(
        b"\xff\0", b"\x7f\0", 1
    ),
    "no separator": lambda value, size: padded(value, size).replace(b"\xff\0", b"\xff\xff", 1),
    "value in front of the end": lambda value, size: padded(value + b"\0", size),
    "the digest alone": lambda value, size: padded(value[-32:], size),
    "nothing": lambda value, size: padded(b"", size),
}


def spoiled(fault: str, message: bytes) -> Iterator[tuple[str, bytes]]:
    """Spoil each element of the DER value in one way, as far as that changes it."""
    good = digest_info(message)
    for element in ELEMENTS:
        value = digest_info(message, element, FAULTS[fault])
        if value != good:
            yield element, value


def sign_block(key: SigningKey, block: bytes) -> bytes:
    """Apply the private key to a block, whatever stands in it."""
    assert isinstance(key.private, rsa.RSAPrivateKey)
    numbers = key.private.private_numbers()
    number = int.from_bytes(block, "big")
    mod_p, mod_q = pow(number, numbers.dmp1, numbers.p), pow(number, numbers.dmq1, numbers.q)
    raw = mod_q + (mod_p - mod_q) * numbers.iqmp % numbers.p * numbers.q
    return raw.to_bytes(size_of(key), "big")


def modulus_of(key: SigningKey) -> int:
    assert isinstance(key.private, rsa.RSAPrivateKey)
    return key.private.public_key().public_numbers().n


def size_of(key: SigningKey) -> int:
    return (modulus_of(key).bit_length() + 7) // 8
