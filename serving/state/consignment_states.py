"""What the service knows of each consignment: the recent ones in memory, the others looked up in the log when they are met.

A consignment is known for KEPT_DAYS after the latest entry about it; then it is new. Memory holds an index of identifiers
(`serving.state.identifier_index`) and the dossiers met last; what is not yet on disk is never dropped. One looked up takes its own entries
again, in their order and each on its day, so it is what it was.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.records import Outcome
from consignments.timestamps import NO_TIME, convert_us_to_day
from consignments.visibility import get_known_us
from features.history.kernels import NO_DAY
from features.history.live import CountedState, CountedStates, HandledStep
from serving.event_log.events import (
    ArrivalEvent,
    CancellationEvent,
    DecisionEvent,
    Event,
    OutcomeEvent,
)
from serving.event_log.reader import LogReader
from serving.state.history_keys import KeyReader
from serving.state.identifier_index import KEPT_DAYS, IdentifierIndex, Tags, Words

MAX_CACHED_STATES = 30_000
"""Dossiers kept in memory, about a kilobyte each."""
EXCLUDED_COLUMNS = ("features",)
NO_REASONS = b"\x90"
"""An empty list, as MessagePack."""
Steps = list[HandledStep[bytes]]
ConsignmentEvents = Mapping[str, list[Event]]
"""The entries of consignments, in their order."""


class RecordedDecision(msgspec.Struct, frozen=True, gc=False):
    """What was answered for a consignment.

    Attributes
    ----------
    sequence : int
        Place in the log.
    scored_us : int
        When, in microseconds since the epoch.
    score : float
        Probability.
    band : str
    reasons : bytes
        As logged, MessagePack.
    model : str
        `NAME/VERSION`.
    model_sha256 : str
        Digest of its bundle.
    """

    sequence: int
    scored_us: int
    score: float
    band: str
    reasons: bytes
    model: str
    model_sha256: str


def read_decision(event: DecisionEvent) -> RecordedDecision:
    """Give the decision of an entry."""
    return RecordedDecision(
        event.sequence,
        event.recorded_us,
        event.score,
        event.band,
        event.reasons or NO_REASONS,
        event.model,
        event.model_sha256,
    )


class ConsignmentVersion(msgspec.Struct, frozen=True, gc=False):
    """The latest version of a consignment.

    Attributes
    ----------
    content : bytes
        Digest of its content.
    decision : RecordedDecision or None
        None where it was imported.
    """

    content: bytes
    decision: RecordedDecision | None


class FirstRecorded(NamedTuple):
    """That the service was told something, and when (microseconds; None where it was imported)."""

    recorded_us: int | None


@dataclass(slots=True)
class ConsignmentState(CountedState[bytes]):
    """What counts for a consignment (its handle: the keys of history), and what was said of it.

    Attributes
    ----------
    tag : int
        Stands for its identifier in the index.
    version : ConsignmentVersion or None
        None where it was neither scored nor imported.
    cancellation : FirstRecorded or None
        None where it was not cancelled, or was announced anew since.
    outcomes : dict
        What was told, by the digest of its content.
    met_on : int
        The latest day of any event, when the latest entry of this consignment was taken.
    sequence : int
        Of that entry; 0 where there is none.
    """

    tag: int = 0
    version: ConsignmentVersion | None = None
    cancellation: FirstRecorded | None = None
    outcomes: dict[bytes, FirstRecorded] = field(default_factory=dict)
    met_on: int = NO_DAY
    sequence: int = 0

    def set_version(self, event: ArrivalEvent) -> None:
        """Take an arrival or a decision as the latest version."""
        decision = read_decision(event) if isinstance(event, DecisionEvent) else None
        self.version, self.cancellation = ConsignmentVersion(event.content, decision), None

    def forget(self, today: int) -> None:
        """Become that of an unknown consignment, where it was not met for long; what counts is begun anew by itself."""
        if self.met_on < today - KEPT_DAYS:
            self.version, self.cancellation, self.outcomes = None, None, {}


@dataclass(slots=True)
class PendingLookup:
    """A dossier that is not in memory, while its entries are read.

    Attributes
    ----------
    blank : ConsignmentState
        To be filled.
    by : int
        How many calls wait for it.
    """

    blank: ConsignmentState
    by: int = 0


class LatestDays:
    """The latest day of any event, as it stood when each entry was taken.

    Parameters
    ----------
    marks : int64 array, (n, 2), optional
        Sequence from which on a day was the latest, and the day; both rise.
    """

    def __init__(self, marks: NDArray[np.int64] | None = None) -> None:
        rows = [] if marks is None else marks.tolist()
        self._sequences = [sequence for sequence, _ in rows]
        self._days = [day for _, day in rows]

    @property
    def last(self) -> int:
        """The latest day of any event; NO_DAY where there is none."""
        return self._days[-1] if self._days else NO_DAY

    def record(self, sequence: int, day: int) -> None:
        """Note the latest day when an entry was taken."""
        if day > self.last:
            self._sequences.append(sequence)
            self._days.append(day)

    def get_day(self, sequence: int) -> int:
        """Give the latest day when an entry was taken."""
        place = bisect_right(self._sequences, sequence)
        return self._days[place - 1] if place else NO_DAY

    def to_array(self) -> NDArray[np.int64]:
        """Give the marks."""
        return np.array([self._sequences, self._days], dtype=np.int64).T.copy()


class StoredIndex(NamedTuple):
    """What a snapshot holds of consignments; without anything, what is known before the first entry.

    Attributes
    ----------
    sequence : int
        The entry up to which the others go.
    words : uint64 array, optional
        Of an `IdentifierIndex`.
    days : LatestDays, optional
    """

    sequence: int = 0
    words: Words | None = None
    days: LatestDays | None = None


NOTHING_STORED = StoredIndex()


class ConsignmentStates(CountedStates[bytes]):
    """The dossiers of one log, up to one of its entries.

    Parameters
    ----------
    log : LogReader
    keys : KeyReader
        Its entries have a vault.
    known : StoredIndex
    recent : int
        Dossiers kept in memory, 1 at least.

    Attributes
    ----------
    index : IdentifierIndex
    sequence : int
        The last entry taken.
    durable : callable
        Gives the last entry that is on disk: what is later is kept in memory.
    """

    def __init__(
        self,
        log: LogReader,
        keys: KeyReader,
        known: StoredIndex = NOTHING_STORED,
        *,
        recent: int = MAX_CACHED_STATES,
    ) -> None:
        super().__init__()
        assert keys.entries.vault is not None
        self.index = IdentifierIndex(keys.entries.vault.names, known.words)
        self.days = known.days or LatestDays()
        self.sequence = known.sequence
        self.durable: Callable[[], int] = lambda: self.sequence
        self.keys, self._log = keys, log
        self._recent: OrderedDict[str, ConsignmentState] = OrderedDict()
        self._awaited: dict[str, PendingLookup] = {}
        self._most = recent

    def __len__(self) -> int:
        """Give the number of dossiers in memory."""
        return len(self._recent)

    def get(self, consignment_id: str, today: int) -> ConsignmentState:
        """Give the dossier of a consignment on a day `today`; an empty one where it is unknown.

        Raises
        ------
        ServiceFault
            Where the log would have to be read and cannot be.
        """
        dossier = self._recent.get(consignment_id)
        if dossier is None:
            dossier = self._look_up(consignment_id, today)
            self._keep(consignment_id, dossier)
        else:
            self._recent.move_to_end(consignment_id)
        dossier.forget(today)
        return dossier

    def request_lookups(self, consignment_ids: Iterable[str], today: int) -> dict[str, PendingLookup]:
        """Give those that `get` would have to look up, so that they may be read beside; `complete_lookups` must follow."""
        awaited = {}
        for name in dict.fromkeys(consignment_ids):
            if name in self._recent:
                self._recent.move_to_end(name)
                continue
            blank = ConsignmentState(tag=self.index.compute_tag(name))
            if self.index.may_contain(blank.tag, today):
                awaited[name] = self._awaited.setdefault(name, PendingLookup(blank))
                awaited[name].by += 1
            else:
                self._keep(name, blank)
        return awaited

    def read_events(self, consignment_ids: Iterable[str], until: int) -> ConsignmentEvents:
        """Read the entries of consignments up to the sequence `until`, in any thread.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        return {
            name: self._log.read_consignment_events(name, until, EXCLUDED_COLUMNS) for name in consignment_ids
        }

    def complete_lookups(self, awaited: Mapping[str, PendingLookup], found: ConsignmentEvents) -> None:
        """Keep what was read of awaited dossiers; not where one was met meanwhile, for then more than was read may be known.

        What was met and then dropped is awaited no more: so who waits for the same as an earlier call may take what that one read.
        """
        still = {name: each for name, each in awaited.items() if self._awaited.get(name) is each}
        for name, each in still.items():
            each.by -= 1
            if name in found or not each.by:
                del self._awaited[name]
        for name, each in still.items():
            if name in found and name not in self._recent:
                self._reapply(each.blank, found[name])
                self._keep(name, each.blank)

    def look_up_all(
        self, consignment_ids: Sequence[str], tags: Tags, today: int
    ) -> dict[str, ConsignmentState]:
        """Give what counts for many consignments on a day `today`, from the log and beside what is in memory."""
        found = {
            name: ConsignmentState(tag=tag) for name, tag in zip(consignment_ids, tags.tolist(), strict=True)
        }
        known = self.index.may_contain_each(tags, today).tolist()
        met = [name for name, is_known in zip(consignment_ids, known, strict=True) if is_known]
        for event in self._log.read_history_events(met, self.sequence, self.keys.entries.kinds):
            assert event.consignment_id is not None  # it is among those that were asked for
            self.count_event(found[event.consignment_id], event, self.days.get_day(event.sequence))
        return found

    def forget(self, today: int) -> None:
        """Do nothing: memory is bounded already."""

    def record_event(self, known: ConsignmentState, event: Event, today: int) -> None:
        """Let a consignment remember an entry about it, and note that the entry was taken."""
        apply_event(known, event)
        known.met_on, known.sequence = today, event.sequence
        self.index.add(known.tag, today)
        self.advance(event.sequence, today)

    def advance(self, sequence: int, today: int) -> None:
        """Note that an entry was taken, of a consignment or not."""
        self.sequence = sequence
        self.days.record(sequence, today)

    def count_event(self, dossier: ConsignmentState, event: Event, today: int) -> Steps:
        """Let a dossier take an entry about what counts, and give the steps of it; the keys are those of `KeyReader`."""
        dossier.forget(today)
        dossier.met_on, dossier.sequence = today, event.sequence
        match event:
            case ArrivalEvent():
                keys = self.keys.read_handle(event)
                return dossier.record_arrival(keys, convert_us_to_day(event.at_us), today)
            case OutcomeEvent():
                order, result = rank_outcome(self.keys.entries.decode_outcome(event), event)
                return dossier.record_outcome(order, result, convert_us_to_day(event.at_us), today)
            case CancellationEvent():
                return dossier.cancel(today)
            case _:
                return []

    def _look_up(self, consignment_id: str, today: int) -> ConsignmentState:
        dossier = ConsignmentState(tag=self.index.compute_tag(consignment_id))
        if self.index.may_contain(dossier.tag, today):
            self._reapply(
                dossier, self._log.read_consignment_events(consignment_id, self.sequence, EXCLUDED_COLUMNS)
            )
        return dossier

    def _reapply(self, dossier: ConsignmentState, events: Iterable[Event]) -> None:
        for event in events:
            self.count_event(dossier, event, self.days.get_day(event.sequence))
            apply_event(dossier, event)

    def _keep(self, consignment_id: str, dossier: ConsignmentState) -> None:
        """Keep a dossier, and drop those met longest ago, as long as they are on disk; the one met just now stays."""
        self._recent[consignment_id] = dossier
        while len(self._recent) > self._most:
            name, oldest = next(iter(self._recent.items()))
            if oldest.sequence > self.durable():
                return
            del self._recent[name]
            self._awaited.pop(name, None)


def rank_outcome(outcome: Outcome, event: OutcomeEvent) -> tuple[tuple[int, int, int], str | None]:
    """Give what says whether an outcome stands (known, recorded, sequence), and its result; None where missed."""
    recorded_us = NO_TIME if event.recorded_us is None else event.recorded_us
    result = outcome.result if outcome.status == "inspected" else None
    return (get_known_us(outcome), recorded_us, event.sequence), result


def apply_event(dossier: ConsignmentState, event: Event) -> None:
    """Let a dossier remember what was said, beside what counts."""
    match event:
        case ArrivalEvent():
            dossier.set_version(event)
        case OutcomeEvent():
            dossier.outcomes[event.content] = FirstRecorded(event.recorded_us)
        case CancellationEvent():
            dossier.cancellation = FirstRecorded(event.recorded_us)
        case _:
            pass
