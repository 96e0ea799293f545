"""SQLite is locked, its disk is full, its file is gone: 503 at worst, nothing lost (OPS-2, 11).

What damages a file at rest, and the secret beside it, is in `tests/test_start.py`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.disks import small_disk
from tests.faults.world import CREDENTIALS, World
from tests.processes import free_port, serving
from tests.sessions.crowd import at_once
from tests.sessions.network import Answer, Server
from tests.support import PASSWORD, bearer, cheap_settings
from tests.test_start import refusal, try_to_start
from tests.test_writes import FILE, locked

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="fills a disk as Linux does")


def register(world: World, name: str) -> Answer:
    """Somebody new."""
    body = {"email": f"{name}@example.com", "password": PASSWORD}
    return world.ask("/auth/register", body)


@on_linux
def test_a_full_disk_is_answered_with_503_and_loses_nothing(tmp_path: Path) -> None:
    """Tokens are checked meanwhile, and once there is room again all is well by itself."""
    with (
        small_disk(tmp_path / "disk", "3m") as disk,
        Server(cheap_settings(disk.folder / "data"), tmp_path / "output") as server,
    ):
        world = World(server)
        world.settle()
        disk.fill(server.process.pid)
        numbers = range(40)  # SQLite's log has room that it uses again
        answers = [register(world, f"during{number}") for number in numbers]
        assert {answer.status for answer in answers} <= {201, 503}
        assert (answers[-1].status, answers[-1].body["code"]) == (503, "unavailable")
        assert int((answers[-1].headers or {})["Retry-After"]) > 0
        assert world.refresh().status in (200, 503)
        for path in ("/healthz", "/readyz", "/.well-known/jwks.json", "/status-lists/0"):
            assert world.ask(path).status == 200
        assert world.ask("/api/me", **bearer(world.tokens["access_token"])).status == 200
        assert world.is_checked_by_a_new_service()
        disk.free(server.process.pid)
        assert register(world, "after").status == 201
        assert world.refresh().status == 200
        kept = {f"during{n}@example.com" for n in numbers if answers[n].status == 201}
        with closing(sqlite3.connect(disk.folder / "data" / FILE)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = {email for (email,) in database.execute("SELECT email FROM users")}
    assert kept == {email for email in found if email.startswith("during")}
    assert "Traceback" not in (tmp_path / "output").read_text()


def test_a_reader_of_the_log_that_goes_away_stops_no_request(data_dir: Path) -> None:
    """Standard output and error are a pipe that nobody reads any more."""
    port = free_port()
    with serving(port=port, settings=cheap_settings(data_dir)) as process:
        assert process.stdout
        process.stdout.close()
        server = Server({}, data_dir)
        server.url = f"http://localhost:{port}"
        World(server).settle()


def test_a_lock_keeps_who_reads_from_nothing(data_dir: Path, tmp_path: Path) -> None:
    """Thirty wait to write, for longer than they may; tokens and keys are looked at meanwhile."""
    with Server(cheap_settings(data_dir), tmp_path / "output") as server:
        world = World(server)
        world.settle()
        ask_me = partial(world.ask, "/api/me", **bearer(world.tokens["access_token"]))
        reads = [ask_me, partial(world.ask, "/.well-known/jwks.json"), ask_me] * 4
        writes = [partial(register, world, f"user{number}") for number in range(30)]
        assert ask_me().status == 200
        with locked(data_dir):
            answers = at_once([*writes, *reads])
        assert [answer.status for answer in answers[30:]] == [200] * 12
        assert {answer.status for answer in answers[:30]} == {503}
        assert {answer.status for answer in at_once(writes)} == {201}


def test_a_running_server_whose_file_is_overwritten_is_not_ready(
    data_dir: Path, tmp_path: Path
) -> None:
    """Alive it is, and what needs no database goes on."""
    with Server(cheap_settings(data_dir), tmp_path / "output") as server:
        world = World(server)
        world.settle()
        for path in data_dir.glob(f"{FILE}*"):
            path.write_bytes(os.urandom(8192))
        assert world.ask("/auth/login", CREDENTIALS).status == 503
        assert world.ask("/readyz").status == 503
        assert world.ask("/healthz").status == world.ask("/.well-known/jwks.json").status == 200


def test_a_lost_file_is_not_made_anew_beside_its_log(data_dir: Path) -> None:
    """SQLite itself would make an empty one, and throw the log away."""
    with closing(sqlite3.connect(data_dir / FILE, isolation_level=None)) as writer:
        writer.execute("CREATE TABLE filler (x)")
        log = (data_dir / f"{FILE}-wal").read_bytes()
    (data_dir / FILE).unlink()
    (data_dir / f"{FILE}-wal").write_bytes(log)
    assert "missing or empty" in refusal(try_to_start(cheap_settings(data_dir)))
    assert not (data_dir / FILE).exists()


def test_a_backup_that_is_made_while_people_write_is_whole(data_dir: Path, tmp_path: Path) -> None:
    """By SQLite's own means, twenty times in a storm; each copy is sound (OPS-11)."""
    over = threading.Event()
    with Server(cheap_settings(data_dir), tmp_path / "output") as server:
        world = World(server)
        world.settle()

        def back_up() -> Answer:
            for number in range(20):
                copy = tmp_path / f"copy{number}"
                with (
                    closing(sqlite3.connect(data_dir / FILE)) as live,
                    closing(sqlite3.connect(copy)) as made,
                ):
                    live.backup(made)
            over.set()
            return Answer(201)

        def write(name: str) -> Answer:
            answers = [register(world, name)]
            while not over.is_set():
                answers.append(register(world, f"{name}n{len(answers)}"))
            return Answer(max(answer.status for answer in answers))

        tasks: list[Callable[[], Answer]] = [partial(write, f"u{number}") for number in range(4)]
        answers = at_once([back_up, *tasks])
    assert {answer.status for answer in answers} == {201}
    for number in range(20):
        with closing(sqlite3.connect(tmp_path / f"copy{number}")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert copy.execute("PRAGMA foreign_key_check").fetchall() == []
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    shutil.copy(tmp_path / "copy19", restored / FILE)
    shutil.copy(data_dir / "secret", restored)
    with Server(cheap_settings(restored), tmp_path / "output") as server:
        again = World(server, world.tokens)
        assert again.ask("/auth/login", CREDENTIALS).status == 200
        assert again.refresh().status == 200
