"""The promotion gate: every rule in one place, each run on evidence, and what each one found.

A version may become champion where all rules hold. With a champion in place a paired comparison of the two is part of the
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
from training.evaluation.leakage import BOUNDS, FILLED, MOVED, TELLING, VISIBLE
from training.evaluation.name_invariance import BOUND as NAME_SWAP_BOUND
from training.evaluation.verdict import FEW_POSITIVES, percent

MARGIN = 0.02
"""How much precision or recall at capacity may be lost to the champion, at the lower end of the 95 % interval."""
CALIBRATION_SHARE = 1.0
"""Largest calibration error, as a share of the rate of finds; refused where even the lower end of its 95 % interval
is above, since with few finds the error itself is known to a factor only."""
CALIBRATION_FACTOR = 3.0
"""So many times the finds there were the scores may promise, or as many times too few; refused where the whole interval
lies beyond."""
SLICE_FINDS = 10
"""Fewest finds of a slice that is judged by itself."""
SLICE_DROP = 0.2
"""How far below the lower end of the whole the ROC area of a slice may lie with its whole interval; never below chance."""
SLICE_MARGIN = 0.05
"""How much of its ROC area a slice may lose to the champion with its whole interval."""
UNKNOWN = float("nan")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
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
class Evidence:
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
    comparison : Compared or None
        With that champion; None where there was none.
    """

    bundle: Bundle | None
    refusal: str
    registered_sha256: str
    metrics: Mapping[str, float]
    looks: Mapping[str, Row] = field(default_factory=dict)
    slices: Sequence[Row] = ()
    goes_back: bool = False
    champion: str | None = None
    comparison: Compared | None = None

    def metric(self, name: str) -> float:
        """Give a metric of the training run, NaN where it has none."""
        return self.metrics.get(name, UNKNOWN)


@dataclass(frozen=True)
class Finding:
    """What one rule found.

    Attributes
    ----------
    held : bool
    found, expected : str
    """

    held: bool
    found: str
    expected: str


Rule = Callable[[Evidence], Finding]


def _sums_hold(evidence: Evidence) -> Finding:
    bundle = evidence.bundle
    expected = f"the bundle that was registered, {evidence.registered_sha256[:12]}, byte for byte"
    if bundle is None:
        return Finding(False, evidence.refusal, expected)
    found = "all files as in its manifest"
    if bundle.sha256 != evidence.registered_sha256:
        return Finding(False, f"another bundle, {bundle.sha256[:12]}", expected)
    return Finding(True, found, expected)


def _self_test_passes(evidence: Evidence) -> Finding:
    expected = "its examples scored as when it was made, bit for bit"
    assert evidence.bundle is not None
    try:
        evidence.bundle.self_test()
    except BundleRefused as error:
        return Finding(False, str(error), expected)
    return Finding(True, f"{len(evidence.bundle.examples.X)} examples scored bit for bit", expected)


def _reasons_are_given(evidence: Evidence) -> Finding:
    assert evidence.bundle is not None
    examples = evidence.bundle.examples
    best = int(np.argmax(examples.probability))
    reasons = len(evidence.bundle.model.explain(examples.X[best], 3))
    return Finding(reasons > 0, f"{reasons} reasons", "a reason for the highest score of its examples")


def _no_leak(look: str, found: str, expected: str) -> Rule:
    """Make the rule that a look of `training.evaluation.leakage` stays within its bound.

    Parameters
    ----------
    look : str
    found, expected : str
        Templates of what is said, with `found`, `bound`, `rows` and `where`.
    """

    def rule(evidence: Evidence) -> Finding:
        row = evidence.looks.get(look, {})
        value, bound = _number(row.get("found")), BOUNDS[look]
        told = {"found": value, "bound": bound, "rows": row.get("rows", 0), "where": row.get("where", "")}
        unknown = f"unknown, {told['where'] or 'not looked for'}"
        said = (found.format(**told) if math.isfinite(value) else unknown, expected.format(**told))
        return Finding(value <= bound, *(text.replace("%", " %") for text in said))

    return rule


def _ranks_better_than_chance(evidence: Evidence) -> Finding:
    low = evidence.metric("test/roc_auc_low")
    return Finding(
        low > 0.5,
        f"area under the ROC curve {_range(evidence.metrics, 'test/roc_auc', '.3f')}",
        "the whole interval above 0.5 on the test period",
    )


def _finds_more_than_rules(evidence: Evidence) -> Finding:
    mine = evidence.metric("test/average_precision")
    rules = evidence.metrics.get("baseline/rules/average_precision", 0.0)
    return Finding(
        mine > rules,
        f"average precision {mine:.4f}, that of the rules {rules:.4f}",
        "above that of the fixed rules",
    )


