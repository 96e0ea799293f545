"""Users from a file: which rows are taken, and what becomes of the others."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import addresses, audit, transfer, users
from app.db import utcnow
from app.errors import ValidationFailed
from app.transfer import Import
from tests.conftest import add_user, find_user, on_both_databases
from tests.processes import clean_environ, run
from tests.support import PASSWORD, SOMEWHERE, cheap_settings, log_in, submit
from tests.test_start import on_a_terminal

HASH = (
    "scrypt:2048:2:2$M0jBRXK1yI5noOZd$"
    "2e00b0eb44a145f14b6cfdf87466c61a412d9136089e65ed2560cbf60061477f"
    "050a189fad11e079dbda9ddec88783c55379bf6d5209155655ebe905512dab74"
)
"""Of the password of all tests."""
ID = "u_" + "7" * 26

Importing = Callable[..., Result]


@pytest.fixture
def load(runner: FlaskCliRunner, tmp_path: Path) -> Importing:
    """Write rows into a file as JSON lines, and import it."""

    def load(*rows: Any, options: tuple[str, ...] = ()) -> Result:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / "users.jsonl").write_text("\n".join(lines))
        return run_import(runner, tmp_path / "users.jsonl", *options)

    return load


def run_import(runner: FlaskCliRunner, file: Path, *options: str) -> Result:
    result = runner.invoke(args=["users", "import", str(file), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failed(folder: Path) -> list[dict[str, Any]]:
    """What the file of failed rows says."""
    return [
        json.loads(line) for line in (folder / "users.jsonl.failed.jsonl").read_text().splitlines()
    ]


# Rows that are good


@on_both_databases
def test_an_imported_user_signs_in_with_the_password_of_before(load: Importing, app: Flask) -> None:
    """However they write their address."""
    done = load({"email": "Ann@example.com", "password_hash": HASH})
    assert (done.exit_code, done.stdout) == (0, "1 imported, 0 there already, 0 failed.\n")
    assert log_in(app.test_client(), "ann@EXAMPLE.com").status_code == 200


def test_everything_about_a_user_is_taken_over(load: Importing, app: Flask) -> None:
    """What is left out is as for a new user."""
    full = {"id": ID, "scopes": ["b", "a"], "created_at": "2020-02-03T04:05:06+01:00"}
    load(
        {"email": "ann@example.com", **full, "email_verified": True, "disabled": True},
        {"email": "bob@example.com"},
    )
    with app.app_context():
        ann, bob = find_user(app, "ann@example.com"), find_user(app, "bob@example.com")
        assert (ann.public_id, ann.own_scopes) == (ID, "a b")
        assert ann.created_at.isoformat() == "2020-02-03T03:05:06+00:00"
        assert ann.disabled_at
        assert ann.email_verified_at
        assert (bob.own_scopes, bob.password_hash, bob.disabled_at) == ("", "", None)


def test_a_user_without_a_password_has_none(load: Importing, app: Flask) -> None:
    """Not even the empty one."""
    load({"email": "ann@example.com"})
    assert log_in(app.test_client(), "ann@example.com", "").status_code == 401


@on_both_databases
def test_a_user_without_a_password_gets_a_link(load: Importing, app: Flask, tmp_path: Path) -> None:
    """To choose one, within seven days; the file is the operator's alone."""
    file, with_hash = tmp_path / "links", {"email": "bob@example.com", "password_hash": HASH}
    load({"email": "ann@example.com"}, with_hash, options=("--reset-links", str(file)))
    (link,) = [json.loads(line) for line in file.read_text().splitlines()]
    assert (link["email"], file.stat().st_mode & 0o777) == ("ann@example.com", 0o600)
    token = link["url"].partition("token=")[2]
    assert submit(app.test_client(), "/reset", token=token, password=PASSWORD).status_code == 303
    assert log_in(app.test_client(), "ann@example.com").status_code == 200


