"""The browser's session: one cookie, whose identifier changes whenever somebody comes or goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import sessions
from app.db import db
from app.sessions import LoginSession
from tests.conftest import MakeApp, add_user, on_both_databases
from tests.sessions.conftest import (
    COOKIE,
    DAY,
    SESSION_ENDED,
    events_of,
    log_in_for_cookie,
    refusal,
    signed_in_browser,
    token_by_cookie,
)
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, claims_of, get, post_json, submit

HTTPS = "https://login.example.com"
SECURE_COOKIE = "__Host-foxtrot_session"


def cookie_header(answer: TestResponse) -> tuple[str, dict[str, str | None]]:
    """Name and attributes of the session's cookie that an answer sets."""
    headers = answer.headers.getlist("Set-Cookie")
    [header] = [header for header in headers if "foxtrot_session=" in header]
    pair, *attributes = header.split("; ")
    named = [attribute.partition("=") for attribute in attributes]
    return pair.partition("=")[0], {name: value for name, _, value in named}


def secret_of(client: FlaskClient, name: str = COOKIE) -> str:
    held = client.get_cookie(name)
    assert held is not None
    return held.value


def is_alive(app: Flask, secret: str) -> bool:
    """Whether a browser that has this cookie and nothing else gets a token."""
    client = app.test_client()
    client.set_cookie(COOKIE, secret)
    return token_by_cookie(client).status_code == 200


# The cookie


@pytest.mark.parametrize("way", ["form", "json"])
def test_on_http_the_cookie_is_for_this_host(app: Flask, alice: str, way: str) -> None:
    """Out of reach of scripts and of other sites' requests; no domain, no other attribute."""
    client = app.test_client()
    if way == "form":
        answer = submit(client, "/login", email=alice, password=PASSWORD)
    else:
        answer = log_in_for_cookie(client, alice)
    name, attributes = cookie_header(answer)
    assert name == COOKIE
    assert attributes.pop("Expires")
    assert attributes == {"HttpOnly": "", "SameSite": "Lax", "Path": "/", "Max-Age": str(90 * DAY)}


@pytest.mark.parametrize("way", ["form", "json"])
def test_on_https_the_cookie_is_bound_to_host_and_https(make_app: MakeApp, way: str) -> None:
    """`__Host-` makes browsers refuse it from anywhere else."""
    app = make_app(FOXTROT_PUBLIC_URL=HTTPS)
    add_user(app, "alice@example.com")
    body = {"email": "alice@example.com", "password": PASSWORD}
    sent: dict[str, Any] = (
        {"data": body} if way == "form" else {"json": body | {"session": "cookie"}}
    )
    path = "/login" if way == "form" else "/auth/login"
    answer = app.test_client().post(path, **sent, headers={"Origin": HTTPS}, base_url=HTTPS)
    name, attributes = cookie_header(answer)
    assert name == SECURE_COOKIE
    assert {"Secure", "HttpOnly"} <= attributes.keys()
    assert (attributes["Path"], attributes["SameSite"]) == ("/", "Lax")
    assert "Domain" not in attributes


def test_on_https_a_cookie_without_the_prefix_counts_for_nothing(make_app: MakeApp) -> None:
    """A neighbouring host could have planted it."""
    app = make_app(FOXTROT_PUBLIC_URL=HTTPS)
    add_user(app, "alice@example.com")
    client = app.test_client()
    form = {"email": "alice@example.com", "password": PASSWORD}
    client.post("/login", data=form, headers={"Origin": HTTPS}, base_url=HTTPS)
    planted = app.test_client()
    held = client.get_cookie(SECURE_COOKIE, domain="login.example.com")
    assert held is not None
    planted.set_cookie(COOKIE, held.value, domain="login.example.com")
    answer = planted.post("/auth/token", json={}, headers={"Origin": HTTPS}, base_url=HTTPS)
    assert refusal(answer) == SESSION_ENDED


def test_the_cookie_lasts_as_long_as_the_session_may(make_app: MakeApp, alice: str) -> None:
    """The absolute limit of the settings."""
    limits = {"FOXTROT_SESSION_IDLE_LIMIT": "1d", "FOXTROT_SESSION_ABSOLUTE_LIMIT": "2d"}
    answer = log_in_for_cookie(make_app(**limits).test_client(), alice)
    assert cookie_header(answer)[1]["Max-Age"] == str(2 * DAY)


