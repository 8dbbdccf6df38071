"""History of a world in three ways: as a batch, one by one through the ledger, and by its definition."""

from collections.abc import Sequence

import numpy as np
from support.history_oracle import US_PER_DAY, Arrival, Outcome, PlainHistory, as_floats, in_order
from support.history_worlds import (
    KINDS,
    arrivals_of,
    copy_arrays,
    get_counted,
    numbers,
    outcomes_of,
    process_table,
    sort_history,
)

from consignments.timestamps import NO_TIME
from features.history.live import LiveHistory, VisibleOutcome
from features.history.ordering import ARRIVAL, OUTCOME, order_events
from features.history.table import History
from features.history.table_fold import TableFold


def batch(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None, kinds=KINDS, **options):
    """Readings of every arrival, in the order of `arrivals`."""
    history = History(kinds, capacity=options.pop("capacity", 4))
    out = np.full((len(arrivals), history.width), -1, dtype=np.float32)
    process_table(
        TableFold(arrivals_of(arrivals), outcomes_of(outcomes), as_of_us),
        history,
        numbers([row.keys for row in arrivals], len(kinds)),
        numbers([row.counterparts for row in arrivals], len(kinds)),
        out,
        np.arange(len(arrivals)),
        **options,
    )
    return out


def one_by_one(
    arrivals: Sequence[Arrival],
    outcomes: Sequence[Outcome],
    restart_every: int = 0,
    *,
    compare: bool = False,
    kinds=KINDS,
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
            day = arrivals[row].received_us // US_PER_DAY
            issued_us = NO_TIME if arrivals[row].issued_us is None else arrivals[row].issued_us
            before = get_counted(ledger.history) if compare else {}
            ledger.record_arrival(arrivals[row].name, day, keys[row], counterparts[row], out[row], issued_us)
            if compare and ledger.states.get(arrivals[row].name, ledger.today).is_late(issued_us):
                assert get_counted(ledger.history) == before
        elif what == OUTCOME:
            told = outcomes[row]
            ledger.record_outcome(
                told.name,
                VisibleOutcome(
                    told.visible_us,
                    NO_TIME if told.known_us is None else told.known_us,
                    NO_TIME if told.recorded_us is None else told.recorded_us,
                    told.sequence,
                    told.result,
                ),
            )
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
    return as_floats([rows[id(arrival)] for arrival in arrivals])


def same(left, right) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()
