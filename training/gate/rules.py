"""Promotion gate: all rules, each checked on evidence, with what was found and expected (`rules.toml`)."""

import math
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import numpy as np

from consignments.errors import BundleRefused
from consignments.records import Target
from models.arrays import Row
from models.bundle import Bundle
from models.formats import format_count, format_number, format_percent, round_significant
from models.promotion_record import DeployedFigures, Figure, name_result
from training.config import MAX_ORIGINS, EvaluationConfig
from training.evaluation.difference import MEASURE_TITLES, MEASURES, describe_gain, state_difference
from training.evaluation.estimate import Estimate, describe_estimate
from training.evaluation.leakage import BOUNDS, FILLED_COLUMN, PREDICTIVE_COLUMN
from training.evaluation.metrics import (
    CALIBRATION_RATIO,
    LOGGED_METRICS,
    PRIMARY_MEASURE,
    Evaluation,
    PairedEvaluation,
    describe_counts,
)
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE, find_worst_move
from training.evaluation.stored_scores import (
    BASELINE,
    PROBABILITY,
    RULES,
    RecipeEvaluation,
    StoredScores,
    evaluate_recipe,
)
from training.gate.ways import Candidate, FindPace, Way, find_refit_obstacle, find_way


@dataclass(frozen=True)
class RunFigures:
    """Figures of a training run: the recipe, the recipe against the fixed rules (`a`), leakage checks by name, and the effect of names."""

    recipe: RecipeEvaluation
    against_rules: PairedEvaluation
    pace: FindPace
    looks: Mapping[str, Row]
    name_swap: float


def compute_run_figures(
    stored: StoredScores,
    config: EvaluationConfig,
    leaks: Iterable[Row],
    name_swaps: Iterable[dict[str, Any]],
    split: Iterable[Row],
    recipe: RecipeEvaluation | None = None,
) -> RunFigures:
    """Compute the figures of the deployed recipe from its stored scores, with the settings of its run."""
    looks = {str(row["look"]): row for row in leaks}
    calibrated = stored.frame.groupby("window")[PROBABILITY].count() > 0
    weeks, windows = stored.frame["day"].nunique() / 7, len(calibrated)
    rate = float(stored.frame["positive"].sum()) / weeks
    train, _, test = split
    times = train["arrivals_from"], test["arrivals_from"], test["arrivals_before"]
    begins, tested, ends = map(datetime.fromisoformat, times)
    reach = min(math.ceil((tested - begins) / (ends - tested)), MAX_ORIGINS)
    pace = FindPace(rate, weeks / windows, windows, int(calibrated.sum()), config.origins, reach)
    rules, recipe = stored.compare(config, base=BASELINE + RULES), recipe or evaluate_recipe(stored, config)
    return RunFigures(recipe, rules, pace, looks, find_worst_move(name_swaps))


def build_deployed_figures(model: Evaluation) -> DeployedFigures:
    """Build the figures of the promotion record, with three significant digits."""
    shorten = partial(round_significant, digits=3)
    return DeployedFigures(
        arrivals=model.arrivals.describe(),
        daily_capacity=model.daily_capacity,
        known=model.counts.known,
        effective=shorten(model.counts.effective),
        found={name: shorten(found) for name, found in model.counts.found.items()},
        metrics={
            name: Figure(shorten(found.value), shorten(found.low), shorten(found.high))
            if (found := model[name]).is_shown
            else Figure(None, reason=found.explain_missing())
            for name in LOGGED_METRICS
            if not name.endswith("_0.1pct")
        },
    )


MAX_CALIBRATION_FACTOR = 3.0
"""Maximum ratio of predicted to observed positives, and of observed to predicted; only an entire interval beyond it fails."""
MIN_SLICE_POSITIVES = 10  # minimum positives of a slice that is evaluated separately
MAX_SLICE_DROP = 0.2
"""Maximum distance of a slice's entire ROC area interval below the lower end of all traffic; 0.5 is always the minimum."""
MAX_SLICE_LOSS = 0.05  # maximum loss of a slice's ROC area against the champion, for the entire interval

ScoreKind = Literal["final", "evaluation", "decisions", "stored scores", "refitted recipe"]
SOURCE_TEXTS: dict[ScoreKind, str] = {
    "final": "its final fit, which is served",
    "evaluation": "its evaluation fit, without the last weeks",
    "decisions": "the decisions of the service",
    "stored scores": "the stored scores of its training run, by fits at earlier dates on the weeks after each",
    "refitted recipe": "its recipe, fitted again on the features of today at earlier dates, on the weeks after each",
}


