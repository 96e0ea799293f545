"""The API by which a person's programs show and end sessions, and change the password."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import add_user
from tests.sessions.conftest import (
    ELSEWHERE,
    NEW_PASSWORD,
    all_events,
    delete,
    refusal,
    sign_program_in,
    signed_in_browser,
    token_by_cookie,
)
from tests.support import ORIGIN, PASSWORD, access_token, bearer, claims_of, get, log_in, post_json

MEMBERS = {"id", "current", "created_at", "last_seen_at", "address", "device"}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def token(client: FlaskClient, alice: str) -> str:
    """An access token of Alice's for this service alone, with the scope `account`."""
    return access_token(client, alice, audience=ORIGIN)


@pytest.fixture
def narrow(client: FlaskClient, alice: str) -> str:
    """One for all services, which therefore lacks `account`."""
    return access_token(client, alice)


def listed(client: FlaskClient, token: str) -> list[dict[str, Any]]:
    answer = get(client, "/api/sessions", token)
    assert answer.status_code == 200
    assert answer.get_json().keys() == {"sessions"}
    sessions: list[dict[str, Any]] = answer.get_json()["sessions"]
    return sessions


def sid(token: str) -> str:
    return str(claims_of(token)["sid"])


# The list


def test_a_session_is_listed_with_all_its_members(client: FlaskClient, token: str) -> None:
    """The whole row, and no more: no secret, no hash, no user agent."""
    [session] = listed(client, token)
    assert session.keys() == MEMBERS
    assert (session["id"], session["current"]) == (sid(token), True)
    assert session["address"] == "127.0.0.1"


def test_the_times_are_of_rfc_3339_in_utc(client: FlaskClient, token: str) -> None:
    """To the second."""
    [session] = listed(client, token)
    for name in ("created_at", "last_seen_at"):
        assert len(session[name]) == len("2030-01-01T12:00:00Z")
        assert session[name].endswith("Z")


def test_the_device_is_in_plain_words(app: Flask, alice: str) -> None:
    """What the browser calls itself stays here."""
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = FIREFOX
    token = access_token(client, alice)
    assert listed(client, token)[0]["device"] == "Firefox on Linux"
    assert "Gecko" not in get(client, "/api/sessions", token).text


def test_a_refresh_moves_the_session_to_where_it_came_from(app: Flask, alice: str) -> None:
    """Address and device are those of the last use."""
    program = sign_program_in(app, alice)
    program.refresh(program.first.refresh, 20, client=ELSEWHERE)
    [_, row] = listed(app.test_client(), sign_program_in(app, alice).first.access)
    assert (row["address"], row["device"]) == (ELSEWHERE.address, "Firefox on Linux")
    assert row["last_seen_at"] > row["created_at"]


def test_the_last_used_is_first(app: Flask, client: FlaskClient, alice: str) -> None:
    """But for the token's own, which is in use now."""
    programs = [sign_program_in(app, alice) for _ in range(3)]
    programs[1].refresh(programs[1].first.refresh, 20)
    rows = listed(client, programs[0].first.access)
    assert [row["id"] for row in rows] == [programs[at].session_id for at in (0, 1, 2)]
    assert [row["current"] for row in rows] == [True, False, False]


def test_browsers_and_programs_are_listed_alike(app: Flask, token: str, alice: str) -> None:
    """Whatever holds the session."""
    browser = signed_in_browser(app, alice)
    by_cookie = sid(token_by_cookie(browser).get_json()["access_token"])
    assert {row["id"] for row in listed(browser, token)} == {sid(token), by_cookie}


def test_ended_sessions_are_not_listed(client: FlaskClient, token: str, narrow: str) -> None:
    """Nor can they be told from those that never were."""
    delete(client, f"/api/sessions/{sid(narrow)}", token)
    assert [row["id"] for row in listed(client, token)] == [sid(token)]


def test_nobody_elses_sessions_are_listed(
    app: Flask, client: FlaskClient, token: str, bob: str
) -> None:
    """Not to an administrator either: this is the person's own list."""
    access_token(client, bob)
    root = access_token(client, add_user(app, "root@example.com", "admin"), audience=ORIGIN)
    assert len(listed(client, token)) == len(listed(client, root)) == 1


def test_any_token_of_the_user_may_look(client: FlaskClient, narrow: str) -> None:
    """Reading needs no scope."""
    assert len(listed(client, narrow)) == 1


# Ending


@pytest.mark.parametrize("twice", [False, True])
def test_one_is_ended_by_its_id(client: FlaskClient, token: str, narrow: str, twice: bool) -> None:
    """The second time there is no such live session."""
    path = f"/api/sessions/{sid(narrow)}"
    answer = delete(client, path, token)
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
    if twice:
        assert refusal(delete(client, path, token)) == (404, "not_found")


def test_another_users_session_is_like_one_that_never_was(
    client: FlaskClient, token: str, bob: str
) -> None:
    """Whether an id exists cannot be found out."""
    his = access_token(client, bob)
    foreign, unknown = (
        delete(client, f"/api/sessions/{session_id}", token)
        for session_id in (sid(his), "s_" + "0" * 26)
    )
    assert refusal(foreign) == (404, "not_found")
    assert foreign.get_json() == unknown.get_json()
    assert get(client, "/api/me", his).status_code == 200


def ends_another(client: FlaskClient, token: str) -> TestResponse:
    return delete(client, "/api/sessions/s_" + "0" * 26, token)


