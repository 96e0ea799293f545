"""What the operator orders: rotate, retire, remove, encrypt anew.

An order that would break a rule of `life` is refused, with the time from which it would not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete

from app import audit
from app.audit import Event
from app.client import Client
from app.db import db, transaction, turn, utcnow
from app.errors import KeyRefused
from app.keys.life import (
    ELSEWHERE,
    HS256,
    KNOWN_AFTER,
    MAX_PUBLISHED,
    SWITCH,
    Life,
    Policy,
    State,
    Timetable,
)
from app.keys.table import SigningKey, every_key, in_use, make_key, reseal, timetable
from app.keys.upkeep import TURN, add, hand_over, is_key, set_times, take_out, tend
from app.secret_key import SecretKey


def rotate(
    policy: Policy, secret_key: SecretKey, client: Client, now: datetime | None = None
) -> tuple[Life, datetime]:
    """Let the stand-by sign; gives it and the time from which it does.

    :raises KeyRefused: not every verifier can know the stand-by yet, or there are too many keys.
    """
    now = now or utcnow()
    with transaction():
        turn(TURN)
        table = timetable()
        last, waiting = table.last, table.stand_by()
        if last is None or waiting is None:
            raise KeyRefused("There is no stand-by. Start the service, or try again in a moment.")
        _refuse_early_rotation(table, waiting, now)
        when = now + SWITCH
        hand_over(last, waiting, when, client, now)
    _tend(policy, secret_key, now)
    return waiting, when


def _refuse_early_rotation(table: Timetable, waiting: Life, now: datetime) -> None:
    if now < waiting.may_sign_from:
        raise KeyRefused(
            f"The stand-by {waiting.kid} was published at {_time(waiting.created_at)}, and some"
            " verifier may not know it yet.",
            safe_from=waiting.may_sign_from,
        )
    if len(table.published(now)) >= MAX_PUBLISHED:
        ends = [life.may_retire_from for life in table.keys if life.may_retire_from is not None]
        raise KeyRefused(
            f"{MAX_PUBLISHED} keys are published already, and verifiers refuse too large a set.",
            safe_from=min(ends, default=now + SWITCH),
        )


def retire(
    kid: str,
    policy: Policy,
    secret_key: SecretKey,
    client: Client,
    now: datetime | None = None,
) -> None:
    """Take a key out of the JWK Set and destroy its private half; its row stays.

    :raises KeyRefused: it signs, will sign, or a token that it signed may be valid.
    """
    now = now or utcnow()
    with transaction():
        turn(TURN)
        life = _find(kid)
        _refuse_what_breaks(life, now)
        if life.retired_at is None:
            take_out(life, now)
            audit.record(Event.KEY_RETIRED, client, reason=kid, now=now)
    _tend(policy, secret_key, now)


@dataclass(frozen=True)
class Removal:
    """What came of a removal.

    :param gone_elsewhere_at: when the last verifier that reaches this service drops it; None if
        no verifier can have had it.
    :param successor: the key that signs instead, where the removed one did.
    :param unknown_until: until when a verifier may not know the successor.
    """

    gone_elsewhere_at: datetime | None = None
    successor: str | None = None
    unknown_until: datetime | None = None


def remove(
    kid: str,
    policy: Policy,
    secret_key: SecretKey,
    client: Client,
    now: datetime | None = None,
    *,
    at_once: bool = False,
) -> Removal:
    """Remove a key and its row.

    :param at_once: in an emergency, whatever good tokens it signed.
    :raises KeyRefused: it is in use, and *at_once* was not said.
    """
    now = now or utcnow()
    with transaction():
        turn(TURN)
        life, table = _find(kid), timetable()
        if not at_once:
            _refuse_what_breaks(life, now)
        was_retired, did_sign = life.state(now) is State.RETIRED, table.signing(now) == life
        db.session.execute(delete(SigningKey).where(is_key(kid)))
        _mend_the_line(life.algorithm, policy, secret_key, now)
        audit.record(Event.KEY_REMOVED, client, reason=kid, now=now)
        signing = timetable().signing(now)
    _tend(policy, secret_key, now)
    if was_retired or not table.shows_keys(now):
        return Removal()
    gone = now + ELSEWHERE
    if not did_sign or signing is None:
        return Removal(gone)
    early = now < signing.may_sign_from and table.shows_keys(now)
    return Removal(gone, signing.kid, signing.may_sign_from if early else None)


def _mend_the_line(algorithm: str, policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    """See to it that a key signs now, after one of *algorithm* was torn out of the line."""
    table = timetable()
    following = table.next(now)
    until = following.signs_from if following else None
    current = next((life for life in table.keys if life.state(now) is State.ACTIVE), None)
    if current is not None:
        if current.signs_until is not None:  # perhaps it was its successor
            set_times(current.kid, signs_until=until)
        return
    waiting = [life for life in table.keys if life.signs_from is None]
    ready = [life for life in waiting if life.may_sign_from <= now]
    if following is not None and (following.may_sign_from <= now or not ready):
        set_times(following.kid, signs_from=now)
    elif ready:
        set_times(ready[0].kid, signs_from=now, signs_until=until)
    else:
        new = waiting[0] if waiting else add(make_key(algorithm, secret_key, now), policy)
        set_times(new.kid, signs_from=now)


def rewrap(secret_key: SecretKey, client: Client, now: datetime | None = None) -> int:
    """Encrypt all private keys with the current secret; gives how many were another's.

    :raises StartRefused: no secret opens one of them.
    """
    with transaction():
        turn(TURN)
        rows = [row for row in in_use() if row.algorithm != HS256]
        count = sum(reseal(row, secret_key) for row in rows)
        if count:
            audit.record(Event.KEYS_REWRAPPED, client, now=now)
    return count


def _find(kid: str) -> Life:
    life = next((life for life in every_key() if life.kid == kid), None)
    if life is None:
        raise KeyRefused(f"There is no key {kid!r}. See: flask keys list")
    if life.algorithm == HS256 and life.may_retire_from is not None:
        raise KeyRefused(
            "The shared secret is a setting: take FOXTROT_SHARED_SECRET away after"
            f" {_time(life.may_retire_from)}."
        )
    if life.algorithm == HS256:
        raise KeyRefused(
            "The shared secret is a setting. Choose another FOXTROT_ALGORITHM to move away from"
            " it; see docs/keys.md."
        )
    return life


def _refuse_what_breaks(life: Life, now: datetime) -> None:
    """Refuse to take away what signs, will sign, or signed something that may be valid.

    :raises KeyRefused: with the time from which it is safe, as far as it is known.
    """
    state = life.state(now)
    if state is State.RETIRING:
        raise KeyRefused(
            f"A token of {life.kid} may be valid still.", safe_from=life.may_retire_from
        )
    if state is State.PUBLISHED and life.signs_from is not None:
        raise KeyRefused(f"{life.kid} signs from {_time(life.signs_from)} on.")
    if state is State.ACTIVE and life.signs_until is not None:
        raise KeyRefused(f"{life.kid} signs.", safe_from=life.may_retire_from)
    if state is State.ACTIVE:
        waiting = timetable().stand_by()
        rotated = max(now, waiting.may_sign_from if waiting else now + KNOWN_AFTER) + SWITCH
        raise KeyRefused(
            f"{life.kid} signs. Replace it first, with `flask keys rotate`. It can be taken away"
            f" once its tokens are over, not before {_time(life.end_of_tokens(rotated))}."
        )


def _tend(policy: Policy, secret_key: SecretKey, now: datetime) -> None:
    """The upkeep, without the rotation by age: that is for the service itself."""
    tend(replace(policy, rotation=None), secret_key, now)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
