"""What all tests of the login service share: a real app on a real SQLite file.

The database is migrated once and copied for each test; hashing is cheap. Alice
owns, Bob is another user, Mallory attacks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app, users
from app.db import disconnect
from app.users import User
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, cheap_settings


@pytest.fixture(scope="session")
def template_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as the first start leaves it: schema, secret and signing key."""
    folder = tmp_path_factory.mktemp("template")
    dispose(create_app(cheap_settings(folder)))
    return folder


@pytest.fixture
def data_dir(tmp_path: Path, template_dir: Path) -> Path:
    """A fresh copy of the template."""
    return Path(shutil.copytree(template_dir, tmp_path / "data"))


MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(data_dir: Path) -> Iterator[MakeApp]:
    """Build apps on the test's data folder, with further settings."""
    apps: list[Flask] = []

    def make(**settings: str) -> Flask:
        apps.append(create_app({**cheap_settings(data_dir), **settings}))
        return apps[-1]

    yield make
    for app in apps:
        dispose(app)


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app with default settings."""
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser's or a program's way in, without cookies at first."""
    return app.test_client()


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """Runs the commands."""
    return app.test_cli_runner()


@pytest.fixture
def alice(app: Flask) -> str:
    """Alice's address; she has an account."""
    return add_user(app, "alice@example.com")


@pytest.fixture
def bob(app: Flask) -> str:
    """Bob's address; he has an account."""
    return add_user(app, "bob@example.com")


def add_user(app: Flask, email: str, *scopes: str) -> str:
    """Make a user with the password of all tests."""
    with app.app_context():
        users.create(email, PASSWORD, SOMEWHERE, scopes=scopes)
    return email


def find_user(app: Flask, email: str) -> User:
    """Look a user up; to be called in an app context."""
    user = users.by_email(email)
    assert user is not None
    return user


def dispose(app: Flask) -> None:
    """Close the connections: Python 3.13 warns of those left open."""
    with app.app_context():
        disconnect()


__all__ = ["ORIGIN", "PASSWORD"]
