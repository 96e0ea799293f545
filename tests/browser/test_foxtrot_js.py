"""The browser client `foxtrot.js` in real tabs: who is signed in, in all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import Site
from tests.browser.tabs import (
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

MODULE = Path(__file__).resolve().parents[2] / "app/static/foxtrot.js"
COOKIE = "foxtrot_session"


@pytest.fixture
def tabs(chromium: Browser, site: Site) -> Iterator[Tabs]:
    """A browser without tabs yet."""
    with open_tabs(chromium, site) as tabs:
        yield tabs


def subject(page: Page) -> str:
    """Whose token a tab has."""
    return str(claims_of(token(page))["sub"])


def end_session(tabs: Tabs) -> None:
    """End the browser's session at the server, and leave it the cookie."""
    cookies = tabs.context.cookies()
    tabs.context.request.post(f"{tabs.site.url}/auth/logout", headers={"Origin": tabs.site.url})
    tabs.context.add_cookies([{**cookie} for cookie in cookies])  # type: ignore[typeddict-item]


def wait_until_signed_out(pages: list[Page]) -> None:
    for page in pages:
        wait_until(page, "!foxtrot.signedIn")


# The file


def test_the_module_is_small_enough_to_be_read() -> None:
    """At most 200 lines, none of them long."""
    lines = MODULE.read_text().splitlines()
    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 100] == []


# Signing in


def test_signing_in_gives_a_token(tabs: Tabs, alice: str) -> None:
    """Hers, and the browser has the cookie."""
    page = tabs.open()
    log_in(page, alice)
    assert claims_of(token(page))["iss"] == tabs.site.url
    assert COOKIE in {cookie["name"] for cookie in tabs.context.cookies()}


def test_a_token_carries_what_was_wished_for(tabs: Tabs, alice: str) -> None:
    """The audience and the scope of the client."""
    page = tabs.open(audience=tabs.site.url, scope="account")
    log_in(page, alice)
    claims = claims_of(new_token(page))
    assert (claims["aud"], claims["scope"]) == ([tabs.site.url], "account")


def test_a_wrong_password_is_refused_with_its_code(tabs: Tabs, alice: str) -> None:
    """As an error that programs and people can read."""
    page = tabs.open()
    error = error_of(page, f"foxtrot.login('{alice}', 'wrong')")
    assert (error["status"], error["code"]) == (401, "invalid_credentials")
    assert error["message"] == error["detail"] != ""


def test_a_refused_sign_in_changes_nothing(tabs: Tabs, alice: str) -> None:
    """Who was signed in still is."""
    page = tabs.open()
    log_in(page, alice)
    before = token(page)
    error_of(page, f"foxtrot.login('{alice}', 'wrong')")
    assert token(page) == before


def test_without_a_cookie_there_is_no_token(tabs: Tabs) -> None:
    """The code says that somebody has to sign in."""
    assert error_of(tabs.open(), "foxtrot.token()")["code"] == "session_ended"


def test_the_cookie_of_the_sign_in_page_is_enough(tabs: Tabs, alice: str) -> None:
    """Nobody signs in twice."""
    page = tabs.open()
    tabs.site.sign_in(page, alice)
    assert claims_of(token(page))["iss"] == tabs.site.url


def test_scripts_find_nothing_stored(tabs: Tabs, alice: str) -> None:
    """In none of the places where a page can keep something."""
    page = tabs.open_signed_in(alice, 2)[1]
    new_token(page)
    stored = page.evaluate("""async () => [
      ...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie,
      ...(await indexedDB.databases()).map(({ name }) => name), ...await caches.keys(),
      window.name, history.state, location.search, location.hash,
    ].filter(Boolean)""")
    assert stored == []


def test_what_is_not_an_origin_is_no_service(tabs: Tabs) -> None:
    """A mistake there would send the token astray, or nowhere."""
    page = tabs.open()
    for service in (
        "*",
        "a.example",
        "https://a.example/",
        "https://*.example/x",
        "ftp://a.example",
    ):
        error = error_of(page, f"new foxtrot.constructor({{ services: ['{service}'] }})")
        assert error["name"] == "TypeError"
        assert error["message"].startswith(f"{service} is not an origin")


@pytest.mark.parametrize("services", ["'http://a.example'", "null", "{}"])
def test_services_are_an_array(tabs: Tabs, services: str) -> None:
    """The error says so in its own words, not in those of the engine."""
    error = error_of(tabs.open(), f"new foxtrot.constructor({{ services: {services} }})")
    assert error["name"] == "TypeError"
    assert error["message"] == "`services` must be an array of origins."


def test_an_unknown_option_is_named(tabs: Tabs) -> None:
    """A slip in a name would leave a client that sends the token nowhere."""
    error = error_of(tabs.open(), "new foxtrot.constructor({ service: ['http://a.example'] })")
    assert error["name"] == "TypeError"
    assert error["message"] == "Foxtrot has no option `service`."


