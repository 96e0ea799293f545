"""`flask sessions` and `flask events`: show, end, and end everything after a backup came back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import create_app, links, login
from app.audit import LOG_ONLY, Event
from app.client import Client
from tests.conftest import add_user, dispose, find_user
from tests.sessions.conftest import (
    ELSEWHERE,
    Program,
    all_events,
    refresh,
    sign_program_in,
    signed_in_browser,
    token_by_cookie,
    user_id,
)
from tests.support import PASSWORD, cheap_settings, get, log_in


def run(runner: FlaskCliRunner, *arguments: str) -> Result:
    return runner.invoke(args=arguments)


def told(runner: FlaskCliRunner, *arguments: str) -> str:
    """What a command says that succeeds."""
    result = run(runner, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def listed(runner: FlaskCliRunner, *arguments: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = json.loads(told(runner, "sessions", "list", *arguments, "--json"))[
        "sessions"
    ]
    return rows


def happened(runner: FlaskCliRunner, *arguments: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(told(runner, "events", *arguments, "--json"))["events"]
    return rows


# flask sessions list


def test_nobody_is_listed_at_first(runner: FlaskCliRunner) -> None:
    """In words, and as an empty list."""
    assert told(runner, "sessions", "list") == "Nobody is signed in.\n"
    assert listed(runner) == []


def test_sessions_are_listed_for_people(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """One a line below the names of the columns: which, whose, where, what, how, when."""
    with app.app_context():
        session_id = login.with_cookie(alice, PASSWORD, ELSEWHERE).session.public_id
    [names, line] = told(runner, "sessions", "list").splitlines()
    assert names.split() == ["id", "user", "email", "address", "device", "amr", "last_seen_at"]
    assert line.index(alice) == names.index("email")
    for part in (session_id, alice, user_id(app, alice), ELSEWHERE.address, "Firefox on Linux"):
        assert part in line


def test_sessions_are_listed_for_programs(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """One document, and nothing that is secret."""
    program = sign_program_in(app, alice)
    [row] = listed(runner)
    assert row["id"] == program.session_id
    members = {"id", "user", "email", "address", "device", "amr", "created_at", "last_seen_at"}
    assert row.keys() == members


@pytest.mark.parametrize("by_id", [False, True])
def test_the_sessions_of_one_user_are_listed(
    runner: FlaskCliRunner, app: Flask, alice: str, bob: str, by_id: bool
) -> None:
    """By address, or by id."""
    hers, _ = sign_program_in(app, alice), sign_program_in(app, bob)
    who = user_id(app, alice) if by_id else alice.upper()
    assert [row["id"] for row in listed(runner, who)] == [hers.session_id]


def test_an_empty_name_is_nobodys(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """A variable that is not set in a script must not show everybody's."""
    sign_program_in(app, alice)
    result = run(runner, "sessions", "list", "")
    assert result.exit_code == 1
    assert alice not in result.output


