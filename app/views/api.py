"""Blueprint `api`: what an access token lets its holder see and do at this service."""

from __future__ import annotations

from flask import Blueprint

from app import sessions
from app.errors import NotFound
from app.views.access import bearer, token_session
from app.views.contract import operation
from app.views.messages import UserAnswer, user_answer

blueprint = Blueprint("api", __name__, url_prefix="/api")


@blueprint.get("/me")
@bearer.required()
@operation("Who the token is for", answer=UserAnswer)
def me() -> UserAnswer:
    return user_answer(token_session().user)


@blueprint.delete("/sessions/<session_id>")
@bearer.required()
@operation("End the token's own session", status=204, refusals=(NotFound,))
def end_session(session_id: str) -> None:
    session = token_session()
    if session_id != session.public_id:
        raise NotFound("A token ends its own session only; its id is the claim `sid`.")
    sessions.end(session)
