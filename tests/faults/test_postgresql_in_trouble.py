"""PostgreSQL is full, fails over, or has deadlocks: 503 at worst, and nothing lost (OPS-2)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial

import psycopg
import pytest

from app import create_app
from tests import postgresql
from tests.conftest import dispose
from tests.faults.world import CREDENTIALS, World
from tests.processes import run
from tests.sessions.crowd import at_once
from tests.sessions.network import Server
from tests.sessions.test_crashes import check, programs, storm
from tests.support import PASSWORD, bearer, postgresql_settings

SLOTS = 12
OTHERS = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"


@pytest.fixture(scope="module")
def small() -> Iterator[postgresql.Cluster]:
    """A server with few connections."""
    with postgresql.running(max_connections=str(SLOTS)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def world(small: postgresql.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server on it, in which Alice is signed in."""
    folder = tmp_path_factory.mktemp("world")
    settings = postgresql_settings(small.url(), folder / "data")
    assert run("db", "upgrade", settings=settings).returncode == 0
    with Server(settings, folder / "output") as server:
        world = World(server)
        world.settle()
        yield world
    assert "Traceback" not in (folder / "output").read_text()


def fill(cluster: postgresql.Cluster, stack: ExitStack, free: int) -> None:
    """Take all connections but some; those of the service are ended before."""
    cluster.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
    held = []
    with suppress(psycopg.OperationalError):
        while True:
            held.append(stack.enter_context(psycopg.connect(cluster.url())))
    for connection in held[:free]:
        connection.close()


def test_without_a_connection_left_it_is_503_until_there_is_one(
    world: World, small: postgresql.Cluster
) -> None:
    """Somebody else has taken them all; keys and health go on."""
    with ExitStack() as stack:
        fill(small, stack, free=0)
        answers = at_once([partial(world.ask, "/auth/login", CREDENTIALS)] * 4)
        assert {answer.status for answer in answers} == {503}
        assert {answer.body["code"] for answer in answers} == {"unavailable"}
        assert world.ask("/readyz").status == 503
        assert world.ask("/healthz").status == world.ask("/.well-known/jwks.json").status == 200
    assert world.ask("/auth/login", CREDENTIALS).status == 200


def test_few_connections_are_shared_by_all(world: World, small: postgresql.Cluster) -> None:
    """Two are left, and thirty sign in at once: they queue, and none is turned away."""
    with ExitStack() as stack:
        fill(small, stack, free=2)
        answers = at_once([partial(world.ask, "/auth/login", CREDENTIALS)] * 30)
    assert {answer.status for answer in answers} == {200}


def test_a_lost_connection_loses_and_doubles_no_refresh_token(
    world: World, small: postgresql.Cluster
) -> None:
    """All connections are cut ten times a second in a storm of refreshes, as in a failover."""
    over = threading.Event()

    def cut() -> None:
        while not over.wait(0.1):
            with suppress(psycopg.Error):
                small.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")

    app = create_app(world.server.settings)
    clients = programs(app, world.url)
    dispose(app)
    with storm(clients) as wait_for_refreshes, ThreadPoolExecutor(1) as pool:
        cutting = pool.submit(cut)
        wait_for_refreshes(60)
        over.set()
        cutting.result()
        while not any(client.ended for client in clients):
            wait_for_refreshes(5)
    check(clients)


def test_a_deadlock_is_answered_with_503_and_the_next_try_succeeds(
    world: World, small: postgresql.Cluster
) -> None:
    """Somebody holds Dora's sessions and wants her row, which the service holds."""
    dora = {"email": "dora@example.com", "password": PASSWORD}
    assert world.ask("/auth/register", dora).status == 201
    _, token = (
        world.ask("/auth/login", {**dora, "audience": world.url}).body["access_token"] for _ in "12"
    )
    change = {"current_password": PASSWORD, "new_password": "seven quiet herons at dusk"}
    ask = partial(world.ask, "/api/me/password", change, **bearer(token))
    with psycopg.connect(small.url()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '20s'")  # so that the service is the one to lose
        other.execute("SELECT 1 FROM login_sessions FOR UPDATE")
        asked = pool.submit(ask)
        wait_for_a_lock(small)
        other.execute("SELECT 1 FROM users FOR UPDATE")
        assert asked.result().status == 503
        other.rollback()
    assert ask().status == 204


def wait_for_a_lock(cluster: postgresql.Cluster) -> None:
    """Until somebody waits for one."""
    deadline = time.monotonic() + 30
    while cluster.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
