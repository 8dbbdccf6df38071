"""Conversion of records to log entries and back."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from msgspec.structs import astuple
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.exchange.alerts import name_message
from consignments.messages.links import Link, pack_link, unpack_link
from consignments.messages.parsed import EventState
from consignments.records import (
    Alert,
    Code,
    Consignment,
    Identifier,
    Outcome,
    Probability,
    Selector,
    Text,
    Time,
)
from consignments.timestamps import NO_TIME, to_datetime, to_us, to_us_if_known
from consignments.visibility import get_visible_us
from features.history.keys import KEYS_VERSION, KeyKind
from serving.encryption.vault import PackedRecord, RecordPacker, Vault, read_spelling
from serving.event_log.events import (
    ActionEvent,
    AlertEvent,
    ArrivalEvent,
    CancellationEvent,
    CustomsStateEvent,
    DecisionEvent,
    LinkEvent,
    MessageEvent,
    OutcomeEvent,
    SelectionEvent,
)
from serving.event_log.packed_features import pack_rows, unpack_row

Keys = NDArray[np.uint64]
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
KEY_DTYPE = np.dtype("<u8")
KINDS_DIGEST_CHARACTERS = 16


class Cancellation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cancellation of a consignment by its sender: from then on the consignment no longer counts."""

    consignment_id: Annotated[
        Identifier, Meta(description="identifier of a consignment that was scored or imported")
    ]
    cancelled_at: Annotated[Time | None, Meta(description="when it was cancelled; default: now")] = None


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The selection of a consignment for inspection."""

    consignment_id: Annotated[Identifier, Meta(description="identifier of the consignment")]
    office: Annotated[str, Meta(description="customs office that inspects")]
    selected_by: Annotated[Selector, Meta(description="`model`, or `random` for a random selection")]
    selection_probability: Annotated[
        Probability, Meta(description="probability that the whole policy selects this consignment")
    ]
    selected_at: Annotated[datetime, Meta(description="when it was selected")]
    request: Annotated[str, Meta(description="digest of the selection request")] = ""


class LoggedMessage(msgspec.Struct, frozen=True):
    """A message of a partner. Its text is encrypted, because its author may have written anything."""

    message_id: str
    author: str
    kind: str
    issued_at: Time
    envelope: Annotated[str, Meta(max_length=100_000, extra={"personal": True})]
    withdraws: str | None = None

    @property
    def name(self) -> str:
        """Return the identifier of the message among those of all partners."""
        return name_message(self.author, self.message_id)

    @property
    def withdrawn_name(self) -> str | None:
        """Return the identifier of the message that it withdraws, if it withdraws one."""
        return None if self.withdraws is None else name_message(self.author, self.withdraws)


class LoggedLink(msgspec.Struct, frozen=True):
    """A link between a master and its houses (`consignments.messages.links`), encrypted as a whole."""

    link: Annotated[bytes, Meta(extra={"personal": True})]


LINK_SUBJECT = "link"
"""Replaces the identifier to which other encrypted records are bound: that of a link is encrypted with it."""
ActionKind = Literal["request_information", "request_screening", "do_not_load", "inspect", "release"]
"""What an officer may decide about a consignment."""
Proposal = Literal["inspect", "check", "release"]
"""What the score proposes: to inspect, to decide after a look, or to release."""
OVERRIDES: dict[Proposal, frozenset[ActionKind]] = {
    "inspect": frozenset({"release"}),
    "check": frozenset(),
    "release": frozenset({"inspect", "do_not_load"}),
}
"""Actions that override each proposal. An override needs a reason."""
MAX_REASON_CHARACTERS = 2000


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An officer's action on a consignment."""

    consignment_id: Annotated[
        Identifier, Meta(description="identifier of a consignment that was scored or imported")
    ]
    action: Annotated[
        ActionKind,
        Meta(description="request_information, request_screening, do_not_load, inspect or release"),
    ]
    reason: Annotated[
        Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS, extra={"personal": True})] | None,
        Meta(description="why; required if the action overrides the proposal. It is stored encrypted"),
    ] = None
    by: Annotated[
        Code | None,
        Meta(
            description="person who decided; the person of the API key, if it names one, else the name of the key"
        ),
    ] = None
    acted_at: Annotated[Time | None, Meta(description="when it was decided; default: now")] = None


class RecordedAction(Action, frozen=True, forbid_unknown_fields=True):
    """An action as the log has it, with what the score proposed at that time."""

    proposal: Annotated[
        Proposal | None,
        Meta(description="what the score proposed: inspect, check or release; null without a score"),
    ] = None

    @property
    def overrides(self) -> bool:
        """Return whether the action overrides the proposal."""
        return self.proposal is not None and self.action in OVERRIDES[self.proposal]


