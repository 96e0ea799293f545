"""A world in simulated time: workers that sign, an operator who rotates, services that verify.

The rules, the table and the rings of the workers are the real ones. The verifiers are played, by
the timing of `foxtrot.issuer`, because threads cannot be simulated; what they hold is loaded and
searched by the real `foxtrot.keys`. Whatever can be late is as late as it is allowed to
be: workers read the table only when they must, proxies keep the JWK Set for its whole max-age, a
fetch takes up to its limit, and operators rotate as early as they are let.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Final

import jwt
from flask import Flask

from app import keys
from app.errors import KeyRefused
from app.keys import KeyRing, Policy
from app.keys.life import ELSEWHERE, MAX_AGE
from foxtrot import InvalidToken, signature
from foxtrot.fetch import FETCH_SECONDS
from foxtrot.issuer import COOLDOWN_SECONDS, REFRESH_SECONDS
from foxtrot.jwk import Key
from foxtrot.keys import find_in, load_jwk_set
from tests.keys.conftest import lives, remove_now, ring_of, rotate, tend, worker

LEEWAY: Final = 30
LIFETIME: Final = 900


@dataclass
class Proxy:
    """Keeps the JWK Set between services and the issuer, for as long as it may."""

    world: World
    keys: dict[str, Key] = field(default_factory=dict)
    fetched_at: float = float("-inf")

    def get(self, now: float) -> dict[str, Key]:
        if now - self.fetched_at >= MAX_AGE.total_seconds():
            self.keys, self.fetched_at = self.world.answer(now), now
        return self.keys


@dataclass
class Service:
    """A verifier, as `foxtrot.issuer.IssuerKeys` fetches."""

    proxy: Proxy
    choose: random.Random
    keys: dict[str, Key] = field(default_factory=dict)
    attempted_at: float = float("-inf")

    def fetch(self, now: float) -> None:
        self.keys = self.proxy.get(now)
        self.attempted_at = now + self.choose.uniform(0, FETCH_SECONDS)

    def accepts(self, token: Token, now: float) -> bool:
        """Judge; for an unknown key fetch first, but not during the cool-down."""
        if token.kid not in self.keys and now - self.attempted_at >= COOLDOWN_SECONDS:
            self.fetch(now)
        return find_in(self.keys, token.kid, token.algorithm) is not None


@dataclass(frozen=True)
class Token:
    """What a worker signed."""

    kid: str
    algorithm: str
    signed_at: float
    text: str | None

    @property
    def ends_at(self) -> float:
        """Until when verifiers accept it: its `exp`, and their leeway."""
        return int(self.signed_at) + LIFETIME + LEEWAY


class World:
    """Everything, and the time. To be used in an app context."""

    def __init__(self, app: Flask, seed: int, services: int = 100) -> None:
        self.app, self.choose = app, random.Random(seed)
        self.begin: datetime = lives()[0].created_at
        self.workers: list[KeyRing] = [worker(app) for _ in range(2)]
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.order, self.loaded = count(), dict[frozenset[str], dict[str, Key]]()
        proxies = [Proxy(self) for _ in range(services // 5)]
        self.services = [Service(self.choose.choice(proxies), self.choose) for _ in range(services)]
        self.removed: dict[str, float] = {}
        self.excused: dict[str, float] = {}
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        for service in self.services:
            self.at(self.choose.uniform(0, REFRESH_SECONDS), self.poll(service))
        self.at(0, self.operate)

    def at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.order), event))

    def run(self, rotations: int) -> None:
        """Let time pass until there were so many rotations, and their last tokens are over."""
        end = float("inf")
        while (event := heapq.heappop(self.events))[0] < end:
            event[2](event[0])
            if self.seen["rotations"] == rotations:
                end = min(end, event[0] + LIFETIME + LEEWAY)

    def moment(self, now: float) -> datetime:
        return self.begin + timedelta(seconds=now)

    # The issuer

    def answer(self, now: float) -> dict[str, Key]:
        """The JWK Set, as either worker answers."""
        jwks = self.choose.choice(self.workers).public_set(self.moment(now))
        names = frozenset(jwk["kid"] for jwk in jwks)
        if names not in self.loaded:
            self.loaded[names] = load_jwk_set({"keys": jwks})
        return self.loaded[names]

    def sign(self, now: float) -> None:
        """Either worker signs a token; every service is shown it, at once, late, or in between."""
        kid, private_key, algorithm = self.choose.choice(self.workers).signing_key(self.moment(now))
        text = jwt.encode({}, private_key, algorithm, {"kid": kid})
        token = Token(kid, algorithm, now, text)
        for service in self.services:
            share = self.choose.choice([0.0, self.choose.random(), 0.9999])
            self.at(now + share * (token.ends_at - now), self.show(token, service))
        self.seen["tokens"] += 1

    # The operator

    def operate(self, now: float) -> None:
        """Rotate, or now and then something worse; then again, mostly as early as it is let."""
        moment, dice = self.moment(now), self.choose.random()
        tend(self.app, moment)
        if dice < 0.05:
            self.remove(now)
        elif dice < 0.08:
            self.change_algorithm(moment)
        try:
            when = (rotate(self.app, moment) - self.begin).total_seconds()
        except KeyRefused as refusal:
            self.seen["refused"] += 1
            safe = ((refusal.safe_from or moment) - self.begin).total_seconds()
            self.at(safe + self.choose.choice([0.001, self.choose.uniform(0, 1500)]), self.operate)
            self.at(now + self.choose.uniform(0, 300), self.sign)
        else:
            self.seen["rotations"] += 1
            self.at(now + self.choose.uniform(0, 120), self.operate)
            for delay in (-0.5, 0.0, self.choose.uniform(0, 5), self.choose.uniform(0, 300)):
                self.at(when + delay, self.sign)

    def remove(self, now: float) -> None:
        """An emergency: some key is known to a thief."""
        kid = self.choose.choice(lives()).kid
        removal = remove_now(self.app, kid, self.moment(now))
        self.removed[kid] = now + ELSEWHERE.total_seconds()
        if removal.successor and removal.unknown_until:
            until = (removal.unknown_until - self.begin).total_seconds()
            self.excused[removal.successor] = until
        self.seen["removals"] += 1

    def change_algorithm(self, moment: datetime) -> None:
        """A restart with another setting."""
        ring = ring_of(self.app)
        other = {"ES256": "EdDSA", "EdDSA": "ES256"}[ring.policy.algorithm]
        ring.policy = Policy(other, ring.policy.lifetime, None)
        keys.start(ring.policy, ring.secret_key, moment)
        self.seen["moves"] += 1

    # The services

    def poll(self, service: Service) -> Callable[[float], None]:
        """The regular fetch."""

        def event(now: float) -> None:
            if now >= service.attempted_at + REFRESH_SECONDS:
                service.fetch(now)
            self.at(service.attempted_at + REFRESH_SECONDS, event)

        return event

    def show(self, token: Token, service: Service) -> Callable[[float], None]:
        """Show a token to a service."""

        def event(now: float) -> None:
            accepted = service.accepts(token, now)
            self.seen["judged"] += 1
            if accepted and self.choose.random() < 0.01:
                self.verify(token, service.keys[token.kid])
            if token.kid in self.removed:
                if accepted and now > self.removed[token.kid]:
                    self.wrong.append(f"{now:.1f}: accepted after the removal, {token}")
            elif not accepted and now >= self.excused.get(token.kid, 0):
                self.wrong.append(f"{now:.1f}: refused, {token}")

        return event

    def verify(self, token: Token, key: Key) -> None:
        """The signature, too, now and then."""
        try:
            signature.check(str(token.text), _Only(key))
        except InvalidToken as error:
            self.wrong.append(f"{token}: {error}")
        self.seen["verified"] += 1


class _Only:
    """One key of a set."""

    generation = 0

    def __init__(self, key: Key) -> None:
        self.key, self.algorithms = key, frozenset({key.algorithm})

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        return self.key
