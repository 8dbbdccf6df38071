"""Promotion gate: all rules, each checked on evidence, with what was found and expected.

A version may become champion if every rule holds. The first version needs the rules of `RUN_RULES` only. A later one is also
compared with the champion, and needs a way up (`training.gate.ways`). A former champion goes back by `BUNDLE_RULES`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from consignments.errors import BundleRefused
from consignments.records import Target
from models.bundle import Bundle
from models.formats import format_number, format_percent
from training.evaluation.estimate import Estimate
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.evaluation.metrics import CALIBRATION_RATIO, PairedEvaluation
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE as NAME_SWAP_BOUND
from training.gate.figures import RunFigures
from training.gate.ways import MEASURES, Candidate, describe_gain, explain_too_few, find_way

MAX_CALIBRATION_FACTOR = 3.0
"""Maximum ratio of predicted to observed positives, and of observed to predicted. The rule fails only if the entire interval
is beyond."""
MIN_SLICE_POSITIVES = 10
"""Minimum positives of a slice that is evaluated separately."""
MAX_SLICE_DROP = 0.2
"""Maximum distance of a slice's entire ROC area interval below the lower end of all traffic; 0.5 is always the minimum."""
MAX_SLICE_LOSS = 0.05
"""Maximum loss of a slice's ROC area compared with the champion, for the entire interval."""
NO_SCORES = "the run holds no scores to compute it from"

Row = Mapping[str, Any]


class CheckResult(NamedTuple):
    """Result of a check that was made while the evidence was gathered; `held` is None if it could not be made."""

    held: bool | None
    found: str


WITHOUT_TABLES = CheckResult(None, "not checked: no tables were given")
UNSIGNED = CheckResult(None, "not checked: the run is not signed, and no tables were given")


@dataclass(frozen=True)
class ChampionComparison:
    """Comparison with the champion (`pair.a`): its run (empty if not logged yet), its first arrivals, and who vouches for its scores."""

    run_id: str
    pair: PairedEvaluation
    begins: datetime
    finds_per_week: float
    verified: CheckResult


@dataclass(frozen=True)
class GateEvidence:
    """Evidence for the rules. Without a bundle `refusal` says why; `goes_back` is true for a version that was champion before."""

    target: Target
    bundle: Bundle | None
    refusal: str
    registered_sha256: str
    evaluation: Bundle | None = None
    figures: RunFigures | None = None
    verified: CheckResult = UNSIGNED
    refit: CheckResult = WITHOUT_TABLES
    goes_back: bool = False
    candidate: Candidate | None = None
    comparison: ChampionComparison | None = None


@dataclass(frozen=True)
class RuleResult:
    """Result of one rule; `held` is None if it was not checked, and `undecided` says that only too little is known yet."""

    held: bool | None
    found: str
    expected: str
    undecided: bool = False


GateRule = Callable[[GateEvidence], RuleResult]


def _check_checksum(evidence: GateEvidence) -> RuleResult:
    bundle = evidence.bundle
    expected = f"the registered bundle {evidence.registered_sha256[:12]}, byte for byte"
    if bundle is None:
        return RuleResult(False, evidence.refusal, expected)
    if bundle.sha256 != evidence.registered_sha256:
        return RuleResult(False, f"another bundle, {bundle.sha256[:12]}", expected)
    return RuleResult(True, "all files match the manifest", expected)


def _check_self_test(evidence: GateEvidence) -> RuleResult:
    expected = "the examples get their recorded scores, bit for bit"
    assert evidence.bundle is not None
    try:
        evidence.bundle.run_self_test()
    except BundleRefused as error:
        return RuleResult(False, str(error), expected)
    return RuleResult(True, f"{len(evidence.bundle.examples.X)} examples scored bit for bit", expected)


def _check_reasons(evidence: GateEvidence) -> RuleResult:
    assert evidence.bundle is not None
    examples = evidence.bundle.examples
    best = int(np.argmax(examples.probability))
    reasons = len(evidence.bundle.model.explain(examples.X[best], 3))
    return RuleResult(
        reasons > 0, f"reasons: {reasons}", "at least one reason for the highest score of its examples"
    )


