"""Starting the service, as its operator does: real `flask run` processes, looked at from outside.

`Terminal` runs a command on a real terminal (a pseudo-terminal of the kernel).
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.processes import (
    ROOT,
    START_SECONDS,
    clean_environ,
    flask,
    free_port,
    run,
    serving,
    stop,
)
from tests.support import PASSWORD, cheap_settings

SECRET = "Zq3vT8mW1xYb6KdR0hLs9PfGc2NjU5Ae"
ON_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


class Terminal:
    """A flask command on a terminal of its own: what it shows, and what is typed to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.screen = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until the screen shows *pattern*."""
        deadline = time.monotonic() + START_SECONDS
        while not (match := re.search(pattern, self.screen)):
            assert time.monotonic() < deadline, f"no {pattern!r} in: {self.screen}"
            assert self._read(), f"no {pattern!r} at the end of: {self.screen}"
        return match

    def type(self, text: str) -> None:
        """Press keys."""
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self) -> int:
        """Read to the end, and give the exit code."""
        while self._read():
            pass
        return self.process.wait(START_SECONDS)

    def _read(self) -> bool:
        assert self.process.stdout
        if select.select([self.process.stdout], [], [], 1)[0]:
            read = os.read(self.process.stdout.fileno(), 65536)
            self.screen += read.decode()
            return bool(read)
        return True


@contextmanager
def on_a_terminal(*arguments: str, settings: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a flask command on a terminal until the block ends."""
    command = [sys.executable, "-c", ON_A_TERMINAL, *flask(*arguments)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environ(settings),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            yield Terminal(process)
        finally:
            process.terminate()


@dataclass(frozen=True)
class Start:
    """How an attempt to start went: the exit code, None if it serves; and what it said."""

    code: int | None
    said: str


@contextmanager
def starting(
    settings: Mapping[str, str], *arguments: str, wrapper: Sequence[str] = ()
) -> Iterator[Start]:
    """Run `flask run` until it has ended, or until it serves and the block ends."""
    process = subprocess.Popen(
        [*wrapper, *flask("run", *arguments)],
        cwd=ROOT,
        env=clean_environ(settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = ""
        while "Running on" not in said and (line := read_line(process)):
            said += line
        yield Start(None if "Running on" in said else process.wait(START_SECONDS), said)
    finally:
        stop(process)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line of a process, or nothing at its end."""
    assert process.stdout
    return process.stdout.readline()


def try_to_start(
    settings: Mapping[str, str], *arguments: str, wrapper: Sequence[str] = ()
) -> Start:
    """Run `flask run` until it has ended or serves."""
    arguments = arguments or ("--port", str(free_port()))
    with starting(settings, *arguments, wrapper=wrapper) as start:
        return start


def refusal(start: Start) -> str:
    """The one line in which a start was refused."""
    assert start.code == 1, start
    assert re.fullmatch(r"Error: [^\n]+\n", start.said), start.said
    return start.said


def fetch(url: str, **fields: str) -> tuple[int, str]:
    """GET, or POST a form as a browser on that page would."""
    origin = "/".join(url.split("/")[:3])
    body = urlencode(fields).encode() if fields else None
    asked = urllib.request.Request(url, data=body, headers={"Origin": origin})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.status, answer.read().decode()


@dataclass(frozen=True)
class First:
    """A server that was started on nothing at all."""

    port: int
    folder: Path
    seconds: float
    said: str


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    """A first start, on a folder that does not exist, with its output in a pipe."""
    folder, port = tmp_path_factory.mktemp("first") / "made" / "here", free_port()
    began = time.monotonic()
    with starting(cheap_settings(folder), "--port", str(port)) as start:
        assert start.code is None, start.said
        yield First(port, folder, time.monotonic() - began, start.said)


# The first start


def test_nothing_needs_to_be_there_before_the_first_start(first: First) -> None:
    """Database, secret and signing key come into being, within half a minute."""
    assert first.seconds < 30
    assert fetch(f"http://localhost:{first.port}/readyz")[0] == 200


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "login.localhost"])
def test_every_name_of_this_machine_leads_to_the_service(first: First, host: str) -> None:
    """Whichever somebody types."""
    asked = urllib.request.Request(f"http://127.0.0.1:{first.port}/login")
    asked.add_header("Host", f"{host}:{first.port}")
    with urllib.request.urlopen(asked, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/login", "/api/me", "/docs"])
def test_the_banner_says_where_things_are(first: First, path: str) -> None:
    """URLs that can be clicked on."""
    assert re.search(rf" http://localhost:{first.port}{path}\n", first.said)


@pytest.mark.parametrize("path", ["/login", "/docs"])
def test_what_the_banner_names_is_there(first: First, path: str) -> None:
    """A page answers at each address."""
    assert fetch(f"http://localhost:{first.port}{path}")[0] == 200


@pytest.mark.parametrize("command", ["flask setup-link", "flask users create "])
def test_the_banner_says_how_to_make_an_administrator(first: First, command: str) -> None:
    """There is no default account, so this is the first thing to know."""
    assert "There is no administrator yet" in first.said
    assert f"  {command}" in first.said


def test_no_secret_is_printed_into_a_pipe(first: First) -> None:
    """A pipe ends in a log that others read."""
    assert "token=" not in first.said
    assert (first.folder / "secret").read_text() not in first.said
    assert not re.search(r"[\w-]{40,}", first.said)


def test_there_is_no_default_account(first: First) -> None:
    """Nobody can sign in before somebody was let in (OWASP ASVS 6.3.2)."""
    with closing(sqlite3.connect(first.folder / "foxtrot.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_what_is_made_is_for_the_owner_alone(first: First) -> None:
    """No other user of the machine can read the folder or the secret."""
    assert first.folder.stat().st_mode & 0o077 == 0
    assert (first.folder / "secret").stat().st_mode & 0o777 == 0o600


def test_the_service_listens_at_the_ipv6_loopback_address(tmp_path: Path) -> None:
    """`--host ::1`."""
    port = free_port()
    with starting(cheap_settings(tmp_path), "--host", "::1", "--port", str(port)) as start:
        assert start.code is None, start.said
        assert fetch(f"http://[::1]:{port}/login")[0] == 200


def test_the_second_start_finds_what_the_first_one_made(tmp_path: Path) -> None:
    """The same command again: the same users, the same keys."""
    port, settings = free_port(), cheap_settings(tmp_path)
    keys = f"http://localhost:{port}/.well-known/jwks.json"
    register = {"email": "ann@example.com", "password": PASSWORD}
    with serving(port=port, settings=settings):
        before = fetch(keys)
        fetch(f"http://localhost:{port}/register", **register)
    with serving(port=port, settings=settings):
        assert fetch(keys) == before
        assert fetch(f"http://localhost:{port}/login", **register)[0] == 200


# On a terminal


def test_a_terminal_is_shown_the_setup_link_and_it_works(tmp_path: Path) -> None:
    """The first administrator is made with a browser."""
    port, settings = free_port(), cheap_settings(tmp_path)
    with on_a_terminal("run", "--port", str(port), settings=settings) as terminal:
        link = terminal.wait_for(rf"http://localhost:{port}/setup\?token=([\w-]{{43}})\r\n")
        terminal.wait_for("Running on")
        form = {"token": link[1], "email": "root@example.com", "password": PASSWORD}
        assert fetch(f"http://localhost:{port}/setup", **form)[0] == 200
    (root,) = json.loads(run("users", "list", "--json", settings=settings).stdout)["users"]
    assert "admin" in root["scopes"]


def test_ctrl_c_ends_the_service_without_a_traceback(tmp_path: Path) -> None:
    """As everywhere."""
    arguments = ("run", "--port", str(free_port()))
    with on_a_terminal(*arguments, settings=cheap_settings(tmp_path)) as terminal:
        terminal.wait_for("CTRL")
        terminal.type("\x03")
        terminal.end()
        assert "Traceback" not in terminal.screen


def test_debug_mode_reloads_and_prints_the_banner_once(tmp_path: Path) -> None:
    """The process that is started anew at each change has nothing new to say."""
    port, settings = free_port(), cheap_settings(tmp_path)
    with on_a_terminal("--debug", "run", "--port", str(port), settings=settings) as terminal:
        terminal.wait_for("Debugger PIN")
        assert fetch(f"http://localhost:{port}/readyz")[0] == 200
        assert terminal.screen.count("is starting") == 1
        assert terminal.screen.count("/setup?token=") == 1
        terminal.type("\x03")
        terminal.end()


def test_sigterm_ends_the_service(tmp_path: Path) -> None:
    """What service managers send; nothing is left running."""
    port = free_port()
    with serving(port=port, settings=cheap_settings(tmp_path)) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in (0, -signal.SIGTERM)
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


# The port


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    """With a port to try instead."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = refusal(try_to_start(cheap_settings(tmp_path), "--port", str(port)))
    assert f"Port {port} is in use" in said
    assert f"--port {port + 1}" in said


@pytest.mark.parametrize("why", ["port in use", "wrong secret"])
def test_a_start_that_failed_does_not_disturb_the_server_that_runs(first: First, why: str) -> None:
    """Commands beside the server go on to name its port."""
    settings = cheap_settings(first.folder)
    bad = {**settings, "FOXTROT_SECRET_KEY": SECRET} if why == "wrong secret" else settings
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1] if why == "port in use" else free_port()
        assert try_to_start(bad, "--port", str(port)).code == 1
    link = run("setup-link", settings=settings).stdout
    assert link.startswith(f"http://localhost:{first.port}/setup?token=")


def test_a_second_server_of_the_folder_does_not_take_the_commands_over(first: First) -> None:
    """It says so, and the links go on to lead to the first, which serves still."""
    settings, port = cheap_settings(first.folder), free_port()
    with serving(port=port, settings=settings) as second:
        link = run("setup-link", settings=settings).stdout
        second.terminate()
        said, _ = second.communicate(timeout=10)
    assert f"Another server of this data folder runs at port {first.port}." in said
    assert link.startswith(f"http://localhost:{first.port}/setup?token=")


@pytest.mark.parametrize("port", ["70000", "0"])
def test_a_port_that_does_not_exist_is_said_in_one_line(port: str, tmp_path: Path) -> None:
    """Port 0 is none either: nobody would know the issuer's URL."""
    assert "port" in refusal(try_to_start(cheap_settings(tmp_path), "--port", port))


# Settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"FOXTROT_PUBLIC_URI": "https://login.example.com"}, "FOXTROT_PUBLIC_URI is not a"),
        ({"FOXTROT_SECRET_KEY": "changeme"}, "FOXTROT_SECRET_KEY is refused"),
        (
            {"FOXTROT_PUBLIC_URL": "https://login.example.com", "FLASK_DEBUG": "1"},
            "Debug mode",
        ),
        (
            {"FOXTROT_SECRET_KEY": SECRET, "FOXTROT_DATABASE_URL": "postgres://u:hush@h:x/d"},
            "FOXTROT_DATABASE_URL",
        ),
        (
            {"FOXTROT_SECRET_KEY": SECRET, "FOXTROT_DATABASE_URL": "postgres://u:hush@[::1]:1/d"},
            "database",
        ),
    ],
    ids=["unknown", "weak secret", "public debugger", "no URL", "no database server"],
)
def test_a_bad_setting_is_said_in_one_line(
    settings: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """No traceback, no secret, and an exit code that service managers understand."""
    said = refusal(try_to_start({**cheap_settings(tmp_path), **settings}))
    assert expected in said
    assert "hush" not in said


def test_help_is_given_although_a_setting_is_bad(tmp_path: Path) -> None:
    """The reason is said in one line, and the built-in commands are listed."""
    done = run("--help", settings={**cheap_settings(tmp_path), "FOXTROT_X": "1"})
    assert "Error: FOXTROT_X is not a setting" in done.stderr
    assert "Traceback" not in done.stderr
    assert "  run " in done.stdout


# The secret file


def test_a_missing_secret_is_named_and_never_made_anew(data_dir: Path) -> None:
    """A new one would open nothing that the database holds."""
    (data_dir / "secret").unlink()
    said = refusal(try_to_start(cheap_settings(data_dir)))
    assert f"{data_dir}/secret is missing" in said
    assert not (data_dir / "secret").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 63, b"\xff" * 64],
    ids=["empty", "cut", "garbage"],
)
def test_a_damaged_secret_is_named_and_left_alone(content: bytes, data_dir: Path) -> None:
    """Nothing is written over what somebody may still repair."""
    file = data_dir / "secret"
    file.write_bytes(content)
    assert str(file) in refusal(try_to_start(cheap_settings(data_dir)))
    assert file.read_bytes() == content


