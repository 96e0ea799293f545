"""Signing in by JSON, and what the token lets one do.

What goes wrong with a request itself is in test_auth_api.py, what a browser may
do with its cookie in test_cross_origin.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import accounts, links, sessions, users
from app.db import db
from app.sessions import Ending, LoginSession
from tests.conftest import MakeApp, add_user, find_user
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    claims_of,
    get,
    header_of,
    log_in,
    post_json,
)

COOKIE = "foxtrot_session"
NEW_PASSWORD = "seven green lamps above the harbour"
EVERYBODYS = ["account", "notes:read", "notes:write"]
TOKEN_MEMBERS = {"access_token", "token_type", "expires_in", "scope"}


def register(client: FlaskClient, email: str, password: str = PASSWORD) -> TestResponse:
    """Make an account by JSON."""
    return post_json(client, "/auth/register", {"email": email, "password": password})


def log_in_for_cookie(client: FlaskClient, email: str, **more: Any) -> TestResponse:
    """Log in by JSON as our own page in a browser would."""
    body = {"email": email, "password": PASSWORD, "session": "cookie", **more}
    return post_json(client, "/auth/login", body, Origin=ORIGIN)


def token_by_cookie(client: FlaskClient, **grant: Any) -> TestResponse:
    """Ask for a token as our own page in a browser would."""
    return post_json(client, "/auth/token", grant, Origin=ORIGIN)


def log_out(client: FlaskClient) -> TestResponse:
    """Log out as our own page in a browser would."""
    return client.post("/auth/logout", headers={"Origin": ORIGIN}, base_url=ORIGIN)


def end_session(client: FlaskClient, token: str, session_id: str) -> TestResponse:
    """End a session by its id, with a token."""
    return client.delete(f"/api/sessions/{session_id}", headers=bearer(token), base_url=ORIGIN)


def refusal(answer: TestResponse) -> tuple[int, str, str | None]:
    """Status, code and reason of a refusal."""
    problem = answer.get_json()
    return answer.status_code, problem["code"], problem.get("reason")


REVOKED = (401, "invalid_token", "revoked")


def count_sessions(app: Flask) -> int:
    with app.app_context():
        return db.session.query(LoginSession).count()


# Registering


def test_a_registration_answers_with_the_new_user(client: FlaskClient) -> None:
    """The whole body, and no more."""
    answer = register(client, "alice@example.com")
    body = answer.get_json()
    assert answer.status_code == 201
    assert re.fullmatch(r"u_[0-9a-z]{26}", body.pop("id"))
    assert body == {"email": "alice@example.com", "email_verified": False, "scopes": EVERYBODYS}


def test_who_registered_can_log_in(client: FlaskClient) -> None:
    """The id of the answer is the subject of the tokens."""
    registered = register(client, "alice@example.com").get_json()
    assert claims_of(access_token(client, "alice@example.com"))["sub"] == registered["id"]


def test_a_registration_begins_no_session(app: Flask, client: FlaskClient) -> None:
    """A program logs in by itself, and is handed no cookie."""
    answer = register(client, "alice@example.com")
    assert "Set-Cookie" not in answer.headers
    assert count_sessions(app) == 0


def test_registering_twice_is_a_conflict(client: FlaskClient, alice: str) -> None:
    """However the address is spelled."""
    body = {"email": alice.upper(), "password": "another horse battery staple"}
    answer = post_json(client, "/auth/register", body)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "email_taken")


def test_a_refused_registration_leaves_the_password_as_it_was(
    client: FlaskClient, alice: str
) -> None:
    """Nobody takes an account over by registering it again."""
    register(client, alice, NEW_PASSWORD)
    assert log_in(client, alice, NEW_PASSWORD).status_code == 401
    assert log_in(client, alice).status_code == 200


def test_of_many_registrations_at_once_one_wins(app: Flask) -> None:
    """The others are told that the address is taken."""
    barrier, statuses = Barrier(4), list[int]()

    def try_it() -> None:
        barrier.wait()
        statuses.append(register(app.test_client(), "alice@example.com").status_code)

    finish(started(try_it, 4))
    assert sorted(statuses) == [201, 409, 409, 409]


def started(target: Callable[[], None], count: int) -> list[Thread]:
    threads = [Thread(target=target) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def finish(threads: list[Thread]) -> None:
    for thread in threads:
        thread.join()


def test_a_closed_registration_is_refused(make_app: MakeApp) -> None:
    """Then the operator makes the accounts."""
    answer = register(make_app(FOXTROT_REGISTRATION="closed").test_client(), "alice@example.com")
    assert refusal(answer)[:2] == (403, "registration_closed")


@pytest.mark.parametrize(
    ("password", "acceptable"), [(PASSWORD, True), ("password password", False), ("short", False)]
)
def test_advice_says_whether_a_password_is_acceptable(
    client: FlaskClient, password: str, acceptable: bool
) -> None:
    """And says why not, in words."""
    body = {"email": "alice@example.com", "password": password}
    advice = post_json(client, "/auth/password-advice", body).get_json()
    assert set(advice) == {"acceptable", "advice"}
    assert advice["acceptable"] is acceptable
    assert bool(advice["advice"]) is not acceptable


# Logging in


def test_a_login_answers_with_a_bearer_token(client: FlaskClient, alice: str) -> None:
    """RFC 6749 section 5.1."""
    answer = log_in(client, alice)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == TOKEN_MEMBERS | {"refresh_token"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_answer_says_what_the_token_says(client: FlaskClient, alice: str) -> None:
    """Lifetime and scopes of the body are those of the token."""
    body = log_in(client, alice).get_json()
    claims = claims_of(body["access_token"])
    assert body["scope"] == claims["scope"]
    assert body["expires_in"] == claims["exp"] - claims["iat"]


def test_the_token_opens_the_api(client: FlaskClient, alice: str) -> None:
    """The subject of the token is the user's id."""
    token = access_token(client, alice)
    me = get(client, "/api/me", token).get_json()
    assert me["id"] == claims_of(token)["sub"]
    assert header_of(token)["typ"] == "at+jwt"


