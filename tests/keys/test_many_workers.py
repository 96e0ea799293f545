"""Many workers at once: one key or two, never a broken set, never a failed request (KEY-6, KEY-7).

Some are threads with a ring of their own, some are real servers on one database; on PostgreSQL
these share nothing else, as machines do.
"""

from __future__ import annotations

import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from app import keys
from app.db import db, transaction, utcnow
from app.errors import KeyRefused
from app.keys import REREAD, SigningKey
from foxtrot import IssuerKeys, Verifier
from tests.conftest import dispose, on_both_databases
from tests.keys.conftest import (
    A_DAY,
    ALICE,
    READY,
    lives,
    ring_of,
    rotate,
    states,
    tend,
    worker,
)
from tests.processes import run
from tests.sessions.crowd import PATIENCE, at_once
from tests.sessions.network import Server, call, status_of_access
from tests.support import PASSWORD, SOMEWHERE, header_of, on_a_machine

FORGED = ".".join(
    urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg": "ES256", "kid": "unknown"}', b"{}", b"signature")
)
"""A token that names a key which nobody knows."""

pytestmark = on_both_databases


def in_context(app: Flask, task: Callable[[], object]) -> object:
    """Do something in an app context of its own, as a worker's thread does."""
    with app.app_context():
        try:
            return task()
        except KeyRefused as refusal:
            return refusal


# Threads


def test_of_many_rotations_at_once_one_is_done(app: Flask, now: datetime) -> None:
    """The others are refused, with the time; the set is whole."""
    tasks = [partial(in_context, app, partial(rotate, app, now + READY)) for _ in range(8)]
    outcomes = at_once(tasks)
    assert sum(not isinstance(outcome, KeyRefused) for outcome in outcomes) == 1
    later = now + READY + timedelta(minutes=1)
    assert states(later) == ["retiring", "active", "published"]


def test_of_many_upkeeps_at_once_each_thing_is_done_once(app: Flask, now: datetime) -> None:
    """The key is ninety days old: one rotation, one new stand-by."""
    later = now + 90 * A_DAY
    at_once([partial(in_context, app, partial(tend, app, later)) for _ in range(8)])
    assert states(later + timedelta(minutes=1)) == ["retiring", "active", "published"]


def test_of_many_removals_at_once_one_finds_a_successor(app: Flask, now: datetime) -> None:
    """And there is a stand-by in the end."""
    ring, bad, later = ring_of(app), lives()[0].kid, now + READY
    remove = partial(keys.remove, bad, ring.policy, ring.secret_key, SOMEWHERE, later)
    at_once([partial(in_context, app, partial(remove, at_once=True)) for _ in range(8)])
    assert states(later) == ["active", "published"]


def test_rotations_by_different_workers_never_break_the_line(app: Flask, now: datetime) -> None:
    """A hundred days in which anybody rotates whenever it is allowed."""
    for day in range(1, 100):
        when = now + day * A_DAY
        tasks = [partial(in_context, app, partial(rotate, app, when)) for _ in range(2)]
        at_once([*tasks, partial(in_context, app, partial(tend, app, when))])
        then = when + timedelta(minutes=2)
        signers = {worker(app).signing_key(then).kid for _ in range(2)}
        assert len(signers) == 1
        assert states(then)[-3:] == ["retiring", "active", "published"]


# Real servers


@dataclass
class Load:
    """People who sign in at one server and are seen at all of them, without a pause."""

    urls: list[str]
    over: threading.Event = field(default_factory=threading.Event)
    statuses: list[int] = field(default_factory=list)
    kids: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @contextmanager
    def going_on(self, people: int) -> Iterator[None]:
        """So many people at once, until the block ends."""
        with ThreadPoolExecutor(people) as pool:
            living = [pool.submit(self.live, number) for number in range(people)]
            try:
                yield
            finally:
                self.over.set()
            for person in living:
                person.result(PATIENCE)

    def live(self, number: int) -> None:
        """One person, until it is over."""
        while not self.over.is_set():
            self.once(self.urls[number % len(self.urls)])

    def once(self, url: str) -> str:
        """Sign in, be seen everywhere, read the keys."""
        body = {"email": ALICE, "password": PASSWORD}
        answer = call(f"{url}/auth/login", body)
        self.statuses.append(answer.status)
        token = str(answer.body["access_token"])
        self.kids.append(header_of(token)["kid"])
        self.statuses += [status_of_access(other, token) for other in self.urls]
        for other in self.urls:
            answer = call(f"{other}/.well-known/jwks.json")
            self.statuses.append(answer.status)
            self.counts.append(len(answer.body["keys"]))
        return token


