"""`flask keys`: what it shows, does and refuses, with the time from which it would not."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner

from app.audit import Event
from app.db import utcnow
from app.keys.life import ELSEWHERE, SWITCH
from tests.conftest import MakeApp, on_both_databases
from tests.keys.conftest import (
    A_DAY,
    READY,
    RETENTION,
    SHARED,
    age,
    lives,
    ring_of,
    states,
    tend,
)
from tests.sessions.conftest import all_events
from tests.support import access_token, get

MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC")


def call(runner: FlaskCliRunner, *arguments: str) -> Result:
    """Run a `flask keys` command; it does not fall over."""
    result = runner.invoke(args=("keys", *arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def told(runner: FlaskCliRunner, *arguments: str) -> str:
    """What a command says that succeeds."""
    result = call(runner, *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refused(runner: FlaskCliRunner, *arguments: str) -> str:
    """The words in which a command is refused; nothing was changed."""
    before = listed(runner)
    result = call(runner, *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert listed(runner) == before
    return result.stderr


def listed(runner: FlaskCliRunner) -> list[dict[str, Any]]:
    """All keys, as programs see them."""
    rows: list[dict[str, Any]] = json.loads(told(runner, "list", "--json"))["keys"]
    return rows


def kids(runner: FlaskCliRunner) -> list[str]:
    return [row["kid"] for row in listed(runner)]


def moments(text: str) -> list[datetime]:
    """The times that a text names."""
    return [datetime.fromisoformat(found.replace(" UTC", "Z")) for found in MOMENT.findall(text)]


def is_about(said: datetime, expected: datetime) -> bool:
    """Within the seconds that a test takes."""
    return abs(said - expected) < timedelta(seconds=20)


# List


def test_keys_are_listed_for_people(runner: FlaskCliRunner) -> None:
    """One a line: which, for what, in which state, since or until when."""
    first, second = told(runner, "list").splitlines()
    assert re.search(r"ES256  active     signs since \d{4}-\d\d-\d\d .* UTC$", first)
    assert re.search(r"ES256  published  stand-by, may sign from \d{4}-.* UTC$", second)


def test_keys_are_listed_for_programs(runner: FlaskCliRunner) -> None:
    """One document; nothing in it is secret."""
    active, waiting = listed(runner)
    assert (active["state"], waiting["state"]) == ("active", "published")
    members = {"kid", "algorithm", "state", "created_at", "may_sign_from", "signs_from"}
    assert active.keys() == members | {"signs_until", "may_retire_from", "retired_at"}
    assert waiting["signs_from"] is None


def test_every_state_is_said_in_words(runner: FlaskCliRunner, app: Flask, now: datetime) -> None:
    """A key that is to sign, one that signs for the last minute, one that stays, one that went."""
    age(app, READY)
    told(runner, "rotate")
    said = told(runner, "list")
    assert "active     signs until" in said
    assert "published  signs from" in said
    age(app, 2 * SWITCH)
    assert "retiring   stays for its tokens until" in told(runner, "list")
    age(app, RETENTION)
    tend(app, now)
    assert re.search(r"retired    since \d{4}", told(runner, "list"))


def test_the_shared_secret_has_its_line(fresh: MakeApp) -> None:
    """It says until when the setting has to stay."""
    app = fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    said = told(app.test_cli_runner(), "list")
    assert re.search(r"shared-secret +HS256  active     signs since", said)
    assert "The shared secret signs for services" in said
    assert SHARED not in said


def test_a_rotation_says_that_services_share_a_secret(fresh: MakeApp) -> None:
    """The key pairs are for the login service alone."""
    app = fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    with app.app_context():
        age(app, READY)
    said = told(app.test_cli_runner(), "rotate")
    assert "The shared secret signs for services" in said


def test_it_is_said_until_when_the_shared_secret_has_to_stay(fresh: MakeApp) -> None:
    """Once the settings have moved away from it."""
    fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    app = fresh(FOXTROT_SHARED_SECRET=SHARED)
    said = refused(app.test_cli_runner(), "retire", "shared-secret")
    assert "take FOXTROT_SHARED_SECRET away after" in said
    assert moments(said)[0] > utcnow()


# Rotate


@on_both_databases
def test_the_stand_by_is_let_sign_and_the_time_is_said(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """In a minute: then every worker has read so."""
    age(app, READY)
    said = told(runner, "rotate")
    assert kids(runner)[1] in said
    assert is_about(moments(said)[0], now + SWITCH)


def test_a_rotation_too_early_says_from_when_it_is_safe(
    runner: FlaskCliRunner, now: datetime
) -> None:
    """The stand-by was published just now."""
    safe = lives()[1].may_sign_from
    said = refused(runner, "rotate")
    assert "some verifier may not know it yet" in said
    assert is_about(moments(said)[-1], safe)


def test_two_rotations_in_a_row_are_one_too_many(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """The second stand-by is as young as the first rotation."""
    age(app, READY)
    told(runner, "rotate")
    assert "It is safe from" in refused(runner, "rotate")


# Retire


def test_a_stand_by_is_retired_and_replaced(runner: FlaskCliRunner) -> None:
    """It has signed nothing."""
    waiting = kids(runner)[1]
    told(runner, "retire", waiting)
    assert [row["state"] for row in listed(runner)] == ["active", "retired", "published"]
    told(runner, "retire", waiting)


@pytest.mark.parametrize("command", ["retire", "remove"])
def test_the_signing_key_is_not_taken_away(
    runner: FlaskCliRunner, now: datetime, command: str
) -> None:
    """It says what to do first, and when it may be taken then."""
    said = refused(runner, command, kids(runner)[0])
    assert "flask keys rotate" in said
    assert is_about(moments(said)[0], lives()[1].may_sign_from + SWITCH + RETENTION)


@pytest.mark.parametrize("command", ["retire", "remove"])
def test_a_key_whose_tokens_are_good_is_not_taken_away(
    runner: FlaskCliRunner, app: Flask, now: datetime, command: str
) -> None:
    """Neither while its last minute runs nor after; the time is said."""
    age(app, READY)
    told(runner, "rotate")
    old = kids(runner)[0]
    assert is_about(moments(refused(runner, command, old))[0], now + SWITCH + RETENTION)
    age(app, SWITCH)
    assert is_about(moments(refused(runner, command, old))[0], now + RETENTION)


@pytest.mark.parametrize("command", ["retire", "remove"])
def test_the_key_that_is_to_sign_is_not_taken_away(
    runner: FlaskCliRunner, app: Flask, now: datetime, command: str
) -> None:
    """Workers know already that it is next."""
    age(app, READY)
    told(runner, "rotate")
    assert "signs from" in refused(runner, command, kids(runner)[1])


def test_a_retired_key_is_removed_from_the_list(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """Its tokens are over."""
    age(app, READY)
    told(runner, "rotate")
    age(app, SWITCH + RETENTION)
    tend(app, now)
    old = kids(runner)[0]
    assert told(runner, "remove", old) == f"{old} is removed.\n"
    assert old not in kids(runner)


@pytest.mark.parametrize("command", [("retire",), ("remove",), ("remove", "--now")])
@pytest.mark.parametrize("kid", ["nobody", "", "é\0", "-nobody", "--nobody"])
def test_a_key_that_is_not_there_is_refused(
    runner: FlaskCliRunner, command: tuple[str, ...], kid: str
) -> None:
    """It says where to look."""
    assert "See: flask keys list" in refused(runner, *command, kid)


@pytest.mark.parametrize("command", [("retire",), ("remove",), ("remove", "--now")])
def test_the_shared_secret_is_not_removed_here(fresh: MakeApp, command: tuple[str, ...]) -> None:
    """It is a setting."""
    app = fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    said = refused(app.test_cli_runner(), *command, "shared-secret")
    assert "FOXTROT_ALGORITHM" in said


# Remove --now (KEY-5)


@on_both_databases
def test_a_key_that_was_removed_is_gone_here(
    runner: FlaskCliRunner, app: Flask, alice: str, now: datetime
) -> None:
    """Its tokens are refused, the JWK Set does not show it, and people sign in with another."""
    age(app, READY)
    bad = kids(runner)[0]
    token = access_token(app.test_client(), alice)
    assert get(app.test_client(), "/api/me", token).status_code == 200
    told(runner, "remove", "--now", bad)
    ring_of(app)._read_at = None  # half a minute later
    assert get(app.test_client(), "/api/me", token).status_code == 401
    shown = get(app.test_client(), "/.well-known/jwks.json").get_json()["keys"]
    assert bad not in {jwk["kid"] for jwk in shown}
    assert (
        get(app.test_client(), "/api/me", access_token(app.test_client(), alice)).status_code == 200
    )


def test_a_removal_says_when_it_takes_effect_where(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """Here in half a minute; elsewhere when the last copy is old; and who never learns of it."""
    age(app, READY)
    said = told(runner, "remove", "--now", kids(runner)[0])
    here, elsewhere = moments(said)
    assert is_about(here, now + timedelta(seconds=30))
    assert is_about(elsewhere, now + ELSEWHERE)
    assert "restart it" in said
    assert f"{kids(runner)[0]} signs instead." in said


def test_a_removal_says_for_how_long_services_may_refuse(
    runner: FlaskCliRunner, now: datetime
) -> None:
    """The stand-by is too young, but there is no better."""
    safe = lives()[1].may_sign_from
    said = told(runner, "remove", "--now", kids(runner)[0])
    assert "services may refuse good tokens until" in said
    assert is_about(moments(said)[-1], safe)
    assert [row["state"] for row in listed(runner)] == ["active", "published"]


def test_after_a_removal_there_is_a_stand_by_again(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """So that the next emergency has a successor, too."""
    for _ in range(3):
        told(runner, "remove", "--now", kids(runner)[0])
        assert [row["state"] for row in listed(runner)] == ["active", "published"]


def test_a_stand_by_is_removed_without_further_ado(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """Nobody has a token of it."""
    assert "signs instead" not in told(runner, "remove", "--now", kids(runner)[1])
    assert [row["state"] for row in listed(runner)] == ["active", "published"]


def test_without_its_successor_a_key_signs_on(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """The one that was to sign in a minute is removed."""
    age(app, READY)
    told(runner, "rotate")
    told(runner, "remove", "--now", kids(runner)[1])
    assert lives()[0].signs_until is None
    age(app, A_DAY)
    tend(app, now)
    assert states(now) == ["active", "published"]


def test_the_next_in_line_signs_at_once_when_the_signing_key_is_removed(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """Not only in a minute."""
    age(app, READY)
    told(runner, "rotate")
    first, second, _ = kids(runner)
    assert f"{second} signs instead." in told(runner, "remove", "--now", first)
    assert listed(runner)[0]["state"] == "active"


# Events


def test_what_the_operator_did_is_written_down(
    runner: FlaskCliRunner, app: Flask, now: datetime
) -> None:
    """Which key it was about, and that it was they."""
    age(app, READY)
    first, second = kids(runner)
    told(runner, "rotate")
    third = kids(runner)[2]
    told(runner, "retire", third)
    told(runner, "remove", "--now", first)
    found = [(event.name, event.reason, event.device) for event in all_events(app)]
    device = "Command line of the operator"
    assert found == [
        (Event.KEY_ROTATED, second, device),
        (Event.KEY_RETIRED, third, device),
        (Event.KEY_REMOVED, first, device),
    ]


def test_what_the_service_did_is_written_down(app: Flask, now: datetime) -> None:
    """A rotation by age was nobody's order."""
    tend(app, now + 90 * A_DAY)
    [event] = all_events(app)
    assert (event.name, event.device) == (Event.KEY_ROTATED, "The service itself")


def test_an_option_that_does_not_exist_is_no_key(runner: FlaskCliRunner) -> None:
    """Exit code 2, although the name of a key may begin with a dash."""
    assert call(runner, "remove", kids(runner)[0], "--nwo").exit_code == 2
