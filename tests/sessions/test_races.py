"""Refresh tokens and sessions in the hands of many threads, on both databases."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import accounts, sessions, users
from tests.conftest import MakeApp, add_user, find_user, on_both_databases, on_postgresql
from tests.sessions.crowd import PATIENCE, at_once, is_accepted, is_unused, refresh, sign_in
from tests.support import (
    NO_LOGIN_LIMITS,
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    bearer,
    claims_of,
    get,
    log_in,
    post_json,
    submit,
)

NEW_PASSWORD = "seven quiet herons at dusk"


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app, which answers 401 however often."""
    return make_app(FOXTROT_LIMIT_REFRESH="off")


# One token, many hands


@on_both_databases
def test_fifty_threads_with_one_token_get_one_successor(app: Flask, alice: str) -> None:
    """All are answered, and the family has one live branch."""
    token = sign_in(app, alice)["refresh_token"]
    answers = at_once([partial(refresh, app, token)] * 50)
    assert [answer.status_code for answer in answers] == [200] * 50
    (successor,) = {answer.get_json()["refresh_token"] for answer in answers}
    assert is_unused(app, successor)


@on_both_databases
def test_each_of_fifty_answers_is_as_good_as_another(app: Flask, alice: str) -> None:
    """Every access token is accepted."""
    token = sign_in(app, alice)["refresh_token"]
    answers = at_once([partial(refresh, app, token)] * 50)
    assert all(is_accepted(app, answer.get_json()["access_token"]) for answer in answers)


@on_both_databases
def test_a_family_never_branches(app: Flask, alice: str) -> None:
    """Ten generations, each in twenty hands: there is always one token to go on with."""
    token = sign_in(app, alice)["refresh_token"]
    seen = {token}
    for _ in range(10):
        answers = at_once([partial(refresh, app, token)] * 20)
        (token,) = {answer.get_json()["refresh_token"] for answer in answers}
        assert is_unused(app, token)
        seen.add(token)
    assert len(seen) == 11


@on_both_databases
def test_stragglers_catch_up_with_those_ahead(app: Flask, alice: str) -> None:
    """Whoever comes with an ancestor while others go on gets a token that works."""
    tokens = [sign_in(app, alice)["refresh_token"]]
    for _ in range(4):
        answers = at_once(partial(refresh, app, token) for token in tokens * 4)
        assert {answer.status_code for answer in answers} == {200}
        tokens += {answer.get_json()["refresh_token"] for answer in answers}
    assert sum(is_unused(app, token) for token in tokens) == 1


@on_both_databases
def test_two_first_uses_with_different_keys_get_the_same(app: Flask, alice: str) -> None:
    """Two programs that share a store, each with a key of its own."""
    token = sign_in(app, alice)["refresh_token"]
    keys = ("a" * 22, "b" * 22)
    answers = at_once(partial(refresh, app, token, Idempotency_Key=key) for key in keys)
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.get_json()["refresh_token"] for answer in answers}) == 1


# The end of a session against refreshes


def log_out(app: Flask, email: str, token: str, other: dict[str, str]) -> None:
    """By the oldest refresh token of the session."""
    answer = post_json(app.test_client(), "/auth/logout", {"refresh_token": token})
    assert answer.status_code == 204


def end_by_the_api(query: str, app: Flask, email: str, token: str, other: dict[str, str]) -> None:
    """From another session; `{}` stands for the id of the one to be ended."""
    listed = get(app.test_client(), "/api/sessions", other["access_token"]).get_json()["sessions"]
    (ended,) = [session["id"] for session in listed if not session["current"]]
    answer = app.test_client().delete(
        f"/api/sessions{query.format(ended)}",
        headers=bearer(other["access_token"]),
        base_url=ORIGIN,
    )
    assert answer.status_code == 204


def change_password(app: Flask, email: str, token: str, other: dict[str, str]) -> None:
    """From another session."""
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    headers = bearer(other["access_token"])
    answer = post_json(app.test_client(), "/api/me/password", body, **headers)
    assert answer.status_code == 204


def by_the_operator(
    action: Callable[..., None], app: Flask, email: str, token: str, other: dict[str, str]
) -> None:
    """By a command."""
    with app.app_context():
        action(find_user(app, email))


End = Callable[[Flask, str, str, dict[str, str]], None]
ENDINGS: dict[str, End] = {
    "log out": log_out,
    "end it": partial(end_by_the_api, "/{}"),
    "end others": partial(end_by_the_api, "?except=current"),
    "end all": partial(end_by_the_api, ""),
    "change the password": change_password,
    "set the password": partial(
        by_the_operator, lambda user: accounts.set_password(user, NEW_PASSWORD, SOMEWHERE)
    ),
    "disable": partial(by_the_operator, lambda user: accounts.disable(user, SOMEWHERE)),
    "delete": partial(by_the_operator, lambda user: users.delete(user, SOMEWHERE)),
}


def refresh_until_refused(
    app: Flask, token: str, under_way: threading.Event
) -> Iterator[dict[str, str]]:
    """All that a client is given until it is refused; too far behind (429), it tries again."""
    for _ in range(500):
        answer = refresh(app, token)
        assert answer.status_code in (200, 401, 429)
        if answer.status_code == 401:
            return
        if answer.status_code == 200:
            under_way.set()
            yield answer.get_json()
            token = answer.get_json()["refresh_token"]
    raise AssertionError("It was never refused.")


