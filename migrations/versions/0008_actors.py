"""Who did it, in an audit event, and an index to count events by name and time."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade():
    op.add_column("audit_events", sa.Column("actor", sa.String()))
    op.create_index("ix_audit_events_name_at", "audit_events", ["name", "at"])


def downgrade():
    op.drop_index("ix_audit_events_name_at", "audit_events")
    op.drop_column("audit_events", "actor")
