"""Another web server of the same site: a service, or a front end."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Service(ThreadingHTTPServer):
    """A server that keeps what it receives; pages of any origin may call it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, str] = {}
        self.challenges: list[str] = []
        self.elsewhere = ""
        self.received: list[dict[str, str]] = []
        self.preflights = 0

    @property
    def url(self) -> str:
        """Its origin: for a browser the same site as the login service."""
        return f"http://localhost:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Service

    def do_OPTIONS(self) -> None:
        self.server.preflights += 1
        self._answer(204)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.received.append({**self.headers, "method": self.command, "body": body})
        if self.server.elsewhere:
            self._answer(307, Location=self.server.elsewhere)
        elif self.server.challenges:
            self._answer(401, **{"WWW-Authenticate": self.server.challenges.pop(0)})
        else:
            kind = mimetypes.guess_type(self.path)[0] or "text/plain"
            self._answer(200, self.server.files.get(self.path, ""), **{"Content-Type": kind})

    do_POST = do_GET  # noqa: N815 - the base's names

    def _answer(self, status: int, text: str = "", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", self.headers.get("Origin", "*"))
        self.send_header("Access-Control-Allow-Credentials", "true")
        self.send_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.send_header("Access-Control-Expose-Headers", "WWW-Authenticate")
        self.send_header("Content-Length", str(len(text.encode())))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@contextmanager
def running_service() -> Iterator[Service]:
    """Such a server, while the block runs."""
    with Service() as service:
        thread = Thread(target=service.serve_forever, args=[0.05])
        thread.start()
        yield service
        service.shutdown()
        thread.join()
