"""`flask services`: what the operator says, and hears."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner

from app import services
from app.ids import digest
from tests.services.conftest import Machine, ask_token, machine_token
from tests.sessions.conftest import all_events
from tests.support import access_token, claims_of


def run(runner: FlaskCliRunner, *arguments: str, code: int = 0) -> str:
    result = runner.invoke(args=("services", *arguments))
    assert result.exit_code == code, result.output
    return result.output


def document(runner: FlaskCliRunner, *arguments: str) -> Any:
    return json.loads(run(runner, *arguments, "--json"))


def test_a_service_is_added(runner: FlaskCliRunner, client: FlaskClient, bob: str) -> None:
    """With its scopes; without a secret, where none is asked for."""
    added = document(
        runner, "add", "reports", "--scope", "reports:read", "--scope", "billing:write"
    )
    assert added.pop("id").startswith("s_")
    assert added.pop("created_at")
    assert added == {
        "name": "reports",
        "scopes": ["billing:write", "reports:read"],
        "may": [],
        "has_secret": False,
        "disabled_at": None,
    }
    assert claims_of(access_token(client, bob, audience="reports"))["scope"] == "billing:write"


def test_a_machine_is_added(runner: FlaskCliRunner, client: FlaskClient) -> None:
    """`--may` makes the secret, which works at once."""
    added = document(runner, "add", "cron", "--may", "notes:write")
    token = machine_token(client, Machine(added["id"], added["secret"]))
    assert claims_of(token)["scope"] == "notes:write"


def test_a_secret_is_shown_once(app: Flask, runner: FlaskCliRunner) -> None:
    """And kept as a hash."""
    added = document(runner, "add", "cron", "--secret")
    assert len(added["secret"]) == 43
    assert "secret" not in document(runner, "show", "cron")
    assert added["secret"] not in run(runner, "list") + run(runner, "list", "--json")
    with app.app_context():
        service = services.by_name("cron")
        assert service is not None
        assert service.secret_hash == digest(added["secret"])
        assert added["secret"] not in repr(service)


def test_a_new_secret_takes_the_place_of_the_old(
    runner: FlaskCliRunner, client: FlaskClient, worker: Machine
) -> None:
    """In words, with what to do with it."""
    said = run(runner, "secret", "worker")
    secret = said.partition("client_secret")[2].split()[0]
    assert "shown this once" in said
    assert ask_token(client, worker).status_code == 401
    assert ask_token(client, Machine(worker.id, secret)).status_code == 200


def test_services_are_listed_in_words(runner: FlaskCliRunner, worker: Machine) -> None:
    """One a line."""
    lines = [line.split("  ")[1:] for line in run(runner, "list").splitlines()]
    assert lines == [
        ["notes", "enabled", "notes:read", "notes:write"],
        ["billing", "enabled", "billing:read", "billing:write"],
        ["worker", "enabled", "may notes:read"],
    ]


def test_scopes_are_replaced(runner: FlaskCliRunner, worker: Machine) -> None:
    """Those that it declares, and those that it may use."""
    said = run(runner, "set-scopes", "billing", "billing:all")
    assert said.startswith("billing declares: billing:all\n")
    assert run(runner, "set-scopes", "billing").startswith("billing declares: no scopes\n")
    assert run(runner, "set-may", "worker", "notes:write") == "worker may use: notes:write\n"


def test_it_is_said_from_when_tokens_can_be_for_a_service(runner: FlaskCliRunner) -> None:
    """The service that runs looks again every half minute; a machine gets no tokens of others."""
    assert "within 30 seconds" in run(runner, "add", "reports", "--scope", "reports:read")
    assert "within 30 seconds" in run(runner, "set-scopes", "reports", "reports:all")
    assert "within 30 seconds" not in run(runner, "add", "cron", "--may", "notes:write")


def test_a_name_that_is_taken_leads_to_the_command_that_changes_it(runner: FlaskCliRunner) -> None:
    """Who wants another scope for it needs no second service."""
    said = run(runner, "add", "notes", "--scope", "notes:all", code=1)
    assert "flask services set-scopes notes" in said


def test_a_service_is_disabled_enabled_and_removed(
    runner: FlaskCliRunner, client: FlaskClient, worker: Machine
) -> None:
    """Each counts at once."""
    run(runner, "disable", "worker")
    assert "disabled" in run(runner, "show", "worker")
    assert ask_token(client, worker).status_code == 401
    run(runner, "enable", "worker")
    assert ask_token(client, worker).status_code == 200
    run(runner, "remove", "worker", "--yes")
    assert ask_token(client, worker).status_code == 401
    assert "There is no service 'worker'" in run(runner, "show", "worker", code=1)


def test_a_removal_is_asked_about(runner: FlaskCliRunner) -> None:
    """Who does not answer removes nothing."""
    assert runner.invoke(args=("services", "remove", "billing"), input="n\n").exit_code == 1
    assert document(runner, "show", "billing")["name"] == "billing"


def test_an_empty_list_says_how_to_begin(runner: FlaskCliRunner) -> None:
    """With the command."""
    for name in ("notes", "billing"):
        run(runner, "remove", name, "--yes")
    assert run(runner, "list") == "There are no services. Add one with: flask services add NAME\n"


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("add", "notes"), "There is a service notes already."),
    (("add", "my notes"), "A name is up to 100 letters"),
    (("add", "n\u00f6tes"), "A name is up to 100 letters"),
    (("add", ""), "A name is up to 100 letters"),
    (("add", "x" * 101), "A name is up to 100 letters"),
    (("add", "http://localhost:5000"), "the name of the login service itself"),
    (("add", "x", "--scope", "a b"), "'a b' is not a scope"),
    (("add", "x", "--scope", "admin"), "admin belongs to the login service itself"),
    (("add", "x", "--may", "account"), "account belongs to the login service itself"),
    (
        ("add", "x", "--may", "photos:read"),
        "No service declares photos:read. Declared are: billing",
    ),
    (("set-scopes", "notes", "admin"), "admin belongs to the login service itself"),
    (("set-may", "notes", "photos:read"), "No service declares photos:read"),
    (("show", "unknown"), "There is no service 'unknown'. See: flask services list"),
    (("disable", "unknown"), "There is no service 'unknown'"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused(
    runner: FlaskCliRunner, arguments: tuple[str, ...], said: str
) -> None:
    """Exit code 1, and what was wrong; nothing is changed."""
    before = run(runner, "list")
    assert said in run(runner, *arguments, code=1)
    assert run(runner, "list") == before


def test_a_name_that_was_removed_may_come_again(runner: FlaskCliRunner) -> None:
    """As another service: the id is never given twice."""
    before = document(runner, "show", "billing")["id"]
    run(runner, "remove", "billing", "--yes")
    assert document(runner, "add", "billing")["id"] != before


def test_each_change_is_an_event(app: Flask, runner: FlaskCliRunner) -> None:
    """Which names the service."""
    service_id = document(runner, "add", "cron", "--may", "notes:read")["id"]
    for arguments in (
        ("secret", "cron"),
        ("set-scopes", "cron", "cron:run"),
        ("set-may", "cron"),
        ("disable", "cron"),
        ("enable", "cron"),
        ("remove", "cron", "--yes"),
    ):
        run(runner, *arguments)
    events = [event.name for event in all_events(app) if event.service == service_id]
    assert events == [
        "service.added",
        "service.secret_made",
        "service.changed",
        "service.changed",
        "service.disabled",
        "service.enabled",
        "service.removed",
    ]


def test_the_token_of_a_machine_is_inspected_like_any_other(
    app: Flask, runner: FlaskCliRunner, client: FlaskClient, worker: Machine
) -> None:
    """As the service that it is for would judge, and the database."""
    token = machine_token(client, worker)
    said = runner.invoke(args=("tokens", "inspect", token))
    assert said.exit_code == 0
    assert f"The service 'notes' would accept it for {worker.id}" in said.output
    run(runner, "disable", "worker")
    assert runner.invoke(args=("tokens", "inspect", token)).exit_code == 1
