"""The API's description is valid, whole and true."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.test import TestResponse

from app import create_app, services
from tests.conftest import add_user, dispose
from tests.support import (
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    access_token,
    bearer,
    cheap_settings,
    claims_of,
    get,
    log_in,
    post_json,
)

JSON_PATHS = (
    "/auth/",
    "/api/",
    "/oauth/",
    "/.well-known/",
    "/status-lists/",
    "/healthz",
    "/readyz",
    "/metrics",
)


@pytest.fixture
def document(client: FlaskClient) -> Any:
    """What /openapi.json says."""
    return get(client, "/openapi.json").get_json()


def test_it_is_valid(document: Any) -> None:
    """OpenAPI 3.1."""
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_it_has_every_json_route_and_no_other(app: Flask, document: Any) -> None:
    """Compared with the URL map, method by method."""
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(JSON_PATHS)
    }
    described = {(path, method) for path, item in document["paths"].items() for method in item}
    assert described == routes


def test_every_operation_has_a_name_of_its_own(document: Any) -> None:
    """Generated clients need it."""
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]
    assert len(names) == len(set(names))


def test_every_path_parameter_is_described(document: Any) -> None:
    """A path with a part to fill in says what goes there."""
    for path, item in document["paths"].items():
        wanted = set(re.findall(r"{(\w+)}", path))
        for operation in item.values():
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == wanted


def test_guarded_operations_ask_for_a_token(app: Flask, document: Any) -> None:
    """And the others do not."""
    assert document["paths"]["/api/me"]["get"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/auth/login"]["post"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email": "alice@example.com", "password": "wrong"}, 401),
        ({"email": "alice@example.com"}, 422),
        ({"email": "alice@example.com", "password": "x", "scope": "x", "more": 1}, 422),
        ([], 400),
    ],
)
def test_answers_are_described(
    body: Any, status: int, client: FlaskClient, alice: str, document: Any
) -> None:
    """What the service answers, the description names."""
    answer = post_json(client, "/auth/login", body)
    assert answer.status_code == status
    assert str(status) in document["paths"]["/auth/login"]["post"]["responses"]


def test_the_token_answer_is_as_described(client: FlaskClient, alice: str, document: Any) -> None:
    """No member too few, none too many."""
    described = document["components"]["schemas"]["TokenAnswer"]
    answer = log_in(client, alice).get_json()
    assert set(described["required"]) <= set(answer) <= set(described["properties"])


def test_unknown_members_are_refused_by_the_description_too(document: Any) -> None:
    """Strict on paper as in the code."""
    schemas = document["components"]["schemas"]
    assert all(schemas[name]["additionalProperties"] is False for name in ("Login", "Credentials"))


# What the service says to many requests, and what the description says to them


ALICE = "alice@example.com"
CREDENTIALS = {"email": ALICE, "password": PASSWORD}
OTHER = {"email": "new@example.com", "password": PASSWORD}
OWN: dict[str, Any] = {"headers": {"Origin": ORIGIN}}
COOKIE = "the cookie"
TOKEN = "the token"
OWN_TOKEN = "the token for the issuer alone"
FRESH_TOKEN = "such a token of a new user"
REFRESH = "the refresh token"
MACHINE = "a machine's id and secret"
GRANT = {"grant_type": "client_credentials"}
METRICS_TOKEN = "xT2nLw9Yc7RbK0mZdEo3JgAu6PihV4sQ"
HUGE_FORM = {"data": "x" * 70_000, "content_type": "application/x-www-form-urlencoded"}
NEW = "seven green lamps in the rain"
OTHER_PASSWORD = {"current_password": PASSWORD, "new_password": NEW}
WRONG_PASSWORD = {"current_password": "wrong", "new_password": PASSWORD}


@pytest.fixture(scope="module")
def shared(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for all the calls; Alice has an account."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("shared") / "data")
    app = create_app({**cheap_settings(folder), "FOXTROT_METRICS_TOKEN": METRICS_TOKEN})
    add_user(app, ALICE)
    with app.app_context():
        services.add("worker", SOMEWHERE, may=["notes:read"])
    yield app
    dispose(app)


Call = tuple[str, str, int, dict[str, Any]]

CALLS: list[Call] = [
    ("get", "/.well-known/jwks.json", 200, {}),
    ("get", "/.well-known/oauth-authorization-server", 200, {}),
    ("get", "/status-lists/machines", 200, {}),
    ("get", "/status-lists/{number}", 200, {"number": "0"}),
    ("get", "/status-lists/{number}", 404, {"number": "7"}),
    ("get", "/healthz", 200, {}),
    ("get", "/readyz", 200, {}),
    ("get", "/healthz", 421, {"headers": {"Host": "evil.example"}}),
    ("get", "/api/me", 200, {"as": TOKEN}),
    ("get", "/api/me", 401, {}),
    ("get", "/api/me", 401, {"headers": bearer("x.y.z")}),
    ("get", "/api/me", 400, {"headers": {"Authorization": "Bearer"}}),
    ("get", "/api/me", 421, {"headers": {"Host": "evil.example"}}),
    ("delete", "/api/sessions/{session_id}", 204, {"as": TOKEN}),
    ("delete", "/api/sessions/{session_id}", 403, {"as": TOKEN, "session_id": "s_another"}),
    ("delete", "/api/sessions/{session_id}", 404, {"as": OWN_TOKEN, "session_id": "s_another"}),
    ("delete", "/api/sessions/{session_id}", 401, {}),
    ("get", "/api/sessions", 200, {"as": TOKEN}),
    ("get", "/api/sessions", 401, {}),
    ("delete", "/api/sessions", 204, {"as": OWN_TOKEN}),
    ("delete", "/api/sessions", 204, {"as": OWN_TOKEN, "query_string": "except=current"}),
    ("delete", "/api/sessions", 400, {"as": OWN_TOKEN, "query_string": "except=all"}),
    ("delete", "/api/sessions", 400, {"as": OWN_TOKEN, "query_string": "exept=current"}),
    ("delete", "/api/sessions", 401, {}),
    ("delete", "/api/sessions", 403, {"as": TOKEN}),
    ("post", "/api/me/password", 204, {"as": FRESH_TOKEN, "json": OTHER_PASSWORD}),
    ("post", "/api/me/password", 400, {"as": OWN_TOKEN, "json": []}),
    ("post", "/api/me/password", 401, {"json": OTHER_PASSWORD}),
    ("post", "/api/me/password", 403, {"as": TOKEN, "json": OTHER_PASSWORD}),
    ("post", "/api/me/password", 403, {"as": OWN_TOKEN, "json": WRONG_PASSWORD}),
    ("post", "/api/me/password", 413, {"as": OWN_TOKEN, "json": "x" * 70_000}),
    ("post", "/api/me/password", 415, {"as": OWN_TOKEN, "data": "x"}),
    ("post", "/api/me/password", 422, {"as": OWN_TOKEN, "json": {}}),
    ("post", "/auth/refresh", 200, {"as": REFRESH}),
    ("post", "/auth/refresh", 400, {"as": REFRESH, "more": {"scope": "x"}}),
    ("post", "/auth/refresh", 400, {"as": REFRESH, "more": {"audience": "x"}}),
    ("post", "/auth/refresh", 400, {"as": REFRESH, "headers": {"Idempotency-Key": "short"}}),
    ("post", "/auth/refresh", 401, {"json": {"refresh_token": "x"}}),
    ("post", "/auth/refresh", 413, {"json": "x" * 70_000}),
    ("post", "/auth/refresh", 415, {"data": "x"}),
    ("post", "/auth/refresh", 422, {"json": {}}),
    ("post", "/auth/logout", 204, {"as": REFRESH}),
    ("post", "/auth/logout", 400, {"json": []}),
    ("post", "/auth/logout", 413, {"json": "x" * 70_000}),
    ("post", "/auth/logout", 415, {"data": "x"}),
    ("post", "/auth/logout", 422, {"json": {"token": "x"}}),
    ("post", "/auth/register", 201, {"json": OTHER}),
    ("post", "/auth/register", 400, {"json": []}),
    ("post", "/auth/register", 409, {"json": CREDENTIALS}),
    ("post", "/auth/register", 413, {"json": "x" * 70_000}),
    ("post", "/auth/register", 415, {"data": "x"}),
    ("post", "/auth/register", 422, {"json": {"email": "another@example.com", "password": "x"}}),
    ("post", "/auth/login", 200, {"json": CREDENTIALS}),
    ("post", "/auth/login", 200, {"json": {**CREDENTIALS, "session": "cookie"}, **OWN}),
    ("post", "/auth/login", 400, {"json": {**CREDENTIALS, "scope": "x"}}),
    ("post", "/auth/login", 400, {"json": {**CREDENTIALS, "audience": "x"}}),
    ("post", "/auth/login", 401, {"json": {**CREDENTIALS, "password": "wrong"}}),
    ("post", "/auth/login", 403, {"json": {**CREDENTIALS, "session": "cookie"}}),
    ("post", "/auth/login", 413, {"json": "x" * 70_000}),
    ("post", "/auth/login", 415, {"data": "x"}),
    ("post", "/auth/login", 422, {"json": {}}),
    ("post", "/auth/token", 200, {"as": COOKIE, "json": {}, **OWN}),
    ("post", "/auth/token", 400, {"as": COOKIE, "json": {"scope": "x"}, **OWN}),
    ("post", "/auth/token", 401, {"json": {}, **OWN}),
    ("post", "/auth/token", 403, {"as": COOKIE, "json": {}}),
    ("post", "/auth/token", 413, {"as": COOKIE, "json": "x" * 70_000, **OWN}),
    ("post", "/auth/token", 415, {"as": COOKIE, **OWN}),
    ("post", "/auth/token", 422, {"as": COOKIE, "json": {"x": 1}, **OWN}),
    ("post", "/auth/logout", 204, {}),
    ("post", "/auth/logout", 204, {"as": COOKIE, **OWN}),
    ("post", "/auth/logout", 403, {"as": COOKIE}),
    ("get", "/auth/verify", 204, {"as": TOKEN, "query_string": "audience=notes"}),
    ("get", "/auth/verify", 400, {"as": TOKEN, "query_string": "audience=nots"}),
    ("get", "/auth/verify", 400, {"as": TOKEN, "query_string": "audience=notes&scope="}),
    ("get", "/auth/verify", 400, {"as": TOKEN, "query_string": "audience=notes&scopes=x"}),
    ("get", "/auth/verify", 400, {"as": TOKEN}),
    ("get", "/auth/verify", 401, {"query_string": "audience=notes"}),
    ("get", "/auth/verify", 401, {"as": OWN_TOKEN, "query_string": "audience=notes"}),
    ("get", "/auth/verify", 403, {"as": TOKEN, "query_string": "audience=notes&scope=admin"}),
    ("post", "/auth/password-advice", 200, {"json": CREDENTIALS}),
    ("post", "/auth/password-advice", 400, {"json": 1}),
    ("post", "/auth/password-advice", 413, {"json": "x" * 70_000}),
    ("post", "/auth/password-advice", 415, {"data": "x"}),
    ("post", "/auth/password-advice", 422, {"json": {"email": ALICE}}),
    ("post", "/oauth/token", 200, {"as": MACHINE, "data": GRANT}),
    ("post", "/oauth/token", 400, {"as": MACHINE, "data": {"grant_type": "password"}}),
    ("post", "/oauth/token", 400, {"as": MACHINE, "data": {**GRANT, "scope": "x"}}),
    ("post", "/oauth/token", 400, {"as": MACHINE, "json": {}}),
    ("post", "/oauth/token", 401, {"data": GRANT}),
    ("post", "/oauth/token", 413, HUGE_FORM),
    ("post", "/oauth/token", 421, {"headers": {"Host": "evil.example"}}),
    ("post", "/oauth/introspect", 200, {"as": MACHINE, "data": {"token": "x"}}),
    ("post", "/oauth/introspect", 400, {"as": MACHINE, "data": {}}),
    ("post", "/oauth/introspect", 401, {"data": {"token": "x"}}),
    ("post", "/oauth/introspect", 413, HUGE_FORM),
    ("post", "/oauth/revoke", 200, {"as": MACHINE, "data": {"token": "x"}}),
    ("post", "/oauth/revoke", 200, {"data": {"token": "x", "client_id": "foxtrot"}}),
    ("post", "/oauth/revoke", 400, {"as": MACHINE, "data": {}}),
    ("post", "/oauth/revoke", 401, {"data": {"token": "x"}}),
    ("post", "/oauth/revoke", 413, HUGE_FORM),
    ("get", "/metrics", 200, {"headers": bearer(METRICS_TOKEN)}),
    ("get", "/metrics", 401, {}),
]


def send(client: FlaskClient, method: str, path: str, options: dict[str, Any]) -> TestResponse:
    """Send a request, as somebody with a token or a cookie of Alice's, or as a stranger."""
    options = {**options, "headers": dict(options.get("headers", {}))}
    session_id, sender = options.pop("session_id", "s_"), options.pop("as", None)
    if sender == REFRESH:
        body = {"refresh_token": log_in(client, ALICE).get_json()["refresh_token"]}
        options["json"] = body | options.pop("more", {})
    if sender in (TOKEN, OWN_TOKEN, FRESH_TOKEN):
        wanted = {} if sender == TOKEN else {"audience": ORIGIN}
        email = ALICE
        if sender == FRESH_TOKEN:
            email = "fresh@example.com"
            post_json(client, "/auth/register", {"email": email, "password": PASSWORD})
        token = access_token(client, email, **wanted)
        options["headers"] |= bearer(token)
        session_id = claims_of(token)["sid"] if session_id == "s_" else session_id
    if sender == MACHINE:
        options["auth"] = machine(client.application)
    if sender == COOKIE:
        post_json(client, "/auth/login", {**CREDENTIALS, "session": "cookie"}, Origin=ORIGIN)
    url = path.replace("{session_id}", session_id).replace("{number}", options.pop("number", ""))
    return client.open(url, method=method.upper(), base_url=ORIGIN, **options)


