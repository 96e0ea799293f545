"""Front ends on other origins: which may be listed, and what the cookie gives them."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import config
from app import create_app
from tests.conftest import MakeApp, add_user
from tests.sessions.conftest import refusal
from tests.support import PASSWORD, claims_of

LOGIN = "https://login.example.com"
NOTES = "https://notes.example.com"
EVIL = "https://evil.example"
ALICE = "alice@example.com"

# Which may be listed

SAME_SITE = [
    (LOGIN, NOTES),
    (LOGIN, "https://example.com"),
    (LOGIN, "https://a.b.example.com"),
    (LOGIN, "https://notes.example.com:8443"),
    (LOGIN, "https://login.example.com:8443"),
    (LOGIN, "HTTPS://Notes.Example.COM/"),
    ("https://login.example.co.uk", "https://notes.example.co.uk"),
    ("https://ann.github.io", "https://ann.github.io:8443"),
    ("https://ann.github.io", "https://x.ann.github.io"),
    ("http://192.168.1.5:5000", "http://192.168.1.5:3000"),
    ("http://[::1]:5000", "http://[::1]:3000"),
    ("http://login.localhost:5000", "http://login.localhost:3000"),
    ("https://login.internal", "https://login.internal:8443"),
    (None, "http://localhost:5173"),
]

OTHER_SITE = [
    (LOGIN, EVIL),
    (LOGIN, "http://notes.example.com"),
    (LOGIN, "https://notes.example.org"),
    (LOGIN, "https://notexample.com"),
    (LOGIN, "https://login.example.com.evil.example"),
    ("https://login.example.co.uk", "https://notes.other.co.uk"),
    ("https://login.example.co.uk", "https://co.uk"),
    ("https://ann.github.io", "https://mallory.github.io"),
    ("https://ann.github.io", "https://github.io"),
    ("https://github.io", "https://mallory.github.io"),
    ("http://192.168.1.5:5000", "http://192.168.1.6:5000"),
    ("http://1.2.3.4", "http://5.2.3.4"),
    ("http://[::1]:5000", "http://[::2]:5000"),
    ("http://[2001:db8::1]", "http://[2001:db8::2]"),
    ("http://localhost:5000", "http://127.0.0.1:5000"),
    (None, "http://127.0.0.1:5173"),
    (None, "https://localhost:5173"),
    (None, "http://app.localhost:5173"),
    (None, "http://evil.example"),
]


def settings(public_url: str | None, origins: str) -> dict[str, str]:
    named = {"FOXTROT_ORIGINS": origins}
    return named if public_url is None else named | {"FOXTROT_PUBLIC_URL": public_url}


@pytest.mark.parametrize(("public_url", "origin"), SAME_SITE)
def test_an_origin_of_the_same_site_may_be_listed(public_url: str | None, origin: str) -> None:
    """The same scheme and registrable domain; the port does not matter."""
    assert config.load(settings(public_url, origin))["FOXTROT_ORIGINS"]


@pytest.mark.parametrize(("public_url", "origin"), OTHER_SITE)
def test_an_origin_of_another_site_is_refused(public_url: str | None, origin: str) -> None:
    """A Lax cookie would never come from there; neighbours under a public suffix are strangers."""
    with pytest.raises(config.ConfigError, match=r"FOXTROT_ORIGINS.*another site"):
        config.load(settings(public_url, origin))


def test_one_bad_origin_among_good_ones_is_named() -> None:
    """The others do not hide it."""
    with pytest.raises(config.ConfigError, match=r"evil\.example"):
        config.load(settings(LOGIN, f"{NOTES},{EVIL}"))


@pytest.mark.parametrize(
    "origin", ["*", "null", "https://*.example.com", "https://notes.example.com/app", "example.com"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    """No wildcard, no path, no bare name."""
    with pytest.raises(config.ConfigError, match="FOXTROT_ORIGINS"):
        config.load(settings(LOGIN, origin))


def test_the_start_is_refused(template_dir: Any) -> None:
    """Not only the reading of the settings."""
    with pytest.raises(config.ConfigError):
        create_app({"FOXTROT_DATA_DIR": str(template_dir), **settings(LOGIN, EVIL)})


# What the cookie gives them


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """A house with a front end beside it, and Alice."""
    app = make_app(**settings(LOGIN, NOTES))
    add_user(app, ALICE)
    return app


def send(client: FlaskClient, path: str, origin: str | None, **body: Any) -> TestResponse:
    headers = {} if origin is None else {"Origin": origin}
    return client.post(path, json=body, headers=headers, base_url=LOGIN)


def log_in(client: FlaskClient, origin: str | None, **more: Any) -> TestResponse:
    body = {"email": ALICE, "password": PASSWORD, "session": "cookie", **more}
    return send(client, "/auth/login", origin, **body)


@pytest.fixture
def browser(app: Flask) -> FlaskClient:
    """Alice's browser, signed in at the front end."""
    client = app.test_client()
    assert log_in(client, NOTES).status_code == 200
    return client


