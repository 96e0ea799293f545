"""Writing: all or nothing, nothing lost, nobody in the way (app/db.py)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import create_app, links, users
from app.db import db, transaction
from app.errors import EmailTaken, NotFound
from tests.conftest import dispose, find_user
from tests.processes import free_port, run, serving
from tests.support import PASSWORD, SOMEWHERE, access_token, cheap_settings, get, post_json
from tests.test_migrations import all_at_once, apart

FILE = "foxtrot.sqlite3"


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: Any


def ask(port: int, path: str, body: Any = None, **headers: str) -> Answer:
    """GET, or POST JSON, over the network."""
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(f"http://localhost:{port}{path}", data, headers)
    asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return Answer(answer.status, dict(answer.headers), json.load(answer))
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, dict(refused.headers), json.load(refused))


def register(port: int, email: str) -> Answer:
    """Make an account over the network; while too many others do, come again."""
    while True:
        answer = ask(port, "/auth/register", {"email": email, "password": PASSWORD})
        if answer.body.get("code") != "busy":
            return answer
        time.sleep(0.05)


@dataclass(frozen=True)
class Server:
    """A real server."""

    port: int
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of this file; each makes users of its own."""
    port, folder = free_port(), tmp_path_factory.mktemp("server")
    settings = {**cheap_settings(folder), "FOXTROT_LIMIT_REGISTRATION": "off"}
    with serving(port=port, settings=settings):
        yield Server(port, folder)


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the write lock of the database, as a foreign process would."""
    with closing(sqlite3.connect(data_dir / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


# Transactions


def count_up(app: Flask, times: int) -> None:
    """Read and write, again and again; the counter is a text of Alice's."""
    for _ in range(times):
        with app.app_context():
            alice = find_user(app, "alice@example.com")
            seen = int(alice.own_scopes or 0)
            with transaction():
                assert int(alice.own_scopes or 0) >= seen
                alice.own_scopes = str(int(alice.own_scopes or 0) + 1)


def counted(app: Flask) -> int:
    """Where the counter is."""
    with app.app_context():
        return int(find_user(app, "alice@example.com").own_scopes)


def count_up_in_four_processes(folder: str) -> list[int]:
    """Each with an app and with connections of its own."""

    def count_fifty(_worker: int) -> bool:
        count_up(create_app(cheap_settings(Path(folder))), 50)
        return True

    return all_at_once(4, count_fifty)


