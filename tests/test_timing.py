"""The time of a refused login does not tell why it was refused (bench/timing.py, shorter)."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import users
from bench.timing import auc, times
from tests.conftest import MakeApp, add_user, find_user
from tests.support import CHEAP_HASH, NO_LOGIN_LIMITS, PASSWORD, SOMEWHERE, log_in

TRIES = 100
"""By chance alone, AUC is then further from 0.5 than the bound once in a million runs."""

BOUND = 0.22


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """Alice has an account, Bob's is disabled."""
    app = make_app(FOXTROT_PASSWORD_HASH=CHEAP_HASH, **NO_LOGIN_LIMITS)
    add_user(app, "alice@example.com")
    add_user(app, "bob@example.com")
    with app.app_context():
        users.disable(find_user(app, "bob@example.com"), SOMEWHERE)
    return app


def test_a_refused_login_takes_as_long_whatever_the_reason(client: FlaskClient) -> None:
    """Nobody's address, a wrong password, a disabled user's right one, interleaved."""
    wrong = "a wrong password, long enough"
    attempts = {
        "unknown": lambda: log_in(client, "nobody@example.com", wrong).status_code,
        "wrong": lambda: log_in(client, "alice@example.com", wrong).status_code,
        "disabled": lambda: log_in(client, "bob@example.com", PASSWORD).status_code,
    }
    times(attempts, 5)
    taken = times(attempts, TRIES)
    assert abs(auc(taken["unknown"], taken["wrong"]) - 0.5) < BOUND
    assert abs(auc(taken["unknown"], taken["disabled"]) - 0.5) < BOUND
    assert abs(auc(taken["wrong"], taken["disabled"]) - 0.5) < BOUND


def test_auc_is_what_it_says() -> None:
    """The chance that one is greater than another; so that the test above can fail."""
    assert auc([3, 4], [1, 2]) == 1
    assert auc([1, 2], [3, 4]) == 0
    assert auc([1, 2, 2], [2, 2, 3]) == pytest.approx(2 / 9)
    assert auc([1, 1], [1, 1]) == 0.5