def _is_calibrated(evidence: Evidence) -> Finding:
    low, bound = (
        evidence.metric("test/calibration_error_low"),
        CALIBRATION_SHARE * rate_of_finds(evidence.metrics),
    )
    of = dict(_calibrations(evidence))
    wrong = [name for name, row in of.items() if _beyond(row)]
    told = [_times(of[name]) + name for name in dict.fromkeys(["", *wrong])]
    return Finding(
        low <= bound and not wrong,
        "; ".join([*told, f"mean gap of score and rate at least {percent(low, '.2%')}"]),
        f"between a third of the finds and three times as many, in all and by channel, and a gap of at most {percent(bound, '.2%')}, the "
        "rate of finds",
    )


def _calibrations(evidence: Evidence) -> Iterator[tuple[str, Row]]:
    """Give finds promised over finds made, with the interval: of all traffic, and of each channel with enough finds."""
    yield (
        "",
        {
            f"calibration_ratio{end}": evidence.metric(f"test/calibration_ratio{end}")
            for end in ("", "_low", "_high")
        },
    )
    for row in _judged_slices(evidence.slices):
        if row["kind"] == "channel":
            yield f" in channel {row['value']}", row


def _beyond(row: Row) -> bool:
    low, high = _number(row.get("calibration_ratio_low")), _number(row.get("calibration_ratio_high"))
    return low > CALIBRATION_FACTOR or high < 1 / CALIBRATION_FACTOR


def _times(row: Row) -> str:
    value, low, high = (_number(row.get(f"calibration_ratio{end}")) for end in ("", "_low", "_high"))
    return f"the scores promise {value:.3g} times the finds there were ({low:.3g} to {high:.3g})"


def _no_slice_collapses(evidence: Evidence) -> Finding:
    bound = max(0.5, evidence.metric("test/roc_auc_low") - SLICE_DROP)
    judged = list(_judged_slices(evidence.slices))
    fallen = [row for row in judged if _number(row.get("roc_auc_high")) < bound]
    told = "; ".join(
        f"{row['kind']} {row['value']}: area {_number(row['roc_auc']):.3f}, at most {_number(row['roc_auc_high']):.3f}, "
        f"on {row['positive']} finds"
        for row in fallen
    )
    return Finding(
        not fallen,
        told or f"{len(judged)} slices looked at, none",
        f"no slice of {SLICE_FINDS} finds or more whose area under the ROC curve is sure to be below {bound:.3f}",
    )


def _judged_slices(slices: Sequence[Row]) -> Iterator[Row]:
    return (row for row in slices if _number(row.get("positive")) >= SLICE_FINDS)


def _minds_no_names(evidence: Evidence) -> Finding:
    move = evidence.metric("test/name_swap_95pct")
    return Finding(
        move <= NAME_SWAP_BOUND,
        f"95 % of scores moved by up to {move:.4f} in log-odds",
        f"at most {NAME_SWAP_BOUND} where names are swapped for those of another language",
    )


def _is_compared(evidence: Evidence) -> Finding:
    found = "no comparison" if evidence.comparison is None else "compared"
    return Finding(
        evidence.comparison is not None,
        f"{found} with version {evidence.champion}, the champion",
        f"a run of npsrisk compare {evidence.champion} with this version",
    )


def _compares_the_unseen(evidence: Evidence) -> Finding:
    assert evidence.comparison is not None
    assert evidence.bundle is not None
    begins, unseen = evidence.comparison.begins, evidence.bundle.unseen_from
    return Finding(
        begins >= unseen,
        f"compared on arrivals from {begins:%Y-%m-%d} on",
        f"only arrivals from {unseen:%Y-%m-%d} on, of which the model has learnt nothing",
    )


def _finds_enough_to_tell(evidence: Evidence) -> Finding:
    assert evidence.comparison is not None
    finds = evidence.comparison.metrics.get("compared/finds", UNKNOWN)
    return Finding(
        finds >= FEW_POSITIVES,
        f"{finds:.0f} finds compared",
        f"at least {FEW_POSITIVES}: with fewer, better and luckier look the same",
    )


def _keeps(metric: str, name: str) -> Rule:
    def rule(evidence: Evidence) -> Finding:
        assert evidence.comparison is not None
        metrics = evidence.comparison.metrics
        points = {
            end: 100 * metrics.get(f"difference/{metric}{end}", UNKNOWN) for end in ("", "_low", "_high")
        }
        return Finding(
            points["_low"] >= -100 * MARGIN,
            f"{name} {_range(points, '', '+.1f')} percentage points against the champion",
            f"the lower end at {-100 * MARGIN:.0f} points or above: no more than that lost, for sure",
        )

    return rule


