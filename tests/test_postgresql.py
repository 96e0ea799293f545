"""The service on PostgreSQL: a real server, migrated as its operator does it (app/schema.py)."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import inspect

from app import accounts, schema
from app.db import BUSY_SECONDS, Base, db, exclusive_connection
from tests import postgresql
from tests.conftest import MakeApp, find_user, on_postgresql
from tests.processes import free_port, run, serving
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    get,
    log_in,
    post_json,
    postgresql_settings,
    submit,
)

TABLES = {
    "alembic_version",
    "audit_events",
    "ended_ranges",
    "login_sessions",
    "one_time_links",
    "rate_limits",
    "revoked_tokens",
    "services",
    "signing_keys",
    "upkeep",
    "users",
}


@pytest.fixture
def empty(empty_postgresql_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a service whose database has no schema yet."""
    return postgresql_settings(empty_postgresql_url, tmp_path)


def tables(app: Flask) -> set[str]:
    """What is in the database."""
    with app.app_context(), db.engine.connect() as connection:
        return set(inspect(connection).get_table_names())


# Migrations


def test_upgrade_makes_all_tables_from_nothing(empty: dict[str, str], make_app: MakeApp) -> None:
    """`flask db upgrade`, the step of the deployment; a second one does no harm."""
    app = make_app(**empty)
    assert tables(app) == set()
    for _ in range(2):
        done = run("db", "upgrade", settings=empty)
        assert done.returncode == 0, done.stderr
        assert tables(app) == TABLES


def test_of_many_upgrades_at_once_one_makes_the_tables(
    empty: dict[str, str], make_app: MakeApp
) -> None:
    """A deployment that runs it on each machine; none fails."""
    with ThreadPoolExecutor(6) as pool:
        upgrades = pool.map(lambda _: run("db", "upgrade", settings=empty), range(6))
        assert [done.stderr for done in upgrades if done.returncode] == []
    assert tables(make_app(**empty)) == TABLES


def test_an_upgrade_waits_for_one_under_way_however_long_it_takes(
    empty: dict[str, str], make_app: MakeApp
) -> None:
    """Longer than a request would."""
    app = make_app(**empty)

    def upgrade() -> None:
        with app.app_context():
            schema.upgrade()

    with ThreadPoolExecutor(1) as pool:
        with app.app_context(), exclusive_connection():
            second = pool.submit(upgrade)
            with pytest.raises(TimeoutError):
                second.result(BUSY_SECONDS + 1)
        second.result(60)
    assert tables(app) == TABLES


@on_postgresql
def test_the_migrations_make_what_the_models_say(app: Flask) -> None:
    """Alembic finds nothing to add, to remove or to change."""
    with app.app_context(), db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


@on_postgresql
def test_downgrade_leaves_nothing_of_ours(app: Flask) -> None:
    """Only Alembic's own table."""
    with app.app_context():
        schema.downgrade("base")
    assert tables(app) == {"alembic_version"}


@on_postgresql
def test_after_a_downgrade_an_upgrade_makes_it_all_again(app: Flask, client: FlaskClient) -> None:
    """And the service is ready."""
    with app.app_context():
        schema.downgrade("base")
        schema.upgrade()
    assert tables(app) == TABLES
    assert get(client, "/readyz").status_code == 200


# A service that starts before its database is migrated


