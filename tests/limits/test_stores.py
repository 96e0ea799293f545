"""Counting, in either database and in Valkey: all three do the same, also many at once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from flask import Flask

from app.db import transaction
from app.ratelimit import Counter, MemoryStore, Rate, Store, database
from tests.limits.conftest import on_all_stores
from tests.valkey import Server

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TEN = Counter("ten", Rate(10, 900))
TWO = Counter("two", Rate(2, 86_400))


@pytest.fixture
def store(app: Flask) -> Iterator[Store]:
    """Where the app counts."""
    with app.app_context():
        yield app.extensions["foxtrot_limits"]


def passed(store: Store, counters: Sequence[Counter], times: int, now: datetime = NOON) -> int:
    """How many of so many takes pass."""
    return [store.take(counters, now) for _ in range(times)].count(None)


@on_all_stores
def test_so_many_pass_and_then_one_for_each_share(store: Store) -> None:
    """Ten, and one after each ninety seconds; never more than ten at once."""
    assert passed(store, [TEN], 15) == 10
    refusal = store.take([TEN], NOON)
    assert refusal is not None
    assert refusal.seconds == 90
    assert passed(store, [TEN], 5, NOON + timedelta(seconds=89)) == 0
    assert passed(store, [TEN], 5, NOON + timedelta(seconds=90)) == 1
    assert passed(store, [TEN], 15, NOON + timedelta(days=9)) == 10


@on_all_stores
def test_who_is_refused_by_one_counter_is_counted_in_none(store: Store) -> None:
    """And the one that refuses for longest is named."""
    assert passed(store, [TEN, TWO], 5) == 2
    assert passed(store, [TEN], 15) == 8
    refusal = store.take([TEN, TWO], NOON)
    assert refusal is not None
    assert refusal.counter == TWO


@on_all_stores
def test_what_is_given_back_can_be_taken_again(store: Store) -> None:
    """And what is forgotten begins anew."""
    assert passed(store, [TEN, TWO], 5) == 2
    store.settle(NOON, give_back=[TWO])
    assert passed(store, [TWO], 5) == 1
    store.settle(NOON, give_back=[TWO], forget=[TEN])
    assert passed(store, [TEN], 15) == 10
    store.settle(NOON, give_back=[Counter("never counted", TEN.rate)])


@on_all_stores
def test_a_clock_that_was_wrong_locks_nobody_out(store: Store) -> None:
    """Years ahead and back again; an hour; half a minute, as between machines."""
    later = NOON + timedelta(days=7000)
    assert passed(store, [TEN], 15, later) == 10
    assert passed(store, [TEN], 15, NOON) == 10
    assert passed(store, [TEN], 15, NOON + timedelta(hours=1)) == 10
    assert passed(store, [TEN], 15, NOON) == 10
    assert passed(store, [TEN], 15, NOON - timedelta(seconds=30)) == 0


class Model:
    """What a counter is, in one process and in as few words as possible."""

    def __init__(self) -> None:
        self.held: dict[Counter, float] = {}

    def take(self, counters: Sequence[Counter], now: float) -> bool:
        after = {one: max(self.held.get(one, now), now) + self.share(one) for one in counters}
        if any(free - now > one.rate.seconds + 1e-3 for one, free in after.items()):
            return False
        self.held |= after
        return True

    def settle(self, give_back: Sequence[Counter], forget: Sequence[Counter]) -> None:
        for one in give_back:
            self.held[one] -= self.share(one)
        for one in forget:
            del self.held[one]

    @staticmethod
    def share(counter: Counter) -> float:
        return counter.rate.seconds / counter.rate.limit


@on_all_stores
@pytest.mark.parametrize("seed", range(3))
def test_any_story_ends_as_in_the_model(store: Store, seed: int) -> None:
    """Takes of one or several, given back, forgotten, at any time that does not go back."""
    tell_a_story(store, seed)


@pytest.mark.parametrize("seed", range(3))
def test_a_process_counts_for_itself_likewise(seed: int) -> None:
    """In memory."""
    tell_a_story(MemoryStore(), seed)


def tell_a_story(store: Store, seed: int) -> None:
    """Whatever may happen, in the store and in the model side by side."""
    chance, model, now = random.Random(seed), Model(), NOON
    counters = [Counter(f"{seed} {n}", Rate(n + 1, 60 * (n + 1) ** 2)) for n in range(4)]
    for _ in range(120):
        now += timedelta(seconds=chance.choice([0, 0, 0, 1, 30, 200]))
        chosen = chance.sample(counters, chance.randint(1, 3))
        told = store.take(chosen, now) is None
        assert told == model.take(chosen, now.timestamp())
        if told and chance.random() < 0.3:
            store.settle(now, give_back=chosen[:1], forget=chosen[1:2])
            model.settle(chosen[:1], chosen[1:2])


@on_all_stores
def test_within_a_transaction_it_counts_as_well(store: Store) -> None:
    """Whole or not at all, as a part of it."""
    with transaction():
        assert passed(store, [TEN, TWO], 5) == 2
        store.settle(NOON, give_back=[TWO])
        assert passed(store, [TEN, TWO], 5) == 1
    assert passed(store, [TEN], 15) == 7


@on_all_stores
def test_of_many_at_once_exactly_the_limit_passes(app: Flask, store: Store) -> None:
    """Twenty threads, each with both counters, in either order."""
    several = [Counter("wide", Rate(30, 900)), TEN]
    start = Barrier(20)

    def take_two(number: int) -> int:
        start.wait()
        with app.app_context():
            return passed(store, several if number % 2 else several[::-1], 2)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(take_two, range(20))) == 10
    assert passed(store, several[:1], 40) == 20


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_counters_that_are_empty_go_away(store: Store) -> None:
    """A few at a time; one that still counts stays."""
    for number in range(7):
        store.take([Counter(str(number), Rate(1, 60))], NOON)
    store.take([TWO], NOON)
    later = NOON + timedelta(minutes=2)
    assert list(database.prune(later, 5)) == [5, 2]
    assert passed(store, [TWO], 5, later) == 1


@pytest.mark.parametrize("database", ["valkey"], indirect=True)
def test_counters_in_valkey_go_away_by_themselves(store: Store, server: Server) -> None:
    """The server is told for how long each is needed."""
    store.take([TEN, TWO], NOON)
    assert [round(life, -1) for life in server.lives()] == [90, 43_200]
