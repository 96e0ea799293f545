"""The account page, while something happens behind its back."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import button
from tests.chromium import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]


def open_account(page: Page, site: Site, email: str) -> None:
    """Somebody's account page."""
    site.sign_in(page, email)
    page.goto("/account")


def test_the_panel_shows_the_token_that_replaced_an_old_one(
    page: Page, site: Site, alice: str
) -> None:
    """It is renewed before it expires, while the page is open."""
    page.clock.install()
    open_account(page, site, alice)
    button(page, "Get a token").click()
    text = page.locator("#token-text")
    expect(text).not_to_be_empty()
    before = str(text.text_content())
    page.clock.fast_forward("14:55")
    expect(text).not_to_have_text(before)
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^Expires in (15:00|14:5\d)$"))


def test_signing_out_in_one_tab_closes_the_account_in_another(
    page: Page, site: Site, alice: str
) -> None:
    """Whoever looks at the other one sees no account any more."""
    open_account(page, site, alice)
    other = page.context.new_page()
    other.goto("/account")
    button(page, "Sign out").click()
    page.wait_for_url("**/login")
    other.wait_for_url("**/login?next=/account")


def test_signing_out_works_when_the_client_gets_no_answer(
    page: Page, site: Site, alice: str
) -> None:
    """Then the form is sent, as without JavaScript."""
    open_account(page, site, alice)
    page.route("**/auth/logout", lambda route: route.abort())
    button(page, "Sign out").click()
    page.wait_for_url("**/login")
    assert "foxtrot_session" not in {cookie["name"] for cookie in page.context.cookies()}
