"""Bring the state up to the log: from a snapshot or from nothing, thousands of entries at a time.

Most entries are consignments that are new and come once: they are counted together. The others go through their dossiers,
one after the other, and all their steps are taken in the order of the log.
"""

import gc
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from features.history.kernels import ARRIVALS, NO_DAY, STEP
from serving.event_log.event_codec import KEY_DTYPE
from serving.event_log.event_rows import HISTORY_FIELDS, decode_history_row
from serving.event_log.events import ARRIVAL_KINDS, AlertEvent, ArrivalEvent, Event, Kind
from serving.event_log.reader import LogReader, Progress
from serving.state.consignment_states import Steps
from serving.state.identifier_index import Tags
from serving.state.state import State

Longs = NDArray[np.int64]
Flags = NDArray[np.bool_]
DATED_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "outcome")
"""Kinds of entries that move the latest day on."""


class RowStep(NamedTuple):
    """A step of an entry that went through its dossier: the row of its keys, and the entry's place in the chunk."""

    change: int
    counter: int
    row: int
    day: int
    place: int


class StateRebuild:
    """Lets a state take entries of the log.

    Parameters
    ----------
    state : State
    """

    def __init__(self, state: State) -> None:
        self.state, self._keys = state, state.dossiers.keys

    def apply_events(self, events: Iterable[Event]) -> None:
        """Take whole entries one by one, on disk or not, as if they came in now."""
        for event in events:
            if not isinstance(event, ArrivalEvent):
                self.state.apply(event)
                continue
            known = self.state.get_consignment(event.consignment_id)
            self.state.record_arrival(known, convert_us_to_day(event.at_us), *self._keys(event))
            self.state.record_version(event, known)

    def catch_up(self, log: LogReader, until: int, progress: Progress | None = None) -> None:
        """Take all entries from where the state stands up to the sequence `until`, in the order of the log.

        Raises
        ------
        ServiceFault
            History is full, or the log cannot be read; the state is then of no use.
        """
        counted: Future[None] | None = None
        # History counts one chunk in a thread of its own while the next one is read and told apart here.
        with _pause_garbage_collection(), ThreadPoolExecutor(1) as counter:
            for rows in log.read_history_rows(self.state.sequence, until, self._keys.entries.kinds):
                steps = EventChunk(self.state, rows).apply()
                if counted is not None:
                    counted.result()
                counted = counter.submit(self.state.history.run, *steps)
                if progress is not None:
                    progress("history", self.state.sequence, until)
            if counted is not None:
                counted.result()
        for event in log.read_entries_of(AlertEvent, until):
            if event.sequence > self.state.last_alert:
                self.state.record_alert(event)