def ends_all(client: FlaskClient, token: str) -> TestResponse:
    return delete(client, "/api/sessions", token)


def ends_others(client: FlaskClient, token: str) -> TestResponse:
    return delete(client, "/api/sessions?except=current", token)


def changes_password(client: FlaskClient, token: str) -> TestResponse:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return post_json(client, "/api/me/password", body, **bearer(token))


@pytest.mark.parametrize("do", [ends_another, ends_all, ends_others, changes_password])
def test_acting_needs_the_scope_account(client: FlaskClient, narrow: str, do: Any) -> None:
    """So that no service that receives a token can act as its user (RFC 6750 section 3.1)."""
    answer = do(client, narrow)
    assert refusal(answer) == (403, "insufficient_scope")
    assert answer.get_json()["scope"] == "account"
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer realm=")
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="account"' in challenge
    assert get(client, "/api/me", narrow).status_code == 200


@pytest.mark.parametrize("do", [ends_another, ends_all, ends_others, changes_password])
def test_a_token_for_a_service_does_nothing_here(client: FlaskClient, alice: str, do: Any) -> None:
    """It is not for this one."""
    answer = do(client, access_token(client, alice, audience="notes"))
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "wrong_audience")


@pytest.mark.parametrize("do", [ends_another, ends_all, ends_others, changes_password])
def test_the_cookie_does_nothing_here(app: Flask, alice: str, do: Any) -> None:
    """The API knows tokens alone, so that no other site can use it."""
    browser = signed_in_browser(app, alice)
    answer = do(browser, "")
    assert answer.status_code in (400, 401)
    assert token_by_cookie(browser).status_code == 200


def test_a_token_ends_its_own_session_without_the_scope(client: FlaskClient, narrow: str) -> None:
    """Whoever holds it may only lose it."""
    assert delete(client, f"/api/sessions/{sid(narrow)}", narrow).status_code == 204
    assert get(client, "/api/me", narrow).status_code == 401


QUERIES = [
    "expect=current",
    "except=",
    "except=curent",
    "except=Current",
    "except=current&except=current",
    "except=current&dry_run=1",
    "all=1",
    "except[]=current",
    "except=current%00",
    "except=current%0A",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_slip_in_the_query_is_refused(
    client: FlaskClient, token: str, narrow: str, query: str
) -> None:
    """It must not sign the person out everywhere."""
    assert refusal(delete(client, f"/api/sessions?{query}", token)) == (400, "invalid_request")
    assert len(listed(client, token)) == 2


# The password


def change(client: FlaskClient, token: str, **body: Any) -> TestResponse:
    sent = {"current_password": PASSWORD, "new_password": NEW_PASSWORD, **body}
    return post_json(client, "/api/me/password", sent, **bearer(token))


def test_the_password_is_changed(client: FlaskClient, token: str, alice: str) -> None:
    """The new one logs in, the old one does not, and the token lives on."""
    answer = change(client, token)
    assert (answer.status_code, answer.data) == (204, b"")
    assert log_in(client, alice).status_code == 401
    assert log_in(client, alice, NEW_PASSWORD).status_code == 200
    assert get(client, "/api/me", token).status_code == 200


def test_a_wrong_current_password_is_refused_and_counted(
    app: Flask, client: FlaskClient, token: str
) -> None:
    """As a failed login: a thief of a token must not guess unseen."""
    answer = change(client, token, current_password="wrong horse battery staple")
    assert refusal(answer) == (403, "wrong_password")
    event = all_events(app)[-1]
    assert (event.name, event.reason) == ("login.failed", "current_password")
    assert event.user == claims_of(token)["sub"]


def test_a_wrong_current_password_changes_nothing(
    client: FlaskClient, token: str, narrow: str, alice: str
) -> None:
    """Neither the password nor any session."""
    change(client, token, current_password="wrong horse battery staple")
    assert log_in(client, alice).status_code == 200
    assert get(client, "/api/me", narrow).status_code == 200


def test_a_wrong_current_password_comes_first(client: FlaskClient, token: str) -> None:
    """Before the new one is judged."""
    assert refusal(change(client, token, current_password="x", new_password="y"))[0] == 403


@pytest.mark.parametrize("new", ["", "short", "password password", "x" * 1025, "alice@example.com"])
def test_a_bad_new_password_is_refused_by_name(
    client: FlaskClient, token: str, alice: str, new: str
) -> None:
    """As at the registration."""
    answer = change(client, token, new_password=new)
    assert refusal(answer) == (422, "validation_failed")
    assert {error["field"] for error in answer.get_json()["errors"]} == {"new_password"}
    assert log_in(client, alice).status_code == 200


BODIES: list[dict[str, Any]] = [
    {"current_password": None},
    {"new_password": 1},
    {"password": "x"},
    {"email": "bob@example.com"},
    {"user": "u_1"},
]


@pytest.mark.parametrize("more", BODIES, ids=str)
def test_a_bad_body_is_refused(client: FlaskClient, token: str, more: dict[str, Any]) -> None:
    """By the name of the field."""
    assert refusal(change(client, token, **more)) == (422, "validation_failed")


def test_no_answer_repeats_a_password(client: FlaskClient, token: str) -> None:
    """Not even a refused one."""
    for body in ({"current_password": "hunter2 hunter2"}, {"new_password": "hunter2 hunter2"}):
        assert "hunter2" not in change(client, token, **body).text
