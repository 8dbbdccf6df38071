"""The state of history that a batch keeps, so that the next batch starts where this one ended.

    day 1   tables of day 1                    ─► features of day 1, state after day 1
    day 2   state after day 1, tables of day 2 ─► features of day 2, state after day 2: those of both days in one table, bit for bit

A state ends with an arrival, the last in the order of history. An outcome or a cancellation that takes effect later waits in the
state. An outcome that was visible before and is given late counts from the next arrival on.

The state has keyed numbers and days, and no identifier, name or text (`features.history.pseudonyms`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.timestamps import NO_TIME, US_PER_DAY, to_datetime
from features.history import ordering
from features.history.kept_table import sort_table
from features.history.kernels import REMEMBERED_DAYS, RESULTS, HistoryArrays, Keys, Longs
from features.history.keys import KEYS_VERSION, KeyKind
from features.history.pseudonyms import Pseudonyms
from features.history.states import NO_SEQUENCE, NOT_FINAL, CountedState
from features.history.table import History
from features.history.table_fold import EarlierEvents, TableFold

STATE_FORMAT = 3
"""3: arrays of the table of history itself, and one kind of segment for all states."""
SEGMENT_ROWS = 1 << 19
"""States of a segment, except the last one of a batch: they are sorted in memory, some 190 bytes each."""
CONSIGNMENT = "consignment"
"""Kind of the number of an identifier, apart from the kinds of history keys."""
Rows = NDArray[Any]

STATE = np.dtype("<i4,<i4,i1,?,?,?,i1,<i8,<i8,<i8,<i8")
STATE.names = (
    *("day", "result_day", "result", "arrived", "cancelled", "standing", "standing_result"),
    *("known_us", "recorded_us", "sequence", "issued_us"),
)
"""Type of the state of a consignment, see `CountedState`."""
WAITING_OUTCOME = np.dtype("<u8,<i8,<i8,<i8,<i8,i1")
WAITING_OUTCOME.names = "number", "visible_us", "known_us", "recorded_us", "sequence", "result"
"""Type of an outcome that waits; `number` is the keyed number of its consignment."""
WAITING_CANCELLATION = np.dtype([("number", "<u8"), ("cancelled_us", "<i8"), ("cancelled_sequence", "<i8")])
"""Type of a cancellation that waits."""
RESULT_NAMES: dict[int, str | None] = {NOT_FINAL: None} | {code: name for name, code in RESULTS.items()}


class StateHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a kept state: its history keys, data key and order, its last arrival, and the latest time and day of any event."""

    kinds: tuple[str, ...]
    key_check: int
    by_sequence: bool
    last_us: int
    last_sequence: int
    clock_us: int
    today: int
    keys_version: int = KEYS_VERSION
    format: int = STATE_FORMAT

    def check_version(self) -> None:
        """Raise `BadInput` if the state was written by another version, whose files or keys are not those of this one."""
        if self.format != STATE_FORMAT or self.keys_version != KEYS_VERSION:
            raise BadInput(
                "the state of history was written by another version of npsrisk",
                got=f"format {self.format}, keys {self.keys_version}",
                expected=f"format {STATE_FORMAT}, keys {KEYS_VERSION}",
                todo="begin a new state in another folder, with all past consignments as --history",
            )


@dataclass(frozen=True)
class StateSegment:
    """States of consignments after a batch, with the latest day and the keys (n, kinds) of each, in ascending order of their numbers."""

    number: Keys
    last_day: NDArray[np.int32]
    state: Rows
    keys: Keys

    def open(self) -> "StateSegment":
        """Return the segment, which is in memory."""
        return self

    def select(self, rows: Any) -> "StateSegment":
        """Return some rows."""
        return StateSegment(*(getattr(self, name)[rows] for name in SEGMENT_ARRAYS))


SEGMENT_ARRAYS = tuple(field.name for field in fields(StateSegment))


class SegmentSource(Protocol):
    """A segment in memory or on disk. A state has many segments, so they are opened one at a time."""

    def open(self) -> StateSegment:
        """Open the segment; its files are closed with its last array."""


