"""What an attacker sends: claims that are nearly right.

Where a token is signed at all it is signed with the real key, so that nothing but
the rule under test can refuse it.
"""

from __future__ import annotations

import pytest

from foxtrot import Verifier
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    GOOD_HEADER,
    ISSUER,
    NOW,
    Mint,
    claims_of,
    refusal_of,
    to_json,
)

# Times (TOK-6, TOK-7)

NO_TIME = [
    None,
    True,
    False,
    "",
    "0",
    str(NOW + 900),
    "2030-01-01T00:00:00Z",
    "never",
    [],
    [NOW + 900],
    {},
    {"$date": NOW + 900},
    -1,
    -0.5,
    -(10**18),
    253_402_300_800,
    1e15,
    10**18,
    10**400,
]


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize("value", NO_TIME, ids=lambda value: repr(value)[:20])
def test_what_is_no_time_is_a_bad_claim(
    name: str, value: object, verifier: Verifier, mint: Mint
) -> None:
    """A NumericDate is a number of seconds: no text, no truth value, nothing impossible."""
    assert refusal_of(verifier, mint({name: value})).reason == "bad_claim"


@pytest.mark.parametrize("name", ["exp", "iat", "nbf", "auth_time"])
@pytest.mark.parametrize("value", [b"1e999", b"-1e999", b"1e308", b"9" * 400, b"1E+400"])
def test_a_time_beyond_all_bounds_is_a_bad_claim(
    name: str, value: bytes, verifier: Verifier, mint: Mint
) -> None:
    """Numbers that become infinite or enormous when they are read are no times."""
    claims = to_json(claims_of({name: ABSENT}))[:-1] + f',"{name}":'.encode() + value + b"}"
    text = mint.raw(b"{" + GOOD_HEADER + b"}", claims)
    assert refusal_of(verifier, text).reason == "bad_claim"


@pytest.mark.parametrize("value", [0, 1, 1.5, -0.0, 1_000_000_000])
def test_a_time_of_long_ago_has_expired(value: float, verifier: Verifier, mint: Mint) -> None:
    """Zero is a time and not an absence."""
    times = {"exp": value, "iat": 0, "nbf": ABSENT, "auth_time": ABSENT}
    assert "expired" in refusal_of(verifier, mint(times)).reasons


def test_milliseconds_are_no_seconds(verifier: Verifier, mint: Mint) -> None:
    """A token of an issuer that mixed them up would live for 57,000 years."""
    assert refusal_of(verifier, mint({"exp": (NOW + 900) * 1000})).reason == "bad_claim"


# Issuer, audience, subject and kind (TOK-8, TOK-9, TOK-10, TOK-11)


@pytest.mark.parametrize(
    "issuer",
    [
        ISSUER + "/",
        ISSUER + " ",
        " " + ISSUER,
        ISSUER + "\n",
        ISSUER + ".evil.example",
        ISSUER + "#",
        ISSUER + ":443",
        ISSUER + "?",
        ISSUER + "/x",
        ISSUER[:-1],
        ISSUER[1:],
        ISSUER.upper(),
        "HTTPS://login.example.com",
        "https://Login.example.com",
        "http://login.example.com",
        "https://login.example.com@evil.example",
        "https://evil@login.example.com",
        "https://",
        "login.example.com",
        "//login.example.com",
        "https://login.example.com.",
        "https://l\u043egin.example.com",
        "https://login.examp\u217ce.com",
        ISSUER + "\u200b",
        "https://login\u3002example.com",
        "https:\\\\login.example.com",
        "*",
        "null",
        "issuer",
        "https://login%2Eexample.com",
        "https://xn--lgin-55d.example.com",
        AUDIENCE,
    ],
    ids=ascii,
)
def test_an_issuer_that_only_resembles_is_somebody_else(
    issuer: str, verifier: Verifier, mint: Mint
) -> None:
    """`iss` is compared whole, character by character, without any normalising."""
    assert refusal_of(verifier, mint({"iss": issuer})).reasons == ("wrong_issuer",)


@pytest.mark.parametrize(
    "issuer",
    [None, "", 0, 1, True, [], [ISSUER], {}, {ISSUER: 1}, [ISSUER, "x"], "\0", f"{ISSUER}\0"],
)
def test_an_issuer_that_is_no_name_is_a_bad_claim(
    issuer: object, verifier: Verifier, mint: Mint
) -> None:
    """A list that holds the right one is not the right one."""
    refusal = refusal_of(verifier, mint({"iss": issuer}))
    assert refusal.reasons == ("bad_claim", "wrong_issuer")


@pytest.mark.parametrize(
    "audience",
    [
        "photos",
        "Notes",
        "NOTES",
        "notes ",
        " notes",
        "note",
        "notes2",
        "notes,photos",
        "notes photos",
        "notes/",
        "*",
        "not\u0435s",
        "notes\u200b",
        ["photos"],
        ["Notes", "note"],
        ["notes photos"],
    ],
    ids=ascii,
)
def test_an_audience_that_only_resembles_is_another_service(
    audience: object, verifier: Verifier, mint: Mint
) -> None:
    """Names are compared whole, in a list as well as alone."""
    assert refusal_of(verifier, mint({"aud": audience})).reasons == ("wrong_audience",)


