"""Entries of the event log: a struct for each kind, and the row of an entry, `EventRow`, whose columns their fields name.

From that struct derive the table, its migration, the hash of an entry, and the conversion of entries. A further column goes to the
end of the struct and may be empty. It then is in the table of the next start, earlier entries have nothing in it, and their hashes
stay. `Event` is any of the kinds; use `match` or `isinstance` to distinguish them.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, get_args

import msgspec
from msgspec import Meta, structs
from msgspec.structs import astuple

from consignments.errors import ServiceFault

Kind = Literal[
    "decision",
    "arrival",
    "outcome",
    "alert",
    "cancellation",
    "selection",
    "action",
    "state",
    "link",
    "removal",
    "restore",
    "message",
    "downgrade",
    "access",
]
ARRIVAL_KINDS: tuple[Kind, ...] = ("decision", "arrival")
CONTENT_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "link")
"""Kinds of entries whose content a removal of old content empties."""
IMPORTED_BY = "import"
"""Replaces the name of the API key in entries of past data."""
EMPTY = b""
"""Replaces the fields of an entry whose content was removed."""
NOT_READ = b"\xc1"
"""Replaces a column that was not read. No MessagePack begins with this byte, so decoding it by mistake fails."""


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """The common base of all entries; `recorded_us` of imported data is the value of the table. Times are microseconds since the epoch."""

    kind: ClassVar[Kind]

    sequence: int
    at_us: int
    recorded_us: int | None


class RecordEntry(LogEntry, frozen=True, gc=False):
    """An entry of a received record, with the fields of its `serving.encryption.vault.PackedRecord`.

    `asked_by` is the name of the API key, `local` if there are none, `import` for past data.
    """

    content: bytes
    plain: bytes
    sealed: bytes | None
    asked_by: str


class ArrivalEvent(RecordEntry, frozen=True, gc=False):
    """A consignment that counts in history. Without a decision it was imported, or the model failed.

    `kinds` is the digest of the kinds of history keys in `keys`: little-endian uint64, followed by as many counterparts.
    """

    kind: ClassVar[Kind] = "arrival"

    consignment_id: str
    kinds: str
    keys: bytes

    @property
    def redacted(self) -> bool:
        """Return whether its content (fields, features, reasons) was removed; its history keys remain."""
        return self.plain == EMPTY

    def drop_bytes(self) -> "ArrivalEvent":
        """Return the entry without the columns that take most memory."""
        return structs.replace(self, plain=NOT_READ, sealed=None, keys=NOT_READ)


class DecisionEvent(ArrivalEvent, frozen=True, gc=False):
    """An arrival that was scored at `recorded_us`.

    `features` and `reasons` (MessagePack) are None if the content was removed. `office` is the office that examines it, and `warnings` the MessagePack
    of the doubts about it, None if there are none. `history_sequence` is the last entry that history
    included when it was read for this decision; None for the entry before this one.
    """

    kind: ClassVar[Kind] = "decision"

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

    def drop_bytes(self) -> "DecisionEvent":
        """Return the entry without the columns that take most memory."""
        return structs.replace(self, plain=NOT_READ, sealed=None, keys=NOT_READ, features=None)


class OutcomeEvent(RecordEntry, frozen=True, gc=False):
    """An inspection outcome; `at_us` is when it became visible."""

    kind: ClassVar[Kind] = "outcome"

    consignment_id: str


class AlertEvent(RecordEntry, frozen=True, gc=False):
    """An alert of a partner; `at_us` is when it was issued."""

    kind: ClassVar[Kind] = "alert"
    consignment_id: ClassVar[None] = None


class MessageEvent(RecordEntry, frozen=True, gc=False):
    """A message of a partner; `at_us` is when it was issued. The alerts that it changed are entries before it."""

    kind: ClassVar[Kind] = "message"
    consignment_id: ClassVar[None] = None


class CancellationEvent(RecordEntry, frozen=True, gc=False):
    """A cancellation of a consignment by its sender; `at_us` is when it was cancelled."""

    kind: ClassVar[Kind] = "cancellation"

    consignment_id: str


class SelectionEvent(RecordEntry, frozen=True, gc=False):
    """A selection of a consignment for inspection; `at_us` is when it was selected."""

    kind: ClassVar[Kind] = "selection"

    consignment_id: str


class ActionEvent(RecordEntry, frozen=True, gc=False):
    """An officer's action on a consignment, for example a release; `at_us` is when it was taken."""

    kind: ClassVar[Kind] = "action"

    consignment_id: str


class CustomsStateEvent(RecordEntry, frozen=True, gc=False):
    """An answer of customs about a consignment, such as a hold; `at_us` is when it was issued. No score reads it."""

    kind: ClassVar[Kind] = "state"

    consignment_id: str


