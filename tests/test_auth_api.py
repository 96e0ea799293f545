"""What the JSON routes refuse: in which words, with which status, and in what time.

Every body here is sent to a service that must neither fail nor guess. What goes
well is in test_sign_in.py.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, users
from tests.conftest import MakeApp, add_user, dispose, find_user
from tests.support import (
    NO_LOGIN_LIMITS,
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    cheap_settings,
    get,
    log_in,
    post_json,
)

ALICE = "alice@example.com"
CREDENTIALS = {"email": ALICE, "password": PASSWORD}
WITH_BODY = ["/auth/register", "/auth/login", "/auth/token", "/auth/password-advice"]
LIMIT = 64 * 1024


@pytest.fixture(scope="module")
def shared(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for all tests that only knock; Alice has an account."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("shared") / "data")
    app = create_app(cheap_settings(folder))
    add_user(app, ALICE)
    yield app
    dispose(app)


@pytest.fixture
def stranger(shared: Flask) -> FlaskClient:
    """Somebody who has not signed in."""
    return shared.test_client()


@pytest.fixture(scope="module")
def browser(shared: Flask) -> FlaskClient:
    """Alice's browser, so that no route stops at the cookie before it reads the body."""
    client = shared.test_client()
    answer = post_json(client, "/auth/login", {**CREDENTIALS, "session": "cookie"}, Origin=ORIGIN)
    assert answer.status_code == 200
    return client


