"""Tables of the event log, as created by `serving.event_log.migrations`."""

import sqlalchemy as sa

from serving.event_log.event_rows import EventRow

METADATA = sa.MetaData()
LOG = sa.Table(
    "log",
    METADATA,
    sa.Column("log_id", sa.String(16), primary_key=True),
    sa.Column("key_fingerprint", sa.String(16), nullable=False),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("consignment_id", sa.String(100), index=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
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
COLUMNS = [EVENTS.c[name] for name in EventRow._fields]
