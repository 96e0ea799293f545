"""What JSON requests and answers say: the models of the contract."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from app.tokens import AccessToken
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


class Grant(Body):
    """What a token is wanted for; by default all that it can be for."""

    audience: Names | None = None
    scope: Annotated[str, Field(max_length=2000)] | None = Field(
        None, description="Scopes separated by spaces.", examples=["notes:read notes:write"]
    )

    def scopes(self) -> list[str] | None:
        """The names between spaces, U+0020 and no others (RFC 6749 section 3.3)."""
        return None if self.scope is None else [name for name in self.scope.split(" ") if name]


class Login(Grant):
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
    scope: str


class PasswordAdvice(Answer):
    acceptable: bool
    advice: list[str]


def user_answer(user: User) -> UserAnswer:
    return UserAnswer(
        id=user.public_id,
        email=user.email,
        email_verified=user.email_verified_at is not None,
        scopes=sorted(user.scopes),
    )


def token_answer(token: AccessToken) -> TokenAnswer:
    return TokenAnswer(access_token=token.text, expires_in=token.expires_in, scope=token.scope)
