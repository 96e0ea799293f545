"""What an attacker sends: algorithms, keys and names of keys that prove nothing.

Where a token is signed at all it is signed with the real key, so that nothing but
the rule under test can refuse it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import select
import socket
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foxtrot import JWKSet, KeySource, PublicKey, SharedSecret, Verifier
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    Clock,
    CountingSource,
    Mint,
    SigningKey,
    b64,
    claims_of,
    header_of,
    is_accepted,
    make_es256,
    refusal_of,
    to_json,
    unb64,
    with_signature,
)

# Algorithms (TOK-1)

NONE = [
    "none",
    "None",
    "NONE",
    "nOnE",
    "noNe",
    " none",
    "none ",
    "none\n",
    "none\x00",
    "\x00none",
    "ｎｏｎｅ",
    "nоne",
    "n\u200bone",
    "",
    "null",
    "undefined",
    None,
    0,
    1,
    False,
    True,
    [],
    ["none"],
    ["ES256"],
    {},
    {"alg": "ES256"},
    ABSENT,
]


@pytest.mark.parametrize("signed", ["as before", "with nothing", "with a zero"])
@pytest.mark.parametrize("alg", NONE, ids=ascii)
def test_a_token_of_no_algorithm_is_refused(
    alg: object, signed: str, verifier: Verifier, mint: Mint
) -> None:
    """`none` never verifies, in no spelling, of no type, whatever stands as its signature."""
    text = mint(header={"alg": alg})
    if signed != "as before":
        text = with_signature(text, b"" if signed == "with nothing" else b"\0")
    assert refusal_of(verifier, text).reason in ("wrong_algorithm", "malformed")


def test_an_escaped_none_is_none(verifier: Verifier, mint: Mint) -> None:
    """JSON escapes change the spelling and not the string."""
    text = mint.raw(b'{"alg":"\\u006eone","kid":"es-1"}', to_json(claims_of()))
    assert refusal_of(verifier, text).reason == "wrong_algorithm"


@pytest.mark.parametrize(
    "alg",
    [
        "HS256",
        "HS384",
        "HS512",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "EdDSA2",
        "Ed25519",
        "Ed448",
        "es256",
        "Es256",
        "ES256 ",
        " ES256",
        "ES256\x00",
        "ES-256",
        "SHA256withECDSA",
        "RSA1_5",
        "RSA-OAEP",
        "dir",
        "A256GCM",
        "ECDH-ES",
        "RS256,none",
    ],
)
def test_an_algorithm_that_is_not_configured_is_refused(
    alg: str, verifier: Verifier, mint: Mint
) -> None:
    """The names are compared exactly, with a short list."""
    assert refusal_of(verifier, mint(header={"alg": alg})).reason == "wrong_algorithm"


@pytest.mark.parametrize("signer", ["es_key", "ed_key", "rs_key"])
@pytest.mark.parametrize("claimed", ["ES256", "EdDSA", "RS256"])
def test_a_key_serves_its_own_algorithm_alone(
    signer: str, claimed: str, verifier: Verifier, mint: Mint, request: pytest.FixtureRequest
) -> None:
    """All three algorithms are configured, and still each key has but one."""
    key: SigningKey = request.getfixturevalue(signer)
    text = mint(header={"alg": claimed}, key=key)
    if claimed == key.alg:
        assert verifier.verify(text)
    else:
        assert refusal_of(verifier, text).reason == "unknown_key"


@pytest.mark.parametrize("named", ["ed-1", "rs-1"])
def test_a_signature_of_one_key_is_not_one_of_another(
    named: str, verifier: Verifier, mint: Mint
) -> None:
    """An ES256 token that names a key of another kind finds no key."""
    assert refusal_of(verifier, mint(header={"kid": named})).reason == "unknown_key"


@pytest.mark.parametrize("alg", ["none", "HS256", "ES256K"])
def test_an_unconfigured_algorithm_is_refused_for_the_single_key_too(
    alg: str, es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """A PEM takes any `kid`, and no other algorithm."""
    verifier = Verifier(ISSUER, AUDIENCE, public_key=es_key.pem, clock=clock)
    assert refusal_of(verifier, mint(header={"alg": alg})).reason == "wrong_algorithm"


# The public key as a secret (TOK-2)


def public(key: SigningKey, encoding: Encoding, form: PublicFormat) -> bytes:
    return key.public.public_bytes(encoding, form)


def spki(key: SigningKey, encoding: Encoding = Encoding.PEM) -> bytes:
    return public(key, encoding, PublicFormat.SubjectPublicKeyInfo)


COMMON_FORMS: dict[str, Callable[[SigningKey], bytes]] = {
    "PEM": spki,
    "PEM without its last newline": lambda key: spki(key).rstrip(),
    "PEM with CR LF": lambda key: spki(key).replace(b"\n", b"\r\n"),
    "PEM in one line": lambda key: spki(key).replace(b"\n", b""),
    "PEM body": lambda key: b"\n".join(spki(key).splitlines()[1:-1]),
    "PEM body in one line": lambda key: b"".join(spki(key).splitlines()[1:-1]),
    "DER": lambda key: spki(key, Encoding.DER),
    "base64 of DER": lambda key: b64encode(spki(key, Encoding.DER)),
    "base64url of DER": lambda key: b64(spki(key, Encoding.DER)).encode(),
    "hexadecimal DER": lambda key: spki(key, Encoding.DER).hex().encode(),
    "base64 of PEM": lambda key: b64encode(spki(key)),
    "OpenSSH": lambda key: public(key, Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": lambda key: json.dumps(key.jwk).encode(),
    "JWK, compact": lambda key: to_json(key.jwk),
    "JWK, sorted": lambda key: json.dumps(key.jwk, sort_keys=True).encode(),
    "JWK Set": lambda key: to_json({"keys": [key.jwk]}),
    "base64 of JWK": lambda key: b64encode(to_json(key.jwk)),
    "first coordinate, written": lambda key: first_coordinate(key).encode(),
    "first coordinate": lambda key: unb64(first_coordinate(key)),
    "name": lambda key: key.kid.encode(),
    "nothing": lambda _: b"",
    "a zero": lambda _: b"\0",
}
EC_FORMS: dict[str, Callable[[SigningKey], bytes]] = {
    "point": lambda key: public(key, Encoding.X962, PublicFormat.UncompressedPoint),
    "compressed point": lambda key: public(key, Encoding.X962, PublicFormat.CompressedPoint),
    "x and y": lambda key: unb64(key.jwk["x"]) + unb64(key.jwk["y"]),
    "x and y, written": lambda key: (key.jwk["x"] + key.jwk["y"]).encode(),
    "base64 of the point": lambda key: b64encode(EC_FORMS["point"](key)),
    "hexadecimal point": lambda key: EC_FORMS["point"](key).hex().encode(),
}
RSA_FORMS: dict[str, Callable[[SigningKey], bytes]] = {
    "PKCS1 PEM": lambda key: public(key, Encoding.PEM, PublicFormat.PKCS1),
    "PKCS1 PEM without its last newline": lambda key: RSA_FORMS["PKCS1 PEM"](key).rstrip(),
    "PKCS1 DER": lambda key: public(key, Encoding.DER, PublicFormat.PKCS1),
}


def first_coordinate(key: SigningKey) -> str:
    jwk = key.jwk
    return str(jwk.get("x", jwk.get("n")))


CONFUSIONS = [
    *(("es_key", form) for form in COMMON_FORMS | EC_FORMS),
    *(("ed_key", form) for form in COMMON_FORMS),
    *(("rs_key", form) for form in COMMON_FORMS | RSA_FORMS),
]


def confused(key: SigningKey, form: str) -> SigningKey:
    """The public key, in one of its forms, as an HMAC secret under the same name."""
    forms = COMMON_FORMS | EC_FORMS | RSA_FORMS
    return SigningKey(key.kid, "HS256", forms[form](key))


@pytest.mark.parametrize(("name", "form"), CONFUSIONS)
@pytest.mark.parametrize("source", ["set", "pem"])
def test_a_public_key_is_no_secret(
    name: str,
    form: str,
    source: str,
    keys: JWKSet,
    clock: Clock,
    mint: Mint,
    request: pytest.FixtureRequest,
) -> None:
    """An HMAC made with what everybody can read is refused for its algorithm."""
    key: SigningKey = request.getfixturevalue(name)
    given = [keys] if source == "set" else [PublicKey(key.pem)]
    verifier = Verifier(ISSUER, AUDIENCE, keys=given, clock=clock)
    assert refusal_of(verifier, mint(key=confused(key, form))).reason == "wrong_algorithm"


@pytest.mark.parametrize(("name", "form"), CONFUSIONS)
def test_a_public_key_is_no_secret_beside_a_secret(
    name: str,
    form: str,
    keys: JWKSet,
    hs_key: SigningKey,
    clock: Clock,
    mint: Mint,
    request: pytest.FixtureRequest,
) -> None:
    """While a service accepts both kinds, an HMAC is checked with the secret alone."""
    assert isinstance(hs_key.private, bytes)
    both: list[KeySource] = [SharedSecret(hs_key.private), keys]
    verifier = Verifier(ISSUER, AUDIENCE, keys=both, clock=clock)
    forged = mint(key=confused(request.getfixturevalue(name), form))
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize(("alg", "digest"), [("HS384", hashlib.sha384), ("HS512", hashlib.sha512)])
def test_a_public_key_is_no_secret_of_the_longer_hashes(
    alg: str, digest: Any, verifier: Verifier, es_key: SigningKey
) -> None:
    """HS384 and HS512 are not configured anywhere."""
    signing_input = f"{b64(to_json(header_of(es_key, {'alg': alg})))}.{b64(to_json(claims_of()))}"
    signature = b64(hmac.digest(es_key.pem, signing_input.encode(), digest))
    assert refusal_of(verifier, f"{signing_input}.{signature}").reason == "wrong_algorithm"


def test_the_shared_secret_does_not_sign_for_public_keys(
    hs_key: SigningKey, keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """A holder of the secret cannot write another algorithm over his HMAC."""
    assert isinstance(hs_key.private, bytes)
    both: list[KeySource] = [SharedSecret(hs_key.private), keys]
    verifier = Verifier(ISSUER, AUDIENCE, keys=both, clock=clock)
    forged = mint(header={"alg": "ES256", "kid": "es-1"}, key=hs_key)
    assert refusal_of(verifier, forged).reason == "bad_signature"


# Keys that the token brings along (TOK-3)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A door at which nobody may knock."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize("member", ["jku", "x5u", "jwk", "x5c", "iss", "issuer", "kid", "x5t"])
@pytest.mark.parametrize("signed", ["by us", "by the attacker"])
def test_a_key_in_the_header_is_never_looked_at(
    member: str, signed: str, verifier: Verifier, mint: Mint, listener: socket.socket
) -> None:
    """Neither used nor fetched: nobody is called, and the attacker's signature is bad."""
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
    text = mint(header={member: url}, key=None if signed == "by us" else make_es256("es-1"))
    assert is_accepted(verifier, text) is (signed == "by us" and member != "kid")
    assert select.select([listener], [], [], 0.02)[0] == []


