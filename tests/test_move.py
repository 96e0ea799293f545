"""`flask db move`: a whole installation from SQLite to PostgreSQL, all of it or nothing (OPS-9)."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select, text

from app import accounts, cleaning, create_app, links, services, sessions
from app.db import Base, db, transaction, utcnow
from app.machines import RevokedToken
from tests import postgresql
from tests.conftest import MakeApp, add_service, add_user, dispose, find_user
from tests.keys.conftest import READY, rotate
from tests.sessions.crowd import is_accepted, refresh, sign_in
from tests.support import PASSWORD, SOMEWHERE, cheap_settings, get, log_in, post_json, submit
from tests.test_start import on_a_terminal

FILE = "foxtrot.sqlite3"
SWALLOW = """
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$
"""
SWALLOW_EVENTS = """
CREATE TRIGGER swallow BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION swallow()
"""


@dataclass
class Before:
    """An installation on SQLite that was used: what its people hold."""

    app: Flask
    folder: Path
    browser: FlaskClient
    tokens: dict[str, str]
    ended: dict[str, str]
    machine: tuple[str, str]
    last_session: int

    @property
    def settings(self) -> dict[str, str]:
        return cheap_settings(self.folder)


@pytest.fixture
def before(app: Flask, alice: str, bob: str, data_dir: Path) -> Before:
    """Alice is signed in, by program and browser; Bob has signed out; somebody was deleted.

    In every table there is something.
    """
    tokens = refresh(app, sign_in(app, alice)["refresh_token"]).get_json()
    browser = app.test_client()
    submit(browser, "/login", email=alice, password=PASSWORD)
    ended = sign_in(app, bob)
    post_json(app.test_client(), "/auth/logout", {"refresh_token": ended["refresh_token"]})
    add_service(app, "reports", "reports:read")
    gone = add_user(app, "gone@example.com")
    sign_in(app, gone)
    with app.app_context():
        service, secret = services.add("nightly", SOMEWHERE, may=["reports:read"])
        machine = (service.public_id, secret or "")
        rotate(app, utcnow() + READY)
        last = db.session.scalar(select(func.max(sessions.LoginSession.id)))
        accounts.delete(find_user(app, gone), SOMEWHERE)
        links.make(links.RESET, find_user(app, alice))
        cleaning.claim(timedelta(hours=1), utcnow())
        with transaction():
            db.session.add(RevokedToken(jti="t_0", expires_at=utcnow()))
    log_in(app.test_client(), bob, "wrong")
    dispose(app)
    return Before(app, data_dir, browser, tokens, ended, machine, last or 0)


def command(before: Before, url: str) -> Result:
    """Run the command."""
    done = before.app.test_cli_runner().invoke(args=["db", "move", "--to", url])
    dispose(before.app)
    return done


def move(before: Before, url: str) -> str:
    """Run the command; what it said."""
    done = command(before, url)
    assert done.exit_code == 0, done.output
    return done.stdout


def refused(before: Before, url: str) -> str:
    """The one line in which the move was refused."""
    done = command(before, url)
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1), done.output
    return done.stderr


def counts(app: Flask) -> dict[str, int]:
    """The number of rows of every table of the models."""
    with app.app_context():
        tables = Base.metadata.sorted_tables
        return {t.name: db.session.scalar(select(func.count()).select_from(t)) or 0 for t in tables}


@pytest.fixture
def after(before: Before, empty_postgresql_url: str, tmp_path: Path) -> Iterator[Flask]:
    """The service on PostgreSQL, with the settings that the move asks for."""
    said = move(before, empty_postgresql_url)
    assert f"FOXTROT_SECRET_KEY_FILE={before.folder}/secret" in said
    settings = {
        **cheap_settings(tmp_path / "new"),
        "FOXTROT_DATABASE_URL": empty_postgresql_url,
        "FOXTROT_SECRET_KEY_FILE": f"{before.folder}/secret",
    }
    app = create_app(settings)
    yield app
    dispose(app)


# What goes on


def test_everybody_goes_on_as_if_nothing_had_happened(before: Before, after: Flask) -> None:
    """Access token, refresh token and password of before are good."""
    assert is_accepted(after, before.tokens["access_token"])
    assert refresh(after, before.tokens["refresh_token"]).status_code == 200
    assert log_in(after.test_client(), "alice@example.com").status_code == 200


def test_a_browser_stays_signed_in(before: Before, after: Flask) -> None:
    """By the cookie that it holds."""
    cookie = before.browser.get_cookie("foxtrot_session")
    browser = after.test_client()
    browser.set_cookie("foxtrot_session", cookie.value if cookie else "")
    assert get(browser, "/account").status_code == 200


def test_what_has_ended_stays_ended(before: Before, after: Flask) -> None:
    """Its tokens are dead, and the services learn so from the list."""
    assert not is_accepted(after, before.ended["access_token"])
    assert refresh(after, before.ended["refresh_token"]).status_code == 401


def test_a_machine_goes_on(before: Before, after: Flask) -> None:
    """With its secret."""
    form = {"grant_type": "client_credentials", "scope": "reports:read"}
    answer = after.test_client().post(
        "/oauth/token",
        data=form,
        auth=before.machine,
        base_url="http://localhost:5000",
    )
    assert answer.status_code == 200, answer.get_data(as_text=True)


def test_no_number_of_a_session_is_given_again(before: Before, after: Flask) -> None:
    """Also not of one whose row is gone: its place in the status list is taken."""
    sign_in(after, "bob@example.com")
    with after.app_context():
        assert (db.session.scalar(select(func.max(sessions.LoginSession.id))) or 0) > (
            before.last_session
        )


def test_new_rows_of_every_kind_get_numbers(before: Before, after: Flask) -> None:
    """Users, services, events: none meets one that was moved."""
    add_user(after, "new@example.com")
    add_service(after, "new")


def test_every_table_is_moved_with_all_its_rows(before: Before, after: Flask) -> None:
    """Those of the models, and there are no others; a table that is added later is moved too."""
    with closing(sqlite3.connect(before.folder / FILE)) as source:
        rows = source.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    assert {name for (name,) in rows} - {"alembic_version", "sqlite_sequence"} == set(
        Base.metadata.tables
    )
    had = counts(before.app)
    dispose(before.app)
    assert [name for name, number in had.items() if number == 0] == []
    assert counts(after) == had


# All, or nothing


def test_here_nothing_is_changed(before: Before, empty_postgresql_url: str) -> None:
    """Byte by byte, apart from SQLite's own log; the service could go on."""
    with closing(sqlite3.connect(before.folder / FILE)) as source:
        dump = list(source.iterdump())
    move(before, empty_postgresql_url)
    with closing(sqlite3.connect(before.folder / FILE)) as source:
        assert list(source.iterdump()) == dump


