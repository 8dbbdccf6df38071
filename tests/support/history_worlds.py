"""Worlds of arrivals and outcomes for the tests of history, and their history in three ways: as a batch, one by one through the ledger, and by its definition."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from support.history_oracle import MOST_ARRIVALS, US_PER_DAY, Arrival, Outcome, PlainHistory, in_order

from consignments.timestamps import NO_TIME
from features.history.kept_state import StateRun
from features.history.kept_table import join_parts, sort_table
from features.history.kernels import FIRST_BLOCK, TODAY, HistoryArrays
from features.history.keys import KeyKind
from features.history.live import LiveHistory, VisibleOutcome
from features.history.ordering import ARRIVAL, OUTCOME, ArrivalEvents, Outcomes, order_events
from features.history.readings import build_history_features
from features.history.table import History
from features.history.table_fold import TableFold

KINDS = tuple(KeyKind(name, name, None, (), side="sender") for name in ("sender", "consignee"))
"""Both may betray the sender, so that a side with two keys is read."""
NETWORK_SIDES = {
    **dict.fromkeys(("sender", "sender_phone", "account"), "sender"),
    **dict.fromkeys(("consignee", "consignee_phone"), "consignee"),
    "route": None,
}
NETWORK_KINDS = tuple(
    KeyKind(name, name, None, (), side=side, joins=name.endswith(("phone", "account")))
    for name, side in NETWORK_SIDES.items()
)
"""Of each side, some join networks."""
NO_OTHERS = (0,) * len(NETWORK_KINDS)
ROW = len(build_history_features(KINDS))
"""Readings of one arrival."""
START = 19_783
"""1 March 2024."""


def arrivals_of(rows: Sequence[Arrival]) -> ArrivalEvents:
    return ArrivalEvents(
        [row.name for row in rows],
        moments(row.received_us for row in rows),
        moments(row.cancelled_us for row in rows),
        None if any(row.sequence is None for row in rows) else moments(row.sequence for row in rows),
        moments(-1 if row.cancelled_sequence is None else row.cancelled_sequence for row in rows),
        moments(row.issued_us for row in rows),
    )


def outcomes_of(rows: Sequence[Outcome]) -> Outcomes:
    return Outcomes(
        [row.name for row in rows],
        moments(row.visible_us for row in rows),
        moments(row.known_us for row in rows),
        moments(row.recorded_us for row in rows),
        None if any(row.sequence is None for row in rows) else moments(row.sequence for row in rows),
        [row.result for row in rows],
    )


def moment(day: float) -> int:
    """Give the moment some days after the start."""
    return int((START + day) * US_PER_DAY)


def moments(values: Iterable[int | None]) -> np.ndarray:
    return np.array([NO_TIME if value is None else value for value in values], dtype=np.int64)


def numbers(rows: Sequence[tuple[int, ...]], kinds: int = len(KINDS)) -> np.ndarray:
    return np.array(rows, dtype=np.uint64).reshape(-1, kinds)


def get_counted(history: History) -> dict[str, bytes]:
    """All that the table counts: everything but the day and the block that readings write into."""
    arrays = history.get_arrays()
    return {
        "state": np.delete(arrays.state, TODAY).tobytes(),
        "heads": arrays.heads.tobytes(),
        "days": arrays.days[FIRST_BLOCK:].tobytes(),
        "counterparts": arrays.counterparts.tobytes(),
    }


def copy_arrays(history: History) -> HistoryArrays:
    return HistoryArrays(*(array.copy() for array in history.get_arrays()))


def sort_history(history: History, today: int) -> HistoryArrays:
    return join_parts(sort_table(history.get_arrays(), today), today)


def list_bytes(table: HistoryArrays) -> list[bytes]:
    return [array.tobytes() for array in table]


# Days that lie at, before and after the edges of every window and of what is remembered.
GAPS = [0, 0, 0, 0, 1, 1, 2, 6, 7, 8, 29, 30, 89, 90, 364, 365, 366, 367, 400]
gaps = st.sampled_from(GAPS)
hours = st.sampled_from([0, 9, 9, 23])
key_rows = st.tuples(st.sampled_from([0, 1, 1, 2, 3]), st.sampled_from([0, 5, 5, 6]))
counterpart_rows = st.tuples(st.integers(0, 12), st.integers(0, 3))
results = st.sampled_from(["nps", "controlled_drug", "other_offence", "clear", "clear", "pending", None])


@st.composite
def worlds(draw, sequenced: bool):
    """Arrivals and outcomes: days may go backwards and names repeat only where there is a sequence."""
    day = START
    arrivals: list[Arrival] = []
    outcomes: list[Outcome] = []
    for number in range(draw(st.integers(1, 14))):
        if sequenced and draw(st.integers(0, 4)) == 0:
            day -= draw(gaps)
        else:
            day += draw(gaps)
        moment = day * US_PER_DAY + draw(hours) * 3_600_000_000
        if draw(st.integers(0, 2)) < 2 or not arrivals:
            name = f"c{draw(st.integers(0, 5)) if sequenced else number}"
            cancelled, own = draw(st.none() | st.just(None) | gaps), (draw(key_rows), draw(counterpart_rows))
            times = {"cancelled_us": None if cancelled is None else moment + cancelled * US_PER_DAY}
            if sequenced:
                times |= {"sequence": 4 * number, "issued_us": draw(st.sampled_from([None, 3, 2, 2, 1, 1]))}
                later = 4 * (number + draw(st.integers(0, 4))) + 2
                times["cancelled_sequence"] = draw(st.none() | st.just(later))
            arrivals.append(Arrival(name, moment, *own, **times))
        else:
            outcomes.append(draw(outcome_rows(moment, 4 * number if sequenced else None)))
            if draw(st.integers(0, 3)) == 0:
                outcomes.append(replace(outcomes[-1], sequence=4 * number + 1) if sequenced else outcomes[-1])
    return arrivals, outcomes


@st.composite
def outcome_rows(draw, moment: int, sequence: int | None):
    known = moment - draw(gaps) * US_PER_DAY if draw(st.booleans()) else moment
    result = draw(results)
    return Outcome(
        name=f"c{draw(st.integers(0, 13))}",
        known_us=known if result not in (None, "pending") else None,
        result=result,
        recorded_us=moment if draw(st.booleans()) or known != moment else None,
        sequence=sequence,
        opened_us=known,
    )


@st.composite
def joined_worlds(draw, sequenced: bool):
    """A world whose identities come together in many ways; in a crowd, one phone has new accounts all the time, and is shared by too many."""
    arrivals, outcomes = draw(worlds(sequenced))
    crowd = draw(st.booleans())
    joined = []
    for number, arrival in enumerate(arrivals):
        keys = [draw(st.sampled_from([0, 1, 1, 2, 3])) for _ in NETWORK_KINDS]
        if crowd and draw(st.integers(0, 3)):
            keys[:3] = 10 + number, 1, 10 + number
        own = tuple(100 * kind + key if key else 0 for kind, key in enumerate(keys, 1))
        joined.append(replace(arrival, keys=own, counterparts=own[::-1]))
    if crowd:
        day, size = START - draw(gaps), draw(st.integers(MOST_ARRIVALS - 4, MOST_ARRIVALS + 2))
        for number in range(size):
            moment, sequence = day * US_PER_DAY + number, number - 100 if sequenced else None
            own = (draw(st.sampled_from([0, 101, 102])), 201, draw(st.sampled_from([0, 0, 301])), 401, 0, 0)
            joined.append(Arrival(f"d{number}", moment, own, NO_OTHERS, sequence))
    return joined, outcomes


def process_table(fold: TableFold, history: History, arrivals: Sequence[Arrival], piece_rows: int = 1 << 16):
    """Read and count all arrivals, which may be in any order, some at a time; readings are in the order of `arrivals`."""
    out = np.full((len(arrivals), history.width), -1, dtype=np.float32)
    keys = numbers([row.keys for row in arrivals], len(history.kinds))
    counterparts = numbers([row.counterparts for row in arrivals], len(history.kinds))
    for begin in range(0, len(fold.rows), piece_rows):
        rows = fold.rows[begin : begin + piece_rows]
        fold.process_arrivals(history, keys[rows], counterparts[rows], out, rows)
    return out


def batch(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None, kinds=KINDS, **options):
    """Readings of every arrival."""
    fold = TableFold(arrivals_of(arrivals), outcomes_of(outcomes), as_of_us)
    return process_table(fold, History(kinds, capacity=4), arrivals, **options)


def continue_state(run: StateRun, arrivals: Sequence[Arrival], outcomes: Sequence[Outcome]):
    """Readings of a batch that begins with a state; the run has the state after it."""
    rows = arrivals_of(arrivals)
    fold = run.start_fold(rows if arrivals else replace(rows, sequence=None), outcomes_of(outcomes))
    out = process_table(fold, run.history, arrivals, piece_rows=3)
    run.finish()
    return out


def one_by_one(
    arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], restart_every=0, *, compare=False, kinds=KINDS
):
    """The same through the ledger, event by event, with a restart from a snapshot now and then.

    To compare is to check that no late version changes a bit of the table. It then has room, so that no forgotten key is purged.
    """
    ledger = LiveHistory(History(kinds, capacity=64 if compare else len(kinds) + 2))
    out = np.full((len(arrivals), ledger.history.width), -1, dtype=np.float32)
    keys = numbers([row.keys for row in arrivals], len(kinds))
    counterparts = numbers([row.counterparts for row in arrivals], len(kinds))
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    for place, (what, row) in enumerate(zip(events.what, events.row, strict=True)):
        if restart_every and place % restart_every == 0:
            ledger = restarted(ledger)
        if what == ARRIVAL:
            arrival = arrivals[row]
            day, issued_us = arrival.received_us // US_PER_DAY, moments([arrival.issued_us]).item()
            before = get_counted(ledger.history) if compare else {}
            ledger.record_arrival(arrival.name, day, keys[row], counterparts[row], out[row], issued_us)
            if compare and ledger.states.get(arrival.name, ledger.today).is_late(issued_us):
                assert get_counted(ledger.history) == before
        elif what == OUTCOME:
            told = outcomes[row]
            known_us, recorded_us = moments([told.known_us, told.recorded_us]).tolist()
            seen = VisibleOutcome(told.visible_us, known_us, recorded_us, told.sequence, told.result)
            ledger.record_outcome(told.name, seen)
        else:
            ledger.cancel(arrivals[row].name)
    return out


def restarted(ledger: LiveHistory) -> LiveHistory:
    """The table from a snapshot, on every other day a sorted one; what is known of each consignment is kept elsewhere."""
    sorts = ledger.today % 2 == 1
    arrays = sort_history(ledger.history, ledger.today) if sorts else copy_arrays(ledger.history)
    history = History.from_arrays(ledger.history.kinds, arrays)
    return LiveHistory(history, ledger.states, ledger.today)


def oracle(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None, kinds=KINDS):
    joins = tuple(kind.side if kind.joins else None for kind in kinds)
    plain = PlainHistory(tuple(kind.side for kind in kinds), joins)
    read = plain.fold(in_order(list(arrivals), list(outcomes), as_of_us))
    rows = {id(arrival): values for arrival, values in read}
    return np.array([rows[id(arrival)] for arrival in arrivals], dtype=np.float32)


def same(left, right) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()
