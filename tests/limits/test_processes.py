"""Several servers, many threads: together exactly as many pass as the limit says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask

from tests import valkey
from tests.conftest import on_both_databases
from tests.limits.conftest import WRONG
from tests.sessions.crowd import at_once
from tests.sessions.network import Answer, Server, call, status_of_access, status_of_refresh
from tests.support import PASSWORD, on_a_machine


@pytest.fixture
def servers(
    app: Flask, alice: str, database: dict[str, str], tmp_path: Path
) -> Iterator[list[Server]]:
    """Two real servers on the database of `app`, in which Alice has an account."""
    servers = [Server(on_a_machine(database, name), tmp_path / f"output {name}") for name in "ab"]
    for server in servers:
        server.settings = {**server.settings, "FOXTROT_PUBLIC_URL": servers[0].url}
    with servers[0], servers[1]:
        yield servers


def try_at(server: Server, email: str, password: str = WRONG) -> Answer:
    """Log in by JSON, over the network."""
    return call(f"{server.url}/auth/login", {"email": email, "password": password})


@on_both_databases
def test_the_limit_is_not_multiplied_by_servers_and_threads(
    servers: list[Server], alice: str
) -> None:
    """Forty tries at once, at two servers: ten are judged, none of the others is a fault."""
    tries = [partial(try_at, server, alice) for server in servers for _ in range(20)]
    answers = [answer.status for answer in at_once(tries)]
    assert sorted(answers) == [401] * 10 + [429] * 30
    assert [try_at(server, alice, PASSWORD).status for server in servers] == [429] * 2


@pytest.mark.parametrize("database", ["postgresql and valkey"], indirect=True)
def test_two_machines_are_one_service_by_two_settings(
    servers: list[Server], alice: str, bob: str, server: valkey.Server
) -> None:
    """PostgreSQL and Valkey, and nothing else in common; one of them starts anew from nothing."""
    a, b = servers
    begun = try_at(a, bob, PASSWORD).body
    renewed = call(f"{b.url}/auth/refresh", {"refresh_token": begun["refresh_token"]}).body
    assert status_of_access(a.url, renewed["access_token"]) == 200
    tries = [partial(try_at, one, alice) for one in servers for _ in range(20)]
    assert sorted(answer.status for answer in at_once(tries)) == [401] * 10 + [429] * 30
    assert len(server.lives()) > 0
    a.kill()
    shutil.rmtree(a.settings["FOXTROT_DATA_DIR"])
    a.start()
    assert [try_at(one, alice, PASSWORD).status for one in servers] == [429] * 2
    ended = call(f"{a.url}/auth/logout", {"refresh_token": renewed["refresh_token"]})
    assert ended.status == 204
    assert status_of_access(b.url, renewed["access_token"]) == 401
    assert status_of_refresh(b.url, renewed["refresh_token"]) == 401
