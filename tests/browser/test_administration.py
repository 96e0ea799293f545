"""The page of administrators in a browser that runs no scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import button
from tests.chromium import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]


def test_a_user_is_found_disabled_and_enabled(plain: Page, site: Site) -> None:
    """From the account page on; the search stays as it was."""
    email = site.add_user("mallory")
    with site.administrator() as olga:
        site.sign_in(plain, olga)
        plain.goto("/account")
        plain.get_by_role("link", name="Administration").click()
        expect(plain.get_by_role("img", name="Sign-ins by day")).to_be_visible()
        plain.get_by_label("A part of the address").fill(email.upper())
        button(plain, "Search").click()
        expect(plain.locator("#users ~ .rows > li")).to_have_count(1)
        plain.get_by_text("Actions").click()
        button(plain, f"Disable {email}").click()
        expect(plain.get_by_role("status")).to_contain_text("The account is disabled")
        button(plain, f"Enable {email}").click()
        expect(plain.get_by_role("status")).to_contain_text("The account is enabled")
        expect(plain.locator("#users ~ .rows > li")).to_have_count(1)