class CustomsState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer of customs about a consignment."""

    consignment_id: Annotated[
        Identifier,
        Meta(description="identifier of the consignment; may be unknown until the consignment arrives"),
    ]
    state: Annotated[EventState, Meta(description="what customs says")]
    authority: Annotated[Code | None, Meta(description="who says so")] = None
    code: Annotated[Code | None, Meta(description="code of the state in the message")] = None
    issued_at: Annotated[Time | None, Meta(description="when it was issued")] = None
    source: Annotated[Code | None, Meta(description="kind of the message, for example XCSN")] = None
    recorded_at: Annotated[Time | None, Meta(description="when npsrisk recorded it; set by the service")] = (
        None
    )


class ReportedState(CustomsState, frozen=True, forbid_unknown_fields=True):
    """An answer of customs as a client sends it. Its words may name people and are not recorded."""

    text: Annotated[Text | None, Meta(description="words of the message; not recorded")] = None


class ScoredDecision(msgspec.Struct, frozen=True, gc=False):
    """The result of scoring a consignment: the packed row (`encode_features`), a probability, and reasons as MessagePack."""

    features: bytes
    score: float
    band: str
    reasons: bytes
    model: str
    model_sha256: str
    spec_sha256: str


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A consignment that arrived, as its log entry has it, apart from its history keys; without a time of issue it has NO_TIME."""

    packed: PackedRecord
    received_us: int
    issued_us: int
    asked_by: str
    name: str

    @classmethod
    def build(cls, c: Consignment, packed: PackedRecord, asked_by: str, name: str | None = None) -> "Arrival":
        """Build it from a consignment whose `received_at` is set; `name` is by default its own identifier."""
        assert c.received_at is not None
        return cls(packed, to_us(c.received_at), get_issued_us(c), asked_by, name or c.consignment_id)


def get_issued_us(c: Consignment) -> int:
    """Return when the sender issued this version of a consignment, in microseconds; NO_TIME if unknown."""
    return to_us_if_known(c.issued_at)


def compute_kinds_digest(kinds: tuple[KeyKind, ...]) -> str:
    """Compute a digest of a model's list of history keys: version of the algorithm, names and counterparts, in order."""
    named = [(kind.name, kind.counterpart) for kind in kinds]
    return sha256(msgspec.json.encode((KEYS_VERSION, named))).hexdigest()[:KINDS_DIGEST_CHARACTERS]


