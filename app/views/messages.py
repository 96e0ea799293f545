"""What JSON requests and answers say: the models of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from app.client import Client
from app.login import SignIn
from app.sessions import LoginSession
from app.tokens import AccessToken, Wish
from app.users import User
from app.views.contract import Answer, Body

Email = Annotated[str, Field(max_length=1000, examples=["ann@example.com"])]
Password = Annotated[str, Field(max_length=10_000, json_schema_extra={"format": "password"})]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_ONE = {"type": "string", "minLength": 1, "maxLength": 200}
Names = Annotated[
    list[Name],
    BeforeValidator(lambda names: [names] if isinstance(names, str) else names),
    WithJsonSchema({"anyOf": [_ONE, {"type": "array", "items": _ONE}]}),
]


class Credentials(Body):
    email: Email
    password: Password


class TokenRequest(Body):
    """What a token is wanted for; by default all that it can be for."""

    audience: Names | None = None
    scope: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="Scopes separated by spaces.", examples=["notes:read notes:write"]
    )

    def wish(self, *, for_issuer: bool = True) -> Wish:
        scope = None if self.scope is None else scope_names(self.scope)
        return Wish(self.audience, scope, for_issuer)


class Refresh(TokenRequest):
    refresh_token: Annotated[str, Field(max_length=1000)]


class Logout(Body):
    refresh_token: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="Of a program. A browser sends its cookie."
    )


class PasswordChange(Body):
    current_password: Password
    new_password: Password


class Login(TokenRequest):
    email: Email
    password: Password
    session: Literal["token", "cookie"] = Field(
        "token", description="`cookie` is for a browser: it sets the cookie of this service."
    )


class UserAnswer(Answer):
    id: str
    email: str
    email_verified: bool
    scopes: list[str]


class TokenAnswer(Answer):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a name, not a secret
    expires_in: int
    refresh_token: str | None = None
    scope: str


class SessionAnswer(Answer):
    id: str
    current: bool
    created_at: str
    last_seen_at: str
    address: str
    device: str


class SessionsAnswer(Answer):
    sessions: list[SessionAnswer]


class PasswordAdvice(Answer):
    acceptable: bool
    advice: list[str]


def scope_names(text: str) -> list[str]:
    """The names between spaces, U+0020 and no others (RFC 6749 section 3.3)."""
    return [name for name in text.split(" ") if name]


def user_answer(user: User) -> UserAnswer:
    return UserAnswer(
        id=user.public_id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        scopes=sorted(user.scopes),
    )


def token_answer(token: AccessToken, refresh_token: str | None = None) -> TokenAnswer:
    return TokenAnswer(
        access_token=token.text,
        expires_in=token.expires_in,
        refresh_token=refresh_token,
        scope=token.scope,
    )


def sign_in_answer(sign_in: SignIn) -> TokenAnswer:
    if sign_in.access_token is None:
        raise ValueError("no access token was asked for at this sign-in")
    return token_answer(sign_in.access_token, sign_in.refresh_token)


def session_answer(session: LoginSession, *, asks: Client | None = None) -> SessionAnswer:
    """What a session's user is told of it.

    :param asks: who uses it now, if it is the one that asks. It is not told when and from where it
        was last refreshed: a thief who holds a copy would see its owner renew, and follow unseen.
    """
    return SessionAnswer(
        id=session.public_id,
        current=asks is not None,
        created_at=rfc3339(session.created_at),
        last_seen_at=rfc3339(datetime.now(UTC) if asks else session.last_seen_at),
        address=(asks or session).address,
        device=(asks or session).device,
    )


def rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
