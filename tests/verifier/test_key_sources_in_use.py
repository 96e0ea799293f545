"""Keys fetched from an issuer, over time: outages, floods, rotation, threads and forks."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from foxtrot import IssuerKeys, JWKSet, KeySource, SharedSecret, Unavailable, Verifier, issuer
from foxtrot.issuer import (
    COOLDOWN_SECONDS,
    MAX_STALE_SECONDS,
    RETRY_SECONDS,
)
from tests.verifier.minting import (
    AUDIENCE,
    NOW,
    Clock,
    Mint,
    SigningKey,
    jwk_members,
    make_es256,
    refusal_of,
)
from tests.verifier.site import FETCH, JWKS, METADATA, Site, refetch, seconds, wait_until

# When nothing was ever fetched


def test_without_any_key_the_answer_is_unavailable(uptime: Clock, mint: Mint) -> None:
    """Nobody answers there: neither accepted nor refused, and with a time to come back."""
    nowhere = "http://127.0.0.1:1"
    source = IssuerKeys(nowhere, clock=uptime)
    with pytest.raises(Unavailable, match=nowhere) as caught:
        Verifier(nowhere, AUDIENCE, keys=[source]).verify(mint())
    assert caught.value.retry_after >= 1


def test_a_failed_first_fetch_is_not_repeated_at_once(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """Many requests at a service whose issuer is down do not become many at the issuer."""
    site.serve(METADATA, b"", 503)
    for _ in range(20):
        with pytest.raises(Unavailable):
            source.find("es-1", "ES256")
        uptime.advance((RETRY_SECONDS - 0.1) / 20)
    assert site.requests == [METADATA]


def test_a_failed_first_fetch_is_repeated_soon(
    source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """A service that started before its issuer works within seconds."""
    site.serve(METADATA, b"", 503)
    with pytest.raises(Unavailable):
        source.find("es-1", "ES256")
    site.publish(es_key)
    uptime.advance(RETRY_SECONDS)
    assert source.find("es-1", "ES256")


def test_a_token_of_a_shared_secret_causes_no_request(
    remote: Verifier, site: Site, hs_key: SigningKey, mint: Mint
) -> None:
    """An algorithm that the source is not for is refused without asking anybody."""
    assert refusal_of(remote, mint(key=hs_key)).reason == "wrong_algorithm"
    assert site.requests == []


def test_an_empty_set_is_an_answer(source: IssuerKeys, site: Site) -> None:
    """An issuer that publishes no keys has been heard: its tokens are of unknown keys."""
    site.publish()
    assert source.find("es-1", "ES256") is None


# Names nobody knows


def test_a_flood_of_unknown_names_makes_one_request_a_cooldown(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """Random names cannot turn a service into a weapon against the issuer."""
    for number in range(300):
        assert source.find(f"k{number}", "ES256") is None
        uptime.advance(COOLDOWN_SECONDS / 100)
    assert len(site.requests) <= 4 * len(FETCH)


def test_a_flood_of_unknown_names_is_answered_at_once(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """Within the cool-down nobody waits, even when the issuer hangs."""
    source.find("es-1", "ES256")
    site.hang(METADATA)
    assert seconds(lambda: [source.find(f"k{number}", "ES256") for number in range(200)]) < 2


def test_ten_thousand_names_while_the_issuer_hangs(
    remote: Verifier, source: IssuerKeys, site: Site, uptime: Clock, mint: Mint
) -> None:
    """One fetch, one short wait in all, and good tokens pass throughout."""
    good = mint({"iss": site.url})
    remote.verify(good)
    uptime.advance(COOLDOWN_SECONDS)
    release = site.hang(METADATA)
    for number in range(10_000):
        if number % 100 == 0:
            assert remote.verify(good)
        assert source.find(f"k{number}", "ES256") is None
    assert site.requests == [*FETCH, METADATA]
    release.set()


def test_all_who_wait_give_up_together(source: IssuerKeys, site: Site, uptime: Clock) -> None:
    """Once one has waited a second in vain, the issuer hangs for everybody."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    release = site.hang(METADATA)
    with ThreadPoolExecutor(20) as pool:
        spent = seconds(lambda: list(pool.map(lambda n: source.find(f"k{n}", "ES256"), range(200))))
    release.set()
    assert spent < issuer.FIRST_WAIT_SECONDS