@pytest.fixture
def servers(
    app: Flask, alice: str, database: dict[str, str], tmp_path: Path
) -> Iterator[list[Server]]:
    """Two real servers on the database of `app`, whose stand-by may sign."""
    with app.app_context():
        make_older(READY)
    dispose(app)
    both = [Server(on_a_machine(database, name), tmp_path / f"output {name}") for name in "ab"]
    for server in both:
        server.settings = {**server.settings, "FOXTROT_PUBLIC_URL": both[0].url}
    with both[0], both[1]:
        yield both


def make_older(by: timedelta) -> None:
    """Move all times of the keys into the past, behind the back of the servers."""
    with transaction():
        for row in db.session.scalars(select(SigningKey)):
            row.created_at -= by
            for name in ("signs_from", "signs_until"):
                when = getattr(row, name)
                setattr(row, name, when and when - by)


def let_read(servers: list[Server]) -> None:
    """Let the servers read the table, as any token of an unknown key does."""
    for server in servers:
        assert status_of_access(server.url, FORGED) == 401


def wait_for_rotation(app: Flask, count: int) -> None:
    """Until so many keys sign or signed and one more waits: the servers look every half minute."""
    deadline = time.monotonic() + PATIENCE
    with app.app_context():
        while [life.signs_from is not None for life in lives()] != [*[True] * count, False]:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_two_servers_under_load_rotate_and_no_request_fails(
    app: Flask, servers: list[Server]
) -> None:
    """First by themselves, then by two commands at once; any token is good at both at once."""
    load = Load([server.url for server in servers])
    with app.app_context():
        make_older(91 * A_DAY)
    time.sleep(REREAD.total_seconds() - 4)  # quiet, until shortly before the servers look
    with load.going_on(people=4), app.app_context():
        wait_for_rotation(app, 2)
        make_older(READY)
        let_read(servers)
        commands = [partial(run, "keys", "rotate", settings=server.settings) for server in servers]
        assert sorted(done.returncode for done in at_once(commands)) == [0, 1]
        make_older(timedelta(minutes=1))
        let_read(servers)
        time.sleep(1)
    assert set(load.statuses) == {200}
    assert len(load.statuses) > 100
    assert len(set(load.kids)) == 3
    assert min(load.counts) >= 2
    with app.app_context():
        assert [life.signs_from is None for life in lives()] == [False, False, False, True]


def test_a_token_of_a_key_that_a_worker_has_not_met_is_good_there_at_once(
    app: Flask, servers: list[Server]
) -> None:
    """One server is started anew after a rotation, the other has not read the table since."""
    load = Load([server.url for server in servers])
    load.once(servers[1].url)
    with app.app_context():
        rotate(app, utcnow())
        make_older(timedelta(minutes=1))
    servers[0].kill()
    servers[0].start()
    load.once(servers[0].url)
    assert load.kids[0] != load.kids[1]
    assert set(load.statuses) == {200}


def test_a_service_follows_a_rotation_at_real_servers(app: Flask, servers: list[Server]) -> None:
    """It finds the keys by the issuer's URL, and knows the new one before it signs."""
    issuer = servers[0].url
    verifier = Verifier(issuer, "notes", keys=[IssuerKeys(issuer)])
    load = Load([issuer])
    assert verifier.verify(load.once(issuer)).algorithm == "ES256"
    with app.app_context():
        rotate(app, utcnow())
        make_older(timedelta(minutes=1))
    servers[0].kill()
    servers[0].start()
    token = load.once(issuer)
    servers[0].kill()
    assert verifier.verify(token).algorithm == "ES256"
    assert len(set(load.kids)) == 2
