"""The state of history that a batch keeps, so that the next batch starts where this one ended.

    day 1   tables of day 1                    ─► features of day 1, state after day 1
    day 2   state after day 1, tables of day 2 ─► features of day 2, state after day 2: those of both days in one table, bit for bit

A state ends with an arrival, the last in the order of history. An outcome or a cancellation that takes effect later waits in the
state. An outcome that was visible before and is given late counts from the next arrival on.

The state has keyed numbers and days, and no identifier, name or text (`features.history.pseudonyms`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.timestamps import NO_TIME, US_PER_DAY, to_datetime
from features.history.kernels import REMEMBERED_DAYS
from features.history.keys import KEYS_VERSION, KeyKind
from features.history.ordering import (
    ArrivalEvents,
    Outcomes,
    get_event_times,
    get_identity,
    to_arrow_strings,
)
from features.history.pseudonyms import Pseudonyms
from features.history.sorted_table import SortedTable
from features.history.states import NO_SEQUENCE, NOT_FINAL, CountedState
from features.history.table import History
from features.history.table_fold import EarlierEvents, TableFold
from features.history.waiting_events import (
    append_outcomes,
    collect_cancellations,
    collect_outcomes,
    fill_missing,
    get_numbers,
    prepend_cancellations,
)

STATE_FORMAT = 2
"""2: late versions leave no trace. A state of format 1 may have some."""
SEGMENT_ROWS = 1 << 19
"""Arrivals of a segment, except the last one of a batch: they are sorted in memory, 140 bytes each."""
CONSIGNMENT = "consignment"
"""Kind of the number of an identifier, apart from the kinds of history keys."""
Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Rows = NDArray[Any]

FOLLOWED = np.dtype(
    [
        ("number", "<u8"),
        ("day", "<i4"),
        ("last_day", "<i4"),
        ("result_day", "<i4"),
        ("result", "i1"),
        ("arrived", "?"),
        ("cancelled", "?"),
        ("standing", "?"),
        ("standing_result", "i1"),
        ("known_us", "<i8"),
        ("recorded_us", "<i8"),
        ("sequence", "<i8"),
        ("issued_us", "<i8"),
    ]
)
"""Type of the state of a consignment with several events, see `CountedState`."""


class StateHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header of a kept state.

    Attributes
    ----------
    kinds : tuple of str
        Names of the kinds of history keys.
    key_check : int
        Number of a fixed text, by which another data key is recognised.
    by_sequence : bool
        True if `sequence` is the order of history, False if time is.
    last_us, last_sequence : int
        Latest time and sequence number of an arrival.
    clock_us : int
        Latest time of any event.
    today : int
        Day of the latest event.
    keys_version, format : int
    """

    kinds: tuple[str, ...]
    key_check: int
    by_sequence: bool
    last_us: int
    last_sequence: int
    clock_us: int
    today: int
    keys_version: int = KEYS_VERSION
    format: int = STATE_FORMAT


@dataclass(frozen=True)
class ArrivedSegment:
    """Consignments that arrived once and had no other event in their batch, in ascending order of their numbers.

    Attributes
    ----------
    number : uint64 array, (n,)
    day : int32 array, (n,)
    issued_us : int64 array, (n,)
    keys : uint64 array, (n, kinds)
    """

    number: Keys
    day: NDArray[np.int32]
    issued_us: Longs
    keys: Keys

    def open(self) -> "ArrivedSegment":
        """Return the segment, which is in memory."""
        return self


class SegmentSource(Protocol):
    """A segment in memory or on disk. A state has many segments, so they are opened one at a time."""

    def open(self) -> ArrivedSegment:
        """Open the segment; its files are closed with its last array."""


