"""A running service and a real Chromium, for the tests that need both.

The server lives as long as the tests of one worker. Playwright lives only as
long as one module: while it runs, its event loop is in the way of others.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.people import button
from tests.chromium import ARGUMENTS, EXECUTABLE
from tests.processes import free_port, run, serving
from tests.support import CHEAP_HASH, PASSWORD

PATIENCE_MS = 10_000
REFUSED_LOAD = "Failed to load resource: the server responded with a status of 4"
"""What Chromium writes when an answer, such as a refused form, is a 4xx."""

REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`violated: ${event.violatedDirective} by ${event.blockedURI}`));
"""


@dataclass
class Site:
    """A running login service."""

    url: str
    settings: dict[str, str]
    _numbers: count[int] = field(default_factory=count)

    def new_address(self, name: str) -> str:
        """An address that nobody has here."""
        return f"{name}{next(self._numbers)}@example.com"

    def add_user(self, name: str) -> str:
        """Make an account with the password of all tests, and give its address."""
        email = self.new_address(name)
        body = json.dumps({"email": email, "password": PASSWORD}).encode()
        request = urllib.request.Request(f"{self.url}/auth/register", body)
        request.add_header("Content-Type", "application/json")
        urllib.request.urlopen(request, timeout=20).close()
        return email

    def link(self, *command: str) -> str:
        """The link that a command prints."""
        done = run(*command, settings=self.settings)
        match = re.search(r"http://\S+", done.stdout)
        assert match, done.stderr
        return match[0]

    @contextmanager
    def administrator(self) -> Iterator[str]:
        """Make an administrator, and remove them again: links for the first need that."""
        email = self.new_address("olga")
        made = ["users", "create", email, "--admin", "--password-stdin"]
        assert run(*made, settings=self.settings, stdin=PASSWORD).returncode == 0
        yield email
        run("users", "delete", email, "--yes", settings=self.settings)

    def sign_in(self, page: Page, email: str) -> None:
        """Sign a browser in without its pages, where they are not what is tested."""
        form: dict[str, str | float | bool] = {"email": email, "password": PASSWORD}
        headers = {"Origin": self.url}
        answer = page.request.post(f"{self.url}/login", form=form, headers=headers, max_redirects=0)
        assert answer.status == 303


@contextmanager
def running_site(folder: Path, **settings: str) -> Iterator[Site]:
    """The service, started with `flask run`; what it logs is read, or its pipe would fill."""
    port = free_port()
    settings |= {"FOXTROT_DATA_DIR": str(folder), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    with serving(port=port, settings=settings) as process:
        assert process.stdout is not None
        reader = Thread(target=process.stdout.read)
        reader.start()
        yield Site(f"http://localhost:{port}", settings)
        process.terminate()
        reader.join()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The service with default settings."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Browser, site: Site, **options: Any) -> Iterator[Page]:
    """A page in a profile of its own, which knows nothing from before."""
    context = browser.new_context(base_url=site.url, **options)
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    """An empty page."""
    with open_page(chromium, site) as page:
        yield page


@pytest.fixture
def plain(chromium: Browser, site: Site) -> Iterator[Page]:
    """An empty page in a browser that runs no scripts."""
    with open_page(chromium, site, java_script_enabled=False) as page:
        yield page


@pytest.fixture
def alice(site: Site) -> str:
    """Alice's address; she has an account."""
    return site.add_user("alice")


@pytest.fixture
def account(page: Page, site: Site, alice: str) -> Page:
    """Alice's account page."""
    site.sign_in(page, alice)
    page.goto("/account")
    return page


@pytest.fixture
def with_token(account: Page) -> Page:
    """Alice's account page, after she asked for a token."""
    button(account, "Get a token").click()
    expect(account.locator("#token-claims")).to_be_visible()
    return account


class Neighbour(ThreadingHTTPServer):
    """Another web server on this machine, whose one page Mallory wrote."""

    html = ""

    @property
    def url(self) -> str:
        """Its address: for a browser another site than localhost."""
        return f"http://127.0.0.1:{self.server_port}/"


class _ShowPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Neighbour)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.html.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    """Mallory's server."""
    with Neighbour(("127.0.0.1", 0), _ShowPage) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def complaints_of(page: Page) -> list[str]:
    """What the browser complains about from now on; refused loads are expected."""
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(REFUSED_LOAD):
            complaints.append(f"{page.url}: {message.text}")

    page.add_init_script(REPORT_VIOLATIONS)
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
    return complaints
