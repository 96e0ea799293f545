"""How a service shows who it is (RFC 6749 section 2.3.1), and what else a form may say."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from app import services
from app.db import db
from tests.conftest import on_both_databases
from tests.services.conftest import FORM, GRANT, Machine, ask_token, change, post, refusal
from tests.support import ORIGIN

PATHS = ["token", "introspect", "revoke"]
GOOD = {**GRANT, "token": "x"}
"""What each of the routes needs, and the others ignore."""


def basic(text: str | bytes) -> str:
    raw = text if isinstance(text, bytes) else text.encode()
    return "Basic " + b64encode(raw).decode()


@on_both_databases
@pytest.mark.parametrize("path", PATHS)
def test_by_the_header_or_in_the_form(client: FlaskClient, worker: Machine, path: str) -> None:
    """`client_secret_basic` and `client_secret_post`."""
    assert post(client, path, GOOD, worker).status_code == 200
    assert post(client, path, {**GOOD, **worker.fields}).status_code == 200


SPELLINGS = ["plain", "lower case", "form-encoded", "all encoded", "two spaces"]


def spellings(worker: Machine) -> dict[str, str]:
    """The same credentials, as clients write them."""
    encoded = "".join(f"%{ord(character):02X}" for character in worker.secret)
    return {
        "plain": basic(f"{worker.id}:{worker.secret}"),
        "lower case": worker.header.replace("Basic", "basic"),
        "form-encoded": basic(f"{quote_plus(worker.id)}:{quote_plus(worker.secret)}"),
        "all encoded": basic(f"{worker.id}:{encoded}"),
        "two spaces": worker.header.replace(" ", "  "),
    }


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_header_is_form_encoded_within(
    client: FlaskClient, worker: Machine, spelling: str
) -> None:
    """RFC 6749 section 2.3.1, appendix B."""
    header = spellings(worker)[spelling]
    assert post(client, "token", GRANT, Authorization=header).status_code == 200


def test_the_id_may_stand_in_the_form_beside_the_header(
    client: FlaskClient, worker: Machine
) -> None:
    """If it is the same."""
    assert ask_token(client, worker, client_id=worker.id).status_code == 200
    assert refusal(ask_token(client, worker, client_id="s_other")) == (400, "invalid_request")


def test_two_ways_at_once_are_refused(client: FlaskClient, worker: Machine) -> None:
    """RFC 6749 section 2.3: not more than one method in a request."""
    assert refusal(ask_token(client, worker, **worker.fields)) == (400, "invalid_request")


Wrong = Callable[[Machine], dict[str, Any]]

WRONG: dict[str, Wrong] = {
    "nothing": lambda worker: {},
    "an id alone": lambda worker: {"form": {"client_id": worker.id}},
    "a secret alone": lambda worker: {"form": {"client_secret": worker.secret}},
    "an unknown id": lambda worker: {"header": basic(f"s_unknown:{worker.secret}")},
    "the name": lambda worker: {"header": basic(f"worker:{worker.secret}")},
    "a wrong secret": lambda worker: {"header": basic(f"{worker.id}:{worker.secret}x")},
    "an empty secret": lambda worker: {"header": basic(f"{worker.id}:")},
    "the secret's hash": lambda worker: {"header": basic(f"{worker.id}:{'0' * 64}")},
    "no colon": lambda worker: {"header": basic(worker.id)},
    "nothing encoded": lambda worker: {"header": "Basic"},
    "no base64": lambda worker: {"header": "Basic %%%"},
    "base64 and more": lambda worker: {"header": worker.header.replace(" ", " !")},
    "no padding": lambda worker: {"header": "Basic YTo"},
    "no UTF-8": lambda worker: {"header": basic(b"\xff\xfe:x")},
    "no UTF-8 within": lambda worker: {"header": basic("%FF:%FE")},
    "a NUL": lambda worker: {"header": basic(f"{worker.id}\0:{worker.secret}")},
    "an encoded NUL": lambda worker: {"header": basic(f"{worker.id}%00:{worker.secret}")},
    "letters of no ASCII": lambda worker: {"header": basic("ſ_ü:ü")},
    "a surrogate": lambda worker: {"header": basic("%ED%A0%80:x")},
    "another scheme": lambda worker: {"header": f"Bearer {worker.secret}"},
    "two headers in one": lambda worker: {"header": f"{worker.header}, {worker.header}"},
    "a huge header": lambda worker: {"header": basic("x" * 5000 + ":y")},
}


@on_both_databases
@pytest.mark.parametrize("how", WRONG)
def test_who_is_nobody_is_refused(client: FlaskClient, worker: Machine, how: str) -> None:
    """401, and by which scheme to come again (RFC 6749 section 5.2)."""
    wrong = WRONG[how](worker)
    headers = {"Authorization": wrong["header"]} if "header" in wrong else {}
    answer = post(client, "token", {**GRANT, **wrong.get("form", {})}, **headers)
    assert refusal(answer) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Foxtrot", charset="UTF-8"'
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["worker", "nobody"])
def test_who_gives_a_name_is_told_that_the_id_is_wanted(
    client: FlaskClient, worker: Machine, name: str
) -> None:
    """In the same words whether there is such a service or not."""
    answer = post(client, "token", GRANT, Machine(name, worker.secret))
    assert refusal(answer) == (401, "invalid_client")
    assert "begins with s_" in answer.get_json()["error_description"]


@pytest.mark.parametrize("path", PATHS)
def test_each_route_asks_who_it_is(client: FlaskClient, worker: Machine, path: str) -> None:
    """RFC 7662 section 2.1, RFC 7009 section 2.1."""
    mallory = Machine(worker.id, "guessed")
    assert refusal(post(client, path, GOOD, mallory)) == (401, "invalid_client")
    assert refusal(post(client, path, GOOD)) == (401, "invalid_client")


def test_the_query_is_not_read(client: FlaskClient, worker: Machine) -> None:
    """RFC 6749 section 2.3.1: credentials must not be in the URL."""
    answer = post(client, f"token?{urlencode({**GRANT, **worker.fields})}", GRANT)
    assert refusal(answer) == (401, "invalid_client")


def test_unknown_wrong_and_disabled_are_not_told_apart(
    app: Flask, client: FlaskClient, worker: Machine, billing: Machine, notes: Machine
) -> None:
    """One answer, but for its request's id."""
    change(app, services.disable, "billing")
    change(app, services.remove, "notes")
    callers = [Machine(worker.id, "x"), Machine("s_x", "x"), billing, notes]
    answers = [ask_token(client, caller) for caller in callers]
    assert len({(answer.status_code, answer.data) for answer in answers}) == 1


