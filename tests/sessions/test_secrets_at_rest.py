"""No token, cookie, link, password or key that was ever sent or received is found afterwards.

A real server, at its most talkative, lives through all that can happen to an account. Then
its database, its data folder, its output and a backup are searched. `story.py` is the story.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import subprocess
from base64 import b64encode, urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from flask import Flask
from sqlalchemy import select, text

from app.db import db
from app.refresh_tokens import SEALS, SUCCESSORS
from app.sessions import LoginSession
from tests import postgresql
from tests.conftest import dispose, on_both_databases, on_postgresql
from tests.processes import ROOT
from tests.sessions.crowd import refresh, sign_in
from tests.sessions.network import Server
from tests.sessions.story import Story

TALKATIVE = {
    "FLASK_DEBUG": "1",
    "FLASK_RUN_RELOAD": "0",
    "PYTHONDEVMODE": "1",
    "FOXTROT_ACCESS_LOG": "on",
    "FOXTROT_METRICS_TOKEN": "xT2nLw9Yc7RbK0mZdEo3JgAu6PihV4sQ",
}

# How a secret could be written down


def spellings(secret: str) -> Iterator[bytes]:
    """A secret as text, in a URL, and as hexadecimal digits or base64 of it or of its bytes."""
    yield quote(secret, safe="").encode()
    yield quote_plus(secret).encode()
    for raw in [secret.encode(), *decoded(secret)]:
        yield raw
        yield raw.hex().encode()
        yield raw.hex().upper().encode()
        yield from base64_cores(raw)


def decoded(secret: str) -> Iterator[bytes]:
    """The random bytes behind a token."""
    if re.fullmatch(r"[\w-]{22,}", secret):
        with suppress(ValueError):
            yield urlsafe_b64decode(secret + "=" * (-len(secret) % 4))


def base64_cores(raw: bytes) -> Iterator[bytes]:
    """What base64 of a longer text must have in it if *raw* is in that text."""
    for before in range(3):
        encoded = b64encode(bytes(before) + raw)
        core = encoded[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def found(secrets: Mapping[str, str], places: Mapping[str, bytes]) -> list[str]:
    """The secrets, by what they are, that a place holds in any spelling."""
    return [
        f"{what} in {place}"
        for secret, what in secrets.items()
        for place, content in places.items()
        if any(spelling in content for spelling in spellings(secret))
    ]


FORMS: list[Callable[[bytes], bytes]] = [
    lambda raw: raw,
    lambda raw: raw.hex().encode(),
    lambda raw: b64encode(b"x" + raw + b"y"),
    lambda raw: b64encode(urlsafe_b64decode(raw + b"=")),
    lambda raw: urlsafe_b64decode(raw + b"="),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_would_be_found(form: Callable[[bytes], bytes]) -> None:
    """The search itself works."""
    secret = "kv0Zq-_Jx3n9l1dLr6sTtY2wB8mFhGpXcQeRaUiOyHE"
    place = {"here": b"before" + form(secret.encode()) + b"after"}
    assert found({secret: "it"}, place) == ["it in here"]
    assert found({secret[::-1]: "it"}, place) == []


# Where it could have been written down


def files(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def backed_up(data_dir: Path, folder: Path) -> dict[str, bytes]:
    """A backup, made word for word as docs/operate.md says."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/operate.md").read_text(), re.S)
    (commands,) = [block for block in blocks if "live.backup" in block]
    folder.mkdir()
    (folder / "instance").symlink_to(data_dir)
    subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, timeout=60)
    return files(folder / "backup")


def dumped(app: Flask) -> bytes:
    """All rows of all tables as text, on PostgreSQL."""
    query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with app.app_context(), db.engine.connect() as connection:
        tables = list(connection.scalars(query))
        rows = [
            row
            for table in tables
            for row in connection.scalars(text(f"SELECT t::text FROM {table} t"))
        ]
    assert len(tables) >= 6
    return "\n".join(rows).encode()


