"""Ended sessions, as a service learns of them: from the issuer's lists, behind its requests.

The clocks are set by hand. A list says itself for how long it is fresh: ten seconds, here.
"""

from __future__ import annotations

import gc
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from zlib import compress

import pytest

from foxtrot import InvalidToken, JWKSet, StatusLists, Unavailable, Verifier, status
from foxtrot.flask import Bearer
from foxtrot.jwk import Key
from foxtrot.status import GRACE_SECONDS
from tests.verifier.lists import PATH, mint_list, place
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    NOW,
    Clock,
    Mint,
    SigningKey,
    make_es256,
    refusal_of,
)
from tests.verifier.service import Notes, ask
from tests.verifier.site import Site, seconds, wait_until
from tests.verifier.test_key_sources_in_use import forks, in_a_child

TTL = 10
FRESH = TTL + GRACE_SECONDS


class Issuer:
    """An issuer that keeps one status list, and a service that trusts it."""

    def __init__(self, site: Site, keys: JWKSet, mint: Mint) -> None:
        self.site, self.keys, self.mint = site, keys, mint
        self.clock, self.uptime = Clock(NOW), Clock(1000)
        self.verifier = self.make_verifier()
        self.publish([])

    def make_verifier(self, **settings: Any) -> Verifier:
        lists = StatusLists(self.site.url, (self.keys,), clock=self.clock, uptime=self.uptime)
        given = {"status": lists, **settings}
        return Verifier(self.site.url, AUDIENCE, keys=[self.keys], clock=self.clock, **given)

    def publish(self, ended: Iterable[int], etag: str | None = None, **claims: Any) -> None:
        """Serve the list of now."""
        text = mint_list(
            self.mint, ended, {"iat": int(self.clock.now), **claims}, issuer=self.site.url
        )
        self.site.serve(PATH, text.encode(), headers={"ETag": etag} if etag else None)

    def token(self, index: Any = 7, uri: Any = None, **claims: Any) -> str:
        named = place(index, self.site.url + PATH if uri is None else uri)
        return self.mint({"iss": self.site.url, **named, **claims})

    def pass_time(self, by: float) -> None:
        self.clock.advance(by)
        self.uptime.advance(by)

    def answers(self, text: str, **settings: Any) -> str:
        """What the service says to a token: its user, or why not."""
        try:
            return self.verifier.verify(text, **settings).subject
        except InvalidToken as error:
            return error.reason
        except Unavailable:
            return "unavailable"

    @property
    def fetches(self) -> int:
        return self.site.requests.count(PATH)


@pytest.fixture
def issuer(site: Site, keys: JWKSet, mint: Mint) -> Issuer:
    return Issuer(site, keys, mint)


# Fresh lists


def test_a_token_of_an_ended_session_is_refused(issuer: Issuer) -> None:
    """And one of another session of the same list is not."""
    issuer.publish([7])
    assert issuer.answers(issuer.token(7)) == "revoked"
    assert issuer.answers(issuer.token(8)) == "u_alice"


def test_a_verifier_asks_the_issuer_without_being_told_to(
    issuer: Issuer, keys: JWKSet, site: Site
) -> None:
    """Log-out everywhere needs no line of code in a service."""
    issuer.publish([7])
    verifier = Verifier(site.url, AUDIENCE, keys=[keys], clock=issuer.clock)
    assert refusal_of(verifier, issuer.token(7)).reason == "revoked"


def test_so_does_the_decorator(issuer: Issuer, keys: JWKSet, site: Site) -> None:
    """The answer is the 401 that clients know."""
    issuer.publish([7])
    client = Notes(Bearer(site.url, AUDIENCE, keys=[keys], clock=issuer.clock)).test_client()
    answer = ask(client, issuer.token(7))
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "revoked")
    assert ask(client, issuer.token(8)).status_code == 200


def test_it_can_be_switched_off(issuer: Issuer, keys: JWKSet, site: Site) -> None:
    """With `status=None` a token is good until it expires, and nobody is asked."""
    issuer.publish([7])
    verifier = Verifier(site.url, AUDIENCE, keys=[keys], status=None, clock=issuer.clock)
    assert verifier.verify(issuer.token(7))
    assert issuer.fetches == 0


