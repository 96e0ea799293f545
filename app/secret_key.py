"""The service's own secret, and the keys that are derived from it.

From the setting, or from a file that is made once and never made over. Every
purpose has a key of its own (HKDF, RFC 5869), so that none can be used for
another. A secret can be changed: those before it (`FOXTROT_SECRET_KEY_FALLBACKS`)
still open what was made with them, and nothing new is made with them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.errors import StartRefused

FILE_NAME: Final = "secret"
_FILE_CHARACTERS: Final = 64


class SecretKey:
    """The secret, and where it came from (for messages).

    :param fallbacks: the secrets before this one, the newest first.
    :raises TypeError: the fallbacks are one string, which would be taken for one-letter secrets.
    """

    def __init__(self, secret: str, origin: str, fallbacks: Sequence[str] = ()) -> None:
        if isinstance(fallbacks, str):
            raise TypeError("fallbacks is a list of secrets, not one string.")
        self._secrets = [text.encode() for text in dict.fromkeys((secret, *fallbacks))]
        self._derived: dict[str, tuple[bytes, ...]] = {}
        self.origin = origin

    def __repr__(self) -> str:
        return f"<SecretKey from {self.origin}>"

    def derive(self, purpose: str) -> bytes:
        """Give the 256-bit key for one purpose; with it new things are made."""
        return self.derive_all(purpose)[0]

    def derive_all(self, purpose: str) -> tuple[bytes, ...]:
        """Give the keys for one purpose of every secret, the current one's first.

        What was made with one of the others is to be found or opened with it still.
        """
        if purpose not in self._derived:
            self._derived[purpose] = tuple(_hkdf(secret, purpose) for secret in self._secrets)
        return self._derived[purpose]


def _hkdf(secret: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=f"foxtrot {purpose}".encode()).derive(secret)


def exists(data_dir: Path) -> bool:
    """Say whether a secret file was made here before."""
    return (data_dir / FILE_NAME).exists()


def from_file(data_dir: Path, *, may_create: bool, fallbacks: Sequence[str] = ()) -> SecretKey:
    """Read the secret file, or make it while nothing depends on it.

    :raises StartRefused: the file is missing though needed, or is not what it was.
    """
    path = data_dir / FILE_NAME
    if may_create:
        _create_once(path)
    try:
        content = path.read_text("ascii").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise StartRefused(
            f"The secret file {path} is missing, and the database holds keys that only it opens."
            " Put it back from the backup."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise StartRefused(f"The secret file {path} cannot be read: {error}.") from None
    if len(content) != _FILE_CHARACTERS:
        raise StartRefused(
            f"The secret file {path} is empty, cut or not ours: expected {_FILE_CHARACTERS}"
            f" characters, found {len(content)}. Put it back from the backup."
        )
    if mode & 0o077:
        raise StartRefused(
            f"The secret file {path} can be read by other users of this machine."
            f" Run: chmod 600 {path}"
        )
    return SecretKey(content, str(path), fallbacks)


def _create_once(path: Path) -> None:
    """Make the file, whole or not at all, unless it is there.

    Written beside and then linked into place: of several processes one wins, and
    nobody ever reads half a secret.
    """
    if path.exists():
        return
    beside = path.with_name(f"{FILE_NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)
    except FileExistsError:
        pass
    except OSError as error:
        raise StartRefused(f"The secret file {path} cannot be made: {error}.") from None
    finally:
        beside.unlink(missing_ok=True)
