"""Hash passwords, check them, judge new ones.

Hashes are werkzeug's scrypt or Argon2id in PHC form, each with its parameters
inside; those of other systems are checked by `foreign_hashes` until the next sign-in. A
password is normalised (NFKC, NIST SP 800-63B-4 section 3.1.1.2) the same way when it is
set and when it is checked. Knows nothing of users.
"""

from __future__ import annotations

import os
import re
import unicodedata
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from werkzeug.security import check_password_hash, generate_password_hash
from zxcvbn import zxcvbn

from app import foreign_hashes

MAX_BYTES: Final = 1024
MIN_SCORE: Final = 3
MAX_MEMORY_BYTES: Final = 129 * 1024 * 1024
MAX_SCRYPT_WORK: Final = 2**22
MAX_ARGON2ID_WORK: Final = 2**20
ARGON2ID_DEFAULT: Final = "argon2id:19456:2:1"
"""An OWASP row: 19 MiB, 2 passes, 1 lane."""

_ZXCVBN_CHARACTERS: Final = 72
_LOOK_ALIKES: Final = "4@8({[<369&1!|/0$5+7%2"
_MAX_LOOK_ALIKES: Final = 8
_SCRYPT: Final = re.compile(r"scrypt:([0-9]{1,10}):([0-9]{1,5}):([0-9]{1,5})\$[^$]+\$[0-9a-f]+")
_ARGON2ID: Final = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,5}),p=([0-9]{1,3})\$[^$]+\$[^$]+"
)


def normalise(password: str) -> bytes | None:
    """The bytes that are hashed, or None for what can never be a password.

    NUL, because HMAC pads keys with it (`abc` would match `abc\\0`); what is not
    Unicode text; more than 1,024 bytes.
    """
    try:
        encoded = unicodedata.normalize("NFKC", password).encode("utf-8")
    except UnicodeEncodeError:
        return None
    return None if b"\0" in encoded or len(encoded) > MAX_BYTES else encoded


def hash_password(password: str, method: str) -> str:
    """Hash an acceptable password by *method*, `scrypt:N:r:p` or `argon2id:KiB:passes:lanes`."""
    encoded = normalise(password)
    if encoded is None:
        raise ValueError("not a password")
    if method.startswith("scrypt:"):
        return generate_password_hash(encoded.decode(), method)
    memory, passes, lanes = _argon2id_parameters(method)
    kdf = Argon2id(
        salt=os.urandom(16), length=32, iterations=passes, lanes=lanes, memory_cost=memory
    )
    return kdf.derive_phc_encoded(encoded)


def verify(stored: str | None, password: str, method: str) -> bool:
    """Say whether *password* is the one behind the hash *stored*.

    For nobody (None), an unreadable hash or an absurd one it costs what one of
    the current *method* costs, so that time tells nothing, and says no.
    """
    encoded = normalise(password)
    if encoded is None:
        encoded, stored = b"", None
    if stored is not None and foreign_hashes.knows(stored):
        return foreign_hashes.verify(stored, password)
    if stored is not None and _is_scrypt(stored):
        return _check_scrypt(stored, encoded)
    if stored is not None and _is_argon2id(stored):
        return _check_argon2id(stored, encoded)
    hash_password("nobody", method)
    return False


def compare(
    stored: str | None, password: str, method: str, *, renews: bool
) -> tuple[bool, str | None]:
    """As `verify`, and besides a hash by *method*, if it is right and was made by another one."""
    is_right = verify(stored, password, method)
    if stored is None or not is_right or not renews or not needs_rehash(stored, method):
        return is_right, None
    return True, hash_password(password, method)


def can_verify(stored: str) -> bool:
    """Say whether a hash is one that `verify` checks: readable, and not too costly."""
    return _is_scrypt(stored) or _is_argon2id(stored) or foreign_hashes.knows(stored)


