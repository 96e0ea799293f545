"""Whatever a client sends, the service answers; and no password comes out again.

Every route of the URL map, with every method, is sent what nobody would send. The
examples are the same in every run, so a failure here is a failure for everybody.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import create_app, links
from tests.conftest import MakeApp, add_user, dispose, find_user
from tests.processes import free_port, run, serving
from tests.support import (
    CHEAP_HASH,
    ORIGIN,
    PASSWORD,
    access_token,
    bearer,
    cheap_settings,
    log_in,
    post_json,
)

ALICE = "alice@example.com"
COOKIE = "foxtrot_session"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO", "get"]


def steady(examples: int) -> settings:
    return settings(derandomize=True, database=None, deadline=None, max_examples=examples)


@pytest.fixture(scope="module")
def target(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app, which has to bear it all; Alice has an account."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("target") / "data")
    app = create_app(cheap_settings(folder))
    add_user(app, ALICE)
    yield app
    dispose(app)


@pytest.fixture(scope="module")
def token(target: Flask) -> str:
    """A good token, so that more than the first check is reached."""
    return access_token(target.test_client(), ALICE, audience=ORIGIN)


@pytest.fixture(scope="module")
def cookie(target: Flask) -> str:
    """A good cookie; of a session that no request here can end."""
    client = target.test_client()
    body = {"email": ALICE, "password": PASSWORD, "session": "cookie"}
    post_json(client, "/auth/login", body, Origin=ORIGIN)
    held = client.get_cookie(COOKIE)
    assert held is not None
    return held.value


def routes(app: Flask) -> list[Rule]:
    return sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule)


def filled(rule: Rule, text: str) -> str:
    """The route's path, with a text in the place of each parameter."""
    return re.sub(r"<[^>]+>", lambda _: quote(text, safe="", errors="surrogatepass"), rule.rule)


def is_answer(answer: TestResponse) -> bool:
    """An answer, and not a failure of ours."""
    return 200 <= answer.status_code < 500


# Strategies

header_texts = st.text(st.characters(min_codepoint=32, max_codepoint=255) | st.just("\t"))
HEADERS = re.findall(
    r"\S+",
    """
Accept Accept-Charset Accept-Encoding Accept-Language Access-Control-Request-Headers
Access-Control-Request-Method Authorization Cache-Control Connection Content-Disposition
Content-Encoding Content-Length Content-Type Cookie Date DNT Expect Forwarded From Host
If-Match If-Modified-Since If-None-Match If-Range If-Unmodified-Since Max-Forwards Origin
Pragma Proxy-Authorization Range Referer Sec-Fetch-Mode Sec-Fetch-Site TE Transfer-Encoding
Upgrade User-Agent Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto
X-HTTP-Method-Override X-Original-URL X-Request-Id
""",
)
TYPICAL = [
    "",
    "*",
    "*/*;q=nan",
    "text/html;q=1e999, application/json",
    "application/json",
    "application/json; charset=\xff",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x",
    "-1",
    "9" * 30,
    "\xb2",
    "bytes=0-0,1-1",
    "bytes=-9999999999999999999999",
    "bytes=a-b",
    "chunked",
    "gzip",
    "Bearer \xe9",
    'W/"',
    "Thu, 99 Foo 99999 99:99:99 GMT",
    "Thu, 01 Jan 0000 00:00:00 +9999",
    f"{COOKIE}=",
    f'{COOKIE}="\\777"; {COOKIE}=b',
    "http://[::1",
    "http://localhost:99999999",
    "localhost:5000, evil.example",
    "[",
    "null",
    "same-origin",
    "x" * 8000,
]
headers = st.dictionaries(
    st.sampled_from(HEADERS), st.sampled_from(TYPICAL) | header_texts, max_size=5
)

FIELDS = ["email", "password", "audience", "scope", "session", "next", "token", "id", "is_admin"]
NASTY = [
    "",
    ALICE,
    PASSWORD,
    "notes",
    ORIGIN,
    "admin",
    "cookie",
    "\0",
    "\ud800",
    "a@b",
    "\r\nSet-Cookie: a=b",
    "//evil.example",
    "{{7*7}}",
    "%s%n%00",
    "' OR 1=1 --",
    "x" * 1001,
    "\ufdfa" * 400,
    "\u202e",
]
texts = st.sampled_from(NASTY) | st.text(max_size=30)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=6)
likely = st.fixed_dictionaries(
    {"email": st.just(ALICE) | texts, "password": st.just(PASSWORD) | texts},
    optional={"audience": values, "scope": values, "session": values},
)


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


