"""Tables of the event log: its identity and its events."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "log",
        sa.Column("log_id", sa.String(16), primary_key=True),
        sa.Column("key_fingerprint", sa.String(16), nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("consignment_id", sa.String(100)),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("recorded_us", sa.BigInteger),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("plain", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("kinds", sa.String(16)),
        sa.Column("keys", sa.LargeBinary),
        sa.Column("features", sa.LargeBinary),
        sa.Column("score", sa.Double),
        sa.Column("band", sa.String(16)),
        sa.Column("reasons", sa.LargeBinary),
        sa.Column("model", sa.String(200)),
        sa.Column("model_sha256", sa.String(64)),
        sa.Column("spec_sha256", sa.String(64)),
        sa.Column("asked_by", sa.String(100), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_events_consignment_id", "events", ["consignment_id"])
    op.create_index("ix_events_at_us", "events", ["at_us"])


def downgrade() -> None:
    """Drop the tables, and with them the whole log."""
    op.drop_table("events")
    op.drop_table("log")
