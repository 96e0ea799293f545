"""Services: who takes the tokens of users, and machines that get tokens of their own.

A service has a name, which is the audience of tokens for it, and declares scopes. A
machine client is a service with a secret that may use scopes which others declare.
`table` has the rows, `directory` what a process knows of who may be called, `register`
what the operator changes, `credentials` whose secret it is.
"""

from __future__ import annotations

from app.services.credentials import authenticate
from app.services.directory import REREAD, Audience, Directory, declared_by, knows, open_to
from app.services.register import (
    add,
    disable,
    enable,
    remove,
    renew_secret,
    set_may,
    set_scopes,
)
from app.services.table import (
    OWN_SCOPES,
    Service,
    by_name,
    by_public_id,
    enabled_numbers,
    everyone,
)

__all__ = [
    "OWN_SCOPES",
    "REREAD",
    "Audience",
    "Directory",
    "Service",
    "add",
    "authenticate",
    "by_name",
    "by_public_id",
    "declared_by",
    "disable",
    "enable",
    "enabled_numbers",
    "everyone",
    "knows",
    "open_to",
    "remove",
    "renew_secret",
    "set_may",
    "set_scopes",
]