@pytest.mark.usefixtures("quick")
def test_an_issuer_known_to_hang_is_asked_again_but_not_waited_for(
    source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """The next fetch goes on behind the requests; what it brings is there for those after it."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    site.hang(METADATA)
    assert source.find("es-2", "ES256") is None  # waits until the fetch has timed out
    site.publish(es_key, make_es256("es-2"))
    release = site.hang(METADATA)
    uptime.advance(COOLDOWN_SECONDS)
    assert seconds(lambda: source.find("es-2", "ES256")) < 0.4
    site.wait_for(METADATA, 3)
    release.set()
    site.wait_for(JWKS, 2)
    wait_until(lambda: source.find("es-2", "ES256") is not None)


def test_unknown_names_at_the_same_time_share_one_fetch(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """Twenty threads wait for the same answer."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    release = site.hang(JWKS)
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(source.find, f"k{number}", "ES256") for number in range(20)]
        site.wait_for(JWKS, 2)
        release.set()
    assert [future.result() for future in found] == [None] * 20
    assert site.requests == FETCH * 2


def test_a_good_token_of_a_new_key_passes_in_the_middle_of_a_flood(
    remote: Verifier,
    source: IssuerKeys,
    site: Site,
    uptime: Clock,
    mint: Mint,
    es_key: SigningKey,
) -> None:
    """With the one fetch that the flood has caused, as soon as that is back."""
    remote.verify(mint({"iss": site.url}))
    new = make_es256("es-2")
    site.publish(es_key, new)
    uptime.advance(COOLDOWN_SECONDS)
    release = site.hang(JWKS)
    with ThreadPoolExecutor(20) as pool:
        flood = [pool.submit(source.find, f"k{number}", "ES256") for number in range(18)]
        site.wait_for(JWKS, 2)
        good = pool.submit(remote.verify, mint({"iss": site.url}, key=new))
        release.set()
        assert good.result().subject == "u_alice"
    assert [future.result() for future in flood] == [None] * 18
    assert site.requests == FETCH * 2


def test_first_tokens_at_the_same_time_share_one_fetch(source: IssuerKeys, site: Site) -> None:
    """A service that wakes up under load asks once and serves all."""
    release = site.hang(JWKS)
    with ThreadPoolExecutor(20) as pool:
        found = [pool.submit(source.find, "es-1", "ES256") for _ in range(20)]
        site.wait_for(JWKS)
        release.set()
    assert all(future.result() for future in found)
    assert site.requests == FETCH


