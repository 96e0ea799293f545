"""Each class of Wycheproof's vectors for JSON Web Keys, with keys of our own.

The names in backquotes are those of `json_web_key_test.json`, and of the groups of
`json_web_signature_test.json` whose fault is in the key. A key that must not be used
is refused when it is loaded, long before a token comes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foxtrot import JWKSet, PublicKey, SharedSecret, UnusableKey, Verifier, WeakKey
from foxtrot.jwk import Key
from foxtrot.keys import load_jwk_set
from foxtrot.signature import check
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    Clock,
    Mint,
    SigningKey,
    b64,
    b64_int,
    flipped,
    make_hs256,
    make_rs256,
    refusal_of,
    unb64,
    with_signature,
)

OCT = {"kty": "oct", "kid": "hs-1", "use": "sig", "alg": "HS256", "k": b64(bytes(range(32)))}

WRONG: dict[str, dict[str, Any]] = {
    "rejectsWrongUse": {"use": "enc"},
    "rejectsWrongUse, no alg": {"use": "enc", "alg": ABSENT},
    "rejectWrongKeyOps": {"use": ABSENT, "alg": ABSENT, "key_ops": ["encrypt"]},
    "rejectWrongKeyOps, private": {"use": ABSENT, "alg": ABSENT, "key_ops": ["encrypt", "decrypt"]},
    "key_ops in one string": {"use": ABSENT, "key_ops": ["sign, verify"]},
    "wrong_algorithm": {"alg": "ES521"},
    "invalid_algorithm": {"alg": "ES224"},
    "encryption algorithm": {"alg": "RSA1_5", "use": "enc"},
    "wrong_curve": {"crv": "P-384"},
    "wrong_kty": {"kty": "RSA"},
    "rejectsAesKey, A256GCM": OCT | {"alg": "A256GCM"},
    "rejectsAesKey, A256KW": OCT | {"alg": "A256KW"},
}


def changed(key: SigningKey, changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (key.jwk | changes).items() if value is not ABSENT}


@pytest.mark.parametrize("why", WRONG)
def test_a_key_for_something_else_is_refused(why: str, es_key: SigningKey) -> None:
    """Another use, other operations, another algorithm, curve or type."""
    jwk = changed(es_key, WRONG[why])
    with pytest.raises(UnusableKey):
        Key.from_jwk(jwk)
    with pytest.raises(UnusableKey):
        JWKSet({"keys": [jwk]})


def test_a_point_that_is_not_on_the_curve_is_refused(es_key: SigningKey) -> None:
    """`invalid_point`: one bit of y is wrong."""
    y = flipped(unb64(es_key.jwk["y"]), 255)
    with pytest.raises(UnusableKey):
        Key.from_jwk(changed(es_key, {"y": b64(y)}))


@pytest.mark.parametrize("name", ["es_key", "rs_key", "ed_key"])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"use": ABSENT, "key_ops": ["verify"]},
        {"use": ABSENT, "key_ops": ["sign", "verify"]},
        {"key_ops": ["verify"]},
        {"use": ABSENT, "alg": ABSENT},
    ],
    ids=str,
)
def test_a_key_for_verifying_is_accepted(
    name: str, members: dict[str, Any], mint: Mint, request: pytest.FixtureRequest
) -> None:
    """`rfc7520` and `rfc7520WithKeyOps`: by `use`, by `key_ops`, by both or neither."""
    key: SigningKey = request.getfixturevalue(name)
    assert check(mint(key=key), JWKSet({"keys": [changed(key, members)]}))


# Sets


def test_a_set_of_secret_and_public_keys_is_refused(es_key: SigningKey) -> None:
    """`MixedKeySet`: a token could choose which of the two kinds verifies it."""
    with pytest.raises(UnusableKey, match="secret"):
        load_jwk_set({"keys": [OCT, es_key.jwk]})


def test_a_set_with_two_keys_of_one_name_is_refused(es_key: SigningKey, rs_key: SigningKey) -> None:
    """`DuplicateKid`, of one kind and of two."""
    for other in (es_key, rs_key):
        with pytest.raises(UnusableKey, match="two keys"):
            load_jwk_set({"keys": [es_key.jwk, other.jwk | {"kid": es_key.kid}]})


def test_a_set_of_secrets_is_refused_and_two_shared_secrets_are_not(
    mint: Mint, clock: Clock
) -> None:
    """`jws_keyset`: valid there; here a secret is configured by itself, never in a set."""
    with pytest.raises(UnusableKey, match="secret"):
        load_jwk_set({"keys": [OCT, OCT | {"kid": "hs-2"}]})
    one, two = make_hs256("hs-1"), make_hs256("hs-2")
    sources = [SharedSecret(key.private, key.kid) for key in (one, two)]  # type: ignore[arg-type]
    verifier = Verifier(ISSUER, AUDIENCE, keys=sources, clock=clock)
    assert all(verifier.verify(mint(key=key)) for key in (one, two))
    forged = with_signature(mint(key=one), bytes(32))
    assert refusal_of(verifier, forged).reason == "bad_signature"


# Secrets


@pytest.mark.parametrize("length", [0, 1, 31])
def test_a_secret_that_is_too_short_is_refused(length: int) -> None:
    """`empty_key` and `key_too_short`: theirs has 31 bytes too."""
    with pytest.raises(WeakKey):
        SharedSecret(bytes(range(1, length + 1)))


@pytest.mark.parametrize("length", [32, 65])
def test_a_secret_that_is_long_enough_is_accepted(length: int, mint: Mint) -> None:
    """`long_key`: 65 bytes are more than a block of SHA-256 and are hashed first."""
    raw = bytes(range(1, length + 1))
    text = mint(key=SigningKey("hs-1", "HS256", raw))
    assert check(text, SharedSecret(raw))


# RSA


def public_of(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def rsa_jwk(modulus: int, exponent: int = 65537) -> dict[str, Any]:
    members = {"kty": "RSA", "n": b64_int(modulus), "e": b64_int(exponent)}
    return members | {"kid": "rs-1", "use": "sig", "alg": "RS256"}


def refuse_modulus(modulus: int, match: str) -> None:
    """Have a modulus refused as a JWK and in PEM."""
    with pytest.raises(WeakKey, match=match):
        Key.from_jwk(rsa_jwk(modulus))
    spki = PublicFormat.SubjectPublicKeyInfo
    with pytest.raises(WeakKey, match=match):
        PublicKey(public_of(modulus).public_bytes(Encoding.PEM, spki))


def test_an_rsa_key_of_1024_bits_is_refused() -> None:
    """`keysize_too_small`."""
    refuse_modulus((1 << 1023) + 1, "1024")


def test_an_rsa_key_with_the_exponent_1_is_refused(rs_key: SigningKey) -> None:
    """`exponentOne`: the signature of every message is its padding, without any key."""
    with pytest.raises(UnusableKey):
        Key.from_jwk(rs_key.jwk | {"e": "AQ"})


PRIMES = [n for n in range(2, 702) if all(n % divisor for divisor in range(2, n))]


def roca(power: int, multiple: int) -> int:
    """A modulus as the faulty hardware makes them, odd and of 2048 bits or more."""
    product = prod(PRIMES)
    return pow(65537, power, product) + product * (2 * multiple + (1 << 1080))


@pytest.mark.parametrize(("power", "multiple"), [(0, 0), (1, 5), (12345678901234567, 1 << 1000)])
def test_an_rsa_key_that_can_be_factored_is_refused(power: int, multiple: int) -> None:
    """`jws_rsa_roca_key`: CVE-2017-15361."""
    refuse_modulus(roca(power, multiple), "CVE-2017-15361")


@pytest.mark.parametrize("prime", [11, 13, 17, 19, 37, 499, 683, 701])
def test_an_rsa_key_that_only_looks_like_one_is_accepted(prime: int) -> None:
    """One prime modulo which it is no power of 65537 tells it apart, be it the last."""
    powers = {pow(65537, exponent, prime) for exponent in range(prime)}
    others, modulus = prod(PRIMES) // prime, roca(99, 7)
    if len(powers) == prime - 1:  # every number but zero is a power
        powers = set(range(1, prime))
    modulus = next(m for k in range(prime) if (m := modulus + 2 * k * others) % prime not in powers)
    assert Key.from_jwk(rsa_jwk(modulus)).algorithm == "RS256"


@pytest.mark.parametrize("bits", [2048, 3072])
def test_an_rsa_key_of_today_is_accepted(bits: int, mint: Mint) -> None:
    """A key made by anything else verifies what it signed."""
    key = make_rs256(bits=bits)
    assert check(mint(key=key), JWKSet({"keys": [key.jwk]}))
