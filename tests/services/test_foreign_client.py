"""A client that others wrote gets, shows and ends tokens at a real server, by the metadata."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from authlib.oauth2.client import OAuth2Client

from foxtrot import Verifier
from tests.processes import free_port, run, serving
from tests.support import cheap_settings

METHODS = ["client_secret_basic", "client_secret_post"]


class Response:
    """What authlib reads of an answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status_code = status
        self._body = body

    def json(self) -> Any:
        return json.loads(self._body)


class Session:
    """The little that authlib asks of an HTTP library."""

    def post(self, url: str, data: dict[str, str], headers: dict[str, str], auth: Any) -> Response:
        url, headers, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        request = urllib.request.Request(url, body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return Response(answer.status, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, error.read())


@pytest.fixture(scope="module")
def server(
    template_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The metadata of a real server, and a machine's credentials, made beside it."""
    port, settings = free_port(), cheap_settings(tmp_path_factory.mktemp("foreign"))
    with serving(port=port, settings=settings):
        url = f"http://localhost:{port}/.well-known/oauth-authorization-server"
        with urllib.request.urlopen(url, timeout=10) as answer:
            metadata = json.load(answer)
        added = run("services", "add", "cron", "--may", "notes:read", "--json", settings=settings)
        notes = run("services", "secret", "notes", "--json", settings=settings)
        yield metadata, {"cron": json.loads(added.stdout), "notes": json.loads(notes.stdout)}


def client_of(machine: dict[str, Any], method: str) -> Any:
    return OAuth2Client(
        Session(),
        machine["id"],
        machine["secret"],
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
    )


@pytest.mark.parametrize("method", METHODS)
def test_authlib_gets_shows_and_ends_a_token(server: Any, method: str) -> None:
    """Each by either way of authentication; the service verifies with what it finds by itself."""
    metadata, machines = server
    cron, notes = (client_of(machines[name], method) for name in ("cron", "notes"))
    token = cron.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    text = token["access_token"]
    assert Verifier(metadata["issuer"], "notes").verify(text).subject == machines["cron"]["id"]
    asked = notes.introspect_token(metadata["introspection_endpoint"], text)
    assert (asked.json()["active"], asked.json()["scope"]) == (True, "notes:read")
    assert cron.revoke_token(metadata["revocation_endpoint"], text).status_code == 200
    again = notes.introspect_token(metadata["introspection_endpoint"], text)
    assert again.json() == {"active": False}


def test_authlib_understands_a_refusal(server: Any) -> None:
    """By its code and in its words."""
    metadata, machines = server
    wrong = {**machines["cron"], "secret": "wrong"}
    with pytest.raises(Exception, match="invalid_client"):
        client_of(wrong, METHODS[0]).fetch_token(metadata["token_endpoint"])