def test_a_secret_that_others_can_read_is_refused(data_dir: Path) -> None:
    """With the command that mends it."""
    (data_dir / "secret").chmod(0o644)
    said = refusal(try_to_start(cheap_settings(data_dir)))
    assert f"chmod 600 {data_dir}/secret" in said


def test_the_secret_of_another_database_is_refused_with_file_and_key(data_dir: Path) -> None:
    """Somebody mixed up two backups, and learns which key does not open."""
    (data_dir / "secret").write_text("Zq3vT8mW" * 8)
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        ((kid,), _) = database.execute("SELECT kid FROM signing_keys ORDER BY id").fetchall()
    said = refusal(try_to_start(cheap_settings(data_dir)))
    assert f"{data_dir}/secret" in said
    assert kid in said


# The database file


def damage(file: Path, how: str) -> None:
    """Do to a database what disks and people do."""
    whole = file.read_bytes()
    file.unlink()
    if how == "a folder":
        file.mkdir()
    elif how != "missing":
        damaged = {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "overwritten": os.urandom(len(whole)),
        }
        file.write_bytes(damaged[how])


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "overwritten", "a folder"])
def test_a_damaged_database_is_named_and_never_made_anew(how: str, data_dir: Path) -> None:
    """All users would have vanished without a word."""
    file = data_dir / "foxtrot.sqlite3"
    damage(file, how)
    left = file.read_bytes() if file.is_file() else b""
    assert str(file) in refusal(try_to_start(cheap_settings(data_dir)))
    assert (file.read_bytes() if file.is_file() else b"") == left


