"""What forms do for people: advice, passwords that can be shown, the focus."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.looks import property_of, tree_of
from tests.browser.people import address, button, password, register, sign_in
from tests.chromium import needs_chromium
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


def test_advice_appears_while_a_password_is_typed(page: Page) -> None:
    """First what is missing, then that it is good."""
    page.goto("/register")
    advice = page.locator("#password-advice")
    password(page).press_sequentially("short")
    expect(advice).to_have_text("Use at least 15 characters: 10 characters to go.")
    password(page).fill(PASSWORD)
    expect(advice).to_have_text("That is a good password.")
    password(page).fill("")
    expect(advice).to_be_empty()


def live_regions(page: Page) -> list[str]:
    """The live regions that a screen reader knows of, by the id of their element."""
    session = page.context.new_cdp_session(page)
    regions = [node for node in tree_of(page) if property_of(node, "live") == "polite"]
    ids: list[str] = []
    for node in regions:
        found = session.send("DOM.describeNode", {"backendNodeId": node["backendDOMNodeId"]})
        attributes = found["node"]["attributes"]
        ids.append(attributes[attributes.index("id") + 1])
    return ids


@pytest.mark.parametrize("state", ["before", "after"])
def test_advice_is_announced(page: Page, state: str) -> None:
    """A screen reader must know the region before there is anything in it."""
    page.goto("/register")
    if state == "after":
        password(page).fill("short")
        expect(page.locator("#password-advice")).not_to_be_empty()
    assert live_regions(page) == ["password-advice"]


def test_advice_belongs_to_its_field(page: Page) -> None:
    """Whoever comes back to the field hears it again."""
    page.goto("/register")
    password(page).fill("short")
    expect(page.locator("#password-advice")).not_to_be_empty()
    expect(password(page)).to_have_accessible_description(re.compile("Use at least 15 characters"))


def test_no_advice_is_given_on_the_password_of_a_sign_in(page: Page) -> None:
    """It is checked when it is sent, and goes nowhere before."""
    sent: list[str] = []
    page.goto("/login")
    page.on("request", lambda request: sent.append(f"{request.method} {request.url}"))
    password(page).fill("short")
    page.wait_for_timeout(500)
    assert [line for line in sent if not line.startswith("GET ")] == []


def test_a_password_can_be_shown_and_hidden(page: Page) -> None:
    """The button says what it does next, and the text stays."""
    page.goto("/login")
    password(page).fill("seen")
    button(page, "Show the password").click()
    expect(password(page)).to_have_attribute("type", "text")
    expect(password(page)).to_have_value("seen")
    page.get_by_role("button").filter(has_text="Hide").click()
    expect(password(page)).to_have_attribute("type", "password")


def test_the_button_is_called_what_is_written_on_it(page: Page) -> None:
    """Who speaks to the computer says what they see (WCAG 2.5.3)."""
    page.goto("/login")
    toggle = page.locator(".entry").get_by_role("button")
    expect(toggle).to_have_accessible_name(re.compile("Show"))
    toggle.click()
    expect(toggle).to_have_text("Hide")
    expect(toggle).to_have_accessible_name(re.compile("Hide"))


def test_a_shown_password_is_sent_as_a_hidden_one(page: Page, site: Site, alice: str) -> None:
    """Or the browser would remember it among ordinary texts."""
    page.goto("/login")
    types: list[str] = []
    page.expose_function("noteType", lambda type_: types.append(type_))
    page.evaluate(
        "addEventListener('submit', () => noteType(document.getElementById('password').type))"
    )
    button(page, "Show the password").click()
    sign_in(page, alice)
    page.wait_for_url("**/account")
    assert types == ["password"]


def test_a_password_can_be_pasted(page: Page) -> None:
    """As password managers and people do."""
    page.goto("/register")
    address(page).fill(PASSWORD)
    address(page).press("Control+A")
    address(page).press("Control+C")
    password(page).press("Control+V")
    expect(password(page)).to_have_value(PASSWORD)


@pytest.mark.parametrize(
    ("email", "secret", "focused"),
    [
        ("nobody@nowhere", PASSWORD, "email"),
        ("nobody@nowhere", "short", "email"),
        ("judy@example.com", "short", "password"),
        ("taken", PASSWORD, "email"),
    ],
)
def test_the_focus_lands_on_the_first_wrong_field(
    page: Page, alice: str, email: str, secret: str, focused: str
) -> None:
    """So that one can go on typing."""
    register(page, alice if email == "taken" else email, secret)
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page.locator(f"#{focused}")).to_be_focused()


def test_after_a_refused_sign_in_the_focus_is_in_the_password(page: Page, alice: str) -> None:
    """The address is there already."""
    page.goto("/login")
    sign_in(page, alice, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    expect(password(page)).to_be_focused()
    expect(password(page)).to_be_empty()


def test_what_is_wrong_is_read_with_its_field(page: Page, site: Site) -> None:
    """As its description, and as invalid."""
    register(page, site.new_address("kim"), "passwordpassword")
    expect(password(page)).to_have_attribute("aria-invalid", "true")
    words = page.locator("#password-wrong li").first.inner_text()
    expect(password(page)).to_have_accessible_description(re.compile(re.escape(words)))


def test_a_new_judgement_replaces_what_was_wrong(page: Page, site: Site) -> None:
    """Beside praise for the new password, blame for the old one would confuse."""
    register(page, site.new_address("kim"), "passwordpassword")
    expect(password(page)).to_have_attribute("aria-invalid", "true")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-advice")).to_have_text("That is a good password.")
    expect(page.locator("#password-wrong")).to_have_count(0)
    expect(password(page)).not_to_have_attribute("aria-invalid", "true")
    expect(password(page)).to_have_accessible_description(re.compile("That is a good password"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_good_password_does_not_mend_the_address(page: Page) -> None:
    """What is wrong with another field stays marked."""
    register(page, "nobody@nowhere", "short")
    password(page).fill(PASSWORD)
    expect(page.locator("#password-wrong")).to_have_count(0)
    expect(page.locator("#email-wrong")).not_to_be_empty()
    expect(page.get_by_role("alert")).to_be_visible()