def test_a_second_move_is_refused(before: Before, empty_postgresql_url: str) -> None:
    """Nothing is put on top of what is there."""
    move(before, empty_postgresql_url)
    assert "not empty" in refused(before, empty_postgresql_url)


def test_a_migrated_database_that_was_never_used_is_as_good_as_an_empty_one(
    before: Before, empty_postgresql_url: str
) -> None:
    """Somebody ran `flask db upgrade` there first."""
    there = {
        "FOXTROT_DATABASE_URL": empty_postgresql_url,
        "FOXTROT_SECRET_KEY_FILE": f"{before.folder}/secret",
    }
    app = create_app({**before.settings, **there})
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    dispose(app)
    assert "Moved and counted" in move(before, empty_postgresql_url)


def test_a_database_of_somebody_else_is_refused(
    before: Before, cluster: postgresql.Cluster, empty_postgresql_url: str
) -> None:
    """With the names of its tables, and it is left alone."""
    name = empty_postgresql_url.rpartition("/")[2]
    cluster.execute("CREATE TABLE invoices (id int)", name)
    assert "invoices" in refused(before, empty_postgresql_url)
    left = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert cluster.execute(left, name) == [("invoices",)]


@pytest.mark.parametrize("damage", ["orphan", "text"])
def test_a_database_that_cannot_be_moved_whole_is_not_moved_at_all(
    before: Before, cluster: postgresql.Cluster, empty_postgresql_url: str, damage: str
) -> None:
    """A session of nobody, or a text that PostgreSQL cannot hold; over there nothing is left."""
    statement = {
        "orphan": "UPDATE login_sessions SET user_id = 999 WHERE id = 1",
        "text": "UPDATE users SET email = 'a' || char(0) || 'b' WHERE id = 1",
    }
    with closing(sqlite3.connect(before.folder / FILE)) as source:
        source.execute(statement[damage])
        source.commit()
    refused(before, empty_postgresql_url)
    left = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert cluster.execute(left, empty_postgresql_url.rpartition("/")[2]) == [(0,)]