def interrupt_checkpoint(file: Path) -> None:
    """Leave a database as `kill -9` leaves it while its log is being copied back.

    The first page says how long the file is to be; the other pages are still in
    the log (https://www.sqlite.org/fileformat2.html section 4).
    """
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("CREATE TABLE filler AS SELECT randomblob(100000) AS noise")
        whole, log = bytearray(file.read_bytes()), file.with_name(f"{file.name}-wal").read_bytes()
    frames = [log[at : at + 24 + 4096] for at in range(32, len(log), 24 + 4096)]
    whole[:4096] = next(frame[24:] for frame in reversed(frames) if frame[:4] == b"\0\0\0\1")
    file.write_bytes(whole)
    file.with_name(f"{file.name}-wal").write_bytes(log)


def test_an_interrupted_checkpoint_is_no_damage(data_dir: Path) -> None:
    """SQLite mends it by itself: nobody needs a backup after a crash."""
    interrupt_checkpoint(data_dir / "foxtrot.sqlite3")
    assert try_to_start(cheap_settings(data_dir)).code is None
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        assert database.execute("SELECT length(noise) FROM filler").fetchall() == [(100_000,)]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@ON_LINUX
def test_a_folder_that_cannot_be_written_is_named(data_dir: Path) -> None:
    """A read-only mount or a wrong owner."""
    setpriv = ("setpriv", "--bounding-set", "-dac_override") if os.geteuid() == 0 else ()
    for path in (*data_dir.iterdir(), data_dir):
        path.chmod(path.stat().st_mode & ~0o222)
    said = refusal(try_to_start(cheap_settings(data_dir), wrapper=setpriv))
    data_dir.chmod(0o700)
    assert str(data_dir) in said


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Here a file stands in the way."""
    (tmp_path / "file").write_text("")
    said = refusal(try_to_start(cheap_settings(tmp_path / "file" / "data")))
    assert f"{tmp_path}/file/data" in said


def test_a_newer_schema_is_refused_with_what_to_do(data_dir: Path) -> None:
    """An older version must not write into a newer database."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    said = refusal(try_to_start(cheap_settings(data_dir)))
    assert "schema 9999" in said
    assert "newer" in said


