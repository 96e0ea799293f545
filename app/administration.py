"""What administrators see and do on their page.

Whom they disable must not be the last who could let others in again, nor they
themselves by a slip. What they do is an event that names them (`Client.actor`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import func, select

from app import accounts, addresses, audit, keys, sessions, users
from app.audit import Event
from app.client import Client
from app.db import db, transaction, turn, utcnow
from app.errors import LockOut, NotFound
from app.sessions import Ending, LoginSession
from app.users import User

DAYS: Final = 30
USERS_SHOWN: Final = 10
SETTLED: Final = timedelta(hours=1)
"""How long after a day events of it may still come, from a machine whose clock is behind."""


@dataclass(frozen=True)
class Found:
    """Some of the users that were looked for, the newest first, and where to go on.

    `sessions` is how many live ones each has, by `User.id`.
    """

    users: Sequence[User]
    sessions: Mapping[int, int]
    after: str | None


@dataclass(frozen=True)
class SignIns:
    """The sign-ins of a day in UTC."""

    day: date
    succeeded: int
    failed: int


@dataclass(frozen=True)
class ShownKey:
    """A signing key, and what happens to it."""

    kid: str
    algorithm: str
    state: str
    about: str


def find_users(part: str = "", after: str | None = None, now: datetime | None = None) -> Found:
    """Find users by a part of their address, or all, a page at a time.

    :param after: the public id of the last user of the page before.
    """
    found = _search(part, after)
    shown, more = found[:USERS_SHOWN], len(found) > USERS_SHOWN
    counts = _live_sessions([user.id for user in shown], now or utcnow())
    return Found(shown, counts, shown[-1].public_id if more else None)


def disable(public_id: str, client: Client, now: datetime | None = None) -> None:
    """Keep a user out, at once.

    :raises NotFound: there is no such user.
    :raises LockOut: it is the administrator who asks, or the last one.
    """
    if public_id == client.actor:
        raise LockOut("This is your own account. Another administrator can disable it.")
    with transaction():
        turn("administrators")
        user = _find(public_id)
        is_admin = users.ADMIN in user.own_scopes.split()
        if is_admin and not users.any_admin(besides=user.id):
            raise LockOut("This is the last administrator: nobody could enable them again here.")
        accounts.disable(user, client, now)


def enable(public_id: str, client: Client) -> None:
    """Let a user in again.

    :raises NotFound: there is no such user.
    """
    with transaction():
        users.enable(_find(public_id), client)


def end_sessions(public_id: str, client: Client, now: datetime | None = None) -> None:
    """End every session of a user.

    :raises NotFound: there is no such user.
    """
    sessions.end_all(_find(public_id), Ending.ENDED_BY_OPERATOR, client, now)


def sign_ins(now: datetime | None = None) -> list[SignIns]:
    """The sign-ins of the last days, today's so far included, oldest first.

    A day that is over is counted once in each process: there may be millions.
    """
    now = (now or utcnow()).astimezone(UTC)
    days = [now.date() - timedelta(days=ago) for ago in reversed(range(DAYS))]
    kept: dict[date, SignIns] = current_app.extensions["foxtrot_sign_ins"]
    shown = [kept.get(day) or _sign_ins_on(day) for day in days]
    over = (now - SETTLED).date()
    current_app.extensions["foxtrot_sign_ins"] = {one.day: one for one in shown if one.day < over}
    return shown


def signing_keys(now: datetime | None = None) -> list[ShownKey]:
    """All keys, the newest first."""
    now = now or utcnow()
    return [
        ShownKey(life.kid, life.algorithm, life.state(now).value, keys.about(life, now))
        for life in reversed(keys.every_key())
    ]


def _search(part: str, after: str | None) -> Sequence[User]:
    """The users of a page, and one more if there is one."""
    query = select(User).order_by(User.id.desc()).limit(USERS_SHOWN + 1)
    if sought := addresses.fold_part(part):
        query = query.where(User.email_key.contains(sought, autoescape=True))
    if after is not None:
        last = users.by_public_id(after)
        query = query.where(User.id < (last.id if last else 0))
    return db.session.scalars(query).all()


def _sign_ins_on(day: date) -> SignIns:
    counted = audit.count_on(day, [Event.LOGIN_SUCCEEDED, Event.LOGIN_FAILED])
    return SignIns(day, counted.get(Event.LOGIN_SUCCEEDED, 0), counted.get(Event.LOGIN_FAILED, 0))


def _live_sessions(user_ids: Sequence[int], now: datetime) -> dict[int, int]:
    query = select(LoginSession.user_id, func.count()).join(LoginSession.user)
    query = query.where(sessions.IS_LIVE, LoginSession.user_id.in_(user_ids))
    rows = db.session.execute(query.group_by(LoginSession.user_id), sessions.limits(now))
    return {row[0]: row[1] for row in rows}


def _find(public_id: str) -> User:
    user = users.by_public_id(public_id)
    if user is None:
        raise NotFound("There is no such user, or no longer.")
    return user
