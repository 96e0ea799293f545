"""The late retry: a client that lost the answer comes back with its `Idempotency-Key`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from flask import Flask

from app.db import db
from app.ids import digest
from app.sessions import LoginSession
from app.tokens import Wish
from tests.conftest import on_both_databases
from tests.sessions.conftest import (
    DAY,
    HOUR,
    KEY,
    OTHER_KEY,
    Pair,
    Program,
    chain,
    delete,
    refusal,
)
from tests.support import get

pytestmark = on_both_databases


def lose_answer(program: Program, key: str | None = KEY, at: float = 0) -> Pair:
    """Use the first token; what the program never gets is given to the test."""
    return program.refresh(program.first.refresh, at, key=key)


def late(program: Program, at: float = HOUR, key: str | None = KEY) -> Pair:
    """Come back with the first token."""
    return program.refresh(program.first.refresh, at, key=key)


def is_theft(program: Program, at: float = HOUR, key: str | None = KEY) -> bool:
    """Whether coming back with the first token ends the session, and says so."""
    refused = program.refusal(program.first.refresh, at, key=key) == "session_ended"
    reused = ["refresh.reused", "session.ended refresh_reused"]
    return refused and program.events()[-2:] == reused and not program.is_signed_in()


@pytest.mark.parametrize("at", [20.000001, HOUR, DAY - 0.000001])
def test_a_client_that_was_cut_off_comes_back_with_its_key(program: Program, at: float) -> None:
    """It gets the successor it never saw, and goes on from there."""
    lost = lose_answer(program)
    assert late(program, at).refresh == lost.refresh
    assert program.refresh(lost.refresh, at + 60).refresh != lost.refresh
    assert program.events() == ["refresh.retried"]


def test_without_the_key_it_is_a_theft(program: Program) -> None:
    """Whoever copied the token did not copy the key."""
    lose_answer(program)
    assert is_theft(program, key=None)


@pytest.mark.parametrize("key", [OTHER_KEY, KEY.upper(), KEY + "a"])
def test_with_another_key_it_is_a_theft(program: Program, key: str) -> None:
    """It is compared to the letter."""
    lose_answer(program)
    assert is_theft(program, key=key)


def test_a_key_that_came_later_does_not_count(program: Program) -> None:
    """Neither where the first use had none, nor where a replay within the window brought it."""
    lose_answer(program, key=None)
    program.refresh(program.first.refresh, 10, key=KEY)
    assert is_theft(program)


def test_after_the_successor_was_used_it_is_a_theft(program: Program) -> None:
    """Its answer had arrived."""
    program.refresh(lose_answer(program).refresh, 600)
    assert is_theft(program)


def test_after_the_access_token_was_shown_it_is_a_theft(program: Program) -> None:
    """Its answer had arrived: our own API saw a part of it."""
    lost = lose_answer(program)
    assert get(program.app.test_client(), "/api/me", lost.access).status_code == 200
    assert is_theft(program)


def test_an_access_token_that_was_refused_for_its_scope_was_shown(program: Program) -> None:
    """What it was shown for does not matter."""
    lost = lose_answer(program)
    answer = delete(program.app.test_client(), "/api/sessions", lost.access)
    assert refusal(answer) == (403, "insufficient_scope")
    assert is_theft(program)


def test_the_access_token_before_tells_nothing(program: Program) -> None:
    """A client that was cut off goes on with what it has."""
    lost = lose_answer(program)
    assert program.is_signed_in()
    assert late(program).refresh == lost.refresh


@pytest.mark.parametrize("at", [DAY, DAY + 1, 29 * DAY])
def test_after_a_day_it_is_a_theft(program: Program, at: int) -> None:
    """24 hours are long enough for a flight."""
    lose_answer(program)
    assert is_theft(program, at)


def test_the_fourth_time_it_is_a_theft(program: Program) -> None:
    """Three times may be a bad line."""
    lost = lose_answer(program)
    assert [late(program, hour * HOUR).refresh for hour in (1, 2, 3)] == [lost.refresh] * 3
    assert is_theft(program, 4 * HOUR)
    assert program.events()[:3] == ["refresh.retried"] * 3


def test_replays_within_the_window_are_no_retries(program: Program) -> None:
    """They are not counted."""
    lost = lose_answer(program)
    for _ in range(5):
        program.refresh(program.first.refresh, 10, key=KEY)
    assert [late(program, hour * HOUR).refresh for hour in (1, 2, 3)] == [lost.refresh] * 3


def test_tabs_that_come_back_together_are_one_return(program: Program) -> None:
    """However many wake after the same tunnel; what one of them has a right to, all have."""
    lost = lose_answer(program)
    tabs = [late(program, HOUR + seconds).refresh for seconds in (0, 0, 0.1, 1, 10, 20)]
    assert tabs == [lost.refresh] * 6
    assert program.events() == ["refresh.retried"]


def test_tabs_that_come_back_later_are_further_returns(program: Program) -> None:
    """More than twenty seconds after the one that was counted, not after each other."""
    lose_answer(program)
    for seconds in (0, 19, 21, 40, 42):
        late(program, HOUR + seconds)
    assert program.events() == ["refresh.retried"] * 3
    assert is_theft(program, HOUR + 63)


def test_tabs_that_come_back_together_may_do_so_as_the_day_ends(program: Program) -> None:
    """The first of them was in time."""
    lost = lose_answer(program)
    late(program, DAY - 1)
    assert late(program, DAY + 1).refresh == lost.refresh


def test_without_the_key_nobody_belongs_to_a_return(program: Program) -> None:
    """A second after the client."""
    lose_answer(program)
    late(program)
    assert program.refusal(program.first.refresh, HOUR + 1) == "session_ended"


def test_each_token_has_retries_of_its_own(program: Program) -> None:
    """A long day of bad lines logs nobody out."""
    token = program.first.refresh
    for hour in range(1, 6):
        program.refresh(token, hour * HOUR, key=KEY)
        for minute in (10, 20, 30):
            newest = program.refresh(token, hour * HOUR + minute * 60, key=KEY).refresh
        token = newest
    assert program.is_signed_in()


def test_a_retry_that_is_refused_is_not_counted(program: Program) -> None:
    """Who asks for too much may ask again for less."""
    lost = lose_answer(program)
    for _ in range(4):
        wish = Wish(scope=["nothing"])
        assert program.refusal(program.first.refresh, HOUR, key=KEY, wish=wish) == "invalid_scope"
    assert late(program).refresh == lost.refresh


def test_all_tabs_of_a_computer_that_slept_come_back_together(program: Program) -> None:
    """One store, one key: the first opens the window for the others."""
    lost = lose_answer(program)
    answers = [late(program, HOUR + second).refresh for second in range(10)]
    assert answers == [lost.refresh] * 10


def test_a_tab_that_comes_back_after_another_went_on_is_let_in(program: Program) -> None:
    """Within the window that the first one opened it is given the newest, afterwards no more."""
    lost = lose_answer(program)
    late(program, HOUR)
    newest = program.refresh(lost.refresh, HOUR + 5).refresh
    assert late(program, HOUR + 20).refresh == newest
    assert is_theft(program, at=HOUR + 20.000001)


def test_the_window_of_a_late_retry_is_for_its_key(program: Program) -> None:
    """Whoever copied the token alone is found out there, too."""
    lose_answer(program)
    late(program, HOUR)
    assert is_theft(program, at=HOUR + 1, key=OTHER_KEY)


# What is kept for it


def nonces(app: Flask, *tokens: str) -> list[bool]:
    """Whether the successor of each token could still be computed."""
    kept = [number for number, *_ in rotations(app)]
    return [int(token.split(".")[1]) in kept for token in tokens]


def rotations(app: Flask) -> list[list[Any]]:
    """What is kept of the uses of a session's tokens."""
    with app.app_context():
        [session] = db.session.query(LoginSession)
        members: list[list[Any]] = json.loads(session.rotations or "[]")
        return members


