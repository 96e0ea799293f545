"""What changes the state of keys by itself: the start of the service, and the upkeep.

Every change is one transaction in its turn, and finds out there whether somebody else was first:
any number of workers may do the same at once. The change of the signing key itself is
one conditional UPDATE, `hand_over`. The rules are those of `life`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, case, literal, or_, update

from app import audit
from app.audit import Event
from app.client import Client, service
from app.db import UtcTime, db, row_count, transaction, turn, utcnow
from app.errors import KeyRefused
from app.keys.life import HS256, KNOWN_AFTER, SHARED_SECRET, SWITCH, Life, Policy
from app.keys.table import (
    SigningKey,
    in_use,
    make_key,
    make_shared_secret_row,
    open_private_key,
    timetable,
)
from app.secret_key import SecretKey

TURN: Final = "signing keys"


def start(
    policy: Policy, secret_key: SecretKey, now: datetime | None = None, *, serves: bool = True
) -> None:
    """Make the first key, and prove that all stored ones can be opened.

    :param serves: whether this process signs by *policy*, and so may begin to move to another
        algorithm. A command that runs beside the service must not.
    :raises StartRefused: a stored key was encrypted with another secret.
    """
    now = now or utcnow()
    with transaction():
        turn(TURN)
        for row in in_use():
            if row.algorithm != HS256:
                open_private_key(row.kid, row.algorithm, row.private_key, secret_key)
        if not timetable().keys:
            _make_first(policy, secret_key, now)
        elif serves:
            _move(policy, secret_key, now)
    if serves or timetable().stand_by() is None:
        tend(policy, secret_key, now)


def _make_first(policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    """The very first key signs at once: nobody has any other."""
    first = make_key(policy.key_algorithm, secret_key, now)
    first.signs_from = now
    add(first, policy)
    if policy.algorithm == HS256:
        add(make_shared_secret_row(now), policy)


def _move(policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    """Begin to sign as the settings say, if the last in line does not; each once it may."""
    table = timetable()
    last, when = table.last, now
    if last is not None and last.algorithm != policy.key_algorithm:
        new = table.stand_by(policy.key_algorithm)
        new = new or add(make_key(policy.key_algorithm, secret_key, now), policy)
        when = max(now + SWITCH, new.may_sign_from, last.signs_from or now)
        hand_over(last, new, when, service(), now)
    is_shared = table.secret is not None and table.secret.signs_until is None
    if policy.algorithm == HS256 and not is_shared:
        _share_secret(policy, now)
    elif policy.algorithm != HS256 and is_shared:
        _stop_sharing(max(when, now + KNOWN_AFTER), now)


def _share_secret(policy: Policy, now: datetime) -> None:
    """Sign with the shared secret at once: services that know it need not wait for anything."""
    again = {"signs_from": now, "signs_until": None, "retired_at": None}
    if not row_count(update(SigningKey).where(is_key(SHARED_SECRET)).values(again)):
        add(make_shared_secret_row(now), policy)
    audit.record(Event.KEY_ROTATED, service(), reason=SHARED_SECRET, now=now)


def _stop_sharing(when: datetime, now: datetime) -> None:
    """Show the keys from now on, and sign with them once every service can know them."""
    shared = and_(is_key(SHARED_SECRET), SigningKey.signs_until.is_(None))
    if row_count(update(SigningKey).where(shared).values(signs_until=when)):
        audit.record(Event.KEY_ROTATED, service(), reason="no-shared-secret", now=now)


def tend(policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    """Do what is due: a stand-by, the rotation by age, the end of what is over."""
    for _ in range(2):  # the rotation uses the stand-by up
        if not timetable().is_due(policy, now):
            return
        _tend_once(policy, secret_key, now)


def _tend_once(policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    algorithm = _missing_stand_by()
    spare = make_key(algorithm, secret_key, now) if algorithm else None  # nobody waits for this
    with transaction():
        turn(TURN)
        if spare is not None and _missing_stand_by() == spare.algorithm:
            add(spare, policy)
        table = timetable()
        for life in table.too_short(policy, now):
            set_times(life.kid, lifetime=int(policy.lifetime.total_seconds()))
        for life in [*table.over(now), *table.misfits(now)]:
            take_out(life, now)
        last, waiting = table.last, table.stand_by()
        if table.aged(policy, now) and last and waiting:
            hand_over(last, waiting, now + SWITCH, service(), now)


def _missing_stand_by() -> str | None:
    """The algorithm of a stand-by, where there is none."""
    table = timetable()
    return table.newcomer_algorithm if table.stand_by() is None else None


def hand_over(old: Life, new: Life, when: datetime, client: Client, now: datetime) -> None:
    """Name the successor of a key, in one conditional UPDATE of both rows.

    :raises KeyRefused: somebody else has done it meanwhile.
    """
    moment = literal(when, UtcTime())
    ends = and_(is_key(old.kid), SigningKey.signs_until.is_(None))
    begins = and_(is_key(new.kid), SigningKey.signs_from.is_(None))
    change = (
        update(SigningKey)
        .where(or_(ends, begins))
        .values(
            signs_until=case((is_key(old.kid), moment), else_=SigningKey.signs_until),
            signs_from=case((is_key(new.kid), moment), else_=SigningKey.signs_from),
        )
    )
    if row_count(change) != 2:
        raise KeyRefused("Another process has changed the keys just now. See: flask keys list")
    audit.record(Event.KEY_ROTATED, client, reason=new.kid, now=now)


def take_out(life: Life, now: datetime) -> None:
    """Retire a key, and destroy its private half."""
    set_times(life.kid, retired_at=now, private_key=b"")


def add(row: SigningKey, policy: Policy) -> Life:
    """Store a key; what it may sign may live as long as what any other may sign."""
    longest = max([policy.lifetime, *(life.lifetime for life in timetable().keys)])
    row.lifetime = int(longest.total_seconds())
    db.session.add(row)
    db.session.flush()
    return row.life


def set_times(kid: str, **values: object) -> None:
    """Write columns of a row."""
    row_count(update(SigningKey).where(is_key(kid)).values(values))


def is_key(kid: str) -> ColumnElement[bool]:
    """The condition for the row of that name."""
    return SigningKey.kid == kid
