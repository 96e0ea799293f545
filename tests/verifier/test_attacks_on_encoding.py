"""What an attacker sends: other ways to write the same token.

Where a token is signed at all it is signed with the real key, so that nothing but
the rule under test can refuse it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from foxtrot import Verifier
from tests.verifier.minting import (
    ABSENT,
    ALPHABET,
    GOOD_HEADER,
    NOW,
    Mint,
    accepted,
    b64,
    claims_of,
    good_claims,
    header_of,
    is_accepted,
    refusal_of,
    to_json,
    unb64,
)

# Extensions (TOK-13)


@pytest.mark.parametrize(
    "members",
    [
        {"crit": []},
        {"crit": None},
        {"crit": {}},
        {"crit": "exp"},
        {"crit": True},
        {"crit": ["exp"], "exp": NOW + 900},
        {"crit": ["alg"]},
        {"crit": ["kid"]},
        {"crit": ["crit"]},
        {"crit": ["http://example.com/UNDEFINED"], "http://example.com/UNDEFINED": True},
        {"crit": ["b64"], "b64": False},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"]},
        {"b64": False},
        {"b64": True},
        {"b64": None},
    ],
    ids=repr,
)
def test_an_extension_is_refused(members: dict[str, Any], verifier: Verifier, mint: Mint) -> None:
    """What must be understood is not understood here (RFC 7515 section 4.1.11)."""
    assert refusal_of(verifier, mint(header=members)).reason == "malformed"


def test_a_payload_that_is_not_encoded_is_refused(verifier: Verifier, mint: Mint) -> None:
    """RFC 7797: with `b64: false` the claims would stand there as they are."""
    header = b64(to_json(header_of(mint.key, {"b64": False, "crit": ["b64"]})))
    text = mint.signed(f"{header}.{to_json(claims_of()).decode()}")
    assert refusal_of(verifier, text).reason == "malformed"


@pytest.mark.parametrize("member", [{"zip": "DEF"}, {"cty": "JWT"}, {"enc": "A256GCM"}, {"x": {}}])
def test_a_header_member_without_meaning_here_is_ignored(
    member: dict[str, Any], verifier: Verifier, mint: Mint
) -> None:
    """RFC 7515 section 4: what is neither critical nor known does not matter."""
    assert verifier.verify(mint(header=member)).subject == "u_alice"


# Forms that JSON readers differ about (TOK-14)


@pytest.mark.parametrize(
    "extra",
    [
        b'"alg":"none"',
        b'"alg":"ES256"',
        b'"kid":"es-1"',
        b'"kid":"rs-1"',
        b'"typ":"JWT"',
        b'"\\u0061lg":"none"',
        b'"x":{"a":1,"a":2}',
        b'"x":[{"a":1,"\\u0061":2}]',
        b'"":1,"":2',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_duplicate_member_of_the_header_is_malformed(
    extra: bytes, first: bool, verifier: Verifier, mint: Mint
) -> None:
    """RFC 7515 section 4: two readers could read two headers."""
    members = [extra, GOOD_HEADER] if first else [GOOD_HEADER, extra]
    text = mint.raw(b"{" + b",".join(members) + b"}", b"{" + good_claims() + b"}")
    assert refusal_of(verifier, text).reason == "malformed"


@pytest.mark.parametrize(
    "extra",
    [
        b'"sub":"u_alice"',
        b'"sub":"u_bob"',
        b'"exp":9999999999',
        b'"aud":"notes"',
        b'"s\\u0075b":"u_bob"',
        b'"x":{"a":1,"a":2}',
        b'"x":[[{"a":1,"a":1}]]',
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_duplicate_claim_is_malformed(
    extra: bytes, first: bool, verifier: Verifier, mint: Mint
) -> None:
    """RFC 7519 section 4: two readers could see two users."""
    members = [extra, good_claims()] if first else [good_claims(), extra]
    text = mint.raw(b"{" + GOOD_HEADER + b"}", b"{" + b",".join(members) + b"}")
    assert refusal_of(verifier, text).reason == "malformed"


OPENINGS = {b"[": b"]", b'{"a":': b"}", b"[[],": b"]", b'[{"a":': b"}]"}


def nested(where: str, value: bytes, mint: Mint) -> str:
    """Sign a good token with one member more in its header or claims."""
    parts = {"header": GOOD_HEADER, "claims": good_claims()}
    parts[where] += b',"x":' + value
    text = mint.raw(b"{" + parts["header"] + b"}", b"{" + parts["claims"] + b"}")
    assert len(text) <= 8192
    return text


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("where", ["header", "claims"])
def test_thousands_of_open_brackets_are_malformed(
    opening: bytes, where: str, verifier: Verifier, mint: Mint
) -> None:
    """What never closes is no JSON, and does not end in a crash of the parser."""
    deep = opening * (5000 // len(opening))
    assert refusal_of(verifier, nested(where, deep, mint)).reason == "malformed"


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("where", ["header", "claims"])
def test_thousands_of_brackets_do_not_crash_the_reader(
    opening: bytes, where: str, verifier: Verifier, mint: Mint
) -> None:
    """How deep a reader goes depends on the Python; beyond it the token is refused."""
    closing = OPENINGS[opening]
    depth = 5000 // len(opening + closing)
    text = nested(where, opening * depth + b"1" + closing * depth, mint)
    assert is_accepted(verifier, text) in (True, False)


@pytest.mark.parametrize("depth", [1, 10, 50])
def test_moderate_nesting_is_read(depth: int, verifier: Verifier, mint: Mint) -> None:
    """Custom claims may be structured."""
    deep: Any = 1
    for _ in range(depth):
        deep = {"a": [deep]}
    assert verifier.verify(mint({"x": deep})).claims["x"]


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"undefined", b"0x1"])
@pytest.mark.parametrize("claim", [b"exp", b"iat", b"nbf", b"x"])
def test_what_is_no_json_number_is_malformed(
    claim: bytes, value: bytes, verifier: Verifier, mint: Mint
) -> None:
    """Python's own reader takes NaN; comparisons with it are always false."""
    members = claims_of({claim.decode(): ABSENT})
    claims = to_json(members)[:-1] + b',"' + claim + b'":' + value + b"}"
    assert refusal_of(verifier, mint.raw(b"{" + GOOD_HEADER + b"}", claims)).reason == "malformed"


