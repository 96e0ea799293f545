"""How Alembic reaches the database: by the connection it is handed, or one of the app's.

Either way nobody else migrates meanwhile: `flask db upgrade` may run on many machines at once.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from app.db import Base, UtcTime, exclusive_connection


def render_item(kind: str, item: object, _autogen: object) -> str | bool:
    """Write our own types as what they are in the database; a migration outlives the code."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, UtcTime) else False


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    handed = context.config.attributes.get("connection")
    if handed is not None:
        run(handed)
        return
    with exclusive_connection() as connection:
        run(connection)


main()