def send(client: FlaskClient, path: str, body: bytes, **headers: str) -> TestResponse:
    """POST bytes that are announced as JSON, unless the headers say otherwise."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"Origin": ORIGIN, "Content-Type": "application/json", **named}
    return client.post(path, data=body, headers=sent, base_url=ORIGIN)


def code_of(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def wrong_fields(answer: TestResponse) -> list[str]:
    """The fields that a refusal names."""
    assert code_of(answer) == (422, "validation_failed")
    return [error["field"] for error in answer.get_json()["errors"]]


# What is no JSON object

INVALID_REQUEST = (400, "invalid_request")
GOOD = json.dumps(CREDENTIALS)

MALFORMED = {
    "nothing": b"",
    "spaces": b"   ",
    "words": b"email=alice",
    "a truncated object": GOOD[:-1].encode(),
    "something after the object": f"{GOOD} x".encode(),
    "two objects": f"{GOOD}{GOOD}".encode(),
    "single quotes": GOOD.replace('"', "'").encode(),
    "a comment": f"{GOOD} // please".encode(),
    "a trailing comma": b'{"email": "a",}',
    "a raw line break in a text": b'{"email": "a\nb"}',
    "an array": b"[]",
    "an array of objects": f"[{GOOD}]".encode(),
    "a text": b'"email"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "not a number": b'{"email": NaN}',
    "infinity": b'{"email": Infinity}',
    "minus infinity": b'{"email": -Infinity}',
    "an integer of 60,000 digits": b'{"email": ' + b"9" * 60_000 + b"}",
    "a negative integer of 60,000 digits": b'{"email": -' + b"9" * 60_000 + b"}",
    "a member twice": b'{"email": "a", "email": "b", "password": "c"}',
    "a member twice, once escaped": b'{"email": "a", "\\u0065mail": "b"}',
    "a member twice, further in": b'{"email": {"a": 1, "a": 2}}',
    "a NUL in a text": b'{"email": "a\\u0000b", "password": "c"}',
    "a NUL in a list": b'{"audience": ["a\\u0000b"]}',
    "a NUL in a name": b'{"a\\u0000b": 1}',
    "a raw NUL": b'{"email": "a\0b"}',
    "a high surrogate alone": b'{"email": "a\\ud800b"}',
    "a low surrogate alone": b'{"email": "a\\udc00b"}',
    "surrogates the wrong way round": b'{"email": "\\udc00\\ud800"}',
    "a surrogate in a name": b'{"\\ud800": 1}',
    "a surrogate in a list": b'{"audience": ["\\udfff"]}',
    "a surrogate as three bytes": b'{"email": "\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without a mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "Latin-1": b'{"email": "\xe9"}',
    "an overlong encoding": b'{"email": "\xc0\xaf"}',
    "beyond Unicode": b'{"email": "\xf4\x90\x80\x80"}',
    "gzip": gzip.compress(GOOD.encode()),
}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_json_object_is_malformed(browser: FlaskClient, path: str, body: bytes) -> None:
    """RFC 8259: one object, in UTF-8, each member once, of characters that can be kept."""
    assert code_of(send(browser, path, body)) == INVALID_REQUEST


NESTINGS = [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")]


@pytest.mark.parametrize("nesting", NESTINGS, ids=["lists", "objects", "both"])
@pytest.mark.parametrize("depth", [10, 100, 200, 350, 500, 700, 900, 1000, 5000, 8000])
def test_deep_nesting_is_refused(
    browser: FlaskClient, nesting: tuple[str, str], depth: int
) -> None:
    """However deep, it is a bad request; nothing recurses until it breaks."""
    body = '{"email":' + nesting[0] * depth + "1" + nesting[1] * depth + "}"
    for path in WITH_BODY:
        assert send(browser, path, body.encode()).status_code in (400, 422)


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"email": ' + b"9" * 200_000 + b"}", GOOD.encode() + b" " * LIMIT],
    ids=["depth 100,000", "200,000 digits", "many spaces"],
)
def test_a_body_over_the_limit_is_too_large(browser: FlaskClient, path: str, body: bytes) -> None:
    """More than 64 KiB is not even looked at."""
    assert code_of(send(browser, path, body)) == (413, "content_too_large")


def test_a_body_at_the_limit_is_read(stranger: FlaskClient) -> None:
    """64 KiB to the byte."""
    assert send(stranger, "/auth/login", GOOD.ljust(LIMIT).encode()).status_code == 200
    assert send(stranger, "/auth/login", GOOD.ljust(LIMIT + 1).encode()).status_code == 413


def send_chunked(client: FlaskClient, body: bytes) -> TestResponse:
    """POST a body whose length is not announced, as a server hands it on."""
    return client.post(
        "/auth/login",
        input_stream=BytesIO(body),
        headers={"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
        base_url=ORIGIN,
    )


def test_a_chunked_body_is_read(stranger: FlaskClient) -> None:
    """RFC 9112 section 7.1."""
    assert send_chunked(stranger, GOOD.encode()).status_code == 200


def test_a_chunked_body_over_the_limit_is_too_large(stranger: FlaskClient) -> None:
    """It is refused and not cut, though its length is known only at its end."""
    body = GOOD.ljust(LIMIT).encode() + b"and more"
    assert code_of(send_chunked(stranger, body)) == (413, "content_too_large")


# What is announced as something else

JSON_TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "application/json;",
]
OTHER_TYPES = [
    "",
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/jsonx",
    "application/problem+json",
    "application/xml",
    "*/*",
    "json",
    "application/json, text/plain",
    ";",
]


@pytest.mark.parametrize("content_type", JSON_TYPES)
def test_json_is_read_as_json(stranger: FlaskClient, content_type: str) -> None:
    """In any letter case, with or without parameters."""
    answer = send(stranger, "/auth/login", GOOD.encode(), Content_Type=content_type)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_anything_else_is_an_unsupported_type(
    browser: FlaskClient, path: str, content_type: str
) -> None:
    """A form of another site can send those, so they are refused even if they hold JSON."""
    answer = send(browser, path, GOOD.encode(), Content_Type=content_type)
    assert code_of(answer) == (415, "unsupported_media_type")


def test_a_body_without_a_type_is_unsupported(stranger: FlaskClient) -> None:
    """Nothing is guessed."""
    answer = stranger.post("/auth/login", data=GOOD.encode(), base_url=ORIGIN)
    assert answer.status_code == 415


@pytest.mark.parametrize("path", WITH_BODY)
def test_a_charset_does_not_change_the_encoding(browser: FlaskClient, path: str) -> None:
    """JSON is UTF-8 (RFC 8259 section 8.1), whatever the header says."""
    sent = GOOD.encode("utf-16")
    answer = send(browser, path, sent, Content_Type="application/json; charset=utf-16")
    assert code_of(answer) == INVALID_REQUEST


def test_a_packed_body_is_not_unpacked(stranger: FlaskClient) -> None:
    """So nobody sends a bomb."""
    packed = gzip.compress(GOOD.encode())
    answer = send(stranger, "/auth/login", packed, Content_Encoding="gzip")
    assert answer.status_code in (400, 415)


# Fields

OTHER_VALUES: dict[str, Any] = {
    "null": None,
    "a number": 1,
    "a fraction": 1.5,
    "a huge number": 1e308,
    "true": True,
    "a list": ["alice@example.com"],
    "an object": {"email": "alice@example.com"},
}


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/password-advice"])
@pytest.mark.parametrize("field", ["email", "password"])
@pytest.mark.parametrize("value", OTHER_VALUES.values(), ids=OTHER_VALUES.keys())
def test_a_field_of_another_type_is_refused(
    stranger: FlaskClient, path: str, field: str, value: Any
) -> None:
    """No number is taken for a text, and the field is named."""
    assert wrong_fields(post_json(stranger, path, {**CREDENTIALS, field: value})) == [field]


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/password-advice"])
@pytest.mark.parametrize("missing", [["email"], ["password"], ["email", "password"]], ids=str)
def test_a_missing_field_is_named(stranger: FlaskClient, path: str, missing: list[str]) -> None:
    """All of them at once."""
    body = {name: value for name, value in CREDENTIALS.items() if name not in missing}
    assert wrong_fields(post_json(stranger, path, body)) == missing


def shortly(value: object) -> str:
    return str(value)[:20]


BAD_GRANTS: list[tuple[str, Any]] = [
    ("audience", 1),
    ("audience", True),
    ("audience", ""),
    ("audience", {}),
    ("audience", "x" * 201),
    ("audience", [1]),
    ("audience", [None]),
    ("audience", [["notes"]]),
    ("audience", ["notes", ""]),
    ("scope", 1),
    ("scope", False),
    ("scope", ["notes:read"]),
    ("scope", {}),
    ("scope", "x" * 2001),
]
BAD_SESSIONS = [("session", value) for value in (None, 1, "", "Cookie", "both", ["cookie"])]


@pytest.mark.parametrize(("field", "value"), BAD_GRANTS + BAD_SESSIONS, ids=shortly)
def test_a_bad_wish_at_the_login_is_refused_by_name(
    stranger: FlaskClient, field: str, value: Any
) -> None:
    """The field that is named is one that the sender knows."""
    named = wrong_fields(log_in(stranger, ALICE, **{field: value}))
    assert {name.partition(".")[0] for name in named} == {field}
    assert all(re.fullmatch(rf"{field}(\.[0-9]+)?", name) for name in named)


@pytest.mark.parametrize(("field", "value"), BAD_GRANTS, ids=shortly)
def test_a_bad_wish_by_cookie_is_refused_by_name(
    browser: FlaskClient, field: str, value: Any
) -> None:
    """The same rules as at the login."""
    named = wrong_fields(post_json(browser, "/auth/token", {field: value}, Origin=ORIGIN))
    assert all(re.fullmatch(rf"{field}(\.[0-9]+)?", name) for name in named)


UNKNOWN_FIELDS = [
    "id",
    "is_admin",
    "admin",
    "role",
    "scopes",
    "own_scopes",
    "email_verified",
    "email_verified_at",
    "disabled_at",
    "created_at",
    "password_hash",
    "public_id",
    "Email",
    "email ",
    "__proto__",
    "__class__",
    "",
]


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("field", UNKNOWN_FIELDS)
def test_an_unknown_field_is_refused_by_name(browser: FlaskClient, path: str, field: str) -> None:
    """A misspelled wish is never ignored in silence."""
    known = {} if path == "/auth/token" else CREDENTIALS
    answer = post_json(browser, path, {**known, field: True}, Origin=ORIGIN)
    assert wrong_fields(answer) == [field]


@pytest.mark.parametrize("field", ["scope", "audience", "session"])
def test_a_field_of_another_route_is_unknown(stranger: FlaskClient, field: str) -> None:
    """Who registers takes no scopes along."""
    answer = post_json(stranger, "/auth/register", {**CREDENTIALS, field: "admin"})
    assert wrong_fields(answer) == [field]


def test_a_bad_address_and_a_bad_password_are_reported_at_once(stranger: FlaskClient) -> None:
    """A program can mark both fields of its form."""
    answer = post_json(stranger, "/auth/register", {"email": "bad", "password": "short"})
    assert wrong_fields(answer) == ["email", "password"]


def test_an_unknown_field_makes_no_account(client: FlaskClient) -> None:
    """Nobody is made an administrator, nor made at all."""
    body = {**CREDENTIALS, "is_admin": True, "scopes": ["admin"], "email_verified": True}
    assert post_json(client, "/auth/register", body).status_code == 422
    assert log_in(client, ALICE).status_code == 401


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/password-advice"])
def test_the_query_is_no_body(stranger: FlaskClient, path: str) -> None:
    """What a password manager or a log could keep is not taken as a password."""
    answer = stranger.post(path, query_string=CREDENTIALS, json={}, base_url=ORIGIN)
    assert wrong_fields(answer) == ["email", "password"]


def test_the_query_grants_nothing(stranger: FlaskClient) -> None:
    """Audience, scope and session count in the body alone."""
    wish = {"audience": "billing", "scope": "admin", "session": "cookie"}
    answer = stranger.post("/auth/login", query_string=wish, json=CREDENTIALS, base_url=ORIGIN)
    assert answer.status_code == 200
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
@pytest.mark.parametrize("field", ["email", "password"])
def test_a_refusal_does_not_repeat_what_was_sent(
    stranger: FlaskClient, path: str, field: str
) -> None:
    """Neither a value of a wrong type nor one that is too long."""
    for value in (["hush-hush-hush"], "hush-hush-hush" * 1000):
        answer = post_json(stranger, path, {**CREDENTIALS, field: value})
        assert "hush" not in answer.get_data(as_text=True)


# One shape for all errors

Sent = tuple[str, str, dict[str, Any]]

TOKENLESS: Sent = ("GET", "/api/me", {})
BAD_TOKEN: Sent = ("GET", "/api/me", {"headers": bearer("x.y.z")})
NO_COOKIE: Sent = ("POST", "/auth/token", {"json": {}, "headers": {"Origin": ORIGIN}})
WRONG: dict[str, str] = {**CREDENTIALS, "password": "wrong horse battery staple"}

ERRORS: dict[str, tuple[int, Sent]] = {
    "malformed": (400, ("POST", "/auth/login", {"data": b"{", "content_type": "application/json"})),
    "invalid target": (400, ("POST", "/auth/login", {"json": {**CREDENTIALS, "audience": "x"}})),
    "invalid scope": (400, ("POST", "/auth/login", {"json": {**CREDENTIALS, "scope": "x"}})),
    "bad header": (400, ("GET", "/api/me", {"headers": {"Authorization": "Bearer"}})),
    "wrong password": (401, ("POST", "/auth/login", {"json": WRONG})),
    "no cookie": (401, NO_COOKIE),
    "no token": (401, TOKENLESS),
    "bad token": (401, BAD_TOKEN),
    "another origin": (403, ("POST", "/auth/token", {"json": {}})),
    "unknown route": (404, ("GET", "/auth/nothing", {})),
    "unknown API route": (404, ("GET", "/api/nothing", {})),
    "unknown path": (404, ("GET", "/nothing", {})),
    "unknown document": (404, ("GET", "/.well-known/nothing", {})),
    "other method": (405, ("GET", "/auth/login", {})),
    "other method of the API": (405, ("POST", "/api/me", {})),
    "trace": (405, ("TRACE", "/api/me", {})),
    "taken": (409, ("POST", "/auth/register", {"json": CREDENTIALS})),
    "too large": (
        413,
        ("POST", "/auth/login", {"data": b" " * 70_000, "content_type": "application/json"}),
    ),
    "other type": (415, ("POST", "/auth/login", {"data": b"{}"})),
    "unprocessable": (422, ("POST", "/auth/login", {"json": {}})),
    "weak password": (
        422,
        ("POST", "/auth/register", {"json": {"email": "b@c.de", "password": "x"}}),
    ),
}


def call(client: FlaskClient, sent: Sent) -> TestResponse:
    method, path, options = sent
    return client.open(path, method=method, base_url=ORIGIN, **options)


@pytest.fixture(params=list(ERRORS.values()), ids=list(ERRORS))
def refused(request: pytest.FixtureRequest, stranger: FlaskClient) -> TestResponse:
    """Each of the refusals that a client can meet."""
    status, sent = request.param
    answer = call(stranger, sent)
    assert answer.status_code == status
    return answer


def test_an_error_is_a_problem_document(refused: TestResponse) -> None:
    """RFC 9457, with a code of letters and underscores."""
    problem = refused.get_json()
    assert refused.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code"} <= problem.keys()
    assert problem.keys() <= {"type", "title", "status", "detail", "code", "reason", "errors"}
    assert problem["status"] == refused.status_code
    assert re.fullmatch("[a-z_]+", problem["code"])
    assert all(isinstance(problem[name], str) for name in ("type", "title", "detail", "code"))


def test_fields_are_named_where_fields_are_wrong(refused: TestResponse) -> None:
    """As a list of field and message, and in no other error."""
    errors = refused.get_json().get("errors", [])
    assert bool(errors) == (refused.status_code == 422)
    assert all(set(error) == {"field", "message"} for error in errors)


def test_an_error_is_kept_by_no_cache(refused: TestResponse) -> None:
    """It is about one request of one person."""
    assert refused.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", [name for name in ERRORS if ERRORS[name][0] == 401])
def test_a_401_names_the_scheme(stranger: FlaskClient, name: str) -> None:
    """RFC 9110 section 15.5.2."""
    answer = call(stranger, ERRORS[name][1])
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="Foxtrot"')


def test_a_405_names_the_methods(refused: TestResponse) -> None:
    """RFC 9110 section 15.5.6."""
    assert ("Allow" in refused.headers) == (refused.status_code == 405)


INSIDE = r"Traceback|SELECT|File \"|\.py\b|site-packages|werkzeug|pydantic|sqlite|flask"


def test_an_error_gives_nothing_of_the_inside_away(refused: TestResponse) -> None:
    """No trace, no SQL, no path, no version, no name of a library."""
    text = refused.get_data(as_text=True) + str(refused.headers)
    assert not re.search(INSIDE, text, re.IGNORECASE)


SECRET_ANSWERS: dict[str, Sent] = {
    "login": ("POST", "/auth/login", {"json": CREDENTIALS}),
    "me": TOKENLESS,
    "advice": ("POST", "/auth/password-advice", {"json": CREDENTIALS}),
    "logout": ("POST", "/auth/logout", {}),
}


@pytest.mark.parametrize("sent", SECRET_ANSWERS.values(), ids=SECRET_ANSWERS.keys())
def test_answers_are_kept_by_no_cache(stranger: FlaskClient, sent: Sent) -> None:
    """RFC 6749 section 5.1."""
    assert call(stranger, sent).headers["Cache-Control"] == "no-store"


# Who has an account cannot be told

DISABLED, UNKNOWN = "disabled@example.com", "nobody@example.com"
REFUSED_LOGINS = {
    "unknown address": (UNKNOWN, PASSWORD),
    "wrong password": (ALICE, "wrong horse battery staple"),
    "disabled user": (DISABLED, PASSWORD),
    "no address": ("nobody", PASSWORD),
    "no password": (ALICE, ""),
    "a password that is too long": (ALICE, "x" * 2000),
}


def add_disabled(app: Flask) -> None:
    add_user(app, DISABLED)
    with app.app_context():
        users.disable(find_user(app, DISABLED), SOMEWHERE)


def shape(answer: TestResponse) -> tuple[int, bytes, list[str], dict[str, str]]:
    """All of an answer that an observer sees, besides the clock and the request's own id."""
    headers = dict(answer.headers)
    for name in ("Date", "X-Request-ID"):
        headers.pop(name, None)
    return answer.status_code, answer.data, list(headers), headers


