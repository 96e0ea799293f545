"""The signature step alone: which key is asked, what is read, which refusal comes first."""

from __future__ import annotations

from typing import Any

import pytest

from foxtrot import InvalidToken, JWKSet, KeySource, PublicKey, SharedSecret, Unavailable
from foxtrot.errors import UNSIGNED_REASONS, UnusableKey
from foxtrot.jwk import Key
from foxtrot.signature import MAX_TOKEN_CHARACTERS, check
from tests.verifier.minting import (
    ABSENT,
    CountingSource,
    Mint,
    SigningKey,
    b64,
    claims_of,
    header_of,
    make_es256,
    make_hs256,
    to_json,
)


class SilentSource:
    """A key source that has nothing yet."""

    algorithms = frozenset({"ES256"})
    generation = 0

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        raise Unavailable("Nothing was fetched yet.")


def reason_of(text: Any, keys: KeySource | tuple[KeySource, ...]) -> str:
    with pytest.raises(InvalidToken) as caught:
        check(text, keys)
    return caught.value.reason


@pytest.mark.parametrize("name", ["es_key", "ed_key", "rs_key"])
def test_a_token_of_each_public_key_algorithm_verifies(
    name: str, request: pytest.FixtureRequest, keys: JWKSet, mint: Mint
) -> None:
    """ES256, EdDSA and RS256 signatures pass with the public key of the set."""
    key = request.getfixturevalue(name)
    assert check(mint(key=key), keys).header["alg"] == key.alg


def test_a_token_of_a_shared_secret_verifies(hs_key: SigningKey, mint: Mint) -> None:
    """HS256 passes with the secret that signed it."""
    assert isinstance(hs_key.private, bytes)
    assert check(mint(key=hs_key), SharedSecret(hs_key.private)).claims["sub"] == "u_alice"


def test_claims_are_given_but_not_judged(keys: JWKSet, mint: Mint) -> None:
    """The signature step hands over even claims that no verifier would believe."""
    claims = check(mint({"exp": -1, "sub": None}, {"typ": "JWT"}), keys).claims
    assert (claims["exp"], claims["sub"]) == (-1, None)


@pytest.mark.parametrize("secret", ["x", b"x", "foxtrot", "secret"])
def test_a_bare_secret_is_taken_however_weak(secret: str | bytes, mint: Mint) -> None:
    """An old token of a poor secret can be examined."""
    raw = secret.encode() if isinstance(secret, str) else secret
    assert check(mint(key=SigningKey("any", "HS256", raw)), secret).claims["sub"] == "u_alice"


@pytest.mark.parametrize("secret", ["", b""])
def test_an_empty_bare_secret_is_no_secret(secret: str | bytes, mint: Mint) -> None:
    """HMAC would take an empty key; here it is an error of the caller."""
    with pytest.raises(UnusableKey):
        check(mint(key=SigningKey("any", "HS256", b"")), secret)


def test_a_public_key_is_not_taken_for_a_bare_secret(es_key: SigningKey, mint: Mint) -> None:
    """The public key in the secret's place raises rather than let HMAC verify."""
    with pytest.raises(UnusableKey):
        check(mint(key=SigningKey("any", "HS256", es_key.pem)), es_key.pem)


def test_a_bare_secret_is_for_hs256_alone(mint: Mint) -> None:
    """With a bare secret any other algorithm is refused before the key is touched."""
    with pytest.raises(InvalidToken) as caught:
        check(mint(), "foxtrot")
    assert caught.value.reason == "wrong_algorithm"


def test_the_longest_token_that_is_read_verifies(keys: JWKSet, mint: Mint) -> None:
    """A token of exactly the limit is read."""
    text = token_of_length(mint, MAX_TOKEN_CHARACTERS)
    assert check(text, keys).claims["sub"] == "u_alice"


def test_a_longer_token_is_too_large(keys: JWKSet, mint: Mint) -> None:
    """One character past the limit nothing is read any more."""
    assert reason_of(token_of_length(mint, MAX_TOKEN_CHARACTERS) + "A", keys) == "too_large"


def token_of_length(mint: Mint, length: int) -> str:
    """Make a good token that is exactly so long, by the length of a custom claim."""
    shortest = length * 3 // 4 - 700
    tokens = (mint({"x": "x" * filling}) for filling in range(shortest, length))
    return next(text for text in tokens if len(text) == length)


@pytest.mark.parametrize(
    "text", [b"a.b.c", None, 1, ["a", "b", "c"], {}, 1.5, True], ids=lambda value: repr(value)
)
def test_what_is_not_a_string_is_malformed(text: object, keys: JWKSet) -> None:
    """A caller's mistake in type is a refusal and no crash."""
    assert reason_of(text, keys) == "malformed"


