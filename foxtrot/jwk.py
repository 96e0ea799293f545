"""One verification key, and the policy it has to pass when it is loaded.

PyJWT does the cryptography; what it does not ask of a key is asked here, once,
at load time: which single algorithm it is for, whether it is long enough,
whether it was meant for signatures (RFC 7517 sections 4.2 and 4.3), whether it
is public. RFC 7518 section 3 gives the sizes, RFC 8725 section 3 the reasons.
"""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.algorithms import (
    Algorithm,
    ECAlgorithm,
    HMACAlgorithm,
    OKPAlgorithm,
    RSAAlgorithm,
)
from jwt.exceptions import InvalidKeyError

from foxtrot.errors import UnusableKey, WeakKey
from foxtrot.roca import is_roca
from foxtrot.secret_policy import refuse_encoded_public_key, refuse_weak_secret, secret_bytes

MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192

_ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "ES256": ECAlgorithm(ECAlgorithm.SHA256, SECP256R1),
    "EdDSA": OKPAlgorithm(),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "HS256": HMACAlgorithm(HMACAlgorithm.SHA256),
}

PUBLIC_KEY_ALGORITHMS: Final = frozenset({"ES256", "EdDSA", "RS256"})

_KEY_TYPES: Final = {"ES256": "EC", "EdDSA": "OKP", "RS256": "RSA"}

_REQUIRED_MEMBERS: Final = {
    "EC": ("kty", "crv", "x", "y"),
    "OKP": ("kty", "crv", "x"),
    "RSA": ("kty", "e", "n"),
}

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class Key:
    """A key that verifies signatures of exactly one algorithm.

    Made by `Key.from_secret`, `Key.from_pem` or `Key.from_jwk`, never directly.
    """

    __slots__ = ("_algorithm", "_material", "algorithm", "kid")

    def __init__(self, algorithm: str, material: Any, kid: str | None) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self._algorithm = _ALGORITHMS[algorithm]
        self._material = material

    def __repr__(self) -> str:
        return f"<Key {self.algorithm} kid={self.kid!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Key):
            return NotImplemented
        mine, theirs = (self.algorithm, self.kid), (other.algorithm, other.kid)
        return mine == theirs and bool(self._material == other._material)

    def __hash__(self) -> int:
        return hash((self.algorithm, self.kid))

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        """Say whether *signature* was made over *signing_input* by this key's owner."""
        try:
            return self._algorithm.verify(signing_input, self._material, signature)
        except (InvalidSignature, ValueError, TypeError):
            return False

    @classmethod
    def from_secret(cls, secret: str | bytes, kid: str | None = None) -> Key:
        """Load a shared secret for HS256.

        :raises WeakKey: shorter than 32 bytes, repetitive, or publicly known.
        :raises UnusableKey: it is no secret but a public key, a certificate or a JWK.
        """
        material = secret_bytes(secret)
        refuse_encoded_public_key(material)
        refuse_weak_secret(material)
        return cls("HS256", material, kid)

    @classmethod
    def from_unjudged_secret(cls, secret: str | bytes) -> Key:
        """Load a shared secret whose strength is nobody's business here.

        Only `foxtrot.signature.check` uses it; a `Verifier` has no way to.
        """
        return cls("HS256", secret_bytes(secret), None)

    @classmethod
    def from_pem(cls, pem: str | bytes, kid: str | None = None) -> Key:
        """Load a public key in PEM (SubjectPublicKeyInfo).

        The algorithm follows from the key: P-256 is ES256, Ed25519 is EdDSA,
        RSA is RS256.

        :raises UnusableKey: not a public key in PEM, or of a kind not listed above.
        :raises WeakKey: an RSA key below 2048 bits, with an odd exponent or of a known fault.
        """
        text = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
        if not isinstance(text, bytes):
            raise UnusableKey("A public key in PEM is a string or bytes.")
        if b"PRIVATE KEY" in text:
            raise UnusableKey(
                "This is a private key. A service that verifies tokens must hold only the"
                " public half: export it with `openssl pkey -pubout`."
            )
        try:
            material = load_pem_public_key(text)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise UnusableKey(f"This is not a public key in PEM: {error}") from None
        return cls(_algorithm_of(material), material, kid)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Key:
        """Load a public JSON Web Key (RFC 7517) that is meant for verifying signatures.

        :raises UnusableKey: private or symmetric, of another use, without `kid`,
            of an unknown type, or its `alg` does not fit its type.
        :raises WeakKey: an RSA key below 2048 bits, with an odd exponent or of a known fault.
        """
        kid = jwk.get("kid")
        if not isinstance(kid, str) or not kid:
            raise UnusableKey("A key in a JWK Set needs a `kid` that is a non-empty string.")
        if secret_members := _PRIVATE_MEMBERS & jwk.keys():
            names = ", ".join(sorted(secret_members))
            raise UnusableKey(f"Key {kid!r} carries private members ({names}).")
        if jwk.get("use", "sig") != "sig":
            raise UnusableKey(f"Key {kid!r} is not for signatures (its `use` is not `sig`).")
        operations = jwk.get("key_ops", ["verify"])
        if not isinstance(operations, list) or "verify" not in operations:
            raise UnusableKey(f"Key {kid!r} is not for verifying (`key_ops` lacks `verify`).")
        return cls._from_public_jwk(jwk, kid)

    @classmethod
    def _from_public_jwk(cls, jwk: Mapping[str, Any], kid: str) -> Key:
        algorithm = jwk["alg"] if "alg" in jwk else _algorithm_by_type(jwk)
        if not isinstance(algorithm, str) or algorithm not in PUBLIC_KEY_ALGORITHMS:
            raise UnusableKey(f"Key {kid!r} is for an algorithm that is not supported.")
        if jwk.get("kty") != _KEY_TYPES[algorithm]:
            raise UnusableKey(f"Key {kid!r} is for {algorithm} but of another key type.")
        try:
            material = _ALGORITHMS[algorithm].from_jwk(dict(jwk))
        except (InvalidKeyError, ValueError, TypeError, KeyError) as error:
            raise UnusableKey(f"Key {kid!r} cannot be read: {error}") from None
        if _algorithm_of(material) != algorithm:
            raise UnusableKey(f"Key {kid!r} lies on a curve that {algorithm} does not use.")
        return cls(algorithm, material, kid)


