"""The consignments of one day, ranked by score, with what was decided and found; kept up to date from the event log.

Monday   scored, selected, found: it is in Monday's list with its result
Tuesday  amended: it is in Tuesday's list with that selection and result, and in Monday's no more
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import NamedTuple, TypeGuard

import msgspec

from consignments.records import Outcome
from consignments.timestamps import US_PER_DAY
from models.reasons.ranking import Reason
from serving.event_log.event_codec import EventCodec, LateVersionFilter, get_spelling
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.event_log.reader import LogReader
from serving.state.consignment_states import NO_REASONS, rank_outcome

EXCLUDED_FROM_LISTS = ("sealed", "features")
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode


class ListFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a consignment that a list shows; none is personal."""

    channel: str | None = None
    route: str | None = None
    departure_country: str | None = None
    destination_country: str | None = None
    carrier: str | None = None
    description: str | None = None
    hs_code: str | None = None
    declared_value: float | None = None
    currency: str | None = None
    gross_weight_kg: float | None = None


_decode_fields = msgspec.msgpack.Decoder(ListFields).decode
NO_FIELDS = ListFields()


@dataclass(slots=True)
class ListRow:
    """One consignment of a day. What was decided and found stays when an amendment sets another version."""

    name: str
    spelling: str = ""
    sequence: int = 0
    score: float = 0.0
    band: str = ""
    fields: ListFields = NO_FIELDS
    cancelled: bool = False
    office: str | None = None
    packed_reasons: bytes | None = None
    selected_by: str | None = None
    action: str | None = None
    result: str | None = None
    family: str | None = None
    substance: str | None = None
    outcome: tuple[int, int, int] | None = None
    rank: int = 0

    @property
    def state(self) -> str:
        """Return what is known of it last: cancelled, result, action, selected or open."""
        if self.cancelled:
            return "cancelled"
        return self.result or self.action or ("selected" if self.selected_by else "open")

    @property
    def reasons(self) -> list[Reason]:
        """Return the logged reasons of the decision."""
        return decode_reasons(self.packed_reasons)


FILTERS: dict[str, Callable[[ListRow], str | None]] = {
    "channel": attrgetter("fields.channel"),
    "route": attrgetter("fields.route"),
    "family": attrgetter("family"),
    "band": attrgetter("band"),
    "state": attrgetter("state"),
}
"""What a list can be filtered by."""


class OfficeDay(NamedTuple):
    """The consignments of an office on a day, the number of selected ones, and what the list can be filtered by."""

    ranked: list[ListRow]
    selected: int
    choices: dict[str, list[str]]


def decode_reasons(packed: bytes | None) -> list[Reason]:
    """Decode the logged reasons of a decision."""
    return _decode_reasons(packed or NO_REASONS)


def name_result(outcome: Outcome) -> str:
    """Return the result of an outcome, `pending` before it is known, or `missed`."""
    return "missed" if outcome.status == "missed" else outcome.result or "pending"


