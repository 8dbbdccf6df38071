"""Report of the gate: every rule with its result, and the recommendation, as table rows and as Markdown."""

from collections.abc import Mapping
from typing import NamedTuple

from training.gate.recommendation import (
    BROKEN,
    HOLDS,
    UNCHECKED,
    UNDECIDED,
    Recommendation,
    describe_result,
    recommend,
)
from training.gate.rules import GateEvidence, RuleResult, find_obstacles, run_gate

GATE_COLUMNS = ("rule", "result", "found", "expected")


class GateReport(NamedTuple):
    """Every rule of the gate with its result, and the recommendation."""

    rules: Mapping[str, RuleResult]
    recommendation: Recommendation

    @classmethod
    def from_evidence(cls, evidence: GateEvidence) -> "GateReport":
        """Run the gate on evidence, and recommend what to do."""
        rules = run_gate(evidence)
        return cls(rules, recommend(rules, evidence))

    @property
    def passes(self) -> bool:
        """True if nothing stands against a promotion."""
        return not find_obstacles(self.rules)

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
            lines += ["", "| rule of the gate | result | found | expected |", "|---|---|---|---|"]
            lines += [f"| {' | '.join(_escape_cell(row[name]) for name in GATE_COLUMNS)} |" for row in shown]
        held = [row["rule"] for row in rows if row["result"] == HOLDS]
        return "\n".join([*lines, "", f"Rules that hold: {', '.join(held) or 'none'}."])


def _escape_cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
