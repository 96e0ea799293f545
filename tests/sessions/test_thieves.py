"""Thousands of families of refresh tokens: who keeps the rules stays, and who stole is caught.

The world of `thieves.py`, 2,000 families to each scenario: a client with one to five tabs
that loses one reply in twenty, has tunnels of hours, and wakes all its tabs at once; and
thieves who hold its newest token, its clock, or a whole request of it.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from statistics import median
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.db import db, disconnect
from tests.conftest import MakeApp
from tests.sessions.thieves import (
    PERIOD,
    Aiming,
    AtRandom,
    Family,
    Following,
    Recording,
    Thief,
    simulate,
)

FAMILIES = int(os.environ.get("FAMILIES", "200"))
"""The figures in docs/sessions.md are of FAMILIES=2000, which takes ten times as long."""

FEW = 250
"""Enough where all must go the same way."""

PARTS = max(FAMILIES // 500, 1)
LONG = 60
"""Periods after which who was not caught got away."""


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """No log lines: they would be hundreds of thousands."""
    logger = logging.getLogger("foxtrot.audit")
    logger.disabled = True
    yield
    logger.disabled = False


@pytest.fixture
def app(make_app: MakeApp) -> Any:
    """An app on a real SQLite file that does not wait for the disk, and its context."""
    app = make_app(FOXTROT_LIMIT_REFRESH="off")  # thousands come from one address
    with app.app_context():
        event.listen(db.engine, "connect", _do_not_wait)
        disconnect()
        yield app


def _do_not_wait(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def part_of(part: int) -> range:
    """The numbers of a share of the families."""
    return range(part * FAMILIES // PARTS, (part + 1) * FAMILIES // PARTS)


def caught(thief: type[Thief], families: int = FAMILIES) -> list[Thief]:
    """Let so many of them try; each must be caught, and the person told."""
    thieves = []
    for number in range(families):
        family, at_work = simulate(number, thief, LONG)
        assert at_work is not None
        require_caught(family)
        thieves.append(at_work)
    return thieves


def require_caught(family: Family) -> None:
    """The session has ended, once, as a theft, and does not come back."""
    assert family.ended_at is not None, "got away"
    events = Counter(family.events())
    assert (events["refresh.reused"], events["session.ended"]) == (1, 1)
    assert not family.is_live(family.ended_at)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_client_that_keeps_the_rules_is_never_logged_out(app: Flask, part: int) -> None:
    """For forty periods, whatever it loses."""
    seen: Counter[str] = Counter()
    for number in part_of(part):
        family, _ = simulate(number, None, 40)
        assert family.ended_at is None
        assert family.is_live(40 * PERIOD)
        seen.update(family.events())
        seen["lost"] += family.lost
    assert seen["refresh.reused"] == 0
    assert seen["lost"] > FAMILIES / PARTS
    assert seen["refresh.retried"] > 0.4 * FAMILIES / PARTS


def test_a_thief_who_comes_at_random_is_caught_within_two_periods(app: Flask) -> None:
    """All of them are, and one in two within that time."""
    thieves = caught(AtRandom)
    assert median(thief.periods() for thief in thieves) <= 2


def test_a_thief_who_aims_at_the_renewal_is_caught_within_two_periods(app: Flask) -> None:
    """Wherever in the life they aim: the client's moment is random, and the window short."""
    periods: dict[float, list[float]] = {}
    for thief in caught(Aiming):
        assert isinstance(thief, Aiming)
        periods.setdefault(thief.part, []).append(thief.periods())
    assert len(periods) == 3
    assert all(median(those) <= 2 for those in periods.values())


def test_a_thief_who_recorded_a_request_with_its_key_is_caught(app: Flask) -> None:
    """Some get in once, as a client would who lost the answer; nobody stays."""
    thieves = caught(Recording)
    assert 0 < sum(thief.uses > 0 for thief in thieves) < FAMILIES


def test_a_thief_who_follows_each_renewal_at_once_is_not_caught(app: Flask) -> None:
    """The documented limit: they are given the owner's own successor. The person may see it."""
    for number in range(FEW):
        family, thief = simulate(number, Following, 12)
        assert isinstance(thief, Following)
        assert family.ended_at is None
        assert len(thief.given - family.had) <= 1  # the owner's last answer may be on its way
        assert family.events().count("refresh.replayed") == thief.uses > 0


def test_a_thief_who_once_follows_too_late_is_caught_at_once(app: Flask) -> None:
    """Ten times within twenty seconds of the owner, and then not."""
    thieves = caught(type("Tired", (Following,), {"patience": 10}), FEW)
    assert all(thief.uses <= 10 for thief in thieves)
