"""Sign JSON Web Tokens by hand, rightly and wrongly (RFC 7515 section 5.1).

A JWT library refuses to make most of what an attacker makes. Here header and
claims are written as they are given, and only the mathematics of signing comes
from the libraries. For tests and for `flask tokens attack`; never for real tokens.
"""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurve,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from foxtrot.jwk import public_jwk

PrivateKey = EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey | bytes

_ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "EdDSA": OKPAlgorithm(),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
}


@dataclass(frozen=True)
class Signer:
    """A private key, or the bytes of a shared secret, and what its tokens say of it.

    :param algorithm: `alg`: ES256, EdDSA, RS256, or HS256 for a shared secret.
    :param kid: the key's name; None leaves it out.
    """

    algorithm: str
    private_key: PrivateKey = field(repr=False)
    kid: str | None = None

    def sign(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Make a token of *claims*, with *header* written over a good header."""
        return self.sign_bytes(to_json(self.header(header)), to_json(claims))

    def sign_bytes(self, header: bytes, claims: bytes) -> str:
        """Make a token of two texts, whatever they are."""
        signing_input = f"{b64(header)}.{b64(claims)}"
        return f"{signing_input}.{b64(self.signature(signing_input.encode()))}"

    def header(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A good header, with *overrides* written over it; None leaves a member out."""
        members = {"alg": self.algorithm, "kid": self.kid, "typ": "at+jwt", **(overrides or {})}
        return {name: value for name, value in members.items() if value is not None}

    def signature(self, message: bytes) -> bytes:
        """Sign bytes as the algorithm says (RFC 7518 section 3)."""
        if isinstance(self.private_key, bytes):
            return hmac.digest(self.private_key, message, "sha256")
        return bytes(_ALGORITHMS[self.algorithm].sign(message, self.private_key))

    @property
    def is_secret(self) -> bool:
        """Say whether this is a shared secret, which has no public half."""
        return isinstance(self.private_key, bytes)

    def public_jwk(self) -> dict[str, Any]:
        """The public half as a JWK named `kid` (RFC 7517)."""
        jwk = public_jwk(self._public_key(), self.algorithm)
        return jwk if self.kid is None else {**jwk, "kid": self.kid}

    def public_pem(self) -> bytes:
        """The public half in PEM."""
        key = self._public_key()
        return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def public_der(self) -> bytes:
        """The public half in DER."""
        key = self._public_key()
        return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def _public_key(self) -> Any:
        if isinstance(self.private_key, bytes):
            raise TypeError("A shared secret has no public half.")
        return self.private_key.public_key()


def new_signer(kid: str, curve: EllipticCurve | None = None, algorithm: str = "ES256") -> Signer:
    """Make a key pair that nobody knows of."""
    return Signer(algorithm, generate_private_key(curve or SECP256R1()), kid)


def b64(raw: bytes) -> str:
    """Write bytes in base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Read base64url without padding."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_json(value: object) -> bytes:
    """Write JSON as tokens hold it."""
    return json.dumps(value, separators=(",", ":")).encode()


def claims_of(text: str) -> dict[str, Any]:
    """What a token says, unchecked."""
    return _members(text.split(".")[1])


def header_of(text: str) -> dict[str, Any]:
    """The header of a token, unchecked."""
    return _members(text.split(".")[0])


def _members(segment: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(unb64(segment))
    return members
