"""PostgreSQL is gone, or hangs: what is answered meanwhile, and afterwards (OPS-2, 5; KEY-11)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import postgresql
from tests.faults.world import Outage, World, look, look_again
from tests.processes import run
from tests.sessions.network import Server
from tests.support import postgresql_settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="stops processes as Linux has them")

NEEDS_IT = ("login", "refresh", "api", "readyz")
GOES_ON = ("healthz", "jwks", "list", "metadata")


@contextmanager
def stopped(cluster: postgresql.Cluster) -> Iterator[None]:
    """As after a crash."""
    cluster.stop(signal.SIGQUIT)
    yield
    cluster.start()


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_without_its_database_the_service_says_so_and_recovers_by_itself(
    how: str, tmp_path: Path
) -> None:
    """Everything is asked for while it is away, with twenty sign-ins besides."""
    outage = Outage()
    with postgresql.running() as cluster:
        settings = postgresql_settings(cluster.url(), tmp_path / "data")
        assert run("db", "upgrade", settings=settings).returncode == 0
        with Server(settings, tmp_path / "output") as server:
            world = World(server)
            world.settle()
            with stopped(cluster) if how == "stopped" else cluster.frozen():
                look(world, outage)
            look_again(world, outage)
    check_refusals(outage)
    check_what_goes_on(outage)
    check_recovery(outage)
    assert "Traceback" not in (tmp_path / "output").read_text()


def check_refusals(outage: Outage) -> None:
    """A problem document that says when to come back, long before a client gives up.

    A crowd is sent away and not kept: most need not wait for as long as the first few.
    """
    for one in [*(outage.during[what] for what in NEEDS_IT), *outage.crowd]:
        headers = one.answer.headers or {}
        assert (one.answer.status, one.answer.body["code"]) == (503, "unavailable")
        assert headers["Content-Type"] == "application/problem+json"
        assert int(headers["Retry-After"]) > 0
        assert one.seconds < 12
    assert sorted(one.seconds for one in outage.crowd)[12] < 8
    code, said = outage.command
    assert (code, len(said.splitlines())) == (1, 1), said
    assert said.startswith("Error: The database ")


def check_what_goes_on(outage: Outage) -> None:
    """Alive, keys, status list, metadata: from what is known; so a new service can check tokens."""
    for what in GOES_ON:
        assert outage.during[what].answer.status == 200
        assert outage.during[what].seconds < 8
    assert outage.service_checks


def check_recovery(outage: Outage) -> None:
    """Without a restart: who was signed in is, what had ended has."""
    assert outage.back == {
        "refresh": 200,
        "api": 200,
        "ended refresh": 401,
        "ended api": 401,
        "login": 200,
    }
