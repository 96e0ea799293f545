"""Blueprint `account`: HTML for somebody who is signed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import audit, login, sessions
from app.audit import AuditEvent, Event
from app.errors import AppError, NotSignedIn, ValidationFailed, WrongPassword
from app.sessions import Ending, LoginSession
from app.views import browser, words
from app.views.access import login_required

blueprint = Blueprint("account", __name__, url_prefix="/account")

EVENTS_SHOWN: Final = 30
WARN_FOR: Final = timedelta(days=14)
JUST_NOW: Final = timedelta(minutes=1)

_DONE: Final = {
    "password": Event.PASSWORD_CHANGED,
    "session": Event.SESSION_ENDED,
    "others": Event.SESSION_ENDED,
}


@blueprint.before_request
def refuse_foreign_posts() -> None:
    if request.method == "POST":
        browser.require_own_origin()


@blueprint.get("")
@login_required
def show() -> Response:
    return _page()


@blueprint.post("/password")
@login_required
def change_password() -> Response:
    current, new = request.form.get("current_password", ""), request.form.get("new_password", "")
    try:
        login.change_password(_session(), current, new, browser.client())
    except (WrongPassword, ValidationFailed) as refusal:
        return _page(refusal)
    return redirect(url_for("account.show", done="password"), 303)


@blueprint.post("/sessions/<session_id>/end")
@login_required
def end_session(session_id: str) -> Response:
    current = _session()
    chosen = sessions.by_public_id(session_id, current.user.public_id)
    if chosen is not None:  # else it has ended already, which is what was wanted
        sessions.end(chosen, Ending.ENDED_BY_USER, browser.client())
    return redirect(url_for("account.show", done="session"), 303)


@blueprint.post("/sessions/end-others")
@login_required
def end_other_sessions() -> Response:
    sessions.end_others(_session(), Ending.ENDED_BY_USER, browser.client())
    return redirect(url_for("account.show", done="others"), 303)


@blueprint.post("/sessions/end-all")
@login_required
def end_all_sessions() -> Response:
    sessions.end_all(_session().user, Ending.ENDED_BY_USER, browser.client())
    return browser.end(redirect(url_for("pages.log_in"), 303))


def _session() -> LoginSession:
    session = browser.current_session()
    if session is None:
        raise NotSignedIn
    return session


def _page(refusal: AppError | None = None) -> Response:
    now, current = datetime.now(UTC), _session()
    events = [
        event
        for event in audit.of_user(current.user.public_id, EVENTS_SHOWN)
        if event.reason != Ending.REFRESH_REUSED  # the theft itself is shown
    ]
    page = render_template(
        "account.html",
        session=current,
        sessions=sessions.live(current.user, now),
        events=events,
        warning=_warning(current, now),
        done=_done(events, now),
        refusal=refusal,
        errors=_errors(refusal),
        now=now,
        words=words,
    )
    return make_response(page, refusal.status if refusal else 200)


def _done(events: list[AuditEvent], now: datetime) -> str | None:
    """What the person just did, if it happened: anybody can make a link that claims it."""
    claimed = request.args.get("done", "")
    name = _DONE.get(claimed)
    lately = (event for event in events if now - event.at < JUST_NOW)
    return claimed if any(event.name == name for event in lately) else None


def _errors(refusal: AppError | None) -> dict[str, list[str]]:
    if isinstance(refusal, WrongPassword):
        return {"current_password": [refusal.detail]}
    return refusal.errors if isinstance(refusal, ValidationFailed) else {}


def _warning(current: LoginSession, now: datetime) -> AuditEvent | None:
    """The newest theft that the person should hear of, whatever happened since."""
    thefts = audit.newest(1, user=current.user.public_id, name=Event.REFRESH_REUSED)
    return next((theft for theft in thefts if now - theft.at < WARN_FOR), None)