def test_ended_sessions_are_not_listed(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """Neither those that were ended nor those that ran out."""
    ended = sign_program_in(app, alice)
    told(runner, "sessions", "end", ended.session_id)
    with app.app_context():
        long_ago = datetime.now(UTC) - timedelta(days=31)
        login.with_cookie(alice, PASSWORD, ELSEWHERE, now=long_ago)
    assert listed(runner) == []


# flask sessions end


def test_ending_says_how_many(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """And 0 where there was nothing left to end."""
    programs = [sign_program_in(app, alice) for _ in range(3)]
    ids = [program.session_id for program in programs]
    assert told(runner, "sessions", "end", *ids[:2]) == "Sessions ended: 2\n"
    assert told(runner, "sessions", "end", "--user", alice) == "Sessions ended: 1\n"
    assert told(runner, "sessions", "end", *ids) == "Sessions ended: 0\n"


WRONG_LINES = [
    [],
    ["s_x", "--everything"],
    ["--user", "alice@example.com", "--everything"],
    ["s_x", "--user", "alice@example.com"],
    ["--user", ""],
    ["--everyone"],
]


@pytest.mark.parametrize("arguments", WRONG_LINES, ids=" ".join)
def test_a_wrong_line_ends_nothing(
    runner: FlaskCliRunner, app: Flask, alice: str, arguments: list[str]
) -> None:
    """Exactly one of ids, a user, everything; exit code 2."""
    program = sign_program_in(app, alice)
    assert run(runner, "sessions", "end", *arguments).exit_code == 2
    assert program.is_signed_in()


@pytest.mark.parametrize("bad", ["s_" + "0" * 26, "", "é", "--user=mallory@example.com"])
def test_what_is_not_there_is_refused_and_ends_nothing(
    runner: FlaskCliRunner, app: Flask, alice: str, bad: str
) -> None:
    """Exit code 1 and where to look; not even the good ids beside it."""
    program = sign_program_in(app, alice)
    arguments = [bad] if bad.startswith("--") else [program.session_id, bad]
    result = run(runner, "sessions", "end", *arguments)
    assert result.exit_code == 1
    assert "See: flask" in result.output
    assert program.is_signed_in()


def test_ending_is_the_operators_doing(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """The person reads so."""
    program = sign_program_in(app, alice)
    told(runner, "sessions", "end", program.session_id)
    event = all_events(app)[-1]
    assert (event.reason, event.device) == ("ended_by_operator", "Command line of the operator")


def test_what_one_command_ended_hangs_together(
    runner: FlaskCliRunner, app: Flask, alice: str
) -> None:
    """By one request id, as with a request."""
    ids = [sign_program_in(app, alice).session_id for _ in range(3)]
    told(runner, "sessions", "end", *ids)
    assert len({event.request_id for event in all_events(app)[-3:]}) == 1


# flask events


def test_events_are_shown_newest_first(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """One a line, below the names of the columns that are needed."""
    log_in(app.test_client(), alice)
    names, first, second = told(runner, "events").splitlines()
    assert names.split() == ["at", "event", "user", "session", "address", "device"]
    assert "login.succeeded" in first
    assert "user.created" in second


def test_nothing_happened_at_first(runner: FlaskCliRunner) -> None:
    """In words, and as an empty list."""
    assert told(runner, "events") == "Nothing happened yet.\n"
    assert happened(runner) == []


@pytest.mark.parametrize("by_id", [False, True])
def test_events_of_one_user_are_shown(
    runner: FlaskCliRunner, app: Flask, alice: str, bob: str, by_id: bool
) -> None:
    """By address, or by id."""
    who = user_id(app, alice)
    rows = happened(runner, "--user", who if by_id else alice)
    assert [row["user"] for row in rows] == [who]


def test_the_event_of_a_deleted_user_is_shown_by_the_id(
    runner: FlaskCliRunner, app: Flask, alice: str
) -> None:
    """Nothing else is left of them."""
    who = user_id(app, alice)
    told(runner, "users", "delete", alice, "--yes")
    assert [row["event"] for row in happened(runner, "--user", who)] == ["user.deleted"]
    assert run(runner, "events", "--user", alice).exit_code == 1


def test_an_address_that_looks_like_an_id_is_one_of_a_user(
    runner: FlaskCliRunner, app: Flask
) -> None:
    """And not that of nobody, to whom nothing happened."""
    add_user(app, "u_smith@example.com")
    assert [row["event"] for row in happened(runner, "--user", "u_smith@example.com")] == [
        "user.created"
    ]


def test_events_of_one_name_are_shown(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """Whoever's."""
    log_in(app.test_client(), alice)
    rows = happened(runner, "--name", "login.succeeded")
    assert [row["event"] for row in rows] == ["login.succeeded"]


def test_every_name_can_be_asked_for(runner: FlaskCliRunner) -> None:
    """And no other, nor one that is a line in the log only: exit code 2."""
    for event in set(Event) - LOG_ONLY:
        assert happened(runner, "--name", event.value) == []
    assert run(runner, "events", "--name", "refresh.succeeded").exit_code == 2
    assert run(runner, "events", "--name", "login").exit_code == 2


@pytest.mark.parametrize(("limit", "code"), [("1", 0), ("10000", 0), ("0", 2), ("10001", 2)])
def test_a_limit_is_a_sensible_number(runner: FlaskCliRunner, limit: str, code: int) -> None:
    """From 1 to 10,000."""
    assert run(runner, "events", "--limit", limit).exit_code == code


def test_so_many_events_are_shown(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """The newest."""
    for _ in range(5):
        log_in(app.test_client(), alice)
    assert len(happened(runner, "--limit", "3")) == 3
    assert len(told(runner, "events", "--limit", "4").splitlines()) == 1 + 4


def test_a_hostile_client_cannot_play_with_the_terminal(
    runner: FlaskCliRunner, app: Flask, alice: str
) -> None:
    """Whatever it calls itself."""
    with app.app_context():
        login.with_cookie(alice, PASSWORD, Client("::1%\x1b[2J\n", "curl/8\x1b]0;x\x07"))
    for command in (("events",), ("sessions", "list")):
        assert "\x1b" not in told(runner, *command)
        assert len(told(runner, *command).splitlines()) <= 1 + 2


# A restored backup


@contextmanager
def restored(backup: Path) -> Iterator[Flask]:
    """The service on a backup that was put back."""
    app = create_app(cheap_settings(backup))
    yield app
    dispose(app)


def back_up(data_dir: Path, app: Flask, folder: Path) -> Path:
    with app.app_context():
        dispose(app)
    return Path(shutil.copytree(data_dir, folder))


class Past:
    """What was good when the backup was made: all of it has been used up or ended since."""

    def __init__(self, app: Flask, data_dir: Path, folder: Path) -> None:
        self.program: Program = sign_program_in(app, "alice@example.com")
        self.browser: FlaskClient = signed_in_browser(app, "alice@example.com")
        with app.app_context():
            self.reset = links.make(links.RESET, find_user(app, "alice@example.com"))
            self.setup = links.make(links.SETUP)
        self.folder = back_up(data_dir, app, folder)
        self.token = token_by_cookie(self.browser).get_json()["access_token"]

    def revives(self, app: Flask) -> list[bool]:
        """Which of it is good: refresh token, access token, cookie, reset link, setup link."""
        client, cookie = app.test_client(), self.browser.get_cookie("foxtrot_session")
        assert cookie is not None
        answers = [
            get(client, "/api/me", self.program.first.access),
            refresh(client, self.program.first.refresh),
            get(client, f"/reset?token={self.reset}"),
            get(client, f"/setup?token={self.setup}"),
        ]
        client.set_cookie("foxtrot_session", cookie.value)
        answers.append(token_by_cookie(client))
        return [answer.status_code == 200 for answer in answers]


@pytest.fixture
def past(app: Flask, alice: str, data_dir: Path, tmp_path: Path) -> Past:
    return Past(app, data_dir, tmp_path / "backup")


def test_a_backup_revives_what_was_good(past: Past) -> None:
    """That is why there is a command."""
    with restored(past.folder) as app:
        assert past.revives(app) == [True] * 5


def test_everything_that_a_backup_revives_is_ended(past: Past) -> None:
    """Sessions, in all that their holders have, and one-time links of both kinds."""
    with restored(past.folder) as app:
        told(app.test_cli_runner(), "sessions", "end", "--everything")
        assert past.revives(app) == [False] * 5


def test_after_everything_ended_people_sign_in_as_ever(past: Past) -> None:
    """Users and their passwords are kept."""
    with restored(past.folder) as app:
        told(app.test_cli_runner(), "sessions", "end", "--everything")
        assert log_in(app.test_client(), "alice@example.com").status_code == 200


def test_everything_is_one_event(runner: FlaskCliRunner, app: Flask, alice: str) -> None:
    """With the number told; the second time it is 0."""
    for _ in range(3):
        sign_program_in(app, alice)
    assert told(runner, "sessions", "end", "--everything") == "Sessions ended: 3\n"
    assert told(runner, "sessions", "end", "--everything") == "Sessions ended: 0\n"
    assert [row["event"] for row in happened(runner, "--limit", "2")] == ["everything.ended"] * 2