@dataclass(frozen=True)
class KeptState:
    """A state of history between two batches."""

    header: StateHeader
    table: HistoryArrays
    segments: tuple[SegmentSource, ...]  # a later one replaces what an earlier one has of a consignment
    outcomes: Rows  # these and the cancellations take effect after the last arrival
    cancellations: Rows

    def check(self, kinds: Sequence[KeyKind], pseudonyms: Pseudonyms) -> None:
        """Raise `BadInput` if the state has other history keys, or was written with another data key."""
        names = tuple(kind.name for kind in kinds)
        self.header.check_version()
        if self.header.kinds != names:
            raise BadInput(
                "the state of history has other keys than the model",
                got=", ".join(sorted(set(self.header.kinds) ^ set(names))) or "another order",
                todo="begin a new state from --history for this model",
            )
        if self.header.key_check != compute_key_check(pseudonyms):
            todo = "set NPSRISK_DATA_KEY_FILE to that key, or begin a new state from --history"
            raise BadInput("the state of history was written with another data key", todo=todo)

    def find(self, numbers: Keys) -> dict[int, CountedState]:
        """Find the states of earlier consignments among some distinct numbers."""
        states: dict[int, CountedState] = {}
        for source in reversed(self.segments):
            segment = source.open()
            found = segment.select(np.isin(segment.number, numbers, assume_unique=True))
            for number, *row in zip(
                found.number.tolist(), found.last_day.tolist(), found.state, found.keys, strict=True
            ):
                states.setdefault(number, _unpack(*row))
        return states


class StateStore(Protocol):
    """A store of the large parts of the next state. It returns them in the form in which the state keeps them."""

    def write_segment(self, segment: StateSegment) -> SegmentSource:
        """Write a segment."""

    def write_table(self, parts: Iterable[HistoryArrays], today: int) -> HistoryArrays:
        """Write the table of history as of a day, given in parts. Each part may be forgotten before the next."""