@dataclass(frozen=True)
class KeptState:
    """A state of history between two batches.

    Attributes
    ----------
    header : StateHeader
    table : SortedTable
    followed : FOLLOWED array
        Consignments with several events, in ascending order of their numbers.
    followed_keys : uint64 array, (followed, kinds)
    arrived : tuple of SegmentSource
        All other consignments whose arrival is remembered.
    outcomes : WAITING_OUTCOME array
    cancellations : WAITING_CANCELLATION array
    """

    header: StateHeader
    table: SortedTable
    followed: Rows
    followed_keys: Keys
    arrived: tuple[SegmentSource, ...]
    outcomes: Rows
    cancellations: Rows

    def check(self, kinds: Sequence[KeyKind], pseudonyms: Pseudonyms) -> None:
        """Raise `BadInput` if the state has other history keys, or was written with another data key."""
        names = tuple(kind.name for kind in kinds)
        if self.header.format != STATE_FORMAT or self.header.keys_version != KEYS_VERSION:
            raise BadInput(
                "the state of history was written by another version of npsrisk",
                todo="begin a new state from --history",
            )
        if self.header.kinds != names:
            raise BadInput(
                "the state of history has other keys than the model",
                got=", ".join(sorted(set(self.header.kinds) ^ set(names))) or "another order",
                todo="begin a new state from --history for this model",
            )
        if self.header.key_check != compute_key_check(pseudonyms):
            raise BadInput(
                "the state of history was written with another data key",
                todo="set NPSRISK_DATA_KEY_FILE to that key, or begin a new state from --history",
            )

    def find(self, numbers: Keys) -> dict[int, CountedState]:
        """Find the states of earlier consignments among some ascending, distinct numbers."""
        mine = np.flatnonzero(_is_among(self.followed["number"], numbers))
        states = {
            int(row["number"]): _unpack(row, keys.tobytes())
            for row, keys in zip(self.followed[mine], self.followed_keys[mine], strict=True)
        }
        for source in reversed(self.arrived):  # the latest arrival of a number counts
            segment = source.open()
            for row in np.flatnonzero(_is_among(segment.number, numbers)).tolist():
                number, day = int(segment.number[row]), int(segment.day[row])
                if number not in states:
                    issued_us = int(segment.issued_us[row])
                    keys = segment.keys[row].tobytes()
                    states[number] = CountedState(keys, day, last_day=day, issued_us=issued_us)
        return states


class StateStore(Protocol):
    """A store of the large parts of the next state. It returns them in the form in which the state keeps them."""

    def write_segment(self, segment: ArrivedSegment) -> SegmentSource:
        """Write a segment of new arrivals."""

    def write_table(self, parts: Iterable[SortedTable]) -> SortedTable:
        """Write the table of history, given in parts in ascending order of their keys. Each part may be forgotten before the next."""


class MemoryStore:
    """A store that keeps the parts in memory."""

    def write_segment(self, segment: ArrivedSegment) -> SegmentSource:
        """Return the segment."""
        return segment

    def write_table(self, parts: Iterable[SortedTable]) -> SortedTable:
        """Return the whole table."""
        return SortedTable.concatenate(list(parts))


NEW_KEYS = 2
"""Assumed number of new history keys per consignment."""


