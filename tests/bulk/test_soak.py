"""A short soak of a real server, by `bench/soak.py`; `SOAK=1` makes it a minute long."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.processes import ROOT, clean_environ


def test_nothing_grows_and_nothing_fails() -> None:
    """Sign-ins, refreshes, endings, rotation and cleaning at once: its verdict is good."""
    minutes = os.environ.get("SOAK", "0.1")
    command = [sys.executable, "bench/soak.py", "--minutes", minutes, "--database", "sqlite"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environ({}),
        capture_output=True,
        text=True,
        timeout=120 + float(minutes) * 120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "refresh 200" in done.stdout
