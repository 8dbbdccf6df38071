"""Entries of the event log, of five types by their columns, and the row of an entry, `EventRow`, whose columns their fields name.

From that struct derive the table, its migration, the hash of an entry, and the conversion of entries. A further column goes to the
end of the struct and may be empty. It then is in the table of the next start, earlier entries have nothing in it, and their hashes
stay. `Event` is any of the types; `kind` tells the records of one type apart.
"""

import hashlib
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta, structs

from consignments.errors import ServiceFault

ConsignmentKind = Literal["outcome", "cancellation", "selection", "action", "state"]
"""Kinds of records about a consignment."""
SharedKind = Literal["alert", "message", "link"]
"""Kinds of records about no single consignment: an alert, a message of a partner, a link of masters and houses."""
MaintenanceKind = Literal["removal", "restore", "release", "downgrade", "access"]
"""Kinds of entries of npsrisk itself: a removal of content (`serving.event_log.redactions.Redaction`), a restore from a backup, the first use of a
release that was approved later than all before, the use of one that was not, a look at personal data (`serving.maintenance.access_log.PersonalAccess`)."""
Kind = Literal["decision", "arrival", ConsignmentKind, SharedKind, MaintenanceKind]
ARRIVAL_KINDS: tuple[Kind, ...] = ("decision", "arrival")
CONTENT_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "link")
"""Kinds of entries whose content a removal of old content empties."""
IMPORTED_BY = "import"  # replaces the name of the API key in entries of past data
EMPTY = b""  # replaces the fields of an entry whose content was removed
NOT_READ = b"\xc1"
"""Replaces a column that was not read. No MessagePack begins with this byte, so decoding it by mistake fails."""


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """The common base of all entries; `recorded_us` of imported data is the value of the table. Times are microseconds since the epoch."""

    sequence: int
    at_us: int
    recorded_us: int | None


class RecordEntry(LogEntry, frozen=True, gc=False):
    """An entry of a received record; `asked_by` is the name of the API key, `local` without keys, `import` for past data."""

    content: bytes
    plain: bytes
    sealed: bytes | None
    asked_by: str

    @property
    def redacted(self) -> bool:
        """Return whether its content (fields, features, reasons) was removed; the history keys of an arrival remain."""
        return self.plain == EMPTY


class ArrivalEvent(RecordEntry, frozen=True, gc=False):
    """A consignment that counts in history and has no decision; `keys` are little-endian uint64, then as many counterparts."""

    kind: ClassVar[Literal["arrival", "decision"]] = "arrival"

    consignment_id: str
    kinds: str
    keys: bytes

    def drop_bytes(self) -> "ArrivalEvent":
        """Return the entry without the columns that take most memory."""
        left_out = {"features": None} if isinstance(self, DecisionEvent) else {}
        return structs.replace(self, plain=NOT_READ, sealed=None, keys=NOT_READ, **left_out)


class DecisionEvent(ArrivalEvent, frozen=True, gc=False):
    """An arrival that was scored at `recorded_us`; `features` and `reasons` are None if the content was removed.

    `reasons` and `warnings` are MessagePack. `history_sequence` is the last entry that history included; None for the entry before this one.
    """

    kind: ClassVar[Literal["arrival", "decision"]] = "decision"

    recorded_us: int
    features: bytes | None
    score: float
    band: str
    reasons: bytes | None
    model: str
    model_sha256: str
    spec_sha256: str
    history_sequence: int | None = None
    office: str | None = None
    warnings: bytes | None = None


class RecordEvent(RecordEntry, frozen=True, gc=False):
    """A record about a consignment; `at_us` is when it happened, of an outcome when it became visible."""

    consignment_id: str
    kind: ConsignmentKind


class SharedEvent(RecordEntry, frozen=True, gc=False):
    """A record about no single consignment; `at_us` is when it was issued. A link is encrypted as a whole, and no score reads it."""

    consignment_id: ClassVar[None] = None

    kind: SharedKind


