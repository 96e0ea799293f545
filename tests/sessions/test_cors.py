"""Which pages may read which answers (CORS): closed, but for the table of the contract."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import MakeApp, add_user
from tests.support import PASSWORD

LOGIN = "https://login.example.com"
NOTES = "https://notes.example.com"
ALICE = "alice@example.com"
JSON = "application/json"
FOREIGN = [
    "https://evil.example",
    "null",
    LOGIN,
    "http://notes.example.com",
    "https://notes.example.com.evil.example",
    "https://x.notes.example.com",
    "*",
    "",
]

WITH_COOKIE = ["POST /auth/login", "POST /auth/token", "POST /auth/logout"]
WITHOUT_COOKIE = [
    "POST /auth/refresh",
    "GET /api/me",
    "POST /api/me/password",
    "GET /api/sessions",
    "DELETE /api/sessions",
    "DELETE /api/sessions/s_x",
]
FOR_EVERYBODY = [
    "GET /.well-known/jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /status-lists/0",
    "GET /foxtrot.js",
]
CLOSED = [
    "POST /auth/register",
    "POST /auth/password-advice",
    "GET /",
    "GET /login",
    "GET /account",
    "GET /register",
    "POST /login",
    "POST /account/password",
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /docs",
    "GET /nothing",
]
LISTED = WITH_COOKIE + WITHOUT_COOKIE


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """A house with a front end beside it."""
    app = make_app(FOXTROT_PUBLIC_URL=LOGIN, FOXTROT_ORIGINS=NOTES)
    add_user(app, ALICE)
    return app


def call(client: FlaskClient, route: str, origin: str | None, **more: Any) -> TestResponse:
    """Call a route as a page of that origin does."""
    method, path = route.split(" ")
    headers = {**({} if origin is None else {"Origin": origin}), **more.pop("headers", {})}
    if method == "POST" and path.startswith(("/auth/", "/api/")):
        more.setdefault("json", {})
    more["buffered"] = True  # a file is closed, too
    return client.open(path, method=method, headers=headers, base_url=LOGIN, **more)


def preflight(client: FlaskClient, route: str, origin: str) -> TestResponse:
    """Ask for leave as a browser does before such a call."""
    method, path = route.split(" ")
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return client.options(path, headers=headers, base_url=LOGIN)


def leave(answer: TestResponse) -> dict[str, str]:
    """The headers that open an answer to another origin."""
    return {name: value for name, value in answer.headers if name.startswith("Access-Control-")}


@pytest.mark.parametrize("route", WITH_COOKIE)
def test_a_front_end_reads_cookie_routes_with_credentials(client: FlaskClient, route: str) -> None:
    """The origin by name, never `*`, and whatever the answer is."""
    headers = leave(call(client, route, NOTES))
    assert headers["Access-Control-Allow-Origin"] == NOTES
    assert headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize("route", WITHOUT_COOKIE)
def test_a_front_end_reads_token_routes_without_credentials(
    client: FlaskClient, route: str
) -> None:
    """There the cookie must not travel; a 401 can be read all the same."""
    headers = leave(call(client, route, NOTES))
    assert headers["Access-Control-Allow-Origin"] == NOTES
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("route", LISTED)
def test_a_front_end_is_given_leave(client: FlaskClient, route: str) -> None:
    """The method and the headers that the contract has."""
    answer = preflight(client, route, NOTES)
    headers = leave(answer)
    assert answer.status_code in (200, 204)
    assert headers["Access-Control-Allow-Origin"] == NOTES
    assert route.split(" ")[0] in headers["Access-Control-Allow-Methods"].split(", ")
    allowed = headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(allowed)
    assert "*" not in headers.values()


@pytest.mark.parametrize("route", WITH_COOKIE)
def test_leave_with_credentials_is_said_in_the_preflight(client: FlaskClient, route: str) -> None:
    """Else a browser does not send the cookie."""
    headers = leave(preflight(client, route, NOTES))
    assert headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("route", LISTED)
def test_nobody_else_is_given_anything(client: FlaskClient, route: str, origin: str) -> None:
    """Neither by name nor by `*`; neither in the preflight nor in the answer."""
    assert leave(preflight(client, route, origin)) == {}
    assert leave(call(client, route, origin)) == {}


@pytest.mark.parametrize("origin", [NOTES, *FOREIGN])
@pytest.mark.parametrize("route", CLOSED)
def test_everything_else_is_closed(client: FlaskClient, route: str, origin: str) -> None:
    """Also to a listed front end."""
    assert leave(call(client, route, origin)) == {}
    assert leave(preflight(client, route, origin)) == {}


@pytest.mark.parametrize("origin", [NOTES, *FOREIGN])
@pytest.mark.parametrize("route", FOR_EVERYBODY)
def test_what_is_published_is_open_to_everybody(
    client: FlaskClient, route: str, origin: str
) -> None:
    """Without credentials, so `*` gives nothing away."""
    assert leave(call(client, route, origin)) == {"Access-Control-Allow-Origin": "*"}


@pytest.mark.parametrize("origin", [None, NOTES, "https://evil.example"])
@pytest.mark.parametrize("route", LISTED)
def test_caches_are_told_that_the_origin_matters(
    client: FlaskClient, route: str, origin: str | None
) -> None:
    """Whether there is one or not, or an answer for one would be given to another."""
    assert "Origin" in call(client, route, origin).vary


def good(client: FlaskClient) -> TestResponse:
    body = {"email": ALICE, "password": PASSWORD, "session": "cookie"}
    return call(client, "POST /auth/login", NOTES, json=body)


ERRORS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "malformed": (400, "POST /auth/login", {"json": []}),
    "wrong password": (401, "POST /auth/login", {"json": {"email": ALICE, "password": "x"}}),
    "no session": (401, "POST /auth/token", {}),
    "invalid target": (400, "POST /auth/token", {"json": {"audience": LOGIN}}),
    "unknown field": (422, "POST /auth/token", {"json": {"x": 1}}),
    "no JSON": (415, "POST /auth/token", {"json": None, "data": "x", "content_type": "text/plain"}),
    "too large": (
        413,
        "POST /auth/refresh",
        {"json": None, "data": "x" * 70_000, "content_type": JSON},
    ),
    "dead refresh token": (401, "POST /auth/refresh", {"json": {"refresh_token": "x"}}),
    "no token": (401, "GET /api/me", {}),
    "bad token": (401, "GET /api/me", {"headers": {"Authorization": "Bearer x.y.z"}}),
    "bad header": (400, "GET /api/me", {"headers": {"Authorization": "Bearer"}}),
    "unknown path of the API": (404, "GET /api/nothing", {}),
    "wrong method of the API": (405, "POST /api/sessions", {}),
    "wrong method": (405, "GET /auth/token", {}),
}


@pytest.mark.parametrize("name", ERRORS)
def test_a_front_end_can_read_why_it_was_refused(client: FlaskClient, name: str) -> None:
    """Else all that its author sees is a network error."""
    status, route, more = ERRORS[name]
    if name == "invalid target":
        good(client)
    answer = call(client, route, NOTES, **more)
    assert answer.status_code == status
    assert leave(answer)["Access-Control-Allow-Origin"] == NOTES


def test_a_front_end_reads_the_headers_it_needs(client: FlaskClient) -> None:
    """When to come again, what was wrong, and the id for whoever is asked for help."""
    exposed = leave(good(client))["Access-Control-Expose-Headers"].split(", ")
    assert {"Retry-After", "WWW-Authenticate", "X-Request-ID"} <= set(exposed)


def test_an_answer_to_evil_carries_no_trace_of_it(client: FlaskClient) -> None:
    """No header repeats what a request says of itself."""
    answer = call(client, "GET /api/me", "https://evil.example")
    assert "evil" not in str(answer.headers)


def test_without_listed_origins_all_is_closed(make_app: MakeApp) -> None:
    """The default."""
    client = make_app(FOXTROT_PUBLIC_URL=LOGIN).test_client()
    for route in LISTED:
        assert leave(preflight(client, route, NOTES)) == {}
        assert leave(call(client, route, NOTES)) == {}
