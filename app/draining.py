"""Closing a door under load: whoever stands in it is let in first.

A connection that the kernel has made, and that the server has not yet taken, is reset when the
listening socket is closed, together with the request that the client has sent on it. So before
that a filter on the socket drops whatever begins a connection: the client's kernel tries again a
second later, and then another worker answers, or nobody listens. What had begun is completed,
and taken meanwhile.

For Linux (socket(7), SO_ATTACH_FILTER); elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

DRAIN_SECONDS: Final = 0.3
"""For what has begun to be a connection to be taken, and its request to be read."""

_SO_ATTACH_FILTER: Final = 26
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # the byte with the flags of the TCP header (RFC 9293 section 3.1)
    (0x45, 0, 1, 0x02),  # is SYN set? On a socket that listens, that begins a connection
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # let through
)
"""Classic BPF, as `struct sock_filter` has it: code, jump if true, jump if false, operand."""


def let_in_nobody() -> None:
    """From now on no new connection begins at any socket that this process listens at."""
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("=HBBI", *step) for step in _DROP_SYN)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(_DROP_SYN), ctypes.addressof(kept))
    for listener in _listeners():
        with listener, suppress(OSError):  # then it is closed as ever
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _listeners() -> Iterator[socket.socket]:
    for path in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError):
            if stat.S_ISSOCK(path.stat().st_mode):
                found = socket.socket(fileno=os.dup(int(path.name)))
                if found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    yield found
                else:
                    found.close()