@pytest.mark.parametrize("digits", [4301, 5000])
@pytest.mark.parametrize("claim", ["exp", "x"])
def test_a_number_of_thousands_of_digits_is_malformed(
    claim: str, digits: int, verifier: Verifier, mint: Mint
) -> None:
    """Reading it would take time that grows with its square."""
    claims = to_json(claims_of({claim: ABSENT}))[:-1] + f',"{claim}":{"9" * digits}}}'.encode()
    assert refusal_of(verifier, mint.raw(b"{" + GOOD_HEADER + b"}", claims)).reason == "malformed"


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff", "\\udc00\\ud800", "x\\ud83d", "\\uD800"])
@pytest.mark.parametrize("where", ["sub", "x", "kid", "nested", "name"])
def test_a_lone_surrogate_is_malformed(
    text: str, where: str, verifier: Verifier, mint: Mint
) -> None:
    """It is legal JSON, and no database and no log could take it."""
    header, members = b"{" + GOOD_HEADER + b"}", good_claims().decode()
    if where == "kid":
        header = GOOD_HEADER.replace(b"es-1", text.encode()).join([b"{", b"}"])
    elif where == "sub":
        members = members.replace("u_alice", text)
    else:
        members += {"x": f',"x":"{text}"', "nested": f',"x":[{{"a":"{text}"}}]'}.get(
            where, f',"{text}":1'
        )
    assert refusal_of(verifier, mint.raw(header, f"{{{members}}}".encode())).reason == "malformed"


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 without mark": lambda text: text.encode("utf-16-le"),
    "UTF-16, big-endian": lambda text: text.encode("utf-16-be"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "UTF-7": lambda text: text.replace("{", "+AHs-").encode(),
    "Latin-1": lambda text: text.replace("alice", "al\xefce").encode("latin-1"),
    "overlong": lambda text: text.encode().replace(b"alice", b"\xc1\xa1lice"),
    "encoded surrogate": lambda text: text.encode().replace(b"alice", b"\xed\xa0\x80"),
    "beyond Unicode": lambda text: text.encode().replace(b"alice", b"\xf4\x90\x80\x80"),
    "cut UTF-8": lambda text: text.encode().replace(b"alice", b"\xe2\x82"),
    "NUL behind": lambda text: text.encode() + b"\0",
    "NUL in front": lambda text: b"\0" + text.encode(),
    "control character": lambda text: text.encode().replace(b"alice", b"al\x01ce"),
    "newline in a string": lambda text: text.encode().replace(b"alice", b"al\nce"),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_claims_are_utf_8_and_nothing_else(encoding: str, verifier: Verifier, mint: Mint) -> None:
    """RFC 7519 section 7.2: one encoding, strictly."""
    claims = ENCODINGS[encoding](to_json(claims_of()).decode())
    assert refusal_of(verifier, mint.raw(b"{" + GOOD_HEADER + b"}", claims)).reason == "malformed"


@pytest.mark.parametrize("encoding", ["byte order mark", "UTF-16", "UTF-32", "NUL behind"])
def test_a_header_is_utf_8_and_nothing_else(encoding: str, verifier: Verifier, mint: Mint) -> None:
    """The same for the header."""
    header = ENCODINGS[encoding]("{" + GOOD_HEADER.decode() + "}")
    assert refusal_of(verifier, mint.raw(header, to_json(claims_of()))).reason == "malformed"


NO_OBJECT = [b"", b"[]", b"null", b"true", b"1", b'"x"', b"{", b"}", b"{}{}", b"{},", b"{'a':1}"]
NO_OBJECT += [b"{a:1}", b'{"a":1,}', b'{"a"}', b"//x\n{}", b"{}//", b"{} x", b"[{}]", b'{"a":01}']


@pytest.mark.parametrize("claims", NO_OBJECT)
def test_claims_that_are_no_object_are_malformed(
    claims: bytes, verifier: Verifier, mint: Mint
) -> None:
    """The payload is one JSON object."""
    assert refusal_of(verifier, mint.raw(b"{" + GOOD_HEADER + b"}", claims)).reason == "malformed"


@pytest.mark.parametrize("header", NO_OBJECT)
def test_a_header_that_is_no_object_is_malformed(
    header: bytes, verifier: Verifier, mint: Mint
) -> None:
    """So is the header."""
    assert refusal_of(verifier, mint.raw(header, to_json(claims_of()))).reason == "malformed"


def test_a_nested_token_is_malformed(verifier: Verifier, mint: Mint) -> None:
    """A signed token whose payload is a good token is not that token."""
    text = mint.raw(to_json(header_of(mint.key, {"cty": "JWT"})), mint().encode())
    assert refusal_of(verifier, text).reason == "malformed"


def test_the_json_serialization_is_malformed(verifier: Verifier, mint: Mint) -> None:
    """A JWT is always in compact form (RFC 7519 section 3)."""
    protected, payload, signature = mint().split(".")
    flat = {"protected": protected, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signature}]}
    assert accepted(verifier, iter([json.dumps(flat), json.dumps(general)])) == []