class EventCodec:
    """A converter of records to log entries and back. Without a vault it only decodes, and the records lack their personal fields."""

    def __init__(self, vault: Vault | None, record: type[Consignment], kinds: tuple[KeyKind, ...]) -> None:
        self.vault, self.kinds = vault, compute_kinds_digest(kinds)
        self.opens = vault is not None
        self.consignments = RecordPacker(
            record, vault, ("consignment_id", "received_at", "cancelled_at", "issued_at")
        )
        self.outcomes = RecordPacker(Outcome, vault, ("consignment_id", "recorded_at"))
        self.alerts = RecordPacker(Alert, vault, ())
        self.messages = RecordPacker(LoggedMessage, vault, ())
        self.cancellations = RecordPacker(Cancellation, vault, ("consignment_id", "cancelled_at"))
        self.selections = RecordPacker(Selection, vault, ("consignment_id", "selected_at"))
        self.actions = RecordPacker(RecordedAction, vault, ("consignment_id",))
        self.states = RecordPacker(CustomsState, vault, ("consignment_id", "recorded_at"))
        self.links = RecordPacker(LoggedLink, vault, ())

    def pack(self, c: Consignment, name: str | None = None) -> PackedRecord:
        """Pack a consignment as `pack_all` does; `name` is by default its own identifier."""
        return self.pack_all([c], [name or c.consignment_id])[0]

    def pack_all(self, consignments: Sequence[Consignment], names: Sequence[str]) -> list[PackedRecord]:
        """Pack consignments under the identifiers by which the log knows them; equal versions have the same `content`."""
        return self.consignments.pack_all(consignments, names)

    def encode_arrival(
        self,
        sequence: int,
        recorded_us: int | None,
        arrival: Arrival,
        keys: Keys,
        counterparts: Keys,
        decision: ScoredDecision | None = None,
    ) -> ArrivalEvent:
        """Encode one consignment as `encode_arrivals` does; `keys` and `counterparts` have the shape (kinds,)."""
        return self.encode_arrivals(
            sequence, recorded_us, [arrival], keys[None], counterparts[None], [decision]
        )[0]

    def encode_arrivals(
        self,
        first: int,
        recorded_us: int | None,
        arrivals: Sequence[Arrival],
        keys: Keys,
        counterparts: Keys,
        decisions: Sequence[ScoredDecision | None] = (),
    ) -> list[ArrivalEvent]:
        """Encode consignments that arrived one after the other, from the sequence number `first` on, with keys and counterparts, (n, kinds)."""
        stored = split_rows(np.concatenate([keys, counterparts], axis=1, dtype=KEY_DTYPE))
        said = decisions or [None] * len(arrivals)
        events = []
        for sequence, (arrival, both, decision) in enumerate(zip(arrivals, stored, said, strict=True), first):
            if arrival.issued_us != NO_TIME:
                both += arrival.issued_us.to_bytes(KEY_DTYPE.itemsize, "little", signed=True)
            # The fields of an arrival are the first of a decision's.
            fields: tuple[Any, ...] = (
                sequence,
                arrival.received_us,
                recorded_us,
                *_columns(arrival.packed),
                arrival.asked_by,
                arrival.name,
                self.kinds,
                both,
            )
            if decision is None:
                events.append(ArrivalEvent(*fields))
            else:
                events.append(DecisionEvent(*fields, *astuple(decision)))
        return events

    def encode_outcome(
        self, sequence: int, outcome: Outcome, asked_by: str, name: str | None = None
    ) -> OutcomeEvent:
        """Encode an outcome; `recorded_at` is set if the service recorded it, and `name` is that of `pack`."""
        recorded_us = None if outcome.recorded_at is None else to_us(outcome.recorded_at)
        name = name or outcome.consignment_id
        packed = self.outcomes.pack(outcome, name)
        return OutcomeEvent(sequence, get_visible_us(outcome), recorded_us, *_columns(packed), asked_by, name)

    def encode_alert(self, sequence: int, alert: Alert, recorded_us: int | None, asked_by: str) -> AlertEvent:
        """Encode an alert."""
        packed = self.alerts.pack(alert, alert.alert_id)
        return AlertEvent(sequence, to_us(alert.issued_at), recorded_us, *_columns(packed), asked_by)

    def encode_message(
        self, sequence: int, message: LoggedMessage, recorded_us: int, asked_by: str
    ) -> MessageEvent:
        """Encode a message of a partner."""
        packed = self.messages.pack(message, message.name)
        return MessageEvent(sequence, to_us(message.issued_at), recorded_us, *_columns(packed), asked_by)

    def encode_cancellation(
        self, sequence: int, consignment_id: str, cancelled_us: int, recorded_us: int | None, asked_by: str
    ) -> CancellationEvent:
        """Encode a cancellation."""
        packed = self.cancellations.pack(Cancellation(consignment_id), consignment_id)
        columns = _columns(packed)
        return CancellationEvent(sequence, cancelled_us, recorded_us, *columns, asked_by, consignment_id)

    def encode_selection(
        self, sequence: int, selection: Selection, asked_by: str, name: str | None = None
    ) -> SelectionEvent:
        """Encode a selection; `name` is that of `pack`."""
        name = name or selection.consignment_id
        packed = self.selections.pack(selection, name)
        at_us = to_us(selection.selected_at)
        return SelectionEvent(sequence, at_us, at_us, *_columns(packed), asked_by, name)

    def encode_action(
        self, sequence: int, action: RecordedAction, recorded_us: int, asked_by: str, name: str
    ) -> ActionEvent:
        """Encode an action, taken now unless it says when; `name` is that of `pack`."""
        packed = self.actions.pack(action, name)
        at_us = recorded_us if action.acted_at is None else to_us(action.acted_at)
        return ActionEvent(sequence, at_us, recorded_us, *_columns(packed), asked_by, name)

    def encode_state(
        self, sequence: int, state: CustomsState, recorded_us: int, asked_by: str, name: str
    ) -> CustomsStateEvent:
        """Encode an answer of customs; without a time of issue it was issued when it was recorded."""
        at_us = recorded_us if state.issued_at is None else to_us(state.issued_at)
        columns = _columns(self.states.pack(state, name))
        return CustomsStateEvent(sequence, at_us, recorded_us, *columns, asked_by, name)

    def encode_link(self, sequence: int, link: Link, recorded_us: int, asked_by: str) -> LinkEvent:
        """Encode what later messages need of a master or a house."""
        packed = self.links.pack(LoggedLink(pack_link(link)), LINK_SUBJECT)
        return LinkEvent(sequence, recorded_us, recorded_us, *_columns(packed), asked_by)

    def decode_link(self, event: LinkEvent) -> Link | None:
        """Decode a link; return None if its content was removed, or there is no vault."""
        if event.redacted or self.vault is None:
            return None
        logged: LoggedLink = self.links.unpack(event.plain, event.sealed, LINK_SUBJECT)
        return unpack_link(logged.link)

    def decode_consignment(self, event: ArrivalEvent) -> Consignment:
        """Decode the consignment of an arrival or a decision; decrypt personal fields if there is a vault."""
        if event.redacted:
            raise _build_redaction_fault(event)
        c: Consignment = self.consignments.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            received_at=to_datetime(event.at_us),
            issued_at=None if (issued_us := decode_issued_us(event)) == NO_TIME else to_datetime(issued_us),
        )
        return c

    def find_consignment(self, event: ArrivalEvent) -> Consignment | None:
        """Decode a consignment as `decode_consignment` does; return None if its content cannot be read any more."""
        try:
            return self.decode_consignment(event)
        except ServiceFault:
            return None

    def decode_outcome(self, event: OutcomeEvent) -> Outcome:
        """Decode the outcome of an entry."""
        recorded_at = None if event.recorded_us is None else to_datetime(event.recorded_us)
        outcome: Outcome = self.outcomes.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            recorded_at=recorded_at,
        )
        return outcome

    def decode_message(self, event: MessageEvent) -> LoggedMessage:
        """Decode the message of an entry; without a vault its envelope is empty."""
        plain = self.messages.unpack_plain(event.plain)
        name = f"{plain['author']}/{plain['message_id']}"
        message: LoggedMessage = self.messages.unpack(
            event.plain, event.sealed, name, **({} if self.opens else {"envelope": ""})
        )
        return message

    def decode_alert(self, event: AlertEvent) -> Alert:
        """Decode the alert of an entry; decrypt personal fields if there is a vault."""
        name = self.alerts.unpack_plain(event.plain)["alert_id"]
        alert: Alert = self.alerts.unpack(event.plain, event.sealed, name)
        return alert

    def decode_selection(self, event: SelectionEvent) -> Selection:
        """Decode the selection of an entry."""
        selection: Selection = self.selections.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            selected_at=to_datetime(event.at_us),
        )
        return selection

    def decode_action(self, event: ActionEvent) -> RecordedAction:
        """Decode the action of an entry; without a vault it lacks its reason."""
        action: RecordedAction = self.actions.unpack(
            event.plain, event.sealed, event.consignment_id, consignment_id=event.consignment_id
        )
        return msgspec.structs.replace(action, acted_at=to_datetime(event.at_us))

    def decode_state(self, event: CustomsStateEvent) -> CustomsState:
        """Decode an answer of customs."""
        recorded_at = None if event.recorded_us is None else to_datetime(event.recorded_us)
        state: CustomsState = self.states.unpack(
            event.plain,
            None,
            event.consignment_id,
            consignment_id=event.consignment_id,
            recorded_at=recorded_at,
        )
        return state

    def decode_plain_fields(self, event: ArrivalEvent) -> dict[str, Any]:
        """Decode the fields of a consignment that are not personal; return no fields if its content was removed."""
        return {} if event.redacted else self.consignments.unpack_plain(event.plain)


