"""Each class of fault of Wycheproof's RSA signatures, made with a key of our own.

The names in backquotes are their flags and comments in `json_web_signature_test.json`.
Everything is signed with the real key, so that only the padding can be the reason.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from foxtrot import Verifier
from tests.verifier.minting import (
    Mint,
    SigningKey,
    is_accepted,
    refusal_of,
    signature_of,
    with_signature,
)
from tests.verifier.pkcs1 import (
    FAULTS,
    OTHER_OIDS,
    PADDINGS,
    der,
    digest_info,
    modulus_of,
    padded,
    sign_block,
    size_of,
    spoiled,
)


def signed_block(key: SigningKey, mint: Mint, block: Callable[[bytes], bytes]) -> str:
    """Make a good RS256 token whose signature is over a block of one's own."""
    text = mint(key=key)
    message = text.rpartition(".")[0].encode()
    return with_signature(text, sign_block(key, block(message)))


def test_a_padding_without_fault_is_accepted(
    rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """The tests below would say nothing if their way of signing were wrong."""
    size = size_of(rs_key)
    assert verifier.verify(signed_block(rs_key, mint, lambda m: padded(digest_info(m), size)))


@pytest.mark.parametrize("fault", FAULTS)
def test_an_rsa_signature_with_a_spoiled_digest_info_is_refused(
    fault: str, rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`ModifiedPadding`, in each of the five elements of the DER value."""
    text = mint(key=rs_key)
    message, size = text.rpartition(".")[0].encode(), size_of(rs_key)
    forged = {
        element: with_signature(text, sign_block(rs_key, padded(value, size)))
        for element, value in spoiled(fault, message)
    }
    assert len(forged) >= 3
    assert [element for element in forged if is_accepted(verifier, forged[element])] == []


@pytest.mark.parametrize("form", PADDINGS)
def test_an_rsa_signature_with_another_padding_is_refused(
    form: str, rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """RFC 8017 section 9.2: the block is compared whole, from its first byte to its last."""
    size = size_of(rs_key)
    forged = signed_block(rs_key, mint, lambda m: PADDINGS[form](digest_info(m), size))
    assert refusal_of(verifier, forged).reason == "bad_signature"


@pytest.mark.parametrize("name", OTHER_OIDS)
def test_an_rsa_signature_that_names_another_hash_is_refused(
    name: str, rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """The digest is the right one and its name is not."""
    size, oid = size_of(rs_key), der(6, OTHER_OIDS[name])
    forged = signed_block(
        rs_key, mint, lambda m: padded(digest_info(m, "oid", lambda tag, body: oid), size)
    )
    assert refusal_of(verifier, forged).reason == "bad_signature"


RSA_SIGNATURES: dict[str, Callable[[int, int, int], bytes]] = {
    "0": lambda s, n, size: bytes(size),
    "1": lambda s, n, size: (1).to_bytes(size, "big"),
    "n - 1": lambda s, n, size: (n - 1).to_bytes(size, "big"),
    "n": lambda s, n, size: n.to_bytes(size, "big"),
    "not reduced": lambda s, n, size: (s + n).to_bytes(size + 1, "big"),
    "negative": lambda s, n, size: (n - s).to_bytes(size, "big"),
    "zeros prepended": lambda s, n, size: s.to_bytes(size + 2, "big"),
    "zeros appended": lambda s, n, size: s.to_bytes(size, "big") + bytes(2),
    "truncated": lambda s, n, size: s.to_bytes(size, "big")[:-2],
    "empty": lambda s, n, size: b"",
}


@pytest.mark.parametrize("form", RSA_SIGNATURES)
def test_an_rsa_signature_that_is_another_number_is_refused(
    form: str, rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`ModifiedSignature`: a signature is below n and exactly as long (RFC 8017 section 8.2.2)."""
    text = mint(key=rs_key)
    number = int.from_bytes(signature_of(text), "big")
    raw = RSA_SIGNATURES[form](number, modulus_of(rs_key), size_of(rs_key))
    assert refusal_of(verifier, with_signature(text, raw)).reason == "bad_signature"


SCHEMES = {
    f"{family}{hash_algorithm.digest_size * 8}": (family, hash_algorithm)
    for family in ("RS", "PS")
    for hash_algorithm in (SHA256(), SHA384(), SHA512())
    if (family, hash_algorithm.digest_size) != ("RS", 32)
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_signature_of_another_scheme_is_refused(
    scheme: str, rs_key: SigningKey, verifier: Verifier, mint: Mint
) -> None:
    """`WrongPrimitive`: the key's own, under its own name and under that of the key's algorithm."""
    for named, reason in ((scheme, "wrong_algorithm"), ("RS256", "bad_signature")):
        text = mint(header={"alg": named}, key=rs_key)
        raw = signed_by(rs_key, text.rpartition(".")[0].encode(), *SCHEMES[scheme])
        assert refusal_of(verifier, with_signature(text, raw)).reason == reason


def signed_by(key: SigningKey, message: bytes, family: str, algorithm: HashAlgorithm) -> bytes:
    assert isinstance(key.private, rsa.RSAPrivateKey)
    if family == "RS":
        return key.private.sign(message, padding.PKCS1v15(), algorithm)
    salted = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    return key.private.sign(message, salted, algorithm)
