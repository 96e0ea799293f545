"""What all tests of the login service share: a real app on a real database.

It is a SQLite file, unless a test says `@on_postgresql` or `@on_both_databases`. Either
is migrated once and copied for each test; hashing is cheap. Alice owns, Bob is another
user, Mallory attacks.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app, schema, services, sessions, users
from app.db import disconnect
from app.ids import digest, new_secret
from app.sessions import LoginSession
from app.users import User
from tests import postgresql
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, cheap_settings, postgresql_settings

on_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
"""The test, with its `app` and `client` and whatever else builds on `database`, on PostgreSQL."""

on_both_databases = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
"""The test twice, on each."""


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


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgresql.Cluster]:
    """A PostgreSQL server for the tests of this process, started when one asks for it."""
    with postgresql.running() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def postgresql_template(
    cluster: postgresql.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a database as the first start leaves it: schema and signing key."""
    with cluster.database() as url:
        settings = postgresql_settings(url, tmp_path_factory.mktemp("postgresql"))
        app = create_app(settings)
        with app.app_context():
            schema.upgrade()
        dispose(app)
        dispose(create_app(settings))
        yield url.rpartition("/")[2]


@pytest.fixture
def postgresql_url(cluster: postgresql.Cluster, postgresql_template: str) -> Iterator[str]:
    """The URL of a fresh copy of the template; its signing key opens with `SECRET_KEY`."""
    with cluster.database(postgresql_template) as url:
        yield url


@pytest.fixture
def empty_postgresql_url(cluster: postgresql.Cluster) -> Iterator[str]:
    """The URL of a fresh database without a schema."""
    with cluster.database() as url:
        yield url


@pytest.fixture
def database(request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a fresh, migrated database: SQLite, unless the test says otherwise."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return cheap_settings(request.getfixturevalue("data_dir"))
    folder: Path = request.getfixturevalue("tmp_path")
    return postgresql_settings(request.getfixturevalue("postgresql_url"), folder / "data")


MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(database: dict[str, str]) -> Iterator[MakeApp]:
    """Build apps on the test's database, with further settings."""
    apps: list[Flask] = []

    def make(**settings: str) -> Flask:
        apps.append(create_app({**database, **settings}))
        return apps[-1]

    yield make
    for app in apps:
        dispose(app)


@pytest.fixture
def fresh(make_app: MakeApp, tmp_path: Path) -> MakeApp:
    """Build apps on a folder without any keys: their algorithm signs from the first start on."""

    def make(**settings: str) -> Flask:
        return make_app(FOXTROT_DATA_DIR=str(tmp_path / "fresh"), **settings)

    return make


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


def add_service(app: Flask, name: str, *scopes: str) -> None:
    """Register a service; `notes` is there from the first start."""
    with app.app_context():
        services.add(name, SOMEWHERE, scopes=scopes)


def begin_session(user: User, now: datetime | None = None) -> tuple[LoginSession, str]:
    """A browser's session, and the secret in its cookie; to be called in an app context."""
    secret = new_secret()
    public_id = sessions.start(user, SOMEWHERE, secret_hash=digest(secret), now=now).public_id
    session = sessions.find(public_id)
    assert session is not None
    return session, secret


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