def test_a_table_is_read_too(runner: FlaskCliRunner, app: Flask, tmp_path: Path) -> None:
    """As a spreadsheet writes it: with a mark at its beginning, and its own line ends."""
    file = tmp_path / "users.csv"
    rows = [
        ["email", "scopes", "disabled"],
        ["ann@example.com", "a b", "TRUE"],
        ["b@b.example", "", ""],
    ]
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        csv.writer(opened).writerows(rows)
    assert run_import(runner, file).stdout.startswith("2 imported")
    with app.app_context():
        ann = find_user(app, "ann@example.com")
        assert (ann.own_scopes, ann.disabled_at is None) == ("a b", False)


def test_an_import_is_an_event(load: Importing, app: Flask) -> None:
    """Where it begins, so that none goes without, and at its end with how many came."""
    load({"email": "ann@example.com"}, {"email": "bob@example.com"})
    with app.app_context():
        found = audit.newest(10, name=audit.Event.USERS_IMPORTED)
        assert [event.reason for event in found] == ["2", "begun"]


# Again, and only to look


@on_both_databases
def test_an_address_that_is_there_is_left_alone(load: Importing, app: Flask) -> None:
    """Whoever has it keeps their password and scopes; so a second run changes nothing."""
    add_user(app, "ann@example.com", "mine")
    rows = [{"email": "ANN@example.com", "password_hash": HASH}, {"email": "bob@example.com"}]
    said = [load(*rows).stdout for _ in range(2)]
    assert said[0].startswith("1 imported, 1 there already, 0 failed")
    assert said[1].startswith("0 imported, 2 there already, 0 failed")
    with app.app_context():
        assert find_user(app, "ann@example.com").own_scopes == "mine"


def test_a_dry_run_says_what_would_happen(load: Importing, app: Flask) -> None:
    """And writes neither a user nor an event."""
    done = load({"email": "ann@example.com"}, {"email": "ann@example.com"}, options=("--dry-run",))
    assert (done.exit_code, done.stdout[:36]) == (1, "1 would be imported, 0 there already")
    with app.app_context():
        assert list(users.everybody()) == []
        assert audit.newest(10) == []


@on_both_databases
def test_somebody_who_registers_meanwhile_is_left_alone(app: Flask) -> None:
    """Two imports of the same people at once: each is there once, and none fails."""
    rows = [(number, {"email": f"u{number}@example.com"}) for number in range(200)]

    def load(_: int) -> tuple[int, int]:
        with app.app_context():
            importing = Import(SOMEWHERE, utcnow())
            done = importing.add(rows)
            importing.end()
            return done.imported, done.existing

    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(load, range(4)))
    assert sum(imported for imported, _ in counts) == 200
    assert all(imported + existing == 200 for imported, existing in counts)


# Rows that are not good

