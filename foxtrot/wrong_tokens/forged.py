"""Forged: made without the issuer's key, or changed after it was used.

RFC 8725 section 2 lists most of these attacks, RFC 7515 section 4.1 the headers.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256K1, SECP384R1
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from foxtrot.wrong_tokens.catalogue import FORGED, Material, WrongToken
from foxtrot.wrong_tokens.signer import Signer, b64, new_signer, to_json, unb64

LONG: Final = 5_000
DEPTH: Final = 1_000
ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def forged(material: Material) -> Iterator[WrongToken]:
    """All of them."""
    for theme in (algorithms, secrets_from_public_keys, brought_keys, names, curves):
        yield from theme(material)
    for theme in (signatures, forms, headers):
        yield from theme(material)


def algorithms(material: Material) -> Iterator[WrongToken]:
    """Unsigned, in every spelling."""
    for spelling in ("none", "None", "NONE", "nOnE"):
        header = to_json(material.signer.header({"alg": spelling}))
        text = f"{b64(header)}.{b64(to_json(dict(material.claims)))}."
        sentence = f"It is not signed: `alg` is `{spelling}`."
        yield WrongToken(f"alg {spelling}", sentence, "algorithm", text, FORGED)
    claims = to_json(dict(material.claims))
    for name, alg in (
        ("absent", "absent"),
        ("null", None),
        ("a list", [material.signer.algorithm]),
    ):
        members = {**material.signer.header(), "alg": alg}
        if alg == "absent":
            del members["alg"]
        text = f"{b64(to_json(members))}.{b64(claims)}."
        sentence = f"It is not signed, and `alg` is {name}."
        yield WrongToken(f"alg {name}", sentence, "algorithm", text, ("malformed",))
    for word, secret in (("an empty secret", b""), ("the secret `secret`", b"secret")):
        text = _with_secret(material, secret)
        sentence = f"It is signed with {word} (HS256)."
        yield WrongToken(f"HS256 with {word}", sentence, "algorithm", text, FORGED)


def secrets_from_public_keys(material: Material) -> Iterator[WrongToken]:
    """A public key that everybody knows, used as a shared secret (RFC 8725 section 2.1)."""
    if material.signer.is_secret:
        return
    pem, jwk = material.signer.public_pem(), material.signer.public_jwk()
    for form, secret in {
        "PEM": pem,
        "PEM without its last line end": pem.rstrip(b"\n"),
        "DER": material.signer.public_der(),
        "JWK": to_json(jwk),
    }.items():
        text = _with_secret(material, secret)
        sentence = f"The public key ({form}) is used as the secret of HS256."
        yield WrongToken(f"public key as secret, {form}", sentence, "algorithm", text, FORGED)


def brought_keys(material: Material) -> Iterator[WrongToken]:
    """Signed by the attacker, whose key the header brings along or points to."""
    attacker, url = material.attacker, material.attacker_url
    certificate = certificate_of(attacker)
    brought: dict[str, Any] = {
        "jwk": attacker.public_jwk(),
        "jku": f"{url}/jwks.json",
        "x5u": f"{url}/cert.pem",
        "x5c": [b64encode(certificate.public_bytes(Encoding.DER)).decode()],
    }
    for member, value in brought.items():
        text = attacker.sign(material.claims, {member: value})
        sentence = f"An attacker signed it, and its header `{member}` says with which key."
        yield WrongToken(f"key in {member}", sentence, "key", text, FORGED)


def names(material: Material) -> Iterator[WrongToken]:
    """Key names that mean something to a file system, a database or a careless program."""
    attacker = material.attacker
    text = attacker.sign(material.claims, {"kid": material.signer.kid})
    sentence = "An attacker signed it, under the name of the right key."
    yield WrongToken("another's key", sentence, "signature", text, FORGED)
    text = attacker.sign(material.claims)
    sentence = "An attacker signed it, with a key that nobody knows."
    yield WrongToken("unknown key", sentence, "key", text, FORGED)
    for name, sentence, kid, secret in (
        ("kid as path", "`kid` is the path of an empty file.", "../../../../dev/null", b""),
        ("kid as SQL", "`kid` is SQL.", "x' UNION SELECT 'secret' -- ", b"secret"),
    ):
        yield WrongToken(name, sentence, "key", _with_secret(material, secret, kid), FORGED)
    for name, sentence, kid in (
        ("kid with NUL", "`kid` has a NUL character.", f"{material.signer.kid}\0"),
        ("kid of 5 KB", "`kid` is 5,000 characters long.", "k" * LONG),
    ):
        yield WrongToken(
            name, sentence, "key", attacker.sign(material.claims, {"kid": kid}), FORGED
        )
    for name, value in (("a number", 1), ("a list", [material.signer.kid])):
        text = attacker.sign(material.claims, {"kid": value})
        sentence = f"`kid` is {name}."
        yield WrongToken(f"kid as {name}", sentence, "key", text, ("malformed",))


def curves(material: Material) -> Iterator[WrongToken]:
    """Signed on another curve than the key's."""
    kid = material.signer.kid or "attacker-1"
    koblitz = new_signer(kid, SECP256K1())
    sentence = "It says ES256, and is signed on another curve of that size."
    yield WrongToken("wrong curve", sentence, "signature", koblitz.sign(material.claims), FORGED)
    larger = new_signer(kid, SECP384R1(), "ES384")
    sentence = "It is signed with ES384, by a key of the attacker's."
    yield WrongToken("ES384", sentence, "algorithm", larger.sign(material.claims), FORGED)


