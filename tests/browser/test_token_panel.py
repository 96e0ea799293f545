"""The token panel of the account page."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.people import button
from tests.chromium import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_panel_shows_what_the_token_says(with_token: Page, site: Site) -> None:
    """Header and claims, decoded."""
    expect(with_token.locator("#token-header")).to_contain_text('"typ": "at+jwt"')
    expect(with_token.locator("#token-claims")).to_contain_text(f'"iss": "{site.url}"')


def test_the_countdown_runs(with_token: Page) -> None:
    """A second later it says less."""
    countdown = with_token.get_by_role("timer")
    expect(countdown).to_have_text(re.compile(r"^Expires in (15:00|14:5\d)$"))
    shown = countdown.inner_text()
    expect(countdown).not_to_have_text(shown, timeout=3000)
    expect(countdown).to_have_text(re.compile(r"^Expires in 14:5\d$"))


def test_the_countdown_ends(page: Page, site: Site, alice: str) -> None:
    """After a quarter of an hour without a network the token is said to have expired."""
    page.clock.install()
    site.sign_in(page, alice)
    page.goto("/account")
    button(page, "Get a token").click()
    expect(page.locator("#token-claims")).to_be_visible()
    page.route("**/auth/token", lambda route: route.abort())
    page.clock.fast_forward("15:01")
    expect(page.get_by_role("timer")).to_have_text("Expired")


def test_the_panel_calls_the_api_and_shows_request_and_answer(with_token: Page, alice: str) -> None:
    """With 200 and who it is."""
    with with_token.expect_response("**/api/me") as answer:
        button(with_token, "Call the API with it").click()
    assert answer.value.status == 200
    expect(with_token.locator("#request")).to_contain_text("GET /api/me HTTP/1.1")
    expect(with_token.locator("#answer")).to_contain_text("HTTP/1.1 200 OK")
    expect(with_token.locator("#answer")).to_contain_text(alice)


def test_the_answer_is_near_the_button_that_asks_for_it(with_token: Page) -> None:
    """Half a phone's height at most, not below the whole token."""
    with_token.set_viewport_size({"width": 390, "height": 844})
    button(with_token, "Call the API with it").click()
    answer = with_token.locator("#answer")
    expect(answer).to_contain_text("HTTP/1.1 200 OK")
    asked, answered = with_token.locator("#call-api").bounding_box(), answer.bounding_box()
    assert asked is not None
    assert answered is not None
    assert answered["y"] - asked["y"] < 844 / 2


def test_the_request_that_is_shown_does_not_give_the_token_away(with_token: Page) -> None:
    """Screens are shared."""
    button(with_token, "Call the API with it").click()
    request = with_token.locator("#request")
    expect(request).to_contain_text("Authorization: Bearer eyJ")
    expect(request).not_to_contain_text(str(with_token.locator("#token-text").text_content()))


def test_a_new_token_replaces_the_old_one(with_token: Page) -> None:
    """Each has an identifier of its own."""
    before = str(with_token.locator("#token-text").text_content())
    button(with_token, "Get a new token").click()
    expect(with_token.locator("#token-text")).not_to_have_text(before)


def test_an_ended_session_leads_to_the_sign_in_page(with_token: Page, site: Site) -> None:
    """Signed out in another tab; afterwards the account page comes back."""
    headers = {"Origin": site.url}
    with_token.request.post(f"{site.url}/logout", headers=headers, max_redirects=0)
    button(with_token, "Get a new token").click()
    with_token.wait_for_url("**/login?next=/account")


def test_a_call_after_the_session_has_ended_leads_to_the_sign_in_page(
    with_token: Page, site: Site
) -> None:
    """The API refuses the token, and there is no new one."""
    headers = {"Origin": site.url}
    with_token.request.post(f"{site.url}/logout", headers=headers, max_redirects=0)
    with with_token.expect_response("**/api/me") as answer:
        button(with_token, "Call the API with it").click()
    with_token.wait_for_url("**/login?next=/account")
    assert answer.value.status == 401


def test_a_network_that_fails_is_said(account: Page) -> None:
    """In words, as an alert, and the button can be pressed again."""
    account.route("**/auth/token", lambda route: route.abort())
    button(account, "Get a token").click()
    expect(account.get_by_role("alert")).not_to_be_empty()
    expect(button(account, "Get a token")).to_be_enabled()


STORED = """async () => [
  ...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
  ...(await indexedDB.databases()).map((database) => database.name),
  ...await caches.keys(), ...await navigator.serviceWorker.getRegistrations(),
  window.name, history.state, location.search, location.hash,
].filter(Boolean)"""


def test_scripts_find_nothing_stored(with_token: Page) -> None:
    """Neither the token nor the cookie; the token lives in memory alone."""
    button(with_token, "Call the API with it").click()
    expect(with_token.locator("#answer")).to_be_visible()
    assert with_token.evaluate(STORED) == []


def test_a_reload_forgets_the_token(with_token: Page) -> None:
    """It was nowhere but in memory."""
    with_token.reload()
    expect(button(with_token, "Get a token")).to_be_visible()
    expect(with_token.locator("#token-text")).to_be_empty()
