"""The promotion gate: every rule in one place, each run on evidence, and what each one found.

A version may become champion where all rules hold that were checked; each is, but for the one that needs the training tables. With a champion in place a paired comparison of the two is part of the
evidence; without one only the others apply. Nothing that is unknown holds.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from consignments.errors import BundleRefused
from models.bundle import Bundle
from training.evaluation.leakage import BOUNDS, EARLY_RESULTS, FILLED_COLUMN, LATER_CHANGES, PREDICTIVE_COLUMN
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE as NAME_SWAP_BOUND
from training.evaluation.verdict import MIN_POSITIVES, format_percent
from training.promotion.refit import WITHOUT_TABLES, RefitResult

NON_INFERIORITY_MARGIN = 0.02
"""How much precision or recall at capacity may be lost to the champion, at the lower end of the 95 % interval."""
MAX_CALIBRATION_ERROR_SHARE = 1.0
"""Largest calibration error, as a share of the rate of finds; refused where even the lower end of its 95 % interval
is above, since with few finds the error itself is known to a factor only."""
MAX_CALIBRATION_FACTOR = 3.0
"""So many times the finds there were the scores may promise, or as many times too few; refused where the whole interval
lies beyond."""
MIN_SLICE_POSITIVES = 10
"""Fewest finds of a slice that is judged by itself."""
MAX_SLICE_DROP = 0.2
"""How far below the lower end of the whole the ROC area of a slice may lie with its whole interval; never below chance."""
MAX_SLICE_LOSS = 0.05
"""How much of its ROC area a slice may lose to the champion with its whole interval."""
UNKNOWN = float("nan")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ChampionComparison:
    """What a comparison with the champion found.

    Attributes
    ----------
    run_id : str
    metrics : mapping
        Of the comparison's run.
    begins : datetime
        First arrival that was compared may be of this moment.
    slices : sequence of rows
        Its table of slices.
    """

    run_id: str
    metrics: Mapping[str, float]
    begins: datetime
    slices: Sequence[Row] = ()


@dataclass(frozen=True)
class GateEvidence:
    """What the rules look at.

    Attributes
    ----------
    bundle : Bundle or None
        Verified; None where it was refused, with the reason in `refusal`.
    refusal : str
    registered_sha256 : str
        Sum of the bundle that was registered.
    metrics : mapping
        Of the training run.
    looks : mapping
        Name to row of its table `leaks`.
    slices : sequence of rows
        Its table of slices.
    goes_back : bool
        Whether it was champion before: then it was judged, and must only be unaltered and work.
    champion : str or None
        Number of the version to be replaced; None where there is none.
    comparison : ChampionComparison or None
        With that champion; None where there was none.
    evaluation : Bundle or None
        The evaluation fit of the version, if it holds one.
    refit : RefitResult
        Whether the training run, repeated on its tables, gives the same fits.
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
        """Give a metric of the training run, NaN where it has none."""
        return self.metrics.get(name, UNKNOWN)


@dataclass(frozen=True)
class RuleResult:
    """What one rule found.

    Attributes
    ----------
    held : bool or None
        None if the rule was not checked.
    found, expected : str
    """

    held: bool | None
    found: str
    expected: str


GateRule = Callable[[GateEvidence], RuleResult]


def _check_checksum(evidence: GateEvidence) -> RuleResult:
    bundle = evidence.bundle
    expected = f"the bundle that was registered, {evidence.registered_sha256[:12]}, byte for byte"
    if bundle is None:
        return RuleResult(False, evidence.refusal, expected)
    found = "all files as in its manifest"
    if bundle.sha256 != evidence.registered_sha256:
        return RuleResult(False, f"another bundle, {bundle.sha256[:12]}", expected)
    return RuleResult(True, found, expected)


def _check_self_test(evidence: GateEvidence) -> RuleResult:
    expected = "its examples scored as when it was made, bit for bit"
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
    return RuleResult(reasons > 0, f"{reasons} reasons", "a reason for the highest score of its examples")


def _check_refit(evidence: GateEvidence) -> RuleResult:
    return RuleResult(
        *evidence.refit, "both fits byte for byte, trained again on the same tables and settings"
    )


def _build_leakage_rule(look: str, found: str, expected: str) -> GateRule:
    """Make the rule that a look of `training.evaluation.leakage` stays within its bound.

    Parameters
    ----------
    look : str
    found, expected : str
        Templates of what is said, with `found`, `bound`, `rows` and `where`.
    """

    def rule(evidence: GateEvidence) -> RuleResult:
        row = evidence.looks.get(look, {})
        value, bound = _to_float(row.get("found")), BOUNDS[look]
        told = {"found": value, "bound": bound, "rows": row.get("rows", 0), "where": row.get("where", "")}
        unknown = f"unknown, {told['where'] or 'not looked for'}"
        said = (found.format(**told) if math.isfinite(value) else unknown, expected.format(**told))
        return RuleResult(value <= bound, *(text.replace("%", " %") for text in said))

    return rule


