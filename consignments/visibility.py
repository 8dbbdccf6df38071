"""Visibility of outcomes: the time from which an outcome may be used, for one record and for a table.

Inspected on 5 March, laboratory result on 14 March, recorded by npsrisk on 15 March: visible from 15 March. Inspected on 5
March and pending since then: visible, as pending, from 5 March.
"""

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Outcome, Result, Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_us_if_known

if TYPE_CHECKING:
    import pandas as pd

FINAL_RESULTS = frozenset(get_args(Result)) - {"pending"}


def list_positive_results(target: Target) -> frozenset[str]:
    """List the final results that are a detection of a target."""
    return FINAL_RESULTS - {"clear"} if target == "any_offence" else frozenset((target,))


def is_final(outcome: Outcome) -> bool:
    """Check whether an outcome is final: inspected, with a result that is not pending."""
    return outcome.status == "inspected" and outcome.result in FINAL_RESULTS


def find_outcome_fault(outcome: Outcome) -> tuple[str, str] | None:
    """Find a contradiction in an outcome."""
    times = to_us_if_known(outcome.known_at), to_us_if_known(outcome.inspected_at)
    faults = _find_faults(outcome.result in FINAL_RESULTS, outcome.status == "missed", *times)
    return next(((column, reason) for column, reason, holds in faults if holds), None)


def find_outcome_faults(frame: "pd.DataFrame") -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Find the contradictory rows of an outcome table."""
    times = get_time_column_us(frame, "known_at"), get_time_column_us(frame, "inspected_at")
    return _find_faults(_has_final_result(frame), _is_missed(frame), *times)


def _find_faults(final: Any, missed: Any, known_us: Any, inspected_us: Any) -> list[tuple[str, str, Any]]:
    """Find contradictions: of one outcome, given as plain values, or of many, given as arrays."""
    both = (known_us != NO_TIME) & (inspected_us != NO_TIME)
    return [
        ("result", "a missed consignment cannot have a final result", final & missed),
        ("known_at", "required for a final result", final & (missed ^ True) & (known_us == NO_TIME)),
        ("known_at", "before inspected_at", both & (known_us < inspected_us)),
    ]


def get_known_us(outcome: Outcome) -> int:
    """Return the time when an outcome became known, in microseconds since the epoch.

    It is `known_at`; for missed and pending outcomes `inspected_at`, else `selected_at`. If such an outcome has neither, it
    is `NO_TIME`, which is before all times. Of several outcomes the last known one counts.
    """
    final, known = is_final(outcome), outcome.known_at
    if final and known is None:
        raise _build_missing_known_at(f"outcome of {outcome.consignment_id}")
    return to_us_if_known(known if final else outcome.inspected_at or outcome.selected_at)


def get_visible_us(outcome: Outcome) -> int:
    """Return the time from which an outcome may be used: when it was known, or recorded if that was later."""
    return max(get_known_us(outcome), to_us_if_known(outcome.recorded_at))


def compute_known_us(frame: "pd.DataFrame") -> NDArray[np.int64]:
    """Compute `get_known_us` for every row of an outcome table as read by `consignments.tables`."""
    final = _has_final_result(frame) & ~_is_missed(frame)
    known = get_time_column_us(frame, "known_at")
    if (final & (known == NO_TIME)).any():
        raise _build_missing_known_at("outcome table")
    inspected, selected = get_time_column_us(frame, "inspected_at"), get_time_column_us(frame, "selected_at")
    return np.where(final, known, np.where(inspected != NO_TIME, inspected, selected))


def compute_visible_us(frame: "pd.DataFrame") -> NDArray[np.int64]:
    """Compute `get_visible_us` for every row of an outcome table."""
    return np.maximum(compute_known_us(frame), get_time_column_us(frame, "recorded_at"))


def _build_missing_known_at(where: str) -> BadInput:
    todo = "check the table with read_table first"
    return BadInput("a final result has no known_at", where=where, todo=todo)


def _has_final_result(frame: "pd.DataFrame") -> NDArray[np.bool_]:
    if "result" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return frame["result"].isin(FINAL_RESULTS).to_numpy(dtype=bool)


def _is_missed(frame: "pd.DataFrame") -> NDArray[np.bool_]:
    return frame["status"].eq("missed").to_numpy(dtype=bool, na_value=False)