def test_every_status_but_valid_is_a_refusal(issuer: Issuer) -> None:
    """Section 7 knows more than two; whoever is suspended is not let in either."""
    issuer.publish([], status_list={"bits": 2, "lst": "eNo76fITAAPfAgc"})
    said = [issuer.answers(issuer.token(index)) for index in range(4)]
    assert said == ["revoked", "revoked", "u_alice", "revoked"]


def test_a_fresh_list_is_not_fetched_again(issuer: Issuer) -> None:
    """No call per request."""
    for index in range(200):
        issuer.answers(issuer.token(index))
    assert issuer.fetches == 1


def test_first_tokens_at_the_same_time_share_one_fetch(issuer: Issuer, site: Site) -> None:
    """A service that wakes up under load asks once, and each gets the right answer."""
    issuer.publish([7])
    release = site.hang(PATH)
    with ThreadPoolExecutor(20) as pool:
        said = [pool.submit(issuer.answers, issuer.token(index)) for index in range(20)]
        site.wait_for(PATH)
        release.set()
    assert [future.result() == "revoked" for future in said] == [n == 7 for n in range(20)]
    assert issuer.fetches == 1


def test_a_list_is_fetched_again_without_being_asked(
    issuer: Issuer, keys: JWKSet, site: Site
) -> None:
    """Every `ttl`, behind the requests, and real time passes for once."""
    issuer.publish([], ttl=1)
    verifier = Verifier(site.url, AUDIENCE, keys=[keys], clock=issuer.clock)
    verifier.verify(issuer.token(7))
    issuer.publish([7], ttl=1)
    site.wait_for(PATH, 3)
    assert refusal_of(verifier, issuer.token(7)).reason == "revoked"


def test_a_list_grown_stale_is_fetched_before_the_answer(issuer: Issuer) -> None:
    """A service that slept wakes up to what happened meanwhile."""
    assert issuer.answers(issuer.token(7)) == "u_alice"
    issuer.publish([7])
    issuer.pass_time(FRESH + 1)
    assert issuer.answers(issuer.token(7)) == "revoked"


def test_a_list_is_fresh_for_its_ttl_and_a_second(issuer: Issuer, site: Site) -> None:
    """So long it counts while the issuer is away, and no longer."""
    issuer.answers(issuer.token(7))
    site.serve(PATH, b"", 500)
    issuer.pass_time(FRESH)
    assert issuer.answers(issuer.token(8), on_stale="deny") == "u_alice"
    issuer.pass_time(0.001)
    assert issuer.answers(issuer.token(8), on_stale="deny") == "unavailable"


def test_a_list_that_no_token_needs_is_forgotten(issuer: Issuer) -> None:
    """It is polled for as long as a token that was seen may live, and no longer."""
    issuer.publish([], ttl=1)
    issuer.answers(issuer.token(7))
    issuer.pass_time(901)
    lists: Any = issuer.verifier._status
    lists._wanted.set()
    wait_until(lambda: not lists._lists)
    before = issuer.fetches
    lists._wanted.set()
    assert issuer.answers(issuer.token(7, iat=NOW + 901, nbf=NOW + 901, exp=NOW + 999)) == "u_alice"
    assert issuer.fetches == before + 1


def test_a_list_is_kept_for_the_token_that_lives_longest(issuer: Issuer) -> None:
    """In whichever order they come."""
    for lifetime in (60, 900, 90):
        issuer.answers(issuer.token(7, exp=NOW + lifetime))
    issuer.publish([7])
    issuer.pass_time(100)
    lists: Any = issuer.verifier._status
    lists._wanted.set()
    wait_until(lambda: issuer.fetches == 2)


def test_the_thread_sleeps_between_two_fetches(issuer: Issuer) -> None:
    """What woke it is over then."""
    issuer.answers(issuer.token(7))
    lists: Any = issuer.verifier._status
    wait_until(lambda: not lists._wanted.is_set())


def test_an_unchanged_list_is_not_sent_again(issuer: Issuer, site: Site) -> None:
    """The service shows the ETag of the list at hand; a 304 makes it fresh again."""
    issuer.publish([7], etag='W/"one"')
    assert issuer.answers(issuer.token(7)) == "revoked"
    site.serve(PATH, b"", 304)
    issuer.pass_time(FRESH + 1)
    assert issuer.answers(issuer.token(8), on_stale="deny") == "u_alice"
    assert issuer.answers(issuer.token(7), on_stale="deny") == "revoked"
    assert site.known_etags[-1] == 'W/"one"'


