"""Valkey fails: it is gone, it hangs, it forgets. Nobody sees a fault, and nothing is unlimited."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ratelimit import DatabaseStore, FallbackStore, ValkeyStore
from app.ratelimit.valkey import TIMEOUT
from tests import valkey
from tests.conftest import MakeApp
from tests.limits.conftest import HOME, statuses, try_password
from tests.support import PASSWORD, get, log_in, post_json

OTHER = "192.0.2.66"


@pytest.fixture
def own_server() -> Iterator[valkey.Server]:
    """A server that a test may break."""
    with valkey.running() as server:
        yield server


@pytest.fixture
def app(make_app: MakeApp, own_server: valkey.Server) -> Flask:
    """An app that counts there, and asks it again at once after a failure."""
    app = make_app(FOXTROT_TRUSTED_PROXIES="1", FOXTROT_REDIS_URL=own_server.url)
    store = FallbackStore(ValkeyStore(own_server.url), DatabaseStore(), pause=0)
    app.extensions["foxtrot_limits"] = store
    return app


@pytest.fixture
def patient(make_app: MakeApp, own_server: valkey.Server, app: Flask) -> FlaskClient:
    """A client of an app as it is in earnest, which leaves a broken server alone for a while."""
    url = own_server.url
    return make_app(FOXTROT_TRUSTED_PROXIES="1", FOXTROT_REDIS_URL=url).test_client()


def test_without_the_server_the_database_counts(
    client: FlaskClient, own_server: valkey.Server, alice: str
) -> None:
    """Ten again at most; and when it is back it counts, from the beginning."""
    assert statuses(client, alice, 7) == [401] * 7
    own_server.stop()
    assert statuses(client, alice, 12) == [401] * 10 + [429] * 2
    assert try_password(client, alice, PASSWORD, OTHER).status_code == 200
    own_server.start()
    assert statuses(client, alice, 12) == [401] * 10 + [429] * 2


def test_a_server_that_hangs_costs_one_time_out(
    patient: FlaskClient, own_server: valkey.Server, alice: str
) -> None:
    """Of twenty requests one or two wait; all are answered, and the limit holds."""
    assert log_in(patient, alice).status_code == 200
    with own_server.hanging():
        began = time.monotonic()
        assert statuses(patient, alice, 20) == [401] * 10 + [429] * 10
        assert time.monotonic() - began < 10 * TIMEOUT


def test_a_server_that_hangs_is_asked_again(
    client: FlaskClient, own_server: valkey.Server, alice: str
) -> None:
    """As soon as it answers, it counts."""
    with own_server.hanging():
        assert try_password(client, alice).status_code == 401
    assert try_password(client, alice).status_code == 401
    assert len(own_server.lives()) > 0


def test_a_server_that_forgets_begins_anew(
    client: FlaskClient, own_server: valkey.Server, alice: str
) -> None:
    """Counters, and nothing else: a session that ended stays so."""
    token = log_in(client, alice).get_json()["refresh_token"]
    post_json(client, "/auth/logout", {"refresh_token": token})
    assert statuses(client, alice, 11)[-1] == 429
    own_server.flush()
    assert statuses(client, alice, 11) == [401] * 10 + [429]
    assert post_json(client, "/auth/refresh", {"refresh_token": token}).status_code == 401


def test_tokens_are_checked_and_renewed_without_it(
    client: FlaskClient, own_server: valkey.Server, alice: str
) -> None:
    """It is not even asked: no counter comes of it."""
    tokens = log_in(client, alice).get_json()
    own_server.flush()
    assert get(client, "/api/me", tokens["access_token"]).status_code == 200
    renewed = post_json(client, "/auth/refresh", {"refresh_token": tokens["refresh_token"]})
    assert renewed.status_code == 200
    assert own_server.lives() == []


def test_a_server_that_refuses_us_is_one_that_does_not_answer(
    make_app: MakeApp, own_server: valkey.Server, alice: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong password, say: the log says it once and does not say the password."""
    url = own_server.url.replace("//", "//:not-the-password@")
    client = make_app(FOXTROT_REDIS_URL=url).test_client()
    assert statuses(client, alice, 12, address=HOME) == [401] * 10 + [429] * 2
    said = [record.getMessage() for record in caplog.records if record.name == "foxtrot.app"]
    assert len(said) == 1
    assert "limits are counted in the database" in said[0]
    assert "not-the-password" not in caplog.text


def test_the_start_does_not_wait_for_it(make_app: MakeApp, alice: str) -> None:
    """Nothing listens there."""
    client = make_app(FOXTROT_REDIS_URL="valkey://127.0.0.1:1/0").test_client()
    assert log_in(client, alice).status_code == 200
