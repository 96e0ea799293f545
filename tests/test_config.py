"""Every setting: what it takes, what it refuses, and in which words (config.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

import config
from app import create_app, passwords
from config import SETTINGS, ConfigError, load
from tests.processes import ROOT, clean_environ, flask
from tests.support import PASSWORD, cheap_settings

SECRET = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"
OTHER_SECRET = "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U"
POSTGRES = {"FOXTROT_SECRET_KEY": SECRET}
LONG_LIMIT = {"FOXTROT_SESSION_ABSOLUTE_LIMIT": "366d"}

LIMITS = [setting.name for setting in SETTINGS if setting.name.startswith("FOXTROT_LIMIT_")]

GOOD: list[tuple[str, str, Any]] = [
    ("FOXTROT_PUBLIC_URL", "https://login.example.com", "https://login.example.com"),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com/", "https://login.example.com"),
    ("FOXTROT_PUBLIC_URL", "HTTPS://Login.Example.COM:443", "https://login.example.com"),
    ("FOXTROT_PUBLIC_URL", "http://localhost:80", "http://localhost"),
    ("FOXTROT_PUBLIC_URL", " http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
    ("FOXTROT_PUBLIC_URL", "http://[::1]:5000", "http://[::1]:5000"),
    ("FOXTROT_SITE_NAME", " Fuchsbau ", "Fuchsbau"),
    ("FOXTROT_SITE_NAME", "狐", "狐"),
    ("FOXTROT_REGISTRATION", "open", "open"),
    ("FOXTROT_REGISTRATION", "closed", "closed"),
    ("FOXTROT_DATA_DIR", "/srv/my data", "/srv/my data"),
    ("FOXTROT_DATABASE_URL", "sqlite:///users.db", "sqlite:///users.db"),
    ("FOXTROT_DATABASE_URL", "sqlite:////srv/users.db", "sqlite:////srv/users.db"),
    ("FOXTROT_DATABASE_URL", "postgres://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
    ("FOXTROT_DATABASE_URL", "postgresql://h/d", "postgresql+psycopg://h/d"),
    ("FOXTROT_DATABASE_URL", "postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
    ("FOXTROT_SECRET_KEY", SECRET, SECRET),
    ("FOXTROT_SECRET_KEY", f"{SECRET[:31]}Z", f"{SECRET[:31]}Z"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", SECRET, (SECRET,)),
    ("FOXTROT_SECRET_KEY_FALLBACKS", f"{SECRET}, {OTHER_SECRET}", (SECRET, OTHER_SECRET)),
    ("FOXTROT_SECRET_KEY_FALLBACKS", f'["{SECRET}, or so"]', (f"{SECRET}, or so",)),
    ("FOXTROT_KEY_ROTATION_DAYS", "0", 0),
    ("FOXTROT_KEY_ROTATION_DAYS", "30", 30),
    ("FOXTROT_ALGORITHM", "ES256", "ES256"),
    ("FOXTROT_ALGORITHM", "EdDSA", "EdDSA"),
    ("FOXTROT_ALGORITHM", "RS256", "RS256"),
    ("FOXTROT_SHARED_SECRET", SECRET, SECRET),
    ("FOXTROT_METRICS_TOKEN", SECRET, SECRET),
    ("FOXTROT_ACCESS_LOG", "on", "on"),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "10", 10),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "90s", 90),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "5m", 300),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "24h", 86_400),
    ("FOXTROT_DEFAULT_SCOPES", "notes, billing  notes", ("notes", "billing")),
    ("FOXTROT_DEFAULT_SCOPES", "https://api.example.com/v1", ("https://api.example.com/v1",)),
    ("FOXTROT_DEFAULT_SCOPES", "notes:read", ("notes:read",)),
    ("FOXTROT_CLAIMS_HOOK", "my_claims.hooks:claims_of", "my_claims.hooks:claims_of"),
    ("FOXTROT_ORIGINS", "http://localhost:5173", ("http://localhost:5173",)),
    (
        "FOXTROT_ORIGINS",
        "http://localhost:3000, http://localhost:80",
        ("http://localhost:3000", "http://localhost"),
    ),
    ("FOXTROT_SESSIONS_PER_USER", "1", 1),
    ("FOXTROT_TRUSTED_PROXIES", "0", 0),
    ("FOXTROT_TRUSTED_PROXIES", "10", 10),
    ("FOXTROT_REDIS_URL", "redis://host", "redis://host"),
    ("FOXTROT_REDIS_URL", "valkeys://:secret@[::1]:6380/2", "valkeys://:secret@[::1]:6380/2"),
    ("FOXTROT_REDIS_URL", "unix:///run/valkey.sock", "unix:///run/valkey.sock"),
    *((name, "10/15m", ((10, 900),)) for name in LIMITS),
    ("FOXTROT_LIMIT_REFRESH", "1/1s", ((1, 1),)),
    ("FOXTROT_LIMIT_REFRESH", "1000000/366d", ((1_000_000, 366 * 86_400),)),
    ("FOXTROT_LIMIT_REFRESH", "10/15m, 30 / 1d", ((10, 900), (30, 86_400))),
    ("FOXTROT_LIMIT_REFRESH", "off", ()),
    ("FOXTROT_SESSIONS_PER_USER", "1000", 1000),
    ("FOXTROT_HASH_LANES", "1", 1),
    ("FOXTROT_HASH_LANES", "1024", 1024),
    ("FOXTROT_SESSION_IDLE_LIMIT", "1m", 60),
    ("FOXTROT_SESSION_IDLE_LIMIT", "90d", 7_776_000),
    ("FOXTROT_SESSION_ABSOLUTE_LIMIT", "366d", 31_622_400),
    ("FOXTROT_EVENTS_KEPT", "30d", 2_592_000),
    ("FOXTROT_CLEANING_EVERY", "0", 0),
    ("FOXTROT_CLEANING_EVERY", "1h", 3600),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "8", 8),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "64", 64),
    ("FOXTROT_PASSWORD_HASH", "scrypt:131072:8:1", "scrypt:131072:8:1"),
    ("FOXTROT_PASSWORD_HASH", "argon2id", "argon2id"),
    ("FOXTROT_PASSWORD_HASH", "argon2id:65536:3:4", "argon2id:65536:3:4"),
]

URL = "a URL such as https://login.example.com"
DATABASE = "sqlite:////path/to/file or postgresql://"
TOKEN_DURATION = "a duration such as 90s, 15m, 12h or 30d, from 10 to 86400 seconds"
SESSION_DURATION = "a duration such as 90s, 15m, 12h or 30d, from 60 to 31622400 seconds"
NAMES = "names of letters, digits and"
HASH = "scrypt:N:r:p (scrypt:16384:8:5), argon2id or argon2id:KiB:passes:lanes"

BAD = [
    ("FOXTROT_PUBLIC_URL", "login.example.com", URL),
    ("FOXTROT_PUBLIC_URL", "ftp://login.example.com", URL),
    ("FOXTROT_PUBLIC_URL", "https://", URL),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com/auth", URL),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com?x=1", URL),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com#x", URL),
    ("FOXTROT_PUBLIC_URL", "https://ann@login.example.com", URL),
    ("FOXTROT_PUBLIC_URL", "https://:pw@login.example.com", URL),
    ("FOXTROT_PUBLIC_URL", "https://login example.com", URL),
    ("FOXTROT_PUBLIC_URL", "https://login..example.com", URL),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com:0", URL),
    ("FOXTROT_PUBLIC_URL", "https://login.example.com:65536", URL),
    ("FOXTROT_PUBLIC_URL", "https://[::1", URL),
    ("FOXTROT_PUBLIC_URL", "https://*.example.com", URL),
    ("FOXTROT_SITE_NAME", "Fox\x1b[2Jtrot", "text without control characters"),
    ("FOXTROT_SITE_NAME", "Fox\ntrot", "text without control characters"),
    ("FOXTROT_SITE_NAME", "Fox\x9b2Jtrot", "text without control characters"),
    ("FOXTROT_SITE_NAME", "Fox\udce9trot", "text without control characters"),
    ("FOXTROT_REGISTRATION", "yes", "one of open, closed"),
    ("FOXTROT_REGISTRATION", "Open", "one of open, closed"),
    ("FOXTROT_DATA_DIR", "/srv/\x00", "text without control characters"),
    ("FOXTROT_DATABASE_URL", "mysql://root:hush@host/d", DATABASE),
    ("FOXTROT_DATABASE_URL", "users.db", DATABASE),
    ("FOXTROT_DATABASE_URL", "sqlite://", DATABASE),
    ("FOXTROT_DATABASE_URL", "sqlite:///", "a file: a database in memory"),
    ("FOXTROT_DATABASE_URL", "sqlite:///:memory:", "a file: a database in memory"),
    ("FOXTROT_SECRET_KEY", "too short a secret", "at least 32 bytes"),
    ("FOXTROT_SECRET_KEY", f"{SECRET}\udce9", "text"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", "abcdefgh", "at least 32 bytes"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", ",".join(SECRET), "at least 32 bytes"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", f"{SECRET},too short a secret", "at least 32 bytes"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", f'["{SECRET}"', "secrets separated by commas, or a JSON list"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", "[32]", "secrets separated by commas, or a JSON list"),
    ("FOXTROT_SECRET_KEY_FALLBACKS", ", ,", "secrets separated by commas"),
    ("FOXTROT_KEY_ROTATION_DAYS", "-1", "a whole number from 0 to 3650"),
    ("FOXTROT_KEY_ROTATION_DAYS", "3651", "a whole number from 0 to 3650"),
    ("FOXTROT_KEY_ROTATION_DAYS", "90d", "a whole number from 0 to 3650"),
    ("FOXTROT_ALGORITHM", "none", "one of ES256, EdDSA, RS256, HS256"),
    ("FOXTROT_ALGORITHM", "es256", "one of ES256, EdDSA, RS256, HS256"),
    ("FOXTROT_SHARED_SECRET", "too short a secret", "at least 32 bytes"),
    ("FOXTROT_METRICS_TOKEN", "too short a secret", "at least 32 bytes"),
    ("FOXTROT_ACCESS_LOG", "yes", "one of on, off"),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "9", TOKEN_DURATION),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "25h", TOKEN_DURATION),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "-15m", TOKEN_DURATION),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "1.5h", TOKEN_DURATION),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "15 minutes", TOKEN_DURATION),
    ("FOXTROT_ACCESS_TOKEN_LIFETIME", "١٥m", TOKEN_DURATION),
    ("FOXTROT_DEFAULT_SCOPES", "notes;billing", NAMES),
    ("FOXTROT_DEFAULT_SCOPES", "n\u00f6tes", NAMES),
    ("FOXTROT_DEFAULT_SCOPES", ",", NAMES),
    ("FOXTROT_DEFAULT_SCOPES", 'notes"read', NAMES),
    ("FOXTROT_CLAIMS_HOOK", "my_claims", "module:function"),
    ("FOXTROT_CLAIMS_HOOK", "a:b:c", "module:function"),
    ("FOXTROT_CLAIMS_HOOK", "os; import x:y", "module:function"),
    ("FOXTROT_ORIGINS", "*", URL),
    ("FOXTROT_ORIGINS", "null", URL),
    ("FOXTROT_ORIGINS", "http://localhost:5173/app", URL),
    ("FOXTROT_ORIGINS", "http://localhost:5173,", URL),
    ("FOXTROT_TRUSTED_PROXIES", "-1", "a whole number from 0 to 10"),
    ("FOXTROT_TRUSTED_PROXIES", "11", "a whole number from 0 to 10"),
    ("FOXTROT_TRUSTED_PROXIES", "10.0.0.0/8", "a whole number from 0 to 10"),
    ("FOXTROT_REDIS_URL", "host:6379", "valkey://"),
    ("FOXTROT_REDIS_URL", "http://host:6379", "valkey://"),
    ("FOXTROT_REDIS_URL", "valkey:///0", "valkey://"),
    ("FOXTROT_REDIS_URL", "valkey://host:port", "valkey://"),
    ("FOXTROT_REDIS_URL", "valkey://host/name", "valkey://"),
    ("FOXTROT_REDIS_URL", "valkey://host?socket_timeout=100", "valkey://"),
    ("FOXTROT_REDIS_URL", "unix://", "valkey://"),
    *((name, "ten/15m", "a number and a duration such as 10/15m") for name in LIMITS),
    ("FOXTROT_LIMIT_REFRESH", "0/15m", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10/15", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10/0s", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10/367d", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10/15m,", "a number and a duration"),
    ("FOXTROT_LIMIT_REFRESH", "10/15m,off", "a number and a duration"),
    ("FOXTROT_SESSIONS_PER_USER", "0", "a whole number from 1 to 1000"),
    ("FOXTROT_SESSIONS_PER_USER", "1001", "a whole number from 1 to 1000"),
    ("FOXTROT_HASH_LANES", "0", "a whole number from 1 to 1024"),
    ("FOXTROT_HASH_LANES", "1025", "a whole number from 1 to 1024"),
    ("FOXTROT_EVENTS_KEPT", "29d", "a duration such as"),
    ("FOXTROT_CLEANING_EVERY", "8d", "a duration such as"),
    ("FOXTROT_SESSION_IDLE_LIMIT", "59s", SESSION_DURATION),
    ("FOXTROT_SESSION_IDLE_LIMIT", "367d", SESSION_DURATION),
    ("FOXTROT_SESSION_IDLE_LIMIT", "never", SESSION_DURATION),
    ("FOXTROT_SESSION_ABSOLUTE_LIMIT", "0", SESSION_DURATION),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "7", "a whole number from 8 to 64"),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "65", "a whole number from 8 to 64"),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "15.0", "a whole number from 8 to 64"),
    ("FOXTROT_PASSWORD_MIN_LENGTH", "+15", "a whole number from 8 to 64"),
    ("FOXTROT_PASSWORD_HASH", "md5", HASH),
    ("FOXTROT_PASSWORD_HASH", "scrypt:512:8:1", HASH),
    ("FOXTROT_PASSWORD_HASH", "scrypt:16383:8:5", HASH),
    ("FOXTROT_PASSWORD_HASH", "scrypt:16384:0:5", HASH),
    ("FOXTROT_PASSWORD_HASH", "argon2id:512:2:1", HASH),
    ("FOXTROT_PASSWORD_HASH", "argon2id:0:2:1", HASH),
    ("FOXTROT_PASSWORD_HASH", "argon2id:19456:0:1", HASH),
]

WEAK_SECRETS = {
    "the name of the project": "foxtrot",
    "secret": "secret",
    "changeme": "changeme",
    "in capitals": "ChangeMe",
    "of a tutorial": "a-string-secret-at-least-256-bits-long",
    "of a debugger page": "your-256-bit-secret",
    "known and repeated": "changeme" * 5,
    "known and padded with digits": "secret-0123456789-0123456789-0123456789",
    "one letter": "x" * 64,
    "few letters": "abcabcabcabcabcabcabcabcabcabcabcabc",
    "a short text written again and again": "abcdefgh" * 4,
    "short": "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5A",
    "a whole number": "12345678",
    "a long whole number": "1234567890" * 4,
}

SECRET_SETTINGS = [setting.name for setting in SETTINGS if setting.secret]
ALL_SETTINGS = [setting.name for setting in SETTINGS]


def refusal(environ: Mapping[str, str]) -> str:
    """The words in which settings are refused."""
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return str(caught.value)


def outcome(environ: Mapping[str, str]) -> str | None:
    """The words in which settings are refused, or None if they are not."""
    try:
        load(environ)
    except ConfigError as error:
        return str(error)
    return None


def test_nothing_needs_to_be_set() -> None:
    """Without any setting there are the defaults."""
    settings = load({})
    assert list(settings) == ALL_SETTINGS
    assert settings["FOXTROT_ALGORITHM"] == "ES256"
    assert settings["FOXTROT_ACCESS_TOKEN_LIFETIME"] == 900


@pytest.mark.parametrize(("name", "text", "value"), GOOD)
def test_a_good_value_is_read(name: str, text: str, value: Any) -> None:
    """A setting's text becomes a typed value."""
    needed = {**(POSTGRES if "postgres" in text else {}), **LONG_LIMIT}
    assert load({**needed, name: text})[name] == value


