"""The commands of the operator: `flask users | tokens | config | setup-link`."""

from __future__ import annotations

import json
import re
import subprocess
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from sqlalchemy import text

from app import sessions, tokens, users
from app.db import db, transaction, utcnow
from tests.conftest import MakeApp, add_user, find_user
from tests.processes import ROOT, clean_environ, flask, run
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, access_token, cheap_settings, get, log_in
from tests.test_start import on_a_terminal

NEW_PASSWORD = "another horse battery staple"
SECRET = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def call(runner: FlaskCliRunner, *arguments: str, stdin: str = "") -> Result:
    """Run a command, with its output as a terminal gets it; it does not fall over."""
    result = runner.invoke(args=arguments, input=stdin, color=True)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def done(runner: FlaskCliRunner, *arguments: str, stdin: str = "") -> str:
    """What a command wrote; it succeeded and complained of nothing."""
    result = call(runner, *arguments, stdin=stdin)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def document(runner: FlaskCliRunner, *arguments: str, stdin: str = "") -> Any:
    """The one JSON document that a command wrote."""
    return json.loads(done(runner, *arguments, "--json", stdin=stdin))


def refused(runner: FlaskCliRunner, *arguments: str, stdin: str = "") -> str:
    """The words in which a command was refused; nothing went to standard output."""
    result = call(runner, *arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (1, "")
    return result.stderr


# Creating users


def test_a_user_is_created_with_a_password_from_standard_input(
    runner: FlaskCliRunner, client: FlaskClient
) -> None:
    """For scripts."""
    done(runner, "users", "create", "ann@example.com", "--password-stdin", stdin=f"{PASSWORD}\n")
    assert log_in(client, "ann@example.com").status_code == 200


def test_a_created_user_is_shown_as_json(runner: FlaskCliRunner) -> None:
    """With the id that tokens will carry."""
    create = ("users", "create", "ann@example.com", "--password-stdin")
    user = document(runner, *create, stdin=PASSWORD)
    assert re.fullmatch(r"u_[0-9a-z]{26}", user["id"])
    assert user["scopes"] == ["account", "notes:read", "notes:write"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", user["created_at"])
    assert (user["email_verified"], user["disabled_at"]) == (False, None)


def test_an_administrator_is_created(runner: FlaskCliRunner) -> None:
    """The first one, if nobody opened the setup link."""
    create = ("users", "create", "root@example.com", "--admin", "--password-stdin")
    assert "admin" in document(runner, *create, stdin=PASSWORD)["scopes"]


def test_a_user_is_created_with_further_scopes(runner: FlaskCliRunner) -> None:
    """The option may be repeated."""
    create = ("users", "create", "ann@example.com", "--scope", "a", "--scope", "b:c")
    result = call(runner, *create, "--password-stdin", "--json", stdin=PASSWORD)
    assert {"a", "b:c"} <= set(json.loads(result.stdout)["scopes"])
    assert "no service declares a b:c" in result.stderr


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_line_end_is_no_part_of_the_password(
    ending: str, runner: FlaskCliRunner, client: FlaskClient
) -> None:
    """Whatever the editor or the system puts there."""
    create = ("users", "create", "ann@example.com", "--password-stdin")
    done(runner, *create, stdin=PASSWORD + ending)
    assert log_in(client, "ann@example.com").status_code == 200


@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("", "Use at least 15 characters"),
        ("short", "Use at least 15 characters: 10 characters to go."),
        ("passwordpassword", "password: "),
        ("ann@example.com1", "password: "),
        ("x" * 2000, "at most 1024 bytes"),
    ],
)
def test_a_weak_password_is_refused_with_advice(
    password: str, advice: str, runner: FlaskCliRunner
) -> None:
    """In the words that people see, too; nobody is made."""
    create = ("users", "create", "ann@example.com", "--password-stdin")
    said = refused(runner, *create, stdin=password)
    assert said.startswith("Error: password: ")
    assert advice in said
    assert document(runner, "users", "list") == {"users": []}


