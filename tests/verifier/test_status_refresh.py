"""When a list is asked for again, who waits for it, and what is told of failures.

The clocks are set by hand; a list says itself that it is fresh for ten seconds.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from foxtrot import JWKSet, StatusLists, Unavailable, Verifier, fetch, status
from foxtrot.jwk import Key
from foxtrot.status import IDLE_SECONDS, POLL_PART, RETRY_SECONDS
from tests.verifier.lists import PATH, mint_list, place
from tests.verifier.minting import AUDIENCE, NOW, Clock, Mint, refusal_of
from tests.verifier.site import Site, not_found, wait_until
from tests.verifier.test_key_sources_in_use import forks, in_a_child
from tests.verifier.test_status_lists import FRESH, TTL, Issuer


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a fetch may take longer than a request waits."""
    monkeypatch.setattr(status, "WAIT_SECONDS", 10)


@pytest.fixture
def issuer(site: Site, keys: JWKSet, mint: Mint) -> Issuer:
    return Issuer(site, keys, mint)


def lists_of(issuer: Issuer) -> Any:
    """What the service's verifier asks."""
    return issuer.verifier._status


def met(issuer: Issuer, path: str = PATH) -> Any:
    """The same, once it has met a list; its work is done by the test, not by a thread."""
    lists = lists_of(issuer)
    lists._meet(issuer.site.url + path, math.inf)
    return lists


# How long the thread sleeps


def test_without_a_list_there_is_nothing_to_do(issuer: Issuer) -> None:
    """The thread looks again in a minute, or when it is woken."""
    assert lists_of(issuer)._work() == IDLE_SECONDS


def test_the_thread_sleeps_until_the_next_list_is_due(issuer: Issuer, site: Site) -> None:
    """Nine tenths of its `ttl`; of two lists the sooner one decides, and is fetched alone."""
    assert met(issuer)._work() == TTL * POLL_PART
    issuer.uptime.advance(5)
    site.answers["/status-lists/1"] = not_found
    assert met(issuer, "/status-lists/1")._work() == TTL * POLL_PART - 5
    assert site.requests == [PATH, "/status-lists/1"]


def test_a_list_that_is_due_is_fetched_at_its_very_time(issuer: Issuer) -> None:
    """Neither earlier nor a moment later."""
    lists = met(issuer)
    for after, fetches in ((0, 1), (TTL * POLL_PART - 1, 1), (1, 2)):
        issuer.pass_time(after)
        lists._work()
        assert issuer.fetches == fetches


def test_a_list_that_failed_is_tried_again_soon(issuer: Issuer, site: Site) -> None:
    """And not at once, again and again."""
    site.serve(PATH, b"", 503)
    assert met(issuer)._work() == RETRY_SECONDS


