"""Blueprint `oauth`: tokens for machines, and asking about tokens and ending them.

Forms in, JSON out, in the words of RFC 6749, 7662 and 7009. A service shows who it is
by its id and secret, in the header or in the form.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Annotated, Any, Final
from urllib.parse import unquote_plus

from flask import Blueprint, jsonify, request
from pydantic import ConfigDict, Field

from app import machines, tokens
from app.errors import (
    InvalidClient,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    TooManyAttempts,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedTokenType,
)
from app.services import Service
from app.tokens import Wish
from app.views import browser
from app.views.access import public
from app.views.contract import Answer, Form, operation
from app.views.messages import TokenAnswer, scope_names, token_answer

blueprint = Blueprint("oauth", __name__, url_prefix="/oauth")

GRANT: Final = "client_credentials"
_NO_ID: Final = "The client_id is the service's id, which begins with s_, not its name."

Text = Annotated[str, Field(max_length=1000)]
Names = Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=50)]


class ClientForm(Form):
    """The credentials of a service, unless they are in the header (RFC 6749 section 2.3.1)."""

    client_id: Text | None = None
    client_secret: Text | None = Field(None, json_schema_extra={"format": "password"})


class TokenForm(ClientForm):
    """RFC 6749 section 4.4.2; `resource` is RFC 8707's word for `audience`."""

    grant_type: Text
    scope: Annotated[str, Field(max_length=2000)] | None = None
    audience: Names = Field(default_factory=list)
    resource: Names = Field(default_factory=list)

    def wish(self) -> Wish:
        named = [*self.audience, *self.resource]
        return Wish(named or None, None if self.scope is None else scope_names(self.scope))


class GivenToken(ClientForm):
    """RFC 7662 section 2.1, RFC 7009 section 2.1. The hint is not needed and not looked at."""

    token: str
    token_type_hint: Text | None = None


class IntrospectionAnswer(Answer):
    """RFC 7662 section 2.2: `active`, and if it is true all claims of the token."""

    model_config = ConfigDict(extra="allow")

    active: bool
    token_type: str | None = None
    scope: str | None = None


@blueprint.post("/token")
@public
@operation(
    "Get an access token for a machine, in its own name",
    body=TokenForm,
    answer=TokenAnswer,
    refusals=(
        InvalidClient,
        InvalidScope,
        InvalidTarget,
        TooManyAttempts,
        UnauthorizedClient,
        UnsupportedGrantType,
    ),
)
def token(form: TokenForm) -> TokenAnswer:
    service = _caller(form)
    if form.grant_type != GRANT:
        raise UnsupportedGrantType(f"The one grant here is {GRANT}. People sign in at /auth/login.")
    return token_answer(machines.get_token(service, form.wish(), browser.client()))


@blueprint.post("/introspect")
@public
@operation(
    "Ask whether a token is good for the service that asks",
    body=GivenToken,
    answer=IntrospectionAnswer,
    refusals=(InvalidClient, TooManyAttempts),
)
def introspect(form: GivenToken) -> Any:
    claims = machines.introspect(form.token, _caller(form))
    if claims is None:
        return jsonify(active=False)
    return jsonify({**claims, "active": True, "token_type": "Bearer"})


@blueprint.post("/revoke")
@public
@operation(
    "End a token: a machine its own, anybody the session of a refresh token that they hold",
    body=GivenToken,
    refusals=(InvalidClient, TooManyAttempts, UnsupportedTokenType),
)
def revoke(form: GivenToken) -> None:
    if _is_public_client(form):
        machines.revoke_held(form.token, browser.client())
    else:
        machines.revoke_own(form.token, _caller(form), browser.client())


def _is_public_client(form: ClientForm) -> bool:
    """Say whether it is the client of people's tokens, which has no secret."""
    has_secret = form.client_secret is not None or "Authorization" in request.headers
    return form.client_id == tokens.CLIENT_ID and not has_secret


def _caller(form: ClientForm) -> Service:
    """The service that sends this request.

    :raises InvalidClient: it does not show that it is one.
    :raises TooManyAttempts: likewise, and neither did too many others.
    """
    client_id, secret = _credentials(form)
    try:
        return machines.authenticate(client_id, secret, browser.client())
    except InvalidClient:
        if client_id.startswith("s_"):
            raise
        raise InvalidClient(f"{InvalidClient.detail} {_NO_ID}") from None


def _credentials(form: ClientForm) -> tuple[str, str]:
    header = request.headers.get("Authorization")
    if header is None:
        if form.client_id is None or form.client_secret is None:
            raise InvalidClient("Send the service's id and secret, by HTTP Basic or in the form.")
        return form.client_id, form.client_secret
    if form.client_secret is not None:
        raise InvalidRequest("Send the secret in the header or in the form, not in both.")
    client_id, secret = _from_basic(header)
    if form.client_id not in (None, client_id):
        raise InvalidRequest("The client_id in the form is not the one in the header.")
    return client_id, secret


def _from_basic(header: str) -> tuple[str, str]:
    """Id and secret, each form-encoded within Basic (RFC 6749 section 2.3.1)."""
    scheme, _, encoded = header.strip().partition(" ")
    try:
        if scheme.lower() != "basic":
            raise ValueError("another scheme")
        client_id, secret = b64decode(encoded.strip(), validate=True).decode("utf-8").split(":", 1)
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise InvalidClient(
            "The Authorization header must be the word Basic and base64 of id:secret."
        ) from None
