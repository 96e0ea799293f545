"""Other sites' pages, and requests under other names: nobody acts in a person's name.

The matrix holds for every route that honours the cookie; a walk of the routes
makes sure that none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import accounts, links, users
from tests.conftest import MakeApp, add_user, find_user
from tests.pages.conftest import contents, fresh_app
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    claims_of,
    get,
    log_in,
    submit,
)

COOKIE = "foxtrot_session"
ALICE = "alice@example.com"
PUBLIC = "https://login.example.com"
EVIL = "http://evil.example"
HTML = {"Accept": "text/html"}

Headers = dict[str, str]


@dataclass
class Post:
    """One POST that a browser's page makes in Alice's name."""

    path: str
    form: dict[str, str] = field(default_factory=dict)
    json: dict[str, str] | None = None

    def send(self, client: FlaskClient, headers: Headers, base_url: str = ORIGIN) -> TestResponse:
        if self.json is not None:
            return client.post(self.path, json=self.json, headers=headers, base_url=base_url)
        return client.post(self.path, data=self.form, headers=headers, base_url=base_url)


CREDENTIALS = {"email": ALICE, "password": PASSWORD}

POSTS: dict[str, Callable[[Flask], Post]] = {
    "/login": lambda _: Post("/login", CREDENTIALS),
    "/register": lambda _: Post("/register", {**CREDENTIALS, "email": "new@example.com"}),
    "/logout": lambda _: Post("/logout"),
    "/setup": lambda app: Post(
        "/setup", {**CREDENTIALS, "email": "new@example.com", "token": link(app, links.SETUP)}
    ),
    "/reset": lambda app: Post(
        "/reset", {"password": "seven green lamps", "token": link(app, links.RESET)}
    ),
    "/auth/token": lambda _: Post("/auth/token", json={}),
    "/auth/logout": lambda _: Post("/auth/logout"),
    "/auth/login": lambda _: Post("/auth/login", json={**CREDENTIALS, "session": "cookie"}),
    "/account/password": lambda _: Post(
        "/account/password",
        {"current_password": PASSWORD, "new_password": "seven green lamps"},
    ),
    "/account/sessions/<session_id>/end": lambda _: Post("/account/sessions/s_other/end"),
    "/account/sessions/end-others": lambda _: Post("/account/sessions/end-others"),
    "/account/sessions/end-all": lambda _: Post("/account/sessions/end-all"),
    "/account/warning/dismiss": lambda _: Post("/account/warning/dismiss"),
}
"""Every POST that honours or sets the cookie."""

BY_SECRET = {"/oauth/token", "/oauth/introspect", "/oauth/revoke"}
"""What is asked with a secret or a token in the form, and never reads the cookie."""

BY_JSON_ALONE = {"/auth/register", "/auth/password-advice", "/auth/refresh"}
"""What neither reads nor sets the cookie, and takes nothing that a form can send."""


def link(app: Flask, purpose: str) -> str:
    """A one-time link that is good."""
    with app.app_context():
        user = find_user(app, ALICE) if purpose == links.RESET else None
        return links.make(purpose, user)


def signed_in(app: Flask, origin: str = ORIGIN) -> FlaskClient:
    """Alice's browser."""
    client = app.test_client()
    answer = client.post("/login", data=CREDENTIALS, headers={"Origin": origin}, base_url=origin)
    assert answer.status_code == 303
    return client


@pytest.fixture(params=POSTS)
def post(request: pytest.FixtureRequest, app: Flask, alice: str) -> Post:
    """Each of the requests that need an origin, ready to be sent."""
    return POSTS[request.param](app)


@pytest.fixture
def browser(app: Flask, alice: str) -> FlaskClient:
    """Alice's browser, signed in."""
    return signed_in(app)


@dataclass
class House:
    """A service that is only ever refused: one for the whole matrix."""

    browser: FlaskClient
    posts: dict[str, Post]


