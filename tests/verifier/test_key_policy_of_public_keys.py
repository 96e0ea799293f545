"""Which public keys are refused when they are loaded, alone in PEM or in a JWK Set."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from foxtrot import JWKSet, PublicKey, UnusableKey, WeakKey
from foxtrot.jwk import Key, public_jwk
from foxtrot.keys import load_jwk_set
from foxtrot.signature import check
from tests.verifier.minting import (
    ABSENT,
    Mint,
    SigningKey,
    b64,
    b64_int,
    certificate_of,
    jwk_members,
    make_es256,
    unb64,
)

GOOD_SECRET = "Zk8vQ2xT7mPq4RjW9sLc1YbN6hFdKe3U"

# Public keys in PEM


@pytest.mark.parametrize(
    ("name", "algorithm"), [("es_key", "ES256"), ("ed_key", "EdDSA"), ("rs_key", "RS256")]
)
@pytest.mark.parametrize("as_text", [True, False])
def test_the_algorithm_follows_from_the_public_key(
    name: str, algorithm: str, as_text: bool, request: pytest.FixtureRequest
) -> None:
    """A key is bound to one algorithm when it is loaded, from text or bytes."""
    pem: bytes = request.getfixturevalue(name).pem
    assert PublicKey(pem.decode() if as_text else pem).algorithms == {algorithm}


def public_pem(private: Any) -> bytes:
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(pem, bytes)
    return pem


@pytest.mark.parametrize(
    "curve", [ec.SECP224R1(), ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1(), ec.BrainpoolP256R1()]
)
def test_a_public_key_on_another_curve_is_refused(curve: ec.EllipticCurve) -> None:
    """ES256 means P-256, not a curve of the same size."""
    with pytest.raises(UnusableKey):
        PublicKey(public_pem(ec.generate_private_key(curve)))


@pytest.mark.parametrize(
    "make",
    [ed448.Ed448PrivateKey.generate, x25519.X25519PrivateKey.generate],
    ids=["Ed448", "X25519"],
)
def test_a_public_key_of_another_kind_is_refused(make: Callable[[], Any]) -> None:
    """Neither a signature that nobody offers here nor a key for agreement."""
    with pytest.raises(UnusableKey):
        PublicKey(public_pem(make()))


def test_a_dsa_public_key_is_refused() -> None:
    """No JOSE algorithm uses DSA."""
    with pytest.raises(UnusableKey):
        PublicKey(public_pem(dsa.generate_private_key(1024)))


def rsa_public_pem(bits: int, exponent: int = 65537) -> bytes:
    """A modulus of that size, without the work of finding its factors."""
    numbers = rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 1)
    return numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("bits", [1024, 2047, 8193, 16384])
def test_an_rsa_key_of_a_wrong_size_is_weak(bits: int) -> None:
    """Below 2048 bits it can be factored, above 8192 it keeps the processor busy."""
    with pytest.raises(WeakKey, match=str(bits)):
        PublicKey(rsa_public_pem(bits))


@pytest.mark.parametrize("bits", [2048, 3072, 8192])
def test_an_rsa_key_of_a_right_size_is_good(bits: int) -> None:
    """Both limits are inside."""
    assert PublicKey(rsa_public_pem(bits)).algorithms == {"RS256"}


@pytest.mark.parametrize("exponent", [3, 5, 17, 65539])
def test_an_rsa_key_with_another_exponent_is_weak(exponent: int) -> None:
    """The public exponent is 65537, small ones have a history."""
    with pytest.raises(WeakKey, match="65537"):
        PublicKey(rsa_public_pem(2048, exponent))


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_private_key_is_refused_with_the_way_out(form: PrivateFormat, es_key: SigningKey) -> None:
    """A service that verifies must not hold what signs; the message names the command."""
    assert isinstance(es_key.private, ec.EllipticCurvePrivateKey)
    pem = es_key.private.private_bytes(Encoding.PEM, form, NoEncryption())
    with pytest.raises(UnusableKey, match="openssl pkey -pubout"):
        PublicKey(pem)


def test_a_certificate_is_not_a_public_key(es_key: SigningKey) -> None:
    """A certificate says more than a key, and nothing here would check it."""
    with pytest.raises(UnusableKey):
        PublicKey(certificate_of(es_key))


@pytest.mark.parametrize(
    "pem", ["", b"", "-----BEGIN PUBLIC KEY-----", "AAAA", b"\xff\xfe", GOOD_SECRET, "\ud800"]
)
def test_what_is_no_pem_is_refused(pem: str | bytes) -> None:
    """A path, a secret or half a file is not a key."""
    with pytest.raises(UnusableKey):
        PublicKey(pem)


@pytest.mark.parametrize("pem", [None, 5, ["-----BEGIN PUBLIC KEY-----"]], ids=repr)
def test_a_pem_is_text_or_bytes(pem: Any) -> None:
    """Anything else is a mistake in the configuration, and is called that."""
    with pytest.raises(UnusableKey):
        PublicKey(pem)


def test_a_truncated_pem_is_refused(es_key: SigningKey) -> None:
    """Half a file does not make half a key."""
    with pytest.raises(UnusableKey):
        PublicKey(es_key.pem[: len(es_key.pem) // 2])


# Keys in a JWK Set


def jwk(key: SigningKey, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (key.jwk | changes).items() if value is not ABSENT}


P384 = jwk_members(ec.generate_private_key(ec.SECP384R1()).public_key())
K256 = jwk_members(ec.generate_private_key(ec.SECP256K1()).public_key())
X25519 = {"kty": "OKP", "crv": "X25519", "x": b64(bytes(range(32)))}
ED448 = {"kty": "OKP", "crv": "Ed448", "x": b64(bytes(57))}
RSA_1024 = {"kty": "RSA", "n": b64_int((1 << 1023) + 1), "e": "AQAB"}
RSA_16384 = {"kty": "RSA", "n": b64_int((1 << 16383) + 1), "e": "AQAB"}
RSA_E_3 = {"kty": "RSA", "n": b64_int((1 << 2047) + 1), "e": "Aw"}

P256_OID = bytes.fromhex("2a8648ce3d030107")

USELESS: dict[str, dict[str, Any]] = {
    "no kid": {"kid": ABSENT},
    "empty kid": {"kid": ""},
    "kid of another type": {"kid": 5},
    "kid null": {"kid": None},
    "for encryption": {"use": "enc"},
    "use of another type": {"use": ["sig"]},
    "use null": {"use": None},
    "for signing only": {"key_ops": ["sign"]},
    "for agreement": {"key_ops": ["deriveKey"]},
    "no operations": {"key_ops": []},
    "operations as text": {"key_ops": "verify"},
    "another algorithm of the type": {"alg": "ES384"},
    "an algorithm of another type": {"alg": "RS256"},
    "an encryption algorithm": {"alg": "ECDH-ES"},
    "a secret's algorithm": {"alg": "HS256"},
    "no algorithm": {"alg": "none"},
    "empty algorithm": {"alg": ""},
    "algorithm of another type": {"alg": ["ES256"]},
    "algorithm null": {"alg": None},
    "algorithm zero": {"alg": 0},
    "unknown type": {"kty": "XYZ"},
    "type of another case": {"kty": "ec"},
    "no type": {"kty": ABSENT},
    "type no text, for nothing in particular": {"kty": ["EC"], "alg": ABSENT},
    "no curve": {"crv": ABSENT},
    "no x": {"x": ABSENT},
    "no y": {"y": ABSENT},
    "x not text": {"x": 5},
    "x not base64": {"x": "!" * 43},
    "x of a lone surrogate": {"x": "\ud800"},
    "not on the curve": {"x": b64(bytes(31) + b"\x01"), "y": b64(bytes(31) + b"\x01")},
    "the origin": {"x": b64(bytes(32)), "y": b64(bytes(32))},
    "short coordinates": {"x": b64(bytes(31)), "y": b64(bytes(31))},
    "another curve": {"alg": "ES256", **P384},
    "another curve unnamed": {"alg": ABSENT, **P384},
    "another curve under a false name": {"alg": "ES256", **P384, "crv": "P-256"},
    "the curve of bitcoin": {"alg": "ES256", **K256},
    "the curve of bitcoin under a false name": {"alg": "ES256", **K256, "crv": "P-256"},
    "X25519": {"alg": "EdDSA", **X25519},
    "Ed448": {"alg": "EdDSA", **ED448},
    "short Ed25519": {"alg": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
    "RSA of 1024 bits": {"alg": "RS256", **RSA_1024},
    "RSA of 16384 bits": {"alg": "RS256", **RSA_16384},
    "RSA with exponent 3": {"alg": "RS256", **RSA_E_3},
    "RSA for PSS": {"alg": "PS256", "kty": "RSA", "n": b64_int((1 << 2047) + 1), "e": "AQAB"},
    "RSA without modulus": {"alg": "RS256", "kty": "RSA", "e": "AQAB"},
    "a secret half without d": {"p": "AQ", "q": "AQ"},
}


@pytest.mark.parametrize("why", USELESS)
def test_a_key_that_is_no_use_here_is_refused(why: str, es_key: SigningKey) -> None:
    """What a key must not be used for is asked once, when it is loaded."""
    with pytest.raises(UnusableKey):
        Key.from_jwk(jwk(es_key, **USELESS[why]))


@pytest.mark.parametrize("why", USELESS)
def test_a_key_that_is_no_use_here_does_not_hide_a_good_one(
    why: str, es_key: SigningKey, mint: Mint
) -> None:
    """RFC 7517 section 5: the rest of the set stays in use."""
    good = make_es256("good")
    keys = JWKSet({"keys": [jwk(es_key, **USELESS[why]), good.jwk]})
    assert check(mint(key=good), keys)


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_key_with_a_private_member_is_refused_for_it(member: str, es_key: SigningKey) -> None:
    """RFC 7518 section 6: whatever its type, what only its owner may know is named."""
    with pytest.raises(UnusableKey, match=rf"private members \({member}\)"):
        Key.from_jwk(jwk(es_key, **{member: "AQ"}))


def test_a_key_of_another_type_is_refused_for_it(es_key: SigningKey) -> None:
    """The type is compared with the algorithm before anything in the key is read."""
    with pytest.raises(UnusableKey, match="of another key type"):
        Key.from_jwk(jwk(es_key, alg="RS256"))


def test_keys_are_the_same_if_all_of_them_is(es_key: SigningKey) -> None:
    """By this an issuer's withdrawn key is noticed."""
    key, other = Key.from_jwk(es_key.jwk), make_es256(es_key.kid)
    assert key == Key.from_jwk(es_key.jwk)
    assert key != Key.from_jwk(other.jwk)
    assert key != Key.from_jwk(jwk(es_key, kid="es-2"))
    assert key != es_key.jwk


