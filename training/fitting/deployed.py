"""Evaluation of the recipe as deployed: fits at earlier dates on all data known then, each tested on the weeks after it.

With a test period from 20 May to 17 June, and three origins:

    fitted as of    tested on
    20 May          20 May to 17 June: the test period
    22 April        22 April to 20 May
    25 March        25 March to 22 April

The windows together are the traffic of one longer period, ranked within each window. Results are those known today.
Nothing of a window is used by the fit that is tested on it, and no window is used to choose anything.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Target
from consignments.timestamps import get_time_column_us, to_us
from features.batch import FeatureMatrix, Progress
from models.baselines import fit_baselines
from models.linear import sample_negatives
from models.risk_model import predict_finite
from training.config import EvaluationConfig, TrainConfig, WeightsConfig
from training.data.splits import OUTSIDE, TEST, TRAIN, VALIDATION, ArrivalWindow
from training.data.traffic_sample import TrafficSample, sample_traffic
from training.data.training_set import DataSet, Labels, ObservedTables, build_data_set, get_labels_as_of
from training.evaluation.fairness import CONSIGNEE, classify_consignee
from training.evaluation.metrics import Evaluation, evaluate
from training.evaluation.traffic import ScoredPeriod, extract_slices, extract_texts
from training.fitting.fit import (
    FitTask,
    GrownFit,
    SplitFeatures,
    UnseenScores,
    fit_as_deployed,
    run_fits,
)
from training.fitting.rolling_origin import MIN_POSITIVES, compute_shares_above

RECALLS = ("recall_at_1pct", "recall_at_5pct")
"""Metrics in the tables of dates and ages."""
BEST_SHARE = 0.01
"""Share of the traffic, for the sentence."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


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


class OriginFit(NamedTuple):
    """A fit of an earlier date, with its scores.

    Attributes
    ----------
    origin : Origin
    grown : GrownFit
    raw : tuple of float64 arrays
        Raw scores of its own window, then of the later ones in their order.
    baselines : dict
        Name to scores of its own window.
    """

    origin: Origin
    grown: GrownFit
    raw: tuple[Floats, ...]
    baselines: dict[str, Floats]


