"""Send one HTTP request to a service at a time, bounded, and never further than told.

For `flask tokens attack`. Redirects are not followed, no proxy is used, and both the time and
what is read of an answer are limited. `Lure` is the attacker's own little web server.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from app.errors import InvalidRequest

MAX_READ: Final = 64 * 1024
TIME_LIMIT: Final = 5.0
"""Seconds for one request, all in all."""

_METHOD: Final = re.compile(r"[A-Z]{1,20}")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)")


@dataclass(frozen=True)
class Target:
    """A route to send requests to."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    time_limit: float = TIME_LIMIT

    @property
    def parts(self) -> SplitResult:
        """The URL in its parts."""
        return urlsplit(self.url)

    @property
    def host(self) -> str:
        """The host's name or address, in small letters."""
        return self.parts.hostname or ""

    @property
    def is_loopback(self) -> bool:
        """Say whether it is on this very machine."""
        return is_loopback(self.host)


@dataclass(frozen=True)
class Answer:
    """What came back. `status` is None where nothing did; `problem` says why."""

    status: int | None
    text: str = ""
    problem: str = ""

    @property
    def is_success(self) -> bool:
        """Say whether the request was served (2xx)."""
        return self.status is not None and 200 <= self.status < 300


def target_of(
    url: str, method: str, headers: tuple[str, ...], body: str | None, host: str | None
) -> Target:
    """Check what was typed, and that the host is permitted.

    :param headers: each like `Name: value`.
    :param host: a host that is not this machine must be named here once more.
    :raises InvalidRequest: something of it is not as it should be.
    """
    if not _METHOD.fullmatch(method.upper()):
        raise InvalidRequest(f"{method!r} is no HTTP method such as GET.")
    data = None if body is None else body.encode()
    target = Target(method.upper(), url, dict(map(_header, headers)), data)
    _check_url(target)
    named = (host or "").lower().strip("[]")
    if not target.is_loopback and target.host != named:
        raise InvalidRequest(
            f"{target.host} is not this machine. If it is yours to attack, name it once more:"
            f" --host {target.host}"
        )
    return target


def _check_url(target: Target) -> None:
    try:
        parts = target.parts
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or not re.fullmatch(r"[\x21-\x7e]+", target.url):
        raise InvalidRequest(f"{target.url!r} is no URL like http://localhost:5001/notes.")
    if target.parts.username is not None or target.parts.password is not None:
        raise InvalidRequest("Leave user and password out of the URL.")


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address is this very machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _header(text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(text)
    if match is None:
        raise InvalidRequest(f"{text!r} is no header like 'Content-Type: application/json'.")
    if match[1].lower() in ("authorization", "host", "content-length", "transfer-encoding"):
        raise InvalidRequest(f"The header {match[1]} is set by the attack itself.")
    return match[1], match[2]


def send(target: Target, token: str | None) -> Answer:
    """Send one request, with a token in the `Authorization` header or without any."""
    headers = dict(target.headers)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = _connection(target)
    try:
        connection.connect()
        with _ended_after(target.time_limit, connection):
            connection.request(target.method, _path(target), target.body, headers)
            response = connection.getresponse()
            text = response.read(MAX_READ).decode("utf-8", "replace")
        return Answer(response.status, text)
    except (OSError, HTTPException, ValueError) as error:
        return Answer(None, problem=str(error) or type(error).__name__)
    finally:
        connection.close()


def _connection(target: Target) -> HTTPConnection:
    kind = HTTPSConnection if target.parts.scheme == "https" else HTTPConnection
    return kind(target.host, target.parts.port, timeout=target.time_limit)


def _path(target: Target) -> str:
    parts = target.parts
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@contextmanager
def _ended_after(seconds: float, connection: HTTPConnection) -> Iterator[None]:
    """Cut the line when the time is over, also under an answer that drips.

    :raises TimeoutError: it was cut; what was read until then may be half an answer.
    """
    line, is_over = connection.sock, threading.Event()

    def cut() -> None:
        is_over.set()
        with suppress(OSError):
            line.shutdown(SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if is_over.is_set():
        raise TimeoutError("timed out")


class Lure:
    """A web server on this machine that hands out an attacker's keys to whoever asks.

    A service that fetches from it believes addresses in tokens.

    :param files: what is served, by path.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._fetched: set[str] = set()
        fetched = self._fetched

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fetched.add(self.path)
                content = files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fetched(self) -> bool:
        """Say whether somebody has come since the last time this was asked."""
        came = bool(self._fetched)
        self._fetched.clear()
        return came

    def __enter__(self) -> Lure:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