def _check_refit(evidence: GateEvidence) -> RuleResult:
    expected = "both fits equal byte for byte, when trained again on the same tables and settings"
    return RuleResult(evidence.refit.held, evidence.refit.found, expected)


def _check_verified(evidence: GateEvidence) -> RuleResult:
    """Combine who vouches for the run and for the comparison: the weaker of the two counts."""
    checks = [evidence.verified] + ([] if evidence.comparison is None else [evidence.comparison.verified])
    held = False if any(each.held is False for each in checks) else all(each.held for each in checks) or None
    shown = dict.fromkeys(each.found for each in checks if held or not each.held)
    return RuleResult(
        held,
        "; ".join(shown),
        "scores signed by an approver or evaluator, or computed again from the tables of the training run",
    )


def _build_figure_rule(check: Callable[[RunFigures], RuleResult], expected: str) -> GateRule:
    """Build a rule about the figures of the run, which does not hold if there are none."""
    return lambda evidence: (
        RuleResult(False, NO_SCORES, expected) if evidence.figures is None else check(evidence.figures)
    )


def _build_leakage_rule(look: str, found: str, expected: str) -> GateRule:
    """Build the rule that a check of `training.evaluation.leakage` stays within its limit, from templates of its texts."""

    def check(figures: RunFigures) -> RuleResult:
        row = figures.looks.get(look, {})
        value = math.nan if row.get("found") is None else float(row["found"])
        values = {**row, "found": value, "share": format_percent(value), "bound": BOUNDS[look]}
        expectation = expected.format(**values).replace("%", " %")
        if math.isfinite(value):
            return RuleResult(value <= BOUNDS[look], found.format(**values), expectation)
        reason = str(row.get("where", "")) or "not checked"
        return RuleResult(False, f"no figure: {reason}", expectation, undecided=bool(row.get("where")))

    return _build_figure_rule(check, expected.format(bound=BOUNDS[look]))


def _check_better_than_chance(figures: RunFigures) -> RuleResult:
    area = figures.recipe.model["roc_auc"]
    expected = "the entire 95 % interval of the area under the ROC curve above 0.5"
    if not area.is_shown:
        return RuleResult(False, explain_too_few(area, figures.finds_per_week), expected, undecided=True)
    return RuleResult(
        area.low > 0.5,
        f"area under the ROC curve {_describe_range(area)}",
        expected,
        undecided=area.low <= 0.5 < area.high,
    )


def _check_not_worse_than_rules(figures: RunFigures) -> RuleResult:
    return _check_not_worse(
        figures.against_rules,
        figures.finds_per_week,
        "no measure demonstrably worse than of the fixed rules, from which the trees start",
    )


def _check_not_worse(pair: PairedEvaluation, per_week: float, expected: str) -> RuleResult:
    """Check that no measure is worse with its whole interval; one with too few results shows nothing."""
    gains = {name: pair.gains[name] for name in MEASURES}
    worse = [describe_gain(name, gain) for name, gain in gains.items() if gain.is_shown and gain.sign < 0]
    shown = [describe_gain(name, gain) for name, gain in gains.items() if gain.is_shown]
    found = "; ".join(worse or shown[:1]) or explain_too_few(gains[MEASURES[0]], per_week)
    return RuleResult(not worse, found, expected)


def _check_calibration(figures: RunFigures) -> RuleResult:
    ratio = figures.recipe.model[CALIBRATION_RATIO]
    expected = "predicted over observed positives between 1/3 and 3, or an interval that reaches into it"
    if not ratio.is_shown:
        return RuleResult(False, explain_too_few(ratio, figures.finds_per_week), expected, undecided=True)
    wrong = ratio.low > MAX_CALIBRATION_FACTOR or ratio.high < 1 / MAX_CALIBRATION_FACTOR
    return RuleResult(not wrong, describe_calibration(ratio), expected)


