"""Counters in a Valkey or Redis server: one script for each step, which runs there whole.

The library `limits` was looked at: it can neither give back what was counted nor count in
several counters or none, and has no storage in SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import valkey
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError
from valkey.retry import Retry

from app.db import to_microseconds
from app.ratelimit.counters import SLACK, Counter, Refusal, longest

FAILURES: Final = (ValkeyError, OSError)
TIMEOUT: Final = 0.25
"""How many seconds to wait for a connection, and for an answer."""

_PREFIX: Final = "foxtrot:limits:"
_TAKE: Final = f"""
local now, free, waits, full = tonumber(ARGV[1]), {{}}, {{}}, false
for i, key in ipairs(KEYS) do
  local step, span = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local at = tonumber(redis.call('GET', key) or 0)
  if at < now or at > now + 2 * span + {SLACK} then at = now end
  free[i] = at + step
  waits[i] = free[i] - now - span
  full = full or waits[i] > 0
end
if full then return waits end
for i, key in ipairs(KEYS) do
  local ms = math.ceil((free[i] - now) / 1000)
  redis.call('SET', key, string.format('%.0f', free[i]), 'PX', string.format('%.0f', ms))
end
return {{}}
"""
_SETTLE: Final = """
for i, key in ipairs(KEYS) do
  local step = tonumber(ARGV[i])
  local at = redis.call('GET', key)
  if step == 0 then
    redis.call('DEL', key)
  elseif at then
    redis.call('SET', key, string.format('%.0f', tonumber(at) - step), 'KEEPTTL')
  end
end
"""


class ValkeyStore:
    """Counters in one server. It is connected to when it is needed, and never waited for long.

    :raises ValkeyError, OSError: from each method, where the server does not answer.
    """

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._server = valkey.Valkey.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            lib_name=None,
            lib_version=None,
        )
        self._take = self._server.register_script(_TAKE)
        self._settle = self._server.register_script(_SETTLE)

    def ping(self) -> None:
        """Ask whether it answers, and change nothing."""
        self._server.ping()

    def take(self, counters: Sequence[Counter], now: datetime) -> Refusal | None:
        """As of `Store`."""
        if not counters:
            return None
        shares = [share for one in counters for share in (one.rate.step, one.rate.span)]
        waits = self._take(keys=_keys(counters), args=[to_microseconds(now), *shares])
        return longest(list(zip(counters, waits, strict=False)))

    def settle(
        self,
        now: datetime,  # noqa: ARG002 - of `Store`
        *,
        give_back: Sequence[Counter] = (),
        forget: Sequence[Counter] = (),
    ) -> None:
        """As of `Store`."""
        steps = dict.fromkeys(forget, 0)
        steps |= {counter: counter.rate.step for counter in give_back if counter not in steps}
        if steps:
            self._settle(keys=_keys(list(steps)), args=list(steps.values()))


def _keys(counters: Sequence[Counter]) -> list[str]:
    return [_PREFIX + counter.key for counter in counters]
