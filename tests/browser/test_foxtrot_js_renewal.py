"""The browser client `foxtrot.js` in real tabs: when and how a token is renewed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE_MS, Site, running_site
from tests.browser.tabs import (
    SLEEP,
    WITHOUT_LOCKS,
    Tabs,
    error_of,
    log_in,
    new_token,
    open_tabs,
    token,
    wait_until,
)
from tests.chromium import needs_chromium
from tests.support import claims_of

pytestmark = [pytest.mark.browser, needs_chromium]

RENEWAL = "**/auth/token"
LIFE = 900
SHOW = "document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))"
both_ways = pytest.mark.parametrize("scripts", [[], [WITHOUT_LOCKS]], ids=["locks", "election"])


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A service whose tokens live for ten seconds."""
    folder = tmp_path_factory.mktemp("brief")
    with running_site(folder, FOXTROT_ACCESS_TOKEN_LIFETIME="10s") as site:
        yield site


@pytest.fixture
def tabs(chromium: Browser, site: Site) -> Iterator[Tabs]:
    """A browser without tabs yet, whose clock can be put on."""
    with open_tabs(chromium, site, SLEEP) as tabs:
        yield tabs


@pytest.fixture
def signed_in(tabs: Tabs, alice: str) -> Page:
    """A tab with a fresh token."""
    return tabs.open_signed_in(alice, 1)[0]


def sleep(page: Page, seconds: float) -> None:
    """Let the computer sleep."""
    page.evaluate(f"asleep += {seconds * 1000}")


def refuse(page: Page, **headers: str) -> None:
    """Let the service be out of order."""
    problem = '{"status": 503, "code": "unavailable", "detail": "Try again later."}'
    headers["Content-Type"] = "application/problem+json"
    page.route(RENEWAL, lambda route: route.fulfill(status=503, headers=headers, body=problem))


# One for all


def test_five_tabs_whose_token_runs_out_renew_it_once(chromium: Browser, brief: Site) -> None:
    """Their timers go off at the same moment; in a browser with Web Locks, and in one without."""
    with (
        open_tabs(chromium, brief) as locking,
        open_tabs(chromium, brief, WITHOUT_LOCKS) as electing,
    ):
        for tabs in (locking, electing):
            for page in tabs.open_signed_in(brief.add_user("alice"), 5):
                page.evaluate("foxtrot.addEventListener('change', () => { window.isNew = true; })")
        for page in [*locking.context.pages, *electing.context.pages]:
            wait_until(page, "window.isNew", 3 * PATIENCE_MS)
        assert (locking.renewals, electing.renewals) == (1, 1)


@both_ways
def test_five_tabs_that_wake_up_together_renew_once(
    chromium: Browser, site: Site, alice: str, scripts: list[str]
) -> None:
    """Each wants to send a request at once."""
    with open_tabs(chromium, site, SLEEP, *scripts) as tabs:
        pages = tabs.open_signed_in(alice, 5)
        for page in pages:
            sleep(page, 2 * LIFE)
        for page in pages:
            page.evaluate("void foxtrot.token().then((text) => { window.text = text; })")
        for page in pages:
            wait_until(page, "window.text", 3 * PATIENCE_MS)
        assert tabs.renewals == 1
        assert len({page.evaluate("text") for page in pages}) == 1


def test_requests_at_the_same_time_share_one_renewal(tabs: Tabs, signed_in: Page) -> None:
    """However many there are."""
    sleep(signed_in, 2 * LIFE)
    statuses = signed_in.evaluate("""async () => {
      const answers = await Promise.all([..."0123456789"].map(() => foxtrot.fetch("/api/me")));
      return answers.map(({ status }) => status);
    }""")
    assert statuses == [200] * 10
    assert tabs.renewals == 1


def test_a_valid_token_is_not_renewed(tabs: Tabs, signed_in: Page) -> None:
    """Nor asked about."""
    assert token(signed_in) == token(signed_in)
    assert tabs.renewals == 0


def test_a_new_token_is_had_for_the_asking(tabs: Tabs, signed_in: Page) -> None:
    """Somebody may have been given another scope."""
    assert token(signed_in) != new_token(signed_in)
    assert tabs.renewals == 1


# When


FRACTIONS = """async () => {
  const lock = navigator.locks.request.bind(navigator.locks);
  let isRenewing, fraction;
  navigator.locks.request = (...all) => {
    isRenewing = true;
    return lock(...all);
  };
  const fractions = [];
  while (fractions.length < 16) {
    const change = new Promise((done) => foxtrot.addEventListener("change", done, { once: true }));
    isRenewing = false;
    for (fraction = 0; fraction < 2 && !isRenewing; fraction += 0.002) {
      asleep += 0.002 * 900_000;
      dispatchEvent(new Event("pageshow"));
    }
    fractions.push(fraction);
    await change;
    await new Promise((done) => setTimeout(done));
  }
  return fractions;
}"""
"""At which fraction of a token's life a tab begins to renew it, if it looks often enough."""


