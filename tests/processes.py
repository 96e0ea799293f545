"""Real servers as processes of their own, for the tests that need them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a stranger: no settings but these."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FOXTROT_", "NOTES_", "FLASK_", "COV_", "PYTEST_"))
    }
    return {**kept, "FLASK_SKIP_DOTENV": "1", "PYTHONUNBUFFERED": "1", **settings}


def flask(*arguments: str) -> list[str]:
    """The command line of `flask` in this environment."""
    return [sys.executable, "-m", "flask", *arguments]


def run(
    *arguments: str, settings: Mapping[str, str], stdin: str | None = None, root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a flask command to its end, from this checkout or another."""
    return subprocess.run(
        flask(*arguments),
        cwd=root,
        env=clean_environ(settings),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


@contextmanager
def serving(
    *arguments: str, port: int, settings: Mapping[str, str], health: str = "/healthz"
) -> Iterator[subprocess.Popen[str]]:
    """Run `flask … run` on *port* until the block ends; its output is in `.stdout`."""
    process = subprocess.Popen(
        flask(*arguments, "run", "--port", str(port)),
        cwd=ROOT,
        env=clean_environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_up(f"http://localhost:{port}{health}", process)
        yield process
    finally:
        stop(process)


def wait_until_up(url: str, process: subprocess.Popen[str]) -> None:
    """Ask until there is an answer, or the process has ended."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output = process.stdout.read() if process.stdout else ""
            raise AssertionError(f"The server ended with {process.returncode}:\n{output}")
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")


def stop(process: subprocess.Popen[str]) -> None:
    """End a server and close its pipe."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()
