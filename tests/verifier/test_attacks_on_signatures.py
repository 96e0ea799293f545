"""What an attacker sends: signatures that are nearly right (TOK-15).

Where a token is signed at all it is signed with the real key, so that nothing but
the rule under test can refuse it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from foxtrot import JWKSet, KeySource, SharedSecret, Verifier
from tests.verifier.minting import (
    ALPHABET,
    AUDIENCE,
    ISSUER,
    Clock,
    Mint,
    SigningKey,
    accepted,
    b64,
    flipped,
    make_es256,
    make_rs256,
    raw_signature,
    refusal_of,
    signature_of,
    with_signature,
)


@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key", "hs_key"])
def test_no_bit_of_a_signature_can_be_changed(
    name: str,
    keys: JWKSet,
    hs_key: SigningKey,
    clock: Clock,
    mint: Mint,
    request: pytest.FixtureRequest,
) -> None:
    """Each single bit, of each algorithm's signature."""
    assert isinstance(hs_key.private, bytes)
    both: list[KeySource] = [SharedSecret(hs_key.private), keys]
    verifier = Verifier(ISSUER, AUDIENCE, keys=both, clock=clock)
    text = mint(key=request.getfixturevalue(name))
    signature = signature_of(text)
    changed = (with_signature(text, flipped(signature, bit)) for bit in range(len(signature) * 8))
    assert accepted(verifier, changed) == []
    assert verifier.verify(text)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_no_character_of_a_token_can_be_changed(part: int, verifier: Verifier, mint: Mint) -> None:
    """At each position of header, claims and signature, each in three ways."""
    text = mint()
    parts = text.split(".")
    start = sum(len(before) + 1 for before in parts[:part])
    tokens = (
        text[:position]
        + ALPHABET[(ALPHABET.index(text[position]) + step) % 64]
        + text[position + 1 :]
        for position in range(start, start + len(parts[part]))
        for step in (1, 17, 32)
    )
    assert accepted(verifier, tokens) == []


def test_no_character_of_a_signature_can_be_any_other(verifier: Verifier, mint: Mint) -> None:
    """At each of its 86 positions each of the 63 others, its padding bits among them."""
    text = mint()
    start = text.rindex(".") + 1
    tokens = (
        text[:position] + other + text[position + 1 :]
        for position in range(start, len(text))
        for other in ALPHABET
        if other != text[position]
    )
    assert accepted(verifier, tokens) == []


@pytest.mark.parametrize("kind", ["left out", "doubled", "swapped with the next"])
def test_no_character_of_a_token_can_be_moved(kind: str, verifier: Verifier, mint: Mint) -> None:
    """At each position of the whole token, dots included."""
    text = mint()
    tokens = (moved(text, position, kind) for position in range(len(text)))
    assert accepted(verifier, (changed for changed in tokens if changed != text)) == []


def moved(text: str, position: int, kind: str) -> str:
    before, here, after = text[:position], text[position], text[position + 1 :]
    if kind == "left out":
        return before + after
    if kind == "doubled":
        return before + here + here + after
    return before + after[:1] + here + after[1:]


