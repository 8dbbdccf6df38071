"""Conversion of records to log entries and back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, structs
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from consignments.exchange.alerts import name_message
from consignments.identifiers import normalize_identifier
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
    about,
)
from consignments.timestamps import NO_TIME, to_datetime, to_us, to_us_if_known
from consignments.versions import is_late
from consignments.visibility import get_visible_us
from features.history.keys import KEYS_VERSION, KeyKind
from serving.encryption.vault import PackedRecord, RecordPacker, Vault, read_spelling
from serving.event_log.events import (
    NOT_READ,
    ArrivalEvent,
    DecisionEvent,
    Event,
    Kind,
    RecordEvent,
    SharedEvent,
)
from serving.event_log.message_links import Link, unpack_link
from serving.event_log.packed_features import unpack_row

Keys = NDArray[np.uint64]
Row = NDArray[np.float32]
Rows = NDArray[np.float32]
R = TypeVar("R", bound=msgspec.Struct)
E = TypeVar("E", bound=RecordEvent | SharedEvent)
KEY_DTYPE = np.dtype("<u8")
KINDS_DIGEST_CHARACTERS = 16


class Cancellation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cancellation of a consignment by its sender: from then on the consignment no longer counts."""

    consignment_id: Annotated[Identifier, about("identifier of a consignment that was scored or imported")]
    cancelled_at: Annotated[Time | None, about("when it was cancelled; default: now")] = None


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The selection of a consignment for inspection."""

    consignment_id: Annotated[Identifier, about("identifier of the consignment")]
    office: Annotated[str | None, about("customs office that inspects; null if it is not known")] = None
    selected_by: Annotated[Selector, about("`model`, or `random` for a random selection")]
    selection_probability: Annotated[Probability, about("probability of selection under the whole policy")]
    selected_at: Annotated[Time, about("when it was selected")]
    request: Annotated[str, about("digest of the selection request")] = ""


class LoggedMessage(msgspec.Struct, frozen=True):
    """A message of a partner. Its text is encrypted, because its author may have written anything."""

    message_id: str
    author: str
    kind: str
    issued_at: Time
    envelope: Annotated[str, Meta(max_length=100_000, extra={"personal": True})] = ""
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
    """A link between a master and its houses (`serving.event_log.message_links`), encrypted as a whole."""

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

    consignment_id: Annotated[Identifier, about("identifier of a consignment that was scored or imported")]
    action: Annotated[ActionKind, about("what is decided")]
    reason: Annotated[
        Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS, extra={"personal": True})] | None,
        about("why; required if the action overrides the proposal. It is stored encrypted"),
    ] = None
    by: Annotated[Code | None, about("who decided, if the API key names no person; default: its name")] = None
    acted_at: Annotated[Time | None, about("when it was decided; default: now")] = None


class RecordedAction(Action, frozen=True, forbid_unknown_fields=True):
    """An action as the log has it, with what the score proposed at that time."""

    proposal: Annotated[Proposal | None, about("what the score proposed; null without a score")] = None

    @property
    def overrides(self) -> bool:
        """Return whether the action overrides the proposal."""
        return self.proposal is not None and self.action in OVERRIDES[self.proposal]


class CustomsState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An answer of customs about a consignment."""

    consignment_id: Annotated[Identifier, about("identifier of the consignment, which may arrive later")]
    state: Annotated[EventState, about("what customs says")]
    authority: Annotated[Code | None, about("who says so")] = None
    code: Annotated[Code | None, about("code of the state in the message")] = None
    issued_at: Annotated[Time | None, about("when it was issued")] = None
    source: Annotated[Code | None, about("kind of the message, for example XCSN")] = None
    recorded_at: Annotated[Time | None, about("when npsrisk recorded it; set by the service")] = None


class ReportedState(CustomsState, frozen=True, forbid_unknown_fields=True):
    """An answer of customs as a client sends it. Its words may name people and are not recorded."""

    text: Annotated[Text | None, about("words of the message; not recorded")] = None