def machine(app: Flask) -> tuple[str, str]:
    """The id of the worker, and a secret that is good from now on."""
    with app.app_context():
        worker = services.by_name("worker")
        assert worker is not None
        return worker.public_id, services.renew_secret(worker, SOMEWHERE)


@pytest.mark.parametrize(("method", "path", "status", "options"), CALLS)
def test_what_comes_back_is_described(
    method: str, path: str, status: int, options: dict[str, Any], shared: Flask
) -> None:
    """The status, the media type and every member of the body."""
    client = shared.test_client()
    described = get(client, "/openapi.json").get_json()
    answer = send(client, method, path, options)
    assert answer.status_code == status, answer.get_data(as_text=True)
    content = described["paths"][path][method]["responses"][str(status)].get("content", {})
    assert list(content) == ([answer.mimetype] if answer.data else [])
    if answer.data:
        body = answer.get_json() if answer.is_json else answer.text
        check(described, content[answer.mimetype]["schema"], body)


def check(document: Any, schema: dict[str, Any], value: Any) -> None:
    """Raise what is wrong with a value, by a schema of the document."""
    OAS31Validator({**schema, "components": document["components"]}).validate(value)


def is_valid(document: Any, schema: dict[str, Any], value: Any) -> bool:
    whole = {**schema, "components": document["components"]}
    return bool(OAS31Validator(whole).is_valid(value))


