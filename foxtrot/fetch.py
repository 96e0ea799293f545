"""GET a small document from the issuer: directly, bounded in size and in time.

No proxy, no redirect, no second try. A copy that the caller has already need not be
sent again (RFC 9110 section 13.1.2).
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

FETCH_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 262_144

FAILURES: Final = (OSError, HTTPException, ValueError, RecursionError)
"""What a fetch raises, and reading what it brought."""


class Answer(NamedTuple):
    """A document, and the tag by which to ask whether it has changed.

    The body is empty where it has not.
    """

    body: bytes
    etag: str | None
    has_changed: bool = True


def get(url: str, *, accept: str = "application/json", known_etag: str | None = None) -> Answer:
    """GET a document, unless it is still the one of *known_etag*.

    :raises OSError, HTTPException, ValueError: there is no good answer; the message says why.
    """
    require_http(url)
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc.rpartition("@")[2], timeout=FETCH_SECONDS)
    connection.connect()
    watchdog = _Watchdog(connection)
    try:
        target = parts.path or "/"
        target = f"{target}?{parts.query}" if parts.query else target
        connection.request("GET", target, headers=_headers(accept, known_etag))
        with connection.getresponse() as response:
            answer = _read(response, known_etag)
        watchdog.raise_if_it_bit()  # an answer without a length ends where it was cut
        return answer
    except Exception:
        watchdog.raise_if_it_bit()
        raise
    finally:
        watchdog.cancel()
        connection.close()


def require_http(url: str) -> None:
    """Refuse what is not on the web.

    :raises ValueError: it is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL.")


def can_be_changed_on_the_way(url: str) -> bool:
    """Say whether what is fetched comes from another machine, and not by TLS."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    """Say whether a name or an address means this machine (RFC 6761 section 6.3)."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _headers(accept: str, known_etag: str | None) -> dict[str, str]:
    headers = {"Accept": accept, "User-Agent": "foxtrot", "Connection": "close"}
    return headers if known_etag is None else {**headers, "If-None-Match": known_etag}


def _read(answer: HTTPResponse, known_etag: str | None) -> Answer:
    if answer.status == 304 and known_etag is not None:
        return Answer(b"", known_etag, has_changed=False)
    if answer.status != 200:
        raise ValueError(f"it answered {answer.status} {answer.reason}")
    body = answer.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    if answer.length:
        raise ValueError(f"the answer ended {answer.length} bytes early")
    return Answer(body, answer.headers.get("ETag"))


class _Watchdog(threading.Timer):
    """Cuts a connection when its time is over, however slowly bytes drip in."""

    def __init__(self, connection: HTTPConnection) -> None:
        super().__init__(FETCH_SECONDS, self._bite)
        self.daemon = True
        self._socket = connection.sock
        self._bit = False
        self.start()

    def raise_if_it_bit(self) -> None:
        if self._bit:
            raise TimeoutError(f"the answer took longer than {FETCH_SECONDS:g} seconds")

    def _bite(self) -> None:
        self._bit = True
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
