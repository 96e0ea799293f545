"""What every answer carries: headers that keep browsers careful, and errors in one shape.

The tests walk the routes, so a new one is judged the day it is added.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import MakeApp, add_user
from tests.pages.conftest import fresh_app
from tests.support import ORIGIN, PASSWORD, access_token, bearer, claims_of, get, log_in, submit

PUBLIC = "https://login.example.com"
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
CACHEABLE = {"/.well-known/jwks.json", "/.well-known/oauth-authorization-server"}
ASKED_FOR_AGAIN = ["/foxtrot.js", "/status-lists/0", "/status-lists/machines"]
PAGES = ["/login", "/register", "/account", "/docs", "/setup?token=x", "/reset?token=x"]

Answers = dict[str, TestResponse]


def paths(app: Flask) -> list[str]:
    """A path for each rule of the URL map, and some that are none."""
    values = {
        "<path:filename>": "style.css",
        "<session_id>": "s_x",
        "<user_id>": "u_x",
        "<int:number>": "0",
    }
    rules = [re.sub("<[^>]+>", lambda name: values[name[0]], rule.rule) for rule in rules_of(app)]
    return [*rules, "/nowhere", "/auth/nowhere", "/api/nowhere", "/static/nowhere.css"]


def rules_of(app: Flask) -> list[Any]:
    return list(app.url_map.iter_rules())


def walk(app: Flask, base_url: str = ORIGIN, **headers: str) -> Answers:
    """Every answer to a stranger, by method and path."""
    client = app.test_client()
    return {
        f"{method} {path}": client.open(
            path, method=method, base_url=base_url, headers=headers, buffered=True
        )
        for path in paths(app)
        for method in METHODS
    }


@pytest.fixture(scope="module")
def answers(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    """What a stranger gets from every route on plain http."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        yield walk(app)


@pytest.fixture(scope="module")
def https_answers(
    template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Answers]:
    """What a stranger gets from every route on https."""
    with fresh_app(template_dir, tmp_path_factory, FOXTROT_PUBLIC_URL=PUBLIC) as app:
        yield walk(app, PUBLIC)


def policy_of(answer: TestResponse) -> dict[str, list[str]]:
    """The directives of a Content-Security-Policy."""
    directives = [part.split() for part in answer.headers["Content-Security-Policy"].split(";")]
    return {name: sources for name, *sources in directives}


# On every route


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ],
)
def test_every_answer_keeps_browsers_careful(answers: Answers, name: str, value: str) -> None:
    """Errors, files and empty answers too; each header once."""
    other = [where for where, answer in answers.items() if answer.headers.getlist(name) != [value]]
    assert other == []


@pytest.mark.parametrize(
    ("directive", "sources"),
    [
        ("default-src", ["'none'"]),
        ("script-src", ["'self'"]),
        ("style-src", ["'self'"]),
        ("connect-src", ["'self'"]),
        ("form-action", ["'self'"]),
        ("base-uri", ["'none'"]),
        ("object-src", ["'none'"]),
        ("frame-ancestors", ["'none'"]),
    ],
)
def test_every_answer_has_a_strict_policy(
    answers: Answers, directive: str, sources: list[str]
) -> None:
    """Nothing runs and nothing is shown but our own files, and in no frame."""
    other = [where for where, answer in answers.items() if policy_of(answer)[directive] != sources]
    assert other == []


@pytest.mark.parametrize("weakness", ["unsafe-", "*", "http:", "https:", "blob:", "strict-dynamic"])
def test_no_policy_has_a_weak_source(answers: Answers, weakness: str) -> None:
    """Inline code least of all."""
    headers = {answer.headers["Content-Security-Policy"] for answer in answers.values()}
    assert [policy for policy in headers if weakness in policy] == []


def test_scripts_come_from_no_data_url(answers: Answers) -> None:
    """`data:` is for pictures."""
    for answer in answers.values():
        allowing = {name for name, sources in policy_of(answer).items() if "data:" in sources}
        assert allowing <= {"img-src"}


def test_on_plain_http_no_answer_demands_https(answers: Answers) -> None:
    """`localhost` would be closed to everything else that runs there."""
    assert [
        w for w, answer in answers.items() if "Strict-Transport-Security" in answer.headers
    ] == []


def test_on_https_every_answer_demands_it(https_answers: Answers) -> None:
    """For a year."""
    values = {a.headers.get("Strict-Transport-Security") for a in https_answers.values()}
    assert values == {"max-age=31536000"}