def test_a_command_is_refused_in_one_line_as_the_start_is(data_dir: Path) -> None:
    """`flask users list` needs the same things."""
    (data_dir / "secret").unlink()
    done = run("users", "list", settings=cheap_settings(data_dir))
    assert refusal(Start(done.returncode, done.stderr)) == (
        f"Error: The secret file {data_dir}/secret is missing, and the database holds keys that"
        " only it opens. Put it back from the backup.\n"
    )


# Commands that only look


@pytest.mark.parametrize("command", ["--help", "routes", "db current"])
def test_a_command_that_only_looks_makes_no_schema_secret_or_key(
    command: str, tmp_path: Path
) -> None:
    """Whoever looks around on the wrong machine leaves nothing behind."""
    done = run(*command.split(), settings=cheap_settings(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "secret").exists()
    with closing(sqlite3.connect(tmp_path / "foxtrot.sqlite3")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_running_server_is_not_ready_when_its_database_is_lost(data_dir: Path) -> None:
    """Alive and ready are two things: one is for restarting, the other for traffic."""
    port = free_port()
    with serving(port=port, settings=cheap_settings(data_dir)):
        shutil.rmtree(data_dir)
        assert fetch(f"http://localhost:{port}/healthz")[0] == 200
        with pytest.raises(urllib.error.HTTPError, match="503") as caught:
            fetch(f"http://localhost:{port}/readyz")
        caught.value.close()
