"""Tabs of one browser that use the client `foxtrot.js`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Request

from tests.browser.conftest import PATIENCE_MS, Site
from tests.support import PASSWORD

START = """async (options) => {
  const { Foxtrot } = await import("/foxtrot.js");
  window.foxtrot = new Foxtrot({ services: [location.origin], ...options });
}"""

WITHOUT_LOCKS = "delete Navigator.prototype.locks;"
"""As on plain http; a browser without Web Locks."""

SLEEP = """
const now = Date.now;
window.asleep = 0;
Date.now = () => now() + window.asleep;
"""
"""Lets a test put the clock on, as the sleep of a computer does."""


@dataclass
class Tabs:
    """The tabs, and what they asked the login service for."""

    context: BrowserContext
    site: Site
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.on("request", self._note)

    def open(self, **options: Any) -> Page:
        """A new tab with a client."""
        page = self.context.new_page()
        page.goto("/login")
        page.evaluate(START, options)
        return page

    def open_signed_in(self, email: str, number: int) -> list[Page]:
        """Some tabs; somebody signs in, in the first of them, and all have the token."""
        pages = [self.open() for _ in range(number)]
        log_in(pages[0], email)
        for page in pages:
            wait_until(page, "foxtrot.signedIn")
        return pages

    @property
    def renewals(self) -> int:
        """How often a token was asked for with the cookie."""
        return self.calls.count("/auth/token")

    def _note(self, request: Request) -> None:
        self.calls.append(request.url.removeprefix(self.site.url))


@contextmanager
def open_tabs(browser: Browser, site: Site, *scripts: str, **options: Any) -> Iterator[Tabs]:
    """A browser without tabs yet, in each of which these scripts will run first."""
    context = browser.new_context(base_url=site.url, **options)
    context.set_default_timeout(PATIENCE_MS)
    for script in scripts:
        context.add_init_script(script)
    yield Tabs(context, site)
    context.close()


def wait_until(page: Page, condition: str, patience_ms: int = PATIENCE_MS) -> None:
    """Ask again and again: Playwright's own way needs `eval`, which our policy forbids."""
    deadline = time.monotonic() + patience_ms / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"{condition} did not come true"
        page.wait_for_timeout(50)


def log_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Sign in through the client."""
    page.evaluate("([email, password]) => foxtrot.login(email, password)", [email, password])


def token(page: Page) -> str:
    """A valid token."""
    text: str = page.evaluate("foxtrot.token()")
    return text


def new_token(page: Page) -> str:
    """A token that nobody had before."""
    text: str = page.evaluate("foxtrot.token({ renew: true })")
    return text


def error_of(page: Page, action: str) -> dict[str, Any]:
    """How an action fails, which must fail."""
    outcome: dict[str, Any] = page.evaluate(f"""async () => {{
      try {{ await {action}; return {{}}; }}
      catch (error) {{ return {{ name: error.name, message: error.message, ...error }}; }}
    }}""")
    assert outcome, f"{action} succeeded"
    return outcome
