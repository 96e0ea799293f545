"""What is written down about each request: a line in the log, and numbers for Prometheus.

Both name the route by its template. Paths, queries, bodies and headers are in neither.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from flask import Flask, Request, Response, request

from app import logs
from app.metrics import LOGINS, REFRESHES, REFUSALS, REQUESTS, TOKEN_REFUSALS, Meter
from app.views import browser
from app.views.contract import PROBLEM

_OUTCOMES_OF: Final = {
    "auth.log_in": LOGINS,
    "pages.log_in_submitted": LOGINS,
    "auth.refresh": REFRESHES,
}
_OUTCOMES: Final = {401: "refused", 403: "refused", 429: "throttled", 503: "unavailable"}
_BEGAN: Final = "foxtrot.began"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def init_app(app: Flask) -> None:
    """Watch the requests of *app*; to be called before any other hook is registered.

    So the clock starts before the other hooks and stops after them.
    """
    meter: Meter = app.extensions["foxtrot_metrics"]
    is_logging = app.config["FOXTROT_ACCESS_LOG"] == "on"

    def write_down(response: Response) -> Response:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # once
        seconds = time.perf_counter() - asked.environ.get(_BEGAN, time.perf_counter())
        if meter.is_on:
            _count(meter, asked, response, seconds)
        if is_logging:
            _log(asked, response, seconds)
        return response

    if meter.is_on or is_logging:
        app.before_request(_start_clock)
        app.after_request(write_down)


def _start_clock() -> None:
    request.environ[_BEGAN] = time.perf_counter()


def _log(asked: Request, response: Response, seconds: float) -> None:
    who = browser.client()
    logs.request_line(
        at=datetime.now(UTC),
        request_id=who.request_id,
        method=asked.method,
        route=_route(asked),
        status=response.status_code,
        milliseconds=seconds * 1000,
        user=browser.noted_user(),
        address=who.address,
    )


def _count(meter: Meter, asked: Request, response: Response, seconds: float) -> None:
    method = asked.method if asked.method in _METHODS else "other"
    meter.observe(REQUESTS, seconds, method, _route(asked) or "none", str(response.status_code))
    metric = _OUTCOMES_OF.get(asked.endpoint or "")
    if metric is not None and asked.method == "POST":
        meter.count(metric, _outcome(response.status_code))
    if response.content_type == PROBLEM:
        _count_refusal(meter, response)


def _count_refusal(meter: Meter, response: Response) -> None:
    problem = response.get_json(silent=True) or {}
    meter.count(REFUSALS, str(problem.get("code")))
    if problem.get("code") == "invalid_token":
        meter.count(TOKEN_REFUSALS, str(problem.get("reason")))


def _outcome(status: int) -> str:
    if status < 400:
        return "succeeded"
    return _OUTCOMES.get(status, "invalid" if status < 500 else "failed")


def _route(asked: Request) -> str | None:
    return None if asked.url_rule is None else asked.url_rule.rule
