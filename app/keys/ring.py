"""The ring: the keys of one worker, decoded; it signs, and is the key source of the own API.

It reads the table again every half minute, so that every worker knows every key, and
has the upkeep done in a thread of its own when it sees that something is due. A private
key is opened when it first signs here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.orm import Session

from app.db import FAILURES, db, reach, utcnow
from app.errors import StartRefused, Unavailable
from app.keys.life import REREAD, Policy, Timetable
from app.keys.table import IN_USE, SigningKey, open_private_key
from app.keys.upkeep import start, tend
from app.secret_key import SecretKey
from foxtrot.jwk import PUBLIC_KEY_ALGORITHMS, Key
from foxtrot.keys import find_in

RETRY: Final = timedelta(seconds=15)
LOOK_EVERY: Final = timedelta(seconds=1)
REACH_SECONDS: Final = 1

_log = logging.getLogger("foxtrot.app")


class Signer(NamedTuple):
    """A private key, its name, and the one algorithm that it is for."""

    kid: str
    private_key: Any
    algorithm: str


@dataclass(frozen=True)
class _Reading:
    """What stood in the table when it was read."""

    timetable: Timetable = field(default_factory=lambda: Timetable([]))
    jwks: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict)
    sealed: Mapping[str, bytes] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)


class KeyRing:
    """The keys of one app.

    :param policy: what the settings say about keys.
    :param in_context: makes the app context in which the upkeep runs; without it this ring
        leaves that, and the move to another algorithm, to others.
    """

    algorithms = PUBLIC_KEY_ALGORITHMS

    def __init__(
        self,
        policy: Policy,
        secret_key: SecretKey,
        in_context: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        self.policy = policy
        self.secret_key = secret_key
        self._in_context = in_context
        self._lock = threading.Lock()
        self._withdrawals = 0
        self._read_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._reading = _Reading()
        self._upkeep: threading.Thread | None = None
        self._has_started = False

    @property
    def generation(self) -> int:
        """Changes when a key was withdrawn; looks at the table now and then, as `find` does."""
        self._refresh(utcnow())
        return self._withdrawals

    def signing_key(self, now: datetime | None = None) -> Signer:
        """The key that signs now.

        :raises Unavailable: there is none, or this worker's secret does not open it.
        """
        now = now or utcnow()
        self._refresh(now)
        serves = self._in_context is not None
        try:
            if not self._reading.timetable.keys or (serves and not self._has_started):
                self.start(now)  # the database was migrated after the start of the service
            return self._signer(self._reading, now)
        except StartRefused as refusal:
            _log.error("%s", refusal)
            raise Unavailable("The signing key cannot be opened.") from None

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Give a public key by name, as `foxtrot.KeySource` asks."""
        now = utcnow()
        self._refresh(now)
        if kid is not None and kid not in self._reading.keys:
            self._look_for_news(now)  # another worker may have made it just now
        return find_in(self._reading.keys, kid, algorithm)

    def public_set(self, now: datetime | None = None) -> list[dict[str, Any]]:
        """The public keys as JWKs, oldest first."""
        self._refresh(now or utcnow())
        return list(self._reading.jwks.values())

    def shows_keys(self, now: datetime | None = None) -> bool:
        """Say whether services are to find the public keys, or share a secret instead."""
        now = now or utcnow()
        self._refresh(now)
        return self._reading.timetable.shows_keys(now)

    def shares_secret(self, now: datetime | None = None) -> bool:
        """Say whether tokens for services are signed with the shared secret now."""
        now = now or utcnow()
        self._refresh(now)
        return self._reading.timetable.shares_secret(now)

    def start(self, now: datetime | None = None) -> None:
        """Begin to sign by this ring's policy, and read the table.

        :raises StartRefused: a stored key was encrypted with another secret.
        """
        now = now or utcnow()
        start(self.policy, self.secret_key, now, serves=self._in_context is not None)
        self._has_started = True
        with self._lock:
            self._read(now)
            self._read_at = now

    def _signer(self, reading: _Reading, now: datetime) -> Signer:
        """What signs by that reading, whatever another thread reads meanwhile."""
        life = reading.timetable.signing(now)
        if life is None:
            raise Unavailable(f"There is no signing key for {self.policy.key_algorithm}.")
        kid, algorithm = life.kid, life.algorithm
        private_key = reading.opened.get(kid)
        if private_key is None:
            sealed = reading.sealed[kid]
            private_key = open_private_key(kid, algorithm, sealed, self.secret_key)
            reading.opened[kid] = private_key
        return Signer(kid, private_key, algorithm)

    def _refresh(self, now: datetime) -> None:
        """Look at the table again when the last look is half a minute old."""
        has_keys = bool(self._reading.keys)
        if self._is_fresh(now) or not self._lock.acquire(blocking=not has_keys):
            return  # somebody else is looking; meanwhile what is known is good
        try:
            if not self._is_fresh(now):
                if has_keys:
                    reach(REACH_SECONDS)
                self._read(now)
                self._read_at = now
                self._have_tended(now)
        except FAILURES:
            if not self._reading.keys:
                raise
            _log.warning("The signing keys cannot be read now; those known are used.")
            self._read_at = now - REREAD + RETRY
        finally:
            self._lock.release()

    def _look_for_news(self, now: datetime) -> None:
        """Look at the table for a key that is not known, once a second at most.

        Anybody can name such a key: so nobody waits long for a database that is silent.
        """
        if not self._lock.acquire(timeout=REACH_SECONDS):
            return
        try:
            if self._looked_at is None or abs(now - self._looked_at) >= LOOK_EVERY:
                self._looked_at = now
                reach(REACH_SECONDS)
                self._read(now)
        finally:
            self._lock.release()

    def _is_fresh(self, now: datetime) -> bool:
        return self._read_at is not None and abs(now - self._read_at) < REREAD

    def _read(self, now: datetime) -> None:
        """Read the table; the lock is held, so that no older reading comes after a newer one."""
        with Session(db.engine) as own_session:
            rows = own_session.scalars(IN_USE).all()
        reading = _decoded(rows, now, self._reading)
        withdrawn = not self._reading.keys.items() <= reading.keys.items()
        self._reading = reading
        if withdrawn:
            self._withdrawals += 1

    def _have_tended(self, now: datetime) -> None:
        """Start the upkeep, if anything is due and nobody here is at it; no request waits."""
        if self._in_context is None or (self._upkeep and self._upkeep.is_alive()):
            return
        if self._reading.timetable.is_due(self.policy, now):
            self._upkeep = threading.Thread(
                target=self._tend,
                args=(self._in_context, now),
                name="foxtrot-key-upkeep",
                daemon=True,
            )
            self._upkeep.start()

    def _tend(
        self, in_context: Callable[[], AbstractContextManager[object]], now: datetime
    ) -> None:
        try:
            with in_context():
                tend(self.policy, self.secret_key, now)
        except Exception:
            _log.warning("The upkeep of the signing keys failed; it is tried again.", exc_info=True)


def _decoded(rows: Sequence[SigningKey], now: datetime, before: _Reading) -> _Reading:
    timetable = Timetable([row.life for row in rows])
    published = {life.kid for life in timetable.published(now)}
    jwks = {row.kid: json.loads(row.public_jwk) for row in rows if row.kid in published}
    return _Reading(
        timetable,
        jwks,
        {kid: before.keys.get(kid) or Key.from_jwk(jwk) for kid, jwk in jwks.items()},
        {row.kid: row.private_key for row in rows if row.kid in published},
        {kid: key for kid, key in before.opened.copy().items() if kid in published},
    )