class StateRun:
    """A batch that starts from a kept state, or from nothing, and ends with the next state.

    Either the keys are given to the fold with the arrivals (`start_fold`, `finish`), or they are computed elsewhere, after the fold
    (`start_plan`, `finish_plan`).

    Parameters
    ----------
    before : KeptState or None
    kinds : tuple of KeyKind
    pseudonyms : Pseudonyms
        Those with which the keys of the rows are computed.
    store : StateStore, optional
        In memory by default.

    Attributes
    ----------
    earlier_keys : uint64 array, (n, kinds)
        Keys of the earlier consignments that the batch meets, once it has started.
    """

    def __init__(
        self,
        before: KeptState | None,
        kinds: tuple[KeyKind, ...],
        pseudonyms: Pseudonyms,
        store: StateStore | None = None,
    ) -> None:
        if before is not None:
            before.check(kinds, pseudonyms)
        self.before, self.kinds, self.pseudonyms = before, kinds, pseudonyms
        self._store = store or MemoryStore()
        self._read_keys: Callable[[Keys], Keys] | None = None
        self._segments: list[SegmentSource] = []
        self._waiting: list[ArrivedSegment] = []
        self._state: KeptState | None = None

    @property
    def state(self) -> KeptState:
        """Return the next state; it exists after the last row of the batch was read."""
        if self._state is None:
            raise RuntimeError("the batch is not finished: read all its rows first")
        return self._state

    def start_fold(self, arrivals: ArrivalEvents, outcomes: Outcomes) -> TableFold:
        """Start to process the tables of the batch; their steps are counted in `history`.

        Raises
        ------
        BadInput
            An arrival is not later than the state, or the tables have another order than the state.
        """
        self._read_keys, self._kinds = lambda keys: keys, len(self.kinds)
        return self._start(self._prepare_tables(arrivals, outcomes))

    def start_plan(self, arrivals: ArrivalEvents, outcomes: Outcomes) -> TableFold:
        """Start to process the tables of the batch without keys, as `start_fold` does.

        Arrival n has the only key n + 1. The earlier consignments follow: they are those of `earlier_keys`.
        """
        earlier = self._prepare_tables(arrivals, outcomes)
        number, self._kinds = len(self._numbers), 1
        for state in earlier.states.values():
            if state.keys is not None:
                number += 1
                state.keys = number.to_bytes(8, "little")
        return self._start(earlier)

    @cached_property
    def history(self) -> History:
        """Return the table of history before the batch. It is built when it is first needed, after the events are sorted."""
        if self.before is None:
            return History(self.kinds, capacity=max(NEW_KEYS * len(self._numbers), 1 << 16))
        return self.before.table.to_history(self.kinds, self.before.header.today)

    def finish(self) -> None:
        """Build the next state, after all arrivals of the fold were counted in `history`."""
        self._finish(SortedTable.split_history(self.history, self.today))

    def finish_plan(self, parts: Iterable[SortedTable], read_keys: Callable[[Longs], Keys]) -> None:
        """Build the next state, after all arrivals of the plan were counted elsewhere.

        Parameters
        ----------
        parts : iterable of SortedTable
            The next table in parts, as of `today`, in ascending order of the keys.
        read_keys : callable
            Function that returns the keys, (n, kinds), of arrivals and earlier consignments by their number, from 0.
        """
        self._read_keys = lambda keys: read_keys(keys[:, 0].astype(np.int64) - 1)
        self._finish(parts)

    @property
    def today(self) -> int:
        """Return the latest day of all events of this batch and of the earlier ones."""
        return self._fold.today

    def _prepare_tables(self, arrivals: ArrivalEvents, outcomes: Outcomes) -> EarlierEvents:
        """Add what waits in the state to the tables, and return what they need of the events before."""
        self._check_order(arrivals, outcomes)
        before = self.before
        numbers = self._compute_numbers(arrivals)
        self._numbers, self._issued_us = numbers, fill_missing(arrivals.issued_us, len(numbers), NO_TIME)
        found = self._compute_numbers(outcomes)
        self._arrivals = replace(arrivals, identity=pa.array(numbers))
        self._outcomes = replace(outcomes, identity=pa.array(found))
        earlier = EarlierEvents()
        if before is not None:
            self._outcomes = _drop_forgotten(self._outcomes, before.header)
            self._arrivals = prepend_cancellations(before.cancellations, self._arrivals)
            self._outcomes = append_outcomes(self._outcomes, before.outcomes)
            met = [get_numbers(each.identity) for each in (self._arrivals, self._outcomes)]
            states = before.find(np.unique(np.concatenate(met)))
            earlier = EarlierEvents(before.header.today, before.header.clock_us, states)
        self.earlier_keys = _join_keys(earlier.states.values(), len(self.kinds))
        return earlier

    def _start(self, earlier: EarlierEvents) -> TableFold:
        self._fold = TableFold(self._arrivals, self._outcomes, earlier=earlier, keep=self._keep_arrivals)
        self._arrivals = replace(
            self._arrivals, consignment_id=[]
        )  # identifiers are needed for the order only
        return self._fold

    def _finish(self, parts: Iterable[SortedTable]) -> None:
        self._write_segments(last=True)
        fold, today = self._fold, self.today
        oldest = today - REMEMBERED_DAYS
        old = () if self.before is None else self.before.arrived
        rows, keys = self._collect_followed(today)
        self._state = KeptState(
            header=self._build_header(today),
            table=self._store.write_table(parts),
            followed=rows,
            followed_keys=keys,
            arrived=(*(each for each in old if each.open().day.max() >= oldest), *self._segments),
            outcomes=collect_outcomes(fold.left, self._outcomes),
            cancellations=collect_cancellations(fold.left, self._arrivals),
        )

    def _check_order(self, arrivals: ArrivalEvents, outcomes: Outcomes) -> None:
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
        early = (
            arrivals.received_us <= header.last_us
            if arrivals.sequence is None
            else arrivals.sequence <= header.last_sequence
        )
        if early.any():
            end = header.last_sequence if by_sequence else f"{to_datetime(header.last_us):%Y-%m-%dT%H:%M:%SZ}"
            raise BadInput(
                "these consignments belong before the end of the state of history",
                where="consignments",
                got=f"{int(early.sum()):,} of {len(early):,} rows",
                expected=f"{'sequence' if by_sequence else 'received_at'} after {end}",
                todo="score them with --history in place of --state; if rows come late, give tables a `sequence`",
            )

    def _compute_numbers(self, table: ArrivalEvents | Outcomes) -> Keys:
        """Compute the numbers of the consignments of a table."""
        return self.pseudonyms.number_texts(CONSIGNMENT, get_identity(table).to_pylist())

    def _keep_arrivals(self, rows: Longs, days: NDArray[np.int32], keys: Keys) -> None:
        self._waiting.append(ArrivedSegment(self._numbers[rows], days, self._issued_us[rows], keys))
        if self._read_keys is not None:
            self._write_segments()

    def _write_segments(self, *, last: bool = False) -> None:
        """Write the waiting arrivals in segments of SEGMENT_ROWS, and the rest if they are the last ones."""
        rows = sum(len(part.number) for part in self._waiting)
        ends = [*range(SEGMENT_ROWS, rows + 1, SEGMENT_ROWS)]
        if last and rows % SEGMENT_ROWS:
            ends.append(rows)
        if not ends:
            return
        whole = [np.concatenate([getattr(part, name) for part in self._waiting]) for name in SEGMENT_ARRAYS]
        for begin, end in pairwise([0, *ends]):
            self._write_segment(ArrivedSegment(*(array[begin:end] for array in whole)))
        self._waiting = [ArrivedSegment(*(array[ends[-1] :] for array in whole))]

    def _write_segment(self, segment: ArrivedSegment) -> None:
        """Sort and write a segment, whose keys may still have to be read."""
        assert self._read_keys is not None
        order = np.argsort(segment.number, kind="stable")
        ordered = ArrivedSegment(
            segment.number[order],
            segment.day[order],
            segment.issued_us[order],
            self._read_keys(segment.keys)[order],
        )
        self._segments.append(self._store.write_segment(ordered))

    def _collect_followed(self, today: int) -> tuple[Rows, Keys]:
        """Collect the states of consignments with several events, of this batch and of the earlier ones."""
        states, oldest = self._fold.states.states, today - REMEMBERED_DAYS
        mine = [
            (number, state)
            for number, state in states.items()
            if state.last_day >= oldest and (state.keys is not None or state.standing is not None)
        ]
        rows = np.array([_pack(number, state) for number, state in mine], dtype=FOLLOWED)
        keys = np.zeros((len(mine), len(self.kinds)), dtype=np.uint64)
        assert self._read_keys is not None
        keys[rows["arrived"]] = self._read_keys(_join_keys((state for _, state in mine), self._kinds))
        if self.before is not None:
            changed = np.sort(np.fromiter(states, dtype=np.uint64, count=len(states)))
            earlier = self.before.followed
            kept = ~_is_among(earlier["number"], changed) & (earlier["last_day"] >= oldest)
            rows = np.concatenate([rows, earlier[kept]])
            keys = np.concatenate([keys, self.before.followed_keys[kept]])
        order = np.argsort(rows["number"])
        return rows[order], keys[order]

    def _build_header(self, today: int) -> StateHeader:
        before = None if self.before is None else self.before.header
        mine = slice(self._arrivals.carried, None)
        received, sequence = self._arrivals.received_us[mine], self._arrivals.sequence
        times = get_event_times(self._fold.events, self._arrivals, self._outcomes)
        return StateHeader(
            kinds=tuple(kind.name for kind in self.kinds),
            key_check=compute_key_check(self.pseudonyms),
            by_sequence=sequence is not None if before is None or len(received) else before.by_sequence,
            last_us=int(received.max(initial=NO_TIME if before is None else before.last_us)),
            last_sequence=_find_last_sequence(before, None if sequence is None else sequence[mine]),
            clock_us=int(times.max(initial=NO_TIME if before is None else before.clock_us)),
            today=today,
        )