def _no_slice_is_lost(evidence: Evidence) -> Finding:
    assert evidence.comparison is not None
    judged = list(_judged_slices(evidence.comparison.slices))
    lost = [row for row in judged if _number(row.get("high")) < -SLICE_MARGIN]
    told = "; ".join(
        f"{row['kind']} {row['value']}: area {_number(row['difference']):+.3f} "
        f"({_number(row['low']):+.3f} to {_number(row['high']):+.3f}), on {row['positive']} finds"
        for row in lost
    )
    return Finding(
        not lost,
        told or f"{len(judged)} slices looked at, none",
        f"no slice of {SLICE_FINDS} finds or more that is sure to lose {SLICE_MARGIN} of its area under the ROC curve",
    )


OF_THE_BUNDLE: dict[str, Rule] = {
    "self-test passed": _self_test_passes,
    "reasons present": _reasons_are_given,
}
OF_THE_RUN: dict[str, Rule] = {
    "nothing from later": _no_leak(
        MOVED,
        "{found:.1%} of {rows:,} test consignments get other features from tables that end at their moment ({where})",
        "the same bits: nothing that came later may be seen",
    ),
    "results after arrivals": _no_leak(
        VISIBLE,
        "{found:.1%} of {rows:,} results are dated as known when their consignment came, or before",
        "at most {bound:.0%}: known_at is when the result was known, not when the consignment came",
    ),
    "no column is the result": _no_leak(
        TELLING,
        "the most telling column alone, {where}: area under the ROC curve at least {found:.3f}",
        "at most {bound}: what tells finds so well by itself was filled in afterwards",
    ),
    "no column tells who was opened": _no_leak(
        FILLED,
        "a value is there for the opened and lacks for others, or the reverse: {found:.0%} apart at least ({where})",
        "at most {bound:.0%}: what only the opened have was filled in at the opening",
    ),
    "better than chance": _ranks_better_than_chance,
    "better than rules": _finds_more_than_rules,
    "calibrated": _is_calibrated,
    "no slice collapsed": _no_slice_collapses,
    "names do not matter": _minds_no_names,
}
AGAINST_CHAMPION: dict[str, Rule] = {
    "compared on the unseen": _compares_the_unseen,
    "enough finds": _finds_enough_to_tell,
    "precision at 1 % kept": _keeps("precision_at_1pct", "precision at 1 %"),
    "recall at 1 % kept": _keeps("recall_at_1pct", "recall at 1 %"),
    "precision at capacity kept": _keeps("precision_at_capacity", "precision at capacity"),
    "recall at capacity kept": _keeps("recall_at_capacity", "recall at capacity"),
    "no slice lost": _no_slice_is_lost,
}
"""Rules where a champion is to be replaced and a comparison with it is there."""
SUMS, COMPARED = "sums verified", "compared with the champion"
BEYOND_FORCE = frozenset({SUMS, *OF_THE_BUNDLE} - {"reasons present"})
"""Rules that nobody can overrule."""


def run_gate(evidence: Evidence) -> dict[str, Finding]:
    """Run every rule that applies; of an altered bundle nothing else is worth looking at."""
    sums = {SUMS: _sums_hold(evidence)}
    if not sums[SUMS].held:
        return sums
    rules = OF_THE_BUNDLE if evidence.goes_back else OF_THE_BUNDLE | OF_THE_RUN
    if evidence.champion is not None and not evidence.goes_back:
        rules = rules | {COMPARED: _is_compared} | ({} if evidence.comparison is None else AGAINST_CHAMPION)
    return sums | {name: rule(evidence) for name, rule in rules.items()}


def rate_of_finds(metrics: Mapping[str, float]) -> float:
    """Give the rate of finds in all traffic, which precision and recall at 10 % imply."""
    precision, recall = (metrics.get(f"test/{name}_at_10pct", UNKNOWN) for name in ("precision", "recall"))
    return 0.1 * precision / recall if recall > 0 else UNKNOWN


def _range(metrics: Mapping[str, float], name: str, form: str) -> str:
    value, low, high = (metrics.get(f"{name}{end}", UNKNOWN) for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "unknown"
    known = math.isfinite(low) and math.isfinite(high)
    return (
        f"{value:{form}} ({low:{form}} to {high:{form}})"
        if known
        else f"{value:{form}}, its interval unknown"
    )


def _number(value: Any) -> float:
    return UNKNOWN if value is None else float(value)
