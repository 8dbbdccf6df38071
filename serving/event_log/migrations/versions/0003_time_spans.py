"""Spans of time in place of an index of the times of blocks, which cost each block its share.

The upkeep fills the table when the log is opened (`serving.event_log.time_spans`).
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and drop the index."""
    op.create_table(
        "time_spans",
        sa.Column(
            "first",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("min_us", sa.BigInteger),
        sa.Column("max_us", sa.BigInteger),
    )
    op.drop_index("ix_blocks_max_us", "blocks")


def downgrade() -> None:
    """Create the index, and drop the table."""
    op.create_index("ix_blocks_max_us", "blocks", ["max_us", "min_us"])
    op.drop_table("time_spans")
