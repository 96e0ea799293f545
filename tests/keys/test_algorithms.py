"""Moving from one algorithm to another, by a restart: nobody is logged out.

Time is simulated: the start, the sign-ins and the verifiers of the services are given it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app import keys
from app.keys import Policy
from app.keys.life import KNOWN_AFTER, SWITCH
from foxtrot import InvalidToken, JWKSet, SharedSecret, Unavailable, Verifier
from foxtrot.keys import KeySource
from tests.conftest import MakeApp, add_user
from tests.keys.conftest import (
    A_DAY,
    A_SECOND,
    ALICE,
    LIFETIME,
    READY,
    RETENTION,
    SHARED,
    age,
    lives,
    remove_now,
    ring_of,
    states,
    tend,
    token,
    worker,
)
from tests.processes import run
from tests.support import ORIGIN, cheap_settings, get, header_of


def restart(app: Flask, algorithm: str, now: datetime) -> None:
    """Start the service with another FOXTROT_ALGORITHM, at a time."""
    ring = ring_of(app)
    ring.policy = Policy(algorithm, ring.policy.lifetime, ring.policy.rotation)
    keys.start(ring.policy, ring.secret_key, now)


def algorithm_of(text: str) -> str:
    return str(header_of(text)["alg"])


def published(app: Flask, now: datetime) -> dict[str, Any]:
    """The JWK Set as the service answers with it at a time."""
    ring = worker(app)
    return {"keys": ring.public_set(now) if ring.shows_keys(now) else []}


class Service:
    """A service that fetches the JWK Set now and then, and at no other time.

    :param every: how many seconds lie between, five minutes at most.
    :param others: the sources that it lists besides.
    """

    def __init__(self, app: Flask, *others: KeySource, every: int = 300) -> None:
        self.app, self.others = app, others
        self.every = timedelta(seconds=every)
        self.fetched: Sequence[KeySource] = ()
        self.fetched_at: datetime | None = None

    def accepts(self, text: str, now: datetime) -> bool:
        """Fetch if that is due; then judge a token at a time."""
        if self.fetched_at is None or now - self.fetched_at >= self.every:
            found = published(self.app, now)
            self.fetched, self.fetched_at = [JWKSet(found)] if found["keys"] else [], now
        sources = [*self.others, *self.fetched]
        verifier = Verifier(ORIGIN, "notes", keys=sources, clock=now.timestamp)
        try:
            return verifier.verify(text).algorithm is not None
        except (InvalidToken, Unavailable):
            return False


def walk(
    app: Flask, services: Sequence[Service], begin: datetime, end: datetime
) -> Iterator[tuple[datetime, str]]:
    """Every 15 seconds sign somebody in, and show tokens of the last quarter to every service."""
    held: list[tuple[datetime, str]] = []
    now = begin
    while now < end:
        held = [(signed, text) for signed, text in held if now - signed < LIFETIME]
        held.append((now, token(None, now)))
        for _, text in {held[0], held[len(held) // 2], held[-1]}:
            for service in services:
                assert service.accepts(text, now), (now - begin, algorithm_of(text))
        yield now, held[-1][1]
        now += timedelta(seconds=15)


# Between key pairs


@pytest.mark.parametrize(
    ("database", "algorithm"), [("sqlite", "RS256"), ("postgresql", "EdDSA")], indirect=["database"]
)
def test_a_move_to_another_algorithm_logs_nobody_out(
    app: Flask, alice: str, now: datetime, algorithm: str
) -> None:
    """Every token is accepted by services with copies of the set of any age, throughout."""
    services = [Service(app, every=every) for every in (300, 265, 230)]
    moments = walk(app, services, now, now + timedelta(minutes=40))
    seen = [algorithm_of(text) for _, text in (next(moments) for _ in range(20))]
    restart(app, algorithm, now + timedelta(minutes=5))
    after = [algorithm_of(text) for _, text in moments]
    assert set(seen) == {"ES256"}
    assert after == ["ES256"] * after.index(algorithm) + [algorithm] * after.count(algorithm)
    assert after.index(algorithm) * 15 >= KNOWN_AFTER.total_seconds()


def test_the_new_key_is_published_before_it_signs(app: Flask, now: datetime) -> None:
    """As with any rotation; there is a stand-by of the new algorithm besides."""
    restart(app, "EdDSA", now + A_DAY)
    shown = [jwk["alg"] for jwk in worker(app).public_set(now + A_DAY)]
    assert shown == ["ES256", "ES256", "EdDSA", "EdDSA"]
    assert worker(app).signing_key(now + A_DAY + KNOWN_AFTER - A_SECOND).algorithm == "ES256"
    assert worker(app).signing_key(now + A_DAY + KNOWN_AFTER).algorithm == "EdDSA"


def test_after_the_move_what_is_left_of_the_old_algorithm_goes(app: Flask, now: datetime) -> None:
    """The stand-by at once, the key that signed when its tokens are over."""
    restart(app, "EdDSA", now)
    tend(app, now + READY)
    assert states(now + READY) == ["retiring", "retired", "active", "published"]
    tend(app, now + READY + RETENTION)
    assert [life.algorithm for life in lives()] == ["EdDSA", "EdDSA"]


def test_in_an_emergency_during_the_move_the_old_stand_by_signs(app: Flask, now: datetime) -> None:
    """Services know it, and the new key not yet."""
    restart(app, "EdDSA", now + A_DAY)
    first, second, third, _ = lives()
    removal = remove_now(app, first.kid, now + A_DAY)
    assert (removal.successor, removal.unknown_until) == (second.kid, None)
    assert worker(app).signing_key(now + A_DAY).kid == second.kid
    assert worker(app).signing_key(now + A_DAY + READY).kid == third.kid


def test_a_move_that_is_taken_back_logs_nobody_out(app: Flask, alice: str, now: datetime) -> None:
    """The operator changes the setting twice within a minute."""
    services = [Service(app, every=every) for every in (300, 265, 230)]
    moments = walk(app, services, now, now + timedelta(minutes=40))
    for _ in range(20):
        next(moments)
    restart(app, "EdDSA", now + timedelta(minutes=5))
    next(moments)
    restart(app, "ES256", now + timedelta(minutes=5, seconds=20))
    assert {algorithm_of(text) for _, text in moments} == {"ES256"}


def test_a_restart_during_the_move_changes_nothing(app: Flask, now: datetime) -> None:
    """Nor do ten workers that start one after the other."""
    restart(app, "EdDSA", now)
    before = lives()
    for seconds in (1, 30, 200):
        restart(app, "EdDSA", now + timedelta(seconds=seconds))
    assert lives() == before


def test_a_worker_with_the_old_setting_goes_along(app: Flask, now: datetime) -> None:
    """It was not started again, and signs as the table says, so that nobody's tokens are lost."""
    old = worker(app)
    restart(app, "EdDSA", now)
    later = now + KNOWN_AFTER
    assert old.policy.algorithm == "ES256"
    assert old.signing_key(later) == worker(app).signing_key(later)._replace(
        private_key=old.signing_key(later).private_key
    )