# Several tabs


def test_a_new_tab_gets_its_token_from_another(tabs: Tabs, alice: str) -> None:
    """And asks nobody else."""
    first = tabs.open()
    log_in(first, alice)
    assert token(tabs.open()) == token(first)
    assert tabs.renewals == 0


def test_clients_with_other_wishes_do_not_share(tabs: Tabs, alice: str) -> None:
    """A token for all services is more than one with a narrow audience."""
    first = tabs.open()
    log_in(first, alice)
    narrow = tabs.open(audience=tabs.site.url)
    assert claims_of(token(narrow))["jti"] != claims_of(token(first))["jti"]


def test_signing_in_as_somebody_else_reaches_every_tab(tabs: Tabs, site: Site, alice: str) -> None:
    """Or two people would act in one browser."""
    pages = tabs.open_signed_in(alice, 3)
    before = subject(pages[0])
    log_in(pages[2], site.add_user("bob"))
    after = subject(pages[2])
    assert after != before
    for page in pages:
        wait_until(
            page, f"foxtrot.token().then((text) => atob(text.split('.')[1]).includes('{after}'))"
        )


def test_signing_in_as_somebody_else_reaches_clients_with_other_wishes(
    tabs: Tabs, site: Site, alice: str
) -> None:
    """Their tokens are the former person's, too."""
    first, narrow = tabs.open(), tabs.open(audience=tabs.site.url)
    log_in(first, alice)
    assert subject(narrow) == subject(first)
    log_in(first, site.add_user("bob"))
    assert subject(narrow) == subject(first)


def test_signing_out_in_one_tab_signs_out_all(tabs: Tabs, alice: str) -> None:
    """Each is told, and none has a token any more."""
    pages = tabs.open_signed_in(alice, 5)
    for page in pages:
        page.evaluate("foxtrot.addEventListener('change', () => { window.isTold = true; })")
    pages[3].evaluate("foxtrot.logout()")
    wait_until_signed_out(pages)
    assert [page.evaluate("isTold") for page in pages] == [True] * 5


def test_signing_out_reaches_clients_with_other_wishes(tabs: Tabs, alice: str) -> None:
    """The session was theirs, too."""
    first, narrow = tabs.open(), tabs.open(audience=tabs.site.url)
    log_in(first, alice)
    token(narrow)
    first.evaluate("foxtrot.logout()")
    wait_until_signed_out([first, narrow])


def test_after_signing_out_there_is_no_token(tabs: Tabs, alice: str) -> None:
    """Neither from another tab nor from the service."""
    first, second = tabs.open_signed_in(alice, 2)
    first.evaluate("foxtrot.logout()")
    wait_until_signed_out([second])
    assert error_of(second, "foxtrot.token()")["code"] == "session_ended"
    assert error_of(tabs.open(), "foxtrot.token()")["code"] == "session_ended"


def test_signing_out_without_a_network_changes_nothing(tabs: Tabs, alice: str) -> None:
    """It must not look done when it is not."""
    pages = tabs.open_signed_in(alice, 2)
    pages[0].route("**/auth/logout", lambda route: route.abort())
    error = error_of(pages[0], "foxtrot.logout()")
    assert error["code"] == "unreachable"
    assert error["message"] == f"{tabs.site.url} does not answer."
    assert [page.evaluate("foxtrot.signedIn") for page in pages] == [True, True]


@pytest.mark.parametrize("scripts", [[], [WITHOUT_LOCKS]], ids=["locks", "election"])
def test_signing_out_waits_for_a_renewal_under_way(
    chromium: Browser, site: Site, alice: str, scripts: list[str]
) -> None:
    """Its late answer would sign a tab in again."""
    held: list[Route] = []
    with open_tabs(chromium, site, *scripts) as tabs:
        first, second = tabs.open_signed_in(alice, 2)
        first.route("**/auth/token", lambda route: held.append(route))
        with first.expect_request("**/auth/token"):
            first.evaluate("void foxtrot.token({ renew: true })")
        second.evaluate("void foxtrot.logout().then(() => { window.isOut = true; })")
        second.wait_for_timeout(500)
        assert "/auth/logout" not in tabs.calls
        held[0].continue_()
        wait_until(second, "window.isOut")
        wait_until_signed_out([first, second])


def test_a_session_that_ended_elsewhere_signs_out_all_tabs(tabs: Tabs, alice: str) -> None:
    """One of them learns it, and tells the others."""
    pages = tabs.open_signed_in(alice, 5)
    end_session(tabs)
    assert error_of(pages[2], "foxtrot.token({ renew: true })")["code"] == "session_ended"
    wait_until_signed_out(pages)
    assert tabs.renewals == 1
