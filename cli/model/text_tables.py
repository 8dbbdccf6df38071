"""Tables for a terminal: the rules of the gate, the trials of a search, and an ablation."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from models.formats import format_number, format_percent, format_points

if TYPE_CHECKING:
    from training.fitting.diagnostics import DiagnosticsResult
    from training.gate.report import Recommendation
    from training.gate.rules import RuleResult

MAX_ROWS = 10
MIN_WIDTH, MAX_WIDTH = 100, 160
"""Limits of the width of the table of rules in characters. Between them it is as wide as the terminal."""
GAP = "  "
TRIAL_NOTE = "worth: rank score of the positives at the rolling origins; the first trial is yours"
ABLATION_NOTE = "loss without it at the rolling origins, with its 95 % interval"


def format_text_table(rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Format rows in columns as wide as their cells; with a width, the last two share its rest, and a rule is below the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        rest = (width - sum(widths[:-2]) - len(GAP) * (len(widths) - 1)) // 2
        widths[-2:] = [rest, rest]
    cells = [[wrap(text, size) for text, size in zip(row, widths, strict=True)] for row in rows]
    if width is not None:
        cells.insert(1, [["-" * size] for size in widths])
    lines = [line for row in cells for line in zip_longest(*row, fillvalue="")]
    padded = ([cell.ljust(size) for cell, size in zip(line, widths, strict=True)] for line in lines)
    return [GAP.join(cells).rstrip() for cells in padded]


def format_gate_table(rules: "Mapping[str, RuleResult]") -> str:
    """Format one row per rule: its name, its result, the value found and the value expected."""
    rows = [(name, rule.name, rule.found, rule.expected) for name, rule in rules.items()]
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    return "\n".join(format_text_table([("rule", "result", "found", "expected"), *rows], width=width))


def format_recommendation(recommendation: "Recommendation") -> dict[str, Any]:
    """Return the recommendation as values for JSON."""
    names = ("action", "way", "sentence")
    return {name: getattr(recommendation, name) for name in names} | {"facts": recommendation.further_facts}


def summarize_recommendation(recommendation: "Recommendation") -> str:
    """Return the recommendation with the facts that decide, for a terminal."""
    facts = "\n".join(f"  {fact}" for fact in recommendation.further_facts)
    return f"Recommendation: {recommendation.action}. {recommendation.sentence}\n{facts}"


def format_studies(found: "DiagnosticsResult") -> str:
    """Format the results of the studies, at most ten rows each; '' if there was no study."""
    return "\n\n".join(filter(None, (_format_trials(found.trials), _format_ablation(found.ablation))))


def _format_trials(trials: Sequence[Mapping[str, Any]]) -> str:
    """Format the best trials, and the parameters that they changed."""
    known = ("trial", "worth", "recall_at_1pct", "best")
    parameters = [name for name in (trials[0] if trials else ()) if name not in known]
    rows = [
        [
            str(trial["trial"]),
            format_number(trial["worth"]),
            format_percent(trial["recall_at_1pct"]),
            *(format_number(trial[name]) for name in parameters),
            "used" if trial["best"] else "",
        ]
        for trial in sorted(trials, key=lambda trial: -float(trial["worth"]))
    ]
    header = ["trial", "worth", "recall at 1 %", *(name.rpartition(".")[2] for name in parameters), ""]
    return _format_study(f"Search, {len(trials)} trials ({TRIAL_NOTE})", header, rows)


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
        for row in losses
    ]
    header = ["left out", "kind", "features", "worth", "recall at 1 %"]
    return _format_study(f"Ablation ({ABLATION_NOTE})", header, rows)


def _format_study(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    more = len(rows) - MAX_ROWS
    last = [f"and {more} more, in the tables of the run"] if more > 0 else []
    return "\n".join([title, *format_text_table([header, *rows[:MAX_ROWS]]), *last])