@on_both_databases
@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_no_refresh_outlives_the_end_of_its_session(app: Flask, alice: str, end: End) -> None:
    """Twenty threads go on until they are refused; then nothing that they got is good."""
    first, other = sign_in(app, alice), sign_in(app, alice)
    token, under_way = first["refresh_token"], threading.Event()
    with ThreadPoolExecutor(20) as pool:
        clients = [
            pool.submit(lambda: list(refresh_until_refused(app, token, under_way)))
            for _ in range(20)
        ]
        assert under_way.wait(PATIENCE)
        end(app, alice, token, other)
        given = [first, *(pair for client in clients for pair in client.result())]
    assert len(given) > 1
    assert {refresh(app, pair["refresh_token"]).status_code for pair in given} == {401}
    assert not any(is_accepted(app, pair["access_token"]) for pair in given)


# The limit


@on_both_databases
def test_simultaneous_sign_ins_never_exceed_the_limit(make_app: MakeApp) -> None:
    """Twenty at once where five are permitted; a watcher counts."""
    app = make_app(FOXTROT_SESSIONS_PER_USER="5")
    alice = add_user(app, "alice@example.com")
    over = threading.Event()

    def most_seen() -> int:
        most = 0
        while not over.is_set():
            with app.app_context():
                most = max(most, len(sessions.live()))
        return most

    with ThreadPoolExecutor(1) as pool:
        watcher = pool.submit(most_seen)
        pairs = at_once([partial(sign_in, app, alice)] * 20)
        over.set()
        assert watcher.result() <= 5
    alive = [refresh(app, pair["refresh_token"]).status_code for pair in pairs]
    assert sorted(alive) == [200] * 5 + [401] * 15


# Everything at once


class Restless:
    """One of many programs of Alice's that sign in, refresh, list, end and change passwords."""

    def __init__(self, app: Flask, number: int) -> None:
        self.app = app
        self.choose = random.Random(number)
        self.tokens: dict[str, str] = {}

    def storm(self, times: int) -> list[int]:
        """Do one thing after the other; give the statuses of the answers."""
        return [self.act().status_code for _ in range(times)]

    def act(self) -> TestResponse:
        if not self.tokens:
            return self.sign_in()
        todo = self.choose.choices(
            [self.refresh, self.sign_in, self.list, self.end, self.end_others, self.change],
            [8, 1, 2, 2, 1, 1],
        )[0]
        answer = todo()
        if answer.status_code == 401:
            self.tokens = {}
        return answer

    def sign_in(self) -> TestResponse:
        password = self.choose.choice([PASSWORD, NEW_PASSWORD])
        answer = log_in(self.app.test_client(), "alice@example.com", password, audience=ORIGIN)
        if answer.status_code == 200:
            self.tokens = answer.get_json()
        return answer

    def refresh(self) -> TestResponse:
        answer = refresh(self.app, self.tokens["refresh_token"])
        if answer.status_code == 200:
            self.tokens = answer.get_json()
        return answer

    def list(self) -> TestResponse:
        return get(self.app.test_client(), "/api/sessions", self.tokens["access_token"])

    def end(self) -> TestResponse:
        listed = self.list().get_json().get("sessions", [])
        own = {"id": claims_of(self.tokens["access_token"])["sid"]}
        return self.delete(f"/{self.choose.choice([*listed, own])['id']}")

    def end_others(self) -> TestResponse:
        return self.delete(self.choose.choice(["", "?except=current"]))

    def change(self) -> TestResponse:
        current, new = self.choose.sample([PASSWORD, NEW_PASSWORD], 2)
        body = {"current_password": current, "new_password": new}
        headers = bearer(self.tokens["access_token"])
        return post_json(self.app.test_client(), "/api/me/password", body, **headers)

    def delete(self, query: str) -> TestResponse:
        headers = bearer(self.tokens["access_token"])
        return self.app.test_client().delete(
            f"/api/sessions{query}", headers=headers, base_url=ORIGIN
        )


def operate(app: Flask, email: str, times: int) -> list[int]:
    """What an operator does to one user, again and again; gives the statuses of the one form."""
    statuses = []
    for _ in range(times):
        with app.app_context():
            alice = find_user(app, email)
            secret = accounts.reset_url(alice, SOMEWHERE)[-43:]
            accounts.disable(alice, SOMEWHERE)
            users.enable(alice, SOMEWHERE)
            accounts.set_password(alice, NEW_PASSWORD, SOMEWHERE)
        form = submit(app.test_client(), "/reset", token=secret, password=PASSWORD)
        statuses.append(form.status_code)
    return statuses


@on_postgresql
def test_a_storm_of_everything_is_answered(make_app: MakeApp) -> None:
    """Nobody waits for each other in a ring: on PostgreSQL that is a deadlock, and a 503."""
    limits = dict.fromkeys(NO_LOGIN_LIMITS, "1000/15m,2000/1d")  # counted, and never reached
    app = make_app(FOXTROT_SESSIONS_PER_USER="6", **limits)
    alice = add_user(app, "alice@example.com")
    programs = [partial(Restless(app, number).storm, 25) for number in range(14)]
    answers = at_once([*programs, *[partial(operate, app, alice, 6)] * 2])
    statuses = [status for some in answers for status in some]
    assert set(statuses) <= {200, 204, 303, 401, 403, 404}
    assert 200 in statuses
