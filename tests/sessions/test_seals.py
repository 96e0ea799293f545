"""The seal of a refresh token: by it a used one is known without a row of its own."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from app import refresh_tokens
from app.db import db, transaction
from app.errors import TooManyAttempts
from app.sessions import LoginSession
from tests.conftest import MakeApp, on_both_databases
from tests.sessions.conftest import (
    ELSEWHERE,
    HOUR,
    KEY,
    Program,
    chain,
    refresh,
    sign_program_in,
)
from tests.support import SOMEWHERE

pytestmark = on_both_databases


def parts(token: str) -> dict[str, str]:
    """What a token is made of."""
    names = ("session", "number", "secret", "seal")
    return dict(zip(names, token.split("."), strict=True))


@pytest.mark.parametrize("part", ["session", "number", "secret", "seal"])
def test_nobody_ends_a_session_with_a_token_that_was_never_given(
    app: Flask, program: Program, alice: str, part: str
) -> None:
    """A guess, or a token pieced together from two, is no copy: it is refused, and that is all."""
    tokens = chain(program, 2)
    other = sign_program_in(app, alice)
    if part == "session":
        stranger = parts(other.refresh(other.first.refresh, 60).refresh)
    else:
        stranger = parts(tokens[1])
    forged = ".".join({**parts(tokens[0]), part: stranger[part]}.values())
    assert program.refusal(forged, HOUR, client=ELSEWHERE) == "session_ended"
    assert program.is_signed_in()
    assert other.is_signed_in()
    assert program.events() == []


NEW_SECRET = "vQ8mZ2rT6yB1nK5cW9sX3dF7gH0jL4pA"


@pytest.fixture
def moved(app: Flask, make_app: MakeApp, program: Program) -> Program:
    """The same program, after it refreshed once and the service got another secret."""
    program.refresh(program.first.refresh, 60, key=KEY)
    old = app.extensions["foxtrot_secret_key"]._secrets[0].decode()
    settings = {"FOXTROT_SECRET_KEY": NEW_SECRET, "FOXTROT_SECRET_KEY_FALLBACKS": old}
    if app.config["FOXTROT_DATABASE_URL"].startswith("postgresql"):
        settings["FOXTROT_DATABASE_URL"] = app.config["FOXTROT_DATABASE_URL"]
    program.app = make_app(**settings)
    return program


@pytest.mark.parametrize("at", [61, HOUR])
def test_a_new_secret_of_the_service_logs_nobody_out(moved: Program, at: int) -> None:
    """Who lost the answer gets it again from the one who has the old secret as a fallback."""
    successor = moved.refresh(moved.first.refresh, at, key=KEY).refresh
    third = moved.refresh(successor, at + 60).refresh
    assert moved.refresh(successor, at + 61).refresh == third


def test_after_a_new_secret_old_copies_are_found_out(moved: Program) -> None:
    """Their seals are known still."""
    assert moved.refusal(moved.first.refresh, HOUR) == "session_ended"
    assert moved.events()[0] == "refresh.reused"


def test_a_session_takes_no_more_room_however_often_it_goes_on(
    app: Flask, program: Program
) -> None:
    """Old uses are forgotten, and yet an old token is known as a copy."""
    token = program.first.refresh
    for turn in range(1, 200):
        token = program.refresh(token, turn * 900).refresh
    with app.app_context():
        [session] = db.session.query(LoginSession)
        assert len(session.rotations or "") < 1000
    assert program.refusal(program.first.refresh, 200 * 900) == "session_ended"
    assert program.events()[0] == "refresh.reused"


def test_a_storm_of_refreshes_takes_bounded_room(app: Flask, program: Program) -> None:
    """All in one second; the newest hundred uses are kept."""
    tokens = chain(program, 150)
    with app.app_context():
        [session] = db.session.query(LoginSession)
        assert len(session.rotations or "") < 30_000
    assert program.refusal(tokens[60], 61) == "too_many_attempts"
    assert program.refresh(tokens[-2], 62).refresh == tokens[-1]


def test_what_was_never_handed_out_waits_for_no_database(
    app: Flask, client: FlaskClient, program: Program
) -> None:
    """A stranger's garbage is refused while somebody else holds all locks."""
    forged = program.first.refresh[:-1] + ("x" if program.first.refresh[-1] != "x" else "y")
    with app.app_context(), db.engine.connect() as connection:
        connection.execution_options(begins="BEGIN IMMEDIATE")
        with connection.begin():
            connection.execute(select(LoginSession.id).with_for_update())
            for text in ("x", forged):
                assert refresh(client, text).status_code == 401


def test_an_unused_token_is_never_taken_for_a_copy(app: Flask, program: Program) -> None:
    """If a session can go on again just after it was found that it cannot, the client waits."""
    with app.app_context(), transaction():
        attempt = refresh_tokens.present(
            program.first.refresh,
            SOMEWHERE,
            access_token_id="t_x",
            retry_key=None,
            now=program.began,
        )
        assert isinstance(refresh_tokens.replay(attempt), TooManyAttempts)
    assert program.is_signed_in()
