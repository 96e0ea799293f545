"""The clock jumps, or two machines disagree about the time: nothing falls over (libfaketime)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import CREDENTIALS, World
from tests.sessions.network import Server, status_of_access
from tests.support import bearer, cheap_settings

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def library() -> str:
    """Where libfaketime is; skips where it is not, but never in CI."""
    for pattern in LIBRARIES:
        for path in Path("/").glob(pattern.lstrip("/")):
            return str(path)
    reason = "no libfaketime on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Clock:
    """The clock of a server, which can be set while it runs."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set("+0")

    def set(self, difference: str) -> None:
        """So far before or behind the real one: `+1h`, `-1h`, `+20y`."""
        self.file.write_text(f"{difference}\n")

    @property
    def settings(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": library(),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """That of one server."""
    return Clock(tmp_path / "clock")


@pytest.fixture
def world(data_dir: Path, tmp_path: Path, clock: Clock) -> Iterator[World]:
    """A server whose clock is right at first, and in which Alice is signed in."""
    settings = {**cheap_settings(data_dir), **clock.settings}
    with Server(settings, tmp_path / "output") as server:
        world = World(server)
        world.settle()
        yield world
    assert "Traceback" not in (tmp_path / "output").read_text()


def works(world: World) -> str:
    """Everything that can be asked for is answered as ever; gives a new access token."""
    for path in ("/healthz", "/readyz", "/.well-known/jwks.json", "/status-lists/0"):
        assert world.ask(path).status == 200, path
    tokens = world.ask("/auth/login", CREDENTIALS).body
    assert world.ask("/api/me", **bearer(tokens["access_token"])).status == 200
    assert world.refresh(tokens).status == 200
    return str(tokens["access_token"])


def test_a_clock_that_jumps_and_comes_back_breaks_nothing(world: World, clock: Clock) -> None:
    """People sign in before, meanwhile and afterwards; what is not of its time is refused."""
    for jump in ("+1h", "-1h", "+20y"):
        early = works(world)
        clock.set(jump)
        meanwhile = works(world)
        assert status_of_access(world.url, early) == 401
        clock.set("+0")
        assert status_of_access(world.url, works(world)) == 200
        assert status_of_access(world.url, early) == 200
        assert status_of_access(world.url, meanwhile) == 401


def test_the_year_2038_passes(world: World, clock: Clock) -> None:
    """A session is refreshed across the moment at which 32 bits end."""
    clock.set("@2038-01-19 03:13:50")
    works(world)
    tokens = world.ask("/auth/login", CREDENTIALS).body
    clock.set("@2038-01-19 03:14:30")
    assert world.refresh(tokens).status == 200
    works(world)


def test_machines_whose_clocks_differ_by_half_a_minute_work_together(
    data_dir: Path, tmp_path: Path, clock: Clock
) -> None:
    """Tokens of either are good at the other at once, and a session goes on at both."""
    clock.set("+30s")
    here = Server(cheap_settings(data_dir), tmp_path / "output here")
    ahead = Server({}, tmp_path / "output ahead")
    shared = {**cheap_settings(data_dir), "FOXTROT_PUBLIC_URL": here.url}
    here.settings, ahead.settings = shared, {**shared, **clock.settings}
    with here, ahead:
        one, other = World(here), World(ahead)
        one.settle()
        other.tokens = other.ask("/auth/login", CREDENTIALS).body
        for mine, there in ((one, other), (other, one)):
            assert status_of_access(there.url, mine.tokens["access_token"]) == 200
            for world in (there, mine, there):
                answer = world.refresh(mine.tokens)
                assert answer.status == 200
                mine.tokens = answer.body
                assert status_of_access(mine.url, mine.tokens["access_token"]) == 200
