"""When keys are asked for again, who waits for them, and what is told of failures.

The source's own clock is set by hand.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from ssl import SSLCertVerificationError, SSLError
from typing import Any

import pytest

from foxtrot import IssuerKeys, Unavailable, Verifier, fetch, issuer
from foxtrot.issuer import COOLDOWN_SECONDS, MAX_STALE_SECONDS, REFRESH_SECONDS
from tests.verifier.minting import AUDIENCE, NOW, Clock, Mint, SigningKey, make_es256, refusal_of
from tests.verifier.site import JWKS, METADATA, Site, refetch, wait_until
from tests.verifier.test_key_sources_in_use import Stopping, forks, in_a_child


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a fetch may take longer than a request waits."""
    monkeypatch.setattr(issuer, "WAIT_SECONDS", 10)
    monkeypatch.setattr(issuer, "FIRST_WAIT_SECONDS", 10)


# How long the thread sleeps


def test_the_thread_sleeps_longer_after_a_success(source: IssuerKeys, site: Site) -> None:
    """Five minutes; after a failure half a minute, however many requests come."""
    assert source._work() == REFRESH_SECONDS
    site.serve(METADATA, b"", 503)
    assert source._work() == COOLDOWN_SECONDS


def test_the_thread_sleeps_between_two_fetches(source: IssuerKeys) -> None:
    """What woke it is over when it has fetched."""
    source._wanted.set()
    source._work()
    assert not source._wanted.is_set()


def test_the_same_keys_again_withdraw_nothing(source: IssuerKeys, uptime: Clock) -> None:
    """Tokens that were seen stay remembered from one fetch to the next."""
    source.find("es-1", "ES256")
    before = source.generation
    refetch(source, uptime)
    assert source.generation == before


# Who waits


def test_the_first_keys_are_worth_more_waiting(
    source: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any key there is nothing to answer but 503."""
    monkeypatch.setattr(issuer, "WAIT_SECONDS", 0)
    assert source.find("es-1", "ES256")


def test_later_keys_are_worth_less_waiting(
    source: IssuerKeys, site: Site, uptime: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever brings an unknown name waits for the shorter time."""
    source.find("es-1", "ES256")
    monkeypatch.setattr(issuer, "FIRST_WAIT_SECONDS", 0)
    site.publish(make_es256("es-2"))
    uptime.advance(COOLDOWN_SECONDS)
    assert source.find("es-2", "ES256")


def test_who_waits_is_told_when_another_gave_up(
    source: IssuerKeys, site: Site, uptime: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once one has waited in vain nobody goes on, however much longer he might have."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    site.hang(METADATA)
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 30)
    monkeypatch.setattr(issuer, "WAIT_SECONDS", 30)
    news: Any = source._news
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(source.find, "nobody", "ES256")
        wait_until(lambda: len(news._waiters) == 1)
        monkeypatch.setattr(issuer, "WAIT_SECONDS", 0.01)
        assert source.find("nobody", "ES256") is None
        assert patient.result(5) is None
    assert source._hangs


def test_keys_that_came_just_now_are_not_thrown_away(source: IssuerKeys, uptime: Clock) -> None:
    """Who comes second to the lock looks again whether they are too old."""
    source.find("es-1", "ES256")
    uptime.advance(MAX_STALE_SECONDS + 1)

    class Overtaken(threading.Condition):
        def __enter__(self) -> bool:
            source._too_old_after = math.inf
            return super().__enter__()

    source._news = Overtaken()
    assert "es-1" in source._fresh_keys()


# A fork in the middle


@forks
def test_a_token_of_a_key_withdrawn_at_a_fork_is_refused_though_it_was_seen(
    site: Site, es_key: SigningKey, mint: Mint
) -> None:
    """A child that has the new keys, but not the notice of it, forgets what it has seen."""
    site.publish(es_key)
    clock = Stopping()
    clock.go_on.set()
    source = IssuerKeys(site.url, clock=clock)
    verifier = Verifier(site.url, AUDIENCE, keys=[source], clock=Clock(NOW))
    text = mint({"iss": site.url})
    assert verifier.verify(text)
    site.publish(make_es256("es-2"))
    clock.go_on.clear()
    clock.stopped.clear()
    source._wanted.set()
    assert clock.stopped.wait(5)
    assert in_a_child(lambda: refusal_of(verifier, text).reason == "unknown_key")
    clock.go_on.set()


# What is told


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("down"), "down"),
        (OSError(), "OSError"),
        (SSLCertVerificationError("not trusted"), "('not trusted',)"),
    ],
    ids=repr,
)
def test_what_went_wrong_is_said_as_it_is(error: Exception, said: str) -> None:
    """By its own words, or by its type where it has none."""
    assert issuer._in_words(error) == said


def test_only_speech_that_is_no_tls_is_explained() -> None:
    """Most often it is plain http."""
    assert issuer._in_words(SSLError("wrong version")).startswith("('wrong version',) (perhaps")


def test_a_foreign_name_is_said_up_to_two_hundred_characters(
    source: IssuerKeys, site: Site
) -> None:
    """More of it helps nobody."""
    site.serve(METADATA, {"issuer": "x" * 201, "jwks_uri": site.url + JWKS})
    with pytest.raises(Unavailable, match=r"they are of 'x{200}'"):
        source.find("es-1", "ES256")
