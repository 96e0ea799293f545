"""Services, tokens of machines that were revoked, and the service in an audit event.

The service `notes` is there from the beginning, as it was the default of the setting
FOXTROT_AUDIENCES before: so nobody who relied on that notices. Times are microseconds
since the epoch (app.db.UtcTime).
"""

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

Time = sa.BigInteger
LargeId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def upgrade():
    services = op.create_table(
        "services",
        sa.Column("id", LargeId, primary_key=True),
        sa.Column("public_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("declared_scopes", sa.String(), nullable=False),
        sa.Column("granted_scopes", sa.String(), nullable=False),
        sa.Column("secret_hash", sa.String()),
        sa.Column("created_at", Time(), nullable=False),
        sa.Column("disabled_at", Time()),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
        sa.UniqueConstraint("public_id", name="uq_services_public_id"),
        sa.UniqueConstraint("name", name="uq_services_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("expires_at", Time(), nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_revoked_tokens"),
    )
    op.create_index("ix_revoked_tokens_expires_at", "revoked_tokens", ["expires_at"])
    op.add_column("audit_events", sa.Column("service", sa.String()))
    op.bulk_insert(
        services,
        [
            {
                "public_id": "s_" + "".join(secrets.choice(ALPHABET) for _ in range(26)),
                "name": "notes",
                "declared_scopes": "notes:read notes:write",
                "granted_scopes": "",
                "created_at": time.time_ns() // 1000,
            }
        ],
    )


def downgrade():
    op.drop_column("audit_events", "service")
    op.drop_table("revoked_tokens")
    op.drop_table("services")
