"""The uses of a session's refresh tokens, for as long as they may be asked about again.

`refresh_tokens` decides by them. They are kept in the session's row, as JSON: so that
reading and writing that one row is all that a refresh costs, and nothing grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import Final, NamedTuple

from app.db import from_microseconds, to_microseconds

WINDOW: Final = timedelta(seconds=20)
MAX_KEPT: Final = 100


class Rotation(NamedTuple):
    """The use of a token: what makes its successor again, and who may ask for it.

    `used_at` is the first use, `retried_at` the last late retry: from either the window counts.
    """

    number: int
    used_at: datetime
    nonce: bytes
    key_id: str
    retry_hash: str | None
    retries: int = 0
    retried_at: datetime | None = None

    def is_in_window(self, now: datetime, *, with_key: bool) -> bool:
        """Say whether the first use was just now, or the late retry of a client with its key."""
        moments = [self.used_at, self.retried_at if with_key else None]
        return any(moment is not None and now - moment <= WINDOW for moment in moments)


def still_open(rotations: Sequence[Rotation], now: datetime) -> Iterable[Rotation]:
    """Leave out those whose successor has been used and that nobody may ask for again."""
    over = now - WINDOW
    return dropwhile(lambda rotation: (rotation.retried_at or rotation.used_at) < over, rotations)


def dump(rotations: Sequence[Rotation]) -> str:
    """Write the newest rotations down, oldest first."""
    return json.dumps([_as_json(rotation) for rotation in rotations[-MAX_KEPT:]])


def load(text: str | None) -> list[Rotation]:
    """Read what `dump` wrote."""
    return [_of_json(*members) for members in json.loads(text)] if text else []


def _as_json(rotation: Rotation) -> tuple[str | int | None, ...]:
    retried_at = rotation.retried_at
    return (
        rotation.number,
        to_microseconds(rotation.used_at),
        rotation.nonce.hex(),
        rotation.key_id,
        rotation.retry_hash,
        rotation.retries,
        None if retried_at is None else to_microseconds(retried_at),
    )


def _of_json(
    number: int,
    used_at: int,
    nonce: str,
    key_id: str,
    retry_hash: str | None,
    retries: int,
    retried_at: int | None,
) -> Rotation:
    return Rotation(
        number,
        from_microseconds(used_at),
        bytes.fromhex(nonce),
        key_id,
        retry_hash,
        retries,
        None if retried_at is None else from_microseconds(retried_at),
    )