def get_spelling(
    event: ArrivalEvent | OutcomeEvent | SelectionEvent | ActionEvent | CustomsStateEvent,
) -> str:
    """Return the identifier of an entry as its sender spelled it; in normal form if its content was removed."""
    return read_spelling(event.plain) or event.consignment_id


def encode_features(X: Rows) -> list[bytes]:
    """Pack the rows that were scored, (n, features), bit for bit."""
    return pack_rows(X)


def split_rows(matrix: NDArray[Any]) -> list[bytes]:
    """Return the bytes of each row of a matrix."""
    rows, columns = matrix.shape
    joined, size = matrix.tobytes(), matrix.itemsize * columns
    return [joined[size * row : size * (row + 1)] for row in range(rows)]


def decode_keys(event: ArrivalEvent) -> tuple[Keys, Keys]:
    """Decode the history keys of an entry and their counterparts."""
    both = np.frombuffer(event.keys, dtype=KEY_DTYPE)
    width = len(both) // 2
    return both[:width], both[width : 2 * width]


def decode_issued_us(event: ArrivalEvent) -> int:
    """Return when the sender issued this version, in microseconds; NO_TIME if unknown.

    It is stored after the history keys of an entry, which remain when the content is removed.
    """
    return read_issued_us(event.keys)


def read_issued_us(keys: bytes | None) -> int:
    """Return when the sender issued a version, given the column `keys` of its entry."""
    if len(keys or b"") // KEY_DTYPE.itemsize % 2 == 0:
        return NO_TIME
    assert keys is not None
    return int.from_bytes(keys[-KEY_DTYPE.itemsize :], "little", signed=True)


def decode_features(event: DecisionEvent) -> Row:
    """Decode the feature row that was scored."""
    if event.features is None:
        raise _build_redaction_fault(event)
    return read_features(event.features)


def read_features(stored: bytes) -> Row:
    """Read a row of `encode_features`."""
    return unpack_row(stored)


def _build_redaction_fault(event: ArrivalEvent) -> ServiceFault:
    return ServiceFault("the content was removed by npsrisk forget", where=f"log entry {event.sequence}")


def _columns(packed: PackedRecord) -> tuple[bytes, bytes, bytes | None]:
    return packed.content, packed.plain, packed.sealed
