"""Report of the gate: every rule with its result, and the recommendation, as table rows and as Markdown."""

from collections.abc import Mapping
from typing import NamedTuple

from models.promotion_record import REPORT_END
from training.gate.recommendation import Recommendation
from training.gate.rules import RuleResult

GATE_COLUMNS = ("rule", "result", "found", "expected")
HOLDS, BROKEN, UNDECIDED, UNCHECKED = "holds", "does not hold", "undecided", "not checked"


class GateReport(NamedTuple):
    """Every rule of the gate with its result, and the recommendation.

    Attributes
    ----------
    rules : mapping
    recommendation : Recommendation
    """

    rules: Mapping[str, RuleResult]
    recommendation: Recommendation

    def to_rows(self) -> list[dict[str, str]]:
        """Return a row for each rule, with `GATE_COLUMNS`; rules that do not hold come first."""
        order = (BROKEN, UNDECIDED, UNCHECKED, HOLDS)
        rows = [
            dict(zip(GATE_COLUMNS, (name, describe_result(rule), rule.found, rule.expected), strict=True))
            for name, rule in self.rules.items()
        ]
        return sorted(rows, key=lambda row: order.index(row["result"]))

    def to_markdown(self) -> str:
        """Describe recommendation and rules in Markdown, short enough for the page of a version."""
        rows = self.to_rows()
        shown = [row for row in rows if row["result"] != HOLDS]
        lines = [self.recommendation.to_markdown()]
        if shown:
            lines += [
                "",
                "| rule of the gate | result | found | expected |",
                "|---|---|---|---|",
                *(
                    "| " + " | ".join(_escape_cell(row[name]) for name in GATE_COLUMNS) + " |"
                    for row in shown
                ),
            ]
        held = [row["rule"] for row in rows if row["result"] == HOLDS]
        return "\n".join([*lines, "", f"Rules that hold: {', '.join(held) or 'none'}."])


def describe_result(rule: RuleResult) -> str:
    """Return the result of a rule in words."""
    if rule.held is None:
        return UNCHECKED
    if rule.held:
        return HOLDS
    return UNDECIDED if rule.undecided else BROKEN


def replace_report(description: str, report: GateReport) -> str:
    """Replace the report of the gate at the beginning of a version's description."""
    _, _, rest = description.rpartition(REPORT_END)
    return f"{report.to_markdown()}{REPORT_END}{rest}"


def _escape_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
