"""Asking about a token (RFC 7662): exact, and only about what is for the one that asks."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import accounts, machines, services, sessions, users
from app.db import utcnow
from app.sessions import Ending
from app.users import User
from tests.conftest import MakeApp, add_user, find_user, on_both_databases
from tests.services.conftest import Machine, change, machine_token, post, register
from tests.support import ORIGIN, SOMEWHERE, access_token, claims_of, log_in

SECRET = "hV4sQ9xTn2LwYc7RbK0mZdEo3JgAu6Pi/shared"
INACTIVE = {"active": False}


def introspect(client: FlaskClient, token: str, by: Machine, **fields: Any) -> dict[str, Any]:
    """What a service hears of a token."""
    answer = post(client, "introspect", {"token": token, **fields}, by)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return dict(answer.get_json())


@on_both_databases
def test_a_good_token_is_active(client: FlaskClient, alice: str, notes: Machine) -> None:
    """With all that it says (RFC 7662 section 2.2)."""
    token = access_token(client, alice)
    claims = claims_of(token)
    assert introspect(client, token, notes) == {
        **claims,
        "active": True,
        "token_type": "Bearer",
    }


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_the_hint_does_not_matter(
    client: FlaskClient, alice: str, notes: Machine, hint: str
) -> None:
    """RFC 7662 section 2.1."""
    token = access_token(client, alice)
    assert introspect(client, token, notes, token_type_hint=hint)["active"]


def test_a_token_for_others_is_inactive(client: FlaskClient, bob: str, billing: Machine) -> None:
    """A service learns nothing of tokens that it could not use."""
    assert introspect(client, access_token(client, bob, audience="notes"), billing) == INACTIVE
    assert introspect(client, access_token(client, bob, audience=ORIGIN), billing) == INACTIVE
    assert introspect(client, access_token(client, bob), billing)["active"]


def test_a_service_that_is_named_like_us_is_nobody(make_app: MakeApp) -> None:
    """When the public URL becomes its name, it does not hear of the tokens that are for us."""
    url = "https://login.example.com"
    asker = register(make_app(), url)
    client = make_app(FOXTROT_PUBLIC_URL=url).test_client()
    assert post(client, "introspect", {"token": "x"}, asker).status_code == 401


def test_a_refresh_token_is_inactive(client: FlaskClient, alice: str, notes: Machine) -> None:
    """No service has any business with one; and asking does not use it up."""
    token = log_in(client, alice).get_json()["refresh_token"]
    assert introspect(client, token, notes, token_type_hint="refresh_token") == INACTIVE


NO_TOKENS = ["x", "a.b.c", "\u00fc", " ", "x" * 60_000, "eyJhbGciOiJub25lIn0.e30."]


@pytest.mark.parametrize("text", NO_TOKENS, ids=lambda text: text[:8])
def test_what_is_no_token_is_inactive(client: FlaskClient, notes: Machine, text: str) -> None:
    """RFC 7662 section 2.2: not an error."""
    assert introspect(client, text, notes) == INACTIVE


def test_a_forged_token_is_inactive(client: FlaskClient, alice: str, notes: Machine) -> None:
    """Mallory changed a letter."""
    token = access_token(client, alice)
    assert introspect(client, token[:-6] + "AAAAAA", notes) == INACTIVE


def end_all(app: Flask, user: User) -> None:
    sessions.end_all(user, Ending.ENDED_BY_USER, SOMEWHERE)


def disable(app: Flask, user: User) -> None:
    accounts.disable(user, SOMEWHERE)


def delete(app: Flask, user: User) -> None:
    users.delete(user, SOMEWHERE)


@on_both_databases
@pytest.mark.parametrize("verb", [end_all, disable, delete])
def test_an_ended_session_is_inactive_at_once(
    app: Flask, client: FlaskClient, alice: str, notes: Machine, verb: Any
) -> None:
    """The database says so, not the token."""
    token = access_token(client, alice)
    with app.app_context():
        verb(app, find_user(app, alice))
    assert introspect(client, token, notes) == INACTIVE


def test_a_scope_that_the_user_lost_is_not_named(
    app: Flask, client: FlaskClient, bob: str, billing: Machine
) -> None:
    """The token still carries it."""
    token = access_token(client, bob, audience="billing")
    with app.app_context():
        users.set_scopes(find_user(app, bob), [], SOMEWHERE)
    assert introspect(client, token, billing)["scope"] == ""


@pytest.mark.parametrize(
    ("seconds", "active"), [(0, True), (899, True), (900, False), (930, False)]
)
def test_it_ends_to_the_second(
    app: Flask, client: FlaskClient, alice: str, notes: Machine, seconds: int, active: bool
) -> None:
    """No leeway here: `exp` and `active` never contradict each other."""
    token = access_token(client, alice)
    issued_at = claims_of(token)["iat"]
    then = utcnow().replace(microsecond=0)
    then += timedelta(seconds=issued_at - int(then.timestamp()) + seconds)
    with app.app_context():
        caller = services.by_public_id(notes.id)
        assert caller is not None
        assert (machines.introspect(token, caller, then) is not None) == active


# Of machines


def test_a_machines_token_is_active(client: FlaskClient, worker: Machine, notes: Machine) -> None:
    """For the service that it calls; not for the machine, who is in no audience."""
    token = machine_token(client, worker)
    said = introspect(client, token, notes)
    assert (said["active"], said["sub"], said["scope"]) == (True, worker.id, "notes:read")
    assert introspect(client, token, worker) == INACTIVE


@on_both_databases
@pytest.mark.parametrize("verb", [services.disable, services.remove])
def test_the_token_of_a_machine_that_was_taken_out_is_inactive(
    app: Flask, client: FlaskClient, worker: Machine, notes: Machine, verb: Any
) -> None:
    """At once."""
    token = machine_token(client, worker)
    change(app, verb, "worker")
    assert introspect(client, token, notes) == INACTIVE


def test_what_a_machine_may_no_longer_use_is_not_named(
    app: Flask, client: FlaskClient, worker: Machine, notes: Machine
) -> None:
    """As with people."""
    token = machine_token(client, worker)
    change(app, services.set_may, "worker", ["notes:write"])
    assert introspect(client, token, notes)["scope"] == ""


def hook(user: Any) -> dict[str, Any]:
    """An operator's claims, deep and contrary."""
    return {"team": {"name": "blue", "tags": ["a"]}, "active": False, "token_type": "none"}