@pytest.mark.parametrize(("name", "text", "expected"), BAD)
def test_a_bad_value_is_refused_with_name_and_expectation(
    name: str, text: str, expected: str
) -> None:
    """The message names the setting and says what it takes."""
    said = refusal({name: text})
    assert said.startswith(name)
    assert expected in said


@pytest.mark.parametrize("table", [GOOD, BAD], ids=["good", "bad"])
def test_every_setting_is_tried(table: list[tuple[Any, ...]]) -> None:
    """A new setting has to be given good and bad values here."""
    assert {row[0] for row in table} == set(ALL_SETTINGS)


@pytest.mark.parametrize("name", ALL_SETTINGS)
@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_value_is_refused(name: str, text: str) -> None:
    """An empty variable is a mistake and never falls back to the default."""
    assert refusal({name: text}) == f"{name} is empty. Give it a value or remove it."


@pytest.mark.parametrize("name", ["FOXTROT_PUBLIC_URI", "FOXTROT_", "FOXTROT_ALGORITHM_FILE"])
def test_an_unknown_setting_is_refused_by_name(name: str) -> None:
    """A typing mistake must not be passed over in silence."""
    assert refusal({name: "x"}).startswith(f"{name} is not a setting")


def test_a_misspelt_setting_is_answered_with_the_right_one() -> None:
    """`flask config show` cannot say which exist, because it is refused, too."""
    assert "FOXTROT_PUBLIC_URL" in refusal({"FOXTROT_PUBLIC_URI": "https://login.example.com"})


