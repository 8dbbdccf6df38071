"""Recommendation for the reviewer: promote, wait or refuse, with the three facts that decide.

The gate has the hard limits. The recommendation also reads how certain its evidence is: a rule that does not hold only because
too few positives are known asks to wait, any other one to refuse. A model that may be no better than the champion is promoted only
if it has learnt from newer results: else another seed of the same recipe would replace the champion by luck.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from models.formats import format_number
from training.evaluation.estimate import Estimate
from training.evaluation.verdict import MIN_POSITIVES, format_percent_range
from training.gate.rules import (
    COMPARISON_RULE,
    MAX_CALIBRATION_FACTOR,
    NON_INFERIORITY_MARGIN,
    RuleResult,
)

Action = Literal["promote", "wait", "refuse"]
TARGET_DIFFERENCE = 0.05
"""Difference of recall at 1 % of traffic that should be distinguishable from zero: five percentage points."""
MIN_NEWER_DAYS = 14
"""Days of newer results from which a model that is not worse than the champion is worth a promotion: about one label delay."""
MAX_USEFUL_WAIT = 10
"""A wait for more than this multiple of the known positives is not proposed (a choice)."""
NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)
DIFFERENCE_ROW, CALIBRATION_ROW = "difference of recall at 1 %", "calibration ratio"
FACT_COLUMNS = ("fact", "value", "low", "high", "compared_with", "positives", "judged_by")
MORE_POSITIVES_FORMULA = (
    "positives needed = positives known × (half the width of the interval / 5 points)². "
    "The width of an interval falls with the square root of the number of positives."
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class DecidingFacts:
    """The measured facts that decide, in addition to the rules of the gate.

    Attributes
    ----------
    difference : Estimate
        Recall at 1 % of traffic minus that of `rival`, a difference of shares.
    rival : str
        What it is compared with: the champion, or the strongest baseline.
    is_champion : bool
        True if `rival` is the champion.
    positives : int
        Number of positives that the difference rests on.
    calibration : Estimate
        Predicted over observed positives.
    judged_by : str
        Source of the labels, `RESULTS_SOURCE` or `TRUTH_SOURCE`.
    newer_days : int
        Days by which the results that the model has learnt are newer than those of the champion; 0 if there is none, or if unknown.
    """

    difference: Estimate
    rival: str
    is_champion: bool
    positives: int
    calibration: Estimate
    judged_by: str
    newer_days: int = 0

    @property
    def is_proven_better(self) -> bool:
        """True if the entire interval of the difference is above zero."""
        return self.difference.sign > 0

    @property
    def is_newer(self) -> bool:
        """True if the model has learnt from results that are newer than those of the champion by `MIN_NEWER_DAYS`."""
        return self.is_champion and self.newer_days >= MIN_NEWER_DAYS

    @property
    def is_miscalibrated(self) -> bool:
        """True if the entire interval of the calibration ratio is beyond the limit of the gate."""
        ratio = self.calibration
        return ratio.low > MAX_CALIBRATION_FACTOR or ratio.high < 1 / MAX_CALIBRATION_FACTOR

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the facts as rows of a table with `FACT_COLUMNS`."""
        rows = []
        for name, estimate in ((DIFFERENCE_ROW, self.difference), (CALIBRATION_ROW, self.calibration)):
            values = (estimate.value, estimate.low, estimate.high)
            rival = self.rival if name == DIFFERENCE_ROW else ""
            rows.append(
                dict(zip(FACT_COLUMNS, (name, *values, rival, self.positives, self.judged_by), strict=True))
            )
        return rows


@dataclass(frozen=True)
class Recommendation:
    """Recommended action for a version.

    Attributes
    ----------
    action : {"promote", "wait", "refuse"}
    sentence : str
        What to do, and why.
    facts : tuple of str
        The three facts that decide: the difference, the calibration, and the gate.
    more_positives : int or None
        About how many more positives are needed until a difference of five points can be distinguished, or until the gate can
        decide if it already can; None if it is unknown.
    """

    action: Action
    sentence: str
    facts: tuple[str, str, str]
    more_positives: int | None = None

    def to_markdown(self) -> str:
        """Describe the recommendation in Markdown."""
        return "\n".join(
            [f"**{self.action.upper()}.** {self.sentence}", "", *(f"- {fact}" for fact in self.facts)]
        )


