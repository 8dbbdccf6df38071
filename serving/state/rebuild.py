"""Rebuild of the state from the log, starting from a snapshot or from nothing, thousands of entries at a time.

Most entries are new consignments with a single entry, which need no state. All other entries go through the state of their
consignment. All steps are applied in the order of the log.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain, compress, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import US_PER_DAY, convert_us_to_day
from consignments.workers import pause_garbage_collection
from features.history.fold import Change, EventChunk, build_steps, find_latest_days
from features.history.kernels import NO_DAY
from serving.event_log.event_codec import decode_issued_us
from serving.event_log.events import ARRIVAL_KINDS, ArrivalEvent, Event, Kind, SharedEvent, decode_row
from serving.event_log.reader import NOT_IN_HISTORY, LogReader
from serving.state.identifier_index import Tags
from serving.state.state import State

DATED_KINDS: tuple[Kind, ...] = (*ARRIVAL_KINDS, "outcome")  # kinds of entries that advance the latest day
COLUMNS = ("sequence", "kind", "digest", "at_us", "kinds", "keys")
PAGE_ENTRIES, PAGES_IN_CHUNK = 5_000, 20
EntryArrays = tuple[NDArray[Any], ...]
"""Arrays of entries: sequence numbers, which have an identifier, which arrive, days, digests of identifiers, keys and counterparts of arrivals."""


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
            self.state.record_versions([event], [known])

    def catch_up(self, log: LogReader, until: int) -> None:
        """Apply all entries after the state's last one up to the sequence number `until`, in the order of the log."""
        counted: Future[None] | None = None
        # A thread counts one chunk in history while this one reads and folds the next chunk.
        with pause_garbage_collection(), ThreadPoolExecutor(1) as counter:
            pages = self._read_pages(log, until)
            while chunk := [*islice(pages, PAGES_IN_CHUNK)]:
                arrays = map(np.concatenate, zip(*chunk, strict=True))
                steps = build_steps(self._read_chunk(log, *arrays))
                if counted is not None:
                    counted.result()
                counted = counter.submit(self.state.history.run, *steps)
            if counted is not None:
                counted.result()
        alerts = log.read_events(self.state.last_alert, until, kinds=("alert",))
        messages = log.read_events(self.state.last_message, until, kinds=("message",))
        for event in chain(alerts, messages):
            assert isinstance(event, SharedEvent)
            self.state.record_shared(event)
        self.state.links.restore(log, self._keys.entries, until)

    def _read_pages(self, log: LogReader, until: int) -> Iterator[EntryArrays]:
        """Read entries as arrays, some thousand at a time: the values of many more take memory, and with it time."""
        pages = log.read_columns(COLUMNS, self.state.sequence, until, PAGE_ENTRIES)
        for sequences, kinds, digests, at_us, key_kinds, packed in pages:
            kind, named = np.array(kinds), np.array([each is not None for each in digests], dtype=bool)
            arrives, dated = np.isin(kind, ARRIVAL_KINDS), np.isin(kind, DATED_KINDS)
            day = np.where(dated, np.array(at_us, dtype=np.int64) // US_PER_DAY, NO_DAY)
            known = np.array([*compress(digests, named)], dtype=np.int64).view(np.uint64)
            arriving = [[*compress(each, arrives)] for each in (sequences, key_kinds, packed)]
            yield np.array(sequences), named, arrives, day, known, *self._keys.read_all(log, *arriving)

    def _read_chunk(self, log: LogReader, *entries: NDArray[Any]) -> EventChunk:
        """Read the events of history among some entries, and record in index and days that they were applied."""
        sequences, named, arrives, day, known, keys, counterparts = entries
        dossiers, before = self.state.dossiers, self.state.today
        today = find_latest_days(day, before)
        tags = dossiers.index.shorten_digests(known)
        alone = self._mark_single(tags) & arrives[named]
        followed = sequences[named][~alone].tolist()
        changes = self._build_changes(log, followed, tags[~alone])
        dossiers.index.add_all(tags, today[named])
        for place in np.flatnonzero(np.diff(today, prepend=before)).tolist():
            dossiers.days.record(int(sequences[place]), int(today[place]))
        self.state.advance_to(int(sequences[-1]))
        arrival, unread = np.cumsum(arrives[named]) - 1, np.full(len(keys), -1)
        return EventChunk(today[named], arrival, changes, keys, counterparts, unread, alone, day[named])

    def _mark_single(self, tags: Tags) -> NDArray[np.bool_]:
        """Mark the entries whose consignment certainly has no other entry, neither before nor in this chunk."""
        _, inverse, times = np.unique(tags, return_inverse=True, return_counts=True)
        once: NDArray[np.bool_] = times[inverse] == 1
        return once & ~self.state.dossiers.index.may_contain_each(tags, self.state.today)

    def _build_changes(self, log: LogReader, sequences: Sequence[int], tags: Tags) -> list[Change]:
        """Look up the consignments of some entries, and return what each entry does to the state of its consignment."""
        dossiers = self.state.dossiers
        events = [*map(decode_row, log.read_places(sequences, NOT_IN_HISTORY))]
        names = [event.consignment_id for event in events if event.consignment_id is not None]
        tag_of = dict(zip(names, tags.tolist(), strict=True))
        of_names = np.array(list(tag_of.values()), dtype=np.uint64)
        found = dossiers.look_up_all([*tag_of], of_names, self.state.today)
        return [
            partial(dossiers.count_event, found[name], event)
            for name, event in zip(names, events, strict=True)
        ]
