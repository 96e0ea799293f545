"""Where a browser is led after the sign-in: to pages of our own, never elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode, urljoin, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import add_user
from tests.pages.conftest import (
    Page,
    fresh_app,
    lead_to,
    sign_in,
)
from tests.support import ORIGIN, PASSWORD, get, submit

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
