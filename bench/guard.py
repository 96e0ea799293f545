"""What it costs to guard a Flask route with an access token.

    .venv/bin/pip install -r bench/requirements.txt && .venv/bin/python bench/guard.py

A bare Flask route and the same route behind each guard are called in one
process through the WSGI interface. All get the same tokens: ES256 and HS256,
tokens seen before (a few, over and over) and a new token each call. Every call
has a fresh environ with a fresh copy of the header, as from a real server, so
that no string's hash is cached; building it is not timed.

Our guard has its default settings, as in a service. It finds the ES256 keys by the
issuer's URL, and asks of each token whether its session has ended, in a status list of
2^20 sessions that it fetches from a real server in another process (`bench/issuer.py`)
and fetches again every nine seconds. The others ask nothing of the kind. One line is
our guard with `status=None`, which does not ask either.

Ratios are what counts, because microseconds tell about the machine, and about
what else it does at the moment. The contenders therefore take turns of a few
calls in a shuffled order, and times are divided within a turn: by the bare
route's, and by those of the hand-written PyJWT decorator, given its key in the
faster way. A run's ratio is the median over its turns, the figure printed the
median over the runs. What happens in few turns only (a full table of seen
tokens is dropped) is in the microseconds, the mean of all calls. The clock is the
process's CPU time (`time.process_time`), which stands still while another
process has the processor; nothing here waits, so it misses nothing.

SimpleJWT guards views of the Django REST Framework, so it is compared with a
bare view of that framework, which is slower than a bare Flask route.

Then, an issuer that runs is compared with one that was stopped for so long that its list
is stale, when every call finds that out anew, and lets the token through
(`on_stale="allow"`, the default). Each call is timed alone, by the wall clock, so that
one that waits for a fetch or a lock would be seen; the figures are the median and the
99th percentile of a run's calls, and again the median over the runs.

Last, a flood of distinct valid tokens is verified: memory may not grow with it,
and the tokens of users who are active all the while are neither checked again
nor looked up any slower than by a verifier that saw no flood.

Ends with status 1 if a promise is broken. `foxtrot` is taken from the checkout.
"""

from __future__ import annotations

import argparse
import gc
import io
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial, wraps
from importlib import import_module as peer
from itertools import chain, count
from pathlib import Path
from statistics import mean, median, quantiles
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import jwt
from flask import Flask, abort, g, request

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run from the checkout

from bench.issuer import AUDIENCE, ENDED, PEM, PUBLIC_KEY, SCOPE, SECRET, TTL, Issuer, running
from foxtrot import Verifier
from foxtrot.flask import Bearer

TURN = 20
"""Calls that are timed in one go, before the next contender has its turn."""

REGULARS = 50
"""Active users whose tokens are used now and then during the flood."""

STALE_AFTER = TTL + 2
"""Seconds after which the list of an issuer that was stopped is stale."""

MAX_SEEN = 1.15  # times a bare route, for a token seen before
MAX_NEW = 1.05  # times the hand-written decorator, for a new token
MAX_STOPPED = 1.15  # times the 99th percentile with an issuer that runs
MAX_GROWTH = 1.1  # times the memory after the first part of a flood
MAX_SLOWER = 1.25  # times the time for an active user's token without a flood

BARE = "bare Flask route"
OURS = "foxtrot.flask.Bearer"
OURS_WITHOUT = "foxtrot.flask.Bearer, status=None"
BY_HAND = "PyJWT by hand, key loaded once"
BY_HAND_PEM = "PyJWT by hand, PEM each call"
BARE_DRF = "bare DRF view"
SIMPLE_JWT = "SimpleJWT on DRF (by bare DRF view)"

Environ = dict[str, Any]
View = Callable[..., Any]
Guard = Callable[[View], View]
Run = dict[str, list[float]]
"""Seconds of every turn, by contender."""


class Application(Protocol):
    """A WSGI application."""

    def __call__(self, environ: Environ, start_response: Callable[..., Any], /) -> Any: ...


# The tokens.


