"""Fire the whole catalogue of wrong tokens at every route of a Flask app.

A route that is not guarded answers one of them, and is named. Werkzeug's rules tell which
routes there are; nothing is sent over a network.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from foxtrot.testing.in_process import EXTENSION, InProcessIssuer, bearer_header
from foxtrot.wrong_tokens import WrongToken, claims_of

with suppress(ModuleNotFoundError):  # services without Flask use the rest of the kit
    from foxtrot.flask.routes import demands_of, is_for_anybody

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from werkzeug.test import TestResponse

    from foxtrot.flask.demand import Demand

MOST_SHOWN: Final = 5
"""Tokens that are named for a route that lets many through."""

_NOT_FIRED_AT: Final = {"OPTIONS"}
_PARAMETER: Final = re.compile(r"<(?:(\w+)(?:\((.*?)\))?:)?(\w+)>")
_SAMPLES: Final = {"int": "1", "float": "1.0", "uuid": "00000000-0000-4000-8000-000000000000"}


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    endpoint: str
    demands: tuple[Demand, ...]
    is_optional: bool

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those of a good token."""
        return _scopes(self.demands)

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.endpoint})"


def assert_all_routes_guarded(
    app: Flask,
    issuer: InProcessIssuer | None = None,
    *,
    public: Collection[str] = (),
    optional: Collection[str] = (),
    values: Mapping[str, str] | None = None,
) -> None:
    """Fail, and name them, if routes let anybody in without a good access token.

    Every route and method gets each wrong token, one without each scope that the route's
    decorators and `bearer.protect` demand, and none at all; the answer must be 401, or 403 for a
    scope. Handlers
    are not reached where guards hold; but where refusals do not say why, a good token is sent,
    too, because a guard that refuses everybody, or believes somebody else, would prove nothing.
    Public are the views that wear `@public`, those of `bearer.guard(app, public=[…])`, Flask's
    static files, and those named.

    :param issuer: the one attached to the app, by default.
    :param public: endpoints, or paths as in the route, that are for everybody.
    :param optional: endpoints, or paths, that also answer without any token.
    :param values: for URL parameters, by name, where a made-up one does not fit the route.
    :raises ValueError: no issuer was attached, or a name in *public* or *optional* is unknown.
    """
    issuer = issuer or app.extensions.get(EXTENSION)
    if issuer is None:
        raise ValueError("Attach an issuer to the app first: issuer.attach(app, bearer).")
    _refuse_unknown(app, {*public, *optional})
    client = app.test_client()
    found = []
    routes = list(_routes(app, public, optional, values or {}))
    for route in routes:
        found += _complaints(client, issuer, route)
    if found:
        guarded = len(routes)
        lines = [f"{len(found)} of {guarded} routes are not guarded as they should be:", *found]
        raise AssertionError("\n".join(lines))


def _complaints(client: FlaskClient, issuer: InProcessIssuer, route: _Route) -> list[str]:
    """What is wrong with one route, in one text; none if nothing is."""
    lines = []
    if not route.is_optional:
        answer = _send(client, route, {})
        if answer.status_code != 401:
            lines.append(f"no token at all: answered {answer.status_code}")
    tells_why = False
    for token in _tokens(issuer, route):
        answer = _send(client, route, bearer_header(token.text))
        tells_why = tells_why or _reason(answer) is not None
        if said := _complaint(answer, token):
            lines.append(f"{token.name}: {said}")
    if not tells_why and route.method != "HEAD":  # its answers have no body; GET's tell
        good = _send(client, route, issuer.as_user(scopes=route.scopes))
        if good.status_code in (401, 403):
            lines.append(f"a good token: answered {good.status_code}, so nothing is shown")
    shown = lines[:MOST_SHOWN]
    if len(lines) > MOST_SHOWN:
        shown.append(f"and {len(lines) - MOST_SHOWN} more")
    return ["\n    ".join([f"  {route}", *shown])] if lines else []


def _complaint(answer: TestResponse, token: WrongToken) -> str | None:
    if answer.status_code != token.status:
        return f"answered {answer.status_code}, expected {token.status}. {token.sentence}"
    reason = _reason(answer)
    if reason is not None and reason not in token.reasons:
        return (
            f"refused for another reason ({reason}) than expected ({' or '.join(token.reasons)});"
            " is the app attached to this issuer, under the right audience?"
        )
    return None


def _reason(answer: TestResponse) -> str | None:
    """Why our decorator refused; it shows that the refusal is not for another cause."""
    problem = answer.get_json(silent=True, force=True)
    return problem.get("reason") if isinstance(problem, dict) else None


def _send(client: FlaskClient, route: _Route, headers: dict[str, str]) -> TestResponse:
    return client.open(route.path, method=route.method, headers=headers)


def _routes(
    app: Flask, public: Collection[str], optional: Collection[str], values: Mapping[str, str]
) -> Iterator[_Route]:
    for rule in app.url_map.iter_rules():
        names = {rule.endpoint, rule.rule}
        is_flasks_own = rule.endpoint == "static" and app.has_static_folder
        if is_flasks_own or names & {*public}:
            continue
        path = _PARAMETER.sub(lambda match: _sample(match, values), rule.rule)
        is_optional = bool(names & {*optional})
        for method in sorted((rule.methods or set()) - _NOT_FIRED_AT):
            if not is_for_anybody(app, rule.endpoint, method):
                demands = demands_of(app, rule.endpoint, method)
                yield _Route(method, path, rule.endpoint, demands, is_optional)


def _scopes(demands: Iterable[Demand]) -> tuple[str, ...]:
    """With which scopes a token is good: all that are demanded, and one of each choice."""
    scopes: set[str] = set().union(*(demand.scopes for demand in demands))
    for demand in demands:
        scopes.update(demand.to_ask_for(scopes).split())
    return tuple(sorted(scopes))


def _tokens(issuer: InProcessIssuer, route: _Route) -> Iterator[WrongToken]:
    """The catalogue, but for tokens whose scopes are enough, as one of a choice may be."""
    for token in issuer.wrong_tokens(route.scopes, required=route.scopes):
        if token.status != 403 or not _is_enough(route.demands, token):
            yield token


def _is_enough(demands: Iterable[Demand], token: WrongToken) -> bool:
    granted = set(claims_of(token.text).get("scope", "").split())
    return all(
        demand.scopes <= granted and (not demand.any_of or granted.intersection(demand.any_of))
        for demand in demands
    )


def _sample(match: re.Match[str], values: Mapping[str, str]) -> str:
    """A value for a parameter of a route, as its converter wants it."""
    converter, arguments, name = match.groups()
    if name in values:
        return values[name]
    if converter == "any" and arguments:
        return str(arguments.split(",")[0]).strip(" '\"")
    if converter == "string" and (length := re.search(r"(?:min)?length=(\d+)", arguments or "")):
        return "x" * int(length[1])
    return _SAMPLES.get(converter or "", "1")


def _refuse_unknown(app: Flask, named: set[str]) -> None:
    """A route that was renamed must not stay on a list of public ones unnoticed."""
    known = {name for rule in app.url_map.iter_rules() for name in (rule.endpoint, rule.rule)}
    if unknown := sorted(named - known):
        raise ValueError(f"There is no route {unknown[0]!r} in this app.")
