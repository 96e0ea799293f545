"""Keys of an issuer, found by its URL, that outlive the issuer.

A thread of its own fetches the metadata (RFC 8414) and the JWK Set they name,
and fetches the set again every few minutes. A request with a known `kid` never
waits for the network; one with an unknown `kid` waits for at most one fetch,
shared by all who wait, and such fetches are kept apart by a cool-down. A failed
or broken answer never replaces keys that work.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from foxtrot.errors import Unavailable, UnusableKey
from foxtrot.jwk import PUBLIC_KEY_ALGORITHMS, Key
from foxtrot.keys import find_in, load_jwk_set

_log = logging.getLogger("foxtrot")

REFRESH_SECONDS: Final = 300.0
COOLDOWN_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
FETCH_SECONDS: Final = 5.0
MAX_STALE_SECONDS: Final = 86_400.0
MAX_ANSWER_BYTES: Final = 262_144

_ASK: Final = {"Accept": "application/json", "User-Agent": "foxtrot", "Connection": "close"}


class IssuerKeys:
    """The public keys of an issuer, by URL.

    :param issuer: the issuer's URL, http or https.
    :param jwks_uri: where the JWK Set is, if not where the issuer's metadata say;
        for a service that reaches the issuer by an inner address.
    :param max_stale: seconds for which keys stay in use while they cannot be
        fetched again.
    :param clock: a monotonic clock, in seconds.

    Nothing is fetched before the first token is to be verified, and each
    process that was forked fetches for itself.
    """

    algorithms = PUBLIC_KEY_ALGORITHMS

    def __init__(
        self,
        issuer: str,
        *,
        jwks_uri: str | None = None,
        max_stale: float = MAX_STALE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._jwks_uri = jwks_uri
        for url in (issuer, jwks_uri):
            if url is not None:
                _require_http(url)
        self._max_stale = max_stale
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched_at: float | None = None
        self._withdrawals = 0
        self._start_afresh()
        _sources.add(self)

    def _start_afresh(self) -> None:
        """Forget the thread; in a forked child it does not run."""
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted = threading.Event()
        self._attempts = 0
        self._attempted_at: float | None = None
        self._problem = "nothing was fetched yet"
        self._withdrawals += 1

    @property
    def generation(self) -> int:
        """Changes when a key was withdrawn, and when all have become too old."""
        self._fresh_keys()
        return self._withdrawals

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Give the key of that name and algorithm, or None.

        :raises Unavailable: no key was ever fetched, or all are too old.
        """
        self._ensure_thread()
        keys = self._fresh_keys()
        if kid is not None and kid not in keys:
            self._await_fetch()
            keys = self._fresh_keys()
        key = find_in(keys, kid, algorithm)
        if key is None and self._fetched_at is None:
            raise Unavailable(f"No key of {self._issuer} could be fetched: {self._problem}.")
        return key

    def _fresh_keys(self) -> dict[str, Key]:
        """The keys at hand, none once they are older than `max_stale`."""
        if self._is_too_old():
            with self._news:
                if self._is_too_old():
                    self._keys, self._fetched_at = {}, None
                    self._withdrawals += 1
        return self._keys

    def _is_too_old(self) -> bool:
        fetched_at = self._fetched_at
        return fetched_at is not None and self._clock() - fetched_at > self._max_stale

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._news:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(
                        target=_keep_fetching,
                        args=(weakref.ref(self),),
                        name="foxtrot-keys",
                        daemon=True,
                    )
                    self._wanted.set()
                    self._attempted_at = None
                    self._thread.start()

    def _await_fetch(self) -> None:
        """Wait for the fetch under way, or for a new one unless it is too soon."""
        with self._news:
            seen = self._attempts
            if not self._wanted.is_set():
                cooldown = COOLDOWN_SECONDS if self._fetched_at is not None else RETRY_SECONDS
                last = self._attempted_at
                if last is not None and self._clock() - last < cooldown:
                    return
                self._wanted.set()
            self._news.wait_for(lambda: self._attempts > seen, timeout=FETCH_SECONDS + 1)

    def _fetch_once(self) -> None:
        """Fetch, adopt what is good, and tell those who wait."""
        try:
            keys, problem = self._fetch(), ""
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            keys, problem = None, str(error) or type(error).__name__
            _log.warning("The keys of %s could not be fetched: %s", self._issuer, problem)
        with self._news:
            if keys is not None:
                self._adopt(keys)
            self._problem = problem
            self._attempts += 1
            self._attempted_at = self._clock()
            self._wanted.clear()
            self._news.notify_all()

    def _adopt(self, keys: dict[str, Key]) -> None:
        withdrawn = not self._keys.items() <= keys.items()
        self._keys = keys
        self._fetched_at = self._clock()
        if withdrawn:
            self._withdrawals += 1

    def _fetch(self) -> dict[str, Key]:
        uri = self._jwks_uri or self._discover()
        return load_jwk_set(_get(uri))

    def _discover(self) -> str:
        """Read `jwks_uri` from the issuer's metadata (RFC 8414 sections 3.1 and 3.3)."""
        metadata = json.loads(_get(metadata_url(self._issuer)))
        if not isinstance(metadata, dict) or metadata.get("issuer") != self._issuer:
            raise UnusableKey(f"the metadata there are not those of {self._issuer!r}")
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise UnusableKey("the issuer publishes no keys; give the secret it shares")
        if urlsplit(uri)[:2] != urlsplit(self._issuer)[:2]:
            raise UnusableKey(f"jwks_uri {uri!r} is not at the issuer's own address")
        return uri

    def _pause(self) -> float:
        return REFRESH_SECONDS if not self._problem else COOLDOWN_SECONDS


def metadata_url(issuer: str) -> str:
    """Where an issuer's metadata are: the well-known path goes before its own path.

    RFC 8414 section 3.1.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}"


def _keep_fetching(reference: weakref.ref[IssuerKeys]) -> None:
    """Fetch now and then, until the source is no longer used by anybody."""
    while (source := reference()) is not None:
        source._fetch_once()
        wanted, pause = source._wanted, source._pause()
        del source
        wanted.wait(pause)


def _require_http(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http or https URL.")


def _get(url: str) -> bytes:
    """GET a small document: no redirects, bounded in size and, as a whole, in time."""
    _require_http(url)
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.netloc.rpartition("@")[2], timeout=FETCH_SECONDS)
    connection.connect()
    watchdog = _Watchdog(connection)
    try:
        target = parts.path or "/"
        connection.request(
            "GET", f"{target}?{parts.query}" if parts.query else target, headers=_ASK
        )
        return _read(connection)
    except Exception:
        watchdog.raise_if_it_bit()
        raise
    finally:
        watchdog.cancel()
        connection.close()


def _read(connection: HTTPConnection) -> bytes:
    answer = connection.getresponse()
    if answer.status != 200:
        raise ValueError(f"it answered {answer.status} {answer.reason}")
    body = answer.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise ValueError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    if answer.length:
        raise ValueError(f"the answer ended {answer.length} bytes early")
    return body


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


_sources: weakref.WeakSet[IssuerKeys] = weakref.WeakSet()


def _after_fork() -> None:
    for source in _sources:
        source._start_afresh()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
