"""Evaluation of the recipe as deployed: fits at earlier dates on all data known then, each tested on the weeks after it.

With a test period from 20 May to 17 June, and three origins:

    fitted as of    tested on
    20 May          20 May to 17 June: the test period
    22 April        22 April to 20 May
    25 March        25 March to 22 April

The windows together are the traffic of one longer period, ranked within each window. Results are those known today.
Nothing of a window is used by the fit that is tested on it, and no window is used to choose anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Target
from consignments.timestamps import get_time_column_us, to_us
from features.batch import FeatureMatrix, Progress
from models.baselines import fit_baselines
from models.formats import format_count
from models.linear import sample_negatives
from models.risk_model import RiskModel, predict_finite
from training.config import EvaluationConfig, TrainConfig, WeightsConfig
from training.data.splits import OUTSIDE, TEST, TRAIN, VALIDATION, ArrivalWindow
from training.data.traffic_sample import TrafficSample, sample_traffic
from training.data.training_set import DataSet, Labels, ObservedTables, build_data_set, get_labels_as_of
from training.evaluation.fairness import CONSIGNEE, classify_consignee
from training.evaluation.metrics import evaluate
from training.evaluation.stored_scores import (
    BASELINE,
    PROBABILITY,
    RANK,
    RecipeEvaluation,
    StoredScores,
    evaluate_recipe,
)
from training.evaluation.traffic import ScoredPeriod, extract_slices, extract_texts
from training.fitting.fit import (
    CalibratedFit,
    Fit,
    Recipe,
    SplitFeatures,
    UnseenScores,
    calibrate_final,
    fit_recipe,
    run_fits,
)
from training.fitting.rolling_origin import MIN_POSITIVES, compute_shares_above

RECALLS = ("recall_at_1pct", "recall_at_5pct")
"""Metrics in the tables of dates and ages."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
Row = dict[str, Any]


class Origin(NamedTuple):
    """A date at which the recipe is fitted, and the window on which it is tested.

    Attributes
    ----------
    data : DataSet
        The data known at the date; nothing is held out.
    begins, ends : datetime
        Of the window, which begins at the date.
    window : int64 array
        Positions of the window's traffic in the table.
    """

    data: DataSet
    begins: datetime
    ends: datetime
    window: Positions

    def keep_rows(self, sample: TrafficSample, consignments: pd.DataFrame) -> "Origin":
        """Return the origin with the kept rows only; see `DataSet.keep_rows`."""
        inside = np.isin(sample.rows, self.window, assume_unique=True)
        return self._replace(data=self.data.keep_rows(sample, consignments), window=np.flatnonzero(inside))


class TrainingData(NamedTuple):
    """All data sets of a training run.

    Attributes
    ----------
    evaluation : DataSet
        Data with validation and test held out.
    final : DataSet
        Every label known at `as_of`.
    origins : tuple of Origin
        The latest first; as many as configured and possible with the data.
    """

    evaluation: DataSet
    final: DataSet
    origins: tuple[Origin, ...]

    @property
    def keep(self) -> Bools:
        """Rows of the table whose features are needed by any of the fits."""
        keep = self.evaluation.keep | self.final.keep
        for origin in self.origins:
            keep |= origin.data.keep
            keep[origin.window] = True
        return keep

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """All data sets."""
        return (self.evaluation, self.final, *(origin.data for origin in self.origins))

    def sample_rows(self, limit: int, seed: int) -> TrafficSample:
        """Select the rows to keep: all that are fitted on or were chosen, and at most `limit` others of the tested periods."""
        tested = self.evaluation.part == TEST
        windows = [_mark(origin.window, len(tested)) for origin in self.origins]
        # The latest window is the test period.
        periods = [windows[0] | tested, *windows[1:]] if windows else [tested]
        learnt = np.logical_or.reduce(periods) & self.final.labels.chosen
        for each in self.sets:
            learnt |= each.select_fitting_rows(TRAIN) | each.select_fitting_rows(VALIDATION)
        ids = self.evaluation.observed.consignments["consignment_id"]
        return sample_traffic(ids, learnt, periods, limit, seed)

    def keep_rows(self, sample: TrafficSample, consignments: pd.DataFrame) -> "TrainingData":
        """Return the data sets of the kept rows only; see `DataSet.keep_rows`."""
        return TrainingData(
            self.evaluation.keep_rows(sample, consignments),
            self.final.keep_rows(sample, consignments),
            tuple(origin.keep_rows(sample, consignments) for origin in self.origins),
        )

    def reweight(self, config: WeightsConfig) -> "TrainingData":
        """Return the same rows with the weights of another configuration."""
        return TrainingData(
            self.evaluation.reweight(config),
            self.final.reweight(config),
            tuple(origin._replace(data=origin.data.reweight(config)) for origin in self.origins),
        )

    @property
    def reported_from(self) -> datetime:
        """The beginning of the earliest period whose figures are reported."""
        return min([self.evaluation.split.test.begins, *(origin.begins for origin in self.origins)])


