"""The page of docs/browser.md, started by the commands that stand there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Site, open_page
from tests.browser.people import button
from tests.chromium import needs_chromium
from tests.processes import clean_environ, free_port, stop, wait_until_up
from tests.support import CHEAP_HASH, PASSWORD

pytestmark = [pytest.mark.browser, needs_chromium]

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("5000", "5001", "8000")


@dataclass
class FrontEnd(Site):
    """The login service, the service `notes` and the page, all of them running."""

    notes: str = ""
    page: str = ""

    def add_user_with_note(self, name: str) -> str:
        """Make an account with one note, which says whose it is."""
        email = self.add_user(name)
        answer = self._post(f"{self.url}/auth/login", {"email": email, "password": PASSWORD})
        self._post(f"{self.notes}/notes", {"text": f"{name}'s note"}, answer["access_token"])
        return email

    @staticmethod
    def _post(url: str, body: dict[str, str], token: str = "") -> dict[str, str]:
        request = urllib.request.Request(url, json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=20) as answer:
            found: dict[str, str] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontEnd]:
    """What the commands of the docs start, as they stand there, but at ports that are free."""
    folder = tmp_path_factory.mktemp("checkout")
    ports = {port: str(free_port()) for port in PORTS}

    def with_free_ports(text: str) -> str:
        return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda match: ports[match[0]], text)

    command = folder / ".venv/bin/flask"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m flask "$@"\n')
    command.chmod(0o755)
    shutil.copytree(ROOT / "examples/page", folder / "examples/page")
    for file in (folder / "examples/page").iterdir():
        file.write_text(with_free_ports(file.read_text()))
    settings = {
        "FOXTROT_DATA_DIR": str(folder / "instance"),
        "FOXTROT_PASSWORD_HASH": CHEAP_HASH,
        "NOTES_DATABASE": str(folder / "notes.sqlite3"),
        "NOTES_ISSUER": f"http://localhost:{ports['5000']}",
    }
    (commands,) = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/browser.md").read_text(), re.S)
    lines = with_free_ports(commands).splitlines()
    urls = [f"http://localhost:{port}" for port in ports.values()]
    with ExitStack() as stack:
        for line, url in zip(lines, urls, strict=True):
            stack.callback(stop, start(line, url, folder, settings))
        yield FrontEnd(urls[0], settings, notes=urls[1], page=urls[2])


def start(line: str, url: str, folder: Path, settings: dict[str, str]) -> subprocess.Popen[str]:
    """Run a command, which is there to serve; bash becomes it, so whoever ends one ends both."""
    process = subprocess.Popen(
        ["bash", "-c", line],
        cwd=folder,
        env=clean_environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    wait_until_up(url, process)
    return process


@pytest.fixture
def page(chromium: Browser, front_end: FrontEnd) -> Iterator[Page]:
    """The front end, opened by somebody who is not signed in."""
    with open_page(chromium, front_end) as page:
        page.goto(front_end.page)
        yield page


@pytest.fixture
def ann(front_end: FrontEnd) -> str:
    """Ann's address; she has an account and a note."""
    return front_end.add_user_with_note("ann")


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(password)
    button(page, "Sign in").click()


def expect_note_of(page: Page, name: str) -> None:
    """Only theirs."""
    expect(page.locator("pre")).to_have_text(re.compile(f'"text":"{name}\'s note"'))
    expect(page.locator("pre")).to_have_text(re.compile(r"^[^']*'[^']*$"))


def expect_form(page: Page) -> None:
    """And nothing of what is for people who are signed in."""
    expect(button(page, "Sign in")).to_be_visible()
    expect(page.locator("main")).to_be_hidden()


def test_the_page_signs_in(page: Page, ann: str) -> None:
    """And shows what the service answers."""
    expect_form(page)
    sign_in(page, ann)
    expect_note_of(page, "ann")
    expect(button(page, "Sign in")).to_be_hidden()


def test_the_page_is_signed_in_after_a_reload(page: Page, ann: str) -> None:
    """By the cookie of the login service."""
    sign_in(page, ann)
    expect_note_of(page, "ann")
    page.reload()
    expect_note_of(page, "ann")