def test_a_command_beside_the_service_moves_nothing(
    app: Flask, now: datetime, data_dir: Any
) -> None:
    """Its environment may lack the setting that the service has, or have another age for keys."""
    age(app, 91 * A_DAY)
    settings = {**cheap_settings(data_dir), "FOXTROT_ALGORITHM": "EdDSA"}
    assert run("users", "list", settings=settings).returncode == 0
    assert [life.algorithm for life in lives()] == ["ES256", "ES256"]
    assert lives()[0].signs_until is None


# From a shared secret to key pairs


@pytest.fixture
def shared(fresh: MakeApp) -> Iterator[Flask]:
    """A service that has shared a secret from the first start on; Alice has an account."""
    app = fresh(FOXTROT_ALGORITHM="HS256", FOXTROT_SHARED_SECRET=SHARED)
    add_user(app, ALICE)
    with app.app_context():
        yield app


@pytest.mark.parametrize("algorithm", ["ES256"])
def test_the_walk_from_a_shared_secret_to_keys_logs_nobody_out(
    shared: Flask, algorithm: str
) -> None:
    """Services list both sources; the login service is started again; nobody notices."""
    begin = lives()[0].created_at
    services = [Service(shared, SharedSecret(SHARED), every=every) for every in (300, 265, 230)]
    moments = walk(shared, services, begin, begin + timedelta(minutes=45))
    before = [algorithm_of(text) for _, text in (next(moments) for _ in range(20))]
    restart(shared, algorithm, begin + timedelta(minutes=5))
    after = [algorithm_of(text) for _, text in moments]
    assert set(before) == {"HS256"}
    assert after == ["HS256"] * after.count("HS256") + [algorithm] * after.count(algorithm)
    assert after.index(algorithm) * 15 >= KNOWN_AFTER.total_seconds()