class EntryCodec(Generic[R, E]):
    """A converter of one kind of records to log entries of one type and back; without a vault it only decodes, without personal fields.

    `columns` are the times that have columns of their own, and are not part of the content unless `dated_by` names them. When a record
    happened is its time in `at_us`, else `issued_at`, unless `get_us` says otherwise. `named_by` identify a record without a consignment.
    """

    def __init__(
        self,
        kind: Kind,
        record: type[R],
        entry: Callable[..., E],
        vault: Vault | None,
        columns: Mapping[str, str],
        *,
        get_us: Callable[[R], int | None] | None = None,
        named_by: tuple[str, ...] = (),
        dated_by: tuple[str, ...] = (),
    ) -> None:
        self._build, self._columns, self._named_by = partial(entry, kind=kind), columns, named_by
        self._dated = next((name for name, column in columns.items() if column == "at_us"), "issued_at")
        self._get_us = get_us or self._read_us
        self._has_identifier = entry is RecordEvent
        named = ["consignment_id"] if self._has_identifier else []
        self._packer = RecordPacker(
            record, vault, (*named, *(name for name in columns if name not in dated_by))
        )

    def encode(self, sequence: int, record: R, recorded_us: int | None, asked_by: str) -> E:
        """Encode a record; `recorded_us` is None if it was imported."""
        fields = structs.asdict(record)
        named = (normalize_identifier(fields["consignment_id"]),) if self._has_identifier else ()
        (packed,) = self._packer.pack_all([record], named or [self._get_name(fields)])
        happened_us = self._get_us(record)
        at_us = recorded_us if happened_us is None else happened_us
        columns = packed.content, packed.plain, packed.sealed
        return self._build(sequence, at_us, recorded_us, *columns, asked_by, *named)

    def decode(self, event: Event) -> R:
        """Decode the record of an entry."""
        times = {field: getattr(event, column) for field, column in self._columns.items()}
        aside: dict[str, Any] = {
            field: None if us is None else to_datetime(us) for field, us in times.items()
        }
        name = event.consignment_id
        if name is None:
            name = self._get_name(self._packer.unpack_plain(event.plain))
        else:
            aside["consignment_id"] = name
        record: R = self._packer.unpack(event.plain, event.sealed, name, **aside)
        return record

    def _get_name(self, fields: dict[str, Any]) -> str:
        return "/".join(fields[name] for name in self._named_by) or LINK_SUBJECT

    def _read_us(self, record: R) -> int | None:
        moment = getattr(record, self._dated, None)
        return None if moment is None else to_us(moment)


class EventCodec:
    """A converter of records to log entries and back. Without a vault it only decodes, without personal fields."""

    def __init__(self, vault: Vault | None, record: type[Consignment], kinds: tuple[KeyKind, ...]) -> None:
        named = [(kind.name, kind.counterpart) for kind in kinds]
        digest = sha256(msgspec.json.encode((KEYS_VERSION, named))).hexdigest()
        self.vault, self.kinds = vault, digest[:KINDS_DIGEST_CHARACTERS]
        self.consignments = RecordPacker(
            record, vault, ("consignment_id", "received_at", "cancelled_at", "issued_at")
        )
        recorded = {"recorded_at": "recorded_us"}
        self.outcomes = EntryCodec("outcome", Outcome, RecordEvent, vault, recorded, get_us=get_visible_us)
        self.states = EntryCodec("state", CustomsState, RecordEvent, vault, recorded)
        self.cancellations = EntryCodec(
            "cancellation", Cancellation, RecordEvent, vault, {"cancelled_at": "at_us"}
        )
        self.selections = EntryCodec("selection", Selection, RecordEvent, vault, {"selected_at": "at_us"})
        self.actions = EntryCodec(
            "action", RecordedAction, RecordEvent, vault, {"acted_at": "at_us"}, dated_by=("acted_at",)
        )
        self.alerts = EntryCodec("alert", Alert, SharedEvent, vault, {}, named_by=("alert_id",))
        named_by = ("author", "message_id")
        self.messages = EntryCodec("message", LoggedMessage, SharedEvent, vault, {}, named_by=named_by)
        self.links = EntryCodec("link", LoggedLink, SharedEvent, vault, {})

    def encode_arrivals(
        self,
        first: int,
        recorded_us: int | None,
        consignments: Sequence[Consignment],
        packed: Sequence[PackedRecord],
        keys: Keys,
        counterparts: Keys,
        asked_by: Sequence[str],
    ) -> list[ArrivalEvent]:
        """Encode packed consignments that arrived one after the other; `keys` and `counterparts` are uint64, (n, kinds)."""
        stored = map(bytes, np.concatenate([keys, counterparts], axis=1, dtype=KEY_DTYPE))
        events = []
        arriving = zip(consignments, packed, stored, asked_by, strict=True)
        for sequence, (c, each, both, client) in enumerate(arriving, first):
            assert c.received_at is not None
            issued_us = to_us_if_known(c.issued_at)
            if issued_us != NO_TIME:
                both += issued_us.to_bytes(KEY_DTYPE.itemsize, "little", signed=True)
            columns = each.content, each.plain, each.sealed, client, each.name, self.kinds, both
            events.append(ArrivalEvent(sequence, to_us(c.received_at), recorded_us, *columns))
        return events

    def decode_consignment(self, event: ArrivalEvent) -> Consignment:
        """Decode the consignment of an arrival or a decision."""
        if event.redacted:
            raise _build_redaction_fault(event)
        issued_us = decode_issued_us(event)
        c: Consignment = self.consignments.unpack(
            event.plain,
            event.sealed,
            event.consignment_id,
            consignment_id=event.consignment_id,
            received_at=to_datetime(event.at_us),
            issued_at=None if issued_us == NO_TIME else to_datetime(issued_us),
        )
        return c

    def find_consignment(self, event: ArrivalEvent) -> Consignment | None:
        """Decode a consignment as `decode_consignment` does; return None if its content cannot be read any more."""
        try:
            return self.decode_consignment(event)
        except ServiceFault:
            return None

    def read_office(self, event: ArrivalEvent) -> str | None:
        """Return the office of a consignment; None if it has none, or it was imported and its content was removed."""
        if isinstance(event, DecisionEvent):
            return event.office
        fields = {} if event.redacted else self.consignments.unpack_plain(event.plain)
        return fields.get("office") or None

    def find_office(self, events: Iterable[Event]) -> str | None:
        """Return the office of the version that counts among the entries of a consignment; None if it has none."""
        version = find_counting_version(events)
        return None if version is None else self.read_office(version)

    def decode_link(self, event: SharedEvent) -> Link | None:
        """Decode a link; return None if its content was removed, or there is no vault."""
        if event.redacted or self.vault is None:
            return None
        return unpack_link(self.links.decode(event).link)


