"""Status lists, good and bad, put together by hand, and tokens that point into one."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tests.verifier.minting import ABSENT, ISSUER, NOW, Mint, SigningKey

PATH: Final = "/status-lists/0"
LIST_URI: Final = ISSUER + PATH
SIZE: Final = 2**20


def lst_of(indices: Iterable[int], size: int = SIZE) -> str:
    number = bytearray(size // 8)
    for index in indices:
        number[index // 8] |= 1 << index % 8
    return base64.urlsafe_b64encode(zlib.compress(number)).rstrip(b"=").decode()


def mint_list(
    mint: Mint,
    indices: Iterable[int],
    claims: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    key: SigningKey | None = None,
    *,
    issuer: str = ISSUER,
) -> str:
    """Sign a good list in which *indices* are set, with *claims* and *header* written over it."""
    good = {
        "iss": issuer,
        "sub": issuer + PATH,
        "iat": NOW,
        "exp": NOW + 86_400,
        "ttl": 10,
        "status_list": {"bits": 1, "lst": lst_of(indices)},
    }
    unused = ("uid", "aud", "nbf", "jti", "sid", "scope", "client_id", "auth_time")
    written = {**dict.fromkeys(unused, ABSENT), **good, **(claims or {})}
    return mint(written, {"typ": "statuslist+jwt", **(header or {})}, key)


def place(index: Any, uri: Any) -> dict[str, Any]:
    """The claim `status` of a token."""
    return {"status": {"status_list": {"idx": index, "uri": uri}}}