def brought(attacker: SigningKey) -> dict[str, Any]:
    """An attacker's own public key in each form a header can carry."""
    der = b64encode(spki(attacker, Encoding.DER)).decode()
    return {
        "jwk": {"jwk": attacker.jwk},
        "jwk as text": {"jwk": json.dumps(attacker.jwk)},
        "x5c": {"x5c": [der]},
        "set": {"jwks": {"keys": [attacker.jwk]}},
        "key": {"key": attacker.pem.decode()},
        "epk": {"epk": attacker.jwk},
        "members": attacker.jwk,
    }


@pytest.mark.parametrize("form", brought(make_es256()))
@pytest.mark.parametrize("kid", ["es-1", "attacker", ABSENT])
def test_a_key_that_the_token_brings_along_does_not_count(
    form: str, kid: object, verifier: Verifier, mint: Mint
) -> None:
    """A token that proves itself proves nothing (CVE-2018-0114)."""
    attacker = make_es256("attacker")
    forged = mint(header=brought(attacker)[form] | {"kid": kid}, key=attacker)
    assert refusal_of(verifier, forged).reason in ("unknown_key", "bad_signature")


# The name of the key (TOK-4, TOK-5)


@pytest.mark.parametrize(
    "kid",
    [
        "",
        " ",
        "es-1 ",
        " es-1",
        "ES-1",
        "es-",
        "es-11",
        "es-1\x00",
        "es-1\n",
        "es-1/",
        "es-1.pem",
        "./es-1",
        "../es-1",
        "../../../../dev/null",
        "/dev/null",
        "/etc/passwd",
        "file:///dev/null",
        "C:\\keys\\es-1",
        "http://127.0.0.1/es-1",
        "es-1;rs-1",
        "es-1,rs-1",
        "es-1 rs-1",
        "es%2D1",
        "' OR '1'='1",
        "es-1' --",
        "'; DROP TABLE keys; --",
        "es-1' UNION SELECT 'x",
        "%",
        "_",
        "*",
        "| sleep 5",
        "$(sleep 5)",
        "`id`",
        "{{7*7}}",
        "${jndi:ldap://127.0.0.1/a}",
        "__proto__",
        "__class__",
        "constructor",
        "None",
        "null",
        "0",
        "es\u20111",
        "е\u0455-1",
        "es-\u0661",
        "es-1\u200b",
        "\ufeffes-1",
        "\U0001f511",
        "(a+)+$",
        "k" * 5000,
        "0" * 5000,
        "\x00" * 50,
    ],
    ids=lambda kid: ascii(kid)[:30],
)
def test_a_name_that_is_not_exactly_a_keys_is_unknown(
    kid: str, verifier: Verifier, mint: Mint
) -> None:
    """The `kid` is an opaque string: no path, no query, no pattern, no number."""
    assert refusal_of(verifier, mint(header={"kid": kid})).reason == "unknown_key"


@pytest.mark.parametrize(
    "kid",
    [None, True, False, 0, 1, 1.5, -1, [], {}, ["es-1"], {"es-1": 1}, [["es-1"]], {"kid": "es-1"}],
    ids=repr,
)
def test_a_name_that_is_no_string_is_malformed(kid: object, verifier: Verifier, mint: Mint) -> None:
    """RFC 7515 section 4.1.4: a `kid` is a string."""
    assert refusal_of(verifier, mint(header={"kid": kid})).reason == "malformed"


def test_an_unknown_name_is_not_tried_with_every_key(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """The one key that would fit is never even asked for by another name."""
    source = CountingSource(es_key, make_es256("es-2"))
    verifier = Verifier(ISSUER, AUDIENCE, keys=[source], clock=clock)
    assert refusal_of(verifier, mint(header={"kid": "es-2"})).reason == "bad_signature"
    assert refusal_of(verifier, mint(header={"kid": "es-3"})).reason == "unknown_key"
    assert source.asked == [("es-2", "ES256"), ("es-3", "ES256")]