def test_no_token_can_be_cut_off(verifier: Verifier, mint: Mint) -> None:
    """Neither at its end nor at its beginning."""
    text = mint()
    assert accepted(verifier, (text[:length] for length in range(len(text)))) == []
    assert accepted(verifier, (text[length:] for length in range(1, len(text)))) == []


ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256."""

FIELD = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF


SPECIAL = {
    "0": 0,
    "1": 1,
    "order - 1": ORDER - 1,
    "order": ORDER,
    "order + 1": ORDER + 1,
    "field": FIELD,
    "ones": 2**256 - 1,
}


@pytest.mark.parametrize("r", SPECIAL)
@pytest.mark.parametrize("s", SPECIAL)
def test_special_numbers_are_no_signature(r: str, s: str, verifier: Verifier, mint: Mint) -> None:
    """The psychic signatures of CVE-2022-21449, and their relatives."""
    raw = SPECIAL[r].to_bytes(32, "big") + SPECIAL[s].to_bytes(32, "big")
    forged = with_signature(mint(), raw)
    assert refusal_of(verifier, forged).reason == "bad_signature"


REFORMED: dict[str, Callable[[bytes, bytes], bytes]] = {
    "DER": lambda r, s: encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")),
    "swapped": lambda r, s: s + r,
    "little-endian": lambda r, s: r[::-1] + s[::-1],
    "r alone": lambda r, s: r,
    "r twice": lambda r, s: r + r,
    "r cut": lambda r, s: r[:-1] + s,
    "s cut": lambda r, s: r + s[:-1],
    "zero in front": lambda r, s: b"\0" + r + s,
    "zeros in front of both": lambda r, s: b"\0" + r + b"\0" + s,
    "zero behind": lambda r, s: r + s + b"\0",
    "twice": lambda r, s: r + s + r + s,
    "ASN.1 of nothing": lambda r, s: b"\x30\x06\x02\x01\x00\x02\x01\x00",
    "hexadecimal": lambda r, s: (r + s).hex().encode(),
    "base64 again": lambda r, s: b64encode(r + s),
    "nothing": lambda r, s: b"",
    "64 zeros": lambda r, s: bytes(64),
    "64 ones": lambda r, s: b"\xff" * 64,
    "s of the order": lambda r, s: r + (int.from_bytes(s, "big") + ORDER).to_bytes(33, "big")[-32:],
}


@pytest.mark.parametrize("form", REFORMED)
def test_an_es256_signature_has_one_form(form: str, verifier: Verifier, mint: Mint) -> None:
    """RFC 7518 section 3.4: r and s, 32 bytes each, and nothing else."""
    text = mint()
    signature = signature_of(text)
    forged = with_signature(text, REFORMED[form](signature[:32], signature[32:]))
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize("name", ["ed_key", "rs_key"])
@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[:-1],
        lambda s: s + b"\0",
        lambda s: b"\0" + s,
        lambda s: s + s,
        lambda s: bytes(len(s)),
        lambda s: b"\xff" * len(s),
        lambda s: b"",
        lambda s: s[::-1],
    ],
    ids=["cut", "longer", "zero in front", "twice", "zeros", "ones", "empty", "reversed"],
)
def test_other_signatures_have_one_form_too(
    name: str,
    change: Callable[[bytes], bytes],
    verifier: Verifier,
    mint: Mint,
    request: pytest.FixtureRequest,
) -> None:
    """EdDSA and RS256 signatures are exactly as long as they are."""
    text = mint(key=request.getfixturevalue(name))
    forged = with_signature(text, change(signature_of(text)))
    assert refusal_of(verifier, forged).reason == "bad_signature"


def test_an_ed25519_signature_cannot_be_moved_by_the_group_order(
    verifier: Verifier, ed_key: SigningKey, mint: Mint
) -> None:
    """RFC 8032 section 5.1.7: S is below the order, so a signature has one spelling."""
    order = 2**252 + 27742317777372353535851937790883648493
    text = mint(key=ed_key)
    signature = signature_of(text)
    s = int.from_bytes(signature[32:], "little") + order
    forged = with_signature(text, signature[:32] + s.to_bytes(32, "little"))
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signature_on_another_curve_is_bad(
    curve: ec.EllipticCurve, verifier: Verifier, mint: Mint
) -> None:
    """A key of another curve does not sign ES256, whatever the header says."""
    private = ec.generate_private_key(curve)
    signing_input = mint().rpartition(".")[0]
    forged = f"{signing_input}.{b64(raw_signature(private, signing_input.encode()))}"
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize("make", [make_es256, make_rs256])
def test_a_key_of_the_same_name_and_kind_is_another_key(
    make: Callable[[str], SigningKey], verifier: Verifier, mint: Mint
) -> None:
    """An attacker can name his key as he likes."""
    forged = mint(key=make("es-1" if make is make_es256 else "rs-1"))
    assert refusal_of(verifier, forged).reason == "bad_signature"


def test_parts_of_two_good_tokens_make_no_third(
    verifier: Verifier, mint: Mint, ed_key: SigningKey
) -> None:
    """A header, claims or signature fits only where it came from."""
    one, other = mint().split("."), mint({"sub": "u_bob", "uid": "u_bob"}, key=ed_key).split(".")
    mixed = [[pair[choice >> part & 1] for part, pair in enumerate(zip(one, other, strict=True))]
             for choice in range(1, 7)]  # fmt: skip
    assert accepted(verifier, (".".join(parts) for parts in mixed)) == []
