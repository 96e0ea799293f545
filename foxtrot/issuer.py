"""Keys of an issuer, found by its URL, that outlive the issuer.

A thread of its own fetches the metadata (RFC 8414) and the JWK Set they name,
and fetches the set again every few minutes. A request with a known `kid` never
waits for the network; one with an unknown `kid` waits a second at most, for one
fetch that all share, and not at all where the issuer is known to hang; such
fetches are kept apart by a cool-down. A failed or broken answer never replaces
keys that work.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from ssl import SSLCertVerificationError, SSLError
from typing import Final
from urllib.parse import urlsplit

from foxtrot import fetch
from foxtrot.background import Background
from foxtrot.errors import Unavailable, UnusableKey
from foxtrot.jwk import PUBLIC_KEY_ALGORITHMS, Key
from foxtrot.keys import find_in, load_jwk_set

_log = logging.getLogger("foxtrot")

REFRESH_SECONDS: Final = 300.0
COOLDOWN_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
WAIT_SECONDS: Final = 1.0
FIRST_WAIT_SECONDS: Final = 3.0
"""While there are no keys at all nothing can be answered but 503, so waiting is worth more."""

MAX_STALE_SECONDS: Final = 86_400.0

_DANGER: Final = "who is on the way can put their own in place of them. Let the issuer be https://."


class IssuerKeys(Background):
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
    _thread_name = "foxtrot-keys"

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
                fetch.require_http(url)
        if jwks_uri is None and fetch.can_be_changed_on_the_way(issuer):
            _log.warning("The keys of %s are fetched without TLS: %s", issuer, _DANGER)
        self._max_stale = max_stale
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched_at: float | None = None
        self._too_old_after = math.inf
        self._withdrawals = 0
        super().__init__()

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._attempts = 0
        self._attempted_at: float | None = None
        self._hangs = False
        self._problem = "nothing was fetched yet"
        self._withdrawals += 1

    @property
    def generation(self) -> int:
        """Changes when a key was withdrawn, and when all have become too old."""
        if self._clock() > self._too_old_after:
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
            raise Unavailable(
                f"No key of {self._issuer} could be fetched: {self._problem}.",
                detail="The keys of the issuer cannot be had at the moment.",
            )
        return key

    def _fresh_keys(self) -> dict[str, Key]:
        """The keys at hand, none once they are older than `max_stale`."""
        if self._clock() > self._too_old_after:
            with self._news:
                if self._clock() > self._too_old_after:
                    self._keys, self._fetched_at, self._too_old_after = {}, None, math.inf
                    self._withdrawals += 1
        return self._keys

    def _before_start(self) -> None:
        self._wanted.set()
        self._attempted_at = None

    def _await_fetch(self) -> None:
        """Wait for the fetch under way, or for a new one unless it is too soon."""
        with self._news:
            seen = self._attempts
            if not self._wanted.is_set():
                if self._is_too_soon():
                    return
                self._wanted.set()
            if not self._hangs:
                wait = WAIT_SECONDS if self._fetched_at is not None else FIRST_WAIT_SECONDS
                if not self._news.wait_for(lambda: self._attempts > seen or self._hangs, wait):
                    self._hangs = True
                    self._news.notify_all()

    def _is_too_soon(self) -> bool:
        cooldown = COOLDOWN_SECONDS if self._fetched_at is not None else RETRY_SECONDS
        last = self._attempted_at
        return last is not None and self._clock() - last < cooldown

    def _work(self) -> float:
        """Fetch, adopt what is good, and tell those who wait."""
        keys, problem, hung = None, "", False
        try:
            keys = self._fetch()
        except fetch.FAILURES as error:
            problem, hung = _in_words(error), isinstance(error, TimeoutError)
            _log.warning("The keys of %s could not be fetched: %s", self._issuer, problem)
        with self._news:
            if keys is not None:
                self._adopt(keys)
            self._problem = problem
            self._hangs = hung and self._fetched_at is not None
            self._attempts += 1
            self._attempted_at = self._clock()
            self._wanted.clear()
            self._news.notify_all()
        return REFRESH_SECONDS if keys is not None else COOLDOWN_SECONDS

    def _adopt(self, keys: dict[str, Key]) -> None:
        withdrawn = not self._keys.items() <= keys.items()
        self._keys = keys
        self._fetched_at = self._clock()
        self._too_old_after = self._fetched_at + self._max_stale
        if withdrawn:
            self._withdrawals += 1

    def _fetch(self) -> dict[str, Key]:
        uri = self._jwks_uri or self._discover()
        return load_jwk_set(fetch.get(uri).body)

    def _discover(self) -> str:
        """Read `jwks_uri` from the issuer's metadata (RFC 8414 sections 3.1 and 3.3)."""
        metadata = json.loads(fetch.get(metadata_url(self._issuer)).body)
        if not isinstance(metadata, dict) or metadata.get("issuer") != self._issuer:
            raise UnusableKey(self._whose(metadata))
        uri = metadata.get("jwks_uri")
        if not isinstance(uri, str):
            raise UnusableKey("the issuer publishes no keys; give the secret it shares")
        if urlsplit(uri)[:2] != urlsplit(self._issuer)[:2]:
            raise UnusableKey(f"jwks_uri {uri!r} is not at the issuer's own address")
        return uri

    def _whose(self, metadata: object) -> str:
        named = metadata.get("issuer") if isinstance(metadata, dict) else None
        said = f"the metadata there are not those of {self._issuer!r}"
        if isinstance(named, str):
            said += f"; they are of {named[:200]!a}"
        return said


def _in_words(error: Exception) -> str:
    """Say what went wrong, and what may be meant by it."""
    said = str(error) or type(error).__name__
    if isinstance(error, SSLError) and not isinstance(error, SSLCertVerificationError):
        said += " (perhaps plain http is spoken there: the URL would begin with http://)"
    return said


def metadata_url(issuer: str) -> str:
    """Where an issuer's metadata are: the well-known path goes before its own path.

    RFC 8414 section 3.1.
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{path}"