def public_jwk(material: Any, algorithm: str) -> dict[str, Any]:
    """Write a public key as a JWK for signatures, named by its thumbprint (RFC 7638)."""
    members = _ALGORITHMS[algorithm].to_jwk(material, as_dict=True)
    members = {name: members[name] for name in _REQUIRED_MEMBERS[members["kty"]]}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    kid = urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
    return {**members, "kid": kid, "use": "sig", "alg": algorithm}


def _algorithm_by_type(jwk: Mapping[str, Any]) -> str | None:
    by_type = {kty: algorithm for algorithm, kty in _KEY_TYPES.items()}
    kty = jwk.get("kty")
    return by_type.get(kty) if isinstance(kty, str) else None


def _algorithm_of(material: object) -> str:
    """Name the one algorithm that a public key is for, or refuse it."""
    if isinstance(material, EllipticCurvePublicKey) and isinstance(material.curve, SECP256R1):
        return "ES256"
    if isinstance(material, Ed25519PublicKey):
        return "EdDSA"
    if isinstance(material, RSAPublicKey):
        _refuse_weak_rsa(material)
        return "RS256"
    raise UnusableKey("Only P-256, Ed25519 and RSA public keys are supported.")


def _refuse_weak_rsa(material: RSAPublicKey) -> None:
    if not MIN_RSA_BITS <= material.key_size <= MAX_RSA_BITS:
        raise WeakKey(
            f"An RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits; this one has"
            f" {material.key_size}."
        )
    if material.public_numbers().e != 65537:
        raise WeakKey("An RSA key must have the public exponent 65537.")
    if is_roca(material.public_numbers().n):
        raise WeakKey(
            "This RSA key comes from hardware whose keys can be factored (CVE-2017-15361)."
            " Make one with `openssl genpkey`."
        )
