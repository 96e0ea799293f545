"""Login sessions: one for each sign-in on a device, on the server, ended when somebody says so.

A browser holds the session's secret in a cookie; a JSON client holds a family of
refresh tokens and access tokens that name the session (`sid`). Whatever a cookie
or a token says, it counts only while its session is live.

`table` has the rows and says what live is, `life` how sessions begin and end, `use` finds
them and writes down that they are used.
"""

from __future__ import annotations

from app.sessions.life import Ending, end, end_all, end_everybodys, end_others, start
from app.sessions.table import (
    IS_LIVE,
    PASSWORD,
    Grant,
    LoginSession,
    Snapshot,
    limits,
    runs_until,
)
from app.sessions.use import by_public_id, by_secret, find, hold, live, note_shown, note_use

__all__ = [
    "IS_LIVE",
    "PASSWORD",
    "Ending",
    "Grant",
    "LoginSession",
    "Snapshot",
    "by_public_id",
    "by_secret",
    "end",
    "end_all",
    "end_everybodys",
    "end_others",
    "find",
    "hold",
    "limits",
    "live",
    "note_shown",
    "note_use",
    "runs_until",
    "start",
]
