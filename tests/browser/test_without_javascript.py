"""The pages in a browser that runs no scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import address, button, password, register, sign_in
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_whole_way_can_be_gone_without_javascript(plain: Page, site: Site) -> None:
    """Register, sign out, mistype, sign in."""
    email = site.new_address("grace")
    register(plain, email)
    button(plain, "Sign out").click()
    sign_in(plain, email, "wrong")
    expect(plain.get_by_role("alert")).to_contain_text("do not match an account")
    expect(address(plain)).to_have_value(email)
    password(plain).fill(PASSWORD)
    button(plain, "Sign in").click()
    expect(plain).to_have_url(f"{site.url}/account")


def test_without_javascript_the_panel_says_how_to_get_a_token(
    plain: Page, site: Site, alice: str
) -> None:
    """And shows no button that does nothing."""
    site.sign_in(plain, alice)
    plain.goto("/account")
    command = plain.locator("pre", has_text="curl")
    expect(command).to_contain_text(f"{site.url}/auth/login")
    expect(command).to_be_visible()
    expect(button(plain, "Get a token")).to_be_hidden()


def test_the_command_that_gets_a_token_is_not_cut(plain: Page, site: Site, alice: str) -> None:
    """All of it can be read without scrolling to the side, on a desktop too."""
    site.sign_in(plain, alice)
    plain.goto("/account")
    command = plain.locator("pre", has_text="curl").element_handle()
    assert plain.evaluate("(pre) => pre.scrollWidth - pre.clientWidth", command) == 0


def test_without_javascript_the_advice_comes_with_the_answer(plain: Page, site: Site) -> None:
    """At the field, with the focus in it."""
    register(plain, site.new_address("heidi"), "passwordpassword")
    expect(plain.locator("#password-wrong")).not_to_be_empty()
    expect(password(plain)).to_be_focused()


def test_without_javascript_there_is_no_button_to_show_the_password(plain: Page) -> None:
    """It could not do anything."""
    plain.goto("/login")
    expect(plain.get_by_role("button")).to_have_count(1)


def test_without_javascript_the_api_is_described_by_its_document(plain: Page) -> None:
    """The page of the API links to it."""
    plain.goto("/docs")
    expect(plain.get_by_role("link", name="openapi.json")).to_be_visible()