def _check_better_than_chance(evidence: GateEvidence) -> RuleResult:
    low = evidence.get_metric("test/roc_auc_low")
    return RuleResult(
        low > 0.5,
        f"area under the ROC curve {_format_range(evidence.metrics, 'test/roc_auc', '.3f')}",
        "the whole interval above 0.5 on the test period",
    )


def _check_better_than_rules(evidence: GateEvidence) -> RuleResult:
    mine = evidence.get_metric("test/average_precision")
    rules = evidence.metrics.get("baseline/rules/average_precision", 0.0)
    return RuleResult(
        mine > rules,
        f"average precision {mine:.4f}, that of the rules {rules:.4f}",
        "above that of the fixed rules",
    )


def _check_calibration(evidence: GateEvidence) -> RuleResult:
    low, bound = (
        evidence.get_metric("test/calibration_error_low"),
        MAX_CALIBRATION_ERROR_SHARE * compute_positive_rate(evidence.metrics),
    )
    of = dict(_iterate_calibrations(evidence))
    wrong = [name for name, row in of.items() if _is_miscalibrated(row)]
    told = [_format_calibration(of[name]) + name for name in dict.fromkeys(["", *wrong])]
    return RuleResult(
        low <= bound and not wrong,
        "; ".join([*told, f"mean gap of score and rate at least {format_percent(low, '.2%')}"]),
        f"between a third of the finds and three times as many, in all and by channel, and a gap of at most {format_percent(bound, '.2%')}, the "
        "rate of finds",
    )


