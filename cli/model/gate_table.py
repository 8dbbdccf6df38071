"""Formatting of the rules of the gate as a table for a terminal."""

import shutil
from collections.abc import Mapping
from itertools import zip_longest
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.gate.report import Recommendation
    from training.gate.rules import RuleResult

HEADINGS = ("rule", "result", "found", "expected")
MIN_WIDTH, MAX_WIDTH = 100, 160
"""Limits of the width of the table in characters. Between them it is as wide as the terminal."""
GAP = "  "


def format_gate_table(rules: "Mapping[str, RuleResult]") -> str:
    """Format one row per rule: its name, its result, the value found and the value expected."""
    from training.gate.report import describe_result

    rows = [
        HEADINGS,
        *((name, describe_result(rule), rule.found, rule.expected) for name, rule in rules.items()),
    ]
    names, results = (max(len(row[place]) for row in rows) for place in (0, 1))
    width = min(max(shutil.get_terminal_size().columns, MIN_WIDTH), MAX_WIDTH)
    text = (width - names - results - 3 * len(GAP)) // 2
    widths = (names, results, text, text)
    lines = [_format_row(row, widths) for row in rows]
    lines.insert(1, GAP.join("-" * each for each in widths))
    return "\n".join(lines)


def format_recommendation(recommendation: "Recommendation") -> dict[str, Any]:
    """Return the recommendation as values for JSON."""
    return {
        "action": recommendation.action,
        "way": recommendation.way,
        "sentence": recommendation.sentence,
        "facts": list(recommendation.facts),
    }


def summarize_recommendation(recommendation: "Recommendation") -> str:
    """Return the recommendation with the facts that decide, for a terminal."""
    facts = "\n".join(f"  {fact}" for fact in recommendation.facts)
    return f"Recommendation: {recommendation.action}. {recommendation.sentence}\n{facts}"


def _format_row(row: tuple[str, ...], widths: tuple[int, ...]) -> str:
    cells = [wrap(text, width) for text, width in zip(row, widths, strict=True)]
    lines = zip_longest(*cells, fillvalue="")
    return "\n".join(
        GAP.join(part.ljust(width) for part, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