def test_each_described_operation_is_called_here(document: Any) -> None:
    """No operation's success is left out of the table."""
    described = {(method, path) for path, item in document["paths"].items() for method in item}
    assert described == {(method, path) for method, path, status, _ in CALLS if status < 300}


BODIES: list[tuple[str, Any]] = [
    ("/auth/login", CREDENTIALS),
    ("/auth/login", {**CREDENTIALS, "audience": "notes", "scope": "notes:read"}),
    ("/auth/login", {**CREDENTIALS, "audience": ["notes"], "session": "token"}),
    ("/auth/login", {**CREDENTIALS, "audience": None, "scope": None}),
    ("/auth/login", {"email": ALICE}),
    ("/auth/login", {**CREDENTIALS, "email": None}),
    ("/auth/login", {**CREDENTIALS, "email": 1}),
    ("/auth/login", {**CREDENTIALS, "email": "x" * 1001}),
    ("/auth/login", {**CREDENTIALS, "password": "x" * 10_001}),
    ("/auth/login", {**CREDENTIALS, "password": ["x"]}),
    ("/auth/login", {**CREDENTIALS, "audience": 1}),
    ("/auth/login", {**CREDENTIALS, "audience": ""}),
    ("/auth/login", {**CREDENTIALS, "audience": [""]}),
    ("/auth/login", {**CREDENTIALS, "audience": [1]}),
    ("/auth/login", {**CREDENTIALS, "audience": "x" * 201}),
    ("/auth/login", {**CREDENTIALS, "audience": {"a": 1}}),
    ("/auth/login", {**CREDENTIALS, "scope": 1}),
    ("/auth/login", {**CREDENTIALS, "scope": ["notes:read"]}),
    ("/auth/login", {**CREDENTIALS, "scope": "x" * 2001}),
    ("/auth/login", {**CREDENTIALS, "session": "both"}),
    ("/auth/login", {**CREDENTIALS, "session": None}),
    ("/auth/login", {**CREDENTIALS, "is_admin": True}),
    ("/auth/password-advice", CREDENTIALS),
    ("/auth/password-advice", {**CREDENTIALS, "password": ""}),
    ("/auth/password-advice", {}),
    ("/auth/password-advice", {**CREDENTIALS, "scope": "x"}),
    ("/auth/register", {**OTHER, "password": 1}),
    ("/auth/register", {**OTHER, "scopes": ["admin"]}),
    ("/auth/token", {"audience": [None]}),
    ("/auth/token", {"email": ALICE}),
]


