"""Ending a token (RFC 7009): one's own, and nobody else's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from app import audit, machines, services
from app.audit import Event
from app.db import db, utcnow
from app.machines import KEEP, RevokedToken
from tests.conftest import on_both_databases
from tests.services.conftest import Machine, machine_token, post, refusal
from tests.services.test_introspection import introspect
from tests.support import ORIGIN, SOMEWHERE, access_token, get, log_in, post_json

PUBLIC = {"client_id": "foxtrot"}


def is_live(client: FlaskClient, token: str) -> bool:
    return get(client, "/api/me", token).status_code == 200


# A machine


@on_both_databases
def test_a_machine_ends_its_token(client: FlaskClient, worker: Machine, notes: Machine) -> None:
    """That one alone; a second time changes nothing (RFC 7009 section 2.2)."""
    first, second = machine_token(client, worker), machine_token(client, worker)
    for _ in range(2):
        answer = post(client, "revoke", {"token": first}, worker)
        assert (answer.status_code, answer.data) == (200, b"")
    assert introspect(client, first, notes) == {"active": False}
    assert introspect(client, second, notes)["active"]


def test_a_revocation_is_one_event(app: Flask, client: FlaskClient, worker: Machine) -> None:
    """It names the machine."""
    token = machine_token(client, worker)
    for _ in range(2):
        post(client, "revoke", {"token": token}, worker)
    with app.app_context():
        events = audit.newest(10, name=Event.TOKEN_REVOKED)
        assert [event.service for event in events] == [worker.id]


def test_nobody_ends_the_token_of_another(
    client: FlaskClient, worker: Machine, billing: Machine, notes: Machine
) -> None:
    """RFC 7009 section 2.1: the request is refused."""
    token = machine_token(client, worker)
    assert refusal(post(client, "revoke", {"token": token}, billing)) == (400, "invalid_request")
    assert refusal(post(client, "revoke", {"token": token}, notes)) == (400, "invalid_request")
    assert introspect(client, token, notes)["active"]


def test_a_service_does_not_sign_its_users_out(
    client: FlaskClient, alice: str, notes: Machine
) -> None:
    """Mallory runs the notes: neither of the tokens ends by its hand."""
    body = log_in(client, alice).get_json()
    answer = post(client, "revoke", {"token": body["access_token"]}, notes)
    assert refusal(answer) == (400, "invalid_request")
    assert post(client, "revoke", {"token": body["refresh_token"]}, notes).status_code == 200
    assert is_live(client, body["access_token"])


NO_TOKENS = ["x", "a.b.c", "\u00fc", "x" * 60_000]


@pytest.mark.parametrize("text", NO_TOKENS, ids=lambda text: text[:8])
def test_what_is_no_token_is_done_with(client: FlaskClient, worker: Machine, text: str) -> None:
    """RFC 7009 section 2.2: what the client wants is the case already."""
    assert post(client, "revoke", {"token": text}, worker).status_code == 200
    assert post(client, "revoke", {"token": text, **PUBLIC}).status_code == 200


def test_what_has_expired_is_not_written_down(
    app: Flask, client: FlaskClient, worker: Machine
) -> None:
    """What was is deleted by the cleaning."""
    first, second = machine_token(client, worker), machine_token(client, worker)
    with app.app_context():
        service = services.by_public_id(worker.id)
        assert service is not None
        machines.revoke_own(first, service, SOMEWHERE)
        later = utcnow() + timedelta(minutes=15) + KEEP
        machines.revoke_own(second, service, SOMEWHERE, later)
        assert db.session.scalar(select(func.count()).select_from(RevokedToken)) == 1


@on_both_databases
def test_many_may_end_one_token_at_once(app: Flask, worker: Machine, notes: Machine) -> None:
    """None of them fails, and it is written down once."""
    token = machine_token(app.test_client(), worker)

    def revoke(_: int) -> int:
        return post(app.test_client(), "revoke", {"token": token}, worker).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(revoke, range(8))) == {200}
    with app.app_context():
        assert len(audit.newest(10, name=Event.TOKEN_REVOKED)) == 1


# A person's program


@on_both_databases
def test_who_holds_a_refresh_token_ends_its_session(client: FlaskClient, alice: str) -> None:
    """All of its tokens, and no other session; also the second time."""
    body, other = log_in(client, alice).get_json(), access_token(client, alice)
    for _ in range(2):
        answer = post(client, "revoke", {"token": body["refresh_token"], **PUBLIC})
        assert (answer.status_code, answer.data) == (200, b"")
    assert not is_live(client, body["access_token"])
    assert is_live(client, other)
    again = post_json(client, "/auth/refresh", {"refresh_token": body["refresh_token"]})
    assert again.status_code == 401


@pytest.mark.parametrize("audience", [None, ORIGIN])
def test_an_access_token_for_us_ends_its_session(
    client: FlaskClient, alice: str, audience: str | None
) -> None:
    """As `DELETE /api/sessions/<its own>` does."""
    token = access_token(client, alice, **({"audience": audience} if audience else {}))
    hint = {"token_type_hint": "refresh_token"}  # wrong, and of no matter
    assert post(client, "revoke", {"token": token, **hint, **PUBLIC}).status_code == 200
    assert not is_live(client, token)


def test_an_access_token_for_services_alone_ends_nothing(
    client: FlaskClient, alice: str, worker: Machine, notes: Machine
) -> None:
    """It is in their hands, and anybody may say that they are this client."""
    for token in (access_token(client, alice, audience="notes"), machine_token(client, worker)):
        answer = post(client, "revoke", {"token": token, **PUBLIC})
        assert refusal(answer) == (400, "unsupported_token_type")
        assert introspect(client, token, notes)["active"]


def test_a_stranger_says_at_least_which_client_it_is(client: FlaskClient, alice: str) -> None:
    """RFC 7009 section 2.1; another one needs a secret."""
    token = log_in(client, alice).get_json()["refresh_token"]
    assert refusal(post(client, "revoke", {"token": token})) == (401, "invalid_client")
    named = {"token": token, "client_id": "other"}
    assert refusal(post(client, "revoke", named)) == (401, "invalid_client")


def test_the_public_client_has_no_secret(client: FlaskClient, alice: str, worker: Machine) -> None:
    """Who shows one is somebody else, and has to be known."""
    form = {"token": log_in(client, alice).get_json()["refresh_token"], **PUBLIC}
    answer = post(client, "revoke", {**form, "client_secret": "x"})
    assert refusal(answer) == (401, "invalid_client")
    assert refusal(post(client, "revoke", form, worker)) == (400, "invalid_request")


def test_the_public_client_may_do_nothing_else(client: FlaskClient, alice: str) -> None:
    """No token, no asking."""
    fields = {"grant_type": "client_credentials", "token": access_token(client, alice), **PUBLIC}
    for path in ("token", "introspect"):
        assert refusal(post(client, path, fields)) == (401, "invalid_client")
