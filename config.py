"""Every setting of the login service: its name, type, default and meaning.

`load` reads them once, from a mapping of environment variables, and refuses
what it does not understand with the setting's name and what was expected. The
`.env.example` and the table in the docs are made from `SETTINGS`
(`flask config example`, `flask config table`).
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from dotenv import dotenv_values
from publicsuffixlist import PublicSuffixList

from foxtrot.errors import WeakKey
from foxtrot.secret_policy import refuse_weak_secret

ROOT: Final = Path(__file__).resolve().parent
PREFIX: Final = "FOXTROT_"
MINUTE, HOUR, DAY = 60, 3_600, 86_400


class ConfigError(Exception):
    """A setting is missing, unknown or has a value that makes no sense."""


@dataclass(frozen=True)
class Setting:
    """One setting. `cast` turns its text into a value or raises ValueError."""

    name: str
    cast: Callable[[str], Any]
    default: str | None
    help: str
    secret: bool = False


def environment() -> dict[str, str]:
    """The process environment, over what the file `.env` beside this one says.

    :raises ConfigError: the file cannot be read.
    """
    try:
        from_file = dotenv_values(ROOT / ".env")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {ROOT / '.env'} cannot be read: {error}.") from None
    return {**{name: value or "" for name, value in from_file.items()}, **os.environ}


def load(environ: Mapping[str, str]) -> dict[str, Any]:
    """Read all settings; the keys are the full names.

    :raises ConfigError: naming the setting, what was wrong and what was expected.
    """
    _refuse_unknown(environ)
    settings = {setting.name: _read(setting, environ) for setting in SETTINGS}
    _check_together(settings)
    return settings


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    if "FOXTROT_AUDIENCES" in environ:
        raise ConfigError(_in_place_of_audiences(environ["FOXTROT_AUDIENCES"]))
    known = {setting.name for setting in SETTINGS}
    known |= {f"{setting.name}_FILE" for setting in SETTINGS if setting.secret}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known:
            similar = difflib.get_close_matches(name, sorted(known), 1)
            guess = f" Did you mean {similar[0]}?" if similar else ""
            raise ConfigError(f"{name} is not a setting.{guess} See docs/settings.md.")


def _in_place_of_audiences(text: str) -> str:
    """What to do about a setting of earlier versions."""
    names = [name for name in re.split(r"[\s,]+", text) if name and name != "notes"]
    commands = "; ".join(f"flask services add {name}" for name in names)
    return (
        "FOXTROT_AUDIENCES is no setting any more: services are in the database, and notes is"
        " there already. Remove the setting" + (f", and run: {commands}" if commands else ".")
    )


def _read(setting: Setting, environ: Mapping[str, str]) -> Any:
    text = _text_of(setting, environ)
    if text is None:
        return None
    if not text.strip():
        raise ConfigError(f"{setting.name} is empty. Give it a value or remove it.")
    try:
        return setting.cast(text)
    except WeakKey as error:
        raise ConfigError(f"{setting.name} is refused: {error}") from None
    except ValueError as error:
        shown = "its value" if setting.secret else repr(text)
        raise ConfigError(f"{setting.name}: {shown} is refused; expected {error}.") from None


def _text_of(setting: Setting, environ: Mapping[str, str]) -> str | None:
    """The setting's text, from the variable or from the file that `…_FILE` names."""
    text = environ.get(setting.name)
    path = environ.get(f"{setting.name}_FILE") if setting.secret else None
    if path is None:
        return text if text is not None else setting.default
    if text is not None:
        raise ConfigError(f"Give either {setting.name} or {setting.name}_FILE, not both.")
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{setting.name}_FILE: {path!r} cannot be read: {error}.") from None


def _check_together(settings: dict[str, Any]) -> None:
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


def masked(secret: str) -> str:
    """What may be shown of a secret: of a database URL, where it leads."""
    if secret.startswith("sqlite:///"):
        return secret
    if not secret.startswith(("postgresql://", "postgresql+psycopg://")):
        return "(set)"
    parts = urlsplit(secret)
    login, at, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0] + ":***" if ":" in login else login
    return f"{parts.scheme}://{user}{at}{host}{parts.path}"


