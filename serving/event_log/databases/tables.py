"""Tables of the event log, as created by `serving.event_log.migrations`."""

import sqlalchemy as sa

METADATA = sa.MetaData()
SEQUENCE_TYPE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""In SQLite an integer key is the place of the row, without an index of its own."""
FIRST_RARE_KIND = 128
"""Blocks with a kind of entry that has no consignment have `kinds` of at least this; they have an index."""
LOG = sa.Table(
    "log",
    METADATA,
    sa.Column("log_id", sa.String(16), primary_key=True),
    sa.Column("key_fingerprint", sa.String(16), nullable=False),
    sa.Column("identifier_key", sa.LargeBinary, nullable=False),
)
BLOCKS = sa.Table(
    "blocks",
    METADATA,
    sa.Column("first", SEQUENCE_TYPE, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("kinds", sa.BigInteger, nullable=False),
    sa.Column("min_us", sa.BigInteger),
    sa.Column("max_us", sa.BigInteger),
    sa.Column("head", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
RARE_BLOCKS = BLOCKS.c.kinds >= sa.literal_column(str(FIRST_RARE_KIND))
sa.Index("ix_blocks_rare", BLOCKS.c.kinds, sqlite_where=RARE_BLOCKS, postgresql_where=RARE_BLOCKS)
SPANS = sa.Table(
    "time_spans",
    METADATA,
    sa.Column("first", SEQUENCE_TYPE, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("min_us", sa.BigInteger),
    sa.Column("max_us", sa.BigInteger),
)
RUNS = sa.Table(
    "identifier_runs",
    METADATA,
    sa.Column("run", SEQUENCE_TYPE, primary_key=True, autoincrement=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("bits", sa.BigInteger, nullable=False),
)
PAGES = sa.Table(
    "identifier_pages",
    METADATA,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("page", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("entries", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
