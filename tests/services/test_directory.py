"""What a process knows of the services, and how soon it hears of changes."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from app import services
from app.db import db, transaction, utcnow
from app.services import REREAD, Directory
from tests.conftest import MakeApp, add_service, add_user, on_both_databases
from tests.services.conftest import change
from tests.support import ORIGIN, SOMEWHERE, access_token, claims_of

SECOND = timedelta(seconds=1)


def audience(client: FlaskClient, email: str) -> list[str]:
    claims: dict[str, list[str]] = claims_of(access_token(client, email))
    return claims["aud"]


@on_both_databases
def test_the_process_that_changes_a_service_knows_at_once(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """From the commit on."""
    assert audience(client, alice) == [ORIGIN, "notes"]
    add_service(app, "wiki")
    assert audience(client, alice) == [ORIGIN, "notes", "wiki"]
    change(app, services.remove, "wiki")
    assert audience(client, alice) == [ORIGIN, "notes"]


def names(directory: Directory, *wanted: str, after: timedelta = timedelta()) -> list[str]:
    return [one.name for one in directory.audiences(wanted, utcnow() + after)]


def test_other_processes_know_within_half_a_minute(app: Flask) -> None:
    """Each looks at the table again when its last look is that old."""
    another = Directory()
    with app.app_context():
        assert "wiki" not in names(another)
        add_service(app, "wiki")
        assert "wiki" not in names(another, after=REREAD - 5 * SECOND)
        assert "wiki" in names(another, after=REREAD + SECOND)


def test_what_was_read_while_it_changed_is_not_kept(app: Flask) -> None:
    """It may be what there was before."""
    another, still_to_come = Directory(), ["wiki"]

    def change_meanwhile(*given: Any) -> None:
        if "FROM services" in given[2] and still_to_come:
            still_to_come.clear()
            add_service(app, "wiki")
            another.forget()

    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", change_meanwhile)
        assert "wiki" not in names(another)
        assert "wiki" in names(another)


def test_a_clock_that_was_set_back_does_not_keep_the_old(app: Flask) -> None:
    """An age counts in both directions."""
    another = Directory()
    with app.app_context():
        names(another)
        add_service(app, "wiki")
        assert "wiki" in names(another, after=-REREAD - SECOND)


def test_who_asks_for_a_new_service_by_name_gets_it_at_once(make_app: MakeApp) -> None:
    """Whichever process added it: an unknown name is looked for before it is refused."""
    here, there = make_app(), make_app()
    client, alice = here.test_client(), add_user(here, "alice@example.com")
    assert audience(client, alice) == [ORIGIN, "notes"]
    add_service(there, "wiki")
    assert claims_of(access_token(client, alice, audience="wiki"))["aud"] == ["wiki"]


def test_a_change_that_was_rolled_back_was_none(app: Flask) -> None:
    """Nothing of it is kept."""
    with app.app_context():
        with suppress(RuntimeError), transaction():
            services.add("wiki", SOMEWHERE)
            raise RuntimeError
        assert [one.name for one in services.open_to(())] == []
        assert services.by_name("wiki") is None


def test_the_services_cost_a_refresh_no_statement(
    app: Flask, client: FlaskClient, alice: str
) -> None:
    """But for one each half minute."""
    access_token(client, alice)
    seen: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    access_token(client, alice)
    assert seen
    assert not any("FROM services" in statement for statement in seen)
