"""Notes: a small service whose users log in with Foxtrot.

It keeps short texts, and each user sees only their own. It has no users, no
passwords and no login: an access token says who calls and what they may do. The
lines that see to this name `bearer`, or say `@public`; a route without either stops
the start. The rest is what any JSON service needs.
Errors are problem documents (RFC 9457) with a `code`, like the decorator's own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from flask import Blueprint, Flask, Response, abort, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, HTTPException

from foxtrot.flask import Bearer, public

from . import store

MAX_BODY_BYTES: Final = 64 * 1024
MAX_PAGE: Final = 100
MAX_TEXT: Final = 10_000

_CODES: Final[dict[int | None, str]] = {400: "invalid_request", 413: "too_large"}
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.:\[\]-]+")
_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")  # NUL, half a surrogate pair
_WHOLE_NUMBER: Final = re.compile("[0-9]{1,18}")

bearer = Bearer()
notes = Blueprint("notes", __name__)


def create_app(overrides: Mapping[str, object] | None = None) -> Flask:
    """Build the service.

    Settings come from the environment; *overrides* go before them.

    :raises ValueError: a setting is empty or makes no sense.
    """
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(overrides, MAX_CONTENT_LENGTH=MAX_BODY_BYTES)
    _load_settings(app)
    bearer.init_app(
        app,
        issuer=app.config["NOTES_ISSUER"],
        audience=app.config["NOTES_AUDIENCE"],
        secret=app.config["NOTES_SECRET"],
        public_key=app.config["NOTES_PUBLIC_KEY"],
    )
    store.init_app(app)
    app.register_blueprint(notes)
    app.register_error_handler(HTTPException, _problem)
    app.after_request(_share_with_origins)
    bearer.guard(app)
    return app


@notes.get("/")
@public
def about() -> ResponseReturnValue:
    """Say what this is, to anybody."""
    return {"service": "Notes, an example of a service whose users log in with Foxtrot."}


@notes.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    """Say that the service is alive, to anybody."""
    return {"status": "ok"}


@notes.get("/notes")
@bearer.required("notes:read")
def list_notes() -> ResponseReturnValue:
    """Give the caller's notes, newest first, a page at a time."""
    after = _number_from_query("after", default=store.MAX_ID, most=store.MAX_ID)
    limit = _number_from_query("limit", default=20, most=MAX_PAGE)
    found, following = store.page(bearer.token.subject, after, limit)
    return {"notes": found, "next": following}


@notes.post("/notes")
@bearer.required("notes:write")
def add_note() -> ResponseReturnValue:
    """Keep a note for the caller."""
    return dict(store.add(bearer.token.subject, _text_from_body())), 201


@notes.delete("/notes/<note_id>")
@bearer.required("notes:write")
def delete_note(note_id: str) -> ResponseReturnValue:
    """Delete a note of the caller's. Somebody else's is answered like a missing one."""
    number = _whole_number(note_id)
    if number is None or not store.delete(bearer.token.subject, number):
        abort(404, "You have no such note.")
    return "", 204


def _text_from_body() -> str:
    body = _object_from_body()
    if unknown := sorted(body.keys() - {"text"}):
        abort(400, f"Unknown field {unknown[0]!r}; a note has a text and nothing else.")
    text = body.get("text")
    if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
        abort(400, f"text must be a string of 1 to {MAX_TEXT} characters.")
    if _UNSTORABLE.search(text):
        abort(400, "text holds a NUL character or half a surrogate pair.")
    return text


def _object_from_body() -> dict[str, Any]:
    try:
        body = request.get_json()
    except (BadRequest, RecursionError):  # not JSON, or nested beyond reason
        body = None
    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object.")
    return body


def _number_from_query(name: str, default: int, most: int) -> int:
    number = _whole_number(request.args.get(name, str(default)))
    if number is None or not 1 <= number <= most:
        abort(400, f"{name} must be a whole number from 1 to {most}.")
    return number


def _whole_number(text: str) -> int | None:
    """Read a number that any database can hold."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def _problem(error: HTTPException) -> Response:
    """Answer an error the way the decorator answers its refusals."""
    problem = {
        "type": "about:blank",
        "title": error.name,
        "status": error.code,
        "detail": error.description,
        "code": _CODES.get(error.code, error.name.lower().replace(" ", "_")),
    }
    headers = error.get_headers()  # Allow, for one
    return Response(
        json.dumps(problem), error.code, headers, content_type="application/problem+json"
    )


def _share_with_origins(response: Response) -> Response:
    """Let the pages of the listed front ends read answers (CORS), without cookies."""
    origin = request.headers.get("Origin")
    response.vary.add("Origin")
    if origin in current_app.config["NOTES_ORIGINS"]:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = "Retry-After, WWW-Authenticate"
        if request.method == "OPTIONS":
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, DELETE"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
            response.headers["Access-Control-Max-Age"] = "600"
    return response


def _load_settings(app: Flask) -> None:
    defaults = {
        "NOTES_ISSUER": "http://localhost:5000",
        "NOTES_AUDIENCE": "notes",
        "NOTES_SECRET": None,
        "NOTES_PUBLIC_KEY": None,
        "NOTES_DATABASE": str(Path(app.instance_path, "notes.sqlite3")),
        "NOTES_ORIGINS": "",
    }
    for name, default in defaults.items():
        value = app.config.setdefault(name, os.environ.get(name, default))
        if value == "" != default:
            raise ValueError(f"{name} is empty; give it a value, or do not set it at all.")
    app.config["NOTES_ORIGINS"] = _origins(app.config["NOTES_ORIGINS"])


def _origins(text: str) -> frozenset[str]:
    origins = frozenset(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"NOTES_ORIGINS: {origin!r} is not like https://app.example.com")
    return origins