@pytest.mark.parametrize("text", ["", ".", "..", "...", "....", "a", "a.b", "a.b.c.d", "é.é.é"])
def test_what_has_not_three_readable_parts_is_malformed(text: str, keys: JWKSet) -> None:
    """The compact form is three base64url parts and two dots."""
    assert reason_of(text, keys) == "malformed"


@pytest.mark.parametrize("parts", [1, 2, 4, 5])
def test_a_good_token_with_parts_missing_or_added_is_malformed(
    parts: int, keys: JWKSet, mint: Mint
) -> None:
    """Neither fewer parts nor the five of a JWE are a JWS."""
    text = ".".join((mint().split(".") * 2)[:parts])
    assert reason_of(text, keys) == "malformed"


def test_size_is_looked_at_before_form(keys: JWKSet) -> None:
    """A huge text that is no token either is refused for its size, unread."""
    assert reason_of("é" * (MAX_TOKEN_CHARACTERS + 1), keys) == "too_large"


def test_form_is_looked_at_before_the_algorithm(keys: JWKSet, mint: Mint) -> None:
    """A token of a foreign algorithm whose claims are no JSON is malformed."""
    assert reason_of(mint.raw(b'{"alg":"HS512"}', b"{"), keys) == "malformed"


def test_the_algorithm_is_looked_at_before_the_key(keys: JWKSet, mint: Mint) -> None:
    """An unknown key of a foreign algorithm is refused for its algorithm."""
    assert reason_of(mint(header={"alg": "HS512", "kid": "nobody"}), keys) == "wrong_algorithm"


def test_the_key_is_looked_for_before_the_signature(keys: JWKSet, mint: Mint) -> None:
    """A token that names an unknown key is refused for that, whatever its signature."""
    assert reason_of(mint(header={"kid": "nobody"})[:-8] + "AAAAAAAA", keys) == "unknown_key"


def test_the_signature_is_looked_at_before_type_and_claims(keys: JWKSet, mint: Mint) -> None:
    """Nothing is said about the content of a token that somebody else wrote."""
    forged = mint({"exp": 0}, {"typ": "JWT"}, SigningKey("es-1", "ES256", make_es256().private))
    assert reason_of(forged, keys) == "bad_signature"


def test_a_refusal_before_the_signature_stands_alone(keys: JWKSet, mint: Mint) -> None:
    """Of the reasons known without a signature only the first is told."""
    with pytest.raises(InvalidToken) as caught:
        check(mint({"exp": 0}, {"kid": "nobody"}), keys)
    assert caught.value.reasons == ("unknown_key",)


def test_the_reasons_before_the_signature_keep_their_order() -> None:
    """The contract lists them in this order."""
    assert UNSIGNED_REASONS == (
        "too_large",
        "malformed",
        "wrong_algorithm",
        "unknown_key",
        "bad_signature",
    )


def test_a_key_is_found_in_the_second_source(keys: JWKSet, mint: Mint) -> None:
    """While a service moves to other keys it lists two sources."""
    newer = make_es256("es-2")
    assert check(mint(key=newer), (keys, JWKSet({"keys": [newer.jwk]})))


def test_sources_of_different_algorithms_stand_side_by_side(
    keys: JWKSet, hs_key: SigningKey, mint: Mint
) -> None:
    """For the move from a shared secret to public keys both kinds verify."""
    assert isinstance(hs_key.private, bytes)
    both: tuple[KeySource, ...] = (SharedSecret(hs_key.private), keys)
    assert check(mint(), both).claims == check(mint(key=hs_key), both).claims


def test_two_sources_with_keys_of_one_name_are_both_tried(keys: JWKSet, mint: Mint) -> None:
    """Names are unique within a set only."""
    other = make_es256("es-1")
    assert check(mint(key=other), (keys, JWKSet({"keys": [other.jwk]})))


def test_a_source_without_keys_does_not_stand_in_the_way(keys: JWKSet, mint: Mint) -> None:
    """A key found elsewhere is enough."""
    assert check(mint(), (SilentSource(), keys))


def test_a_key_unknown_elsewhere_may_be_in_the_source_without_keys(
    keys: JWKSet, mint: Mint
) -> None:
    """As long as one source cannot answer, the key is not called unknown."""
    with pytest.raises(Unavailable):
        check(mint(header={"kid": "nobody"}), (SilentSource(), keys))


def test_a_source_is_not_asked_for_an_algorithm_it_is_not_for(
    es_key: SigningKey, hs_key: SigningKey, mint: Mint
) -> None:
    """What an attacker writes in `alg` does not reach sources that cannot know it."""
    source = CountingSource(es_key)
    assert reason_of(mint(key=hs_key), source) == "wrong_algorithm"
    assert source.asked == []


