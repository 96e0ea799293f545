"""Whether the session has ended is asked every time; the signature is checked once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from foxtrot import InvalidToken, JWKSet, Status, Token, Unavailable, Verifier
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    CountingSource,
    Mint,
    SigningKey,
    is_accepted,
    refusal_of,
)

LEEWAY = 30


class Ended:
    """A status that knows which sessions have ended, and counts the questions."""

    def __init__(self, *sessions: str) -> None:
        self.sessions = set(sessions)
        self.asked: list[Token] = []

    def ended(self, token: Token) -> bool:
        self.asked.append(token)
        return token.session_id in self.sessions


class Broken:
    """A status that fails with the error it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def ended(self, token: Token) -> bool:
        raise self.error


def with_status(keys: JWKSet, clock: Clock, status: Status) -> Verifier:
    return Verifier(ISSUER, AUDIENCE, keys=[keys], status=status, clock=clock)


def test_a_token_of_an_ended_session_is_revoked(keys: JWKSet, clock: Clock, mint: Mint) -> None:
    """The last question is whether the session still lives."""
    verifier = with_status(keys, clock, Ended("s_1"))
    assert refusal_of(verifier, mint()).reasons == ("revoked",)


def test_a_token_of_a_living_session_is_good(keys: JWKSet, clock: Clock, mint: Mint) -> None:
    """Other sessions' ends do not matter."""
    assert with_status(keys, clock, Ended("s_2")).verify(mint())


def test_a_session_that_ends_later_refuses_the_token_at_once(
    keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """The status is asked for every request, also of a token seen before."""
    status = Ended()
    verifier = with_status(keys, clock, status)
    text = mint()
    assert verifier.verify(text)
    status.sessions.add("s_1")
    assert refusal_of(verifier, text).reason == "revoked"


def test_a_refused_token_never_reaches_the_status(keys: JWKSet, clock: Clock, mint: Mint) -> None:
    """Strangers cannot make the verifier ask about sessions."""
    status = Ended()
    refusal_of(with_status(keys, clock, status), mint({"exp": NOW - 60}))
    assert status.asked == []


@pytest.mark.parametrize("error", [OSError("down"), KeyError("x"), RecursionError(), ValueError()])
def test_a_status_that_fails_leaves_the_token_undecided(
    error: Exception, keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """What cannot be known is neither accepted nor refused."""
    with pytest.raises(Unavailable):
        with_status(keys, clock, Broken(error)).verify(mint())


@pytest.mark.parametrize("error", [InvalidToken("revoked", "Gone."), Unavailable("Later.", 9)])
def test_a_status_may_refuse_in_its_own_words(
    error: Exception, keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """A verdict or a delay that the status raises comes through as it is."""
    with pytest.raises(type(error)) as caught:
        with_status(keys, clock, Broken(error)).verify(mint())
    assert caught.value is error


def counting(
    source: CountingSource, clock: Clock, remember: int = 4096, audience: str = AUDIENCE
) -> Verifier:
    return Verifier(ISSUER, audience, keys=[source], remember=remember, clock=clock)


def test_a_signature_is_not_checked_twice(es_key: SigningKey, clock: Clock, mint: Mint) -> None:
    """While neither token nor keys change, the key is asked for once."""
    source = CountingSource(es_key)
    verifier, text = counting(source, clock), mint()
    assert verifier.verify(text).subject == verifier.verify(text).subject
    assert len(source.asked) == 1


def test_nothing_is_remembered_where_that_is_not_wanted(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """With `remember=0` each request checks the signature."""
    source = CountingSource(es_key)
    verifier, text = counting(source, clock, remember=0), mint()
    assert [verifier.verify(text).subject for _ in range(3)] == ["u_alice"] * 3
    assert len(source.asked) == 3


def test_no_more_tokens_are_remembered_than_was_said(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """A token that was not used for a while is checked anew."""
    source = CountingSource(es_key)
    verifier, first = counting(source, clock, remember=4), mint()
    for text in [first, *(mint({"jti": f"t_{number}"}) for number in range(4)), first]:
        verifier.verify(text)
    assert len(source.asked) == 6


def test_as_many_tokens_are_remembered_as_half_of_what_was_said(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """Of so many, used in turn, none is checked anew."""
    source = CountingSource(es_key)
    verifier = counting(source, clock, remember=40)
    tokens = [mint({"jti": f"t_{number}"}) for number in range(20)]
    for text in tokens * 3:
        verifier.verify(text)
    assert len(source.asked) == 20


def test_a_token_in_use_stays_remembered(es_key: SigningKey, clock: Clock, mint: Mint) -> None:
    """Others pass by, the one that comes again and again is not checked again."""
    source = CountingSource(es_key)
    verifier, text = counting(source, clock, remember=4), mint()
    for number in range(10):
        verifier.verify(text)
        verifier.verify(mint({"jti": f"passing {number}"}))
    assert len(source.asked) == 11


def test_a_refused_token_is_not_remembered_as_refused(
    verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """A token that was too early is good when its time has come."""
    text = mint({"nbf": NOW + 60})
    assert refusal_of(verifier, text).reason == "not_yet_valid"
    clock.advance(60)
    assert verifier.verify(text)


def test_a_token_seen_before_is_refused_when_it_expires(
    verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """Being remembered does not lengthen a life."""
    text = mint()
    assert verifier.verify(text)
    clock.now = NOW + 900 + LEEWAY
    assert refusal_of(verifier, text).reasons == ("expired",)


def test_a_token_seen_before_is_refused_when_the_clock_is_set_back(
    verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """A corrected clock decides anew in both directions."""
    text = mint()
    assert verifier.verify(text)
    clock.advance(-LEEWAY - 1)
    assert refusal_of(verifier, text).reasons == ("not_yet_valid",)
    clock.advance(LEEWAY + 1)
    assert verifier.verify(text)


@pytest.mark.parametrize("later", [{}, {"iat": NOW - 100}, {"nbf": NOW - 100}, {"nbf": ABSENT}])
def test_a_token_seen_before_keeps_the_leeway_at_both_ends(
    later: dict[str, object], verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """The later of `iat` and `nbf` counts, and `exp`, each to the second."""
    text = mint(later)
    for now, good in ((-LEEWAY - 1, False), (-LEEWAY, True), (899 + LEEWAY, True)):
        clock.now = NOW
        assert verifier.verify(text)
        clock.now = NOW + now
        assert is_accepted(verifier, text) is good


def test_threads_share_a_small_memory(es_key: SigningKey, clock: Clock, mint: Mint) -> None:
    """However many threads fill and read it at once, each gets the token it asked for."""
    verifier = counting(CountingSource(es_key), clock, remember=4)
    texts = {f"u_{number}": mint({"sub": f"u_{number}", "uid": ABSENT}) for number in range(12)}

    def verify_all(_: int) -> bool:
        return all(verifier.verify(text).subject == name for name, text in texts.items())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(verify_all, range(40)))
