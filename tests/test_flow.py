"""The whole story, with real processes: log in once, call every service.

The login service and the notes service run as two programs. A browser signs in
by the form, a program logs in by JSON, and both services are called with the
token; by public keys, and with one shared secret.
"""

from __future__ import annotations

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from tests.chromium import needs_chromium, open_page
from tests.processes import free_port, serving, stop
from tests.support import CHEAP_HASH, PASSWORD

SHARED_SECRET = secrets.token_urlsafe(48)


@dataclass
class Services:
    """The addresses of both services, and the login service's process."""

    login: str
    notes: str
    process: Popen[str]


@pytest.fixture(scope="module", params=["public keys", "shared secret"])
def services(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Services]:
    """Both services, running; the secret is either nobody's or both's."""
    shared = SHARED_SECRET if request.param == "shared secret" else None
    with ExitStack() as stack:
        yield start_services(stack, tmp_path_factory.mktemp("services"), shared)


def start_services(stack: ExitStack, folder: Path, shared: str | None) -> Services:
    login_port, notes_port = free_port(), free_port()
    issuer = f"http://localhost:{login_port}"
    login = {"FOXTROT_DATA_DIR": str(folder / "login"), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    notes = {"NOTES_ISSUER": issuer, "NOTES_DATABASE": str(folder / "notes.sqlite3")}
    if shared:
        login |= {"FOXTROT_ALGORITHM": "HS256", "FOXTROT_SHARED_SECRET": shared}
        notes |= {"NOTES_SECRET": shared}
    process = stack.enter_context(serving(port=login_port, settings=login))
    stack.enter_context(serving("--app", "examples.notes", port=notes_port, settings=notes))
    return Services(issuer, f"http://localhost:{notes_port}", process)


def call(url: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
    """One HTTP request, as any program makes it; status and JSON of the answer."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def token_for(services: Services, email: str) -> str:
    """Make an account, if there is none, and log in by JSON."""
    credentials = {"email": email, "password": PASSWORD}
    call(f"{services.login}/auth/register", credentials)
    status, body = call(f"{services.login}/auth/login", credentials)
    assert status == 200
    return str(body["access_token"])


def texts(answer: tuple[int, Any]) -> list[str]:
    status, body = answer
    assert status == 200, body
    return [note["text"] for note in body["notes"]]


def changed(token: str, part: int) -> str:
    """The token with one character in the middle of one part replaced."""
    parts = token.split(".")
    middle = len(parts[part]) // 2
    other = "A" if parts[part][middle] != "A" else "B"
    parts[part] = parts[part][:middle] + other + parts[part][middle + 1 :]
    return ".".join(parts)


def test_one_login_opens_both_services(services: Services) -> None:
    """The same token, and nobody asks for the password again."""
    token = token_for(services, "alice@example.com")
    assert call(f"{services.login}/api/me", token=token)[0] == 200
    assert call(f"{services.notes}/notes", {"text": "Buy milk"}, token)[0] == 201
    assert "Buy milk" in texts(call(f"{services.notes}/notes", token=token))


@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "claims", "signature"])
def test_one_changed_character_is_refused_by_both(services: Services, part: int) -> None:
    """No part of a token can be changed."""
    forged = changed(token_for(services, "alice@example.com"), part)
    for url in (f"{services.login}/api/me", f"{services.notes}/notes"):
        status, body = call(url, token=forged)
        assert (status, body["code"]) == (401, "invalid_token")


def test_a_user_sees_only_their_own_notes(services: Services) -> None:
    """The service scopes what it shows by the subject of the token."""
    bob, mallory = (token_for(services, f"{name}@example.com") for name in ("bob", "mallory"))
    call(f"{services.notes}/notes", {"text": "Bob's secret"}, bob)
    assert "Bob's secret" in texts(call(f"{services.notes}/notes", token=bob))
    assert texts(call(f"{services.notes}/notes", token=mallory)) == []


@needs_chromium
@pytest.mark.browser
def test_a_browser_signs_in_and_its_token_opens_both_services(services: Services) -> None:
    """The token comes by the form, the cookie and `POST /auth/token`."""
    token_for(services, "carol@example.com")
    with open_page() as page:
        page.goto(services.login)
        page.get_by_label("E-mail address").fill("carol@example.com")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/account")
        page.get_by_role("button", name="Get a token").click()
        page.get_by_text("The token itself").click()
        token = page.locator("#token-text").inner_text()
    assert call(f"{services.login}/api/me", token=token)[1]["email"] == "carol@example.com"
    assert texts(call(f"{services.notes}/notes", token=token)) == []


@pytest.mark.parametrize("shared", [None, SHARED_SECRET], ids=["public keys", "shared secret"])
def test_services_go_on_while_the_login_service_is_stopped(
    tmp_path: Path, shared: str | None
) -> None:
    """Nobody asks the issuer on the way."""
    with ExitStack() as stack:
        services = start_services(stack, tmp_path, shared)
        token = token_for(services, "alice@example.com")
        assert texts(call(f"{services.notes}/notes", token=token)) == []
        stop(services.process)
        assert call(f"{services.notes}/notes", {"text": "Still here"}, token)[0] == 201
        assert texts(call(f"{services.notes}/notes", token=token)) == ["Still here"]
