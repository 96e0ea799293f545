"""What these tests share: a worker that may read notes, and billing beside the notes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app import services
from app.services import Service
from tests.conftest import add_service, add_user
from tests.support import ORIGIN, SOMEWHERE

FORM = "application/x-www-form-urlencoded"
GRANT = {"grant_type": "client_credentials"}


@dataclass(frozen=True)
class Machine:
    """A service's credentials."""

    id: str
    secret: str

    @property
    def header(self) -> str:
        return "Basic " + b64encode(f"{self.id}:{self.secret}".encode()).decode()

    @property
    def fields(self) -> dict[str, str]:
        return {"client_id": self.id, "client_secret": self.secret}


def post(
    client: FlaskClient, path: str, body: Any, by: Machine | None = None, **headers: str
) -> TestResponse:
    """Send a form, with credentials in the header."""
    raw = body if isinstance(body, bytes | str) else urlencode(body, doseq=True)
    if by is not None:
        headers["Authorization"] = by.header
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        f"/oauth/{path}", data=raw, headers={"Content-Type": FORM, **named}, base_url=ORIGIN
    )


def ask_token(client: FlaskClient, by: Machine | None, **fields: Any) -> TestResponse:
    """Ask for a token as a machine."""
    return post(client, "token", {**GRANT, **fields}, by)


def machine_token(client: FlaskClient, by: Machine, **fields: Any) -> str:
    """The access token of a machine."""
    answer = ask_token(client, by, **fields)
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["access_token"])


def refusal(answer: TestResponse) -> tuple[int, str]:
    """Status and code in the words of RFC 6749 section 5.2."""
    said = answer.get_json()
    assert set(said) == {"error", "error_description"}
    assert answer.content_type == "application/json"
    return answer.status_code, said["error"]


def register(app: Flask, name: str, *, scopes: Any = (), may: Any = ()) -> Machine:
    """A service with a secret."""
    with app.app_context():
        service, secret = services.add(name, SOMEWHERE, scopes=scopes, may=may, with_secret=True)
        return Machine(service.public_id, secret or "")


def change(app: Flask, verb: Callable[..., Any], name: str, *arguments: Any) -> Any:
    """One of the verbs of `app.services`, done to the service of that name."""
    with app.app_context():
        service = services.by_name(name)
        assert isinstance(service, Service)
        return verb(service, *arguments, SOMEWHERE)


@pytest.fixture
def app(app: Flask) -> Flask:
    """A house with a second service, which declares scopes that nobody holds by default."""
    add_service(app, "billing", "billing:read", "billing:write")
    return app


@pytest.fixture
def worker(app: Flask) -> Machine:
    """A machine that may read notes, and is called by nobody."""
    return register(app, "worker", may=["notes:read"])


@pytest.fixture
def notes(app: Flask) -> Machine:
    """The notes, with a secret: it asks about the tokens that it gets."""
    with app.app_context():
        service = services.by_name("notes")
        assert service is not None
        return Machine(service.public_id, services.renew_secret(service, SOMEWHERE))


@pytest.fixture
def billing(app: Flask) -> Machine:
    """The other service, with a secret."""
    with app.app_context():
        service = services.by_name("billing")
        assert service is not None
        return Machine(service.public_id, services.renew_secret(service, SOMEWHERE))


@pytest.fixture
def bob(app: Flask) -> str:
    """He may write bills."""
    return add_user(app, "bob@example.com", "billing:write")