def test_threads_lose_no_update(app: Flask, alice: str) -> None:
    """Read, then write: each of eight threads builds on what the others wrote."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, [app] * 8, [25] * 8))
    assert counted(app) == 200


def test_processes_lose_no_update(app: Flask, alice: str, data_dir: Path) -> None:
    """Four workers on one file, and none is told that the database is locked."""
    assert apart(count_up_in_four_processes, data_dir) == [0] * 4
    assert counted(app) == 200


@contextmanager
def undone() -> Iterator[None]:
    """A transaction that fails at its end."""
    with suppress(ZeroDivisionError), transaction():
        yield
        raise ZeroDivisionError


def test_an_exception_undoes_everything(app: Flask, alice: str) -> None:
    """All or nothing."""
    with app.app_context():
        user = find_user(app, alice)
        with undone():
            user.own_scopes = "admin"
            link = links.make(links.SETUP)
        assert user.own_scopes == ""
        with pytest.raises(NotFound):
            links.check(links.SETUP, link)


def test_a_transaction_inside_another_does_not_commit(app: Flask, alice: str) -> None:
    """It is part of the outer one."""
    with app.app_context():
        with undone():
            users.set_scopes(find_user(app, alice), ["admin"], SOMEWHERE)
        assert not users.any_admin()


def test_a_failure_inside_undoes_the_outer_transaction(app: Flask, alice: str) -> None:
    """Half of what belongs together is never written."""

    def fail_half_way() -> None:
        with transaction():
            users.set_scopes(find_user(app, alice), ["admin"], SOMEWHERE)
            users.create(alice, PASSWORD, SOMEWHERE)

    with app.app_context():
        with pytest.raises(EmailTaken):
            fail_half_way()
        assert not users.any_admin()


def test_after_a_failure_the_next_transaction_writes(app: Flask, alice: str) -> None:
    """Nothing of the failed one is left behind."""
    with app.app_context():
        with undone():
            pass
        users.set_scopes(find_user(app, alice), ["admin"], SOMEWHERE)
    with app.app_context():
        assert users.any_admin()


@contextmanager
def writing(app: Flask, email: str) -> Iterator[None]:
    """A transaction of another thread that has written and not yet committed."""
    wrote, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with app.app_context(), transaction():
            find_user(app, email).own_scopes = "admin"
            db.session.flush()
            wrote.set()
            may_end.wait(30)

    with ThreadPoolExecutor(1) as pool:
        written: Future[None] = pool.submit(write)
        assert wrote.wait(30)
        yield
        may_end.set()
        written.result()


def test_a_reader_is_not_kept_waiting_by_a_writer(app: Flask, alice: str) -> None:
    """It sees what was before."""
    with writing(app, alice), app.app_context():
        began = time.monotonic()
        assert not users.any_admin()
        assert time.monotonic() - began < 3


def test_a_reader_sees_what_was_committed(app: Flask, alice: str) -> None:
    """At once."""
    with writing(app, alice):
        pass
    with app.app_context():
        assert users.any_admin()


# At a real server


def test_one_of_many_gets_an_address(server: Server) -> None:
    """Twenty at once: one account, nineteen conflicts, no failure."""
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: register(server.port, "ann@example.com"), range(20)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19
    assert {answer.body.get("code") for answer in answers} == {None, "email_taken"}


def test_many_writers_never_see_a_locked_database(server: Server) -> None:
    """Fifty at once, each with an address of their own."""
    with ThreadPoolExecutor(50) as pool:
        answers = pool.map(lambda n: register(server.port, f"user{n}@example.com"), range(50))
        assert {answer.status for answer in answers} == {201}


def test_what_was_acknowledged_survives_kill_9(data_dir: Path) -> None:
    """A storm of registrations, and no time to say goodbye."""
    port, settings, acknowledged = free_port(), cheap_settings(data_dir), set()
    numbers = count()

    def storm() -> None:
        while True:
            email = f"user{next(numbers)}@example.com"
            try:
                if register(port, email).status == 201:
                    acknowledged.add(email)
            except OSError:
                return

    with serving(port=port, settings=settings) as process, ThreadPoolExecutor(4) as pool:
        storms = [pool.submit(storm) for _ in range(4)]
        while len(acknowledged) < 20 and not all(one.done() for one in storms):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    listed = json.loads(run("users", "list", "--json", settings=settings).stdout)["users"]
    assert len(acknowledged) >= 20
    assert acknowledged <= {user["email"] for user in listed}


def test_a_lock_of_a_foreign_process_is_waited_for_and_then_answered_with_503(
    server: Server,
) -> None:
    """A problem document that says when to try again; and it does not take longer than needed."""
    with locked(server.folder):
        began = time.monotonic()
        answer = register(server.port, "bea@example.com")
        assert 4 < time.monotonic() - began < 15
    assert (answer.status, answer.body["code"]) == (503, "unavailable")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert register(server.port, "bea@example.com").status == 201


def test_a_short_lock_is_only_waited_for(server: Server) -> None:
    """A backup that runs for a second is no failure."""
    with ThreadPoolExecutor(1) as pool:
        with locked(server.folder):
            answer = pool.submit(register, server.port, "cid@example.com")
            time.sleep(1)
        assert answer.result().status == 201


@pytest.mark.parametrize("path", ["/.well-known/jwks.json", "/readyz", "/api/me"])
def test_reading_goes_on_under_a_lock(
    client: FlaskClient, alice: str, data_dir: Path, path: str
) -> None:
    """Tokens are checked whoever writes."""
    token = access_token(client, alice)
    with locked(data_dir):
        began = time.monotonic()
        assert get(client, path, token).status_code == 200
        assert time.monotonic() - began < 3


def test_a_command_says_in_one_line_that_the_database_is_locked(
    app: Flask, alice: str, data_dir: Path
) -> None:
    """Exit code 1, no traceback."""
    with locked(data_dir):
        done = run("users", "disable", alice, settings=cheap_settings(data_dir))
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kept", [0, 4096], ids=["wholly", "all but the first page"])
@pytest.mark.parametrize("path", ["/auth/login", "/readyz"])
def test_an_overwritten_database_is_answered_with_503(
    app: Flask, data_dir: Path, path: str, kept: int, caplog: pytest.LogCaptureFixture
) -> None:
    """And what was asked of it, an address, is not written into the log."""
    dispose(app)
    file = data_dir / FILE
    file.write_bytes(file.read_bytes()[:kept] + os.urandom(65536 - kept))
    client = app.test_client()
    body = {"email": "ann@example.com", "password": PASSWORD}
    answer = post_json(client, path, body) if path == "/auth/login" else get(client, path)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert "ann@example.com" not in caplog.text
