"""One line of JSON for each request: what it says, what it never says, and when it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import IO, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import logs
from app.ids import new_id
from tests.conftest import MakeApp
from tests.processes import ROOT, clean_environ, flask, free_port, stop, wait_until_up
from tests.seeing.conftest import TOKEN
from tests.sessions.crowd import refresh, sign_in
from tests.sessions.network import call
from tests.support import CHEAP_HASH, ORIGIN, PASSWORD, claims_of, get, log_in, submit

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """The lines so far."""

    def read() -> list[dict[str, Any]]:
        texts = [one.getMessage() for one in caplog.records if one.name == "foxtrot.access"]
        assert not any("\n" in text or not text.isascii() for text in texts)
        return [json.loads(text) for text in texts]

    return read


def test_a_request_is_one_line(client: FlaskClient, lines: Lines) -> None:
    """Its id is that of the answer, its time is UTC."""
    answer = get(client, "/login")
    (line,) = lines()
    assert list(line) == ["at", "request_id", "method", "route", "status", "ms", "user", "address"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["at"])
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/login", 200)
    assert 0 < line["ms"] < 60_000
    assert (line["user"], line["address"]) == (None, "127.0.0.1")


def test_the_line_names_who_it_was(app: Flask, alice: str, lines: Lines) -> None:
    """By a token, by a cookie, and as soon as somebody has proved who they are."""
    tokens = sign_in(app, alice)
    user = claims_of(tokens["access_token"])["sub"]
    get(app.test_client(), "/api/me", tokens["access_token"])
    refresh(app, tokens["refresh_token"])
    browser = app.test_client()
    submit(browser, "/login", email=alice, password=PASSWORD)
    get(browser, "/account")
    submit(browser, "/logout")
    assert [line["user"] for line in lines()] == [user] * 6


def test_who_failed_to_sign_in_is_nobody(client: FlaskClient, alice: str, lines: Lines) -> None:
    """The account that somebody tried is in the audit event; they are not its owner."""
    log_in(client, alice, "wrong")
    get(client, "/api/me", "x.y.z")
    assert [line["user"] for line in lines()] == [None, None]


@pytest.mark.parametrize(
    "path",
    ["/nowhere\n{}", "/nowhere%0a%7B%7D", "/login?next=%0d%0aX", "/x\u2028y", "/%ff%fe", "/'\"\\"],
)
def test_nothing_breaks_out_of_its_line(client: FlaskClient, lines: Lines, path: str) -> None:
    """What was asked for is not in it, nor what a client says of itself."""
    hostile = "Mozilla\t{}\x7f\x1b[2J"
    client.get(
        path,
        base_url=ORIGIN,
        headers={"User-Agent": hostile, "X-Request-ID": "forged"},
        environ_overrides={"REMOTE_ADDR": "::1\n{}"},
    )
    (line,) = lines()
    assert line["route"] in (None, "/login")
    assert line["address"] == "::1{}"
    assert line["request_id"].startswith("r_")


def test_a_client_does_not_choose_the_id_of_its_request(client: FlaskClient) -> None:
    """It ties lines and audit events together, so nobody may make two alike."""
    answer = get(client, "/healthz", headers={"X-Request-ID": "r_" + "0" * 26})
    assert answer.headers["X-Request-ID"] != "r_" + "0" * 26


def test_a_failure_has_its_line_too(make_app: MakeApp, lines: Lines) -> None:
    """With the status that the client got."""
    app = make_app()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    del app.extensions["foxtrot_services"]
    assert get(app.test_client(), "/.well-known/oauth-authorization-server").status_code == 500
    (line,) = lines()
    assert line["status"] == 500


def test_no_line_when_it_is_off(make_app: MakeApp, lines: Lines) -> None:
    """The server in front may write its own."""
    get(make_app(FOXTROT_ACCESS_LOG="off").test_client(), "/login")
    assert lines() == []


# Standard error that cannot be written


def test_a_long_line_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a traceback, for which a pipe that nobody reads has too little room."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end), os.fdopen(write_end, "w") as pipe:
        os.set_blocking(write_end, False)
        with suppress(BlockingIOError):
            while True:
                os.write(write_end, b"x" * 4096)
        os.read(read_end, 4096)
        os.set_blocking(write_end, True)
        monkeypatch.setattr("sys.stderr", pipe)
        thread = Thread(target=logs._write, args=("y" * 20_000,), daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def server(
    folder: Path, stderr: int | IO[bytes] | None, *, command: str = 'exec "$@"'
) -> Iterator[str]:
    """`flask run` with its output led somewhere, started by a line of the shell."""
    port = free_port()
    settings = {
        "FOXTROT_DATA_DIR": str(folder),
        "FOXTROT_PASSWORD_HASH": CHEAP_HASH,
        "FOXTROT_ACCESS_LOG": "on",
        "FOXTROT_LIMIT_REFRESH": "off",
        "FOXTROT_METRICS_TOKEN": TOKEN,
    }
    process = subprocess.Popen(
        ["sh", "-c", command, "sh", *flask("run", "--port", str(port))],
        cwd=ROOT,
        env=clean_environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )
    try:
        wait_until_up(f"http://localhost:{port}/healthz", process)
        yield f"http://localhost:{port}"
    finally:
        stop(process)


def is_well(url: str) -> bool:
    """Ask for more lines than any pipe or buffer holds, and for something that is an event."""
    statuses = {call(f"{url}/auth/refresh", {"refresh_token": "x"}).status for _ in range(400)}
    body = {"email": f"{new_id('x')}@example.com", "password": PASSWORD}
    return statuses == {401} and call(f"{url}/auth/register", body).status == 201


def test_the_log_may_be_closed(tmp_path: Path) -> None:
    """Before the start, or by a reader that goes away."""
    with server(tmp_path, None, command='exec "$@" 2>&-') as url:
        assert is_well(url)
    reader, writer = os.pipe()
    with server(tmp_path, writer) as url:
        os.close(writer)
        os.close(reader)
        assert is_well(url)


def test_the_log_may_be_full(tmp_path: Path) -> None:
    """A disk without room."""
    with open("/dev/full", "wb") as full, server(tmp_path, full) as url:
        assert is_well(url)


def test_nobody_need_read_the_log(tmp_path: Path) -> None:
    """A pipe that its reader leaves full keeps no request waiting."""
    reader, writer = os.pipe()
    with server(tmp_path, writer) as url:
        assert is_well(url)
    os.close(writer)
    os.close(reader)


def test_the_lines_reach_the_log(tmp_path: Path) -> None:
    """One a request, beside the lines of events, each of them JSON."""
    log = tmp_path / "log"
    with log.open("wb") as file, server(tmp_path / "data", file) as url:
        call(f"{url}/auth/register", {"email": "ann@example.com", "password": PASSWORD})
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert [line.get("event") or line.get("route") for line in found if line.get("status") != 200][
        -2:
    ] == ["user.created", "/auth/register"]
    assert PASSWORD not in log.read_text()
