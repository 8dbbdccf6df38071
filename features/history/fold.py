"""The fold of history: events in order become steps of the table, one event or a million at a time.

The service folds one event, a table some ten thousand, a restart some hundred thousand, and the plan of a cluster keeps the steps.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history.kernels import ADD, ARRIVALS, STEP, Keys, Steps
from features.history.states import KeyStep, is_own_arrival

Days = NDArray[Any]
Flags = NDArray[np.bool_]
Longs = NDArray[np.int64]
Change = Callable[[int], list[KeyStep]]
"""What an event does to the state of its consignment: given the latest day of any event, it returns the steps of the event."""


class EventChunk(NamedTuple):
    """Events that follow each other in the order of history.

    Attributes
    ----------
    day, today : int array, (n,)
        Day of each event, and the latest day of any event by then (`find_latest_days`).
    arrives : bool array, (n,)
        Whether an event is an arrival.
    alone : bool array, (n,)
        Arrivals of consignments that have no other event, so that they need no state.
    changes : iterable of callable
        What each of the other events does, in order.
    keys, counterparts : uint64 array, (arrivals, kinds)
        0 if missing.
    out_rows : int64 array, (arrivals,)
        Row to which the readings of each arrival are written; -1 for none.
    """

    day: Days
    today: Days
    arrives: Flags
    alone: Flags
    changes: Iterable[Change]
    keys: Keys
    counterparts: Keys
    out_rows: Longs


def find_latest_days(days: Days, today: int) -> Days:
    """Return the latest day of any event at each event, given their days (NO_DAY for a cancellation) and the latest day before them."""
    latest: Days = np.maximum(np.maximum.accumulate(days), today)
    return latest


def build_steps(events: EventChunk) -> tuple[Steps, Keys, Keys]:
    """Apply events to the states of their consignments; return the steps with the keys and counterparts that `History.run` takes.

    The keys of earlier versions follow those of the arrivals.
    """
    arrival = np.cumsum(events.arrives) - 1
    others = np.flatnonzero(~events.alone).tolist()
    places: list[int] = []
    found: list[tuple[int, int, int, int, int, int]] = []
    earlier: list[bytes] = []
    for place, change_state in zip(others, events.changes, strict=True):
        today = int(events.today[place])
        for change, counter, keys, day in change_state(today):
            if is_own_arrival(change, counter):
                row = int(arrival[place])
                found.append((change, counter, row, int(events.out_rows[row]), day, today))
            else:
                found.append((change, counter, len(events.keys) + len(earlier), -1, day, today))
                earlier.append(keys)
            places.append(place)
    steps = np.array(found, dtype=STEP)
    if len(others) < len(events.alone):
        steps = _merge_alone(events, arrival, steps, places)
    more = np.frombuffer(b"".join(earlier), dtype=np.uint64).reshape(-1, events.keys.shape[1])
    return (
        steps,
        np.concatenate([events.keys, more]),
        np.concatenate([events.counterparts, np.zeros_like(more)]),
    )


def _merge_alone(events: EventChunk, arrival: Longs, others: Steps, places: list[int]) -> Steps:
    """Merge the steps of arrivals that need no state with those of other events, which have these places."""
    alone = np.flatnonzero(events.alone)
    steps = np.zeros(len(alone), dtype=STEP)
    steps["change"], steps["counter"] = ADD, ARRIVALS
    steps["row"], steps["out_row"] = arrival[alone], events.out_rows[arrival[alone]]
    steps["day"], steps["today"] = events.day[alone], events.today[alone]
    order = np.argsort(np.concatenate([alone, np.array(places, dtype=np.int64)]), kind="stable")
    return np.concatenate([steps, others])[order]