def test_an_answer_of_unchanged_to_who_has_nothing_is_no_list(issuer: Issuer, site: Site) -> None:
    """Nothing was known, so nothing can be unchanged."""
    site.serve(PATH, b"", 304)
    assert issuer.answers(issuer.token(7), on_stale="deny") == "unavailable"


# When there is no list


def test_a_token_without_a_status_is_let_through(issuer: Issuer, site: Site, mint: Mint) -> None:
    """Its issuer keeps no list, which is nobody's fault; nobody is asked."""
    text = mint({"iss": site.url})
    assert issuer.answers(text, on_stale="deny") == "u_alice"
    assert site.requests == []


@pytest.mark.parametrize(("on_stale", "said"), [("allow", "u_alice"), ("deny", "unavailable")])
def test_a_service_decides_what_an_unknown_status_means(
    on_stale: str, said: str, issuer: Issuer, site: Site
) -> None:
    """Let through until the token expires, or 503; for all routes, or for one."""
    site.serve(PATH, b"", 503)
    assert issuer.answers(issuer.token(7), on_stale=on_stale) == said
    issuer.verifier = issuer.make_verifier(on_stale=on_stale)
    assert issuer.answers(issuer.token(7)) == said


def test_the_decorator_answers_503_where_it_denies(
    issuer: Issuer, keys: JWKSet, site: Site
) -> None:
    """With a time to come back."""
    site.serve(PATH, b"", 503)
    bearer = Bearer(site.url, AUDIENCE, keys=[keys], on_stale="deny", clock=issuer.clock)
    answer = ask(Notes(bearer).test_client(), issuer.token(7))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


def test_nonsense_for_on_stale_is_refused(issuer: Issuer) -> None:
    """At the start, with what is expected."""
    with pytest.raises(ValueError, match='"allow" or "deny"'):
        issuer.make_verifier(on_stale="ignore")


def test_an_ended_session_stays_ended_while_the_issuer_is_down(issuer: Issuer, site: Site) -> None:
    """What a list said once is not forgotten because it grew stale."""
    issuer.publish([7])
    issuer.answers(issuer.token(7))
    site.serve(PATH, b"", 503)
    issuer.pass_time(600)
    assert issuer.answers(issuer.token(7)) == "revoked"
    assert issuer.answers(issuer.token(8)) == "u_alice"
    assert issuer.answers(issuer.token(8), on_stale="deny") == "unavailable"


def test_a_token_that_is_let_through_still_expires(issuer: Issuer, site: Site) -> None:
    """What is allowed is bounded."""
    site.serve(PATH, b"", 503)
    issuer.pass_time(929)
    assert issuer.answers(issuer.token(7)) == "u_alice"
    issuer.pass_time(1)
    assert issuer.answers(issuer.token(7)) == "expired"


def test_an_hour_without_the_issuer(issuer: Issuer, site: Site) -> None:
    """Signed-in users keep working, and no request waits for the network."""
    day = NOW + 86_400
    texts = [issuer.token(index, exp=day) for index in range(100)]
    assert {issuer.answers(text) for text in texts} == {"u_alice"}
    site.serve(PATH, b"", 503)
    issuer.pass_time(FRESH + 1)
    issuer.answers(texts[0])
    site.hang(PATH)
    for _ in range(360):
        issuer.pass_time(10)
        assert seconds(lambda: [issuer.answers(text) for text in texts]) < status.WAIT_SECONDS
    assert {issuer.answers(text) for text in texts} == {"u_alice"}


def test_an_issuer_that_hangs_is_waited_for_once(issuer: Issuer, site: Site) -> None:
    """All who came share that second, and nobody after them waits."""
    issuer.answers(issuer.token(7))
    site.hang(PATH)
    issuer.pass_time(FRESH + 1)
    texts = [issuer.token(index) for index in range(200)]
    with ThreadPoolExecutor(20) as pool:
        spent = seconds(lambda: list(pool.map(issuer.answers, texts)))
    assert spent < 3 * status.WAIT_SECONDS
    assert seconds(lambda: [issuer.answers(text) for text in texts]) < status.WAIT_SECONDS