@dataclass(frozen=True)
class DeployedResult:
    """Evaluation of the recipe at earlier dates.

    Attributes
    ----------
    evaluation : Evaluation
        Over all windows, by inspection results, corrected for how the inspected ones were selected.
    truth : Evaluation or None
        By the truth of a simulated world.
    baselines : dict
        Name to evaluation, on the same windows with the same labels; each fitted at the same dates.
    best, known : int
        Positives that became known in the windows: those in the top 1 % of their window's traffic, and all.
    origins : list of dict
        For each date the numbers of labels used, and recall on its window.
    ages : list of dict
        Recall by the age of the model.
    unseen : list of UnseenScores
        The earliest window first; the last is the test period.
    traffic : ScoredPeriod
        All windows with the labels of `judged`. The score is the rank in its window, between 0 and 1.
    scores : dict
        Name of a baseline to its ranks on this traffic.
    """

    evaluation: Evaluation
    truth: Evaluation | None
    baselines: dict[str, Evaluation]
    best: int
    known: int
    origins: list[dict[str, Any]]
    ages: list[dict[str, Any]]
    unseen: list[UnseenScores]
    traffic: ScoredPeriod
    scores: dict[str, Floats]

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics under their logged names: ranking metrics over all windows."""
        named = self.evaluation.flatten_metrics("deployed")
        if self.truth is not None:
            named |= self.truth.flatten_metrics("deployed_truth")
        return {
            name: value for name, value in named.items() if name.count("/") == 1 and "calibration" not in name
        }

    @property
    def judged(self) -> Evaluation:
        """The evaluation by the truth if there is one, else by inspection results."""
        return self.truth or self.evaluation

    @property
    def positives(self) -> int:
        """Number of positives of all windows, by the truth or by inspection results."""
        return sum(int(row["positives"]) for row in self.origins)

    @property
    def sentence(self) -> str:
        """Summary: the evaluated dates, and how many of the known positives ranked at the top."""
        first, last = self.origins[-1]["as_of"], self.origins[0]["until"]
        dates = "one date" if len(self.origins) == 1 else f"{len(self.origins)} dates"
        return (
            f"Evaluated as deployed: fitted at {dates} on all labels known then, and tested on the weeks after ({first} to {last}). "
            f"Of the {self.known} known positives, {self.best} ranked in the top 1 % of the traffic."
        )


def fit_at_dates(
    data: TrainingData,
    task: FitTask,
    matrix: FeatureMatrix,
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[list[OriginFit], GrownFit, FeatureMatrix]:
    """Fit the recipe at each earlier date, which scores its window and the later ones, and on every label known today.

    Parameters
    ----------
    data : TrainingData
    task : FitTask
        Each fit replaces its data by those of its date.
    matrix : FeatureMatrix
        Feature rows of `data.keep`, from any fit.
    jobs : int
        Number of fits at a time, each on one thread. The fits do not depend on it.
    progress : callable, optional

    Returns
    -------
    list of OriginFit
        The latest first.
    GrownFit, FeatureMatrix
        The fit on every label, and its rows: those it was fitted on, and all windows.
    """
    final, windows = task._replace(data=data.final), [origin.window for origin in data.origins]
    keep = _mark(np.concatenate(windows), len(data.final.part))
    results: list[Any] = run_fits(
        [
            # The largest first.
            lambda: fit_as_deployed(final, matrix, keep),
            *(partial(_fit_origin, data, place, task, matrix) for place in range(len(windows))),
        ],
        jobs,
        progress,
    )
    (grown, own), *origins = results
    return origins, grown, own


def _fit_origin(data: TrainingData, place: int, task: FitTask, matrix: FeatureMatrix) -> OriginFit:
    """Fit the recipe at one date, and score its window and the later ones."""
    origin, later = data.origins[place], [each.window for each in data.origins[place::-1]]
    keep = _mark(np.concatenate(later), len(data.final.part))
    grown, own = fit_as_deployed(task._replace(data=origin.data), matrix, keep)
    raw = predict_finite(grown.trees, own.X)
    at = np.searchsorted(own.rows, origin.window)
    baselines = score_baselines(SplitFeatures(origin.data, own), at, grown, task.config.model.seed)
    scored = tuple(raw[np.searchsorted(own.rows, rows)] for rows in later)
    return OriginFit(origin, grown, scored, baselines)


def score_baselines(parts: SplitFeatures, at: Positions, grown: GrownFit, seed: int) -> dict[str, Floats]:
    """Fit the baselines on the training rows, and score some feature rows with each.

    Parameters
    ----------
    parts : SplitFeatures
    at : int64 array, (n,)
        Positions of the rows to score among the feature rows.
    grown : GrownFit
        Of the same training rows; its linear model is a baseline.
    seed : int

    Returns
    -------
    dict
        Name to scores, float64 (n,).
    """
    train = np.flatnonzero(parts.select_fitting_rows(TRAIN))
    # Sampled here, because the training rows may not fit into memory.
    kept, weight = sample_negatives(parts.positive[train].astype(np.float64), parts.weight[train])
    few = train[kept]
    positive = parts.positive[few].astype(np.float64)
    fitted = fit_baselines(parts.X[few], positive, weight, parts.spec, seed=seed, linear=grown.linear)
    ids = parts.frame["consignment_id"].iloc[parts.rows[at]].tolist()
    return {baseline.name: baseline.compute_scores(parts.X[at], ids) for baseline in fitted}


def judge_origins(
    fits: Sequence[OriginFit],
    parts: SplitFeatures,
    config: TrainConfig,
    test_weight: Floats,
    true_labels: Labels | None = None,
) -> DeployedResult:
    """Evaluate fits of earlier dates on their windows; each window is ranked separately.

    Parameters
    ----------
    fits : sequence of OriginFit
        At least one; the latest first.
    parts : SplitFeatures
        The labels of the final data set, with feature rows of all windows.
    config : TrainConfig
    test_weight : float64 array, (test rows,)
        How many consignments each known result of the latest window stands for.
    true_labels : Labels, optional
        Of the whole table.
    """
    windows = [fit.origin.window for fit in fits]
    arrived = [parts.data.observed.kept.stands_for[rows] for rows in windows]
    unseen = collect_unseen(fits, parts, test_weight, config.model.seed)
    weights = [period.weight for period in reversed(unseen)]
    found = _Judge(parts, parts.data.labels, windows, arrived, weights, config.evaluation)
    by_truth = None
    if true_labels is not None:
        known = [true_labels.known[rows] * each for rows, each in zip(windows, arrived, strict=True)]
        by_truth = _Judge(parts, true_labels, windows, arrived, known, config.evaluation)
    judge = by_truth or found
    own = _combine_by_age(fits, 0)
    evaluation = found.evaluate(own)
    truth = None if by_truth is None else by_truth.evaluate(own)
    # A fit of age 0 scored its own window, which was evaluated above.
    older = [_combine_by_age(fits, age) for age in range(1, len(fits))]
    by_age = [(own, truth or evaluation), *((scored, judge.evaluate(scored)) for scored in older)]
    others = {
        name: [(place, fit.baselines[name]) for place, fit in enumerate(fits)] for name in fits[0].baselines
    }
    return DeployedResult(
        evaluation,
        truth,
        {name: judge.evaluate(scored) for name, scored in others.items()},
        *found.count_best(own),
        [_build_origin_row(fit, judge, place) for place, fit in enumerate(fits)],
        [_build_age_row(fits, judge, age, *each) for age, each in enumerate(by_age)],
        unseen,
        judge.build_period(own),
        {name: rank_in_windows(scored, arrived) for name, scored in others.items()},
    )


def collect_unseen(
    fits: Sequence[OriginFit], parts: SplitFeatures, test_weight: Floats, seed: int
) -> list[UnseenScores]:
    """Collect the scores of each fit on its own window, the earliest first; parameters as in `judge_origins`."""
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


def rank_in_windows(scored: Sequence[tuple[int, Floats]], arrived: Sequence[Floats]) -> Floats:
    """Convert the raw scores of windows to ranks between 0 and 1 in each window, one window after the other.

    Parameters
    ----------
    scored : sequence of (int, float64 array)
        Position of a window, and the raw scores of its rows.
    arrived : sequence of float64 arrays
        How many consignments each row of each window stands for.
    """
    return np.concatenate([1.0 - compute_shares_above(raw, arrived[place]) for place, raw in scored])


@dataclass(frozen=True)
class _Judge:
    """Evaluation of the raw scores of windows with given labels."""

    parts: SplitFeatures
    labels: Labels
    windows: Sequence[Positions]
    arrived: Sequence[Floats]
    weights: Sequence[Floats]
    settings: EvaluationConfig

    def evaluate(self, scored: Sequence[tuple[int, Floats]]) -> Evaluation:
        """Evaluate windows, given by their positions, with the raw scores of each."""
        return evaluate(self.build_period(scored), self.settings)

    def build_period(self, scored: Sequence[tuple[int, Floats]]) -> ScoredPeriod:
        """Build one period of all these windows, each ranked by itself; it has no slices."""
        rows = np.concatenate([self.windows[place] for place, _ in scored])
        weight = np.concatenate([self.weights[place] for place, _ in scored])
        ranks = rank_in_windows(scored, self.arrived)
        return _build_unsliced_period(self.parts, rows, ranks, self.labels, weight)

    def count_best(self, scored: Sequence[tuple[int, Floats]]) -> tuple[int, int]:
        """Count the known positives in the top part of each window, and all of them."""
        best = 0
        for place, raw in scored:
            above = compute_shares_above(raw, self.arrived[place])
            best += self.count_positives(place, above <= BEST_SHARE)
        return best, sum(self.count_positives(place) for place, _ in scored)

    def count_positives(self, place: int, rows: Bools | None = None) -> int:
        """Count the known positives of a window, or of some of its rows; a row counts as often as it stands for."""
        positive = self.labels.positive[self.windows[place]] * self.arrived[place]
        return round(float(positive.sum() if rows is None else positive[rows].sum()))


def _build_origin_row(fit: OriginFit, judge: _Judge, place: int) -> dict[str, Any]:
    recall = judge.evaluate([(place, fit.raw[0])])
    return {
        "as_of": f"{fit.origin.begins:%Y-%m-%d}",
        "until": f"{fit.origin.ends:%Y-%m-%d}",
        "learnt_positives": fit.grown.positives,
        "learnt_results": fit.grown.labelled,
        "consignments": round(float(judge.arrived[place].sum())),
        "positives": judge.count_positives(place),
        **_flatten_recall(recall),
    }


def _combine_by_age(fits: Sequence[OriginFit], age: int) -> list[tuple[int, Floats]]:
    """Collect all windows scored by fits of the same age; age 0 is the window right after the date."""
    return [(place - age, fit.raw[age]) for place, fit in enumerate(fits) if place >= age]


def _build_age_row(
    fits: Sequence[OriginFit],
    judge: _Judge,
    age: int,
    scored: Sequence[tuple[int, Floats]],
    evaluation: Evaluation,
) -> dict[str, Any]:
    days = (fits[0].origin.ends - fits[0].origin.begins).days
    return {
        "days_old_from": age * days,
        "days_old_until": (age + 1) * days,
        "windows": len(scored),
        "positives": sum(judge.count_positives(place) for place, _ in scored),
        **_flatten_recall(evaluation),
    }


def _flatten_recall(evaluation: Evaluation) -> dict[str, float]:
    found = {name: evaluation[name] for name in RECALLS}
    return {
        f"{name}{end}": value
        for name, each in found.items()
        for end, value in (("", each.value), ("_low", each.low), ("_high", each.high))
    }


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
