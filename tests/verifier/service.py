"""A small service that is guarded, and ways to ask it."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from foxtrot.flask import Bearer
from tests.verifier.minting import AUDIENCE, ISSUER, Clock

CHALLENGE: Final = 'Bearer realm="notes"'

HEAD: Final = """
from flask import Blueprint, Flask
from flask.views import MethodView
from foxtrot.flask import Bearer, public

bearer = Bearer(issuer="https://login.example.com", audience="notes")
app = Flask(__name__)
notes = Blueprint("notes", __name__)
"""
"""How the module of a service begins, for tests that import one or start a process."""


class Notes(Flask):
    """A service whose views say who calls, and keep a list of the calls."""

    def __init__(self, bearer: Bearer) -> None:
        super().__init__("notes")
        self.bearer = bearer
        self.calls: list[str | None] = []
        bearer.init_app(self)
        self.add_url_rule("/notes", view_func=bearer.required()(self.who), methods=["GET", "POST"])
        self.add_url_rule("/read", "read", bearer.required("notes:read")(self.who))
        self.add_url_rule("/both", "both", bearer.required("notes:read", "admin")(self.who))
        self.add_url_rule("/maybe", "maybe", bearer.optional()(self.who))
        self.add_url_rule("/maybe/admin", "maybe_admin", bearer.optional("admin")(self.who))

    def who(self) -> dict[str, str | None]:
        token = self.bearer.token_or_none
        self.calls.append(token.subject if token else None)
        return {"subject": self.calls[-1]}


def notes_client(**settings: Any) -> FlaskClient:
    """Start the service with other settings for its guard."""
    return Notes(Bearer(ISSUER, AUDIENCE, clock=Clock(), **settings)).test_client()


def ask(client: FlaskClient, token: str | None, path: str = "/notes") -> TestResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return client.get(path, headers=headers)


def ask_with(client: FlaskClient, header: str, path: str = "/notes") -> TestResponse:
    """Send a header as raw as a server hands it over, which is Latin-1."""
    return client.get(path, environ_overrides={"HTTP_AUTHORIZATION": header})