def test_the_cookie_is_stored_as_a_hash(app: Flask, client: FlaskClient, alice: str) -> None:
    """Who reads the database signs nobody in."""
    log_in_for_cookie(client, alice)
    with app.app_context():
        [session] = db.session.query(LoginSession)
        assert secret_of(client) not in repr(vars(session))
        assert len(secret_of(client)) == 43


@pytest.mark.parametrize("path", ["/logout", "/auth/logout", "/account/sessions/end-all"])
def test_going_takes_the_cookie_away(app: Flask, alice: str, path: str) -> None:
    """With the attributes that it was set with, else a browser keeps it."""
    client = signed_in_browser(app, alice)
    answer = client.post(path, headers={"Origin": ORIGIN}, base_url=ORIGIN)
    name, attributes = cookie_header(answer)
    assert (name, attributes["Max-Age"], attributes["Path"]) == (COOKIE, "0", "/")
    assert {"HttpOnly", "SameSite"} <= attributes.keys()


@pytest.mark.parametrize(
    "planted", ["", "x", "x" * 43, "x" * 5000, "é", "a b", '"quoted"', "\x01", "../../etc"]
)
def test_a_cookie_that_is_none_of_ours_is_no_session(client: FlaskClient, planted: str) -> None:
    """Never a fault of ours."""
    headers = {"Cookie": f"{COOKIE}={planted}"}
    assert get(client, "/account", headers=headers).status_code in (303, 431)


def test_two_cookies_of_the_name_are_no_way_in(app: Flask, alice: str, bob: str) -> None:
    """Whoever plants one beside ours gets at most themselves signed out."""
    hers, his = (secret_of(signed_in_browser(app, email)) for email in (alice, bob))
    headers = {"Cookie": f"{COOKIE}={hers}; {COOKIE}=planted", "Origin": ORIGIN}
    answer = post_json(app.test_client(), "/auth/token", {}, **headers)
    assert answer.status_code in (200, 401)
    assert is_alive(app, hers)
    assert is_alive(app, his)


# Coming and going


@pytest.mark.parametrize("planted", ["x" * 43, "fixed"])
def test_an_identifier_is_never_taken_from_the_browser(
    client: FlaskClient, alice: str, planted: str
) -> None:
    """Who plants a cookie before the sign-in does not know the session after it."""
    client.set_cookie(COOKIE, planted)
    submit(client, "/login", email=alice, password=PASSWORD)
    assert secret_of(client) != planted


@pytest.mark.parametrize("way", ["form", "json"])
def test_signing_in_again_changes_the_identifier_and_ends_the_old(
    app: Flask, alice: str, way: str
) -> None:
    """A copy of the old cookie is dead."""
    client = signed_in_browser(app, alice)
    old, old_token = secret_of(client), token_by_cookie(client).get_json()["access_token"]
    if way == "form":
        submit(client, "/login", email=alice, password=PASSWORD)
    else:
        log_in_for_cookie(client, alice)
    assert secret_of(client) != old
    assert [is_alive(app, old), is_alive(app, secret_of(client))] == [False, True]
    assert get(client, "/api/me", old_token).status_code == 401


def test_another_person_in_the_same_browser_takes_its_place(
    app: Flask, alice: str, bob: str
) -> None:
    """Alice is out, and Bob is in."""
    client = signed_in_browser(app, alice)
    hers = secret_of(client)
    submit(client, "/login", email=bob, password=PASSWORD)
    assert not is_alive(app, hers)
    assert get(client, "/account").text.count(bob) > 0


def test_a_refused_sign_in_leaves_who_is_in(app: Flask, alice: str, bob: str) -> None:
    """A wrong password puts nobody out."""
    client = signed_in_browser(app, alice)
    before = secret_of(client)
    submit(client, "/login", email=bob, password="wrong horse battery staple")
    assert secret_of(client) == before
    assert is_alive(app, before)


def test_a_refused_wish_leaves_who_is_in(app: Flask, alice: str, bob: str) -> None:
    """The password was right, but no session began, so none ended."""
    client = signed_in_browser(app, alice)
    before = secret_of(client)
    assert log_in_for_cookie(client, bob, scope="admin").status_code == 400
    assert is_alive(app, before)


def test_signing_out_ends_it_for_whoever_has_a_copy(app: Flask, alice: str) -> None:
    """Not only in the browser that forgets it."""
    client = signed_in_browser(app, alice)
    copied = secret_of(client)
    submit(client, "/logout")
    assert not is_alive(app, copied)


