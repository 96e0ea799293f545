"""Whether the session behind a token has ended, as the issuer publishes it.

A token names its place in a Token Status List (draft-ietf-oauth-status-list section 6.2).
A thread of its own fetches each list that was met lately, again and again as its `ttl`
says. A request waits only for a list never seen or grown stale: a second at most, for one
fetch that all share, and not at all while the issuer is known not to answer.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from typing import Final

from foxtrot import fetch, status_list
from foxtrot.background import Background
from foxtrot.claims import Token
from foxtrot.errors import InvalidToken, StaleStatus, Unavailable
from foxtrot.keys import KeySource
from foxtrot.status_list import StatusList, StatusListToken

_log = logging.getLogger("foxtrot")

WAIT_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 1.0
"""A list is stale when it is older than its `ttl` and this."""

POLL_PART: Final = 0.9
"""A list is fetched again after this part of its `ttl`, so that the answer is there in time."""

RETRY_SECONDS: Final = 5.0
IDLE_SECONDS: Final = 60.0
MAX_LISTS: Final = 256

_PATH: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")


class StatusLists(Background):
    """The status lists of one issuer; a `foxtrot.Status`.

    :param issuer: the issuer's URL. Only lists below it are ever fetched: same scheme, host
        and port, and a path that goes on where the issuer's ends.
    :param keys: the key sources that lists are verified with, those of the `Verifier`.
    :param address: where the issuer is reached, if not at its URL; for a service that
        reaches it by an inner address.
    :param leeway: seconds by which clocks may disagree.
    :param clock: gives the time in seconds since the epoch.
    :param uptime: a monotonic clock, in seconds.

    Nothing is fetched before the first token with a status was verified, and each process
    that was forked fetches for itself.
    """

    _thread_name = "foxtrot-status"

    def __init__(
        self,
        issuer: str,
        keys: tuple[KeySource, ...],
        *,
        address: str | None = None,
        leeway: float = 30,
        clock: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        if address is not None:
            fetch.require_http(address)
        self._issuer = issuer
        self._below = issuer.rstrip("/") + "/"
        self._address = (address or issuer).rstrip("/") + "/"
        self._keys = keys
        self._leeway = leeway
        self._clock = clock
        self._uptime = uptime
        self._lists: dict[str, _Held] = {}
        super().__init__()

    def _start_afresh(self) -> None:
        super()._start_afresh()
        for held in self._lists.values():
            held.is_silent = False

    def ended(self, token: Token) -> bool:
        """Say whether *token* must be refused although it has not expired.

        A token without the claim `status` is one whose issuer keeps no list; it is let
        through.

        :raises InvalidToken: the claim is malformed, or points elsewhere than to a list of
            this issuer.
        :raises StaleStatus: the list cannot be had now.
        """
        uri, index = token.status_list, token.status_index
        if uri is None:
            return False
        now = self._uptime()
        needed_until = now + token.expires_at - token.issued_at
        held = self._lists.get(uri) or self._meet(uri, needed_until)
        if needed_until > held.needed_until:
            held.needed_until = needed_until
        if self._thread is None or now > held.fresh_until:
            self._ensure_thread()
            self._await(held)
            now = self._uptime()
        if held.says(index):
            return True
        if now > held.fresh_until:
            raise StaleStatus(f"The status list of {self._issuer} cannot be had now.")
        return False

    def _meet(self, uri: str, needed_until: float) -> _Held:
        """Begin to keep a list, if it is one of this issuer's."""
        if not uri:
            raise InvalidToken("bad_claim", "The claim status of the token is malformed.")
        path = uri.removeprefix(self._below)
        if path == uri or not _PATH.fullmatch(path):
            raise InvalidToken("bad_claim", "The status of the token is not kept by its issuer.")
        with self._news:
            if len(self._lists) >= MAX_LISTS and uri not in self._lists:
                raise StaleStatus(f"{self._issuer} has more than {MAX_LISTS} status lists.")
            held = _Held(uri, self._address + path, needed_until)
            return self._lists.setdefault(uri, held)

    def _await(self, held: _Held) -> None:
        """Wait for one fetch, unless nothing is to be expected of it."""
        with self._news:
            if self._uptime() <= held.fresh_until or held.is_silent:
                return
            self._lists.setdefault(held.uri, held)  # it may have been forgotten just now
            seen, held.due_at = held.attempts, -math.inf
            self._wanted.set()
            if not self._news.wait_for(
                lambda: held.attempts > seen or held.is_silent, WAIT_SECONDS
            ):
                held.is_silent = True
                self._news.notify_all()

    def _work(self) -> float:
        """Fetch the lists whose time has come, and forget those that no token needs."""
        self._wanted.clear()
        with self._news:
            now = self._uptime()
            for held in list(self._lists.values()):
                if now > held.needed_until:
                    del self._lists[held.uri]
            due = [held for held in self._lists.values() if held.due_at <= now]
        for held in due:
            self._refresh(held)
        with self._news:
            times = [held.due_at for held in self._lists.values()]
        return max(min(times, default=now + IDLE_SECONDS) - self._uptime(), 0.01)

    def _refresh(self, held: _Held) -> None:
        """Fetch one list, adopt it if it is good, and tell those who wait."""
        asked_at, news, problem = self._uptime(), None, ""
        try:
            news = self._fetch(held)
        except (*fetch.FAILURES, InvalidToken, Unavailable) as error:
            problem = str(error) or type(error).__name__
            if problem != held.problem:
                _log.warning("The status list %s cannot be had: %s", held.uri, problem)
        with self._news:
            if not problem:
                held.confirm(news, asked_at)
            held.problem = problem
            held.is_silent = bool(problem)
            held.due_at = self._uptime() + (RETRY_SECONDS if problem else held.ttl * POLL_PART)
            held.attempts += 1
            self._news.notify_all()

    def _fetch(self, held: _Held) -> tuple[StatusListToken, str | None] | None:
        """The list, if it is another one than the one at hand."""
        now = self._clock()
        etag = held.etag if now < held.expires_at else None
        answer = fetch.get(held.url, accept=status_list.MEDIA_TYPE, known_etag=etag)
        if not answer.has_changed:
            return None
        text = answer.body.decode("ascii", "replace").strip()
        token = status_list.read(
            text, held.uri, self._issuer, self._keys, now=now, leeway=self._leeway
        )
        if token.issued_at < held.issued_at:
            if token.statuses == held.statuses:
                return None
            raise ValueError("it is older than the one at hand")
        return token, answer.etag


