"""Look into an access token, and say in plain words whether a service would refuse it.

For `flask tokens inspect`. The verdict is that of the very verifier that services use, with
this service's keys; but whether the token has ended is asked of the database, as introspection
does, and is known at once.
"""

from __future__ import annotations

import json
import math
from base64 import urlsafe_b64decode
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from app import machines, services, tokens
from app.db import utcnow
from app.machines import Holder
from foxtrot import InvalidToken, Token

_TIMES: Final = ("iat", "nbf", "exp", "auth_time")


@dataclass(frozen=True)
class Report:
    """What a token says, and what a service says to it."""

    header: dict[str, Any] | None
    claims: dict[str, Any] | None
    audience: str
    reasons: tuple[str, ...]
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """The report for programs."""
        return {**asdict(self), "accepted": not self.reasons, "reasons": list(self.reasons)}

    def as_text(self) -> str:
        """The report for people."""
        lines = []
        for title, members in (("Header", self.header), ("Claims", self.claims)):
            lines.append(f"{title}:")
            if members is None:
                lines.append("  cannot be read")
            else:
                lines += [_line(name, value) for name, value in members.items()]
        return "\n".join([*lines, "", self.verdict])


def inspect(text: str, audience: str | None = None) -> Report:
    """Judge a token as the service *audience* would, by default the first one that it is for."""
    header, claims = _peek(text)
    audience = audience or _first_audience(claims)
    try:
        token = machines.verifier_for(audience, Holder(utcnow())).verify(text)
    except InvalidToken as error:
        verdict = f"The service {audience!r} would refuse it ({error.reason}): {error.detail}"
        also = ", ".join(error.reasons[1:])
        verdict += f" It would also be refused for: {also}." if also else ""
        if not _is_known(audience):
            verdict += " The login service knows no service of this name: flask services list"
        return Report(header, claims, audience, error.reasons, verdict)
    return Report(header, claims, audience, (), _praise(token, audience))


def _praise(token: Token, audience: str) -> str:
    until = _moment(token.expires_at)
    return f"The service {audience!r} would accept it for {token.subject}, until {until}."


def _is_known(audience: str) -> bool:
    return audience == tokens.issuer() or audience in {one.name for one in services.everyone()}


def _first_audience(claims: dict[str, Any] | None) -> str:
    named = (claims or {}).get("aud")
    first = named[0] if isinstance(named, list) and named else named
    return first if isinstance(first, str) and first else tokens.issuer()


def _peek(text: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Decode header and claims without believing them."""
    header, _, rest = text.partition(".")
    return _decoded(header), _decoded(rest.partition(".")[0])


def _decoded(segment: str) -> dict[str, Any] | None:
    try:
        text = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        members = json.loads(text, parse_float=_finite, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _finite(text: str) -> float | str:
    """A number that JSON can write again, or its digits."""
    number = float(text)
    return number if math.isfinite(number) else text


def _line(name: str, value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=True)
    if name in _TIMES and isinstance(value, int | float):
        shown += f"  ({_moment(value)})"
    plain = name if name.isascii() and name.isprintable() else json.dumps(name)
    return f"  {plain:<10} {shown}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "no time"