def test_a_public_url_on_plain_http_does_not_demand_https(make_app: MakeApp) -> None:
    """Nobody listens there."""
    url = "http://login.example.com"
    answer = make_app(FOXTROT_PUBLIC_URL=url).test_client().get("/login", base_url=url)
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("name", ["Server", "X-Powered-By", "Via", "X-AspNet-Version"])
def test_the_app_does_not_say_what_it_is_made_of(answers: Answers, name: str) -> None:
    """What the server in front adds is its own affair."""
    assert [where for where, answer in answers.items() if name in answer.headers] == []


def test_no_answer_is_a_failure(answers: Answers, https_answers: Answers) -> None:
    """Whatever the method."""
    every = [*answers.items(), *https_answers.items()]
    assert [where for where, answer in every if answer.status_code >= 500] == []


# What may be kept


def test_nothing_is_kept_but_keys_metadata_and_files(answers: Answers) -> None:
    """Neither by the browser nor on the way."""
    for where, answer in answers.items():
        method, path = where.split(" ")
        may_be_kept = path in {*CACHEABLE, *ASKED_FOR_AGAIN} and method in ("GET", "HEAD")
        if path.startswith("/static/") or may_be_kept:
            continue
        assert answer.headers["Cache-Control"] == "no-store", where


@pytest.mark.parametrize("path", sorted(CACHEABLE))
def test_keys_and_metadata_may_be_kept_for_five_minutes(answers: Answers, path: str) -> None:
    """By everybody."""
    assert answers[f"GET {path}"].headers["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize("path", ["/static/style.css", *ASKED_FOR_AGAIN])
def test_files_are_asked_for_again_after_an_update(answers: Answers, path: str) -> None:
    """Kept, but not used unasked."""
    headers = answers[f"GET {path}"].headers
    assert headers["Cache-Control"] == "no-cache"
    assert "ETag" in headers


def test_a_file_that_is_still_the_same_is_not_sent_again(client: FlaskClient) -> None:
    """The tag is enough."""
    headers = {"If-None-Match": get(client, "/foxtrot.js", buffered=True).headers["ETag"]}
    again = get(client, "/foxtrot.js", headers=headers, buffered=True)
    assert (again.status_code, again.get_data()) == (304, b"")


def test_the_browser_client_is_a_module_for_pages_of_any_origin(client: FlaskClient) -> None:
    """Browsers load modules of other origins only with their consent."""
    answer = get(client, "/foxtrot.js", buffered=True)
    assert answer.content_type == "text/javascript; charset=utf-8"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


def test_what_is_personal_is_not_kept(client: FlaskClient, alice: str) -> None:
    """The account, a token, who one is, and a refused sign-in."""
    submit(client, "/login", email=alice, password=PASSWORD)
    kept = [
        get(client, "/account"),
        get(client, "/api/me", access_token(client, alice)),
        log_in(client, alice),
        log_in(client, alice, "wrong"),
        submit(client, "/login", email=alice, password="wrong"),
        client.post("/auth/token", json={}, headers={"Origin": ORIGIN}, base_url=ORIGIN),
    ]
    assert {answer.headers["Cache-Control"] for answer in kept} == {"no-store"}


def test_keys_carry_no_cookie(client: FlaskClient, alice: str) -> None:
    """A shared cache would hand it to everybody."""
    submit(client, "/login", email=alice, password=PASSWORD)
    for path in CACHEABLE:
        assert "Set-Cookie" not in get(client, path).headers


# Errors


def assert_is_problem(answer: TestResponse, status: int, code: str) -> None:
    """A problem document as RFC 9457 describes it."""
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert {"type", "title", "detail"} <= problem.keys()
    assert problem["detail"]


def assert_is_page(answer: TestResponse, status: int) -> None:
    """A page for a person, with a way on."""
    assert (answer.status_code, answer.content_type) == (status, "text/html; charset=utf-8")
    assert "<h1>" in answer.text
    assert 'href="/"' in answer.text


PREFIXES = ["/auth", "/api"]
ANY_ACCEPT = pytest.mark.parametrize("accept", [None, "*/*", "application/json", HTML["Accept"]])


def accepting(accept: str | None) -> dict[str, str]:
    return {} if accept is None else {"Accept": accept}


@ANY_ACCEPT
@pytest.mark.parametrize("path", ["/auth/nowhere", "/api/nowhere", "/api/", "/api/me/x"])
def test_what_is_not_there_is_a_problem_for_programs(
    client: FlaskClient, path: str, accept: str | None
) -> None:
    """Whatever they say they accept."""
    assert_is_problem(get(client, path, headers=accepting(accept)), 404, "not_found")


@pytest.mark.parametrize("path", ["/nowhere", "/login/", "/account/x", "/setup/x", "/static/x"])
def test_what_is_not_there_is_a_page_for_people(client: FlaskClient, path: str) -> None:
    """By what their browsers accept; in words for people, too."""
    page = get(client, path, headers=HTML)
    assert_is_page(page, 404)
    assert "There is nothing here" in page.text


def test_a_program_that_is_lost_among_the_pages_gets_a_problem(client: FlaskClient) -> None:
    """By what it accepts."""
    answer = get(client, "/nowhere", headers={"Accept": "application/json"})
    assert_is_problem(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/auth/login", {"POST", "OPTIONS"}),
        ("GET", "/auth/logout", {"POST", "OPTIONS"}),
        ("DELETE", "/auth/token", {"POST", "OPTIONS"}),
        ("POST", "/api/me", {"GET", "HEAD", "OPTIONS"}),
        ("GET", "/api/sessions/s_x", {"DELETE", "OPTIONS"}),
        ("POST", "/.well-known/jwks.json", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_a_problem_for_programs(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    """`Allow` names the right ones."""
    answer = client.open(path, method=method, base_url=ORIGIN, headers=HTML)
    assert_is_problem(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/logout", {"POST", "OPTIONS"}),
        ("PUT", "/login", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", "/account", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_a_page_for_people(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    """`Allow` names the right ones."""
    answer = client.open(path, method=method, base_url=ORIGIN, headers=HTML)
    assert_is_page(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_only_declared_methods_are_answered(app: Flask) -> None:
    """All others are 405 and name those that are."""
    for where, answer in walk(app).items():
        method, path = where.split(" ")
        if "nowhere" in path:
            continue
        assert (answer.status_code == 405) == ("Allow" in answer.headers and method != "OPTIONS")
        if answer.status_code != 405:
            assert method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "BREW"])
@pytest.mark.parametrize("path", ["/login", "/auth/login", "/api/me"])
def test_strange_methods_are_refused(client: FlaskClient, path: str, method: str) -> None:
    """TRACE would read cookies back to a script."""
    headers = {"Cookie": "foxtrot_session=secret"}
    answer = client.open(path, method=method, headers=headers, base_url=ORIGIN)
    assert answer.status_code == 405
    assert "secret" not in answer.text


JSON_ROUTES = ["/auth/login", "/auth/register", "/auth/password-advice", "/auth/token"]


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_a_body_that_is_too_large_is_a_problem_for_programs(client: FlaskClient, path: str) -> None:
    """64 KB are enough."""
    body = b'{"email": "' + b"a" * 70_000 + b'"}'
    answer = client.post(path, data=body, content_type="application/json", base_url=ORIGIN)
    assert_is_problem(answer, 413, "content_too_large")


@pytest.mark.parametrize("path", ["/login", "/register", "/setup", "/reset"])
@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_a_form_that_is_too_large_is_a_page_for_people(
    client: FlaskClient, path: str, content_type: str
) -> None:
    """And not a failure."""
    part = b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\n'
    body = (part if "multipart" in content_type else b"email=") + b"a" * 70_000
    headers = {"Origin": ORIGIN, "Content-Type": content_type}
    assert_is_page(client.post(path, data=body, headers=headers, base_url=ORIGIN), 413)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "text/html", "x", ""])
@pytest.mark.parametrize("path", JSON_ROUTES)
def test_what_is_not_json_is_a_problem(client: FlaskClient, path: str, content_type: str) -> None:
    """Even if it looks like it."""
    answer = client.post(path, data=b"{}", content_type=content_type, base_url=ORIGIN)
    assert_is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"{}{}", b"{'a': 1}"])
@pytest.mark.parametrize("path", JSON_ROUTES)
def test_malformed_json_is_a_problem(client: FlaskClient, path: str, body: bytes) -> None:
    """Nothing is guessed."""
    answer = client.post(path, data=body, content_type="application/json", base_url=ORIGIN)
    assert_is_problem(answer, 400, "invalid_request")


CHALLENGE = re.compile(r'Bearer realm="[ !#-\[\]-~]*"(, .+)?')
"""RFC 6750 section 3: the scheme is followed by at least one parameter."""


def test_a_refused_sign_in_is_a_problem_for_programs(client: FlaskClient, alice: str) -> None:
    """With the challenge that belongs to a 401."""
    answer = log_in(client, alice, "wrong")
    assert_is_problem(answer, 401, "invalid_credentials")
    assert CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"])


def test_no_cookie_is_a_problem_for_programs(client: FlaskClient) -> None:
    """With the challenge that belongs to a 401."""
    answer = client.post("/auth/token", json={}, headers={"Origin": ORIGIN}, base_url=ORIGIN)
    assert_is_problem(answer, 401, "session_ended")
    assert CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"])


def test_every_401_carries_a_challenge(answers: Answers) -> None:
    """RFC 9110 section 15.5.2."""
    refused = [answer for answer in answers.values() if answer.status_code == 401]
    assert refused
    assert all(CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"]) for answer in refused)


@pytest.mark.parametrize("name", ['Say "hi"', "Füchse", "狐", "🦊 \\ Fox"])
def test_any_site_name_fits_into_a_challenge(make_app: MakeApp, name: str) -> None:
    """Headers are ASCII, and a quote would end the parameter."""
    client = make_app(FOXTROT_SITE_NAME=name).test_client()
    for answer in (log_in(client, "nobody@example.com"), get(client, "/api/me")):
        assert CHALLENGE.fullmatch(answer.headers["WWW-Authenticate"])
        assert answer.headers["WWW-Authenticate"].count('"') % 2 == 0


@pytest.fixture
def broken(make_app: MakeApp) -> FlaskClient:
    """A service whose operator's hook fails: `os.getcwd` takes no argument."""
    app = make_app(FOXTROT_CLAIMS_HOOK="os:getcwd")
    add_user(app, "alice@example.com")
    return app.test_client()


def test_a_failure_is_a_problem_too(broken: FlaskClient) -> None:
    """With all the headers, like every other answer."""
    answer = log_in(broken, "alice@example.com")
    assert_is_problem(answer, 500, "internal_error")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_failure_tells_nothing_of_the_inside(broken: FlaskClient) -> None:
    """Neither trace, nor path, nor version."""
    text = log_in(broken, "alice@example.com").text
    assert not re.search(r"Traceback|TypeError|getcwd|\.py|line \d|Werkzeug|Python", text)


@pytest.mark.parametrize("path", ["/nowhere", "/api/nowhere", "/auth/login", "/logout"])
def test_an_error_tells_nothing_of_the_inside(client: FlaskClient, path: str) -> None:
    """Nor does it echo what was asked for."""
    answer = get(client, f"{path}?<script>alert(1)</script>", headers=HTML)
    assert not re.search(r"Traceback|\.py|Werkzeug|Flask|Python|alert\(1\)", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_pages_say_that_they_are_html(client: FlaskClient, path: str) -> None:
    """With their character set, so that none is guessed."""
    answer = get(client, path, headers=HTML)
    assert answer.content_type == "text/html; charset=utf-8"


def test_an_empty_answer_has_no_type(client: FlaskClient, alice: str) -> None:
    """There is nothing of which it could be the type (RFC 9110 section 8.3)."""
    token = access_token(client, alice)
    ended = client.delete(
        f"/api/sessions/{claims_of(token)['sid']}", headers=bearer(token), base_url=ORIGIN
    )
    for answer in (client.post("/auth/logout", base_url=ORIGIN), ended):
        assert answer.status_code == 204
        assert "Content-Type" not in answer.headers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("style.css", "text/css; charset=utf-8"),
        ("forms.js", "text/javascript; charset=utf-8"),
        ("logo.svg", "image/svg+xml; charset=utf-8"),
    ],
)
def test_files_have_their_types(answers: Answers, app: Flask, name: str, expected: str) -> None:
    """With `nosniff`, a browser takes no script of another type."""
    answer = app.test_client().get(f"/static/{name}", base_url=ORIGIN, buffered=True)
    assert answer.content_type == expected


@pytest.mark.parametrize(
    "path", ["../config.py", "..%2fconfig.py", "%2e%2e/config.py", "..\\config.py", "/etc/passwd"]
)
def test_files_are_served_from_their_folder_alone(client: FlaskClient, path: str) -> None:
    """However the way out is spelled."""
    url = f"/static/{path}"
    answer = client.get(url, base_url=ORIGIN, headers=HTML, follow_redirects=True)
    assert answer.status_code == 404