class StateRun:
    """A batch that starts from a kept state, or from nothing, and ends with the next state."""

    def __init__(
        self, before: KeptState | None, kinds: tuple[KeyKind, ...], pseudonyms: Pseudonyms, store: StateStore
    ) -> None:
        if before is not None:
            before.check(kinds, pseudonyms)
        self.before, self.kinds, self.pseudonyms = before, kinds, pseudonyms
        self._store = store
        self._arrivals: ordering.ArrivalEvents
        self._outcomes: ordering.Outcomes
        self._segments: list[SegmentSource] = []
        self._waiting: list[StateSegment] = []
        self.state: KeptState | None = None  # the next one, after the last row of the batch was read

    def start_fold(self, arrivals: ordering.ArrivalEvents, outcomes: ordering.Outcomes) -> TableFold:
        """Start to process the tables of the batch, which must come after the state and have its order."""
        earlier = self._prepare_tables(arrivals, outcomes)
        self._fold = TableFold(self._arrivals, self._outcomes, earlier=earlier, keep=self._keep_arrivals)
        # identifiers are needed for the order only
        self._arrivals = replace(self._arrivals, consignment_id=[])
        return self._fold

    @cached_property
    def history(self) -> History:
        """Return the table of history before the batch. It is built when it is first needed, after the events are sorted."""
        if self.before is None:
            return History.create_sized(self.kinds, len(self._numbers))
        return History.from_arrays(self.kinds, self.before.table)

    def finish(self) -> None:
        """Build the next state, after all arrivals of the fold were counted in `history`."""
        today, old = self._fold.today, () if self.before is None else self.before.segments
        oldest = today - REMEMBERED_DAYS
        self._waiting.append(self._collect_states(oldest))
        self._write_segments(last=True)
        self.state = KeptState(
            header=self._build_header(today),
            table=self._store.write_table(sort_table(self.history.get_arrays(), today), today),
            segments=(*(each for each in old if each.open().last_day.max() >= oldest), *self._segments),
            outcomes=self._collect_waiting(ordering.OUTCOME, self._outcomes, WAITING_OUTCOME),
            cancellations=self._collect_waiting(ordering.CANCELLATION, self._arrivals, WAITING_CANCELLATION),
        )

    def _prepare_tables(self, arrivals: ordering.ArrivalEvents, outcomes: ordering.Outcomes) -> EarlierEvents:
        """Add what waits in the state to the tables, and return what they need of the events before."""
        self._check_order(arrivals, outcomes)
        before = self.before
        numbers = self._compute_numbers(arrivals)
        self._numbers, self._issued_us = numbers, _fill_missing(arrivals.issued_us, len(numbers), NO_TIME)
        found = self._compute_numbers(outcomes)
        self._arrivals = replace(arrivals, identity=pa.array(numbers))
        self._outcomes = replace(outcomes, identity=pa.array(found))
        earlier = EarlierEvents()
        if before is not None:
            self._outcomes = _drop_forgotten(self._outcomes, before.header)
            self._arrivals = _prepend_cancellations(before.cancellations, self._arrivals)
            self._outcomes = _append_outcomes(self._outcomes, before.outcomes)
            met = [_get_numbers(each) for each in (self._arrivals, self._outcomes)]
            states = before.find(np.unique(np.concatenate(met)))
            earlier = EarlierEvents(before.header.today, before.header.clock_us, states)
        return earlier

    def _collect_waiting(
        self, what: int, table: ordering.ArrivalEvents | ordering.Outcomes, dtype: np.dtype[Any]
    ) -> Rows:
        """Collect the events of a kind that take effect after the last arrival, each once, in a fixed order."""
        rows = self._fold.left.row[self._fold.left.what == what]
        waiting = np.zeros(len(rows), dtype=dtype)
        for name in waiting.dtype.names or ():
            column = _get_numbers(table) if name == "number" else getattr(table, name)
            if name == "result":
                column = np.array([RESULTS.get(each or "", NOT_FINAL) for each in column], dtype=np.int8)
            waiting[name] = NO_SEQUENCE if column is None else column[rows]
        return np.unique(waiting)

    def _check_order(self, arrivals: ordering.ArrivalEvents, outcomes: ordering.Outcomes) -> None:
        by_sequence = arrivals.sequence is not None
        header = None if self.before is None else self.before.header
        has_rows = len(arrivals.received_us) > 0
        if header is not None and not has_rows:
            by_sequence |= header.by_sequence
        if by_sequence and outcomes.sequence is None and len(outcomes.result):
            raise BadInput(
                "consignments have the column sequence and outcomes have not",
                where="outcomes",
                todo="export both from the service, or drop the column",
            )
        if header is None or not has_rows:
            return
        if by_sequence != header.by_sequence:
            raise BadInput(
                "the state of history has another order",
                got="tables with `sequence`" if by_sequence else "tables without `sequence`",
                expected="`sequence`" if header.by_sequence else "times without `sequence`",
                todo="begin a new state from --history",
            )
        if arrivals.sequence is None:
            early = arrivals.received_us <= header.last_us
        else:
            early = arrivals.sequence <= header.last_sequence
        if early.any():
            end = header.last_sequence if by_sequence else f"{to_datetime(header.last_us):%Y-%m-%dT%H:%M:%SZ}"
            raise BadInput(
                "these consignments belong before the end of the state of history",
                where="consignments",
                got=f"{int(early.sum()):,} of {len(early):,} rows",
                expected=f"{'sequence' if by_sequence else 'received_at'} after {end}",
                todo="score them with --history in place of --state; if rows come late, give tables a `sequence`",
            )

    def _compute_numbers(self, table: ordering.ArrivalEvents | ordering.Outcomes) -> Keys:
        """Compute the numbers of the consignments of a table."""
        return self.pseudonyms.number_texts(CONSIGNMENT, ordering.get_identity(table).to_pylist())

    def _keep_arrivals(self, rows: Longs, days: NDArray[np.int32], keys: Keys) -> None:
        states = np.full(len(rows), np.array(_pack(CountedState(b"")), dtype=STATE))
        states["day"], states["issued_us"] = days, self._issued_us[rows]
        self._waiting.append(StateSegment(self._numbers[rows], days, states, keys))
        self._write_segments()

    def _write_segments(self, *, last: bool = False) -> None:
        """Write the waiting states in segments of SEGMENT_ROWS, and the rest if they are the last ones."""
        rows = sum(len(part.number) for part in self._waiting)
        ends = [*range(SEGMENT_ROWS, rows + 1, SEGMENT_ROWS)]
        if last and rows % SEGMENT_ROWS:
            ends.append(rows)
        if not ends:
            return
        columns = ([getattr(part, name) for part in self._waiting] for name in SEGMENT_ARRAYS)
        whole = StateSegment(*map(np.concatenate, columns))
        for begin, end in pairwise([0, *ends]):
            part = whole.select(slice(begin, end))
            part = part.select(np.argsort(part.number, kind="stable"))
            self._segments.append(self._store.write_segment(part))
        self._waiting = [whole.select(slice(ends[-1], None))]

    def _collect_states(self, oldest: int) -> StateSegment:
        """Collect the states of consignments with several events."""
        mine = [
            (number, state)
            for number, state in self._fold.states.states.items()
            if state.last_day >= oldest and (state.keys is not None or state.standing is not None)
        ]
        missing = bytes(8 * len(self.kinds))
        keys = b"".join(missing if state.keys is None else state.keys for _, state in mine)
        return StateSegment(
            np.array([number for number, _ in mine], dtype=np.uint64),
            np.array([state.last_day for _, state in mine], dtype=np.int32),
            np.array([_pack(state) for _, state in mine], dtype=STATE),
            np.frombuffer(keys, dtype=np.uint64).reshape(-1, len(self.kinds)),
        )

    def _build_header(self, today: int) -> StateHeader:
        before = None if self.before is None else self.before.header
        mine = slice(self._arrivals.carried, None)
        received, sequence = self._arrivals.received_us[mine], self._arrivals.sequence
        times = ordering.get_event_times(self._fold.events, self._arrivals, self._outcomes)
        earlier = NO_SEQUENCE if before is None else before.last_sequence
        return StateHeader(
            kinds=tuple(kind.name for kind in self.kinds),
            key_check=compute_key_check(self.pseudonyms),
            by_sequence=sequence is not None if before is None or len(received) else before.by_sequence,
            last_us=int(received.max(initial=NO_TIME if before is None else before.last_us)),
            last_sequence=earlier if sequence is None else int(sequence[mine].max(initial=earlier)),
            clock_us=int(times.max(initial=NO_TIME if before is None else before.clock_us)),
            today=today,
        )


