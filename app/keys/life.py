"""The life of a signing key: which state it is in, and which one signs, at a given time.

`published → active → retiring → retired`. All of it is a function of what the table says and of
the time, so that any number of workers agree without speaking to each other: a change of the
signing key is written down before it happens, and each worker has read of it by then.

The shared secret of HS256, while services share one, has a life here, too, but no key material.
Nothing here reads the clock or the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from foxtrot.issuer import COOLDOWN_SECONDS, REFRESH_SECONDS

MAX_AGE: Final = timedelta(minutes=5)
"""How long anybody may keep a copy of the JWK Set (`Cache-Control: max-age`)."""

REREAD: Final = timedelta(seconds=30)
"""How often a worker reads the table again."""

COOLDOWN: Final = timedelta(seconds=COOLDOWN_SECONDS)
"""How long a verifier that has just fetched does not fetch again for an unknown key."""

SLACK: Final = timedelta(seconds=30)
"""For a fetch that is slow, a reading that had to be repeated, clocks that disagree."""

KNOWN_AFTER: Final = MAX_AGE + COOLDOWN + REREAD + SLACK
"""How long a key has been published before it signs: then every verifier has it or can get it."""

SWITCH: Final = REREAD + SLACK
"""How long before it happens a change of the signing key is written down."""

AFTER_EXPIRY: Final = timedelta(minutes=1)
"""How long a key stays after its last token expired: verifiers' clocks may differ by so much."""

ELSEWHERE: Final = REREAD + MAX_AGE + timedelta(seconds=REFRESH_SECONDS) + COOLDOWN
"""How long after its removal the last verifier drops a key, while it reaches the issuer. The last
fetch may have got a copy that somebody in between kept for the whole max-age."""

MAX_PUBLISHED: Final = 50
"""Verifiers refuse a JWK Set that is too large; nobody needs so many keys."""

SHARED_SECRET: Final = "shared-secret"  # noqa: S105 - the name of its row
HS256: Final = "HS256"


class State(StrEnum):
    """The states of a key. Only `published` keys can be dropped without harm."""

    PUBLISHED = "published"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True)
class Policy:
    """What the settings say about keys.

    :param algorithm: how tokens for services are to be signed, `HS256` included.
    :param lifetime: the longest time from signing to `exp` of whatever a key signs.
    :param rotation: the age at which a key is replaced; None for never.
    """

    algorithm: str
    lifetime: timedelta
    rotation: timedelta | None

    @property
    def key_algorithm(self) -> str:
        """The algorithm of key pairs: with a shared secret for services, ES256 for this one."""
        return "ES256" if self.algorithm == HS256 else self.algorithm


@dataclass(frozen=True)
class Life:
    """The times of one key.

    :param created_at: when it was published.
    :param signs_from: from when it signs; None for a stand-by.
    :param signs_until: from when it signs no more; None while no successor is named.
    :param lifetime: the longest time to `exp` of whatever it may have signed.
    :param retired_at: when it was taken out for good.
    """

    kid: str
    algorithm: str
    created_at: datetime
    signs_from: datetime | None
    signs_until: datetime | None
    lifetime: timedelta
    retired_at: datetime | None = None

    @property
    def may_sign_from(self) -> datetime:
        """From when every verifier knows it, or gets it when asked."""
        return self.created_at + KNOWN_AFTER

    @property
    def may_retire_from(self) -> datetime | None:
        """From when nothing that it signed is valid any more; None while no end is set."""
        return None if self.signs_until is None else self.end_of_tokens(self.signs_until)

    def end_of_tokens(self, signs_until: datetime) -> datetime:
        """When the last token is over, if it signs until then: its `exp`, and a minute."""
        return signs_until + REREAD + self.lifetime + AFTER_EXPIRY

    def state(self, now: datetime) -> State:
        """The state it is in."""
        if self.retired_at is not None:
            return State.RETIRED
        if self.signs_from is None or now < self.signs_from:
            return State.PUBLISHED
        if self.signs_until is None or now < self.signs_until:
            return State.ACTIVE
        over = self.may_retire_from is not None and now >= self.may_retire_from
        return State.RETIRED if over else State.RETIRING


