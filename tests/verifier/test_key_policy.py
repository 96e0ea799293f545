"""Which shared secrets are refused when they are loaded, long before any token comes."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from foxtrot import SharedSecret, UnusableKey, Verifier, WeakKey
from foxtrot.jwk import Key
from tests.verifier.minting import AUDIENCE, ISSUER, SigningKey, certificate_of, make_hs256

GOOD_SECRET = "Zk8vQ2xT7mPq4RjW9sLc1YbN6hFdKe3U"


@pytest.mark.parametrize(
    "secret",
    [
        "foxtrot",
        "FoxTrot",
        " foxtrot \n",
        b"foxtrot",
        "secret",
        "changeme",
        "your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "A-String-Secret-At-Least-256-Bits-Long",
        "your-secret-key-change-in-production",
    ],
)
def test_a_well_known_secret_is_weak(secret: str | bytes) -> None:
    """What stands in tutorials is known to everybody, however long it is."""
    with pytest.raises(WeakKey, match="everybody knows"):
        SharedSecret(secret)


@pytest.mark.parametrize("secret", ["x", " ", GOOD_SECRET[:31], "é" * 15, b"\xff" * 31])
def test_a_short_secret_is_weak(secret: str | bytes) -> None:
    """RFC 7518 section 3.2: an HS256 key has 32 bytes or more."""
    with pytest.raises(WeakKey, match="32 bytes"):
        SharedSecret(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "x" * 40,
        "ab" * 20,
        "1234567" * 6,
        "foxtrot" * 8,
        "secret-secret-secret-secret-secret",
        "changeme_changeme_changeme_changeme",
        "password1password2password3password4",
        "dev1dev2dev3dev4dev5dev6dev7dev8dev9",
        "abcdefghij1" * 3,
        GOOD_SECRET[:16] * 2,
        GOOD_SECRET[:31] * 2,
        "abcdefgabcdefagbcdfeagbdcfeagdbcfeag",
    ],
)
def test_a_secret_that_repeats_itself_is_weak(secret: str) -> None:
    """Length that is only repetition protects from nothing."""
    with pytest.raises(WeakKey, match="repeats"):
        SharedSecret(secret)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "your-secret-key",
        "a1b2c3d4e5f6g7h8",
        "shhhhhared-secret",
        "a-string-secret-at-least-256-bits-long",
        GOOD_SECRET[:31],
    ],
)
def test_zeros_at_the_end_make_no_secret_longer(secret: str) -> None:
    """HMAC fills short keys with zeros itself: both spellings are one key (RFC 2104)."""
    with pytest.raises(WeakKey):
        SharedSecret(secret + "\0" * 33)


@pytest.mark.parametrize(
    "secret",
    [
        GOOD_SECRET,
        GOOD_SECRET.encode(),
        GOOD_SECRET * 4,
        GOOD_SECRET[:31] + GOOD_SECRET[0],
        "abcdefgabcdefagbcdfeagbdcfeagdbcfeah",
    ],
)
def test_a_random_secret_of_32_bytes_is_good(secret: str | bytes) -> None:
    """The least that is accepted."""
    assert SharedSecret(secret).algorithms == {"HS256"}


def test_a_weak_secret_of_ones_own_is_not_repeated_in_the_error() -> None:
    """The message ends up in a log; a short secret may be in use elsewhere."""
    with pytest.raises(WeakKey) as caught:
        SharedSecret("hunter2-hunter2")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("secret", ["", b""])
def test_an_empty_secret_cannot_be_used(secret: str | bytes) -> None:
    """An empty secret is no secret."""
    with pytest.raises(WeakKey, match="empty"):
        SharedSecret(secret)


@pytest.mark.parametrize("secret", [None, 5, ["a" * 40], bytearray(40)], ids=repr)
def test_a_secret_is_text_or_bytes(secret: Any) -> None:
    """Anything else is a mistake in the configuration."""
    with pytest.raises(UnusableKey):
        SharedSecret(secret)


@pytest.mark.parametrize("secret", ["foxtrot", "x" * 40, GOOD_SECRET[:31]])
def test_a_verifier_cannot_be_built_on_a_weak_secret(secret: str) -> None:
    """There is no switch that allows it."""
    with pytest.raises(WeakKey):
        Verifier(ISSUER, AUDIENCE, secret=secret)


def spki(key: SigningKey, encoding: Encoding) -> bytes:
    return key.public.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


PUBLIC_KEY_AS_SECRET: dict[str, Callable[[SigningKey], bytes]] = {
    "PEM": lambda key: key.pem,
    "PEM without its last newline": lambda key: key.pem.rstrip(),
    "PEM with CR LF": lambda key: key.pem.replace(b"\n", b"\r\n"),
    "PEM with written-out newlines": lambda key: key.pem.replace(b"\n", b"\\n"),
    "PEM with a byte order mark": lambda key: b"\xef\xbb\xbf" + key.pem,
    "PEM after a comment": lambda key: b"# the issuer's key\n" + key.pem,
    "DER": lambda key: spki(key, Encoding.DER),
    "OpenSSH": lambda key: key.public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "JWK": lambda key: json.dumps(key.jwk).encode(),
    "JWK Set": lambda key: json.dumps({"keys": [key.jwk]}).encode(),
    "PEM without its frame": lambda key: b"\n".join(key.pem.splitlines()[1:-1]),
    "PEM without its frame on one line": lambda key: b"".join(key.pem.splitlines()[1:-1]),
    "base64 of the PEM": lambda key: b64encode(key.pem),
    "base64 of the DER": lambda key: b64encode(spki(key, Encoding.DER)),
    "base64url of the DER": lambda key: urlsafe_b64encode(spki(key, Encoding.DER)),
}


@pytest.mark.parametrize("form", PUBLIC_KEY_AS_SECRET)
@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key"])
def test_a_public_key_is_not_taken_for_a_secret(
    form: str, name: str, request: pytest.FixtureRequest
) -> None:
    """Whoever mixes up the two settings hands his signing key to the world."""
    key = request.getfixturevalue(name)
    with pytest.raises(UnusableKey):
        SharedSecret(PUBLIC_KEY_AS_SECRET[form](key))


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_a_public_key_in_pkcs1_is_not_taken_for_a_secret(
    encoding: Encoding, rs_key: SigningKey
) -> None:
    """The older form of RSA public keys is one too."""
    with pytest.raises(UnusableKey):
        SharedSecret(rs_key.public.public_bytes(encoding, PublicFormat.PKCS1))


def test_a_certificate_is_not_taken_for_a_secret(es_key: SigningKey) -> None:
    """Certificates are as public as the keys in them."""
    with pytest.raises(UnusableKey):
        SharedSecret(certificate_of(es_key))


def test_a_weak_key_is_an_unusable_one() -> None:
    """Whoever catches the general error catches the weak key too, and as a ValueError."""
    assert issubclass(WeakKey, UnusableKey)
    assert issubclass(UnusableKey, ValueError)


def test_only_the_signature_step_takes_a_secret_unjudged() -> None:
    """A good secret and an unjudged one of the same bytes are the same key."""
    raw = make_hs256().private
    assert isinstance(raw, bytes)
    message = b"any"
    made = SigningKey("k", "HS256", raw).sign(message)
    assert Key.from_secret(raw).verify(message, made)
    assert Key.from_unjudged_secret(raw).verify(message, made)


def test_a_secret_is_taken_as_its_bytes() -> None:
    """Text is UTF-8; nothing is trimmed and nothing decoded."""
    key = Key.from_secret(f" {GOOD_SECRET}= ")
    assert key.verify(b"m", SigningKey("k", "HS256", f" {GOOD_SECRET}= ".encode()).sign(b"m"))
    assert not key.verify(b"m", SigningKey("k", "HS256", GOOD_SECRET.encode()).sign(b"m"))
