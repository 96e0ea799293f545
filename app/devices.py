"""Known devices: browsers in which a user has proved their present password before.

Such a browser holds a mark, a MAC by a key of the server (HKDF, RFC 5869) over a random
name and the user, in a cookie. It lets nobody in. It only says that tries from there are
counted apart from everybody else's (OWASP, "Slow Down Online Guessing Attacks with Device
Cookies"). With another password all marks of a user are worthless: so nobody can collect
them and have more tries than others later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Final

from flask import current_app

from app.db import to_microseconds, utcnow
from app.ids import new_id
from app.secret_key import SecretKey

PURPOSE: Final = "known devices v1"
LIFETIME: Final = timedelta(days=365)

_MARK: Final = re.compile(r"(d_[0-9a-z]{26})\.([0-9]{1,12})\.[\w-]{43}", re.ASCII)


def mark(user: str, password_changed_at: datetime, now: datetime | None = None) -> str:
    """Make the mark of a browser in which a user has just proved their password.

    :param user: the user's public id, which cannot be read in the mark.
    """
    unsigned = f"{new_id('d')}.{int((now or utcnow()).timestamp())}"
    return _signed(unsigned, user, password_changed_at, _keys()[0])


def recognise(text: str, user: str, password_changed_at: datetime, now: datetime) -> str | None:
    """The random name in a mark, if it was made for this user and their present password."""
    parts = _MARK.fullmatch(text)
    if parts is None or int(parts[2]) + LIFETIME.total_seconds() < now.timestamp():
        return None
    unsigned, _, _ = text.rpartition(".")
    made = (_signed(unsigned, user, password_changed_at, key) for key in _keys())
    return parts[1] if any(hmac.compare_digest(text, one) for one in made) else None


def _signed(unsigned: str, user: str, password_changed_at: datetime, key: bytes) -> str:
    content = f"{unsigned}.{user}.{to_microseconds(password_changed_at)}"
    mac = hmac.digest(key, content.encode(), hashlib.sha256)
    return f"{unsigned}.{urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _keys() -> tuple[bytes, ...]:
    secret_key: SecretKey = current_app.extensions["foxtrot_secret_key"]
    return secret_key.derive_all(PURPOSE)
