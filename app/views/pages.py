"""Blueprint `pages`: HTML for somebody who is not signed in yet."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app import accounts, login
from app.errors import AppError, EmailTaken, InvalidCredentials, TooManyAttempts, ValidationFailed
from app.login import SignIn
from app.views import browser
from app.views.access import public

blueprint = Blueprint("pages", __name__)


@blueprint.before_request
def refuse_foreign_posts() -> None:
    if request.method == "POST":
        browser.require_own_origin()


@blueprint.get("/")
@public
def index() -> Response:
    signed_in = browser.current_session() is not None
    return redirect(url_for("account.show" if signed_in else "pages.log_in"), 303)


@blueprint.get("/login")
@public
def log_in() -> Response:
    if browser.current_session() is not None:
        return redirect(_next(), 303)
    return _page("login.html")


@blueprint.post("/login")
@public
def log_in_submitted() -> Response:
    email, password = _field("email"), _field("password")
    try:
        sign_in = login.with_cookie(
            email, password, browser.client(), instead_of=browser.current_session()
        )
    except (InvalidCredentials, TooManyAttempts) as refusal:
        return _page("login.html", refusal)
    return _welcome(sign_in)


@blueprint.get("/register")
@public
def register() -> Response:
    return _page("register.html", status=200 if accounts.registration_is_open() else 403)


@blueprint.post("/register")
@public
def register_submitted() -> Response:
    email, password = _field("email"), _field("password")
    try:
        sign_in = accounts.register_with_cookie(
            email, password, browser.client(), instead_of=browser.current_session()
        )
    except (ValidationFailed, EmailTaken, TooManyAttempts) as refusal:
        return _page("register.html", refusal)
    return _welcome(sign_in)


@blueprint.get("/setup")
@public
def set_up() -> Response:
    accounts.check_setup(request.args.get("token", ""), browser.client())
    return _page("setup.html")


@blueprint.post("/setup")
@public
def set_up_submitted() -> Response:
    token, email, password = _field("token"), _field("email"), _field("password")
    try:
        sign_in = accounts.set_up(
            token, email, password, browser.client(), instead_of=browser.current_session()
        )
    except (ValidationFailed, EmailTaken) as refusal:
        return _page("setup.html", refusal)
    return _welcome(sign_in)


@blueprint.get("/reset")
@public
def reset_password() -> Response:
    token = request.args.get("token", "")
    return _page("reset.html", user=accounts.check_reset(token, browser.client()))


@blueprint.post("/reset")
@public
def reset_password_submitted() -> Response:
    token, password = _field("token"), _field("password")
    try:
        accounts.reset_password(token, password, browser.client())
    except ValidationFailed as refusal:
        return _page("reset.html", refusal, user=accounts.check_reset(token, browser.client()))
    return browser.tell_next(redirect(url_for("pages.log_in"), 303), "password")


@blueprint.post("/logout")
@public
def log_out() -> Response:
    response = browser.end(redirect(url_for("pages.log_in"), 303))
    return browser.tell_next(response, "signed-out")


def _welcome(sign_in: SignIn) -> Response:
    return browser.begin(redirect(_next(), 303), sign_in)


def _next() -> str:
    target = request.form.get("next") or request.args.get("next")
    return browser.safe_next(target) or url_for("account.show")


def _field(name: str) -> str:
    """A text of the submitted form; what no text field can hold is refused by the rules."""
    return request.form.get(name, "")


def _page(
    template: str, refusal: AppError | None = None, status: int = 200, **more: Any
) -> Response:
    """Show a form, again if need be with what was wrong and what was typed."""
    shown: dict[str, Any] = {
        "email": _field("email"),
        "next": browser.safe_next(request.values.get("next")),
        "token": request.values.get("token", ""),
        "registration_is_open": accounts.registration_is_open(),
        "done": browser.message(),
        "refusal": refusal,
        "errors": refusal.errors if isinstance(refusal, ValidationFailed) else {},
    }
    page = render_template(template, **shown, **more)
    return browser.refused(browser.told(make_response(page, status)), refusal)
