"""A real server on a real database, and what is asked of it while something is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from foxtrot import InvalidToken, Verifier
from tests.processes import run
from tests.sessions.crowd import at_once
from tests.sessions.network import Answer, Server, call
from tests.support import PASSWORD, bearer

ALICE = "alice@example.com"
CREDENTIALS = {"email": ALICE, "password": PASSWORD}
PATIENCE = 60

Ask = tuple[str, object, Mapping[str, str]]


@dataclass
class World:
    """A server in which Alice is signed in, and what she holds."""

    server: Server
    tokens: dict[str, str] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.server.url

    def settle(self) -> None:
        """Alice makes an account, signs in, and ends another session; all was asked for once."""
        assert self.ask("/auth/register", CREDENTIALS).status in (201, 409)
        self.tokens = self.ask("/auth/login", CREDENTIALS).body
        self.ended = self.ask("/auth/login", CREDENTIALS).body
        body = {"refresh_token": self.ended["refresh_token"]}
        assert self.ask("/auth/logout", body).status == 204
        for path in ("/.well-known/jwks.json", "/status-lists/0", "/readyz"):
            assert self.ask(path).status == 200

    def ask(self, path: str, body: object = None, **headers: str) -> Answer:
        """One request."""
        return call(f"{self.url}{path}", body, **headers)

    def refresh(self, tokens: dict[str, str] | None = None) -> Answer:
        """Trade the refresh token; the new pair is kept."""
        body = {"refresh_token": (tokens or self.tokens)["refresh_token"]}
        answer = self.ask("/auth/refresh", body)
        if answer.status == 200 and tokens is None:
            self.tokens = answer.body
        return answer

    def is_checked_by_a_new_service(self) -> bool:
        """Say whether a service that starts now finds the keys, and believes Alice's token."""
        try:
            return Verifier(self.url, "notes").verify(self.tokens["access_token"]).algorithm != ""
        except InvalidToken:
            return False


@dataclass(frozen=True)
class Timed:
    """An answer, and after how many seconds it came."""

    answer: Answer
    seconds: float


@dataclass
class Outage:
    """What was answered while the database was away, and afterwards."""

    during: dict[str, Timed] = field(default_factory=dict)
    crowd: list[Timed] = field(default_factory=list)
    service_checks: bool = False
    command: tuple[int, str] = (0, "")
    back: dict[str, int] = field(default_factory=dict)


def timed(task: Callable[[], Answer]) -> Timed:
    """Do it, and look at the clock."""
    began = time.monotonic()
    answer = task()
    return Timed(answer, time.monotonic() - began)


def look(world: World, outage: Outage) -> None:
    """Ask for everything while the database is away."""
    headers = bearer(world.tokens["access_token"])
    asked = {
        "login": partial(world.ask, "/auth/login", CREDENTIALS),
        "refresh": partial(world.refresh, world.ended),
        "api": partial(world.ask, "/api/me", **headers),
        "readyz": partial(world.ask, "/readyz"),
        "healthz": partial(world.ask, "/healthz"),
        "jwks": partial(world.ask, "/.well-known/jwks.json"),
        "list": partial(world.ask, "/status-lists/0"),
        "metadata": partial(world.ask, "/.well-known/oauth-authorization-server"),
    }
    login = asked["login"]
    crowd = at_once([partial(timed, task) for task in [*asked.values(), *[login] * 20]])
    outage.during = dict(zip(asked, crowd, strict=False))
    outage.crowd = crowd[len(asked) :]
    outage.service_checks = world.is_checked_by_a_new_service()
    done = run("users", "list", settings=world.server.settings)
    outage.command = (done.returncode, done.stderr)


def look_again(world: World, outage: Outage) -> None:
    """Wait until it is back, by itself."""
    deadline = time.monotonic() + PATIENCE
    while world.ask("/readyz").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    headers = bearer(world.tokens["access_token"])
    outage.back = {
        "refresh": world.refresh().status,
        "api": world.ask("/api/me", **headers).status,
        "ended refresh": world.refresh(world.ended).status,
        "ended api": world.ask("/api/me", **bearer(world.ended["access_token"])).status,
        "login": world.ask("/auth/login", CREDENTIALS).status,
    }
