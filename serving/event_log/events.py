"""The entries of the event log, and the tables that hold them."""

from typing import Literal, NamedTuple

import sqlalchemy as sa

Kind = Literal["decision", "arrival", "outcome", "alert", "cancellation", "selection", "removal", "erasure"]
ARRIVAL_KINDS: tuple[Kind, ...] = ("decision", "arrival")
EMPTY = b""
"""In place of the fields of an entry whose content was removed."""


class Event(NamedTuple):
    """One entry of the log, without the hashes of its chain.

    Attributes
    ----------
    sequence : int
        Place in the log, from 1, without gaps.
    kind : str
        `decision`: a consignment scored. `arrival`: one that counts in history without a decision (past data).
        `outcome`, `alert`, `cancellation`, `selection`. `removal`: that the content of entries was removed.
        `erasure`: that the key of a month was erased.
    consignment_id : str or None
        None for an alert.
    at_us : int
        When it happened, in microseconds since the epoch: received, visible, issued, cancelled, selected.
    recorded_us : int or None
        When the service was told, and scored; of past data as the table gives it.
    content : bytes
        Keyed digest of the record (`serving.encryption.vault.PackedRecord`), as are `plain` and `sealed`; of a removal or an erasure, no bytes.
    kinds : str or None
        Digest of the kinds of history keys that `keys` holds.
    keys : bytes or None
        uint64 keys of history, then as many counterparts; little-endian.
    features : bytes or None
        The float32 row that was scored, little-endian.
    score : float or None
        Probability.
    band : str or None
    reasons : bytes or None
        MessagePack.
    model : str or None
        Name and version, `NAME/VERSION`.
    model_sha256, spec_sha256 : str or None
        Digests of the bundle and of its feature spec.
    asked_by : str
        Name of the API key, `local` where there are none, `import` for past data.
    """

    sequence: int
    kind: Kind
    consignment_id: str | None
    at_us: int
    recorded_us: int | None
    content: bytes
    plain: bytes
    sealed: bytes | None
    kinds: str | None = None
    keys: bytes | None = None
    features: bytes | None = None
    score: float | None = None
    band: str | None = None
    reasons: bytes | None = None
    model: str | None = None
    model_sha256: str | None = None
    spec_sha256: str | None = None
    asked_by: str = ""

    @property
    def redacted(self) -> bool:
        """Whether its content was removed: fields, features and reasons; its keys of history are left."""
        return self.plain == EMPTY


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
COLUMNS = [EVENTS.c[name] for name in Event._fields]
