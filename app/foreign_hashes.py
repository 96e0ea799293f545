"""Password hashes that other systems made, checked until they are replaced at the next sign-in.

bcrypt, PBKDF2 as werkzeug writes it, and Django's `pbkdf2_sha256`. Those systems hashed what
was typed as it was, so nothing is normalised here. What one check may cost is bounded: a
hash beyond the bounds is not one of these. Knows nothing of users.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode
from typing import Final

import bcrypt
from werkzeug.security import check_password_hash

MAX_BCRYPT_COST: Final = 14
"""About a second; 12 is what most systems use."""

MAX_ITERATIONS: Final = 4_000_000
"""Of PBKDF2, three times Django's newest default."""

BCRYPT_BYTES: Final = 72
"""What bcrypt looks at; who had a longer password there needs a new one here."""

_BCRYPT: Final = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_WERKZEUG: Final = re.compile(
    r"pbkdf2:(?:sha1|sha256|sha512):([0-9]{1,8})\$[^$]{1,100}\$(?:[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128})"
)
_DJANGO: Final = re.compile(r"pbkdf2_sha256\$([0-9]{1,8})\$([^$]{1,100})\$([A-Za-z0-9+/]{43}=)")


def knows(stored: str) -> bool:
    """Say whether a hash is one of these, and not too costly to check."""
    if match := _BCRYPT.fullmatch(stored):
        return 4 <= int(match[1]) <= MAX_BCRYPT_COST
    match = _WERKZEUG.fullmatch(stored) or _DJANGO.fullmatch(stored)
    return match is not None and 0 < int(match[1]) <= MAX_ITERATIONS


def verify(stored: str, password: str) -> bool:
    """Say whether *password* is the one behind a hash that `knows` accepts."""
    typed = password.encode("utf-8")
    try:
        if stored.startswith("$2"):
            fits = len(typed) <= BCRYPT_BYTES
            return bcrypt.checkpw(typed[:BCRYPT_BYTES], stored.encode()) and fits
        if match := _DJANGO.fullmatch(stored):
            salt, wanted = match[2].encode(), b64decode(match[3])
            made = hashlib.pbkdf2_hmac("sha256", typed, salt, int(match[1]))
            return hmac.compare_digest(made, wanted)
        return check_password_hash(stored, password)
    except ValueError:
        return False