def seen_tokens(issuer: Issuer, calls: int) -> list[str]:
    """Give *calls* tokens, the same few in every turn."""
    return [*map(issuer.sign, range(TURN))] * (calls // TURN)


def new_tokens(issuer: Issuer, calls: int, start: Iterator[int]) -> list[str]:
    """Give *calls* tokens that no guard has seen."""
    return [issuer.sign(next(start)) for _ in range(calls)]


# The contenders in Flask.


def flask_app(guard: Guard | None = None) -> Flask:
    """Make an app with the one route, behind *guard*."""
    app = Flask(__name__, static_folder=None)

    def notes() -> str:
        return "ok"

    app.add_url_rule("/notes", view_func=guard(notes) if guard else notes)
    return app


def ours(issuer: Issuer, **settings: Any) -> Application:
    """Guard the route with this package, as its README shows."""
    if issuer.algorithm == "HS256":
        settings["secret"] = SECRET
    bearer = Bearer(issuer.url, AUDIENCE, **settings)
    app = flask_app(bearer.required(SCOPE))
    bearer.init_app(app)
    bearer.guard(app)
    return app


def by_hand(issuer: Issuer, public_key: Any = PUBLIC_KEY) -> Application:
    """Guard the route with the decorator that one writes around PyJWT.

    It does not look at scopes, types or required claims, and so does less.
    """
    algorithm = issuer.algorithm
    key = SECRET if algorithm == "HS256" else public_key

    def guard(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                abort(401)
            try:
                g.claims = jwt.decode(
                    token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=issuer.url
                )
            except jwt.InvalidTokenError:
                abort(401)
            return view(*args, **kwargs)

        return guarded

    return flask_app(guard)


def flask_jwt_extended(issuer: Issuer) -> Application:
    """Guard the route with flask-jwt-extended; it does not look at scopes."""
    extension = peer("flask_jwt_extended")
    app = flask_app(extension.jwt_required())
    app.config.update(
        JWT_ALGORITHM=issuer.algorithm,
        JWT_SECRET_KEY=SECRET,
        JWT_PUBLIC_KEY=PUBLIC_KEY,
        JWT_DECODE_AUDIENCE=AUDIENCE,
        JWT_DECODE_ISSUER=issuer.url,
        JWT_TOKEN_LOCATION=["headers"],
    )
    extension.JWTManager(app)
    return app


def authlib(issuer: Issuer) -> Application:
    """Guard the route with Authlib's validator of RFC 9068 access tokens."""
    protector = peer("authlib.integrations.flask_oauth2").ResourceProtector()
    base = peer("authlib.oauth2.rfc9068").JWTBearerTokenValidator
    jwk = peer("joserfc.jwk")
    hashed = issuer.algorithm == "HS256"
    key = jwk.OctKey.import_key(SECRET) if hashed else jwk.ECKey.import_key(PEM)
    validator = type("Validator", (base,), {"get_jwks": lambda _self: key})
    protector.register_token_validator(validator(issuer.url, AUDIENCE))
    return flask_app(protector(SCOPE))


# The contenders in the Django REST Framework.


@cache
def django() -> ModuleType:
    """Set Django up, once, with as little around a view as it allows; give its URL module."""
    urls = ModuleType("urls")
    peer("rest_framework_simplejwt")
    peer("rest_framework")
    peer("django.conf").settings.configure(
        SECRET_KEY=SECRET.hex(),
        ROOT_URLCONF=urls,
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[],
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
        SIMPLE_JWT={"TOKEN_TYPE_CLAIM": None, "USER_ID_CLAIM": "sub"},
    )
    peer("django").setup()
    urls.urlpatterns = []  # type: ignore[attr-defined]  # Django looks for it there
    return urls


def drf_app(path: str, **policies: Any) -> Application:
    """Make a WSGI application of which *path* is a view with those policies."""
    urls = django()
    base = peer("rest_framework.views").APIView
    response = peer("rest_framework.response").Response
    members = {"get": lambda _self, _request: response("ok"), **policies}
    view: Any = type("Notes", (base,), members)
    urls.urlpatterns.append(peer("django.urls").path(path, view.as_view()))
    handler = peer("django.core.handlers.wsgi").WSGIHandler()

    def application(environ: Environ, start_response: Callable[..., Any]) -> Any:
        environ["PATH_INFO"] = f"/{path}"
        return handler(environ, start_response)

    return application


def bare_drf(issuer: Issuer) -> Application:
    """Make a view that lets everybody in without a look."""
    return drf_app(f"bare-{issuer.algorithm}", authentication_classes=[], permission_classes=[])


def simple_jwt(issuer: Issuer) -> Application:
    """Guard a view with SimpleJWT, without its look into the database."""
    django()
    backend = peer("rest_framework_simplejwt.backends").TokenBackend(
        issuer.algorithm, SECRET, PEM.decode(), audience=AUDIENCE, issuer=issuer.url
    )
    access = peer("rest_framework_simplejwt.tokens").AccessToken
    token = type("Access", (access,), {"_token_backend": backend})
    stateless = peer("rest_framework_simplejwt.authentication").JWTStatelessUserAuthentication
    members = {"get_validated_token": lambda _self, raw: token(raw)}
    return drf_app(
        f"guarded-{issuer.algorithm}",
        authentication_classes=[type("Authentication", (stateless,), members)],
        permission_classes=[peer("rest_framework.permissions").IsAuthenticated],
    )


CONTENDERS: dict[str, Callable[[Issuer], Application]] = {
    BARE: lambda _issuer: flask_app(),
    OURS: ours,
    OURS_WITHOUT: partial(ours, status=None),
    BY_HAND: by_hand,
    BY_HAND_PEM: partial(by_hand, public_key=PEM),
    "flask-jwt-extended": flask_jwt_extended,
    "Authlib ResourceProtector": authlib,
    BARE_DRF: bare_drf,
    SIMPLE_JWT: simple_jwt,
}


def contenders(issuer: Issuer, names: Sequence[str] = tuple(CONTENDERS)) -> dict[str, Application]:
    """Build every contender that is installed and that the algorithm makes sense for."""
    built = {}
    for name in names:
        if name == BY_HAND_PEM and issuer.algorithm == "HS256":
            continue
        try:
            built[name] = CONTENDERS[name](issuer)
        except ModuleNotFoundError:
            print(f"{name}: not installed: pip install -r bench/requirements.txt")
    return built


# The measuring.


def environ_of(token: str) -> Environ:
    """Build what a server hands over for one request."""
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/notes",
        "QUERY_STRING": "",
        "RAW_URI": "/notes",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "bench",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50000",
        "HTTP_HOST": "127.0.0.1:8000",
        "HTTP_USER_AGENT": "bench",
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "HTTP_CONNECTION": "keep-alive",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def call(application: Application, environs: Sequence[Environ]) -> set[str]:
    """Call as a server does; give the statuses that were answered."""
    statuses: list[str] = []

    def start_response(status: str, *_rest: Any) -> None:
        statuses.append(status)

    for environ in environs:
        body = application(environ, start_response)
        for _chunk in body:
            pass
        body.close()
    return set(statuses)


def timed_turn(application: Application, tokens: Sequence[str]) -> float:
    """Call once for each token and give the CPU seconds; every answer must be a 200."""
    environs = [environ_of(token) for token in tokens]
    start = time.process_time()
    statuses = call(application, environs)
    spent = time.process_time() - start
    if statuses != {"200 OK"}:
        raise RuntimeError(f"A contender answered {statuses}.")
    return spent


def require_guard(name: str, application: Application, issuer: Issuer) -> None:
    """Make sure that what is measured looks at signatures, and ours at the status list."""
    head, _, signature = issuer.sign(0).rpartition(".")
    forged = f"{head}.{signature[::-1]}"
    if name not in (BARE, BARE_DRF) and call(application, [environ_of(forged)]) == {"200 OK"}:
        raise RuntimeError(f"{name} lets a forged token in.")
    ended = issuer.sign(0, place=ENDED[0])
    if name == OURS and call(application, [environ_of(ended)]) == {"200 OK"}:
        raise RuntimeError(f"{name} lets a token in whose session has ended.")


def timed_run(applications: dict[str, Application], tokens: Sequence[str]) -> Run:
    """Let all contenders take turns with the same tokens."""
    run: Run = {name: [] for name in applications}
    names = list(applications)
    gc.collect()
    for start in range(0, len(tokens), TURN):
        random.shuffle(names)
        for name in names:
            run[name].append(timed_turn(applications[name], tokens[start : start + TURN]))
    return run


def timed_runs(
    applications: dict[str, Application], runs: int, tokens: Callable[[], list[str]]
) -> list[Run]:
    """Do a run to warm up, then those that count."""
    timed_run(applications, tokens())
    return [timed_run(applications, tokens()) for _ in range(runs)]


# The verdict.


class Row(NamedTuple):
    """What is printed of one contender."""

    name: str
    microseconds: float
    by_bare: float
    by_hand: float | None


def ratio(runs: Sequence[Run], name: str, base: str) -> float:
    """The median over the runs of the median over the turns."""
    return median(
        median(mine / its for mine, its in zip(run[name], run[base], strict=True)) for run in runs
    )


def row(runs: Sequence[Run], name: str) -> Row:
    """Compare a contender with the bare view of its framework and the hand-written guards."""
    in_drf = name in (BARE_DRF, SIMPLE_JWT)
    microseconds = mean(chain.from_iterable(run[name] for run in runs)) / TURN * 1e6
    by_bare = ratio(runs, name, BARE_DRF if in_drf else BARE)
    if in_drf or name == BARE:
        return Row(name, microseconds, by_bare, None)
    return Row(name, microseconds, by_bare, ratio_by_hand(runs, name))


def ratio_by_hand(runs: Sequence[Run], name: str) -> float:
    """Compare a contender with the faster of the hand-written guards."""
    return max(ratio(runs, name, hand) for hand in (BY_HAND, BY_HAND_PEM) if hand in runs[0])


def show(title: str, table: Sequence[Row]) -> None:
    """Print one table."""
    print(f"\n{title:38}{'µs':>8}{'x bare':>9}{'x hand':>9}")
    for row in table:
        hand = "-" if row.by_hand is None else f"{row.by_hand:.2f}"
        print(f"  {row.name:36}{row.microseconds:8.1f}{row.by_bare:9.2f}{hand:>9}")


def kept(promise: str, value: float, limit: float) -> bool:
    """Print whether a promise is kept."""
    good = value <= limit
    print(f"  {'kept' if good else 'BROKEN'}: {promise}: {value:.3f} (at most {limit:.2f})")
    return good


def compare(issuer: Issuer, runs: int, calls: int) -> list[bool]:
    """Measure all contenders with one algorithm; say which promises are kept."""
    algorithm = issuer.algorithm
    applications = contenders(issuer)
    numbers = count(TURN)
    old = seen_tokens(issuer, calls)
    for name, application in applications.items():
        require_guard(name, application, issuer)
    gc.freeze()
    seen = timed_runs(applications, runs, lambda: old)
    new = timed_runs(applications, runs, lambda: new_tokens(issuer, calls, numbers))
    show(f"{algorithm}, a token seen before", [row(seen, name) for name in applications])
    show(f"{algorithm}, a new token each call", [row(new, name) for name in applications])
    return [
        kept(
            f"{algorithm}, a token seen before, times a bare route",
            ratio(seen, OURS, BARE),
            MAX_SEEN,
        ),
        kept(f"{algorithm}, a new token, times PyJWT by hand", ratio_by_hand(new, OURS), MAX_NEW),
    ]


# The issuer that was stopped.


class Side(NamedTuple):
    """Our guard, and a few tokens for it that it has seen."""

    application: Application
    tokens: list[str]


def careful(issuer: Issuer) -> Application:
    """Guard the route so that it is closed while the status list is stale."""
    return ours(issuer, on_stale="deny")


def seconds_of_calls(side: Side) -> list[float]:
    """Call once for each token; give the seconds of each call by the wall clock."""
    spent = []
    for environ in map(environ_of, side.tokens):
        start = time.perf_counter()
        statuses = call(side.application, [environ])
        spent.append(time.perf_counter() - start)
        if statuses != {"200 OK"}:
            raise RuntimeError(f"A call was answered {statuses}.")
    return spent


def centiles(sides: Sequence[Side], turns: int) -> list[tuple[float, float]]:
    """Let the sides take turns; give the median and the 99th percentile of each one's calls."""
    spent: list[list[float]] = [[] for _ in sides]
    order = list(range(len(sides)))
    gc.collect()
    for _ in range(turns):
        random.shuffle(order)
        for index in order:
            spent[index] += seconds_of_calls(sides[index])
    return [(median(calls), quantiles(calls, n=100)[98]) for calls in spent]


def stopped(up: Issuer, runs: int, calls: int) -> list[bool]:
    """Compare an issuer that runs with one that was stopped; say which promises are kept."""
    with running(up.algorithm) as down:
        sides = [Side(ours(issuer), seen_tokens(issuer, TURN)) for issuer in (up, down)]
        closed = Side(careful(down), sides[1].tokens)
        for side in (*sides, closed):
            seconds_of_calls(side)
    print(f"\nThe issuer was stopped; its list is stale in {STALE_AFTER} seconds")
    time.sleep(STALE_AFTER)
    if call(closed.application, [environ_of(closed.tokens[0])]) == {"200 OK"}:
        raise RuntimeError("The list of the issuer that was stopped is not stale.")
    centiles(sides, calls // TURN)
    measured = [centiles(sides, calls // TURN) for _ in range(runs)]
    return show_stopped(up.algorithm, measured)


def show_stopped(algorithm: str, runs: Sequence[Sequence[tuple[float, float]]]) -> list[bool]:
    """Print the table of it; say which promises are kept."""
    print(f"\n{algorithm + ', a token seen before':38}{'p50 µs':>8}{'p99 µs':>9}")
    for side, name in enumerate(("issuer up", "issuer stopped, list stale")):
        middle, high = (median(run[side][part] for run in runs) * 1e6 for part in (0, 1))
        print(f"  {name:36}{middle:8.1f}{high:9.1f}")
    middle, high = (median(run[1][part] / run[0][part] for run in runs) for part in (0, 1))
    return [
        kept("issuer stopped, p50 by that with the issuer up", middle, MAX_STOPPED),
        kept("issuer stopped, p99 by that with the issuer up", high, MAX_STOPPED),
    ]


# The flood.


def verifier_of(issuer: Issuer, regulars: Sequence[str]) -> Verifier:
    """Make a verifier that has seen those users' tokens."""
    verifier = Verifier(issuer.url, AUDIENCE, secret=SECRET)
    for token in regulars:
        verifier.verify(token)
    return verifier


def timed_round(verifier: Verifier, tokens: Sequence[str]) -> float:
    """Give the CPU seconds for one token after the other."""
    copies = [token.encode().decode() for token in tokens]
    start = time.process_time()
    for copy in copies:
        verifier.verify(copy)
    return time.process_time() - start


def pour(verifier: Verifier, issuer: Issuer, regulars: Sequence[str], numbers: range) -> int:
    """Verify a distinct token for each number and now and then a regular one; peak bytes."""
    tracemalloc.reset_peak()
    for number in numbers:
        verifier.verify(issuer.sign(number))
        if number % 10 == 0:
            verifier.verify(regulars[number // 10 % len(regulars)])
    return tracemalloc.get_traced_memory()[1]


def slowdown(flooded: Verifier, fresh: Verifier, regulars: Sequence[str]) -> float:
    """Give the median of how many times as long the flooded one takes for the same tokens."""
    rounds = range(1000)
    return median(timed_round(flooded, regulars) / timed_round(fresh, regulars) for _ in rounds)


def growth(verifier: Verifier, issuer: Issuer, regulars: Sequence[str], tokens: int) -> float:
    """Flood the verifier; give how many times the first fifth's memory the rest needs."""
    tracemalloc.start()
    first = pour(verifier, issuer, regulars, range(REGULARS, tokens // 5))
    rest = pour(verifier, issuer, regulars, range(tokens // 5, tokens))
    tracemalloc.stop()
    print(f"\nA flood of {tokens:,} distinct valid tokens (HS256) through one Verifier")
    print(f"  peak memory: {first / 1e6:.2f} MB in the first fifth, {rest / 1e6:.2f} MB after it")
    return rest / first


def flood(issuer: Issuer, tokens: int) -> list[bool]:
    """Verify that many distinct valid tokens; say which promises are kept."""
    regulars = [issuer.sign(number) for number in range(REGULARS)]
    fresh, flooded = verifier_of(issuer, regulars), verifier_of(issuer, regulars)
    remembered = [flooded.verify(text) for text in regulars]
    grown = growth(flooded, issuer, regulars, tokens)
    again = sum(flooded.verify(text) is not remembered[i] for i, text in enumerate(regulars))
    slower = slowdown(flooded, fresh, regulars)
    return [
        kept("peak memory after the first fifth, times that in it", grown, MAX_GROWTH),
        kept(f"of {REGULARS} active users' tokens, checked twice", again, 0),
        kept("an active user's token, times that without a flood", slower, MAX_SLOWER),
    ]


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What it costs to guard a Flask route.")
    parser.add_argument("--runs", type=int, default=5, help="runs that count (default 5)")
    parser.add_argument("--calls", type=int, default=1000, help="calls a run (default 1000)")
    parser.add_argument("--flood", type=int, default=50_000, help="distinct tokens (default 50000)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise is broken."""
    chosen = options(arguments)
    calls = max(TURN, chosen.calls // TURN * TURN)
    gc.disable()
    results = []
    for algorithm in ("ES256", "HS256"):
        with running(algorithm) as issuer:
            results += compare(issuer, chosen.runs, calls)
    with running("ES256") as issuer:
        results += stopped(issuer, chosen.runs, calls)
    gc.enable()
    with running("HS256") as issuer:
        results += flood(issuer, chosen.flood)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
