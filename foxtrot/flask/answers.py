"""How a refusal is told over HTTP.

Status and error code are those of RFC 6750 section 3.1: 401 without or with a bad
token, 403 without the scope, 400 for a malformed header; 503 when nothing can be
known. A sign-in that is too long ago is a 401 that says so (RFC 9470 section 3).
The body is a problem document (RFC 9457) with a fixed `code`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from flask import Response

_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    503: "Service Unavailable",
}


class Refusal(Exception):
    """An RFC 6750 section 3.1 answer: status, error code and what belongs to it."""

    def __init__(self, status: int, code: str | None, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members


def answer(refusal: Refusal, realm: str) -> Response:
    """Answer with a problem document (RFC 9457) and the challenge (RFC 6750 section 3)."""
    members = dict(refusal.members)
    retry_after = members.pop("retry_after", None)
    problem = {
        "type": "about:blank",
        "title": _TITLES[refusal.status],
        "status": refusal.status,
        "detail": refusal.detail,
        "code": refusal.code or "unauthorized",
        **members,
    }
    response = Response(
        json.dumps(problem), refusal.status, content_type="application/problem+json"
    )
    response.headers["Cache-Control"] = "no-store"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    else:
        response.headers["WWW-Authenticate"] = challenge(
            realm, refusal.code, refusal.detail, **refusal.members
        )
    return response


def challenge(realm: str, code: str | None, detail: str, **members: Any) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3, RFC 9470 section 3).

    :param realm: as `quotable` gives it.
    :param code: the error; None where there is nothing to say but what is needed.
    :param members: of a refusal; `scope` and `max_age` are told.
    """
    parts = [f'realm="{realm}"']
    if code is not None:
        parts += [f'error="{code}"', f'error_description="{quotable(detail)}"']
    parts += [f'{name}="{members[name]}"' for name in ("scope", "max_age") if members.get(name)]
    return "Bearer " + ", ".join(parts)


def quotable(text: str) -> str:
    """Make a text fit for a quoted-string in a header (RFC 9110 section 5.6.4)."""
    return re.sub(r'[^\x20-\x7e]|["\\]', "", text)
