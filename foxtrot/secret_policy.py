"""What a shared secret has to be before it may verify anything.

It is asked once, when the secret is loaded: whether it is a secret at all, whether it is long
enough (RFC 7518 section 3.2), and whether it can be guessed (RFC 8725 section 3.5).
"""

from __future__ import annotations

from base64 import b64decode
from typing import Final

from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import InvalidKeyError

from foxtrot.errors import UnusableKey, WeakKey

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 section 3.2: an HS256 key has at least the size of the hash."""

_HOW: Final = "Make a good one with `openssl rand -base64 48`."

_HS256: Final = HMACAlgorithm(HMACAlgorithm.SHA256)

WELL_KNOWN_SECRETS: Final = frozenset(
    {
        "a-string-secret-at-least-256-bits-long",
        "admin",
        "change-me",
        "change-this",
        "change_me",
        "changeme",
        "changethis",
        "default",
        "dev",
        "development",
        "django-insecure",
        "example",
        "foxtrot",
        "hello-world",
        "helloworld",
        "insecure",
        "jwt-secret",
        "jwt-secret-key",
        "jwt_secret",
        "jwt_secret_key",
        "jwtsecret",
        "keyboard-cat",
        "keyboardcat",
        "letmein",
        "my-secret",
        "my-secret-key",
        "my_secret",
        "mysecret",
        "none",
        "null",
        "passw0rd",
        "password",
        "please-change-me",
        "qwerty",
        "replace-me",
        "replaceme",
        "root",
        "secret",
        "secret-key",
        "secret_key",
        "secretkey",
        "shhhhh",
        "shhhhhared-secret",
        "super-secret",
        "super-secret-key",
        "super_secret_key",
        "supersecret",
        "supersecretkey",
        "test",
        "testing",
        "this-is-a-secret",
        "thisisasecret",
        "top-secret",
        "topsecret",
        "your-256-bit-secret",
        "your-256-bit-secret-here",
        "your-secret",
        "your-secret-key",
        "your-secret-key-change-in-production",
        "your_secret",
        "your_secret_key",
    }
)
"""Secrets of tutorials, test suites and debugger pages: everybody has them."""


def secret_bytes(secret: str | bytes) -> bytes:
    """The bytes of a secret, however weak.

    :raises WeakKey: it is empty.
    :raises UnusableKey: it is neither string nor bytes, or a public key, a certificate or a JWK.
    """
    if not isinstance(secret, str | bytes):
        raise UnusableKey("A shared secret is a string or bytes.")
    if not secret:
        raise WeakKey(f"The shared secret is empty. {_HOW}")
    try:
        material = _HS256.prepare_key(secret)
    except InvalidKeyError as error:
        raise UnusableKey(str(error)) from None
    return material


def refuse_encoded_public_key(secret: bytes) -> None:
    """Refuse a public key that lost its PEM frame on the way into the wrong setting."""
    packed = b"".join(secret.split()).translate(bytes.maketrans(b"-_", b"+/"))
    try:
        decoded = b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except ValueError:
        return
    try:
        _HS256.prepare_key(decoded or b"empty")
    except InvalidKeyError:
        raise UnusableKey("This is a public key in base64, not a secret.") from None


def refuse_weak_secret(secret: bytes) -> None:
    """Raise `WeakKey` for a secret that is short, repetitive or publicly known."""
    secret = secret.rstrip(b"\0")  # HMAC pads with zeros: they add nothing
    text = secret.decode("utf-8", "replace").strip().casefold()
    if text in WELL_KNOWN_SECRETS:
        raise WeakKey(f"The secret {text!r} stands in tutorials: everybody knows it. {_HOW}")
    if len(secret) < MIN_SECRET_BYTES:
        raise WeakKey(
            f"A shared secret needs at least {MIN_SECRET_BYTES} bytes (RFC 7518 section 3.2);"
            f" this one has {len(secret)}. {_HOW}"
        )
    if len(set(secret)) < 8 or _is_repetition(secret) or _repeats_known(text):
        raise WeakKey(f"The secret repeats itself and can be guessed. {_HOW}")


def _is_repetition(secret: bytes) -> bool:
    """Say whether *secret* is a text of fewer than 32 bytes, written twice or more."""
    longest = min(len(secret) // 2, MIN_SECRET_BYTES - 1)
    return any(secret[length:] == secret[:-length] for length in range(1, longest + 1))


def _repeats_known(text: str) -> bool:
    """Say whether *text* is a well-known secret written several times over."""
    return any(
        len(known) >= 3 and not text.replace(known, "").strip("-_ 0123456789")
        for known in WELL_KNOWN_SECRETS
    )