@pytest.fixture(scope="module")
def house(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Alice's browser, signed in, and every request ready to be sent."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        add_user(app, ALICE)
        yield House(signed_in(app), {name: make(app) for name, make in POSTS.items()})


# The matrix

OWN = [
    "http://localhost:5000",
    "http://127.0.0.1:5000",
    "http://127.8.9.1:5000",
    "http://[::1]:5000",
    "http://app.localhost:5000",
    "http://a.b.localhost:5000",
]

FOREIGN = [
    "null",
    "",
    "http://evil.example",
    "http://evil.example:5000",
    "http://localhost",
    "http://localhost:80",
    "http://localhost:5001",
    "http://localhost:50000",
    "http://127.0.0.1:8080",
    "http://[::1]",
    "https://localhost:5000",
    "ftp://localhost:5000",
    "http://localhost.evil.example:5000",
    "http://evillocalhost:5000",
    "http://127.0.0.1.evil.example:5000",
    "http://1127.0.0.1:5000",
    "http://0.0.0.0:5000",
    "http://192.168.1.5:5000",
    "http://[::2]:5000",
    "http://[2001:db8::1]:5000",
    "http://localhost:5000/",
    "http://localhost:5000 http://evil.example",
    "http://localhost:5000,http://evil.example",
    "http://localhost:5000.evil.example",
    "http://localhost:5000@evil.example",
    "localhost:5000",
    "//localhost:5000",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "*",
]


def honours_cookie(view: object) -> bool:
    """Whether a view is not guarded by an access token."""
    return getattr(view, "access", None) in ("public", "login")


def test_each_post_that_honours_the_cookie_is_in_the_matrix(app: Flask) -> None:
    """A new route has to be judged here before it is let in."""
    rules = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())]
    views = {rule.rule: app.view_functions[rule.endpoint] for rule in rules}
    by_cookie = {path for path, view in views.items() if honours_cookie(view)}
    assert by_cookie == POSTS.keys() | BY_JSON_ALONE | BY_SECRET


def test_no_other_method_changes_anything_by_the_cookie(app: Flask) -> None:
    """PUT, PATCH and DELETE are for tokens alone."""
    for rule in app.url_map.iter_rules():
        if {"PUT", "PATCH", "DELETE"} & (rule.methods or set()):
            assert not honours_cookie(app.view_functions[rule.endpoint])


@pytest.mark.parametrize("origin", OWN)
def test_our_own_pages_are_let_in(browser: FlaskClient, post: Post, origin: str) -> None:
    """While no public URL is set, by any loopback name at the port in use."""
    assert post.send(browser, {"Origin": origin}).status_code in (200, 204, 303)


@pytest.mark.parametrize("fetch_site", ["same-origin", "cross-site", "none"])
def test_our_own_origin_is_let_in_whatever_the_fetch_site(
    browser: FlaskClient, post: Post, fetch_site: str
) -> None:
    """`Origin` decides where there is one."""
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": fetch_site}
    assert post.send(browser, headers).status_code in (200, 204, 303)


def test_the_fetch_site_stands_in_for_an_absent_origin(browser: FlaskClient, post: Post) -> None:
    """Where it says `same-origin`."""
    assert post.send(browser, {"Sec-Fetch-Site": "same-origin"}).status_code in (200, 204, 303)


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize("origin", FOREIGN)
def test_other_sites_pages_are_refused(house: House, origin: str, name: str) -> None:
    """`Origin` decides, and a fetch site that contradicts it does not help."""
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert house.posts[name].send(house.browser, headers).status_code == 403


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize("site", [None, "same-site", "cross-site", "none", "", "SAME-ORIGIN", "x"])
def test_without_an_origin_nothing_but_same_origin_is_let_in(
    house: House, site: str | None, name: str
) -> None:
    """Nor is a request that says nothing at all."""
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    assert house.posts[name].send(house.browser, headers).status_code == 403


