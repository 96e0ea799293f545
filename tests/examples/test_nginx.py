"""The nginx configuration of the docs, in front of a service that checks nothing itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from flask import Flask, request

from tests.attack.careless import serving as serving_app
from tests.processes import ROOT, free_port, run, serving, stop, wait_until_up
from tests.support import CHEAP_HASH, PASSWORD

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None and not os.environ.get("CI"), reason="no nginx on this machine"
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The login service's."""
    folder = str(tmp_path_factory.mktemp("login"))
    return {"FOXTROT_DATA_DIR": folder, "FOXTROT_PASSWORD_HASH": CHEAP_HASH}


@pytest.fixture(scope="module")
def places(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Where proxy and issuer are, with the service that believes the proxy behind it."""
    folder, login, proxy = tmp_path_factory.mktemp("nginx"), free_port(), free_port()
    app = Flask(__name__)
    app.add_url_rule("/notes", "notes", lambda: dict(request.headers))
    with ExitStack() as stack:
        stack.enter_context(serving(port=login, settings=settings))
        behind = stack.enter_context(serving_app(app))
        path = folder / "nginx.conf"
        path.write_text(configuration(folder, behind, str(login), str(proxy)))
        running = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(path)], text=True)
        stack.callback(stop, running)
        wait_until_up(f"http://127.0.0.1:{proxy}/healthz-of-nginx", running)
        yield f"http://127.0.0.1:{proxy}/notes", f"http://localhost:{login}"


def configuration(folder: Path, behind: str, login: str, proxy: str) -> str:
    """The block of the docs with other ports, and what any nginx needs around it."""
    page = (ROOT / "docs" / "verify-anywhere.md").read_text()
    (block,) = re.findall(r"```nginx\n(.*?)```", page, re.DOTALL)
    for shown, real in (("8080", proxy), ("http://127.0.0.1:9000", behind), ("5000", login)):
        block = block.replace(shown, real)
    block = block.replace("location / {", "location /healthz-of-nginx { return 204; } location / {")
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}"
        f" http {{ access_log off; {temporary} {block} }}"
    )


def call(url: str, **headers: str) -> tuple[int, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(url, headers=named), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, dict(error.headers)


def post(url: str) -> dict[str, Any]:
    """Send Ann's address and password."""
    body = json.dumps({"email": "ann@example.com", "password": PASSWORD}).encode()
    with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=20) as answer:
        members: dict[str, Any] = json.load(answer)
        return members


def test_the_proxy_lets_the_right_ones_through(places: Any, settings: dict[str, str]) -> None:
    """The service behind learns who calls, and is not fooled by what a client says it is."""
    proxy, issuer = places
    user = post(f"{issuer}/auth/register")["id"]
    token = post(f"{issuer}/auth/login")["access_token"]
    status, seen = call(proxy, Authorization=f"Bearer {token}", X_Foxtrot_User="u_mallory")
    assert (status, seen["X-Foxtrot-User"]) == (200, user)
    assert seen["X-Foxtrot-Scopes"] == "notes:read notes:write"
    assert "Authorization" not in seen


def test_no_header_of_a_client_passes_for_the_proxys(places: Any, settings: dict[str, str]) -> None:
    """Also where the login service says nothing: a machine has no session."""
    proxy, issuer = places
    added = run("services", "add", "worker", "--may", "notes:read", "--json", settings=settings)
    worker = json.loads(added.stdout)
    form = {"grant_type": "client_credentials", "client_id": worker["id"]}
    body = urlencode({**form, "client_secret": worker["secret"]}).encode()
    with urlopen(f"{issuer}/oauth/token", body, timeout=20) as answer:
        token = json.load(answer)["access_token"]
    claimed = {f"X_Foxtrot_{name}": "mallory" for name in ("User", "Session", "Scopes")}
    status, seen = call(proxy, Authorization=f"Bearer {token}", **claimed)
    assert (status, seen["X-Foxtrot-User"]) == (200, worker["id"])
    assert "mallory" not in seen.values()


def test_the_proxy_refuses_strangers(places: Any) -> None:
    """With the challenge of the login service."""
    status, headers = call(places[0], X_Foxtrot_User="u_mallory")
    assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")


def test_the_proxy_refuses_every_wrong_token(places: Any, settings: dict[str, str]) -> None:
    """Although the service behind it checks nothing."""
    command = ["tokens", "attack", places[0], "--audience", "notes", "--scope", "notes:read"]
    report = run(*command, settings=settings)
    assert report.returncode == 0, report.stdout + report.stderr
