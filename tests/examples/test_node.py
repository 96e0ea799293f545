"""The Node.js example with a status list, of an issuer that stands in for the login service."""

from __future__ import annotations

import json
import os
import subprocess
import time
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from flask import Flask, Response

from foxtrot.wrong_tokens.signer import Signer, b64, new_signer
from tests.attack.careless import serving
from tests.examples.test_attacked import NODE
from tests.processes import clean_environ, free_port, stop, wait_until_up

pytestmark = pytest.mark.node

ENDED, RUNNING, NOWHERE = 9, 10, 80_000


class Issuer:
    """Publishes one key and one status list, in which the tenth session has ended."""

    def __init__(self) -> None:
        self.signer: Signer = new_signer("key-1")
        self.url = ""
        self.list_type = "statuslist+jwt"
        self.ended, self.age, self.ttl = [ENDED], 0, 10.0
        self.app = Flask(__name__)
        keys = {"keys": [self.signer.public_jwk()]}
        self.app.add_url_rule("/.well-known/jwks.json", "keys", lambda: keys)
        self.app.add_url_rule("/status-lists/0", "list", self.status_list)

    def status_list(self) -> Response:
        bits = bytearray(1000)
        for place in self.ended:
            bits[place // 8] |= 1 << place % 8
        now = int(time.time()) - self.age
        claims = {
            "sub": f"{self.url}/status-lists/0",
            "iat": now,
            "exp": now + 600,
            "ttl": self.ttl,
            "status_list": {"bits": 1, "lst": b64(zlib.compress(bytes(bits)))},
        }
        text = self.signer.sign(claims, {"typ": self.list_type})
        return Response(text, content_type="application/statuslist+jwt")

    def token(self, **more: Any) -> str:
        now = int(time.time())
        good = {"iss": self.url, "sub": "u_ann", "aud": ["notes"], "iat": now, "exp": now + 300}
        return self.signer.sign({**good, "jti": "t_1", "scope": "notes:read", **more})

    def token_of(self, idx: Any, uri: str | None = None) -> str:
        place = {"idx": idx, "uri": uri or f"{self.url}/status-lists/0"}
        return self.token(status={"status_list": place})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with serving(issuer.app) as issuer.url:
        yield issuer


@pytest.fixture
def notes(issuer: Issuer) -> Iterator[str]:
    """The URL of the example's notes."""
    if not (NODE / "node_modules").is_dir() and not os.environ.get("CI"):
        pytest.skip("npm install --prefix examples/node --no-package-lock")
    port = free_port()
    env = clean_environ({"NOTES_ISSUER": issuer.url, "PORT": str(port)})
    with subprocess.Popen(["node", "server.mjs"], cwd=NODE, env=env, text=True) as running:
        try:
            wait_until_up(f"http://localhost:{port}/healthz", running)
            yield f"http://localhost:{port}/notes"
        finally:
            stop(running)


def answer(url: str, token: str) -> tuple[int, Any]:
    try:
        with urlopen(Request(url, headers={"Authorization": f"Bearer {token}"})) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_session_that_has_ended_is_refused(notes: str, issuer: Issuer) -> None:
    """Its neighbours in the list are not."""
    assert answer(notes, issuer.token_of(RUNNING)) == (200, {"notes": []})
    assert answer(notes, issuer.token_of(ENDED)) == (401, {"detail": "The session has ended."})
    assert answer(notes, issuer.token_of(ENDED - 1))[0] == 200


def test_a_token_without_a_place_counts_until_it_expires(notes: str, issuer: Issuer) -> None:
    """There is nothing to ask for."""
    assert answer(notes, issuer.token())[0] == 200


@pytest.mark.parametrize("idx", [NOWHERE, -1, "9", 1.5, None])
def test_a_place_that_is_none_is_refused(notes: str, issuer: Issuer, idx: Any) -> None:
    """Outside the list, or no number."""
    assert answer(notes, issuer.token_of(idx))[0] == 401


@pytest.mark.parametrize("status", [None, 5, "x", {}, {"status_list": None}, {"other": {}}])
def test_a_status_that_names_no_place_is_refused(notes: str, issuer: Issuer, status: Any) -> None:
    """What cannot be asked for cannot be known."""
    assert answer(notes, issuer.token(status=status))[0] == 401


def test_an_older_list_never_replaces_the_one_at_hand(notes: str, issuer: Issuer) -> None:
    """An ended session does not live again because an old answer was kept somewhere."""
    issuer.ttl = 0.001
    assert answer(notes, issuer.token_of(ENDED))[0] == 401
    issuer.ended, issuer.age = [], 60
    assert answer(notes, issuer.token_of(ENDED))[0] == 401


def test_a_list_of_somebody_else_is_not_asked(notes: str, issuer: Issuer) -> None:
    """Also where its address begins like the issuer's."""
    for uri in ("http://127.0.0.1:9/status-lists/0", f"{issuer.url}0/status-lists/0"):
        assert answer(notes, issuer.token_of(RUNNING, uri))[0] == 401


def test_a_list_that_is_none_is_not_believed(notes: str, issuer: Issuer) -> None:
    """Then tokens count until they expire."""
    issuer.list_type = "at+jwt"
    assert answer(notes, issuer.token_of(ENDED))[0] == 200
