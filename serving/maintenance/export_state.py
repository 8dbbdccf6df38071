"""Export of the log as the kept state of a batch: the history after its last consignment, for `npsrisk score --state`.

It needs the history keys of the entries, and no personal fields. The log is read twice: first events, then keys.

sequence 1   RB1 is scored         arrival of RB1, cancelled by sequence 4
sequence 2   RB1's outcome nps     outcome
sequence 3   RB2 is scored         arrival of RB2: the state ends here
sequence 4   RB1 is cancelled      waits in the state
"""

from collections import defaultdict
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.timestamps import NO_TIME
from features.history.kept_state import StateRun
from features.history.ordering import ArrivalEvents, Outcomes
from features.history.pseudonyms import Pseudonyms
from features.history.state_files import StateFolder, StoredState
from features.history.states import NO_SEQUENCE
from serving.event_log.blocks.codec import ARRIVAL_BITS, combine_kinds
from serving.event_log.blocks.history_chunks import HistoryChunk
from serving.event_log.event_codec import decode_issued_us
from serving.event_log.events import ArrivalEvent, CancellationEvent, OutcomeEvent
from serving.event_log.reader import LogReader, Progress
from serving.state.consignment_states import rank_outcome
from serving.state.history_keys import KeyReader

Longs = NDArray[np.int64]
OTHER_BITS = combine_kinds((OutcomeEvent.kind, CancellationEvent.kind))


def export_state(
    log: LogReader, keys: KeyReader, pseudonyms: Pseudonyms, folder: Path, progress: Progress
) -> StoredState:
    """Write the state of history after a log, as batches over the tables of `export_log` would leave it.

    Parameters
    ----------
    log : LogReader
        Entries up to its `last_sequence` are read.
    keys : KeyReader
        Of the history keys that the state has.
    pseudonyms : Pseudonyms
        Those of the data key.
    folder : Path
        Folder of states: new or empty, or with the state of this log.
    progress : callable

    Raises
    ------
    BadInput
        The folder has another state, or the log has no consignments.
    FileFault
        The folder cannot be written.
    ServiceFault
        An entry cannot be read.
    """
    states = StateFolder(folder)
    inputs = {
        "verb": "export",
        "log": f"{log.log_id} entry {log.last_sequence} {log.head}",
        "keys": keys.entries.kinds,
        "npsrisk": version("npsrisk"),
    }
    with states.begin(inputs) as draft:
        if draft.before is not None:
            raise BadInput(
                "the folder has another state of history already",
                where=str(folder),
                todo="give a new folder",
            )
        if not draft.done:
            run = StateRun(None, keys.pipeline.kinds, pseudonyms, draft)
            _count_log(log, keys, run, progress)
            draft.commit(run.state)
    return StoredState.read(states.list_states()[-1])


def _count_log(log: LogReader, keys: KeyReader, run: StateRun, progress: Progress) -> None:
    """Count all entries of a log in the history of a run."""
    until, kinds = log.last_sequence, keys.entries.kinds
    events = _LoggedEvents(keys)
    for chunk in log.read_history_chunks(0, until, kinds):
        events.add(chunk)
        progress("events", int(chunk.sequences[-1]), until)
    arrivals = events.build_arrivals()
    if not len(arrivals.received_us):
        raise BadInput("the log has no consignments", where="log", todo="begin the state with a first batch")
    fold = run.start_fold(arrivals, events.build_outcomes())
    nothing = np.zeros((0, len(keys.pipeline.spec)), dtype=np.float32)
    for chunk in log.read_history_chunks(0, until, kinds):
        arriving = chunk.kind_bits & ARRIVAL_BITS != 0
        mine, counterparts = (each[arriving] for each in keys.read_chunk(chunk))
        fold.process_arrivals(run.history, mine, counterparts, nothing, np.full(len(mine), -1))
        progress("history", int(chunk.sequences[-1]), until)
    run.finish()


