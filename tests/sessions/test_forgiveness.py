"""The window: for 20 seconds a used refresh token is answered again."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from app.client import Client
from app.tokens import Wish
from tests.conftest import on_both_databases
from tests.sessions.conftest import (
    DAY,
    ELSEWHERE,
    HOUR,
    KEY,
    OTHER_KEY,
    Program,
    chain,
    refresh,
    refusal,
)
from tests.support import SOMEWHERE, claims_of, get

pytestmark = on_both_databases


@pytest.mark.parametrize("age", [0, 1, 19, 20])
def test_within_the_window_a_replay_gets_the_same_successor(program: Program, age: int) -> None:
    """Two tabs, two threads or a request that was sent twice hold the same token afterwards."""
    one = program.refresh(program.first.refresh, 60)
    other = program.refresh(program.first.refresh, 60 + age)
    assert other.refresh == one.refresh
    assert program.refresh(other.refresh, HOUR).refresh != one.refresh


@pytest.mark.parametrize("age", [20.000001, 21])
def test_after_the_window_a_replay_is_a_theft(program: Program, age: float) -> None:
    """To the microsecond."""
    program.refresh(program.first.refresh, 60)
    assert program.refusal(program.first.refresh, 60 + age) == "session_ended"
    assert not program.is_signed_in()


@pytest.mark.parametrize("earlier", [1, 59, HOUR])
def test_a_clock_that_is_behind_forgives(program: Program, earlier: int) -> None:
    """Machines disagree about the time: an age below zero counts as zero."""
    one = program.refresh(program.first.refresh, HOUR)
    assert program.refresh(program.first.refresh, HOUR - earlier).refresh == one.refresh


def test_a_replay_rotates_nothing(program: Program) -> None:
    """However often it comes, and whatever key it brings."""
    one = program.refresh(program.first.refresh, 60, key=KEY)
    replays = [
        program.refresh(program.first.refresh, 60, key=key) for key in (KEY, OTHER_KEY, None)
    ]
    assert {pair.refresh for pair in replays} == {one.refresh}


def test_a_replay_brings_an_access_token_that_works(client: FlaskClient, program: Program) -> None:
    """Of its own, so that two tabs need not share one."""
    answers = [refresh(client, program.first.refresh).get_json() for _ in range(3)]
    tokens = {answer["access_token"] for answer in answers}
    assert len(tokens) == 3
    assert {get(client, "/api/me", token).status_code for token in tokens} == {200}


def test_a_replay_does_not_outlive_the_limits(program: Program) -> None:
    """It is no use of the session: nothing is prolonged."""
    program.refresh(program.first.refresh, 0)
    newest = program.refresh(program.first.refresh, 20).refresh
    assert program.refusal(newest, 30 * DAY) == "session_ended"


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_a_replay_is_answered_with_the_newest_unused_descendant(
    program: Program, behind: int
) -> None:
    """Whoever lags behind catches up."""
    tokens = chain(program, 3)
    assert program.refresh(tokens[behind], 79).refresh == tokens[-1]


def test_sixteen_generations_are_caught_up(program: Program) -> None:
    """So many fit into the window only by a program that runs wild."""
    tokens = chain(program, 16)
    assert program.refresh(tokens[0], 61).refresh == tokens[-1]


def test_more_generations_are_too_many(program: Program) -> None:
    """The session lives on: it was no theft, and the newest token works."""
    tokens = chain(program, 17)
    assert program.refusal(tokens[0], 61) == "too_many_attempts"
    assert program.is_signed_in()
    assert program.refresh(tokens[-1], HOUR).refresh not in tokens


def test_too_many_generations_are_told_with_when_to_come_again(
    client: FlaskClient, program: Program
) -> None:
    """A client keeps its token at 429 and tries again (RFC 6585 section 4)."""
    token = program.first.refresh
    for _ in range(17):
        token = refresh(client, token).get_json()["refresh_token"]
    answer = refresh(client, program.first.refresh)
    assert refusal(answer) == (429, "too_many_attempts")
    assert int(answer.headers["Retry-After"]) >= 1
    assert refresh(client, token).status_code == 200


def test_two_tabs_that_miss_each_other_both_stay_in(program: Program) -> None:
    """Tab A refreshes twice, tab B replays the first token at 19 s and uses what it got later."""
    tokens = [program.first.refresh, program.refresh(program.first.refresh, 0).refresh]
    tokens.append(program.refresh(tokens[1], 10).refresh)
    tab_b = program.refresh(tokens[0], 19).refresh
    later = program.refresh(tab_b, 900).refresh
    tab_a = program.refresh(tokens[2], 910).refresh
    assert tab_a == later
    assert program.refresh(tab_a, 1800)
    assert program.is_signed_in()


@pytest.mark.parametrize(
    "client", [SOMEWHERE, Client(SOMEWHERE.address, "another browser of no name")]
)
def test_a_replay_from_the_same_place_is_nothing_to_write_down(
    program: Program, client: Client
) -> None:
    """It is what two tabs do all day."""
    program.refresh(program.first.refresh, 60)
    program.refresh(program.first.refresh, 70, client=client)
    assert program.events() == []


@pytest.mark.parametrize(
    "client",
    [ELSEWHERE, Client("198.51.100.7", SOMEWHERE.user_agent), Client("192.0.2.1", "curl/8")],
)
def test_a_replay_from_elsewhere_is_written_down(program: Program, client: Client) -> None:
    """Another network or another device; it is answered all the same."""
    one = program.refresh(program.first.refresh, 60)
    assert program.refresh(program.first.refresh, 70, client=client).refresh == one.refresh
    assert program.events() == ["refresh.replayed"]


def test_a_replay_from_elsewhere_makes_nobody_known(program: Program) -> None:
    """Who comes again is written down again: the session is used from where it was used."""
    program.refresh(program.first.refresh, 60)
    for at in (70, 75):
        program.refresh(program.first.refresh, at, client=ELSEWHERE)
    assert program.events() == ["refresh.replayed"] * 2


def test_a_replay_may_be_narrower(program: Program) -> None:
    """Each tab wishes for itself."""
    program.refresh(program.first.refresh, 60, wish=Wish(["notes"]))
    pair = program.refresh(program.first.refresh, 61, wish=Wish(scope=["notes:read"]))
    assert claims_of(pair.access)["scope"] == "notes:read"