bodies = (
    st.binary(max_size=60)
    | values.map(to_json)
    | objects.map(to_json)
    | likely.map(to_json)
    | st.builds(lambda fields: urlencode(fields, errors="replace").encode(), objects)
)
queries = st.binary(max_size=30).map(quote) | st.builds(
    lambda fields: urlencode(fields, errors="replace"), objects
)


# Every route


@steady(250)
@given(data=st.data())
def test_no_request_makes_the_service_fail(
    target: Flask, token: str, cookie: str, data: st.DataObject
) -> None:
    """Any method, path, query, headers and body, with and without good credentials."""
    rule = data.draw(st.sampled_from(routes(target)))
    client = target.test_client()
    if data.draw(st.booleans()) and "logout" not in rule.rule:
        client.set_cookie(COOKIE, cookie)
    known = {"Origin": ORIGIN, "Content-Type": "application/json"}
    if "<session_id>" not in rule.rule:
        known |= bearer(token)
    answer = client.open(
        filled(rule, data.draw(texts)),
        method=data.draw(st.sampled_from(METHODS)),
        query_string=data.draw(queries),
        data=data.draw(bodies),
        headers={**(known if data.draw(st.booleans()) else {}), **data.draw(headers)},
        base_url=ORIGIN,
    )
    assert is_answer(answer), answer.request.environ


POSTED_JSON = [
    "/auth/register",
    "/auth/login",
    "/auth/refresh",
    "/auth/token",
    "/auth/password-advice",
    "/api/me/password",
]
POSTED_FORMS = [
    "/login",
    "/register",
    "/setup",
    "/reset",
    "/logout",
    "/auth/logout",
    "/account/password",
    "/account/sessions/<session_id>/end",
    "/account/sessions/end-others",
    "/account/sessions/end-all",
    "/account/warning/dismiss",
    "/admin/users/<user_id>/disable",
    "/admin/users/<user_id>/enable",
    "/admin/users/<user_id>/end-sessions",
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
]


def test_the_posts_of_these_tests_are_all_there_are(target: Flask) -> None:
    """A new route has to be added to the tables here."""
    posts = {rule.rule for rule in routes(target) if "POST" in (rule.methods or ())}
    assert posts == {*POSTED_JSON, *POSTED_FORMS}


@steady(150)
@given(path=st.sampled_from(POSTED_JSON), body=objects | likely | values)
def test_no_json_makes_the_service_fail(target: Flask, cookie: str, path: str, body: Any) -> None:
    """Whatever the members are; errors are problem documents."""
    client = target.test_client()
    client.set_cookie(COOKIE, cookie)
    answer = post_json(client, path, body, Origin=ORIGIN)
    assert is_answer(answer)
    assert answer.status_code < 300 or answer.content_type == "application/problem+json"


@steady(100)
@given(
    path=st.sampled_from(POSTED_FORMS),
    fields=st.dictionaries(st.sampled_from(FIELDS) | texts, texts, max_size=6),
    query=queries,
)
def test_no_form_makes_the_service_fail(
    target: Flask, path: str, fields: dict[str, str], query: str
) -> None:
    """Whatever the fields are."""
    raw = urlencode(fields, errors="surrogatepass")
    answer = target.test_client().post(
        path,
        data=raw,
        query_string=query,
        headers={"Origin": ORIGIN},
        content_type="application/x-www-form-urlencoded",
        base_url=ORIGIN,
    )
    assert is_answer(answer)


@pytest.mark.parametrize("path", POSTED_FORMS)
@pytest.mark.parametrize(
    "body",
    [
        b"--x\r\n",
        b"--x\r\nContent-Disposition: form-data; name=email\r\n\r\na",
        b'--x\r\nContent-Disposition: form-data; name="email"; filename="a"\r\n\r\na\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\na\r\n' * 1001 + b"--x--\r\n",
        b"--x\r\n" * 10_000,
        b"a" * 65_000,
    ],
    ids=["cut", "cut in a part", "a file", "bytes", "1,001 parts", "boundaries", "no part"],
)
def test_no_multipart_body_makes_the_service_fail(target: Flask, path: str, body: bytes) -> None:
    """Cut, strange, or of very many parts."""
    headers = {"Origin": ORIGIN, "Content-Type": "multipart/form-data; boundary=x"}
    answer = target.test_client().post(path, data=body, headers=headers, base_url=ORIGIN)
    assert is_answer(answer)


@steady(100)
@given(
    path=st.text(max_size=40) | st.binary(max_size=20).map(quote), method=st.sampled_from(METHODS)
)
def test_no_path_makes_the_service_fail(target: Flask, path: str, method: str) -> None:
    """Any text, any bytes."""
    quoted = quote(path, safe="/%?;=&", errors="surrogatepass")
    answer = target.test_client().open(f"/{quoted}", method=method, base_url=ORIGIN)
    assert is_answer(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/..",
        "/static/../config.py",
        "/static/%2e%2e/%2e%2e/config.py",
        "/static/..%5c..%5cconfig.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/a%00.css",
        "/static/%ff",
        "/static/" + "a" * 5000,
        "/static/" + "a/" * 2000,
    ],
    ids=lambda path: path[:40],
)
def test_no_path_leads_out_of_the_static_files(target: Flask, path: str) -> None:
    """Nothing but the files of the pages is served."""
    assert target.test_client().get(path, base_url=ORIGIN).status_code == 404