@pytest.mark.parametrize(
    "audience",
    [None, "", 0, 1, True, [], {}, {AUDIENCE: 1}, [None], [1], [""], [[AUDIENCE]], [{AUDIENCE: 1}]],
    ids=repr,
)
def test_an_audience_that_is_no_name_is_a_bad_claim(
    audience: object, verifier: Verifier, mint: Mint
) -> None:
    """A string, or a list of strings that is not empty."""
    refusal = refusal_of(verifier, mint({"aud": audience}))
    assert refusal.reasons == ("bad_claim", "wrong_audience")


@pytest.mark.parametrize("beside", [None, 1, "", [], {}, True, 1.5], ids=repr)
def test_a_list_of_audiences_is_good_as_a_whole_or_not(
    beside: object, verifier: Verifier, mint: Mint
) -> None:
    """Our name beside nonsense is nonsense."""
    refusal = refusal_of(verifier, mint({"aud": [AUDIENCE, beside]}))
    assert refusal.reasons == ("bad_claim",)


@pytest.mark.parametrize("name", ["sub", "jti"])
@pytest.mark.parametrize(
    "value",
    [None, "", 0, 1, True, False, [], ["u_alice"], {}, 1.5, "\0", "u_alice\0", "a\0b"],
    ids=repr,
)
def test_a_subject_or_identifier_that_is_none_is_a_bad_claim(
    name: str, value: object, verifier: Verifier, mint: Mint
) -> None:
    """Strings, not empty, and without the NUL that databases differ about."""
    assert refusal_of(verifier, mint({name: value, "uid": ABSENT})).reasons == ("bad_claim",)


def test_a_uid_without_a_subject_is_judged_by_itself(verifier: Verifier, mint: Mint) -> None:
    """It is no text, and there is nothing that it could equal."""
    text = mint({"uid": None, "sub": ABSENT})
    assert refusal_of(verifier, text).reasons == ("missing_claim", "bad_claim")


def test_an_audience_with_a_nul_is_a_bad_claim(verifier: Verifier, mint: Mint) -> None:
    """Not only another audience: a text that is fit for no name."""
    for audience in ("notes\0", ["notes\0"]):
        assert "bad_claim" in refusal_of(verifier, mint({"aud": audience})).reasons


@pytest.mark.parametrize(
    "uid",
    ["u_bob", "u_alic", "u_alice ", "U_ALICE", "", None, 1, 0, True, ["u_alice"], {}],
    ids=repr,
)
def test_a_uid_that_is_not_the_subject_is_a_bad_claim(
    uid: object, verifier: Verifier, mint: Mint
) -> None:
    """A token that names two users is nobody's."""
    assert refusal_of(verifier, mint({"uid": uid})).reasons == ("bad_claim",)


@pytest.mark.parametrize("name", ["scope", "sid", "client_id"])
@pytest.mark.parametrize("value", [None, 0, 1, True, [], ["admin"], {}, {"admin": True}], ids=repr)
def test_an_optional_claim_of_another_type_is_a_bad_claim(
    name: str, value: object, verifier: Verifier, mint: Mint
) -> None:
    """What may be absent must still be right where it is present."""
    assert refusal_of(verifier, mint({name: value})).reasons == ("bad_claim",)


@pytest.mark.parametrize("name", ["aud", "scope", "sid", "client_id"])
def test_no_string_that_is_looked_up_holds_a_nul(name: str, verifier: Verifier, mint: Mint) -> None:
    """One database stores it, another raises, so none gets it."""
    value: object = [AUDIENCE, "a\0b"] if name == "aud" else "a\0b"
    assert refusal_of(verifier, mint({name: value})).reasons == ("bad_claim",)


@pytest.mark.parametrize(
    "typ",
    [
        ABSENT,
        None,
        "",
        "JWT",
        "jwt",
        "at-jwt",
        "at jwt",
        "at+jwt ",
        " at+jwt",
        "at+jwt;v=1",
        "at",
        "x-at+jwt",
        "text/at+jwt",
        "application/jwt",
        "application/application/at+jwt",
        "at+JW\u0422",
        "statuslist+jwt",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "rt+jwt",
        "refresh",
        "reset",
        "id_token",
        1,
        True,
        [],
        ["at+jwt"],
        {},
        {"at+jwt": 1},
    ],
    ids=ascii,
)
def test_a_token_of_another_kind_is_no_access_token(
    typ: object, verifier: Verifier, mint: Mint
) -> None:
    """Signed by the same key for another purpose, it opens nothing (RFC 8725 section 3.11)."""
    assert refusal_of(verifier, mint(header={"typ": typ})).reasons == ("wrong_type",)


def test_the_type_counts_in_the_header_alone(verifier: Verifier, mint: Mint) -> None:
    """A claim of that name does not stand in for it."""
    assert refusal_of(verifier, mint({"typ": "at+jwt"}, {"typ": "JWT"})).reason == "wrong_type"


def test_claims_in_the_header_do_not_count(verifier: Verifier, mint: Mint) -> None:
    """RFC 7519 section 5.3 lets them be repeated there; nothing reads them."""
    text = mint({"sub": ABSENT, "uid": ABSENT}, {"sub": "u_alice", "aud": AUDIENCE})
    assert refusal_of(verifier, text).reason == "missing_claim"
