"""Users into a file, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from app import accounts, audit
from app.db import disconnect
from tests.bulk.test_import import run_import
from tests.conftest import MakeApp, add_user, find_user, on_both_databases
from tests.support import SOMEWHERE, cheap_settings, log_in


def export(runner: FlaskCliRunner, *options: str) -> str:
    result = runner.invoke(args=["users", "export", *options])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def rows(runner: FlaskCliRunner, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export(runner, *options).splitlines()]


@pytest.fixture
def people(app: Flask) -> list[str]:
    """Some, of all kinds."""
    everybody = [add_user(app, "alice@example.com"), add_user(app, "bøb@example.com", "b", "a")]
    everybody += [add_user(app, "Eve@example.com")]
    with app.app_context():
        accounts.disable(find_user(app, everybody[2]), SOMEWHERE)
    return everybody


@on_both_databases
def test_everybody_is_written_without_a_hash(runner: FlaskCliRunner, people: list[str]) -> None:
    """Unless it is asked for; what everybody holds is not theirs."""
    found = rows(runner)
    assert [row["email"] for row in found] == people
    assert [row["scopes"] for row in found] == [[], ["a", "b"], []]
    assert [row["disabled"] for row in found] == [False, False, True]
    assert "password_hash" not in found[0]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@on_both_databases
def test_what_is_exported_can_be_imported_elsewhere(
    runner: FlaskCliRunner, people: list[str], tmp_path: Path, make_app: MakeApp, form: str
) -> None:
    """With their passwords, and their ids: what is theirs at services stays theirs."""
    file = tmp_path / f"users.{form}"
    export(runner, "--with-hashes", "--output", str(file))
    assert file.stat().st_mode & 0o777 == 0o600
    elsewhere = make_app(
        **cheap_settings(tmp_path / "elsewhere"),
        FOXTROT_DATABASE_URL="sqlite:///foxtrot.sqlite3",
        FOXTROT_SECRET_KEY="Tz5vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae",
    )
    there = elsewhere.test_cli_runner()
    assert run_import(there, file).exit_code == 0
    assert rows(there, "--with-hashes") == rows(runner, "--with-hashes")
    assert log_in(elsewhere.test_client(), people[1]).status_code == 200
    with elsewhere.app_context():
        disconnect()


def test_an_export_is_an_event(runner: FlaskCliRunner, app: Flask, people: list[str]) -> None:
    """Which says whether the hashes went with it."""
    for options in ((), ("--with-hashes",)):
        export(runner, *options)
    with app.app_context():
        found = audit.newest(10, name=audit.Event.USERS_EXPORTED)
        assert [event.reason for event in found] == ["with-hashes", "without-hashes"]


def test_a_file_that_cannot_be_written_is_refused(
    runner: FlaskCliRunner, people: list[str], tmp_path: Path
) -> None:
    """In words; and one that others could read is theirs no more."""
    result = runner.invoke(args=["users", "export", "--output", str(tmp_path / "no" / "a.csv")])
    assert (result.exit_code, "cannot be written" in result.stderr) == (1, True)
    (tmp_path / "a.csv").touch(0o644)
    export(runner, "--output", str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o600