def readiness(port: int) -> tuple[int, str]:
    """What `/readyz` of a real server answers."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}/readyz", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def test_a_running_service_is_ready_once_its_database_is_migrated(empty: dict[str, str]) -> None:
    """Before, it says what is missing; it need not be started again."""
    port = free_port()
    with serving(port=port, settings=empty):
        status, said = readiness(port)
        assert (status, "schema" in said) == (503, True)
        assert run("db", "upgrade", settings=empty).returncode == 0
        assert readiness(port)[0] == 200


def test_a_service_that_waited_for_its_migration_issues_tokens(
    empty: dict[str, str], make_app: MakeApp
) -> None:
    """It makes its signing key when it first needs one."""
    app = make_app(**empty)
    with app.app_context():
        schema.upgrade()
    client = app.test_client()
    post_json(client, "/auth/register", {"email": "ann@example.com", "password": PASSWORD})
    assert get(client, "/api/me", access_token(client, "ann@example.com")).status_code == 200


# Through the door


@on_postgresql
def test_a_person_registers_logs_in_and_is_known(client: FlaskClient) -> None:
    """As on SQLite."""
    body = {"email": "Ann@example.com", "password": PASSWORD}
    assert post_json(client, "/auth/register", body).status_code == 201
    answer = get(client, "/api/me", access_token(client, "ann@example.com"))
    assert answer.get_json()["email"] == "Ann@example.com"


@on_postgresql
def test_an_address_is_taken_once(client: FlaskClient, alice: str) -> None:
    """However it is written."""
    body = {"email": alice.upper(), "password": PASSWORD}
    answer = post_json(client, "/auth/register", body)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "email_taken")


@on_postgresql
def test_a_person_signs_in_with_a_browser(client: FlaskClient, alice: str) -> None:
    """The cookie leads to the account page."""
    assert submit(client, "/login", email=alice, password=PASSWORD).status_code == 303
    assert alice in get(client, "/account").get_data(as_text=True)


@on_postgresql
def test_a_person_chooses_a_new_password_by_a_reset_link(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """An earlier link is worthless then."""
    with app.app_context():
        earlier, link = (accounts.reset_url(find_user(app, alice), SOMEWHERE) for _ in range(2))
    new, earlier_token, token = "seven quiet herons at dusk", earlier[-43:], link[-43:]
    assert submit(client, "/reset", token=earlier_token, password=new).status_code == 404
    assert submit(client, "/reset", token=token, password=new).status_code == 303
    assert log_in(client, alice, new).status_code == 200


# NUL, which PostgreSQL cannot store

IN_JSON: list[tuple[str, dict[str, Any]]] = [
    ("/auth/register", {"email": "a\0b@example.com", "password": PASSWORD}),
    ("/auth/register", {"email": "ann@example.com", "password": f"{PASSWORD}\0"}),
    ("/auth/password-advice", {"email": "a\0b@example.com", "password": PASSWORD}),
    ("/auth/login", {"email": "alice@example.com\0", "password": PASSWORD}),
    ("/auth/login", {"email": "alice@example.com", "password": f"{PASSWORD}\0"}),
    ("/auth/login", {"email": "alice@example.com", "password": PASSWORD, "audience": "\0"}),
    ("/auth/login", {"email": "alice@example.com", "password": PASSWORD, "scope": "a\0"}),
    ("/auth/token", {"audience": "notes\0"}),
]
IN_FORMS = [
    ("/register", {"email": "a\0b@example.com", "password": PASSWORD}),
    ("/login", {"email": "alice@example.com\0", "password": PASSWORD}),
    ("/setup", {"email": "a@example.com", "password": PASSWORD, "token": "\0"}),
    ("/reset", {"password": PASSWORD, "token": "\0"}),
]


@on_postgresql
@pytest.mark.parametrize(("path", "body"), IN_JSON)
def test_nul_in_json_is_the_clients_mistake(
    client: FlaskClient, alice: str, path: str, body: dict[str, Any]
) -> None:
    """Whatever field it is in."""
    assert 400 <= post_json(client, path, body, Origin=ORIGIN).status_code < 500


@on_postgresql
@pytest.mark.parametrize(("path", "fields"), IN_FORMS)
def test_nul_in_a_form_is_the_clients_mistake(
    client: FlaskClient, alice: str, path: str, fields: dict[str, str]
) -> None:
    """Whatever field it is in."""
    assert 400 <= submit(client, path, **fields).status_code < 500


@on_postgresql
@pytest.mark.parametrize("path", ["/setup?token=%00", "/reset?token=a%00b", "/%00"])
def test_nul_in_a_link_leads_nowhere(client: FlaskClient, path: str) -> None:
    """As any other link that does not exist."""
    assert get(client, path).status_code == 404


@on_postgresql
def test_nul_as_the_name_of_a_session_leads_nowhere(client: FlaskClient, alice: str) -> None:
    """With a good token."""
    headers = bearer(access_token(client, alice, audience=ORIGIN))
    answer = client.delete("/api/sessions/s%00", headers=headers, base_url=ORIGIN)
    assert answer.status_code == 404


@on_postgresql
@pytest.mark.parametrize(("path", "status"), [("/account", 303), ("/login", 200)])
def test_nul_in_a_cookie_signs_nobody_in(client: FlaskClient, path: str, status: int) -> None:
    """Cookies can hold it, written as `\\000`."""
    answer = get(client, path, headers={"Cookie": r'foxtrot_session="a\000b"'})
    assert answer.status_code == status


@on_postgresql
def test_nul_in_the_name_of_a_browser_keeps_nobody_out(client: FlaskClient, alice: str) -> None:
    """It is stored without."""
    client.environ_base["HTTP_USER_AGENT"] = "Fire\0fox"
    assert log_in(client, alice).status_code == 200


# The server itself


def test_the_server_of_the_tests_keeps_what_it_acknowledged() -> None:
    """A crash may be tested with it: it writes through to the disk, and comes back."""
    with postgresql.running() as own:
        assert own.execute("SHOW fsync") == [("on",)]
        own.execute("CREATE TABLE kept AS SELECT 1 AS number")
        own.stop(signal.SIGQUIT)
        own.start()
        assert own.execute("SELECT number FROM kept") == [(1,)]
