"""Who is to wait is told so before anything is hashed, at every door that hashes.

There is no lane meanwhile: whoever would be hashed for is answered 503, so an answer of 429
was given without asking for a hash.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import MakeApp, add_user
from tests.limits.conftest import HOME, WRONG, send, try_password
from tests.support import ORIGIN, PASSWORD, access_token, bearer, post_json

ALICE = "alice@example.com"
ELSEWHERE = "192.0.2.66"
NEW = "seven green lamps above the harbour"
THREE = "3/15m"
NUMBERS = count()

Ask = Callable[[FlaskClient, str], int]
"""Goes through a door once, from an address; gives the status."""


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    """The app with one lane, behind one proxy, with limits that are soon reached; and Alice."""
    names = ["LOGIN_ACCOUNT_AND_ADDRESS", "LOGIN_DEVICE", "REGISTRATION", "LINKS"]
    limits = {f"FOXTROT_LIMIT_{name}": THREE for name in names}
    app: Flask = make_app(FOXTROT_TRUSTED_PROXIES="1", FOXTROT_HASH_LANES="1", **limits)
    add_user(app, ALICE)
    return app.test_client()


@contextmanager
def without_lanes(client: FlaskClient) -> Iterator[None]:
    """A file stands where the folder of the lanes has to be."""
    folder = Path(client.application.config["FOXTROT_DATA_DIR"]) / "lanes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.touch()
    yield
    folder.unlink()


def by_json(client: FlaskClient, address: str) -> int:
    return try_password(client, ALICE, WRONG, address).status_code


def by_form(client: FlaskClient, address: str) -> int:
    return send(client, "/login", address, email=ALICE, password=WRONG).status_code


def registering(client: FlaskClient, address: str) -> int:
    body = {"email": f"user{next(NUMBERS)}@example.com", "password": PASSWORD}
    return post_json(client, "/auth/register", body, X_Forwarded_For=address).status_code


def registering_by_form(client: FlaskClient, address: str) -> int:
    browser, email = client.application.test_client(), f"user{next(NUMBERS)}@example.com"
    return send(browser, "/register", address, email=email, password=PASSWORD).status_code


DOORS: dict[str, Ask] = {
    "login": by_json,
    "login page": by_form,
    "registration": registering,
    "registration page": registering_by_form,
}


@pytest.mark.parametrize("door", DOORS)
def test_a_refusal_asks_for_no_hash(client: FlaskClient, door: str) -> None:
    """Somebody else at the same door, who would be hashed for, sees that there is no lane."""
    ask = DOORS[door]
    assert 429 not in [ask(client, HOME) for _ in range(3)]
    with without_lanes(client):
        assert ask(client, HOME) == 429
        assert ask(client, ELSEWHERE) == 503


def test_a_wrong_current_password_is_refused_likewise(client: FlaskClient) -> None:
    """In the session in which it was tried too often; in another one there is no lane."""
    tokens = [access_token(client, ALICE, audience=ORIGIN) for _ in range(2)]

    def change(token: str) -> int:
        body = {"current_password": WRONG, "new_password": NEW}
        return post_json(client, "/api/me/password", body, **bearer(token)).status_code

    assert [change(tokens[0]) for _ in range(3)] == [403] * 3
    with without_lanes(client):
        assert [change(token) for token in tokens] == [429, 503]


@pytest.mark.parametrize("path", ["/setup", "/reset"])
def test_a_bad_link_is_never_hashed_for(client: FlaskClient, path: str) -> None:
    """Neither the first ones nor when there were too many."""
    fields = {"token": "x" * 43, "email": "new@example.com", "password": NEW}
    with without_lanes(client):
        said = [send(client, path, HOME, **fields).status_code for _ in range(4)]
    assert said == [404] * 3 + [429]
