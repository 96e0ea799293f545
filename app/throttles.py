"""Throttles: which limits there are, what each counts, and what is written when one is reached.

Tries of a password are counted before they are judged, because judging is what costs; a right
one gives back what it took, and has its account begin anew. Of refresh tokens, one-time links
and the secrets of services only those that are refused are counted: nobody guesses 256 random
bits, and who holds a good one is never kept waiting. Accounts and addresses stand in counters
as keyed hashes only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final, NamedTuple

from flask import current_app

from app import addresses, audit, devices
from app.audit import Event
from app.client import Client
from app.db import from_microseconds, release, to_microseconds, utcnow
from app.errors import AppError, InvalidClient, NotFound, TooManyAttempts
from app.ratelimit import Counter, Rate, Store, database
from app.secret_key import SecretKey

PURPOSE: Final = "limits v1"

ACCOUNT: Final = "login.account"
ADDRESS: Final = "login.address"
BOTH: Final = "login.account_and_address"
DEVICE: Final = "login.device"
REGISTRATION: Final = "registration"
LINKS: Final = "links"
REFRESH: Final = "refresh"
CLIENTS: Final = "clients"

_SETTINGS: Final = {
    ACCOUNT: "FOXTROT_LIMIT_LOGIN_ACCOUNT",
    ADDRESS: "FOXTROT_LIMIT_LOGIN_ADDRESS",
    BOTH: "FOXTROT_LIMIT_LOGIN_ACCOUNT_AND_ADDRESS",
    DEVICE: "FOXTROT_LIMIT_LOGIN_DEVICE",
    REGISTRATION: "FOXTROT_LIMIT_REGISTRATION",
    LINKS: "FOXTROT_LIMIT_LINKS",
    REFRESH: "FOXTROT_LIMIT_REFRESH",
    CLIENTS: "FOXTROT_LIMIT_CLIENTS",
}


class Account(NamedTuple):
    """Whose password somebody tries: the address as it was typed, and the user, if it is one's.

    The counters of a user begin anew with another password, and when the operator says so.
    """

    typed: str
    user: str | None = None
    password_changed_at: datetime | None = None
    unlocked_at: datetime | None = None

    @property
    def subject(self) -> str:
        """What tells this account from all others, however its address is spelled."""
        moments = [one for one in (self.password_changed_at, self.unlocked_at) if one]
        since = to_microseconds(max(moments)) if moments else 0
        return f"{addresses.fold(self.typed) or self.typed}\0{since}"


class _Count(NamedTuple):
    """One try that is to be counted: by which limit, and over what."""

    limit: str
    subject: str


@contextmanager
def password_try(
    account: Account, client: Client, *, session: str | None = None, now: datetime | None = None
) -> Iterator[None]:
    """Count a try of a password, judged in the block, unless it turns out right.

    From a known device it is counted there alone, and with a session of the user in that session:
    so nobody who guesses can use up what the owner has.

    :param session: the public id of the session in which somebody is asked for their password.
    :raises TooManyAttempts: a limit is reached; the block is not entered.
    """
    now = now or utcnow()
    own = session or _known_device(account, client, now)
    counts = _counts_of_password(account, client, own)
    taken = _take(counts, account, client, now)
    with _given_back_on_failure(list(taken), now):
        yield
    shared = [counter for counter, count in taken.items() if count.limit == ADDRESS]
    _store().settle(now, give_back=shared, forget=_all_of(account, client, own))


@contextmanager
def registration(client: Client, now: datetime | None = None) -> Iterator[None]:
    """Count an attempt to make an account, whatever comes of it.

    :raises TooManyAttempts: there were too many from this address.
    """
    now = now or utcnow()
    taken = _take([_Count(REGISTRATION, client.network)], None, client, now)
    with _given_back_on_failure(list(taken), now):
        yield


@contextmanager
def counted_refusals(limit: str, client: Client, now: datetime | None = None) -> Iterator[None]:
    """Count the secret that is judged in the block, if it is refused; see `count_refusal`."""
    try:
        yield
    except (InvalidClient, NotFound):
        count_refusal(limit, client, now)
        raise


def count_refusal(limit: str, client: Client, now: datetime | None = None) -> None:
    """Count a secret that was refused, by the address that it came from.

    :param limit: `LINKS`, `REFRESH` or `CLIENTS`.
    :raises TooManyAttempts: there were too many; to be answered instead of the refusal.
    """
    _take([_Count(limit, client.network)], None, client, now or utcnow())


def count_garbage(limit: str, client: Client, now: datetime) -> None:
    """Count what was refused without asking anybody, likewise, in this process alone.

    :raises TooManyAttempts: there was too much; nothing is written of it.
    """
    counters = _counters(_Count(limit, client.network))
    store: Store = current_app.extensions["foxtrot_own_limits"]
    if (refusal := store.take(counters, now)) is not None:
        raise TooManyAttempts.until(refusal.seconds)


def prune(now: datetime, limit: int) -> Iterator[int]:
    """Remove counters that are empty, so many a step; gives how many each time."""
    return database.prune(now, limit)


@contextmanager
def _given_back_on_failure(taken: Sequence[Counter], now: datetime) -> Iterator[None]:
    """Count nothing where it is us who cannot answer: nobody learned anything."""
    try:
        yield
    except AppError as refusal:
        if refusal.status >= 500:
            _store().settle(now, give_back=taken)
        raise
    except Exception:
        _store().settle(now, give_back=taken)
        raise


def _known_device(account: Account, client: Client, now: datetime) -> str | None:
    """Its name, at the same cost for nobody, of whom no device is known."""
    since = account.password_changed_at or from_microseconds(0)
    return devices.recognise(client.device_mark, account.user or "", since, now)


def _counts_of_password(account: Account, client: Client, own: str | None) -> list[_Count]:
    if own is not None:
        return [_Count(DEVICE, f"{account.subject}\0{own}")]
    return [
        _Count(ACCOUNT, account.subject),
        _Count(BOTH, f"{account.subject}\0{client.network}"),
        _Count(ADDRESS, client.network),
    ]


def _all_of(account: Account, client: Client, own: str | None) -> list[Counter]:
    """The counters that are to begin anew with a success, also those that this try passed by."""
    counts = _counts_of_password(account, client, None)
    counts += [] if own is None else _counts_of_password(account, client, own)
    return [counter for count in counts if count.limit != ADDRESS for counter in _counters(count)]


def _take(
    counts: Sequence[_Count], account: Account | None, client: Client, now: datetime
) -> Mapping[Counter, _Count]:
    """Count in all or in none.

    :raises TooManyAttempts: one is full.
    """
    counters = {counter: count for count in counts for counter in _counters(count)}
    release()
    refusal = _store().take(list(counters), now)
    if refusal is not None:
        _record(counters[refusal.counter].limit, refusal.counter.rate, account, client, now)
        raise TooManyAttempts.until(refusal.seconds)
    return counters


def _record(limit: str, rate: Rate, account: Account | None, client: Client, now: datetime) -> None:
    """Write down that a limit is reached; once in its time, and not for each that is refused."""
    whom = None if limit == ADDRESS else account
    subject = client.network if whom is None else whom.subject
    once = Counter(_key(f"event {limit}", rate, subject), Rate(1, rate.seconds))
    if _store().take([once], now) is None:
        user = whom.user if whom else None
        typed = addresses.fold(whom.typed) or whom.typed if whom and user is None else None
        audit.record(Event.LIMIT_REACHED, client, user=user, typed=typed, reason=limit, now=now)


def _counters(count: _Count) -> list[Counter]:
    rates = [Rate(*rate) for rate in current_app.config[_SETTINGS[count.limit]]]
    return [Counter(_key(count.limit, rate, count.subject), rate) for rate in rates]


def _key(limit: str, rate: Rate, subject: str) -> str:
    """Tells counters apart, and tells nobody who lacks the secret what they count."""
    secret_key: SecretKey = current_app.extensions["foxtrot_secret_key"]
    content = f"{limit}\0{rate.limit}/{rate.seconds}\0{subject}"
    content_bytes = content.encode("utf-8", "surrogatepass")
    return hmac.digest(secret_key.derive(PURPOSE), content_bytes, hashlib.sha256).hex()[:32]


def _store() -> Store:
    store: Store = current_app.extensions["foxtrot_limits"]
    return store
