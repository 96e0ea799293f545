"""What is particular to browsers: the cookie, where a request came from, where to go next."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar
from urllib.parse import urlsplit

from flask import current_app, g, request
from werkzeug.wrappers import Response

from app import devices, sessions
from app.client import Client, address_behind
from app.errors import AppError, CrossOrigin, Misdirected
from app.login import SignIn
from app.sessions import Ending, LoginSession

R = TypeVar("R", bound=Response)

_COOKIE: Final = "foxtrot_session"
_DONE: Final = "foxtrot_done"
_DEVICE: Final = "foxtrot_device"
_LOOPBACK: Final = re.compile(r"(.+\.)?localhost|127(\.\d{1,3}){3}|\[::1\]")


def client() -> Client:
    """Who sends this request; the same for all that it causes."""
    if "client" not in g:
        has_cookies = "HTTP_COOKIE" in request.environ  # programs have none to look through
        mark = request.cookies.get(_cookie_name(_DEVICE), "") if has_cookies else ""
        g.client = Client(_address(), request.user_agent.string, device_mark=mark)
    known: Client = g.client
    return known


def _address() -> str:
    proxies = current_app.config["FOXTROT_TRUSTED_PROXIES"]
    forwarded = ",".join(request.headers.getlist("X-Forwarded-For")) if proxies else ""
    return address_behind(proxies, request.remote_addr or "", forwarded)


def act_as(administrator: str) -> None:
    """Have events of this request name the administrator who does it to somebody."""
    g.client = replace(client(), actor=administrator)


def signed_out_meanwhile() -> bool:
    """Say whether this request has ended the session that it came by."""
    g.pop("browser_session", None)
    return current_session() is None


def current_session() -> LoginSession | None:
    """The live session of this request's cookie; looked up once a request."""
    if "browser_session" not in g:
        secret = request.cookies.get(_cookie_name(), "")
        g.browser_session = sessions.by_secret(secret, client()) if secret else None
        if g.browser_session is not None:
            note_user(g.browser_session.user.public_id)
    session: LoginSession | None = g.browser_session
    return session


def note_user(public_id: str) -> None:
    """Remember who this request turned out to come from, for the log."""
    g.user = public_id


def noted_user() -> str | None:
    """Who this request comes from, as far as it was found out."""
    user: str | None = g.get("user")
    return user


def has_cookie() -> bool:
    """Say whether the request carries our cookie, good or not."""
    return _cookie_name() in request.cookies


def begin(response: R, sign_in: SignIn) -> R:
    """Hand the browser the cookie of the session that begins."""
    lifetime = current_app.config["FOXTROT_SESSION_ABSOLUTE_LIMIT"]
    _set_cookie(response, _COOKIE, sign_in.secret or "", lifetime)
    g.browser_session = None  # the one that the request came by has ended
    note_user(sign_in.user_id)
    return know_device(response, sign_in.user_id, sign_in.password_changed_at)


def know_device(response: R, user_id: str, password_changed_at: datetime) -> R:
    """Mark the browser as one in which a user has proved their present password."""
    mark = devices.mark(user_id, password_changed_at)
    _set_cookie(response, _DEVICE, mark, int(devices.LIFETIME.total_seconds()))
    return response


def end(response: R) -> R:
    """End the session of this request's cookie, if there is one, and take the cookie away."""
    session = current_session()
    if session is not None:
        sessions.end(session, Ending.SIGNED_OUT, client())
    g.browser_session = None
    if has_cookie():  # another site's request carries none, and must not take ours away
        _delete_cookie(response, _COOKIE)
    return response


def tell_next(response: R, message: str) -> R:
    """Have the next page say, once, what was done; by a cookie, so that no link can claim it."""
    _set_cookie(response, _DONE, message, max_age=60)
    return response


def told(response: R) -> R:
    """Forget what was to be said, now that a page has said it."""
    if _cookie_name(_DONE) in request.cookies:
        _delete_cookie(response, _DONE)
    return response


def message() -> str | None:
    """What the page before wanted to be said."""
    return request.cookies.get(_cookie_name(_DONE))