class _Held:
    """One list: what it says, and when it was and is to be fetched."""

    __slots__ = (
        "attempts",
        "due_at",
        "etag",
        "expires_at",
        "fresh_until",
        "is_silent",
        "issued_at",
        "needed_until",
        "problem",
        "statuses",
        "ttl",
        "uri",
        "url",
    )

    def __init__(self, uri: str, url: str, needed_until: float) -> None:
        self.uri = uri
        self.url = url
        self.needed_until = needed_until
        self.statuses: StatusList | None = None
        self.etag: str | None = None
        self.issued_at = self.expires_at = self.ttl = 0.0
        self.fresh_until = self.due_at = -math.inf
        self.attempts = 0
        self.problem = ""
        self.is_silent = False

    def says(self, index: int) -> bool:
        """Say whether the list, fresh or not, has this token ended.

        An ended session never lives again, so an old answer is as good as a new one. A machine that
        was disabled may be enabled again; until the next list it is refused, which does no harm.
        """
        if self.statuses is None:
            return False
        try:
            return self.statuses[index] != 0
        except IndexError:
            raise InvalidToken("bad_claim", "The token's place is not in the list.") from None

    def confirm(self, news: tuple[StatusListToken, str | None] | None, asked_at: float) -> None:
        """Take over a list, or that the one at hand is still the newest."""
        if news is not None:
            token, self.etag = news
            self.statuses, self.ttl = token.statuses, max(token.ttl, 1.0)
            self.issued_at, self.expires_at = token.issued_at, token.expires_at
        self.fresh_until = asked_at + self.ttl + GRACE_SECONDS
