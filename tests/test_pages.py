"""The pages: signing in and out, registering, the first administrator, a new password.

Each test talks HTTP as a browser without JavaScript does, and reads the HTML
that comes back.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from threading import Barrier
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, links, login, sessions, users
from app.errors import NotFound
from tests.conftest import MakeApp, add_user, dispose, find_user
from tests.support import ORIGIN, PASSWORD, cheap_settings, get, log_in, submit

COOKIE = "foxtrot_session"
PUBLIC = "https://login.example.com"
NEW_PASSWORD = "seven green lamps above the harbour"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOSTILE = "<b>x</b>\"'><script>alert(1)</script>@example.com"

VOID = {"input", "link", "meta", "br", "img"}
Attributes = dict[str, str | None]
Element = tuple[str, Attributes]


class Page(HTMLParser):
    """The elements of an HTML page, and the text inside each `<title>` and `<h1>`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style") and data.strip():
            self.inline.append(data)

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def field(self, name: str) -> Attributes:
        return next(field for field in self.all("input") if field.get("name") == name)


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD, **more: str) -> TestResponse:
    """Send the sign-in form."""
    return submit(client, "/login", email=email, password=password, **more)


def cookie(client: FlaskClient) -> str:
    """The session secret that the browser holds."""
    held = client.get_cookie(COOKIE)
    assert held is not None
    return held.value


def is_signed_in(app: Flask, secret: str) -> bool:
    """Whether a browser with this cookie, and nothing else, sees the account page."""
    client = app.test_client()
    client.set_cookie(COOKIE, secret)
    return get(client, "/account").status_code == 200


def setup_secret(app: Flask, now: datetime | None = None) -> str:
    """A link for the first administrator."""
    with app.app_context():
        return links.make(links.SETUP, now=now)


def reset_secret(app: Flask, email: str, now: datetime | None = None) -> str:
    """A link by which a user chooses a new password."""
    with app.app_context():
        return links.make(links.RESET, find_user(app, email), now)


def set_up(client: FlaskClient, token: str, email: str = "alice@example.com") -> TestResponse:
    """Send the form that makes the first administrator."""
    return submit(client, "/setup", token=token, email=email, password=PASSWORD)


def lead_to(answer: TestResponse) -> str:
    """Where a redirect leads, which must be by GET."""
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return str(answer.headers["Location"])


@contextmanager
def fresh_app(
    template_dir: Path, folders: pytest.TempPathFactory, **settings: str
) -> Iterator[Flask]:
    """An app for many tests that only look; with a folder of its own."""
    folder = shutil.copytree(template_dir, folders.mktemp("shared") / "data")
    app = create_app({**cheap_settings(folder), **settings})
    yield app
    dispose(app)


# The way in


def test_the_start_leads_a_stranger_to_the_sign_in_page(client: FlaskClient) -> None:
    """The root has no page of its own."""
    assert lead_to(get(client, "/")) == "/login"


def test_the_start_leads_somebody_signed_in_to_their_account(
    client: FlaskClient, alice: str
) -> None:
    """Nobody who is signed in is asked to sign in."""
    sign_in(client, alice)
    assert lead_to(get(client, "/")) == "/account"


def test_the_right_password_leads_to_the_account(client: FlaskClient, alice: str) -> None:
    """The account page says who is signed in."""
    assert lead_to(sign_in(client, alice)) == "/account"
    assert alice in get(client, "/account").text


def test_the_sign_in_page_leads_on_who_is_signed_in(client: FlaskClient, alice: str) -> None:
    """The form is not shown a second time."""
    sign_in(client, alice)
    assert lead_to(get(client, "/login")) == "/account"
    assert lead_to(get(client, "/login?next=/docs")) == "/docs"


def test_the_account_page_leads_a_stranger_to_the_sign_in_page(client: FlaskClient) -> None:
    """And the way back is kept in `next`."""
    location = urlsplit(lead_to(get(client, "/account?tab=1")))
    assert location.path == "/login"
    assert parse_qs(location.query) == {"next": ["/account?tab=1"]}


def test_next_survives_a_wrong_password(client: FlaskClient, alice: str) -> None:
    """The form that is shown again still knows where to go."""
    answer = sign_in(client, alice, "wrong", next="/docs")
    assert Page(answer.text).field("next")["value"] == "/docs"


def test_next_goes_along_from_the_sign_in_page_to_the_registration(client: FlaskClient) -> None:
    """Who came for something gets it after making an account, too."""
    hrefs = [link.get("href") for link in Page(get(client, "/login?next=/docs").text).all("a")]
    assert "/register?next=/docs" in hrefs


# A refused sign-in


def test_a_wrong_password_shows_the_form_again(client: FlaskClient, alice: str) -> None:
    """With status 401, and an alert that says so."""
    answer = sign_in(client, alice, "wrong")
    assert answer.status_code == 401
    assert {"class": "refusal", "role": "alert"} in Page(answer.text).all("div")


def test_a_refused_sign_in_keeps_the_typed_address(client: FlaskClient, alice: str) -> None:
    """Only the password has to be typed again."""
    page = Page(sign_in(client, alice, "wrong").text)
    assert page.field("email")["value"] == alice
    assert "value" not in page.field("password")


def test_a_refused_sign_in_never_echoes_the_password(client: FlaskClient, alice: str) -> None:
    """It would end up in caches and logs."""
    assert "wr0ng-password-here" not in sign_in(client, alice, "wr0ng-password-here").text


