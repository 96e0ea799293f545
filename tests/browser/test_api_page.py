"""The page of the API, which Swagger UI makes."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Site, open_page
from tests.browser.looks import contrasts
from tests.browser.people import button
from tests.chromium import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]


def show_docs(page: Page, site: Site) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()


def test_the_page_of_the_api_shows_every_operation(page: Page) -> None:
    """As the document lists them."""
    paths = page.request.get("/openapi.json").json()["paths"]
    page.goto("/docs")
    expect(page.locator(".opblock")).to_have_count(sum(map(len, paths.values())))


def test_the_page_of_the_api_is_made_of_our_own_files(page: Page, site: Site) -> None:
    """It asks nobody else for anything."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/docs", wait_until="networkidle")
    expect(page.locator(".opblock").first).to_be_visible()
    assert f"{site.url}/openapi.json" in asked
    assert [url for url in asked if not url.startswith((f"{site.url}/", "data:"))] == []


def test_an_operation_can_be_tried_on_the_page_of_the_api(page: Page) -> None:
    """The policy lets it call this service."""
    page.goto("/docs")
    page.locator(".opblock", has_text="/healthz").get_by_role("button").first.click()
    button(page, "Try it out").click()
    button(page, "Execute").click()
    expect(page.locator(".live-responses-table .response-col_status").last).to_have_text("200")


def test_the_page_of_the_api_can_be_read_in_the_dark(chromium: Browser, site: Site) -> None:
    """At least 4.5 to 1 (WCAG 1.4.3); its colours are Swagger UI's, the choice is the reader's."""
    with open_page(chromium, site, color_scheme="dark", reduced_motion="reduce") as page:
        show_docs(page, site)
        assert [part for part in contrasts(page, "dark") if part["contrast"] < 4.5] == []


def test_the_page_of_the_api_turns_dark_and_light_with_the_reader(page: Page) -> None:
    """While it is open, as all other pages do."""
    page.goto("/docs")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html")).to_have_css("color-scheme", "dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_have_css("color-scheme", "dark")