def test_a_new_key_is_found_by_its_first_token(
    source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """A key that is younger than the last fetch is fetched, once the cool-down is over."""
    source.find("es-1", "ES256")
    site.publish(es_key, make_es256("es-2"))
    assert source.find("es-2", "ES256") is None
    uptime.advance(COOLDOWN_SECONDS)
    assert source.find("es-2", "ES256")


def test_a_token_without_a_name_causes_no_fetch(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """A set demands a name, so asking again cannot help."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    assert source.find(None, "ES256") is None
    assert site.requests == FETCH


def test_a_known_name_never_waits(source: IssuerKeys, site: Site, uptime: Clock) -> None:
    """While the issuer hangs and others wait for it, known keys serve at once."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    release = site.hang(METADATA)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(source.find, "nobody", "ES256")
        site.wait_for(METADATA, 2)
        assert seconds(lambda: source.find("es-1", "ES256")) < 2
        release.set()


def test_a_known_name_with_another_algorithm_never_waits(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """An attacker who writes another algorithm beside a known name causes no fetch."""
    source.find("es-1", "ES256")
    uptime.advance(COOLDOWN_SECONDS)
    assert source.find("es-1", "RS256") is None
    assert site.requests == FETCH


# Withdrawn keys and remembered tokens


def test_a_token_of_a_withdrawn_key_is_refused_though_it_was_seen(
    remote: Verifier, source: IssuerKeys, site: Site, uptime: Clock, mint: Mint
) -> None:
    """An emergency removal at the issuer reaches tokens that were accepted before."""
    text = mint({"iss": site.url})
    assert remote.verify(text)
    site.publish(make_es256("es-2"))
    refetch(source, uptime)
    assert refusal_of(remote, text).reason == "unknown_key"


def test_a_token_of_a_replaced_key_is_refused_though_it_was_seen(
    remote: Verifier, source: IssuerKeys, site: Site, uptime: Clock, mint: Mint
) -> None:
    """The same when the issuer publishes another key under the same name."""
    text = mint({"iss": site.url})
    assert remote.verify(text)
    site.publish(make_es256("es-1"))
    refetch(source, uptime)
    assert refusal_of(remote, text).reason == "bad_signature"


def test_a_token_of_a_key_that_was_rebound_is_refused_though_it_was_seen(
    remote: Verifier, source: IssuerKeys, site: Site, uptime: Clock, mint: Mint, rs_key: SigningKey
) -> None:
    """And when the name now belongs to a key of another algorithm."""
    text = mint({"iss": site.url})
    assert remote.verify(text)
    site.serve(JWKS, {"keys": [jwk_members(rs_key.public) | {"kid": "es-1", "alg": "RS256"}]})
    refetch(source, uptime)
    assert refusal_of(remote, text).reason == "unknown_key"


def test_seen_tokens_stay_remembered_while_keys_are_only_added(
    source: IssuerKeys, site: Site, uptime: Clock, es_key: SigningKey
) -> None:
    """A rotation begins with a new key, and nothing has to be checked again."""
    source.find("es-1", "ES256")
    before = source.generation
    site.publish(es_key, make_es256("es-2"))
    refetch(source, uptime)
    assert source.find("es-2", "ES256")
    assert source.generation == before


def test_keys_outlive_their_issuer(source: IssuerKeys, site: Site, uptime: Clock) -> None:
    """While the issuer is down its keys stay in use, up to a day."""
    source.find("es-1", "ES256")
    site.serve(METADATA, b"", 503)
    uptime.advance(MAX_STALE_SECONDS)
    assert source.find("es-1", "ES256")


def test_keys_do_not_outlive_their_issuer_for_ever(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """After `max_stale` seconds without an answer nothing is known any more."""
    source.find("es-1", "ES256")
    site.serve(METADATA, b"", 503)
    uptime.advance(MAX_STALE_SECONDS + 1)
    with pytest.raises(Unavailable):
        source.find("es-1", "ES256")


def test_keys_that_grew_too_old_are_fetched_again(
    source: IssuerKeys, site: Site, uptime: Clock
) -> None:
    """With the issuer back, the first request finds them."""
    source.find("es-1", "ES256")
    uptime.advance(MAX_STALE_SECONDS + 1)
    assert source.find("es-1", "ES256")
    assert site.requests == FETCH * 2


def test_a_seen_token_does_not_outlive_its_keys(
    site: Site, es_key: SigningKey, uptime: Clock, mint: Mint
) -> None:
    """A token that was remembered is not believed longer than the keys are."""
    site.publish(es_key)
    source = IssuerKeys(site.url, max_stale=60, clock=uptime)
    verifier = Verifier(site.url, AUDIENCE, keys=[source], clock=Clock(NOW))
    text = mint({"iss": site.url})
    assert verifier.verify(text)
    site.serve(METADATA, b"", 503)
    uptime.advance(61)
    with pytest.raises(Unavailable):
        verifier.verify(text)


# The thread


def test_keys_are_fetched_again_without_being_asked(
    source: IssuerKeys, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New and withdrawn keys become known without an unknown name."""
    monkeypatch.setattr(issuer, "REFRESH_SECONDS", 0.02)
    source.find("es-1", "ES256")
    site.publish(make_es256("es-2"))
    site.wait_for(JWKS, site.requests.count(JWKS) + 2)
    assert source.find("es-1", "ES256") is None


def fetching_threads() -> int:
    return sum(thread.name == "foxtrot-keys" for thread in threading.enumerate())


def test_a_source_that_nobody_uses_stops_fetching(
    site: Site, es_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread ends by itself."""
    monkeypatch.setattr(issuer, "REFRESH_SECONDS", 0.01)
    site.publish(es_key)
    before = fetching_threads()
    IssuerKeys(site.url).find("es-1", "ES256")
    for _ in range(1000):
        gc.collect()
        if fetching_threads() <= before:
            return
        time.sleep(0.005)
    raise AssertionError("the thread goes on")


def in_a_child(check: Callable[[], bool]) -> bool:
    """Say what *check* says in a forked process, where it has ten seconds."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@forks
def test_a_forked_process_has_the_keys(source: IssuerKeys) -> None:
    """A server that forks its workers after the first token loses nothing."""
    source.find("es-1", "ES256")
    assert in_a_child(lambda: source.find("es-1", "ES256") is not None)


@forks
def test_a_forked_process_fetches_for_itself(
    source: IssuerKeys, site: Site, es_key: SigningKey
) -> None:
    """The parent's thread does not run in the child, so the child starts its own."""
    source.find("es-1", "ES256")
    site.publish(es_key, make_es256("es-2"))
    assert in_a_child(lambda: source.find("es-2", "ES256") is not None)


@forks
def test_a_process_forked_in_the_middle_of_a_fetch_works(
    source: IssuerKeys, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks that were held when the process forked do not stop the child."""
    monkeypatch.setattr(issuer, "FIRST_WAIT_SECONDS", 10)  # a busy machine forks slowly
    answer = site.answers[METADATA]
    release = site.hang(METADATA)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.find, "es-1", "ES256")
        site.wait_for(METADATA)
        site.answers[METADATA] = answer
        assert in_a_child(lambda: source.find("es-1", "ES256") is not None)
        release.set()
    assert waiting.result()


class Stopping(Clock):
    """A clock that stops the thread that fetches, in this process, where it keeps its lock."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.process = os.getpid()
        self.stopped, self.go_on = threading.Event(), threading.Event()

    def __call__(self) -> float:
        if os.getpid() == self.process and threading.current_thread().name == "foxtrot-keys":
            self.stopped.set()
            self.go_on.wait(5)
        return self.now


@forks
def test_a_process_forked_while_a_lock_is_held_works(site: Site, es_key: SigningKey) -> None:
    """The thread that held it is not in the child to give it back."""
    site.publish(es_key)
    clock = Stopping()
    source = IssuerKeys(site.url, clock=clock)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(source.find, "es-1", "ES256")
        assert clock.stopped.wait(5)
        assert in_a_child(lambda: source.find("es-1", "ES256") is not None)
        clock.go_on.set()
    assert waiting.result()


# Other sources


def test_sources_say_which_algorithms_they_are_for(
    keys: JWKSet, source: IssuerKeys, hs_key: SigningKey
) -> None:
    """No source is for secret and public keys at once."""
    assert keys.algorithms == source.algorithms == {"ES256", "EdDSA", "RS256"}


def test_an_issuer_and_a_secret_stand_side_by_side(
    site: Site, es_key: SigningKey, hs_key: SigningKey, mint: Mint
) -> None:
    """A service moves from a shared secret to published keys without a gap."""
    site.publish(es_key)
    assert isinstance(hs_key.private, bytes)
    sources: list[KeySource] = [SharedSecret(hs_key.private), IssuerKeys(site.url)]
    verifier = Verifier(site.url, AUDIENCE, keys=sources, clock=Clock(NOW))
    for key in (hs_key, es_key):
        assert verifier.verify(mint({"iss": site.url}, key=key)).algorithm == key.alg