BAD: list[tuple[Any, str]] = [
    ({}, "email: "),
    ({"email": None}, "email: "),
    ({"email": 1}, "email: "),
    ({"email": "ann"}, "email: "),
    ({"email": "a\0b@example.com"}, "email: "),
    ({"email": "\ud800@example.com"}, "email: "),
    ({"email": "x" * 250 + "@example.com"}, "email: "),
    ({"id": "7"}, "id: "),
    ({"id": 7}, "id: "),
    ({"id": ID + "\n"}, "id: "),
    ({"password_hash": "secret"}, "password_hash: "),
    ({"password_hash": "scrypt:1073741824:8:1$a$00"}, "password_hash: "),
    ({"password_hash": "$2b$31$" + "a" * 53}, "password_hash: "),
    ({"password_hash": "pbkdf2_sha256$99999999$a$" + "a" * 43 + "="}, "password_hash: "),
    ({"password_hash": HASH + "\0"}, "password_hash: "),
    ({"password_hash": HASH.replace("$M0", "$M\0")}, "password_hash: "),
    ({"password_hash": HASH.replace("$M0", "$M\n")}, "password_hash: "),
    ({"password_hash": [HASH]}, "password_hash: "),
    ({"scopes": 'a "b"'}, "scopes: "),
    ({"scopes": ["a b"]}, "scopes: "),
    ({"scopes": {"a": 1}}, "scopes: "),
    ({"scopes": ["\ud800"]}, "scopes: "),
    ({"created_at": "yesterday"}, "created_at: "),
    ({"created_at": "2020-01-01"}, "created_at: "),
    ({"created_at": "2020-01-01T00:00:00"}, "created_at: "),
    ({"created_at": "2999-01-01T00:00:00Z"}, "created_at: "),
    ({"created_at": 1}, "created_at: "),
    ({"created_at": "0001-01-01T00:00:00+23:59"}, "created_at: "),
    ({"disabled": "perhaps"}, "disabled: "),
    ({"email_verified": 1}, "email_verified: "),
    ({"is_admin": True}, "unknown columns: 'is_admin'; known are: id, email"),
    ("[1]", "expected a JSON object"),
    ("{", "expected a JSON object"),
    ("\x00", "expected a JSON object"),
    ("[" * 5000, "expected a JSON object"),
    ('"' + "x" * 70_000, "expected a JSON object on one line of at most"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=lambda value: ascii(value)[:40])
def test_a_bad_row_is_refused_with_its_reason(
    load: Importing, app: Flask, tmp_path: Path, bad: Any, reason: str
) -> None:
    """And the others are imported; exit code 1."""
    if isinstance(bad, dict) and "email" not in bad and reason != "email: ":
        bad = {"email": "ann@example.com", **bad}
    done = load({"email": "bob@example.com"}, bad, {"email": "eve@example.com"})
    (row,) = failed(tmp_path)
    assert (done.exit_code, row["line"]) == (1, 2)
    assert row["reason"].startswith(reason)
    assert done.stdout.startswith("2 imported, 0 there already, 1 failed")
    assert HASH not in done.output


def test_an_address_that_stands_there_twice_fails_the_second_time(
    load: Importing, tmp_path: Path
) -> None:
    """In one batch or in two, however it is spelled, and again in a second run."""
    many = [{"email": f"u{number}@example.com"} for number in range(transfer.BATCH)]
    rows = [
        *many,
        {"email": "U0@example.com"},
        {"email": "u1@EXAMPLE.com"},
        {"email": "U0@example.com"},
    ]
    for _ in range(2):
        assert load(*rows).stdout.endswith("3 failed.\n")
        assert [row["line"] for row in failed(tmp_path)] == [transfer.BATCH + n for n in (1, 2, 3)]


def test_nobody_gets_the_id_of_somebody_else(load: Importing, tmp_path: Path) -> None:
    """In the file or in the database."""
    assert load({"email": "ann@example.com", "id": ID}).exit_code == 0
    rows = [{"email": "bob@example.com", "id": ID}, {"email": "eve@example.com"}]
    assert load(*rows).stdout.startswith("1 imported, 0 there already, 1 failed")
    assert failed(tmp_path)[0]["reason"] == "id: another user has it"


def test_the_rows_that_failed_can_be_mended_and_imported(
    load: Importing, runner: FlaskCliRunner, tmp_path: Path
) -> None:
    """The file has all of the row, and is the operator's alone."""
    load({"email": "ann@example.com", "password_hash": HASH, "scopes": "a", "disabled": "perhaps"})
    file = tmp_path / "users.jsonl.failed.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(file.read_text().replace("perhaps", "false"))
    assert run_import(runner, file).stdout.startswith("1 imported")


def test_a_row_that_fails_again_says_why_it_fails_now(load: Importing, tmp_path: Path) -> None:
    """And not what the file of before said of it."""
    load({"line": 99, "reason": "of before", "email": "no address"})
    assert (failed(tmp_path)[0]["line"], failed(tmp_path)[0]["reason"][:5]) == (1, "email")


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("email,is_admin", "'is_admin'"),
        ("id", "email"),
        ("email,email", "once"),
        ("", "email"),
        ("email;scopes", "by commas"),
        ("email\tscopes", "by commas"),
    ],
)
def test_a_table_with_other_columns_is_refused(
    runner: FlaskCliRunner, tmp_path: Path, header: str, named: str
) -> None:
    """By name, before anything is written."""
    (tmp_path / "users.csv").write_text(f"{header}\nann@example.com,x\n")
    done = run_import(runner, tmp_path / "users.csv")
    assert (done.exit_code, done.stdout) == (1, "")
    assert named in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'email\n"ann', "Is there a quote that nothing closes?"),
        (b"email\nann@example.com,x\n", "there are more fields than the header has"),
        (b"email\n\xff@example.com\n", "the file is not in UTF-8"),
        (b"email\n\0\n", ""),
        (b"email\n" + b"x" * 200_000, "Line 2 is longer than"),
        (b"email,scopes\nann@example.com," + b"x:y " * 20_000, "Line 2 is longer than"),
    ],
    ids=["cut", "too many fields", "no UTF-8", "NUL", "too long", "a line too long"],
)
def test_a_broken_table_is_refused(
    runner: FlaskCliRunner, tmp_path: Path, content: bytes, said: str
) -> None:
    """In words that say what is wrong with it."""
    (tmp_path / "users.csv").write_bytes(content)
    done = run_import(runner, tmp_path / "users.csv")
    assert done.exit_code == 1
    assert said in done.stderr
    assert "imported" not in done.stdout or done.stdout.startswith("0 imported")