SEGMENT_ARRAYS = ("number", "day", "issued_us", "keys")


def compute_key_check(pseudonyms: Pseudonyms) -> int:
    """Compute the number by which a state recognises the data key."""
    return pseudonyms.compute_number("state of history", "check")


def _find_last_sequence(before: StateHeader | None, sequence: Longs | None) -> int:
    earlier = NO_SEQUENCE if before is None else before.last_sequence
    return earlier if sequence is None else int(sequence.max(initial=earlier))


def _is_among(values: Keys, wanted: Keys) -> NDArray[np.bool_]:
    """Mark the values that are among some ascending numbers."""
    if not len(wanted):
        return np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    found: NDArray[np.bool_] = wanted[place] == values
    return found


def _join_keys(states: Iterable[CountedState], kinds: int) -> Keys:
    """Return the keys of those states that have some; uint64, (n, kinds)."""
    joined = b"".join(state.keys for state in states if state.keys is not None)
    return np.frombuffer(joined, dtype=np.uint64).reshape(-1, kinds)


def _pack(number: int, state: CountedState) -> tuple[Any, ...]:
    known_us, recorded_us, sequence, result = state.standing or (NO_TIME, NO_TIME, NO_SEQUENCE, NOT_FINAL)
    return (
        number,
        state.day,
        state.last_day,
        state.result_day,
        state.result,
        state.keys is not None,
        state.cancelled,
        state.standing is not None,
        result,
        known_us,
        recorded_us,
        sequence,
        state.issued_us,
    )