@pytest.mark.parametrize("name", ["FLASK_DEBUG", "PATH", "NOTES_FOXTROT_X", "foxtrot_x"])
def test_variables_of_others_are_left_alone(name: str) -> None:
    """Only what begins with FOXTROT_ is ours."""
    assert load({name: "x"}) == load({})


# Secrets


@pytest.mark.parametrize("name", ["FOXTROT_SECRET_KEY", "FOXTROT_SHARED_SECRET"])
@pytest.mark.parametrize("secret", WEAK_SECRETS.values(), ids=WEAK_SECRETS.keys())
def test_a_weak_secret_is_refused_with_the_way_to_a_good_one(name: str, secret: str) -> None:
    """Short, repetitive and well-known secrets never get into production."""
    said = refusal({name: secret})
    assert said.startswith(name)
    assert "openssl rand" in said


def test_the_two_secrets_must_differ() -> None:
    """A service that checks tokens must not be able to read what is encrypted here."""
    said = refusal({"FOXTROT_SECRET_KEY": SECRET, "FOXTROT_SHARED_SECRET": SECRET})
    assert "FOXTROT_SHARED_SECRET must differ from FOXTROT_SECRET_KEY" in said


def test_hs256_needs_the_shared_secret() -> None:
    """The message says which setting is missing and how to make a value."""
    said = refusal({"FOXTROT_ALGORITHM": "HS256"})
    assert "FOXTROT_SHARED_SECRET" in said
    assert "openssl rand" in said


