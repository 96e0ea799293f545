"""The pages by keyboard alone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import address, button, tab_to
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_whole_way_can_be_gone_by_keyboard(page: Page, site: Site) -> None:
    """Register, get a token, call the API, sign out; with Tab, Enter and letters."""
    page.goto("/login")
    tab_to(page.get_by_role("link", name="Create an account"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/register")
    expect(address(page)).to_be_focused()
    page.keyboard.type(site.new_address("frank"))
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    tab_to(button(page, "Get a token"))
    page.keyboard.press("Enter")
    expect(page.locator("#token-claims")).to_be_visible()
    tab_to(button(page, "Call the API with it"))
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("HTTP/1.1 200")
    page.reload()
    tab_to(button(page, "Sign out"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/login")


def test_signing_in_takes_the_keyboard_and_nothing_else(page: Page, site: Site, alice: str) -> None:
    """The focus is where one begins, and Enter sends."""
    page.goto("/login")
    page.keyboard.type(alice)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/account")


def test_the_first_stop_skips_to_the_content(account: Page) -> None:
    """And the next stop is in it."""
    account.keyboard.press("Tab")
    expect(account.get_by_role("link", name="Skip to the content")).to_be_focused()
    account.keyboard.press("Enter")
    account.keyboard.press("Tab")
    expect(button(account, "Sign out everywhere")).to_be_focused()


FOCUSED = """() => {
  const { left, width } = document.activeElement.getBoundingClientRect();
  const style = getComputedStyle(document.activeElement);
  return { isPage: document.activeElement === document.body, left, width,
           outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth) };
}"""


def test_every_stop_of_the_keyboard_can_be_seen(with_token: Page) -> None:
    """Each has a broad outline, and lies within the page."""
    stops = []
    for _ in range(12):
        with_token.keyboard.press("Tab")
        stops.append(with_token.evaluate(FOCUSED))
    seen = [stop for stop in stops if not stop["isPage"]]
    assert len(seen) >= 8
    assert [stop for stop in seen if stop["outline"] < 2 or stop["left"] < 0] == []
