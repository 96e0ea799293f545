"""What pages of other sites cannot do to people who are signed in here."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Neighbour, Site, complaints_of
from tests.chromium import needs_chromium
from tests.pages.test_next import ELSEWHERE, OWN_THOUGH_STRANGE
from tests.support import PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]


COOKIE = "foxtrot_session"


@pytest.mark.parametrize("path", ["/logout", "/auth/logout"])
def test_another_site_cannot_sign_anybody_out(
    account: Page, site: Site, neighbour: Neighbour, path: str
) -> None:
    """Its form is sent, and the cookie stays."""
    neighbour.html = f'<form method="post" action="{site.url}{path}"><button>'
    account.goto(neighbour.url)
    with account.expect_response(f"**{path}"):
        account.get_by_role("button").click()
    assert COOKIE in {cookie["name"] for cookie in account.context.cookies(site.url)}


def test_another_site_cannot_sign_anybody_in(
    page: Page, site: Site, neighbour: Neighbour, alice: str
) -> None:
    """Not even with a password that is right."""
    fields = f'<input name="email" value="{alice}"><input name="password" value="{PASSWORD}">'
    neighbour.html = f'<form method="post" action="{site.url}/login">{fields}<button>'
    page.goto(neighbour.url)
    with page.expect_response("**/login") as answer:
        page.get_by_role("button").click()
    assert answer.value.status == 403
    assert page.context.cookies(site.url) == []


def test_another_site_cannot_show_our_pages_in_a_frame(
    page: Page, site: Site, neighbour: Neighbour
) -> None:
    """Nor catch clicks that way."""
    complaints = complaints_of(page)
    neighbour.html = f'<iframe src="{site.url}/login"></iframe>'
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(neighbour.url)
    assert len(complaints) == 1
    assert all("Sign in" not in frame.content() for frame in page.frames)


def test_another_site_cannot_read_what_we_answer(
    account: Page, site: Site, neighbour: Neighbour
) -> None:
    """Neither a token nor whether somebody is signed in."""
    account.goto(neighbour.url)
    ask = f"fetch('{site.url}/auth/token', {{method: 'POST', credentials: 'include'}})"
    assert account.evaluate(f"{ask}.then(() => 'read', () => 'refused')") == "refused"


def test_a_browser_never_leaves_for_another_site(account: Page, site: Site) -> None:
    """The judge of every strange `next` is the browser itself."""
    locations = [
        account.request.get("/login", params={"next": target}, max_redirects=0).headers["location"]
        for target in (*ELSEWHERE, *OWN_THOUGH_STRANGE)
    ]
    judge = "([locations, base]) => locations.map((location) => new URL(location, base).origin)"
    assert set(account.evaluate(judge, [locations, f"{site.url}/login"])) == {site.url}
