"""Families of refresh tokens in a simulated world: a client that keeps the rules, and thieves.

Only time, the network and the people are simulated. Every request goes to the real rules
(`login.refresh`) on a real database, with the simulated time as its `now`. Times here are
seconds since the sign-in; what happens next is on a heap.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random

from sqlalchemy import select

from app import login, refresh_tokens, sessions
from app.audit import AuditEvent
from app.client import Client
from app.db import db, transaction
from app.errors import NotSignedIn
from app.ids import digest, new_id
from app.sessions import LoginSession
from app.users import User
from tests.support import claims_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
PERIOD = 15 * 60.0
"""The life of an access token."""

LOST = 0.05
TOGETHER = 0.1
"""How often the tabs wake at the same moment."""

MOST_TABS = 5

HOME = Client("192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", "r_1")
DEN = Client("198.51.100.66", "curl/8.5.0", "r_2")

Action = Callable[[float], None]


@dataclass
class Answer:
    """What a refresh gives: the next token, and an access token, which was issued at a time."""

    token: str
    issued_at: float
    access: str = ""


@dataclass
class Request:
    """What a refresh sends."""

    token: str
    key: str | None


class Family:
    """One session of one user: its service, its client's store and tabs, and what happens next."""

    def __init__(self, number: int, tabs: int = 2) -> None:
        self.random = Random(number)
        self.session, token = sign_in(number)
        self.store = Answer(token, 0.0)
        self.key = new_key()
        self.ended_at: float | None = None
        self.offline_until = 0.0
        self.wake_apart = True
        self.lost = 0
        self.had = {token}
        self.overheard: Callable[[float, Request], None] = lambda _at, _request: None
        self._heap: list[tuple[float, int, Action]] = []
        self._numbers = count()
        self._tabs = [Tab(self) for _ in range(tabs)]
        self.plan_renewal(0.0)

    def at(self, time: float, action: Action) -> None:
        """Let something happen."""
        heappush(self._heap, (time, next(self._numbers), action))

    def run(self, until: float) -> None:
        """Let all happen until then, or until the session has ended."""
        while self.ended_at is None and self._heap[0][0] < until:
            time, _, action = heappop(self._heap)
            action(time)

    def ask(self, at: float, request: Request, client: Client) -> Answer | None:
        """Ask the service; None if it says that the session has ended."""
        now = START + timedelta(seconds=at)
        try:
            given = login.refresh(request.token, client, retry_key=request.key, now=now)
        except NotSignedIn:
            self.ended_at = at
            return None
        assert given.refresh_token is not None
        assert given.access_token is not None
        return Answer(given.refresh_token, at, given.access_token.text)

    def keep(self, request: Request, answer: Answer) -> bool:
        """Store an answer, with a key for its token, unless another tab did so before."""
        if self.store.token != request.token:
            return False
        self.store, self.key = answer, new_key()
        self.had.add(answer.token)
        return True

    def plan_renewal(self, time: float) -> None:
        """All tabs plan, each for itself, or all for when the machine wakes."""
        together = self.random.random() if self.random.random() < TOGETHER else None
        for tab in self._tabs:
            tab.plan(time, self.random.random() if together is None else together)

    def wakes_after(self) -> float:
        """When a tab hears that the network is back: each a little later, or all at once."""
        return self.random.uniform(0, 30) if self.wake_apart else 0.0

    def events(self) -> list[str]:
        """The names of the events that the person sees."""
        query = select(AuditEvent.name).where(AuditEvent.user == self.session.user.public_id)
        return list(db.session.scalars(query.order_by(AuditEvent.id)))

    def is_live(self, at: float) -> bool:
        """Whether the session is, by the database."""
        return self.session.is_live(START + timedelta(seconds=at))


class Tab:
    """One of several users of a store; it keeps the rules of docs/sessions.md."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._random = family.random

    def plan(self, time: float, moment: float) -> None:
        """Renew in the last fifth of the access token's life, or soon if that is over."""
        renewal = self._family.store.issued_at + PERIOD * (0.8 + 0.2 * moment)
        planned = self._family.store
        self._family.at(max(time + moment, renewal), lambda time: self._renew(time, planned))

    def _renew(self, time: float, planned: Answer) -> None:
        """Read the store just before; another tab may have been here."""
        if self._family.store is planned:
            self._send(time)

    def _send(self, time: float) -> None:
        family = self._family
        if time < family.offline_until:
            token, back = family.store.token, family.offline_until + family.wakes_after()
            family.at(back, lambda time: self._again(time, token))
            return
        request = Request(family.store.token, family.key)
        family.at(time + self._travel(), lambda time: self._arrive(time, request))

    def _arrive(self, time: float, request: Request) -> None:
        """The service does its part; the answer arrives, or it does not."""
        answer = self._family.ask(time, request, HOME)
        self._family.overheard(time, request)
        if answer is None:
            return
        if self._random.random() < LOST:
            self._family.lost += 1
            self._lose(time, request)
        else:
            self._family.at(time + self._travel(), lambda time: self._store(time, request, answer))

    def _store(self, time: float, request: Request, answer: Answer) -> None:
        if not self._family.keep(request, answer):
            return
        if self._random.random() < 0.3:
            show(self._family.session, answer, time)
        self._family.plan_renewal(time)

    def _lose(self, time: float, request: Request) -> None:
        """Try again: soon, later, or after a tunnel in which nothing works."""
        how = self._random.random()
        if how < 0.6:
            patience = self._random.uniform(2, 15)
        elif how < 0.9:
            patience = self._random.uniform(15, 600)
        else:
            patience = self._random.uniform(600, 5 * 3600)
            self._family.offline_until = time + patience
            self._family.wake_apart = self._random.random() >= TOGETHER
        self._family.at(time + patience, lambda time: self._again(time, request.token))

    def _again(self, time: float, token: str) -> None:
        """Send what is in the store, unless another tab has an answer by now."""
        if self._family.store.token == token:
            self._send(time)

    def _travel(self) -> float:
        return self._random.uniform(0.02, 0.5)


