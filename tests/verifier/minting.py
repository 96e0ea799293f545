"""Tokens, good and bad, put together by hand.

No JWT library takes part: a mint that asks nobody for permission can also make
what no library would. Only the mathematics of signing comes from `cryptography`.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import ipaddress
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foxtrot import InvalidToken, Verifier
from foxtrot.jwk import Key

NOW: Final = 1_800_000_000
ISSUER: Final = "https://login.example.com"
AUDIENCE: Final = "notes"


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
"""As an override: leave the member out."""

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | bytes


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True)
class SigningKey:
    """A private key, or a secret, and what its tokens say of it."""

    kid: str
    alg: str
    private: Private

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.private, bytes):
            return hmac.digest(self.private, message, hashlib.sha256)
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(message, padding.PKCS1v15(), SHA256())
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(message)
        return raw_signature(self.private, message)

    @property
    def public(
        self,
    ) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey:
        assert not isinstance(self.private, bytes)
        return self.private.public_key()

    @property
    def pem(self) -> bytes:
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def jwk(self) -> dict[str, Any]:
        common = {"kid": self.kid, "alg": self.alg, "use": "sig"}
        return common | jwk_members(self.public)


def make_es256(kid: str = "es-1") -> SigningKey:
    return SigningKey(kid, "ES256", ec.generate_private_key(ec.SECP256R1()))


def make_eddsa(kid: str = "ed-1") -> SigningKey:
    return SigningKey(kid, "EdDSA", ed25519.Ed25519PrivateKey.generate())


def make_rs256(kid: str = "rs-1", bits: int = 2048, exponent: int = 65537) -> SigningKey:
    return SigningKey(kid, "RS256", rsa.generate_private_key(exponent, bits))


def make_hs256(kid: str = "hs-1") -> SigningKey:
    return SigningKey(kid, "HS256", secrets.token_urlsafe(36).encode())


def raw_signature(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign as RFC 7518 section 3.4 says: r and s, each as long as the curve."""
    size = (private.curve.key_size + 7) // 8
    r, s = decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def jwk_members(
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey,
) -> dict[str, Any]:
    """Write a public key as JWK members (RFC 7518 section 6, RFC 8037 section 2)."""
    if isinstance(public, ed25519.Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    if isinstance(public, rsa.RSAPublicKey):
        modulus = public.public_numbers()
        return {"kty": "RSA", "n": b64_int(modulus.n), "e": b64_int(modulus.e)}
    names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
    point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
    return {
        "kty": "EC",
        "crv": names.get(public.curve.name, public.curve.name),
        "x": b64(point.x.to_bytes(size, "big")),
        "y": b64(point.y.to_bytes(size, "big")),
    }


def b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64_int(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def unb64(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Mint:
    """Makes tokens: good ones without arguments, bad ones by what is overridden."""

    def __init__(self, key: SigningKey) -> None:
        self.key = key

    def __call__(
        self,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        key: SigningKey | None = None,
    ) -> str:
        """Sign a good token with *claims* and *header* written over it."""
        key = key or self.key
        return self.raw(to_json(header_of(key, header)), to_json(claims_of(claims)), key)

    def raw(self, header: bytes, claims: bytes, key: SigningKey | None = None) -> str:
        """Sign two texts, whatever they are."""
        signing_input = f"{b64(header)}.{b64(claims)}"
        return f"{signing_input}.{b64((key or self.key).sign(signing_input.encode()))}"

    def signed(self, signing_input: str, key: SigningKey | None = None) -> str:
        """Sign two segments exactly as they are written."""
        return f"{signing_input}.{b64((key or self.key).sign(signing_input.encode()))}"


def header_of(key: SigningKey, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return _overridden({"alg": key.alg, "kid": key.kid, "typ": "at+jwt"}, overrides)


def claims_of(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    good = {
        "iss": ISSUER,
        "sub": "u_alice",
        "uid": "u_alice",
        "aud": [AUDIENCE, "photos"],
        "iat": NOW,
        "nbf": NOW,
        "exp": NOW + 900,
        "jti": "t_1",
        "sid": "s_1",
        "scope": "notes:read notes:write",
        "client_id": "foxtrot",
        "auth_time": NOW,
    }
    return _overridden(good, overrides)


def _overridden(good: dict[str, Any], overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        name: value for name, value in (good | dict(overrides or {})).items() if value is not ABSENT
    }


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def refusal_of(verifier: Verifier, text: Any) -> InvalidToken:
    """Have a token refused, and give the refusal."""
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(text)
    return caught.value


class CountingSource:
    """A key source of somebody else's making, which counts how often it is asked."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = {key.kid: Key.from_jwk(key.jwk) for key in keys}
        self.algorithms = frozenset(key.alg for key in keys)
        self.generation = 0
        self.asked: list[tuple[str | None, str]] = []

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        self.asked.append((kid, algorithm))
        key = self.keys.get(kid or "")
        return key if key is not None and key.algorithm == algorithm else None

    def withdraw(self, kid: str) -> None:
        del self.keys[kid]
        self.generation += 1


ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

GOOD_HEADER: Final = b'"alg":"ES256","kid":"es-1","typ":"at+jwt"'
"""The members of a good header without the braces around them."""


def good_claims() -> bytes:
    """The members of good claims without the braces around them."""
    return to_json(claims_of())[1:-1]


def accepted(verifier: Verifier, tokens: Iterable[str]) -> list[str]:
    """Give those of many tokens that are believed; there should be none."""
    return [text for text in tokens if is_accepted(verifier, text)]


def is_accepted(verifier: Verifier, text: str) -> bool:
    try:
        verifier.verify(text)
    except InvalidToken:
        return False
    return True


def with_signature(text: str, signature: bytes) -> str:
    return text.rpartition(".")[0] + "." + b64(signature)


def signature_of(text: str) -> bytes:
    return unb64(text.rpartition(".")[2])


def flipped(raw: bytes, bit: int) -> bytes:
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def certificate_of(key: SigningKey, host: str = "127.0.0.1") -> bytes:
    """Have a key certify itself for an address, in PEM."""
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    public, name = key.private.public_key(), x509.Name([])
    address = x509.IPAddress(ipaddress.ip_address(host))
    start = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(public)
    builder = builder.serial_number(1).not_valid_before(start)
    builder = builder.not_valid_after(start.replace(year=2090))
    for extension, critical in (
        (x509.SubjectAlternativeName([address]), True),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.SubjectKeyIdentifier.from_public_key(public), False),
    ):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key.private, SHA256()).public_bytes(Encoding.PEM)
