"""What a drift means: the reasons for `retrain` or `investigate data`, each with its bound and its figures.

The bounds are ours, but for the bands of the PSI. They are wide on purpose, and scores and mix must pass them with their
whole interval: a watch that cries every week is not read. A single day has no interval and is judged by its value.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

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
"""Total variation: this share of the traffic would have to come by another value for the mix to be the old one."""
MIN_NEW_KEY_CHANGE = 0.15
"""Change of the share of senders, consignees and addresses never seen before."""
MIN_PRECISION_LOSS = 1 / 3
"""Share of the expected precision that is gone."""
MIN_EXPECTED_POSITIVES = 5.0
"""Finds that the scores must promise among what is known before it is held against what was found."""
DATA_FAULT_BOUNDS = {
    MISSING_VALUES: (0.2, "is missing in"),
    NEW_CODES: (0.1, "has a code never seen before in"),
}
"""Rises of a share in a column that speak of the data, and their words."""
WORLD_CHANGE_BOUNDS = {UNKNOWN_CODES: (0.1, "has a code too rare in training to be told apart in")}
"""Rises that speak of the world."""
MAX_LISTED_NAMES = 6


@dataclass(frozen=True)
class DriftReason:
    """Why a verdict is what it is: the verdict it speaks for, and a sentence."""

    verdict: DriftVerdict
    text: str


def find_drift_reasons(tables: DriftTables, *, with_history: bool) -> list[DriftReason]:
    """Give what moved beyond its bound, faults of the data first.

    Parameters
    ----------
    tables : dict
        As `training.monitoring.drift_measures.compute_drift_tables` gives them.
    with_history : bool
        Whether anything is known of the time before: without, scores and senders are not judged.
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
    """Give the verdict: faults of the data come first, for what else moved may be their doing."""
    spoken = {reason.verdict for reason in reasons}
    if "investigate data" in spoken:
        return "investigate data"
    return "retrain" if "retrain" in spoken else "stable"


def list_notes(tables: DriftTables, *, with_history: bool) -> Iterator[str]:
    """Say what could not be judged, and why."""
    if not with_history:
        yield (
            "No earlier consignments were given, so history is empty: scores and senders are shown and not judged. "
            "Give --history, or all consignments with --from."
        )
    few = [str(row["part"]) for row in tables["scores"] if row["judged"] == "false"]
    if few:
        yield f"Fewer than {MIN_ROWS} consignments, then or now, and so not judged: {_join_names(few)}."
    if not np.isfinite(float(tables["precision"][-1]["value"])):
        yield "Nothing is known yet of what capacity would have taken, so there is no realised precision."


def _list_silent_sources(rows: Sequence[Row]) -> Iterator[str]:
    """Tell the silent sources, column by column."""
    for column in dict.fromkeys(str(row["column"]) for row in rows):
        silent = [row for row in rows if row["column"] == column and row["silent"] == "true"]
        if silent:
            told = [
                f"{row['value']} ({row['came']:,} came, {float(row['expected']):,.0f} by its pace, "
                f"{row['longest_silence_days_now']} days without one)"
                for row in silent
            ]
            yield f"fell silent, {column}: {_join_names(told)}"


def _list_unit_changes(rows: Sequence[Row]) -> Iterator[str]:
    """Tell the changed units, column by column, by the widest part of the traffic in which they did."""
    for column in dict.fromkeys(str(row["column"]) for row in rows):
        changed = [row for row in rows if row["column"] == column and row["changed"] == "true"]
        channels = [row for row in changed if str(row["part"]).startswith("channel:")]
        for row in channels or changed[:1]:
            factor = float(row["factor"])
            like = f", as {row['as_if']} would be" if row["as_if"] else ""
            part = str(row["part"]).replace(":", " ")
            yield f"{column} in {part} is {factor:,.{0 if factor >= 10 else 3}f} times what it was, at every quantile{like}"


def _list_risen_shares(rows: Sequence[Row], bounds: Mapping[str, tuple[float, str]]) -> Iterator[str]:
    for row in rows:
        bound, words = bounds.get(str(row["what"]), (np.inf, ""))
        if row["judged"] == "true" and float(row["change"]) >= bound:
            yield f"{row['name']} {words} {_format_percent(row, 'now')} of {row['channel']} traffic, {_format_percent(row, 'then')} then"


def _exclude_new_codes(rows: Sequence[Row]) -> list[Row]:
    """Leave out the columns whose unknown codes are new ones: those speak of the data."""
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
                f"{moved:.0%} of the mix of {row['column']} moved: {row['gained']} {gain:+.0%} of all traffic, "
                f"{row['lost']} {loss:+.0%}"
            )


def _list_score_changes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        psi, low, high = (float(row[name]) for name in ("psi", "psi_low", "psi_high"))
        if row["judged"] == "true" and psi >= LARGE_PSI and not low < LARGE_PSI:
            yield f"the scores of {str(row['part']).replace(':', ' ')} moved: PSI {psi:.2f} ({low:.2f} to {high:.2f})"


def _list_new_key_changes(rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if (
            row["what"] == NEW_KEYS
            and row["judged"] == "true"
            and abs(float(row["change"])) >= MIN_NEW_KEY_CHANGE
        ):
            key = str(row["name"]).replace("_", " ")
            yield f"{_format_percent(row, 'now')} of {row['channel']} traffic has a {key} never seen before, {_format_percent(row, 'then')} then"


def _list_precision_losses(rows: Sequence[Row]) -> Iterator[str]:
    then, now, promised, found = rows
    before, after = float(then["value"]), float(now["value"])
    if after <= (1 - MIN_PRECISION_LOSS) * before and not float(now["high"]) > before:
        yield f"the best scores promise less: {after:.2%} finds at capacity, {before:.2%} then"
    value, high, share = float(found["value"]), float(found["high"]), float(promised["value"])
    if float(promised["finds"]) >= MIN_EXPECTED_POSITIVES and high < share:
        yield f"less is found at capacity than promised: {value:.2%} (at most {high:.2%}), {share:.2%} promised"


def _format_percent(row: Row, name: str) -> str:
    return f"{float(row[name]):.0%}"


def _join_names(names: Sequence[str]) -> str:
    rest = len(names) - MAX_LISTED_NAMES
    return ", ".join(names[:MAX_LISTED_NAMES]) + (f" and {rest} more" if rest > 0 else "")
