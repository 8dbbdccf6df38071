"""Promotion gate: all rules, each evaluated on evidence, with what was found and expected.

A version may become champion if all checked rules hold. Every rule is checked, except the one that needs the training
tables. With a champion in place, a paired comparison of the two is part of the evidence; without one, only the other rules
apply. A rule does not hold if its value is unknown.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from consignments.errors import BundleRefused
from models.bundle import Bundle
from models.formats import format_number, format_percent
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE as NAME_SWAP_BOUND
from training.evaluation.verdict import MIN_POSITIVES

NON_INFERIORITY_MARGIN = 0.02
"""Maximum loss of precision or recall at capacity compared with the champion, at the lower end of the 95 % interval."""
MAX_CALIBRATION_FACTOR = 3.0
"""Maximum ratio of predicted to observed positives, and of observed to predicted. The rule fails only if the entire interval
is beyond."""
MIN_SLICE_POSITIVES = 10
"""Minimum positives of a slice that is evaluated separately."""
MAX_SLICE_DROP = 0.2
"""Maximum distance of a slice's entire ROC area interval below the lower end of all traffic; 0.5 is always the minimum."""
MAX_SLICE_LOSS = 0.05
"""Maximum loss of a slice's ROC area compared with the champion, for the entire interval."""
UNKNOWN = float("nan")
RESULTS_SOURCE, TRUTH_SOURCE = "inspection results", "the truth of the simulated world"
"""Sources of labels, in words."""

Row = Mapping[str, Any]


class RefitResult(NamedTuple):
    """Result of the comparison of the repeated training run with the registered fits.

    Attributes
    ----------
    held : bool or None
        None if it was not checked.
    found : str
    """

    held: bool | None
    found: str


WITHOUT_TABLES = RefitResult(None, "not checked: no tables were given")


@dataclass(frozen=True)
class ChampionComparison:
    """Results of a comparison with the champion.

    Attributes
    ----------
    run_id : str
    metrics : mapping
        Metrics of the comparison's run.
    begins : datetime
        Earliest time of arrival that was compared.
    slices : sequence of rows
        Table of slices of the run.
    judged_by : str
        Source of the labels, in words.
    """

    run_id: str
    metrics: Mapping[str, float]
    begins: datetime
    slices: Sequence[Row] = ()
    judged_by: str = RESULTS_SOURCE


@dataclass(frozen=True)
class GateEvidence:
    """Evidence for the rules.

    Attributes
    ----------
    bundle : Bundle or None
        Verified; None if it was refused, with the reason in `refusal`.
    refusal : str
    registered_sha256 : str
        SHA-256 of the bundle that was registered.
    metrics : mapping
        Metrics of the training run.
    looks : mapping
        Name of each leakage check to its row in the run's table `leaks`.
    slices : sequence of rows
        Table of slices of the run.
    goes_back : bool
        True if it was champion before: then it was evaluated, and must only be unaltered and work.
    champion : str or None
        Number of the version to be replaced; None if there is none.
    comparison : ChampionComparison or None
        Comparison with that champion; None if there was none.
    evaluation : Bundle or None
        The evaluation fit of the version, if it holds one.
    refit : RefitResult
        Result of the repeated training run.
    """

    bundle: Bundle | None
    refusal: str
    registered_sha256: str
    metrics: Mapping[str, float]
    looks: Mapping[str, Row] = field(default_factory=dict)
    slices: Sequence[Row] = ()
    goes_back: bool = False
    champion: str | None = None
    comparison: ChampionComparison | None = None
    evaluation: Bundle | None = None
    refit: RefitResult = WITHOUT_TABLES

    def get_metric(self, name: str) -> float:
        """Return a metric of the training run, NaN if it has none."""
        return self.metrics.get(name, UNKNOWN)


@dataclass(frozen=True)
class RuleResult:
    """Result of one rule.

    Attributes
    ----------
    held : bool or None
        None if the rule was not checked.
    found, expected : str
    undecided : bool
        True if the rule does not hold only because too little is known yet: its interval also contains values that it accepts, or
        a comparison is missing.
    """

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
    found = "all files match the manifest"
    if bundle.sha256 != evidence.registered_sha256:
        return RuleResult(False, f"another bundle, {bundle.sha256[:12]}", expected)
    return RuleResult(True, found, expected)


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
    return RuleResult(
        evidence.refit.held,
        evidence.refit.found,
        "both fits equal byte for byte, when trained again on the same tables and settings",
    )