def test_an_unknown_client_costs_the_same(
    app: Flask, client: FlaskClient, worker: Machine, notes: Machine
) -> None:
    """The database is asked the same, whoever it is; comparing takes constant time."""
    seen: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    change(app, services.disable, "notes")
    asked = set()
    for caller in (Machine(worker.id, "x"), Machine("s_x", "x"), Machine("\0\u00fc", "x"), notes):
        seen.clear()
        ask_token(client, caller)
        asked.add(tuple(seen))
    assert len(asked) == 1


def test_a_new_secret_puts_the_old_one_out(
    app: Flask, client: FlaskClient, worker: Machine
) -> None:
    """At once, in every process."""
    renewed = Machine(worker.id, change(app, services.renew_secret, "worker"))
    assert ask_token(client, worker).status_code == 401
    assert ask_token(client, renewed).status_code == 200


BODIES: dict[str, Any] = {
    "empty": b"",
    "no UTF-8": b"grant_type=\xff",
    "no UTF-8 within": b"grant_type=%ff",
    "a NUL": b"grant_type=client_credentials%00",
    "a parameter twice": b"grant_type=client_credentials&grant_type=client_credentials",
    "one of them empty": b"grant_type=client_credentials&grant_type=",
    "a scope twice": b"grant_type=client_credentials&scope=notes:read&scope=notes:read",
    "an empty grant": b"grant_type=",
    "101 parameters": b"&".join([b"a=b"] * 101),
    "a long scope": b"grant_type=client_credentials&scope=" + b"x" * 2001,
    "many audiences": b"grant_type=client_credentials" + b"&audience=notes" * 51,
    "JSON": b'{"grant_type": "client_credentials"}',
}


@pytest.mark.parametrize("body", BODIES)
def test_a_bad_form_is_a_bad_request(client: FlaskClient, worker: Machine, body: str) -> None:
    """400 in the words of RFC 6749 section 5.2, which say what was wrong."""
    answer = post(client, "token", BODIES[body], worker)
    assert refusal(answer) == (400, "invalid_request")
    assert len(answer.get_json()["error_description"]) > 20


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/plain", ""])
def test_only_a_form_is_read(client: FlaskClient, worker: Machine, path: str, kind: str) -> None:
    """RFC 6749 section 4.4.2 names the one media type."""
    answer = post(client, path, GOOD, worker, Content_Type=kind)
    assert refusal(answer) == (400, "invalid_request")
    assert FORM in answer.get_json()["error_description"]


@pytest.mark.parametrize("path", PATHS)
def test_a_huge_form_is_refused(client: FlaskClient, worker: Machine, path: str) -> None:
    """At the length of all bodies."""
    answer = post(client, path, b"token=" + b"x" * 70_000, worker)
    assert refusal(answer) == (413, "content_too_large")


@pytest.mark.parametrize("path", PATHS)
def test_only_a_post_is_answered(client: FlaskClient, path: str) -> None:
    """RFC 6749 section 3.2; the others in the same words."""
    answer = client.get(f"/oauth/{path}", base_url=ORIGIN)
    assert refusal(answer) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert refusal(client.post("/oauth/authorize", base_url=ORIGIN)) == (404, "not_found")


def test_a_description_holds_only_what_the_rfc_permits(client: FlaskClient, bob: str) -> None:
    """RFC 6749 section 5.2: no quotes, no backslashes, ASCII."""
    answer = post(client, "token", 'grant_type=a"\\\u00fc'.encode())
    description = answer.get_json()["error_description"]
    assert description.isascii()
    assert not set(description) & {'"', "\\"}


words = st.text(max_size=20) | st.sampled_from(
    ["foxtrot", "client_credentials", "\0", "%00", "x=y"]
)
names = st.sampled_from([*GOOD, "client_id", "client_secret", "scope", "audience", "resource"])
forms = st.lists(st.tuples(names | words, words), max_size=6).map(
    lambda pairs: urlencode(pairs, errors="replace").encode()
)
credentials = st.binary(max_size=30).map(basic) | st.text(
    st.characters(min_codepoint=32, max_codepoint=255), max_size=30
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.sampled_from(PATHS), body=forms | st.binary(max_size=60), header=credentials)
def test_no_form_makes_the_service_fail(
    client: FlaskClient, worker: Machine, path: str, body: bytes, header: str
) -> None:
    """Whatever it says, and whatever the header: every refusal is in OAuth's words."""
    answers = [
        post(client, path, body, Authorization=header),
        post(client, path, body, worker),
        post(client, path, body),
    ]
    for answer in answers:
        if answer.status_code != 200:
            assert refusal(answer)[0] in (400, 401)