def read_facts(rows: Sequence[Row]) -> DecidingFacts | None:
    """Read the facts of a training run from its table; return None if the run is older than this table."""
    found = {str(row["fact"]): row for row in rows}
    if not {DIFFERENCE_ROW, CALIBRATION_ROW} <= found.keys():
        return None
    row = found[DIFFERENCE_ROW]
    return DecidingFacts(
        difference=_read_estimate(row),
        rival=str(row["compared_with"]),
        is_champion=False,
        positives=int(row["positives"]),
        calibration=_read_estimate(found[CALIBRATION_ROW]),
        judged_by=str(row["judged_by"]),
    )


def recommend(rules: Mapping[str, RuleResult], facts: DecidingFacts) -> Recommendation:
    """Choose what to do with a version.

    Parameters
    ----------
    rules : mapping
        Every rule of the gate with its result.
    facts : DecidingFacts

    Returns
    -------
    Recommendation
        `refuse` if a rule does not hold for certain, if the model is worse, or if its calibration is wrong by more than a
        factor of three; `wait` if too little is known, or if it may be no better and has learnt from no newer results than the
        champion; else `promote`.
    """
    broken = {name: rule for name, rule in rules.items() if rule.held is False}
    certain = [name for name, rule in broken.items() if not rule.undecided]
    texts = (_describe_difference(facts), _describe_calibration(facts), _describe_gate(rules))
    if certain or facts.is_miscalibrated or (not facts.is_champion and facts.difference.sign < 0):
        return Recommendation("refuse", _explain_refusal(certain, facts), texts)
    if COMPARISON_RULE in broken:
        sentence = "First compare it with the champion, on the same consignments (npsrisk compare). Then read the recommendation again."
        return Recommendation("wait", sentence, texts)
    undecided = bool(broken) or facts.positives < MIN_POSITIVES
    if undecided or not (facts.is_proven_better or facts.is_newer):
        sentence, more = _explain_wait(facts)
        return Recommendation("wait", sentence, texts, more)
    return Recommendation("promote", _explain_promotion(facts), texts)


def estimate_more_positives(
    difference: Estimate, positives: int, target: float = TARGET_DIFFERENCE
) -> int | None:
    """Estimate how many more positives are needed to distinguish a difference, of five points by default, from zero.

    The standard error falls with the square root of the number of positives n. The interval excludes zero at a difference d
    if its half width h is below d, so about n (h / d)² positives are needed.

    Parameters
    ----------
    difference : Estimate
        A difference of shares with its 95 % interval.
    positives : int
        Number of positives that it rests on.
    target : float
        The difference d, a share.

    Returns
    -------
    int or None
        Rounded up to two significant digits, and at least what is missing to the minimum of the gate; None if the interval is unknown.

    Examples
    --------
    >>> estimate_more_positives(Estimate(0.02, -0.08, 0.12), 40)
    120
    >>> estimate_more_positives(Estimate(0.02, -0.01, 0.05), 40)
    0
    """
    half = (difference.high - difference.low) / 2
    if not math.isfinite(half) or positives == 0:
        return None
    more = max(positives * (half / target) ** 2 - positives, MIN_POSITIVES - positives, 0.0)
    digit = 10 ** max(0, math.floor(math.log10(more)) - 1) if more > 0 else 1
    return math.ceil(round(more / digit, 6)) * digit


def _explain_promotion(facts: DecidingFacts) -> str:
    if facts.is_proven_better:
        return f"Every checked rule of the gate holds, and the model is better than {facts.rival}."
    return (
        f"Every checked rule of the gate holds, and the model is not worse than {facts.rival} by more than the gate allows. "
        f"An improvement is not proven, but the model has learnt from results that are {facts.newer_days} days newer."
    )


