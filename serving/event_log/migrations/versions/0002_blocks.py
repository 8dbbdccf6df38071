"""Blocks of entries in place of one row for each entry; runs of identifiers in place of an index.

The entries and their hashes stay as they are. Hashes that the first version stored twice (`previous_hash`) are dropped.
"""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op

from serving.event_log.blocks.codec import MAX_BLOCK_ENTRIES, encode_blocks
from serving.event_log.blocks.frames import ZSTD

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

READ_ROWS = 100 * MAX_BLOCK_ENTRIES
"""Rows of the first version that are read at a time."""
ROWS = (
    "sequence, kind, consignment_id, at_us, recorded_us, content, plain, sealed, kinds, keys, features, score, band, reasons, "
    "model, model_sha256, spec_sha256, asked_by"
)
NEXT_ROWS = f"SELECT {ROWS}, hash FROM events WHERE sequence > :after ORDER BY sequence LIMIT {READ_ROWS}"
KEY_BYTES = 16


def upgrade() -> None:
    """Create the tables, write all entries as blocks, and drop the first table."""
    sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    blocks = op.create_table(
        "blocks",
        sa.Column("first", sequence, primary_key=True, autoincrement=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("kinds", sa.BigInteger, nullable=False),
        sa.Column("min_us", sa.BigInteger),
        sa.Column("max_us", sa.BigInteger),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "identifier_runs",
        sa.Column("run", sequence, primary_key=True, autoincrement=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("bits", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "identifier_pages",
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("page", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("entries", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "postgresql":  # the blobs are compressed already
        op.execute("ALTER TABLE blocks ALTER head SET STORAGE EXTERNAL, ALTER body SET STORAGE EXTERNAL")
    _add_identifier_key()
    _convert(blocks)
    op.drop_table("events")
    op.create_index("ix_blocks_max_us", "blocks", ["max_us", "min_us"])
    rare = sa.text("kinds >= 128")
    op.create_index("ix_blocks_rare", "blocks", ["kinds"], sqlite_where=rare, postgresql_where=rare)


def _add_identifier_key() -> None:
    """Add the key of the digests of identifiers to the table of the log."""
    connection = op.get_bind()
    found = connection.execute(sa.text("SELECT log_id, key_fingerprint FROM log")).one_or_none()
    op.drop_table("log")
    log = op.create_table(
        "log",
        sa.Column("log_id", sa.String(16), primary_key=True),
        sa.Column("key_fingerprint", sa.String(16), nullable=False),
        sa.Column("identifier_key", sa.LargeBinary, nullable=False),
    )
    if found is not None:
        connection.execute(log.insert().values((*found, secrets.token_bytes(KEY_BYTES))))


def _convert(blocks: sa.Table) -> None:
    """Write all entries as blocks."""
    connection, after = op.get_bind(), -(2**63)
    while found := connection.execute(sa.text(NEXT_ROWS), {"after": after}).all():
        rows: list[Any] = [(*row[:-1], None) for row in found]
        written = encode_blocks(rows, [bytes(row[-1]) for row in found], ZSTD)
        connection.execute(blocks.insert(), [block._asdict() for block in written])
        after = found[-1][0]


def downgrade() -> None:
    """Refuse: the rows of the first version can be had from a backup."""
    raise RuntimeError("restore the backup that was made before the log was converted")
