"""The doors: HTTP in and HTTP out.

Lists the blueprints, and says what every answer has in common: refusals become
a page, a problem document (RFC 9457) or OAuth's own JSON (RFC 6749 section 5.2),
and headers keep browsers careful.
"""

from __future__ import annotations

import errno
import html
import logging
import re
from typing import Any, Final

from flask import Flask, Response, current_app, jsonify, render_template, request
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.http import HTTP_STATUS_CODES

from app.errors import (
    AppError,
    InsufficientScope,
    InvalidAccessToken,
    InvalidClient,
    Unavailable,
    ValidationFailed,
)
from app.views import (
    access,
    account,
    admin,
    api,
    auth,
    browser,
    cors,
    oauth,
    observe,
    pages,
    wellknown,
)
from app.views.access import public
from app.views.contract import PROBLEM

BLUEPRINTS: Final = (
    pages.blueprint,
    account.blueprint,
    admin.blueprint,
    auth.blueprint,
    api.blueprint,
    oauth.blueprint,
    wellknown.blueprint,
)

CONTENT_SECURITY_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
    ]
)

_FOR_ALL: Final = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
_HTML_PAGES: Final = frozenset({"pages", "account", "admin"})
_JSON_PATHS: Final = ("/auth/", "/api/", "/.well-known/", "/status-lists/")
_OAUTH_PATH: Final = "/oauth/"
_CODES: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "content_too_large",
    415: "unsupported_media_type",
    431: "headers_too_large",
    500: "internal_error",
}
_PAGE_TITLES: Final = {
    400: "This was not understood",
    403: "You may not do this",
    404: "There is nothing here",
    405: "Nothing can be opened here",
    429: "Please wait a little",
    500: "Something failed",
    503: "Not at the moment",
}
_DETAILS: Final = {
    404: "There is nothing at this address. Was it copied whole, and is it spelled right?",
    405: "This address does not take this method.",
}
"""In place of werkzeug's own."""

_USED_UP: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})
"""No file handle is left, or no room on the disk (errno(3)): later there may be."""

_log = logging.getLogger("foxtrot.app")


def init_app(app: Flask, database_failures: tuple[type[Exception], ...]) -> None:
    """Attach all doors, and what they have in common."""
    observe.init_app(app)
    app.url_map.merge_slashes = False  # its redirects would name the host of the request
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    public(app.view_functions["static"])
    app.before_request(browser.require_served_host)
    app.after_request(cors.add_headers)
    app.after_request(_add_headers)
    app.register_error_handler(AppError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    for failure in database_failures:
        app.register_error_handler(failure, _refuse_for_database)
    app.register_error_handler(OSError, _refuse_for_system)
    access.guard(app)


def _refuse(refusal: AppError) -> Response:
    members: dict[str, Any] = {}
    if isinstance(refusal, ValidationFailed):
        members["errors"] = [
            {"field": field, "message": message}
            for field, messages in refusal.errors.items()
            for message in messages
        ]
    if isinstance(refusal, InsufficientScope):
        members["scope"] = refusal.scope
    if isinstance(refusal, InvalidAccessToken):
        members["reason"] = refusal.reason
    response = _say(refusal.status, refusal.code, refusal.detail, members)
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(refusal.retry_after)
    if isinstance(refusal, InsufficientScope | InvalidAccessToken):
        response.headers["WWW-Authenticate"] = access.challenge(
            refusal.code, refusal.detail, members.get("scope")
        )
    if isinstance(refusal, InvalidClient):
        response.headers["WWW-Authenticate"] = access.client_challenge()
    return response


def _refuse_http(error: HTTPException) -> Response:
    """Answer what werkzeug refuses, and what failed (500), like everything else."""
    status = error.code or 500
    if status < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect of the router
    if isinstance(error, InternalServerError):
        detail = "Something failed here. It was written down; try again later."
    elif error.description == type(error).description and status in _DETAILS:
        detail = _DETAILS[status]
    else:
        detail = error.description or HTTP_STATUS_CODES.get(status, "")
    response = _say(status, _CODES.get(status, f"http_{status}"), detail, {})
    for name, value in error.get_headers(request.environ):
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _refuse_for_database(error: Exception) -> Response:
    _log.error("The database does not answer: %s", getattr(error, "orig", error))
    return _refuse(Unavailable())


def _refuse_for_system(error: OSError) -> Response:
    if error.errno not in _USED_UP:
        raise error
    _log.error("The system has nothing left: %s", error.strerror)
    return _refuse(Unavailable())


def _say(status: int, code: str, detail: str, members: dict[str, Any]) -> Response:
    """A page for a person, a problem document or OAuth's own JSON for a program."""
    title = HTTP_STATUS_CODES.get(status, "Error")
    if request.path.startswith(_OAUTH_PATH):
        response = jsonify({"error": code, "error_description": _oauth_text(detail)})
        response.status_code = status
    elif _wants_page():
        title = _PAGE_TITLES.get(status, title)
        response = current_app.make_response((_page(status, title, detail), status))
    else:
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        response = jsonify({**problem, "code": code, **members})
        response.status_code, response.content_type = status, PROBLEM
    return response


def _page(status: int, title: str, detail: str) -> str:
    try:
        return render_template("error.html", status=status, title=title, detail=detail)
    except OSError:  # there was no file handle left to read it with
        return f"<!doctype html><title>{title}</title><p>{html.escape(detail)}</p>"


def _oauth_text(detail: str) -> str:
    """In the characters that RFC 6749 section 5.2 permits."""
    return re.sub(r"[^\x20-\x7e]|\\", "", detail.replace('"', "'"))


def _wants_page() -> bool:
    if request.blueprint in _HTML_PAGES:
        return True
    if request.endpoint == "wellknown.docs":
        return _prefers_html()
    if request.blueprint is not None or request.path.startswith(_JSON_PATHS):
        return False
    return _prefers_html()


def _prefers_html() -> bool:
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _add_headers(response: Response) -> Response:
    headers = response.headers
    headers.extend(_FOR_ALL)
    headers["X-Request-ID"] = browser.client().request_id
    if response.status_code == 204:
        headers.pop("Content-Type", None)
    if response.status_code == 401:
        headers.setdefault("WWW-Authenticate", access.challenge())
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "no-store")
    if current_app.config["ISSUER"].startswith("https://"):
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response
