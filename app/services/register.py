"""The register: what the operator adds, changes and removes.

Secrets hold 256 random bits and are kept as hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from app import audit, users
from app.audit import Event
from app.client import Client
from app.db import db, on_commit, transaction, utcnow
from app.errors import ValidationFailed
from app.ids import digest, new_id, new_secret
from app.services import directory
from app.services.table import OWN_SCOPES, Service, everyone, is_reserved


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
        said = (
            f"There is a service {name} already. To change its scopes:"
            f" flask services set-scopes {name} SCOPE…"
        )
        raise ValidationFailed({"name": [said]}) from None
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


def _record(event: Event, service: Service, client: Client, now: datetime | None = None) -> None:
    """Write down a change, and have this process see it as soon as it is on the disk."""
    audit.record(event, client, service=service.public_id, now=now)
    on_commit(directory.forget)


def _refuse_bad_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._:/-]{1,100}", name):
        said = "A name is up to 100 letters, digits and . _ : / -, such as notes."
        raise ValidationFailed({"name": [said]})
    if is_reserved(name):
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
