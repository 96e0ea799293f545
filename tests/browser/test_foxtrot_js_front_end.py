"""The front end of docs/browser.md, on an origin of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, open_page, running_site
from tests.browser.people import button
from tests.browser.service import Service, running_service
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]

DOCS = Path(__file__).resolve().parents[2] / "docs/browser.md"


@pytest.fixture(scope="module")
def notes() -> Iterator[Service]:
    """The service that the front end shows."""
    with running_service() as service:
        service.files["/notes"] = "Feed the fox"
        yield service


@pytest.fixture(scope="module")
def front_end() -> Iterator[Service]:
    """The server of the front end's files."""
    with running_service() as service:
        yield service


@pytest.fixture(scope="module")
def login(front_end: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A login service that lists the front end."""
    settings = {"FOXTROT_ORIGINS": front_end.url, "FOXTROT_AUDIENCES": "notes"}
    with running_site(tmp_path_factory.mktemp("login"), **settings) as site:
        yield site


@pytest.fixture
def page(chromium: Browser, login: Site, front_end: Service, notes: Service) -> Iterator[Page]:
    """The front end, opened by somebody who is not signed in."""
    html, script = re.findall(r"```(?:html|js)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    script = script.replace("https://login.example.com", login.url)
    front_end.files["/index.html"] = f"<!doctype html>{html}"
    front_end.files["/app.js"] = script.replace("https://notes.example.com", notes.url)
    with open_page(chromium, login) as page:
        page.goto(f"{front_end.url}/index.html")
        yield page


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    button(page, "Sign in").click()


def test_the_front_end_of_the_docs_signs_in(page: Page, login: Site) -> None:
    """And shows what the service answers."""
    sign_in(page, login.add_user("alice"))
    expect(page.locator("pre")).to_have_text("Feed the fox")
    expect(button(page, "Sign in")).to_be_hidden()


def test_the_front_end_of_the_docs_is_signed_in_after_a_reload(page: Page, login: Site) -> None:
    """By the cookie of the login service."""
    sign_in(page, login.add_user("alice"))
    expect(page.locator("pre")).to_have_text("Feed the fox")
    page.reload()
    expect(page.locator("pre")).to_have_text("Feed the fox")


def test_the_front_end_of_the_docs_signs_out(page: Page, login: Site) -> None:
    """The form is there again."""
    sign_in(page, login.add_user("alice"))
    button(page, "Sign out").click()
    expect(button(page, "Sign in")).to_be_visible()
    expect(page.locator("pre")).to_be_hidden()


def test_the_front_end_of_the_docs_says_what_is_wrong(page: Page, login: Site) -> None:
    """In the words of the service."""
    sign_in(page, login.add_user("alice"), "wrong")
    expect(page.get_by_role("alert")).to_have_text(re.compile("do not match an account"))


def test_the_token_of_a_front_end_is_for_the_services_alone(page: Page, login: Site) -> None:
    """The login service's own API refuses it."""
    sign_in(page, login.add_user("alice"))
    expect(page.locator("pre")).to_have_text("Feed the fox")
    audience = page.evaluate(f"""async () => {{
      const {{ Foxtrot }} = await import("{login.url}/foxtrot.js");
      return JSON.parse(atob((await new Foxtrot().token()).split(".")[1])).aud;
    }}""")
    assert audience == ["notes"]
