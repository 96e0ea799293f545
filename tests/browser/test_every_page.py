"""What every page owes to people: no errors, room, contrast, names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, complaints_of, open_page
from tests.browser.looks import SCHEMES, Scheme, contrasts, tree_of
from tests.browser.people import button, password, register, sign_in
from tests.browser.test_api_page import show_docs
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


@dataclass
class Shown:
    """A page that stays open for several tests, and what the browser complained about."""

    name: str
    page: Page
    complaints: list[str]


def show_account(page: Page, site: Site) -> None:
    site.sign_in(page, site.add_user("a-rather-long-name-that-has-to-be-broken-somewhere"))
    page.goto("/account")


def show_token(page: Page, site: Site) -> None:
    show_account(page, site)
    button(page, "Get a token").click()
    page.get_by_text("The token itself").click()
    button(page, "Call the API with it").click()
    expect(page.locator("#answer")).to_be_visible()


def show_refused_sign_in(page: Page, site: Site) -> None:
    page.goto("/login")
    sign_in(page, "nobody@example.com", "wrong")
    expect(page.get_by_role("alert")).to_be_visible()


def show_refused_registration(page: Page, site: Site) -> None:
    register(page, site.new_address("liz"), "passwordpassword")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(button(page, "Show the password")).to_be_visible()
    password(page).fill("short")
    expect(page.locator("#password-advice")).not_to_be_empty()


def show_good_password(page: Page, site: Site) -> None:
    page.goto("/register")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-advice")).not_to_be_empty()


def show_setup(page: Page, site: Site) -> None:
    page.goto(site.link("setup-link"))


def show_reset(page: Page, site: Site) -> None:
    page.goto(site.link("users", "reset-link", site.add_user("carol")))


def show_administration(page: Page, site: Site) -> None:
    site.add_user("a-rather-long-name-that-has-to-be-broken-somewhere")
    with site.administrator() as email:
        site.sign_in(page, email)
        page.goto("/admin")
    for summary in page.locator("summary").all():
        summary.click()


def at(path: str) -> Callable[[Page, Site], None]:
    """A page that shows itself at its path."""

    def show(page: Page, site: Site) -> None:
        page.goto(path)

    return show


OUR_PAGES: dict[str, Callable[[Page, Site], None]] = {
    "sign in": at("/login"),
    "refused sign-in": show_refused_sign_in,
    "register": show_good_password,
    "refused registration": show_refused_registration,
    "account": show_account,
    "account with a token": show_token,
    "administration": show_administration,
    "setup": show_setup,
    "reset": show_reset,
    "dead link": at("/setup?token=x"),
    "not found": at("/nowhere"),
    "wrong method": at("/logout"),
}
PAGES = {**OUR_PAGES, "docs": show_docs}
"""The last one is Swagger UI's: its colours, sizes and headings are not ours."""


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest, chromium: Browser, site: Site) -> Iterator[Shown]:
    """One of the pages, with nothing moving on it."""
    with open_page(chromium, site, reduced_motion="reduce") as page:
        complaints = complaints_of(page)
        PAGES[request.param](page, site)
        yield Shown(request.param, page, complaints)


every_page = pytest.mark.parametrize("shown", PAGES, indirect=True)
every_page_of_ours = pytest.mark.parametrize("shown", OUR_PAGES, indirect=True)

SURPLUS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@every_page
def test_the_browser_complains_about_nothing(shown: Shown) -> None:
    """No error, no warning, nothing that the policy forbids."""
    assert shown.complaints == []


@every_page
@pytest.mark.parametrize("width", [320, 390, 640, 1280])
def test_nothing_sticks_out_to_the_side(shown: Shown, width: int) -> None:
    """On a small phone, on a usual one, and at 200 % on a desktop."""
    shown.page.set_viewport_size({"width": width, "height": 700})
    assert shown.page.evaluate(SURPLUS) == 0


@every_page_of_ours
def test_text_of_twice_the_size_fits(shown: Shown) -> None:
    """Readers who chose larger letters (WCAG 1.4.4)."""
    shown.page.set_viewport_size({"width": 640, "height": 700})
    shown.page.evaluate("document.documentElement.style.fontSize = '200%'")
    surplus = shown.page.evaluate(SURPLUS)
    shown.page.evaluate("document.documentElement.style.fontSize = ''")
    assert surplus == 0


@every_page_of_ours
@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_can_be_read(shown: Shown, scheme: Scheme) -> None:
    """At least 4.5 to 1 (WCAG 1.4.3)."""
    assert [part for part in contrasts(shown.page, scheme) if part["contrast"] < 4.5] == []


@every_page_of_ours
@pytest.mark.parametrize("scheme", SCHEMES)
def test_fields_can_be_seen(shown: Shown, scheme: Scheme) -> None:
    """Their edges at least 3 to 1 (WCAG 1.4.11)."""
    edges = [part for part in contrasts(shown.page, scheme) if part["edge"] is not None]
    assert [part for part in edges if part["edge"] < 3] == []


def test_dark_and_light_differ(page: Page) -> None:
    """Or the tests of both would measure one."""
    page.goto("/login")
    backgrounds = set()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


CONTROLS = {"button", "link", "textbox", "checkbox", "combobox", "progressbar"}


@every_page
def test_each_control_has_a_name(shown: Shown) -> None:
    """That a screen reader says."""
    controls = [node for node in tree_of(shown.page) if node["role"]["value"] in CONTROLS]
    assert controls
    assert [node for node in controls if not node["name"]["value"].strip()] == []


@every_page_of_ours
def test_a_page_has_one_heading_and_one_main_part(shown: Shown) -> None:
    """By which people who do not see the page find their way."""
    roles = [node["role"]["value"] for node in tree_of(shown.page)]
    assert roles.count("main") == 1
    assert roles.count("banner") == 1
    expect(shown.page.get_by_role("heading", level=1)).to_have_count(1)


@every_page_of_ours
def test_what_is_pressed_is_large_enough(shown: Shown) -> None:
    """At least 24 by 24, unless it is a word in a sentence (WCAG 2.5.8)."""
    shown.page.set_viewport_size({"width": 390, "height": 700})
    for target in shown.page.locator("button:visible, input:visible, summary:visible").all():
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24
