"""Who may call a view. Every view wears exactly one of these.

`@public`, `@login_required` (a browser's session) or `@bearer.required(…)` (an
access token). The decorator that guards this service's own API is the one that
every other service uses; here it asks the database whether the session lives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from app import sessions, tokens
from app.sessions import LoginSession
from app.views import browser
from foxtrot import KeySource, Token
from foxtrot.flask import Bearer

P = ParamSpec("P")
R = TypeVar("R")

bearer = Bearer()


def init_app(app: Flask, keys: Sequence[KeySource]) -> None:
    """Let `bearer` judge tokens of this service, for this service."""
    issuer = app.config["ISSUER"]
    bearer.init_app(
        app,
        issuer=issuer,
        audience=issuer,
        keys=keys,
        status=_LiveSessions(),
        scopes_of=_effective_scopes,
        realm=_realm(app),
    )


def client_challenge() -> str:
    """The value of `WWW-Authenticate` for a service's own credentials (RFC 7617 section 2)."""
    return f'Basic realm="{_realm(current_app)}", charset="UTF-8"'


def challenge(error: str | None = None, scope: str | None = None) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3)."""
    parts = {"realm": _realm(current_app), "error": error, "scope": scope}
    said = [f'{name}="{value}"' for name, value in parts.items() if value is not None]
    return "Bearer " + ", ".join(said)


def _realm(app: Flask) -> str:
    """The site's name, as far as a quoted-string in a header can hold it."""
    return re.sub(r'[^\x20-\x7e]|["\\]', "", app.config["FOXTROT_SITE_NAME"])


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Anybody may call this view."""
    view.access = "public"  # type: ignore[attr-defined]
    return view


def login_required(view: Callable[P, R]) -> Callable[P, R | Response]:
    """Only somebody who is signed in with a browser; others are led to the sign-in page."""

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        if browser.current_session() is None:
            here = request.full_path.rstrip("?") if request.method == "GET" else None
            return redirect(url_for("pages.log_in", next=here), 303)
        return view(*args, **kwargs)

    guarded.access = "login"  # type: ignore[attr-defined]
    return guarded


def token_session() -> LoginSession:
    """The live session behind the token of this request."""
    session: LoginSession = g.token_session
    return session


def granted_scopes() -> frozenset[str]:
    """What the token of this request may do here."""
    return _effective_scopes(bearer.token)


class _LiveSessions:
    """Tells `bearer` whether the session behind a token has ended, by the database."""

    def ended(self, token: Token) -> bool:
        session = self._find(token)
        if session is not None and sessions.note_shown(session, str(token.claims["jti"])):
            session = self._find(token)
        g.token_session = session
        return session is None

    def _find(self, token: Token) -> LoginSession | None:
        sid = token.session_id
        return None if sid is None else sessions.by_public_id(sid, token.subject)


def _effective_scopes(token: Token) -> frozenset[str]:
    return tokens.effective_scopes(token, token_session().user)