def test_refused_logins_look_alike(app: Flask, client: FlaskClient, alice: str) -> None:
    """Status, body and headers of an unknown address are those of a wrong password."""
    add_disabled(app)
    shapes = [shape(log_in(client, *login)) for login in REFUSED_LOGINS.values()]
    assert shapes[0][0] == 401
    assert all(each == shapes[0] for each in shapes)


def test_a_refused_login_leaves_no_trace_of_the_address(client: FlaskClient, alice: str) -> None:
    """It is not repeated, so that two answers cannot be told apart by it."""
    assert alice not in log_in(client, alice, "wrong horse battery staple").get_data(as_text=True)


MEASURED = ["unknown address", "wrong password", "disabled user"]


@pytest.fixture(scope="module")
def times(
    template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, list[float]]]:
    """Processor seconds of refused logins of each kind, taken in turns; hashing is not cheap."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("times") / "data")
    settings = {**cheap_settings(folder), "FOXTROT_PASSWORD_HASH": "scrypt:4096:8:1"}
    app = create_app({**settings, **NO_LOGIN_LIMITS})
    add_user(app, ALICE)
    add_disabled(app)
    client, taken = app.test_client(), {name: list[float]() for name in MEASURED}
    for _ in range(60):
        for name in MEASURED:
            began = time.thread_time()
            log_in(client, *REFUSED_LOGINS[name])
            taken[name].append(time.thread_time() - began)
    yield taken
    dispose(app)


def overlap(ones: list[float], others: list[float]) -> float:
    """How often one is slower than another, of all pairs: 0.5 if they cannot be told apart.

    The rank-sum statistic of Mann and Whitney, divided by its largest value.
    """
    return sum((a > b) + (a == b) / 2 for a in ones for b in others) / (len(ones) * len(others))


@pytest.mark.parametrize("name", ["unknown address", "disabled user"])
def test_refused_logins_take_the_same_time(times: dict[str, list[float]], name: str) -> None:
    """A hash that is not computed is seen at once; the load of one row may be, chance never is."""
    assert 0.15 < overlap(times[name], times["wrong password"]) < 0.85


def test_the_measure_sees_a_difference(times: dict[str, list[float]]) -> None:
    """Were one of them to take twice as long, the same tries would tell."""
    slower = [seconds * 2 for seconds in times["wrong password"]]
    assert overlap(slower, times["wrong password"]) > 0.85


# The bearer check of the own API (RFC 6750)

NO_CREDENTIALS = ["", "Basic YTpi", "Token x", "Bearerx", "x" * 60_000]
BAD_HEADERS = [
    "Bearer",
    "Bearer ",
    "Bearer =",
    "bearer a b",
    "Bearer x, Bearer y",
    "Bearer \xe9",
    "Bearer\tx",
]
BAD_TOKENS = ["x", "x.y.z", "..", "x" * 60_000, "e30.e30.e30", "~"]


def with_header(client: FlaskClient, value: str) -> TestResponse:
    return get(client, "/api/me", headers={"Authorization": value})


@pytest.mark.parametrize("value", NO_CREDENTIALS, ids=shortly)
def test_without_credentials_no_error_is_named(stranger: FlaskClient, value: str) -> None:
    """Section 3.1: who did not try is only told how."""
    answer = with_header(stranger, value)
    assert code_of(answer) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Foxtrot"'


@pytest.mark.parametrize("value", BAD_HEADERS)
def test_a_malformed_header_is_a_bad_request(stranger: FlaskClient, value: str) -> None:
    """Section 3.1, invalid_request."""
    assert code_of(with_header(stranger, value)) == INVALID_REQUEST


@pytest.mark.parametrize("token", BAD_TOKENS, ids=shortly)
def test_a_bad_token_is_named_so(stranger: FlaskClient, token: str) -> None:
    """Section 3.1, invalid_token."""
    answer = with_header(stranger, f"Bearer {token}")
    assert code_of(answer) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_taken_in_any_case(stranger: FlaskClient, scheme: str) -> None:
    """RFC 9110 section 11.1."""
    token = access_token(stranger, ALICE)
    assert with_header(stranger, f"{scheme} {token}").status_code == 200


def test_a_token_in_the_url_is_not_taken(stranger: FlaskClient) -> None:
    """RFC 9700 section 4.3.2: URLs end up in logs."""
    token = access_token(stranger, ALICE)
    assert get(stranger, f"/api/me?access_token={token}").status_code == 401


def test_a_token_in_the_body_is_not_taken(stranger: FlaskClient) -> None:
    """Nor by any other method than the route's own."""
    token = access_token(stranger, ALICE)
    answer = stranger.get("/api/me", data={"access_token": token}, base_url=ORIGIN)
    assert answer.status_code == 401