@pytest.mark.parametrize("spelling", ["alice@example.com", "ALICE@Example.COM"])
def test_an_address_is_given_once(spelling: str, runner: FlaskCliRunner, alice: str) -> None:
    """Before a password is asked for."""
    assert "exists already" in refused(runner, "users", "create", spelling, "--password-stdin")


@pytest.mark.parametrize("address", ["", "ann", "ann@", "@example.com", "a@b@example.com"])
def test_what_is_no_address_is_refused(address: str, runner: FlaskCliRunner) -> None:
    """Before a password is asked for."""
    said = refused(runner, "users", "create", address, "--password-stdin")
    assert said == f"Error: {address!r} is not an e-mail address.\n"


@pytest.mark.parametrize("scope", ["two words", 'a"b', "a\\b", "", "n\u00f6te"])
def test_what_is_no_scope_is_a_wrong_command_line(scope: str, runner: FlaskCliRunner) -> None:
    """RFC 6749 section 3.3; exit code 2."""
    result = call(runner, "users", "create", "ann@example.com", "--scope", scope)
    assert result.exit_code == 2
    assert "is not a scope" in result.stderr


def test_without_a_terminal_a_password_cannot_be_asked_for(runner: FlaskCliRunner) -> None:
    """The option that helps is named; exit code 2."""
    result = call(runner, "users", "create", "ann@example.com", stdin=PASSWORD)
    assert result.exit_code == 2
    assert "--password-stdin" in result.stderr


def test_a_password_is_asked_for_twice_and_never_shown(data_dir: Path) -> None:
    """On a real terminal."""
    settings = cheap_settings(data_dir)
    with on_a_terminal("users", "create", "ann@example.com", settings=settings) as terminal:
        terminal.wait_for("Password: ")
        terminal.type(f"{PASSWORD}\n")
        terminal.wait_for(r"Repeat .*: ")
        terminal.type(f"{PASSWORD}\n")
        assert terminal.end() == 0
    assert PASSWORD not in terminal.screen
    assert "ann@example.com  enabled" in terminal.screen


def test_two_different_passwords_are_asked_for_again(data_dir: Path) -> None:
    """A slip of the finger locks nobody out; ctrl-C leaves nothing behind."""
    settings = cheap_settings(data_dir)
    with on_a_terminal("users", "create", "ann@example.com", settings=settings) as terminal:
        for typed in (PASSWORD, NEW_PASSWORD):
            terminal.wait_for(r": $")
            terminal.screen = ""
            terminal.type(f"{typed}\n")
        terminal.wait_for(r"do not match(.|\s)*Password: $")
        terminal.type("\x03")
        assert terminal.end() == 1
    assert "Traceback" not in terminal.screen


# Showing users


def test_no_users_are_listed_with_the_way_to_make_one(runner: FlaskCliRunner) -> None:
    """An empty answer would leave a beginner alone."""
    assert "flask users create" in done(runner, "users", "list")


def test_no_users_are_an_empty_list_in_json(runner: FlaskCliRunner) -> None:
    """A program needs no special case."""
    assert document(runner, "users", "list") == {"users": []}


def test_users_are_listed_in_the_order_in_which_they_were_made(
    runner: FlaskCliRunner, alice: str, bob: str
) -> None:
    """One in a line."""
    lines = done(runner, "users", "list").splitlines()
    assert [line.split()[1:3] for line in lines] == [[alice, "enabled"], [bob, "enabled"]]


def test_the_list_goes_past_one_page(app: Flask, runner: FlaskCliRunner, alice: str) -> None:
    """They are read a hundred at a time."""
    many = text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250)"
        " INSERT INTO users (public_id, email, email_key, password_hash, password_changed_at,"
        " own_scopes, created_at) SELECT 'u_' || i, i || email, i || email_key, password_hash,"
        " password_changed_at, own_scopes, created_at FROM n, users"
    )
    with app.app_context(), transaction():
        db.session.execute(many)
    listed = [user["email"] for user in document(runner, "users", "list")["users"]]
    assert listed == [alice, *(f"{number}{alice}" for number in range(1, 251))]