def _build_leakage_rule(look: str, found: str, expected: str) -> GateRule:
    """Build the rule that a check of `training.evaluation.leakage` stays within its limit; undecided if the check had too few results.

    Parameters
    ----------
    look : str
    found, expected : str
        Text templates with the fields `found`, `share` (`found` as a percentage), `bound`, `rows` and `where`.
    """

    def rule(evidence: GateEvidence) -> RuleResult:
        row = evidence.looks.get(look, {})
        value, bound = _to_float(row.get("found")), BOUNDS[look]
        values = {
            "found": value,
            "share": format_percent(value),
            "bound": bound,
            "rows": row.get("rows", 0),
            "where": row.get("where", ""),
        }
        expectation = expected.format(**values).replace("%", " %")
        if math.isfinite(value):
            return RuleResult(value <= bound, found.format(**values), expectation)
        reason = values["where"] or "not checked"
        return RuleResult(False, f"no figure: {reason}", expectation, undecided=bool(values["where"]))

    return rule


def _check_better_than_chance(evidence: GateEvidence) -> RuleResult:
    low = evidence.get_metric("deployed/roc_auc_low")
    return RuleResult(
        low > 0.5,
        f"area under the ROC curve {_format_range(evidence.metrics, 'deployed/roc_auc', '.3f')}",
        "the entire 95 % interval above 0.5",
        undecided=low <= 0.5 < evidence.get_metric("deployed/roc_auc_high"),
    )


def _check_better_than_rules(evidence: GateEvidence) -> RuleResult:
    mine = evidence.get_metric("deployed/average_precision")
    rules = evidence.metrics.get("deployed/baseline/rules/average_precision", 0.0)
    return RuleResult(
        mine > rules,
        f"average precision {mine:.4f}, of the fixed rules {rules:.4f}",
        "higher than the fixed rules",
        undecided=mine <= rules < evidence.get_metric("deployed/average_precision_high"),
    )


def _check_calibration(evidence: GateEvidence) -> RuleResult:
    of = dict(_iterate_calibrations(evidence))
    wrong = [name for name, row in of.items() if _is_miscalibrated(row)]
    known = math.isfinite(evidence.get_metric("deployed/calibration_ratio"))
    return RuleResult(
        known and not wrong,
        "; ".join(_format_calibration(of[name]) + name for name in dict.fromkeys(["", *wrong])),
        "calibration ratio (predicted over observed positives) between 1/3 and 3, over all traffic and in each channel",
        undecided=not known,
    )


def _iterate_calibrations(evidence: GateEvidence) -> Iterator[tuple[str, Row]]:
    """Yield the calibration ratio with its interval, of all traffic and of each channel with enough positives."""
    yield (
        "",
        {
            f"calibration_ratio{end}": evidence.get_metric(f"deployed/calibration_ratio{end}")
            for end in ("", "_low", "_high")
        },
    )
    for row in _filter_slices(evidence.slices):
        if row["kind"] == "channel":
            yield f" in channel {row['value']}", row


def _is_miscalibrated(row: Row) -> bool:
    low, high = _to_float(row.get("calibration_ratio_low")), _to_float(row.get("calibration_ratio_high"))
    return low > MAX_CALIBRATION_FACTOR or high < 1 / MAX_CALIBRATION_FACTOR


def _format_calibration(row: Row) -> str:
    value, low, high = (_to_float(row.get(f"calibration_ratio{end}")) for end in ("", "_low", "_high"))
    return f"predicted positives are {value:.3g} times the observed ones ({low:.3g} to {high:.3g})"


def _check_slices(evidence: GateEvidence) -> RuleResult:
    bound = max(0.5, evidence.get_metric("deployed/roc_auc_low") - MAX_SLICE_DROP)
    judged = list(_filter_slices(evidence.slices))
    fallen = [row for row in judged if _to_float(row.get("roc_auc_high")) < bound]
    texts = "; ".join(
        f"{row['kind']} {row['value']}: area {_to_float(row['roc_auc']):.3f}, upper end {_to_float(row['roc_auc_high']):.3f}, "
        f"{row['positive']} positives"
        for row in fallen
    )
    return RuleResult(
        not fallen,
        texts or f"slices checked: {len(judged)}, none beyond the limit",
        f"no slice with {MIN_SLICE_POSITIVES} or more positives has its entire interval of the area under the ROC curve below {bound:.3f}",
    )


def _filter_slices(slices: Sequence[Row]) -> Iterator[Row]:
    return (row for row in slices if _to_float(row.get("positive")) >= MIN_SLICE_POSITIVES)


def _check_name_invariance(evidence: GateEvidence) -> RuleResult:
    move = evidence.get_metric("test/name_swap_95pct")
    return RuleResult(
        move <= NAME_SWAP_BOUND,
        f"95 % of scores change by at most {format_number(move)} log-odds",
        f"at most {NAME_SWAP_BOUND} log-odds when personal names are replaced by names from another language",
    )


def _check_comparison(evidence: GateEvidence) -> RuleResult:
    found = "no comparison" if evidence.comparison is None else "compared"
    return RuleResult(
        evidence.comparison is not None,
        f"{found} with version {evidence.champion}, the champion",
        f"the result of npsrisk compare {evidence.champion} with this version",
        undecided=evidence.comparison is None,
    )


