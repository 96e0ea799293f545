"""What an attacker sends: changed tokens after good ones, to a verifier that remembers.

Where a token is signed at all it is signed with the real key, so that nothing but
the rule under test can refuse it.
"""

from __future__ import annotations

from typing import Any

import pytest

from foxtrot import JWKSet, Verifier
from tests.verifier.minting import (
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    CountingSource,
    Mint,
    SigningKey,
    flipped,
    make_es256,
    refusal_of,
    signature_of,
    with_signature,
)


def test_a_seen_token_does_not_vouch_for_another_signature(verifier: Verifier, mint: Mint) -> None:
    """The whole text is what was seen, not header and claims."""
    text = mint()
    assert verifier.verify(text)
    changed = with_signature(text, flipped(signature_of(text), 300))
    assert refusal_of(verifier, changed).reason == "bad_signature"


@pytest.mark.parametrize("form", ["{} ", "{}\n", "{}=", " {}", "{}\x00", "{}.", "{}é"])
def test_a_seen_token_does_not_vouch_for_another_spelling(
    form: str, verifier: Verifier, mint: Mint
) -> None:
    """The table is asked for the exact text."""
    text = mint()
    assert verifier.verify(text)
    assert refusal_of(verifier, form.replace("{}", text)).reason == "malformed"


def test_a_seen_token_does_not_vouch_for_an_unsigned_one(verifier: Verifier, mint: Mint) -> None:
    """The same claims without a signature are a claim of nobody."""
    text = mint()
    assert verifier.verify(text)
    assert refusal_of(verifier, text.rpartition(".")[0] + ".").reason == "bad_signature"


def test_a_refused_token_is_refused_again(verifier: Verifier, mint: Mint) -> None:
    """Trying often does not help."""
    forged = mint(key=make_es256("es-1"))
    assert {refusal_of(verifier, forged).reason for _ in range(5)} == {"bad_signature"}


def test_refused_tokens_do_not_push_out_good_ones(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """Only verified tokens enter the table, so strangers cannot empty it."""
    source = CountingSource(es_key)
    verifier = Verifier(ISSUER, AUDIENCE, keys=[source], remember=4, clock=clock)
    text = mint()
    assert verifier.verify(text)
    for number in range(20):
        refusal_of(verifier, mint({"jti": str(number)}, {"kid": "nobody"}))
        refusal_of(verifier, mint({"jti": str(number), "exp": NOW - 60}))
    asked = len(source.asked)
    assert verifier.verify(text)
    assert len(source.asked) == asked


def test_a_seen_token_of_a_withdrawn_key_is_refused(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """As soon as the source counts up its generation."""
    source = CountingSource(es_key)
    verifier = Verifier(ISSUER, AUDIENCE, keys=[source], clock=clock)
    text = mint()
    assert verifier.verify(text)
    source.withdraw("es-1")
    assert refusal_of(verifier, text).reason == "unknown_key"


def test_a_seen_token_of_a_withdrawn_key_is_refused_among_sources(
    es_key: SigningKey, ed_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """Also when the key belongs to the second of two sources."""
    first, second = CountingSource(ed_key), CountingSource(es_key)
    verifier = Verifier(ISSUER, AUDIENCE, keys=[first, second], clock=clock)
    text = mint()
    assert verifier.verify(text)
    second.withdraw("es-1")
    assert refusal_of(verifier, text).reason == "unknown_key"


def test_generations_of_several_sources_do_not_cancel_each_other(
    es_key: SigningKey, ed_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """A generation is whatever changes: one may go down while another goes up."""
    first, second = CountingSource(ed_key), CountingSource(es_key)
    verifier = Verifier(ISSUER, AUDIENCE, keys=[first, second], clock=clock)
    text = mint()
    assert verifier.verify(text)
    first.generation -= 1
    second.withdraw("es-1")
    assert refusal_of(verifier, text).reason == "unknown_key"


def test_a_token_is_not_remembered_when_its_key_goes_while_it_is_checked(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """Between the check and the table there is no gap to slip through."""

    class Fleeting(CountingSource):
        def find(self, kid: str | None, algorithm: str) -> Any:
            key = super().find(kid, algorithm)
            if key is not None:
                self.withdraw("es-1")
            return key

    verifier = Verifier(ISSUER, AUDIENCE, keys=[Fleeting(es_key)], clock=clock)
    text = mint()
    assert verifier.verify(text)
    assert refusal_of(verifier, text).reason == "unknown_key"


def test_a_token_is_not_remembered_when_another_one_learns_first_that_its_key_is_gone(
    es_key: SigningKey, clock: Clock, mint: Mint
) -> None:
    """What the old keys vouched for is not kept among what the new ones vouch for."""
    other = make_es256("other")

    class Fleeting(CountingSource):
        def find(self, kid: str | None, algorithm: str) -> Any:
            key = super().find(kid, algorithm)
            if kid == "es-1" and key is not None:
                self.withdraw("es-1")
                verifier.verify(mint(key=other))  # as another thread would in between
            return key

    verifier = Verifier(ISSUER, AUDIENCE, keys=[Fleeting(es_key, other)], clock=clock)
    text = mint()
    assert verifier.verify(text)
    assert refusal_of(verifier, text).reason == "unknown_key"


@pytest.mark.parametrize("text", [None, 5, b"a.b.c", ["a.b.c"], {}], ids=repr)
def test_what_is_not_a_string_is_malformed_to_a_verifier_too(
    text: object, verifier: Verifier
) -> None:
    """It is not even looked up among what was seen."""
    assert refusal_of(verifier, text).reason == "malformed"


def test_what_one_verifier_has_seen_another_has_not(
    verifier: Verifier, keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """Two services in one process share keys and no verdicts."""
    text = mint()
    assert verifier.verify(text)
    other = Verifier(ISSUER, "mail", keys=[keys], clock=clock)
    assert refusal_of(other, text).reason == "wrong_audience"