class CarelessSource(CountingSource):
    """Gives a key for its name, whatever algorithm was asked for."""

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        return self.keys.get(kid or "")


def test_a_key_is_used_for_its_own_algorithm_whatever_the_source_says(
    es_key: SigningKey, rs_key: SigningKey, mint: Mint
) -> None:
    """A token that says RS256 is not verified with an ES256 key of a careless source."""
    lying = mint.raw(to_json(header_of(es_key, {"alg": "RS256"})), to_json(claims_of()))
    with pytest.raises(InvalidToken):
        check(lying, CarelessSource(es_key, rs_key))


@pytest.mark.parametrize("kid", [ABSENT, "", "es-1", "something else"])
def test_a_single_key_without_a_name_answers_to_any(
    kid: object, es_key: SigningKey, mint: Mint
) -> None:
    """A PEM has no name, so the token's `kid` says nothing about it."""
    assert check(mint(header={"kid": kid}), PublicKey(es_key.pem))


@pytest.mark.parametrize("kid", [ABSENT, "", "ES-1", "es-1 ", "es-"])
def test_a_single_key_with_a_name_demands_it(kid: object, es_key: SigningKey, mint: Mint) -> None:
    """Once a single key was given a name, only this name fits."""
    source = PublicKey(es_key.pem, kid="es-1")
    assert reason_of(mint(header={"kid": kid}), source) == "unknown_key"


def test_a_single_key_with_a_name_answers_to_it(es_key: SigningKey, mint: Mint) -> None:
    """The name that was given to a PEM is found."""
    assert check(mint(), PublicKey(es_key.pem, kid="es-1"))


def test_a_secret_with_a_name_answers_to_it_alone(hs_key: SigningKey, mint: Mint) -> None:
    """The same holds for a shared secret."""
    assert isinstance(hs_key.private, bytes)
    source = SharedSecret(hs_key.private, kid="hs-1")
    assert check(mint(key=hs_key), source)
    assert reason_of(mint(header={"kid": "hs-2"}, key=hs_key), source) == "unknown_key"


def test_a_set_demands_a_name_even_of_a_single_key(es_key: SigningKey, mint: Mint) -> None:
    """A token that names no key finds none in a set, be it as small as it may."""
    assert reason_of(mint(header={"kid": ABSENT}), JWKSet({"keys": [es_key.jwk]})) == "unknown_key"


def test_another_secret_does_not_verify(hs_key: SigningKey, mint: Mint) -> None:
    """A token of one secret is refused by the holder of another."""
    other = make_hs256()
    assert isinstance(other.private, bytes)
    assert reason_of(mint(key=hs_key), SharedSecret(other.private)) == "bad_signature"


def test_an_empty_signature_is_a_bad_one(keys: JWKSet, mint: Mint) -> None:
    """A token that ends with its second dot is not signed."""
    header, claims, _ = mint().split(".")
    assert reason_of(f"{header}.{claims}.", keys) == "bad_signature"


def test_white_space_in_the_json_does_not_matter(keys: JWKSet, mint: Mint) -> None:
    """JSON may be written with spaces and lines; the signature covers them."""
    header = b' {\n "alg" : "ES256",\t"kid":"es-1" }\r\n'
    assert check(mint.raw(header, b' {"sub" : "u_alice"} '), keys).claims == {"sub": "u_alice"}


def test_text_beyond_ascii_is_read_exactly(keys: JWKSet, mint: Mint) -> None:
    """UTF-8 and escapes, surrogate pairs among them, give the same string."""
    text = mint.raw(
        b'{"alg":"ES256","kid":"es-1"}', b'{"a":"\xf0\x9f\x92\xa1","b":"\\ud83d\\udca1"}'
    )
    assert check(text, keys).claims == {"a": "\U0001f4a1", "b": "\U0001f4a1"}


def test_a_key_never_shows_what_it_is_made_of(hs_key: SigningKey) -> None:
    """The representation of a key ends up in logs and holds no secret."""
    assert isinstance(hs_key.private, bytes)
    key = Key.from_secret(hs_key.private, "hs-1")
    assert repr(key) == "<Key HS256 kid='hs-1'>"


def test_an_unsigned_token_cannot_be_made_into_a_signed_one(keys: JWKSet, mint: Mint) -> None:
    """The signature of one token does not fit the claims of another."""
    claims = b64(to_json(claims_of({"sub": "u_bob"})))
    header, _, signature = mint().split(".")
    assert reason_of(f"{header}.{claims}.{signature}", keys) == "bad_signature"
