"""Three services in three processes: one log-out reaches them all, with no call per request.

Real servers and real time: nothing is shortened, a list is good for its ten seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pytest

from tests.processes import free_port, run, serving, stop
from tests.sessions.network import Answer, call
from tests.support import CHEAP_HASH, PASSWORD, bearer, claims_of

TTL = 10
NAMES = ("notes", "photos", "mail")
SHARED_SECRET = "kS8vYq3LzT5nWb0RcJ7mXd2HfGpA9uEo"


@dataclass
class House:
    """The login service, its process, and what its services are reached at."""

    login: str
    process: Popen[str]
    services: list[str]

    def sign_in(self, email: str = "alice@example.com", **more: str) -> str:
        credentials = {"email": email, "password": PASSWORD}
        call(f"{self.login}/auth/register", credentials)
        answer = call(f"{self.login}/auth/login", {**credentials, **more})
        assert answer.status == 200, answer
        return str(answer.body["access_token"])

    def end_all(self, token: str) -> None:
        """As Alice, log out everywhere."""
        own = self.sign_in(audience=self.login)
        assert claims_of(own)["sub"] == claims_of(token)["sub"]
        answer = call(f"{self.login}/api/sessions", method="DELETE", **bearer(own))
        assert answer.status == 204

    def ask_all(self, token: str) -> list[Answer]:
        return [call(f"{service}/notes", **bearer(token)) for service in self.services]

    def statuses(self, token: str) -> list[int]:
        return [answer.status for answer in self.ask_all(token)]


@pytest.fixture(params=["public keys", "shared secret"])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """All four, running."""
    port = free_port()
    login = {"FOXTROT_DATA_DIR": str(tmp_path / "login"), "FOXTROT_PASSWORD_HASH": CHEAP_HASH}
    shared: dict[str, str] = {}
    if request.param == "shared secret":
        login |= {"FOXTROT_ALGORITHM": "HS256", "FOXTROT_SHARED_SECRET": SHARED_SECRET}
        shared = {"NOTES_SECRET": SHARED_SECRET}
    for name in NAMES[1:]:
        scopes = ["--scope", "notes:read", "--scope", "notes:write"]
        run("services", "add", name, *scopes, settings=login)
    with ExitStack() as stack:
        process = stack.enter_context(serving(port=port, settings=login))
        house = House(f"http://localhost:{port}", process, [])
        for name in NAMES:
            own = {"NOTES_ISSUER": house.login, "NOTES_AUDIENCE": name, **shared}
            own["NOTES_DATABASE"] = str(tmp_path / f"{name}.sqlite3")
            port = free_port()
            stack.enter_context(serving("--app", "examples.notes", port=port, settings=own))
            house.services.append(f"http://localhost:{port}")
        yield house


def test_logging_out_everywhere_reaches_every_service(house: House) -> None:
    """Within `ttl` and a second, and whoever stays signed in stays."""
    hers, also_hers, his = house.sign_in(), house.sign_in(), house.sign_in("bob@example.com")
    assert [house.statuses(token) for token in (hers, also_hers, his)] == [[200] * 3] * 3
    house.end_all(hers)
    wait_until_refused(house, hers)
    assert house.statuses(also_hers) == [401] * 3
    assert house.statuses(his) == [200] * 3


def wait_until_refused(house: House, token: str) -> None:
    began = time.monotonic()
    while house.statuses(token) != [401] * 3:
        assert time.monotonic() - began < TTL + 1
        time.sleep(0.1)
    assert [answer.body["reason"] for answer in house.ask_all(token)] == ["revoked"] * 3


@pytest.mark.parametrize("house", ["public keys"], indirect=True)
def test_services_go_on_without_their_issuer(house: House) -> None:
    """Who is signed in stays so, however old the list; who was put out stays out."""
    hers, his = house.sign_in(), house.sign_in("bob@example.com")
    assert house.statuses(hers) == house.statuses(his) == [200] * 3
    house.end_all(hers)
    wait_until_refused(house, hers)
    stop(house.process)
    time.sleep(TTL + 2)
    assert house.statuses(his) == [200] * 3
    assert house.statuses(hers) == [401] * 3