def test_a_key_of_a_curve_that_nobody_knows_is_refused(es_key: SigningKey) -> None:
    """It can be parsed and not used."""
    spki = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    der = es_key.public.public_bytes(*spki).replace(P256_OID, P256_OID[:-1] + b"\x7f")
    body = b64encode(der).decode()
    with pytest.raises(UnusableKey):
        PublicKey(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")


def test_a_key_that_is_passed_over_is_told_in_the_log(
    es_key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator learns which key and why."""
    with caplog.at_level(logging.WARNING, "foxtrot"):
        JWKSet({"keys": [jwk(es_key, kid="old", use="enc"), es_key.jwk]})
    assert "'old' is not for signatures" in caplog.text
    assert {record.name for record in caplog.records} == {"foxtrot"}


@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key"])
@pytest.mark.parametrize("absent", [["alg"], ["use"], ["alg", "use"]], ids="+".join)
def test_a_key_without_alg_and_use_is_for_the_algorithm_of_its_type(
    name: str, absent: list[str], request: pytest.FixtureRequest
) -> None:
    """Both members are optional; the key is bound to one algorithm all the same."""
    key: SigningKey = request.getfixturevalue(name)
    assert Key.from_jwk(jwk(key, **dict.fromkeys(absent, ABSENT))).algorithm == key.alg


@pytest.mark.parametrize(
    "unknown", [{"x5t": "abc"}, {"x5u": "https://evil.example/"}, {"x5c": 5}, {"exp": 0}]
)
def test_members_that_are_not_understood_are_ignored(
    unknown: dict[str, Any], es_key: SigningKey
) -> None:
    """RFC 7517 section 4; nothing is fetched for them either."""
    assert Key.from_jwk(jwk(es_key, **unknown)).kid == "es-1"


@pytest.mark.parametrize(
    "extra",
    [
        {"kty": "oct", "kid": "s", "k": "c2VjcmV0"},
        {"kty": "oct", "kid": "s"},
        {"kty": "EC", "kid": "s", "d": "AQAB"},
        {"kty": "RSA", "d": "AQAB"},
        {"d": None},
    ],
    ids=repr,
)
def test_a_set_with_a_secret_in_it_is_refused_whole(
    extra: dict[str, Any], es_key: SigningKey
) -> None:
    """An issuer that publishes secrets has lost them, and perhaps the rest too."""
    with pytest.raises(UnusableKey, match="secret"):
        JWKSet({"keys": [es_key.jwk, extra]})


def test_a_set_with_two_keys_of_one_name_is_refused_whole(es_key: SigningKey) -> None:
    """Which of the two a token means cannot be known."""
    with pytest.raises(UnusableKey, match="two keys named"):
        JWKSet({"keys": [es_key.jwk, make_es256("other").jwk, make_es256("es-1").jwk]})


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": None},
        {"keys": {}},
        {"keys": "es-1"},
        {"keys": [None]},
        {"keys": ["es-1"]},
        {"keys": [[]]},
        {"Keys": []},
        [],
        None,
        5,
        "",
        "null",
        "[]",
        "{",
        b"\xff\xfe\x00",
        '{"keys":' + "[" * 100_000,
    ],
    ids=lambda jwks: repr(jwks)[:20],
)
def test_what_is_not_a_set_is_refused(jwks: Any) -> None:
    """Nothing is guessed from half a document."""
    with pytest.raises(UnusableKey):
        JWKSet(jwks)


def test_a_set_without_a_usable_key_is_refused(es_key: SigningKey) -> None:
    """A verifier that could accept nothing is a mistake in the configuration."""
    with pytest.raises(UnusableKey, match="no key"):
        JWKSet({"keys": [jwk(es_key, use="enc")]})


def test_a_set_is_empty_or_has_a_usable_key(es_key: SigningKey) -> None:
    """An issuer that withdrew all keys says so; one whose keys are all useless is broken."""
    assert load_jwk_set({"keys": []}) == {}
    with pytest.raises(UnusableKey, match="no key"):
        load_jwk_set({"keys": [jwk(es_key, use="enc")]})


def test_keys_without_a_name_do_not_share_one(es_key: SigningKey) -> None:
    """Two of them are passed over, and spoil the set for nobody."""
    nameless = jwk(make_es256(), kid=ABSENT)
    assert load_jwk_set({"keys": [nameless, nameless, es_key.jwk]}).keys() == {"es-1"}


def test_an_empty_set_is_refused() -> None:
    """The same for a set without any key."""
    with pytest.raises(UnusableKey, match="no key"):
        JWKSet({"keys": []})


@pytest.mark.parametrize(("count", "good"), [(100, True), (101, False)])
def test_a_set_has_a_bounded_number_of_keys(count: int, good: bool, es_key: SigningKey) -> None:
    """A hundred keys are enough for anybody; more keep the processor busy."""
    entries = [jwk(es_key, kid=f"k{number}") for number in range(count)]
    if good:
        assert JWKSet({"keys": entries}).algorithms == {"ES256"}
    else:
        with pytest.raises(UnusableKey, match="more than"):
            JWKSet({"keys": entries})


@pytest.mark.parametrize("as_text", [True, False])
def test_a_set_is_read_from_text_too(as_text: bool, es_key: SigningKey, mint: Mint) -> None:
    """A set that was saved to a file needs no parsing first."""
    text = json.dumps({"keys": [es_key.jwk]})
    assert check(mint(), JWKSet(text if as_text else text.encode()))


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA", "ES384"])
def test_a_key_is_not_found_for_another_algorithm(
    algorithm: str, keys: JWKSet, es_key: SigningKey
) -> None:
    """The name fits, the algorithm does not: there is no such key."""
    assert keys.find(es_key.kid, algorithm) is None
    assert PublicKey(es_key.pem).find(es_key.kid, algorithm) is None


# Keys as they are published

RFC_7638 = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP"
    "ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY"
    "368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0f"
    "M4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def test_the_name_of_an_rsa_key_is_its_thumbprint() -> None:
    """The example of RFC 7638 section 3.1."""
    modulus = int.from_bytes(unb64(RFC_7638), "big")
    published = public_jwk(rsa.RSAPublicNumbers(65537, modulus).public_key(), "RS256")
    assert published["kid"] == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_name_of_an_ed25519_key_is_its_thumbprint() -> None:
    """The example of RFC 8037 appendix A.3."""
    raw = unb64("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    published = public_jwk(ed25519.Ed25519PublicKey.from_public_bytes(raw), "EdDSA")
    assert published["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key"])
def test_a_published_key_has_public_members_only(name: str, request: pytest.FixtureRequest) -> None:
    """What RFC 7638 needs, and what it is for; nothing of the private half."""
    key: SigningKey = request.getfixturevalue(name)
    published = public_jwk(key.public, key.alg)
    assert published == key.jwk | {"kid": published["kid"]}


@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key"])
def test_a_published_key_is_one_that_verifies(
    name: str, request: pytest.FixtureRequest, mint: Mint
) -> None:
    """What the issuer writes, a service can read."""
    key: SigningKey = request.getfixturevalue(name)
    published = public_jwk(key.public, key.alg)
    text = mint(header={"kid": published["kid"]}, key=key)
    assert check(text, JWKSet({"keys": [published]})).claims["sub"] == "u_alice"


def test_coordinates_are_published_in_full_length() -> None:
    """RFC 7518 section 6.2.1.2: a coordinate that begins with zeros keeps them."""
    keys = (ec.derive_private_key(secret, ec.SECP256R1()) for secret in range(1, 5000))
    short = next(key for key in keys if key.public_key().public_numbers().x < 1 << 248)
    published = public_jwk(short.public_key(), "ES256")
    assert [len(unb64(published[name])) for name in ("x", "y")] == [32, 32]
    assert Key.from_jwk(published).algorithm == "ES256"