class RuleResult(NamedTuple):
    """Result of a rule: `held` is None if it was not checked, and `undecided` says that only too little is known yet."""

    held: bool | None
    found: str
    expected: str = ""
    undecided: bool = False

    @property
    def name(self) -> str:
        """The result in words."""
        return name_result(self.held, undecided=self.undecided)


def build_unchecked(reason: str) -> RuleResult:
    """Build the result of a rule that asks for a demonstrable fault, and for which nothing is known."""
    return RuleResult(None, f"could not be checked: {reason}. It does not stand against a promotion")


WITHOUT_TABLES = RuleResult(None, "not repeated: gate and promote do this with its tables")
UNSIGNED = RuleResult(None, "the training run has no valid signature: the evidence is not signed")
NOT_COMPARED = RuleResult(None, "no comparison")


class ScoreSource(NamedTuple):
    """Origin of the scores of one side of a comparison; without `unseen_from` they are out of time by construction."""

    kind: ScoreKind
    unseen_from: datetime | None = None
    learnt_until: str = ""
    positives: int | None = None

    @classmethod
    def from_fit(cls, fit: Bundle) -> "ScoreSource":
        """Describe a fit by its card."""
        return cls(fit.card.fit, fit.unseen_from, fit.card.learnt_until[:10], fit.card.positives)

    def describe(self) -> str:
        """Describe the origin in words."""
        if self.unseen_from is None:
            return SOURCE_TEXTS[self.kind]
        first = f"{self.unseen_from:%Y-%m-%d}"
        learnt = f"trained on arrivals before {self.learnt_until or first}"
        if self.positives is not None:
            learnt += f" ({format_count(self.positives, 'positive')})"
        unseen = "" if self.learnt_until in ("", first) else f", not on any from {first} on"
        return f"{SOURCE_TEXTS[self.kind]}, {learnt}{unseen}"


def describe_sources(sources: tuple[ScoreSource, ScoreSource], a: str, b: str) -> str:
    """Describe what scores each side of a comparison."""
    return " ".join(f"Scores of {side}: {of.describe()}." for side, of in zip((a, b), sources, strict=True))


def warn_of_unequal_fits(sources: tuple[ScoreSource, ScoreSource], a: str, b: str) -> str:
    """Return a warning if one of the compared fits learnt from less than half of the positives of the other; else nothing."""
    one, other = (source.positives for source in sources)
    if one is None or other is None or 2 * min(one, other) >= max(one, other):
        return ""
    return (
        f"The compared fit of {a} was trained on {format_count(one, 'positive')}, that of {b} on {other:,}. "
        "So the difference may come from the number of results, and not from the model."
    )


def describe_deployed(
    pair: PairedEvaluation, deployed: PairedEvaluation | None, target: Target, a: str, b: str
) -> str:
    """Return how the recipes as deployed differ, on the weeks that both reports have; empty if they were not compared."""
    if deployed is None:
        return ""
    gain, own = deployed.gains[PRIMARY_MEASURE], pair.gains[PRIMARY_MEASURE]
    counts = describe_counts({a: deployed.a, b: deployed.b}, target)
    difference = state_difference(gain, a, b, " from the reports")
    decides = "The gate decides by the compared fits, which lack the results of the last weeks."
    if gain.is_shown and not own.is_shown:
        decides = "The gate decides by the compared fits alone, so this does not decide."
    return f"On the weeks that both reports have, ranked by themselves, the recipes as deployed: {counts} {difference} {decides}"


@dataclass(frozen=True)
class ChampionComparison:
    """Comparison with the champion (`pair.a`)."""

    run_id: str  # empty if not logged yet
    pair: PairedEvaluation
    begins: datetime  # of its arrivals
    sources: tuple[ScoreSource, ScoreSource]
    verified: RuleResult  # who vouches for its scores
    later_unsigned: int = 0  # comparisons that do not count, because only this one is signed
    deployed: PairedEvaluation | None = None  # both recipes as deployed, if evaluation fits are compared
    level: str = ""  # how the level of the served scores changes