def test_the_thread_never_spins(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is due at once waits for a hundredth of a second."""
    monkeypatch.setattr(status, "POLL_PART", 0)
    assert met(issuer)._work() == 0.01


def test_a_list_is_fresh_for_a_second_at_least(issuer: Issuer) -> None:
    """An issuer that says less is not asked more often than that."""
    issuer.publish([], ttl=0.5)
    assert met(issuer)._work() == pytest.approx(POLL_PART)


# What an unchanged list is


def test_an_expired_list_is_not_confirmed(issuer: Issuer, site: Site) -> None:
    """From its `exp` on a whole list is asked for, not whether this one has changed."""
    issuer.publish([], etag='"one"', exp=NOW + 20)
    lists = met(issuer)
    for _ in range(3):
        lists._work()
        issuer.pass_time(10)
    assert site.known_etags == [None, '"one"', None]


def test_a_list_that_changed_is_taken_up(issuer: Issuer) -> None:
    """Although the service showed the tag of the one at hand."""
    issuer.publish([], etag='"one"')
    assert issuer.answers(issuer.token(7)) == "u_alice"
    issuer.pass_time(FRESH + 1)
    issuer.publish([7], etag='"two"')
    assert issuer.answers(issuer.token(7)) == "revoked"


@pytest.mark.parametrize(("ahead", "said"), [(30, "u_alice"), (31, "unavailable")])
def test_a_list_of_soon_is_taken_for_one_of_now(ahead: int, said: str, issuer: Issuer) -> None:
    """Clocks may disagree by half a minute, unless a service says otherwise."""
    issuer.publish([], iat=NOW + ahead)
    assert issuer.answers(issuer.token(7), on_stale="deny") == said


# What is told


def told(site: Site, caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the log about this issuer."""
    return [line for line in caplog.messages if site.url in line]


def test_a_failure_is_told_once_and_another_one_too(
    issuer: Issuer, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """An outage of an hour is a line, and what it turns into is another."""
    lists = met(issuer)
    for code in (503, 503, 500):
        site.serve(PATH, b"", code)
        lists._work()
        issuer.pass_time(RETRY_SECONDS)
    assert [line.partition(" it answered ")[2][:3] for line in told(site, caplog)] == ["503", "500"]


class Wordless:
    """A key source that has no keys, and does not say why."""

    generation = 0
    algorithms = frozenset({"ES256"})

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        raise Unavailable("")


def test_a_failure_without_words_is_a_failure(
    issuer: Issuer, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """It is called by its type, and confirms no list."""
    lists = StatusLists(site.url, (Wordless(),), clock=issuer.clock, uptime=issuer.uptime)
    issuer.verifier = issuer.make_verifier(status=lists)
    assert issuer.answers(issuer.token(7), on_stale="deny") == "unavailable"
    assert told(site, caplog) == [f"The status list {site.url}{PATH} cannot be had: Unavailable"]


def test_bytes_that_are_no_text_do_not_stop_the_thread(issuer: Issuer, site: Site) -> None:
    """They are no list, as any nonsense is none."""
    site.serve(PATH, b"\xff\xfe\xfa")
    assert issuer.answers(issuer.token(7), on_stale="deny") == "unavailable"
    assert lists_of(issuer)._thread.is_alive()


def test_a_malformed_status_is_told_from_one_of_somebody_else(issuer: Issuer) -> None:
    """Whoever issues such tokens learns what to mend."""
    for uri, said in ((5, "malformed"), ("https://evil.example/0", "not kept by its issuer")):
        assert said in refusal_of(issuer.verifier, issuer.token(7, uri)).detail


# Who waits


def test_a_list_that_cannot_be_had_is_not_asked_for_by_each_request(
    issuer: Issuer, site: Site
) -> None:
    """Many requests at a service whose issuer is down do not become many at the issuer."""
    site.serve(PATH, b"", 503)
    for index in range(20):
        issuer.answers(issuer.token(index))
    lists_of(issuer)._work()
    assert issuer.fetches == 1


def test_who_waits_is_told_when_another_gave_up(
    issuer: Issuer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once one has waited in vain nobody goes on, however much longer he might have."""
    site.hang(PATH)
    monkeypatch.setattr(fetch, "FETCH_SECONDS", 30)
    monkeypatch.setattr(status, "WAIT_SECONDS", 30)
    lists = lists_of(issuer)
    with ThreadPoolExecutor(1) as pool:
        patient = pool.submit(issuer.answers, issuer.token(7))
        site.wait_for(PATH)
        wait_until(lambda: len(lists._news._waiters) == 1)
        monkeypatch.setattr(status, "WAIT_SECONDS", 0.01)
        assert issuer.answers(issuer.token(8)) == "u_alice"
        assert patient.result(5) == "u_alice"
    (held,) = lists._lists.values()
    assert held.is_silent


@forks
def test_a_forked_process_polls_a_list_that_is_still_fresh(issuer: Issuer) -> None:
    """It begins with the first request, not when the list has grown stale."""
    issuer.answers(issuer.token(7))
    lists = lists_of(issuer)
    assert in_a_child(lambda: bool(issuer.answers(issuer.token(8))) and lists._thread is not None)


# Addresses that end in a letter, or in a slash


@pytest.mark.parametrize("path", ["/X", "/X/", "/"])
def test_every_issuer_has_lists_below_it(path: str, site: Site, keys: JWKSet, mint: Mint) -> None:
    """At its own address and at an inner one, with one slash between."""
    url = f"https://login.example.com{path}"
    public, inner = url.rstrip("/") + PATH, path.rstrip("/") + PATH
    site.serve(inner, mint_list(mint, [7], {"sub": public}, issuer=url).encode())
    lists = StatusLists(url, (keys,), address=site.url + path, clock=Clock(NOW))
    verifier = Verifier(url, AUDIENCE, keys=[keys], status=lists, clock=Clock(NOW))
    assert refusal_of(verifier, mint({"iss": url, **place(7, public)})).reason == "revoked"
    assert site.requests == [inner]