def test_nothing_of_the_story_is_found_with_sqlite(
    app: Flask, database: dict[str, str], data_dir: Path, tmp_path: Path
) -> None:
    """In any file of the data folder, the log of the database included, before and after the end
    of the server; in a backup; in what the server wrote.
    """
    output = tmp_path / "output"
    with Server({**database, **TALKATIVE}, output) as server:
        story = Story(app, server)
        story.play()
        places = files(data_dir) | backed_up(data_dir, tmp_path / "backed up")
    dispose(app)  # the last connection: its end moves everything into the database file
    places |= {f"{name} at the end": content for name, content in files(data_dir).items()}
    places["output"] = output.read_bytes()
    assert len(places) >= 7
    assert any(name.endswith("-wal") and len(content) > 9999 for name, content in places.items())
    check(story, places, database=places[f"{data_dir / 'foxtrot.sqlite3'} at the end"])


@on_postgresql
def test_nothing_of_the_story_is_found_with_postgresql(
    app: Flask, database: dict[str, str], cluster: postgresql.Cluster, tmp_path: Path
) -> None:
    """In a dump, in the log of PostgreSQL, in the data folder, in what the server wrote."""
    output = tmp_path / "output"
    with Server({**database, **TALKATIVE}, output) as server:
        story = Story(app, server)
        story.play()
    places = {"output": output.read_bytes(), "dump": dumped(app)}
    places["PostgreSQL's log"] = (cluster.folder / "log").read_bytes()
    places |= files(Path(database["FOXTROT_DATA_DIR"]))
    check(story, places, database=places["dump"])


def check(story: Story, places: Mapping[str, bytes], database: bytes) -> None:
    """Nothing is found, though the places are those where it would be."""
    assert len(story.secrets) > 60
    assert b'"route": "/auth/refresh"' in places["output"]
    assert any(name.endswith(".counts") for name in places)
    assert b"ann@example.com" in database
    assert hashlib.sha256(story.last_refresh_token.encode()).hexdigest().encode() in database
    for event in ("refresh.replayed", "refresh.retried", "refresh.reused", "login.failed"):
        assert event.encode() in database
        assert event.encode() in places["output"]
    assert found(story.secrets, places) == []


# What a copy of the database is good for


@on_both_databases
def test_a_copy_of_the_database_gives_no_successor(
    app: Flask, alice: str, database: dict[str, str]
) -> None:
    """Not even to whoever saw the predecessor, without the server's secret; with it, it does."""
    parent = sign_in(app, alice)["refresh_token"]
    assert refresh(app, parent).status_code == 200
    with app.app_context():
        session = db.session.scalars(select(LoginSession)).one()
        ((_, _, nonce_in_hex, key_id, *_),) = json.loads(session.rotations or "")
        secret_key = app.extensions["foxtrot_secret_key"]
        with_the_key, seals = map(secret_key.derive, [SUCCESSORS, SEALS])
    nonce, hashed = bytes.fromhex(nonce_in_hex), str(session.refresh_hash)
    known = [parent.encode(), nonce, hashed.encode(), bytes.fromhex(hashed), key_id.encode()]
    messages = [*known, *(one + other for one, other in product(known, repeat=2))]
    guesses = [
        guess
        for message, key in product(messages, [b"", *messages])
        for guess in (hmac.digest(key, message, "sha256"), hashlib.sha256(key + message).digest())
    ]
    assert hashed not in {hash_of_second(parent, guess, seals) for guess in guesses}
    made = hmac.digest(with_the_key, nonce + parent.encode(), "sha256")
    assert hashed == hash_of_second(parent, made, seals)


def hash_of_second(parent: str, secret: bytes, seals: bytes) -> str:
    """What is stored of the second token of a session, if this is its secret; sealed it is."""
    unsealed = f"{parent.partition('.')[0]}.2.{base64url(secret)}"
    seal = hmac.digest(seals, unsealed.encode(), "sha256")[:16]
    return hashlib.sha256(f"{unsealed}.{base64url(seal)}".encode()).hexdigest()


def base64url(data: bytes) -> str:
    return b64encode(data, b"-_").rstrip(b"=").decode()