def test_the_moment_of_a_renewal_cannot_be_foreseen(signed_in: Page) -> None:
    """It lies anywhere in the last fifth of the token's life, before its end."""
    fractions = signed_in.evaluate(FRACTIONS)
    assert all(0.8 <= fraction < 0.99 for fraction in fractions)
    assert max(fractions) - min(fractions) > 0.05
    assert len(set(fractions)) > 8


def test_a_tab_that_slept_past_the_end_is_still_signed_in(chromium: Browser, brief: Site) -> None:
    """Frozen by the browser, with its timers; the next request has a new token."""
    with open_tabs(chromium, brief) as tabs:
        page = tabs.open_signed_in(brief.add_user("alice"), 1)[0]
        before = token(page)
        life = page.context.new_cdp_session(page)
        life.send("Page.setWebLifecycleState", {"state": "frozen"})
        while time.time() <= claims_of(before)["exp"]:
            time.sleep(0.1)
        life.send("Page.setWebLifecycleState", {"state": "active"})
        assert page.evaluate("foxtrot.fetch('/api/me').then(({ status }) => status)") == 200
        assert token(page) != before


def test_a_tab_looks_at_its_token_when_it_is_shown_again(tabs: Tabs, signed_in: Page) -> None:
    """Its timer stood still while the computer slept."""
    before = token(signed_in)
    sleep(signed_in, 2 * LIFE)
    with signed_in.expect_request(RENEWAL):
        signed_in.evaluate(SHOW)
    wait_until(signed_in, f"foxtrot.token().then((text) => text !== '{before}')")


@pytest.mark.parametrize("hours", [-6, 6])
def test_a_clock_that_is_wrong_does_no_harm(tabs: Tabs, alice: str, hours: int) -> None:
    """What counts is how long ago the token came."""
    page = tabs.open()
    sleep(page, hours * 3600)
    log_in(page, alice)
    assert page.evaluate("foxtrot.fetch('/api/me').then(({ status }) => status)") == 200
    sleep(page, LIFE / 2)
    token(page)
    assert tabs.renewals == 0
    sleep(page, LIFE / 2)
    token(page)
    assert tabs.renewals == 1


@pytest.mark.parametrize("hours", [-6, 6])
def test_a_clock_that_is_put_right_does_no_harm(tabs: Tabs, signed_in: Page, hours: int) -> None:
    """The token's age is not known any more, so there is a new one."""
    before = token(signed_in)
    sleep(signed_in, hours * 3600)
    assert token(signed_in) != before
    assert tabs.renewals == 1


# When it fails


def test_a_renewal_without_an_answer_fails_no_request(tabs: Tabs, signed_in: Page) -> None:
    """As long as the old token is valid."""
    before = token(signed_in)
    signed_in.route(RENEWAL, lambda route: route.abort())
    sleep(signed_in, LIFE - 10)
    assert token(signed_in) == before
    assert tabs.renewals == 1


def test_a_renewal_without_an_answer_signs_nobody_out(tabs: Tabs, signed_in: Page) -> None:
    """Not even after the token has expired; then the network comes back."""
    signed_in.route(RENEWAL, lambda route: route.abort())
    sleep(signed_in, 2 * LIFE)
    error = error_of(signed_in, "foxtrot.token()")
    assert (error["status"], error["code"]) == (0, "unreachable")
    assert signed_in.evaluate("foxtrot.signedIn")
    signed_in.unroute(RENEWAL)
    wait_until(signed_in, "foxtrot.token().then(() => true, () => false)")


def test_a_service_out_of_order_signs_nobody_out(tabs: Tabs, signed_in: Page) -> None:
    """The error says what it said, and when to come back."""
    refuse(signed_in, **{"Retry-After": "7"})
    sleep(signed_in, 2 * LIFE)
    error = error_of(signed_in, "foxtrot.token()")
    assert (error["status"], error["code"], error["retryAfter"]) == (503, "unavailable", 7)
    assert signed_in.evaluate("foxtrot.signedIn")


def test_nobody_comes_back_before_they_may(tabs: Tabs, alice: str) -> None:
    """What one tab was told counts for all."""
    first, second = tabs.open_signed_in(alice, 2)
    refuse(first, **{"Retry-After": "60"})
    for page in (first, second):
        sleep(page, 2 * LIFE)
    error_of(first, "foxtrot.token()")
    assert error_of(first, "foxtrot.token()")["retryAfter"] == 60
    assert error_of(second, "foxtrot.token()")["retryAfter"] == 60
    assert tabs.renewals == 1


def test_a_renewal_that_failed_is_tried_again(tabs: Tabs, signed_in: Page) -> None:
    """By itself, a little later."""
    before = token(signed_in)
    signed_in.route(RENEWAL, lambda route: route.abort())
    sleep(signed_in, LIFE - 10)
    with signed_in.expect_event("requestfailed"):
        signed_in.evaluate(SHOW)
    signed_in.unroute(RENEWAL)
    sleep(signed_in, LIFE)
    signed_in.evaluate(SHOW)
    wait_until(signed_in, f"foxtrot.expiresIn > {LIFE - 60}")
    assert tabs.renewals == 2
    assert token(signed_in) != before
