"""GET changes nothing and hands out no token."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.pages.conftest import (
    contents,
    reset_secret,
    setup_secret,
    sign_in,
)
from tests.support import ORIGIN, PASSWORD, get


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "signed in"])
def test_looking_changes_nothing(
    app: Flask, client: FlaskClient, alice: str, data_dir: Path, method: str, signed_in: bool
) -> None:
    """Whatever is fetched, with links, credentials and sessions in the query too."""
    tokens = [setup_secret(app), reset_secret(app, alice)]
    if signed_in:
        sign_in(client, alice)
    before = contents_but_counters(data_dir)
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "x", rule.rule)
        for token in tokens:
            fields = {"token": token, "email": "eve@example.com", "password": PASSWORD}
            url = f"{path}?{urlencode(fields)}"
            client.open(url, method=method, base_url=ORIGIN, buffered=True)  # closes files, too
    assert contents_but_counters(data_dir) == before


def contents_but_counters(data_dir: Path) -> list[str]:
    """Every row but those that count the links that were refused."""
    return [row for row in contents(data_dir) if not row.startswith('INSERT INTO "rate_limits"')]


def test_the_account_page_holds_no_token(client: FlaskClient, alice: str) -> None:
    """A token is fetched by POST, when somebody asks for it."""
    sign_in(client, alice)
    assert not re.search(r"eyJ[\w-]+\.[\w-]+", get(client, "/account").text)