def test_signing_in_again_is_written_down_as_that(app: Flask, alice: str) -> None:
    """The one before ended for a reason of its own."""
    client = signed_in_browser(app, alice)
    session_id = claims_of(token_by_cookie(client).get_json()["access_token"])["sid"]
    submit(client, "/login", email=alice, password=PASSWORD)
    assert [event.reason for event in events_of(app, session_id)] == ["signed_in_anew"]


def test_signing_in_again_puts_no_other_device_out(make_app: MakeApp, alice: str) -> None:
    """Also where the user has as many sessions as are allowed: it is none more."""
    app = make_app(FOXTROT_SESSIONS_PER_USER="2")
    other, browser = signed_in_browser(app, alice), signed_in_browser(app, alice)
    submit(browser, "/login", email=alice, password=PASSWORD)
    assert token_by_cookie(other).status_code == 200


# Login by JSON for a cookie


def test_a_login_for_a_cookie_brings_an_access_token_too(client: FlaskClient, alice: str) -> None:
    """Of the same session, and no refresh token."""
    answer = log_in_for_cookie(client, alice)
    assert answer.get_json().keys() == {"access_token", "token_type", "expires_in", "scope"}
    sid = claims_of(answer.get_json()["access_token"])["sid"]
    assert claims_of(token_by_cookie(client).get_json()["access_token"])["sid"] == sid


@pytest.mark.parametrize("session", ["", "Cookie", "both", None, 1, True])
def test_another_kind_of_session_is_refused(client: FlaskClient, alice: str, session: Any) -> None:
    """`token` and `cookie` are all there is."""
    body = {"email": alice, "password": PASSWORD, "session": session}
    assert refusal(post_json(client, "/auth/login", body, Origin=ORIGIN)) == (
        422,
        "validation_failed",
    )


def test_a_login_for_tokens_leaves_the_cookie_alone(app: Flask, alice: str) -> None:
    """A program that runs in a browser does not sign its person out."""
    client = signed_in_browser(app, alice)
    before = secret_of(client)
    answer = post_json(client, "/auth/login", {"email": alice, "password": PASSWORD}, Origin=ORIGIN)
    assert "Set-Cookie" not in answer.headers
    assert is_alive(app, before)


@on_both_databases
def test_a_cookie_that_is_used_stays_good(app: Flask, alice: str) -> None:
    """Who comes by every month is signed in until the absolute limit."""
    secret = secret_of(signed_in_browser(app, alice))
    with app.app_context():
        now = datetime.now(UTC)
        uses = [now + timedelta(days=day) for day in (29, 58, 87, 89.99, 90.01)]
        alive = [sessions.by_secret(secret, SOMEWHERE, use) is not None for use in uses]
    assert alive == [True, True, True, True, False]


@on_both_databases
@pytest.mark.parametrize(("days", "alive"), [(29.99, True), (30.01, False)])
def test_a_cookie_that_is_not_used_dies(app: Flask, alice: str, days: float, alive: bool) -> None:
    """After the idle limit."""
    secret = secret_of(signed_in_browser(app, alice))
    with app.app_context():
        then = datetime.now(UTC) + timedelta(days=days)
        assert (sessions.by_secret(secret, SOMEWHERE, then) is not None) == alive


def test_a_short_idle_limit_is_kept_alive_too(make_app: MakeApp, alice: str) -> None:
    """Use is noted often enough for any limit."""
    app = make_app(FOXTROT_SESSION_IDLE_LIMIT="1m", FOXTROT_SESSION_ABSOLUTE_LIMIT="1h")
    secret = secret_of(signed_in_browser(app, alice))
    with app.app_context():
        uses = [datetime.now(UTC) + timedelta(seconds=second) for second in range(10, 600, 50)]
        assert all(sessions.by_secret(secret, SOMEWHERE, use) for use in uses)


def test_a_page_is_shown_although_its_use_cannot_be_written_down(
    app: Flask, alice: str, data_dir: Path
) -> None:
    """Somebody else holds the database's write lock, and reading goes on."""
    client = signed_in_browser(app, alice)
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3", isolation_level=None)) as other:
        other.execute("UPDATE login_sessions SET last_seen_at = last_seen_at - 120000000")
        other.execute("BEGIN IMMEDIATE")
        assert get(client, "/account").status_code == 200
