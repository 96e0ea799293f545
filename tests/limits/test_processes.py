"""Several servers, many threads: together exactly as many pass as the limit says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from flask import Flask

from tests.limits.conftest import WRONG, on_all_stores
from tests.sessions.crowd import at_once
from tests.sessions.network import Answer, Server, call
from tests.support import PASSWORD


@pytest.fixture
def servers(
    app: Flask, alice: str, database: dict[str, str], tmp_path: Path
) -> Iterator[list[Server]]:
    """Two real servers on the database of `app`, in which Alice has an account."""
    servers = [Server(database, tmp_path / f"output {number}") for number in range(2)]
    for server in servers:
        server.settings = {**database, "FOXTROT_PUBLIC_URL": servers[0].url}
    with servers[0], servers[1]:
        yield servers


def try_at(server: Server, email: str, password: str = WRONG) -> Answer:
    """Log in by JSON, over the network."""
    return call(f"{server.url}/auth/login", {"email": email, "password": password})


@on_all_stores
def test_the_limit_is_not_multiplied_by_servers_and_threads(
    servers: list[Server], alice: str
) -> None:
    """Forty tries at once, at two servers: ten are judged, none of the others is a fault."""
    tries = [partial(try_at, server, alice) for server in servers for _ in range(20)]
    answers = [answer.status for answer in at_once(tries)]
    assert sorted(answers) == [401] * 10 + [429] * 30
    assert [try_at(server, alice, PASSWORD).status for server in servers] == [429] * 2
