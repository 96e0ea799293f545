"""The rules of sessions once more, as docs/sessions.md tells them: small, in memory, slow.

It knows nothing of `app`. What it is told happens to it; it says what must come of it,
and notes the events that must be written. Whatever text a new token has, the model is
told by whoever drives it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=20)
RETRY_LIMIT = timedelta(hours=24)
RETRIES = 3
STEPS = 16
IDLE_LIMIT = timedelta(days=30)
ABSOLUTE_LIMIT = timedelta(days=90)
NOTED_EVERY = timedelta(minutes=1)
"""How often at most it is written down that a cookie was used."""

Event = tuple[str, str | None, str | None, str | None]
"""Name, user, session, reason."""

Place = tuple[str, str]
"""A network and a device."""


@dataclass
class Token:
    """A refresh token; used or the newest."""

    text: str
    used_at: datetime | None = None
    key: str | None = None
    retries: int = 0
    returned_at: datetime | None = None
    """When a client last came back with it, late."""


@dataclass
class Session:
    """A login session; by refresh tokens where it has some, by a cookie otherwise."""

    name: str
    user: User
    began: datetime
    last_used: datetime
    place: Place
    cookie: str | None = None
    tokens: list[Token] = field(default_factory=list)
    has_ended: bool = False
    unseen: str | None = None
    """The access token of the newest first use, until it is shown."""

    def is_running(self, now: datetime) -> bool:
        """Whether it was neither ended nor left too long."""
        in_time = now < self.last_used + IDLE_LIMIT and now < self.began + ABSOLUTE_LIMIT
        return in_time and not self.has_ended

    def is_live(self, now: datetime) -> bool:
        """Whether it lets its user in."""
        return self.user.is_enabled and self.is_running(now)


@dataclass
class User:
    """Somebody with an account."""

    name: str
    password: str
    is_enabled: bool = True


class Refused(Exception):
    """What was asked for is not given: by the name of the refusal."""


class Model:
    """All users and sessions there are."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.users: list[User] = []
        self.sessions: list[Session] = []
        self.events: list[Event] = []

    def note(self, name: str, user: User, session: Session | None, reason: str | None) -> None:
        """Expect an event."""
        self.events.append((name, user.name, session.name if session else None, reason))

    def live(self, user: User, now: datetime) -> list[Session]:
        """Those of a user, last used first, and of equals the later one."""
        found = [one for one in self.sessions[::-1] if one.user is user and one.is_live(now)]
        return sorted(found, key=lambda one: now - one.last_used)

    def check_password(self, user: User, password: str, reason: str | None = None) -> None:
        """Let a password pass that is the user's."""
        if password == user.password and user.is_enabled:
            return
        self.note("login.failed", user, None, reason)
        raise Refused("WrongPassword" if reason else "InvalidCredentials")

    def sign_in(self, session: Session, now: datetime) -> None:
        """Let a session begin that whoever drives the model has the secrets of."""
        for crowded_out in self.live(session.user, now)[self.most - 1 :]:
            self.end([crowded_out], "too_many_sessions", now)
        self.sessions.append(session)
        self.note("login.succeeded", session.user, session, None)

    def end(self, sessions: Iterable[Session], reason: str, now: datetime) -> int:
        """End sessions; those that were running get an event each, and are counted."""
        count = 0
        for session in sessions:
            if session.is_running(now):
                self.note("session.ended", session.user, session, reason)
                count += 1
            session.has_ended = True
        return count

    def end_everything(self) -> None:
        """End all there are, as one event."""
        for session in self.sessions:
            session.has_ended = True
        self.events.append(("everything.ended", None, None, None))

    def use_cookie(self, session: Session, place: Place, now: datetime) -> bool:
        """Whether the cookie lets in; it is a use of the session."""
        if not session.is_live(now):
            return False
        if now - session.last_used >= NOTED_EVERY:
            session.last_used, session.place = now, place
        return True

    def show(self, session: Session, access_token: str, now: datetime) -> bool:
        """Whether the login service's API accepts an access token; then it has arrived."""
        if not session.is_live(now):
            return False
        if session.unseen == access_token:
            session.unseen = None
        return True

    def refresh(
        self, session: Session, token: Token, key: str | None, place: Place, now: datetime
    ) -> str | None:
        """Give the token that must be answered, None for one that nobody has seen yet.

        Whoever drives the model then tells it by `succeed`.
        """
        if not session.is_live(now):
            raise Refused("NotSignedIn")
        if token.used_at is None:
            return None
        age = now - token.used_at
        distance = len(session.tokens) - 1 - session.tokens.index(token)
        same_client = key is not None and key == token.key
        came_back = same_client and token.returned_at is not None
        if age <= WINDOW or (came_back and now - (token.returned_at or now) <= WINDOW):
            if distance > STEPS:
                raise Refused("TooManyAttempts")
            return self.replay(session, place)
        may_return = age < RETRY_LIMIT and token.retries < RETRIES
        if same_client and may_return and session.unseen is not None and distance == 1:
            token.retries, token.returned_at = token.retries + 1, now
            session.last_used, session.place = now, place
            self.note("refresh.retried", session.user, session, None)
            return session.tokens[-1].text
        self.note("refresh.reused", session.user, session, None)
        self.end([session], "refresh_reused", now)
        raise Refused("NotSignedIn")

    def replay(self, session: Session, place: Place) -> str:
        """Give the newest token again; from elsewhere, that is an event."""
        if place != session.place:
            self.note("refresh.replayed", session.user, session, None)
        return session.tokens[-1].text

    def succeed(
        self,
        session: Session,
        token: Token,
        key: str | None,
        place: Place,
        now: datetime,
        successor: str,
        access_token: str,
    ) -> None:
        """A token was used for the first time."""
        token.used_at, token.key = now, key
        session.tokens.append(Token(successor))
        session.last_used, session.place, session.unseen = now, place, access_token
        self.note("refresh.succeeded", session.user, session, None)
