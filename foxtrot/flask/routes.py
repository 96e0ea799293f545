"""Who may call what, read off the app as Flask will run it.

A view says who may call it by attributes: `access` is `"public"` or a word of the
service's own, `demands` are those of `Bearer`. The hooks of `Bearer.protect` have
`demands` too. What has neither is undecided, and a guarded app refuses to have it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, cast

from flask import Flask, Request
from flask.views import MethodView, http_method_funcs
from werkzeug.routing import Rule, RuleFactory

from foxtrot.flask.demand import Demand
from foxtrot.flask.misuse import above_the_route, is_no_function, misuse, place_of

P = ParamSpec("P")
R = TypeVar("R")
AnyView = Callable[..., Any]

ANYBODY: Final = "anybody"
_NOTHING: Final[Any] = object()
_PUBLIC: Final = "foxtrot_public"
_SILENT: Final = frozenset({"HEAD", "OPTIONS"})
_METHODS: Final = frozenset(name.upper() for name in http_method_funcs)


class UndecidedRoutes(RuntimeError):
    """There are routes of which nobody said who may call them; the message names them all."""

    def __init__(self, routes: Collection[str]) -> None:
        super().__init__(
            "Nobody decided who may call these routes:\n"
            + "\n".join(f"  {route}" for route in routes)
            + "\nWrite @bearer.required(...) or @public below the route, or protect the blueprint"
            " by bearer.protect(blueprint). A view that is not yours is opened by its endpoint:"
            ' bearer.guard(app, public=["static"]).'
        )


class Row(NamedTuple):
    """Who may call a path by some methods; nobody decided where *who* is empty."""

    methods: tuple[str, ...]
    path: str
    who: tuple[str, ...]


def public(view: Callable[P, R] = _NOTHING, /) -> Callable[P, R]:
    """Anybody may call this view, also where the blueprint is protected.

    :raises Misuse: it is no function, or it wants a token at the same time.
    """
    if view is _NOTHING:
        raise misuse("@public has no parentheses: write @public.")
    if is_no_function(view):
        raise misuse(
            "@public stands above a function; for a class write decorators = [public] in it."
        )
    if getattr(view, "access", "public") != "public":
        raise misuse("The view is @public and guarded at the same time: leave one of them away.")
    try:
        view.access = "public"  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise misuse("@public stands above a function, not a method of an object.") from None
    return view


def table(app: Flask) -> list[Row]:
    """Give a row for every path and those of its methods that the same people may call.

    HEAD and OPTIONS are left out where they are like the others.
    """
    rows = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        if view is None:
            continue  # nothing can run
        who = {name: _who(app, rule.endpoint, view, name) for name in _methods(rule, view)}
        for words in dict.fromkeys(who.values()):
            methods = [name for name in who if who[name] == words]
            loud = [name for name in methods if name not in _SILENT] or methods
            rows.append(Row(tuple(loud), rule.rule, words))
    return rows


def is_for_anybody(app: Flask, endpoint: str, method: str) -> bool:
    """Say whether a view may be called by everybody, as `table` has it."""
    view = app.view_functions.get(endpoint)
    return view is not None and _who(app, endpoint, view, method) == (ANYBODY,)


def demands_of(app: Flask, endpoint: str, method: str) -> tuple[Demand, ...]:
    """Give all that a token must meet for a view: of hooks, decorators and a class's method."""
    view = app.view_functions.get(endpoint)
    own = _demands(view) + _demands(_handler(view, method))
    return (*_demands_of_hooks(app, endpoint, view, method), *own)


def guard(app: Flask, public: Collection[str]) -> None:
    """Refuse an app with undecided routes, and from now on every further one.

    :param public: endpoints of views that anybody may call and that are not the
        service's own to decorate.
    """
    _open(app, public)
    routes = [line for name, view in app.view_functions.items() for line in _lines(app, name, view)]
    if routes:
        raise UndecidedRoutes(routes)
    app.view_functions = _DecidedViews(app)
    _take_decided_rules_only(app)


def is_spared(app: Flask, request: Request) -> bool:
    """Say whether a protected blueprint lets a request through: its view is public.

    What found no route is let through as well: no view will run, and it is a 404 or 405.
    """
    endpoint = request.endpoint
    if endpoint is None:
        return True
    return _is_public(app, endpoint, app.view_functions.get(endpoint), request.method)


def refuse_bare(app: Flask) -> None:
    """Refuse views that were decorated after their route had registered them."""
    for view in app.view_functions.values():
        if (name := _bare(view)) is not None:
            raise misuse(f"{place_of(view)}: {above_the_route(name, view.__name__)}")