def test_rows_that_do_not_arrive_are_noticed(
    before: Before, cluster: postgresql.Cluster, empty_postgresql_url: str
) -> None:
    """A trigger over there swallows the events: the counts differ, and nothing is moved."""
    there = {
        "FOXTROT_DATABASE_URL": empty_postgresql_url,
        "FOXTROT_SECRET_KEY_FILE": f"{before.folder}/secret",
    }
    app = create_app({**before.settings, **there})
    assert app.test_cli_runner().invoke(args=["db", "upgrade"]).exit_code == 0
    dispose(app)
    name = empty_postgresql_url.rpartition("/")[2]
    cluster.execute(SWALLOW, name)
    cluster.execute(SWALLOW_EVENTS, name)
    assert re.search(
        r"Of \d+ rows of audit_events, 0 arrived", refused(before, empty_postgresql_url)
    )
    assert cluster.execute("SELECT count(*) FROM users", name) == [(0,)]


@pytest.mark.parametrize(
    ("to", "code"),
    [
        ("sqlite:///other", 2),
        ("mysql://host/name", 2),
        ("postgresql://u:hush@[::1]:1/d", 1),
    ],
)
def test_a_target_that_is_none_is_said_in_words(before: Before, to: str, code: int) -> None:
    """With no password in them."""
    done = command(before, to)
    assert done.exit_code == code
    assert "Error: " in done.stderr
    assert "hush" not in done.stderr


def test_what_is_on_postgresql_already_is_not_moved(
    postgresql_url: str, make_app: MakeApp, tmp_path: Path
) -> None:
    """It says so."""
    settings = {**cheap_settings(tmp_path), "FOXTROT_DATABASE_URL": postgresql_url}
    settings["FOXTROT_SECRET_KEY"] = "hV4sQ9xTn2LwYc7RbK0mZdEo3JgAu6Pi"
    done = (
        make_app(**settings).test_cli_runner().invoke(args=["db", "move", "--to", postgresql_url])
    )
    assert (done.exit_code, "not on SQLite" in done.stderr) == (1, True)


def test_a_terminal_is_shown_a_bar(before: Before, empty_postgresql_url: str) -> None:
    """A pipe gets a line for each table instead."""
    arguments = ("db", "move", "--to", empty_postgresql_url)
    with on_a_terminal(*arguments, settings=before.settings) as terminal:
        assert terminal.end() == 0
    assert "100%" in terminal.screen
    assert "users" in terminal.screen


def test_a_pipe_gets_a_line_for_each_table(before: Before, empty_postgresql_url: str) -> None:
    """With the number of rows."""
    said = move(before, empty_postgresql_url).splitlines()
    assert "users: 2" in said
    assert {line.partition(":")[0] for line in said} >= set(Base.metadata.tables)


def test_many_rows_go_in_batches(
    before: Before, empty_postgresql_url: str, cluster: postgresql.Cluster
) -> None:
    """More than one, and all arrive."""
    with before.app.app_context(), db.engine.begin() as connection:
        numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
        connection.execute(text(f"INSERT INTO revoked_tokens {numbers} SELECT 't_' || i, i FROM n"))
    dispose(before.app)
    assert "revoked_tokens: 2501" in move(before, empty_postgresql_url)
    found = cluster.execute(
        "SELECT count(*) FROM revoked_tokens", empty_postgresql_url.rpartition("/")[2]
    )
    assert found == [(2501,)]
