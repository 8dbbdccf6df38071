"""Recommendation for the reviewer, from the rules of the gate: promote, wait or refuse, with the facts that decide.

Wait means that something can be done or will arrive: a comparison, the training tables, a signature, or results within a quarter of a
year. Otherwise a version that does not pass is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from training.evaluation.metrics import CALIBRATION_RATIO, describe_counts
from training.gate.rules import (
    COMPARISON_RULE,
    VERIFIED_RULE,
    WAY_RULE,
    GateEvidence,
    RuleResult,
    describe_calibration,
    find_obstacles,
)
from training.gate.ways import MEASURES, describe_gain, find_way

Action = Literal["promote", "wait", "refuse"]
HOLDS, BROKEN, UNDECIDED, UNCHECKED = "holds", "does not hold", "undecided", "not checked"
FIRST = "There is no champion, and every rule holds."
GOES_BACK = "It was champion before, is unaltered and passes its self-test."


@dataclass(frozen=True)
class Recommendation:
    """Recommended action for a version, by which way up (empty if none), why, and the facts that decide: counts first."""

    action: Action
    way: str
    sentence: str
    facts: tuple[str, ...]

    def to_markdown(self) -> str:
        """Describe the recommendation in Markdown."""
        facts = "\n".join(f"- {fact}" for fact in self.facts)
        return f"**{self.action.upper()}.** {self.sentence}\n\n{facts}"


def recommend(rules: Mapping[str, RuleResult], evidence: GateEvidence) -> Recommendation:
    """Choose what to do with a version, from every rule of the gate and its evidence."""
    facts = (*_describe_figures(evidence), summarize_rules(rules))
    obstacles = find_obstacles(rules)
    if not obstacles:
        return Recommendation("promote", *explain_way(evidence), facts)
    certain = [name for name, rule in obstacles.items() if rule.held is False and not rule.undecided]
    if certain == [WAY_RULE]:
        return Recommendation("refuse", "", f"{rules[WAY_RULE].found} Keep the champion.", facts)
    if certain:
        text = (
            f"The gate does not hold ({', '.join(certain)}). Correct the model or its data, and train again."
        )
        return Recommendation("refuse", "", text, facts)
    if COMPARISON_RULE in obstacles:
        text = "First compare it with the champion, on the same consignments (npsrisk compare). Then read the recommendation again."
        return Recommendation("wait", "", text, facts)
    undecided = [f"{name}: {rule.found}" for name, rule in obstacles.items() if rule.undecided]
    if undecided:
        way = obstacles.get(WAY_RULE)
        text = way.found if way is not None else f"Too few results are known. {'; '.join(undecided)}."
        return Recommendation("wait", "", text, facts)
    text = "Nobody vouches for the figures. Give the tables that it was trained on, or let an evaluator sign the runs (--key)."
    return Recommendation("wait", "", f"{text} {rules[VERIFIED_RULE].found}.", facts)


def explain_way(evidence: GateEvidence) -> tuple[str, str]:
    """Return by which way a version that passes may become champion, and why in one sentence."""
    if evidence.goes_back:
        return "goes back", GOES_BACK
    if evidence.candidate is None or evidence.comparison is None:
        return "first", FIRST
    compared = evidence.comparison
    way = find_way(evidence.candidate, compared.pair, compared.finds_per_week, evidence.refit.held)
    return way.name, way.sentence


def describe_result(rule: RuleResult) -> str:
    """Return the result of a rule in words."""
    if rule.held is None:
        return UNCHECKED
    if rule.held:
        return HOLDS
    return UNDECIDED if rule.undecided else BROKEN


def summarize_rules(rules: Mapping[str, RuleResult]) -> str:
    """Return how many rules hold, and the names of the others by their result."""
    held = sum(rule.held is True for rule in rules.values())
    parts = [f"{held} of {len(rules)} rules hold"]
    for result in (BROKEN, UNDECIDED, UNCHECKED):
        names = [name for name, rule in rules.items() if describe_result(rule) == result]
        if names:
            parts.append(f"{result}: {', '.join(names)}")
    return "; ".join(parts) + "."


def _describe_figures(evidence: GateEvidence) -> list[str]:
    """Describe what was counted, then the difference from the champion, or from the fixed rules, and the calibration."""
    if evidence.figures is None:
        return []
    figures, compared = evidence.figures, evidence.comparison
    if compared is None or evidence.candidate is None:
        pair, sides = figures.against_rules, ("the fixed rules", "the model")
    else:
        pair, sides = compared.pair, (f"version {evidence.candidate.champion}", "this version")
    counted = dict(zip(sides, (pair.a.counts, pair.b.counts), strict=True))
    gain = pair.gains[MEASURES[0]]
    words = {1: "better", 0: "no significant difference", -1: "worse"}[gain.sign]
    difference = f"{describe_gain(MEASURES[0], gain)}, {words}" if gain.is_shown else gain.explain_missing()
    return [
        describe_counts(counted, evidence.target),
        f"Compared with {sides[0]}: {difference}.",
        f"As deployed, {describe_calibration(figures.recipe.model[CALIBRATION_RATIO])}.",
    ]
