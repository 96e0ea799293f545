"""Whose secret it is. The table is asked each time."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

from app import audit
from app.audit import Event
from app.client import Client
from app.errors import InvalidClient
from app.ids import digest
from app.services.table import Service, by_public_id, is_reserved

_NOBODYS_HASH: Final = "0" * 64


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
    if service is None or not is_right or service.disabled_at or is_reserved(service.name):
        known = service.public_id if service else None
        audit.record(Event.CLIENT_REFUSED, client, service=known, now=now)
        raise InvalidClient
    return service
