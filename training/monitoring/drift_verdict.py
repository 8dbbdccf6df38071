"""Verdict of a drift comparison: the reasons for `retrain` or `investigate data`, with their limits and figures.

The limits are our own, except the bands of the PSI. They are wide on purpose, and the entire interval of scores and mix must
exceed them, so that alarms stay rare. A single day has no interval and is evaluated by its value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.formats import format_percent
from training.monitoring.drift_measures import (
    LARGE_PSI,
    MIN_ROWS,
    MISSING_VALUES,
    NEW_CODES,
    NEW_KEYS,
    UNKNOWN_CODES,
    DriftTables,
    Row,
)

DriftVerdict = Literal["stable", "retrain", "investigate data"]

MIN_MIX_CHANGE = 0.2
"""Total variation: the share of the traffic that would need another value to restore the reference mix."""
MIN_NEW_KEY_CHANGE = 0.15
"""Change of the share of new senders, consignees and addresses."""
MIN_PRECISION_LOSS = 1 / 3
"""Relative loss of the expected precision."""
MIN_EXPECTED_POSITIVES = 5.0
"""Minimum positives that the scores predict among known results, for a comparison with the observed ones."""
DATA_FAULT_BOUNDS = {
    MISSING_VALUES: (0.2, "is missing in"),
    NEW_CODES: (0.1, "has a new code in"),
}
"""Minimum rises of a share that indicate faulty data, and their texts."""
WORLD_CHANGE_BOUNDS = {UNKNOWN_CODES: (0.1, "has a code unknown to the model (new, or rare in training) in")}
"""Minimum rises that indicate changed traffic."""
MAX_LISTED_NAMES = 6


@dataclass(frozen=True)
class DriftReason:
    """Reason of a verdict: the verdict it supports, and a sentence."""

    verdict: DriftVerdict
    text: str


def find_drift_reasons(tables: DriftTables, *, with_history: bool) -> list[DriftReason]:
    """List the changes beyond their limits, data faults first.

    Parameters
    ----------
    tables : dict
        As `training.monitoring.drift_measures.compute_drift_tables` returns them.
    with_history : bool
        False if no earlier traffic is known; then scores and senders are not evaluated.
    """
    faults = [
        *_list_silent_sources(tables["sources"]),
        *_list_unit_changes(tables["units"]),
        *_list_risen_shares(tables["shares"], DATA_FAULT_BOUNDS),
    ]
    moved = [
        *_list_mix_changes(tables["mix"]),
        *_list_risen_shares(_exclude_new_codes(tables["shares"]), WORLD_CHANGE_BOUNDS),
    ]
    if with_history:
        moved += [
            *_list_score_changes(tables["scores"]),
            *_list_new_key_changes(tables["shares"]),
            *_list_precision_losses(tables["precision"]),
        ]
    return [
        *(DriftReason("investigate data", text) for text in faults),
        *(DriftReason("retrain", text) for text in moved),
    ]


def decide_drift_verdict(reasons: Sequence[DriftReason]) -> DriftVerdict:
    """Return the verdict; data faults come first, since they may cause the other changes."""
    spoken = {reason.verdict for reason in reasons}
    if "investigate data" in spoken:
        return "investigate data"
    return "retrain" if "retrain" in spoken else "stable"


def list_notes(tables: DriftTables, *, with_history: bool) -> Iterator[str]:
    """List the parts that could not be evaluated, and why."""
    if not with_history:
        yield (
            "No earlier consignments were given, so the history is empty. Scores and senders are shown but not evaluated. "
            "Provide --history, or all consignments with --from."
        )
    few = [str(row["part"]).replace(":", " ") for row in tables["scores"] if row["judged"] == "false"]
    if few:
        yield f"Not evaluated, with fewer than {MIN_ROWS} consignments in one of the periods: {_join_names(few)}."
    if not np.isfinite(float(tables["precision"][-1]["value"])):
        yield "No consignment within the capacity has a result yet, so there is no observed precision."


def _list_silent_sources(rows: Sequence[Row]) -> Iterator[str]:
    """Describe the silent sources, one text for each column."""
    for column in dict.fromkeys(str(row["column"]) for row in rows):
        silent = [row for row in rows if row["column"] == column and row["silent"] == "true"]
        if silent:
            kind = "No data" if all(row["longest_silence_days_now"] for row in silent) else "Too little data"
            yield f"{kind} from {column} {_join_names([_describe_silence(row) for row in silent])}"


def _describe_silence(row: Row) -> str:
    """Return for example `Incheon for 6 days (0 received, about 41 expected)`."""
    days = int(row["longest_silence_days_now"])
    gap = f" for {days} {'day' if days == 1 else 'days'}" if days else ""
    return f"{row['value']}{gap} ({row['came']:,} received, about {float(row['expected']):,.0f} expected)"


def _list_unit_changes(rows: Sequence[Row]) -> Iterator[str]:
    """Describe the changed units, one text for each column and the largest parts of the traffic affected."""
    for column in dict.fromkeys(str(row["column"]) for row in rows):
        changed = [row for row in rows if row["column"] == column and row["changed"] == "true"]
        channels = [row for row in changed if str(row["part"]).startswith("channel:")]
        for row in channels or changed[:1]:
            factor = float(row["factor"])
            like = f", as if it were in {row['as_if']}" if row["as_if"] else ""
            part = str(row["part"]).replace(":", " ")
            yield f"{column} of {part} is {factor:,.{0 if factor >= 10 else 3}f} times the reference value at every quantile{like}"


def _list_risen_shares(rows: Sequence[Row], bounds: Mapping[str, tuple[float, str]]) -> Iterator[str]:
    for row in rows:
        bound, words = bounds.get(str(row["what"]), (np.inf, ""))
        if row["judged"] == "true" and float(row["change"]) >= bound:
            yield f"{row['name']} {words} {_describe_change(row)}"


def _exclude_new_codes(rows: Sequence[Row]) -> list[Row]:
    """Exclude the columns whose unknown codes are new ones: those indicate faulty data."""
    new = {
        row["name"]
        for row in rows
        if row["what"] == NEW_CODES and float(row["change"]) >= DATA_FAULT_BOUNDS[NEW_CODES][0]
    }
    return [row for row in rows if row["name"] not in new]


def _list_mix_changes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        moved, low = float(row["total_variation"]), float(row["low"])
        if moved >= MIN_MIX_CHANGE and not low < MIN_MIX_CHANGE:
            gain, loss = float(row["gain"]), float(row["loss"])
            yield (
                f"Mix of {row['column']} changed by {moved:.0%} (total variation): ".replace("%", " %")
                + f"{row['gained']} {100 * gain:+.0f} percentage points, {row['lost']} {100 * loss:+.0f}"
            )


def _list_score_changes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        psi, low, high = (float(row[name]) for name in ("psi", "psi_low", "psi_high"))
        if row["judged"] == "true" and psi >= LARGE_PSI and not low < LARGE_PSI:
            yield f"Score distribution of {str(row['part']).replace(':', ' ')} changed: PSI {psi:.2f} ({low:.2f} to {high:.2f})"


def _list_new_key_changes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if (
            row["what"] == NEW_KEYS
            and row["judged"] == "true"
            and abs(float(row["change"])) >= MIN_NEW_KEY_CHANGE
        ):
            key = str(row["name"]).replace("_", " ")
            yield f"new {key} in {_describe_change(row)}"


def _list_precision_losses(rows: Sequence[Row]) -> Iterator[str]:
    then, now, promised, found = rows
    before, after = float(then["value"]), float(now["value"])
    if after <= (1 - MIN_PRECISION_LOSS) * before and not float(now["high"]) > before:
        yield (
            f"Expected precision at capacity fell to {format_percent(after)} (reference period: {format_percent(before)})"
        )
    value, high, share = float(found["value"]), float(found["high"]), float(promised["value"])
    if float(promised["finds"]) >= MIN_EXPECTED_POSITIVES and high < share:
        yield (
            f"Observed precision at capacity is {format_percent(value)} (at most {format_percent(high)}), "
            f"predicted {format_percent(share)}"
        )


def _describe_change(row: Row) -> str:
    """Return for example `15 % of postal traffic (reference period: 4 %)`."""
    now, then = (format_percent(float(row[name])) for name in ("now", "then"))
    return f"{now} of {str(row['channel']).replace('_', ' ')} traffic (reference period: {then})"


def _join_names(names: Sequence[str]) -> str:
    rest = len(names) - MAX_LISTED_NAMES
    return ", ".join(names[:MAX_LISTED_NAMES]) + (f" and {rest} more" if rest > 0 else "")
