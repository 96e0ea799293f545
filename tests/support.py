"""Plain functions that the tests share."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.client import Client

PASSWORD = "correct horse battery staple"
ORIGIN = "http://localhost:5000"
CHEAP_HASH = "scrypt:1024:1:1"
SOMEWHERE = Client("192.0.2.1", "a browser")
NO_LOGIN_LIMITS = {
    f"FOXTROT_LIMIT_LOGIN_{over}": "off"
    for over in ("ACCOUNT", "ADDRESS", "ACCOUNT_AND_ADDRESS", "DEVICE")
}
"""For tests that sign in far more often than people do."""

SECRET_KEY = "hV4sQ9xTn2LwYc7RbK0mZdEo3JgAu6Pi"


def cheap_settings(data_dir: Path) -> dict[str, str]:
    """Settings for tests: everything in one folder, and hashing that costs next to nothing."""
    return {"FOXTROT_DATA_DIR": str(data_dir), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}


def postgresql_settings(url: str, data_dir: Path) -> dict[str, str]:
    """The same on PostgreSQL, which needs a secret key; the folder stays all but empty."""
    needed = {"FOXTROT_DATABASE_URL": url, "FOXTROT_SECRET_KEY": SECRET_KEY}
    return {**cheap_settings(data_dir), **needed}


def on_a_machine(settings: Mapping[str, str], name: str) -> dict[str, str]:
    """Those of one of several machines: on PostgreSQL with a data folder that no other has.

    SQLite is a file, so its servers are processes of one machine.
    """
    if "FOXTROT_DATABASE_URL" not in settings:
        return dict(settings)
    folder = f"{settings['FOXTROT_DATA_DIR']} of {name}"
    return {**settings, "FOXTROT_DATA_DIR": folder}


def post_json(client: FlaskClient, path: str, body: Any, **headers: str) -> TestResponse:
    """POST JSON as a program would."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, json=body, headers=named, base_url=ORIGIN)


def log_in(client: FlaskClient, email: str, password: str = PASSWORD, **more: Any) -> TestResponse:
    """Log in by JSON."""
    return post_json(client, "/auth/login", {"email": email, "password": password, **more})


def access_token(client: FlaskClient, email: str, **more: Any) -> str:
    """Log in by JSON and take the access token."""
    answer = log_in(client, email, **more)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return str(answer.get_json()["access_token"])


def bearer(token: str) -> dict[str, str]:
    """The header that carries an access token."""
    return {"Authorization": f"Bearer {token}"}


def get(client: FlaskClient, path: str, token: str | None = None, **kwargs: Any) -> TestResponse:
    """GET, with a token if there is one."""
    headers = {**kwargs.pop("headers", {}), **(bearer(token) if token else {})}
    return client.get(path, headers=headers, base_url=ORIGIN, **kwargs)


def submit(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Send a form as our own page in a browser would."""
    return client.post(path, data=fields, headers={"Origin": ORIGIN}, base_url=ORIGIN)


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unchecked."""
    segment = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return claims


def header_of(token: str) -> dict[str, Any]:
    """The header of a token, unchecked."""
    segment = token.split(".")[0]
    header: dict[str, Any] = json.loads(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return header