def test_the_api_says_who_the_token_is_for(client: FlaskClient, alice: str) -> None:
    """The whole body, and no more."""
    me = get(client, "/api/me", access_token(client, alice)).get_json()
    assert set(me) == {"id", "email", "email_verified", "scopes"}
    assert (me["email"], me["email_verified"], me["scopes"]) == (alice, False, EVERYBODYS)


def test_each_is_told_about_themselves(client: FlaskClient, alice: str, bob: str) -> None:
    """With a token of one user nothing of another is seen."""
    tokens = {email: access_token(client, email) for email in (alice, bob)}
    for email, token in tokens.items():
        assert get(client, "/api/me", token).get_json()["email"] == email


def test_a_login_by_json_sets_no_cookie(client: FlaskClient, alice: str) -> None:
    """A program has its token, which is all that it needs."""
    assert "Set-Cookie" not in log_in(client, alice).headers


def test_each_login_is_a_session_of_its_own(client: FlaskClient, alice: str) -> None:
    """So that each can be ended alone."""
    first, second = (claims_of(access_token(client, alice)) for _ in range(2))
    assert first["sid"] != second["sid"]
    assert first["jti"] != second["jti"]


# What a token is for


def test_a_token_is_for_this_and_all_services_by_default(client: FlaskClient, alice: str) -> None:
    """In the order of the services, the issuer first."""
    assert claims_of(access_token(client, alice))["aud"] == [ORIGIN, "notes"]


AUDIENCES: list[tuple[str | list[str], list[str]]] = [
    ("notes", ["notes"]),
    (["notes"], ["notes"]),
    (["notes", "notes"], ["notes"]),
    (ORIGIN, [ORIGIN]),
    ([ORIGIN], [ORIGIN]),
    (["notes", ORIGIN], [ORIGIN, "notes"]),
]


@pytest.mark.parametrize(("wanted", "given"), AUDIENCES)
def test_an_audience_narrows_the_token(
    client: FlaskClient, alice: str, wanted: str | list[str], given: list[str]
) -> None:
    """One name, or a list of names."""
    assert claims_of(access_token(client, alice, audience=wanted))["aud"] == given


UNKNOWN_AUDIENCES: list[str | list[str]] = [
    "billing",
    "Notes",
    "note",
    "notes notes",
    f"{ORIGIN}/",
    "*",
    ["notes", "billing"],
    [],
]


@pytest.mark.parametrize("wanted", UNKNOWN_AUDIENCES, ids=str)
def test_an_unknown_audience_is_refused_naming_the_known(
    client: FlaskClient, alice: str, wanted: str | list[str]
) -> None:
    """RFC 8707 section 2."""
    answer = log_in(client, alice, audience=wanted)
    assert refusal(answer)[:2] == (400, "invalid_target")
    assert f"Known are: {ORIGIN}, notes." in answer.get_json()["detail"]


SCOPES = [
    ("notes:read", "notes:read"),
    ("notes:write notes:read", "notes:read notes:write"),
    ("notes:read notes:read", "notes:read"),
    (" notes:read ", "notes:read"),
    ("", ""),
]


