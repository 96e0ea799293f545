"""Counters that all workers share, and rates that they must not pass. Knows nothing of logins.

`counters` is what a rate is, `database` counts in a table, `valkey` in a Valkey or Redis
server, and `fallback` goes from there to the database and back. `memory` is what is not shared.
"""

from app.ratelimit.counters import Counter, Rate, Refusal, Store
from app.ratelimit.database import DatabaseStore
from app.ratelimit.fallback import FallbackStore
from app.ratelimit.memory import MemoryStore
from app.ratelimit.valkey import FAILURES, ValkeyStore

__all__ = [
    "FAILURES",
    "Counter",
    "DatabaseStore",
    "FallbackStore",
    "MemoryStore",
    "Rate",
    "Refusal",
    "Store",
    "ValkeyStore",
    "store_for",
]


def store_for(url: str | None) -> Store:
    """Where counters are kept: in the database, or in the Valkey or Redis server at this URL."""
    return DatabaseStore() if url is None else FallbackStore(ValkeyStore(url), DatabaseStore())
