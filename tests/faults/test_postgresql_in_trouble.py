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
from app.application import TRIES
from tests import postgresql
from tests.conftest import dispose
from tests.faults.world import CREDENTIALS, World
from tests.processes import run
from tests.sessions.crowd import at_once
from tests.sessions.network import Server
from tests.sessions.test_crashes import check, programs, storm
from tests.support import PASSWORD, bearer, postgresql_settings

SLOTS = 12
FAIL = """
CREATE SEQUENCE tries;
CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM nextval('tries');
    IF {condition} THEN RAISE SQLSTATE '40001'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER give_way BEFORE INSERT ON login_sessions FOR EACH ROW EXECUTE FUNCTION give_way()
"""
MEND = "DROP TRIGGER give_way ON login_sessions; DROP FUNCTION give_way; DROP SEQUENCE tries"
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


def test_who_gives_way_in_a_deadlock_tries_again_unnoticed(
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
        assert not asked.done()
        other.rollback()
        assert asked.result().status == 204


def test_who_only_reads_tries_again_likewise(world: World, small: postgresql.Cluster) -> None:
    """Somebody takes both tables for themselves, one after the other, as a migration does."""
    token = world.ask("/auth/login", CREDENTIALS).body["refresh_token"]
    with psycopg.connect(small.url()) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SET deadlock_timeout = '20s'")
        other.execute("LOCK users")
        asked = pool.submit(partial(world.ask, "/auth/logout", {"refresh_token": token}))
        wait_for_a_lock(small)
        other.execute("LOCK login_sessions")
        assert not asked.done()
        other.rollback()
        assert asked.result().status == 204


def test_who_gives_way_again_and_again_is_told_503(world: World, small: postgresql.Cluster) -> None:
    """A bounded number of times; a trigger fails as a transaction does that must be done anew."""
    small.execute(FAIL.format(condition="TRUE"))
    try:
        answer = world.ask("/auth/login", CREDENTIALS)
        assert small.execute("SELECT last_value FROM tries") == [(TRIES,)]
    finally:
        small.execute(MEND)
    assert (answer.status, answer.body["code"]) == (503, "unavailable")
    assert answer.headers is not None
    assert answer.headers["Retry-After"]
    assert world.ask("/auth/login", CREDENTIALS).status == 200


def test_what_has_to_be_done_anew_is_done_once(world: World, small: postgresql.Cluster) -> None:
    """A sign-in fails twice, and then leaves one session and one event."""
    count = (
        "SELECT (SELECT count(*) FROM login_sessions),"
        " (SELECT count(*) FROM audit_events WHERE name = 'login.succeeded')"
    )
    before = small.execute(count)[0]
    small.execute(FAIL.format(condition=f"(SELECT last_value FROM tries) < {TRIES}"))
    try:
        assert world.ask("/auth/login", CREDENTIALS).status == 200
    finally:
        small.execute(MEND)
    assert small.execute(count) == [tuple(number + 1 for number in before)]


def test_a_stricter_isolation_by_default_changes_nothing(
    world: World, small: postgresql.Cluster
) -> None:
    """Whatever the operator has set for all their databases."""
    small.execute("ALTER SYSTEM SET default_transaction_isolation = 'serializable'")
    small.execute("SELECT pg_reload_conf()")
    try:
        small.execute(f"SELECT pg_terminate_backend(pid) {OTHERS}")
        answers = at_once([partial(world.ask, "/auth/login", CREDENTIALS)] * 12)
    finally:
        small.execute("ALTER SYSTEM RESET default_transaction_isolation")
        small.execute("SELECT pg_reload_conf()")
    assert {answer.status for answer in answers} == {200}


def wait_for_a_lock(cluster: postgresql.Cluster) -> None:
    """Until somebody waits for one."""
    deadline = time.monotonic() + 30
    while cluster.execute("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
