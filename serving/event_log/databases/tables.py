"""Tables of the event log: its identity, the texts that entries share, and the entries, whose columns derive from `EventRow`."""

from typing import Any, get_args, get_origin

import msgspec
import sqlalchemy as sa

from serving.event_log.events import TERM, EventRow

METADATA = sa.MetaData()
SEQUENCE_TYPE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""In SQLite an integer key is the place of the row, without an index of its own."""
LOG = sa.Table(
    "log",
    METADATA,
    sa.Column("log_id", sa.String(16), primary_key=True),
    sa.Column("key_fingerprint", sa.String(16), nullable=False),
    sa.Column("identifier_key", sa.LargeBinary, nullable=False),
)
TERMS = sa.Table(
    "terms",
    METADATA,
    sa.Column("number", SEQUENCE_TYPE, primary_key=True, autoincrement=False),
    sa.Column("text", sa.String, nullable=False, unique=True),
)
_TYPES: dict[type, type[sa.types.TypeEngine[Any]]] = {
    int: sa.BigInteger,
    float: sa.Double,
    str: sa.String,
    bytes: sa.LargeBinary,
}
_FIELDS = msgspec.structs.fields(EventRow)
TERM_NAMES = tuple(field.name for field in _FIELDS if TERM in getattr(field.type, "__metadata__", ()))
"""Columns that hold numbers of texts."""


def _derive_column(field: msgspec.structs.FieldInfo) -> sa.Column[Any]:
    """Derive a column from a field of the row."""
    if field.name == "sequence":
        return sa.Column("sequence", SEQUENCE_TYPE, primary_key=True, autoincrement=False)
    kinds = [get_args(field.type)[0]] if field.name in TERM_NAMES else [field.type]
    kinds = [each for kind in kinds for each in (get_args(kind) if get_origin(kind) is not None else [kind])]
    # A choice of texts is a text.
    (kind,) = {str if isinstance(each, str) else each for each in kinds} - {type(None)}
    is_term = field.name in TERM_NAMES
    return sa.Column(field.name, sa.Integer if is_term else _TYPES[kind], nullable=type(None) in kinds)


ENTRIES = sa.Table(
    "entries", METADATA, *map(_derive_column, _FIELDS), sa.Column("hash", sa.LargeBinary, nullable=False)
)
IS_DECISION = ENTRIES.c.kind == sa.literal_column("'decision'")
IS_OTHER = ENTRIES.c.kind != sa.literal_column("'decision'")
"""Conditions of the two indexes of which each entry is in one; a query must have them in these words."""
for _name, _columns, _where in (
    ("ix_entries_digest", ["digest"], ENTRIES.c.digest.is_not(None)),
    ("ix_entries_decisions", ["at_us", "band", "model"], IS_DECISION),
    ("ix_entries_kinds", ["kind", "sequence"], IS_OTHER),
):
    sa.Index(_name, *(ENTRIES.c[name] for name in _columns), sqlite_where=_where, postgresql_where=_where)
ENTRY_COLUMNS = tuple(ENTRIES.columns)
