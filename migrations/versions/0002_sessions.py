"""Refresh tokens and audit events; what a session was granted and how it was proved.

Times are microseconds since the epoch (app.db.UtcTime).
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Time = sa.BigInteger
LargeId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade():
    op.add_column(
        "login_sessions", sa.Column("amr", sa.String(), nullable=False, server_default="pwd")
    )
    op.add_column("login_sessions", sa.Column("granted_audience", sa.String()))
    op.add_column("login_sessions", sa.Column("granted_scope", sa.String()))
    op.add_column("login_sessions", sa.Column("unseen_answer", sa.String()))
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
    op.create_table(
        "audit_events",
        sa.Column("id", LargeId, nullable=False),
        sa.Column("at", Time(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("user", sa.String()),
        sa.Column("session", sa.String()),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("device", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("typed_hash", sa.String()),
        sa.PrimaryKeyConstraint("id", name="pk_audit_events"),
    )
    op.create_index("ix_audit_events_user", "audit_events", ["user", "id"])
    op.create_index("ix_audit_events_user_name", "audit_events", ["user", "name", "id"])


def downgrade():
    op.drop_table("audit_events")
    op.drop_table("refresh_tokens")
    for name in ("unseen_answer", "granted_scope", "granted_audience", "amr"):
        op.drop_column("login_sessions", name)
