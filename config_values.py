"""What the values of settings may be: each alone, as text that becomes a value, and together.

A cast takes the text of one setting and gives its value, or raises ValueError, which says what
was expected; `config` puts the name before it. `check_together` refuses values that make sense
alone, but not beside each other.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from publicsuffixlist import PublicSuffixList

from foxtrot.secret_policy import refuse_weak_secret

MINUTE, HOUR, DAY = 60, 3_600, 86_400


class ConfigError(Exception):
    """A setting is missing, unknown or has a value that makes no sense."""


def printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text without control characters")
    return text.strip()


def one_of(*choices: str) -> Callable[[str], str]:
    def cast(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return cast


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def cast(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return cast


_UNITS: Final = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}


def duration(low: int, high: int) -> Callable[[str], int]:
    """Seconds, or a number with a unit: 90s, 15m, 12h, 30d."""

    def cast(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
        seconds = int(match[1]) * _UNITS[match[2] or "s"] if match else -1
        if not low <= seconds <= high:
            raise ValueError(
                f"a duration such as 90s, 15m, 12h or 30d, from {low} to {high} seconds"
            )
        return seconds

    return cast


class Rate(NamedTuple):
    """So many in so many seconds; of several, all hold together."""

    limit: int
    seconds: int

    def __str__(self) -> str:
        unit = max(unit for unit in _UNITS.values() if self.seconds % unit == 0)
        name = next(name for name, seconds in _UNITS.items() if seconds == unit)
        return f"{self.limit}/{self.seconds // unit}{name}"


def rates(text: str) -> tuple[Rate, ...]:
    """One or several of so many in a duration, such as 10/15m,30/1d; none for no limit."""
    parts = [re.sub(r"\s", "", part) for part in text.split(",")]
    return () if parts == ["off"] else tuple(dict.fromkeys(map(_rate, parts)))


def _rate(text: str) -> Rate:
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,8}[smhd])", text)
    try:
        return Rate(whole_number(1, 1_000_000)(match[1]), duration(1, 366 * DAY)(match[2]))  # type: ignore[index]  # None is caught
    except (TypeError, ValueError):
        raise ValueError(
            "a number and a duration such as 10/15m (ten in fifteen minutes; s, m, h or d), up to"
            " 1000000 and 366d, several such as 10/15m,30/1d, or off"
        ) from None


_HOST: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|[0-9a-f:.]+"


def public_url(text: str) -> str:
    """An origin: scheme, host and, where it is not the usual one, port."""
    expected = "a URL such as https://login.example.com: http or https, host, no path"
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(expected) from None
    extras = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    is_host = len(host) <= 253 and re.fullmatch(_HOST, host)
    if parts.scheme not in ("http", "https") or extras or not is_host or port == 0:
        raise ValueError(expected)
    usual = {"http": 80, "https": 443}[parts.scheme]
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")


def origins(text: str) -> tuple[str, ...]:
    """Origins, each like the public URL, separated by commas or spaces."""
    return tuple(dict.fromkeys(public_url(origin) for origin in re.split(r"[\s,]+", text.strip())))


def names(text: str) -> tuple[str, ...]:
    """Names without spaces, separated by commas or spaces."""
    found = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip())))
    if not all(re.fullmatch(r"[A-Za-z0-9._:/-]{1,100}", name) for name in found):
        raise ValueError("names of letters, digits and . _ : / -, separated by commas")
    return found


def user_scopes(text: str) -> tuple[str, ...]:
    """Scopes for everybody, who must not all be administrators."""
    scopes = names(text)
    if "admin" in scopes:
        raise ValueError("scopes that everybody may hold; admin is given to single users")
    return scopes


def strong_secret(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text of printable characters")
    refuse_weak_secret(text.encode())
    return text


def strong_secrets(text: str) -> tuple[str, ...]:
    """Secrets, each as strong as a single one has to be; a JSON list where they hold commas."""
    try:
        listed = json.loads(text) if text.lstrip().startswith("[") else re.split(r"[\s,]+", text)
    except (ValueError, RecursionError):
        listed = []
    secrets = [secret for secret in listed if secret] if isinstance(listed, list) else []
    if not secrets or not all(isinstance(secret, str) for secret in secrets):
        raise ValueError('secrets separated by commas, or a JSON list such as ["…", "…"]')
    return tuple(dict.fromkeys(map(strong_secret, secrets)))


def database_url(text: str) -> str:
    """A SQLite or PostgreSQL URL; PostgreSQL is spoken to by psycopg 3."""
    url = re.sub(r"^postgres(ql)?(\+psycopg)?://", "postgresql+psycopg://", text.strip())
    expected = "sqlite:////path/to/file or postgresql://user:password@host/name"
    if not url.startswith(("sqlite:///", "postgresql+psycopg://")) or not url.isprintable():
        raise ValueError(expected)
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise ValueError(expected) from None
    if url.removeprefix("sqlite:///") in ("", ":memory:"):
        raise ValueError("a file: a database in memory forgets its users")
    return url


def redis_url(text: str) -> str:
    """The URL of one Valkey or Redis server; how long it is waited for is not to be said there."""
    expected = "valkey://:password@host:6379/0, valkeys:// with TLS, or unix:///path/to/socket"
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    is_network = parts.scheme in ("redis", "rediss", "valkey", "valkeys") and parts.hostname
    is_socket = parts.scheme == "unix" and parts.path.startswith("/")
    has_database = re.fullmatch(r"/?[0-9]{0,4}", parts.path) is not None
    if parts.query or parts.fragment or port == 0 or not text.isprintable():
        raise ValueError(expected)
    if not (is_socket or (is_network and has_database)):
        raise ValueError(expected)
    return text.strip()


MAX_HASH_BYTES: Final = 128 * 1024 * 1024
MAX_SCRYPT_WORK: Final = 2**22  # N·r·p: six times the default
MAX_ARGON2ID_WORK: Final = 2**20  # KiB·passes


def password_hash(text: str) -> str:
    """A method within bounds: what is accepted here can be computed on a small machine."""
    scrypt = re.fullmatch(r"scrypt:([0-9]{1,7}):([0-9]{1,2}):([0-9]{1,2})", text)
    argon2id = re.fullmatch(r"argon2id:([0-9]{1,6}):([0-9]{1,2}):([0-9])", text)
    if scrypt:
        n, r, p = (int(number) for number in scrypt.groups())
        in_bounds = 128 * n * r <= MAX_HASH_BYTES and n * r * p <= MAX_SCRYPT_WORK
        if n >= 1024 and n & (n - 1) == 0 and r and p and in_bounds:
            return text
    if argon2id:
        memory, passes, lanes = (int(number) for number in argon2id.groups())
        in_bounds = memory * 1024 <= MAX_HASH_BYTES and memory * passes <= MAX_ARGON2ID_WORK
        if memory >= 1024 and passes and 1 <= lanes <= 8 and in_bounds:
            return text
    if text == "argon2id":
        return text
    raise ValueError("scrypt:N:r:p (scrypt:16384:8:5), argon2id or argon2id:KiB:passes:lanes")


def hook(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ValueError("module:function")
    return text


def check_together(settings: dict[str, Any]) -> None:
    """Refuse values that make sense alone but not beside each other."""
    shared, own = settings["FOXTROT_SHARED_SECRET"], settings["FOXTROT_SECRET_KEY"]
    if settings["FOXTROT_ALGORITHM"] == "HS256" and shared is None:
        raise ConfigError(
            "FOXTROT_ALGORITHM=HS256 needs FOXTROT_SHARED_SECRET, the secret that the services"
            " share. Make one with `openssl rand -base64 48`."
        )
    if shared is not None and shared == own:
        raise ConfigError(
            "FOXTROT_SHARED_SECRET must differ from FOXTROT_SECRET_KEY: services must not be able"
            " to read what this one encrypts."
        )
    settings["FOXTROT_SECRET_KEY_FALLBACKS"] = settings["FOXTROT_SECRET_KEY_FALLBACKS"] or ()
    if shared is not None and shared in settings["FOXTROT_SECRET_KEY_FALLBACKS"]:
        raise ConfigError(
            "FOXTROT_SHARED_SECRET must not be among FOXTROT_SECRET_KEY_FALLBACKS: services must"
            " not be able to read what was encrypted with it."
        )
    if own is None and not settings["FOXTROT_DATABASE_URL"].startswith("sqlite"):
        raise ConfigError(
            "FOXTROT_SECRET_KEY is needed with a database other than SQLite, so that all machines"
            " have the same. Make one with `openssl rand -base64 48`."
        )
    if settings["FOXTROT_SESSION_IDLE_LIMIT"] > settings["FOXTROT_SESSION_ABSOLUTE_LIMIT"]:
        raise ConfigError(
            "FOXTROT_SESSION_IDLE_LIMIT must not be longer than FOXTROT_SESSION_ABSOLUTE_LIMIT."
        )
    settings["FOXTROT_ORIGINS"] = settings["FOXTROT_ORIGINS"] or ()
    for origin in settings["FOXTROT_ORIGINS"]:
        _refuse_other_site(origin, settings["FOXTROT_PUBLIC_URL"] or "http://localhost")
    if settings["FOXTROT_REGISTRATION"] is None:
        settings["FOXTROT_REGISTRATION"] = "open" if is_loopback_mode(settings) else "closed"


def _refuse_other_site(origin: str, public_url: str) -> None:
    """A cookie that is SameSite=Lax never travels from there, so it would not work.

    A site is a scheme and a registrable domain (https://html.spec.whatwg.org/#sites).
    """
    if _site(origin) != _site(public_url):
        raise ConfigError(
            f"FOXTROT_ORIGINS: {origin} is another site than {public_url}, so browsers would not"
            " send the cookie from there. A front end needs the same scheme and the same"
            " registrable domain, such as https://notes.example.com beside"
            " https://login.example.com."
        )


def _site(origin: str) -> tuple[str, str]:
    parts = urlsplit(origin)
    host = parts.hostname or ""
    is_address = re.fullmatch(r"[0-9.]+|.*:.*", host)
    domain = None if is_address else PublicSuffixList().privatesuffix(host)
    return parts.scheme, domain or host


def is_loopback_mode(settings: Mapping[str, Any]) -> bool:
    """Say whether the service is for this machine alone."""
    url = settings["FOXTROT_PUBLIC_URL"]
    return url is None or is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine (RFC 6761 section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
