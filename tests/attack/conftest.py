"""A login service, and other services to attack, each on a port of this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.attack import careless
from tests.support import ORIGIN, get


@pytest.fixture
def service(app: Flask) -> careless.Service:
    """What another service knows of the login service."""
    jwks = get(app.test_client(), "/.well-known/jwks.json").get_json()
    return careless.Service(ORIGIN, jwks, app)


Serve = Callable[..., str]


@pytest.fixture
def serve(service: careless.Service) -> Iterator[Serve]:
    """Start a service with a hole of that name, and give its URL."""
    with ExitStack() as stack:

        def start(check: str = "careful", **more: str) -> str:
            app = careless.make_app(service, check, **more)
            return stack.enter_context(careless.serving(app))

        yield start


class Attack:
    """Runs `flask tokens attack` and keeps what it said."""

    def __init__(self, runner: FlaskCliRunner) -> None:
        self._runner = runner

    def run(self, url: str, *more: str) -> Result:
        return self._runner.invoke(args=["tokens", "attack", url, "--audience", "notes", *more])

    def report(self, url: str, *more: str) -> dict[str, Any]:
        """The report for programs."""
        result = self.run(url, "--json", *more)
        report: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == (0 if report["holds"] else 1)
        return report

    def verdicts(self, url: str, *more: str) -> dict[str, set[str]]:
        """The names of the tokens by what was made of them, but for those that were refused."""
        found: dict[str, set[str]] = {}
        for token in self.report(url, *more)["tokens"]:
            if token["verdict"] != "refused":
                found.setdefault(token["verdict"], set()).add(token["name"])
        return found


@pytest.fixture
def attack(runner: FlaskCliRunner) -> Attack:
    return Attack(runner)