def test_what_is_in_the_file_must_be_known(runner: FlaskCliRunner, tmp_path: Path) -> None:
    """By its name or by the option; exit code 2. A file that is not there: 1."""
    (tmp_path / "users").write_text("")
    assert run_import(runner, tmp_path / "users").exit_code == 2
    assert run_import(runner, tmp_path / "users", "--format", "csv").exit_code == 1
    assert "cannot be read" in run_import(runner, tmp_path / "none.csv").stderr


# Large files

plain = st.text("aA1.+-_@b", max_size=12)
domains = st.sampled_from(
    ["example.com", "EXAMPLE.com", "a.test", "localhost", "b", "x--y.com", "-a.com", "a_b.com",
     "xn--bcher-kva.example", "xn--a", "1.2.3.4", "a..b", ".a.com", "a.b-", "e.local", "ab--c.de",
     "a" * 64 + ".com", "b." * 126 + "de"]
)  # fmt: skip


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(local=plain | st.text(max_size=8) | st.just("a" * 65), domain=domains | plain)
@example(local="a" * 64, domain="b." * 93 + "com")
def test_the_short_way_with_addresses_says_what_the_long_way_says(local: str, domain: str) -> None:
    """Of what is none, too; most addresses take it."""

    def says(check: Callable[[str], object]) -> object:
        try:
            return check(f"{local}@{domain}")
        except ValidationFailed:
            return None

    assert says(addresses.check) == says(addresses.check_in_full)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A process that imports 40,000 takes hardly more than one that imports 4,000."""
    peaks = [peak_of_import(tmp_path / str(rows), rows) for rows in (4_000, 40_000)]
    assert peaks[1] - peaks[0] < 20_000_000


def peak_of_import(folder: Path, rows: int) -> int:
    """The most bytes that an import held at once (`getrusage`, which counts in KiB on Linux)."""
    folder.mkdir()
    file = folder / "users.jsonl"
    with file.open("w") as opened:
        for number in range(rows):
            opened.write(
                json.dumps({"email": f"u{number}@d{number % 9}.example", "password_hash": HASH})
                + "\n"
            )
    code = (
        "import resource, sys; from flask.cli import main\n"
        f"sys.argv = ['flask', 'users', 'import', {str(file)!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environ(cheap_settings(folder / "data")),
        capture_output=True,
        text=True,
        check=True,
    )
    said, peak = done.stdout.splitlines()
    assert said.startswith(f"{rows:,} imported"), done.stderr
    return int(peak) * 1024


def test_standard_input_can_be_imported(tmp_path: Path) -> None:
    """A real process in a pipe: plain lines, no bar."""
    settings = cheap_settings(tmp_path / "data")
    done = run(
        "users",
        "import",
        "-",
        "--format",
        "jsonl",
        settings=settings,
        stdin='{"email": "a@b.example"}',
    )
    assert (done.returncode, done.stdout) == (0, "1 imported, 0 there already, 0 failed.\n")
    assert "\r" not in done.stderr


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    """By how much of the file has been read; it ends at all of it."""
    (tmp_path / "users.csv").write_text("email\nann@example.com\nbob@example.com\n")
    command = ("users", "import", str(tmp_path / "users.csv"))
    with on_a_terminal(*command, settings=cheap_settings(tmp_path / "data")) as terminal:
        terminal.wait_for("2 imported, 0 there already, 0 failed")
    assert "Import" in terminal.screen
    assert "100%" in terminal.screen
    assert "users.imported" not in terminal.screen, "the line for the log of a service"
