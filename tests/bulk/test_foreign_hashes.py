"""Hashes of other systems: checked as those made them, bounded, and soon replaced."""

from __future__ import annotations

import time
from base64 import b64encode
from hashlib import pbkdf2_hmac

import bcrypt
import pytest
from argon2 import PasswordHasher
from flask import Flask
from werkzeug.security import generate_password_hash

from app import passwords
from app.db import utcnow
from app.foreign_hashes import knows, verify
from app.transfer import Import
from tests.conftest import MakeApp, find_user
from tests.support import CHEAP_HASH, PASSWORD, SOMEWHERE, log_in

ANN = "ann@example.com"


def by_bcrypt(password: str, prefix: bytes = b"2b") -> str:
    return (
        bcrypt.hashpw(password.encode(), bcrypt.gensalt(4, b"2b"))
        .decode()
        .replace("$2b$", f"${prefix.decode()}$")
    )


def by_django(password: str) -> str:
    made = pbkdf2_hmac("sha256", password.encode(), b"saltsaltsalt", 1000)
    return f"pbkdf2_sha256$1000$saltsaltsalt${b64encode(made).decode()}"


def hashes_of(password: str) -> dict[str, str]:
    """A hash by each system, by its own library where it has one."""
    return {
        "werkzeug scrypt": generate_password_hash(password, "scrypt:1024:8:1"),
        "werkzeug pbkdf2": generate_password_hash(password, "pbkdf2:sha256:1000"),
        "werkzeug sha512": generate_password_hash(password, "pbkdf2:sha512:1000"),
        "argon2-cffi": PasswordHasher(1, 1024, 1).hash(password),
        "bcrypt 2a": by_bcrypt(password, b"2a"),
        "bcrypt 2b": by_bcrypt(password),
        "bcrypt 2y": by_bcrypt(password, b"2y"),
        "Django": by_django(password),
    }


OF_ALL = hashes_of(PASSWORD)


def store(app: Flask, hashed: str) -> None:
    """Import Ann with this hash."""
    with app.app_context():
        importing = Import(SOMEWHERE, utcnow())
        assert importing.add([(1, {"email": ANN, "password_hash": hashed})]).imported == 1
        importing.end()


def stored(app: Flask) -> str:
    with app.app_context():
        return find_user(app, ANN).password_hash


@pytest.mark.parametrize("system", OF_ALL)
def test_the_password_of_before_opens_and_the_hash_is_replaced(system: str, app: Flask) -> None:
    """By one of the current setting; a wrong password opens nothing and replaces nothing."""
    store(app, OF_ALL[system])
    client = app.test_client()
    assert log_in(client, ANN, f"{PASSWORD}!").status_code == 401
    assert stored(app) == OF_ALL[system]
    assert [log_in(client, ANN).status_code for _ in range(2)] == [200, 200]
    assert stored(app).startswith(CHEAP_HASH)


@pytest.mark.parametrize("system", OF_ALL)
def test_a_password_is_checked_exactly(system: str) -> None:
    """No trimming, no case, no NUL."""
    for other in (
        "",
        PASSWORD.upper(),
        f" {PASSWORD}",
        f"{PASSWORD}\0",
        f"{PASSWORD}\ud800",
        "x" * 5000,
    ):
        assert not passwords.verify(OF_ALL[system], other, CHEAP_HASH)


def test_bcrypt_looks_at_72_bytes_and_so_takes_no_more() -> None:
    """A longer password is refused, never cut: what bcrypt did not look at is not proven."""
    just, longer = "ä" * 36, "ä" * 36 + "x"
    hashed = by_bcrypt(just)
    assert verify(hashed, just)
    assert not verify(hashed, longer)


def test_what_was_typed_is_what_others_hashed() -> None:
    """They did not normalise; here the same word would be another."""
    typed = "ﬁve ﬂuffy ﬀerrets"
    assert passwords.verify(by_django(typed), typed, CHEAP_HASH)


BEYOND = [
    "$2b$15$" + "a" * 53,
    "$2b$03$" + "a" * 53,
    "$2b$31$" + "a" * 53,
    "$2x$04$" + "a" * 53,
    "$2b$04$" + "a" * 52,
    "$2b$04$" + "a" * 52 + "\n",
    "pbkdf2:sha256:4000001$a$" + "a" * 64,
    "pbkdf2:sha256:0$a$" + "a" * 64,
    "pbkdf2:md5:1000$a$" + "a" * 32,
    "pbkdf2:sha256:1000$a$" + "a" * 63,
    "pbkdf2_sha256$4000001$a$" + "a" * 43 + "=",
    "pbkdf2_sha256$99999999999$a$" + "a" * 43 + "=",
    "pbkdf2_sha256$1000$a$" + "a" * 43,
    "md5$a$" + "a" * 32,
    "",
]


@pytest.mark.parametrize("hashed", BEYOND)
def test_what_is_no_such_hash_or_too_costly_is_not_computed(hashed: str) -> None:
    """A sign-in fails, at the cost of a hash of the current setting."""
    assert not knows(hashed)
    assert not passwords.can_verify(hashed)
    began = time.process_time()
    assert not passwords.verify(hashed, PASSWORD, CHEAP_HASH)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("hashed", ["$2b$04$" + "a" * 53, "pbkdf2_sha256$1$a$" + "a" * 42 + "A="])
def test_a_hash_that_nothing_can_have_made_opens_nothing(hashed: str) -> None:
    """Whatever the library says of it."""
    assert verify(hashed, PASSWORD) is False


def test_a_hash_is_renewed_to_the_setting_only_once(make_app: MakeApp) -> None:
    """Then it costs what everybody's costs."""
    app = make_app(FOXTROT_PASSWORD_HASH="argon2id:1024:1:1")
    store(app, OF_ALL["Django"])
    log_in(app.test_client(), ANN)
    renewed = stored(app)
    log_in(app.test_client(), ANN)
    assert stored(app) == renewed
    assert not passwords.needs_rehash(renewed, "argon2id:1024:1:1")
