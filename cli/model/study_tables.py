"""The results of the studies of a training run as tables for a terminal: trials of the search, and ablation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.formats import format_number, format_percent, format_points

if TYPE_CHECKING:
    from training.fitting.diagnostics import DiagnosticsResult

MAX_ROWS = 10
TRIAL_NOTE = (
    "worth: rank score of the positives at the rolling origins; the first trial is your configuration"
)
ABLATION_NOTE = "loss without it at the rolling origins, with its 95 % interval"


def format_studies(found: "DiagnosticsResult") -> str:
    """Format the results of the studies, at most ten rows each; '' if there was no study."""
    return "\n\n".join(
        text for text in (_format_trials(found.trials), _format_ablation(found.ablation)) if text
    )


def _format_trials(trials: Sequence[Mapping[str, Any]]) -> str:
    """Format the best trials, and the parameters that they changed."""
    if not trials:
        return ""
    parameters = [name for name in trials[0] if name not in ("trial", "worth", "recall_at_1pct", "best")]
    ranked = sorted(trials, key=lambda trial: -float(trial["worth"]))
    rows = [
        [
            str(trial["trial"]),
            format_number(trial["worth"]),
            format_percent(trial["recall_at_1pct"]),
            *(format_number(trial[name]) for name in parameters),
            "used" if trial["best"] else "",
        ]
        for trial in ranked[:MAX_ROWS]
    ]
    header = ["trial", "worth", "recall at 1 %", *(name.rpartition(".")[2] for name in parameters), ""]
    return _format_table(f"Search, {len(trials)} trials ({TRIAL_NOTE})", header, rows, len(trials))


def _format_ablation(losses: Sequence[Mapping[str, Any]]) -> str:
    """Format the features and groups whose loss is largest."""
    rows = [
        [
            str(row["left_out"]),
            str(row["kind"]),
            str(row["features"]),
            "{} ({} to {})".format(
                *(format_number(row[f"worth{end}"], "+") for end in ("", "_low", "_high"))
            ),
            format_points(row["recall_at_1pct"]),
        ]
        for row in losses[:MAX_ROWS]
    ]
    header = ["left out", "kind", "features", "worth", "recall at 1 %"]
    return _format_table(f"Ablation ({ABLATION_NOTE})", header, rows, len(losses)) if rows else ""


def _format_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    ]
    more = [f"and {total - len(rows)} more, in the tables of the run"] if total > len(rows) else []
    return "\n".join([title, *lines, *more])
