"""An import that was killed is run again: everybody is there, each once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

from app.passwords import hash_password
from tests.processes import ROOT, clean_environ, flask, run
from tests.support import CHEAP_HASH, PASSWORD, cheap_settings

ROWS = 8_000


def count(folder: Path) -> int:
    """How many users there are, so far."""
    with closing(sqlite3.connect(folder / "foxtrot.sqlite3")) as database:
        found: int = database.execute("SELECT count(*) FROM users").fetchone()[0]
    return found


def test_an_import_that_was_killed_is_safe_to_run_again(data_dir: Path, tmp_path: Path) -> None:
    """With `kill -9`, as soon as the first of them are there."""
    file, settings = tmp_path / "users.jsonl", cheap_settings(data_dir)
    hashed = hash_password(PASSWORD, CHEAP_HASH)
    rows = ({"email": f"u{n}@example.com", "password_hash": hashed} for n in range(ROWS))
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    command = ("users", "import", str(file))
    with subprocess.Popen(
        flask(*command), cwd=ROOT, env=clean_environ(settings), stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not (before := count(data_dir)) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
    before = count(data_dir)
    assert 0 < before < ROWS
    done = run(*command, settings=settings)
    assert done.stdout.startswith(f"{ROWS - before:,} imported, {before:,} there already, 0 failed")
    assert count(data_dir) == ROWS
