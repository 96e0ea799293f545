"""Whatever comes, a verifier answers with a token or `InvalidToken`, and tells the truth.

The examples are the same in every run, so a failure here is a failure for everybody.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foxtrot import InvalidToken, JWKSet, Token, UnusableKey, Verifier
from foxtrot.errors import REASONS, SIGNED_REASONS, UNSIGNED_REASONS
from foxtrot.flask import Bearer
from foxtrot.jwk import Key
from tests.verifier.minting import (
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    Mint,
    SigningKey,
    claims_of,
    header_of,
    to_json,
)
from tests.verifier.service import Notes

settings.register_profile(
    "steady", derandomize=True, database=None, deadline=None, max_examples=100
)
steady = settings.get_profile("steady")

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(NOW - 10**6, NOW + 10**6)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([ISSUER, AUDIENCE, "u_alice", "at+jwt", "es-1", "ES256", "none", ""])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
header_names = st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "cty", "x5c"])
claim_names = st.sampled_from([*claims_of(), "status", "x"])
headers = st.dictionaries(header_names | st.text(max_size=8), values, max_size=3)
claims = st.dictionaries(claim_names | st.text(max_size=8), values, max_size=4)


@pytest.fixture(scope="module")
def standing(keys: JWKSet) -> Verifier:
    """A verifier whose time never moves."""
    return Verifier(ISSUER, AUDIENCE, keys=[keys], clock=Clock())


def outcome(verifier: Verifier, text: str) -> Token | InvalidToken:
    """Let a verifier judge; any other exception than a refusal fails the test."""
    try:
        return verifier.verify(text)
    except InvalidToken as refusal:
        return refusal


def assert_well_told(refusal: InvalidToken) -> None:
    """The reasons are known ones, in order, and mixed from no two groups."""
    assert refusal.reason == refusal.reasons[0]
    assert list(refusal.reasons) == sorted(set(refusal.reasons), key=REASONS.index)
    assert set(refusal.reasons) <= set(SIGNED_REASONS) or (
        len(refusal.reasons) == 1 and refusal.reason in UNSIGNED_REASONS
    )


def assert_believable(token: Token) -> None:
    """State once more, in other words, what every accepted token must be."""
    said = token.claims
    assert token.issuer == said["iss"] == ISSUER
    assert AUDIENCE in token.audience
    assert isinstance(said["sub"], str)
    assert said["sub"]
    assert said.get("uid", said["sub"]) == said["sub"]
    assert isinstance(said["jti"], str)
    for name in ("iat", "exp"):
        assert type(said[name]) in (int, float)
        assert math.isfinite(said[name])
    assert said["iat"] <= NOW + 30
    assert said.get("nbf", 0) <= NOW + 30
    assert NOW - 30 < said["exp"] <= said["iat"] + 86_400


@steady
@given(text=st.text())
def test_any_text_is_refused(text: str, standing: Verifier) -> None:
    """No text that nobody signed is a token."""
    refusal = outcome(standing, text)
    assert isinstance(refusal, InvalidToken)
    assert_well_told(refusal)


@steady
@given(text=st.text(alphabet="ABCabc019-_.=+/ \n", max_size=60))
def test_any_text_of_a_tokens_letters_is_refused(text: str, standing: Verifier) -> None:
    """Nor is one that resembles a token."""
    assert isinstance(outcome(standing, text), InvalidToken)


@steady
@given(thing=values | st.binary() | st.tuples(st.text()))
def test_anything_but_text_is_refused(thing: Any, standing: Verifier) -> None:
    """A caller's mistake in type does not crash."""
    assume(not isinstance(thing, str))
    refusal = outcome(standing, thing)
    assert isinstance(refusal, InvalidToken)
    assert refusal.reason == "malformed"


@steady
@given(header=values, payload=values)
def test_any_two_documents_signed_well_are_judged(
    header: Any, payload: Any, standing: Verifier, mint: Mint
) -> None:
    """Whatever the key's owner signs, the answer is a token or a refusal."""
    refusal = outcome(standing, mint.raw(to_json(header), to_json(payload)))
    assert isinstance(refusal, InvalidToken)
    assert_well_told(refusal)


