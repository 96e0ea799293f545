"""An issuer inside the test's own process: no network, no database, its time in your hands."""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypedDict

from foxtrot.claims import Token
from foxtrot.keys import JWKSet, KeySource
from foxtrot.verifier import Status
from foxtrot.wrong_tokens import (
    Material,
    WrongToken,
    each_wrong_token,
    new_signer,
    wrong_tokens,
)

if TYPE_CHECKING:
    from flask import Flask

    from foxtrot.flask import Bearer

Headers = dict[str, str]

LIFETIME: Final = 900
URL: Final = "https://login.test"
EXTENSION: Final = "foxtrot_testing"


class Clock:
    """A clock that stands still until it is moved; it begins at the real time.

    It is called for the time in seconds since the epoch.
    """

    def __init__(self, now: float | None = None) -> None:
        self.now = float(int(time.time())) if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on, or back."""
        self.now += seconds


class Settings(TypedDict):
    """What a `Verifier`, or `Bearer.init_app`, takes to believe the in-process issuer."""

    issuer: str
    audience: str
    keys: list[KeySource]
    status: Status
    clock: Clock


class InProcessIssuer:
    """Issues access tokens for a service's tests, good ones and wrong ones.

    :param audience: the name of the service under test.

    `url` is its name (`iss`), `clock` the time it goes by, `public_key` its key in PEM for a
    service that takes one in its settings.
    """

    def __init__(self, audience: str = "service", url: str = URL) -> None:
        self.audience = audience
        self.url = url
        self.clock = Clock()
        self._signer = new_signer("test-key")
        self._retired = new_signer("retired-test-key")
        self._keys = JWKSet({"keys": [self._signer.public_jwk()]})
        self._ended: set[str] = {"s_ended"}
        self._numbers = count(1)

    @property
    def public_key(self) -> str:
        """The public key in PEM."""
        return self._signer.public_pem().decode()

    @property
    def jwks(self) -> dict[str, Any]:
        """The JWK Set, as a login service would publish it."""
        return {"keys": [self._signer.public_jwk()]}

    @property
    def settings(self) -> Settings:
        """For `Verifier(**issuer.settings)`: this issuer's keys, ended sessions and clock."""
        return {
            "issuer": self.url,
            "audience": self.audience,
            "keys": [self._keys],
            "status": self,
            "clock": self.clock,
        }

    def attach(
        self, app: Flask, bearer: Bearer, audience: str | None = None, **settings: Any
    ) -> None:
        """Let a Flask app believe this issuer in place of the real one.

        :param bearer: what guards the app's routes.
        :param audience: the service's name, from now on.
        :param settings: what the app gives to `Bearer` besides issuer, audience and keys, such
            as `scopes_of`; they are not taken over from before.
        """
        self.audience = audience or self.audience
        bearer.init_app(app, **{**self.settings, **settings})
        app.extensions[EXTENSION] = self

    def ended(self, token: Token) -> bool:
        """Say whether a token's session has ended, as a `Verifier` asks."""
        return token.session_id in self._ended

    def end(self, session: str) -> None:
        """End a session, as a logout does: its tokens are refused from now on."""
        self._ended.add(session)

    def token(
        self,
        user: str = "ann",
        scopes: str | Iterable[str] = (),
        *,
        session: str | None = None,
        lifetime: int = LIFETIME,
        **claims: Any,
    ) -> str:
        """Issue a good access token.

        :param user: the subject; `bearer.token.subject` gives it back.
        :param scopes: one text with spaces, or several.
        :param session: its name; `s_` and the user's name, by default.
        :param lifetime: in seconds.
        :param claims: more claims, or others in place of those above.
        """
        return self._signer.sign(self._claims(user, scopes, session, lifetime) | claims)

    def as_user(
        self,
        user: str = "ann",
        scopes: str | Iterable[str] = (),
        *,
        session: str | None = None,
        lifetime: int = LIFETIME,
        **claims: Any,
    ) -> Headers:
        """The headers of a request by a user, with a fresh token; see `token`."""
        text = self.token(user, scopes, session=session, lifetime=lifetime, **claims)
        return bearer_header(text)

    def wrong(self, name: str, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """The headers of a request with one wrong token of the catalogue, by its name.

        :param scopes: those of the token, wherever they are not what is wrong with it.
        :raises LookupError: there is none of that name; the names are listed.
        """
        others = []
        for token in each_wrong_token(self._material(scopes, user)):
            if token.name == name:
                return bearer_header(token.text)
            others.append(token.name)
        raise LookupError(f"There is no wrong token {name!r}; there are: {', '.join(others)}.")

    def expired(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token that expired an hour ago."""
        return self.wrong("expired", user, scopes)

    def not_yet_valid(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token that is good in an hour."""
        return self.wrong("not yet valid", user, scopes)

    def wrong_audience(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token for another service."""
        return self.wrong("other audience", user, scopes)

    def wrong_issuer(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token that another login service issued."""
        return self.wrong("other issuer", user, scopes)

    def wrong_type(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """Some JWT that is no access token."""
        return self.wrong("plain JWT", user, scopes)

    def ended_session(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token whose session has ended."""
        return self.wrong("ended session", user, scopes)

    def forged(self, user: str = "ann", scopes: str | Iterable[str] = ()) -> Headers:
        """A token that somebody else signed under the right key's name."""
        return self.wrong("another's key", user, scopes)

    def wrong_tokens(
        self,
        scopes: str | Iterable[str] = (),
        user: str = "ann",
        required: str | Iterable[str] = (),
    ) -> list[WrongToken]:
        """The whole catalogue: every token that a service must refuse.

        :param scopes: those of the tokens.
        :param required: those that the route demands; then there are tokens without each of
            them, too.
        """
        return wrong_tokens(self._material(scopes, user, required))

    def _material(
        self, scopes: str | Iterable[str], user: str, required: str | Iterable[str] = ()
    ) -> Material:
        claims = self._claims(user, scopes, None, LIFETIME)
        return Material(
            self._signer,
            claims,
            self.audience,
            int(self.clock()),
            scopes=tuple(required.split() if isinstance(required, str) else required),
            retired=self._retired,
            ended=self._signer.sign({**claims, "sid": "s_ended"}),
        )

    def _claims(
        self, user: str, scopes: str | Iterable[str], session: str | None, lifetime: int
    ) -> dict[str, Any]:
        now = int(self.clock())
        return {
            "iss": self.url,
            "sub": user,
            "uid": user,
            "aud": [self.audience],
            "iat": now,
            "nbf": now,
            "exp": now + lifetime,
            "jti": f"t_{next(self._numbers)}",
            "sid": session or f"s_{user}",
            "scope": scopes if isinstance(scopes, str) else " ".join(scopes),
            "client_id": "foxtrot",
            "auth_time": now,
        }


def bearer_header(text: str) -> Headers:
    """The header that carries a token (RFC 6750 section 2.1)."""
    return {"Authorization": f"Bearer {text}"}
