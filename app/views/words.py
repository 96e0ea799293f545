"""Times and audit events as a person says them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Final

from app import throttles
from app.audit import AuditEvent, Event
from app.login import NOT_GRANTED
from app.sessions import PASSWORD, Ending, LoginSession

ACTIVE: Final = timedelta(minutes=5)

_EVENTS: Final = {
    Event.USER_CREATED: "The account was created",
    Event.USER_DISABLED: "The account was disabled by the operator",
    Event.USER_ENABLED: "The account was enabled again by the operator",
    Event.SCOPES_CHANGED: "The operator changed what you may do",
    Event.LOGIN_SUCCEEDED: "Signed in",
    Event.LOGIN_FAILED: "A sign-in was refused",
    Event.LIMIT_REACHED: "Sign-ins were held back, after too many wrong passwords",
    Event.USER_UNLOCKED: "The operator let sign-ins through again",
    Event.PASSWORD_CHANGED: "The password was changed",
    Event.RESET_LINK_MADE: "The operator made a link to reset the password",
    Event.SESSION_ENDED: "A session ended",
    Event.REFRESH_REPLAYED: "A session was used from two places at almost the same time",
    Event.REFRESH_RETRIED: "A device that had lost its connection came back",
    Event.WARNING_DISMISSED: "You dismissed the warning of a copied session",
    Event.TOKENS_ATTACKED: "The operator tried whether a service checks your tokens",
    Event.REFRESH_REUSED: "A copy of a session was used, so it was ended to protect you",
}
_ENDINGS: Final = {
    Ending.SIGNED_OUT: "Signed out",
    Ending.SIGNED_IN_ANEW: "Signed out, because somebody signed in anew in that browser",
    Ending.ENDED_BY_USER: "You ended a session",
    Ending.ENDED_BY_OPERATOR: "A session was ended by the operator",
    Ending.PASSWORD_CHANGED: "A session ended, because the password was changed",
    Ending.USER_DISABLED: "A session ended, because the account was disabled",
    Ending.REFRESH_REUSED: "A session ended, because a copy of it was used",
    Ending.TOO_MANY_SESSIONS: "The session unused longest ended, because there were too many",
}
_REASONS: Final = {
    "current_password": "A change of the password was refused: the current one was wrong",
    NOT_GRANTED: "A sign-in with your password was refused: it asked for more than you may use",
    throttles.ACCOUNT: "Sign-ins from devices that are not known were held back, after too many"
    " wrong passwords",
    throttles.BOTH: "Sign-ins from one place were held back, after too many wrong passwords",
    throttles.DEVICE: "Tries of your password on one device were held back, after too many wrong"
    " ones",
}
_PROOFS: Final = {PASSWORD: "password"}


def about(event: AuditEvent) -> str:
    """What happened, in plain words."""
    if event.name == Event.SESSION_ENDED and event.reason in list(Ending):
        return _ENDINGS[Ending(event.reason)]
    if event.reason in _REASONS:
        return _REASONS[event.reason]
    return _EVENTS.get(Event(event.name), event.name) if event.name in list(Event) else event.name


def whence(event: AuditEvent) -> str:
    """From what device and address it was done; of an administrator, that it was one."""
    if event.actor is not None and event.actor != event.user:
        return "An administrator"
    return f"{event.device} · {event.address}" if event.address else event.device


def proof(session: LoginSession) -> str:
    """How somebody proved who they are when the session began (RFC 8176)."""
    return " and ".join(_PROOFS.get(method, method) for method in session.amr.split())


def ago(then: datetime, now: datetime) -> str:
    """How long ago something was, as roughly as people say it."""
    seconds = max(0, int((now - then).total_seconds()))
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = seconds // length
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def activity(last_seen_at: datetime, now: datetime) -> str:
    """When a session was last used."""
    if now - last_seen_at < ACTIVE:
        return "active now"
    return f"last used {ago(last_seen_at, now)}"


def day(when: date) -> str:
    """A date; of a moment, in UTC."""
    return when.strftime("%-d %B %Y")


def moment(when: datetime) -> str:
    """A date and a time in UTC."""
    return when.strftime("%-d %B %Y, %H:%M UTC")
