"""Status lists: which sessions have ended, published for the services.

Each session has a place in a Token Status List (draft-ietf-oauth-status-list), by its
number: 2^20 sessions a list. A session that ended stays in it for as long as a token of
it may live, also when its row is gone or was lost with a restored backup; its number is
never given again. Machines have a list of their own, in which those have ended that were
removed or are disabled. Who signs the lists is `tokens`.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, Literal

from flask import current_app
from sqlalchemy import (
    BigInteger,
    Index,
    and_,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from app import services, sessions
from app.batches import repeated, walked
from app.db import FAILURES, Base, db, reach, read_now, transaction, utcnow
from app.errors import NotFound
from app.services import Service
from app.sessions import LoginSession, Snapshot
from app.users import User
from foxtrot.claims import MAX_LIFETIME
from foxtrot.status_list import StatusList

Name = int | Literal["machines"]

MACHINES: Final = "machines"
SIZE: Final = 2**20
TTL: Final = timedelta(seconds=10)
LIFETIME: Final = timedelta(days=1)
BUILD_EVERY: Final = timedelta(seconds=1)
SIGN_EVERY: Final = timedelta(hours=1)
RETRY: Final = timedelta(seconds=5)
REACH_SECONDS: Final = 1

KEEP: Final = timedelta(seconds=MAX_LIFETIME) + timedelta(minutes=2)
"""For how long after its end a session stays in its list.