def _mark(rows: Positions, size: int) -> Bools:
    marked = np.zeros(size, dtype=bool)
    marked[rows] = True
    return marked


def build_training_data(observed: ObservedTables, target: Target, config: TrainConfig) -> TrainingData:
    """Build the data sets of the evaluation fit, of the final fit, and of the fits at earlier dates.

    Raises
    ------
    BadInput
        As `build_data_set` raises it.
    """
    evaluation = build_data_set(observed, target, config)
    final = build_data_set(observed, target, config, held_out="nothing")
    return TrainingData(evaluation, final, tuple(_iterate_origins(evaluation, final, config)))


def _iterate_origins(evaluation: DataSet, final: DataSet, config: TrainConfig) -> Iterator[Origin]:
    """Iterate back from the test period, one window at a time, while an earlier fit has enough labels."""
    observed, test = evaluation.observed, evaluation.split.test
    received = get_time_column_us(observed.consignments, "received_at")
    width, begins, ends = test.ends - test.begins, test.begins, test.ends
    for _ in range(config.evaluation.origins):
        known = ObservedTables(observed.consignments, observed.outcomes, begins, observed.offered)
        if begins <= evaluation.split.train.begins or not _can_learn(known, evaluation.target):
            return
        data = build_data_set(known, evaluation.target, config, held_out="nothing")
        inside = ArrivalWindow(begins, ends).select(received) & (final.part != OUTSIDE)
        yield Origin(data, begins, ends, np.flatnonzero(inside))
        begins, ends = begins - width, begins


def _can_learn(known: ObservedTables, target: Target) -> bool:
    """Check whether a fit as of a date has both kinds of labels, and enough positives."""
    arrived = get_time_column_us(known.consignments, "received_at") < to_us(known.as_of)
    ids = known.consignments["consignment_id"]
    labels = get_labels_as_of(ids, known.outcomes, known.as_of, target)
    positives = int((arrived & labels.positive).sum())
    return positives >= MIN_POSITIVES and int((arrived & labels.known).sum()) > positives


@dataclass(frozen=True, repr=False)
class OriginFit(Fit):
    """A fit of an earlier date with its scores, and the feature rows of all windows; of the latest date those of validation too.

    Attributes
    ----------
    origin : Origin
    raw : tuple of float64 arrays
        Raw scores of its own window, then of the later ones in their order.
    baselines : dict
        Name to scores of its own window.
    model : RiskModel or None
        Calibrated as it would have been served at its date; None if no result of an earlier window was settled then.
    """

    origin: Origin
    raw: tuple[Floats, ...]
    baselines: dict[str, Floats]
    model: RiskModel | None = None

    @property
    def window(self) -> str:
        """The first day of its window."""
        return f"{self.origin.begins:%Y-%m-%d}"

    def predict(self, frame: pd.DataFrame) -> Floats:
        """Predict the probabilities of its window as they would have been served; NaN without a calibration."""
        rows = self.origin.window
        if self.model is None:
            return np.full(len(rows), np.nan)
        channels = extract_texts(frame, "channel", rows).tolist()
        return self.model.calibration.calibrate(self.raw[0], channels)


