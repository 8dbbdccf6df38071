"""The fold of history: events in order become steps of the table, one event or a million at a time.

The service folds one event, a table some ten thousand, and a restart some hundred thousand.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history.kernels import ADD, ARRIVALS, READ_ONLY, STEP, Keys, Steps
from features.history.states import KeyStep

Days = NDArray[Any]
Flags = NDArray[np.bool_]
Numbers = Sequence[int] | NDArray[Any]
Change = Callable[[int], list[KeyStep]]
"""What an event does to the state of its consignment: given the latest day of any event, it returns the steps of the event."""


class EventChunk(NamedTuple):
    """Events that follow each other in the order of history; a few may be given as lists, of which Python reads faster."""

    today: Numbers  # latest day of any event by each event
    arrival: Numbers  # row of the keys of an arrival; anything for another event
    changes: Iterable[Change]  # of the events that are not `alone`
    keys: Keys
    counterparts: Keys
    out_rows: Numbers  # row for the readings of each arrival; -1 for none
    alone: Flags | None = None  # arrivals of consignments without another event, which need no state
    day: Days | None = None


def find_latest_days(days: Days, today: int) -> Days:
    """Return the latest day of any event at each event, given their days (NO_DAY for a cancellation) and the latest day before them."""
    latest: Days = np.maximum(np.maximum.accumulate(days), today)
    return latest


def build_steps(events: EventChunk) -> tuple[Steps, Keys, Keys]:
    """Apply events to the states of their consignments; return steps, keys and counterparts, earlier versions last."""
    keys, counterparts = events.keys, events.counterparts
    followed = range(len(events.today)) if events.alone is None else np.flatnonzero(~events.alone).tolist()
    places: list[int] = []
    found: list[tuple[int, int, int, int, int, int]] = []
    earlier: list[bytes] = []
    for place, change_state in zip(followed, events.changes, strict=True):
        today = int(events.today[place])
        for change, counter, mine, day in change_state(today):
            row, out_row = len(keys) + len(earlier), -1
            if counter == ARRIVALS and READ_ONLY <= change <= ADD:  # the arrival of the event itself
                row = int(events.arrival[place])
                out_row = int(events.out_rows[row])
            else:
                earlier.append(mine)
            found.append((change, counter, row, out_row, day, today))
            places.append(place)
    steps = np.array(found, dtype=STEP)
    if len(followed) < len(events.today):
        steps = _merge_alone(events, steps, places)
    if earlier:
        more = np.frombuffer(b"".join(earlier), dtype=np.uint64).reshape(-1, keys.shape[1])
        keys = np.concatenate([keys, more])
        counterparts = np.concatenate([counterparts, np.zeros_like(more)])
    return steps, keys, counterparts


def _merge_alone(events: EventChunk, others: Steps, places: list[int]) -> Steps:
    """Merge the steps of arrivals that need no state with those of other events, which have these places."""
    assert events.alone is not None
    assert events.day is not None
    alone = np.flatnonzero(events.alone)
    steps, rows = np.zeros(len(alone), dtype=STEP), np.asarray(events.arrival)[alone]
    steps["change"], steps["counter"] = ADD, ARRIVALS
    steps["row"], steps["out_row"] = rows, np.asarray(events.out_rows)[rows]
    steps["day"], steps["today"] = events.day[alone], np.asarray(events.today)[alone]
    order = np.argsort(np.concatenate([alone, np.array(places, dtype=np.int64)]), kind="stable")
    return np.concatenate([steps, others])[order]