def test_claims_of_the_operator_are_told_too(make_app: MakeApp) -> None:
    """But for those that RFC 7662 gives a meaning of its own."""
    app = make_app(FOXTROT_CLAIMS_HOOK=f"{__name__}:hook")
    client, asker = app.test_client(), register(app, "wiki")
    said = introspect(client, access_token(client, add_user(app, "ann@example.com")), asker)
    assert said["team"] == {"name": "blue", "tags": ["a"]}
    assert (said["active"], said["token_type"]) == (True, "Bearer")


def test_claims_that_nest_without_end_are_no_token(make_app: MakeApp) -> None:
    """Whoever shares the secret can sign them; the service failed on them."""
    settings = {"FOXTROT_ALGORITHM": "HS256", "FOXTROT_SHARED_SECRET": SECRET}
    client = (app := make_app(**settings)).test_client()
    claims = claims_of(access_token(client, add_user(app, "ann@example.com"), audience="notes"))
    members = (
        json.dumps({**claims, "aud": ["billing"]})[:-1] + f', "deep": {"[" * 550}{"]" * 550}}}'
    )
    header = {"alg": "HS256", "typ": "at+jwt"}
    text = jwt.api_jws.encode(members.encode(), SECRET, "HS256", headers=header)
    assert introspect(client, text, register(app, "billing")) == {"active": False}
