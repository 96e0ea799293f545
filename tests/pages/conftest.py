"""What the tests of the pages share: forms that are sent, links, and the HTML that comes back.

Each test talks HTTP as a browser without JavaScript does.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import create_app, links, users
from tests.conftest import MakeApp, dispose, find_user
from tests.support import PASSWORD, SOMEWHERE, cheap_settings, get, submit

COOKIE = "foxtrot_session"
PUBLIC = "https://login.example.com"
NEW_PASSWORD = "seven green lamps above the harbour"
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)

VOID = {"input", "link", "meta", "br", "img"}
Attributes = dict[str, str | None]
Element = tuple[str, Attributes]


class Page(HTMLParser):
    """The elements of an HTML page, and the text inside each `<title>` and `<h1>`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self.inline: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style") and data.strip():
            self.inline.append(data)

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]

    def field(self, name: str) -> Attributes:
        return next(field for field in self.all("input") if field.get("name") == name)


def sign_in(client: FlaskClient, email: str, password: str = PASSWORD, **more: str) -> TestResponse:
    """Send the sign-in form."""
    return submit(client, "/login", email=email, password=password, **more)


def cookie(client: FlaskClient) -> str:
    """The session secret that the browser holds."""
    held = client.get_cookie(COOKIE)
    assert held is not None
    return held.value


def is_signed_in(app: Flask, secret: str) -> bool:
    """Whether a browser with this cookie, and nothing else, sees the account page."""
    client = app.test_client()
    client.set_cookie(COOKIE, secret)
    return get(client, "/account").status_code == 200


def setup_secret(app: Flask, now: datetime | None = None) -> str:
    """A link for the first administrator."""
    with app.app_context():
        return links.make(links.SETUP, now=now)


def reset_secret(app: Flask, email: str, now: datetime | None = None) -> str:
    """A link by which a user chooses a new password."""
    with app.app_context():
        return links.make(links.RESET, find_user(app, email), now)


def set_up(client: FlaskClient, token: str, email: str = "alice@example.com") -> TestResponse:
    """Send the form that makes the first administrator."""
    return submit(client, "/setup", token=token, email=email, password=PASSWORD)


def lead_to(answer: TestResponse) -> str:
    """Where a redirect leads, which must be by GET."""
    assert answer.status_code == 303, answer.get_data(as_text=True)
    return str(answer.headers["Location"])


@contextmanager
def fresh_app(
    template_dir: Path, folders: pytest.TempPathFactory, **settings: str
) -> Iterator[Flask]:
    """An app for many tests that only look; with a folder of its own."""
    folder = shutil.copytree(template_dir, folders.mktemp("shared") / "data")
    app = create_app({**cheap_settings(folder), **settings})
    yield app
    dispose(app)


def contents(data_dir: Path) -> list[str]:
    """Every row of the database."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        return list(connection.iterdump())


@pytest.fixture
def disabled(app: Flask) -> str:
    """Carol's address; her account is disabled."""
    with app.app_context():
        users.disable(users.create("carol@example.com", PASSWORD, SOMEWHERE), SOMEWHERE)
    return "carol@example.com"


@pytest.fixture
def on_https(make_app: MakeApp) -> Flask:
    """The service as it runs in public."""
    return make_app(FOXTROT_PUBLIC_URL=PUBLIC)