def test_a_refused_sign_in_names_the_scheme_of_the_api(client: FlaskClient, alice: str) -> None:
    """Every 401 carries a challenge (RFC 9110 section 15.5.2) with a realm (RFC 6750 section 3)."""
    challenge = sign_in(client, alice, "wrong").headers.get("WWW-Authenticate", "")
    assert re.match(r'Bearer realm="[^"]+"', challenge)


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_hostile_address_is_escaped(client: FlaskClient, path: str) -> None:
    """What was typed comes back as text, whatever it is."""
    answer = submit(client, path, email=HOSTILE, password="wrong")
    assert Page(answer.text).field("email")["value"] == HOSTILE
    assert "<script>alert" not in answer.text
    assert "<b>x" not in answer.text


def test_a_hostile_next_is_escaped(client: FlaskClient) -> None:
    """A path may have quotes in it; the page keeps them inside the attribute."""
    target = "/docs?q=\"'><script>alert(1)</script>"
    answer = get(client, f"/login?next={quote(target)}")
    assert Page(answer.text).field("next")["value"] == target
    assert "<script>alert" not in answer.text


def test_a_hostile_site_name_is_escaped(make_app: MakeApp) -> None:
    """The operator's text is text, too."""
    client = make_app(FOXTROT_SITE_NAME="<i>R&D</i>").test_client()
    assert "<i>" not in get(client, "/login").text


@pytest.fixture
def disabled(app: Flask) -> str:
    """Carol's address; her account is disabled."""
    with app.app_context():
        users.disable(users.create("carol@example.com", PASSWORD))
    return "carol@example.com"


def refused(app: Flask, email: str, password: str) -> tuple[int, str, list[tuple[str, str]]]:
    """What a refusal consists of: status, page without the echoed address, headers."""
    answer = sign_in(app.test_client(), email, password)
    return answer.status_code, answer.text.replace(email, "EMAIL"), answer.headers.to_wsgi_list()


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("nobod@example.com", PASSWORD),
        ("carol@example.com", PASSWORD),
        ("carol@example.com", "wrong"),
        ("nobod@example.com", ""),
        ("nobod@example.com", "abc\0def"),
    ],
    ids=["unknown", "disabled", "disabled, wrong", "unknown, empty", "unknown, NUL"],
)
def test_refused_sign_ins_look_alike(
    app: Flask, alice: str, disabled: str, email: str, password: str
) -> None:
    """Nobody learns from status, page or headers which addresses have an account."""
    assert refused(app, email, password) == refused(app, alice, "wrong")


# Signing out


def test_signing_out_leads_to_the_sign_in_page(client: FlaskClient, alice: str) -> None:
    """And the account is closed to this browser."""
    sign_in(client, alice)
    assert lead_to(submit(client, "/logout")) == "/login"
    assert lead_to(get(client, "/account")).startswith("/login")


def test_signing_out_takes_the_cookie_away(client: FlaskClient, alice: str) -> None:
    """With the attributes it was set with, or a browser would keep it."""
    sign_in(client, alice)
    header = submit(client, "/logout").headers["Set-Cookie"]
    assert client.get_cookie(COOKIE) is None
    assert {"HttpOnly", "Path=/", "SameSite=Lax", "Max-Age=0"} <= set(header.split("; "))


def test_signing_out_twice_is_harmless(client: FlaskClient, alice: str) -> None:
    """The second tab's button works as well."""
    sign_in(client, alice)
    submit(client, "/logout")
    assert lead_to(submit(client, "/logout")) == "/login"


def test_signing_out_needs_a_post(client: FlaskClient, alice: str) -> None:
    """A link or an image cannot sign anybody out."""
    sign_in(client, alice)
    answer = get(client, "/logout", headers={"Accept": "text/html"})
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert get(client, "/account").status_code == 200


# The identifier of the session


def test_each_sign_in_gives_another_identifier(app: Flask, alice: str) -> None:
    """Nothing is derived from the user."""
    clients = [app.test_client(), app.test_client()]
    for client in clients:
        sign_in(client, alice)
    assert len({cookie(client) for client in clients}) == 2


def test_signing_in_ends_the_session_before_it(app: Flask, alice: str, bob: str) -> None:
    """The identifier changes, and the old one opens nothing."""
    client = app.test_client()
    sign_in(client, alice)
    before = cookie(client)
    sign_in(client, bob)
    assert cookie(client) != before
    assert not is_signed_in(app, before)
    assert is_signed_in(app, cookie(client))


def test_an_identifier_that_was_planted_is_not_adopted(app: Flask, alice: str) -> None:
    """Session fixation: Mallory knows a cookie that Alice's browser sends."""
    client = app.test_client()
    client.set_cookie(COOKIE, "chosen-by-mallory")
    sign_in(client, alice)
    assert cookie(client) != "chosen-by-mallory"
    assert not is_signed_in(app, "chosen-by-mallory")


def test_the_identifier_is_dead_after_signing_out(app: Flask, alice: str) -> None:
    """Who kept the cookie has nothing."""
    client = app.test_client()
    sign_in(client, alice)
    kept = cookie(client)
    submit(client, "/logout")
    assert not is_signed_in(app, kept)


def test_signing_out_leaves_other_browsers_signed_in(app: Flask, alice: str) -> None:
    """Each sign-in is a session of its own."""
    laptop, phone = app.test_client(), app.test_client()
    sign_in(laptop, alice)
    sign_in(phone, alice)
    submit(phone, "/logout")
    assert get(laptop, "/account").status_code == 200


