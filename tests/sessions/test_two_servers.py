"""Two servers on one database: what one does, the other knows at once.

On PostgreSQL they share nothing else, as two machines do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from flask import Flask

from tests.conftest import on_both_databases
from tests.sessions.crowd import at_once, is_unused
from tests.sessions.network import (
    Answer,
    Server,
    call,
    status_of_access,
    status_of_refresh,
)
from tests.support import PASSWORD, bearer, claims_of, on_a_machine

pytestmark = on_both_databases


@dataclass(frozen=True)
class Pair:
    """The addresses of both; tokens name the first as their issuer."""

    a: str
    b: str


@pytest.fixture
def pair(app: Flask, alice: str, database: dict[str, str], tmp_path: Path) -> Iterator[Pair]:
    """Two real servers on the database of `app`, in which Alice has an account."""
    servers = [Server(on_a_machine(database, name), tmp_path / f"output {name}") for name in "ab"]
    for server in servers:
        server.settings = {**server.settings, "FOXTROT_PUBLIC_URL": servers[0].url}
    with servers[0], servers[1]:
        yield Pair(*(server.url for server in servers))


def sign_in(pair: Pair, email: str, **more: str) -> Answer:
    """At the first; the access token holds the scope `account`."""
    body = {"email": email, "password": PASSWORD, "audience": pair.a, **more}
    answer = call(f"{pair.a}/auth/login", body, Origin=pair.a)
    assert answer.status == 200, answer
    return answer


def refresh(url: str, token: str) -> Answer:
    """At either."""
    return call(f"{url}/auth/refresh", {"refresh_token": token})


def test_fifty_threads_at_two_servers_get_one_successor(app: Flask, alice: str, pair: Pair) -> None:
    """All are answered, by whichever they asked."""
    token = sign_in(pair, alice).body["refresh_token"]
    answers = at_once([partial(refresh, pair.a, token), partial(refresh, pair.b, token)] * 25)
    assert [answer.status for answer in answers] == [200] * 50
    (successor,) = {answer.body["refresh_token"] for answer in answers}
    assert is_unused(app, successor)


def test_a_session_goes_on_at_the_other_server(alice: str, pair: Pair) -> None:
    """Turn by turn, and each takes the access tokens of the other."""
    tokens = sign_in(pair, alice).body
    for url, other in [(pair.b, pair.a), (pair.a, pair.b)] * 3:
        tokens = refresh(url, tokens["refresh_token"]).body
        assert status_of_access(other, tokens["access_token"]) == 200


def test_a_session_that_ends_at_one_server_has_ended_at_the_other(alice: str, pair: Pair) -> None:
    """Signed in at A, renewed at B, ended at A: B takes neither of its tokens."""
    renewed = refresh(pair.b, sign_in(pair, alice).body["refresh_token"]).body
    assert status_of_access(pair.b, renewed["access_token"]) == 200
    ended = call(f"{pair.a}/auth/logout", {"refresh_token": renewed["refresh_token"]})
    assert ended.status == 204
    assert status_of_access(pair.b, renewed["access_token"]) == 401
    assert status_of_refresh(pair.b, renewed["refresh_token"]) == 401


def test_a_cookie_that_is_ended_at_one_server_is_dead_at_the_other(alice: str, pair: Pair) -> None:
    """By another session of the same user."""
    signed_in = sign_in(pair, alice, session="cookie")
    cookie = (signed_in.headers or {})["Set-Cookie"].partition(";")[0]
    assert call(f"{pair.b}/account", Cookie=cookie).status == 200
    headers = bearer(sign_in(pair, alice).body["access_token"])
    sid = claims_of(signed_in.body["access_token"])["sid"]
    assert call(f"{pair.a}/api/sessions/{sid}", method="DELETE", **headers).status == 204
    assert call(f"{pair.b}/account", Cookie=cookie).status == 303
    assert status_of_access(pair.b, signed_in.body["access_token"]) == 401


def test_an_end_at_one_server_stops_refreshes_at_both(alice: str, pair: Pair) -> None:
    """While twenty threads refresh, one signs out; then none of what they got is good."""
    token = sign_in(pair, alice).body["refresh_token"]
    log_out = partial(call, f"{pair.b}/auth/logout", {"refresh_token": token})
    refreshes = [partial(refresh, pair.a, token), partial(refresh, pair.b, token)] * 10
    answers = at_once([*refreshes[:10], log_out, *refreshes[10:]])
    assert {answer.status for answer in answers} <= {200, 204, 401}
    for given in [answer.body for answer in answers if answer.status == 200]:
        assert status_of_refresh(pair.a, given["refresh_token"]) == 401
        assert status_of_access(pair.b, given["access_token"]) == 401