def test_each_route_refuses_the_methods_that_it_does_not_declare(target: Flask) -> None:
    """405, naming those that it does (RFC 9110 section 15.5.6)."""
    client = target.test_client()
    declared: dict[str, set[str]] = {}
    for rule in routes(target):
        declared.setdefault(filled(rule, "7"), set()).update(rule.methods or ())
    for path, methods in declared.items():
        for method in set(METHODS) - methods - {"get"}:
            answer = client.open(path, method=method, base_url=ORIGIN)
            assert answer.status_code == 405, (method, path)
            assert set(re.findall(r"\w+", answer.headers["Allow"])) == methods


# A password that was sent is seen nowhere

SECRET = "Zitronenfalter 7731 im Oktoberregen"
EMAIL = "new@example.com"
FORM = "application/x-www-form-urlencoded"

VERBS = ("disable", "enable", "end-sessions")
FIELDS_OF: dict[str, dict[str, str]] = {
    "/auth/register": {"email": EMAIL, "password": SECRET},
    "/auth/login": {
        "email": ALICE,
        "password": SECRET,
        "audience": "notes",
        "scope": "notes:read",
        "session": "cookie",
    },
    "/auth/token": {"audience": "notes", "scope": "notes:read", "password": SECRET},
    "/auth/refresh": {"refresh_token": SECRET, "scope": "notes:read", "password": SECRET},
    "/auth/password-advice": {"email": EMAIL, "password": SECRET},
    "/auth/logout": {"refresh_token": SECRET, "password": SECRET},
    "/api/me/password": {"current_password": SECRET, "new_password": SECRET, "password": SECRET},
    "/account/password": {"current_password": SECRET, "new_password": SECRET, "password": SECRET},
    "/account/sessions/<session_id>/end": {"password": SECRET},
    "/account/sessions/end-others": {"password": SECRET},
    "/account/sessions/end-all": {"password": SECRET},
    "/account/warning/dismiss": {"password": SECRET},
    "/login": {"email": ALICE, "password": SECRET, "next": "/account"},
    "/register": {"email": EMAIL, "password": SECRET, "next": "/account"},
    "/setup": {"email": EMAIL, "password": SECRET, "token": "a token"},
    "/reset": {"password": SECRET, "token": "a token"},
    "/logout": {"password": SECRET},
    **{f"/admin/users/<user_id>/{verb}": {"q": "a part", "password": SECRET} for verb in VERBS},
    "/oauth/token": {"grant_type": "x", "client_secret": SECRET, "password": SECRET},
    "/oauth/introspect": {"token": SECRET, "client_secret": SECRET, "password": SECRET},
    "/oauth/revoke": {"token": SECRET, "client_id": "foxtrot", "password": SECRET},
}
WRONG_VALUES: list[Any] = [None, 1, [SECRET], {"password": SECRET}, "", "wrong", "x" * 3000]


