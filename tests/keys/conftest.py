"""What the tests of signing keys share: time that is moved, and short words for keys and tokens.

The rules take `now`. Commands and requests have the real time, so for them the times in the
table are moved into the past instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from app import keys, login
from app.db import db, transaction, utcnow
from app.keys import KeyRing, Life, SigningKey
from app.keys.life import KNOWN_AFTER
from app.tokens import Wish
from tests.conftest import MakeApp
from tests.support import PASSWORD, SOMEWHERE

ALICE = "alice@example.com"
SHARED = "pX7oHn4QyV0sJc8LzR2gKf5BtW9mDe1U"
A_SECOND = timedelta(seconds=1)
READY = KNOWN_AFTER
"""After so long a stand-by may sign."""

A_DAY = timedelta(days=1)
LIFETIME = timedelta(minutes=15)
RETENTION = LIFETIME + timedelta(seconds=90)
"""From the last signature: half a minute for who has not read yet, `exp`, a minute."""


def ring_of(app: Flask) -> KeyRing:
    """The app's keys."""
    ring: KeyRing = app.extensions["foxtrot_keys"]
    return ring


def worker(app: Flask) -> KeyRing:
    """The keys of another worker, which leaves the upkeep to others."""
    return KeyRing(ring_of(app).policy, ring_of(app).secret_key)


def lives() -> list[Life]:
    """All keys but retired ones, oldest first; to be called in an app context."""
    db.session.rollback()  # see what others wrote since
    return [life for life in keys.every_key() if life.retired_at is None]


def states(now: datetime) -> list[str]:
    """The states of all keys, oldest first; to be called in an app context."""
    db.session.rollback()
    return [life.state(now).value for life in keys.every_key()]


def rotate(app: Flask, now: datetime) -> datetime:
    """Rotate as the operator; gives the time from which the other key signs."""
    ring = ring_of(app)
    return keys.rotate(ring.policy, ring.secret_key, SOMEWHERE, now)[1]


def tend(app: Flask, now: datetime) -> None:
    """The upkeep at a time."""
    keys.tend(ring_of(app).policy, ring_of(app).secret_key, now)


def remove_now(app: Flask, kid: str, now: datetime) -> keys.Removal:
    """The emergency."""
    ring = ring_of(app)
    return keys.remove(kid, ring.policy, ring.secret_key, SOMEWHERE, now, at_once=True)


def token(audience: str | None, now: datetime) -> str:
    """Sign Alice in at a time, and take the access token; to be called in an app context."""
    wish = Wish(audience=None if audience is None else [audience])
    signed_in = login.with_tokens(ALICE, PASSWORD, SOMEWHERE, wish, now)
    assert signed_in.access_token is not None
    return signed_in.access_token.text


def age(app: Flask, by: timedelta) -> None:
    """Make all keys older, and let the app's worker read so; to be called in an app context."""
    with transaction():
        for row in db.session.scalars(select(SigningKey)):
            for name in ("created_at", "signs_from", "signs_until"):
                when = getattr(row, name)
                setattr(row, name, when and when - by)
    ring_of(app)._read(utcnow())


@pytest.fixture(autouse=True)
def installed_just_now(make_app: MakeApp) -> None:
    """The data that a test gets was made when its process began: that may be minutes ago."""
    app = make_app()
    with app.app_context():
        first = min((life.created_at for life in lives()), default=utcnow())
        age(app, first - utcnow())


@pytest.fixture
def now(app: Flask) -> Iterator[datetime]:
    """Now, in an app context."""
    with app.app_context():
        yield utcnow()