@dataclass(frozen=True)
class DeployedResult:
    """Evaluation of the recipe as deployed.

    Attributes
    ----------
    stored : StoredScores
        Of all windows, the earliest first.
    recipe : RecipeEvaluation
        Every figure, computed from the stored scores.
    origins : list of dict
        For each date the numbers of labels used, and what was found in its window, the latest first.
    ages : list of dict
        The same by the age of the model.
    sentences : tuple of str
        Which fits were tested on which weeks.
    latest : OriginFit
        The fit that was tested on the latest window.
    """

    stored: StoredScores
    recipe: RecipeEvaluation
    origins: list[Row]
    ages: list[Row]
    sentences: tuple[str, ...]
    latest: OriginFit


def fit_at_dates(
    data: TrainingData,
    recipe: Recipe,
    matrix: FeatureMatrix,
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[list[OriginFit], Fit]:
    """Fit the recipe at each earlier date, which scores its window and the later ones, and on every label known today.

    Parameters
    ----------
    data : TrainingData
    recipe : Recipe
    matrix : FeatureMatrix
        Feature rows of `data.keep`, from any fit.
    jobs : int
        Number of fits at a time, each on one thread. The fits do not depend on it.
    progress : callable, optional

    Returns
    -------
    list of OriginFit
        The latest first; not calibrated.
    Fit
        The fit on every label, with the rows it was fitted on, and all windows.
    """
    windows = _mark(np.concatenate([origin.window for origin in data.origins]), len(data.final.part))
    results: list[Any] = run_fits(
        [
            # The largest first.
            lambda: fit_recipe(recipe, data.final, windows, matrix),
            *(partial(_fit_origin, data, place, recipe, matrix) for place in range(len(data.origins))),
        ],
        jobs,
        progress,
    )
    served, *origins = results
    return origins, served


def _fit_origin(data: TrainingData, place: int, recipe: Recipe, matrix: FeatureMatrix) -> OriginFit:
    """Fit the recipe at one date, and score its window and the later ones."""
    origin, later = data.origins[place], [each.window for each in data.origins[place::-1]]
    windows = [each.window for each in data.origins]
    if place == 0:
        # If earlier windows have too few results, the validation period calibrates.
        windows.append(np.flatnonzero(data.evaluation.select_fitting_rows(VALIDATION)))
    keep = _mark(np.concatenate(windows), len(data.final.part))
    fit = fit_recipe(recipe, origin.data, keep, matrix)
    raw, rows = predict_finite(fit.trees, fit.matrix.X), fit.matrix.rows
    at = np.searchsorted(rows, origin.window)
    baselines = score_baselines(SplitFeatures(fit.data, fit.matrix), at, fit, recipe.config.model.seed)
    scored = tuple(raw[np.searchsorted(rows, window)] for window in later)
    kept = fit.matrix.keep_rows(keep)
    return OriginFit(fit.data, kept, fit.fitted, fit.trees, fit.linear, origin, scored, baselines)


def score_baselines(parts: SplitFeatures, at: Positions, fit: Fit, seed: int) -> dict[str, Floats]:
    """Fit the baselines on the training rows, and score the feature rows at some positions with each.

    Parameters
    ----------
    parts : SplitFeatures
    at : int64 array, (n,)
    fit : Fit
        Of the same training rows; its linear model is a baseline.
    seed : int
    """
    train = np.flatnonzero(parts.select_fitting_rows(TRAIN))
    # Sampled here, because the training rows may not fit into memory.
    kept, weight = sample_negatives(parts.positive[train].astype(np.float64), parts.weight[train])
    few = train[kept]
    positive = parts.positive[few].astype(np.float64)
    fitted = fit_baselines(parts.X[few], positive, weight, parts.spec, seed=seed, linear=fit.linear)
    ids = parts.frame["consignment_id"].iloc[parts.rows[at]].tolist()
    return {baseline.name: baseline.compute_scores(parts.X[at], ids) for baseline in fitted}


def collect_unseen(
    fits: Sequence[OriginFit], parts: SplitFeatures, test_weight: Floats, seed: int
) -> list[UnseenScores]:
    """Collect the scores of each fit on its own window, the earliest first.

    Parameters
    ----------
    fits : sequence of OriginFit
        The latest first.
    parts : SplitFeatures
        The labels of the final data set, with feature rows of all windows.
    test_weight : float64 array, (test rows,)
        How many consignments each known result of the latest window stands for.
    seed : int
    """
    found, even = [], parts.data.observed.kept.even
    for place, fit in enumerate(fits):
        rows = fit.origin.window
        weight = test_weight if place == 0 else _weigh_window(parts, rows, seed)
        found.append(UnseenScores(rows, fit.raw[0], weight, even[rows]))
    return found[::-1]


def _weigh_window(parts: SplitFeatures, rows: Positions, seed: int) -> Floats:
    at = np.searchsorted(parts.rows, rows)
    arrived = parts.data.observed.kept.stands_for[parts.rows]
    return parts.estimate_result_weights(_mark(at, len(parts.rows)), seed, arrived)[at]


def calibrate_origins(
    fits: Sequence[OriginFit], config: TrainConfig, validation: UnseenScores
) -> list[OriginFit]:
    """Calibrate each fit as it would have been served at its date, from results that were settled then.

    Parameters
    ----------
    fits : sequence of OriginFit
        The latest first.
    config : TrainConfig
    validation : UnseenScores
        Scores of validation by the evaluation fit, for the latest date if earlier windows have too few results.
    """
    found = []
    for place, fit in enumerate(fits):
        # Of later arrivals only the quick results were known, which are mostly clear.
        settled = fit.origin.begins - timedelta(days=config.split.label_delay_days)
        unseen = [_select_settled(fit, each, settled, config.model.seed) for each in fits[:place:-1]]
        model = _calibrate_then(fit, [each for each in unseen if len(each.rows)])
        if model is None and place == 0:
            model = _calibrate_then(fit, [validation])
        found.append(replace(fit, model=model))
    return found


def _select_settled(fit: OriginFit, earlier: OriginFit, until: datetime, seed: int) -> UnseenScores:
    """Select the scores of an earlier window whose results were settled at the date of a fit, weighted as known then."""
    data, rows = fit.origin.data, earlier.origin.window
    received = get_time_column_us(data.observed.consignments, "received_at")[rows]
    mine = (received < to_us(until)) & (data.part[rows] == TRAIN)
    if not mine.any():
        return UnseenScores(rows[mine], earlier.raw[0][mine], np.empty(0), np.empty(0, dtype=bool))
    weight = _weigh_window(SplitFeatures(data, fit.matrix), rows[mine], seed)
    return UnseenScores(rows[mine], earlier.raw[0][mine], weight, data.observed.kept.even[rows[mine]])


def _calibrate_then(fit: OriginFit, unseen: Sequence[UnseenScores]) -> RiskModel | None:
    """Calibrate a fit on earlier scores as the served fit is; None if they have too few positive or negative results."""
    if not unseen:
        return None
    known = np.concatenate([each.rows[each.weight > 0] for each in unseen])
    positives = int(fit.origin.data.labels.positive[known].sum())
    if positives < MIN_POSITIVES or positives == len(known) or not unseen[-1].even.any():
        return None
    return calibrate_final(fit, unseen).model


def use_evaluation_fit(fit: CalibratedFit, seed: int) -> OriginFit:
    """Return the evaluation fit as the only origin, if no earlier date can be evaluated."""
    parts, test = SplitFeatures(fit.data, fit.matrix), fit.data.split.test
    matrix, at = parts.test_matrix, np.flatnonzero(parts.select_part(TEST))
    origin = Origin(fit.data, test.begins, test.ends, matrix.rows)
    raw = (predict_finite(fit.trees, matrix.X),)
    baselines = score_baselines(parts, at, fit, seed)
    return OriginFit(fit.data, matrix, fit.fitted, fit.trees, fit.linear, origin, raw, baselines, fit.model)


def evaluate_deployed(
    fits: Sequence[OriginFit],
    parts: SplitFeatures,
    weights: Sequence[Floats],
    config: EvaluationConfig,
    true_labels: Labels | None = None,
) -> DeployedResult:
    """Evaluate fits of earlier dates on their windows; each window is ranked separately.

    Parameters
    ----------
    fits : sequence of OriginFit
        At least one; the latest first.
    parts : SplitFeatures
        With the labels known today, and feature rows of all windows.
    weights : sequence of float64 arrays
        How many consignments each known result of a window stands for; the earliest window first.
    config : EvaluationConfig
    true_labels : Labels, optional
        Of the whole table; the truth of a simulated world.
    """
    windows = [
        _build_window(fit, parts, weight, true_labels)
        for fit, weight in zip(fits[::-1], weights, strict=True)
    ]
    stored = StoredScores(pd.concat(windows, ignore_index=True))
    judge = _WindowJudge(stored, stored.fix_capacity(config))
    by_age = [
        {fits[place - age].window: fits[place].raw[age] for place in range(age, len(fits))}
        for age in range(len(fits))
    ]
    days = (fits[0].origin.ends - fits[0].origin.begins).days
    return DeployedResult(
        stored=stored,
        recipe=evaluate_recipe(stored, config),
        origins=[
            {
                "as_of": f"{fit.learnt_until:%Y-%m-%d}",
                "from": fit.window,
                "until": f"{fit.origin.ends:%Y-%m-%d}",
                "learnt_positives": fit.positives,
                "learnt_results": fit.labelled,
                **judge.evaluate({fit.window: fit.raw[0]}),
            }
            for fit in fits
        ],
        ages=[
            {
                "days_old_from": age * days,
                "days_old_until": (age + 1) * days,
                "windows": len(scored),
                **judge.evaluate(scored),
            }
            for age, scored in enumerate(by_age)
        ],
        sentences=_describe_fits(fits),
        latest=fits[0],
    )


def _build_window(
    fit: OriginFit, parts: SplitFeatures, weight: Floats, true_labels: Labels | None
) -> pd.DataFrame:
    """Build the stored scores of one window."""
    rows, labels = fit.origin.window, parts.data.labels
    at, arrived = np.searchsorted(parts.rows, rows), parts.data.observed.kept.stands_for[rows]
    known = labels.known[rows]
    true = [pd.NA] * len(rows) if true_labels is None else true_labels.positive[rows]
    true_positive = pd.array(true, "boolean")
    if true_labels is not None:
        true_positive[~true_labels.known[rows]] = pd.NA
    texts = ("consignment_id", "office", "channel", "service", "departure_country")
    return pd.DataFrame(
        {name: extract_texts(parts.frame, name, rows) for name in texts}
        | {
            CONSIGNEE: classify_consignee(parts.X[at], parts.spec),
            "window": fit.window,
            "day": parts.day[at],
            "stands_for": arrived,
            "labelled": known,
            "positive": labels.positive[rows],
            "chosen_by": labels.selected_by[rows],
            "weight": weight,
            "guessed": known & np.isnan(labels.probability[rows]),
            RANK: compute_ranks(fit.raw[0], arrived),
            PROBABILITY: fit.predict(parts.frame),
            "true_positive": true_positive,
        }
        | {BASELINE + name: compute_ranks(scores, arrived) for name, scores in fit.baselines.items()}
    )


def compute_ranks(scores: Floats, arrived: Floats) -> Floats:
    """Compute the ranks of scores in their window, 0 to 1, higher is riskier; `arrived` is what each row stands for."""
    ranks: Floats = 1.0 - compute_shares_above(scores, arrived)
    return ranks


@dataclass(frozen=True)
class _WindowJudge:
    """Figures of some windows of stored scores, with any raw scores of them."""

    stored: StoredScores
    config: EvaluationConfig

    def evaluate(self, scored: Mapping[str, Floats]) -> Row:
        """Evaluate the windows that are named by their first day."""
        period, window = self.stored.to_period(), self.stored.frame["window"].to_numpy(object)
        ranks = np.full(len(window), np.nan)
        for name, raw in scored.items():
            mine = window == name
            ranks[mine] = compute_ranks(raw, period.traffic[mine])
        inside = np.isfinite(ranks)
        evaluation = evaluate(period.select_rows(inside).replace_score(ranks[inside]), self.config)
        counts = evaluation.counts
        return {
            "consignments": round(float(period.traffic[inside].sum())),
            "positives": counts.known,
            **{f"found_at_{name}": counts.found[name] for name in ("1pct", "5pct")},
            **{
                f"{name}{end}": value if evaluation[name].is_shown else np.nan
                for name in RECALLS
                for end, value in evaluation[name].list_ends()
            },
        }


def _describe_fits(fits: Sequence[OriginFit]) -> tuple[str, ...]:
    """Describe which fits were tested on which weeks, and on which of them the calibration rests."""
    first, last, learnt = fits[-1].window, f"{fits[0].origin.ends:%Y-%m-%d}", fits[0].learnt_until
    if learnt < fits[0].origin.begins:
        return (
            f"No earlier date could be evaluated. So the figures are those of the evaluation fit, which was trained on arrivals until "
            f"{learnt:%Y-%m-%d} and tested on the weeks from {first} to {last}.",
        )
    dates = format_count(len(fits), "date")
    described = f"Evaluated as deployed: fitted at {dates} on all labels known then, and tested on the weeks after ({first} to {last})."
    calibrated = sum(fit.model is not None for fit in fits)
    if calibrated == len(fits):
        return (described,)
    if not calibrated:
        return described, "Calibration is unknown: at no date were enough results of earlier weeks settled."
    return (
        described,
        f"Calibration is measured on {format_count(calibrated, 'window')} of {len(fits)}: at the other dates too few results of earlier weeks "
        "were settled to calibrate the scores.",
    )


def build_scored_period(
    parts: SplitFeatures, rows: Positions, score: Floats, labels: Labels, weight: Floats
) -> ScoredPeriod:
    """Build the scored period of some consignments; weights without a logged probability count as guesses.

    Parameters
    ----------
    parts : SplitFeatures
        Feature rows that hold the consignments.
    rows : int64 array, (n,)
        Their positions in the table.
    score : float64 array, (n,)
    labels : Labels
        Of the whole table.
    weight : float64 array, (n,)
        How many consignments each known result stands for.
    """
    consignee = classify_consignee(parts.X, parts.spec)[np.searchsorted(parts.rows, rows)]
    slices = extract_slices(parts.frame, rows) | {CONSIGNEE: consignee}
    return replace(_build_unsliced_period(parts, rows, score, labels, weight), slices=slices)


def _build_unsliced_period(
    parts: SplitFeatures, rows: Positions, score: Floats, labels: Labels, weight: Floats
) -> ScoredPeriod:
    at, kept = np.searchsorted(parts.rows, rows), parts.data.observed.kept
    return ScoredPeriod(
        score=score,
        day=parts.day[at],
        office=extract_texts(parts.frame, "office", rows),
        labelled=labels.known[rows],
        positive=labels.positive[rows],
        weight=weight,
        guessed=np.isnan(labels.probability[rows]),
        stands_for=kept.stands_for[rows] if kept.is_drawn else None,
    )
