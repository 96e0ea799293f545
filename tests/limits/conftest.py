"""What the tests of the limits share: where it is counted, and who comes from where.

Requests come through one proxy, which says from where, unless a test is about just that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests import valkey
from tests.conftest import MakeApp
from tests.support import ORIGIN, PASSWORD, cheap_settings, postgresql_settings

on_all_stores = pytest.mark.parametrize(
    "database", ["sqlite", "postgresql", "valkey"], indirect=True
)
"""The test three times: counted in either database, and in Valkey."""

SOON = {
    "FOXTROT_LIMIT_LOGIN_ACCOUNT": "30/15m,100/1d",
    "FOXTROT_LIMIT_LOGIN_ADDRESS": "60/15m,600/1d",
    "FOXTROT_LIMIT_LOGIN_ACCOUNT_AND_ADDRESS": "10/15m,30/1d",
    "FOXTROT_LIMIT_LOGIN_DEVICE": "10/15m,30/1d",
}
"""Limits that are reached sooner than by default."""

WRONG = "wrong horse battery staple"
HOME = "203.0.113.7"


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[valkey.Server]:
    """A Valkey server for the tests of this process, started when one asks for it."""
    with valkey.running() as server:
        yield server


@pytest.fixture
def server(valkey_server: valkey.Server) -> valkey.Server:
    """The same, and nothing is in it."""
    valkey_server.flush()
    return valkey_server


@pytest.fixture
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a fresh, migrated database, and of where limits are counted."""
    where = getattr(request, "param", "sqlite")
    if where.startswith("postgresql"):
        folder = request.getfixturevalue("tmp_path")
        url = request.getfixturevalue("postgresql_url")
        settings = {**postgresql_settings(url, folder / "data"), **SOON}
    else:
        settings = {**cheap_settings(request.getfixturevalue("data_dir")), **SOON}
    if where.endswith("valkey"):
        settings["FOXTROT_REDIS_URL"] = request.getfixturevalue("server").url
    return settings


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app, behind one proxy."""
    return make_app(FOXTROT_TRUSTED_PROXIES="1")


def try_password(
    client: FlaskClient, email: str, password: str = WRONG, address: str = HOME
) -> TestResponse:
    """Log in by JSON from an address."""
    body = {"email": email, "password": password}
    headers = {"X-Forwarded-For": address}
    return client.post("/auth/login", json=body, headers=headers, base_url=ORIGIN)


def statuses(
    client: FlaskClient, email: str, times: int, password: str = WRONG, address: str = HOME
) -> list[int]:
    """What comes of trying a password so many times."""
    return [try_password(client, email, password, address).status_code for _ in range(times)]


def send(client: FlaskClient, path: str, address: str = HOME, **fields: str) -> TestResponse:
    """Send a form of our own pages from an address."""
    headers = {"Origin": ORIGIN, "X-Forwarded-For": address}
    return client.post(path, data=fields, headers=headers, base_url=ORIGIN)


def guess_from_everywhere(client: FlaskClient, email: str, times: int = 40) -> int:
    """Guess once from each of many addresses; say how many guesses were judged."""
    answers = [
        try_password(client, email, address=f"198.51.{number // 250}.{number % 250}").status_code
        for number in range(times)
    ]
    assert set(answers) <= {401, 429}
    return answers.count(401)


__all__ = ["PASSWORD"]
