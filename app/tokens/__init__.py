"""Access tokens: whom one is for, what goes into it, and how it is signed.

`signing` has the keys, `scopes` decides audience and scopes, `minting` makes a token of both.
Each builds on those before it.
"""

from __future__ import annotations

from app.tokens.minting import (
    CLIENT_ID,
    RESERVED_CLAIMS,
    AccessToken,
    ClaimsHook,
    mint,
    mint_for_service,
    new_token_id,
)
from app.tokens.scopes import (
    ANYTHING,
    Wish,
    choose_grant,
    effective_scopes,
    fitting,
    may_be_forged,
    refuse_wish,
)
from app.tokens.signing import (
    KEYS_MAX_AGE,
    TYPE,
    issuer,
    key_sources,
    own_key_sources,
    prepare,
    published_keys,
    publishes_keys,
    sign_status_list,
    status_list_key,
)

__all__ = [
    "ANYTHING",
    "CLIENT_ID",
    "KEYS_MAX_AGE",
    "RESERVED_CLAIMS",
    "TYPE",
    "AccessToken",
    "ClaimsHook",
    "Wish",
    "choose_grant",
    "effective_scopes",
    "fitting",
    "issuer",
    "key_sources",
    "may_be_forged",
    "mint",
    "mint_for_service",
    "new_token_id",
    "own_key_sources",
    "prepare",
    "published_keys",
    "publishes_keys",
    "refuse_wish",
    "sign_status_list",
    "status_list_key",
]
