"""A Token Status List: as the draft's vectors have it, and what is not to be believed."""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from random import Random
from typing import Any

import pytest

from foxtrot import InvalidToken, JWKSet, Verifier
from foxtrot.status_list import (
    DEFAULT_TTL,
    MAX_LIST_BYTES,
    MAX_TOKEN_CHARACTERS,
    StatusList,
    read,
)
from tests.verifier.lists import LIST_URI, mint_list
from tests.verifier.minting import (
    ABSENT,
    ISSUER,
    NOW,
    Mint,
    make_es256,
    refusal_of,
)
from tests.verifier.status_vectors import VECTORS, Vector

ONE_MIB = 2**20


def packed(data: bytes) -> str:
    return urlsafe_b64encode(zlib.compress(data)).rstrip(b"=").decode()


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_vectors_are_read(name: str) -> None:
    """Every status of every list, those that are 0 too."""
    vector = VECTORS[name]
    found = StatusList.decode({"bits": vector.bits, "lst": vector.lst}, ONE_MIB)
    assert len(found) == vector.size
    statuses = {index: status for index in range(vector.size) if (status := found[index])}
    assert statuses == {place: status for place, status in vector.statuses.items() if status}


@pytest.mark.parametrize("name", VECTORS)
def test_the_published_vectors_are_written(name: str) -> None:
    """Character by character, with the compression that the draft used."""
    vector = VECTORS[name]
    expected = {"bits": vector.bits, "lst": vector.lst}
    assert StatusList(vector.bits, by_hand(vector)).encode(level=9) == expected


