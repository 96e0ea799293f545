"""Where in a request the token is: the `Authorization` header (RFC 6750 section 2.1).

The URL is read too where a service insists on it (section 2.3).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from flask import Response, after_this_request, request

from foxtrot.flask.answers import Refusal

_SCHEME: Final = re.compile(r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)")
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


def credentials(environ: dict[str, Any], locations: Collection[str]) -> str | None:
    """Give the text of the token that a request carries, None if there is none.

    :raises Refusal: the request carries more than one.
    """
    header = environ.get("HTTP_AUTHORIZATION")
    from_header = None if header is None else _from_header(header)
    if "query" not in locations:
        return from_header
    from_query = request.args.getlist("access_token")
    if len(from_query) + (from_header is not None) > 1:
        raise Refusal(400, "invalid_request", "The request carries more than one token.")
    if not from_query:
        return from_header
    after_this_request(_keep_out_of_shared_caches)
    return from_query[0]


def is_token(text: str) -> bool:
    """Say whether a text has the form of a token at all (RFC 6750 section 2.1, `b64token`)."""
    return _B64TOKEN.fullmatch(text) is not None


def _from_header(header: str) -> str | None:
    """Take the token out of an `Authorization` header (RFC 9110 section 11.4).

    None for another scheme; its name is matched in any case. What is no token is
    given back as it is, for the verifier to refuse.
    """
    if header.startswith("Bearer "):
        return header[7:].strip(" ")
    match = _SCHEME.match(header)
    if match is None or match[1].lower() != "bearer":
        return None
    credentials = header[match.end() :]
    return credentials.strip(" ") if credentials.startswith(" ") else f" {credentials}"


def _keep_out_of_shared_caches(response: Response) -> Response:
    """RFC 6750 section 2.3, for answers to a URL that holds a token."""
    response.headers.setdefault("Cache-Control", "private")
    return response