def signatures(material: Material) -> Iterator[WrongToken]:
    """A good token whose signature, or whose content, was changed."""
    good = material.sign()
    head, _, last = good.rpartition(".")
    raw, claims = unb64(last), {"sub": "u_somebody_else", "uid": "u_somebody_else"}
    other = material.sign({"jti": "t_other"})
    changed: dict[str, tuple[str, bytes]] = {
        "signature stripped": ("Its signature was taken off.", b""),
        "signature truncated": ("Half of its signature is missing.", raw[: len(raw) // 2]),
        "signature of zeros": ("Its signature is all zeros.", bytes(len(raw))),
        "signature with one bit changed": (
            "One bit of its signature was changed.",
            bytes([raw[0], raw[1] ^ 1, *raw[2:]]),
        ),
        "signature of another token": (
            "Its signature is another token's.",
            unb64(other.rpartition(".")[2]),
        ),
    }
    if material.signer.algorithm == "ES256":
        r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        sentence = "Its signature is written in DER (RFC 7518 section 3.4 wants r and s)."
        changed["signature in DER"] = (sentence, encode_dss_signature(r, s))
    for name, (sentence, signature) in changed.items():
        text = f"{head}.{b64(signature)}"
        yield WrongToken(name, sentence, "signature", text, ("bad_signature",))
    payload = b64(to_json(material.claims_with(claims)))
    text = f"{head.partition('.')[0]}.{payload}.{last}"
    sentence = "Its content was changed to name another user; the signature was left."
    yield WrongToken("content changed", sentence, "signature", text, ("bad_signature",))


def forms(material: Material) -> Iterator[WrongToken]:
    """No JWT at all, or one that is not written as it should be."""
    good = material.sign()
    head, claims, signature = good.split(".")
    deep = b'{"alg":"ES256","typ":"at+jwt","x":' + b"[" * DEPTH + b"]" * DEPTH + b"}"
    for name, sentence, text in (
        ("no signature part", "It has two parts in place of three.", f"{head}.{claims}"),
        ("five parts", "It has five parts, like an encrypted token.", f"{good}.AAAA.AAAA"),
        ("no JSON", "Its header is no JSON.", f"{b64(b'alg')}.{claims}.{signature}"),
        ("no UTF-8", "Its header is no text.", f"{b64(bytes([255, 254]))}.{claims}.{signature}"),
        ("empty parts", "It consists of two dots.", ".."),
        ("nested JSON", "Its header nests 1,000 lists.", f"{b64(deep)}.{claims}.{signature}"),
    ):
        yield WrongToken(name, sentence, "form", text, ("malformed",))
    if len(unb64(signature)) % 3:
        text = good[:-1] + ALPHABET[ALPHABET.index(good[-1]) ^ 1]
        sentence = "Its last character has a bit that says nothing, and that was changed."
        yield WrongToken("odd base64", sentence, "form", text, ("malformed",), is_strict=True)
        text = good + "=" * (-len(signature) % 4)
        sentence = "Its signature is padded (RFC 7515 section 2 wants none)."
        yield WrongToken("padded base64", sentence, "form", text, ("malformed",), is_strict=True)


def headers(material: Material) -> Iterator[WrongToken]:
    """Validly signed, with a header that must be understood (RFC 7515 section 4.1.11)."""
    for name, sentence, members in (
        (
            "unknown crit",
            "Its header demands an extension that nobody knows (`crit`).",
            {"crit": ["urn:example:unknown"], "urn:example:unknown": True},
        ),
        ("empty crit", "Its `crit` is empty, which is not permitted.", {"crit": []}),
        (
            "b64 false",
            "Its header says that the content is not in base64 (RFC 7797 section 7 forbids it).",
            {"crit": ["b64"], "b64": False},
        ),
    ):
        text = material.sign(header=members)
        yield WrongToken(name, sentence, "form", text, ("malformed",))


def certificate_of(signer: Signer) -> x509.Certificate:
    """Have a key certify itself, for `x5c` and `x5u`."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "login")])
    key: Any = signer.private_key
    start = datetime(2025, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(start)
    return builder.not_valid_after(start + timedelta(days=36_500)).sign(key, SHA256())


def certificate_pem(signer: Signer) -> bytes:
    """The same, as a file that `x5u` may point to."""
    return certificate_of(signer).public_bytes(Encoding.PEM)


def _with_secret(material: Material, secret: bytes, kid: str | None = None) -> str:
    """The good claims, signed with a secret under the right key's name, or another."""
    signer = replace(material.signer, algorithm="HS256", private_key=secret)
    header: Mapping[str, Any] = {} if kid is None else {"kid": kid}
    return signer.sign(material.claims, header)
