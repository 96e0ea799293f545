"""What the tests of the metrics, the log, the doctor and the page for operators share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MakeApp
from tests.support import bearer, get

TOKEN = "xT2nLw9Yc7RbK0mZdEo3JgAu6PihV4sQ"

Numbers = Callable[..., float]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The app, counting."""
    return make_app(FOXTROT_METRICS_TOKEN=TOKEN)


@pytest.fixture
def number(client: FlaskClient) -> Numbers:
    """Gives a number that `/metrics` tells, 0 if it is not there."""

    def read(name: str, **labels: str) -> float:
        return sum(sample(get(client, "/metrics", TOKEN).get_data(as_text=True), name, labels))

    return read


def sample(text: str, name: str, labels: Mapping[str, str]) -> list[float]:
    """The numbers of that name and those labels, read as Prometheus' own library does."""
    return [
        one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == name and labels.items() <= one.labels.items()
    ]


def scrape(client: FlaskClient, token: str = TOKEN) -> Any:
    """What Prometheus gets."""
    return client.get("/metrics", headers=bearer(token), base_url="http://localhost:5000")
