"""A small web server that plays the issuer, well-behaved or not."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from foxtrot import IssuerKeys
from foxtrot.issuer import COOLDOWN_SECONDS
from tests.verifier.minting import Clock, SigningKey

METADATA = "/.well-known/oauth-authorization-server"
JWKS = "/jwks.json"

FETCH = [METADATA, JWKS]
"""What one fetch asks for."""

HEAD = b"HTTP/1.1 200 OK\r\n"

Answer = Callable[[BaseHTTPRequestHandler], None]


class Site:
    """Serves what it is told to, and keeps a list of what was asked for.

    With a certificate (and its key in the same file) it speaks https.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[str] = []
        self.known_etags: list[str | None] = []
        self.answers: dict[str, Answer] = {}
        self.closing = threading.Event()
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http:", "https:")

    def __enter__(self) -> Site:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, *keys: SigningKey) -> None:
        """Serve metadata and a set of these keys, as a good issuer does."""
        self.serve(METADATA, {"issuer": self.url, "jwks_uri": self.url + JWKS})
        self.serve(JWKS, {"keys": [key.jwk for key in keys]})

    def serve(
        self, path: str, body: Any, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Answer *path* with a text, bytes, or anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(content)

        self.answers[path] = answer

    def hang(self, path: str) -> threading.Event:
        """Let *path* answer only once the returned event is set."""
        answer, release = self.answers[path], threading.Event()

        def wait(request: BaseHTTPRequestHandler) -> None:
            while not release.wait(0.01):
                if self.closing.is_set():
                    return
            answer(request)

        self.answers[path] = wait
        return release

    def break_off(self, path: str, start: bytes) -> None:
        """Answer *path* with *start* and close the connection."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(start)

        self.answers[path] = answer

    def drip(self, path: str, start: bytes, drop: bytes) -> None:
        """Answer *path* with *start*, then one *drop* every 20 ms without end."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.wfile.write(start)
            while not self.closing.wait(0.02):
                request.wfile.write(drop)
                request.wfile.flush()

        self.answers[path] = answer

    def wait_for(self, path: str, times: int = 1) -> None:
        """Wait until *path* has been asked for so many times."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: self.requests.count(path) >= times, timeout=5)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with site._arrived:
                    site.requests.append(self.path)
                    site.known_etags.append(self.headers["If-None-Match"])
                    site._arrived.notify_all()
                try:
                    site.answers.get(self.path, not_found)(self)
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def not_found(request: BaseHTTPRequestHandler) -> None:
    request.send_response(404)
    request.send_header("Content-Length", "0")
    request.end_headers()


def refetch(source: IssuerKeys, uptime: Clock) -> None:
    """Make the source fetch once more, by a name it does not know."""
    uptime.advance(COOLDOWN_SECONDS)
    source.find("nobody", "ES256")


def seconds(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until something that another thread does is done."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
