"""The entries of the event log: a struct for each kind, whose fields are named as the columns of the table.

`Event` is any of them; `match`, or `isinstance`, tells them apart. `serving.event_log.event_rows` turns them into rows and back.
"""

from typing import ClassVar, Literal

import msgspec

Kind = Literal["decision", "arrival", "outcome", "alert", "cancellation", "selection", "removal", "erasure"]
ARRIVAL_KINDS: tuple[Kind, ...] = ("decision", "arrival")
EMPTY = b""
"""In place of the fields of an entry whose content was removed."""
NOT_READ = b"\xc1"
"""In place of a column that was not asked for. No MessagePack begins with this byte, so decoding it by mistake fails."""


class LogEntry(msgspec.Struct, frozen=True, gc=False):
    """What all entries have.

    Attributes
    ----------
    kind : str
        Of the class.
    sequence : int
        Place in the log, from 1, without gaps.
    at_us : int
        When it happened, in microseconds since the epoch.
    recorded_us : int or None
        When the service recorded it; of past data as the table gives it.
    """

    kind: ClassVar[Kind]

    sequence: int
    at_us: int
    recorded_us: int | None


class RecordEntry(LogEntry, frozen=True, gc=False):
    """An entry of a record that came in.

    Attributes
    ----------
    content : bytes
        Keyed digest of the record (`serving.encryption.vault.PackedRecord`), as are `plain` and `sealed`.
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
    """A consignment that counts in history. It has no decision: it is past data, or the model failed.

    Attributes
    ----------
    at_us : int
        When it was received.
    kinds : str
        Digest of the kinds of history keys that `keys` holds.
    keys : bytes
        uint64 keys of history, then as many counterparts; little-endian.
    """

    kind: ClassVar[Kind] = "arrival"

    consignment_id: str
    kinds: str
    keys: bytes

    @property
    def redacted(self) -> bool:
        """Whether its content was removed: fields, features and reasons; its keys of history are left."""
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
        MessagePack; None if its content was removed.
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
    """An outcome; `at_us` is when it became visible."""

    kind: ClassVar[Kind] = "outcome"

    consignment_id: str


class AlertEvent(RecordEntry, frozen=True, gc=False):
    """An alert; `at_us` is when it was issued."""

    kind: ClassVar[Kind] = "alert"
    consignment_id: ClassVar[None] = None


class CancellationEvent(RecordEntry, frozen=True, gc=False):
    """A consignment withdrawn by its sender; `at_us` is when."""

    kind: ClassVar[Kind] = "cancellation"

    consignment_id: str


class SelectionEvent(RecordEntry, frozen=True, gc=False):
    """A consignment chosen for inspection; `at_us` is when."""

    kind: ClassVar[Kind] = "selection"

    consignment_id: str


class MaintenanceEntry(LogEntry, frozen=True, gc=False):
    """An entry that npsrisk itself makes, about other entries.

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
    """The content of earlier entries was removed (`serving.event_log.hash_chain.Redaction`); they were recorded before `at_us`."""

    kind: ClassVar[Kind] = "removal"


class KeyErasureEvent(MaintenanceEntry, frozen=True, gc=False):
    """The key of a month was erased (`serving.encryption.key_file.KeyErasure`); `at_us` is when."""

    kind: ClassVar[Kind] = "erasure"


Event = (
    ArrivalEvent
    | DecisionEvent
    | OutcomeEvent
    | AlertEvent
    | CancellationEvent
    | SelectionEvent
    | RedactionEvent
    | KeyErasureEvent
)
"""One entry of the log, without the hashes of its chain."""
