"""Counters of attempts, and since when a user's are to begin anew.

A counter's `free_at` and `unlocked_at` are microseconds since the epoch (app.db.UtcTime).
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Time = sa.BigInteger


def upgrade():
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("free_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_rate_limits"),
    )
    op.create_index("ix_rate_limits_free_at", "rate_limits", ["free_at"])
    op.add_column("users", sa.Column("unlocked_at", Time()))


def downgrade():
    op.drop_column("users", "unlocked_at")
    op.drop_table("rate_limits")