def test_a_list_that_comes_back_is_taken_up(
    issuer: Issuer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the requests: none waits for it."""
    monkeypatch.setattr(status, "RETRY_SECONDS", 0.01)
    site.serve(PATH, b"", 503)
    assert issuer.answers(issuer.token(7), on_stale="deny") == "unavailable"
    issuer.publish([7])
    lists: Any = issuer.verifier._status

    def comes_back() -> bool:
        issuer.uptime.advance(0.01)
        lists._wanted.set()
        return issuer.answers(issuer.token(7)) == "revoked"

    wait_until(comes_back)


def test_an_outage_is_told_in_the_log_once(
    issuer: Issuer, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator learns which list cannot be had, and why."""
    site.serve(PATH, b"", 503)
    with caplog.at_level(logging.WARNING, "foxtrot"):
        issuer.answers(issuer.token(7))
        issuer.answers(issuer.token(8))
    (line,) = [record.getMessage() for record in caplog.records]
    assert site.url + PATH in line
    assert "503" in line


# Hostile answers and hostile tokens


HOSTILE = (
    "a redirect",
    "an error with a list",
    "a list that is cut off",
    "a list with too much behind it",
    "no token",
    "an older list",
    "the list of another address",
    "a foreign signature",
    "nobody's signature",
    "a list of another type",
    "an access token",
    "a zip bomb",
)


def hostile_answer(name: str, issuer: Issuer) -> Any:
    """What must not make an ended session live again: `Site.serve` of this."""
    mint, url = issuer.mint, issuer.site.url
    newer = {"iat": NOW + 20}
    fine = mint_list(mint, [], newer, issuer=url)
    bomb = urlsafe_b64encode(compress(bytes(4_000_000))).rstrip(b"=").decode()
    unsigned = mint_list(mint, [], newer, {"alg": "none"}, issuer=url).rpartition(".")[0] + "."
    texts = {
        "a list that is cut off": fine[:-9],
        "a list with too much behind it": fine + " " * 262_144,
        "no token": "<html>",
        "an older list": mint_list(mint, [], {"iat": NOW - 1}, issuer=url),
        "the list of another address": mint_list(mint, [], {**newer, "sub": url}, issuer=url),
        "a foreign signature": mint_list(mint, [], newer, key=make_es256(), issuer=url),
        "nobody's signature": unsigned,
        "a list of another type": mint_list(mint, [], newer, {"typ": "at+jwt"}, issuer=url),
        "an access token": issuer.token(7, sub=url + PATH, uid=ABSENT, **newer),
        "a zip bomb": mint_list(
            mint, [], {**newer, "status_list": {"bits": 1, "lst": bomb}}, issuer=url
        ),
    }
    if name == "a redirect":
        return b"", 302, {"Location": "/elsewhere"}
    return (texts.get(name, fine).encode(), 500 if name == "an error with a list" else 200)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_never_replaces_a_good_list(name: str, issuer: Issuer, site: Site) -> None:
    """An ended session stays ended, and the list at hand does not become fresh again."""
    issuer.publish([7])
    assert issuer.answers(issuer.token(7)) == "revoked"
    site.serve("/elsewhere", mint_list(issuer.mint, [], issuer=site.url).encode())
    site.serve(PATH, *hostile_answer(name, issuer))
    issuer.pass_time(FRESH + 1)
    assert issuer.answers(issuer.token(7)) == "revoked"
    assert issuer.fetches == 2
    assert issuer.answers(issuer.token(8), on_stale="deny") == "unavailable"
    assert "/elsewhere" not in site.requests


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "an older list"])
def test_a_hostile_answer_is_no_first_list(name: str, issuer: Issuer, site: Site) -> None:
    """Nothing is known then, as if there were no answer."""
    site.serve(PATH, *hostile_answer(name, issuer))
    issuer.pass_time(FRESH)
    assert issuer.answers(issuer.token(8), on_stale="deny") == "unavailable"


def test_an_older_list_that_says_the_same_is_a_confirmation(issuer: Issuer) -> None:
    """Two workers of the issuer sign the same list at different times."""
    issuer.publish([7])
    issuer.answers(issuer.token(7))
    issuer.publish([7], iat=NOW - 60)
    issuer.pass_time(FRESH + 1)
    assert issuer.answers(issuer.token(8), on_stale="deny") == "u_alice"


