"""A flood of sign-ins at `flask serve`, over the network: everything else goes on (LIM-12)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from app.lanes import QUEUE
from tests.sessions.network import call, status_of_access
from tests.support import NO_LOGIN_LIMITS, PASSWORD, cheap_settings
from tests.test_server import served

HASH = "scrypt:16384:8:2"
"""Some hundredths of a second: those who wait are done long after everybody else was answered."""

ALICE = {"email": "alice@example.com", "password": PASSWORD}
CLIENTS = 2 * (1 + QUEUE)
HEADERS = ("X-Forwarded-For", "X_Forwarded_For", "X-Real-IP", "Forwarded")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One worker with one lane; Alice has an account."""
    folder: Path = tmp_path_factory.mktemp("flood")
    own = {
        "FOXTROT_PASSWORD_HASH": HASH,
        "FOXTROT_HASH_LANES": "1",
        "FOXTROT_LIMIT_REFRESH": "3/1h",
    }
    settings = {**cheap_settings(folder), **NO_LOGIN_LIMITS, **own}
    with served(settings, "--workers", "1") as found:
        url = f"http://localhost:{found.port}"
        assert call(f"{url}/auth/register", ALICE).status == 201
        yield url


def test_a_flood_of_sign_ins_keeps_nobody_else_waiting(url: str) -> None:
    """Keys, lists, tokens and refreshes are all answered before the last of those who sign in."""
    log_in = partial(call, f"{url}/auth/login", ALICE)
    tokens = log_in().body
    with ThreadPoolExecutor(CLIENTS) as pool:
        flood = [pool.submit(log_in) for _ in range(CLIENTS)]
        for _ in range(3):
            for path in ("/.well-known/jwks.json", "/status-lists/0", "/login", "/readyz"):
                assert call(url + path).status == 200
            renewed = call(f"{url}/auth/refresh", {"refresh_token": tokens["refresh_token"]})
            assert renewed.status == 200
            tokens = renewed.body
            assert status_of_access(url, tokens["access_token"]) == 200
        assert not all(one.done() for one in flood)
    answers = [one.result() for one in flood]
    assert {answer.status for answer in answers} == {200, 503}
    for busy in [answer for answer in answers if answer.status == 503]:
        headers = {name.lower(): value for name, value in (busy.headers or {}).items()}
        assert (busy.body["code"], int(headers["retry-after"]) > 0) == ("busy", True)


def test_what_a_client_says_of_its_address_counts_for_nothing(url: str) -> None:
    """At the server itself, as by default no proxy is trusted (LIM-4)."""
    tried = [
        call(f"{url}/auth/refresh", {"refresh_token": "x"}, method="POST", **{name: f"192.0.2.{n}"})
        for n, name in enumerate(HEADERS)
    ]
    assert [answer.status for answer in tried] == [401] * 3 + [429]
