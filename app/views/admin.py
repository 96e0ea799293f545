"""Blueprint `admin`: the page of administrators; users, services, keys, sign-ins."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import administration, services
from app.errors import AppError, LockOut
from app.views import browser, chart, words
from app.views.access import admin_required

blueprint = Blueprint("admin", __name__, url_prefix="/admin")


@blueprint.before_request
def refuse_foreign_posts() -> None:
    if request.method == "POST":
        browser.require_own_origin()


@blueprint.get("")
@admin_required
def show() -> Response:
    return _page()


@blueprint.post("/users/<user_id>/disable")
@admin_required
def disable(user_id: str) -> Response:
    try:
        administration.disable(user_id, browser.client())
    except LockOut as refusal:
        return _page(refusal)
    return _done("disabled")


@blueprint.post("/users/<user_id>/enable")
@admin_required
def enable(user_id: str) -> Response:
    administration.enable(user_id, browser.client())
    return _done("enabled")


@blueprint.post("/users/<user_id>/end-sessions")
@admin_required
def end_sessions(user_id: str) -> Response:
    administration.end_sessions(user_id, browser.client())
    if browser.signed_out_meanwhile():
        return redirect(url_for("pages.log_in", next=url_for("admin.show")), 303)
    return _done("ended")


def _done(message: str) -> Response:
    back = url_for("admin.show", _external=False, **_search())
    return browser.tell_next(redirect(back, 303), message)


def _search() -> dict[str, str]:
    """What was looked for, to be looked for again."""
    chosen = {name: request.values.get(name, "") for name in ("q", "after")}
    return {name: text for name, text in chosen.items() if text}


def _page(refusal: AppError | None = None) -> Response:
    now, search = datetime.now(UTC), _search()
    sign_ins = administration.sign_ins(now)
    page = render_template(
        "admin.html",
        search=search,
        found=administration.find_users(search.get("q", ""), search.get("after"), now),
        services=services.everyone(),
        keys=administration.signing_keys(now),
        sign_ins=sign_ins,
        chart=chart.of_sign_ins(sign_ins),
        done=browser.message(),
        refusal=refusal,
        words=words,
    )
    return browser.told(make_response(page, refusal.status if refusal else 200))
