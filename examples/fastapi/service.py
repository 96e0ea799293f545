"""Notes with FastAPI: `foxtrot.Verifier` and twenty lines that turn its verdicts into HTTP.

Each user sees only their own notes, which live as long as the process. `requires(…)` is the
guard of a route; it is a plain function, because the first token of a new key may have to
wait for the network, and FastAPI runs plain functions beside its loop.
"""

import os
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field

from foxtrot import InvalidToken, Token, Unavailable, Verifier

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


class Note(BaseModel):
    """What a note says."""

    text: str = Field(min_length=1, max_length=10_000)


def create_app(verifier: Verifier | None = None) -> FastAPI:
    """Build the service; tests give `Verifier(**issuer.settings)` of `foxtrot.testing`."""
    judge = verifier or Verifier(
        issuer=os.environ.get("NOTES_ISSUER", "http://localhost:5000"),
        audience=os.environ.get("NOTES_AUDIENCE", "notes"),
    )
    app = FastAPI(title="Notes")
    kept: dict[str, list[str]] = {}

    def requires(*scopes: str) -> Callable[..., Token]:
        def verified(credentials: Credentials) -> Token:
            return _verified(judge, credentials, frozenset(scopes))

        return verified

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/notes")
    def list_notes(
        token: Annotated[Token, Depends(requires("notes:read"))],
    ) -> dict[str, list[str]]:
        return {"notes": kept.get(token.subject, [])}

    @app.post("/notes", status_code=201)
    def add_note(
        note: Note, token: Annotated[Token, Depends(requires("notes:write"))]
    ) -> dict[str, str]:
        kept.setdefault(token.subject, []).append(note.text)
        return {"text": note.text}

    return app


def _verified(
    verifier: Verifier, credentials: HTTPAuthorizationCredentials | None, scopes: frozenset[str]
) -> Token:
    """Turn the verifier's verdict into what RFC 6750 section 3 has services answer."""
    if credentials is None:
        raise _refusal(401, "Send an access token in the Authorization header.")
    try:
        token = verifier.verify(credentials.credentials)
    except InvalidToken as error:
        raise _refusal(401, error.detail, 'error="invalid_token"') from None
    except Unavailable as error:
        headers = {"Retry-After": str(error.retry_after)}
        raise HTTPException(503, "The token cannot be judged now.", headers) from None
    if not scopes <= token.scopes:
        demanded = " ".join(sorted(scopes))
        said = f'error="insufficient_scope", scope="{demanded}"'
        raise _refusal(403, f"This needs {demanded}.", said)
    return token


def _refusal(status: int, detail: str, *challenge: str) -> HTTPException:
    said = ", ".join(['realm="notes"', *challenge])
    return HTTPException(status, detail, {"WWW-Authenticate": f"Bearer {said}"})
