"""Records as entries of the log, and entries as records."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.records import Alert, Consignment, Identifier, Outcome, Probability, Selector, Time
from consignments.timestamps import to_datetime, to_us
from consignments.visibility import get_visible_us
from features.history.keys import KEYS_VERSION, KeyKind
from serving.encryption.key_file import KeyErasure
from serving.encryption.vault import PackedRecord, RecordPacker, Vault
from serving.event_log.events import (
    AlertEvent,
    ArrivalEvent,
    CancellationEvent,
    DecisionEvent,
    OutcomeEvent,
    SelectionEvent,
)

Keys = NDArray[np.uint64]
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
KEY_DTYPE = np.dtype("<u8")
FEATURE_DTYPE = np.dtype("<f4")
KINDS_DIGEST_CHARACTERS = 16


class Cancellation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consignment withdrawn by its sender: from then on it no longer counts."""

    consignment_id: Annotated[Identifier, Meta(description="a consignment that was scored or imported")]
    cancelled_at: Annotated[Time | None, Meta(description="when it was withdrawn; left out: now")] = None


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consignment chosen for inspection."""

    consignment_id: Annotated[Identifier, Meta(description="the consignment")]
    office: Annotated[str, Meta(description="customs office that inspects")]
    selected_by: Annotated[Selector, Meta(description="`model`, or `random` for the exploring share")]
    selection_probability: Annotated[
        Probability, Meta(description="its probability of being chosen under the whole policy")
    ]
    selected_at: Annotated[datetime, Meta(description="when it was chosen")]
    request: Annotated[str, Meta(description="digest of the request it was chosen for")] = ""


class ScoredDecision(NamedTuple):
    """What a model said of a consignment.

    Attributes
    ----------
    features : float32 array
        The row that was scored.
    score : float
        Probability.
    band : str
    reasons : bytes
        MessagePack.
    model, model_sha256, spec_sha256 : str
    """

    features: Row
    score: float
    band: str
    reasons: bytes
    model: str
    model_sha256: str
    spec_sha256: str


class EventOrigin(msgspec.Struct, frozen=True, gc=False):
    """Where a new entry comes from.

    Attributes
    ----------
    sequence : int
        Its place in the log.
    recorded_us : int or None
        When the service recorded it, in microseconds since the epoch; None for past data.
    asked_by : str
    """

    sequence: int
    recorded_us: int | None
    asked_by: str


def compute_kinds_digest(kinds: tuple[KeyKind, ...]) -> str:
    """Tell apart the lists of keys that models use: names and counterparts, in their order, and how they are made."""
    named = [(kind.name, kind.counterpart) for kind in kinds]
    return sha256(msgspec.json.encode((KEYS_VERSION, named))).hexdigest()[:KINDS_DIGEST_CHARACTERS]


class EventCodec:
    """Turns records into entries of the log and back.

    Parameters
    ----------
    vault : Vault or None
        Without it entries are only read, and the records lack their personal fields.
    record : type
        `Consignment`, or the type of a model that declares further columns.
    kinds : tuple of KeyKind
        The keys of history that go with an arrival.

    Attributes
    ----------
    kinds : str
        Digest of these kinds.
    opens : bool
        Personal fields can be decrypted.
    """

    def __init__(self, vault: Vault | None, record: type[Consignment], kinds: tuple[KeyKind, ...]) -> None:
        self.vault, self.kinds = vault, compute_kinds_digest(kinds)
        self.opens = vault is not None
        self.consignments = RecordPacker(record, vault, ("consignment_id", "received_at", "cancelled_at"))
        self.outcomes = RecordPacker(Outcome, vault, ("consignment_id", "recorded_at"))
        self.alerts = RecordPacker(Alert, vault, ())
        self.cancellations = RecordPacker(Cancellation, vault, ("consignment_id", "cancelled_at"))
        self.selections = RecordPacker(Selection, vault, ("consignment_id", "selected_at"))

    def pack(self, c: Consignment, recorded_us: int) -> PackedRecord:
        """Pack a consignment for the month it is recorded in; its `content` tells whether it is the version that is known.

        Raises
        ------
        ServiceFault
            Where the month has no key, and none can be made.
        """
        return self.consignments.pack(c, c.consignment_id, recorded_us)

    def encode_arrival(
        self, origin: EventOrigin, c: Consignment, packed: PackedRecord, keys: Keys, counterparts: Keys
    ) -> ArrivalEvent:
        """Make the entry of a consignment without a decision; `received_at` is set."""
        assert c.received_at is not None
        return ArrivalEvent(
            origin.sequence,
            to_us(c.received_at),
            origin.recorded_us,
            packed.content,
            packed.plain,
            packed.sealed,
            origin.asked_by,
            c.consignment_id,
            self.kinds,
            keys.astype(KEY_DTYPE, copy=False).tobytes()
            + counterparts.astype(KEY_DTYPE, copy=False).tobytes(),
        )

    def encode_decision(self, arrival: ArrivalEvent, decision: ScoredDecision) -> DecisionEvent:
        """Make the entry of a decision from that of its arrival; `recorded_us` is set."""
        assert arrival.recorded_us is not None
        features, *said = decision
        scored = features.astype(FEATURE_DTYPE, copy=False).tobytes(), *said
        # The fields of an arrival are the first of a decision's.
        return DecisionEvent(*(astuple(arrival) + scored))

    def encode_outcome(self, sequence: int, outcome: Outcome, asked_by: str) -> OutcomeEvent:
        """Make the entry of an outcome; `recorded_at` is set if the service recorded it."""
        recorded_us = None if outcome.recorded_at is None else to_us(outcome.recorded_at)
        packed = self.outcomes.pack(outcome, outcome.consignment_id)
        visible_us, name = get_visible_us(outcome), outcome.consignment_id
        return OutcomeEvent(sequence, visible_us, recorded_us, *_columns(packed), asked_by, name)

    def encode_alert(self, sequence: int, alert: Alert, recorded_us: int | None, asked_by: str) -> AlertEvent:
        """Make the entry of an alert."""
        packed = self.alerts.pack(alert, alert.alert_id)
        return AlertEvent(sequence, to_us(alert.issued_at), recorded_us, *_columns(packed), asked_by)

    def encode_cancellation(
        self, sequence: int, consignment_id: str, cancelled_us: int, recorded_us: int | None, asked_by: str
    ) -> CancellationEvent:
        """Make the entry of a cancellation."""
        packed = self.cancellations.pack(Cancellation(consignment_id), consignment_id)
        columns = _columns(packed)
        return CancellationEvent(sequence, cancelled_us, recorded_us, *columns, asked_by, consignment_id)

    def encode_selection(self, sequence: int, selection: Selection, asked_by: str) -> SelectionEvent:
        """Make the entry of a selection."""
        packed = self.selections.pack(selection, selection.consignment_id)
        at_us = to_us(selection.selected_at)
        return SelectionEvent(sequence, at_us, at_us, *_columns(packed), asked_by, selection.consignment_id)

    def decode_consignment(self, event: ArrivalEvent) -> Consignment:
        """Give the consignment of an arrival or a decision; personal fields are decrypted, where there is a vault.

        Raises
        ------
        ServiceFault
            Where its content was removed, the key of its month was erased or is missing, or it cannot be decrypted.
        """
        if event.redacted:
            raise _build_redaction_fault(event)
        c: Consignment = self.consignments.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            received_at=to_datetime(event.at_us),
        )
        return c

    def decode_outcome(self, event: OutcomeEvent) -> Outcome:
        """Give the outcome of an entry."""
        recorded_at = None if event.recorded_us is None else to_datetime(event.recorded_us)
        outcome: Outcome = self.outcomes.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            recorded_at=recorded_at,
        )
        return outcome

    def decode_alert(self, event: AlertEvent) -> Alert:
        """Give the alert of an entry; personal fields are decrypted, where there is a vault."""
        name = self.alerts.unpack_plain(event.plain)["alert_id"]
        alert: Alert = self.alerts.unpack(event.plain, event.sealed, name)
        return alert

    def decode_selection(self, event: SelectionEvent) -> Selection:
        """Give the selection of an entry."""
        selection: Selection = self.selections.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            selected_at=to_datetime(event.at_us),
        )
        return selection

    @property
    def has_erasures(self) -> bool:
        """Whether the key of any month was erased, as far as is known."""
        return self.vault is not None and self.vault.periods is not None and bool(self.vault.periods.erasures)

    def find_erasure(self, event: ArrivalEvent) -> KeyErasure | None:
        """Give the record that the key of an entry's personal fields was erased; None where it was not, or it has none."""
        return None if self.vault is None else self.vault.find_erasure(event.sealed)

    def decode_plain_fields(self, event: ArrivalEvent) -> dict[str, Any]:
        """Give the fields of a consignment that are not personal; none where its content was removed."""
        return {} if event.redacted else self.consignments.unpack_plain(event.plain)


def decode_keys(event: ArrivalEvent) -> tuple[Keys, Keys]:
    """Give the keys of history and their counterparts that an entry holds."""
    both = np.frombuffer(event.keys, dtype=KEY_DTYPE)
    return both[: len(both) // 2], both[len(both) // 2 :]


def decode_features(event: DecisionEvent) -> Row:
    """Give the row that was scored.

    Raises
    ------
    ServiceFault
        If the content of the entry was removed.
    """
    if event.features is None:
        raise _build_redaction_fault(event)
    return np.frombuffer(event.features, dtype=FEATURE_DTYPE)


def _build_redaction_fault(event: ArrivalEvent) -> ServiceFault:
    return ServiceFault("its content was removed by npsrisk forget", where=f"log entry {event.sequence}")


def _columns(packed: PackedRecord) -> tuple[bytes, bytes, bytes | None]:
    return packed.content, packed.plain, packed.sealed
