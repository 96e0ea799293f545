"""Each class of fault of C2SP Wycheproof's vectors for JWS, made with keys of our own.

The classes are those of `testvectors_v1/json_web_signature_test.json` and
`json_web_crypto_test.json`; `test_wycheproof_rsa.py` has the RSA signatures among
them and `test_wycheproof_keys.py` what is in `json_web_key_test.json`. Theirs are of
any JWS, ours are access tokens, so that a refusal comes from the fault and from
nothing else. What stands valid there and is for algorithms that Foxtrot does not offer
(HS384, HS512, ES384, ES512, RS384, RS512, PS256 and its kin) is refused here, and one
test says so.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest

from foxtrot import JWKSet, KeySource, SharedSecret, Verifier
from foxtrot.jwk import Key
from tests.verifier.minting import (
    AUDIENCE,
    ISSUER,
    Clock,
    Mint,
    SigningKey,
    b64,
    claims_of,
    header_of,
    is_accepted,
    make_es256,
    refusal_of,
    signature_of,
    to_json,
    unb64,
    with_signature,
)

EVERY_KEY = ["hs_key", "es_key", "rs_key", "ed_key"]


@pytest.fixture
def verifier(keys: JWKSet, hs_key: SigningKey, clock: Clock) -> Verifier:
    """Has a key for each of the algorithms that there are."""
    assert isinstance(hs_key.private, bytes)
    sources: list[KeySource] = [SharedSecret(hs_key.private, hs_key.kid), keys]
    return Verifier(ISSUER, AUDIENCE, keys=sources, clock=clock)


@pytest.fixture
def key(request: pytest.FixtureRequest) -> SigningKey:
    """The key of that name."""
    named: SigningKey = request.getfixturevalue(request.param)
    return named


every_key = pytest.mark.parametrize("key", EVERY_KEY, indirect=True)

# Form: the same faults for each algorithm


def other(segment: str) -> str:
    """Change the first character, as the vectors do."""
    return ("X" if segment[0] != "X" else "Y") + segment[1:]


def renamed(segment: str) -> str:
    """Change the key's name in the header and nothing else."""
    return b64(unb64(segment).replace(b'"kid":"', b'"kid":"X'))


def unsigned(payload: str, **header: str) -> str:
    return f"{b64(to_json(header))}.{payload}."


def kid_in(header: str) -> str:
    return str(json.loads(unb64(header))["kid"])


FORMS: dict[str, Callable[[str, str, str], str]] = {
    "modified signature": lambda h, p, s: f"{h}.{p}.{other(s)}",
    "missing signature": lambda h, p, s: f"{h}.{p}.",
    "missing signature and separator": lambda h, p, s: f"{h}.{p}",
    "modified payload": lambda h, p, s: f"{h}.{other(p)}.{s}",
    "missing payload": lambda h, p, s: f"{h}..{s}",
    "missing payload and separator": lambda h, p, s: f"{h}.{s}",
    "modified header": lambda h, p, s: f"{renamed(h)}.{p}.{s}",
    "missing header": lambda h, p, s: f".{p}.{s}",
    "missing header and separator": lambda h, p, s: f"{p}.{s}",
    "missing header and signature": lambda h, p, s: f".{p}.",
    "missing header, signature and separators": lambda h, p, s: p,
    "empty string": lambda h, p, s: "",
    "extra empty component": lambda h, p, s: f"{h}.{p}.{s}.",
    "extra component": lambda h, p, s: f"{h}.{p}.{s}.foo",
    "none and missing signature": lambda h, p, s: unsigned(p, alg="none"),
    "none in capitals": lambda h, p, s: unsigned(p, alg="NONE"),
    "none and a key of that name": lambda h, p, s: unsigned(p, alg="none", kid="none"),
    "none and the key's name": lambda h, p, s: unsigned(p, alg="none", kid=kid_in(h)),
    "JSON serialization": lambda h, p, s: to_json(
        {"payload": p, "signatures": [{"protected": h, "header": {"u": "x"}, "signature": s}]}
    ).decode(),
    "JSON serialization, flattened": lambda h, p, s: to_json(
        {"payload": p, "protected": h, "signature": s}
    ).decode(),
}


