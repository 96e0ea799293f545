"""The files in deploy/: what can be run of them is run here, the rest is read."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import request

import config
from foxtrot.flask import public
from tests.attack.careless import serving as serving_app
from tests.conftest import MakeApp
from tests.processes import ROOT, free_port, stop

DEPLOY = ROOT / "deploy"
HOST = "login.example.com"
needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None and not os.environ.get("CI"), reason="no nginx on this machine"
)


# nginx


def certificate(folder: Path) -> None:
    """A certificate for the host, signed by itself, where the configuration looks for it."""
    key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(now).not_valid_after(now + timedelta(1)).sign(key, SHA256())
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "fullchain.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "privkey.pem").write_bytes(key.private_bytes(*form))


def configuration(folder: Path, behind: str, plain: int, tls: int) -> str:
    """The file with other ports and paths, and what any nginx needs around it."""
    text = (DEPLOY / "nginx.conf").read_text()
    for shown, real in (
        ("127.0.0.1:5000", behind.removeprefix("http://")),
        ("listen 80", f"listen 127.0.0.1:{plain}"),
        ("listen 443", f"listen 127.0.0.1:{tls}"),
        ("/etc/ssl/login.example.com", str(folder)),
    ):
        assert shown in text
        text = text.replace(shown, real)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    around = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}"
    return f"{around} http {{ access_log off; {temporary} {text} }}"


@pytest.fixture
def ports(make_app: MakeApp, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Where nginx listens, for plain HTTP and for TLS, in front of the service."""
    app, plain, tls = make_app(FOXTROT_PUBLIC_URL=f"https://{HOST}"), free_port(), free_port()
    names = ("Host", "X-Forwarded-For", "X-Forwarded-Proto")
    shown = public(lambda: {name: request.headers.getlist(name) for name in names})
    app.add_url_rule("/shown", "shown", shown)
    certificate(tmp_path)
    with ExitStack() as stack:
        path = tmp_path / "nginx.conf"
        behind = stack.enter_context(serving_app(app))
        path.write_text(configuration(tmp_path, behind, plain, tls))
        command = ["nginx", "-p", str(tmp_path), "-c", str(path), "-e", str(tmp_path / "error.log")]
        running = subprocess.Popen(command, text=True)
        stack.callback(stop, running)
        wait_until_listens(plain, running)
        yield plain, tls


def wait_until_listens(port: int, process: subprocess.Popen[str]) -> None:
    """nginx leads elsewhere from here, which urllib would follow; so by a page that is an error."""
    connection = HTTPConnection("127.0.0.1", port)
    for _ in range(200):
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            assert process.poll() is None
            connection.close()
            time.sleep(0.02)
        else:
            connection.close()
            return


def over_tls(port: int) -> HTTPSConnection:
    """A connection to the host, whose certificate nobody knows."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return HTTPSConnection("127.0.0.1", port, context=context, timeout=20)


@needs_nginx
def test_nginx_hands_on_who_asks_and_nothing_that_is_claimed(ports: tuple[int, int]) -> None:
    """The host, one address, and that it was TLS."""
    connection = over_tls(ports[1])
    claimed = {"Host": HOST, "X-Forwarded-For": "192.0.2.66", "X-Forwarded-Proto": "http"}
    connection.request("GET", "/shown", headers=claimed)
    answer = connection.getresponse()
    assert answer.status == 200
    assert yaml.safe_load(answer.read()) == {
        "Host": [HOST],
        "X-Forwarded-For": ["127.0.0.1"],
        "X-Forwarded-Proto": ["https"],
    }
    connection.close()


@needs_nginx
def test_plain_http_is_led_to_tls(ports: tuple[int, int]) -> None:
    """At the same path."""
    connection = HTTPConnection("127.0.0.1", ports[0])
    connection.request("GET", "/account?x=1", headers={"Host": HOST})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{HOST}/account?x=1")
    connection.close()


@needs_nginx
def test_a_body_that_is_too_long_ends_at_nginx(ports: tuple[int, int]) -> None:
    """As it would at the service."""
    connection = over_tls(ports[1])
    connection.request("POST", "/auth/login", b" " * 70_000, headers={"Host": HOST})
    assert connection.getresponse().status == 413
    connection.close()


# systemd


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_the_unit_is_one(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say, with a program that is there."""
    text = (DEPLOY / "foxtrot.service").read_text()
    program = str(Path(sys.executable).parent / "flask")
    unit = tmp_path / "foxtrot.service"
    unit.write_text(text.replace("/opt/foxtrot/.venv/bin/flask", program))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# Containers, which cannot be run here


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml"])
def test_what_cannot_be_run_here_says_so(name: str) -> None:
    """In the file itself, before anything that it does."""
    comment = (DEPLOY / name).read_text().partition("\n#")[2]
    assert "NOT RUN HERE" in comment


def test_the_image_holds_what_the_service_needs() -> None:
    """Every path that is copied is there, and every room that is there is copied."""
    text = (DEPLOY / "Dockerfile").read_text()
    copied = {name for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    files = {file.name for file in ROOT.glob("config*.py")}
    assert copied >= {"requirements.txt", *files, "app", "foxtrot", "migrations", "templates"}
    assert '"flask", "serve"' in text.replace(".venv/bin/", "")


def test_compose_sets_what_are_settings() -> None:
    """By their names; and the app waits for both it needs."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    known = {setting.name for setting in config.SETTINGS}
    assert services["app"]["environment"].keys() <= known
    assert services["app"]["depends_on"].keys() == {"postgresql", "valkey"}
    assert services["migrate"]["command"] == [".venv/bin/flask", "db", "upgrade"]
