"""Attacks on sessions that never worked, and must not begin to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from flask import Flask

from app.tokens import Wish
from tests.conftest import MakeApp, add_user
from tests.sessions.conftest import (
    DAY,
    ELSEWHERE,
    HOUR,
    KEY,
    Program,
    chain,
    events_of,
    refresh,
    sign_program_in,
)
from tests.support import ORIGIN, PASSWORD, claims_of

LOGIN, ALICE, COOKIE = "https://login.example.com", "alice@example.com", "__Host-foxtrot_session"
REUSED = ["refresh.reused", "session.ended refresh_reused"]


@pytest.mark.parametrize(
    "planted",
    [
        "\u2000{}={}",
        "\x85{}={}",
        "\xa0{}={}",
        "={}={}",
        '"{}"={}',
        "$Version=1, {}={}",
        "x[{}]={}",
        "{}%20={}",
    ],
)
@pytest.mark.parametrize("name", [COOKIE, COOKIE.lower()])
def test_a_neighbours_cookie_that_looks_like_ours_counts_for_nothing(
    make_app: MakeApp, planted: str, name: str
) -> None:
    """Any host of the domain can set one; a server that trims or folds names would be misled."""
    app = make_app(FOXTROT_PUBLIC_URL=LOGIN)
    client = app.test_client()
    body = {"email": add_user(app, ALICE), "password": PASSWORD}
    client.post("/login", data=body, headers={"Origin": LOGIN}, base_url=LOGIN)
    held = client.get_cookie(COOKIE, domain=str(urlsplit(LOGIN).hostname))
    assert held is not None
    header = planted.format(name, held.value).encode().decode("latin-1")
    stranger = app.test_client(use_cookies=False)
    answer = stranger.get("/account", headers={"Cookie": header}, base_url=LOGIN)
    assert answer.headers["Location"].startswith("/login")


@pytest.mark.parametrize("wish", [Wish(scope=["nothing"]), Wish(audience=["nobody"])])
def test_a_thief_cannot_try_a_copy_without_being_seen(program: Program, wish: Wish) -> None:
    """A wish that is refused leaves a good token as it was, but does not save a used one."""
    program.refresh(program.first.refresh, 60)
    assert program.refusal(program.first.refresh, HOUR, wish=wish) == "session_ended"
    assert program.events() == REUSED


@pytest.mark.parametrize("behind", [DAY, 30 * DAY])
def test_a_clock_set_back_opens_no_window_for_old_copies(program: Program, behind: int) -> None:
    """The age of a use in the future is 0, but what was over before stays over."""
    tokens = [program.first.refresh]
    for turn in range(1, 5):
        tokens.append(program.refresh(tokens[-1], turn * 900, key=KEY).refresh)
    assert program.refresh(tokens[-2], 900 - behind).refresh == tokens[-1]
    refused = program.refusal(tokens[0], 900 - behind, key=KEY, client=ELSEWHERE)
    assert refused == "session_ended"
    assert not program.is_signed_in()


def test_copies_at_once_end_one_session_once(app: Flask, program: Program) -> None:
    """Twenty thieves with tokens of all ages, while the owner goes on."""
    other, tokens = sign_program_in(app, ALICE), chain(program, 4)
    program.refresh(tokens[-1], 900)
    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda token: program.refusal(token, HOUR), tokens * 4))
    assert set(codes) == {"session_ended"}
    assert program.events() == REUSED
    assert other.is_signed_in()
    assert not program.is_signed_in()


def test_flooding_the_window_keeps_no_copy_alive(program: Program) -> None:
    """The owner is told to wait by a thief who runs ahead, and ends both when it closes."""
    newest = program.refresh(program.first.refresh, 60).refresh
    for _ in range(20):
        newest = program.refresh(newest, 61, client=ELSEWHERE).refresh
    assert program.refusal(program.first.refresh, 62) == "too_many_attempts"
    assert program.refusal(program.first.refresh, 81) == "session_ended"
    assert program.refusal(newest, 82, client=ELSEWHERE) == "session_ended"


def test_one_token_with_the_key_of_another_is_no_retry(app: Flask, program: Program) -> None:
    """Neither a key of the same session, nor characters moved from the token to the key."""
    token = program.first.refresh
    following = program.refresh(token, 60, key=KEY).refresh
    other = sign_program_in(app, ALICE)
    other.refresh(other.first.refresh, 60, key=f"{KEY}-of-the-other")
    assert program.refusal(token[:-4], HOUR, key=token[-4:] + KEY) == "session_ended"
    assert program.refresh(token, HOUR, key=KEY).refresh == following
    assert program.refusal(token, HOUR, key=f"{KEY}-of-the-other") == "session_ended"
    assert other.is_signed_in()


def test_a_token_that_was_logged_out_alarms_nobody(app: Flask, program: Program) -> None:
    """A thief who comes after the person has left ends nothing and writes nothing."""
    client, other = app.test_client(), sign_program_in(app, ALICE)
    used = program.first.refresh
    newest = refresh(client, used).get_json()["refresh_token"]
    client.post("/auth/logout", json={"refresh_token": newest}, base_url=ORIGIN)
    for token in (used, newest):
        assert refresh(client, token).status_code == 401
        client.post("/auth/logout", json={"refresh_token": token}, base_url=ORIGIN)
    assert program.events() == ["session.ended signed_out"]
    assert events_of(app, str(claims_of(other.first.access)["sid"])) == []
