"""The life of signing keys: from when and until when each signs, and when it was retired.

The newest key goes on signing. Those before it were replaced by a change of the algorithm; they
stay published for as long as a token of theirs could live, a day at most.

Times are microseconds since the epoch (app.db.UtcTime).
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Time = sa.BigInteger
LONGEST_LIFETIME = 86_400


def upgrade():
    op.add_column("signing_keys", sa.Column("signs_from", Time()))
    op.add_column("signing_keys", sa.Column("signs_until", Time()))
    op.add_column(
        "signing_keys",
        sa.Column("lifetime", sa.Integer(), nullable=False, server_default=str(LONGEST_LIFETIME)),
    )
    op.add_column("signing_keys", sa.Column("retired_at", Time()))
    op.execute("UPDATE signing_keys SET signs_from = created_at")
    op.execute(
        sa.text(
            "UPDATE signing_keys SET signs_until = :now"
            " WHERE id < (SELECT max(id) FROM signing_keys)"
        ).bindparams(sa.bindparam("now", int(time.time() * 1_000_000), Time()))
    )


def downgrade():
    op.execute("DELETE FROM signing_keys WHERE signs_from IS NULL OR retired_at IS NOT NULL")
    op.execute("DELETE FROM signing_keys WHERE algorithm = 'HS256'")
    for name in ("lifetime", "retired_at", "signs_until", "signs_from"):
        op.drop_column("signing_keys", name)
