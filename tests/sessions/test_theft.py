"""A copied refresh token: the session ends for both who hold it, and the person is told."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.conftest import on_both_databases
from tests.sessions.conftest import (
    DAY,
    ELSEWHERE,
    HOUR,
    Program,
    events_of,
    refresh,
    sign_program_in,
    signed_in_browser,
)
from tests.support import get

pytestmark = on_both_databases

REUSED = ["refresh.reused", "session.ended refresh_reused"]


def steal(program: Program) -> str:
    """The owner refreshes, and an hour later a thief comes with the copy. Gives the newest."""
    newest = program.refresh(program.first.refresh, 60).refresh
    assert program.refusal(program.first.refresh, HOUR, client=ELSEWHERE) == "session_ended"
    return newest


def test_a_copy_ends_the_session_for_the_owner_too(program: Program) -> None:
    """Nobody can tell who of the two is the thief."""
    assert program.refusal(steal(program), HOUR + 1) == "session_ended"


def test_the_thief_who_was_faster_is_put_out_by_the_owner(program: Program) -> None:
    """Then it is the owner who comes with the used token."""
    thiefs = program.refresh(program.first.refresh, 60, client=ELSEWHERE).refresh
    assert program.refusal(program.first.refresh, 840) == "session_ended"
    assert program.refusal(thiefs, 841, client=ELSEWHERE) == "session_ended"


def test_a_thief_in_the_window_is_found_out_at_the_next_turn(program: Program) -> None:
    """Both hold the same successor, and one is more than 20 seconds later than the other."""
    owners = program.refresh(program.first.refresh, 60).refresh
    thiefs = program.refresh(program.first.refresh, 61, client=ELSEWHERE).refresh
    program.refresh(thiefs, 700, client=ELSEWHERE)
    assert program.refusal(owners, 800) == "session_ended"
    assert program.events() == ["refresh.replayed", *REUSED]


@pytest.mark.parametrize("generation", [0, 1, 2, 3])
def test_any_old_token_gives_the_thief_away(program: Program, generation: int) -> None:
    """Not only the one before the newest, and after weeks as well."""
    tokens = [program.first.refresh]
    for turn in range(1, 5):
        tokens.append(program.refresh(tokens[-1], turn * 900).refresh)
    assert program.refusal(tokens[generation], 20 * DAY) == "session_ended"
    assert program.events() == REUSED


def test_access_tokens_of_a_stolen_session_are_refused_at_once(
    client: FlaskClient, program: Program
) -> None:
    """The thief may have one, too."""
    newest = program.refresh(program.first.refresh, 0)
    program.refusal(program.first.refresh, HOUR)
    for token in (program.first.access, newest.access):
        answer = get(client, "/api/me", token)
        assert (answer.status_code, answer.get_json()["reason"]) == (401, "revoked")


def test_other_sessions_of_the_user_live_on(app: Flask, alice: str, program: Program) -> None:
    """What was copied is one session."""
    others = [sign_program_in(app, alice), sign_program_in(app, alice)]
    steal(program)
    assert [other.is_signed_in() for other in others] == [True, True]
    assert others[0].refresh(others[0].first.refresh, HOUR)


def test_nobody_else_is_touched(app: Flask, bob: str, program: Program) -> None:
    """Mallory cannot put Bob out by a token of Alice's."""
    his = sign_program_in(app, bob)
    steal(program)
    assert his.is_signed_in()


def test_the_event_says_who_came_with_the_copy(app: Flask, program: Program) -> None:
    """Address and device of the one who was refused, at the time it happened."""
    steal(program)
    reused, ended = events_of(app, program.session_id)
    for event in (reused, ended):
        assert (event.address, event.device) == (ELSEWHERE.address, "Firefox on Linux")
        assert (event.at - program.began).total_seconds() == HOUR


def test_a_thief_is_written_down_once(program: Program) -> None:
    """Who goes on trying meets a dead token, and floods no list."""
    steal(program)
    for second in range(5):
        program.refusal(program.first.refresh, HOUR + second, client=ELSEWHERE)
    assert program.events() == REUSED


@pytest.mark.parametrize("at", [31 * DAY, 91 * DAY])
def test_a_copy_of_a_session_that_ran_out_is_no_theft(program: Program, at: int) -> None:
    """It can do no harm; an old backup of a phone alarms nobody."""
    program.refresh(program.first.refresh, 60)
    assert program.refusal(program.first.refresh, at) == "session_ended"
    assert program.events() == []


def test_a_thief_of_an_unused_token_is_its_holder(program: Program) -> None:
    """Until the owner comes: nothing tells them apart before."""
    program.refresh(program.first.refresh, 60, client=ELSEWHERE)
    assert program.is_signed_in()
    assert program.events() == []


def test_the_person_is_told(app: Flask, alice: str, program: Program) -> None:
    """On the account page of another session, in words, with place and device."""
    browser = signed_in_browser(app, alice)
    steal(program)
    page = get(browser, "/account").text
    assert "Somebody used a copy of one of your sessions" in page
    assert "Firefox on Linux" in page
    assert ELSEWHERE.address in page


def test_nobody_else_is_told(app: Flask, bob: str, program: Program) -> None:
    """What happened to Alice is hers."""
    browser = signed_in_browser(app, bob)
    steal(program)
    assert "Somebody used a copy" not in get(browser, "/account").text


def test_by_http_a_theft_looks_like_any_dead_token(client: FlaskClient, program: Program) -> None:
    """The thief is not told that they were seen."""
    program.refresh(program.first.refresh, -60)
    theft = refresh(client, program.first.refresh)
    unknown = refresh(client, "x" * 43)
    assert (theft.status_code, theft.get_json()) == (401, unknown.get_json())
    assert program.events() == REUSED
