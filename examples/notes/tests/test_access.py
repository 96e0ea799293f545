"""Who may do what in Notes: the tests that a service of your own would have, too.

The issuer lives in this process (`foxtrot.testing`); Ann and Bob are its users.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from examples.notes import bearer, create_app
from foxtrot.testing import InProcessIssuer, assert_all_routes_guarded

pytest_plugins = ["foxtrot.testing"]

BOTH = "notes:read notes:write"


@pytest.fixture
def app(issuer: InProcessIssuer, tmp_path: Path) -> Flask:
    app = create_app({"NOTES_DATABASE": str(tmp_path / "notes.sqlite3")})
    issuer.attach(app, bearer, audience="notes")
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_nothing_is_open_that_should_not_be(app: Flask) -> None:
    """Every route but two refuses all the wrong tokens that there are."""
    assert_all_routes_guarded(app, public=["/", "/healthz"])


def test_ann_sees_her_notes_and_bob_does_not(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """Notes belong to the token's subject."""
    ann, bob = issuer.as_user("ann", BOTH), issuer.as_user("bob", BOTH)
    client.post("/notes", json={"text": "Milk"}, headers=ann)
    assert [note["text"] for note in client.get("/notes", headers=ann).get_json()["notes"]] == [
        "Milk"
    ]
    assert client.get("/notes", headers=bob).get_json()["notes"] == []


def test_who_may_read_may_not_write(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """403, and nothing is kept."""
    ann = issuer.as_user("ann", scopes="notes:read")
    assert client.post("/notes", json={"text": "Milk"}, headers=ann).status_code == 403
    assert client.get("/notes", headers=ann).get_json()["notes"] == []


def test_an_old_token_gets_nobody_in(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """Time is moved; nobody waits."""
    ann = issuer.as_user("ann", BOTH)
    issuer.clock.advance(3600)
    assert client.get("/notes", headers=ann).status_code == 401


def test_a_logout_counts_here_too(client: FlaskClient, issuer: InProcessIssuer) -> None:
    """Without waiting until the token expires."""
    ann = issuer.as_user("ann", BOTH, session="laptop")
    issuer.end("laptop")
    assert client.get("/notes", headers=ann).status_code == 401
