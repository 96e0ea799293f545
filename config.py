"""Every setting of the login service: its name, type, default and meaning.

`load` reads them once, from a mapping of environment variables, and refuses
what it does not understand with the setting's name and what was expected. The
`.env.example` and the table in the docs are made from `SETTINGS`
(`flask config example`, `flask config table`).
"""

from __future__ import annotations

import difflib
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dotenv import dotenv_values

import config_values as values
from config_values import ConfigError as ConfigError
from config_values import database_url as database_url
from config_values import is_loopback_mode as is_loopback_mode
from foxtrot.errors import WeakKey

ROOT: Final = Path(__file__).resolve().parent
PREFIX: Final = "FOXTROT_"


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
    values.check_together(settings)
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


SETTINGS: Final = (
    Setting(
        "FOXTROT_PUBLIC_URL",
        values.public_url,
        None,
        "Where people reach this service, and the issuer (`iss`) of its tokens, such as"
        " `https://login.example.com`. Unset: only this machine is served, at any loopback name.",
    ),
    Setting(
        "FOXTROT_ORIGINS",
        values.origins,
        None,
        "Front ends on other origins that may sign people in with the cookie and get tokens for the"
        " services, though not for this one, such as `https://notes.example.com`, separated by"
        " commas. Each must be same-site with the public URL.",
    ),
    Setting(
        "FOXTROT_SITE_NAME",
        values.printable,
        "Foxtrot",
        "The name that pages show to people.",
    ),
    Setting(
        "FOXTROT_REGISTRATION",
        values.one_of("open", "closed"),
        None,
        "`open`: anybody may create an account. `closed`: `flask users create` only. Unset: open"
        " while only this machine is served.",
    ),
    Setting(
        "FOXTROT_DATA_DIR",
        values.printable,
        str(ROOT / "instance"),
        "Folder for the SQLite database and the secret file. Unset: `instance/` in the checkout.",
    ),
    Setting(
        "FOXTROT_DATABASE_URL",
        values.database_url,
        "sqlite:///foxtrot.sqlite3",
        "`sqlite:///file` (in the data folder unless absolute) or"
        " `postgresql://user:password@host/name`.",
        secret=True,
    ),
    Setting(
        "FOXTROT_SECRET_KEY",
        values.strong_secret,
        None,
        "Encrypts what this service keeps secret, at least 32 bytes. Unset with SQLite: made at"
        " first start, in the file `secret` of the data folder. Never give it to another service.",
        secret=True,
    ),
    Setting(
        "FOXTROT_SECRET_KEY_FALLBACKS",
        values.strong_secrets,
        None,
        "The secrets before it, separated by commas, newest first: they open what was encrypted"
        " with them, until `flask keys rewrap`.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ALGORITHM",
        values.one_of("ES256", "EdDSA", "RS256", "HS256"),
        "ES256",
        "How access tokens are signed. `HS256` shares one secret with all services. A change takes"
        " effect some minutes after the start, once every service can know the new key.",
    ),
    Setting(
        "FOXTROT_KEY_ROTATION_DAYS",
        values.whole_number(0, 3650),
        "90",
        "After how many days another key signs. 0: only when `flask keys rotate` says so.",
    ),
    Setting(
        "FOXTROT_SHARED_SECRET",
        values.strong_secret,
        None,
        "The secret of HS256, at least 32 bytes. Every holder can issue tokens in anybody's name.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ACCESS_TOKEN_LIFETIME",
        values.duration(10, values.DAY),
        "15m",
        "How long an access token is valid.",
    ),
    Setting(
        "FOXTROT_DEFAULT_SCOPES",
        values.user_scopes,
        "notes:read,notes:write",
        "The scopes that every user holds, besides those given by `flask users create --scope`;"
        " each as a service declares it.",
    ),
    Setting(
        "FOXTROT_CLAIMS_HOOK",
        values.hook,
        None,
        "`module:function` that is called with a user's `id`, `email` and `scopes` and returns"
        " a dict of further claims. It cannot replace the claims that this service sets, and must"
        " be quick: others who write wait for it.",
    ),
    Setting(
        "FOXTROT_SESSION_IDLE_LIMIT",
        values.duration(values.MINUTE, 366 * values.DAY),
        "30d",
        "A login session ends after this long without use.",
    ),
    Setting(
        "FOXTROT_SESSION_ABSOLUTE_LIMIT",
        values.duration(values.MINUTE, 366 * values.DAY),
        "90d",
        "A login session ends this long after the sign-in, however much it is used.",
    ),
    Setting(
        "FOXTROT_SESSIONS_PER_USER",
        values.whole_number(1, 1000),
        "50",
        "How many login sessions a user may have at once. At one more, the one ends that was unused"
        " longest.",
    ),
    Setting(
        "FOXTROT_EVENTS_KEPT",
        values.duration(30 * values.DAY, 3650 * values.DAY),
        "365d",
        "How long audit events stay in the database. They hold network addresses: keep them no"
        " longer than you need. A year is what audits mostly ask for (PCI DSS 10.5.1).",
    ),
    Setting(
        "FOXTROT_CLEANING_EVERY",
        values.duration(0, 7 * values.DAY),
        "1h",
        "How often what nobody can ask about any more is deleted from the database, by one worker"
        " for all. 0: only by `flask prune`.",
    ),
    Setting(
        "FOXTROT_PASSWORD_MIN_LENGTH",
        values.whole_number(8, 64),
        "15",
        "The least characters of a new password. NIST SP 800-63B-4 asks for 15 where nothing but"
        " the password is asked.",
    ),
    Setting(
        "FOXTROT_PASSWORD_HASH",
        values.password_hash,
        "scrypt:16384:8:5",
        "How passwords are hashed: `scrypt:N:r:p`, or `argon2id:KiB:passes:lanes` (`argon2id` alone"
        " is `argon2id:19456:2:1`). A stored hash is renewed at the next sign-in.",
    ),
    Setting(
        "FOXTROT_HASH_LANES",
        values.whole_number(1, 1024),
        None,
        "How many passwords this machine hashes at once, all processes together. Unset: as many as"
        " it has cores for this service.",
    ),
    Setting(
        "FOXTROT_TRUSTED_PROXIES",
        values.whole_number(0, 10),
        "0",
        "How many reverse proxies of yours a request passes. So many entries from the right of"
        " `X-Forwarded-For` is the address that counts. 0: the header is not looked at.",
    ),
    Setting(
        "FOXTROT_REDIS_URL",
        values.redis_url,
        None,
        "A Valkey or Redis server that counts for the limits, such as `valkey://host:6379/0`."
        " Unset, and while it does not answer: the database counts.",
        secret=True,
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ACCOUNT",
        values.rates,
        "50/15m,100/1d",
        "Wrong passwords for one account, from all devices that are not known to be its user's."
        " `10/15m` lets ten pass at once and then one every ninety seconds; several hold together;"
        " `off` is no limit.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ADDRESS",
        values.rates,
        "100/15m,1000/1d",
        "Wrong passwords from one network address (of IPv6 a /64), for all accounts together.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_ACCOUNT_AND_ADDRESS",
        values.rates,
        "20/15m,50/1d",
        "Wrong passwords for one account from one network address.",
    ),
    Setting(
        "FOXTROT_LIMIT_LOGIN_DEVICE",
        values.rates,
        "20/15m,50/1d",
        "Wrong passwords for one account from one known device, which counts for itself alone; and"
        " wrong current passwords in one session.",
    ),
    Setting(
        "FOXTROT_LIMIT_REGISTRATION",
        values.rates,
        "100/1h",
        "Attempts to create an account from one network address, whatever comes of them.",
    ),
    Setting(
        "FOXTROT_LIMIT_LINKS",
        values.rates,
        "60/15m",
        "One-time links that are not good, from one network address. A good one always works.",
    ),
    Setting(
        "FOXTROT_LIMIT_REFRESH",
        values.rates,
        "120/15m",
        "Refresh tokens that are refused, from one network address. A good one always works.",
    ),
    Setting(
        "FOXTROT_LIMIT_CLIENTS",
        values.rates,
        "120/15m",
        "Wrong credentials of services from one network address. Right ones always work.",
    ),
    Setting(
        "FOXTROT_METRICS_TOKEN",
        values.strong_secret,
        None,
        "Lets Prometheus read `/metrics`, as `Authorization: Bearer <token>`, at least 32 bytes."
        " Unset: nothing is counted, and `/metrics` answers 404.",
        secret=True,
    ),
    Setting(
        "FOXTROT_ACCESS_LOG",
        values.one_of("on", "off"),
        None,
        "`on`: each request is a line of JSON on standard error. Unset: on, except under"
        " `flask run`, which writes lines of its own.",
    ),
)
