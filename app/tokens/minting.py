"""Access tokens are minted here: their claims (RFC 9068), and their signature."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from flask import current_app

from app import sessions, status_lists
from app.db import utcnow
from app.ids import new_id
from app.services import Service
from app.sessions import LoginSession, Snapshot
from app.tokens.scopes import ANYTHING, Wish, for_machine, for_user
from app.tokens.signing import issuer, sign
from app.users import Holder, User

ClaimsHook = Callable[[Mapping[str, Any]], Mapping[str, Any]]

CLIENT_ID: Final = "foxtrot"

RESERVED_CLAIMS: Final = frozenset(
    {
        "iss",
        "sub",
        "uid",
        "aud",
        "iat",
        "nbf",
        "exp",
        "jti",
        "sid",
        "scope",
        "client_id",
        "auth_time",
        "acr",
        "amr",
        "status",
        "cnf",
        "act",
        "may_act",
    }
)

_log = logging.getLogger("foxtrot.app")


@dataclass(frozen=True)
class AccessToken:
    """A minted token and what the answer of RFC 6749 section 5.1 says about it."""

    text: str
    expires_in: int
    scope: str


def mint(
    session: LoginSession | Snapshot,
    wish: Wish = ANYTHING,
    *,
    token_id: str | None = None,
    now: datetime | None = None,
) -> AccessToken:
    """Mint an access token for a session, within what was granted to it.

    :param token_id: its `jti`, where that had to be known before.
    :raises InvalidTarget: an audience is not known here, or was not granted.
    :raises InvalidScope: the user does not hold a scope, it does not fit the audience, or it
        was not granted.
    """
    user = session.user
    audiences, scopes = for_user(user, session.grant, wish)
    about_session = {
        "jti": token_id or new_token_id(),
        "sid": session.public_id,
        "client_id": CLIENT_ID,
        "auth_time": int(session.authenticated_at.timestamp()),
        "status": status_lists.place_of(session),
    }
    claims = {**_custom_claims(user), **about_session}
    until = sessions.runs_until(session.created_at, session.last_seen_at)
    return _mint(user.public_id, audiences, scopes, claims, now or utcnow(), until)


def mint_for_service(
    service: Service, wish: Wish = ANYTHING, now: datetime | None = None
) -> AccessToken:
    """Mint an access token for a machine, in its own name (RFC 6749 section 4.4).

    It is for the services that declare what the machine may use, and carries no other scope.

    :raises InvalidTarget: an audience is not known here, or declares nothing that it may use.
    :raises InvalidScope: it may not use a scope, or the scope does not fit the audience.
    """
    audiences, scopes = for_machine(service, wish)
    claims = {
        "jti": new_token_id(),
        "client_id": service.public_id,
        "status": status_lists.place_of_machine(service),
    }
    return _mint(service.public_id, audiences, scopes, claims, now or utcnow())


def new_token_id() -> str:
    """The `jti` of a token that is about to be minted."""
    return new_id("t")


def _mint(
    subject: str,
    audiences: Sequence[str],
    scopes: frozenset[str],
    further: Mapping[str, Any],
    now: datetime,
    until: datetime | None = None,
) -> AccessToken:
    """Sign what was decided; no token is good for longer than the session behind it (*until*)."""
    issued_at = int(now.timestamp())
    lifetime = current_app.config["FOXTROT_ACCESS_TOKEN_LIFETIME"]
    if until is not None:
        lifetime = max(1, min(lifetime, int(until.timestamp()) - issued_at))
    claims = {
        **further,
        "iss": issuer(),
        "sub": subject,
        "uid": subject,
        "aud": list(audiences),
        "iat": issued_at,
        "nbf": issued_at,
        "exp": issued_at + lifetime,
        "scope": " ".join(sorted(scopes)),
    }
    return AccessToken(sign(claims, audiences, now), lifetime, str(claims["scope"]))


def _custom_claims(user: User | Holder) -> dict[str, Any]:
    """Ask the operator's hook; what it may not set is left out."""
    hook = cast("ClaimsHook | None", current_app.extensions.get("foxtrot_claims_hook"))
    if hook is None:
        return {}
    given = {"id": user.public_id, "email": user.email, "scopes": sorted(user.scopes)}
    custom = dict(hook(given))
    if refused := RESERVED_CLAIMS & custom.keys():
        _log.warning("The claims hook may not set %s", ", ".join(sorted(refused)))
    return {name: value for name, value in custom.items() if name not in RESERVED_CLAIMS}
