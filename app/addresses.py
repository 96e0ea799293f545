"""E-mail addresses: what is one, and when two are the same.

An address is kept as it was typed and, folded, as a unique key; folding is done
here, never by the database, because databases fold differently.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

from email_validator import EmailNotValidError, validate_email

from app.errors import ValidationFailed

MAX_CHARACTERS: Final = 254
MAX_LOCAL: Final = 64

_PLAIN: Final = re.compile(r"([A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*)@([A-Za-z0-9.-]+)")
"""Local parts about which there is nothing to say but their length, and a domain."""


class Address(NamedTuple):
    """An address as it was typed, and its unique key."""

    typed: str
    key: str


def check(text: str) -> Address:
    """Read an address.

    :raises ValidationFailed: it is not an e-mail address.
    """
    typed = text.strip(" ")
    if (plain := _PLAIN.fullmatch(typed[: MAX_CHARACTERS + 1])) and len(plain[1]) <= MAX_LOCAL:
        domain = _normal_domain(plain[2])
        if domain is not None and len(typed) <= MAX_CHARACTERS:
            return Address(typed, f"{plain[1].lower()}@{domain}")
    return check_in_full(typed)


def check_in_full(text: str) -> Address:
    """Read any address; `check` knows a short way with most.

    :raises ValidationFailed: it is not an e-mail address.
    """
    typed = text.strip(" ")
    try:
        if len(typed) > MAX_CHARACTERS:
            raise EmailNotValidError
        normal = validate_email(typed, check_deliverability=False).normalized
        normal.encode("utf-8")
    except (EmailNotValidError, UnicodeError):
        message = "Enter an e-mail address such as ann@example.com."
        raise ValidationFailed({"email": [message]}) from None
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", normal).casefold())
    return Address(typed, key)


def fold_part(text: str) -> str:
    """What to look for in keys, to find addresses by a part of them; perhaps nothing."""
    shown = "".join(filter(str.isprintable, text[:MAX_CHARACTERS]))
    folded = unicodedata.normalize("NFKC", shown).casefold()
    return unicodedata.normalize("NFKC", folded).strip()


@lru_cache(maxsize=16_384)
def _normal_domain(domain: str) -> str | None:
    """A domain as it is compared, or None for what is none; most addresses share theirs."""
    try:
        normal = validate_email(f"x@{domain}", check_deliverability=False).domain
    except EmailNotValidError:
        return None
    return normal if normal.isascii() else None


def fold(text: str) -> str | None:
    """The unique key of an address, or None for what is no address."""
    try:
        return check(text).key
    except ValidationFailed:
        return None