@pytest.mark.parametrize(("path", "body"), BODIES, ids=lambda value: str(value)[-40:])
def test_the_description_refuses_what_the_service_refuses(
    shared: Flask, path: str, body: Any
) -> None:
    """And takes what it takes: a client that checks its body first is told the same."""
    client = shared.test_client()
    post_json(client, "/auth/login", {**CREDENTIALS, "session": "cookie"}, Origin=ORIGIN)
    described = get(client, "/openapi.json").get_json()
    schema = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    taken = post_json(client, path, body, Origin=ORIGIN).status_code == 200
    assert is_valid(described, schema["schema"], body) == taken


def test_a_body_is_required_where_one_is_described(document: Any) -> None:
    """But for logging out, where a browser sends none; it is JSON, or for OAuth a form."""
    for path, item in document["paths"].items():
        for operation in item.values():
            body = operation.get(
                "requestBody", {"required": True, "content": {"application/json": 1}}
            )
            assert body["required"] == (path != "/auth/logout")
            form = path.startswith("/oauth/")
            assert ["application/x-www-form-urlencoded" if form else "application/json"] == list(
                body["content"]
            )


def test_each_refusal_names_its_codes(document: Any) -> None:
    """So that a client knows what to tell apart."""
    for item in document["paths"].values():
        for operation in item.values():
            for status, answer in operation["responses"].items():
                assert int(status) < 400 or re.search(r"`[a-z_]+`", answer["description"])


def test_the_description_is_public_and_has_no_secret(client: FlaskClient, data_dir: Path) -> None:
    """Anybody may read it."""
    answer = get(client, "/openapi.json")
    assert answer.status_code == 200
    assert (data_dir / "secret").read_text() not in answer.get_data(as_text=True)
    assert str(data_dir) not in answer.get_data(as_text=True)