def example() -> str:
    """The content of `.env.example`."""
    lines = ["# Every setting, with its default. Copy to .env and change what you need.", ""]
    for setting in SETTINGS:
        lines += textwrap.wrap(
            setting.help.replace("`", ""), 78, initial_indent="# ", subsequent_indent="# "
        )
        lines += [f"#{setting.name}={_shown_default(setting)}", ""]
    return "\n".join(lines)


def table() -> str:
    """The table of settings in the docs."""
    lines = ["| setting | default | meaning |", "| --- | --- | --- |"]
    for setting in SETTINGS:
        default = _shown_default(setting)
        cell = f"`{default}`" if default else "unset"
        name = f"`{setting.name}`" + (" or `…_FILE`" if setting.secret else "")
        lines.append(f"| {name} | {cell} | {setting.help} |")
    return "\n".join(lines) + "\n"


def _shown_default(setting: Setting) -> str:
    return (setting.default or "").replace(str(ROOT) + "/", "")


# Casts: text in, value out, or a ValueError that says what was expected.


def _text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text without control characters")
    return text.strip()


def _one_of(*choices: str) -> Callable[[str], str]:
    def cast(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return text

    return cast


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def cast(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return cast


_UNITS: Final = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}


def _duration(low: int, high: int) -> Callable[[str], int]:
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


def _rates(text: str) -> tuple[Rate, ...]:
    """One or several of so many in a duration, such as 10/15m,30/1d; none for no limit."""
    parts = [re.sub(r"\s", "", part) for part in text.split(",")]
    return () if parts == ["off"] else tuple(dict.fromkeys(map(_rate, parts)))


def _rate(text: str) -> Rate:
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,8}[smhd])", text)
    try:
        return Rate(_whole_number(1, 1_000_000)(match[1]), _duration(1, 366 * DAY)(match[2]))  # type: ignore[index]  # None is caught
    except (TypeError, ValueError):
        raise ValueError(
            "a number and a duration such as 10/15m (ten in fifteen minutes; s, m, h or d), up to"
            " 1000000 and 366d, several such as 10/15m,30/1d, or off"
        ) from None


_HOST: Final = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|[0-9a-f:.]+"


def _public_url(text: str) -> str:
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


def _origins(text: str) -> tuple[str, ...]:
    """Origins, each like the public URL, separated by commas or spaces."""
    return tuple(dict.fromkeys(_public_url(origin) for origin in re.split(r"[\s,]+", text.strip())))


def _names(text: str) -> tuple[str, ...]:
    """Names without spaces, separated by commas or spaces."""
    names = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip())))
    if not all(re.fullmatch(r"[A-Za-z0-9._:/-]{1,100}", name) for name in names):
        raise ValueError("names of letters, digits and . _ : / -, separated by commas")
    return names


def _user_scopes(text: str) -> tuple[str, ...]:
    """Scopes for everybody, who must not all be administrators."""
    scopes = _names(text)
    if "admin" in scopes:
        raise ValueError("scopes that everybody may hold; admin is given to single users")
    return scopes