def test_a_nonce_is_kept_until_the_successor_is_used(app: Flask, program: Program) -> None:
    """It is for the late retry."""
    second = lose_answer(program).refresh
    late(program, HOUR)
    assert nonces(app, program.first.refresh, second) == [True, False]


@pytest.mark.parametrize(
    ("age", "kept"), [(10, True), (20, True), (20.000001, False), (900, False)]
)
def test_a_nonce_goes_when_the_successor_is_used_and_the_window_is_over(
    app: Flask, program: Program, age: float, kept: bool
) -> None:
    """From then on nobody can compute the successor, whatever they stole."""
    second = program.refresh(program.first.refresh, 60).refresh
    program.refresh(second, 60 + age)
    assert nonces(app, program.first.refresh, second) == [kept, True]


def test_a_nonce_that_was_kept_for_the_window_goes_at_the_next_use(
    app: Flask, program: Program
) -> None:
    """Of a whole chain the last alone is left."""
    tokens = chain(program, 5)
    tokens.append(program.refresh(tokens[-1], 900).refresh)
    assert nonces(app, *tokens) == [False] * 5 + [True, False]


def test_no_key_is_stored(app: Flask, program: Program) -> None:
    """Only its hash together with the token."""
    lose_answer(program)
    [members] = rotations(app)
    assert KEY not in repr(members)
    assert digest(program.first.refresh + KEY) in members
