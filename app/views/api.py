"""Blueprint `api`: what an access token lets its holder see and do at this service."""

from __future__ import annotations

from typing import Final

from flask import Blueprint

from app import accounts, sessions, tokens
from app.errors import (
    Busy,
    InsufficientScope,
    NotFound,
    NotSignedIn,
    TooManyAttempts,
    WrongPassword,
)
from app.sessions import Ending
from app.users import ACCOUNT
from app.views import browser
from app.views.access import bearer, granted_scopes, token_session
from app.views.contract import Parameter, operation
from app.views.messages import (
    PasswordChange,
    SessionsAnswer,
    UserAnswer,
    session_answer,
    user_answer,
)

blueprint = Blueprint("api", __name__, url_prefix="/api")

EXCEPT: Final = Parameter("except", "query", "current", "`current` keeps the token's own session.")


@blueprint.get("/me")
@bearer.required()
@operation("Who the token is for", answer=UserAnswer)
def me() -> UserAnswer:
    return user_answer(token_session().user)


@blueprint.post("/me/password")
@bearer.required(ACCOUNT)
@operation(
    "Change the password; every other session ends",
    body=PasswordChange,
    status=204,
    refusals=(NotSignedIn, TooManyAttempts, WrongPassword, Busy),
)
def change_password(body: PasswordChange) -> None:
    accounts.change_password(
        token_session(), body.current_password, body.new_password, browser.client()
    )


@blueprint.get("/sessions")
@bearer.required()
@operation("The live sessions of the token's user, its own first", answer=SessionsAnswer)
def list_sessions() -> SessionsAnswer:
    current = token_session()
    rows = [session_answer(current, asks=browser.client())]
    if not tokens.may_be_forged(bearer.token):
        found = sessions.live(current.user)
        rows += [session_answer(session) for session in found if session.id != current.id]
    return SessionsAnswer(sessions=rows)


@blueprint.delete("/sessions/<session_id>")
@bearer.required()
@operation(
    "End a session: the token's own, or with the scope `account` any of its user",
    status=204,
    refusals=(NotFound,),
)
def end_session(session_id: str) -> None:
    current = token_session()
    if session_id == current.public_id:
        sessions.end(current, Ending.SIGNED_OUT, browser.client())
        return
    if ACCOUNT not in granted_scopes():
        raise InsufficientScope(
            ACCOUNT, "A token without the scope `account` ends its own session only."
        )
    session = sessions.by_public_id(session_id, current.user.public_id)
    if session is None:
        raise NotFound("You have no live session of that id.")
    sessions.end(session, Ending.ENDED_BY_USER, browser.client())


@blueprint.delete("/sessions")
@bearer.required(ACCOUNT)
@operation("End all sessions of the token's user", status=204, parameters=(EXCEPT,))
def end_sessions() -> None:
    current = token_session()
    if EXCEPT.read() is None:
        sessions.end_all(current.user, Ending.ENDED_BY_USER, browser.client())
    else:
        sessions.end_others(current, Ending.ENDED_BY_USER, browser.client())