def by_hand(vector: Vector) -> bytes:
    """Put the statuses of a vector into bytes, from the least significant bit on."""
    number = sum(status << place * vector.bits for place, status in vector.statuses.items())
    return number.to_bytes(vector.size * vector.bits // 8, "little")


def test_a_list_is_made_of_the_indices_that_are_set() -> None:
    """The first vector once more."""
    assert StatusList.of([0, 3, 4, 5, 7, 8, 9, 13, 15], 16).data == b"\xb9\xa3"


@pytest.mark.parametrize("index", [-1, 16, 2**70])
def test_an_index_outside_of_the_list_is_an_error(index: int) -> None:
    """It never wraps around to somebody else's status."""
    with pytest.raises(IndexError):
        StatusList(1, b"\xb9\xa3")[index]


BROKEN: dict[str, Any] = {
    "no object": "eNrbuRgAAhcBXQ",
    "nothing": None,
    "empty": {},
    "bits missing": {"lst": "eNrbuRgAAhcBXQ"},
    "3 bits": {"bits": 3, "lst": "eNrbuRgAAhcBXQ"},
    "0 bits": {"bits": 0, "lst": "eNrbuRgAAhcBXQ"},
    "true bits": {"bits": True, "lst": "eNrbuRgAAhcBXQ"},
    "1.0 bits": {"bits": 1.0, "lst": "eNrbuRgAAhcBXQ"},
    "bits as text": {"bits": "1", "lst": "eNrbuRgAAhcBXQ"},
    "lst missing": {"bits": 1},
    "lst a number": {"bits": 1, "lst": 5},
    "lst empty": {"bits": 1, "lst": ""},
    "padding": {"bits": 1, "lst": "eNrbuRgAAhcBXQ=="},
    "one character": {"bits": 1, "lst": "e"},
    "plain base64": {"bits": 1, "lst": "eNrbuRgAAhcB+/"},
    "not ascii": {"bits": 1, "lst": "eNrbuRgAAhcBXQ\u00e9"},
    "white space": {"bits": 1, "lst": "eNrb uRgAAhcBXQ"},
    "not compressed": {"bits": 1, "lst": "uaM"},
    "cut off": {"bits": 1, "lst": packed(b"\xb9\xa3" * 50)[:-8]},
    "wrong checksum": {"bits": 1, "lst": "eNrbuRgAAhcBXA"},
    "gzip": {"bits": 1, "lst": "H4sIAAAAAAAAA9u5GAAaXa4pAgAAAA"},
    "something behind": {"bits": 1, "lst": packed(b"\xb9") + "AAAA"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_list_is_refused(name: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match=r"status.list"):
        StatusList.decode(BROKEN[name])


def test_a_list_of_the_largest_size_is_read() -> None:
    """2^20 sessions fit."""
    assert len(StatusList.decode(StatusList.of([5], 2**20).encode())) == 2**20


def test_a_list_is_made_of_ranges_and_indices() -> None:
    """Each range has its first and its last index in it, within a byte or over many."""
    random = Random(5)
    for _ in range(300):
        indices = random.sample(range(128), 9)
        ranges = [tuple(sorted(random.choices(range(128), k=2))) for _ in range(2)]
        wanted = {*indices, *(n for first, last in ranges for n in range(first, last + 1))}
        made = StatusList.of(indices, 128, [(first, last) for first, last in ranges])
        assert {n for n in range(len(made)) if made[n]} == wanted
        assert len(made) == 128


def test_the_documented_sizes_are_these() -> None:
    """2^20 statuses of one bit; a token that has room for them; a minute without a `ttl`."""
    assert (MAX_LIST_BYTES, MAX_TOKEN_CHARACTERS, DEFAULT_TTL) == (2**17, 2**18, 60)


@pytest.mark.parametrize("size", [MAX_LIST_BYTES + 1, 50_000_000])
def test_a_zip_bomb_is_not_unpacked(size: int) -> None:
    """It is refused once it has grown past the limit, however small it came."""
    with pytest.raises(ValueError, match="larger"):
        StatusList.decode({"bits": 1, "lst": packed(bytes(size))})


def read_list(text: str, keys: JWKSet, now: float = NOW) -> StatusList:
    return read(text, LIST_URI, ISSUER, (keys,), now=now).statuses


def test_a_good_list_is_believed(keys: JWKSet, mint: Mint) -> None:
    """As the issuer signs it."""
    assert read_list(mint_list(mint, [7]), keys)[7] == 1


@pytest.mark.parametrize("left_out", ["exp", "ttl", "iss"])
def test_what_may_be_missing_may_be_missing(left_out: str, keys: JWKSet, mint: Mint) -> None:
    """Section 5.1 only recommends them."""
    assert read_list(mint_list(mint, [7], {left_out: ABSENT}), keys)[7] == 1


@pytest.mark.parametrize(
    "claims",
    [{"iat": NOW + 30}, {"exp": NOW - 29}, {"iat": 0}, {"exp": 10**12 - 1}, {"ttl": 0.5}],
    ids=str,
)
def test_a_list_on_the_edge_of_its_time_is_believed(
    claims: dict[str, Any], keys: JWKSet, mint: Mint
) -> None:
    """The leeway is inside, at both ends; any positive number of seconds is a `ttl`."""
    assert read_list(mint_list(mint, [7], claims), keys)[7] == 1


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "of another list": {"sub": LIST_URI + "1"},
    "of no list": {"sub": ABSENT},
    "of another issuer": {"iss": "https://evil.example"},
    "without iat": {"iat": ABSENT},
    "iat as text": {"iat": str(NOW)},
    "iat a boolean": {"iat": True},
    "of the future": {"iat": NOW + 31},
    "expired": {"exp": NOW - 30},
    "exp as text": {"exp": "tomorrow"},
    "exp null": {"exp": None},
    "exp beyond all time": {"exp": 10**12},
    "iat before all time": {"iat": -1},
    "ttl zero": {"ttl": 0},
    "ttl negative": {"ttl": -1},
    "ttl as text": {"ttl": "10"},
    "without a list": {"status_list": ABSENT},
    "with a broken list": {"status_list": {"bits": 1, "lst": "AAAA"}},
}


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_a_list_with_bad_claims_is_not_believed(name: str, keys: JWKSet, mint: Mint) -> None:
    """Sections 5.1 and 8.3."""
    with pytest.raises(ValueError, match=r"its|it is|it was|status.list"):
        read_list(mint_list(mint, [7], BAD_CLAIMS[name]), keys)


@pytest.mark.parametrize(
    "header",
    [{"typ": "at+jwt"}, {"typ": "JWT"}, {"typ": ABSENT}, {"typ": 5}, {"typ": "statuslist+cwt"}],
    ids=repr,
)
def test_another_kind_of_token_is_no_list(header: dict[str, Any], keys: JWKSet, mint: Mint) -> None:
    """RFC 8725 section 3.11: whoever gets the issuer to sign something has no list yet."""
    with pytest.raises(ValueError, match="no status list"):
        read_list(mint_list(mint, [], header=header), keys)


def test_a_list_that_somebody_else_signed_is_not_believed(keys: JWKSet, mint: Mint) -> None:
    """Nor one of an unknown key, nor one that nobody signed, nor one signed by a public key."""
    forged = [
        mint_list(mint, [], key=make_es256()),
        mint_list(mint, [], key=make_es256("other")),
        mint_list(mint, [], header={"alg": "none"}).rpartition(".")[0] + ".",
        mint_list(mint, [], header={"alg": "HS256"}),
        mint_list(mint, [])[:-8],
    ]
    for text in forged:
        with pytest.raises(InvalidToken):
            read_list(text, keys)


def test_an_access_token_is_no_list_and_a_list_no_access_token(
    keys: JWKSet, mint: Mint, verifier: Verifier
) -> None:
    """Kinds of tokens cannot be swapped, whatever else they claim."""
    with pytest.raises(ValueError, match="no status list"):
        read_list(mint({"sub": LIST_URI, "ttl": 10, "status_list": BROKEN["empty"]}), keys)
    assert refusal_of(verifier, mint_list(mint, [])).reason == "wrong_type"


def test_a_list_may_be_longer_than_a_token(keys: JWKSet, mint: Mint) -> None:
    """A million sessions, half of them ended, in the worst order: the largest there can be."""
    ended = Random(4).sample(range(2**20), 2**19)
    text = mint_list(mint, ended)
    assert len(text) > 200_000
    assert sum(map(int.bit_count, read_list(text, keys).data)) == 2**19