def test_hs256_is_allowed_with_the_shared_secret() -> None:
    """The starter mode."""
    settings = load({"FOXTROT_ALGORITHM": "HS256", "FOXTROT_SHARED_SECRET": SECRET})
    assert settings["FOXTROT_ALGORITHM"] == "HS256"


def test_postgresql_needs_the_secret_key() -> None:
    """A secret file on one machine is of no use to the others."""
    assert refusal({"FOXTROT_DATABASE_URL": "postgres://h/d"}).startswith("FOXTROT_SECRET_KEY")


@pytest.mark.parametrize(
    "environ",
    [
        {"FOXTROT_SECRET_KEY": "hunter2-hunter2"},
        {"FOXTROT_SHARED_SECRET": "hunter2-hunter2"},
        {"FOXTROT_DATABASE_URL": "mysql://root:hunter2@host/name"},
        {"FOXTROT_DATABASE_URL": "postgres://root:hunter2@host/name"},
        {"FOXTROT_SECRET_KEY": "hunter2" + SECRET, "FOXTROT_SHARED_SECRET": "hunter2" + SECRET},
        {"FOXTROT_SECRET_KEY": "hunter2" + SECRET, "FOXTROT_SECRET_KEY_FILE": "x"},
        {"FOXTROT_SECRET_KEY": "hunter2" + SECRET, "FOXTROT_ALGORITHM": "x"},
        {"FOXTROT_SECRET_KEY": "hunter2\udce9" + SECRET},
    ],
)
def test_no_refusal_shows_a_secret(environ: dict[str, str]) -> None:
    """What the operator sees may end in a log."""
    said = refusal(environ)
    assert "hunter2" not in said
    assert "\\udce9" not in ascii(said)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://root:hunter2@host:port/name",
        "postgresql://root:hunter2@:5432:5432/name",
        "postgresql://root:hunter2@[::1/name",
    ],
)
def test_a_database_url_that_nobody_can_parse_is_refused_without_its_password(
    url: str, tmp_path: Path
) -> None:
    """Before anything else happens, and by name."""
    with pytest.raises(ConfigError, match=r"^FOXTROT_DATABASE_URL") as caught:
        create_app({**cheap_settings(tmp_path), **POSTGRES, "FOXTROT_DATABASE_URL": url})
    assert "hunter2" not in str(caught.value)


