"""A user has at most so many sessions; one more, and the one ends that was unused longest."""

from __future__ import annotations

import pytest
from flask import Flask

from app import sessions
from tests.conftest import MakeApp, find_user, on_both_databases
from tests.sessions.conftest import (
    HOUR,
    Program,
    all_events,
    delete,
    sign_program_in,
    signed_in_browser,
    token_by_cookie,
)
from tests.support import access_token, claims_of, log_in

pytestmark = on_both_databases


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """A house in which a fourth session is too many."""
    return make_app(FOXTROT_SESSIONS_PER_USER="3")


def sign_in(app: Flask, email: str, count: int) -> list[Program]:
    return [sign_program_in(app, email) for _ in range(count)]


def living(programs: list[Program]) -> list[bool]:
    return [program.is_signed_in() for program in programs]


def test_as_many_as_the_setting_live(app: Flask, alice: str) -> None:
    """Three of three."""
    assert living(sign_in(app, alice, 3)) == [True] * 3


def test_one_more_ends_the_one_unused_longest(app: Flask, alice: str) -> None:
    """Where none was used since, the first."""
    programs = sign_in(app, alice, 4)
    assert living(programs) == [False, True, True, True]
    assert programs[0].refusal(programs[0].first.refresh, 1) == "session_ended"


def test_a_session_that_was_used_is_kept(app: Flask, alice: str) -> None:
    """By its refresh token: then the next in line goes."""
    programs = sign_in(app, alice, 3)
    programs[0].refresh(programs[0].first.refresh, 20)
    programs += sign_in(app, alice, 1)
    assert living(programs) == [True, False, True, True]


def test_the_new_one_is_never_the_one_that_goes(app: Flask, alice: str) -> None:
    """Even where the clock of another machine made the others look newer."""
    programs = sign_in(app, alice, 3)
    for program in programs:
        program.refresh(program.first.refresh, HOUR)
    [newest] = sign_in(app, alice, 1)
    assert newest.is_signed_in()
    assert living(programs).count(True) == 2


def test_cookies_and_programs_count_alike(app: Flask, alice: str) -> None:
    """They are sessions both."""
    browser = signed_in_browser(app, alice)
    programs = sign_in(app, alice, 3)
    assert token_by_cookie(browser).status_code == 401
    assert living(programs) == [True] * 3


def test_the_end_is_written_down_with_its_reason(app: Flask, alice: str) -> None:
    """And by whose sign-in it came."""
    programs = sign_in(app, alice, 4)
    assert programs[0].events() == ["session.ended too_many_sessions"]
    assert [event.name for event in all_events(app)].count("session.ended") == 1


def test_others_sessions_do_not_count(app: Flask, alice: str, bob: str) -> None:
    """Nobody is put out by somebody else."""
    hers = sign_in(app, alice, 3)
    sign_in(app, bob, 4)
    assert living(hers) == [True] * 3


def test_sessions_that_ended_do_not_count(app: Flask, alice: str) -> None:
    """Their places are free."""
    programs = sign_in(app, alice, 2)
    client = app.test_client()
    for _ in range(5):
        token = access_token(client, alice)
        delete(client, f"/api/sessions/{claims_of(token)['sid']}", token)
    assert living(programs) == [True, True]


def test_a_lower_limit_counts_from_the_next_sign_in(
    app: Flask, make_app: MakeApp, alice: str
) -> None:
    """Then all that are too many end at once."""
    programs = sign_in(app, alice, 3)
    programs += sign_in(make_app(FOXTROT_SESSIONS_PER_USER="1"), alice, 1)
    assert living(programs) == [False, False, False, True]


def test_a_refused_login_ends_nothing(app: Flask, alice: str) -> None:
    """Neither a wrong password nor a wish for too much makes room."""
    programs = sign_in(app, alice, 3)
    client = app.test_client()
    for body in ({"password": "wrong horse battery staple"}, {"scope": "admin"}):
        assert log_in(client, alice, **body).status_code in (400, 401)
    assert living(programs) == [True] * 3


def test_fifty_is_the_default(make_app: MakeApp, alice: str) -> None:
    """As the documents say."""
    app = make_app()
    first = sign_program_in(app, alice)
    sign_in(app, alice, 50)
    with app.app_context():
        assert len(sessions.live(find_user(app, alice))) == 50
    assert not first.is_signed_in()