@pytest.mark.parametrize(("wanted", "given"), SCOPES)
def test_a_scope_narrows_the_token(
    client: FlaskClient, alice: str, wanted: str, given: str
) -> None:
    """The body says what was given, and so does the token."""
    body = log_in(client, alice, scope=wanted).get_json()
    assert body["scope"] == given
    assert claims_of(body["access_token"])["scope"] == given


MORE_THAN_HELD: list[dict[str, Any]] = [
    {"scope": "notes:delete"},
    {"scope": "notes:read notes:delete"},
    {"scope": "NOTES:READ"},
    {"scope": "notes:*"},
    {"scope": "account"},
    {"scope": "account", "audience": "notes"},
    {"scope": "account", "audience": [ORIGIN, "notes"]},
    {"scope": "admin", "audience": ORIGIN},
]


@pytest.mark.parametrize("grant", MORE_THAN_HELD, ids=str)
def test_more_than_is_held_is_refused(
    client: FlaskClient, alice: str, grant: dict[str, Any]
) -> None:
    """It is not cut down to what there is without a word."""
    assert refusal(log_in(client, alice, **grant))[:2] == (400, "invalid_scope")


NO_SPACES = [
    "\t",
    "\n",
    "\r\n",
    "\x0b",
    "\x1f",
    "\x85",
    "\xa0",
    "\u2003",
    "\u2028",
    "\u3000",
    "\ufeff",
]
NO_SCOPES = ['"', "\\", "notes:r\xe9ad", "notes:read\x7f", "notes:read,notes:write"]


@pytest.mark.parametrize("scope", [f"notes:read{gap}notes:write" for gap in NO_SPACES] + NO_SCOPES)
def test_what_is_no_scope_is_refused(client: FlaskClient, alice: str, scope: str) -> None:
    """Only U+0020 separates scopes, and they are made of ASCII (RFC 6749 section 3.3)."""
    assert refusal(log_in(client, alice, scope=scope))[:2] == (400, "invalid_scope")


@pytest.mark.parametrize("grant", [{"scope": "admin"}, {"audience": "billing"}], ids=str)
@pytest.mark.parametrize("session", ["token", "cookie"])
def test_a_refused_grant_begins_no_session(
    app: Flask, client: FlaskClient, alice: str, grant: dict[str, str], session: str
) -> None:
    """Neither on the server nor in the browser."""
    body = {"email": alice, "password": PASSWORD, "session": session, **grant}
    answer = post_json(client, "/auth/login", body, Origin=ORIGIN)
    assert answer.status_code == 400
    assert "Set-Cookie" not in answer.headers
    assert count_sessions(app) == 0


@pytest.mark.parametrize("grant", [{"scope": "admin"}, {"audience": "billing"}], ids=str)
def test_a_wrong_password_learns_nothing_of_the_grants(
    client: FlaskClient, alice: str, grant: dict[str, str]
) -> None:
    """Scopes and services are named to those who have signed in."""
    answer = log_in(client, alice, "wrong horse battery staple", **grant)
    assert refusal(answer)[:2] == (401, "invalid_credentials")
    assert "notes" not in answer.get_data(as_text=True)


OWN_SCOPES: list[tuple[Any, str]] = [
    (None, "notes:read notes:write"),
    ("notes", "notes:read notes:write"),
    ([ORIGIN, "notes"], "notes:read notes:write"),
    (ORIGIN, "account admin"),
]


@pytest.mark.parametrize(("audience", "scope"), OWN_SCOPES)
def test_own_scopes_go_only_into_a_token_for_this_service_alone(
    app: Flask, client: FlaskClient, audience: Any, scope: str
) -> None:
    """No service that receives an administrator's token can act as one here."""
    root = add_user(app, "root@example.com", "admin")
    assert log_in(client, root, audience=audience).get_json()["scope"] == scope


# By cookie


def test_a_cookie_login_answers_with_a_token_and_a_cookie(client: FlaskClient, alice: str) -> None:
    """The same members as without the cookie."""
    answer = log_in_for_cookie(client, alice)
    assert answer.status_code == 200
    assert set(answer.get_json()) == TOKEN_MEMBERS
    assert answer.headers["Set-Cookie"].startswith(f"{COOKIE}=")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_a_cookie_login_needs_our_origin(
    client: FlaskClient, alice: str, origin: str | None
) -> None:
    """Another site's page must not sign a browser in as somebody."""
    body = {"email": alice, "password": PASSWORD, "session": "cookie"}
    answer = post_json(client, "/auth/login", body, **({"Origin": origin} if origin else {}))
    assert refusal(answer)[:2] == (403, "cross_origin")
    assert "Set-Cookie" not in answer.headers