def _check_unseen_period(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    assert evidence.bundle is not None
    fits = [fit for fit in (evidence.bundle, evidence.evaluation) if fit is not None]
    begins, unseen = evidence.comparison.begins, min(fit.unseen_from for fit in fits)
    return RuleResult(
        begins >= unseen,
        f"compared on arrivals from {begins:%Y-%m-%d} on",
        f"only arrivals from {unseen:%Y-%m-%d} on, on which the model was not trained",
    )


def _check_enough_positives(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    finds = evidence.comparison.metrics.get("compared/finds", UNKNOWN)
    return RuleResult(
        finds >= MIN_POSITIVES,
        f"positives compared: {finds:.0f}",
        f"at least {MIN_POSITIVES}; with fewer, an improvement cannot be distinguished from chance",
        undecided=not finds >= MIN_POSITIVES,
    )


def _build_margin_rule(metric: str, name: str) -> GateRule:
    def rule(evidence: GateEvidence) -> RuleResult:
        assert evidence.comparison is not None
        metrics = evidence.comparison.metrics
        points = {
            end: 100 * metrics.get(f"difference/{metric}{end}", UNKNOWN) for end in ("", "_low", "_high")
        }
        return RuleResult(
            points["_low"] >= -100 * NON_INFERIORITY_MARGIN,
            f"{name} {_format_range(points, '', '+.1f')} percentage points compared with the champion",
            f"lower end of the interval at {-100 * NON_INFERIORITY_MARGIN:.0f} points or above",
            undecided=not points["_low"] >= -100 * NON_INFERIORITY_MARGIN
            and not points["_high"] < -100 * NON_INFERIORITY_MARGIN,
        )

    return rule


def _check_slice_losses(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    judged = list(_filter_slices(evidence.comparison.slices))
    lost = [row for row in judged if _to_float(row.get("high")) < -MAX_SLICE_LOSS]
    texts = "; ".join(
        f"{row['kind']} {row['value']}: area {_to_float(row['difference']):+.3f} "
        f"({_to_float(row['low']):+.3f} to {_to_float(row['high']):+.3f}), {row['positive']} positives"
        for row in lost
    )
    return RuleResult(
        not lost,
        texts or f"slices checked: {len(judged)}, none beyond the limit",
        f"no slice with {MIN_SLICE_POSITIVES} or more positives loses more than {MAX_SLICE_LOSS} of its area under the ROC curve (entire "
        "interval)",
    )


BUNDLE_RULES: dict[str, GateRule] = {
    "self-test passed": _check_self_test,
    "reasons present": _check_reasons,
}
RUN_RULES: dict[str, GateRule] = {
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
    "better than chance": _check_better_than_chance,
    "better than rules": _check_better_than_rules,
    "calibrated": _check_calibration,
    "no slice collapsed": _check_slices,
    "names have no effect": _check_name_invariance,
}
CHAMPION_RULES: dict[str, GateRule] = {
    "compared on unseen data": _check_unseen_period,
    "enough positives": _check_enough_positives,
    "precision at 1 % kept": _build_margin_rule("precision_at_1pct", "precision at 1 %"),
    "recall at 1 % kept": _build_margin_rule("recall_at_1pct", "recall at 1 %"),
    "precision at capacity kept": _build_margin_rule("precision_at_capacity", "precision at capacity"),
    "recall at capacity kept": _build_margin_rule("recall_at_capacity", "recall at capacity"),
    "no slice lost": _check_slice_losses,
}
"""Rules that apply if a champion is to be replaced and a comparison with it exists."""
CHECKSUM_RULE, REFIT_RULE, COMPARISON_RULE = (
    "checksums verified",
    "training reproduced",
    "compared with the champion",
)
UNFORCEABLE_RULES = frozenset({CHECKSUM_RULE, REFIT_RULE, *BUNDLE_RULES} - {"reasons present"})
"""Rules that `--force` cannot override."""


def run_gate(evidence: GateEvidence) -> dict[str, RuleResult]:
    """Run every rule that applies; if the bundle was altered, only the first."""
    sums = {CHECKSUM_RULE: _check_checksum(evidence)}
    if not sums[CHECKSUM_RULE].held:
        return sums
    rules = BUNDLE_RULES if evidence.goes_back else BUNDLE_RULES | {REFIT_RULE: _check_refit} | RUN_RULES
    if evidence.champion is not None and not evidence.goes_back:
        rules = (
            rules
            | {COMPARISON_RULE: _check_comparison}
            | ({} if evidence.comparison is None else CHAMPION_RULES)
        )
    return sums | {name: rule(evidence) for name, rule in rules.items()}


def _format_range(metrics: Mapping[str, float], name: str, form: str) -> str:
    value, low, high = (metrics.get(f"{name}{end}", UNKNOWN) for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "not known"
    known = math.isfinite(low) and math.isfinite(high)
    return (
        f"{value:{form}} ({low:{form}} to {high:{form}})" if known else f"{value:{form}}, interval not known"
    )


def _to_float(value: Any) -> float:
    return UNKNOWN if value is None else float(value)