class Late:
    """A key source that has no keys at first."""

    generation = 0

    def __init__(self, keys: JWKSet) -> None:
        self.keys, self.is_there, self.algorithms = keys, False, keys.algorithms

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        if not self.is_there:
            raise Unavailable("There are no keys yet.")
        return self.keys.find(kid, algorithm)


def test_a_list_that_comes_before_the_keys_is_read_again(issuer: Issuer, keys: JWKSet) -> None:
    """The thread that fetches lists goes on, and a request need not wait for a second try."""
    late = Late(keys)
    lists = StatusLists(issuer.site.url, (late,), clock=issuer.clock, uptime=issuer.uptime)
    issuer.verifier = issuer.make_verifier(status=lists)
    issuer.publish([7])
    assert issuer.answers(issuer.token(7), on_stale="deny") == "unavailable"
    thread, late.is_there = lists._thread, True
    issuer.pass_time(status.RETRY_SECONDS)
    lists._wanted.set()
    wait_until(lambda: issuer.answers(issuer.token(7)) == "revoked")
    assert lists._thread is thread


ELSEWHERE = [
    "https://evil.example/status-lists/0",
    "http://127.0.0.1:1/status-lists/0",
    "http://127.0.0.1/status-lists/0",
    "https://127.0.0.1:{port}/status-lists/0",
    "http://localhost:{port}/status-lists/0",
    "http://127.0.0.1:{port}.evil.example/status-lists/0",
    "http://127.0.0.1:{port}@evil.example/status-lists/0",
    "http://evil@127.0.0.1:{port}/status-lists/0",
    "HTTP://127.0.0.1:{port}/status-lists/0",
    "http://127.0.0.1:{port}",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}//evil.example/0",
    "http://127.0.0.1:{port}/status-lists/../admin",
    "http://127.0.0.1:{port}/./0",
    "http://127.0.0.1:{port}/status-lists/%2e%2e/0",
    "http://127.0.0.1:{port}/0?x=1",
    "http://127.0.0.1:{port}/0#x",
    "http://127.0.0.1:{port}/0\r\nX: y",
    "http://127.0.0.1:{port}/0 HTTP/1.0",
    "http://127.0.0.1:{port}\\evil",
    "/status-lists/0",
    "status-lists/0",
    "file:///etc/passwd",
    "",
]


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_a_list_elsewhere_is_refused_and_never_asked_for(
    uri: str, issuer: Issuer, site: Site
) -> None:
    """Nobody is sent anywhere by a token, not even by a signed one."""
    port = site.url.rpartition(":")[2]
    assert issuer.answers(issuer.token(7, uri.replace("{port}", port))) == "bad_claim"
    assert site.requests == []


def test_lists_are_only_fetched_below_the_issuers_own_path(
    site: Site, keys: JWKSet, mint: Mint
) -> None:
    """Several issuers may share a host; the prefix ends at a slash."""
    url = f"{site.url}/team"
    verifier = Verifier(url, AUDIENCE, keys=[keys], clock=Clock(NOW))
    for uri in (f"{site.url}/teams/0", f"{site.url}/0", f"{url}/0/../../0"):
        assert refusal_of(verifier, mint({"iss": url, **place(7, uri)})).reason == "bad_claim"
    assert site.requests == []
    assert verifier.verify(mint({"iss": url, **place(7, f"{url}/0")}))
    assert site.requests == ["/team/0"]


MALFORMED: list[Any] = [
    None,
    5,
    "x",
    [],
    {},
    {"status_list": None},
    {"status_list": "x"},
    {"status_list": []},
    {"status_list": {}},
    {"status_list": {"idx": 7}},
    {"status_list": {"uri": "{uri}"}},
    *({"status_list": {"idx": idx, "uri": "{uri}"}} for idx in (-1, True, 7.0, "7", None, [7])),
    *({"status_list": {"idx": 7, "uri": uri}} for uri in (None, 5, ["{uri}"], {"{uri}": 1})),
    {"other": {}},
]


@pytest.mark.parametrize("claim", MALFORMED, ids=repr)
def test_a_malformed_status_is_refused(claim: Any, issuer: Issuer, site: Site) -> None:
    """What cannot be asked for cannot be known."""
    text = json.dumps(claim).replace("{uri}", site.url + PATH)
    assert issuer.answers(issuer.token(status=json.loads(text))) == "bad_claim"
    assert site.requests == []