def variants(fields: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The fields as they are, and with each in turn missing or wrong."""
    yield fields
    yield {**fields, "unknown": "x"}
    yield {**fields, "password": [SECRET]}
    yield {**fields, "password": {"text": SECRET}}
    yield {**fields, "password": SECRET * 50}
    yield {**fields, "password": f"{SECRET}\0"}
    for name in fields.keys() - {"password"}:
        yield {other: value for other, value in fields.items() if other != name}
        for value in WRONG_VALUES:
            yield {**fields, name: value}


def malformed(fields: dict[str, str]) -> Iterator[bytes]:
    """JSON with the password in it that breaks after it, and in it."""
    text = to_json(fields)
    yield text[:-1]
    yield text + b"x"
    yield text[:-1] + b', "password": "x"}'
    yield text.replace(b"Zitronen", b"\xff Zitronen")
    yield text.replace(b"Zitronen", b"\\ud800 Zitronen")
    yield b"[" + text + b"]"
    yield SECRET.encode()
    yield to_json(SECRET)


def flat(fields: dict[str, Any]) -> dict[str, str]:
    """What a form can send of these fields; an address that was typed is shown again."""
    return {
        name: str(value) if name == "password" or isinstance(value, str) else "wrong"
        for name, value in fields.items()
        if value is not None
    }


def requests_of(path: str) -> Iterator[dict[str, Any]]:
    """All that is sent to one route: every variant, in every kind of body."""
    for fields in variants(FIELDS_OF[path]):
        yield {"json": fields}
        yield {"data": flat(fields)}
        yield {"data": flat(fields), "content_type": "multipart/form-data"}
    for body in malformed(FIELDS_OF[path]):
        for content_type in ("application/json", "text/plain", FORM):
            yield {"data": body, "content_type": content_type}


def good_links(app: Flask) -> dict[str, str]:
    """A good one-time link for each of the routes that want one."""
    with app.app_context():
        return {
            "/setup": links.make(links.SETUP),
            "/reset": links.make(links.RESET, find_user(app, ALICE)),
        }


def everything_sent_to(app: Flask, path: str, origin: str) -> Iterator[TestResponse]:
    client = app.test_client()
    for options in requests_of(path):
        yield client.post(path, **options, headers={"Origin": origin}, base_url=ORIGIN)


def is_in(data_dir: Path, secret: str) -> bool:
    """Whether a text stands in any file of the data folder."""
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    assert any(path.name == "foxtrot.sqlite3" for path in files)
    return any(secret.encode() in path.read_bytes() for path in files)


def test_the_table_of_fields_has_every_post(target: Flask) -> None:
    """A new route has to be added here."""
    assert FIELDS_OF.keys() == {*POSTED_JSON, *POSTED_FORMS}


@pytest.mark.parametrize("path", FIELDS_OF)
def test_a_password_is_seen_nowhere_again(
    app: Flask,
    alice: str,
    data_dir: Path,
    path: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in an answer, not in a log of any level, not in the database, whatever else is wrong."""
    caplog.set_level(logging.DEBUG)
    FIELDS_OF["/setup"]["token"], FIELDS_OF["/reset"]["token"] = good_links(app).values()
    for origin in (ORIGIN, "https://evil.example"):
        for answer in everything_sent_to(app, path, origin):
            assert is_answer(answer)
            assert "Zitronen" not in answer.get_data(as_text=True) + str(answer.headers)
    assert "Zitronen" not in caplog.text + "".join(capfd.readouterr())
    assert not is_in(data_dir, "Zitronen")


@pytest.mark.parametrize("path", ["/login", "/register", "/setup", "/reset"])
def test_a_password_in_a_url_is_not_shown(client: FlaskClient, path: str) -> None:
    """A page that was asked for with one does not fill it in."""
    query = {"password": SECRET, "email": ALICE, "current_password": SECRET}
    answer = client.get(path, query_string=query, base_url=ORIGIN)
    assert "Zitronen" not in answer.get_data(as_text=True)


def test_nothing_that_opens_a_door_is_stored(app: Flask, data_dir: Path, alice: str) -> None:
    """Neither a cookie nor a link nor a token: a stolen database opens nothing."""
    client = app.test_client()
    body = {"email": alice, "password": PASSWORD, "session": "cookie"}
    token = post_json(client, "/auth/login", body, Origin=ORIGIN).get_json()["access_token"]
    held = client.get_cookie(COOKIE)
    assert held is not None
    for secret in (PASSWORD, held.value, token, *good_links(app).values()):
        assert not is_in(data_dir, secret)


def test_a_failure_of_ours_shows_nothing_of_the_request(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """Even the trace that is written when the operator's own code fails."""
    (tmp_path / "failing_hook.py").write_text("def fail(user):\n    raise RuntimeError('hook')\n")
    monkeypatch.syspath_prepend(tmp_path)
    app = make_app(FOXTROT_CLAIMS_HOOK="failing_hook:fail")
    answer = log_in(app.test_client(), add_user(app, ALICE))
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert not re.search(r"hook|Runtime|Traceback", answer.get_data(as_text=True))
    assert PASSWORD not in answer.get_data(as_text=True) + "".join(capfd.readouterr())


def knock(url: str, body: dict[str, str] | None = None) -> None:
    """Send a request, and do not care for the answer."""
    request = urllib.request.Request(url, None if body is None else to_json(body))
    request.add_header("Content-Type", "application/json")
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        error.close()


def test_a_real_server_logs_nothing_that_opens_a_door(tmp_path: Path) -> None:
    """Its access log has no password, and no link: whoever reads it could use them."""
    port = free_port()
    given = {"FOXTROT_DATA_DIR": str(tmp_path), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    with serving(port=port, settings=given) as server:
        link = run("setup-link", settings=given).stdout.strip()
        knock(link)
        for path in POSTED_JSON:
            knock(f"http://localhost:{port}{path}", FIELDS_OF[path])
        server.terminate()
        output = server.stdout.read() if server.stdout else ""
    assert "/auth/login" in output
    assert "Zitronen" not in output
    assert link.partition("token=")[2] not in output