def _explain_wait(facts: DecidingFacts) -> tuple[str, int | None]:
    """Return what to wait for, and about how many positives that is."""
    known = f"{facts.positives:,} positive{'' if facts.positives == 1 else 's'}"
    more = estimate_more_positives(facts.difference, facts.positives)
    if more is None:
        return f"Too few positives are known ({known}) to estimate how many more are needed.", None
    if more:
        return (
            f"Wait for about {more:,} more positives. A difference of five points at 1 % of traffic can then be distinguished; "
            f"with {known} it cannot."
        ), more
    more = estimate_more_positives(facts.difference, facts.positives, NON_INFERIORITY_MARGIN)
    if facts.is_champion and facts.difference.low < -NON_INFERIORITY_MARGIN and more:
        return (
            f"With {known}, a difference of five points at 1 % of traffic would show, and none does. Wait for about {more:,} more positives "
            "to see if the model stays within the two points that the gate allows."
        ), more
    if facts.is_champion and not facts.is_proven_better:
        return _explain_chance(facts, known)
    return (
        f"With {known}, a difference of five points at 1 % of traffic would show, and none does. More positives alone will hardly "
        "decide. Improve the model or its data."
    ), 0


def _explain_chance(facts: DecidingFacts, known: str) -> tuple[str, int | None]:
    """Return that a difference from the champion may be chance, and about how many positives would decide."""
    gain = facts.difference
    text = (
        f"With {known}, chance can explain the difference from {facts.rival}: of 100 positives the model would detect from "
        f"{_count_detections(gain.low)} to {_count_detections(gain.high)}. It has learnt from no newer results. "
    )
    more = estimate_more_positives(gain, facts.positives, gain.value) if gain.value > 0 else None
    if not more or more > MAX_USEFUL_WAIT * facts.positives:
        return f"{text}Keep the champion, or train again on newer results.", None
    return (
        f"{text}Keep the champion, and wait for about {more:,} more positives: a difference of this size can then be distinguished.",
        more,
    )


def _count_detections(difference: float) -> str:
    """Return a difference of recall as detections per 100 positives."""
    if difference == 0:
        return "as many"
    return f"{100 * abs(difference):.2g} {'more' if difference > 0 else 'fewer'}"


def _explain_refusal(certain: Sequence[str], facts: DecidingFacts) -> str:
    causes = [f"the gate does not hold ({', '.join(certain)})"] if certain else []
    if facts.is_miscalibrated:
        causes.append(
            "the scores are not probabilities: their calibration is wrong by more than a factor of three"
        )
    if not facts.is_champion and facts.difference.sign < 0:
        causes.append(f"the model is worse than {facts.rival}")
    text = "; ".join(causes)
    return f"{text[0].upper()}{text[1:]}. Correct the model or its data, and train again."


def _describe_difference(facts: DecidingFacts) -> str:
    if not facts.difference.has_interval:
        return f"Recall at 1 % of traffic compared with {facts.rival}: unknown."
    known = f"{facts.positives:,} positive{'' if facts.positives == 1 else 's'}"
    words = {1: "better", 0: "no significant difference", -1: "worse"}[facts.difference.sign]
    return (
        f"Recall at 1 % of traffic compared with {facts.rival}: {format_percent_range(facts.difference)}, on {known}, "
        f"by {facts.judged_by}: {words}."
    )


def _describe_calibration(facts: DecidingFacts) -> str:
    ratio = facts.calibration
    if not math.isfinite(ratio.value):
        return "Calibration: unknown."
    value, low, high = (format_number(each) for each in (ratio.value, ratio.low, ratio.high))
    text = f"Calibration: predicted positives are {value} times the observed ones ({low} to {high}), by {facts.judged_by}"
    if facts.is_miscalibrated:
        return f"{text}. Do not read a score as a probability."
    is_off = ratio.low > 1 or ratio.high < 1
    return f"{text}. Scores are too {'high' if ratio.value > 1 else 'low'}." if is_off else f"{text}."


def _describe_gate(rules: Mapping[str, RuleResult]) -> str:
    held = sum(rule.held is True for rule in rules.values())
    parts = [f"Gate: {held} of {len(rules)} rules hold"]
    for title, names in (
        (
            "does not hold",
            [name for name, rule in rules.items() if rule.held is False and not rule.undecided],
        ),
        (
            "undecided, too little is known",
            [name for name, rule in rules.items() if rule.held is False and rule.undecided],
        ),
        ("not checked", [name for name, rule in rules.items() if rule.held is None]),
    ):
        if names:
            parts.append(f"{title}: {', '.join(names)}")
    return "; ".join(parts) + "."


def _read_estimate(row: Row) -> Estimate:
    return Estimate(
        *(math.nan if row.get(end) is None else float(row[end]) for end in ("value", "low", "high"))
    )