@pytest.mark.parametrize("index", [2**20, 2**40, 2**200])
def test_a_place_outside_of_the_list_is_refused(index: int, issuer: Issuer) -> None:
    """Section 8.3 step 6."""
    assert issuer.answers(issuer.token(2**20 - 1)) == "u_alice"
    assert issuer.answers(issuer.token(index)) == "bad_claim"


@pytest.mark.parametrize("problem", ["bad signature", "expired", "foreign audience"])
def test_only_a_good_token_causes_a_fetch(problem: str, issuer: Issuer, site: Site) -> None:
    """Strangers cannot make a service ask anybody anything."""
    texts = {
        "bad signature": issuer.token(7)[:-8] + "AAAAAAAA",
        "expired": issuer.token(7, exp=NOW - 31, iat=NOW - 99, nbf=NOW - 99),
        "foreign audience": issuer.token(7, aud="photos"),
    }
    assert issuer.answers(texts[problem]) not in ("u_alice", "unavailable")
    assert site.requests == []


def test_the_number_of_lists_is_bounded(
    issuer: Issuer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can sign, as all can who share a secret, cannot fill a service's memory."""
    monkeypatch.setattr(status, "MAX_LISTS", 3)
    for number in range(10):
        issuer.answers(issuer.token(7, f"{site.url}/status-lists/{number + 1}"))
    assert len(set(site.requests)) == 3


# A shared secret, an inner address, forks


def test_who_shares_a_secret_gets_lists_signed_with_it(
    site: Site, hs_key: SigningKey, clock: Clock
) -> None:
    """Section 5.1 permits a MAC; there is no other key to verify with."""
    mint = Mint(hs_key)
    site.serve(PATH, mint_list(mint, [7], issuer=site.url).encode())
    assert isinstance(hs_key.private, bytes)
    verifier = Verifier(site.url, AUDIENCE, secret=hs_key.private, clock=clock)
    text = mint({"iss": site.url, **place(7, site.url + PATH)})
    assert refusal_of(verifier, text).reason == "revoked"


def test_an_issuer_is_reached_by_an_inner_address(
    site: Site, keys: JWKSet, mint: Mint, clock: Clock
) -> None:
    """The token names the public address, which the service cannot reach."""
    public = "https://login.example.com"
    site.serve("/login" + PATH, mint_list(mint, [7], issuer=public).encode())
    lists = StatusLists(public, (keys,), address=f"{site.url}/login", clock=clock)
    verifier = Verifier(public, AUDIENCE, keys=[keys], status=lists, clock=clock)
    assert refusal_of(verifier, mint(place(7, public + PATH))).reason == "revoked"
    assert site.requests == ["/login" + PATH]


def test_an_inner_address_that_is_not_on_the_web_is_refused(keys: JWKSet) -> None:
    """At the start."""
    with pytest.raises(ValueError, match="not an http"):
        StatusLists("https://login.example.com", (keys,), address="login.internal")


@forks
def test_a_forked_process_fetches_for_itself(issuer: Issuer) -> None:
    """The parent's thread does not run in the child, so the child starts its own."""
    issuer.answers(issuer.token(7))
    issuer.publish([7])
    issuer.pass_time(FRESH + 1)
    assert in_a_child(lambda: issuer.answers(issuer.token(7)) == "revoked")


@forks
def test_a_process_forked_in_the_middle_of_a_fetch_works(
    issuer: Issuer, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks that were held when the process forked do not stop the child."""
    monkeypatch.setattr(status, "WAIT_SECONDS", 10)  # a busy machine forks slowly
    issuer.publish([7])
    answer = site.answers[PATH]
    release = site.hang(PATH)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(issuer.answers, issuer.token(7))
        site.wait_for(PATH)
        site.answers[PATH] = answer
        assert in_a_child(lambda: issuer.answers(issuer.token(7)) == "revoked")
        release.set()
    assert waiting.result() == "revoked"


def test_lists_that_nobody_uses_are_no_longer_fetched(
    issuer: Issuer, keys: JWKSet, site: Site
) -> None:
    """The thread ends by itself."""
    issuer.publish([], ttl=1)
    verifier: Any = Verifier(site.url, AUDIENCE, keys=[keys], clock=issuer.clock)
    verifier.verify(issuer.token(7))
    thread = verifier._status._thread
    del verifier
    wait_until(lambda: gc.collect() >= 0 and not thread.is_alive())
