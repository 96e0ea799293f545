"""What the claims of a token must be, to the second; and what a good one gives."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest

from foxtrot import InvalidToken, JWKSet, UnusableKey, Verifier
from foxtrot.claims import MAX_LIFETIME, REQUIRED_CLAIMS
from foxtrot.errors import SIGNED_REASONS
from foxtrot.signature import MAX_TOKEN_CHARACTERS, check
from foxtrot.verifier import MAX_LEEWAY
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    NOW,
    Clock,
    Mint,
    SigningKey,
    refusal_of,
)

LEEWAY = 30


def test_a_good_token_gives_what_it_says(verifier: Verifier, mint: Mint) -> None:
    """Subject, audience, times and scopes are there by name."""
    token = verifier.verify(mint())
    assert token.subject == "u_alice"
    assert token.issuer == ISSUER
    assert token.audience == (AUDIENCE, "photos")
    assert token.scopes == {"notes:read", "notes:write"}
    assert (token.issued_at, token.expires_at) == (NOW, NOW + 900)
    assert (token.session_id, token.algorithm) == ("s_1", "ES256")


def test_custom_claims_are_there_too(verifier: Verifier, mint: Mint) -> None:
    """What an operator added is found among the claims."""
    token = verifier.verify(mint({"team": {"name": "blue", "size": 7}}))
    assert token.claims["team"] == {"name": "blue", "size": 7}


def test_the_least_token_has_no_scopes_and_no_session(verifier: Verifier, mint: Mint) -> None:
    """Beyond the six required claims all are optional."""
    optional = ("uid", "nbf", "sid", "scope", "client_id", "auth_time")
    token = verifier.verify(mint(dict.fromkeys(optional, ABSENT)))
    assert (token.scopes, token.session_id) == (frozenset(), None)


def test_an_audience_may_be_one_string(verifier: Verifier, mint: Mint) -> None:
    """RFC 7519 section 4.1.3 lets a single audience stand without a list."""
    assert verifier.verify(mint({"aud": AUDIENCE})).audience == (AUDIENCE,)


def test_the_claims_of_a_token_cannot_be_written_to(verifier: Verifier, mint: Mint) -> None:
    """What was signed stays as it was signed."""
    claims: Any = verifier.verify(mint()).claims
    with pytest.raises(TypeError):
        claims["sub"] = "u_bob"


@pytest.mark.parametrize("name", ["subject", "scopes", "audience", "expires_at", "claims"])
def test_the_attributes_of_a_token_cannot_be_written_to(
    name: str, verifier: Verifier, mint: Mint
) -> None:
    """One token object may serve many requests, so none of them can change it."""
    token: Any = verifier.verify(mint())
    with pytest.raises(AttributeError):
        setattr(token, name, "changed")


@pytest.mark.parametrize("claim", ["aud", "roles"])
def test_a_changed_list_does_not_reach_the_next_request(
    claim: str, verifier: Verifier, mint: Mint
) -> None:
    """A view that appends to a claim must not promote the same token for good."""
    text = mint({"roles": ["reader"]})
    values: Any = verifier.verify(text).claims[claim]
    with contextlib.suppress(AttributeError):
        values.append("admin")
    assert "admin" not in verifier.verify(text).claims[claim]


def test_the_representation_of_a_token_holds_no_other_claims(
    verifier: Verifier, mint: Mint
) -> None:
    """It ends up in logs: who, for whom, what for, and neither `jti` nor custom claims."""
    shown = repr(verifier.verify(mint({"email": "alice@example.com"})))
    assert "u_alice" in shown
    assert "alice@example.com" not in shown
    assert "t_1" not in shown


def test_scopes_are_separated_by_spaces_alone(verifier: Verifier, mint: Mint) -> None:
    """RFC 6749 section 3.3 knows one separator; other white space makes no new scope."""
    token = verifier.verify(mint({"scope": "a  b\u2003admin c\tadmin d\x1cadmin e\nadmin"}))
    assert "admin" not in token.scopes


@pytest.mark.parametrize("name", REQUIRED_CLAIMS)
def test_a_required_claim_that_is_absent_is_missed(
    name: str, verifier: Verifier, mint: Mint
) -> None:
    """None of the six can be left out."""
    refusal = refusal_of(verifier, mint({name: ABSENT, "uid": ABSENT}))
    assert refusal.reasons == ("missing_claim",)


def test_the_required_claims_are_those_of_the_contract() -> None:
    """RFC 9068 section 2.2 requires these of an access token, and a `client_id`, unused here."""
    assert set(REQUIRED_CLAIMS) == {"iss", "aud", "sub", "exp", "iat", "jti"}


@pytest.mark.parametrize("late", [-900, 0, LEEWAY - 1, LEEWAY - 0.001])
def test_a_token_is_good_until_the_leeway_is_over(
    late: float, verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """The clocks of issuer and service may differ by the leeway."""
    clock.now = NOW + 900 + late
    assert verifier.verify(mint())


@pytest.mark.parametrize("late", [LEEWAY, LEEWAY + 0.001, LEEWAY + 1, 10**9])
def test_a_token_has_expired_once_the_leeway_is_over(
    late: float, verifier: Verifier, clock: Clock, mint: Mint
) -> None:
    """At `exp` plus the leeway, to the second, it is over."""
    clock.now = NOW + 900 + late
    assert refusal_of(verifier, mint()).reasons == ("expired",)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("early", [0, 1, LEEWAY])
def test_a_token_may_be_early_by_the_leeway(
    claim: str, early: int, verifier: Verifier, mint: Mint
) -> None:
    """An issuer whose clock is ahead a little is believed."""
    assert verifier.verify(mint({claim: NOW + early}))


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("early", [LEEWAY + 0.001, LEEWAY + 1, 800])
def test_a_token_from_the_future_is_not_yet_valid(
    claim: str, early: float, verifier: Verifier, mint: Mint
) -> None:
    """Beyond the leeway neither `iat` nor `nbf` may lie ahead."""
    assert refusal_of(verifier, mint({claim: NOW + early})).reasons == ("not_yet_valid",)


@pytest.mark.parametrize(("leeway", "good"), [(0, False), (1, False), (2, True), (60, True)])
def test_the_leeway_can_be_set(
    leeway: float, good: bool, keys: JWKSet, clock: Clock, mint: Mint
) -> None:
    """It counts for `exp` as it was set."""
    verifier = Verifier(ISSUER, AUDIENCE, keys=[keys], leeway=leeway, clock=clock)
    clock.now = NOW + 901
    assert accepts(verifier, mint()) is good


def accepts(verifier: Verifier, text: str) -> bool:
    try:
        verifier.verify(text)
    except InvalidToken:
        return False
    return True


@pytest.mark.parametrize("leeway", [-1, MAX_LEEWAY + 0.1, 3600, float("nan"), float("inf")])
def test_a_leeway_beyond_reason_is_refused(leeway: float, keys: JWKSet) -> None:
    """More than a minute is not a clock's error but a longer life."""
    with pytest.raises(ValueError, match="leeway"):
        Verifier(ISSUER, AUDIENCE, keys=[keys], leeway=leeway)