@pytest.mark.parametrize("spelling", ["alice@example.com", "ALICE@EXAMPLE.COM"])
def test_one_user_is_shown(spelling: str, runner: FlaskCliRunner, alice: str) -> None:
    """However the address is spelled."""
    assert document(runner, "users", "show", spelling)["email"] == alice


def test_a_user_is_found_by_the_id_of_tokens(
    runner: FlaskCliRunner, alice: str, client: FlaskClient
) -> None:
    """Logs have the id, not the address."""
    user_id = get(client, "/api/me", access_token(client, alice)).get_json()["id"]
    assert document(runner, "users", "show", user_id)["email"] == alice


NEEDING_A_USER = [
    ("show",),
    ("set-password", "--password-stdin"),
    ("set-scopes",),
    ("reset-link",),
    ("disable",),
    ("enable",),
    ("delete", "--yes"),
]


@pytest.mark.parametrize("command", NEEDING_A_USER, ids=lambda command: command[0])
def test_an_unknown_user_is_said_with_where_to_look(
    command: tuple[str, ...], runner: FlaskCliRunner
) -> None:
    """Exit code 1."""
    said = refused(runner, "users", *command, "nobody@example.com")
    assert said == "Error: There is no user 'nobody@example.com'. See: flask users list\n"


@pytest.mark.parametrize(
    "address",
    [
        "x\x1b[2J@example.com",
        "\x1b]0;title\x07@example.com",
        "x\x9b2J@example.com",
        "x\r@example.com",
        "x\u202e@example.com",
        "\udcff@example.com",
    ],
    ids=["clear", "title", "one byte", "return", "right to left", "no text"],
)
@pytest.mark.parametrize("command", ["create", "show"])
def test_control_characters_never_reach_the_terminal(
    command: str, address: str, runner: FlaskCliRunner
) -> None:
    """They move the cursor, rename the window or turn the text around."""
    said = refused(runner, "users", command, address)
    assert not CONTROL.search(said)


# Changing users


