"""How often somebody may try a password: for one account, from one address, and both."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app, login, throttles
from app.client import Client
from app.errors import InvalidCredentials, TooManyAttempts, Unavailable
from app.throttles import Account
from tests.conftest import MakeApp, add_user, dispose
from tests.limits.conftest import (
    HOME,
    WRONG,
    guess_from_everywhere,
    on_all_stores,
    send,
    statuses,
    try_password,
)
from tests.support import PASSWORD, access_token, bearer, cheap_settings, get, post_json

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
NOBODY = "nobody@example.com"


@on_all_stores
def test_after_ten_wrong_passwords_the_right_one_waits_too(client: FlaskClient, alice: str) -> None:
    """429, and the header says for how long."""
    assert statuses(client, alice, 12) == [401] * 10 + [429] * 2
    answer = try_password(client, alice, PASSWORD)
    assert answer.status_code == 429
    assert answer.get_json()["code"] == "too_many_attempts"
    assert answer.get_json()["detail"].endswith("Try again in 2 minutes.")
    assert 80 < int(answer.headers["Retry-After"]) <= 90


def test_the_answer_does_not_tell_whether_there_is_an_account(
    client: FlaskClient, alice: str
) -> None:
    """The same after as many tries, word by word."""
    assert statuses(client, alice, 11) == statuses(client, NOBODY, 11)
    known, unknown = try_password(client, alice), try_password(client, NOBODY)
    assert known.get_json() == unknown.get_json()
    assert list(known.headers.keys()) == list(unknown.headers.keys())


@pytest.mark.parametrize("email", ["alice@example.com", NOBODY, "no address", "\N{SNOWMAN}"])
def test_a_refusal_costs_no_hash(make_app: MakeApp, email: str) -> None:
    """Where hashing takes long, being kept waiting takes a small part of that."""
    app = make_app(FOXTROT_PASSWORD_HASH="scrypt:8192:8:4")
    client = app.test_client()
    add_user(app, "alice@example.com")

    def cost() -> tuple[int, float]:
        began = time.process_time()  # hashes are made in threads of their own
        status = try_password(client, email, address="").status_code
        return status, time.process_time() - began

    costs = [cost() for _ in range(15)]
    judged = [seconds for status, seconds in costs if status == 401]
    refused = [seconds for status, seconds in costs if status == 429]
    assert len(judged) == 10
    assert max(refused) < min(judged) / 4


@pytest.mark.parametrize(
    "spelling",
    ["ALICE@Example.com", " alice@example.com ", "alice@EXAMPLE.COM", "\uff41lice@example.com"],
)
def test_another_spelling_is_the_same_account(
    client: FlaskClient, alice: str, spelling: str
) -> None:
    """Letter case, spaces, and letters that only look different (NFKC)."""
    assert statuses(client, alice, 10) == [401] * 10
    assert try_password(client, spelling, PASSWORD).status_code == 429


@on_all_stores
def test_a_success_resets_the_count(client: FlaskClient, alice: str) -> None:
    """Nine, the right one, nine more, and again; from another program without its cookie."""
    for _ in range(3):
        assert statuses(client, alice, 9) == [401] * 9
        assert try_password(client, alice, PASSWORD).status_code == 200
    assert statuses(client, alice, 11)[-2:] == [401, 429]


def test_right_passwords_are_not_counted(client: FlaskClient, alice: str) -> None:
    """However many sign-ins come from one address."""
    assert statuses(client, alice, 70, PASSWORD) == [200] * 70


@pytest.mark.parametrize("database", ["sqlite", "valkey"], indirect=True)
def test_a_restart_does_not_forget(make_app: MakeApp, client: FlaskClient, alice: str) -> None:
    """Another process counts on."""
    assert statuses(client, alice, 10) == [401] * 10
    again = make_app(FOXTROT_TRUSTED_PROXIES="1").test_client()
    assert statuses(again, alice, 2) == [429] * 2


def test_who_waits_may_go_on(app: Flask, alice: str) -> None:
    """One try after each ninety seconds; then at most thirty and one for each 48 minutes a day."""
    client = Client(HOME, "a program")

    def judged(now: datetime) -> bool:
        try:
            login.with_tokens(alice, WRONG, client, now=now)
        except TooManyAttempts:
            return False
        except InvalidCredentials:
            return True
        raise AssertionError("a wrong password is right")

    with app.app_context():
        assert [judged(NOON) for _ in range(12)].count(True) == 10
        assert not judged(NOON + timedelta(seconds=89))
        assert judged(NOON + timedelta(seconds=90))
        day = [judged(NOON + timedelta(minutes=minute)) for minute in range(2, 24 * 60, 10)]
        assert 45 <= day.count(True) <= 49
        assert login.with_tokens(alice, PASSWORD, client, now=NOON + timedelta(days=1))


@on_all_stores
def test_guessing_from_many_addresses_is_limited_too(client: FlaskClient, alice: str) -> None:
    """Thirty of them, whoever they are; and another account goes on as before."""
    assert guess_from_everywhere(client, alice) == 30
    assert try_password(client, alice, PASSWORD).status_code == 429
    assert try_password(client, NOBODY).status_code == 401


def test_one_address_at_one_account_does_not_keep_others_out(
    client: FlaskClient, alice: str
) -> None:
    """A program with an old password, say; its limit is the lower one, in a day as well."""
    assert statuses(client, alice, 20, address="192.0.2.66").count(429) == 10
    assert try_password(client, alice, PASSWORD, address=HOME).status_code == 200


def test_one_address_at_many_accounts_is_limited(client: FlaskClient, alice: str) -> None:
    """One password at everybody: sixty in a quarter of an hour, at whomever."""
    tried = [try_password(client, f"user{number}@example.com").status_code for number in range(65)]
    assert tried == [401] * 60 + [429] * 5
    assert try_password(client, alice, PASSWORD).status_code == 429
    assert try_password(client, alice, PASSWORD, address="192.0.2.66").status_code == 200


@on_all_stores
@pytest.mark.parametrize("failure", [Unavailable, RuntimeError])
def test_what_we_could_not_judge_is_not_counted(
    app: Flask, client: FlaskClient, failure: type[Exception]
) -> None:
    """A database that fails meanwhile, or too much to do at once: nobody learned anything."""
    for _ in range(12):
        account = Account(NOBODY)
        with app.app_context(), pytest.raises(failure):  # noqa: SIM117
            with throttles.password_try(account, Client(HOME, "a program")):
                raise failure
    assert statuses(client, NOBODY, 11) == [401] * 10 + [429]


def test_by_default_nobody_waits_who_is_no_guesser(data_dir: Path) -> None:
    """Twenty for one account from one address, fifty from everywhere, a hundred for everybody."""
    app = create_app({**cheap_settings(data_dir), "FOXTROT_TRUSTED_PROXIES": "1"})
    client, elsewhere = app.test_client(), "192.0.2.66"
    assert statuses(client, NOBODY, 21) == [401] * 20 + [429]
    assert try_password(client, NOBODY).get_json()["detail"].endswith("Try again in 1 minute.")
    assert guess_from_everywhere(client, NOBODY) == 30
    everybody = [f"user{number}@example.com" for number in range(101)]
    tried = [try_password(client, email, address=elsewhere).status_code for email in everybody]
    assert tried == [401] * 100 + [429]
    dispose(app)


def test_the_numbers_are_settings(make_app: MakeApp, alice: str) -> None:
    """Several hold together; `off` is none."""
    three = make_app(FOXTROT_LIMIT_LOGIN_ACCOUNT_AND_ADDRESS="9/1h,3/1d").test_client()
    assert statuses(three, alice, 5, address="") == [401] * 3 + [429] * 2
    names = ["ACCOUNT", "ADDRESS", "ACCOUNT_AND_ADDRESS", "DEVICE"]
    none = make_app(**{f"FOXTROT_LIMIT_LOGIN_{name}": "off" for name in names}).test_client()
    assert statuses(none, alice, 80, address="") == [401] * 80


def test_wrong_current_passwords_are_limited_in_their_session(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """A thief of a session guesses no further there; the owner changes it in another."""
    tokens = [access_token(client, alice, audience="http://localhost:5000") for _ in range(2)]
    new = {"new_password": "seven green lamps above the harbour"}

    def change(current: str, token: str) -> int:
        body = {"current_password": current, **new}
        return post_json(client, "/api/me/password", body, **bearer(token)).status_code

    assert [change(WRONG, tokens[0]) for _ in range(11)] == [403] * 10 + [429]
    assert change(PASSWORD, tokens[0]) == 429
    assert get(client, "/api/me", tokens[0]).status_code == 200
    assert guess_from_everywhere(app.test_client(), alice) == 30
    assert change(PASSWORD, tokens[1]) == 204


def test_the_sign_in_page_says_in_how_many_minutes(client: FlaskClient, alice: str) -> None:
    """It is the page of before, with what was typed, and the same status as for a program."""
    for _ in range(10):
        assert send(client, "/login", email=alice, password=WRONG).status_code == 401
    answer = send(client, "/login", email=alice, password=PASSWORD)
    assert answer.status_code == 429
    assert "There were too many attempts. Try again in 2 minutes." in answer.text
    assert alice in answer.text
    assert int(answer.headers["Retry-After"]) > 60


def test_the_account_page_says_so_beside_the_password(client: FlaskClient, alice: str) -> None:
    """And stays open."""
    send(client, "/login", email=alice, password=PASSWORD)
    fields = {"current_password": WRONG, "new_password": "seven green lamps above the harbour"}
    answers = [send(client, "/account/password", **fields) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [403] * 10 + [429]
    assert "Try again in 2 minutes." in answers[-1].text
    assert "Retry-After" in answers[-1].headers
    assert get(client, "/account").status_code == 200