@every_key
def test_a_valid_token_is_accepted(key: SigningKey, verifier: Verifier, mint: Mint) -> None:
    """What the faults below are made of: `acceptsValid`."""
    assert verifier.verify(mint(key=key)).algorithm == key.alg


@every_key
@pytest.mark.parametrize("form", FORMS)
def test_a_token_of_a_wrong_form_is_refused(
    form: str, key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """Modified, missing and extra components, `none`, and the JSON serialization."""
    header, payload, made = mint(key=key).split(".")
    assert not is_accepted(verifier, FORMS[form](header, payload, made))


@every_key
@pytest.mark.parametrize("payload", [b"", bytes(20), b"a", bytes(range(0xE0, 0x100))], ids=repr)
def test_a_payload_may_be_anything_to_the_signature_and_not_to_the_token(
    payload: bytes, key: SigningKey, keys: JWKSet, verifier: Verifier, mint: Mint
) -> None:
    """A JWS of no or any bytes is valid; an access token is a JSON object all the same."""
    text = mint.raw(to_json(header_of(key)), payload, key)
    assert loaded(key).verify(text.rpartition(".")[0].encode(), signature_of(text))
    assert refusal_of(verifier, text).reason == "malformed"


def loaded(key: SigningKey) -> Key:
    return Key.from_secret(key.private) if isinstance(key.private, bytes) else Key.from_jwk(key.jwk)


# Keys that prove nothing


@pytest.mark.parametrize("form", ["x", "x and y", "point", "PEM"])
def test_the_bytes_of_a_public_key_are_no_secret(
    form: str, es_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`rejectsSymmetryConfusionAttacks`: HS256 with what everybody can read."""
    x, y = unb64(es_key.jwk["x"]), unb64(es_key.jwk["y"])
    secret = {"x": x, "x and y": x + y, "point": b"\4" + x + y, "PEM": es_key.pem}[form]
    assert not is_accepted(verifier, mint(key=SigningKey(es_key.kid, "HS256", secret)))


def test_a_key_that_the_attacker_embeds_is_not_used(verifier: Verifier, mint: Mint) -> None:
    """`rejectsAttackerProvidedEmbeddedJwk`, under the name of the right key."""
    attacker = make_es256()
    forged = mint(header={"jwk": attacker.jwk}, key=attacker)
    assert refusal_of(verifier, forged).reason == "bad_signature"


# ECDSA

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

ES256: dict[str, Callable[[int, int], bytes]] = {
    "signature too long": lambda r, s: pair(r, s, 33),
    "trailing zeros": lambda r, s: pair(r, s, 32) + b"\0\0",
    "zero between": lambda r, s: r.to_bytes(32, "big") + b"\0" + s.to_bytes(32, "big"),
    "r too big": lambda r, s: pair(r + ORDER, s, 33),
    "s too big": lambda r, s: pair(r, s + ORDER, 33),
    "r overflows": lambda r, s: pair(r + (1 << 256), s, 33),
    "s overflows": lambda r, s: pair(r, s + (1 << 256), 33),
    "buffer overflows": lambda r, s: pair(r, s, 300),
}


def pair(r: int, s: int, size: int) -> bytes:
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def halves(text: str) -> tuple[int, int]:
    raw = signature_of(text)
    return int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")


def test_the_other_s_of_an_ecdsa_signature_is_valid(verifier: Verifier, mint: Mint) -> None:
    """FIPS 186-5 has no low s: of each signature there are two, and both are good."""
    r, s = halves(text := mint())
    assert verifier.verify(with_signature(text, pair(r, ORDER - s, 32)))


@pytest.mark.parametrize("form", ES256)
def test_an_ecdsa_signature_of_a_wrong_size_is_refused(
    form: str, verifier: Verifier, mint: Mint
) -> None:
    """RFC 7518 section 3.4: 64 bytes, whatever the numbers in them."""
    text = mint()
    forged = with_signature(text, ES256[form](*halves(text)))
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER])
@pytest.mark.parametrize("s", [0, 1, ORDER - 1, ORDER])
def test_an_ecdsa_signature_of_an_edge_is_refused(
    r: int, s: int, verifier: Verifier, mint: Mint
) -> None:
    """`rIsZero_sIsZero` to `rIsN_sIsN`."""
    forged = with_signature(mint(), pair(r, s, 32))
    assert refusal_of(verifier, forged).reason == "bad_signature"


# Algorithms


@pytest.mark.parametrize("alg", ["HS384", "HS512", "ES384", "ES512", "ES521", "ES256K", "PS256"])
def test_an_algorithm_that_is_not_offered_is_refused(
    alg: str, verifier: Verifier, mint: Mint
) -> None:
    """Some of their valid vectors: the list of algorithms is short on purpose."""
    assert refusal_of(verifier, mint(header={"alg": alg})).reason == "wrong_algorithm"


# base64url

ENCODINGS: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "spaces in the header": lambda h, p: (h + "    ", p),
    "invalid characters in the header": lambda h, p: (h + "####", p),
    "an invalid character inside the header": lambda h, p: (h[:-1] + "?" + h[-1], p),
    "padding of the header": lambda h, p: (h + "=" * (-len(h) % 4 or 4), p),
    "spaces in the payload": lambda h, p: (h, "    " + p),
    "invalid characters in the payload": lambda h, p: (h, "####" + p),
    "an invalid character in front of the payload": lambda h, p: (h, "?" + p),
    "an invalid character behind the payload": lambda h, p: (h, p + "?"),
    "padding of the payload": lambda h, p: (h, p + "=" * (-len(p) % 4 or 4)),
}


@pytest.mark.parametrize("signed", ["as it is written", "as it should be written"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_segment_that_is_not_base64url_is_refused(
    encoding: str, signed: str, hs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """RFC 7515 section 5.2, "no additional characters".

    Two of their vectors, `InvalidCharacterInsertedIn`, stand as valid with a signature over
    what remains after a character was dropped. Here these are refused like the others. Two,
    `invalidBase64Padding`, are letter for letter the valid one; what they mean is made here.
    """
    header, payload = b64(to_json(header_of(hs_key))), b64(to_json(claims_of()))
    written = ".".join(ENCODINGS[encoding](header, payload))
    good = mint.signed(f"{header}.{payload}", hs_key)
    text = mint.signed(written, hs_key)
    if signed == "as it should be written":
        text = written + good[good.rindex(".") :]
    assert verifier.verify(good)
    assert refusal_of(verifier, text).reason == "malformed"


@pytest.mark.parametrize("part", ["payload", "signature"])
def test_unused_bits_that_are_set_are_refused(
    part: str, hs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`ModifiedUnusedBits` and `MacOfIncorrectlyEncodedMessage`, the latter validly signed."""
    claims = next(
        text for n in range(3) if len(text := b64(to_json(claims_of({"n": "x" * n})))) % 4
    )
    header = b64(to_json(header_of(hs_key)))
    loose = claims[:-1] + chr(ord(claims[-1]) + 1)
    text = mint.signed(f"{header}.{loose if part == 'payload' else claims}", hs_key)
    if part == "signature":
        text = text[:-1] + chr(ord(text[-1]) + 1)
    assert refusal_of(verifier, text).reason == "malformed"


@pytest.mark.parametrize("first", ["A", "_"])
def test_a_mac_that_begins_with_an_edge_is_valid(
    first: str, hs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`ValidEdgeCaseMac`: neither leading zeros nor leading ones get lost."""
    tokens = (mint({"n": n}, key=hs_key) for n in itertools.count())
    text = next(text for text in tokens if text[text.rindex(".") + 1] == first)
    start = text.rindex(".") + 1
    assert verifier.verify(text)
    for changed in ("?" + text[start + 1 :], "    " + text[start:], "?" + text[start:]):
        assert refusal_of(verifier, text[:start] + changed).reason == "malformed"
    assert refusal_of(verifier, text + "?").reason == "malformed"


@pytest.mark.parametrize("space", [" ", "\n\t", "\r\n"])
def test_white_space_in_the_json_of_a_header_is_valid(
    space: str, hs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`ValidSpacesInJsonHeader`: what is signed is the text, whatever its layout."""
    header = to_json(header_of(hs_key)).decode()
    for mark in ",:{":
        header = header.replace(mark, mark + space)
    assert verifier.verify(mint.raw(header.encode(), to_json(claims_of()), hs_key))
