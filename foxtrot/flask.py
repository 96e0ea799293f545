"""The decorator that guards a Flask route with an access token (RFC 6750).

`Bearer` reads the `Authorization` header, lets a `Verifier` judge the token and
answers refusals: 401 without or with a bad token, 403 without the scope, 400 for
a malformed header, 503 when nothing can be known. It fails closed.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any, Final, Literal, ParamSpec, TypedDict, TypeVar, Unpack, cast

from flask import Flask, Response, after_this_request, current_app, request

from foxtrot.claims import Token
from foxtrot.errors import UNSIGNED_REASONS, InvalidToken, Unavailable
from foxtrot.keys import KeySource
from foxtrot.verifier import OnStale, Status, Verifier

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger("foxtrot")

_UNKNOWN: Final = "The token cannot be judged at the moment."
_SCHEME: Final = re.compile(r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)")
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


class _Refusal(Exception):
    """An RFC 6750 section 3.1 answer: status, error code and what belongs to it."""

    def __init__(self, status: int, code: str | None, detail: str, **members: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members


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


class Bearer:
    """Guards routes of a Flask app with access tokens.

    Takes what `foxtrot.Verifier` takes, either here or in `init_app`, and:

    :param scopes_of: which of a token's scopes count here; all, by default.
    :param realm: named in `WWW-Authenticate`; the audience, by default.
    :param explain: False answers `invalid_token` with one and the same reason,
        `bad_signature`, for everything known before the signature passed.
    :param locations: `("header", "query")` also reads the URL parameter
        `access_token`. RFC 6750 section 2.3 warns: URLs end up in logs, histories
        and `Referer` headers, so do not, unless nothing else is possible.
    """

    def __init__(
        self,
        issuer: str | None = None,
        audience: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        self._environ_key = f"foxtrot.token.{id(self)}"
        self._default: _Guard | None = None
        if issuer is not None or audience is not None or settings:
            self._default = _Guard(issuer, audience, **settings)

    def init_app(
        self,
        app: Flask,
        issuer: str | None = None,
        audience: str | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """Attach to *app*: with what was given to the constructor, or with other settings.

        :raises ValueError: there is no issuer or no audience.
        """
        guard = self._default
        if guard is None or issuer is not None or audience is not None or settings:
            guard = _Guard(issuer, audience, **settings)
        app.extensions.setdefault("foxtrot", {})[self] = guard

    def required(self, *scopes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let a request through to the view only with a token that has all *scopes*.

        Written below the route: the decorator nearest to the function runs last,
        and a route registers what stands below it.
        """
        _refuse_misuse("required", scopes)
        return self._decorate(frozenset(scopes), optional=False)

    def optional(self, *scopes: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Like `required`, but let a request without any credentials through too.

        A token that is presented and bad is refused all the same.
        """
        _refuse_misuse("optional", scopes)
        return self._decorate(frozenset(scopes), optional=True)

    @property
    def token(self) -> Token:
        """The token of the request being handled.

        :raises RuntimeError: the view is not guarded, or no token was presented.
        """
        token = request.environ.get(self._environ_key)
        if token is None:
            raise RuntimeError("This request carries no verified token.")
        return cast(Token, token)

    @property
    def token_or_none(self) -> Token | None:
        """The token of the request being handled, or None where it is optional."""
        return cast("Token | None", request.environ.get(self._environ_key))

    def _guard(self) -> _Guard:
        guard = current_app.extensions.get("foxtrot", {}).get(self, self._default)
        if guard is None:
            raise RuntimeError("Bearer.init_app was not called for this app.")
        return cast(_Guard, guard)

    def _decorate(
        self, scopes: frozenset[str], *, optional: bool
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        def decorate(view: Callable[P, R]) -> Callable[P, R]:
            is_async = inspect.iscoroutinefunction(view)

            @wraps(view)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                # past the proxy: an attribute asked of it costs as much as all of the rest
                environ = request._get_current_object().environ  # type: ignore[attr-defined]
                if environ["REQUEST_METHOD"] == "OPTIONS":
                    return current_app.make_default_options_response()
                guard = self._guard()
                try:
                    environ[self._environ_key] = guard.admit(environ, scopes, optional)
                except _Refusal as refusal:
                    return guard.answer(refusal)
                if is_async:
                    return current_app.ensure_sync(view)(*args, **kwargs)
                return view(*args, **kwargs)

            guarded.access = ("bearer", scopes)  # type: ignore[attr-defined]
            return guarded

        return decorate


class _Guard:
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
        if not issuer or not audience:
            raise ValueError("Bearer needs an issuer and an audience.")
        if not locations or set(locations) - {"header", "query"}:
            raise ValueError('locations is ("header",) or ("header", "query").')
        self._verifier = Verifier(issuer, audience, **verifier)
        self._scopes_of = scopes_of
        self._realm = _quotable(realm or audience)
        self._explain = explain
        self._locations = frozenset(locations)

    def admit(
        self, environ: dict[str, Any], scopes: frozenset[str], optional: bool
    ) -> Token | None:
        """Give the verified token of a request, or refuse the request."""
        text = self._credentials(environ)
        if text is None:
            if optional:
                return None
            raise _Refusal(401, None, "This needs an access token in the Authorization header.")
        try:
            token = self._verifier.verify(text)
            granted = token.scopes if self._scopes_of is None else self._scopes_of(token)
        except InvalidToken as error:
            raise self._refusal_of(text, error) from None
        except Unavailable as error:
            raise _Refusal(503, "unavailable", str(error), retry_after=error.retry_after) from None
        except Exception as error:
            _log.exception("The scopes of a token could not be judged")
            raise _Refusal(503, "unavailable", _UNKNOWN, retry_after=5) from error
        if not scopes.issubset(granted):
            raise _Refusal(
                403,
                "insufficient_scope",
                f"The token does not carry all that this needs: {' '.join(sorted(scopes))}.",
                scope=" ".join(sorted(scopes)),
            )
        return token

    def _credentials(self, environ: dict[str, Any]) -> str | None:
        header = environ.get("HTTP_AUTHORIZATION")
        from_header = None if header is None else _from_header(header)
        if "query" not in self._locations:
            return from_header
        from_query = request.args.getlist("access_token")
        if len(from_query) + (from_header is not None) > 1:
            raise _Refusal(400, "invalid_request", "The request carries more than one token.")
        if not from_query:
            return from_header
        after_this_request(_keep_out_of_shared_caches)
        return from_query[0]

    def _refusal_of(self, text: str, error: InvalidToken) -> _Refusal:
        """A header that holds no token is a bad request; a bad token is another matter."""
        if error.reason == "malformed" and not _B64TOKEN.fullmatch(text):
            return _Refusal(
                400,
                "invalid_request",
                "The Authorization header must be the word Bearer, a space and one token.",
            )
        if not self._explain and error.reason in UNSIGNED_REASONS:
            error = InvalidToken("bad_signature")
        return _Refusal(401, "invalid_token", error.detail, reason=error.reason)

    def answer(self, refusal: _Refusal) -> Response:
        """Answer with a problem document (RFC 9457) and the challenge (RFC 6750 section 3)."""
        members = dict(refusal.members)
        retry_after = members.pop("retry_after", None)
        problem = {
            "type": "about:blank",
            "title": _TITLES[refusal.status],
            "status": refusal.status,
            "detail": refusal.detail,
            "code": refusal.code or "unauthorized",
            **members,
        }
        response = Response(
            json.dumps(problem), refusal.status, content_type="application/problem+json"
        )
        response.headers["Cache-Control"] = "no-store"
        if retry_after is not None:
            response.headers["Retry-After"] = str(retry_after)
        else:
            response.headers["WWW-Authenticate"] = self._challenge(refusal)
        return response

    def _challenge(self, refusal: _Refusal) -> str:
        parts = [f'realm="{self._realm}"']
        if refusal.code is not None:
            parts += [f'error="{refusal.code}"', f'error_description="{_quotable(refusal.detail)}"']
        if scope := refusal.members.get("scope"):
            parts.append(f'scope="{scope}"')
        return "Bearer " + ", ".join(parts)


_TITLES: Final = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    503: "Service Unavailable",
}


def _from_header(header: str) -> str | None:
    """Take the token out of an `Authorization` header (RFC 9110 section 11.4).

    None for another scheme; its name is matched in any case. What is no token is
    given back as it is, for the verifier to refuse.
    """
    if header.startswith("Bearer "):
        return header[7:].strip(" ")
    match = _SCHEME.match(header)
    if match is None or match[1].lower() != "bearer":
        return None
    credentials = header[match.end() :]
    return credentials.strip(" ") if credentials.startswith(" ") else f" {credentials}"


def _keep_out_of_shared_caches(response: Response) -> Response:
    """RFC 6750 section 2.3, for answers to a URL that holds a token."""
    response.headers.setdefault("Cache-Control", "private")
    return response


def _quotable(text: str) -> str:
    """Make a text fit for a quoted-string in a header (RFC 9110 section 5.6.4)."""
    return re.sub(r'[^\x20-\x7e]|["\\]', "", text)


def _refuse_misuse(name: str, scopes: tuple[object, ...]) -> None:
    if not all(isinstance(scope, str) and scope for scope in scopes):
        raise TypeError(
            f"Write @bearer.{name}() or @bearer.{name}('notes:read'): the parentheses are needed,"
            " and scopes are strings."
        )
    if any(re.search(r"[^\x21\x23-\x5b\x5d-\x7e]", str(scope)) for scope in scopes):
        raise TypeError(f"@bearer.{name}: one scope per argument, without spaces or quotes.")
