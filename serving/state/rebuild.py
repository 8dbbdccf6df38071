"""Rebuild of the state from the log, starting from a snapshot or from nothing, thousands of entries at a time.

Most entries are new consignments with a single entry; they are counted together. All other entries go through the state
of their consignment, one after the other. All steps are applied in the order of the log.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.garbage_collection import pause_garbage_collection
from consignments.timestamps import US_PER_DAY, convert_us_to_day
from features.history.kernels import ADD, ARRIVALS, NO_DAY, STEP
from features.history.live import is_own_arrival
from serving.event_log.blocks.codec import ARRIVAL_BITS, combine_kinds
from serving.event_log.blocks.history_chunks import HistoryChunk
from serving.event_log.event_codec import KEY_DTYPE, decode_issued_us
from serving.event_log.events import ARRIVAL_KINDS, AlertEvent, ArrivalEvent, Event, Kind, MessageEvent
from serving.event_log.reader import LogReader, Progress
from serving.state.consignment_states import Steps
from serving.state.identifier_index import Tags
from serving.state.state import State

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
DATED_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "outcome")
"""Kinds of entries that advance the latest day."""


class RowStep(NamedTuple):
    """A step of history for an entry that went through its consignment's state.

    `row` is the row of its keys, `place` the entry's place in the chunk.
    """

    change: int
    counter: int
    row: int
    day: int
    place: int


class StateRebuild:
    """A process that applies log entries to a state.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self.state, self._keys = state, state.dossiers.keys

    def apply_events(self, events: Iterable[Event]) -> None:
        """Apply complete entries one by one, on disk or not, as the live service does."""
        for event in events:
            if not isinstance(event, ArrivalEvent):
                self.state.apply(event)
                continue
            known = self.state.get_consignment(event.consignment_id)
            day, issued_us = convert_us_to_day(event.at_us), decode_issued_us(event)
            self.state.record_arrival(known, day, *self._keys(event), issued_us=issued_us)
            self.state.record_version(event, known)

    def catch_up(self, log: LogReader, until: int, progress: Progress | None = None) -> None:
        """Apply all entries after the state's last one up to the sequence number `until`, in the order of the log.

        Raises
        ------
        ServiceFault
            History is full, or the log cannot be read; the state must not be used after that.
        """
        counted: Future[None] | None = None
        # A thread counts one chunk in history while this one reads and splits the next chunk.
        with pause_garbage_collection(), ThreadPoolExecutor(1) as counter:
            for chunk in log.read_history_chunks(self.state.sequence, until, self._keys.entries.kinds):
                steps = EventChunk(self.state, chunk).apply()
                if counted is not None:
                    counted.result()
                counted = counter.submit(self.state.history.run, *steps)
                if progress is not None:
                    progress("history", self.state.sequence, until)
            if counted is not None:
                counted.result()
        for event in log.read_entries_of(AlertEvent, until, self.state.last_alert):
            self.state.record_alert(event)
        for message in log.read_entries_of(MessageEvent, until, self.state.last_message):
            self.state.record_message(message)
        self.state.links.restore(log, self._keys.entries, until)


class EventChunk:
    """A chunk of up to some hundred thousand of log entries that are applied together."""

    def __init__(self, state: State, chunk: HistoryChunk) -> None:
        self._state, self._dossiers, self._read_keys = state, state.dossiers, state.dossiers.keys
        self._chunk, self.sequences = chunk, chunk.sequences
        self.names: list[Any] = chunk.names
        self.arriving = chunk.kind_bits & ARRIVAL_BITS != 0
        dated = chunk.kind_bits & combine_kinds(DATED_KINDS) != 0
        self.days = np.where(dated, chunk.at_us // US_PER_DAY, NO_DAY)
        self.today = np.maximum(np.maximum.accumulate(self.days), state.today)
        self.keys, self.counterparts = self._read_keys.read_chunk(chunk)
        self._more_keys: list[bytes] = []

    def apply(self) -> tuple[Any, Any, Any]:
        """Apply all entries to states and index; return the steps, keys and counterparts for history to run."""
        named = np.flatnonzero(np.array([name is not None for name in self.names], dtype=bool))
        names = [self.names[place] for place in named]
        tags = self._dossiers.index.compute_tags(names)
        single = np.zeros(len(self._chunk), dtype=bool)
        single[named] = self._mark_single(tags)
        single &= self.arriving
        others = ~single[named]
        further = self._apply_to_states(named[others].tolist(), tags[others])
        self._dossiers.index.add_all(tags, self.today[named])
        for place in np.flatnonzero(np.diff(self.today, prepend=self._state.today)).tolist():
            self._dossiers.days.record(int(self.sequences[place]), int(self.today[place]))
        self._state.advance_to(int(self.sequences[-1]))
        return self._merge_steps(np.flatnonzero(single), further)

    def _mark_single(self, tags: Tags) -> Flags:
        """Mark the entries whose consignment certainly has no other entry, neither before nor in this chunk."""
        _, inverse, times = np.unique(tags, return_inverse=True, return_counts=True)
        once: Flags = times[inverse] == 1
        return once & ~self._dossiers.index.may_contain_each(tags, self._state.today)

    def _apply_to_states(self, places: list[int], tags: Tags) -> list[RowStep]:
        """Apply entries to the states of their consignments, and return the steps."""
        tag_of = dict(zip((self.names[place] for place in places), tags.tolist(), strict=True))
        of_names = np.array(list(tag_of.values()), dtype=np.uint64)
        dossiers = self._dossiers.look_up_all(list(tag_of), of_names, self._state.today)
        applied: list[RowStep] = []
        for place in places:
            event = self._chunk.read_event(place)
            steps = self._dossiers.count_event(dossiers[self.names[place]], event, int(self.today[place]))
            applied += self._assign_rows(steps, place)
        return applied

    def _assign_rows(self, steps: Steps, place: int) -> list[RowStep]:
        """Assign rows of keys to the steps of one entry: its own row to its arrival, rows at the end to the others."""
        assigned = []
        for change, counter, handle, day in steps:
            row = place
            if not is_own_arrival(change, counter):
                row = len(self._chunk) + len(self._more_keys)
                self._more_keys.append(handle)
            assigned.append(RowStep(change, counter, row, day, place))
        return assigned

    def _merge_steps(self, single: Longs, further: list[RowStep]) -> tuple[Any, Any, Any]:
        """Merge all steps in the order of their entries; return them with keys and counterparts (no features are read)."""
        change, counter, rows, days, places = (
            np.array(further, dtype=np.int64).reshape(-1, len(RowStep._fields)).T
        )
        steps = np.zeros(len(single) + len(further), dtype=STEP)
        steps["change"] = np.concatenate([np.full_like(single, ADD), change])
        steps["counter"] = np.concatenate([np.full_like(single, ARRIVALS), counter])
        steps["row"] = np.concatenate([single, rows])
        steps["out_row"] = -1
        steps["day"] = np.concatenate([self.days[single], days])
        places = np.concatenate([single, places])
        steps["today"] = self.today[places]
        more = np.frombuffer(b"".join(self._more_keys), dtype=KEY_DTYPE).reshape(-1, self._read_keys.count)
        keys = np.concatenate([self.keys, more])
        counterparts = np.concatenate([self.counterparts, np.zeros_like(more)])
        return steps[np.argsort(places, kind="stable")], keys, counterparts
