"""Machines that are taken out are refused by every service, by a status list of their own."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import services, tokens
from app.db import utcnow
from app.status_lists import Publisher
from foxtrot import JWKSet, Verifier
from foxtrot.errors import InvalidToken
from foxtrot.status_list import read
from tests.conftest import on_both_databases
from tests.services.conftest import Machine, change, machine_token, register
from tests.support import ORIGIN, claims_of, get

pytestmark = on_both_databases
URI = f"{ORIGIN}/status-lists/machines"


class Published:
    """The list as it is now, as a `foxtrot.Status`."""

    def __init__(self, app: Flask) -> None:
        self.app, self.client = app, app.test_client()

    def ended(self, token: Any) -> bool:
        place = token.claims["status"]["status_list"]
        assert place["uri"] == URI
        self.app.extensions["foxtrot_status_lists"]._lists.clear()  # as if a second had passed
        answer = self.client.get("/status-lists/machines", base_url=ORIGIN)
        found = read(answer.text, URI, ORIGIN, (keys_of(self.client),), now=time.time())
        return bool(found.statuses[place["idx"]])


def keys_of(client: FlaskClient) -> JWKSet:
    return JWKSet(get(client, "/.well-known/jwks.json").get_json())


def is_accepted(app: Flask, token: str) -> bool:
    """Whether the notes take a token."""
    keys = [keys_of(app.test_client())]
    verifier = Verifier(ORIGIN, "notes", keys=keys, status=Published(app))
    try:
        return verifier.verify(token).subject.startswith("s_")
    except InvalidToken:
        return False


def test_a_machine_that_works_is_accepted(app: Flask, client: FlaskClient, worker: Machine) -> None:
    """Also the newest one, which a list that was fetched before does not know."""
    token = machine_token(client, worker)
    assert is_accepted(app, token)
    place = claims_of(token)["status"]["status_list"]
    register(app, "newest", may=["notes:read"])
    assert place["uri"] == URI
    assert is_accepted(app, token)


def test_a_disabled_machine_is_refused_until_it_is_enabled(
    app: Flask, client: FlaskClient, worker: Machine
) -> None:
    """Its old tokens, too."""
    token = machine_token(client, worker)
    change(app, services.disable, "worker")
    assert not is_accepted(app, token)
    change(app, services.enable, "worker")
    assert is_accepted(app, token)


@pytest.mark.parametrize("newest", ["the newest", "an older one"])
def test_a_removed_machine_stays_refused(
    app: Flask, client: FlaskClient, worker: Machine, newest: str
) -> None:
    """Its place is given to nobody else."""
    if newest == "an older one":
        register(app, "other", may=["notes:read"])
    token = machine_token(client, worker)
    change(app, services.remove, "worker")
    assert not is_accepted(app, token)
    again = machine_token(client, register(app, "worker", may=["notes:read"]))
    assert is_accepted(app, again)
    assert not is_accepted(app, token)


def test_the_list_of_machines_is_like_the_others(client: FlaskClient, worker: Machine) -> None:
    """For everybody, asked for anew each time, 304 for who has it."""
    first = client.get("/status-lists/machines", base_url=ORIGIN)
    assert first.content_type == "application/statuslist+jwt"
    assert first.headers["Access-Control-Allow-Origin"] == "*"
    again = {"If-None-Match": first.headers["ETag"]}
    answer = client.get("/status-lists/machines", base_url=ORIGIN, headers=again)
    assert answer.status_code == 304


def test_a_machine_that_comes_in_again_does_so_by_each_worker(app: Flask, worker: Machine) -> None:
    """One that saw nothing of its absence gave the list of before, which services refused."""
    now = utcnow()
    with app.app_context():
        one, other = (Publisher(tokens.status_list_key, tokens.sign_status_list) for _ in range(2))
        other.get("machines", now)
        change(app, services.disable, "worker")
        while_out = one.get("machines", now + timedelta(seconds=10))
        change(app, services.enable, "worker")
        after = other.get("machines", now + timedelta(seconds=20))
    assert claims_of(after.token)["iat"] > claims_of(while_out.token)["iat"]