def get_spelling(event: ArrivalEvent | RecordEvent) -> str:
    """Return the identifier of an entry as its sender spelled it; in normal form if its content was removed."""
    return read_spelling(event.plain) or event.consignment_id


def decode_keys(event: ArrivalEvent) -> tuple[Keys, Keys]:
    """Decode the history keys of an entry and their counterparts."""
    both = np.frombuffer(event.keys, dtype=KEY_DTYPE)
    width = len(both) // 2
    return both[:width], both[width : 2 * width]


def decode_issued_us(event: ArrivalEvent) -> int:
    """Return when the sender issued this version, in microseconds, which stands after the history keys; NO_TIME if unknown."""
    if len(event.keys) // KEY_DTYPE.itemsize % 2 == 0:
        return NO_TIME
    return int.from_bytes(event.keys[-KEY_DTYPE.itemsize :], "little", signed=True)


def decode_features(event: DecisionEvent) -> Row:
    """Decode the feature row that was scored."""
    if event.features is None:
        raise _build_redaction_fault(event)
    return unpack_row(event.features)


def _build_redaction_fault(event: ArrivalEvent) -> ServiceFault:
    return ServiceFault("the content was removed by npsrisk forget", where=f"log entry {event.sequence}")


class LateVersionFilter:
    """A filter that drops the late versions, given the entries of each consignment in order."""

    def __init__(self) -> None:
        self._issued_us: dict[str, int] = {}

    def drop_late(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the entries that are no late versions; they must have been read with the column `keys`."""
        for event in events:
            if isinstance(event, ArrivalEvent):
                assert event.keys != NOT_READ, "the time of issue is in the column `keys`"
                issued_us = decode_issued_us(event)
                if is_late(issued_us, self._issued_us.get(event.consignment_id, NO_TIME)):
                    continue
                self._issued_us[event.consignment_id] = issued_us
            yield event


def find_counting_version(events: Iterable[Event]) -> ArrivalEvent | None:
    """Find the version that counts among the entries of one consignment; None if there is none."""
    found: ArrivalEvent | None = None
    for event in LateVersionFilter().drop_late(sorted(events, key=lambda each: each.sequence)):
        if isinstance(event, ArrivalEvent):
            found = event
    return found