@dataclass(frozen=True)
class GateEvidence:
    """Evidence for the rules. Without a bundle `refusal` says why; `goes_back` is true for a version that is or was champion."""

    target: Target
    bundle: Bundle | None
    refusal: str
    registered_sha256: str
    figures: RunFigures | None = None
    verified: RuleResult = UNSIGNED
    refit: RuleResult = WITHOUT_TABLES
    goes_back: bool = False
    is_champion: bool = False
    candidate: Candidate | None = None
    comparison: ChampionComparison | None = None

    def require_bundle(self) -> Bundle:
        """Return the bundle, which every rule but that of its checksums needs."""
        assert self.bundle is not None
        return self.bundle

    def find_way(self) -> Way | None:
        """Find the way by which the version may replace the champion; None if it was not compared with one."""
        if self.candidate is None or self.comparison is None:
            return None
        return find_way(self.candidate, self.comparison.pair, self.refit.held)

    @property
    def may_be_refit(self) -> bool:
        """True if it is a routine refit of the champion, or its training only has to be repeated."""
        return self.candidate is not None and not find_refit_obstacle(self.candidate, self.refit.held)


def _check_self_test(bundle: Bundle) -> RuleResult:
    try:
        bundle.run_self_test()
    except BundleRefused as error:
        return RuleResult(False, str(error))
    return RuleResult(True, f"{len(bundle.examples.X)} examples scored bit for bit")


def _check_reasons(bundle: Bundle) -> RuleResult:
    best = int(np.argmax(bundle.examples.probability))
    reasons = len(bundle.model.explain(bundle.examples.X[best], 3))
    return RuleResult(reasons > 0, f"reasons: {reasons}")


def _check_verified(evidence: GateEvidence) -> RuleResult:
    """Combine who vouches for the run and for the comparison: the weaker of the two counts."""
    checks = [evidence.verified] + ([] if evidence.comparison is None else [evidence.comparison.verified])
    held = False if any(each.held is False for each in checks) else all(each.held for each in checks) or None
    shown = dict.fromkeys(each.found for each in checks if held or not each.held)
    return RuleResult(held, "; ".join(shown))


def _check_leak(figures: RunFigures, check: str, template: str) -> RuleResult:
    row, area = figures.looks.get(check, {}), figures.recipe.model["roc_auc"]
    value = _to_float(row.get("found"))
    if check == PREDICTIVE_COLUMN and value <= BOUNDS[check] and not area.is_shown:
        return RuleResult(False, area.explain_missing(), undecided=True)
    if check == FILLED_COLUMN and row and not row.get("where"):
        return build_unchecked("no channel has both inspected and other consignments")
    if check == FILLED_COLUMN and value == 0.0:
        return RuleResult(True, "no column is demonstrably filled more or less often if inspected")
    if math.isfinite(value):
        texts = {**row, "found": value, "share": format_percent(value), "points": format_number(100 * value)}
        return RuleResult(value <= BOUNDS[check], template.format(**texts))
    reason = str(row.get("where", ""))
    return RuleResult(False, f"no figure: {reason or 'the run did not check it'}", undecided=bool(reason))


def _check_better_than_chance(figures: RunFigures) -> RuleResult:
    area = figures.recipe.model["roc_auc"]
    found = describe_estimate(area, format_number)
    if not area.is_shown:
        return RuleResult(False, found, undecided=True)
    found = f"area under the ROC curve {found}"
    return RuleResult(area.low > 0.5, found, undecided=area.low <= 0.5 < area.high)


def _check_not_worse(pair: PairedEvaluation) -> RuleResult:
    """Check that no measure is worse with its whole interval; it holds if that of the measure that decides is known, and says which are not."""
    shown = {name: describe_gain(name, pair.gains[name]) for name in MEASURES if pair.gains[name].is_shown}
    worse = [text for name, text in shown.items() if pair.gains[name].sign < 0]
    if worse:
        return RuleResult(False, "; ".join(worse))
    if PRIMARY_MEASURE not in shown:
        return build_unchecked(f"too few results, {pair.gains[PRIMARY_MEASURE].known or 0} known")
    found = "; ".join(shown.values())
    if missing := [title for name, title in MEASURE_TITLES.items() if name not in shown]:
        part = f"holds for {len(shown)} of {len(MEASURES)} measures: {found}"
        found = f"{part}; not measured: {', '.join(missing)} (too few results for a difference)"
    return RuleResult(True, found)


def _check_calibration(figures: RunFigures) -> RuleResult:
    model, ratio = figures.recipe.model, figures.recipe.model[CALIBRATION_RATIO]
    held = ratio.is_shown and not is_miscalibrated(ratio)
    return RuleResult(held, describe_calibration(model), undecided=not ratio.is_shown)