# Base64url in its one canonical form (TOK-14)

JUNK = [
    "=",
    "==",
    "====",
    " ",
    "\n",
    "\r\n",
    "\t",
    "\x00",
    "%",
    "%3D",
    "+",
    "/",
    ",",
    "\u00a0",
    "é",
]


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("where", ["in front", "in the middle", "behind"])
@pytest.mark.parametrize("junk", JUNK, ids=ascii)
def test_what_is_no_base64url_is_malformed(
    junk: str, where: str, part: int, verifier: Verifier, mint: Mint
) -> None:
    """Many decoders skip or pad; then one token would have many spellings."""
    parts = mint().split(".")
    at = {"in front": 0, "in the middle": 20, "behind": len(parts[part])}[where]
    parts[part] = parts[part][:at] + junk + parts[part][at:]
    assert refusal_of(verifier, ".".join(parts)).reason == "malformed"


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("junk", ["=", "==", " ", "\n", "+", "."])
def test_what_is_no_base64url_is_malformed_though_it_was_signed(
    junk: str, part: int, verifier: Verifier, mint: Mint
) -> None:
    """Not even the key's owner may write a token in another way."""
    parts = mint().split(".")[:2]
    parts[part] += junk
    assert refusal_of(verifier, mint.signed(".".join(parts))).reason == "malformed"


