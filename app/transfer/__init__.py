"""Users who arrive or leave in bulk: as rows, which a door reads from a file or writes to one.

`rows` is what a row says, `imports` makes users of rows, and `exports` rows of users.
"""

from __future__ import annotations

from app.transfer.exports import everybody
from app.transfer.imports import BATCH, Failure, Import, Outcome
from app.transfer.rows import COLUMNS, NOTES

__all__ = ["BATCH", "COLUMNS", "NOTES", "Failure", "Import", "Outcome", "everybody"]
