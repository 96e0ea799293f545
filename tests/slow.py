"""Slow clients, many at once, for the tests and the bench of the production server."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

LARGE: Final = "/static/swagger-ui/swagger-ui-bundle.js"
HOST: Final = "Host: localhost:{port}\r\n"
KINDS: Final = {
    "idle": "",
    "heads": f"GET /healthz HTTP/1.1\r\n{HOST}X-Slow: ",
    "bodies": (
        f"POST /auth/login HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
        "Content-Length: 60000\r\n\r\n"
    ),
    "readers": f"GET {LARGE} HTTP/1.1\r\n{HOST}\r\n",
}
"""What each kind sends at once."""

DRIPS: Final = {"heads": b"x", "bodies": b" "}
"""And then, a little at a time."""

SECONDS: Final = 1.0
"""Between two drips."""


@contextmanager
def clients(port: int, kind: str, number: int = 200) -> Iterator[list[socket.socket]]:
    """Keep so many slow clients of a kind connected."""
    allow_open_files(4096)
    with ExitStack() as opened:
        sockets = [opened.enter_context(connected(port, kind)) for _ in range(number)]
        end = threading.Event()
        thread = threading.Thread(target=drip, args=(sockets, DRIPS.get(kind), end))
        thread.start()
        opened.callback(thread.join)
        opened.callback(end.set)
        yield sockets


def connected(port: int, kind: str) -> socket.socket:
    """Connect, and send what this kind sends at once. A slow reader has room for little."""
    connection = socket.socket()
    if kind == "readers":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    connection.sendall(KINDS[kind].format(port=port).encode())
    return connection


def drip(sockets: list[socket.socket], what: bytes | None, end: threading.Event) -> None:
    """Send a little to each, again and again; some may have been closed at the other end."""
    while not end.wait(SECONDS):
        for connection in sockets if what else ():
            with suppress(OSError):
                connection.sendall(what or b"")


def allow_open_files(number: int) -> None:
    """Raise the limit of this process, if it is lower."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, min(number, most)), most))
