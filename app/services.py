"""Services: who takes the tokens of users, and machines that get tokens of their own.

A service has a name, which is the audience of tokens for it, and declares scopes. A
machine client is a service with a secret that may use scopes which others declare.
Secrets hold 256 random bits and are kept as hashes. Each process knows the services
that tokens are for, and looks at the table again every half minute; who has which
secret is asked of the table each time.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flask import current_app
from sqlalchemy import BigInteger, Integer, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from app import audit, users
from app.audit import Event
from app.client import Client
from app.db import FAILURES, Base, db, on_commit, reach, read_now, transaction, utcnow
from app.errors import InvalidClient, ValidationFailed
from app.ids import digest, new_id, new_secret

REREAD: Final = timedelta(seconds=30)
OWN_SCOPES: Final = frozenset({users.ACCOUNT, users.ADMIN})
"""Scopes of the login service itself, which no other may declare or use."""

_NOBODYS_HASH: Final = "0" * 64

_log = logging.getLogger("foxtrot.app")


class Service(Base):
    """A service by its name. `public_id` is a machine's `client_id` and `sub`; never reused.

    `declared_scopes` are those that its own routes ask for, `granted_scopes` those that
    it may use at others, with tokens of its own.
    """

    __tablename__ = "services"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own name and type

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True
    )
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(unique=True)
    declared_scopes: Mapped[str]
    granted_scopes: Mapped[str]
    secret_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    def __repr__(self) -> str:
        return f"<Service {self.public_id} {self.name}>"

    @property
    def declares(self) -> frozenset[str]:
        """The scopes that its routes ask for."""
        return frozenset(self.declared_scopes.split())

    @property
    def may(self) -> frozenset[str]:
        """The scopes that it may use at other services."""
        return frozenset(self.granted_scopes.split())


@dataclass(frozen=True)
class Audience:
    """A service that tokens may be for, and the scopes that it declares."""

    name: str
    scopes: frozenset[str]


class Directory:
    """The services of one app that tokens may be for, read from the table now and then."""

    def __init__(self) -> None:
        self._known: tuple[Audience, ...] = ()
        self._read_at: datetime | None = None
        self._changes = 0

    def audiences(
        self, wanted: Collection[str] = (), now: datetime | None = None
    ) -> tuple[Audience, ...]:
        """All of them, oldest first; read anew where one is wanted that is not known."""
        now = now or utcnow()
        if not self._is_fresh(now) or not {one.name for one in self._known}.issuperset(wanted):
            self._look_again(now)
        return self._known

    def forget(self) -> None:
        """Read anew at the next question: the table has changed."""
        self._changes += 1
        self._read_at = None

    def _is_fresh(self, now: datetime) -> bool:
        return self._read_at is not None and abs(now - self._read_at) < REREAD

    def _look_again(self, now: datetime) -> None:
        changes = self._changes
        try:
            if self._read_at is not None:
                reach(1)
            self._known = _read_audiences()
        except FAILURES:
            if self._read_at is None:
                raise
            _log.warning("The services cannot be read now; those known are used.")
        if changes == self._changes:  # else what was read may be older than the change
            self._read_at = now


_ENABLED: Final = select(Service.id).where(Service.disabled_at.is_(None)).order_by(Service.id)
_AUDIENCES: Final = (
    select(Service.name, Service.declared_scopes, Service.granted_scopes)
    .where(Service.disabled_at.is_(None))
    .order_by(Service.id)
)


def _read_audiences() -> tuple[Audience, ...]:
    """Those that are called: who only calls others declares nothing, and is nobody's audience."""
    return tuple(
        Audience(row.name, frozenset(row.declared_scopes.split()))
        for row in read_now(_AUDIENCES)
        if (row.declared_scopes or not row.granted_scopes) and not _is_reserved(row.name)
    )


def open_to(held: Collection[str], wanted: Collection[str] = ()) -> list[Audience]:
    """The services that whoever holds these scopes may call.

    One that declares no scope is for everybody, another for those who hold at least one of its.
    """
    audiences = _directory().audiences(wanted)
    return [one for one in audiences if not one.scopes or not one.scopes.isdisjoint(held)]


def enabled_numbers() -> Sequence[int]:
    """The `id` of each service that is not disabled, in order; one is never given twice."""
    return [row.id for row in read_now(_ENABLED)]


def knows(name: str) -> bool:
    """Say whether tokens may be for a service of this name."""
    return any(one.name == name for one in _directory().audiences([name]))


def declared_by(names: Collection[str] | None = None) -> frozenset[str]:
    """The scopes that these services declare; without names, those of all."""
    audiences = _directory().audiences()
    return frozenset().union(
        *(one.scopes for one in audiences if names is None or one.name in names)
    )


def add(
    name: str,
    client: Client,
    *,
    scopes: Iterable[str] = (),
    may: Iterable[str] = (),
    with_secret: bool = False,
    now: datetime | None = None,
) -> tuple[Service, str | None]:
    """Register a service, and give the secret that it gets: it is not to be had again.

    :param scopes: those that its routes ask for.
    :param may: those of other services that it may use; needs a secret, so it gets one.
    :raises ValidationFailed: name or scopes are not acceptable, or the name is taken.
    """
    _refuse_bad_name(name)
    now, secret = now or utcnow(), new_secret() if with_secret or may else None
    service = Service(
        public_id=new_id("s"),
        name=name,
        declared_scopes=_checked_scopes(scopes),
        granted_scopes=_checked_grant(may),
        secret_hash=digest(secret) if secret else None,
        created_at=now,
    )
    try:
        with transaction():
            db.session.add(service)
            db.session.flush()
            _record(Event.SERVICE_ADDED, service, client, now)
    except IntegrityError:
        raise ValidationFailed({"name": [f"There is a service {name} already."]}) from None
    return service, secret