class MaintenanceEvent(LogEntry, frozen=True, gc=False):
    """An entry of npsrisk itself; `plain` is the MessagePack of what was done."""

    content: ClassVar[bytes] = EMPTY
    consignment_id: ClassVar[None] = None
    sealed: ClassVar[None] = None
    asked_by: ClassVar[str] = ""

    plain: bytes
    kind: MaintenanceKind


Event = ArrivalEvent | DecisionEvent | RecordEvent | SharedEvent | MaintenanceEvent
"""Any entry of the log, without the hashes of the chain."""
Columns = tuple[Any, ...]  # the values of a row, in the order of `EventRow`
TERM = Meta(extra={"term": True})
"""Marks a text that many entries share: the table has its number (`serving.event_log.terms`)."""


class EventRow(msgspec.Struct, frozen=True, gc=False):
    """The columns of an entry, without its hash; `digest` is the keyed digest of `consignment_id`, a signed number of 64 bits."""

    sequence: int
    kind: Kind
    consignment_id: str | None
    at_us: int
    recorded_us: int | None
    content: bytes
    plain: bytes
    sealed: bytes | None
    kinds: Annotated[str | None, TERM] = None
    keys: bytes | None = None
    features: bytes | None = None
    score: float | None = None
    band: Annotated[str | None, TERM] = None
    reasons: bytes | None = None
    model: Annotated[str | None, TERM] = None
    model_sha256: Annotated[str | None, TERM] = None
    spec_sha256: Annotated[str | None, TERM] = None
    asked_by: Annotated[str, TERM] = ""
    digest: int | None = None
    history_sequence: int | None = None
    office: Annotated[str | None, TERM] = None
    warnings: bytes | None = None


NAMES = EventRow.__struct_fields__
PLACES = {name: place for place, name in enumerate(NAMES)}
_DIGEST = PLACES["digest"]
_TYPES: dict[str, Any] = dict.fromkeys(get_args(ConsignmentKind), RecordEvent)
_TYPES |= dict.fromkeys(get_args(SharedKind), SharedEvent)
_TYPES |= dict.fromkeys(get_args(MaintenanceKind), MaintenanceEvent)
_TYPES |= {each.kind: each for each in (ArrivalEvent, DecisionEvent)}
_READERS = {
    kind: (event_type, itemgetter(*(PLACES[name] for name in event_type.__struct_fields__)))
    for kind, event_type in _TYPES.items()
}


def encode_row(event: Event, digest: int | None = None) -> Columns:
    """Return the columns of an entry, with the digest of its identifier."""
    row = [getattr(event, name, None) for name in NAMES]
    row[_DIGEST] = digest
    return tuple(row)


def decode_row(row: Sequence[Any]) -> Event:
    """Return the entry of a row; raise `ServiceFault` if this version does not know its kind."""
    if row[1] not in _READERS:
        raise ServiceFault(
            "a log entry has an unknown kind",
            where=f"log entry {row[0]}",
            got=str(row[1]),
            expected=", ".join(_READERS),
            todo="run npsrisk verify-log; if the chain is valid, use the version of npsrisk that wrote the log",
        )
    event_type, get_fields = _READERS[row[1]]
    event: Event = event_type(*get_fields(row))
    return event


_encode = msgspec.msgpack.Encoder().encode
_begin_digest = hashlib.sha256().copy  # which takes less time than a new digest


def encode_columns(row: Columns) -> bytes:
    """Encode a row as MessagePack without the empty columns at its end, so that a further column changes no hash."""
    end = len(row)
    while row[end - 1] is None:
        end -= 1
    return _encode(row[:end])


def hash_row(previous: bytes, row: Columns) -> bytes:
    """Compute the hash of an entry: SHA-256 of the hash before it and of its columns."""
    digest = _begin_digest()
    digest.update(previous + encode_columns(row))
    return digest.digest()


def hash_rows(previous: bytes, rows: Iterable[Columns]) -> list[bytes]:
    """Compute the hash of each of some entries in order."""
    hashes = []
    for row in rows:
        previous = hash_row(previous, row)
        hashes.append(previous)
    return hashes
