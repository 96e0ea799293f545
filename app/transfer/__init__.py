"""Users who arrive or leave in bulk: as rows, which a door reads from a file or writes to one.

`rows` is what a row says, `imports` makes users of rows, and `exports` rows of users.
"""

from __future__ import annotations

from app.transfer.exports import everybody
from app.transfer.imports import BATCH, Failure, Import, Outcome
from app.transfer.rows import COLUMNS, MORE_FIELDS, NO_OBJECT, NOTES, TOO_LONG

__all__ = [
    "BATCH",
    "COLUMNS",
    "MORE_FIELDS",
    "NOTES",
    "NO_OBJECT",
    "TOO_LONG",
    "Failure",
    "Import",
    "Outcome",
    "everybody",
]
