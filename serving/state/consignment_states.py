"""Per-consignment state. Recent consignments are cached in memory; older ones are rebuilt from the event log on access.

A consignment is known for KEPT_DAYS after its latest log entry; then it counts as new. Memory holds an index of
identifiers (`serving.state.identifier_index`) and the states that were used last. A state with entries that are not yet on
disk is never dropped. A rebuilt state applies its entries again, in order and each on its day, so it equals the dropped one.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.records import Outcome
from consignments.timestamps import NO_TIME, convert_us_to_day
from consignments.visibility import get_known_us
from features.history.kernels import NO_DAY
from features.history.states import CountedState, CountedStates, KeyStep
from serving.event_log.event_codec import decode_issued_us
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.event_log.reader import NOT_IN_HISTORY, LogReader
from serving.state.history_keys import KeyReader
from serving.state.identifier_index import KEPT_DAYS, IdentifierIndex, Tags, Words

MAX_CACHED_STATES = 30_000  # maximum number of states cached in memory, of about one kilobyte each
NO_REASONS = b"\x90"  # an empty list in MessagePack
ConsignmentEvents = Mapping[str, list[Event]]


class FirstRecorded(NamedTuple):
    """When the service first recorded an event, in microseconds, None if it was imported; `at_us` is when a cancellation happened."""

    recorded_us: int | None
    at_us: int | None = None


class ConsignmentState(CountedState, gc=False):
    """The state of a consignment: what it counts in history (by its history keys), and what was recorded of it.

    `version` is the entry of the version that counts, without its bytes, and `late` the latest that was issued before it. `outcomes`,
    `actions` (of officers) and `answers` (of customs) are by the digest of their content. `met_on` is the latest day of any event when
    its latest entry, `sequence`, was applied.
    """

    tag: int = 0
    version: ArrivalEvent | None = None
    late: ArrivalEvent | None = None
    cancellation: FirstRecorded | None = None
    outcomes: dict[bytes, FirstRecorded] = msgspec.field(default_factory=dict)
    actions: dict[bytes, FirstRecorded] = msgspec.field(default_factory=dict)
    selected: bool = False
    answers: dict[bytes, FirstRecorded] = msgspec.field(default_factory=dict)
    met_on: int = NO_DAY
    sequence: int = 0

    @property
    def decision(self) -> DecisionEvent | None:
        """Return the decision on the version that counts; None if there is none."""
        return self.version if isinstance(self.version, DecisionEvent) else None

    def set_version(self, event: ArrivalEvent) -> None:
        """Set the latest version, or the late one if it was issued before the version that counts."""
        if self.is_late(decode_issued_us(event)):
            self.late = event.drop_bytes()
        else:
            self.version, self.cancellation = event.drop_bytes(), None

    def forget(self, today: int) -> None:
        """Reset to the state of an unknown consignment if the latest entry is older than KEPT_DAYS."""
        if self.met_on < today - KEPT_DAYS:
            self.version, self.late, self.cancellation, self.outcomes, self.answers = None, None, None, {}, {}
            self.actions, self.selected = {}, False


class LatestDays:
    """The latest day of any event, for each point of the log; `marks` are sequence numbers and days, int64, (n, 2), ascending."""

    def __init__(self, marks: Iterable[tuple[int, int]] = ()) -> None:
        self._marks = list(marks)

    @property
    def last(self) -> int:
        """Return the latest day of any event; NO_DAY if there is none."""
        return self._marks[-1][1] if self._marks else NO_DAY

    def record(self, sequence: int, day: int) -> None:
        """Record the latest day at the time when an entry was applied."""
        if day > self.last:
            self._marks.append((sequence, day))

    def get_day(self, sequence: int) -> int:
        """Return the latest day at the time when an entry was applied."""
        place = bisect_right(self._marks, sequence, key=itemgetter(0))
        return self._marks[place - 1][1] if place else NO_DAY

    def to_array(self) -> NDArray[np.int64]:
        """Return the marks as an array, (n, 2)."""
        return np.array(self._marks, dtype=np.int64).reshape(-1, 2)


class ConsignmentStates(CountedStates):
    """The states of a log's consignments up to its entry `sequence`; at most `recent` of those on disk stay in memory."""

    def __init__(
        self,
        log: LogReader,
        keys: KeyReader,
        sequence: int = 0,
        words: Words | None = None,
        days: LatestDays | None = None,
        *,
        recent: int = MAX_CACHED_STATES,
    ) -> None:
        super().__init__()
        assert keys.entries.vault is not None
        self.index = IdentifierIndex(keys.entries.vault.names, words)
        self.days = days or LatestDays()
        self.sequence = sequence
        self.durable: Callable[[], int] = lambda: self.sequence
        self.keys, self._log = keys, log
        self._recent: OrderedDict[str, ConsignmentState] = OrderedDict()
        self._dropped, self._most = 0, recent

    def __len__(self) -> int:
        """Return the number of states in memory."""
        return len(self._recent)

    def get(self, consignment_id: str, today: int) -> ConsignmentState:
        """Return the state of a consignment on the day `today`, an empty one if it is unknown; `ServiceFault` if the log cannot be read."""
        if consignment_id not in self._recent:
            absent = self.find_absent([consignment_id], today)
            self.keep(absent, self.read_events(absent, self.sequence), self.sequence)
        self._recent.move_to_end(consignment_id)
        dossier = self._recent[consignment_id]
        dossier.forget(today)
        return dossier

    def find_absent(self, consignment_ids: Iterable[str], today: int) -> dict[str, ConsignmentState]:
        """Return empty states of those that `get` would read from the log, for a thread to read and for `keep`."""
        unread, absent = list[str](), dict[str, ConsignmentState]()
        for name in dict.fromkeys(consignment_ids):
            if name in self._recent:
                self._recent.move_to_end(name)
            else:
                unread.append(name)
        if not unread:
            return absent
        tags = self.index.compute_tags(unread)
        known = self.index.may_contain_each(tags, today)
        for name, tag, is_known in zip(unread, tags.tolist(), known.tolist(), strict=True):
            into = absent if is_known else self._recent
            into[name] = ConsignmentState(tag=tag)
        self._drop_oldest()
        return absent

    def read_events(self, consignment_ids: Iterable[str], until: int) -> ConsignmentEvents:
        """Read the entries of consignments up to the sequence number `until`; callable from any thread."""
        without = ("features",)
        return {name: self._log.read_consignment_events(name, until, without) for name in consignment_ids}

    def keep(self, absent: Mapping[str, ConsignmentState], found: ConsignmentEvents, until: int) -> None:
        """Cache states that were read up to the entry `until`, but none of which a later entry may have been in memory meanwhile."""
        for name, blank in absent.items():
            if name not in self._recent and self._dropped <= until:
                self._reapply(blank, found[name])
                self._recent[name] = blank
                self._drop_oldest()

    def look_up_all(
        self, consignment_ids: Sequence[str], tags: Tags, today: int
    ) -> dict[str, ConsignmentState]:
        """Read from the log what many consignments count in history on the day `today`; bypass the states in memory."""
        found = {
            name: ConsignmentState(tag=tag) for name, tag in zip(consignment_ids, tags.tolist(), strict=True)
        }
        known = self.index.may_contain_each(tags, today).tolist()
        met = [name for name, is_known in zip(consignment_ids, known, strict=True) if is_known]
        for event in self._log.read_events_of(met, self.sequence, tuple(NOT_IN_HISTORY)):
            assert event.consignment_id is not None  # only entries of the given consignments are read
            self.count_event(found[event.consignment_id], event, self.days.get_day(event.sequence))
        return found

    def forget(self, today: int) -> None:
        """Keep everything: memory is bounded already."""

    def record_applied(self, known: Sequence[ConsignmentState], first: int, today: int) -> None:
        """Record that successive entries, from the sequence number `first`, were applied to the states of their consignments."""
        for sequence, each in enumerate(known, first):
            each.met_on, each.sequence = today, sequence
        tags = np.array([each.tag for each in known], dtype=np.uint64)
        self.index.add_all(tags, np.full(len(tags), today))
        # The first entry can begin a day; the later ones are of the same.
        self.days.record(first, today)
        self.sequence = first + len(known) - 1

    def advance(self, sequence: int, today: int) -> None:
        """Record that an entry was applied, whether it has a consignment or not."""
        self.sequence = sequence
        self.days.record(sequence, today)

    def count_event(self, dossier: ConsignmentState, event: Event, today: int) -> list[KeyStep]:
        """Apply an entry to what a consignment counts in history; return the steps, with the keys of `KeyReader`."""
        dossier.forget(today)
        dossier.met_on, dossier.sequence = today, event.sequence
        if isinstance(event, ArrivalEvent):
            keys = self.keys(event)[0].tobytes()
            day, issued_us = convert_us_to_day(event.at_us), decode_issued_us(event)
            return dossier.record_arrival(keys, day, issued_us, today)
        if event.kind == "outcome":
            order, result = rank_outcome(self.keys.entries.outcomes.decode(event), event)
            return dossier.record_outcome(order, result, convert_us_to_day(event.at_us), today)
        return dossier.cancel(today) if event.kind == "cancellation" else []

    def _reapply(self, dossier: ConsignmentState, events: Iterable[Event]) -> None:
        for event in events:
            self.count_event(dossier, event, self.days.get_day(event.sequence))
            apply_event(dossier, event)

    def _drop_oldest(self) -> None:
        """Drop the least recently used states if they are too many, as long as their entries are on disk."""
        while len(self._recent) > self._most:
            name, oldest = next(iter(self._recent.items()))
            if oldest.sequence > self.durable():
                return
            del self._recent[name]
            self._dropped = max(self._dropped, oldest.sequence)


def rank_outcome(outcome: Outcome, event: Event) -> tuple[tuple[int, int, int], str | None]:
    """Return the sort key that decides which outcome counts (known, recorded, sequence), and the result; None if missed."""
    recorded_us = NO_TIME if event.recorded_us is None else event.recorded_us
    result = outcome.result if outcome.status == "inspected" else None
    return (get_known_us(outcome), recorded_us, event.sequence), result


def apply_event(dossier: ConsignmentState, event: Event) -> None:
    """Apply an entry to what is recorded of a consignment, apart from its counts in history."""
    recorded = FirstRecorded(event.recorded_us)
    if isinstance(event, ArrivalEvent):
        dossier.set_version(event)
    elif event.kind == "outcome":
        dossier.outcomes[event.content] = recorded
    elif event.kind == "cancellation":
        dossier.cancellation = FirstRecorded(event.recorded_us, event.at_us)
    elif event.kind == "selection":
        dossier.selected = True
    elif event.kind == "action":
        dossier.actions[event.content] = recorded
    elif event.kind == "state":
        dossier.answers[event.content] = recorded
