"""The Flask application, which answers anew where the database made one of several give way.

Of transactions that wait for each other PostgreSQL ends one (deadlock), and at the stricter
isolation levels one that read what another has changed (serialisation failure). Nothing of it
was written, so the request is answered from its beginning, a bounded number of times.
"""

from __future__ import annotations

from typing import Final

from flask import Flask
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError

from app.db import db

TRIES: Final = 3

_GAVE_WAY: Final = ("40001", "40P01")
"""serialization_failure, deadlock_detected (PostgreSQL, appendix A, class 40)."""


class Application(Flask):
    """A Flask application; each view commits once, at its end."""

    def dispatch_request(self) -> ResponseReturnValue:
        for _ in range(TRIES - 1):
            try:
                return super().dispatch_request()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _GAVE_WAY:
                    raise
                db.session.rollback()  # of what was read, too: it ended with the transaction
        return super().dispatch_request()