class Thief:
    """Somebody with a copy, far away. A subclass says when they use it.

    `began_at` is when they did so first, `uses` how often they were given something.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.random = family.random
        self.began_at: float | None = None
        self.uses = 0
        family.at(self.random.uniform(1, 3) * PERIOD, self.steal)

    def steal(self, time: float) -> None:
        """Copy the newest token, and the access token beside it."""
        copy = self.family.store
        self.use_at(self.next_use(time, copy.issued_at), Request(copy.token, None))

    def use_at(self, time: float, request: Request) -> None:
        """Mean to use a token."""
        self.family.at(time, lambda time: self._use(time, request))

    def _use(self, time: float, request: Request) -> None:
        self.began_at = time if self.began_at is None else self.began_at
        answer = self.family.ask(time, request, DEN)
        if answer is not None:
            self.uses += 1
            self.use_at(self.next_use(time, answer.issued_at), Request(answer.token, None))

    def next_use(self, time: float, issued_at: float) -> float:
        """When to use the token that was copied or given just now."""
        raise NotImplementedError

    def periods(self) -> float:
        """How many lives of an access token passed between the first use and the end."""
        assert self.began_at is not None
        assert self.family.ended_at is not None
        return (self.family.ended_at - self.began_at) / PERIOD


class AtRandom(Thief):
    """Knows nothing of the client's clock."""

    def next_use(self, time: float, issued_at: float) -> float:
        """At first whenever; from then on as the client does."""
        if self.began_at is None:
            return time + self.random.random() * PERIOD
        return time + self.random.uniform(0.8, 1) * PERIOD


class Aiming(Thief):
    """Knows from `exp` when the client will renew.

    Each comes at the same part of every life: just before its last fifth, in the middle of
    that, or at the end.
    """

    def __init__(self, family: Family) -> None:
        super().__init__(family)
        self.part = self.random.choice([0.8, 0.9, 1.0])

    def next_use(self, time: float, issued_at: float) -> float:
        """At their part of this life."""
        return max(time, issued_at + self.part * PERIOD)


class Recording(Thief):
    """Holds a whole request of the client with its key, and sends it again later."""

    def __init__(self, family: Family) -> None:
        super().__init__(family)
        self._is_listening = False
        family.overheard = self._hear

    def steal(self, time: float) -> None:
        """Wait for the next request."""
        self._is_listening = True

    def _hear(self, time: float, request: Request) -> None:
        if self._is_listening:
            self._is_listening = False
            self.use_at(time + self.random.random() * 2 * PERIOD, request)

    def next_use(self, time: float, issued_at: float) -> float:
        """What the request gave is used at a random moment."""
        return time + self.random.random() * PERIOD


class Following(Thief):
    """Sees each renewal, and follows at once with the token that was just used."""

    patience = math.inf
    """How many times they are quick enough."""

    def __init__(self, family: Family) -> None:
        super().__init__(family)
        self._followed: set[str] = set()
        self.given: set[str] = set()
        family.overheard = self._hear

    def steal(self, time: float) -> None:
        """They need no copy: they listen."""

    def _hear(self, time: float, request: Request) -> None:
        if request.token in self._followed:
            return
        self._followed.add(request.token)
        quick = len(self._followed) <= self.patience
        after = self.random.uniform(0.5, 20) if quick else self.random.uniform(20.001, 60)
        self.use_at(time + after, Request(request.token, None))

    def _use(self, time: float, request: Request) -> None:
        self.began_at = time if self.began_at is None else self.began_at
        answer = self.family.ask(time, request, DEN)
        if answer is not None:
            self.uses += 1
            self.given.add(answer.token)


def sign_in(number: int) -> tuple[LoginSession, str]:
    """Begin a session of a new user, as `login.with_tokens` does once the password was right."""
    email = f"family-{number}@example.com"
    user = User(
        public_id=new_id("u"),
        email=email,
        email_key=email,
        password_hash="",
        password_changed_at=START,
        created_at=START,
    )
    db.session.add(user)
    db.session.flush()
    session_id = new_id("s")
    token = refresh_tokens.first(session_id)
    sessions.start(user, HOME, public_id=session_id, refresh_hash=digest(token), now=START)
    session = sessions.find(session_id)
    assert session is not None
    return session, token


def show(session: LoginSession, answer: Answer, at: float) -> None:
    """Call the login service's API with an access token, as a client may."""
    db.session.expire_all()
    now = START + timedelta(seconds=at)
    found = sessions.by_public_id(session.public_id, session.user.public_id, now)
    if found is not None:
        sessions.note_shown(found, claims_of(answer.access)["jti"])


def new_key() -> str:
    """An `Idempotency-Key`."""
    return secrets.token_urlsafe(24)


def simulate(number: int, thief: type[Thief] | None, periods: float) -> tuple[Family, Thief | None]:
    """Let one family live, in one transaction: refusals are part of it."""
    with transaction():
        family = Family(number, tabs=1 + number % MOST_TABS)
        at_work = thief(family) if thief is not None else None
        family.run(until=periods * PERIOD)
        db.session.flush()
    return family, at_work