def test_at_the_end_of_the_walk_the_secret_is_not_needed(shared: Flask) -> None:
    """The table says when: its last token is over, and a minute."""
    begin = lives()[0].created_at
    restart(shared, "ES256", begin + A_DAY)
    over = begin + A_DAY + KNOWN_AFTER + RETENTION
    secret = next(life for life in lives() if life.algorithm == "HS256")
    assert secret.may_retire_from == over
    assert Service(shared).accepts(token(None, over - LIFETIME), over - LIFETIME)
    tend(shared, over)
    assert "HS256" not in {life.algorithm for life in lives()}


def test_keys_are_shown_from_the_start_of_the_walk_on(shared: Flask) -> None:
    """And not before: until then there is nothing for services in the set."""
    begin = lives()[0].created_at
    assert published(shared, begin + A_DAY) == {"keys": []}
    restart(shared, "ES256", begin + A_DAY)
    assert len(published(shared, begin + A_DAY)["keys"]) == 2


def test_the_metadata_lead_to_the_keys_from_the_start_of_the_walk_on(
    shared: Flask, fresh: MakeApp
) -> None:
    """Over HTTP, at real servers on one database: one with the old setting shows them, too."""
    path = "/.well-known/oauth-authorization-server"
    assert "jwks_uri" not in get(shared.test_client(), path).get_json()
    moved = fresh(FOXTROT_SHARED_SECRET=SHARED)
    ring_of(shared)._read_at = None  # half a minute later
    for app in (moved, shared):
        assert get(app.test_client(), path).get_json()["jwks_uri"]
        assert len(get(app.test_client(), "/.well-known/jwks.json").get_json()["keys"]) == 2


def test_tokens_for_the_login_service_alone_never_change_hands(shared: Flask) -> None:
    """They were signed with a key pair all along."""
    begin = lives()[0].created_at
    assert algorithm_of(token(ORIGIN, begin + A_SECOND)) == "ES256"
    restart(shared, "ES256", begin + A_DAY)
    assert algorithm_of(token(ORIGIN, begin + A_DAY)) == "ES256"


def test_the_way_back_to_a_shared_secret_logs_nobody_out(shared: Flask) -> None:
    """Services list both still; the keys are shown until their tokens are over."""
    begin = lives()[0].created_at
    services = [Service(shared, SharedSecret(SHARED), every=every) for every in (300, 265, 230)]
    restart(shared, "ES256", begin)
    moments = walk(shared, services, begin, begin + timedelta(minutes=60))
    for _ in range(80):
        _, text = next(moments)
    assert algorithm_of(text) == "ES256"
    restart(shared, "HS256", begin + timedelta(minutes=20))
    assert {algorithm_of(text) for _, text in moments} == {"HS256"}
    assert published(shared, begin + timedelta(minutes=60)) == {"keys": []}


def test_a_secret_that_was_taken_away_signs_nothing_more(shared: Flask, fresh: MakeApp) -> None:
    """It is known to a thief: the operator takes the setting away, too, and keys sign at once."""
    app = fresh()
    with app.app_context():
        assert algorithm_of(token(None, lives()[0].created_at + SWITCH)) == "ES256"
