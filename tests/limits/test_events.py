"""What is written when a limit is reached, and what the person reads of it."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app import audit
from app.audit import AuditEvent, Event
from app.db import read_now
from app.ratelimit.database import RateLimit
from tests.limits.conftest import (
    guess_from_everywhere,
    on_all_stores,
    send,
    statuses,
    try_password,
)
from tests.support import PASSWORD, get


def reached(app: Flask) -> list[AuditEvent]:
    """The events that say so, newest first."""
    with app.app_context():
        return audit.newest(1000, name=Event.LIMIT_REACHED)


@on_all_stores
def test_a_flood_is_one_event(app: Flask, client: FlaskClient, alice: str) -> None:
    """However much is refused; another limit is another one."""
    statuses(client, alice, 60)
    assert [(event.reason, event.address) for event in reached(app)] == [
        ("login.account_and_address", "203.0.113.7")
    ]
    guess_from_everywhere(client, alice, 80)
    assert [event.reason for event in reached(app)][:1] == ["login.account"]
    assert len(reached(app)) == 2


def test_what_was_typed_is_not_in_it(app: Flask, client: FlaskClient) -> None:
    """Nobody's address is a keyed hash, as in a failed sign-in."""
    statuses(client, "my own password", 12)
    [event] = reached(app)
    assert event.user is None
    assert event.typed_hash
    with app.app_context():
        assert event.typed_hash == audit.newest(1, name=Event.LOGIN_FAILED)[0].typed_hash


def test_an_address_that_is_held_back_is_nobodys_event(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """It tried everybody, and the one at whom it was refused has nothing to do with it."""
    for number in range(60):
        try_password(client, f"user{number}@example.com")
    try_password(client, alice)
    [event] = reached(app)
    assert (event.reason, event.user, event.typed_hash) == ("login.address", None, None)


@pytest.mark.parametrize(
    ("guess", "words"),
    [
        (guess_from_everywhere, "Sign-ins from devices that are not known were held back"),
        (lambda client, email: statuses(client, email, 11), "Sign-ins from one place were held"),
    ],
)
def test_the_account_page_says_it_in_plain_words(
    app: Flask, alice: str, guess: object, words: str
) -> None:
    """And that the operator let sign-ins through again."""
    assert callable(guess)
    guess(app.test_client(), alice)
    app.test_cli_runner().invoke(args=["users", "unlock", alice])
    client = app.test_client()
    assert send(client, "/login", email=alice, password=PASSWORD).status_code == 303
    page = get(client, "/account").text
    assert words in page
    assert "The operator let sign-ins through again" in page


def test_no_counter_names_anybody(app: Flask, client: FlaskClient, alice: str) -> None:
    """Neither an account nor an address is to be read in the table."""
    statuses(client, alice, 11)
    with app.app_context():
        keys = [row.key for row in read_now(select(RateLimit.key))]
    assert len(keys) == 7
    assert all(len(key) == 32 and set(key) <= set("0123456789abcdef") for key in keys)