def _check_slices(figures: RunFigures) -> RuleResult:
    model, form = figures.recipe.model, "{roc_auc}, upper end {roc_auc_high}"
    bound = max(0.5, float(np.nan_to_num(model["roc_auc"].low)) - MAX_SLICE_DROP)
    return _check_each_slice(model.slices, "roc_auc_high", bound, form)


def _check_slice_losses(compared: ChampionComparison) -> RuleResult:
    form = "{difference} ({low} to {high})"
    return _check_each_slice(compared.pair.slices, "high", -MAX_SLICE_LOSS, form, sign="+")


def _check_each_slice(
    slices: Sequence[Row], end: str, bound: float, form: str, sign: Literal["", "+"] = ""
) -> RuleResult:
    """Check the slices that have enough positives and a shown interval, and name those whose upper end is below a bound."""
    large, beyond = [row for row in slices if _to_float(row["positive"]) >= MIN_SLICE_POSITIVES], []
    judged = [row for row in large if row.get("shown", True) and math.isfinite(_to_float(row[end]))]
    for row in judged:
        if _to_float(row[end]) < bound:
            texts = {name: format_number(each, sign) for name, each in row.items() if isinstance(each, float)}
            area = form.format(**texts)
            beyond.append(f"{row['kind']} {row['value']}: area {area}, {row['positive']} positives")
    if not judged:
        known = f"{MIN_SLICE_POSITIVES} known finds"
        return build_unchecked(f"no slice of {known} has an interval" if large else f"no slice has {known}")
    found = "; ".join(beyond) or f"slices checked: {len(judged)}, none beyond the limit"
    if left := [f"{row['kind']} {row['value']}" for row in large if row not in judged]:
        found += f"; too few results to check {', '.join(left)}"
    return RuleResult(not beyond, found)


def _check_name_invariance(figures: RunFigures) -> RuleResult:
    if math.isnan(figures.name_swap):
        return build_unchecked("the test traffic contains no personal name")
    found = f"95 % of scores change by at most {format_number(figures.name_swap)} log-odds"
    return RuleResult(figures.name_swap <= MAX_LOG_ODDS_CHANGE, found)


def _check_unseen_period(compared: ChampionComparison) -> RuleResult:
    """Check each side by the source of its scores: a fit must have learnt nothing of the compared arrivals."""
    seen = [each for each in compared.sources if each.unseen_from and compared.begins < each.unseen_from]
    first = f"arrivals from {compared.begins:%Y-%m-%d} on"
    scores = describe_sources(compared.sources, "the champion", "this version")
    return RuleResult(not seen, f"{first}. {scores}")


CHECKSUM_RULE, REFIT_RULE, VERIFIED_RULE = "checksums verified", "training reproduced", "figures verified"
COMPARISON_RULE, WAY_RULE = "compared with the champion", "better or a routine refit"
BUNDLE_CHECKS: dict[str, Callable[[Bundle], RuleResult]] = {
    "self-test passed": _check_self_test,
    "reasons present": _check_reasons,
}
RUN_CHECKS: dict[str, Callable[[RunFigures], RuleResult]] = {
    "better than chance": _check_better_than_chance,
    "not worse than the rules": lambda found: _check_not_worse(found.against_rules),
    "calibrated": _check_calibration,
    "no slice collapsed": _check_slices,
    "names have no effect": _check_name_invariance,
}
CHAMPION_CHECKS: dict[str, Callable[[ChampionComparison], RuleResult]] = {
    "compared on unseen data": _check_unseen_period,
    "not worse than the champion": lambda found: _check_not_worse(found.pair),
    "no slice lost": _check_slice_losses,
}
_CONTENT = files(__package__).joinpath("rules.toml").read_text("utf-8")
TABLES: dict[str, dict[str, dict[str, str]]] = tomllib.loads(_CONTENT)
BUNDLE_RULES, RUN_RULES, CHAMPION_RULES = (TABLES[name] for name in ("bundle", "run", "champion"))
EXPECTED = {CHECKSUM_RULE: "the registered bundle, byte for byte"} | {
    name: rule["expected"] for rules in TABLES.values() for name, rule in rules.items()
}
"""What each rule expects, in words."""
UNFORCEABLE_RULES = frozenset({CHECKSUM_RULE, REFIT_RULE, "self-test passed"})


