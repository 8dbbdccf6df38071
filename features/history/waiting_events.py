"""Outcomes and cancellations that take effect after the last arrival of a batch, and wait for the next one in its state."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from consignments.timestamps import NO_TIME
from features.history.kernels import RESULTS
from features.history.ordering import (
    CANCELLATION,
    OUTCOME,
    ArrivalEvents,
    HistoryEvents,
    Outcomes,
    to_arrow_strings,
)
from features.history.states import NO_SEQUENCE, NOT_FINAL

Longs = NDArray[np.int64]
Keys = NDArray[np.uint64]
Rows = NDArray[Any]
RESULT_NAMES: dict[int, str | None] = {NOT_FINAL: None} | {code: name for name, code in RESULTS.items()}
WAITING_OUTCOME = np.dtype(
    [
        ("number", "<u8"),
        ("visible_us", "<i8"),
        ("known_us", "<i8"),
        ("recorded_us", "<i8"),
        ("sequence", "<i8"),
        ("result", "i1"),
    ]
)
"""Type of an outcome that waits; `number` is the keyed number of its consignment."""
WAITING_CANCELLATION = np.dtype([("number", "<u8"), ("cancelled_us", "<i8"), ("cancelled_sequence", "<i8")])
"""Type of a cancellation that waits."""


def fill_missing(column: Longs | None, rows: int, value: int) -> Longs:
    """Return a column; one of a single value if the table has none."""
    return np.full(rows, value, dtype=np.int64) if column is None else column


def prepend_cancellations(waiting: Rows, arrivals: ArrivalEvents) -> ArrivalEvents:
    """Add the consignments whose cancellation waits before the arrivals of a table."""
    rows, carried = len(arrivals.received_us), len(waiting)
    missing = np.full(carried, NO_TIME, dtype=np.int64)

    def prepend(column: Longs | None, value: int) -> Longs | None:
        if column is None:
            return None
        return np.concatenate([np.full(carried, value, dtype=np.int64), column])

    cancelled_sequence = fill_missing(arrivals.cancelled_sequence, rows, NO_SEQUENCE)
    return ArrivalEvents(
        consignment_id=pa.concat_arrays(
            [pa.array([""] * carried, pa.large_string()), to_arrow_strings(arrivals.consignment_id)]
        ),
        received_us=np.concatenate([missing, arrivals.received_us]),
        cancelled_us=np.concatenate([waiting["cancelled_us"], arrivals.cancelled_us]),
        sequence=prepend(arrivals.sequence, NO_SEQUENCE),
        cancelled_sequence=np.concatenate([waiting["cancelled_sequence"], cancelled_sequence]),
        issued_us=prepend(arrivals.issued_us, NO_TIME),
        identity=pa.array(np.concatenate([waiting["number"], get_numbers(arrivals.identity)])),
        carried=carried,
    )


def append_outcomes(outcomes: Outcomes, waiting: Rows) -> Outcomes:
    """Add the outcomes that wait to those of a table."""
    if not len(waiting):
        return outcomes
    sequence = fill_missing(outcomes.sequence, len(outcomes.result), NO_SEQUENCE)
    return Outcomes(
        consignment_id=pa.concat_arrays(
            [to_arrow_strings(outcomes.consignment_id), pa.array([""] * len(waiting), pa.large_string())]
        ),
        visible_us=np.concatenate([outcomes.visible_us, waiting["visible_us"]]),
        known_us=np.concatenate([outcomes.known_us, waiting["known_us"]]),
        recorded_us=np.concatenate([outcomes.recorded_us, waiting["recorded_us"]]),
        sequence=np.concatenate([sequence, waiting["sequence"]]),
        result=[*outcomes.result, *(RESULT_NAMES[int(code)] for code in waiting["result"])],
        identity=pa.array(np.concatenate([get_numbers(outcomes.identity), waiting["number"]])),
    )


def get_numbers(identity: Any) -> Keys:
    """Return the keyed numbers of the consignments of events."""
    numbers: Keys = identity.to_numpy()
    return numbers


def collect_outcomes(left: HistoryEvents, outcomes: Outcomes) -> Rows:
    """Collect the outcomes that take effect after the last arrival, each once, in a fixed order."""
    rows = left.row[left.what == OUTCOME]
    waiting = np.zeros(len(rows), dtype=WAITING_OUTCOME)
    waiting["number"] = get_numbers(outcomes.identity)[rows]
    for name in ("visible_us", "known_us", "recorded_us"):
        waiting[name] = getattr(outcomes, name)[rows]
    waiting["sequence"] = NO_SEQUENCE if outcomes.sequence is None else outcomes.sequence[rows]
    waiting["result"] = [RESULTS.get(outcomes.result[row] or "", NOT_FINAL) for row in rows.tolist()]
    return np.unique(waiting)


def collect_cancellations(left: HistoryEvents, arrivals: ArrivalEvents) -> Rows:
    """Collect the cancellations that take effect after the last arrival, each once, in a fixed order."""
    rows = left.row[left.what == CANCELLATION]
    waiting = np.zeros(len(rows), dtype=WAITING_CANCELLATION)
    waiting["number"] = get_numbers(arrivals.identity)[rows]
    waiting["cancelled_us"] = arrivals.cancelled_us[rows]
    waiting["cancelled_sequence"] = (
        NO_SEQUENCE if arrivals.cancelled_sequence is None else arrivals.cancelled_sequence[rows]
    )
    return np.unique(waiting)
