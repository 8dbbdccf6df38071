"""Report of the gate: every rule with its result, and what the reviewer should do: promote, wait or refuse."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from models.formats import format_count
from models.promotion_record import BROKEN, HOLDS, RESULTS
from training.config import EvaluationConfig
from training.evaluation.difference import FROM_COMPARED, state_difference
from training.evaluation.metrics import CALIBRATION_RATIO, PRIMARY_MEASURE, describe_counts
from training.gate.rules import (
    CHECKSUM_RULE,
    COMPARISON_RULE,
    VERIFIED_RULE,
    WAY_RULE,
    GateEvidence,
    RuleResult,
    RunFigures,
    describe_calibration,
    describe_deployed,
    describe_sources,
    find_obstacles,
    run_gate,
    warn_of_unequal_fits,
)
from training.gate.ways import REPEAT, advise_on_finds, can_arrive

Action = Literal["promote", "wait", "refuse", "promoted"]
GATE_COLUMNS = ("rule", "result", "found", "expected")
SAID_ABOVE = "as said above"
RULES_MEANWHILE = " Until a version is promoted, by --force if need be, the service scores by the rules."
DECIDING = ("roc_auc", CALIBRATION_RATIO)  # metrics of a run of which too few results leave a rule undecided


class Recommendation(NamedTuple):
    """Recommended action for a version, by which way up (empty if none), why, and the facts that decide."""

    action: Action
    way: str
    sentence: str
    facts: tuple[str, ...]

    @property
    def further_facts(self) -> list[str]:
        """The facts that the sentence does not say already."""
        return [fact for fact in self.facts if fact not in self.sentence]


class GateReport(NamedTuple):
    """Every rule of the gate with its result, the recommendation, and the run of the comparison if it was read from one."""

    rules: Mapping[str, RuleResult]
    recommendation: Recommendation
    comparison_run: str = ""

    @classmethod
    def from_evidence(cls, evidence: GateEvidence, at: datetime | None = None) -> "GateReport":
        """Run the gate on evidence, and recommend what to do; `at` is the time that it names, by default now."""
        rules = run_gate(evidence)
        action, way, sentence = _recommend(rules, evidence)
        # Of an altered bundle, and of one that goes back, the champion is not asked for.
        is_unasked = evidence.goes_back or CHECKSUM_RULE in find_obstacles(rules)
        if action == "refuse" and evidence.candidate is None and not is_unasked:
            sentence += RULES_MEANWHILE
        as_of = f"The gate as of {at or datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        said = [*_describe_figures(evidence), summarize_rules(rules), as_of]
        if evidence.goes_back:
            said.append("It was approved before, so the other rules are not asked again.")
        recommendation = Recommendation(action, way, sentence, tuple(said))
        return cls(rules, recommendation, "" if evidence.comparison is None else evidence.comparison.run_id)

    @property
    def passes(self) -> bool:
        """True if nothing stands against a promotion."""
        return not find_obstacles(self.rules)

    def to_rows(self) -> list[dict[str, str]]:
        """Return a row for each rule, with `GATE_COLUMNS`; rules that do not hold come first."""
        found = [(name, rule.name, rule.found, rule.expected) for name, rule in self.rules.items()]
        rows = [dict(zip(GATE_COLUMNS, each, strict=True)) for each in found]
        return sorted(rows, key=lambda row: RESULTS.index(row["result"]))

    def list_open_rows(self) -> list[dict[str, str]]:
        """Return the rows of rules that do not hold; what the recommendation says is not said again."""
        rows = [row for row in self.to_rows() if row["result"] != HOLDS]
        said = " ".join([self.recommendation.sentence, *self.recommendation.facts]).casefold()
        return [row | {"found": SAID_ABOVE} if row["found"].casefold() in said else row for row in rows]

    def to_markdown(self) -> str:
        """Describe recommendation and rules in Markdown, short enough for the page of a version."""
        recommended, shown = self.recommendation, self.list_open_rows()
        lines = [f"**{recommended.action.upper()}.** {recommended.sentence}", ""]
        lines += [f"- {fact}" for fact in recommended.further_facts]
        if shown:
            lines += ["", "| rule of the gate | result | found | expected |", "|---|---|---|---|"]
            for row in shown:
                cells = (" ".join(row[name].split()).replace("|", "\\|") for name in GATE_COLUMNS)
                lines.append(f"| {' | '.join(cells)} |")
        held = [row["rule"] for row in self.to_rows() if row["result"] == HOLDS]
        return "\n".join([*lines, "", f"Rules that hold: {', '.join(held) or 'none'}."])


def explain_way(evidence: GateEvidence, rules: Mapping[str, RuleResult]) -> tuple[str, str]:
    """Return by which way a version that passes may become champion, why in one sentence, and what is open all the same."""
    if evidence.goes_back:
        repeated = ", and its training was repeated byte for byte" if evidence.refit.held else ""
        state = "is champion" if evidence.is_champion else "was champion before"
        return "goes back", f"It {state}, is unaltered and passes its self-test{repeated}."
    way, figures, candidate = evidence.find_way(), evidence.figures, evidence.candidate
    name, text = ("first", "There is no champion, and no rule is broken.") if way is None else way[:2]
    open_rules = [rule for rule, result in rules.items() if not result.held]
    if open_rules:
        text += f" {summarize_rules(rules)}"
    if figures is not None and not any(each.is_shown for each in figures.recipe.model.metrics.values()):
        text += " Too few results carry its figures, so none is shown."
    if evidence.comparison and evidence.comparison.level:
        text += f" {evidence.comparison.level}"
    if candidate and name == "routine refit" and (lasting := candidate.overruled.intersection(open_rules)):
        text += f" Version {candidate.champion}, or one that it is a refit of, was forced against what is still open: {', '.join(sorted(lasting))}."
    return name, text


def summarize_rules(rules: Mapping[str, RuleResult]) -> str:
    """Return how many rules hold, and the names of the others by their result."""
    names = {result: [name for name in rules if rules[name].name == result] for result in RESULTS}
    others = [f"{result}: {', '.join(names[result])}" for result in RESULTS[:-1] if names[result]]
    return "; ".join([f"{len(names[HOLDS])} of {len(rules)} rules hold", *others]) + "."


def _recommend(rules: Mapping[str, RuleResult], evidence: GateEvidence) -> tuple[Action, str, str]:
    obstacles = find_obstacles(rules)
    if not obstacles:
        return ("promoted" if evidence.is_champion else "promote", *explain_way(evidence, rules))
    certain = [name for name, rule in obstacles.items() if rule.name == BROKEN]
    if certain == [WAY_RULE]:
        return "refuse", "", f"{rules[WAY_RULE].found} Keep the champion."
    if certain:
        todo = "Correct the model or its data, and train again."
        if evidence.may_be_refit:
            todo = "Keep the champion, and find out what changed in the data."
        return "refuse", "", f"The gate does not hold ({', '.join(certain)}). {todo}"
    if COMPARISON_RULE in obstacles:
        text = "First compare it with the champion, on the same consignments (npsrisk compare). Then read the recommendation again."
        return "wait", "", text
    undecided = [name for name, rule in obstacles.items() if rule.undecided and name != WAY_RULE]
    if WAY_RULE in obstacles:
        more = f" Also undecided: {', '.join(undecided)}." if undecided else ""
        return "wait", "", f"{rules[WAY_RULE].found}{more}"
    if undecided and (figures := evidence.figures):
        text = f"Too few results were known when it was trained ({', '.join(undecided)}), and its figures stay as they are."
        action, advice = _advise_on_training(figures)
        if evidence.may_be_refit and not evidence.refit.held:
            action, advice = "wait", REPEAT
        return action, "", f"{text} {advice}"
    text = "No approver or evaluator signed the figures. Give the tables that it was trained on, or let one sign the runs (--key)."
    doubt = rules[VERIFIED_RULE].found
    return "wait", "", f"{text} {doubt[:1].upper()}{doubt[1:]}."


def _advise_on_training(figures: RunFigures) -> tuple[Action, str]:
    """Return whether another training can decide what is undecided, and how: later, or with more tested weeks."""
    few = {name: found for name in DECIDING if not (found := figures.recipe.model[name]).is_shown}
    if not few:
        return "wait", "Train again on more results."
    pace, missing = figures.pace, {name: each.count_missing() for name, each in few.items()}
    # Windows that have so many finds at this pace, besides those that could not be calibrated.
    lost, each_window = {CALIBRATION_RATIO: pace.windows - pace.calibrated}, pace.per_week * pace.window_weeks
    wanted = {name: (each.known or 0) + missing[name] for name, each in few.items()}
    if pace.origins > EvaluationConfig().origins and lost[CALIBRATION_RATIO] > 1:  # dates were added in vain
        wanted.pop(CALIBRATION_RATIO, None)
    needed = (math.ceil(each / max(each_window, 1e-9)) + lost.get(name, 0) for name, each in wanted.items())
    origins = max(needed, default=0)
    last, more = max(missing.items(), key=lambda item: item[1])
    finds = f"{format_count(more, 'more find')} {'is' if more == 1 else 'are'}"
    text = f"About {finds} needed to decide {'this' if len(few) == 1 else 'all of this'}"
    if pace.windows >= pace.origins and pace.origins < origins <= pace.reach:
        weeks = pace.window_weeks * (pace.calibrated if last == CALIBRATION_RATIO else pace.windows)
        last_weeks = f"only finds of the last {weeks:.0f} weeks count"
        counted = last_weeks if weeks else "no week could be calibrated"
        counting = (origins - lost.get(last, 0)) * pace.window_weeks
        then = f"then those of {counting:.0f} weeks count, if enough results of earlier ones were known"
        again = f"Train again with --origins {origins}: {then}"
        return "wait", f"{text}, but {counted}. {again}. A routine refit of it needs the same --origins."
    action: Action = "wait" if can_arrive(more, pace.per_week) else "refuse"
    return action, f"{text}: {advise_on_finds(more, pace.per_week, 'tested week', 'train again')}."


def _describe_figures(evidence: GateEvidence) -> list[str]:
    """Describe what was counted, then the difference from the champion, or from the fixed rules, and the calibration."""
    if evidence.figures is None:
        return []
    figures, compared, facts, basis = evidence.figures, evidence.comparison, list[str](), ""
    if compared is None or evidence.candidate is None:
        pair, sides = figures.against_rules, ("the fixed rules", "the model as deployed")
    else:
        basis = FROM_COMPARED
        pair, sides = compared.pair, (f"version {evidence.candidate.champion}", "this version")
        deployed = describe_deployed(compared.pair, compared.deployed, evidence.target, *sides)
        facts = [deployed, compared.level]
        facts += [each(compared.sources, *sides) for each in (describe_sources, warn_of_unequal_fits)]
    ranked = [*zip(sides, (pair.a, pair.b), strict=True)]
    counted = dict(ranked if basis else ranked[::-1])  # the model first, as in the report
    model = figures.recipe.model
    return [
        describe_counts(counted, evidence.target),
        state_difference(pair.gains[PRIMARY_MEASURE], *sides, basis),
        *filter(None, facts),
        f"As deployed, {describe_calibration(model)}.",
    ]