def refused(response: R, refusal: AppError | None) -> R:
    """Give a page the status of a refusal that it tells, and say when to come again."""
    if refusal is not None:
        response.status_code = refusal.status
        if refusal.retry_after is not None:
            response.headers["Retry-After"] = str(refusal.retry_after)
    return response


def require_own_origin() -> None:
    """Refuse a request that another site's page makes in a person's name.

    `Origin` decides; without one, `Sec-Fetch-Site`. Both are set by the browser
    and out of a page's reach. What sends neither is no browser of our pages.

    :raises CrossOrigin: it does not come from this site.
    """
    if not is_own_page():
        raise CrossOrigin


def require_permitted_origin() -> None:
    """Like `require_own_origin`, but let the pages of FOXTROT_ORIGINS through, too.

    :raises CrossOrigin: it comes from somewhere else.
    """
    if not is_own_page() and not is_listed_origin():
        raise CrossOrigin


def is_own_page() -> bool:
    """Say whether the request comes from a page of this service."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    return _is_own_origin(origin)


def is_listed_origin() -> bool:
    """Say whether the request comes from a page of another front end that the operator lists."""
    return request.headers.get("Origin") in current_app.config["FOXTROT_ORIGINS"]


def require_served_host() -> None:
    """While no public URL is set, serve this machine alone, at any loopback name.

    :raises Misdirected: the request names another host or port, or the port that this
        server listens on is not the issuer's.
    """
    if current_app.config["FOXTROT_PUBLIC_URL"] is not None:
        return
    host = request.headers.get("Host", "").lower()
    port = re.search(r":([0-9]{0,5})\Z", host)
    if not _LOOPBACK.fullmatch(host[: port.start()] if port else host):
        raise Misdirected(
            "This service answers only at localhost until FOXTROT_PUBLIC_URL is set to the URL"
            " at which people reach it."
        )
    if request.environ.get("SERVER_PORT") != str(_own_port()):
        raise Misdirected(
            f"This server does not listen on port {_own_port()}, which its tokens name."
            " Set FOXTROT_PUBLIC_URL to the URL at which it is reached."
        )
    if int((port and port[1]) or 80) != _own_port():
        raise Misdirected(
            f"This service is at {current_app.config['ISSUER']}, not at another port: go there."
            " If people reach it elsewhere, set FOXTROT_PUBLIC_URL to that URL."
        )


def safe_next(target: str | None) -> str | None:
    """A path of our own site to go on to, or None for anything else.

    Judged as a browser would: a backslash is a slash, and tabs and line breaks
    within a URL vanish, so whatever has either is refused.
    """
    if not target or not target.startswith("/") or target.startswith("//"):
        return None
    if re.search(r"[\x00-\x20\x7f\\]", target) or len(target) > 2000:
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target


def _is_own_origin(origin: str) -> bool:
    public_url = current_app.config["FOXTROT_PUBLIC_URL"]
    if public_url is not None:
        return bool(origin == public_url)
    match = re.fullmatch(r"http://(\[[0-9a-f:]+\]|[^/:\[\]]+)(?::(\d{1,5}))?", origin)
    if match is None or not _LOOPBACK.fullmatch(match[1]):
        return False
    return int(match[2] or 80) == _own_port()


def _own_port() -> int:
    return urlsplit(current_app.config["ISSUER"]).port or 80


def _is_https() -> bool:
    return str(current_app.config["ISSUER"]).startswith("https://")


def _cookie_name(name: str = _COOKIE) -> str:
    return f"__Host-{name}" if _is_https() else name


def _set_cookie(response: Response, name: str, value: str, max_age: int) -> None:
    response.set_cookie(
        _cookie_name(name),
        value,
        max_age=max_age,
        secure=_is_https(),
        httponly=True,
        samesite="Lax",
        path="/",
    )


def _delete_cookie(response: Response, name: str) -> None:
    response.delete_cookie(
        _cookie_name(name), secure=_is_https(), httponly=True, samesite="Lax", path="/"
    )
