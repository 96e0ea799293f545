"""The owner of an account that somebody guesses at still has a way in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import accounts, devices, login
from app.client import Client
from app.errors import TooManyAttempts
from tests.conftest import MakeApp, find_user
from tests.limits.conftest import (
    HOME,
    WRONG,
    guess_from_everywhere,
    on_all_stores,
    send,
    statuses,
    try_password,
)
from tests.support import PASSWORD, SOMEWHERE, submit

MARK = "foxtrot_device"
NEW_PASSWORD = "seven green lamps above the harbour"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def known(client: FlaskClient, alice: str) -> FlaskClient:
    """A browser in which Alice signed in once; she has signed out."""
    assert send(client, "/login", email=alice, password=PASSWORD).status_code == 303
    send(client, "/logout")
    assert client.get_cookie("foxtrot_session") is None
    return client


def mark_of(client: FlaskClient) -> str:
    """What the browser shows of itself."""
    cookie = client.get_cookie(MARK)
    assert cookie is not None
    return cookie.value


def browser_with(app: Flask, mark: str) -> FlaskClient:
    """Another browser that shows this."""
    client = app.test_client()
    client.set_cookie(MARK, mark)
    return client


@on_all_stores
def test_a_known_device_signs_in_while_all_others_wait(
    app: Flask, known: FlaskClient, alice: str
) -> None:
    """On the page and by JSON, also from an address from which somebody guesses."""
    strangers = app.test_client()
    assert guess_from_everywhere(strangers, alice) == 30
    for number in range(60):
        try_password(strangers, f"user{number}@example.com", address=HOME)
    assert try_password(strangers, alice, PASSWORD).status_code == 429
    assert try_password(known, alice, PASSWORD).status_code == 200
    assert guess_from_everywhere(strangers, alice) == 30
    assert send(known, "/login", email=alice, password=PASSWORD).status_code == 303


def test_a_known_device_has_a_counter_of_its_own(
    app: Flask, known: FlaskClient, alice: str
) -> None:
    """Who has it guesses ten times there, and uses up nobody else's tries."""
    assert statuses(known, alice, 12) == [401] * 10 + [429] * 2
    assert try_password(known, alice, PASSWORD, address="192.0.2.66").status_code == 429
    assert try_password(app.test_client(), alice, PASSWORD).status_code == 200
    assert try_password(known, alice, PASSWORD).status_code == 429


def test_a_mark_is_for_its_user_alone(app: Flask, known: FlaskClient, alice: str, bob: str) -> None:
    """At another account, and changed in any part, it is worth nothing."""
    mark = mark_of(known)
    name, at, mac = mark.split(".")
    forged = ["", "x", f"{name}.{int(at) + 1}.{mac}", f"d_{'0' * 26}.{at}.{mac}", mark[:-1] + "!"]
    assert guess_from_everywhere(app.test_client(), bob) == 30
    assert try_password(known, bob, PASSWORD).status_code == 429
    assert guess_from_everywhere(app.test_client(), alice) == 30
    for text in forged:
        assert try_password(browser_with(app, text), alice, PASSWORD).status_code == 429
    assert try_password(browser_with(app, mark), alice, PASSWORD).status_code == 200


def test_a_mark_tells_nothing_of_its_user(app: Flask, known: FlaskClient, alice: str) -> None:
    """Neither the address nor the id is in it."""
    with app.app_context():
        user = find_user(app, alice)
        assert user.public_id not in mark_of(known)
    assert alice not in mark_of(known)


def test_with_another_password_old_marks_are_worthless(
    app: Flask, known: FlaskClient, alice: str
) -> None:
    """Or somebody who knew the old one could have collected them. The browser gets a new one."""
    before = mark_of(known)
    send(known, "/login", email=alice, password=PASSWORD)
    answer = send(known, "/account/password", current_password=PASSWORD, new_password=NEW_PASSWORD)
    assert answer.status_code == 303
    assert guess_from_everywhere(app.test_client(), alice) == 30
    assert try_password(browser_with(app, before), alice, NEW_PASSWORD).status_code == 429
    assert try_password(known, alice, NEW_PASSWORD).status_code == 200


def test_a_mark_is_good_for_a_year(app: Flask, alice: str) -> None:
    """To the second; also when the secret changes meanwhile."""
    with app.app_context():
        user = find_user(app, alice)
        who, since = user.public_id, user.password_changed_at
        mark = devices.mark(who, since, NOON)
        year = NOON + timedelta(days=365)
        assert devices.recognise(mark, who, since, year)
        assert devices.recognise(mark, who, since, year + timedelta(seconds=1)) is None


def test_a_change_of_the_secret_keeps_devices_known(make_app: MakeApp, alice: str) -> None:
    """The secret before it still reads what it signed."""
    old, new = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae", "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U"
    with make_app().app_context():
        since = find_user(make_app(), alice).password_changed_at
    folder = {"FOXTROT_DATA_DIR": make_app().config["FOXTROT_DATA_DIR"] + "/fresh"}
    with make_app(FOXTROT_SECRET_KEY=old, **folder).app_context():
        mark = devices.mark("u_1", since, NOON)
    changed = {"FOXTROT_SECRET_KEY": new, "FOXTROT_SECRET_KEY_FALLBACKS": old}
    with make_app(**changed, **folder).app_context():
        assert devices.recognise(mark, "u_1", since, NOON)


@on_all_stores
def test_the_operator_lets_a_user_in_again(
    app: Flask, client: FlaskClient, runner: FlaskCliRunner, alice: str
) -> None:
    """Whatever was counted: from everywhere, and from where they are."""
    assert statuses(client, alice, 11)[-1] == 429
    assert guess_from_everywhere(client, alice) == 20
    assert try_password(client, alice, PASSWORD).status_code == 429
    done = runner.invoke(args=["users", "unlock", alice])
    assert done.exit_code == 0, done.output
    assert "may sign in again" in done.output
    assert try_password(client, alice, PASSWORD).status_code == 200


def test_unlocking_somebody_unknown_is_an_error(runner: FlaskCliRunner) -> None:
    """In words."""
    done = runner.invoke(args=["users", "unlock", "nobody@example.com"])
    assert done.exit_code == 1
    assert "There is no user" in done.output


def test_a_reset_link_lets_a_user_in_again(app: Flask, client: FlaskClient, alice: str) -> None:
    """With the new password, at once."""
    guess_from_everywhere(client, alice)
    assert statuses(client, alice, 2) == [429] * 2
    with app.app_context():
        link = accounts.reset_url(find_user(app, alice), SOMEWHERE)
    token = link.partition("token=")[2]
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 303
    assert try_password(client, alice, NEW_PASSWORD).status_code == 200


def test_without_any_of_these_the_owner_waits_no_longer_than_that(app: Flask, alice: str) -> None:
    """Once nobody guesses any more: half a minute for the one limit, a quarter of an hour a day."""
    guess_from_everywhere(app.test_client(), alice)
    client, soon = Client(HOME, "a program"), datetime.now(UTC) + timedelta(seconds=31)
    with app.app_context():
        with pytest.raises(TooManyAttempts):
            login.with_tokens(alice, WRONG, client, now=soon - timedelta(seconds=20))
        assert login.with_tokens(alice, PASSWORD, client, now=soon)