def test_the_cookie_gives_tokens(client: FlaskClient, alice: str) -> None:
    """The access token alone, with the members of a login."""
    log_in_for_cookie(client, alice)
    answer = token_by_cookie(client)
    assert (answer.status_code, set(answer.get_json())) == (200, TOKEN_MEMBERS)
    assert answer.headers["Cache-Control"] == "no-store"
    assert get(client, "/api/me", answer.get_json()["access_token"]).status_code == 200


def test_tokens_of_one_cookie_share_its_session(client: FlaskClient, alice: str) -> None:
    """So they end together."""
    first = log_in_for_cookie(client, alice).get_json()["access_token"]
    second = token_by_cookie(client).get_json()["access_token"]
    assert claims_of(first)["sid"] == claims_of(second)["sid"]
    assert claims_of(first)["jti"] != claims_of(second)["jti"]


def test_the_cookie_gives_narrower_tokens(client: FlaskClient, alice: str) -> None:
    """Audience and scope count as at the login."""
    log_in_for_cookie(client, alice)
    answer = token_by_cookie(client, audience="notes", scope="notes:read")
    claims = claims_of(answer.get_json()["access_token"])
    assert (claims["aud"], claims["scope"]) == (["notes"], "notes:read")


@pytest.mark.parametrize(
    ("grant", "code"),
    [({"audience": "billing"}, "invalid_target"), ({"scope": "admin"}, "invalid_scope")],
)
def test_the_cookie_gives_no_more_than_there_is(
    client: FlaskClient, alice: str, grant: dict[str, str], code: str
) -> None:
    """Refused as at the login."""
    log_in_for_cookie(client, alice)
    assert refusal(token_by_cookie(client, **grant))[:2] == (400, code)


def test_without_a_cookie_there_is_no_token(client: FlaskClient) -> None:
    """The answer says so in the words for an ended session."""
    assert refusal(token_by_cookie(client))[:2] == (401, "session_ended")


def test_a_narrow_login_does_not_narrow_the_cookie(client: FlaskClient, alice: str) -> None:
    """The wish was for that one token; the session is the person's own."""
    log_in_for_cookie(client, alice, audience="notes", scope="notes:read")
    assert token_by_cookie(client, audience=ORIGIN).get_json()["scope"] == "account"


# The end of a session


def test_logging_out_twice_is_harmless(client: FlaskClient, alice: str) -> None:
    """Both times there is nothing to say."""
    log_in_for_cookie(client, alice)
    for _ in range(2):
        answer = log_out(client)
        assert (answer.status_code, answer.data) == (204, b"")


def test_who_is_not_logged_in_can_log_out(client: FlaskClient) -> None:
    """What was asked for is so already."""
    assert log_out(client).status_code == 204


def test_after_logging_out_the_tokens_are_refused_at_once(client: FlaskClient, alice: str) -> None:
    """All those of the session, with the reason."""
    tokens = [log_in_for_cookie(client, alice).get_json()["access_token"]]
    tokens.append(token_by_cookie(client).get_json()["access_token"])
    assert get(client, "/api/me", tokens[0]).status_code == 200
    log_out(client)
    assert [refusal(get(client, "/api/me", token)) for token in tokens] == [REVOKED, REVOKED]