def _is_scrypt(stored: str) -> bool:
    scrypt = _SCRYPT.fullmatch(stored)
    if scrypt is None:
        return False
    n, r, p = (int(number) for number in scrypt.groups())
    return 128 * r * (n + p) <= MAX_MEMORY_BYTES and 0 < n * r * p <= MAX_SCRYPT_WORK


def _is_argon2id(stored: str) -> bool:
    argon2id = _ARGON2ID.fullmatch(stored)
    if argon2id is None:
        return False
    memory, passes, _ = (int(number) for number in argon2id.groups())
    return memory * 1024 <= MAX_MEMORY_BYTES and 0 < memory * passes <= MAX_ARGON2ID_WORK


def needs_rehash(stored: str, method: str) -> bool:
    """Say whether a hash was made by other parameters than those of *method*."""
    if method.startswith("scrypt:"):
        return not stored.startswith(f"{method}$")
    memory, passes, lanes = _argon2id_parameters(method)
    return not stored.startswith(f"$argon2id$v=19$m={memory},t={passes},p={lanes}$")


def weaknesses(password: str, *, min_length: int, context: list[str]) -> list[str]:
    """Say, to the person, what keeps *password* from being accepted; nothing if it is.

    *context* are words that a guesser would try first: name, address, site.
    """
    encoded = normalise(password)
    if encoded is None:
        return [f"Use at most {MAX_BYTES} bytes of ordinary text."]
    normal = encoded.decode()
    if len(normal) < min_length:
        missing = min_length - len(normal)
        characters = "character" if missing == 1 else "characters"
        return [f"Use at least {min_length} characters: {missing} {characters} to go."]
    if _is_made_of(normal, context):
        return ["This is made of your address or of this site's name. Use other words."]
    looked_at = _bounded(normal)
    without_gaps = _without_gaps(looked_at) or looked_at
    verdicts = [zxcvbn(text, user_inputs=context) for text in {looked_at, without_gaps}]
    verdict = min(verdicts, key=lambda verdict: int(verdict["score"]))
    if verdict["score"] >= MIN_SCORE:
        return []
    feedback = verdict["feedback"]
    advice = [feedback["warning"], *feedback["suggestions"]]
    return [line for line in advice if line] or ["This is too easy to guess. Add more words."]


def _is_made_of(text: str, context: list[str]) -> bool:
    """Say whether hardly anything is left of a text without the words of its context."""
    rest = text.casefold()
    for word in sorted(context, key=len, reverse=True):
        rest = rest.replace(word.casefold(), "") if len(word) > 2 else rest
    return rest != text.casefold() and len(re.sub(r"[\s!-/:-@\[-`{-~]+", "", rest)) < 4


def _without_gaps(text: str) -> str:
    """Words run together; also those between signs, where it is one word again and again."""
    words = [word for word in re.split(r"[\W_]+", text.casefold()) if word]
    if len(words) > 1 and len(set(words)) == 1:
        return "".join(words)
    return re.sub(r"[\s._-]+", "", text)


def _bounded(text: str) -> str:
    """What zxcvbn may look at: its time grows steeply with the look-alike symbols.

    Leaving some out can only make the judgement stricter.
    """
    symbols = [symbol for symbol in dict.fromkeys(text) if symbol in _LOOK_ALIKES]
    surplus = set(symbols[_MAX_LOOK_ALIKES:])
    kept = "".join(character for character in text if character not in surplus)
    return kept[:_ZXCVBN_CHARACTERS]


def _argon2id_parameters(method: str) -> tuple[int, int, int]:
    method = ARGON2ID_DEFAULT if method == "argon2id" else method
    memory, passes, lanes = (int(number) for number in method.split(":")[1:])
    return memory, passes, lanes


def _check_scrypt(stored: str, encoded: bytes) -> bool:
    try:
        return check_password_hash(stored, encoded.decode())
    except (ValueError, MemoryError):
        return False


def _check_argon2id(stored: str, encoded: bytes) -> bool:
    try:
        Argon2id.verify_phc_encoded(encoded, stored)
    except (InvalidKey, ValueError, MemoryError):
        return False
    return True
