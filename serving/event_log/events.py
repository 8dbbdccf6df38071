"""Entries of the event log: a struct for each kind, whose fields have the names of the table's columns.

`Event` is any of them; use `match` or `isinstance` to distinguish them. `serving.event_log.event_rows` converts them to
rows and back.
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
    "erasure",
    "clock",
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
    """The common base of all log entries.

    Attributes
    ----------
    kind : str
        Kind of entry, fixed for each class.
    sequence : int
        Sequence number in the log, from 1, without gaps.
    at_us : int
        When it happened, in microseconds since the epoch.
    recorded_us : int or None
        When the service recorded it; for imported data the value of the table.
    """

    kind: ClassVar[Kind]

    sequence: int
    at_us: int
    recorded_us: int | None


class RecordEntry(LogEntry, frozen=True, gc=False):
    """An entry of a received record.

    Attributes
    ----------
    content : bytes
        Keyed digest of the record. `content`, `plain` and `sealed` are those of `serving.encryption.vault.PackedRecord`.
    plain : bytes
    sealed : bytes or None
    asked_by : str
        Name of the API key, `local` if there are none, `import` for past data.
    """

    content: bytes
    plain: bytes
    sealed: bytes | None
    asked_by: str


class ArrivalEvent(RecordEntry, frozen=True, gc=False):
    """A consignment that counts in history. Without a decision it was imported, or the model failed.

    Attributes
    ----------
    at_us : int
        When it was received.
    kinds : str
        Digest of the kinds of history keys that `keys` holds.
    keys : bytes
        History keys as little-endian uint64, followed by the same number of counterparts.
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
    """An arrival that was scored.

    Attributes
    ----------
    recorded_us : int
        When it was scored.
    features : bytes or None
        The float32 row that was scored, little-endian; None if its content was removed.
    score : float
        Probability.
    band : str
    reasons : bytes or None
        Reasons as MessagePack; None if its content was removed.
    model : str
        Name and version, `NAME/VERSION`.
    model_sha256, spec_sha256 : str
        Digests of the bundle and of its feature spec.
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
    """The link of a master or a house, which later messages need; `at_us` is when it was recorded.

    It is a `consignments.messages.links.Link`, encrypted as a whole. No score reads it.
    """

    kind: ClassVar[Kind] = "link"
    consignment_id: ClassVar[None] = None

    @property
    def redacted(self) -> bool:
        """Return whether its content was removed."""
        return self.plain == EMPTY


class MaintenanceEntry(LogEntry, frozen=True, gc=False):
    """An entry of npsrisk itself about other entries.

    Attributes
    ----------
    plain : bytes
        MessagePack of what was done.
    """

    content: ClassVar[bytes] = EMPTY
    consignment_id: ClassVar[None] = None
    sealed: ClassVar[None] = None
    asked_by: ClassVar[str] = ""

    plain: bytes


class RedactionEvent(MaintenanceEntry, frozen=True, gc=False):
    """A removal of the content of entries recorded before `at_us` (`serving.event_log.hash_chain.Redaction`)."""

    kind: ClassVar[Kind] = "removal"


class KeyErasureEvent(MaintenanceEntry, frozen=True, gc=False):
    """An erasure of a monthly key (`serving.encryption.key_file.KeyErasure`); `at_us` is when it was erased."""

    kind: ClassVar[Kind] = "erasure"


class ClockCorrectionEvent(MaintenanceEntry, frozen=True, gc=False):
    """A correction of times in earlier entries (`serving.event_log.clock_corrections`); `at_us` is when it was made."""

    kind: ClassVar[Kind] = "clock"


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
    | KeyErasureEvent
    | ClockCorrectionEvent
)
"""Any entry of the log, without the hashes of the chain."""