@dataclass
class _LoggedEvents:
    """The events of a log in columns.

    Attributes
    ----------
    keys : KeyReader
    names : list of Arrow arrays
        Identifiers of the arrivals.
    columns : list of int64 arrays, (arrivals, 3)
        Time, sequence number and time of issue of each arrival.
    outcomes : list of tuple
        Identifier, time, (known, recorded, sequence) and result of each outcome.
    cancellations : list of tuple
        Identifier, time and sequence number of each cancellation.
    """

    keys: KeyReader
    names: list[Any] = field(default_factory=lambda: [pa.array([], pa.large_string())])
    columns: list[Longs] = field(default_factory=lambda: [np.zeros((0, 3), dtype=np.int64)])
    outcomes: list[tuple[str, int, tuple[int, int, int], str | None]] = field(default_factory=list)
    cancellations: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, chunk: HistoryChunk) -> None:
        """Add the entries of a chunk."""
        places = np.flatnonzero(chunk.kind_bits & ARRIVAL_BITS != 0)
        self.names.append(pa.array([chunk.names[place] for place in places], pa.large_string()))
        issued = [_read_issued_us(chunk, place) for place in places.tolist()]
        times, sequences = chunk.at_us[places], chunk.sequences[places]
        self.columns.append(np.stack([times, sequences, np.array(issued, dtype=np.int64)], axis=1))
        for place in np.flatnonzero(chunk.kind_bits & OTHER_BITS != 0).tolist():
            event = chunk.read_event(place)
            assert event.consignment_id is not None
            if isinstance(event, OutcomeEvent):
                order, result = rank_outcome(self.keys.entries.decode_outcome(event), event)
                self.outcomes.append((event.consignment_id, event.at_us, order, result))
            else:
                self.cancellations.append((event.consignment_id, event.at_us, event.sequence))

    def build_arrivals(self) -> ArrivalEvents:
        """Build the arrivals. A cancellation stands with the version that it ends."""
        names = pa.concat_arrays(self.names)
        received_us, sequence, issued_us = np.concatenate(self.columns).T
        cancelled_us, cancelled_sequence = (
            np.full(len(names), NO_TIME),
            np.full(len(names), NO_SEQUENCE),
        )
        for row, at_us, number in self._find_ended(names, sequence):
            cancelled_us[row], cancelled_sequence[row] = at_us, number
        return ArrivalEvents(names, received_us, cancelled_us, sequence, cancelled_sequence, issued_us)

    def build_outcomes(self) -> Outcomes:
        """Build the outcomes."""
        names, times, orders, results = zip(*self.outcomes, strict=True) if self.outcomes else ((),) * 4
        known, recorded, sequence = np.array(orders, dtype=np.int64).reshape(-1, 3).T
        return Outcomes(names, np.array(times, dtype=np.int64), known, recorded, sequence, list(results))

    def _find_ended(self, names: Any, sequence: Longs) -> list[tuple[int, int, int]]:
        """Find the row of the version that each cancellation ends, with its time and sequence number; the first one counts."""
        cancelled = pa.array([name for name, _, _ in self.cancellations], pa.large_string())
        rows: dict[str, list[int]] = defaultdict(list)
        for row in np.flatnonzero(
            pc.is_in(names, value_set=cancelled).to_numpy(zero_copy_only=False)
        ).tolist():
            rows[names[row].as_py()].append(row)
        ended: dict[int, tuple[int, int]] = {}
        for name, at_us, number in self.cancellations:
            before = [row for row in rows[name] if sequence[row] < number]
            if before:
                ended.setdefault(before[-1], (at_us, number))
        return [(row, *end) for row, end in ended.items()]


def _read_issued_us(chunk: HistoryChunk, place: int) -> int:
    event = chunk.read_event(place)
    assert isinstance(event, ArrivalEvent)
    return decode_issued_us(event)
