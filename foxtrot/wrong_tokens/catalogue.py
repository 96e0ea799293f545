"""One wrong token, and what it takes to make them all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from foxtrot.wrong_tokens.signer import Signer, new_signer

ADVICE: Final[Mapping[str, str]] = {
    "presence": "Demand a token: answer a request without one with 401 (RFC 6750 section 3).",
    "audience": "Compare `aud` with this service's own name, whole and exactly; refuse a token"
    " without it (RFC 8725 section 3.9).",
    "issuer": "Compare `iss` with the login service's URL, character by character; refuse a token"
    " without it (RFC 8725 section 3.8).",
    "time": "Demand `exp` as a number, and compare `exp` and `nbf` with the clock, with at most a"
    " minute of leeway (RFC 7519 sections 4.1.4 and 4.1.5).",
    "claims": "Demand `sub` as a text that is not empty (RFC 9068 section 2.2), and read claims"
    " strictly.",
    "type": "Accept only `typ: at+jwt`, so that no other kind of token passes as an access token"
    " (RFC 9068 section 4).",
    "scope": "Demand the route's own scope among the words of `scope`, whole (RFC 6750 section"
    " 3.1).",
    "session": "Ask the login service's status list whether the session has ended, or accept that"
    " a logout takes effect only when the token expires.",
    "key": "Take keys from the login service's JWK Set only, look them up by the exact `kid`, and"
    " never use one that the token brings along (RFC 8725 section 3.10).",
    "algorithm": "List the algorithms that are accepted, by the key and not by the token's `alg`;"
    " never `none`, never HS256 beside public keys (RFC 8725 section 3.1).",
    "signature": "Verify the signature over header and claims as they came, by a library (RFC 7515"
    " section 5.2).",
    "form": "Refuse what is no well-formed JWT, and `crit` that is not understood (RFC 7515"
    " sections 4.1.11 and 5.2), without failing.",
}
"""What a service has to do that let a token through, by what was wrong with it."""

FORGED: Final = ("wrong_algorithm", "unknown_key", "bad_signature")
"""Reasons for a token that somebody else signed: which one depends on the verifier's keys."""


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""As the value of a claim: leave it out."""


@dataclass(frozen=True)
class WrongToken:
    """A token that a service must refuse.

    :param name: a short name, the same for ever.
    :param sentence: what is wrong with it, in plain words.
    :param theme: which of `ADVICE` helps a service that lets it through.
    :param reasons: for which of `foxtrot.errors.REASONS` our own verifier refuses it; any of them.
    :param status: what a service answers that keeps to RFC 6750: 401, or 403 for a scope.
    :param is_strict: whether only a strict service refuses it; the standards permit others to
        accept it, and by itself it does no harm.
    """

    name: str
    sentence: str
    theme: str
    text: str = field(repr=False)
    reasons: tuple[str, ...]
    status: int = 401
    is_strict: bool = False

    @property
    def advice(self) -> str:
        """What to do about it in a service that lets it through."""
        return ADVICE[self.theme]


@dataclass(frozen=True)
class Material:
    """What wrong tokens are made of.

    :param signer: the key that real tokens are signed with.
    :param claims: those of a good token: the service accepts it, with all scopes it asks for.
    :param audience: the service's name.
    :param now: seconds since the epoch.
    :param scopes: those that the route demands, all of them; none where nobody knows.
    :param retired: a key of the issuer's that is not published any more.
    :param ended: a token whose session has ended, otherwise good.
    :param attacker: a key that the issuer does not know.
    :param attacker_url: where `<url>/jwks.json` and `<url>/cert.pem` are the attacker's; a
        service that fetches them believes keys that tokens bring along.
    """

    signer: Signer
    claims: Mapping[str, Any]
    audience: str
    now: int
    scopes: tuple[str, ...] = ()
    retired: Signer | None = None
    ended: str | None = None
    attacker: Signer = field(default_factory=lambda: new_signer("attacker-1"))
    attacker_url: str = "https://attacker.example"

    def claims_with(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The good claims, with others written over them."""
        members = {**self.claims, **overrides}
        return {name: value for name, value in members.items() if value is not ABSENT}

    def sign(
        self, overrides: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None
    ) -> str:
        """Make a validly signed token, with claims and header written over good ones."""
        return self.signer.sign(self.claims_with(overrides or {}), header)