class LinkEvent(RecordEntry, frozen=True, gc=False):
    """The link of a master or a house (`consignments.messages.links.Link`), encrypted as a whole. No score reads it."""

    kind: ClassVar[Kind] = "link"
    consignment_id: ClassVar[None] = None

    @property
    def redacted(self) -> bool:
        """Return whether its content was removed."""
        return self.plain == EMPTY


class MaintenanceEntry(LogEntry, frozen=True, gc=False):
    """An entry of npsrisk itself about other entries; `plain` is the MessagePack of what was done."""

    content: ClassVar[bytes] = EMPTY
    consignment_id: ClassVar[None] = None
    sealed: ClassVar[None] = None
    asked_by: ClassVar[str] = ""

    plain: bytes


class RedactionEvent(MaintenanceEntry, frozen=True, gc=False):
    """A removal of the content of entries recorded before `at_us` (`serving.event_log.redactions.Redaction`)."""

    kind: ClassVar[Kind] = "removal"


class RestoreEvent(MaintenanceEntry, frozen=True, gc=False):
    """A restore from a backup; `plain` is the name that the log has in identifiers of decisions from here on."""

    kind: ClassVar[Kind] = "restore"


class DowngradeEvent(MaintenanceEntry, frozen=True, gc=False):
    """The use of an older release than the newest approved one; `plain` is the MessagePack of the two models, `NAME/VERSION`."""

    kind: ClassVar[Kind] = "downgrade"


class AccessEvent(MaintenanceEntry, frozen=True, gc=False):
    """A look at personal data (`serving.maintenance.access_log.PersonalAccess`). No score reads it."""

    kind: ClassVar[Kind] = "access"


Event = (
    ArrivalEvent
    | DecisionEvent
    | OutcomeEvent
    | AlertEvent
    | MessageEvent
    | CancellationEvent
    | SelectionEvent
    | ActionEvent
    | CustomsStateEvent
    | LinkEvent
    | RedactionEvent
    | RestoreEvent
    | DowngradeEvent
    | AccessEvent
)
"""Any entry of the log, without the hashes of the chain."""

Columns = tuple[Any, ...]
"""The values of a row, in the order of `EventRow`."""
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

    @property
    def redacted(self) -> bool:
        """Return whether the content of the entry was removed."""
        return self.plain == EMPTY


NAMES = EventRow.__struct_fields__
PLACES = {name: place for place, name in enumerate(NAMES)}
_encode, _sha256 = msgspec.msgpack.Encoder().encode, hashlib.sha256


def encode_columns(row: Columns) -> bytes:
    """Encode a row as MessagePack without the empty columns at its end, so that a further column changes no hash."""
    end = len(row)
    while row[end - 1] is None:
        end -= 1
    return _encode(row[:end])


def hash_row(previous: bytes, row: Columns) -> bytes:
    """Compute the hash of an entry: SHA-256 of the hash before it and of its columns."""
    return _sha256(previous + encode_columns(row)).digest()


def hash_rows(previous: bytes, rows: Iterable[Columns]) -> list[bytes]:
    """Compute the hash of each of some entries in order."""
    hashes = []
    for row in rows:
        previous = hash_row(previous, row)
        hashes.append(previous)
    return hashes


class _Layout(NamedTuple):
    """The mapping between the fields of a kind of entry and the columns; `constants` are the values of the columns that it has no fields for."""

    event_type: Callable[..., Event]
    constants: Columns
    get_columns: Callable[[Columns], Columns]
    get_fields: Callable[[Sequence[Any]], Columns]


def _lay_out(event_type: Any) -> _Layout:
    fields = event_type.__struct_fields__
    constants = {
        name: getattr(event_type, name, None) for name in NAMES if name not in fields and name != "digest"
    }
    places = {name: place for place, name in enumerate((*fields, "digest", *constants))}
    return _Layout(
        event_type,
        tuple(constants.values()),
        itemgetter(*(places[name] for name in NAMES)),
        itemgetter(*(PLACES[name] for name in fields)),
    )


_LAYOUTS: dict[str, _Layout] = {each.kind: _lay_out(each) for each in get_args(Event)}


def encode_row(event: Event, digest: int | None = None) -> Columns:
    """Return the columns of an entry, with the digest of its identifier."""
    layout = _LAYOUTS[event.kind]
    return layout.get_columns((*astuple(event), digest, *layout.constants))


def decode_row(row: Sequence[Any]) -> Event:
    """Return the entry of a row; raise `ServiceFault` if this version does not know its kind."""
    layout = _LAYOUTS.get(row[1])
    if layout is None:
        raise ServiceFault(
            "a log entry has an unknown kind",
            where=f"log entry {row[0]}",
            got=str(row[1]),
            expected=", ".join(_LAYOUTS),
            todo="run npsrisk verify-log; if the chain is valid, use the version of npsrisk that wrote the log",
        )
    return layout.event_type(*layout.get_fields(row))