def test_a_wrong_password_leaves_the_session_as_it_was(client: FlaskClient, alice: str) -> None:
    """Nobody is signed out by a slip."""
    sign_in(client, alice)
    sign_in(client, alice, "wrong")
    assert get(client, "/account").status_code == 200


def test_disabling_a_user_closes_the_account_page_at_once(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """The cookie is looked up with each request."""
    sign_in(client, alice)
    with app.app_context():
        users.disable(find_user(app, alice))
    assert get(client, "/account").status_code == 303


@pytest.mark.parametrize("value", ["x", "é", "a" * 5000, "%00", '"', "a b"])
def test_a_senseless_cookie_is_no_session(client: FlaskClient, value: str) -> None:
    """Nor is it an error."""
    answer = client.get("/account", headers={"Cookie": f"{COOKIE}={value}"}, base_url=ORIGIN)
    assert answer.status_code == 303


# The cookie


@pytest.fixture
def on_https(make_app: MakeApp) -> Flask:
    """The service as it runs in public."""
    return make_app(FOXTROT_PUBLIC_URL=PUBLIC)


def set_cookies(app: Flask, origin: str) -> list[str]:
    """All `Set-Cookie` headers of signing in, making an account and signing out."""
    email = add_user(app, "dave@example.com")
    client = app.test_client()
    fields = {"email": email, "password": PASSWORD}
    answers = [
        client.post(path, data=fields, headers={"Origin": origin}, base_url=origin)
        for path in ("/login", "/logout")
    ]
    return [header for answer in answers for header in answer.headers.getlist("Set-Cookie")]


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(app: Flask) -> None:
    """`HttpOnly` and `SameSite=Lax`, for the whole site and for no other host."""
    for header in set_cookies(app, ORIGIN):
        name, *attributes = header.split("; ")
        assert name.startswith(f"{COOKIE}=")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert "Domain" not in header


def test_on_plain_http_the_cookie_is_not_secure(app: Flask) -> None:
    """A browser would drop it on `http://localhost`, and nobody could sign in."""
    for header in set_cookies(app, ORIGIN):
        assert "Secure" not in header.split("; ")
        assert not header.startswith("__")


def test_on_https_the_cookie_is_bound_to_the_host(on_https: Flask) -> None:
    """`__Host-` demands Secure, the path `/` and no domain; also when it is taken away."""
    headers = set_cookies(on_https, PUBLIC)
    assert len(headers) == 2
    for header in headers:
        name, *attributes = header.split("; ")
        assert name.startswith(f"__Host-{COOKIE}=")
        assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert "Domain" not in header


def test_on_https_the_account_opens_by_that_cookie(on_https: Flask) -> None:
    """The cookie that is set is the one that is read."""
    client = on_https.test_client()
    fields = {"email": add_user(on_https, "alice@example.com"), "password": PASSWORD}
    client.post("/login", data=fields, headers={"Origin": PUBLIC}, base_url=PUBLIC)
    assert client.get("/account", base_url=PUBLIC).status_code == 200


def test_on_https_a_cookie_without_the_prefix_is_ignored(on_https: Flask) -> None:
    """A neighbour's site could have planted it."""
    client = on_https.test_client()
    with on_https.app_context():
        user = users.create("alice@example.com", PASSWORD)
        _, secret = sessions.start(user, sessions.Client("", ""), with_secret=True)
    header = {"Cookie": f"{COOKIE}={secret}"}
    assert client.get("/account", headers=header, base_url=PUBLIC).status_code == 303


def test_the_cookie_is_small(app: Flask) -> None:
    """Browsers drop cookies over 4 KB."""
    assert max(map(len, set_cookies(app, ORIGIN))) < 4096


def test_the_cookie_says_nothing(client: FlaskClient, alice: str) -> None:
    """256 random bits: nothing of the user can be read from it."""
    sign_in(client, alice)
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", cookie(client))


def test_there_is_one_cookie_and_strangers_get_none(client: FlaskClient) -> None:
    """Looking around leaves no trace in the browser."""
    for path in ("/", "/login", "/register", "/account", "/docs"):
        assert "Set-Cookie" not in get(client, path).headers


# Where to go next

OWN = [
    "/",
    "/docs",
    "/account",
    "/account?tab=keys",
    "/account#sessions",
    "/a/b/c",
    "/a//b",
    "/search?q=https://example.com/",
    "/caf%C3%A9",
    "/café",
    "/a%20b",
    "/@alice",
    "/a:b",
    "/.well-known/jwks.json",
    "/" + "a" * 1000,
]

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "//evil.example/account",
    "//evil.example:5000/",
    "//localhost@evil.example",
    "//localhost:5000@evil.example/",
    "//[::1]",
    "//",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\evil.example",
    "/\\/evil.example",
    "\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\r\n/evil.example",
    "/\t\\evil.example",
    "\t//evil.example",
    "\n//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "\x0b//evil.example",
    "\x1f//evil.example",
    "/\x00/evil.example",
    "/ /evil.example",
    "/account\r\nLocation: https://evil.example",
    "/account\nSet-Cookie: foxtrot_session=mallory",
    "http://evil.example",
    "https://evil.example/account",
    "HTTPS://EVIL.EXAMPLE",
    "http:evil.example",
    "http:/evil.example",
    "https:evil.example",
    "http:\\\\evil.example",
    "http://localhost:5000@evil.example",
    "http://localhost:5000.evil.example/",
    "h\nttp://evil.example",
    "javascript:alert(1)",
    "JavaScript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:http://evil.example/x",
    "ftp://evil.example",
    "mailto:mallory@evil.example",
    "evil.example",
    "evil.example/account",
    "account",
    "../account",
    "?next=//evil.example",
    "#//evil.example",
    "@evil.example",
    ":80",
    "\u2215\u2215evil.example",
    "\uff0f\uff0fevil.example",
    "\uff3c\uff3cevil.example",
    "\u3000//evil.example",
    "\ufeff//evil.example",
    "/" + "a" * 5000,
    "//" + "a" * 5000,
]
"""What must lead to the default: other sites, other schemes, and what is no path at all."""

