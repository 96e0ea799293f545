"""What it costs to publish who of a million sessions has ended, in processor time.

Fills a SQLite database with sessions, of which some have ended, and prints the size of
the signed list and the processor time of building it. Exits with 1 if a promise is broken:

    .venv/bin/python bench/status_list.py
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from sqlalchemy import text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from app import create_app, status_lists, tokens, users
from app.client import Client
from app.db import db, disconnect, transaction

MAX_BYTES = 64 * 1024
MAX_SECONDS = 0.1

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :sessions)
INSERT INTO login_sessions (id, public_id, user_id, address, user_agent, authenticated_at,
    created_at, last_seen_at, ended_at)
SELECT n, 's_' || n, :user, '', '', :now, :now, :now,
    NULL
FROM numbers
"""
END = "UPDATE login_sessions SET ended_at = :now WHERE id = :id"


def fill(sessions: int, ended: int, now: datetime) -> None:
    """Make sessions of one user; those that have ended are any of them."""
    users.create("ann@example.com", "correct horse battery staple", Client("", ""))
    user = users.by_email("ann@example.com")
    assert user is not None
    moment = int(now.timestamp() * 1e6)
    chosen = random.sample(range(1, sessions + 1), ended)
    with transaction():
        db.session.execute(text(FILL), {"sessions": sessions, "user": user.id, "now": moment})
        db.session.execute(text(END), [{"id": number, "now": moment} for number in chosen])


def processor_seconds(call: Callable[[], object], times: int = 9) -> float:
    """The median of a few runs."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return median(spent)


def kept(promise: str, value: float, limit: float) -> bool:
    """Print whether a promise is kept."""
    good = value <= limit
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:.4g} (at most {limit:g})")
    return good


def measure(sessions: int, ended: int) -> bool:
    """Build the list anew, again and again, as if each time something had changed."""
    now = datetime.now(UTC)
    fill(sessions, ended, now)

    def build() -> status_lists.Published:
        publisher = status_lists.Publisher(tokens.status_list_key, tokens.sign_status_list)
        return publisher.get(0, now)

    published = build()
    print(f"{sessions:,} sessions, {ended:,} of them ended")
    size = kept("bytes of the signed list", len(published.token), MAX_BYTES)
    return kept("seconds of processor time", processor_seconds(build), MAX_SECONDS) and size


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--ended", type=int, default=10_000)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        app = create_app({"FOXTROT_DATA_DIR": folder})
        with app.app_context():
            try:
                return 0 if measure(chosen.sessions, chosen.ended) else 1
            finally:
                disconnect()


if __name__ == "__main__":
    sys.exit(main())
