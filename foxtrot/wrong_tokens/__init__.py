"""One catalogue of wrong tokens: what every service must refuse.

`wrong_tokens(material)` makes them all: validly signed ones that only the claims
give away, and forged ones; `each_wrong_token` makes one after the other. The test kit
(`foxtrot.testing`) fires them at the routes of an app, `flask tokens attack` at a running
service in any language.
"""

from collections.abc import Iterator

from foxtrot.wrong_tokens.catalogue import ADVICE, Material, WrongToken
from foxtrot.wrong_tokens.forged import certificate_pem, forged
from foxtrot.wrong_tokens.signed import signed
from foxtrot.wrong_tokens.signer import Signer, claims_of, header_of, new_signer

__all__ = [
    "ADVICE",
    "Material",
    "Signer",
    "WrongToken",
    "certificate_pem",
    "claims_of",
    "each_wrong_token",
    "header_of",
    "new_signer",
    "wrong_tokens",
]


def wrong_tokens(material: Material) -> list[WrongToken]:
    """Make the whole catalogue of what can be made of *material*."""
    return list(each_wrong_token(material))


def each_wrong_token(material: Material) -> Iterator[WrongToken]:
    """Make them while they are asked for."""
    yield from signed(material)
    yield from forged(material)
