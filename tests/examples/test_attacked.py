"""Each example service as it runs, attacked with every wrong token there is.

The login service and the example are processes of their own; so is `flask tokens attack`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.processes import ROOT, clean_environ, free_port, run, serving, stop, wait_until_up
from tests.sessions.crowd import at_once
from tests.support import CHEAP_HASH

NODE = ROOT / "examples" / "node"
READ = ("--scope", "notes:read")
WRITE = (
    *("--scope", "notes:write", "--method", "POST", "--data", '{"text": "x"}'),
    *("--header", "Content-Type: application/json"),
)

Start = Callable[[int, Mapping[str, str]], AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def login_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The login service's settings, while it runs; `NOTES_ISSUER` says where."""
    port = free_port()
    folder = str(tmp_path_factory.mktemp("login"))
    settings = {"FOXTROT_DATA_DIR": folder, "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    with serving(port=port, settings=settings):
        yield {**settings, "NOTES_ISSUER": f"http://localhost:{port}"}


@contextmanager
def process(command: list[str], folder: Path, port: int, env: Mapping[str, str]) -> Iterator[None]:
    """Run a server until the block ends."""
    with subprocess.Popen(command, cwd=folder, env=clean_environ(env), text=True) as running:
        try:
            wait_until_up(f"http://localhost:{port}/healthz", running)
            yield
        finally:
            stop(running)


def flask_notes(port: int, settings: Mapping[str, str]) -> AbstractContextManager[Any]:
    database = str(Path(settings["FOXTROT_DATA_DIR"]) / "notes.sqlite3")
    own = {**settings, "NOTES_DATABASE": database}
    return serving("--app", "examples.notes", port=port, settings=own)


def fastapi_notes(port: int, settings: Mapping[str, str]) -> AbstractContextManager[Any]:
    command = [sys.executable, "-m", "uvicorn", "--factory", "examples.fastapi.service:create_app"]
    return process([*command, "--port", str(port), "--no-access-log"], ROOT, port, settings)


def node_notes(port: int, settings: Mapping[str, str]) -> AbstractContextManager[Any]:
    reason = "the packages are missing: npm install --prefix examples/node --no-package-lock"
    if not (NODE / "node_modules").is_dir():
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    return process(["node", "server.mjs"], NODE, port, {**settings, "PORT": str(port)})


SERVICES = [
    pytest.param(flask_notes, ["--strict"], id="Flask"),
    pytest.param(fastapi_notes, ["--strict"], id="FastAPI"),
    pytest.param(node_notes, [], id="Node.js", marks=pytest.mark.node),
]


@pytest.mark.parametrize(("start", "more"), SERVICES)
def test_an_example_refuses_every_wrong_token(
    login_settings: dict[str, str], start: Start, more: list[str]
) -> None:
    """To read and to write; the one with jose permits two spellings that the standards permit.

    Both at once: each waits ten seconds for the service to know of an ended session.
    """
    port = free_port()
    attack = ["tokens", "attack", f"http://localhost:{port}/notes", "--audience", "notes", *more]
    attacks = [partial(run, *attack, *route, settings=login_settings) for route in (READ, WRITE)]
    with start(port, login_settings):
        for report in at_once(attacks):
            assert report.returncode == 0, report.stdout + report.stderr
            assert "This route checks." in report.stdout


def test_the_login_service_refuses_every_wrong_token(login_settings: dict[str, str]) -> None:
    """At its own API, where a session that has ended is refused at once."""
    issuer = login_settings["NOTES_ISSUER"]
    command = ["tokens", "attack", f"{issuer}/api/me", "--audience", issuer, "--strict"]
    report = run(*command, settings=login_settings)
    assert report.returncode == 0, report.stdout + report.stderr
    assert "ended session" not in report.stdout
    verify = f"{issuer}/auth/verify?audience=notes&scope=notes:read"
    report = run("tokens", "attack", verify, "--audience", "notes", *READ, settings=login_settings)
    assert report.returncode == 0, report.stdout + report.stderr
