"""The log: lines on standard error that never fail a request and never hold a secret.

A line that cannot be written is dropped: standard error may be closed, on a disk that is
full, or a pipe that nobody empties. Nothing of a client's choosing can break out of its line,
because what comes from outside is written as JSON.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

audit: Final = logging.getLogger("foxtrot.audit")
_SECRET_IN_URL: Final = re.compile(r"((?:token|password|secret)(?:=|%3D))[^&\s\"]+", re.IGNORECASE)
_of_werkzeug: Final = logging.getLogger("werkzeug")
_access: Final = logging.getLogger("foxtrot.access")


def set_up() -> None:
    """Log to standard error, unless somebody set up logging already; lines of JSON as they are."""
    _of_werkzeug.addFilter(_hide_url_secrets)
    of_lines = [audit, _access]
    for logger in of_lines:
        logger.setLevel(logging.INFO)
    if logging.getLogger("foxtrot").handlers or logging.getLogger().handlers:
        return
    in_words = _StandardError()
    in_words.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for name in ("foxtrot", "app"):  # Flask's own would wait where nobody reads
        logging.getLogger(name).addHandler(in_words)
    for logger in of_lines:
        logger.addHandler(_to_stderr)
        logger.propagate = False
    _of_werkzeug.addHandler(_to_stderr)


@contextmanager
def without_audit_lines() -> Iterator[None]:
    """Write no lines of audit events meanwhile; the events themselves are in the database."""
    had = _to_stderr in audit.handlers
    audit.removeHandler(_to_stderr)
    try:
        yield
    finally:
        if had:
            audit.addHandler(_to_stderr)


def replace_lines_of_werkzeug() -> None:
    """Leave out the development server's own line for each request, where ours is written."""
    _of_werkzeug.addFilter(lambda record: " - - [" not in str(record.msg))


def json_line(logger: logging.Logger, members: Mapping[str, object]) -> None:
    """Write a line of JSON, in ASCII, to one of the loggers that hold nothing else."""
    line = json.dumps(members, ensure_ascii=True)
    if _to_stderr in logger.handlers:
        _write(line)  # past the logging module, which takes longer than all the rest
    else:
        logger.info(line)


def request_line(
    *,
    at: datetime,
    request_id: str,
    method: str,
    route: str | None,
    status: int,
    milliseconds: float,
    user: str | None,
    address: str,
) -> None:
    """Write down one request. What was asked for stands there as the template of the route."""
    members = {
        "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "request_id": request_id,
        "method": method[:20],
        "route": route,
        "status": status,
        "ms": round(milliseconds, 1),
        "user": user,
        "address": address or None,
    }
    json_line(_access, members)


class _StandardError(logging.Handler):
    """Writes to standard error what it takes without waiting."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(Exception):
            _write(self.format(record))


def _write(line: str) -> None:
    with suppress(OSError, ValueError):  # it is closed, full, or nobody reads it any more
        if sys.stderr is None:
            return
        try:
            descriptor = sys.stderr.fileno()
        except io.UnsupportedOperation:  # a test listens
            sys.stderr.write(line + "\n")
            return
        text = (line + "\n").encode("utf-8", "backslashreplace")
        for begin in range(0, len(text), select.PIPE_BUF):
            if not _takes_more(descriptor):
                return
            os.write(descriptor, text[begin : begin + select.PIPE_BUF])


def _takes_more(descriptor: int) -> bool:
    """Say whether so much as PIPE_BUF is written without waiting (pipe(7))."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _hide_url_secrets(record: logging.LogRecord) -> bool:
    """Keep secrets that stand in a URL out of the development server's access log.

    Those of one-time links belong there; passwords get there by a client's mistake.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            _SECRET_IN_URL.sub(r"\1…", part) if isinstance(part, str) else part
            for part in record.args
        )
    return True


_to_stderr: Final = _StandardError()
