"""What is known of refresh tokens moves into their session's row.

The tokens changed their form meanwhile: programs that were signed in sign in anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Time = sa.BigInteger
LargeId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.drop_table("refresh_tokens")
    op.add_column("login_sessions", sa.Column("refresh_hash", sa.String()))
    op.add_column("login_sessions", sa.Column("rotations", sa.String()))


def downgrade():
    op.drop_column("login_sessions", "rotations")
    op.drop_column("login_sessions", "refresh_hash")
    op.create_table(
        "refresh_tokens",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("session_id", LargeId, nullable=False),
        sa.Column("used_at", Time()),
        sa.Column("retried_at", Time()),
        sa.Column("nonce", sa.LargeBinary()),
        sa.Column("key_id", sa.String()),
        sa.Column("retry_hash", sa.String()),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_refresh_tokens"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["login_sessions.id"],
            name="fk_refresh_tokens_session_id",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    with_nonce = sa.text("nonce IS NOT NULL")
    op.create_index(
        "ix_refresh_tokens_nonce",
        "refresh_tokens",
        ["session_id"],
        sqlite_where=with_nonce,
        postgresql_where=with_nonce,
    )
