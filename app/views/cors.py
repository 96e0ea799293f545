"""Which pages of other origins may call what (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol).

Closed, but for this: the front ends of FOXTROT_ORIGINS may use the browser's cookie
to log in, get a token and log out, and may call the API and refresh without it;
anybody may read what is published for everybody.
"""

from __future__ import annotations

from typing import Final, TypeVar

from flask import request
from werkzeug.wrappers import Response

from app.views import browser

R = TypeVar("R", bound=Response)

WITH_COOKIE: Final = frozenset({"/auth/login", "/auth/token", "/auth/logout"})
WITHOUT_COOKIE: Final = ("/auth/refresh", "/api/")
FOR_EVERYBODY: Final = ("/.well-known/", "/status-lists/", "/foxtrot.js")

REQUEST_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key"
ANSWER_HEADERS: Final = "Retry-After, WWW-Authenticate, X-Request-ID"
PREFLIGHT_SECONDS: Final = 600


def add_headers(response: R) -> R:
    """Let the browser hand this answer to the page that asked, if that page may have it.

    The path decides, so that a front end also reads that there is no such route or method.
    """
    if request.path.startswith(FOR_EVERYBODY):
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response
    with_cookie = request.path in WITH_COOKIE
    if not (with_cookie or request.path.startswith(WITHOUT_COOKIE)):
        return response
    response.vary.add("Origin")
    if browser.is_listed_origin():
        _permit(response, with_cookie=with_cookie)
    return response


def _permit(response: Response, *, with_cookie: bool) -> None:
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
    headers["Access-Control-Expose-Headers"] = ANSWER_HEADERS
    if with_cookie:
        headers["Access-Control-Allow-Credentials"] = "true"
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = headers.get("Allow", "")
        headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
        headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
