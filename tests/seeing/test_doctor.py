"""`flask doctor`: what it finds, with faults that are real, and its exit code."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from app import audit, create_app, doctor, keys
from app.audit import Event
from app.db import utcnow
from app.doctor import Level
from tests import processes, valkey
from tests.conftest import MakeApp, add_user, dispose, on_both_databases, on_postgresql
from tests.support import SECRET_KEY, SOMEWHERE, cheap_settings

Findings = dict[str, list[tuple[str, str]]]


def examine(app: Flask, now: datetime | None = None) -> Findings:
    """What is found, by the check: how bad, and the words."""
    found: Findings = {}
    with app.app_context():
        for one in doctor.examine(now or utcnow()):
            found.setdefault(one.check, []).append((one.level.value, f"{one.said} {one.todo}"))
    return found


def worst(found: Findings, check: str) -> str:
    """The words of the worst finding of a check."""
    order = [level.value for level in Level]
    level, said = max(found[check], key=lambda pair: order.index(pair[0]))
    return f"{level}: {said}"


def run(app: Flask, *options: str) -> Result:
    return app.test_cli_runner().invoke(args=["doctor", *options])


@on_both_databases
def test_a_sound_installation_is_healthy(app: Flask) -> None:
    """Advice is no fault: exit code 0."""
    done = run(app, "--json")
    report = json.loads(done.output)
    assert (done.exit_code, report["healthy"]) == (0, True)
    assert {one["check"] for one in report["findings"]} == {
        "database", "schema", "disk", "keys", "clock", "secrets", "public URL", "limits", "mail",
        "old rows", "administrators",
    }  # fmt: skip
    assert {one["level"] for one in report["findings"]} == {"fine", "advice"}


def test_it_speaks_in_plain_words(app: Flask) -> None:
    """Each finding is a line, and what to do is the next."""
    lines = run(app).output.splitlines()
    assert "ok      schema: The database has the schema that this version needs." in lines
    place = lines.index("advice  administrators: There is no administrator.")
    assert lines[place + 1].strip() == "Run: flask setup-link"


def test_it_changes_nothing(tmp_path: Path) -> None:
    """Before the first start it makes neither a database nor a secret."""
    app = create_app(cheap_settings(tmp_path / "data"))
    dispose(app)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    assert run(app).exit_code == 0
    assert list((tmp_path / "data").iterdir()) == []


# Faults that are made for real


def break_mode(folder: Path) -> None:
    (folder / "secret").chmod(0o644)


def lose_secret(folder: Path) -> None:
    (folder / "secret").unlink()


def other_secret(folder: Path) -> None:
    (folder / "secret").write_text("x" * 64)


def lose_database(folder: Path) -> None:
    for path in folder.glob("foxtrot.sqlite3*"):
        path.unlink()


def damage_database(folder: Path) -> None:
    (folder / "foxtrot.sqlite3").write_bytes(b"no database at all, " * 500)


def behind(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "foxtrot.sqlite3")) as database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
        database.commit()


def no_stand_by(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "foxtrot.sqlite3")) as database:
        database.execute("DELETE FROM signing_keys WHERE signs_from IS NULL")
        database.commit()


FAULTS: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "mode": (break_mode, "secrets", "can be read by other users of this machine. Run: chmod 600"),
    "no secret": (lose_secret, "secrets", "Put it back from the backup."),
    "other secret": (other_secret, "secrets", "does not open signing key"),
    "no database": (lose_database, "database", "is missing, and the secret says"),
    "damaged": (damage_database, "database", "file is not a database"),
    "behind": (behind, "schema", "The database is behind this version"),
    "no stand-by": (no_stand_by, "keys", "There is no stand-by"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(template_dir: Path, tmp_path: Path, name: str) -> None:
    """With what to do, and exit code 1."""
    cause, check, said = FAULTS[name]
    folder = tmp_path / "data"
    app = create_app(cheap_settings(Path(shutil.copytree(template_dir, folder))))
    dispose(app)
    cause(folder)
    done = run(app)
    assert worst(examine(app), check).startswith("wrong: ")
    assert said in worst(examine(app), check)
    assert done.exit_code == 1
    assert f"WRONG   {check}: " in done.output
    dispose(app)


def test_an_open_folder_is_advised_against(app: Flask, data_dir: Path) -> None:
    """Others may list it; what is secret in it has its own mode."""
    data_dir.chmod(0o755)
    assert worst(examine(app), "secrets").startswith(f"advice: The data folder {data_dir}")


def test_a_rotation_that_is_overdue_is_wrong(app: Flask) -> None:
    """Nobody has let the service run for that long."""
    found = examine(app, utcnow() + timedelta(days=92))
    assert worst(found, "keys").startswith("wrong: The signing key should have been replaced")


def test_keys_that_never_rotate_are_advised_against(make_app: MakeApp) -> None:
    """Once they are old."""
    app = make_app(FOXTROT_KEY_ROTATION_DAYS="0")
    assert worst(examine(app), "keys").startswith("fine")
    found = examine(app, utcnow() + timedelta(days=200))
    assert worst(found, "keys").startswith("advice: Keys never rotate by themselves here.")


def test_fallbacks_are_followed_up(make_app: MakeApp, app: Flask) -> None:
    """First the keys are to be encrypted anew, then the setting can go."""
    del app
    old = make_app(FOXTROT_DATA_DIR=str(make_app().config["FOXTROT_DATA_DIR"]))
    content = (Path(old.config["FOXTROT_DATA_DIR"]) / "secret").read_text()
    new = make_app(FOXTROT_SECRET_KEY=SECRET_KEY, FOXTROT_SECRET_KEY_FALLBACKS=content)
    assert "Run: flask keys rewrap" in worst(examine(new), "secrets")
    with new.app_context():
        keys.rewrap(new.extensions["foxtrot_secret_key"], SOMEWHERE)
    assert "Remove it once" in worst(examine(new), "secrets")


@pytest.mark.parametrize(
    ("url", "level"),
    [
        ("http://login.example.com", "wrong"),
        ("https://login.example.com", "fine"),
        ("http://localhost:8000", "advice"),
    ],
)
def test_the_public_url_is_judged(make_app: MakeApp, url: str, level: str) -> None:
    """Passwords do not cross a network for all to read."""
    assert worst(examine(make_app(FOXTROT_PUBLIC_URL=url)), "public URL").startswith(level)


def test_a_proxy_that_is_not_trusted_is_told(make_app: MakeApp) -> None:
    """Behind TLS that somebody else ends, all people would share one address."""
    settings = {"FOXTROT_PUBLIC_URL": "https://login.example.com"}
    assert "FOXTROT_TRUSTED_PROXIES" in worst(examine(make_app(**settings)), "proxies")
    assert "proxies" not in examine(make_app(**settings, FOXTROT_TRUSTED_PROXIES="1"))


@on_postgresql
def test_a_clock_that_is_off_is_compared_with_the_databases(app: Flask) -> None:
    """Verifiers forgive half a minute."""
    assert worst(examine(app), "clock").startswith("fine")
    assert worst(examine(app, utcnow() - timedelta(minutes=2)), "clock").startswith("wrong")
    assert worst(examine(app, utcnow() + timedelta(seconds=15)), "clock").startswith("advice")


def test_events_of_the_future_tell_of_a_clock_that_was_off(app: Flask) -> None:
    """With SQLite there is no other clock."""
    with app.app_context():
        audit.record(Event.LOGIN_FAILED, SOMEWHERE, now=utcnow() + timedelta(hours=1))
    assert worst(examine(app), "clock").startswith("wrong: The clock is 3")


def test_a_database_that_is_gone_is_named(tmp_path: Path) -> None:
    """As it would be without a start: the checks that need none speak as well."""
    url = "postgresql://foxtrot:hush@127.0.0.1:9/foxtrot"
    settings = {"FOXTROT_DATABASE_URL": url, "FOXTROT_SECRET_KEY": SECRET_KEY}
    done = processes.run("doctor", settings={**cheap_settings(tmp_path / "data"), **settings})
    assert done.returncode == 1
    assert "WRONG   database: PostgreSQL does not answer: " in done.stdout
    assert "Is PostgreSQL running, and FOXTROT_DATABASE_URL right?" in done.stdout
    assert "ok      mail: " in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_counters_that_do_not_answer_are_named(make_app: MakeApp) -> None:
    """The service goes on without them, so nothing else would tell; no password is shown."""
    app = make_app(FOXTROT_REDIS_URL="valkey://:hush@127.0.0.1:9/0")
    said = worst(examine(app), "limits")
    assert said.startswith("wrong: FOXTROT_REDIS_URL does not do what is asked of it")
    assert "hush" not in said


def test_sessions_that_nobody_prunes_are_counted(app: Flask, alice: str) -> None:
    """Once they are older than anything that could be used."""
    add_user(app, "x@example.com")
    app.test_client().post(
        "/auth/login",
        json={"email": alice, "password": "correct horse battery staple"},
        base_url="http://localhost:5000",
    )
    assert worst(examine(app), "old rows").startswith("fine: About 1 sessions")
    day = timedelta(days=1)
    assert worst(examine(app, utcnow() + 104 * day), "old rows").startswith("fine")
    assert "while it runs" in worst(examine(app, utcnow() + 106 * day), "old rows")
    app.config["FOXTROT_CLEANING_EVERY"] = 0
    assert "flask prune" in worst(examine(app, utcnow() + 106 * day), "old rows")


def test_a_valkey_that_does_what_it_should_is_fine(make_app: MakeApp) -> None:
    """And nothing is left there. One that is gone, or wants a password, is a fault."""
    with valkey.running() as server:
        app = make_app(FOXTROT_REDIS_URL=server.url)
        assert worst(examine(app), "limits").startswith("fine: The server of FOXTROT_REDIS_URL")
        assert server.lives() == []
        server.stop()
        assert "the database counts. ConnectionError" in worst(examine(app), "limits")
        assert run(app).exit_code == 1
        server.start()
