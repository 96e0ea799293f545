"""Crashes: the server, or its database, is killed in the middle of a storm of refreshes.

The clients keep the rules of docs/sessions.md. Whatever was acknowledged must still be so
afterwards, and none of them may ever be told that their session has ended.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

from flask import Flask

from app import create_app, schema
from tests import postgresql
from tests.conftest import add_user, dispose, on_both_databases
from tests.sessions.crowd import PATIENCE
from tests.sessions.network import (
    NO_ANSWER,
    Program,
    Server,
    status_of_access,
    status_of_refresh,
)
from tests.support import postgresql_settings


def programs(app: Flask, url: str) -> list[Program]:
    """Four, each of a user of its own; half of them sign out now and then."""
    users = [add_user(app, f"user{number}@example.com") for number in range(4)]
    return [Program(url, email, logs_out=n % 2 == 0) for n, email in enumerate(users)]


@contextmanager
def storm(clients: list[Program]) -> Iterator[Callable[[int], None]]:
    """Let the programs live, two threads for each that never signs out.

    Gives a function that waits for so many further refreshes.
    """
    over = threading.Event()

    def wait_for_refreshes(number: int) -> None:
        goal = sum(client.refreshes for client in clients) + number
        deadline = time.monotonic() + 2 * PATIENCE
        while sum(client.refreshes for client in clients) < goal:
            assert time.monotonic() < deadline, [client.seen for client in clients]
            if any(life.done() for life in lives):
                return  # one has failed; its result says why
            time.sleep(0.005)

    threads = [client for client in clients for _ in range(1 if client.logs_out else 2)]
    with ThreadPoolExecutor(len(threads)) as pool:
        lives = [pool.submit(client.live, over) for client in threads]
        try:
            yield wait_for_refreshes
        finally:
            over.set()
    for life in lives:
        life.result()


def check(clients: list[Program]) -> None:
    """What was acknowledged: the living live, the ended are dead."""
    for client in clients:
        assert client.ask("/api/me").status == 200
        client.refresh()
        for store in client.ended:
            assert status_of_refresh(client.url, store["refresh_token"]) == 401
            assert status_of_access(client.url, store["access_token"]) == 401
        assert set(client.seen) <= {NO_ANSWER, 200, 204, 429, 503}
    assert any(client.ended for client in clients)


@on_both_databases
def test_kill_9_of_the_server_loses_and_revives_no_session(
    app: Flask, database: dict[str, str], tmp_path: Path
) -> None:
    """Again and again in a storm, on the same data; who kept the rules is not signed out."""
    on_sqlite = "FOXTROT_DATABASE_URL" not in database
    kills = 10 if on_sqlite else 4
    with Server(database, tmp_path / "output") as server:
        clients = programs(app, server.url)
        with storm(clients) as wait_for_refreshes:
            for _ in range(kills):
                wait_for_refreshes(12)
                server.kill()
                server.start()
            wait_for_refreshes(12)
        check(clients)
        assert sum(client.seen[NO_ANSWER] for client in clients) >= kills
    if on_sqlite:
        file = Path(database["FOXTROT_DATA_DIR"]) / "foxtrot.sqlite3"
        with closing(sqlite3.connect(file)) as found:
            assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_crash_of_postgresql_loses_and_revives_no_session(tmp_path: Path) -> None:
    """Clients see 503 while it is away, and go on by themselves when it is back."""
    with postgresql.running() as cluster:
        settings = postgresql_settings(cluster.url(), tmp_path / "data")
        app = create_app(settings)
        with app.app_context():
            schema.upgrade()
        with Server(settings, tmp_path / "output") as server:
            clients = programs(app, server.url)
            with storm(clients) as wait_for_refreshes:
                wait_for_refreshes(30)
                cluster.stop(signal.SIGQUIT)
                wait_for_503(clients)
                cluster.start()
                wait_for_refreshes(30)
            check(clients)
        dispose(app)


def wait_for_503(clients: list[Program]) -> None:
    """Wait until each was told to come back later."""
    deadline = time.monotonic() + PATIENCE
    while not all(client.seen[503] for client in clients) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert all(client.seen[503] for client in clients), [client.seen for client in clients]