class Timetable:
    """The lives of all keys that are not retired yet, in the order in which they were made."""

    def __init__(self, lives: Iterable[Life]) -> None:
        known = [life for life in lives if life.retired_at is None]
        self.keys: Sequence[Life] = [life for life in known if life.algorithm != HS256]
        self.secret = next((life for life in known if life.algorithm == HS256), None)
        self.everything = [*self.keys, *([self.secret] if self.secret else [])]

    def find(self, kid: str) -> Life | None:
        """A key, or the shared secret, by its name."""
        return next((life for life in self.everything if life.kid == kid), None)

    @property
    def _line(self) -> list[tuple[datetime, Life]]:
        """Those that sign, signed or will sign, by the time at which they begin."""
        begun = [(life.signs_from, life) for life in self.keys if life.signs_from is not None]
        return sorted(begun, key=lambda pair: pair[0])

    @property
    def last(self) -> Life | None:
        """The key at the end of the line: it signs now, or will once its time has come."""
        return self._line[-1][1] if self._line else None

    @property
    def newcomer_algorithm(self) -> str | None:
        """The algorithm that a stand-by has to have."""
        return self.last.algorithm if self.last else None

    def stand_by(self, algorithm: str | None = None) -> Life | None:
        """The oldest key that waits for its turn, of that algorithm or of the last one's."""
        wanted = algorithm or self.newcomer_algorithm
        return next((life for life in self._waiting() if life.algorithm == wanted), None)

    def misfits(self, now: datetime) -> list[Life]:
        """Keys that wait for a turn that never comes, because the algorithm has changed."""
        last = self.last
        if last is None or last.state(now) is not State.ACTIVE:
            return []
        return [life for life in self._waiting() if life.algorithm != last.algorithm]

    def _waiting(self) -> list[Life]:
        return [life for life in self.keys if life.signs_from is None]

    def signing(self, now: datetime) -> Life | None:
        """The key pair that signs."""
        active = [life for _, life in self._line if life.state(now) is State.ACTIVE]
        if active:
            return active[-1]
        begun = [life for begin, life in self._line if begin <= now]
        return begun[-1] if begun else next((life for _, life in self._line), None)

    def next(self, now: datetime) -> Life | None:
        """The key that is to sign later."""
        return next((life for begin, life in self._line if begin > now), None)

    def shares_secret(self, now: datetime) -> bool:
        """Say whether tokens for services are signed with the shared secret."""
        return self.secret is not None and self.secret.state(now) is State.ACTIVE

    def shows_keys(self, now: datetime) -> bool:
        """Say whether the JWK Set shows the keys.

        Not while services share a secret; but still after they began to, until the last token of
        a key for them has ended, and already before they end it.
        """
        secret = self.secret
        if secret is None or secret.signs_until is not None or secret.signs_from is None:
            return True
        earlier = [life for begin, life in self._line if begin < secret.signs_from]
        return any(now < life.end_of_tokens(secret.signs_from) for life in earlier)

    def published(self, now: datetime) -> list[Life]:
        """The key pairs that verify, oldest first."""
        return [life for life in self.keys if life.state(now) is not State.RETIRED]

    def over(self, now: datetime) -> list[Life]:
        """What is to be retired now."""
        return [life for life in self.everything if life.state(now) is State.RETIRED]

    def too_short(self, policy: Policy, now: datetime) -> list[Life]:
        """What may sign for longer than was noted down."""
        return [
            life
            for life in self.everything
            if life.lifetime < policy.lifetime
            and (life.signs_until is None or now < life.signs_until + SWITCH)
        ]

    def aged(self, policy: Policy, now: datetime) -> bool:
        """Say whether the signing key is to be replaced because of its age, and can be."""
        last, waiting = self.last, self.stand_by()
        if policy.rotation is None or last is None or waiting is None or last.signs_from is None:
            return False
        is_old = now >= last.signs_from + policy.rotation
        has_room = len(self.published(now)) < MAX_PUBLISHED
        return is_old and waiting.may_sign_from <= now and has_room

    def is_due(self, policy: Policy, now: datetime) -> bool:
        """Say whether `upkeep.tend` has anything to do."""
        lacks_stand_by = self.last is not None and self.stand_by() is None
        return (
            lacks_stand_by
            or bool(self.over(now) or self.misfits(now) or self.too_short(policy, now))
            or self.aged(policy, now)
        )