OWN_THOUGH_STRANGE = [
    "/..//evil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%2f/evil.example",
    "/%2fevil.example",
    "/%5cevil.example",
    "/%5c%5cevil.example",
    "/\uff0fevil.example",
    "/\u2215evil.example",
    "/\u2028/evil.example",
    "/\x85/evil.example",
    "/\xa0/evil.example",
    "/\u200b/evil.example",
    "/\u202e/evil.example",
    "/;@evil.example",
    "/?//evil.example",
    "/#//evil.example",
    "/x:y@evil.example/",
    "/https://evil.example",
]
"""Odd paths that a browser keeps on this site."""


def as_a_browser(location: str) -> str:
    """The origin to which a browser goes from here (WHATWG URL, as far as it matters).

    It drops white space around and tabs and line breaks within, takes a
    backslash for a slash, and forgives missing or surplus slashes after `http:`.
    """
    text = re.sub(r"[\t\r\n]", "", location.strip("".join(map(chr, range(33)))))
    text = text.replace("\\", "/")
    text = re.sub(r"(?i)^(https?):/*", r"\1://", text)
    text = re.sub(r"^//+", "//", text)
    parts = urlsplit(urljoin(f"{ORIGIN}/login", text))
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(scope="module")
def crossroads(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One service for the whole table of targets; Alice has an account."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        add_user(app, "alice@example.com")
        yield app


@pytest.fixture
def traveller(crossroads: Flask) -> FlaskClient:
    """A browser that knows nothing from before."""
    return crossroads.test_client()


def after_signing_in(client: FlaskClient, target: str) -> str:
    """Where Alice is led by the form."""
    return lead_to(sign_in(client, "alice@example.com", next=target))


@pytest.mark.parametrize("target", OWN)
def test_next_leads_to_a_page_of_our_own(traveller: FlaskClient, target: str) -> None:
    """Whoever was sent to sign in gets where they wanted to go."""
    location = after_signing_in(traveller, target)
    assert location == quote(target, safe="/?#%:@=&")


@pytest.mark.parametrize("target", ELSEWHERE)
def test_next_never_leads_elsewhere(traveller: FlaskClient, target: str) -> None:
    """Neither after the form nor for somebody who is signed in already."""
    assert after_signing_in(traveller, target) == "/account"
    assert lead_to(get(traveller, f"/login?{urlencode({'next': target})}")) == "/account"


@pytest.mark.parametrize("target", OWN_THOUGH_STRANGE)
def test_a_strange_next_stays_on_this_site(traveller: FlaskClient, target: str) -> None:
    """Whether it is followed or not."""
    location = after_signing_in(traveller, target)
    assert as_a_browser(location) == ORIGIN
    assert location.startswith("/")
    assert location[1:2] not in ("/", "\\")


@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_form_does_not_carry_a_next_to_elsewhere(traveller: FlaskClient, target: str) -> None:
    """What is refused does not even reach the page."""
    page = Page(get(traveller, f"/login?{urlencode({'next': target})}").text)
    assert [field for field in page.all("input") if field["name"] == "next"] == []
    assert all("next=" not in (link.get("href") or "") for link in page.all("a"))


def test_next_counts_after_a_registration(client: FlaskClient) -> None:
    """By the same rule as after a sign-in."""
    fields = {"email": "dave@example.com", "password": PASSWORD}
    assert lead_to(submit(client, "/register", next="/docs", **fields)) == "/docs"


def test_next_to_elsewhere_does_not_count_after_a_registration(client: FlaskClient) -> None:
    """By the same rule as after a sign-in."""
    fields = {"email": "dave@example.com", "password": PASSWORD}
    location = lead_to(submit(client, "/register", next="//evil.example", **fields))
    assert location == "/account"


def test_the_judge_of_these_tests_knows_what_browsers_do() -> None:
    """A table of evil values proves nothing to a judge who is fooled by them."""
    assert {as_a_browser(f"{start}evil.example") for start in ("//", "/\\", "/\t/", "https:")} == {
        "http://evil.example",
        "https://evil.example",
    }


# Registering


def test_who_registers_is_signed_in(client: FlaskClient) -> None:
    """And lands on the account page."""
    answer = submit(client, "/register", email="dave@example.com", password=PASSWORD)
    assert lead_to(answer) == "/account"
    assert "dave@example.com" in get(client, "/account").text


def test_a_taken_address_is_a_conflict(client: FlaskClient, alice: str) -> None:
    """The form is shown again, with the address in it."""
    answer = submit(client, "/register", email=alice, password=NEW_PASSWORD)
    assert answer.status_code == 409
    assert Page(answer.text).field("email")["value"] == alice


@pytest.mark.parametrize(
    ("email", "password", "field"),
    [
        ("no address", PASSWORD, "email"),
        ("", PASSWORD, "email"),
        ("a\0b@example.com", PASSWORD, "email"),
        ("a@example.com\r\nBcc: b@example.com", PASSWORD, "email"),
        ("dave@example.com", "short", "password"),
        ("dave@example.com", "", "password"),
        ("dave@example.com", "passwordpassword", "password"),
        ("dave@example.com", PASSWORD + "\0", "password"),
        ("dave@example.com", "x" * 2000, "password"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: FlaskClient, email: str, password: str, field: str
) -> None:
    """Status 422; the field is marked and points to the words that say why."""
    answer = submit(client, "/register", email=email, password=password)
    marked = Page(answer.text).field(field)
    assert answer.status_code == 422
    assert marked["aria-invalid"] == "true"
    assert f"{field}-wrong" in (marked["aria-describedby"] or "").split()
    assert f'id="{field}-wrong"' in answer.text


def test_a_bad_address_and_a_bad_password_are_reported_at_once(client: FlaskClient) -> None:
    """Nobody mends the one only to hear of the other."""
    page = Page(submit(client, "/register", email="bad", password="short").text)
    assert page.field("email")["aria-invalid"] == "true"
    assert page.field("password")["aria-invalid"] == "true"


def test_a_setup_reports_all_that_is_wrong_at_once(app: Flask, client: FlaskClient) -> None:
    """Like a registration."""
    fields = {"token": setup_secret(app), "email": "bad", "password": "short"}
    page = Page(submit(client, "/setup", **fields).text)
    assert page.field("email")["aria-invalid"] == "true"
    assert page.field("password")["aria-invalid"] == "true"


def test_only_the_first_wrong_field_asks_for_the_focus(client: FlaskClient) -> None:
    """Two would leave it to the browser."""
    for email, password in [("bad", PASSWORD), ("d@example.com", "short"), ("bad", "short")]:
        page = Page(submit(client, "/register", email=email, password=password).text)
        focused = [field for field in page.all("input") if "autofocus" in field]
        assert len(focused) == 1
        assert focused[0].get("aria-invalid") == "true"


def test_a_form_without_its_fields_is_refused_politely(client: FlaskClient) -> None:
    """Missing is like empty, and never a failure of the service."""
    assert submit(client, "/login").status_code == 401
    assert submit(client, "/register").status_code == 422
    assert submit(client, "/setup").status_code == 404
    assert submit(client, "/reset").status_code == 404


def test_a_new_password_is_never_echoed(client: FlaskClient) -> None:
    """Whatever else was wrong."""
    answer = submit(client, "/register", email="bad", password=NEW_PASSWORD)
    assert NEW_PASSWORD not in answer.text


def test_registration_is_open_on_this_machine_and_closed_in_public(
    client: FlaskClient, on_https: Flask
) -> None:
    """Unless the operator says otherwise."""
    assert get(client, "/register").status_code == 200
    assert on_https.test_client().get("/register", base_url=PUBLIC).status_code == 403


@pytest.fixture
def closed(make_app: MakeApp) -> Flask:
    """The service of an operator who makes the accounts."""
    return make_app(FOXTROT_REGISTRATION="closed")


def test_a_closed_registration_shows_no_form(closed: Flask) -> None:
    """It says whom to ask."""
    answer = get(closed.test_client(), "/register")
    assert answer.status_code == 403
    assert "administrator" in answer.text
    assert Page(answer.text).all("form") == []


def test_a_closed_registration_makes_no_account(closed: Flask) -> None:
    """Whoever sends the form all the same."""
    fields = {"email": "mallory@example.com", "password": PASSWORD}
    answer = submit(closed.test_client(), "/register", **fields)
    assert answer.status_code == 403
    with closed.app_context():
        assert users.by_email("mallory@example.com") is None


def test_a_closed_registration_is_not_offered(closed: Flask) -> None:
    """The sign-in page has no link to it."""
    page = Page(get(closed.test_client(), "/login").text)
    assert all("/register" not in (link["href"] or "") for link in page.all("a"))


def test_nobody_registers_as_more_than_a_user(app: Flask, client: FlaskClient) -> None:
    """Further fields of the form count for nothing."""
    more = {"scopes": "admin", "own_scopes": "admin", "is_admin": "1", "id": "1"}
    submit(client, "/register", email="mallory@example.com", password=PASSWORD, **more)
    with app.app_context():
        assert "admin" not in find_user(app, "mallory@example.com").scopes


# The first administrator


def test_there_is_no_account_at_first(app: Flask) -> None:
    """Nor a default password."""
    with app.app_context():
        assert list(users.everybody()) == []


def test_a_setup_link_makes_the_first_administrator(app: Flask, client: FlaskClient) -> None:
    """Who is signed in at once."""
    token = setup_secret(app)
    assert get(client, f"/setup?token={token}").status_code == 200
    assert lead_to(set_up(client, token)) == "/account"
    with app.app_context():
        assert "admin" in find_user(app, "alice@example.com").scopes


def test_the_link_of_the_command_opens_the_page(app: Flask, client: FlaskClient) -> None:
    """What is printed is what is served."""
    with app.app_context():
        url = login.setup_url()
    assert url.startswith(f"{ORIGIN}/setup?token=")
    assert get(client, url.removeprefix(ORIGIN)).status_code == 200


def test_looking_at_the_setup_page_does_not_use_the_link_up(
    app: Flask, client: FlaskClient
) -> None:
    """A scanner of links may look first."""
    token = setup_secret(app)
    for _ in range(3):
        assert get(client, f"/setup?token={token}").status_code == 200
    assert set_up(client, token).status_code == 303


def test_a_setup_link_is_good_once(app: Flask) -> None:
    """Even after the administrator it made is gone."""
    token = setup_secret(app)
    set_up(app.test_client(), token)
    with app.app_context():
        users.delete(find_user(app, "alice@example.com"))
    assert get(app.test_client(), f"/setup?token={token}").status_code == 404
    assert set_up(app.test_client(), token, "mallory@example.com").status_code == 404


@pytest.mark.parametrize(
    ("email", "password"), [("no address", PASSWORD), ("alice@example.com", "short")]
)
def test_a_refused_setup_leaves_the_link_good(
    app: Flask, client: FlaskClient, email: str, password: str
) -> None:
    """A slip does not lock the operator out."""
    token = setup_secret(app)
    answer = submit(client, "/setup", token=token, email=email, password=password)
    assert answer.status_code == 422
    assert Page(answer.text).field("token")["value"] == token
    assert set_up(client, token).status_code == 303


def test_a_taken_address_leaves_the_setup_link_good(
    app: Flask, client: FlaskClient, bob: str
) -> None:
    """A user who is no administrator may be there before."""
    token = setup_secret(app)
    assert set_up(client, token, bob).status_code == 409
    assert set_up(client, token).status_code == 303


def test_a_setup_link_is_good_for_thirty_minutes(app: Flask) -> None:
    """To the second."""
    token = setup_secret(app, NOON)
    with app.app_context():
        login.check_setup(token, NOON + timedelta(minutes=29, seconds=59))
        with pytest.raises(NotFound):
            login.check_setup(token, NOON + timedelta(minutes=30))


def test_a_setup_link_that_is_too_old_makes_nobody(app: Flask) -> None:
    """The rule that makes the account looks at the time itself."""
    token, late = setup_secret(app, NOON), NOON + timedelta(minutes=30)
    with app.app_context(), pytest.raises(NotFound):
        login.set_up(token, "a@example.com", PASSWORD, sessions.Client("", ""), late)
    with app.app_context():
        assert list(users.everybody()) == []


def test_a_setup_link_that_is_too_old_is_not_found(app: Flask, client: FlaskClient) -> None:
    """Neither for looking nor for doing."""
    token = setup_secret(app, datetime.now(UTC) - timedelta(minutes=31))
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token).status_code == 404


def test_a_newer_setup_link_replaces_the_older(app: Flask, client: FlaskClient) -> None:
    """Two links are never good at once."""
    older, newer = setup_secret(app), setup_secret(app)
    assert get(client, f"/setup?token={older}").status_code == 404
    assert get(client, f"/setup?token={newer}").status_code == 200


def test_a_setup_link_is_not_found_while_there_is_an_administrator(
    app: Flask, client: FlaskClient
) -> None:
    """However that one was made."""
    token = setup_secret(app)
    add_user(app, "root@example.com", "admin")
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token).status_code == 404


def test_no_setup_link_is_made_while_there_is_an_administrator(app: Flask) -> None:
    """The command says so instead."""
    add_user(app, "root@example.com", "admin")
    with app.app_context(), pytest.raises(NotFound, match="There is an administrator already"):
        login.setup_url()


@pytest.mark.parametrize("token", ["", "x", "%00", "é", "a" * 3000])
def test_a_guessed_setup_link_is_not_found(app: Flask, client: FlaskClient, token: str) -> None:
    """The same page as after the first administrator."""
    setup_secret(app)
    assert get(client, f"/setup?token={token}").status_code == 404


def test_the_setup_page_is_not_found_without_a_link(client: FlaskClient) -> None:
    """Nobody learns whether there is an administrator."""
    assert get(client, "/setup").status_code == 404


def test_a_reset_link_does_not_make_an_administrator(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Each link is bound to its purpose."""
    token = reset_secret(app, alice)
    assert get(client, f"/setup?token={token}").status_code == 404
    assert set_up(client, token, "mallory@example.com").status_code == 404


def test_of_many_setups_at_once_one_wins(app: Flask) -> None:
    """Eight people open the same link and press the button together."""
    token, start = setup_secret(app), Barrier(8)

    def press(number: int) -> int:
        start.wait()
        return set_up(app.test_client(), token, f"user{number}@example.com").status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = sorted(threads.map(press, range(8)))
    assert statuses == [303] + [404] * 7
    with app.app_context():
        assert len(list(users.everybody())) == 1


# A new password by a link


def test_a_reset_link_sets_a_new_password(app: Flask, client: FlaskClient, alice: str) -> None:
    """The new one signs in, the old one does not."""
    token = reset_secret(app, alice)
    assert get(client, f"/reset?token={token}").status_code == 200
    assert lead_to(submit(client, "/reset", token=token, password=NEW_PASSWORD)) == "/login"
    assert sign_in(client, alice).status_code == 401
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_a_reset_page_says_whose_password_it_is(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Whoever looks after several accounts has several links."""
    page = get(client, f"/reset?token={reset_secret(app, alice)}")
    assert f">{alice}</strong>" in page.text


@pytest.mark.parametrize("refused", [False, True])
def test_a_reset_page_tells_password_managers_whose_password_it_is(
    app: Flask, client: FlaskClient, alice: str, refused: bool
) -> None:
    """Else they keep it as somebody else's; also when the form is shown again."""
    token = reset_secret(app, alice)
    answer = get(client, f"/reset?token={token}")
    if refused:
        answer = submit(client, "/reset", token=token, username="bob@example.com", password="short")
    field = Page(answer.text).field("username")
    assert (field["autocomplete"], field["value"]) == ("username", alice)
    assert {"hidden", "readonly"} <= field.keys()


def test_a_reset_ends_every_session(app: Flask, alice: str) -> None:
    """Whoever had the old password is out."""
    thief = app.test_client()
    sign_in(thief, alice)
    submit(app.test_client(), "/reset", token=reset_secret(app, alice), password=NEW_PASSWORD)
    assert get(thief, "/account").status_code == 303


def test_a_reset_signs_nobody_in(app: Flask, client: FlaskClient, alice: str) -> None:
    """Who found the link still has to sign in, and shows up as a sign-in."""
    submit(client, "/reset", token=reset_secret(app, alice), password=NEW_PASSWORD)
    assert client.get_cookie(COOKIE) is None


def test_a_reset_link_is_good_once(app: Flask, client: FlaskClient, alice: str) -> None:
    """The history of a browser is no way in."""
    token = reset_secret(app, alice)
    submit(client, "/reset", token=token, password=NEW_PASSWORD)
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=PASSWORD).status_code == 404
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_a_refused_new_password_leaves_the_reset_link_good(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """And the form still carries it."""
    token = reset_secret(app, alice)
    answer = submit(client, "/reset", token=token, password="short")
    assert answer.status_code == 422
    assert Page(answer.text).field("token")["value"] == token
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 303


def test_a_reset_link_is_good_for_thirty_minutes(app: Flask, alice: str) -> None:
    """To the second; afterwards nothing changes."""
    token = reset_secret(app, alice, NOON)
    with app.app_context():
        links.check(links.RESET, token, NOON + timedelta(minutes=29, seconds=59))
        with pytest.raises(NotFound):
            login.reset_password(token, NEW_PASSWORD, NOON + timedelta(minutes=30))
        assert users.authenticate(alice, PASSWORD)


def test_a_reset_link_that_is_too_old_is_not_found(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """Neither for looking nor for doing."""
    token = reset_secret(app, alice, datetime.now(UTC) - timedelta(minutes=31))
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 404


def test_a_setup_link_resets_no_password(app: Flask, client: FlaskClient, alice: str) -> None:
    """Each link is bound to its purpose."""
    token = setup_secret(app)
    assert get(client, f"/reset?token={token}").status_code == 404
    assert submit(client, "/reset", token=token, password=NEW_PASSWORD).status_code == 404


def test_a_reset_link_of_one_user_leaves_the_others(
    app: Flask, client: FlaskClient, alice: str, bob: str
) -> None:
    """And a newer link of Bob's does not end Alice's."""
    token = reset_secret(app, alice)
    reset_secret(app, bob)
    submit(client, "/reset", token=token, email=bob, password=NEW_PASSWORD)
    assert sign_in(client, bob).status_code == 303
    assert sign_in(client, alice, NEW_PASSWORD).status_code == 303


def test_of_many_resets_at_once_one_wins(app: Flask, alice: str) -> None:
    """The password is the winner's."""
    token, start = reset_secret(app, alice), Barrier(6)

    def press(number: int) -> int:
        start.wait()
        fields = {"token": token, "password": f"{NEW_PASSWORD} {number}"}
        return submit(app.test_client(), "/reset", **fields).status_code

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(press, range(6))) == [303] + [404] * 5


def test_a_reset_link_does_not_let_a_disabled_user_in(
    app: Flask, client: FlaskClient, disabled: str
) -> None:
    """A new password is not a pardon."""
    submit(client, "/reset", token=reset_secret(app, disabled), password=NEW_PASSWORD)
    assert sign_in(client, disabled, NEW_PASSWORD).status_code == 401


# GET changes nothing


def contents(data_dir: Path) -> list[str]:
    """Every row of the database."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "signed in"])
def test_looking_changes_nothing(
    app: Flask, client: FlaskClient, alice: str, data_dir: Path, method: str, signed_in: bool
) -> None:
    """Whatever is fetched, with links, credentials and sessions in the query too."""
    tokens = [setup_secret(app), reset_secret(app, alice)]
    if signed_in:
        sign_in(client, alice)
    before = contents(data_dir)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for token in tokens:
            fields = {"token": token, "email": "eve@example.com", "password": PASSWORD}
            client.open(f"{path}?{urlencode(fields)}", method=method, base_url=ORIGIN)
    assert contents(data_dir) == before


def test_the_account_page_holds_no_token(client: FlaskClient, alice: str) -> None:
    """A token is fetched by POST, when somebody asks for it."""
    sign_in(client, alice)
    assert not re.search(r"eyJ[\w-]+\.[\w-]+", get(client, "/account").text)


# What every page owes to people and their tools

Visit = Callable[[Flask, FlaskClient], TestResponse]


def _account(app: Flask, client: FlaskClient) -> TestResponse:
    sign_in(client, add_user(app, "alice@example.com"))
    return get(client, "/account")


def _conflict(app: Flask, client: FlaskClient) -> TestResponse:
    email = add_user(app, "alice@example.com")
    return submit(client, "/register", email=email, password=PASSWORD)


def _reset(app: Flask, client: FlaskClient) -> TestResponse:
    token = reset_secret(app, add_user(app, "alice@example.com"))
    return get(client, f"/reset?token={token}")


HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}

PAGES: dict[str, Visit] = {
    "sign in": lambda _, client: get(client, "/login?next=/docs"),
    "sign in, refused": lambda _, client: sign_in(client, "alice@example.com", "wrong"),
    "register": lambda _, client: get(client, "/register"),
    "register, bad address": lambda _, client: submit(client, "/register", email="x", password="y"),
    "register, taken": _conflict,
    "account": _account,
    "setup": lambda app, client: get(client, f"/setup?token={setup_secret(app)}"),
    "reset": _reset,
    "dead link": lambda _, client: get(client, "/setup?token=x"),
    "not found": lambda _, client: get(client, "/nowhere", headers=HTML),
    "wrong method": lambda _, client: get(client, "/logout", headers=HTML),
    "cross-origin": lambda _, client: client.post("/logout", base_url=ORIGIN),
    "wrong host": lambda _, client: client.get("/login", base_url="http://evil.example:5000"),
    "docs": lambda _, client: get(client, "/docs"),
}


@pytest.fixture(scope="module", params=PAGES)
def answer(
    request: pytest.FixtureRequest, template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestResponse]:
    """The answer that shows one of the pages."""
    with fresh_app(template_dir, tmp_path_factory) as app:
        yield PAGES[request.param](app, app.test_client())


@pytest.fixture(scope="module")
def page(answer: TestResponse) -> Page:
    """The elements of one of the pages."""
    return Page(answer.text)


def inputs(page: Page) -> Iterator[Attributes]:
    """What a person fills in."""
    return (field for field in page.all("input") if "hidden" not in (*field, field.get("type")))


def test_a_page_is_html_in_english_with_a_title(answer: TestResponse, page: Page) -> None:
    """A screen reader begins with these."""
    assert answer.content_type == "text/html; charset=utf-8"
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("title")) == 1
    assert "width=device-width" in str(page.all("meta"))


def test_each_input_has_a_label(page: Page) -> None:
    """One that is seen, not a placeholder that vanishes."""
    labels = {label.get("for") for label in page.all("label")}
    assert all(field["id"] in labels for field in inputs(page))


def test_no_id_is_given_twice(page: Page) -> None:
    """Labels and descriptions find the wrong element otherwise."""
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_describes_a_field_is_there(page: Page) -> None:
    """References to nothing are read as nothing."""
    ids = {attributes.get("id") for _, attributes in page.elements}
    for _, attributes in page.elements:
        for name in ("aria-describedby", "aria-labelledby", "for"):
            assert set((attributes.get(name) or "").split()) <= ids


def test_password_managers_are_told_what_each_field_is(page: Page) -> None:
    """The address is the user name; a password is the present one or a new one."""
    allowed = {"email": {"username"}, "password": {"current-password", "new-password"}}
    for field in inputs(page):
        assert field["autocomplete"] in allowed[str(field["name"])]


def test_passwords_are_typed_into_password_fields(page: Page) -> None:
    """Which keep them from shoulders, spelling services and form histories."""
    for field in inputs(page):
        assert (field["name"] == "password") == (field["type"] == "password")
        assert field["type"] != "text"


def test_nothing_keeps_a_password_from_being_pasted(page: Page) -> None:
    """Nor bounds what may be typed to less than what is accepted."""
    for field in inputs(page):
        assert not {"onpaste", "ondrop", "oncopy", "readonly", "pattern"} & field.keys()
        if field["name"] == "password":
            assert "maxlength" not in field


def test_a_page_needs_no_inline_code(page: Page) -> None:
    """Scripts and styles come from files, so that the policy can forbid all others."""
    assert page.inline == []
    assert page.all("style") == []
    for tag, attributes in page.elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_a_page_is_made_of_our_own_files(page: Page) -> None:
    """No font, picture or script comes from elsewhere."""
    for _, attributes in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))
            assert not (attributes.get(name) or "/").startswith("//")


def test_forms_are_sent_by_post(page: Page) -> None:
    """A password in a URL stays in histories and logs."""
    assert all(form.get("method") == "post" for form in page.all("form"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/login", "current-password"), ("/register", "new-password")],
)
def test_a_manager_offers_a_new_password_only_for_a_new_one(
    client: FlaskClient, path: str, expected: str
) -> None:
    """The sign-in page asks for the present password, the registration for a new one."""
    assert Page(get(client, path).text).field("password")["autocomplete"] == expected


@pytest.mark.parametrize("name", ["setup", "reset"])
def test_a_link_leads_to_a_field_for_a_new_password(
    app: Flask, client: FlaskClient, name: str
) -> None:
    """Managers offer to make one."""
    shown = Page(PAGES[name](app, client).text)
    assert shown.field("password")["autocomplete"] == "new-password"


def test_error_pages_lead_back_to_the_start(client: FlaskClient) -> None:
    """Nobody is left at a dead end."""
    shown = get(client, "/nowhere", headers=HTML)
    assert shown.status_code == 404
    assert {"href": "/"} in Page(shown.text).all("a")


def test_an_account_page_shows_nobody_else(app: Flask, alice: str, bob: str) -> None:
    """Bob's page does not know Alice."""
    client = app.test_client()
    sign_in(client, bob)
    assert alice not in get(client, "/account").text


def test_a_sign_in_by_json_opens_no_page(client: FlaskClient, alice: str) -> None:
    """It gives a token and, unasked, no cookie."""
    assert "Set-Cookie" not in log_in(client, alice).headers
    assert get(client, "/account").status_code == 303