class _DecidedViews(dict[str, Any]):
    """The views of a guarded app. Flask puts every view here, and undecided ones are refused."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app.view_functions)
        self._app = app

    def __setitem__(self, endpoint: str, view: AnyView) -> None:
        if routes := list(_lines(self._app, endpoint, view)):
            raise UndecidedRoutes(routes)
        super().__setitem__(endpoint, view)

    def setdefault(self, endpoint: str, view: Any = None, /) -> Any:
        if endpoint not in self:
            self[endpoint] = view
        return self[endpoint]

    def update(self, *args: Any, **kwargs: Any) -> None:
        for endpoint, view in dict(*args, **kwargs).items():
            self[endpoint] = view

    def __ior__(self, other: Any) -> _DecidedViews:  # type: ignore[override, misc]
        self.update(other)
        return self


def _take_decided_rules_only(app: Flask) -> None:
    """Have the map refuse a rule by which something of a view runs that is undecided."""
    add = app.url_map.add

    def add_decided(rulefactory: RuleFactory) -> None:
        for rule in rulefactory.get_rules(app.url_map):
            view = app.view_functions.get(rule.endpoint)
            if view is not None and (routes := list(_lines(app, rule.endpoint, view, [rule]))):
                raise UndecidedRoutes(routes)
        add(rulefactory)

    app.url_map.add = add_decided  # type: ignore[method-assign]


def _open(app: Flask, endpoints: Collection[str]) -> None:
    if isinstance(endpoints, str):
        raise misuse('public is a list of endpoints, like ["static"].')
    for endpoint in endpoints:
        if endpoint not in app.view_functions:
            known = ", ".join(sorted(app.view_functions))
            raise misuse(f"There is no endpoint {endpoint!r}; there are {known}.")
        if getattr(app.view_functions[endpoint], "demands", ()):
            raise misuse(f"The endpoint {endpoint!r} asks for a token and cannot be public.")
    app.extensions[_PUBLIC] = frozenset(endpoints) | app.extensions.get(_PUBLIC, frozenset())


def _lines(
    app: Flask, endpoint: str, view: AnyView, rules: Sequence[Rule] | None = None
) -> Iterator[str]:
    """Describe the undecided methods of a view, as one line for each of its rules.

    Those of the app's map, or those given, which are about to come into it.
    """
    if rules is None:
        rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint]
    name = _bare(view)
    methods: Sequence[str | None] = _told_apart(view, rules) or (None,)
    undecided = [m for m in methods if name is not None or not _who(app, endpoint, view, m)]
    if not undecided:
        return
    what = f"{endpoint}, {place_of(view)}"
    what += "" if name is None else f" ({above_the_route(name, endpoint)})"
    for rule in rules:
        named = {method for method in undecided if method} or rule.methods or set()
        yield f"{', '.join(sorted(named - _SILENT or named))} {rule.rule}: {what}"
    if not rules:
        yield f"a view without a path yet: {what}"


def _who(app: Flask, endpoint: str, view: AnyView, method: str | None) -> tuple[str, ...]:
    """Say who may call a view; nothing where nobody decided.

    None for the method is any, of a view that does not tell them apart.
    """
    words = [
        str(demand)
        for demand in _demands_of_hooks(app, endpoint, view, method)
        if not demand.optional  # a hook that only looks who calls decides nothing
    ]
    words += _words(view) + _words(_handler(view, method))
    if not words and _is_public(app, endpoint, view, method):
        return (ANYBODY,)
    return tuple(dict.fromkeys(words))


def _demands_of_hooks(
    app: Flask, endpoint: str, view: AnyView | None, method: str | None
) -> list[Demand]:
    is_public = _is_public(app, endpoint, view, method)
    return [
        demand
        for hook in _hooks(app, endpoint)
        if not (is_public and getattr(hook, "spares_public", False))
        for demand in _demands(hook)
    ]


def _words(view: AnyView | None) -> list[str]:
    access = getattr(view, "access", None)
    own = [access] if isinstance(access, str) and access != "public" else []
    return own + [str(demand) for demand in _demands(view)]


def _demands(view: AnyView | None) -> tuple[Demand, ...]:
    return cast("tuple[Demand, ...]", getattr(view, "demands", ()))


def _is_public(app: Flask, endpoint: str, view: AnyView | None, method: str | None) -> bool:
    if endpoint in app.extensions.get(_PUBLIC, ()):
        return True
    access = getattr(view, "access", None)
    if access is None:
        access = getattr(_handler(view, method), "access", None)
    return bool(access == "public")


def _handler(view: AnyView | None, method: str | None) -> AnyView | None:
    """Give what a `MethodView` runs for a method; None for other views.

    One with a `dispatch_request` of its own may run anything, and counts as other.
    """
    view_class = getattr(view, "view_class", None)
    if method is None or view_class is None or not issubclass(view_class, MethodView):
        return None
    if view_class.dispatch_request is not MethodView.dispatch_request:
        return None
    found = getattr(view_class, method.lower(), None)
    if found is None and method == "HEAD":
        found = getattr(view_class, "get", None)
    return cast("AnyView | None", found)


def _told_apart(view: AnyView, rules: Sequence[Rule]) -> list[str]:
    """Give the methods for which a view runs something of its own; none if it is all one.

    Those that no rule serves yet are among them: a rule may follow. To a rule for any method
    whatever it is all one, since none but the class as a whole can decide about that.
    """
    if any(rule.methods is None for rule in rules):
        return []
    methods = _METHODS.union(*(rule.methods or () for rule in rules))
    return [name for name in sorted(methods) if _handler(view, name) is not None]


def _methods(rule: Rule, view: AnyView) -> list[str]:
    """Give the methods of a rule by which something of the view's runs."""
    methods = sorted(rule.methods or ["*"])
    apart = _told_apart(view, [rule])
    return [name for name in methods if name in apart] if apart else methods


def _hooks(app: Flask, endpoint: str) -> Iterator[AnyView]:
    """Give what runs before a view: the app's hooks and those of its blueprints."""
    names: list[str | None] = [None]
    blueprint = endpoint.rpartition(".")[0]
    while blueprint:
        names.append(blueprint)
        blueprint = blueprint.rpartition(".")[0]
    for name in names:
        yield from app.before_request_funcs.get(name, ())


def _bare(view: AnyView) -> str | None:
    """Say by which decorator a view was guarded, where the guarded one is another function."""
    if _demands(view) or getattr(view, "access", None) is not None:
        return None
    return getattr(view, "guarded_elsewhere_by", None)