def run_gate(evidence: GateEvidence) -> dict[str, RuleResult]:
    """Run every rule that applies; if the bundle was altered, only the first."""
    bundle, registered = evidence.bundle, evidence.registered_sha256
    if bundle is None or bundle.sha256 != registered:
        text = evidence.refusal if bundle is None else f"another bundle, {bundle.sha256[:12]}"
        return {CHECKSUM_RULE: RuleResult(False, text, EXPECTED[CHECKSUM_RULE])}
    text = f"all files of bundle {registered[:12]} match"
    found = {CHECKSUM_RULE: RuleResult(True, text, EXPECTED[CHECKSUM_RULE])}
    rules = BUNDLE_RULES | RUN_RULES
    if evidence.goes_back:
        repeated = {} if evidence.refit is WITHOUT_TABLES else {REFIT_RULE: RUN_RULES[REFIT_RULE]}
        rules = BUNDLE_RULES | repeated
    if evidence.candidate is not None and not evidence.goes_back:
        rules = rules | CHAMPION_RULES
    for name, rule in rules.items():
        found[name] = _check_rule(name, rule, evidence)._replace(expected=EXPECTED[name])
    way, candidate = evidence.find_way(), evidence.candidate
    if way and candidate and evidence.may_be_refit and (evidence.refit.held or not way.name):
        # What too few results leave open closes no way for a recipe in use, unless the champion broke the rule.
        for name in RUN_RULES.keys() - candidate.faults:
            if found[name].undecided:
                found[name] = found[name]._replace(held=None)
    return found


def _check_rule(name: str, rule: Mapping[str, str], evidence: GateEvidence) -> RuleResult:
    figures, compared, way = evidence.figures, evidence.comparison, evidence.find_way()
    if name in BUNDLE_CHECKS:
        return BUNDLE_CHECKS[name](evidence.require_bundle())
    if name == REFIT_RULE:
        return evidence.refit
    if name == VERIFIED_RULE:
        return _check_verified(evidence)
    if name == COMPARISON_RULE and evidence.candidate is not None:
        text = f"{'no comparison' if compared is None else 'compared'} with version {evidence.candidate.champion}, the champion"
        if compared is not None and (later := compared.later_unsigned):
            text += f"; {format_count(later, 'later comparison')} without a signature {'does' if later == 1 else 'do'} not count"
        return RuleResult(compared is not None, text, undecided=compared is None)
    if name in CHAMPION_RULES and (compared is None or way is None):
        return NOT_COMPARED
    if name == WAY_RULE and way is not None:
        return RuleResult(way.name != "", way.sentence, undecided=way.can_wait)
    if name in CHAMPION_CHECKS and compared is not None:
        return CHAMPION_CHECKS[name](compared)
    if figures is None:
        return RuleResult(False, f"there are no scores to compute it from: {evidence.verified.found}")
    if name in RUN_CHECKS:
        return RUN_CHECKS[name](figures)
    return _check_leak(figures, rule["check"], rule["found"])


def find_obstacles(rules: Mapping[str, RuleResult]) -> dict[str, RuleResult]:
    """Return the rules that stand against a promotion: those that do not hold, and figures for which nobody vouches."""
    return {
        name: rule
        for name, rule in rules.items()
        if rule.held is False or (name == VERIFIED_RULE and not rule.held)
    }


def describe_calibration(model: Evaluation) -> str:
    """Describe the calibration ratio with its interval."""
    ratio = model[CALIBRATION_RATIO]
    if not ratio.is_shown:
        partly = ", and only finds of weeks in which the scores could be calibrated count"
        unknown = f"the calibration is unknown, {ratio.explain_missing()}"
        return unknown if ratio.known == model.counts.known else unknown + partly
    value, low, high = map(format_number, (ratio.value, ratio.low, ratio.high))
    ratios = f"{value} times the observed ones ({low} to {high})"
    text = f"on {model.describe_calibrated()}, predicted positives of all traffic are {ratios}"
    if 1 / MAX_CALIBRATION_FACTOR <= ratio.value <= MAX_CALIBRATION_FACTOR:
        return text
    way, limit = ("high", "below 3") if ratio.value > 1 else ("low", "above 1/3")
    doubt = "" if is_miscalibrated(ratio) else f", but the interval reaches {limit}, so this is not certain"
    return f"{text}: the scores {'seem' if doubt else 'are'} too {way}{doubt}"


def is_miscalibrated(ratio: Estimate) -> bool:
    """Return whether the whole interval of a calibration ratio is beyond the factor."""
    return ratio.low > MAX_CALIBRATION_FACTOR or ratio.high < 1 / MAX_CALIBRATION_FACTOR


def _to_float(value: Any) -> float:
    return math.nan if value is None else float(value)
