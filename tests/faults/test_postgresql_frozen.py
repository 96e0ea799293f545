"""PostgreSQL freezes while refreshes are being written: no token is lost, none is doubled (OPS-2).

A refresh is one statement that commits by itself. It is caught at its two ends: before it has
written anything, behind a lock that somebody holds, and after it has written everything, while
the commit waits for a standby that does not exist (`synchronous_standby_names`).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest

from app.ids import digest
from tests import postgresql
from tests.faults.test_postgresql_in_trouble import wait_for_a_lock
from tests.faults.world import CREDENTIALS, World
from tests.processes import run
from tests.sessions.network import Answer, Server, status_of_access
from tests.support import postgresql_settings
from tests.test_server import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops processes as Linux has them")

WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"


@pytest.fixture(scope="module")
def mine() -> Iterator[postgresql.Cluster]:
    """A server that may be broken."""
    with postgresql.running() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def world(mine: postgresql.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service on it."""
    folder = tmp_path_factory.mktemp("world")
    settings = postgresql_settings(mine.url(), folder / "data")
    assert run("db", "upgrade", settings=settings).returncode == 0
    with Server(settings, folder / "output") as server:
        world = World(server)
        world.settle()
        yield world
    assert "Traceback" not in (folder / "output").read_text()


class Client:
    """Who refreshes with an `Idempotency-Key`, and with the same one again (docs/sessions.md)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.token = world.ask("/auth/login", CREDENTIALS).body["refresh_token"]
        self.key = "c" * 24

    def refresh(self) -> Answer:
        """Send what was sent before."""
        body = {"refresh_token": self.token}
        return self.world.ask("/auth/refresh", body, Idempotency_Key=self.key)

    def goes_on(self, cluster: postgresql.Cluster) -> bool:
        """Say whether the next try gives the one successor, with which the session goes on."""
        answer = self.refresh()
        assert answer.status == 200, answer
        given = answer.body["refresh_token"]
        query = f"SELECT count(*) FROM login_sessions WHERE refresh_hash = '{digest(given)}'"
        assert cluster.execute(query) == [(1,)]
        assert number(given) == number(self.token) + 1
        assert status_of_access(self.world.url, answer.body["access_token"]) == 200
        self.token = given
        return self.refresh().status == 200


def number(token: str) -> int:
    """How many were before it."""
    return int(token.split(".")[1])


@contextmanager
def no_commit_ends(cluster: postgresql.Cluster) -> Iterator[None]:
    """From now on everything that is written is kept, and nobody is told so."""
    cluster.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    cluster.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        cluster.execute("ALTER SYSTEM RESET synchronous_standby_names")
        cluster.execute("SELECT pg_reload_conf()")


@contextmanager
def caught(
    early: Client, late: Client, cluster: postgresql.Cluster
) -> Iterator[list[Future[Answer]]]:
    """Two refreshes under way: one has not written yet, one has and is not told so."""
    with ExitStack() as stack:
        holder = psycopg.connect(cluster.url())
        stack.callback(holder.close)
        sid = early.token.split(".")[0]
        lock = f"SELECT 1 FROM login_sessions WHERE public_id = '{sid}' FOR UPDATE"
        holder.execute(lock.encode())
        stack.enter_context(no_commit_ends(cluster))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        asked = [pool.submit(client.refresh) for client in (early, late)]
        wait_for_a_lock(cluster)
        until(lambda: cluster.execute(WAITS) == [(1,)])
        yield asked


@pytest.mark.parametrize("afterwards", ["goes on", "is killed"])
def test_a_refresh_under_way_in_a_frozen_server_is_neither_lost_nor_doubled(
    afterwards: str, world: World, mine: postgresql.Cluster
) -> None:
    """The client is told to come back, and does so with the same token and key."""
    early, late = Client(world), Client(world)
    with caught(early, late, mine) as asked:
        backends = [pid for (pid,) in mine.execute(BACKENDS)]
        with mine.frozen():
            assert {one.result().status for one in asked} == {503}
            for pid in backends if afterwards == "is killed" else ():
                with suppress(ProcessLookupError):  # the one that listed them
                    os.kill(pid, signal.SIGKILL)
        until(lambda: world.ask("/readyz").status == 200)
    assert early.goes_on(mine)
    assert late.goes_on(mine)