def _strong_secret(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a text of printable characters")
    refuse_weak_secret(text.encode())
    return text


def _strong_secrets(text: str) -> tuple[str, ...]:
    """Secrets, each as strong as a single one has to be; a JSON list where they hold commas."""
    try:
        listed = json.loads(text) if text.lstrip().startswith("[") else re.split(r"[\s,]+", text)
    except (ValueError, RecursionError):
        listed = []
    secrets = [secret for secret in listed if secret] if isinstance(listed, list) else []
    if not secrets or not all(isinstance(secret, str) for secret in secrets):
        raise ValueError('secrets separated by commas, or a JSON list such as ["…", "…"]')
    return tuple(dict.fromkeys(map(_strong_secret, secrets)))


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


def _redis_url(text: str) -> str:
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


def _password_hash(text: str) -> str:
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


def _hook(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        raise ValueError("module:function")
    return text


SETTINGS: Final = (
    Setting(
        "FOXTROT_PUBLIC_URL",
        _public_url,
        None,
        "Where people reach this service, and the issuer (`iss`) of its tokens, such as"
        " `https://login.example.com`. Unset: only this machine is served, at any loopback name.",
    ),
    Setting(
        "FOXTROT_ORIGINS",
        _origins,
        None,
        "Front ends on other origins that may sign people in with the cookie and get tokens for the"
        " services, though not for this one, such as `https://notes.example.com`, separated by"
        " commas. Each must be same-site with the public URL.",
    ),
    Setting(
        "FOXTROT_SITE_NAME",
        _text,
        "Foxtrot",
        "The name that pages show to people.",
    ),
    Setting(
        "FOXTROT_REGISTRATION",
        _one_of("open", "closed"),
        None,
        "`open`: anybody may create an account. `closed`: `flask users create` only. Unset: open"
        " while only this machine is served.",
    ),
    Setting(
        "FOXTROT_DATA_DIR",
        _text,
        str(ROOT / "instance"),
        "Folder for the SQLite database and the secret file. Unset: `instance/` in the checkout.",
    ),
    Setting(
        "FOXTROT_DATABASE_URL",
        database_url,
        "sqlite:///foxtrot.sqlite3",
        "`sqlite:///file` (in the data folder unless absolute) or"
        " `postgresql://user:password@host/name`.",
        secret=True,
    ),
    Setting(
        "FOXTROT_SECRET_KEY",
        _strong_secret,
        None,
        "Encrypts what this service keeps secret, at least 32 bytes. Unset with SQLite: made at"
        " first start, in the file `secret` of the data folder. Never give it to another service.",
        secret=True,
    ),
    Setting(
        "FOXTROT_SECRET_KEY_FALLBACKS",
        _strong_secrets,
        None,
        "The secrets before it, separated by commas, newest first: they open what was encrypted"
        " with them, until `flask keys rewrap`.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ALGORITHM",
        _one_of("ES256", "EdDSA", "RS256", "HS256"),
        "ES256",
        "How access tokens are signed. `HS256` shares one secret with all services. A change takes"
        " effect some minutes after the start, once every service can know the new key.",
    ),
    Setting(
        "FOXTROT_KEY_ROTATION_DAYS",
        _whole_number(0, 3650),
        "90",
        "After how many days another key signs. 0: only when `flask keys rotate` says so.",
    ),
    Setting(
        "FOXTROT_SHARED_SECRET",
        _strong_secret,
        None,
        "The secret of HS256, at least 32 bytes. Every holder can issue tokens in anybody's name.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ACCESS_TOKEN_LIFETIME",
        _duration(10, DAY),
        "15m",
        "How long an access token is valid.",
    ),
    Setting(
        "FOXTROT_DEFAULT_SCOPES",
        _user_scopes,
        "notes:read,notes:write",
        "The scopes that every user holds, besides those given by `flask users create --scope`;"
        " each as a service declares it.",
    ),
    Setting(
        "FOXTROT_CLAIMS_HOOK",
        _hook,
        None,
        "`module:function` that is called with a user's `id`, `email` and `scopes` and returns"
        " a dict of further claims. It cannot replace the claims that this service sets, and must"
        " be quick: others who write wait for it.",
    ),
    Setting(
        "FOXTROT_SESSION_IDLE_LIMIT",
        _duration(MINUTE, 366 * DAY),
        "30d",
        "A login session ends after this long without use.",
    ),
    Setting(
        "FOXTROT_SESSION_ABSOLUTE_LIMIT",
        _duration(MINUTE, 366 * DAY),
        "90d",
        "A login session ends this long after the sign-in, however much it is used.",
    ),
    Setting(
        "FOXTROT_SESSIONS_PER_USER",
        _whole_number(1, 1000),
        "50",
        "How many login sessions a user may have at once. At one more, the one ends that was unused"
        " longest.",
    ),
    Setting(
        "FOXTROT_EVENTS_KEPT",
        _duration(30 * DAY, 3650 * DAY),
        "365d",
        "How long audit events stay in the database. They hold network addresses: keep them no"
        " longer than you need. A year is what audits mostly ask for (PCI DSS 10.5.1).",
    ),
    Setting(
        "FOXTROT_CLEANING_EVERY",
        _duration(0, 7 * DAY),
        "1h",
        "How often what nobody can ask about any more is deleted from the database, by one worker"
        " for all. 0: only by `flask prune`.",
    ),
    Setting(
        "FOXTROT_PASSWORD_MIN_LENGTH",
        _whole_number(8, 64),
        "15",
        "The least characters of a new password. NIST SP 800-63B-4 asks for 15 where nothing but"
        " the password is asked.",
    ),
    Setting(
        "FOXTROT_PASSWORD_HASH",
        _password_hash,
        "scrypt:16384:8:5",
        "How passwords are hashed: `scrypt:N:r:p`, or `argon2id:KiB:passes:lanes` (`argon2id` alone"
        " is `argon2id:19456:2:1`). A stored hash is renewed at the next sign-in.",
    ),
    Setting(
        "FOXTROT_HASH_LANES",
        _whole_number(1, 1024),
        None,
        "How many passwords this machine hashes at once, all processes together. Unset: as many as"
        " it has cores for this service.",
    ),
    Setting(
        "FOXTROT_TRUSTED_PROXIES",
        _whole_number(0, 10),
        "0",
        "How many reverse proxies of yours a request passes. So many entries from the right of"
        " `X-Forwarded-For` is the address that counts. 0: the header is not looked at.",
    ),
    Setting(
        "FOXTROT_REDIS_URL",
        _redis_url,
        None,
        "A Valkey or Redis server that counts for the limits, such as `valkey://host:6379/0`."
        " Unset, and while it does not answer: the database counts.",
        secret=True,
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ACCOUNT",
        _rates,
        "50/15m,100/1d",
        "Wrong passwords for one account, from all devices that are not known to be its user's."
        " `10/15m` lets ten pass at once and then one every ninety seconds; several hold together;"
        " `off` is no limit.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ADDRESS",
        _rates,
        "100/15m,1000/1d",
        "Wrong passwords from one network address (of IPv6 a /64), for all accounts together.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ACCOUNT_AND_ADDRESS",
        _rates,
        "20/15m,50/1d",
        "Wrong passwords for one account from one network address.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_DEVICE",
        _rates,
        "20/15m,50/1d",
        "Wrong passwords for one account from one known device, which counts for itself alone; and"
        " wrong current passwords in one session.",
    ),
    Setting(
        "FOXTROT_LIMIT_REGISTRATION",
        _rates,
        "100/1h",
        "Attempts to create an account from one network address, whatever comes of them.",
    ),
    Setting(
        "FOXTROT_LIMIT_LINKS",
        _rates,
        "60/15m",
        "One-time links that are not good, from one network address. A good one always works.",
    ),
    Setting(
        "FOXTROT_LIMIT_REFRESH",
        _rates,
        "120/15m",
        "Refresh tokens that are refused, from one network address. A good one always works.",
    ),
    Setting(
        "FOXTROT_LIMIT_CLIENTS",
        _rates,
        "120/15m",
        "Wrong credentials of services from one network address. Right ones always work.",
    ),
    Setting(
        "FOXTROT_METRICS_TOKEN",
        _strong_secret,
        None,
        "Lets Prometheus read `/metrics`, as `Authorization: Bearer <token>`, at least 32 bytes."
        " Unset: nothing is counted, and `/metrics` answers 404.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ACCESS_LOG",
        _one_of("on", "off"),
        None,
        "`on`: each request is a line of JSON on standard error. Unset: on, except under"
        " `flask run`, which writes lines of its own.",
    ),
)