def test_the_page_signs_out(page: Page, ann: str) -> None:
    """The form is there again, without the password, and the notes are gone."""
    sign_in(page, ann)
    expect_note_of(page, "ann")
    button(page, "Sign out").click()
    expect_form(page)
    expect(page.locator("pre")).to_be_empty()
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("E-mail address")).to_have_value("")


def test_the_page_shows_the_notes_of_who_is_signed_in(
    page: Page, front_end: FrontEnd, ann: str
) -> None:
    """Also if another tab signed somebody else in."""
    sign_in(page, ann)
    expect_note_of(page, "ann")
    other = page.context.new_page()
    other.goto(front_end.page)
    expect_note_of(other, "ann")
    button(page, "Sign out").click()
    expect_form(other)
    expect(other.locator("pre")).to_be_empty()
    sign_in(page, front_end.add_user_with_note("dev"))
    expect_note_of(page, "dev")
    expect_note_of(other, "dev")


def test_a_late_answer_does_not_show_the_notes_of_who_was_signed_in(
    page: Page, front_end: FrontEnd, ann: str
) -> None:
    """It comes when somebody else's are there."""
    held: list[Route] = []
    page.route("**/notes", lambda route: route.continue_() if held else held.append(route))
    sign_in(page, ann)
    while not held:
        page.wait_for_timeout(20)
    button(page, "Sign out").click()
    expect_form(page)
    sign_in(page, front_end.add_user_with_note("dev"))
    expect_note_of(page, "dev")
    with page.expect_response("**/notes"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect_note_of(page, "dev")


def test_the_page_says_what_is_wrong(page: Page, ann: str) -> None:
    """In the words of the service."""
    sign_in(page, ann, "wrong")
    expect(page.get_by_role("alert")).to_have_text(re.compile("do not match an account"))


def test_a_page_whose_origin_is_not_listed_says_so(page: Page, front_end: FrontEnd) -> None:
    """And is not blank; by its number, the same server is another origin."""
    origin = front_end.page.replace("localhost", "127.0.0.1")
    page.goto(origin)
    expect(page.get_by_role("alert")).to_have_text(
        f"{front_end.url} does not answer, or does not list {origin} in FOXTROT_ORIGINS."
    )
    expect_form(page)


def test_a_page_that_opens_during_an_outage_is_of_use_after_it(page: Page, ann: str) -> None:
    """It says what is wrong, and shows the form."""
    page.route("**/auth/token", lambda route: route.abort())
    page.reload()
    expect(page.get_by_role("alert")).to_have_text(re.compile("does not answer"))
    expect_form(page)
    page.unroute("**/auth/token")
    sign_in(page, ann)
    expect_note_of(page, "ann")
    expect(page.get_by_role("alert")).to_be_empty()


def test_the_token_of_a_page_is_for_the_services_alone(
    page: Page, front_end: FrontEnd, ann: str
) -> None:
    """The login service's own API refuses it, so there is a link to the account page."""
    sign_in(page, ann)
    expect_note_of(page, "ann")
    audience, status = page.evaluate(f"""async () => {{
      const {{ Foxtrot }} = await import("{front_end.url}/foxtrot.js");
      const foxtrot = new Foxtrot({{ services: ["{front_end.url}"] }});
      const {{ aud }} = JSON.parse(atob((await foxtrot.token()).split(".")[1]));
      return [aud, (await foxtrot.fetch("{front_end.url}/api/me")).status];
    }}""")
    assert (audience, status) == (["notes"], 401)
    page.get_by_role("link", name="Account").click()
    expect(page).to_have_url(f"{front_end.url}/account")
    expect(page.get_by_text(ann).first).to_be_visible()


def test_signing_out_at_the_login_service_is_learnt_at_the_next_renewal(
    page: Page, front_end: FrontEnd, ann: str
) -> None:
    """Until then a reload gets the token from another tab, as the docs say."""
    sign_in(page, ann)
    expect_note_of(page, "ann")
    other = page.context.new_page()
    other.goto(front_end.page)
    expect_note_of(other, "ann")
    headers = {"Origin": front_end.url}
    page.request.post(f"{front_end.url}/auth/logout", headers=headers)
    page.reload()
    expect_note_of(page, "ann")
    other.close()
    page.reload()
    expect_form(page)