class EventChunk:
    """Some thousands of entries, taken together."""

    def __init__(self, state: State, rows: Sequence[Any]) -> None:
        self._state, self._dossiers, self._read_keys = state, state.dossiers, state.dossiers.keys
        self.rows = rows
        fields = dict(zip(HISTORY_FIELDS, zip(*rows, strict=True), strict=True))
        self.sequences = np.array(fields["sequence"], dtype=np.int64)
        self.names = fields["consignment_id"]
        self.arriving = _mark_kinds(fields["kind"], ARRIVAL_KINDS)
        days = np.array(fields["at_us"], dtype=np.int64) // US_PER_DAY
        self.days = np.where(_mark_kinds(fields["kind"], DATED_KINDS), days, NO_DAY)
        self.today = np.maximum(np.maximum.accumulate(self.days), state.today)
        self.keys, self.counterparts = self._all_keys(fields["kinds"], fields["keys"])
        self._more_keys: list[bytes] = []

    def apply(self) -> tuple[Any, Any, Any]:
        """Note that all entries were taken; give what history has to run: steps, keys and counterparts."""
        named = np.flatnonzero(np.array([name is not None for name in self.names], dtype=bool))
        names = [self.names[place] for place in named]
        tags = self._dossiers.index.compute_tags(names)
        single = np.zeros(len(self.rows), dtype=bool)
        single[named] = self._mark_single(tags)
        single &= self.arriving
        others = ~single[named]
        told = self._apply_to_states(named[others].tolist(), tags[others])
        self._dossiers.index.add_all(tags, self.today[named])
        for place in np.flatnonzero(np.diff(self.today, prepend=self._state.today)).tolist():
            self._dossiers.days.record(int(self.sequences[place]), int(self.today[place]))
        self._state.advance_to(int(self.sequences[-1]))
        return self._merge_steps(np.flatnonzero(single), told)

    def _all_keys(self, kinds: Sequence[str | None], stored: Sequence[bytes | None]) -> tuple[Any, Any]:
        """Give keys and counterparts, each uint64, (rows, kinds); 0 for an entry that has none."""
        width = self._read_keys.count
        both = np.zeros((len(self.rows), 2 * width), dtype=np.uint64)
        same = np.array([each == self._read_keys.entries.kinds for each in kinds], dtype=bool)
        chosen = [keys for keys, is_same in zip(stored, same.tolist(), strict=True) if is_same]
        both[same] = np.frombuffer(b"".join(chosen), dtype=KEY_DTYPE).reshape(-1, 2 * width)  # type: ignore[arg-type]
        for place in np.flatnonzero(self.arriving & ~same).tolist():
            event = decode_history_row(self.rows[place])
            assert isinstance(event, ArrivalEvent)
            both[place] = np.concatenate(self._read_keys(event))
        return both[:, :width].copy(), both[:, width:].copy()

    def _mark_single(self, tags: Tags) -> Flags:
        """Mark those of which surely nothing else is known, neither before nor in this chunk."""
        _, inverse, times = np.unique(tags, return_inverse=True, return_counts=True)
        once: Flags = times[inverse] == 1
        return once & ~self._dossiers.index.may_contain_each(tags, self._state.today)

    def _apply_to_states(self, places: list[int], tags: Tags) -> list[RowStep]:
        """Let the dossiers take their entries, and give the steps."""
        tag_of = dict(zip((self.names[place] for place in places), tags.tolist(), strict=True))
        of_names = np.array(list(tag_of.values()), dtype=np.uint64)
        dossiers = self._dossiers.look_up_all(list(tag_of), of_names, self._state.today)
        told: list[RowStep] = []
        for place in places:
            event = decode_history_row(self.rows[place])
            steps = self._dossiers.count_event(dossiers[self.names[place]], event, int(self.today[place]))
            told += self._assign_rows(steps, place)
        return told

    def _assign_rows(self, steps: Steps, place: int) -> list[RowStep]:
        """Give the steps of one entry with rows of keys: its own for its arrival, for the others rows at the end."""
        told = []
        for change, counter, handle, day in steps:
            row = place
            if not (change > 0 and counter == ARRIVALS):
                row = len(self.rows) + len(self._more_keys)
                self._more_keys.append(handle)
            told.append(RowStep(change, counter, row, day, place))
        return told

    def _merge_steps(self, single: Longs, told: list[RowStep]) -> tuple[Any, Any, Any]:
        """Give all steps in the order of their entries, and the keys of their rows; nothing is read."""
        change, counter, rows, days, places = (
            np.array(told, dtype=np.int64).reshape(-1, len(RowStep._fields)).T
        )
        steps = np.zeros(len(single) + len(told), dtype=STEP)
        steps["change"] = np.concatenate([np.ones_like(single), change])
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


@contextmanager
def _pause_garbage_collection() -> Iterator[None]:
    """Let the collector of cycles rest: nothing here makes any, and it would walk over all rows again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _mark_kinds(kinds: Sequence[str], wanted: Collection[str]) -> Flags:
    return np.array([kind in wanted for kind in kinds], dtype=bool)
