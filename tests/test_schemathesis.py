"""Whatever a client sends that reads `/openapi.json`, the answer is one that stands there.

schemathesis makes requests from the description, good ones and bad ones, by every operation,
with and without credentials. `SCHEMATHESIS=500` makes so many of each kind.
"""

from __future__ import annotations

import os
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app import create_app, services
from tests.conftest import add_user, dispose
from tests.support import ORIGIN, PASSWORD, SOMEWHERE, cheap_settings, get, log_in

EXAMPLES = int(os.environ.get("SCHEMATHESIS", "3"))
ALICE = "alice@example.com"
CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def target(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app, which has to bear it all; Alice has an account."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("target") / "data")
    app = create_app(cheap_settings(folder))
    add_user(app, ALICE)
    yield app
    dispose(app)


@pytest.fixture(scope="module")
def machine(target: Flask) -> str:
    """The header by which a machine that may read notes is known (RFC 7617)."""
    with target.app_context():
        service, secret = services.add("worker", SOMEWHERE, may=["notes:read"])
        return "Basic " + b64encode(f"{service.public_id}:{secret}".encode()).decode()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_described(target: Flask, machine: str, mode: GenerationMode) -> None:
    """The status, the media type, the headers and the body; and none is a failure of ours."""
    schema = schemathesis.openapi.from_dict(get(target.test_client(), "/openapi.json").get_json())
    schema.app = target
    found: list[Any] = [one.ok() for one in schema.get_all_operations()]  # type: ignore[union-attr]
    made = {operation.label for operation in found if check(operation, mode, target, machine)}
    assert len(made) > 10


def check(operation: Any, mode: GenerationMode, target: Flask, machine: str) -> bool:
    """Call one operation with many requests; some take nothing that could be bad."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), knocks=st.booleans())
    def calls(case: Any, knocks: bool) -> None:
        if knocks:
            case.headers.update(credentials(case, target, machine))
        case.call_and_validate(checks=CHECKS, base_url=ORIGIN)

    try:
        calls()
    except Unsatisfiable:
        return False
    return True


def credentials(case: Any, target: Flask, machine: str) -> dict[str, str]:
    """What somebody shows who may call it."""
    if case.path.startswith("/oauth/"):
        return {"Authorization": machine}
    if case.path == "/auth/token":
        return {"Origin": ORIGIN}
    client = target.test_client()
    answer = log_in(client, ALICE, PASSWORD, audience=ORIGIN)
    return {"Authorization": f"Bearer {answer.get_json()['access_token']}"}