def _unpack(row: Any, keys: bytes) -> CountedState:
    standing = tuple(int(row[name]) for name in ("known_us", "recorded_us", "sequence", "standing_result"))
    return CountedState(
        keys=keys if row["arrived"] else None,
        day=int(row["day"]),
        cancelled=bool(row["cancelled"]),
        standing=standing if row["standing"] else None,  # type: ignore[arg-type]
        result=int(row["result"]),
        result_day=int(row["result_day"]),
        last_day=int(row["last_day"]),
        issued_us=int(row["issued_us"]),
    )


def _drop_forgotten(outcomes: Outcomes, header: StateHeader) -> Outcomes:
    """Leave out outcomes from before the end of the state that history has forgotten: one table of all batches forgets them too."""
    kept = outcomes.visible_us // US_PER_DAY >= header.today - REMEMBERED_DAYS
    if outcomes.sequence is not None:
        kept |= outcomes.sequence > header.last_sequence
    if kept.all():
        return outcomes
    rows = np.flatnonzero(kept)
    return Outcomes(
        consignment_id=to_arrow_strings(outcomes.consignment_id).take(pa.array(rows)),
        visible_us=outcomes.visible_us[rows],
        known_us=outcomes.known_us[rows],
        recorded_us=outcomes.recorded_us[rows],
        sequence=None if outcomes.sequence is None else outcomes.sequence[rows],
        result=[outcomes.result[row] for row in rows.tolist()],
        identity=pa.array(get_numbers(outcomes.identity)[rows]),
    )
