"""Validly signed, and wrong all the same: what a service misses that checks only the signature."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from foxtrot.wrong_tokens.catalogue import ABSENT, FORGED, Material, WrongToken
from foxtrot.wrong_tokens.signer import to_json

HOUR: Final = 3600
MAX_LEEWAY: Final = 60
MOMENT: Final = 10
"""Seconds for which a token from the future will be good, when its time comes."""


def signed(material: Material) -> Iterator[WrongToken]:
    """All of them. One from the future is good for `MOMENT` when its time comes, no other ever."""
    for theme in (audiences, issuers, times, subjects, types, scopes, lives):
        yield from theme(material)


def audiences(material: Material) -> Iterator[WrongToken]:
    """Meant for another service."""
    own = material.audience
    cases = {
        "other audience": ("It is for another service.", "another-service"),
        "longer audience": ("Its audience begins with this service's name.", f"{own}-two"),
        "shorter audience": ("Its audience is this service's name less a letter.", own[:-1]),
        "audience in other case": (
            "Its audience is this service's name in other letters.",
            own.swapcase(),
        ),
    }
    for name, sentence, value in _other_than(own, cases):
        yield _signed(material, name, sentence, "audience", "wrong_audience", aud=[value])
    odd: dict[str, tuple[str, Any, tuple[str, ...]]] = {
        "audiences in one text": (
            "Its audience is one text in which this service's name occurs.",
            f"another-service {own}",
            ("wrong_audience",),
        ),
        "no audience": ("It has no audience.", ABSENT, ("missing_claim",)),
        "empty audience": ("Its list of audiences is empty.", [], ("bad_claim",)),
        "audience null": ("Its audience is null.", None, ("bad_claim",)),
        "audience in a list in a list": ("Its audience is nested.", [[own]], ("bad_claim",)),
    }
    for name, (sentence, value, reasons) in odd.items():
        yield _signed(material, name, sentence, "audience", *reasons, aud=value)


def issuers(material: Material) -> Iterator[WrongToken]:
    """Issued by somebody whose name is almost right."""
    own = str(material.claims["iss"])
    cases = {
        "other issuer": ("Another login service issued it.", "https://login.attacker.example"),
        "issuer with a slash": (
            "Its issuer differs by the slash at the end.",
            own[:-1] if own.endswith("/") else f"{own}/",
        ),
        "issuer in other case": ("Its issuer is ours in other letters.", own.swapcase()),
        "longer issuer": ("Its issuer begins with ours.", f"{own}.attacker.example"),
        "shorter issuer": ("Its issuer is ours less a letter.", own[:-1]),
    }
    for name, sentence, value in _other_than(own, cases):
        yield _signed(material, name, sentence, "issuer", "wrong_issuer", iss=value)
    sentence = "Its issuer is a list with ours in it."
    yield _signed(material, "issuer in a list", sentence, "issuer", "bad_claim", iss=[own])
    yield _signed(material, "no issuer", "It has no issuer.", "issuer", "missing_claim", iss=ABSENT)


def times(material: Material) -> Iterator[WrongToken]:
    """Too late, too early, or for ever."""
    now = material.now
    past = {"iat": now - 2 * HOUR, "nbf": now - 2 * HOUR}
    late: dict[str, Any] = {"nbf": now + HOUR, "exp": now + HOUR + MOMENT}
    for name, sentence, reason, claims in (
        ("expired", "It expired an hour ago.", "expired", {**past, "exp": now - HOUR}),
        (
            "expired just now",
            "It expired more than a minute ago, the most that clocks may disagree by.",
            "expired",
            {**past, "exp": now - MAX_LEEWAY - 1},
        ),
        ("no expiry", "It never expires: it has no `exp`.", "missing_claim", {"exp": ABSENT}),
        ("expiry null", "Its `exp` is null.", "bad_claim", {"exp": None}),
        (
            "expiry as text",
            "Its `exp` is a text and no number, and an hour ago.",
            "bad_claim",
            {**past, "exp": str(now - HOUR)},
        ),
        ("not yet valid", "It is good in an hour, not now.", "not_yet_valid", late),
    ):
        yield _signed(material, name, sentence, "time", reason, **claims)
    early = {"iat": now + HOUR, "nbf": ABSENT, "exp": now + HOUR + MOMENT}
    sentence = "It says that it was issued in an hour."
    yield _signed(
        material, "issued in the future", sentence, "time", "not_yet_valid", strict=True, **early
    )
    sentence = "It does not say when it was issued."
    yield _signed(
        material, "no issue time", sentence, "time", "missing_claim", strict=True, iat=ABSENT
    )


def subjects(material: Material) -> Iterator[WrongToken]:
    """For nobody, or for two; and claims that are none."""
    for name, sentence, reason, value in (
        ("no subject", "It does not say for whom it is.", "missing_claim", ABSENT),
        ("empty subject", "Its subject is an empty text.", "bad_claim", ""),
        ("subject as number", "Its subject is a number.", "bad_claim", 1),
        ("subject as object", "Its subject is an object.", "bad_claim", {"$ne": ""}),
    ):
        yield _signed(material, name, sentence, "claims", reason, sub=value, uid=ABSENT)
    sentence = "Its `uid` names another user than its `sub`."
    yield _signed(
        material, "two users", sentence, "claims", "bad_claim", strict=True, uid="u_somebody_else"
    )
    sentence = "It has no id (`jti`)."
    yield _signed(
        material, "no token id", sentence, "claims", "missing_claim", strict=True, jti=ABSENT
    )
    header = to_json(material.signer.header())
    text = material.signer.sign_bytes(header, b"[1,2,3]")
    sentence = "Its claims are a list and no object."
    yield WrongToken("claims in a list", sentence, "claims", text, ("malformed",))
    good, other = to_json(dict(material.claims)), to_json({"aud": ["another-service"]})
    text = material.signer.sign_bytes(header, good[:-1] + b"," + other[1:])
    sentence = "It names an audience twice: this service's, and then another."
    yield WrongToken("audience twice", sentence, "claims", text, ("malformed",))


def types(material: Material) -> Iterator[WrongToken]:
    """Other kinds of tokens of the same issuer."""
    for name, sentence, typ, claims in (
        ("plain JWT", "It is some JWT and no access token (`typ: JWT`).", "JWT", {}),
        ("no type", "It does not say what kind of token it is (no `typ`).", None, {}),
        ("refresh token", "It is a refresh token in the form of a JWT.", "rt+jwt", {}),
        ("logout token", "It is a logout token (`typ: logout+jwt`).", "logout+jwt", {}),
        (
            "ID token",
            "It is an OpenID Connect ID token: it says who signed in, and permits nothing.",
            "JWT",
            {"nonce": "n-0S6_WzA2Mj", "azp": material.audience, "client_id": ABSENT},
        ),
    ):
        text = material.sign(claims, {"typ": typ})
        yield WrongToken(name, sentence, "type", text, ("wrong_type",))
    sentence = "It looks like the refresh tokens that are traded at the login service."
    yield WrongToken(
        "opaque refresh token", sentence, "form", secrets.token_urlsafe(32), ("malformed",)
    )


def scopes(material: Material) -> Iterator[WrongToken]:
    """Good, without one of the scopes that the route demands, or without any."""
    if not material.scopes:
        return
    first, *others = dict.fromkeys(material.scopes)
    cases: dict[str, tuple[str, Any]] = {
        "no scope": ("It permits nothing: `scope` is empty.", ""),
        "scope absent": ("It permits nothing: there is no `scope`.", ABSENT),
    }
    for scope in (first, *others) if others else ():
        rest = " ".join(other for other in (first, *others) if other != scope)
        cases[f"without {scope}"] = (f"It lacks the scope {scope}.", rest)
    near_misses = {
        "longer scope": ("Its scope begins with the one demanded.", f"{first}-two"),
        "shorter scope": ("Its scope is the one demanded less a letter.", first[:-1]),
        "scope in another": ("The scope demanded is a part of its own.", f"un{first}"),
        "scope in other case": ("Its scope is the one demanded in capitals.", first.swapcase()),
        "scope as a wildcard": ("Its scope is an asterisk.", "*"),
    }
    for name, sentence, value in _other_than(first, near_misses):
        cases[name] = (sentence, " ".join([value, *others]))
    for name, (sentence, value) in cases.items():
        text = material.sign({"scope": value})
        yield WrongToken(name, sentence, "scope", text, ("insufficient_scope",), 403)
    sentence = "Its `scope` is a list (RFC 8693 section 4.2 wants one text)."
    yield _signed(
        material,
        "scope as a list",
        sentence,
        "scope",
        "bad_claim",
        strict=True,
        scope=[first, *others],
    )


def lives(material: Material) -> Iterator[WrongToken]:
    """Good once, and not any more; only where whoever signs can make such."""
    if material.ended is not None:
        sentence = "Its session has ended: the user logged out."
        yield WrongToken("ended session", sentence, "session", material.ended, ("revoked",))
    if material.retired is not None:
        text = material.retired.sign(dict(material.claims))
        sentence = "It is signed with a key that the login service has withdrawn."
        yield WrongToken("retired key", sentence, "key", text, FORGED)


def _other_than(own: str, cases: Mapping[str, tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Those that are wrong: one letter cannot be shortened, and a digit has no other case."""
    for name, (sentence, value) in cases.items():
        if value not in ("", own):
            yield name, sentence, value


def _signed(
    material: Material,
    name: str,
    sentence: str,
    theme: str,
    *reasons: str,
    strict: bool = False,
    **overrides: Any,
) -> WrongToken:
    text = material.sign(overrides)
    return WrongToken(name, sentence, theme, text, reasons, is_strict=strict)