def test_a_new_password_replaces_the_old_one(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """At once."""
    done(runner, "users", "set-password", alice, "--password-stdin", stdin=NEW_PASSWORD)
    assert log_in(client, alice, NEW_PASSWORD).status_code == 200
    assert log_in(client, alice, PASSWORD).status_code == 401


def test_a_weak_new_password_changes_nothing(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """The old one and the sessions stay."""
    token = access_token(client, alice)
    said = refused(runner, "users", "set-password", alice, "--password-stdin", stdin="short")
    assert "10 characters to go" in said
    assert get(client, "/api/me", token).status_code == 200


ENDING = [("set-password", "--password-stdin"), ("disable",), ("delete", "--yes")]


@pytest.mark.parametrize("command", ENDING, ids=lambda command: command[0])
def test_sessions_end_at_once(
    command: tuple[str, ...], runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """A token that was good a moment ago is refused."""
    token = access_token(client, alice)
    done(runner, "users", *command, alice, stdin=NEW_PASSWORD)
    answer = get(client, "/api/me", token)
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "revoked")


@pytest.mark.parametrize("command", ENDING, ids=lambda command: command[0])
def test_nobody_elses_session_ends(
    command: tuple[str, ...], runner: FlaskCliRunner, client: FlaskClient, alice: str, bob: str
) -> None:
    """Bob goes on."""
    token = access_token(client, bob)
    done(runner, "users", *command, alice, stdin=NEW_PASSWORD)
    assert get(client, "/api/me", token).status_code == 200


def test_scopes_are_replaced(runner: FlaskCliRunner, alice: str) -> None:
    """What everybody holds stays."""
    declared = ("notes:read", "notes:write", "admin")
    done(runner, "users", "set-scopes", alice, *declared)
    said = done(runner, "users", "set-scopes", alice, "notes:write")
    assert "account notes:read notes:write" in said
    assert "admin" not in document(runner, "users", "show", alice)["scopes"]


def test_a_scope_that_no_service_declares_is_given_with_a_warning(
    runner: FlaskCliRunner, alice: str
) -> None:
    """It may be misspelt, or its service may follow."""
    result = call(runner, "users", "set-scopes", alice, "notes:raed", "notes:write")
    assert (result.exit_code, "notes:raed" in result.stdout) == (0, True)
    assert result.stderr == (
        "Warning: no service declares notes:raed. Declared are: notes:read notes:write.\n"
    )


def test_scopes_are_taken_away(runner: FlaskCliRunner, app: Flask) -> None:
    """None named: none left, and an administrator is none any more."""
    add_user(app, "root@example.com", "admin")
    done(runner, "users", "set-scopes", "root@example.com")
    assert "admin" not in document(runner, "users", "show", "root@example.com")["scopes"]


def test_a_scope_that_is_none_changes_nothing(runner: FlaskCliRunner, app: Flask) -> None:
    """Exit code 2."""
    add_user(app, "root@example.com", "admin")
    assert call(runner, "users", "set-scopes", "root@example.com", "a b").exit_code == 2
    assert "admin" in document(runner, "users", "show", "root@example.com")["scopes"]


def test_a_disabled_user_cannot_sign_in(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """And is listed as such."""
    done(runner, "users", "disable", alice)
    assert log_in(client, alice).status_code == 401
    assert f"{alice}  disabled" in done(runner, "users", "list")


def test_an_enabled_user_can_sign_in_again(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """But the tokens of before stay dead."""
    token = access_token(client, alice)
    done(runner, "users", "disable", alice)
    done(runner, "users", "enable", alice)
    assert log_in(client, alice).status_code == 200
    assert get(client, "/api/me", token).status_code == 401


@pytest.mark.parametrize("command", ["disable", "enable"])
def test_doing_it_twice_is_harmless(command: str, runner: FlaskCliRunner, alice: str) -> None:
    """The second time changes nothing."""
    done(runner, "users", command, alice)
    once = document(runner, "users", "show", alice)
    done(runner, "users", command, alice)
    assert document(runner, "users", "show", alice) == once


def test_a_deleted_user_is_gone(runner: FlaskCliRunner, alice: str) -> None:
    """The address is free again, for another id."""
    before = document(runner, "users", "show", alice)
    done(runner, "users", "delete", alice, "--yes")
    assert "no user" in refused(runner, "users", "show", alice)
    create = ("users", "create", alice, "--password-stdin")
    assert document(runner, *create, stdin=PASSWORD)["id"] != before["id"]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_deleting_asks_first(answer: str, runner: FlaskCliRunner, alice: str) -> None:
    """Anything but yes keeps the user."""
    assert call(runner, "users", "delete", alice, stdin=answer).exit_code == 1
    assert document(runner, "users", "show", alice)["email"] == alice


def test_yes_deletes(runner: FlaskCliRunner, alice: str) -> None:
    """The question names the user."""
    result = call(runner, "users", "delete", alice, stdin="y\n")
    assert result.exit_code == 0
    assert f"Delete {alice} for good?" in result.output


# Links


def test_a_reset_link_lets_a_user_choose_a_new_password(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """It is good once."""
    link = done(runner, "users", "reset-link", alice)
    assert link.startswith(f"{ORIGIN}/reset?token=")
    form = {"token": link.strip().partition("=")[2], "password": NEW_PASSWORD}
    statuses = [
        client.post("/reset", data=form, headers={"Origin": ORIGIN}, base_url=ORIGIN).status_code
        for _ in range(2)
    ]
    assert statuses == [303, 404]
    assert log_in(client, alice, NEW_PASSWORD).status_code == 200


def test_a_setup_link_leads_to_the_page_for_the_first_administrator(
    runner: FlaskCliRunner, client: FlaskClient
) -> None:
    """While there is none."""
    link = done(runner, "setup-link").strip()
    assert link.startswith(f"{ORIGIN}/setup?token=")
    assert get(client, link.removeprefix(ORIGIN)).status_code == 200


def test_a_new_setup_link_replaces_the_one_before(
    runner: FlaskCliRunner, client: FlaskClient
) -> None:
    """Of several that lie around only one is good."""
    first = done(runner, "setup-link").strip()
    done(runner, "setup-link")
    assert get(client, first.removeprefix(ORIGIN)).status_code == 404


def test_there_is_no_setup_link_once_there_is_an_administrator(
    runner: FlaskCliRunner, app: Flask
) -> None:
    """The command that makes further ones is named; exit code 1."""
    add_user(app, "root@example.com", "admin")
    assert "flask users create EMAIL --admin" in refused(runner, "setup-link")


def test_links_name_the_public_url(make_app: MakeApp) -> None:
    """Never the host of some request."""
    app = make_app(FOXTROT_PUBLIC_URL="https://login.example.com")
    link = done(app.test_cli_runner(), "setup-link")
    assert link.startswith("https://login.example.com/setup?token=")


# Looking into tokens


def test_a_good_token_is_praised_in_plain_words(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """Header and claims are shown, times in words, and who would accept it."""
    said = done(runner, "tokens", "inspect", access_token(client, alice))
    assert re.search(r'^  typ +"at\+jwt"$', said, re.MULTILINE)
    assert re.search(r"^  exp +\d+  \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)$", said, re.MULTILINE)
    assert f"The service '{ORIGIN}' would accept it for u_" in said


def test_a_good_token_is_described_in_json(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """For programs."""
    token = access_token(client, alice, audience="notes")
    report = document(runner, "tokens", "inspect", token)
    assert report["accepted"] is True
    assert (report["audience"], report["reasons"]) == ("notes", [])
    assert report["header"]["alg"] == "ES256"
    assert report["claims"]["aud"] == ["notes"]


def test_a_token_is_read_from_standard_input(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """So that it stays out of the shell's history."""
    token = access_token(client, alice)
    assert "would accept it" in done(runner, "tokens", "inspect", "-", stdin=f"  {token}\n")


def test_a_token_may_be_copied_together_with_its_scheme(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """As it stands in the header."""
    token = access_token(client, alice)
    assert "would accept it" in done(runner, "tokens", "inspect", f"Bearer {token}")


def test_an_audience_that_is_no_service_is_said(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """It may be misspelt."""
    token = access_token(client, alice)
    said = call(runner, "tokens", "inspect", token, "--audience", "nots").stdout
    assert "knows no service of this name" in said
    said = call(runner, "tokens", "inspect", token, "--audience", "notes").stdout
    assert "knows no service of this name" not in said


def test_a_token_of_the_shared_secret_is_judged_too(make_app: MakeApp) -> None:
    """In the mode of HS256."""
    app = make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SECRET)
    alice = add_user(app, "alice@example.com")
    token = access_token(app.test_client(), alice, audience="notes")
    assert "'notes' would accept it" in done(app.test_cli_runner(), "tokens", "inspect", token)


def verdict(runner: FlaskCliRunner, token: str, *options: str) -> tuple[int, list[str], str]:
    """Exit code, reasons and words for a token."""
    report = call(runner, "tokens", "inspect", "--json", *options, "--", token)
    shown = json.loads(report.stdout)
    return report.exit_code, shown["reasons"], shown["verdict"]


def expired_token(app: Flask, email: str) -> str:
    """A token that was good an hour ago."""
    with app.app_context():
        session = sessions.start(find_user(app, email), SOMEWHERE)
        return tokens.mint(session, now=utcnow() - timedelta(hours=1)).text


def test_an_expired_token_is_explained(app: Flask, runner: FlaskCliRunner, alice: str) -> None:
    """With what to do."""
    code, reasons, words = verdict(runner, expired_token(app, alice))
    assert (code, reasons) == (1, ["expired"])
    assert "The token has expired; get a new one." in words


def test_a_revoked_token_is_explained(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """The session behind it has ended."""
    token = access_token(client, alice)
    done(runner, "users", "disable", alice)
    code, reasons, words = verdict(runner, token)
    assert (code, reasons) == (1, ["revoked"])
    assert "The session behind the token has ended" in words


def test_a_tampered_token_is_explained(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """Its signature does not match."""
    header, _, signature = access_token(client, alice).split(".")
    claims = urlsafe_b64encode(b'{"sub":"u_mallory"}').decode().rstrip("=")
    code, reasons, words = verdict(runner, f"{header}.{claims}.{signature}")
    assert (code, reasons) == (1, ["bad_signature"])
    assert "signature does not match" in words


def test_a_token_for_another_service_is_explained(
    runner: FlaskCliRunner, client: FlaskClient, alice: str
) -> None:
    """The service that would refuse it is named."""
    token = access_token(client, alice, audience="notes")
    code, reasons, words = verdict(runner, token, "--audience", "billing")
    assert (code, reasons) == (1, ["wrong_audience"])
    assert words.startswith("The service 'billing' would refuse it (wrong_audience)")


def test_all_reasons_are_given(app: Flask, runner: FlaskCliRunner, alice: str) -> None:
    """Whoever mends the first one learns of the next."""
    _, reasons, words = verdict(runner, expired_token(app, alice), "--audience", "billing")
    assert reasons == ["wrong_audience", "expired"]
    assert "It would also be refused for: expired." in words


GARBAGE = [
    "",
    "hello",
    "a.b.c",
    "..",
    "-x",
    "\u00e9.\u00e9.\u00e9",
    "e30.e30.",
    "W10.W10.x",
    "x" * 9000,
]


@pytest.mark.parametrize("copied", GARBAGE, ids=lambda copied: ascii(copied)[:9])
def test_garbage_is_explained(copied: str, runner: FlaskCliRunner) -> None:
    """Whatever somebody copied."""
    code, reasons, words = verdict(runner, copied)
    assert code == 1
    assert len(reasons) == 1
    assert words.startswith(f"The service '{ORIGIN}' would refuse it")


def segment(members: str) -> str:
    """A segment of a token that says *members*."""
    return urlsafe_b64encode(members.encode()).decode().rstrip("=")


HOSTILE = [
    r'{"\u001b[2J": "\u001b[2J"}',
    r'{"\u009b2J": 1, "\u202e": 1}',
    r'{"\ud800": "\ud800"}',
    r'{"a\nVerdict": "all is well\n"}',
    r'{"aud": "\u001b[2J\ud800"}',
    r'{"exp": 1e999, "iat": -1e999, "nbf": 10000000000000000000000}',
]


@pytest.mark.parametrize("claims", HOSTILE)
def test_a_hostile_token_cannot_play_with_the_terminal(claims: str, runner: FlaskCliRunner) -> None:
    """Names are as much the attacker's as values."""
    token = f"{segment(claims)}.{segment(claims)}.x"
    result = call(runner, "tokens", "inspect", token)
    assert result.exit_code == 1
    assert not CONTROL.search(result.stdout)
    assert "\nVerdict" not in result.stdout


@pytest.mark.parametrize("claims", HOSTILE)
def test_a_hostile_token_cannot_spoil_the_json(claims: str, runner: FlaskCliRunner) -> None:
    """The document is JSON as other programs read it, without Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    token = f"{segment(claims)}.{segment(claims)}.x"
    result = call(runner, "tokens", "inspect", "--json", token)
    json.loads(result.stdout, parse_constant=refuse)


# Showing settings


def test_the_settings_are_shown(runner: FlaskCliRunner, data_dir: Path) -> None:
    """As they could stand in a file."""
    lines = done(runner, "config", "show").splitlines()
    assert f"FOXTROT_DATA_DIR={data_dir}" in lines
    assert "FOXTROT_DEFAULT_SCOPES=notes:read,notes:write" in lines
    assert "FOXTROT_PUBLIC_URL=" in lines


def test_the_settings_are_shown_as_json(runner: FlaskCliRunner) -> None:
    """With types."""
    shown = document(runner, "config", "show")
    assert shown["FOXTROT_ACCESS_TOKEN_LIFETIME"] == 900
    assert shown["FOXTROT_PUBLIC_URL"] is None


@pytest.mark.parametrize("secret", [SECRET, f"scheme://{SECRET}", f"a://b:{SECRET}"])
@pytest.mark.parametrize("option", [(), ("--json",)], ids=["text", "json"])
def test_secrets_are_masked(
    option: tuple[str, ...], secret: str, make_app: MakeApp, tmp_path: Path
) -> None:
    """Whatever they look like."""
    settings = {"FOXTROT_SECRET_KEY": secret, "FOXTROT_SHARED_SECRET": f"{secret}2"}
    settings["FOXTROT_SECRET_KEY_FALLBACKS"] = f"{secret}3,{secret}4"
    app = make_app(FOXTROT_DATA_DIR=str(tmp_path / "other"), **settings)
    said = done(app.test_cli_runner(), "config", "show", *option)
    assert SECRET not in said
    assert said.count("(set)") == 3


def test_the_password_in_a_database_url_is_masked(tmp_path: Path) -> None:
    """A real process: the database is not asked, only its URL is shown."""
    settings = {
        **cheap_settings(tmp_path),
        "FOXTROT_SECRET_KEY": SECRET,
        "FOXTROT_DATABASE_URL": "postgres://ann:hush@db.example.com/x?sslpassword=hush",
    }
    shown = run("config", "show", "--json", settings=settings)
    assert "hush" not in shown.stdout + shown.stderr
    url = json.loads(shown.stdout)["FOXTROT_DATABASE_URL"]
    assert url.startswith("postgresql+psycopg://ann:***@db.example.com/x")


@pytest.mark.parametrize("command", ["example", "table"])
def test_the_docs_are_made_from_the_settings(command: str, runner: FlaskCliRunner) -> None:
    """`.env.example` and the table."""
    assert "FOXTROT_PUBLIC_URL" in done(runner, "config", command)


# As processes


@pytest.mark.parametrize(
    ("command", "code"),
    [("users list --json", 0), ("users show nobody@example.com --json", 1), ("users show", 2)],
)
def test_the_exit_code_says_how_it_went(command: str, code: int, data_dir: Path) -> None:
    """0 done, 1 refused, 2 a wrong command line; JSON or nothing on standard output."""
    ended = run(*command.split(), settings=cheap_settings(data_dir))
    assert ended.returncode == code
    assert ended.stdout == ('{\n  "users": []\n}\n' if code == 0 else "")
    assert (ended.stderr == "") is (code == 0)


def test_bytes_that_are_no_text_are_refused_on_standard_input(data_dir: Path) -> None:
    """A token out of a binary file is malformed, in every locale."""
    settings = {**cheap_settings(data_dir), "PYTHONIOENCODING": "utf-8:strict"}
    ended = subprocess.run(
        flask("tokens", "inspect", "-"),
        cwd=ROOT,
        env=clean_environ(settings),
        input=b"\xff\xfe",
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, b"")
    assert b"malformed" in ended.stdout


def test_a_command_makes_the_database_if_there_is_none(tmp_path: Path, make_app: MakeApp) -> None:
    """The administrator may come before the first start."""
    create = ("users", "create", "root@example.com", "--admin", "--password-stdin")
    settings = cheap_settings(tmp_path / "new")
    assert run(*create, settings=settings, stdin=PASSWORD).returncode == 0
    with make_app(**settings).app_context():
        assert users.any_admin()


def test_the_password_stays_out_of_every_output(runner: FlaskCliRunner, alice: str) -> None:
    """Also where it is refused."""
    weak = "hunter2hunter2hunter2"
    result = call(runner, "users", "set-password", alice, "--password-stdin", stdin=weak)
    assert result.exit_code == 1
    assert "hunter2" not in result.output


def test_who_may_call_what_is_printed(runner: FlaskCliRunner) -> None:
    """Pages, JSON and files; every route is decided."""
    result = call(runner, "bearer", "routes")
    found = dict(line.split(maxsplit=2)[1:] for line in result.output.splitlines())
    assert result.exit_code == 0
    assert found["/api/me/password"] == "a token with account"
    assert (found["/account"], found["/static/<path:filename>"]) == ("login", "anybody")
