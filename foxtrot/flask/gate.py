"""Lets a request pass or refuses it: one verifier, as one app has configured it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, Literal, TypedDict, Unpack

from flask import Response

from foxtrot.claims import Token
from foxtrot.errors import UNSIGNED_REASONS, InvalidToken, Unavailable
from foxtrot.flask.answers import Refusal, answer, quotable
from foxtrot.flask.credentials import credentials, is_token
from foxtrot.flask.demand import Demand
from foxtrot.flask.misuse import misuse
from foxtrot.keys import KeySource
from foxtrot.verifier import DEFAULT_LEEWAY, OnStale, Status, Verifier

_log = logging.getLogger("foxtrot")

_UNKNOWN: Final = "The token cannot be judged at the moment."


class VerifierSettings(TypedDict, total=False):
    """What `foxtrot.Verifier` takes besides issuer and audience."""

    secret: str | bytes | None
    public_key: str | bytes | None
    keys: Sequence[KeySource] | None
    status: Status | Literal["issuer"] | None
    on_stale: OnStale
    leeway: float
    remember: int
    clock: Callable[[], float]


class Settings(VerifierSettings, total=False):
    """What `Bearer` takes besides issuer and audience."""

    scopes_of: Callable[[Token], Collection[str]] | None
    realm: str | None
    explain: bool
    locations: Sequence[Literal["header", "query"]]


class Gate:
    """One verifier and how its verdicts are told over HTTP."""

    def __init__(
        self,
        issuer: str | None = None,
        audience: str | None = None,
        *,
        scopes_of: Callable[[Token], Collection[str]] | None = None,
        realm: str | None = None,
        explain: bool = True,
        locations: Sequence[Literal["header", "query"]] = ("header",),
        **verifier: Unpack[VerifierSettings],
    ) -> None:
        if unknown := [name for name in verifier if name not in VerifierSettings.__annotations__]:
            known = ", ".join(["issuer", "audience", *Settings.__annotations__])
            raise misuse(f"Bearer takes no {unknown[0]!r}; it takes {known}.")
        if audience is not None and not isinstance(audience, str):
            raise misuse("audience is the service's own name: one name, not a list.")
        if not issuer or not audience:
            raise ValueError("Bearer needs an issuer and an audience.")
        if not locations or set(locations) - {"header", "query"}:
            raise ValueError('locations is ("header",) or ("header", "query").')
        self._verifier = Verifier(issuer, audience, **verifier)
        self._clock = verifier.get("clock", time.time)
        self._leeway = verifier.get("leeway", DEFAULT_LEEWAY)
        self._scopes_of = scopes_of
        self._realm = quotable(realm or audience)
        self._explain = explain
        self._locations = frozenset(locations)

    def admit(self, environ: dict[str, Any], demand: Demand) -> Token | None:
        """Give the verified token of a request, or refuse the request.

        :raises Refusal: the request must not pass.
        """
        text = credentials(environ, self._locations)
        if text is None:
            if demand.optional:
                return None
            raise Refusal(401, None, "This needs an access token in the Authorization header.")
        try:
            token = self._verifier.verify(text, on_stale=demand.on_stale)
            granted = token.scopes if self._scopes_of is None else self._scopes_of(token)
        except InvalidToken as error:
            raise self._refusal_of(text, error) from None
        except Unavailable as error:
            raise Refusal(503, "unavailable", error.detail, retry_after=error.retry_after) from None
        except Exception as error:
            _log.exception("The scopes of a token could not be judged")
            raise Refusal(503, "unavailable", _UNKNOWN, retry_after=5) from error
        if not demand.scopes.issubset(granted):
            raise _insufficient_scope(demand, granted)
        if demand.looks_closer:
            self._look_closer(token, granted, demand)
        return token

    def _look_closer(self, token: Token, granted: Collection[str], demand: Demand) -> None:
        """Judge what few routes ask for. Who lacks a scope need not sign in again in vain."""
        if demand.any_of and not any(scope in granted for scope in demand.any_of):
            raise _insufficient_scope(demand, granted)
        if demand.max_age is not None and not self._signed_in_within(demand.max_age, token):
            raise Refusal(
                401,
                "insufficient_user_authentication",
                f"This needs a sign-in of the last {demand.max_age} seconds; sign in again.",
                max_age=demand.max_age,
            )

    def _signed_in_within(self, seconds: int, token: Token) -> bool:
        """Judge `auth_time`; a token without one tells of no sign-in, a later one is nonsense."""
        signed_in = token.claims.get("auth_time")
        if signed_in is None:
            return False
        age = self._clock() - signed_in
        return bool(-self._leeway <= age <= seconds + self._leeway)

    def _refusal_of(self, text: str, error: InvalidToken) -> Refusal:
        """A header that holds no token is a bad request; a bad token is another matter."""
        if error.reason == "malformed" and not is_token(text):
            return Refusal(
                400,
                "invalid_request",
                "The Authorization header must be the word Bearer, a space and one token.",
            )
        if not self._explain and error.reason in UNSIGNED_REASONS:
            error = InvalidToken("bad_signature")
        return Refusal(401, "invalid_token", error.detail, reason=error.reason)

    def answer(self, refusal: Refusal) -> Response:
        """Tell a refusal, with the realm of this app."""
        return answer(refusal, self._realm)


def _insufficient_scope(demand: Demand, granted: Collection[str]) -> Refusal:
    return Refusal(
        403,
        "insufficient_scope",
        f"The token does not carry all that this needs: {demand.needed()}.",
        scope=demand.to_ask_for(granted),
    )