def audience(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.text
    found: list[str] = claims_of(answer.get_json()["access_token"])["aud"]
    return found


@pytest.mark.parametrize(
    "origin",
    [
        EVIL,
        "null",
        "",
        "http://notes.example.com",
        "https://notes.example.com:8443",
        "https://notes.example.com/",
        "https://NOTES.example.com",
        "https://x.notes.example.com",
        "https://example.com",
        f"{NOTES} {LOGIN}",
        f"{NOTES}, {LOGIN}",
        None,
    ],
)
@pytest.mark.parametrize("path", ["/auth/token", "/auth/logout", "/auth/login"])
def test_a_cookie_route_demands_a_permitted_origin(
    browser: FlaskClient, path: str, origin: str | None
) -> None:
    """Listed to the letter, or our own; another page of the same site is not enough."""
    answer = log_in(browser, origin) if path == "/auth/login" else send(browser, path, origin)
    assert refusal(answer) == (403, "cross_origin")
    assert "Set-Cookie" not in answer.headers
    assert send(browser, "/auth/token", LOGIN).status_code == 200


@pytest.mark.parametrize("site", ["same-site", "cross-site", "none"])
def test_a_fetch_site_does_not_stand_in_for_a_listed_origin(
    browser: FlaskClient, site: str
) -> None:
    """Any neighbour is same-site."""
    headers = {"Sec-Fetch-Site": site}
    answer = browser.post("/auth/token", json={}, headers=headers, base_url=LOGIN)
    assert refusal(answer) == (403, "cross_origin")


@pytest.mark.parametrize("path", ["/auth/login", "/auth/token"])
def test_a_front_end_gets_tokens_for_services_alone(browser: FlaskClient, path: str) -> None:
    """A script that is injected there must not become the person here."""
    answer = log_in(browser, NOTES) if path == "/auth/login" else send(browser, path, NOTES)
    assert audience(answer) == ["notes"]
    assert "account" not in answer.get_json()["scope"]


@pytest.mark.parametrize("path", ["/auth/login", "/auth/token"])
@pytest.mark.parametrize("wish", [LOGIN, [LOGIN], ["notes", LOGIN]])
def test_a_front_end_may_not_ask_for_the_issuer(browser: FlaskClient, path: str, wish: Any) -> None:
    """It is refused, and the services that it may have are named."""
    do = (
        log_in
        if path == "/auth/login"
        else lambda client, origin, **more: send(client, path, origin, **more)
    )
    answer = do(browser, NOTES, audience=wish)
    assert refusal(answer) == (400, "invalid_target")
    assert "Known are: notes." in answer.get_json()["detail"]


def test_our_own_page_gets_the_issuer_by_the_same_cookie(browser: FlaskClient) -> None:
    """It is one session, wherever the person signed in."""
    assert audience(send(browser, "/auth/token", LOGIN)) == [LOGIN, "notes"]
    assert audience(send(browser, "/auth/token", LOGIN, audience=LOGIN)) == [LOGIN]


def test_a_front_end_without_a_service_gets_no_token(make_app: MakeApp) -> None:
    """Where the user may call no service there is nothing for it; nobody is signed in."""
    app = make_app(**settings(LOGIN, NOTES), FOXTROT_DEFAULT_SCOPES="photos:read")
    add_user(app, ALICE)
    answer = log_in(app.test_client(), NOTES)
    assert refusal(answer) == (400, "invalid_target")
    assert "Set-Cookie" not in answer.headers


def test_a_front_end_logs_out(browser: FlaskClient) -> None:
    """Everywhere that this browser is signed in."""
    assert send(browser, "/auth/logout", NOTES).status_code == 204
    assert send(browser, "/auth/token", LOGIN).status_code == 401


FORMS = {
    "/login": {"email": ALICE, "password": PASSWORD},
    "/register": {"email": "new@example.com", "password": PASSWORD},
    "/logout": {},
    "/account/password": {"current_password": PASSWORD, "new_password": "x"},
    "/account/sessions/s_x/end": {},
    "/account/sessions/end-others": {},
    "/account/sessions/end-all": {},
    "/setup": {"token": "x"},
    "/reset": {"token": "x"},
}


@pytest.mark.parametrize("path", FORMS)
def test_forms_are_for_our_own_pages_alone(browser: FlaskClient, path: str) -> None:
    """A listed front end has the JSON routes; it cannot press our buttons."""
    headers = {"Origin": NOTES}
    answer = browser.post(path, data=FORMS[path], headers=headers, base_url=LOGIN)
    assert answer.status_code == 403
    assert send(browser, "/auth/token", LOGIN).status_code == 200