def test_the_documented_limits_are_these() -> None:
    """A minute of leeway (ASVS 9.2.1), a day of life, 8 KB of token."""
    assert (MAX_LEEWAY, MAX_LIFETIME, MAX_TOKEN_CHARACTERS) == (60, 86_400, 8192)


def test_times_may_have_fractions(verifier: Verifier, mint: Mint) -> None:
    """A NumericDate is any JSON number (RFC 7519 section 2)."""
    token = verifier.verify(mint({"iat": NOW - 0.5, "exp": NOW + 0.25}))
    assert token.expires_at == NOW + 0.25


@pytest.mark.parametrize("number", [int, float])
def test_times_lie_between_1970_and_the_year_9999(number: type, keys: JWKSet, mint: Mint) -> None:
    """The first and the last second are times; what is before and after is none."""
    first, last = number(0), number(253_402_300_799)
    for iat, exp, now in ((first, number(900), 1), (last - 900, last, last - 450)):
        verifier = Verifier(ISSUER, AUDIENCE, keys=[keys], clock=Clock(now))
        times = {"iat": iat, "nbf": iat, "auth_time": iat}
        assert verifier.verify(mint({**times, "exp": exp})).expires_at == exp
        assert refusal_of(verifier, mint({**times, "exp": last + 1})).reason == "bad_claim"
        assert refusal_of(verifier, mint({"iat": -1, "exp": exp})).reason == "bad_claim"


