"""`Bearer`: what a service writes above its views, about its blueprints and its app."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import wraps
from typing import Any, ParamSpec, TypeVar, Unpack, cast

from flask import Blueprint, Flask, Response, current_app, request

from foxtrot.claims import Token
from foxtrot.flask.answers import Refusal
from foxtrot.flask.commands import attach
from foxtrot.flask.demand import Demand, Options
from foxtrot.flask.gate import Gate, Settings
from foxtrot.flask.misuse import is_named, is_no_function, misuse, refuse_registered
from foxtrot.flask.routes import guard, is_spared, refuse_bare

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

        Brings the command `flask bearer routes`.

        :raises ValueError: there is no issuer or no audience.
        :raises Misuse: a decorator stands above its route.
        """
        gate = self._default
        if gate is None or issuer is not None or audience is not None or settings:
            gate = Gate(issuer, audience, **settings)
        refuse_bare(app)
        app.extensions.setdefault("foxtrot", {})[self] = gate
        attach(app)

    def required(
        self, *scopes: str, **options: Unpack[Options]
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let a request through to the view only with a token that has all *scopes*.

        Written below the route: the decorator nearest to the function runs last,
        and a route registers what stands below it.

        :param any_of: of these scopes one is enough, besides all *scopes*.
        :param max_age: seconds since the user signed in; if it was longer ago the
            answer asks for another sign-in (RFC 9470).
        :param on_stale: "allow" or "deny" while it is not known whether the session
            behind the token has ended.
        :raises Misuse: it makes no sense, or stands above the route.
        """
        demand = Demand.of("@bearer.required", scopes, options, optional=False)
        return self._decorate("@bearer.required", demand)

    def optional(
        self, *scopes: str, **options: Unpack[Options]
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Like `required`, but let a request without any credentials through too.

        A token that is presented and bad is refused all the same.
        """
        demand = Demand.of("@bearer.optional", scopes, options, optional=True)
        return self._decorate("@bearer.optional", demand)

    def protect(
        self, scaffold: Flask | Blueprint, *scopes: str, **options: Unpack[Options]
    ) -> None:
        """Demand of every view of a blueprint, or of an app, what `required` demands.

        It is judged before the blueprint's other hooks, and for the blueprints nested
        in it. A view may demand more by a decorator of its own; `@public` excepts it.

        :raises Misuse: it makes no sense, or comes after the blueprint was registered.
        """
        demand = Demand.of("bearer.protect", scopes, options, optional=False)

        def protection() -> Response | None:
            if is_spared(current_app, request):
                return None
            return self._check(demand)

        protection.demands = (demand,)  # type: ignore[attr-defined]
        protection.spares_public = True  # type: ignore[attr-defined]
        _run_first(scaffold, protection)

    def guard(self, app: Flask, *, public: Collection[str] = ()) -> None:
        """Refuse an app with a route of which nobody decided who may call it.

        Called at the end of the app's factory. Whatever is registered later is
        refused at once, so that no undecided view can ever be called.

        :param public: endpoints that anybody may call although the service cannot
            decorate their views, such as "static".
        :raises UndecidedRoutes: there are such routes; the message names them all.
        :raises Misuse: there is no such endpoint, or it asks for a token; or `init_app` was not
            called, and there are no settings of the constructor.
        """
        if self._default is None and self not in app.extensions.get("foxtrot", {}):
            raise misuse("Call bearer.init_app(app, issuer=…, audience=…) before bearer.guard.")
        guard(app, public)
        attach(app)

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
        # past the proxies, here and below: an attribute asked of one costs as much as the rest
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        gates: dict[Bearer, Gate] = app.extensions.get("foxtrot") or {}
        gate = gates.get(self, self._default)
        if gate is None:
            raise RuntimeError("Bearer.init_app was not called for this app.")
        return gate

    def _decorate(self, name: str, demand: Demand) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            _refuse_misplaced(name, view)
            check = self._check
            is_async = inspect.iscoroutinefunction(view)

            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                if (refused := check(demand)) is not None:
                    return refused
                if is_async:
                    return current_app.ensure_sync(view)(*args, **kwargs)
                return view(*args, **kwargs)

            guarded.access = ("bearer", demand.scopes)  # type: ignore[attr-defined]
            guarded.demands = (demand, *getattr(view, "demands", ()))  # type: ignore[attr-defined]
            if not is_named(view):
                _leave_note(view, name)
            return guarded

        return decorate

    def _check(self, demand: Demand) -> Response | None:
        """Keep the token of a request that may pass; give the answer to one that may not.

        OPTIONS is answered here, a preflight has no token, and runs no view ever.
        """
        environ = request._get_current_object().environ  # type: ignore[attr-defined]
        if environ["REQUEST_METHOD"] == "OPTIONS":
            return current_app.make_default_options_response()
        gate = self._gate()
        try:
            environ[self._environ_key] = gate.admit(environ, demand)
        except Refusal as refusal:
            return gate.answer(refusal)
        return None


def _refuse_misplaced(name: str, view: Any) -> None:
    if is_no_function(view):
        raise misuse(
            f"{name}(...) stands above a function; for a class write"
            f" decorators = [{name.removeprefix('@')}(...)] in it."
        )
    if getattr(view, "access", None) == "public":
        raise misuse(f"The view is @public and wears {name}: leave one of the two away.")
    if not is_named(view):
        refuse_registered(view, name)


def _leave_note(view: Any, name: str) -> None:
    """Note on a function that only its guarded form is meant to be called."""
    with suppress(AttributeError, TypeError):  # a method, or not written in Python
        view.guarded_elsewhere_by = name


def _run_first(scaffold: Flask | Blueprint, hook: Callable[[], Response | None]) -> None:
    """Register a hook before those that are there already."""
    try:
        scaffold.before_request(hook)
    except AssertionError:
        raise misuse(
            f"{scaffold.name!r} is registered already: call bearer.protect before that, or"
            " nothing of it would be protected."
        ) from None
    hooks = scaffold.before_request_funcs[None]
    hooks.insert(0, hooks.pop())