class DayList:
    """The consignments that were received on one UTC day and scored."""

    CHUNK_ENTRIES = 4_096
    """Maximum number of new entries in memory."""

    def __init__(self, day: int, entries: EventCodec) -> None:
        self.day, self.sequence = day, 0
        self.rows: dict[str, ListRow] = {}
        self._followed: dict[str, ListRow] = {}
        self._versions = LateVersionFilter()
        self._entries = entries
        self._viewed: dict[str | None, OfficeDay] = {}

    def read(self, log: LogReader, until: int) -> None:
        """Read the day from the log up to the sequence number `until`; later calls read what is new."""
        if not self.sequence:
            start = self.day * US_PER_DAY
            self.apply(log.read_scored(start, start + US_PER_DAY, until, EXCLUDED_FROM_LISTS))
            self.sequence = until
        new = log.read_events(self.sequence, until, EXCLUDED_FROM_LISTS)
        while chunk := list(islice(new, self.CHUNK_ENTRIES)):
            self._follow(log, chunk)
            self.apply(event for event in chunk if event.consignment_id in self._followed)
            self.sequence = chunk[-1].sequence
        self.sequence = until

    def apply(self, events: Iterable[Event]) -> None:
        """Apply log entries of consignments with a decision of the day, from their first entry on, in order."""
        for event in self._versions.drop_late(events):
            name = event.consignment_id
            assert name is not None
            row = self._followed.get(name) or self._followed.setdefault(name, ListRow(name))
            if isinstance(event, ArrivalEvent):
                self._apply_arrival(row, event)
            else:
                self._apply_to(row, event)

    def list_offices(self) -> list[str | None]:
        """List the offices of the day; None comes last, if a consignment has none."""
        return sorted({row.office for row in self.rows.values()}, key=lambda office: (office is None, office))

    def view_office(self, office: str | None) -> OfficeDay:
        """Return the consignments of an office; equal scores are in the order of identifiers."""
        if office not in self._viewed:
            ranked = [row for row in self.rows.values() if row.office == office]
            ranked.sort(key=lambda row: (-row.score, row.name))
            for rank, row in enumerate(ranked, start=1):
                row.rank = rank
            choices = {name: sorted(filter(None, set(map(read, ranked)))) for name, read in FILTERS.items()}
            selected = sum(row.selected_by is not None for row in ranked)
            self._viewed[office] = OfficeDay(ranked, selected, choices)
        return self._viewed[office]

    def _follow(self, log: LogReader, new: Sequence[Event]) -> None:
        """Apply the earlier entries of the consignments that new entries bring to the day; those of others are not read."""
        names = {event.consignment_id for event in new if self._is_of_day(event)} - self._followed.keys()
        if names:
            self._followed |= {name: ListRow(name) for name in names}
            self.apply(log.read_events_of(list(names), self.sequence, EXCLUDED_FROM_LISTS))

    def _is_of_day(self, event: Event) -> TypeGuard[DecisionEvent]:
        return isinstance(event, DecisionEvent) and event.at_us // US_PER_DAY == self.day

    def _apply_arrival(self, row: ListRow, event: ArrivalEvent) -> None:
        """Apply a version that counts: one of another day moves the consignment there."""
        self.rows.pop(row.name, None)
        self._viewed.pop(row.office, None)
        row.cancelled = False
        if self._is_of_day(event) and not event.redacted:
            row.sequence, row.score, row.band = event.sequence, event.score, event.band
            row.spelling, row.office, row.packed_reasons = get_spelling(event), event.office, event.reasons
            row.fields = _decode_fields(event.plain)
            self.rows[row.name] = row
            self._viewed.pop(row.office, None)

    def _apply_to(self, row: ListRow, event: Event) -> None:
        match event.kind:
            case "outcome":
                self._apply_outcome(row, event)
            case "selection":
                row.selected_by = self._entries.selections.decode(event).selected_by
            case "action":
                row.action = self._entries.actions.decode(event).action
            case "cancellation":
                row.cancelled = True
            case _:
                return
        self._viewed.pop(row.office, None)

    def _apply_outcome(self, row: ListRow, event: Event) -> None:
        outcome = self._entries.outcomes.decode(event)
        order, _ = rank_outcome(outcome, event)
        if row.outcome is not None and order < row.outcome:
            return
        row.outcome, row.family, row.substance = order, outcome.substance_family, outcome.substance
        row.result = name_result(outcome)


class DayLists:
    """The lists of the days that were looked at last."""

    MAX_DAYS = 4
    MAX_NEW_ENTRIES = 50_000
    """If more entries are new, the day is read again, which is quicker."""

    def __init__(self, log: LogReader, entries: EventCodec) -> None:
        self._log, self._entries = log, entries
        self._days: dict[int, DayList] = {}

    def get(self, day: int) -> DayList:
        """Return the list of a day, up to the last entry on disk."""
        last = self._log.read_last_sequence()
        known = self._days.pop(day, None)
        if known is None or last - known.sequence > self.MAX_NEW_ENTRIES:
            known = DayList(day, self._entries)
        if last > known.sequence:
            known.read(self._log, last)
        self._days[day] = known
        while len(self._days) > self.MAX_DAYS:
            del self._days[next(iter(self._days))]
        return known
