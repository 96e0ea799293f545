"""The pages in a real browser, by what is to be seen and clicked."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import address, button, password, sign_in, tab_to
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


def test_a_person_registers_signs_out_and_signs_in_again(page: Page, site: Site) -> None:
    """From the start page on, by what is to be seen."""
    email = site.new_address("dave")
    page.goto("/")
    page.get_by_role("link", name="Create an account").click()
    address(page).fill(email)
    password(page).fill(PASSWORD)
    button(page, "Create account").click()
    button(page, "Sign out").click()
    sign_in(page, email)
    expect(page).to_have_url(f"{site.url}/account")
    expect(page.get_by_text(email, exact=True)).to_be_visible()


def test_whoever_was_sent_to_sign_in_lands_where_they_wanted(
    page: Page, site: Site, alice: str
) -> None:
    """The page that was asked for comes after the form."""
    page.goto("/account?from=bookmark")
    sign_in(page, alice)
    expect(page).to_have_url(f"{site.url}/account?from=bookmark")


def test_the_link_of_the_terminal_opens_the_page_for_the_first_administrator(
    page: Page, site: Site
) -> None:
    """As `flask setup-link` prints it."""
    page.goto(site.link("setup-link"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Make the first administrator")


def test_a_reset_link_lets_a_person_choose_a_new_password(page: Page, site: Site) -> None:
    """As `flask users reset-link` prints it; then the new password signs in."""
    email, secret = site.add_user("erin"), "seven green lamps above the harbour"
    page.goto(site.link("users", "reset-link", email))
    password(page).fill(secret)
    button(page, "Save password").click()
    sign_in(page, email, secret)
    expect(page).to_have_url(f"{site.url}/account")


def test_the_address_for_password_managers_is_in_nobodys_way(page: Page, site: Site) -> None:
    """The page of a reset link has one field to see, and the keyboard finds no other."""
    email = site.add_user("erin")
    page.goto(site.link("users", "reset-link", email))
    hidden = page.locator("input[autocomplete=username]")
    expect(hidden).to_have_value(email)
    expect(hidden).to_be_hidden()
    tab_to(password(page))
    page.keyboard.press("Shift+Tab")
    expect(hidden).not_to_be_focused()


def test_the_advice_of_a_reset_knows_whose_password_it_is(page: Page, site: Site) -> None:
    """What is made of one's own address is refused when it is sent, too."""
    email = site.add_user("erin.of.the.valley")
    page.goto(site.link("users", "reset-link", email))
    password(page).fill(email)
    expect(page.locator("#password-advice")).to_contain_text("made of your address")


def test_the_pages_work_at_every_loopback_name(page: Page, site: Site, alice: str) -> None:
    """A number, or a name below localhost."""
    for name in ("127.0.0.1", "app.localhost"):
        page.goto(f"{site.url.replace('localhost', name)}/login")
        sign_in(page, alice)
        button(page, "Get a token").click()
        expect(page.locator("#token-claims")).to_be_visible()


def test_the_back_button_shows_nothing_after_signing_out(account: Page, alice: str) -> None:
    """Whoever sits down next sees nobody's account."""
    button(account, "Sign out").click()
    account.wait_for_url("**/login")
    account.go_back()
    expect(account.get_by_text(alice)).to_have_count(0)
    expect(account.get_by_role("heading", level=1)).to_have_text("Sign in")
