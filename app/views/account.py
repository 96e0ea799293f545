"""Blueprint `account`: HTML for somebody who is signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import accounts, audit, sessions
from app.errors import AppError, NotSignedIn, TooManyAttempts, ValidationFailed, WrongPassword
from app.sessions import Ending, LoginSession
from app.views import browser, words
from app.views.access import login_required

blueprint = Blueprint("account", __name__, url_prefix="/account")

EVENTS_SHOWN: Final = 30


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
        accounts.change_password(_session(), current, new, browser.client())
    except (WrongPassword, ValidationFailed, TooManyAttempts) as refusal:
        return _page(refusal)
    except NotSignedIn:
        return redirect(url_for("pages.log_in"), 303)
    user = _session().user
    return browser.know_device(_done("password"), user.public_id, user.password_changed_at)


@blueprint.post("/sessions/<session_id>/end")
@login_required
def end_session(session_id: str) -> Response:
    current = _session()
    chosen = sessions.by_public_id(session_id, current.user.public_id)
    if chosen is not None:  # else it has ended already, which is what was wanted
        sessions.end(chosen, Ending.ENDED_BY_USER, browser.client())
    return _done("session")


@blueprint.post("/sessions/end-others")
@login_required
def end_other_sessions() -> Response:
    sessions.end_others(_session(), Ending.ENDED_BY_USER, browser.client())
    return _done("others")


@blueprint.post("/sessions/end-all")
@login_required
def end_all_sessions() -> Response:
    sessions.end_all(_session().user, Ending.ENDED_BY_USER, browser.client())
    response = browser.end(redirect(url_for("pages.log_in"), 303))
    return browser.tell_next(response, "everywhere")


@blueprint.post("/warning/dismiss")
@login_required
def dismiss_warning() -> Response:
    current = _session()
    accounts.dismiss_theft_warning(
        current.user, request.form.get("event", ""), browser.client(), datetime.now(UTC)
    )
    return redirect(url_for("account.show"), 303)


def _session() -> LoginSession:
    session = browser.current_session()
    if session is None:
        raise NotSignedIn
    return session


def _done(message: str) -> Response:
    return browser.tell_next(redirect(url_for("account.show"), 303), message)


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
        sessions=sorted(sessions.live(current.user, now), key=lambda one: one.id != current.id),
        events=events,
        warning=accounts.theft_to_hear_of(current.user, now),
        done=browser.message(),
        refusal=refusal,
        errors=_errors(refusal),
        now=now,
        words=words,
    )
    return browser.refused(browser.told(make_response(page)), refusal)


def _errors(refusal: AppError | None) -> dict[str, list[str]]:
    if isinstance(refusal, WrongPassword | TooManyAttempts):
        return {"current_password": [refusal.detail]}
    return refusal.errors if isinstance(refusal, ValidationFailed) else {}