# Secrets from files


@pytest.mark.parametrize("name", ["FOXTROT_SECRET_KEY", "FOXTROT_SHARED_SECRET"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_is_read_from_a_file_without_the_line_end(
    name: str, ending: str, tmp_path: Path
) -> None:
    """Editors end a file with a newline, which is no part of the secret."""
    file = tmp_path / "given"
    file.write_bytes((SECRET + ending).encode())
    assert load({f"{name}_FILE": str(file)})[name] == SECRET


def test_the_database_url_may_be_in_a_file(tmp_path: Path) -> None:
    """It holds a password."""
    file = tmp_path / "url"
    file.write_text("sqlite:///users.db\n")
    assert load({"FOXTROT_DATABASE_URL_FILE": str(file)})["FOXTROT_DATABASE_URL"] == (
        "sqlite:///users.db"
    )


@pytest.mark.parametrize("name", SECRET_SETTINGS)
@pytest.mark.parametrize("file", ["missing", ".", "\0", "missing/missing"])
def test_a_file_that_cannot_be_read_is_refused_by_name(
    name: str, file: str, tmp_path: Path
) -> None:
    """The message names the variable and the file."""
    path = f"{tmp_path}/{file}"
    said = refusal({f"{name}_FILE": path})
    assert said.startswith(f"{name}_FILE: {path!r} cannot be read")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """A secret is text in UTF-8, and what was read is not repeated."""
    file = tmp_path / "given"
    file.write_bytes(b"\xff\xfe" + SECRET.encode())
    said = refusal({"FOXTROT_SECRET_KEY_FILE": str(file)})
    assert "FOXTROT_SECRET_KEY_FILE" in said
    assert SECRET not in said


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_is_refused(content: str, tmp_path: Path) -> None:
    """A secret that is not mounted yet must not turn into none."""
    file = tmp_path / "given"
    file.write_text(content)
    assert "FOXTROT_SECRET_KEY is empty" in refusal({"FOXTROT_SECRET_KEY_FILE": str(file)})


def test_a_weak_secret_in_a_file_is_refused(tmp_path: Path) -> None:
    """Files are no way around the rules."""
    file = tmp_path / "given"
    file.write_text("changeme\n")
    assert "FOXTROT_SECRET_KEY is refused" in refusal({"FOXTROT_SECRET_KEY_FILE": str(file)})


@pytest.mark.parametrize("name", SECRET_SETTINGS)
def test_variable_and_file_together_are_refused(name: str, tmp_path: Path) -> None:
    """Nobody has to guess which one counts."""
    said = refusal({name: SECRET, f"{name}_FILE": str(tmp_path / "given")})
    assert said == f"Give either {name} or {name}_FILE, not both."


# Settings beside each other


def test_the_idle_limit_must_not_exceed_the_absolute_one() -> None:
    """Both settings are named."""
    said = refusal({"FOXTROT_SESSION_IDLE_LIMIT": "2h", "FOXTROT_SESSION_ABSOLUTE_LIMIT": "1h"})
    assert "FOXTROT_SESSION_IDLE_LIMIT" in said
    assert "FOXTROT_SESSION_ABSOLUTE_LIMIT" in said


def test_the_services_of_earlier_versions_are_told_where_they_went() -> None:
    """What to run instead; `notes` is there from the first start."""
    said = refusal({"FOXTROT_AUDIENCES": "notes, billing wages"})
    assert said.startswith("FOXTROT_AUDIENCES is no setting any more")
    assert said.endswith("run: flask services add billing; flask services add wages")
    assert refusal({"FOXTROT_AUDIENCES": "notes"}).endswith("Remove the setting.")


def test_nobody_becomes_an_administrator_by_registering() -> None:
    """`admin` among everybody's scopes would give the service away."""
    assert refusal({"FOXTROT_DEFAULT_SCOPES": "notes:read,admin"}).startswith(
        "FOXTROT_DEFAULT_SCOPES"
    )


@pytest.mark.parametrize(
    ("url", "registration"),
    [
        (None, "open"),
        ("http://localhost:8000", "open"),
        ("http://login.localhost", "open"),
        ("http://127.0.0.2", "open"),
        ("http://[::1]:5000", "open"),
        ("https://login.example.com", "closed"),
        ("http://192.168.1.10:5000", "closed"),
        ("https://localhost.example.com", "closed"),
    ],
)
def test_registration_is_open_only_on_this_machine(url: str | None, registration: str) -> None:
    """A public service is closed until its operator opens it."""
    settings = load({"FOXTROT_PUBLIC_URL": url} if url else {})
    assert settings["FOXTROT_REGISTRATION"] == registration


def test_the_operator_may_open_a_public_service() -> None:
    """A setting that is given counts."""
    environ = {"FOXTROT_PUBLIC_URL": "https://login.example.com", "FOXTROT_REGISTRATION": "open"}
    assert load(environ)["FOXTROT_REGISTRATION"] == "open"


@pytest.mark.parametrize("url", ["https://login.example.com", "http://192.168.1.10:5000"])
def test_debug_mode_is_refused_when_public(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The debugger runs anybody's code (CVE-2019-14806)."""
    monkeypatch.setenv("FLASK_DEBUG", "1")
    with pytest.raises(ConfigError, match="FLASK_DEBUG"):
        create_app({**cheap_settings(tmp_path), "FOXTROT_PUBLIC_URL": url})


@pytest.mark.parametrize("hook", ["no_such_module:f", "os:no_such_function", "a..b:c", "os:sep"])
def test_a_claims_hook_that_cannot_be_called_is_refused(hook: str, tmp_path: Path) -> None:
    """At start, not at the first sign-in."""
    with pytest.raises(ConfigError, match=f"FOXTROT_CLAIMS_HOOK: {hook}"):
        create_app({**cheap_settings(tmp_path), "FOXTROT_CLAIMS_HOOK": hook})


@pytest.mark.parametrize(
    "method",
    ["scrypt:1024:16:16", "scrypt:131072:16:1", "scrypt:131072:15:16", "argon2id:1024:1:8"],
)
def test_whatever_hash_is_accepted_works(method: str) -> None:
    """A setting that locks everybody out must not get past the start."""
    if outcome({"FOXTROT_PASSWORD_HASH": method}) is not None:
        return
    assert passwords.verify(passwords.hash_password(PASSWORD, method), PASSWORD, method)


# Where settings come from


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the checkout, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("FOXTROT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(config, "ROOT", tmp_path)
    return tmp_path


def test_without_an_env_file_the_environment_alone_counts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is optional."""
    monkeypatch.setenv("FOXTROT_SITE_NAME", "Burrow")
    assert load(config.environment())["FOXTROT_SITE_NAME"] == "Burrow"


def test_the_env_file_is_read(checkout: Path) -> None:
    """Settings may stand in `.env`."""
    (checkout / ".env").write_text("# ours\nFOXTROT_SITE_NAME='Fox hole'\n")
    assert load(config.environment())["FOXTROT_SITE_NAME"] == "Fox hole"


def test_the_process_environment_wins_over_the_env_file(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is given for one start counts for it."""
    (checkout / ".env").write_text("FOXTROT_SITE_NAME=Hole\n")
    monkeypatch.setenv("FOXTROT_SITE_NAME", "Burrow")
    assert load(config.environment())["FOXTROT_SITE_NAME"] == "Burrow"


def test_a_name_without_a_value_in_the_env_file_is_refused(checkout: Path) -> None:
    """It is as empty as one with nothing behind the sign."""
    (checkout / ".env").write_text("FOXTROT_SECRET_KEY\n")
    assert "FOXTROT_SECRET_KEY is empty" in refusal(config.environment())


def test_an_env_file_that_is_no_text_is_refused_by_name(checkout: Path) -> None:
    """It names the file instead of showing a traceback."""
    (checkout / ".env").write_bytes(b"FOXTROT_SITE_NAME=Fuchsh\xf6hle\n")
    with pytest.raises(ConfigError, match=r"\.env"):
        load(config.environment())


def test_a_server_reads_the_env_file_beside_its_code(tmp_path: Path) -> None:
    """From whatever folder it is started, and without Flask's own reading of `.env`."""
    for folder in ("app", "foxtrot", "migrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for file in ROOT.glob("config*.py"):
        shutil.copy(file, tmp_path)
    (tmp_path / ".env").write_text("FOXTROT_SITE_NAME=Hole\nFOXTROT_ALGORITHM=EdDSA\n")
    environ = clean_environ({"FOXTROT_ALGORITHM": "RS256", "FOXTROT_DATA_DIR": str(tmp_path)})
    command = flask("config", "show", "--json")
    shown = json.loads(subprocess.check_output(command, cwd=tmp_path, env=environ))
    assert (shown["FOXTROT_SITE_NAME"], shown["FOXTROT_ALGORITHM"]) == ("Hole", "RS256")


# Whatever there is

ANY_TEXT = st.one_of(
    st.text(),
    st.text(alphabet=" :/.@[]%?#&=+-_,0123456789abcdefhimopqrst"),
    st.builds(
        "{}{}".format,
        st.sampled_from(
            ["http://", "https://[", "sqlite:///", "postgres://", "scrypt:", "argon2id:", "1", "a:"]
        ),
        st.text(),
    ),
    st.from_regex(r"scrypt:[0-9]{1,7}:[0-9]{1,2}:[0-9]{1,2}", fullmatch=True),
    st.text(st.characters(), min_size=32),
)


@given(st.sampled_from(ALL_SETTINGS), ANY_TEXT)
def test_any_text_is_a_value_or_refused_by_name(name: str, text: str) -> None:
    """Whatever is given, nothing but a ConfigError that names a setting comes of it."""
    said = outcome({name: text})
    assert said is None or "FOXTROT_" in said


@given(st.sampled_from(SECRET_SETTINGS), st.text())
def test_any_text_as_a_file_is_a_value_or_refused_by_name(name: str, text: str) -> None:
    """Also where the text is a path."""
    said = outcome({f"{name}_FILE": text})
    assert said is None or name in said


@given(st.text())
def test_any_name_is_a_setting_or_refused_by_name(name: str) -> None:
    """Whatever comes after FOXTROT_."""
    with pytest.raises(ConfigError, match="is not a setting"):
        load({f"FOXTROT_{name}": "x"})


@given(ANY_TEXT)
def test_a_public_url_that_is_accepted_is_an_origin(text: str) -> None:
    """What is accepted is read again as itself: it has one form."""
    try:
        url = load({"FOXTROT_PUBLIC_URL": text})["FOXTROT_PUBLIC_URL"]
    except ConfigError:
        return
    assert load({"FOXTROT_PUBLIC_URL": url})["FOXTROT_PUBLIC_URL"] == url


# What is shown


def test_the_example_names_every_setting_and_changes_none() -> None:
    """`.env.example` can be copied as it is."""
    text = config.example()
    assert all(f"#{name}=" in text for name in ALL_SETTINGS)
    assert dotenv_values(stream=StringIO(text)) == {}


def test_the_table_names_every_setting() -> None:
    """One row for each, with `…_FILE` where a file may hold the value."""
    rows = config.table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == ALL_SETTINGS
    assert [row.split("`")[1] for row in rows if "…_FILE" in row] == SECRET_SETTINGS


@pytest.mark.parametrize(
    "shown",
    [
        "postgresql://ann:hunter2@host/name",
        "postgresql://:hunter2@host/name",
        "postgresql://ann:hun@ter2@host/name",
        "postgresql://host/name?user=ann&password=hunter2",
        "postgresql://host/name?sslpassword=hunter2&sslmode=require",
        "scheme://Zq3hunter2vT8mW1xYb6KdR0hLs9PfGc",
        SECRET,
    ],
)
def test_a_masked_secret_cannot_be_read(shown: str) -> None:
    """Neither a password in a URL nor a secret that looks like one is shown."""
    masked = config.masked(shown)
    assert "ter2" not in masked
    assert SECRET not in masked


def test_a_masked_database_url_shows_where_it_leads() -> None:
    """The host and the name are what one wants to see."""
    masked = config.masked("postgresql://ann:hunter2@db.example.com/foxtrot")
    assert masked == "postgresql://ann:***@db.example.com/foxtrot"
