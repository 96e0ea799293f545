"""Verify the access tokens of a Foxtrot login service.

    from foxtrot import Verifier, InvalidToken

    verifier = Verifier(issuer="https://login.example.com", audience="notes")
    token = verifier.verify(text)      # or InvalidToken, whose .reason says why
    token.subject, token.scopes

For Flask there is a decorator in `foxtrot.flask`. This package stands alone: it
needs PyJWT with cryptography, and Flask only for the decorator.
"""

from foxtrot.claims import Token
from foxtrot.errors import InvalidToken, StaleStatus, Unavailable, UnusableKey, WeakKey
from foxtrot.issuer import IssuerKeys
from foxtrot.keys import JWKSet, KeySource, PublicKey, SharedSecret
from foxtrot.status import StatusLists
from foxtrot.verifier import Status, Verifier

__all__ = [
    "InvalidToken",
    "IssuerKeys",
    "JWKSet",
    "KeySource",
    "PublicKey",
    "SharedSecret",
    "StaleStatus",
    "Status",
    "StatusLists",
    "Token",
    "Unavailable",
    "UnusableKey",
    "Verifier",
    "WeakKey",
]
