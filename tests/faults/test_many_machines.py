"""Many workers that start at the same moment on one PostgreSQL (OPS-10)."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests import postgresql
from tests.faults.world import CREDENTIALS
from tests.processes import run
from tests.sessions.crowd import at_once
from tests.sessions.network import Server, call, status_of_access
from tests.support import on_a_machine, postgresql_settings


def test_servers_that_start_before_the_migration_become_one_service_by_it(
    cluster: postgresql.Cluster, empty_postgresql_url: str, tmp_path: Path
) -> None:
    """Three at once; alive but not ready, then one set of keys, and each takes all tokens."""
    settings = postgresql_settings(empty_postgresql_url, tmp_path / "data")
    servers = [Server(on_a_machine(settings, name), tmp_path / f"output {name}") for name in "abc"]
    for server in servers:
        server.settings = {**server.settings, "FOXTROT_PUBLIC_URL": servers[0].url}
    urls = [server.url for server in servers]
    with ExitStack() as stack:
        at_once([partial(stack.enter_context, server) for server in servers])
        assert [call(f"{url}/readyz").status for url in urls] == [503] * 3
        assert [call(f"{url}/healthz").status for url in urls] == [200] * 3
        assert run("db", "upgrade", settings=settings).returncode == 0
        assert call(f"{urls[0]}/auth/register", CREDENTIALS).status == 201
        answers = at_once([partial(call, f"{url}/auth/login", CREDENTIALS) for url in urls])
        tokens = [answer.body["access_token"] for answer in answers]
        assert {status_of_access(url, token) for url in urls for token in tokens} == {200}
    database = empty_postgresql_url.rpartition("/")[2]
    assert cluster.execute("SELECT count(*) FROM signing_keys", database) == [(2,)]
