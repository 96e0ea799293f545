"""Ended sessions are found by the time of their end, and stay known without their rows.

Times are microseconds since the epoch (app.db.UtcTime).
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Time = sa.BigInteger


def upgrade():
    has_ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_login_sessions_ended_at",
        "login_sessions",
        ["ended_at"],
        sqlite_where=has_ended,
        postgresql_where=has_ended,
    )
    op.create_table(
        "ended_ranges",
        sa.Column("first_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("first_id", name="pk_ended_ranges"),
    )


def downgrade():
    op.drop_table("ended_ranges")
    op.drop_index("ix_login_sessions_ended_at", "login_sessions")