def _check_slices(figures: RunFigures) -> RuleResult:
    model = figures.recipe.model
    bound = max(0.5, float(np.nan_to_num(model["roc_auc"].low)) - MAX_SLICE_DROP)
    judged = list(_filter_slices(model.slices))
    fallen = [row for row in judged if _to_float(row["roc_auc_high"]) < bound]
    texts = "; ".join(
        f"{row['kind']} {row['value']}: area {format_number(_to_float(row['roc_auc']))}, "
        f"upper end {format_number(_to_float(row['roc_auc_high']))}, {row['positive']} positives"
        for row in fallen
    )
    return RuleResult(
        not fallen,
        texts or f"slices checked: {len(judged)}, none beyond the limit",
        f"no slice of {MIN_SLICE_POSITIVES} or more positives with its entire interval of the area under the ROC curve below "
        f"{format_number(bound)}",
    )


def _filter_slices(slices: Sequence[Row]) -> Iterator[Row]:
    return (row for row in slices if _to_float(row["positive"]) >= MIN_SLICE_POSITIVES)


def _check_name_invariance(figures: RunFigures) -> RuleResult:
    return RuleResult(
        figures.name_swap <= NAME_SWAP_BOUND,
        f"95 % of scores change by at most {format_number(figures.name_swap)} log-odds",
        f"at most {NAME_SWAP_BOUND} log-odds when personal names are replaced by names from another language",
    )


def _check_comparison(evidence: GateEvidence) -> RuleResult:
    assert evidence.candidate is not None
    found = "no comparison" if evidence.comparison is None else "compared"
    return RuleResult(
        evidence.comparison is not None,
        f"{found} with version {evidence.candidate.champion}, the champion",
        f"the result of npsrisk compare {evidence.candidate.champion} with this version",
        undecided=evidence.comparison is None,
    )


def _build_pair_rule(
    check: Callable[[GateEvidence, ChampionComparison], RuleResult], expected: str
) -> GateRule:
    """Build a rule about the comparison with the champion, which is not checked without one."""
    return lambda evidence: (
        RuleResult(None, "not checked: no comparison", expected)
        if evidence.comparison is None
        else check(evidence, evidence.comparison)
    )


def _check_unseen_period(evidence: GateEvidence, compared: ChampionComparison) -> RuleResult:
    assert evidence.bundle is not None
    unseen = min(fit.unseen_from for fit in (evidence.bundle, evidence.evaluation or evidence.bundle))
    return RuleResult(
        compared.begins >= unseen,
        f"compared on arrivals from {compared.begins:%Y-%m-%d} on",
        f"only arrivals from {unseen:%Y-%m-%d} on, on which the model was not trained",
    )


def _check_slice_losses(pair: PairedEvaluation) -> RuleResult:
    judged = list(_filter_slices(pair.slices))
    lost = [row for row in judged if _to_float(row["high"]) < -MAX_SLICE_LOSS]
    texts = "; ".join(
        f"{row['kind']} {row['value']}: area {format_number(_to_float(row['difference']), '+')} "
        f"({format_number(_to_float(row['low']), '+')} to {format_number(_to_float(row['high']), '+')}), {row['positive']} positives"
        for row in lost
    )
    return RuleResult(not lost, texts or f"slices checked: {len(judged)}, none beyond the limit", NO_LOSS)


def _check_way(evidence: GateEvidence, compared: ChampionComparison) -> RuleResult:
    assert evidence.candidate is not None
    way = find_way(evidence.candidate, compared.pair, compared.finds_per_week, evidence.refit.held)
    return RuleResult(way.name != "", way.sentence, WAY_UP, undecided=way.can_wait)