def _iterate_calibrations(evidence: GateEvidence) -> Iterator[tuple[str, Row]]:
    """Give finds promised over finds made, with the interval: of all traffic, and of each channel with enough finds."""
    yield (
        "",
        {
            f"calibration_ratio{end}": evidence.get_metric(f"test/calibration_ratio{end}")
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
    return f"the scores promise {value:.3g} times the finds there were ({low:.3g} to {high:.3g})"


def _check_slices(evidence: GateEvidence) -> RuleResult:
    bound = max(0.5, evidence.get_metric("test/roc_auc_low") - MAX_SLICE_DROP)
    judged = list(_filter_slices(evidence.slices))
    fallen = [row for row in judged if _to_float(row.get("roc_auc_high")) < bound]
    told = "; ".join(
        f"{row['kind']} {row['value']}: area {_to_float(row['roc_auc']):.3f}, at most {_to_float(row['roc_auc_high']):.3f}, "
        f"on {row['positive']} finds"
        for row in fallen
    )
    return RuleResult(
        not fallen,
        told or f"{len(judged)} slices looked at, none",
        f"no slice of {MIN_SLICE_POSITIVES} finds or more whose area under the ROC curve is sure to be below {bound:.3f}",
    )


def _filter_slices(slices: Sequence[Row]) -> Iterator[Row]:
    return (row for row in slices if _to_float(row.get("positive")) >= MIN_SLICE_POSITIVES)


def _check_name_invariance(evidence: GateEvidence) -> RuleResult:
    move = evidence.get_metric("test/name_swap_95pct")
    return RuleResult(
        move <= NAME_SWAP_BOUND,
        f"95 % of scores moved by up to {move:.4f} in log-odds",
        f"at most {NAME_SWAP_BOUND} where names are swapped for those of another language",
    )


def _check_comparison(evidence: GateEvidence) -> RuleResult:
    found = "no comparison" if evidence.comparison is None else "compared"
    return RuleResult(
        evidence.comparison is not None,
        f"{found} with version {evidence.champion}, the champion",
        f"a run of npsrisk compare {evidence.champion} with this version",
    )


def _check_unseen_period(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    assert evidence.bundle is not None
    fits = [fit for fit in (evidence.bundle, evidence.evaluation) if fit is not None]
    begins, unseen = evidence.comparison.begins, min(fit.unseen_from for fit in fits)
    return RuleResult(
        begins >= unseen,
        f"compared on arrivals from {begins:%Y-%m-%d} on",
        f"only arrivals from {unseen:%Y-%m-%d} on, of which the model has learnt nothing",
    )


def _check_enough_positives(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    finds = evidence.comparison.metrics.get("compared/finds", UNKNOWN)
    return RuleResult(
        finds >= MIN_POSITIVES,
        f"{finds:.0f} finds compared",
        f"at least {MIN_POSITIVES}: with fewer, better and luckier look the same",
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
            f"{name} {_format_range(points, '', '+.1f')} percentage points against the champion",
            f"the lower end at {-100 * NON_INFERIORITY_MARGIN:.0f} points or above: no more than that lost, for sure",
        )

    return rule


def _check_slice_losses(evidence: GateEvidence) -> RuleResult:
    assert evidence.comparison is not None
    judged = list(_filter_slices(evidence.comparison.slices))
    lost = [row for row in judged if _to_float(row.get("high")) < -MAX_SLICE_LOSS]
    told = "; ".join(
        f"{row['kind']} {row['value']}: area {_to_float(row['difference']):+.3f} "
        f"({_to_float(row['low']):+.3f} to {_to_float(row['high']):+.3f}), on {row['positive']} finds"
        for row in lost
    )
    return RuleResult(
        not lost,
        told or f"{len(judged)} slices looked at, none",
        f"no slice of {MIN_SLICE_POSITIVES} finds or more that is sure to lose {MAX_SLICE_LOSS} of its area under the ROC curve",
    )


BUNDLE_RULES: dict[str, GateRule] = {
    "self-test passed": _check_self_test,
    "reasons present": _check_reasons,
}
RUN_RULES: dict[str, GateRule] = {
    "nothing from later": _build_leakage_rule(
        LATER_CHANGES,
        "{found:.1%} of {rows:,} test consignments get other features from tables that end at their moment ({where})",
        "the same bits: nothing that came later may be seen",
    ),
    "results after arrivals": _build_leakage_rule(
        EARLY_RESULTS,
        "{found:.1%} of {rows:,} results are dated as known when their consignment came, or before",
        "at most {bound:.0%}: known_at is when the result was known, not when the consignment came",
    ),
    "no column is the result": _build_leakage_rule(
        PREDICTIVE_COLUMN,
        "the most telling column alone, {where}: area under the ROC curve at least {found:.3f}",
        "at most {bound}: what tells finds so well by itself was filled in afterwards",
    ),
    "no column tells who was opened": _build_leakage_rule(
        FILLED_COLUMN,
        "a value is there for the opened and lacks for others, or the reverse: {found:.0%} apart at least ({where})",
        "at most {bound:.0%}: what only the opened have was filled in at the opening",
    ),
    "better than chance": _check_better_than_chance,
    "better than rules": _check_better_than_rules,
    "calibrated": _check_calibration,
    "no slice collapsed": _check_slices,
    "names do not matter": _check_name_invariance,
}
CHAMPION_RULES: dict[str, GateRule] = {
    "compared on the unseen": _check_unseen_period,
    "enough finds": _check_enough_positives,
    "precision at 1 % kept": _build_margin_rule("precision_at_1pct", "precision at 1 %"),
    "recall at 1 % kept": _build_margin_rule("recall_at_1pct", "recall at 1 %"),
    "precision at capacity kept": _build_margin_rule("precision_at_capacity", "precision at capacity"),
    "recall at capacity kept": _build_margin_rule("recall_at_capacity", "recall at capacity"),
    "no slice lost": _check_slice_losses,
}
"""Rules where a champion is to be replaced and a comparison with it is there."""
CHECKSUM_RULE, REFIT_RULE, COMPARISON_RULE = (
    "sums verified",
    "fits made again",
    "compared with the champion",
)
UNFORCEABLE_RULES = frozenset({CHECKSUM_RULE, REFIT_RULE, *BUNDLE_RULES} - {"reasons present"})
"""Rules that nobody can overrule."""


def run_gate(evidence: GateEvidence) -> dict[str, RuleResult]:
    """Run every rule that applies; of an altered bundle nothing else is worth looking at."""
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


def compute_positive_rate(metrics: Mapping[str, float]) -> float:
    """Give the rate of finds in all traffic, which precision and recall at 10 % imply."""
    precision, recall = (metrics.get(f"test/{name}_at_10pct", UNKNOWN) for name in ("precision", "recall"))
    return 0.1 * precision / recall if recall > 0 else UNKNOWN


def _format_range(metrics: Mapping[str, float], name: str, form: str) -> str:
    value, low, high = (metrics.get(f"{name}{end}", UNKNOWN) for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "unknown"
    known = math.isfinite(low) and math.isfinite(high)
    return (
        f"{value:{form}} ({low:{form}} to {high:{form}})"
        if known
        else f"{value:{form}}, its interval unknown"
    )


def _to_float(value: Any) -> float:
    return UNKNOWN if value is None else float(value)
