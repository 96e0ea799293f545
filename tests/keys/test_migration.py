"""A database of before keys had a life: its keys go on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask

from app import schema
from app.db import utcnow
from tests.conftest import MakeApp, on_both_databases, on_postgresql
from tests.keys.conftest import A_DAY, ALICE, SHARED, lives, states, tend
from tests.support import access_token, get, header_of


@pytest.fixture
def old(app: Flask, alice: str) -> str:
    """A token of a database that was put back to the schema of before."""
    token = access_token(app.test_client(), alice)
    with app.app_context():
        schema.downgrade("0003")
    return token


@on_both_databases
def test_a_key_of_before_signs_on(app: Flask, old: str, make_app: MakeApp) -> None:
    """Its tokens are good, and the stand-by that it lacked is made by the start."""
    with app.app_context():
        schema.upgrade()
    upgraded = make_app()
    with upgraded.app_context():
        assert states(utcnow()) == ["active", "published"]
    assert get(upgraded.test_client(), "/api/me", old).status_code == 200


@on_postgresql
def test_a_service_that_shares_a_secret_goes_on_sharing_it(
    app: Flask, old: str, make_app: MakeApp
) -> None:
    """It was started before its database was migrated, and its services know no keys."""
    waiting = make_app(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    with app.app_context():
        schema.upgrade()
    token = access_token(waiting.test_client(), ALICE, audience="notes")
    assert header_of(token)["alg"] == "HS256"


def test_keys_of_before_a_change_of_the_algorithm_retire(
    app: Flask, old: str, make_app: MakeApp, data_dir: Path
) -> None:
    """After a day, the longest that a token may have been good."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        database.execute(
            "INSERT INTO signing_keys (kid, algorithm, public_jwk, private_key, created_at)"
            " SELECT 'older', algorithm, public_jwk, private_key, created_at FROM signing_keys"
        )
        database.execute("UPDATE signing_keys SET id = 3 WHERE id = 1")
        database.commit()
    with app.app_context():
        schema.upgrade()
        now = utcnow()
        assert states(now) == ["retiring", "active"]
        tend(app, now + A_DAY)
        assert states(now + A_DAY)[0] == "retiring"
        assert lives()[0].may_retire_from is not None


def test_a_downgrade_leaves_the_key_that_signs(app: Flask, old: str, data_dir: Path) -> None:
    """The version before would sign with the newest there is."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as database:
        assert database.execute("SELECT id FROM signing_keys").fetchall() == [(1,)]