No token may live longer, whatever the setting was when it was signed; a minute for the
leeway of verifiers, and one for clocks of machines that disagree.
"""

GONE_AFTER: Final = KEEP + timedelta(hours=1)
"""How long after its end the row of a session is deleted: no list has it any more."""

_log = logging.getLogger("foxtrot.app")


class EndedRange(Base):
    """Numbers of sessions that have ended and are no rows any more, the last one included."""

    __tablename__ = "ended_ranges"

    first_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[datetime]


Index(
    "ix_login_sessions_ended_at",
    LoginSession.ended_at,
    sqlite_where=LoginSession.ended_at.is_not(None),
    postgresql_where=LoginSession.ended_at.is_not(None),
)


@dataclass(frozen=True)
class Published:
    """A signed list, and the tag by which to ask whether it has changed."""

    token: str
    etag: str
    looked_at: datetime


def place_of(session: LoginSession | Snapshot) -> dict[str, Any]:
    """The claim `status` of a session's tokens (section 6.2)."""
    return {"status_list": {"idx": session.id % SIZE, "uri": _uri(session.id // SIZE)}}


def place_of_machine(service: Service) -> dict[str, Any]:
    """The claim `status` of the tokens that a machine gets in its own name."""
    return {"status_list": {"idx": service.id, "uri": _uri(MACHINES)}}


def keep(user: User, now: datetime | None = None) -> None:
    """Before a user is deleted, with every session of theirs, keep the sessions ended."""
    now = now or utcnow()
    matters = or_(LoginSession.ended_at.is_(None), LoginSession.ended_at > now - KEEP)
    ended_at = literal(now, EndedRange.ended_at.type)
    rows = select(LoginSession.id, LoginSession.id, ended_at)
    rows = rows.where(LoginSession.user_id == user.id, matters)
    with transaction():
        db.session.execute(
            insert(EndedRange).from_select(["first_id", "last_id", "ended_at"], rows)
        )


def skip_ahead(now: datetime | None = None) -> None:
    """After a backup was restored, never give a number that was given since it was made.

    How many there were is not known, so at least as many are left out as a list has. They and
    all before them have ended.
    """
    now = now or utcnow()
    with transaction():
        last = (_last_number() // SIZE + 2) * SIZE - 1
        db.session.execute(delete(EndedRange).where(EndedRange.last_id <= last))
        db.session.add(EndedRange(first_id=0, last_id=last, ended_at=now))
        _go_on_after(last)


def prune_sessions(now: datetime, limit: int) -> Iterator[int]:
    """Delete the rows of sessions that ended, or ran out, so long ago that no list has them."""
    at = now - GONE_AFTER
    ended = LoginSession.ended_at <= at
    yield from repeated(LoginSession.id, ended, limit, order_by=LoginSession.ended_at)
    limits = sessions.limits(at)
    unused = LoginSession.last_seen_at <= limits["used_after"]
    ran_out = or_(unused, LoginSession.created_at <= limits["begun_after"])
    may_have = LoginSession.created_at <= max(limits.values())
    yield from walked(LoginSession.id, ran_out, may_have, limit)


def prune_ranges(now: datetime, limit: int) -> Iterator[int]:
    """Forget the numbers of sessions without a row once no list has them."""
    yield from repeated(EndedRange.first_id, EndedRange.ended_at <= now - GONE_AFTER, limit)


def published(name: Name, now: datetime | None = None) -> Published:
    """The list of that number, or of the machines, as the services get it.

    :raises NotFound: no session has a place in it.
    """
    publisher: Publisher = current_app.extensions["foxtrot_status_lists"]
    return publisher.get(name, now or utcnow())


class Publisher:
    """Builds and signs the lists of one app, each once a second at most, if anybody asks.

    :param key_name: names the key that signs now; a list is signed anew when it changes.
    :param sign: signs the claims of a list.

    While the database does not answer, the last good list is given.
    """

    def __init__(
        self, key_name: Callable[[], str], sign: Callable[[Mapping[str, Any]], str]
    ) -> None:
        self._key_name = key_name
        self._sign = sign
        self._lock = threading.Lock()
        self._lists: dict[Name, Published] = {}

    def get(self, name: Name, now: datetime) -> Published:
        """Give a list that is a second old at most, or the last good one.

        :raises NotFound: no session has a place in it.
        """
        held = self._lists.get(name)
        if held is not None and _is_recent(held, now):
            return held
        patience = -1 if held is None else REACH_SECONDS
        if not self._lock.acquire(timeout=patience) and held is not None:
            return held  # the database takes its time
        try:  # who comes while it is being built gets the new one
            held = self._lists.get(name)
            if held is None or not _is_recent(held, now):
                held = self._lists[name] = self._look(name, held, now)
            return held
        finally:
            self._lock.release()

    def _look(self, name: Name, held: Published | None, now: datetime) -> Published:
        try:
            if held is not None:
                reach(REACH_SECONDS)
            if isinstance(name, str):
                statuses = _read_machines()
            else:
                statuses = _read(name, now, must_exist=held is None)
        except FAILURES:
            if held is None:
                raise
            _log.warning("The ended sessions cannot be read now; the last list is given.")
            return replace(held, looked_at=now + RETRY)
        etag = self._etag(statuses, now)
        if held is not None and held.etag == etag and not _may_go_back(name):
            return replace(held, looked_at=now)
        return Published(self._sign(_claims(name, statuses, now)), etag, now)

    def _etag(self, statuses: StatusList, now: datetime) -> str:
        """The same in every worker, for the same content; another one every hour."""
        hour = int(now.timestamp() // SIGN_EVERY.total_seconds())
        of_all = hashlib.sha256(statuses.data)
        of_all.update(f"{self._key_name()} {hour}".encode())
        return of_all.hexdigest()[:32]


def _may_go_back(name: Name) -> bool:
    """Say whether a list may become what it was: a machine that was taken out comes in again.

    Its old token would then be older than what another worker gave meanwhile, and be refused.
    """
    return name == MACHINES


def _is_recent(held: Published, now: datetime) -> bool:
    return -2 * RETRY < now - held.looked_at < BUILD_EVERY


def _claims(name: Name, statuses: StatusList, now: datetime) -> dict[str, Any]:
    """Section 5.1."""
    issued_at = int(now.timestamp())
    return {
        "iss": current_app.config["ISSUER"],
        "sub": _uri(name),
        "iat": issued_at,
        "exp": issued_at + int(LIFETIME.total_seconds()),
        "ttl": int(TTL.total_seconds()),
        "status_list": statuses.encode(level=6),
    }


def _uri(name: Name) -> str:
    return f"{current_app.config['ISSUER']}/status-lists/{name}"


def _read_machines() -> StatusList:
    """Whoever was removed or is disabled has ended.

    So has, on PostgreSQL, who is being added at this very moment: the number is given, the row not
    committed. The next list knows better.
    """
    last = _last_machine()  # first: who is added meanwhile lies beyond it, and has not ended
    enabled = [number for number in services.enabled_numbers() if number <= last]
    limits = [-1, *enabled, last + 1]
    gaps = ((before + 1, after - 1) for before, after in pairwise(limits) if after - before > 1)
    return StatusList.of((), SIZE, gaps)


def _read(number: int, now: datetime, *, must_exist: bool) -> StatusList:
    """Find out who of a list has ended; rows of sessions that live are not looked at."""
    first = number * SIZE
    with Session(db.engine) as own_session:
        if must_exist and number > _last_given(own_session) // SIZE:
            raise NotFound("There is no status list of this number.")
        ranges = own_session.execute(_ranges(first, now)).all()
        within = [(max(low - first, 0), min(high - first, SIZE - 1)) for low, high in ranges]
        if (0, SIZE - 1) in within:
            return StatusList(1, b"\xff" * (SIZE // 8))
        ended: Sequence[int] = own_session.scalars(_sessions(number, now)).all()
    return StatusList.of((number - first for number in ended), SIZE, within)


def _ranges(first: int, now: datetime) -> Any:
    overlaps = and_(EndedRange.last_id >= first, EndedRange.first_id < first + SIZE)
    wanted = select(EndedRange.first_id, EndedRange.last_id)
    return wanted.where(overlaps, EndedRange.ended_at > now - KEEP)


def _sessions(number: int, now: datetime) -> Any:
    # Not "between": SQLite would then go through all of them, instead of those that ended lately.
    within = LoginSession.id // SIZE == number
    return select(LoginSession.id).where(LoginSession.ended_at > now - KEEP, within)


def _last_given(session: Session) -> int:
    """The highest number of a session that is or was, as far as that matters still."""
    numbers = [
        session.scalar(select(func.max(LoginSession.id))),
        session.scalar(select(func.max(EndedRange.last_id))),
    ]
    return max(number or 0 for number in numbers)


def _last_number() -> int:
    """The last number that the database gave, inside a transaction."""
    if db.engine.dialect.name == "sqlite":
        query = text("SELECT seq FROM sqlite_sequence WHERE name = 'login_sessions'")
        return int(db.session.scalar(query) or 0)
    return int(db.session.scalar(text(f"SELECT nextval({_SEQUENCE})")))


def _go_on_after(number: int) -> None:
    """Have the database give higher numbers only."""
    if db.engine.dialect.name == "sqlite":
        db.session.execute(text("DELETE FROM sqlite_sequence WHERE name = 'login_sessions'"))
        new = text("INSERT INTO sqlite_sequence (name, seq) VALUES ('login_sessions', :seq)")
        db.session.execute(new, {"seq": number})
    else:
        db.session.execute(text(f"SELECT setval({_SEQUENCE}, :seq)"), {"seq": number})


def _last_machine() -> int:
    """The last number that the database gave to a service, removed or not."""
    if db.engine.dialect.name == "sqlite":
        query = text("SELECT seq FROM sqlite_sequence WHERE name = 'services'")
    else:
        of_services = "pg_get_serial_sequence('services', 'id')::regclass"
        query = text(f"SELECT pg_sequence_last_value({of_services})")
    return max((row[0] or 0 for row in read_now(query)), default=0)


_SEQUENCE: Final = "pg_get_serial_sequence('login_sessions', 'id')"
