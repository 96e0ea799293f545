"""Who may call a view. Every view wears exactly one of these, or the start is refused.

`@public`, `@login_required` (a browser's session) or `@bearer.required(…)` (an
access token). The decorator that guards this service's own API is the one that
every other service uses; here it asks the database whether the session lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response

from app import machines, services, sessions, tokens
from app.errors import InvalidAccessToken, InvalidTarget, NoAccessToken, NotAdmin, Unavailable
from app.sessions import LoginSession
from app.users import ADMIN
from app.views import browser
from foxtrot import InvalidToken, KeySource, Token, Verifier
from foxtrot import Unavailable as CannotKnow
from foxtrot.flask import Bearer, answers, commands, routes
from foxtrot.flask import public as public  # the views take all three from here
from foxtrot.flask.credentials import credentials

P = ParamSpec("P")
R = TypeVar("R")

bearer = Bearer()
_log = logging.getLogger("foxtrot.app")


def guard(app: Flask) -> None:
    """Refuse undecided routes, as `Bearer.guard` does, before there are keys for `init_app`.

    The keys are in the database, which is opened when the app is about to serve.
    """
    routes.guard(app, ())
    commands.attach(app)


def init_app(
    app: Flask, keys: Sequence[KeySource], database_failures: tuple[type[Exception], ...]
) -> None:
    """Let `bearer` judge tokens of this service, for this service."""
    issuer = app.config["ISSUER"]
    app.extensions["foxtrot_access"] = _Elsewhere(issuer, keys, _LiveHolders(database_failures))
    bearer.init_app(
        app,
        issuer=issuer,
        audience=issuer,
        keys=keys,
        status=_LiveSessions(database_failures),
        scopes_of=_held,
        realm=_realm(app),
    )


def client_challenge() -> str:
    """The value of `WWW-Authenticate` for a service's own credentials (RFC 7617 section 2)."""
    return f'Basic realm="{_realm(current_app)}", charset="UTF-8"'


def challenge(error: str | None = None, detail: str = "", scope: str | None = None) -> str:
    """The value of `WWW-Authenticate` (RFC 6750 section 3)."""
    return answers.challenge(_realm(current_app), error, detail, scope=scope)


def _realm(app: Flask) -> str:
    """The site's name, as far as a header can hold it."""
    return answers.quotable(app.config["FOXTROT_SITE_NAME"])


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


def admin_required(view: Callable[P, R]) -> Callable[P, R | Response]:
    """Only an administrator who is signed in with a browser; what follows names them.

    :raises NotAdmin: somebody else is signed in.
    """

    @wraps(view)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
        session = browser.current_session()
        if session is not None:
            if ADMIN not in session.user.scopes:
                raise NotAdmin
            browser.act_as(session.user.public_id)
        return entered(*args, **kwargs)

    entered = login_required(view)
    guarded.access = "admin"  # type: ignore[attr-defined]
    return guarded


def token_session() -> LoginSession:
    """The live session behind the token of this request."""
    session: LoginSession = g.token_session
    return session


def granted_scopes() -> frozenset[str]:
    """What the token of this request may do here."""
    return _held(bearer.token)


def judge_for(audience: str) -> tuple[Token, frozenset[str]]:
    """Judge the token of this request as another service would, and by the database besides.

    Gives it, and what it may do there. The header is read as `bearer` reads it; but one that says
    Bearer and holds no token is a malformed token here, 401, not a bad request, 400 (RFC 6750
    section 3.1 has both): proxies pass on no other refusal than 401 and 403.

    :raises NoAccessToken: there are no credentials, or of another scheme.
    :raises InvalidAccessToken: the token is refused.
    :raises InvalidTarget: there is no such service.
    :raises Unavailable: it cannot be known now.
    """
    text = credentials(request.environ, ("header",))
    if text is None:
        raise NoAccessToken
    verifiers: _Elsewhere = current_app.extensions["foxtrot_access"]
    try:
        token = verifiers.of(audience).verify(text)
        granted: frozenset[str] = g.machine_scopes if token.session_id is None else _held(token)
        return token, tokens.fitting(granted, [audience])
    except InvalidToken as error:
        raise InvalidAccessToken(error.reason, error.detail) from None
    except CannotKnow:
        raise Unavailable from None


class _Elsewhere:
    """A verifier for each of the other services, made when one is asked for."""

    def __init__(self, issuer: str, keys: Sequence[KeySource], status: _LiveHolders) -> None:
        self._issuer = issuer
        self._keys = keys
        self._status = status
        self._verifiers: dict[str, Verifier] = {}

    def of(self, audience: str) -> Verifier:
        if audience != self._issuer and not services.knows(audience):
            raise InvalidTarget(f"There is no service {audience[:100]!r} here.")
        found = self._verifiers.get(audience)
        if found is None:
            found = Verifier(self._issuer, audience, keys=self._keys, status=self._status)
            self._verifiers[audience] = found
        return found


class _LiveSessions:
    """Tells `bearer` whether the session behind a token has ended, by the database."""

    def __init__(self, failures: tuple[type[Exception], ...]) -> None:
        self._failures = failures

    def ended(self, token: Token) -> bool:
        """Ask the database, and fail closed.

        :raises CannotKnow: it does not answer.
        """
        try:
            return self._has_ended(token)
        except self._failures as failure:
            _log.error("The database does not answer: %s", getattr(failure, "orig", failure))
            raise CannotKnow("The service cannot answer at the moment.") from None

    def _has_ended(self, token: Token) -> bool:
        session = self._find(token)
        if session is not None and sessions.note_shown(session, str(token.claims["jti"])):
            session = self._find(token)
        g.token_session = session
        if session is not None:
            browser.note_user(token.subject)
        return session is None

    def _find(self, token: Token) -> LoginSession | None:
        sid = token.session_id
        return None if sid is None else sessions.by_public_id(sid, token.subject)


class _LiveHolders(_LiveSessions):
    """Likewise, and of a machine's token whether the machine may still use it."""

    def _has_ended(self, token: Token) -> bool:
        if token.session_id is not None:
            return super()._has_ended(token)
        g.machine_scopes = machines.holder_scopes(token)
        if g.machine_scopes is not None:
            browser.note_user(token.subject)
        return g.machine_scopes is None


def _held(token: Token) -> frozenset[str]:
    return tokens.effective_scopes(token, token_session().user)