NOT_WORSE = "no measure demonstrably worse than of the champion"
NO_LOSS = (
    f"no slice of {MIN_SLICE_POSITIVES} or more positives loses more than {MAX_SLICE_LOSS} of its area under the ROC curve (entire "
    "interval)"
)
WAY_UP = "clearly better than the champion, or a routine refit: its configuration on newer results"
BUNDLE_RULES: dict[str, GateRule] = {
    "self-test passed": _check_self_test,
    "reasons present": _check_reasons,
}
CHECKSUM_RULE, REFIT_RULE, VERIFIED_RULE, COMPARISON_RULE, WAY_RULE = (
    "checksums verified",
    "training reproduced",
    "figures verified",
    "compared with the champion",
    "better, or a routine refit",
)
RUN_RULES: dict[str, GateRule] = {
    REFIT_RULE: _check_refit,
    VERIFIED_RULE: _check_verified,
    "no future data": _build_leakage_rule(
        LATER_CHANGES,
        "{share} of {rows:,} test consignments get other features when later data are removed ({where})",
        "identical features: data that arrived later must not be used",
    ),
    "results after arrivals": _build_leakage_rule(
        EARLY_RESULTS,
        "{share} of {rows:,} results have a known_at at or before the arrival of their consignment",
        "at most {bound:.0%}: known_at is the time when the result was known",
    ),
    "no column is the result": _build_leakage_rule(
        PREDICTIVE_COLUMN,
        "the most predictive single column, {where}: area under the ROC curve at least {found:.3f}",
        "at most {bound}: a column that separates positives so well was filled in afterwards",
    ),
    "no column reveals inspection": _build_leakage_rule(
        FILLED_COLUMN,
        "filled shares of inspected and other consignments differ by at least {share} ({where})",
        "at most {bound:.0%}: a column that only inspected consignments have was filled in at the inspection",
    ),
    "better than chance": _build_figure_rule(_check_better_than_chance, "better than chance"),
    "not worse than the rules": _build_figure_rule(_check_not_worse_than_rules, "not worse than the rules"),
    "calibrated": _build_figure_rule(_check_calibration, "a calibration ratio between 1/3 and 3"),
    "no slice collapsed": _build_figure_rule(_check_slices, "no slice far below all traffic"),
    "names have no effect": _build_figure_rule(_check_name_invariance, "no effect of personal names"),
}
"""Rules on the training run: what `--force` may override, except the first."""
CHAMPION_RULES: dict[str, GateRule] = {
    COMPARISON_RULE: _check_comparison,
    "compared on unseen data": _build_pair_rule(
        _check_unseen_period, "only arrivals that neither has learnt from"
    ),
    "not worse than the champion": _build_pair_rule(
        lambda _, compared: _check_not_worse(compared.pair, compared.finds_per_week, NOT_WORSE), NOT_WORSE
    ),
    "no slice lost": _build_pair_rule(lambda _, compared: _check_slice_losses(compared.pair), NO_LOSS),
    WAY_RULE: _build_pair_rule(_check_way, WAY_UP),
}
"""Rules that also apply if a champion is to be replaced."""
UNFORCEABLE_RULES = frozenset({CHECKSUM_RULE, REFIT_RULE, "self-test passed"})
"""Rules that `--force` cannot override."""


def run_gate(evidence: GateEvidence) -> dict[str, RuleResult]:
    """Run every rule that applies; if the bundle was altered, only the first."""
    sums = {CHECKSUM_RULE: _check_checksum(evidence)}
    if not sums[CHECKSUM_RULE].held:
        return sums
    rules = BUNDLE_RULES if evidence.goes_back else BUNDLE_RULES | RUN_RULES
    if evidence.candidate is not None and not evidence.goes_back:
        rules = rules | CHAMPION_RULES
    return sums | {name: rule(evidence) for name, rule in rules.items()}


def find_obstacles(rules: Mapping[str, RuleResult]) -> dict[str, RuleResult]:
    """Return the rules that stand against a promotion: those that do not hold, and figures for which nobody vouches."""
    return {
        name: rule
        for name, rule in rules.items()
        if rule.held is False or (name == VERIFIED_RULE and not rule.held)
    }


def describe_calibration(ratio: Estimate) -> str:
    """Describe the calibration ratio with its interval."""
    if not ratio.is_shown:
        return f"the calibration is unknown, {ratio.explain_missing()}"
    value, low, high = (format_number(each) for each in (ratio.value, ratio.low, ratio.high))
    return f"predicted positives are {value} times the observed ones ({low} to {high})"


def _describe_range(estimate: Estimate) -> str:
    value, low, high = (format_number(each) for each in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def _to_float(value: Any) -> float:
    return math.nan if value is None else float(value)
