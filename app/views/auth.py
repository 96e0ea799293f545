"""Blueprint `auth`: register, log in, refresh, get a token, log out; JSON in, JSON out."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, jsonify

from app import accounts, login, tokens, users
from app.errors import (
    Busy,
    CrossOrigin,
    EmailTaken,
    InsufficientScope,
    InvalidAccessToken,
    InvalidCredentials,
    InvalidScope,
    InvalidTarget,
    NoAccessToken,
    NotSignedIn,
    RegistrationClosed,
    TooManyAttempts,
)
from app.views import browser
from app.views.access import judge_for, public
from app.views.contract import Parameter, operation
from app.views.messages import (
    Credentials,
    Login,
    Logout,
    PasswordAdvice,
    Refresh,
    TokenAnswer,
    TokenRequest,
    UserAnswer,
    sign_in_answer,
    token_answer,
    user_answer,
)

blueprint = Blueprint("auth", __name__, url_prefix="/auth")

IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "header",
    r"[A-Za-z0-9_-]{22,128}",
    "A fresh random text for each refresh token. Who lost the answer comes back with the same one.",
)

AUDIENCE: Final = Parameter(
    "audience", "query", r"[\x21-\x7e]{1,200}", "The name of the service before which you ask."
)
SCOPE: Final = Parameter(
    "scope",
    "query",
    r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*",
    "What the token has to permit, separated by spaces.",
)


@blueprint.post("/register")
@public
@operation(
    "Create an account",
    body=Credentials,
    answer=UserAnswer,
    status=201,
    refusals=(EmailTaken, RegistrationClosed, TooManyAttempts, Busy),
)
def register(body: Credentials) -> UserAnswer:
    return user_answer(accounts.register(body.email, body.password, browser.client()))


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
    refusals=(InvalidCredentials, InvalidScope, InvalidTarget, CrossOrigin, TooManyAttempts, Busy),
)
def log_in(body: Login) -> TokenAnswer | Response:
    if body.session == "cookie":
        return _log_in_with_cookie(body)
    wish = body.wish(for_issuer=not browser.is_listed_origin())
    sign_in = login.with_tokens(body.email, body.password, browser.client(), wish)
    browser.note_user(sign_in.user_id)
    return sign_in_answer(sign_in)


def _log_in_with_cookie(body: Login) -> Response:
    browser.require_permitted_origin()
    before, wish = browser.current_session(), body.wish(for_issuer=browser.is_own_page())
    sign_in = login.with_cookie(
        body.email, body.password, browser.client(), wish, instead_of=before
    )
    answer = sign_in_answer(sign_in).model_dump(exclude_none=True)
    return browser.begin(jsonify(answer), sign_in)


@blueprint.post("/refresh")
@public
@operation(
    "Trade a refresh token for an access token and the next refresh token",
    body=Refresh,
    answer=TokenAnswer,
    parameters=(IDEMPOTENCY_KEY,),
    refusals=(NotSignedIn, InvalidScope, InvalidTarget, TooManyAttempts),
)
def refresh(body: Refresh) -> TokenAnswer:
    key, wish = IDEMPOTENCY_KEY.read(), body.wish(for_issuer=not browser.is_listed_origin())
    renewal = login.refresh(body.refresh_token, browser.client(), wish, retry_key=key)
    browser.note_user(renewal.user_id)
    return token_answer(renewal.access_token, renewal.refresh_token)


@blueprint.post("/token")
@public
@operation(
    "Get an access token for this browser, by its cookie",
    body=TokenRequest,
    answer=TokenAnswer,
    refusals=(NotSignedIn, InvalidScope, InvalidTarget, CrossOrigin),
)
def token(body: TokenRequest) -> TokenAnswer:
    browser.require_permitted_origin()
    session = browser.current_session()
    if session is None:
        raise NotSignedIn
    wish = body.wish(for_issuer=browser.is_own_page())
    return token_answer(tokens.mint(session, wish))


@blueprint.post("/logout")
@public
@operation(
    "Log out: a program by its refresh token, a browser by its cookie",
    body=Logout,
    body_required=False,
    status=204,
    refusals=(CrossOrigin,),
)
def log_out(body: Logout) -> Response:
    if body.refresh_token is not None:
        login.log_out(body.refresh_token, browser.client())
        return Response(status=204)
    response = Response(status=204)
    if browser.has_cookie():
        browser.require_permitted_origin()
        browser.tell_next(response, "signed-out")
    return browser.end(response)


@blueprint.get("/verify")
@public
@operation(
    "Judge an access token for a proxy in front of a service",
    status=204,
    parameters=(AUDIENCE, SCOPE),
    refusals=(NoAccessToken, InvalidAccessToken, InsufficientScope, InvalidTarget),
)
def verify() -> Response:
    audience, wanted = AUDIENCE.read(), (SCOPE.read() or "").split()
    if audience is None:
        raise InvalidTarget("Name the service by ?audience=…")
    token, granted = judge_for(audience)
    if missing := sorted({*wanted} - granted):
        said = f"The token does not carry all that this needs: {' '.join(missing)}."
        raise InsufficientScope(" ".join(sorted(wanted)), said)
    response = Response(status=204)
    response.headers["X-Foxtrot-User"] = token.subject
    if token.session_id is not None:
        response.headers["X-Foxtrot-Session"] = token.session_id
    response.headers["X-Foxtrot-Scopes"] = " ".join(sorted(granted))
    return response