@pytest.mark.parametrize("length", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_unused_bits_at_the_end_are_zero(
    part: int, length: int, verifier: Verifier, mint: Mint
) -> None:
    """Of up to 16 last characters that decode alike only one is right."""
    header, claims = to_json(header_of(mint.key)), to_json(claims_of())
    header += b" " * ((length - len(header)) % 3)
    claims += b" " * ((length - len(claims)) % 3)
    parts = mint.raw(header, claims).split(".")
    others = (
        ".".join([*parts[:part], parts[part][:-1] + other, *parts[part + 1 :]])
        for other in ALPHABET
        if other != parts[part][-1] and unb64(parts[part][:-1] + other) == unb64(parts[part])
    )
    assert {refusal_of(verifier, text).reason for text in others} <= {"malformed"}
    assert verifier.verify(".".join(parts))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_length_that_base64_never_has_is_malformed(
    part: int, verifier: Verifier, mint: Mint
) -> None:
    """One character alone carries six bits and no byte."""
    parts = mint().split(".")
    parts[part] += "A" * (5 - len(parts[part]) % 4)
    assert len(parts[part]) % 4 == 1
    assert refusal_of(verifier, ".".join(parts)).reason == "malformed"


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_other_alphabet_is_malformed(part: int, verifier: Verifier, mint: Mint) -> None:
    """Plain base64 writes `+` and `/` where base64url has `-` and `_`."""
    parts = mint({"x": "\u00fb\u00ff~~~???>>>"}, {"x": "~~~???>>>"}).split(".")
    standard = parts[part].replace("-", "+").replace("_", "/")
    parts[part] = standard if standard != parts[part] else standard[:-1] + "+"
    assert refusal_of(verifier, ".".join(parts)).reason == "malformed"


@pytest.mark.parametrize("form", [" {}", "{} ", "{}\n", "\n{}", "{}\r\n", "{}\x00", "\ufeff{}"])
@pytest.mark.parametrize("more", ["Bearer {}", '"{}"', "<{}>", "{}.", ".{}", "{}#", "{};"])
def test_a_token_in_anything_is_malformed(
    form: str, more: str, verifier: Verifier, mint: Mint
) -> None:
    """Nothing is trimmed, stripped or unquoted."""
    text = mint()
    assert refusal_of(verifier, form.replace("{}", text)).reason == "malformed"
    assert refusal_of(verifier, more.replace("{}", text)).reason == "malformed"


@pytest.mark.parametrize("dot", ["\u3002", "\uff0e", "\u2024", ",", " ", "%2E", "..", ":"])
def test_the_separator_is_a_dot(dot: str, verifier: Verifier, mint: Mint) -> None:
    """Nothing that looks like one will do."""
    assert refusal_of(verifier, mint().replace(".", dot)).reason == "malformed"
