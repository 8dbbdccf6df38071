"""Entries of the event log: a struct for each kind, whose fields have the names of columns of `serving.event_log.event_rows`.

`Event` is any of them; use `match` or `isinstance` to distinguish them.
"""

from typing import ClassVar, Literal

import msgspec

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
    "message",
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


class DecisionEvent(ArrivalEvent, frozen=True, gc=False):
    """An arrival that was scored at `recorded_us`.

    `features` and `reasons` (MessagePack) are None if the content was removed. `history_sequence` is the last entry that history
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
    """A removal of the content of entries recorded before `at_us` (`serving.event_log.hash_chain.Redaction`)."""

    kind: ClassVar[Kind] = "removal"


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
)
"""Any entry of the log, without the hashes of the chain."""
