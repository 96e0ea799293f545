"""The API's description is valid, whole and true."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support import get, log_in, post_json

JSON_PATHS = ("/auth/", "/api/", "/.well-known/", "/healthz", "/readyz")


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
