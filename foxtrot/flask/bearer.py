"""`Bearer`, what a service writes above its views."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from flask import Flask, current_app, request

from foxtrot.claims import Token
from foxtrot.flask.answers import Refusal
from foxtrot.flask.gate import Gate, Settings

P = ParamSpec("P")
R = TypeVar("R")


class Bearer:
    """Guards routes of a Flask app with access tokens.

    Takes what `foxtrot.Verifier` takes, either here or in `init_app`, and:

    :param scopes_of: which of a token's scopes count here; all, by default.
    :param realm: named in `WWW-Authenticate`; the audience, by default.
    :param explain: False answers `invalid_token` with one and the same reason,
        `bad_signature`, for everything known before the signature passed.
    :param locations: `("header", "query")` also reads the URL parameter
        `access_token`. RFC 6750 section 2.3 warns: URLs end up in logs, histories
        and `Referer` headers, so do not, unless nothing else is possible.
    """

    def __init__(
        self,
        issuer: str | None = None,
        audience: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self._environ_key = f"foxtrot.token.{id(self)}"
        self._default: Gate | None = None
        if issuer is not None or audience is not None or settings:
            self._default = Gate(issuer, audience, **settings)

    def init_app(
        self,
        app: Flask,
        issuer: str | None = None,
        audience: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Attach to *app*: with what was given to the constructor, or with other settings.

        :raises ValueError: there is no issuer or no audience.
        """
        gate = self._default
        if gate is None or issuer is not None or audience is not None or settings:
            gate = Gate(issuer, audience, **settings)
        app.extensions.setdefault("foxtrot", {})[self] = gate

    def required(self, *scopes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let a request through to the view only with a token that has all *scopes*.

        Written below the route: the decorator nearest to the function runs last,
        and a route registers what stands below it.
        """
        _refuse_misuse("required", scopes)
        return self._decorate(frozenset(scopes), optional=False)

    def optional(self, *scopes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Like `required`, but let a request without any credentials through too.

        A token that is presented and bad is refused all the same.
        """
        _refuse_misuse("optional", scopes)
        return self._decorate(frozenset(scopes), optional=True)

    @property
    def token(self) -> Token:
        """The token of the request being handled.

        :raises RuntimeError: the view is not guarded, or no token was presented.
        """
        token = request.environ.get(self._environ_key)
        if token is None:
            raise RuntimeError("This request carries no verified token.")
        return cast(Token, token)

    @property
    def token_or_none(self) -> Token | None:
        """The token of the request being handled, or None where it is optional."""
        return cast("Token | None", request.environ.get(self._environ_key))

    def _gate(self) -> Gate:
        gate = current_app.extensions.get("foxtrot", {}).get(self, self._default)
        if gate is None:
            raise RuntimeError("Bearer.init_app was not called for this app.")
        return cast(Gate, gate)

    def _decorate(
        self, scopes: frozenset[str], *, optional: bool
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            is_async = inspect.iscoroutinefunction(view)

            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                # past the proxy: an attribute asked of it costs as much as all of the rest
                environ = request._get_current_object().environ  # type: ignore[attr-defined]
                if environ["REQUEST_METHOD"] == "OPTIONS":
                    return current_app.make_default_options_response()
                gate = self._gate()
                try:
                    environ[self._environ_key] = gate.admit(environ, scopes, optional)
                except Refusal as refusal:
                    return gate.answer(refusal)
                if is_async:
                    return current_app.ensure_sync(view)(*args, **kwargs)
                return view(*args, **kwargs)

            guarded.access = ("bearer", scopes)  # type: ignore[attr-defined]
            return guarded

        return decorate


def _refuse_misuse(name: str, scopes: tuple[object, ...]) -> None:
    if not all(isinstance(scope, str) and scope for scope in scopes):
        raise TypeError(
            f"Write @bearer.{name}() or @bearer.{name}('notes:read'): the parentheses are needed,"
            " and scopes are strings."
        )
    if any(re.search(r"[^\x21\x23-\x5b\x5d-\x7e]", str(scope)) for scope in scopes):
        raise TypeError(f"@bearer.{name}: one scope per argument, without spaces or quotes.")
