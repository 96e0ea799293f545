"""Names and secrets nobody can guess, and the hashes they are kept as."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_ALPHABET: Final = b"0123456789abcdefghjkmnpqrstvwxyz"
_OF_A_BYTE: Final = _ALPHABET * 8
_CHARACTERS: Final = 26


def new_id(prefix: str) -> str:
    """A public, stable name such as `u_…`: 130 random bits, never given twice."""
    return f"{prefix}_{secrets.token_bytes(_CHARACTERS).translate(_OF_A_BYTE).decode()}"


def new_secret() -> str:
    """A secret of 256 random bits, base64url."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored instead of a secret. It has 256 random bits, so one SHA-256 is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