def compute_key_check(pseudonyms: Pseudonyms) -> int:
    """Compute the number by which a state recognises the data key."""
    return pseudonyms.compute_number("state of history", "check")


def _pack(state: CountedState) -> tuple[Any, ...]:
    """Return the values of `STATE`."""
    *order, code = state.standing or (NO_TIME, NO_TIME, NO_SEQUENCE, NOT_FINAL)
    flags = state.keys is not None, state.cancelled, state.standing is not None
    return (state.day, state.result_day, state.result, *flags, code, *order, state.issued_us)


def _unpack(last_day: int, row: Any, keys: Keys) -> CountedState:
    day, result_day, result, arrived, cancelled, stands, code, *order, issued_us = row.item()
    standing = (*order, code) if stands else None
    own = keys.tobytes() if arrived else None
    return CountedState(own, day, cancelled, standing, result, result_day, last_day, issued_us)


def _get_numbers(table: ordering.ArrivalEvents | ordering.Outcomes) -> Keys:
    """Return the keyed numbers of the consignments of events."""
    numbers: Keys = table.identity.to_numpy()  # type: ignore[union-attr]
    return numbers


def _fill_missing(column: Longs | None, rows: int, value: int) -> Longs:
    """Return a column; one of a single value if the table has none."""
    return np.full(rows, value, dtype=np.int64) if column is None else column


def _prepend_cancellations(waiting: Rows, arrivals: ordering.ArrivalEvents) -> ordering.ArrivalEvents:
    """Add the consignments whose cancellation waits before the arrivals of a table."""
    carried, rows = len(waiting), len(arrivals.received_us)

    def prepend(column: Longs | None, value: int) -> Longs | None:
        return None if column is None else np.concatenate([np.full(carried, value), column])

    names = [pa.array([""] * carried, pa.large_string()), ordering.to_arrow_strings(arrivals.consignment_id)]
    cancelled_sequence = _fill_missing(arrivals.cancelled_sequence, rows, NO_SEQUENCE)
    return ordering.ArrivalEvents(
        consignment_id=pa.concat_arrays(names),
        received_us=np.concatenate([np.full(carried, NO_TIME), arrivals.received_us]),
        cancelled_us=np.concatenate([waiting["cancelled_us"], arrivals.cancelled_us]),
        sequence=prepend(arrivals.sequence, NO_SEQUENCE),
        cancelled_sequence=np.concatenate([waiting["cancelled_sequence"], cancelled_sequence]),
        issued_us=prepend(arrivals.issued_us, NO_TIME),
        identity=pa.array(np.concatenate([waiting["number"], _get_numbers(arrivals)])),
        carried=carried,
    )


def _append_outcomes(outcomes: ordering.Outcomes, waiting: Rows) -> ordering.Outcomes:
    """Add the outcomes that wait to those of a table."""
    if not len(waiting):
        return outcomes
    nameless = pa.array([""] * len(waiting), pa.large_string())
    names = [ordering.to_arrow_strings(outcomes.consignment_id), nameless]
    sequence = _fill_missing(outcomes.sequence, len(outcomes.result), NO_SEQUENCE)
    return ordering.Outcomes(
        consignment_id=pa.concat_arrays(names),
        visible_us=np.concatenate([outcomes.visible_us, waiting["visible_us"]]),
        known_us=np.concatenate([outcomes.known_us, waiting["known_us"]]),
        recorded_us=np.concatenate([outcomes.recorded_us, waiting["recorded_us"]]),
        sequence=np.concatenate([sequence, waiting["sequence"]]),
        result=[*outcomes.result, *(RESULT_NAMES[code] for code in waiting["result"].tolist())],
        identity=pa.array(np.concatenate([_get_numbers(outcomes), waiting["number"]])),
    )


def _drop_forgotten(outcomes: ordering.Outcomes, header: StateHeader) -> ordering.Outcomes:
    """Leave out outcomes from before the end of the state that history has forgotten: one table of all batches forgets them too."""
    kept = outcomes.visible_us // US_PER_DAY >= header.today - REMEMBERED_DAYS
    if outcomes.sequence is not None:
        kept |= outcomes.sequence > header.last_sequence
    return outcomes if kept.all() else outcomes.take(np.flatnonzero(kept))
