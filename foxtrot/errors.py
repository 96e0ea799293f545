"""Everything this package raises on purpose.

`InvalidToken` is about the token a caller presented, `UnusableKey` about a key
the developer configured, `Unavailable` about knowledge that could not be had.
Nothing else leaves a `Verifier`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

UNSIGNED_REASONS: Final = (
    "too_large",
    "malformed",
    "wrong_algorithm",
    "unknown_key",
    "bad_signature",
)
"""Reasons known before the signature passed, in the order they are looked for."""

SIGNED_REASONS: Final = (
    "wrong_type",
    "missing_claim",
    "bad_claim",
    "wrong_issuer",
    "wrong_audience",
    "not_yet_valid",
    "expired",
    "revoked",
)
"""Reasons that are only ever given for a token whose signature passed."""

REASONS: Final = UNSIGNED_REASONS + SIGNED_REASONS

_DESCRIPTIONS: Final = {
    "too_large": "The token is longer than this service reads.",
    "malformed": "The token is not a well-formed JWT (RFC 7519 section 7.2).",
    "wrong_algorithm": "The token is signed with an algorithm this service does not accept.",
    "unknown_key": "The token is signed with a key this service does not know.",
    "bad_signature": "The token's signature does not match its content.",
    "wrong_type": "The token is not an access token (its typ is not at+jwt).",
    "missing_claim": "The token lacks a claim that every access token must have.",
    "bad_claim": "A claim of the token has a wrong type or an impossible value.",
    "wrong_issuer": "The token was issued by somebody else.",
    "wrong_audience": "The token is meant for another service.",
    "not_yet_valid": "The token is not valid yet; check that the clocks agree.",
    "expired": "The token has expired; get a new one.",
    "revoked": "The session behind the token has ended; sign in again.",
}


class InvalidToken(Exception):
    """The token must not be accepted.

    `reason` is the first of `reasons`. Reasons known before the signature
    passed stand alone; those found after it are all listed, in the order of
    `SIGNED_REASONS`.
    """

    def __init__(self, reasons: str | Iterable[str], detail: str = "") -> None:
        found = {reasons} if isinstance(reasons, str) else set(reasons)
        self.reasons: tuple[str, ...] = tuple(r for r in REASONS if r in found)
        self.reason: str = self.reasons[0]
        self.detail: str = detail or _DESCRIPTIONS[self.reason]
        super().__init__(self.detail)


class Unavailable(Exception):
    """The token can be neither accepted nor refused now; fail closed, try later.

    `retry_after` is in seconds. `detail` is for outside callers: the message itself, unless
    that tells of errors within.
    """

    def __init__(self, message: str, retry_after: int = 5, *, detail: str = "") -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.detail = detail or message


class StaleStatus(Unavailable):
    """It cannot be known now whether the session behind a good token has ended.

    Where a `Verifier` was told `on_stale="allow"`, it lets the token through.
    """


class UnusableKey(ValueError):
    """A configured key cannot be used to verify tokens; the message says why."""


class WeakKey(UnusableKey):
    """A key that parses but is too short, publicly known or of a refused size."""
