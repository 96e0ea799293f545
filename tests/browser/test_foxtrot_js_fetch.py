"""`Foxtrot.fetch`: which service gets the token, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Site
from tests.browser.service import Service, running_service
from tests.browser.tabs import Tabs, error_of, open_tabs, token
from tests.chromium import needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]

INVALID_TOKEN = 'Bearer realm="notes", error="invalid_token"'
NO_TOKEN = 'Bearer realm="notes"'


@pytest.fixture
def notes() -> Iterator[Service]:
    """A service that may get the token."""
    with running_service() as service:
        yield service


@pytest.fixture
def other() -> Iterator[Service]:
    """A service that nobody named."""
    with running_service() as service:
        yield service


@pytest.fixture
def tabs(chromium: Browser, site: Site) -> Iterator[Tabs]:
    """A browser without tabs yet; pages of ours may not call others, those of a front end may."""
    with open_tabs(chromium, site, bypass_csp=True) as tabs:
        yield tabs


@pytest.fixture
def page(tabs: Tabs, notes: Service, alice: str) -> Page:
    """A tab where Alice is signed in and `notes` is named."""
    page = tabs.open(services=[notes.url])
    tabs.site.sign_in(page, alice)
    token(page)
    return page


def status_of(page: Page, call: str) -> int:
    """How a call is answered."""
    status: int = page.evaluate(f"{call}.then(({{ status }}) => status)")
    return status


def test_a_named_service_gets_the_token(page: Page, notes: Service) -> None:
    """In the header, as RFC 6750 has it."""
    assert status_of(page, f"foxtrot.fetch('{notes.url}/notes')") == 200
    assert [one["Authorization"] for one in notes.received] == [f"Bearer {token(page)}"]


@pytest.mark.parametrize("make", ["new URL({})", "new Request({})"])
def test_the_address_can_be_an_object(page: Page, notes: Service, make: str) -> None:
    """As for `window.fetch`."""
    address = make.format(f"'{notes.url}/notes'")
    assert status_of(page, f"foxtrot.fetch({address})") == 200
    assert notes.received[0]["Authorization"] == f"Bearer {token(page)}"


def test_method_headers_and_body_are_the_callers(page: Page, notes: Service) -> None:
    """As for `window.fetch`."""
    init = "{ method: 'POST', body: '[1]', headers: { 'Content-Type': 'application/json' } }"
    assert status_of(page, f"foxtrot.fetch('{notes.url}/notes', {init})") == 200
    got = notes.received[0]
    assert (got["method"], got["body"], got["Content-Type"]) == ("POST", "[1]", "application/json")


def test_a_service_gets_no_cookies(page: Page, notes: Service) -> None:
    """The login service's cookie would go to each port of its host."""
    status_of(page, f"foxtrot.fetch('{notes.url}/notes')")
    assert "Cookie" not in notes.received[0]


def test_cookies_are_sent_on_demand(page: Page, notes: Service) -> None:
    """If the caller says so."""
    status_of(page, f"foxtrot.fetch('{notes.url}/notes', {{ credentials: 'include' }})")
    assert "Cookie" in notes.received[0]


def test_an_unnamed_service_gets_nothing(page: Page, other: Service) -> None:
    """The error says what to do, and no request was sent."""
    error = error_of(page, f"foxtrot.fetch('{other.url}/notes')")
    assert error["name"] == "TypeError"
    assert other.url in error["message"]
    assert "`services`" in error["message"]
    assert (other.received, other.preflights) == ([], 0)


def test_by_default_no_service_is_named(tabs: Tabs, site: Site, alice: str) -> None:
    """Not even the login service."""
    page = tabs.open(services=[])
    site.sign_in(page, alice)
    assert error_of(page, "foxtrot.fetch('/api/me')")["name"] == "TypeError"
    assert tabs.renewals == 0


@pytest.mark.parametrize("init", ["{}", "{ redirect: 'follow' }", "{ redirect: 'manual' }"])
def test_a_redirect_takes_the_token_nowhere(
    page: Page, notes: Service, other: Service, init: str
) -> None:
    """Whatever the caller wished for."""
    notes.elsewhere = f"{other.url}/take"
    page.evaluate(f"foxtrot.fetch('{notes.url}/notes', {init}).catch(() => {{}})")
    assert len(notes.received) == 1
    assert (other.received, other.preflights) == ([], 0)


def test_a_redirect_can_be_looked_at(page: Page, notes: Service, other: Service) -> None:
    """By who asks for it; by default it is an error."""
    notes.elsewhere = f"{other.url}/take"
    call = f"foxtrot.fetch('{notes.url}/notes', {{ redirect: 'manual' }})"
    assert page.evaluate(f"{call}.then(({{ type }}) => type)") == "opaqueredirect"
    assert error_of(page, f"foxtrot.fetch('{notes.url}/notes')")["name"] == "TypeError"


def test_a_refused_token_is_replaced_and_the_request_repeated(page: Page, notes: Service) -> None:
    """With its body; the caller does not notice."""
    notes.challenges = [INVALID_TOKEN]
    init = "{ method: 'POST', body: 'text' }"
    assert status_of(page, f"foxtrot.fetch('{notes.url}/notes', {init})") == 200
    first, second = notes.received
    assert first["Authorization"] != second["Authorization"] == f"Bearer {token(page)}"
    assert (second["method"], second["body"]) == ("POST", "text")


def test_a_request_is_repeated_only_once(page: Page, notes: Service) -> None:
    """Then the caller has the refusal."""
    notes.challenges = [INVALID_TOKEN] * 3
    assert status_of(page, f"foxtrot.fetch('{notes.url}/notes')") == 401
    assert len(notes.received) == 2


def test_a_refusal_for_another_reason_is_not_repeated(page: Page, notes: Service) -> None:
    """A new token would not help."""
    notes.challenges = [NO_TOKEN]
    assert status_of(page, f"foxtrot.fetch('{notes.url}/notes')") == 401
    assert len(notes.received) == 1


def test_refusals_at_the_same_time_cost_one_renewal(tabs: Tabs, page: Page, notes: Service) -> None:
    """Whoever comes later finds the newer token there."""
    before = tabs.renewals
    notes.challenges = [INVALID_TOKEN] * 5
    statuses = page.evaluate(f"""async () => {{
      const answers = [..."01234"].map(() => foxtrot.fetch("{notes.url}/notes"));
      return (await Promise.all(answers)).map(({{ status }}) => status);
    }}""")
    assert statuses == [200] * 5
    assert tabs.renewals == before + 1
