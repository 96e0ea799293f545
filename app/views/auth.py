"""Blueprint `auth`: register, log in, get a token, log out; JSON in, JSON out."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app import login, tokens, users
from app.errors import (
    CrossOrigin,
    EmailTaken,
    InvalidCredentials,
    InvalidScope,
    InvalidTarget,
    NotSignedIn,
    RegistrationClosed,
)
from app.views import browser
from app.views.access import public
from app.views.contract import operation
from app.views.messages import (
    Credentials,
    Grant,
    Login,
    PasswordAdvice,
    TokenAnswer,
    UserAnswer,
    token_answer,
    user_answer,
)

blueprint = Blueprint("auth", __name__, url_prefix="/auth")


@blueprint.post("/register")
@public
@operation(
    "Create an account",
    body=Credentials,
    answer=UserAnswer,
    status=201,
    refusals=(EmailTaken, RegistrationClosed),
)
def register(body: Credentials) -> UserAnswer:
    return user_answer(login.register(body.email, body.password))


@blueprint.post("/password-advice")
@public
@operation("Judge a new password, for advice while typing", body=Credentials, answer=PasswordAdvice)
def password_advice(body: Credentials) -> PasswordAdvice:
    advice = users.password_advice(body.password, body.email)
    return PasswordAdvice(acceptable=not advice, advice=advice)


@blueprint.post("/login")
@public
@operation(
    "Log in",
    body=Login,
    answer=TokenAnswer,
    refusals=(InvalidCredentials, InvalidScope, InvalidTarget, CrossOrigin),
)
def log_in(body: Login) -> TokenAnswer | Response:
    wants_cookie = body.session == "cookie"
    if wants_cookie:
        browser.require_own_origin()
    audience, scope = body.audience, body.scopes()
    session, secret = login.with_password(
        body.email,
        body.password,
        browser.client(),
        with_secret=wants_cookie,
        audience=audience,
        scope=scope,
    )
    answer = token_answer(tokens.mint(session, audience=audience, scope=scope))
    if secret is None:
        return answer
    return browser.begin(jsonify(answer.model_dump()), session, secret)


@blueprint.post("/token")
@public
@operation(
    "Get an access token for this browser, by its cookie",
    body=Grant,
    answer=TokenAnswer,
    refusals=(NotSignedIn, InvalidScope, InvalidTarget, CrossOrigin),
)
def token(body: Grant) -> TokenAnswer:
    browser.require_own_origin()
    session = browser.current_session()
    if session is None:
        raise NotSignedIn
    return token_answer(tokens.mint(session, audience=body.audience, scope=body.scopes()))


@blueprint.post("/logout")
@public
@operation("Log out this browser, by its cookie", status=204, refusals=(CrossOrigin,))
def log_out() -> Response:
    if browser.has_cookie():
        browser.require_own_origin()
    return browser.end(Response(status=204))
