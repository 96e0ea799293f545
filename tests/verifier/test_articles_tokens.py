"""The two tokens of the article that this service began with, and its secret `foxtrot`.

Their signatures are right, so they can be examined; as access tokens they lack
nearly everything, and no verifier can be built on that secret.
"""

from __future__ import annotations

import pytest

from foxtrot import InvalidToken, JWKSet, Verifier, WeakKey
from foxtrot.signature import Signed, check
from tests.verifier.minting import AUDIENCE, ISSUER, Clock

SECRET = "foxtrot"
FIRST = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJ1aWQiOjF9.UiYGJGxrTO5tshcrkncONYqq7aIeLb6atZPDuLyG0Ng"
)
SECOND = (
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9"
    ".eyJ1aWQiOjEsImlzcyI6Im15LWFwcCIsImV4cCI6MTQ1MTYzODk1MX0"
    ".WXKc-CKRrj05SNmYqkTMVXKY9aUMu_2a7saXwotUcgQ"
)
EXPIRY = 1_451_638_951


def reasons_at(now: float, signed: Signed, keys: JWKSet, leeway: float = 30) -> tuple[str, ...]:
    """Give all that a verifier of that time has against the claims."""
    verifier = Verifier(ISSUER, AUDIENCE, keys=[keys], leeway=leeway, clock=Clock(now))
    with pytest.raises(InvalidToken) as caught:
        verifier.judge(signed)
    return caught.value.reasons


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode()])
def test_the_first_token_is_signed_with_the_articles_secret(secret: str | bytes) -> None:
    """The signature passes, and the payload is the user's number."""
    assert check(FIRST, secret) == ({"typ": "JWT", "alg": "HS256"}, {"uid": 1})


def test_the_second_token_is_signed_with_the_articles_secret() -> None:
    """It names an issuer and ends on the first day of 2016."""
    assert check(SECOND, SECRET).claims == {"uid": 1, "iss": "my-app", "exp": EXPIRY}


@pytest.mark.parametrize("token", [FIRST, SECOND])
@pytest.mark.parametrize("secret", ["Foxtrot", "foxtro", "foxtrot ", "foxtrot\n", "tango"])
def test_no_other_secret_fits(token: str, secret: str) -> None:
    """Not even one that differs in a letter's case or a space."""
    with pytest.raises(InvalidToken) as caught:
        check(token, secret)
    assert caught.value.reason == "bad_signature"


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), SECRET.upper(), f" {SECRET}\n"])
def test_no_verifier_is_built_on_the_articles_secret(secret: str | bytes) -> None:
    """Everybody who read the article could issue its tokens."""
    with pytest.raises(WeakKey, match="foxtrot"):
        Verifier(ISSUER, AUDIENCE, secret=secret)


def test_the_first_token_lacks_the_claims_of_an_access_token(keys: JWKSet) -> None:
    """It has no issuer, audience, subject and times, is of no type, and never ends."""
    reasons = reasons_at(EXPIRY, check(FIRST, SECRET), keys)
    assert reasons == ("wrong_type", "missing_claim", "bad_claim")


@pytest.mark.parametrize("late", [30, 31, 10**9])
def test_the_second_token_has_expired_as_well(late: int, keys: JWKSet) -> None:
    """From its `exp` and the leeway on, for ever."""
    reasons = reasons_at(EXPIRY + late, check(SECOND, SECRET), keys)
    assert {"missing_claim", "wrong_issuer", "expired"} <= set(reasons)


@pytest.mark.parametrize("late", [-1, 0, 29])
def test_the_second_token_had_not_expired_before(late: int, keys: JWKSet) -> None:
    """Until its `exp` and the leeway are over it is refused for other reasons alone."""
    reasons = reasons_at(EXPIRY + late, check(SECOND, SECRET), keys)
    assert "missing_claim" in reasons
    assert "expired" not in reasons


def test_without_leeway_the_second_token_ends_to_the_second(keys: JWKSet) -> None:
    """A second before its `exp` it has not expired, at its `exp` it has."""
    signed = check(SECOND, SECRET)
    assert "expired" not in reasons_at(EXPIRY - 1, signed, keys, leeway=0)
    assert "expired" in reasons_at(EXPIRY, signed, keys, leeway=0)


@pytest.mark.parametrize("token", [FIRST, SECOND])
def test_a_verifier_of_good_keys_refuses_them_unread(token: str, verifier: Verifier) -> None:
    """Where no shared secret is in use nothing signed with one gets past its algorithm."""
    with pytest.raises(InvalidToken) as caught:
        verifier.verify(token)
    assert caught.value.reasons == ("wrong_algorithm",)