def test_logging_out_leaves_other_sessions_alone(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Another device stays signed in."""
    other = access_token(app.test_client(), alice)
    log_in_for_cookie(client, alice)
    log_out(client)
    assert get(client, "/api/me", other).status_code == 200


def test_a_token_ends_its_own_session(client: FlaskClient, alice: str) -> None:
    """That is how a program logs out."""
    token = access_token(client, alice)
    answer = end_session(client, token, claims_of(token)["sid"])
    assert (answer.status_code, answer.data) == (204, b"")
    assert refusal(get(client, "/api/me", token)) == REVOKED


def test_ending_a_session_again_needs_a_token_that_lives(client: FlaskClient, alice: str) -> None:
    """The second time the token is dead, which is what was wanted."""
    token = access_token(client, alice)
    end_session(client, token, claims_of(token)["sid"])
    assert refusal(end_session(client, token, claims_of(token)["sid"])) == REVOKED


def test_a_token_ends_no_other_session(client: FlaskClient, alice: str, bob: str) -> None:
    """Neither its user's others nor somebody else's; all three live on."""
    token, other, bobs = (access_token(client, email) for email in (alice, alice, bob))
    for victim in (other, bobs):
        assert end_session(client, token, claims_of(victim)["sid"]).status_code == 403
    for each in (token, other, bobs):
        assert get(client, "/api/me", each).status_code == 200


@pytest.mark.parametrize("session_id", ["s_" + "0" * 26, "current", "1", "%00", "*", "é"])
def test_a_session_that_is_not_there_is_not_found(
    client: FlaskClient, alice: str, session_id: str
) -> None:
    """Whether it exists elsewhere cannot be told."""
    token = access_token(client, alice, audience=ORIGIN)
    assert refusal(end_session(client, token, session_id))[0] == 404


# The end of a user


def disable(app: Flask, email: str) -> None:
    with app.app_context():
        users.disable(find_user(app, email), SOMEWHERE)


def delete(app: Flask, email: str) -> None:
    with app.app_context():
        users.delete(find_user(app, email), SOMEWHERE)


@pytest.mark.parametrize("remove", [disable, delete])
def test_a_user_who_is_gone_is_refused_at_once(
    app: Flask, client: FlaskClient, alice: str, remove: Any
) -> None:
    """Their token, and their password."""
    token = access_token(client, alice)
    remove(app, alice)
    assert refusal(get(client, "/api/me", token)) == REVOKED
    assert refusal(log_in(client, alice))[:2] == (401, "invalid_credentials")


@pytest.mark.parametrize("remove", [disable, delete])
def test_the_cookie_of_a_user_who_is_gone_gives_no_token(
    app: Flask, client: FlaskClient, alice: str, remove: Any
) -> None:
    """It counts as a session that has ended."""
    log_in_for_cookie(client, alice)
    remove(app, alice)
    assert refusal(token_by_cookie(client))[:2] == (401, "session_ended")


def test_scopes_that_were_taken_away_are_gone_at_once(app: Flask, client: FlaskClient) -> None:
    """What a token may do here is looked up, not believed."""
    root = add_user(app, "root@example.com", "admin")
    token = access_token(client, root, audience=ORIGIN)
    with app.app_context():
        users.set_scopes(find_user(app, root), [], SOMEWHERE)
    assert get(client, "/api/me", token).get_json()["scopes"] == EVERYBODYS


def reset_password(app: Flask, email: str) -> None:
    with app.app_context():
        accounts.reset_password(
            links.make(links.RESET, find_user(app, email)), NEW_PASSWORD, SOMEWHERE
        )


def test_a_new_password_ends_every_session(app: Flask, client: FlaskClient, alice: str) -> None:
    """Whoever knew the old one is out."""
    tokens = [access_token(client, alice) for _ in range(2)]
    reset_password(app, alice)
    assert [refusal(get(client, "/api/me", token)) for token in tokens] == [REVOKED, REVOKED]
    assert log_in(client, alice).status_code == 401
    assert log_in(client, alice, NEW_PASSWORD).status_code == 200


def start_logins(app: Flask, email: str, answers: list[TestResponse]) -> list[Thread]:
    """Begin logins by the old password, and give them back while they are hashing."""
    barrier = Barrier(3)

    def try_it() -> None:
        barrier.wait()
        answers.append(log_in(app.test_client(), email))

    threads = started(try_it, 2)
    barrier.wait()
    return threads


def test_a_login_that_is_under_way_does_not_survive_a_new_password(
    make_app: MakeApp, alice: str
) -> None:
    """Whoever guesses on with the old password while it is changed gets nothing that lives."""
    slow = make_app(FOXTROT_PASSWORD_HASH="scrypt:65536:8:2")
    with slow.app_context():
        accounts.set_password(find_user(slow, alice), PASSWORD, SOMEWHERE)
    answers: list[TestResponse] = []
    threads = start_logins(slow, alice, answers)
    quick = make_app()
    with quick.app_context():
        user = find_user(quick, alice)
        accounts.set_password(user, NEW_PASSWORD, SOMEWHERE)
        sessions.end_all(user, Ending.PASSWORD_CHANGED, SOMEWHERE)
    finish(threads)
    assert [living(slow, answer) for answer in answers] == [False, False]


def living(app: Flask, answer: TestResponse) -> bool:
    """Whether a login led to a token that opens the API."""
    token = answer.get_json().get("access_token")
    return token is not None and get(app.test_client(), "/api/me", token).status_code == 200


def test_what_a_browser_calls_itself_is_kept_without_control_characters(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """A header may hold NUL, which PostgreSQL refuses, and what a terminal would obey."""
    client.environ_base["HTTP_USER_AGENT"] = "Fire\0fox\x1b[2J\x7f"
    assert log_in(client, alice).status_code == 200
    with app.app_context():
        [session] = db.session.query(LoginSession)
        assert session.user_agent.isprintable()