def set_scopes(service: Service, scopes: Iterable[str], client: Client) -> None:
    """Replace the scopes that a service declares.

    :raises ValidationFailed: one is not acceptable.
    """
    checked = _checked_scopes(scopes)
    with transaction():
        service.declared_scopes = checked
        _record(Event.SERVICE_CHANGED, service, client)


def set_may(service: Service, scopes: Iterable[str], client: Client) -> None:
    """Replace the scopes that a service may use at others.

    :raises ValidationFailed: one is not acceptable, or no service declares it.
    """
    checked = _checked_grant(scopes)
    with transaction():
        service.granted_scopes = checked
        _record(Event.SERVICE_CHANGED, service, client)


def renew_secret(service: Service, client: Client) -> str:
    """Give a service a new secret; the old one is refused from then on."""
    secret = new_secret()
    with transaction():
        service.secret_hash = digest(secret)
        _record(Event.SERVICE_SECRET_MADE, service, client)
    return secret


def disable(service: Service, client: Client, now: datetime | None = None) -> None:
    """Take a service out, until `enable`: no token is for it, and its secret is refused."""
    with transaction():
        if service.disabled_at is None:
            service.disabled_at = now or utcnow()
            _record(Event.SERVICE_DISABLED, service, client, now)


def enable(service: Service, client: Client) -> None:
    """Take a disabled service in again."""
    with transaction():
        if service.disabled_at is not None:
            service.disabled_at = None
            _record(Event.SERVICE_ENABLED, service, client)


def remove(service: Service, client: Client) -> None:
    """Remove a service. Its id is never given again, its name may be."""
    with transaction():
        _record(Event.SERVICE_REMOVED, service, client)
        db.session.delete(service)


def authenticate(
    client_id: str, secret: str, client: Client, now: datetime | None = None
) -> Service:
    """Find out which service shows this secret (RFC 6749 section 2.3.1).

    Does the same and raises the same for an unknown one, a wrong secret and a disabled one.

    :raises InvalidClient: it is nobody's.
    """
    service = by_public_id(client_id)
    stored = (service.secret_hash if service else None) or _NOBODYS_HASH
    is_right = hmac.compare_digest(digest(secret), stored)
    if service is None or not is_right or service.disabled_at or _is_reserved(service.name):
        known = service.public_id if service else None
        audit.record(Event.CLIENT_REFUSED, client, service=known, now=now)
        raise InvalidClient
    return service


def by_name(name: str) -> Service | None:
    """Find a service by its name."""
    return db.session.scalar(select(Service).where(Service.name == name))


def by_public_id(public_id: str) -> Service | None:
    """Find a service by the id that tokens carry. Whatever the text, one query is made."""
    sought = public_id if public_id.isascii() and "\0" not in public_id else ""
    return db.session.scalar(select(Service).where(Service.public_id == sought))


def everyone() -> Sequence[Service]:
    """All services, in the order in which they were added."""
    return db.session.scalars(select(Service).order_by(Service.id)).all()


def _record(event: Event, service: Service, client: Client, now: datetime | None = None) -> None:
    """Write down a change, and have this process see it as soon as it is on the disk."""
    audit.record(event, client, service=service.public_id, now=now)
    on_commit(_directory().forget)


def _directory() -> Directory:
    directory: Directory = current_app.extensions["foxtrot_services"]
    return directory


def _is_reserved(name: str) -> bool:
    return bool(name == current_app.config["ISSUER"])


def _refuse_bad_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,100}", name):
        said = "A name is up to 100 letters, digits and . _ : / -, such as notes."
        raise ValidationFailed({"name": [said]})
    if _is_reserved(name):
        raise ValidationFailed({"name": ["This is the name of the login service itself."]})


def _checked_scopes(scopes: Iterable[str]) -> str:
    """Scopes as they are kept.

    :raises ValidationFailed: one is not acceptable.
    """
    chosen = sorted(set(scopes))
    for scope in chosen:
        if not users.is_scope(scope):
            said = f"{scope!r} is not a scope: no spaces, quotes or backslashes."
            raise ValidationFailed({"scope": [said]})
        if scope in OWN_SCOPES:
            raise ValidationFailed({"scope": [f"{scope} belongs to the login service itself."]})
    return " ".join(chosen)


def _checked_grant(scopes: Iterable[str]) -> str:
    """Scopes of other services as they are kept.

    :raises ValidationFailed: no service declares one.
    """
    checked = _checked_scopes(scopes)
    declared = frozenset().union(*(service.declares for service in everyone()))
    if unknown := sorted(set(checked.split()) - declared):
        said = (
            f"No service declares {' '.join(unknown)}. Declared are:"
            f" {' '.join(sorted(declared)) or 'none'}."
        )
        raise ValidationFailed({"may": [said]})
    return checked