@steady
@given(header=headers, payload=claims)
def test_any_change_of_a_good_token_signed_well_is_judged(
    header: dict[str, Any], payload: dict[str, Any], standing: Verifier, mint: Mint
) -> None:
    """What is believed is believable, and what is refused is refused in order."""
    verdict = outcome(standing, mint(payload, header))
    if isinstance(verdict, Token):
        assert_believable(verdict)
    else:
        assert_well_told(verdict)


@steady
@given(payload=claims)
def test_any_claims_signed_well_are_judged(
    payload: dict[str, Any], standing: Verifier, mint: Mint
) -> None:
    """Under a good header only the claims decide, and form or one of the later reasons tells."""
    verdict = outcome(standing, mint(payload))
    if isinstance(verdict, Token):
        assert_believable(verdict)
    else:
        assert verdict.reason == "malformed" or verdict.reason in SIGNED_REASONS


@steady
@given(raw=st.binary(max_size=200), where=st.sampled_from(["header", "claims"]))
def test_any_bytes_signed_well_are_judged(
    raw: bytes, where: str, standing: Verifier, mint: Mint
) -> None:
    """In the place of either document."""
    header = raw if where == "header" else to_json(header_of(mint.key))
    payload = raw if where == "claims" else to_json(claims_of())
    assert isinstance(outcome(standing, mint.raw(header, payload)), InvalidToken)


@steady
@given(name=claim_names, value=values)
def test_a_verdict_is_the_same_the_second_time(
    name: str, value: Any, standing: Verifier, mint: Mint
) -> None:
    """Remembered or not, a token means the same."""
    text = mint({name: value})
    first, second = outcome(standing, text), outcome(standing, text)
    assert type(first) is type(second)
    assert getattr(first, "reasons", None) == getattr(second, "reasons", None)


@steady
@given(start=st.integers(0, 600), length=st.integers(0, 8), other=st.text(max_size=8))
def test_any_cut_or_insertion_is_refused(
    start: int, length: int, other: str, standing: Verifier, mint: Mint
) -> None:
    """Only the very text that was signed is a token."""
    text = mint()
    changed = text[:start] + other + text[start + length :]
    assume(changed != text)
    assert isinstance(outcome(standing, changed), InvalidToken)


@steady
@given(document=values)
def test_any_document_is_a_set_or_not(document: Any) -> None:
    """Loading a JWK Set raises one kind of error."""
    with pytest.raises(UnusableKey):
        JWKSet({"keys": document})
    with pytest.raises(UnusableKey):
        JWKSet(json.dumps(document))


@steady
@given(
    name=st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "kid", "key_ops", "k"]),
    value=values | st.text(alphabet="AQab-_=", max_size=60),
    key=st.sampled_from(["es_key", "ed_key", "rs_key"]),
)
def test_any_change_of_a_key_leaves_it_usable_or_not(
    name: str, value: Any, key: str, every_key: dict[str, SigningKey]
) -> None:
    """Loading a key raises one kind of error, whatever its members are."""
    try:
        loaded = Key.from_jwk(every_key[key].jwk | {name: value})
    except UnusableKey:
        return
    assert loaded.algorithm in ("ES256", "EdDSA", "RS256")


@pytest.fixture(scope="module")
def every_key(es_key: SigningKey, ed_key: SigningKey, rs_key: SigningKey) -> dict[str, SigningKey]:
    return {"es_key": es_key, "ed_key": ed_key, "rs_key": rs_key}


@pytest.fixture(scope="module")
def service(keys: JWKSet) -> Notes:
    return Notes(Bearer(ISSUER, AUDIENCE, keys=[keys]))


junk = st.text(st.characters(max_codepoint=255), max_size=80)


@steady
@given(
    header=junk | junk.map(lambda text: f"Bearer {text}") | junk.map(lambda text: f"Bearer{text}")
)
def test_any_header_is_answered_with_a_refusal(header: str, service: Notes) -> None:
    """Never a success, never an error of the server."""
    answer = service.test_client().get("/notes", environ_overrides={"HTTP_AUTHORIZATION": header})
    assert answer.status_code in (400, 401)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="notes"')
