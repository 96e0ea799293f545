"""What audit events never say, and that nothing breaks out of their lines."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import accounts, create_app, links, users
from app.audit import AuditEvent
from app.db import db, transaction
from tests import processes
from tests.conftest import add_user, dispose, find_user, on_both_databases
from tests.sessions.conftest import (
    KEY,
    NEW_PASSWORD,
    Lines,
    all_events,
    refresh,
    signed_in_browser,
    user_id,
)
from tests.support import (
    PASSWORD,
    SOMEWHERE,
    cheap_settings,
    log_in,
    submit,
)

WRONG = "wrong horse battery staple"
ALICE = "alice@example.com"

# Failed sign-ins


def typed_hash(app: Flask, typed: str) -> str | None:
    log_in(app.test_client(), typed, WRONG)
    return all_events(app)[-1].typed_hash


def test_an_unknown_address_is_kept_as_a_hash_only(app: Flask, lines: Lines) -> None:
    """People type their passwords into that field."""
    found = typed_hash(app, "my secret password")
    assert found is not None
    assert re.fullmatch(r"[0-9a-f]{32}", found)
    assert "secret" not in str(lines())
    assert all_events(app)[-1].user is None


@pytest.mark.parametrize(
    ("one", "other"), [("x@example.com", "x@example.com"), ("x@example.com", "X@Example.COM")]
)
def test_equal_addresses_have_equal_hashes(app: Flask, one: str, other: str) -> None:
    """So that somebody who tries one name over and over is seen."""
    assert typed_hash(app, one) == typed_hash(app, other)


def test_different_addresses_have_different_hashes(app: Flask) -> None:
    """So that somebody who tries many is seen."""
    assert typed_hash(app, "x@example.com") != typed_hash(app, "y@example.com")


def test_another_installation_has_other_hashes(app: Flask, tmp_path: Path) -> None:
    """Its secret is another: nobody can make a table of them."""
    other = create_app(cheap_settings(tmp_path / "other"))
    assert typed_hash(app, "x@example.com") != typed_hash(other, "x@example.com")
    dispose(other)


def test_a_known_address_needs_no_hash(app: Flask, alice: str) -> None:
    """The id is enough."""
    assert typed_hash(app, alice) is None
    assert all_events(app)[-1].user == user_id(app, alice)


HOSTILE_ADDRESSES = ["", "\u202e", "x" * 1000, "a\nb@example.com", '{"event":"x"}', "é" * 500]


@pytest.mark.parametrize("typed", HOSTILE_ADDRESSES, ids=lambda text: text[:10].encode().hex())
def test_whatever_is_typed_can_be_written_down(app: Flask, lines: Lines, typed: str) -> None:
    """Never a fault of ours, and always one line."""
    assert typed_hash(app, typed)
    assert [line["event"] for line in lines()] == ["login.failed"]


@on_both_databases
@pytest.mark.parametrize("whose", ["unknown", "wrong", "disabled"])
def test_each_failed_sign_in_writes_the_same_amount(
    app: Flask, alice: str, bob: str, lines: Lines, whose: str
) -> None:
    """One row and one line of one size, so that its time tells nothing."""
    with app.app_context():
        accounts.disable(find_user(app, bob), SOMEWHERE)
    before = len(lines()), len(all_events(app))
    email, password = {"unknown": ("x@y.org", PASSWORD), "wrong": (alice, WRONG)}.get(
        whose, (bob, PASSWORD)
    )
    log_in(app.test_client(), email, password)
    assert (len(lines()) - before[0], len(all_events(app)) - before[1]) == (1, 1)
    event = all_events(app)[-1]
    assert (event.name, event.reason) == ("login.failed", None)
    assert 28 <= len(event.user or event.typed_hash or "") <= 32


# The line


AGENTS = [
    '"}\n{"event": "login.succeeded", "user": "u_root"}',
    "curl/8\r\n\x1b[2J\x00",
    "\u2028\u2029\x85Firefox/1",
    "x" * 10_000,
]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda text: text[:8].encode().hex())
def test_no_name_breaks_out_of_its_line(
    app: Flask, alice: str, caplog: pytest.LogCaptureFixture, agent: str
) -> None:
    """Each event is one line of plain ASCII."""
    client = app.test_client()
    client.environ_base |= {"HTTP_USER_AGENT": agent, "REMOTE_ADDR": f"::1%{agent}"}
    caplog.clear()
    log_in(client, alice)
    [record] = [record for record in caplog.records if record.name == "foxtrot.audit"]
    assert re.fullmatch(r"[\x20-\x7e]{1,1000}", record.getMessage())
    assert record.levelname == "INFO"


def test_a_process_writes_its_lines_to_standard_error(data_dir: Path, app: Flask) -> None:
    """Bare JSON, one line each, for whatever collects logs; standard output stays clean."""
    add_user(app, ALICE)
    ended = processes.run("users", "disable", ALICE, settings=cheap_settings(data_dir))
    [line] = ended.stderr.splitlines()
    assert json.loads(line)["event"] == "user.disabled"
    assert ended.stdout == f"{ALICE} is disabled and signed out everywhere.\n"


@transaction()
def disable_and_fail(app: Flask, email: str) -> None:
    """A transaction that does not come to its end."""
    users.disable(find_user(app, email), SOMEWHERE)
    raise ZeroDivisionError


def test_what_is_rolled_back_is_not_written(app: Flask, alice: str, lines: Lines) -> None:
    """Neither row nor line: a log that says what did not happen is worse than none."""
    before = len(lines())
    with app.app_context(), pytest.raises(ZeroDivisionError):
        disable_and_fail(app, alice)
    assert lines()[before:] == []
    assert [event.name for event in all_events(app)] == ["user.created"]


def test_what_is_rolled_back_is_not_written_later(app: Flask, alice: str, lines: Lines) -> None:
    """Nor with the next transaction."""
    with app.app_context():
        with pytest.raises(ZeroDivisionError):
            disable_and_fail(app, alice)
        users.set_scopes(find_user(app, alice), [], SOMEWHERE)
    assert [line["event"] for line in lines()][-1:] == ["scopes.changed"]
    assert "user.disabled" not in [line["event"] for line in lines()]


def test_a_refused_refresh_writes_nothing(client: FlaskClient, alice: str, lines: Lines) -> None:
    """It is as if nobody had asked."""
    token = log_in(client, alice).get_json()["refresh_token"]
    before = len(lines())
    refresh(client, token, scope="nothing")
    assert lines()[before:] == []


def test_a_refused_login_writes_no_sign_in(client: FlaskClient, alice: str, lines: Lines) -> None:
    """The password was right, but no session began."""
    before = len(lines())
    log_in(client, alice, scope="admin")
    assert "login.succeeded" not in [line["event"] for line in lines()[before:]]


# Secrets


def do_everything(app: Flask) -> list[str]:
    """Cause all kinds of events; gives every secret that took part."""
    client = app.test_client()
    first = log_in(client, ALICE).get_json()
    second = refresh(client, first["refresh_token"], KEY).get_json()
    browser = signed_in_browser(app, ALICE)
    cookie = browser.get_cookie("foxtrot_session")
    assert cookie is not None
    submit(browser, "/account/password", current_password=WRONG, new_password=NEW_PASSWORD)
    log_in(client, WRONG, PASSWORD)
    with app.app_context():
        link = links.make(links.RESET, find_user(app, ALICE))
        url = accounts.reset_url(find_user(app, ALICE), SOMEWHERE)
    submit(browser, "/reset", token=url.partition("=")[2], password=NEW_PASSWORD)
    tokens = [first["refresh_token"], second["refresh_token"], first["access_token"]]
    return [PASSWORD, NEW_PASSWORD, WRONG, KEY, cookie.value, link, url.partition("=")[2], *tokens]


def test_no_event_holds_a_secret(app: Flask, alice: str, caplog: pytest.LogCaptureFixture) -> None:
    """No password, token, cookie, key or link, in no row and in no line of any log."""
    secrets = do_everything(app)
    with app.app_context():
        rows = repr([vars(row) for row in db.session.query(AuditEvent)])
    assert len(all_events(app)) > 5
    for secret in secrets:
        assert secret not in rows
        assert secret not in caplog.text
        assert secret.rpartition(".")[2] not in caplog.text


# Deleting


@on_both_databases
def test_deleting_a_user_deletes_their_events(app: Flask, alice: str, bob: str) -> None:
    """Addresses are personal data; one event stays, which says that the id was deleted."""
    for email in (alice, bob):
        log_in(app.test_client(), email)
    ids = {email: user_id(app, email) for email in (alice, bob)}
    with app.app_context():
        users.delete(find_user(app, alice), SOMEWHERE)
    left = [event.name for event in all_events(app) if event.user == ids[alice]]
    assert left == ["user.deleted"]
    his = [event.name for event in all_events(app) if event.user == ids[bob]]
    assert his == ["user.created", "login.succeeded"]
