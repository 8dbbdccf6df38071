"""Rebuild of the state from the log, starting from a snapshot or from nothing, thousands of entries at a time.

Most entries are new consignments with a single entry, which need no state. All other entries go through the state of their
consignment. All steps are applied in the order of the log.
"""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.garbage_collection import pause_garbage_collection
from consignments.timestamps import US_PER_DAY, convert_us_to_day
from features.history.fold import Change, EventChunk, build_steps, find_latest_days
from features.history.kernels import NO_DAY
from serving.event_log.event_codec import decode_issued_us
from serving.event_log.events import ARRIVAL_KINDS, AlertEvent, ArrivalEvent, Event, Kind, MessageEvent
from serving.event_log.history_chunks import HistoryChunk, read_history_chunks
from serving.event_log.reader import LogReader, Progress
from serving.state.consignment_states import ConsignmentState
from serving.state.identifier_index import Tags
from serving.state.state import State

DATED_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "outcome")
"""Kinds of entries that advance the latest day."""


class StateRebuild:
    """A process that applies log entries to a state."""

    def __init__(self, state: State) -> None:
        self.state, self._keys = state, state.dossiers.keys

    def apply_events(self, events: Iterable[Event]) -> None:
        """Apply complete entries one by one, on disk or not, as the live service does."""
        for event in events:
            if not isinstance(event, ArrivalEvent):
                self.state.apply(event)
                continue
            known = self.state.get_consignment(event.consignment_id)
            keys, counterparts = (each[None] for each in self._keys(event))
            day, issued_us = convert_us_to_day(event.at_us), decode_issued_us(event)
            self.state.record_arrivals([known], day, keys, counterparts, issued_us=[issued_us])
            self.state.record_version(event, known)

    def catch_up(self, log: LogReader, until: int, progress: Progress | None = None) -> None:
        """Apply all entries after the state's last one up to the sequence number `until`, in the order of the log.

        Raises
        ------
        ServiceFault
            History is full, or the log cannot be read; the state must not be used after that.
        """
        counted: Future[None] | None = None
        # A thread counts one chunk in history while this one reads and folds the next chunk.
        with pause_garbage_collection(), ThreadPoolExecutor(1) as counter:
            for chunk in read_history_chunks(log, self.state.sequence, until):
                steps = build_steps(self._read_chunk(chunk))
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

    def _read_chunk(self, chunk: HistoryChunk) -> EventChunk:
        """Read the events of history in some hundred thousand entries, and record in index and days that they were applied."""
        dossiers, before = self.state.dossiers, self.state.today
        arrives = chunk.arriving
        day = np.where(chunk.is_of(DATED_KINDS), chunk.at_us // US_PER_DAY, NO_DAY)
        today = find_latest_days(day, before)
        named = chunk.named
        tags = dossiers.index.shorten_digests(chunk.digests[named])
        alone = self._mark_single(tags) & arrives[named]
        changes = self._build_changes(chunk, named[~alone].tolist(), tags[~alone])
        dossiers.index.add_all(tags, today[named])
        for place in np.flatnonzero(np.diff(today, prepend=before)).tolist():
            dossiers.days.record(int(chunk.sequences[place]), int(today[place]))
        self.state.advance_to(int(chunk.sequences[-1]))
        keys, counterparts = (each[arrives] for each in self._keys.read_chunk(chunk))
        arrival, unread = np.cumsum(arrives[named]) - 1, np.full(len(keys), -1)
        return EventChunk(today[named], arrival, changes, keys, counterparts, unread, alone, day[named])

    def _mark_single(self, tags: Tags) -> NDArray[np.bool_]:
        """Mark the entries whose consignment certainly has no other entry, neither before nor in this chunk."""
        _, inverse, times = np.unique(tags, return_inverse=True, return_counts=True)
        once: NDArray[np.bool_] = times[inverse] == 1
        return once & ~self.state.dossiers.index.may_contain_each(tags, self.state.today)

    def _build_changes(self, chunk: HistoryChunk, places: list[int], tags: Tags) -> list[Change]:
        """Look up the consignments of some entries, and return what each entry does to the state of its consignment."""
        dossiers, names = self.state.dossiers, chunk.names
        tag_of: dict[Any, int] = dict(zip((names[place] for place in places), tags.tolist(), strict=True))
        of_names = np.array(list(tag_of.values()), dtype=np.uint64)
        found: dict[Any, ConsignmentState] = dossiers.look_up_all([*tag_of], of_names, self.state.today)
        events = chunk.read_events(places)
        return [partial(dossiers.count_event, found[names[place]], events[place]) for place in places]