def test_a_refused_request_changes_nothing(
    browser: FlaskClient, post: Post, data_dir: Path
) -> None:
    """No row, and no cookie."""
    before = contents(data_dir)
    answer = post.send(browser, {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"})
    assert contents(data_dir) == before
    assert "Set-Cookie" not in answer.headers
    assert get(browser, "/account").status_code == 200


def test_a_refusal_says_why(browser: FlaskClient, post: Post) -> None:
    """A page for a person, a problem document for a program."""
    answer = post.send(browser, {"Origin": EVIL})
    if post.path.startswith("/auth/"):
        assert answer.get_json()["code"] == "cross_origin"
    else:
        assert "comes from another site" in answer.text


@pytest.mark.parametrize("referer", ["http://localhost:5000/login", "http://evil.example/"])
@pytest.mark.parametrize("name", POSTS)
def test_referer_does_not_stand_in_for_origin(house: House, name: str, referer: str) -> None:
    """It is left out or cut too easily."""
    assert house.posts[name].send(house.browser, {"Referer": referer}).status_code == 403


def test_signing_in_needs_an_origin_even_without_a_cookie(app: Flask, alice: str) -> None:
    """Or Mallory's page could sign Alice's browser in as Mallory."""
    client = app.test_client()
    for path in ("/login", "/auth/login"):
        assert POSTS[path](app).send(client, {"Origin": EVIL}).status_code == 403
    assert client.get_cookie(COOKIE) is None


def test_a_refused_cookie_login_checks_no_password(app: Flask, alice: str) -> None:
    """The answer tells a foreign page nothing about a guess."""
    body = {"email": ALICE, "session": "cookie"}
    answers = [
        Post("/auth/login", json={**body, "password": password}).send(
            app.test_client(), {"Origin": EVIL}
        )
        for password in (PASSWORD, "wrong")
    ]
    assert answers[0].data == answers[1].data


# What forms of other sites can send


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
@pytest.mark.parametrize("path", ["/auth/login", "/auth/register", "/auth/token"])
def test_json_routes_take_nothing_that_a_form_can_send(
    client: FlaskClient, path: str, content_type: str
) -> None:
    """A browser asks leave first before it sends JSON across sites."""
    body = '{"email": "eve@example.com", "password": "correct horse battery staple"}'
    answer = client.post(path, data=body, content_type=content_type, base_url=ORIGIN)
    assert answer.status_code == 415


@pytest.mark.parametrize("path", ["/logout", "/auth/logout"])
def test_another_site_cannot_take_the_cookie_away(app: Flask, path: str) -> None:
    """Its form travels without the Lax cookie, but what is answered would clear it."""
    headers = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
    answer = app.test_client().post(path, headers=headers, base_url=ORIGIN)
    assert "Set-Cookie" not in answer.headers


def test_logging_out_by_json_ends_the_session(app: Flask, browser: FlaskClient) -> None:
    """At once, and the second time it is harmless."""
    secret = browser.get_cookie(COOKIE)
    assert secret is not None
    headers = {"Origin": ORIGIN}
    assert browser.post("/auth/logout", headers=headers, base_url=ORIGIN).status_code == 204
    assert browser.post("/auth/logout", headers=headers, base_url=ORIGIN).status_code == 204
    browser.set_cookie(COOKIE, secret.value)
    assert get(browser, "/account").status_code == 303


def test_logging_out_leaves_no_way_to_a_token(app: Flask, browser: FlaskClient) -> None:
    """Neither by the cookie, nor by a token from before."""
    answer = POSTS["/auth/token"](app).send(browser, {"Origin": ORIGIN})
    token = answer.get_json()["access_token"]
    submit(browser, "/logout")
    assert POSTS["/auth/token"](app).send(browser, {"Origin": ORIGIN}).status_code == 401
    assert get(browser, "/api/me", token).status_code == 401


def test_the_api_does_not_honour_the_cookie(browser: FlaskClient) -> None:
    """It asks for a token, and so needs no protection from other sites' forms."""
    assert get(browser, "/api/me").status_code == 401
    answer = browser.delete("/api/sessions/x", headers={"Origin": EVIL}, base_url=ORIGIN)
    assert answer.status_code == 401


def test_no_answer_lets_another_site_read_it(app: Flask, browser: FlaskClient) -> None:
    """Nothing is shared with credentials, and no origin is echoed."""
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<session_id>", "x").replace("<path:filename>", "style.css")
        for method in ("GET", "POST", "OPTIONS"):
            headers = {"Origin": EVIL}
            answer = browser.open(
                path, method=method, headers=headers, base_url=ORIGIN, buffered=True
            )
            assert "Access-Control-Allow-Credentials" not in answer.headers
            assert answer.headers.get("Access-Control-Allow-Origin") != EVIL


@pytest.mark.parametrize("path", ["/auth/login", "/auth/token", "/auth/register", "/login"])
def test_a_foreign_preflight_is_given_no_leave(client: FlaskClient, path: str) -> None:
    """So that a browser does not send the request."""
    asked = {
        "Origin": EVIL,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = client.options(path, headers=asked, base_url=ORIGIN)
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control-")]


# Under other names, while no public URL is set

STRANGE_HOSTS = [
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "localhost.evil.example:5000",
    "evillocalhost",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io:5000",
    "1127.0.0.1",
    "0.0.0.0",
    "0.0.0.0:5000",
    "192.168.1.5:5000",
    "10.0.0.1",
    "169.254.169.254",
    "[::]:5000",
    "[2001:db8::1]:5000",
    "login.example.com",
    "localhost@evil.example",
    "localhost:5000@evil.example",
    "evil.example#localhost",
    "evil.example/localhost",
    "evil.example?localhost",
    "localhost evil.example",
    "2130706433",
    "0x7f.1",
    "xn--lcalhost-54a",
    "",
]

LOOPBACK_HOSTS = [
    "localhost:5000",
    "LocalHost:5000",
    "127.0.0.1:5000",
    "127.1.2.3:5000",
    "[::1]:5000",
    "app.localhost:5000",
]


@pytest.fixture(scope="module")
def passer_by(
    template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FlaskClient]:
    """Somebody who only looks, at one service for all names."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        yield app.test_client()


def ask(client: FlaskClient, path: str, host: str, **headers: str) -> TestResponse:
    """GET under a name of the asker's choice, at the port in use."""
    named = {"Host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.get(path, headers=named, base_url=ORIGIN)


@pytest.mark.parametrize("host", LOOPBACK_HOSTS)
def test_this_machine_is_served_at_any_loopback_name(passer_by: FlaskClient, host: str) -> None:
    """Nothing has to be set to try the service."""
    assert ask(passer_by, "/login", host).status_code == 200


@pytest.mark.parametrize("host", STRANGE_HOSTS)
def test_other_names_are_refused(passer_by: FlaskClient, host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now leads to this machine."""
    answer = ask(passer_by, "/login", host)
    assert answer.status_code == 421
    assert "FOXTROT_PUBLIC_URL" in answer.text


def test_other_names_are_refused_on_every_route(app: Flask, client: FlaskClient) -> None:
    """Also where nothing is found."""
    paths = [rule.rule.replace("<path:filename>", "style.css") for rule in app.url_map.iter_rules()]
    for path in [*paths, "/nowhere", "/api/nowhere"]:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            answer = client.open(path, method=method, base_url="http://evil.example:5000")
            assert answer.status_code == 421, (method, path)


def test_a_program_under_another_name_gets_a_problem_document(client: FlaskClient) -> None:
    """With the code that says what is wrong, and the setting that mends it."""
    problem = ask(client, "/api/me", "evil.example").get_json()
    assert problem["code"] == "misdirected_request"
    assert "FOXTROT_PUBLIC_URL" in problem["detail"]


def test_the_page_of_the_api_is_refused_in_the_language_of_the_asker(client: FlaskClient) -> None:
    """A page for a browser, a problem document for a program."""
    for_people = ask(client, "/docs", "evil.example", Accept="text/html,*/*;q=0.8")
    for_programs = ask(client, "/docs", "evil.example", Accept="*/*")
    assert for_people.status_code == for_programs.status_code == 421
    assert for_people.mimetype == "text/html"
    assert for_programs.mimetype == "application/problem+json"


def test_a_rebound_name_gets_no_cookie(app: Flask, alice: str) -> None:
    """Nor a word about the password."""
    client, base = app.test_client(), "http://evil.example:5000"
    for post in (POSTS["/login"](app), POSTS["/auth/login"](app)):
        answer = post.send(client, {"Origin": base}, base_url=base)
        assert answer.status_code == 421
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host", "X-Host", "X-Original-Host", "X-Forwarded-Server", "Forwarded"]
)
def test_forwarded_names_count_for_nothing(client: FlaskClient, header: str) -> None:
    """Neither to get in, nor to be kept out."""
    inner = {"Forwarded": "host=localhost:5000"}.get(header, "localhost:5000")
    outer = {"Forwarded": "host=evil.example"}.get(header, "evil.example")
    assert ask(client, "/login", "evil.example", **{header: inner}).status_code == 421
    assert ask(client, "/login", "localhost:5000", **{header: outer}).status_code == 200


def test_another_port_than_the_tokens_name_is_refused(client: FlaskClient) -> None:
    """The issuer would be a URL at which nobody answers."""
    answer = client.get("/login", base_url="http://localhost:8000")
    assert answer.status_code == 421
    assert "FOXTROT_PUBLIC_URL" in answer.text


@pytest.mark.parametrize(
    "host", ["localhost:8000", "localhost", "localhost:", "127.0.0.1:80", "[::1]:5001", "[::1]"]
)
def test_a_request_for_another_port_is_told_where_to_go(passer_by: FlaskClient, host: str) -> None:
    """As through a forwarded port: a form sent from there would seem to come from another site."""
    answer = ask(passer_by, "/login", host)
    assert answer.status_code == 421
    assert f"{ORIGIN}, not at another port" in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "localhost:", "127.0.0.1"])
def test_a_missing_port_means_80(app: Flask, host: str) -> None:
    """As browsers write it (RFC 9110 section 4.2.1)."""
    app.config["ISSUER"] = "http://localhost:80"  # as of `flask run --port 80`
    headers, base_url = {"Host": host}, "http://localhost"
    answer = app.test_client().get("/login", headers=headers, base_url=base_url)
    assert answer.status_code == 200


# Under other names, with a public URL

NAMES_OF_THE_ATTACKER: list[Headers] = [
    {"Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example"},
    {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "81"},
    {"X-Forwarded-Prefix": "//evil.example"},
    {"Forwarded": "host=evil.example;proto=http"},
    {"X-Host": "evil.example", "X-Original-URL": "http://evil.example/"},
    {"Origin": "http://evil.example"},
    {"Referer": "http://evil.example/"},
]


@pytest.fixture(scope="module")
def public(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The service as it runs in public; Alice has an account."""
    settings = {"FOXTROT_PUBLIC_URL": PUBLIC, "FOXTROT_REGISTRATION": "open"}
    with fresh_app(template_dir, tmp_path_factory, **settings) as app:
        add_user(app, ALICE)
        yield app


@pytest.fixture(params=NAMES_OF_THE_ATTACKER, ids=str)
def named(request: pytest.FixtureRequest) -> Headers:
    """Headers by which an attacker would like to name this service."""
    headers: Headers = request.param
    return headers


def test_the_issuer_comes_from_the_settings(public: Flask, named: Headers) -> None:
    """So does every URL of the metadata."""
    path = "/.well-known/oauth-authorization-server"
    body = public.test_client().get(path, headers=named, base_url=PUBLIC).get_json()
    assert body["issuer"] == PUBLIC
    assert all(
        body[name].startswith(f"{PUBLIC}/") for name in ("jwks_uri", "service_documentation")
    )


def test_a_token_names_the_issuer_of_the_settings(public: Flask, named: Headers) -> None:
    """Or a service could be led to an attacker's keys."""
    answer = public.test_client().post(
        "/auth/login", json=CREDENTIALS, headers=named, base_url=PUBLIC
    )
    claims = claims_of(answer.get_json()["access_token"])
    assert claims["iss"] == PUBLIC
    assert PUBLIC in claims["aud"]


def test_redirects_name_no_host(public: Flask, named: Headers) -> None:
    """A path alone leads nowhere else."""
    client = public.test_client()
    for path in ("/", "/account"):
        answer = client.get(path, headers=named, base_url=PUBLIC)
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/login")


@pytest.mark.parametrize("path", ["/api//me", "/static//style.css", "/.well-known//jwks.json"])
def test_a_surplus_slash_does_not_lead_to_the_host_named(public: Flask, path: str) -> None:
    """The router mends paths by a redirect of its own, which names a host."""
    base = "http://evil.example"
    location = public.test_client().get(path, base_url=base).headers.get("Location", "")
    assert "evil.example" not in location


def test_pages_and_documents_name_no_foreign_host(public: Flask, named: Headers) -> None:
    """Whatever the request says."""
    client = signed_in(public, PUBLIC)
    for path in ("/login", "/register", "/account", "/docs", "/openapi.json", "/nowhere"):
        assert "evil" not in client.get(path, headers=named, base_url=PUBLIC).text


@pytest.mark.parametrize(
    "make",
    [accounts.setup_url, lambda: accounts.reset_url(alice_herself(), SOMEWHERE)],
    ids=["setup", "reset"],
)
def test_links_come_from_the_settings(
    public: Flask, named: Headers, make: Callable[[], str]
) -> None:
    """Also when a request is being answered while they are made."""
    with public.test_request_context("/", headers=named, base_url=PUBLIC):
        assert make().startswith(f"{PUBLIC}/")


def alice_herself() -> users.User:
    user = users.by_email(ALICE)
    assert user is not None
    return user


PUBLIC_FOREIGN = [
    "null",
    "http://login.example.com",
    "https://login.example.com:443",
    "https://login.example.com:8443",
    "https://login.example.com.evil.example",
    "https://evil-login.example.com",
    "https://app.login.example.com",
    "https://example.com",
    "https://login.example.com/",
    "https://login.example.com@evil.example",
    "http://localhost:5000",
    "http://127.0.0.1",
    "https://localhost",
    "https://evil.example",
]


@pytest.mark.parametrize("name", POSTS)
def test_with_a_public_url_that_origin_is_let_in(make_app: MakeApp, name: str) -> None:
    """It is where people reach this service."""
    app = make_app(FOXTROT_PUBLIC_URL=PUBLIC, FOXTROT_REGISTRATION="open")
    add_user(app, ALICE)
    post = POSTS[name](app)
    assert post.send(signed_in(app, PUBLIC), {"Origin": PUBLIC}, PUBLIC).status_code in (
        200,
        204,
        303,
    )


@pytest.mark.parametrize("origin", PUBLIC_FOREIGN)
def test_with_a_public_url_no_other_origin_is_let_in(public: Flask, origin: str) -> None:
    """Not even this machine's, nor a neighbour's below the same domain."""
    client = signed_in(public, PUBLIC)
    for make in POSTS.values():
        answer = make(public).send(client, {"Origin": origin}, PUBLIC)
        assert answer.status_code == 403, answer.request.path


def test_origin_is_compared_with_the_settings_not_with_host(public: Flask) -> None:
    """A rebound name has both headers agree."""
    base = "https://evil.example"
    for make in POSTS.values():
        client = public.test_client()
        client.set_cookie(f"__Host-{COOKIE}", "x", domain="evil.example", secure=True)
        assert make(public).send(client, {"Origin": base}, base).status_code == 403


def test_a_proxy_that_rewrites_host_changes_nothing(public: Flask) -> None:
    """The public URL counts, whatever name the proxy uses inside."""
    inside = "http://10.0.0.7:8000"
    answer = POSTS["/login"](public).send(public.test_client(), {"Origin": PUBLIC}, inside)
    assert answer.status_code == 303
    assert answer.headers["Set-Cookie"].startswith(f"__Host-{COOKIE}=")


# Where a request comes from does not matter to programs


def test_programs_log_in_without_an_origin(client: FlaskClient, alice: str) -> None:
    """What sets no cookie needs no protection from other sites."""
    assert log_in(client, alice).status_code == 200


def test_a_token_works_from_wherever_it_is_sent(client: FlaskClient, alice: str) -> None:
    """No page can make a browser send it unasked."""
    headers = {**bearer(access_token(client, alice)), "Origin": EVIL}
    assert client.get("/api/me", headers=headers, base_url=ORIGIN).status_code == 200