def test_the_longest_life_is_a_day(verifier: Verifier, mint: Mint) -> None:
    """What lives exactly as long as an access token may live is accepted."""
    assert verifier.verify(mint({"exp": NOW + MAX_LIFETIME}))


@pytest.mark.parametrize("lifetime", [MAX_LIFETIME + 1, 10**7, 0, -1, -900])
def test_a_life_that_is_too_long_or_none_is_a_bad_claim(
    lifetime: float, verifier: Verifier, mint: Mint
) -> None:
    """A token for years is no access token, one that ends before it begins no token."""
    assert refusal_of(verifier, mint({"exp": NOW + lifetime})).reason == "bad_claim"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt"])
def test_the_type_is_at_jwt_in_any_letter_case(typ: str, verifier: Verifier, mint: Mint) -> None:
    """RFC 9068 section 4 names two spellings; media types know no case."""
    assert verifier.verify(mint(header={"typ": typ}))


def test_all_that_is_wrong_is_listed_in_the_order_of_the_contract(
    verifier: Verifier, mint: Mint
) -> None:
    """Someone who debugs a token sees everything at once."""
    wrong = {"iss": "evil", "aud": "x", "nbf": NOW + 999, "exp": NOW - 99, "jti": ABSENT}
    refusal = refusal_of(verifier, mint(wrong, {"typ": "JWT"}))
    assert refusal.reasons == SIGNED_REASONS[:-1]
    assert refusal.reason == "wrong_type"


def test_the_reasons_after_the_signature_keep_their_order() -> None:
    """The contract lists them in this order."""
    assert SIGNED_REASONS == (
        "wrong_type",
        "missing_claim",
        "bad_claim",
        "wrong_issuer",
        "wrong_audience",
        "not_yet_valid",
        "expired",
        "revoked",
    )


def test_the_default_clock_is_the_time_of_day(keys: JWKSet, mint: Mint) -> None:
    """Without a clock of one's own the wall clock counts."""
    now = int(time.time())
    text = mint({"iat": now, "nbf": now, "exp": now + 60})
    assert Verifier(ISSUER, AUDIENCE, keys=[keys]).verify(text)


def test_judging_alone_asks_the_clock(
    verifier: Verifier, clock: Clock, keys: JWKSet, mint: Mint
) -> None:
    """A token whose signature passed elsewhere is judged by the time now."""
    signed = check(mint(), keys)
    assert verifier.judge(signed).subject == "u_alice"
    clock.advance(1000)
    with pytest.raises(InvalidToken, match="expired"):
        verifier.judge(signed)
    assert verifier.judge(signed, NOW)


@pytest.mark.parametrize(
    ("issuer", "audience"),
    [("", AUDIENCE), (ISSUER, ""), (None, AUDIENCE), (ISSUER, None), (5, AUDIENCE), (ISSUER, [5])],
)
def test_a_verifier_needs_issuer_and_audience(issuer: Any, audience: Any, keys: JWKSet) -> None:
    """Neither can be left empty to mean anybody."""
    with pytest.raises(ValueError, match="needs"):
        Verifier(issuer, audience, keys=[keys])


@pytest.mark.parametrize(
    "both",
    [["secret", "public_key"], ["secret", "keys"], ["public_key", "keys"]],
    ids=" and ".join,
)
def test_a_verifier_takes_its_keys_from_one_place(
    both: list[str], keys: JWKSet, es_key: SigningKey
) -> None:
    """A secret and a public key side by side are a mistake, not a choice."""
    given: dict[str, Any] = {"secret": "s" * 40, "public_key": es_key.pem, "keys": [keys]}
    with pytest.raises(ValueError, match="at most one"):
        Verifier(ISSUER, AUDIENCE, **{name: given[name] for name in both})


@pytest.mark.parametrize("empty", [{"secret": ""}, {"secret": b""}, {"public_key": ""}])
def test_an_empty_setting_never_falls_back_to_discovery(empty: dict[str, Any]) -> None:
    """An environment variable that is set to nothing is an error at once."""
    with pytest.raises(UnusableKey):
        Verifier(ISSUER, AUDIENCE, **empty)


def test_an_empty_list_of_keys_never_falls_back_to_discovery() -> None:
    """The same for a list of sources that came out empty."""
    with pytest.raises(ValueError, match="empty"):
        Verifier(ISSUER, AUDIENCE, keys=[])