def test_head_is_guarded_like_get(stranger: FlaskClient) -> None:
    """And tells as little."""
    answer = stranger.head("/api/me", base_url=ORIGIN)
    assert (answer.status_code, answer.data) == (401, b"")


def test_a_token_for_another_service_is_refused_here(stranger: FlaskClient) -> None:
    """No service that receives it can come here with it."""
    token = access_token(stranger, ALICE, audience="notes")
    assert get(stranger, "/api/me", token).get_json()["reason"] == "wrong_audience"


def test_a_token_of_another_service_is_refused_here(
    make_app: MakeApp, stranger: FlaskClient, alice: str
) -> None:
    """The same key under another issuer's name is another issuer."""
    elsewhere = make_app(FOXTROT_PUBLIC_URL="http://localhost:5001").test_client()
    body = {"email": alice, "password": PASSWORD}
    token = elsewhere.post("/auth/login", json=body).get_json()["access_token"]
    assert get(stranger, "/api/me", token).get_json()["reason"] == "wrong_issuer"


def test_a_token_of_a_session_that_never_was_is_refused(app: Flask, data_dir: Path) -> None:
    """A signature alone opens nothing: the session must be there, and be the subject's."""
    client = app.test_client()
    token = access_token(client, add_user(app, ALICE))
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        connection.execute("DELETE FROM login_sessions")
        connection.commit()
    assert get(client, "/api/me", token).get_json()["reason"] == "revoked"


def test_a_session_that_went_to_another_user_is_refused(
    app: Flask, data_dir: Path, alice: str, bob: str
) -> None:
    """Token and session must agree on the person."""
    client = app.test_client()
    token = access_token(client, alice)
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        query = "UPDATE login_sessions SET user_id = (SELECT id FROM users WHERE email = ?)"
        connection.execute(query, (bob,))
        connection.commit()
    assert get(client, "/api/me", token).get_json()["reason"] == "revoked"
