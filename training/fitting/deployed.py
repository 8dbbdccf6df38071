"""Evaluation of the recipe as deployed: fits at earlier dates on all data known then, each tested on the weeks after it.

The windows together are the traffic of one longer period, ranked within each window. No window is used to choose anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from consignments.records import Target
from consignments.timestamps import get_time_column_us, to_us
from features.batch import Progress
from models.arrays import Bools, Floats, Ints, Row
from models.fitting.baselines import fit_baselines
from models.fitting.linear import sample_negatives
from models.formats import format_count
from models.risk_model import RiskModel
from training.config import EvaluationConfig, TrainConfig
from training.data.splits import OUTSIDE, TEST, TRAIN, VALIDATION, ArrivalWindow, Period
from training.data.training_set import (
    DataSet,
    Labels,
    ObservedTables,
    TrafficSample,
    build_data_set,
    get_labels_as_of,
    sample_traffic,
)
from training.evaluation.fairness import CONSIGNEE, classify_consignee
from training.evaluation.metrics import evaluate
from training.evaluation.stored_scores import (
    BASELINE,
    PROBABILITY,
    RANK,
    RecipeEvaluation,
    StoredScores,
    build_stored_frame,
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


class TrainingData(NamedTuple):
    """All data sets of a training run: `final` has every label known at `as_of`, `origins` those of earlier dates."""

    evaluation: DataSet
    final: DataSet
    origins: tuple[DataSet, ...]

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """All data sets."""
        return (self.evaluation, self.final, *self.origins)

    @property
    def tested(self) -> tuple[DataSet, ...]:
        """The data sets whose test periods evaluate the recipe: those of earlier dates, else that of the evaluation fit."""
        return self.origins or (self.evaluation,)

    @property
    def keep(self) -> Bools:
        """Rows of the table whose features are needed by any of the fits."""
        return np.asarray(np.any([each.keep for each in self.sets], axis=0))

    @property
    def judged(self) -> Bools:
        """Rows of the table that are tested."""
        return np.asarray(np.any([each.part == TEST for each in self.tested], axis=0))

    def sample_rows(self, limit: int, seed: int) -> TrafficSample:
        """Select the rows to keep: all that are fitted on or were chosen, and at most `limit` others of the tested periods."""
        learnt = self.judged & self.final.labels.chosen
        for each in self.sets:
            learnt |= each.select_fitting_rows(TRAIN) | each.select_fitting_rows(VALIDATION)
        ids = self.evaluation.observed.consignments["consignment_id"]
        return sample_traffic(ids, learnt, [each.part == TEST for each in self.tested], limit, seed)

    def change_sets(self, change: Callable[[DataSet], DataSet]) -> "TrainingData":
        """Apply the same change to every data set."""
        evaluation, final, *origins = map(change, self.sets)
        return TrainingData(evaluation, final, tuple(origins))


def build_training_data(observed: ObservedTables, target: Target, config: TrainConfig) -> TrainingData:
    """Build the data sets of the evaluation fit, of the final fit, and of fits one window earlier each, while they have enough labels."""
    evaluation = build_data_set(observed, target, config)
    final = build_data_set(observed, target, config, held_out="nothing")
    ids = observed.consignments["consignment_id"]
    received = get_time_column_us(observed.consignments, "received_at")
    begins, ends, origins = evaluation.split.test.begins, evaluation.split.test.ends, list[DataSet]()
    while len(origins) < config.evaluation.origins and begins > evaluation.split.train.begins:
        arrived, labels = received < to_us(begins), get_labels_as_of(ids, observed.outcomes, begins, target)
        positives = int((arrived & labels.positive).sum())
        if positives < MIN_POSITIVES or int((arrived & labels.known).sum()) == positives:
            break
        data = build_data_set(replace(observed, as_of=begins), target, config, held_out="nothing")
        inside = ArrivalWindow(begins, ends).select(received) & (final.part != OUTSIDE)
        window = replace(data.split, test=Period("test", begins, ends, labels_by=observed.as_of))
        origins.append(replace(data, split=window, part=np.where(inside, TEST, data.part).astype(np.int8)))
        begins, ends = begins - (ends - begins), begins
    return TrainingData(evaluation, final, tuple(origins))


@dataclass(frozen=True, repr=False)
class OriginFit(Fit):
    """A fit of an earlier date: raw scores of its own window, then of the later ones, baselines, and its `model` as served then, if any."""

    raw: tuple[Floats, ...]
    baselines: dict[str, Floats]
    model: RiskModel | None = None

    @property
    def tested(self) -> Ints:
        """Positions of its window's traffic in the table."""
        return np.flatnonzero(self.data.part == TEST)

    @property
    def window(self) -> str:
        """The first day of its window."""
        return f"{self.data.split.test.begins:%Y-%m-%d}"

    def predict(self) -> Floats:
        """Predict the probabilities of its window as they would have been served; NaN without a calibration."""
        if self.model is None:
            return np.full(len(self.tested), np.nan)
        channels = extract_texts(self.data.observed.consignments, "channel", self.tested).tolist()
        return self.model.calibration.calibrate(self.raw[0], channels)


@dataclass(frozen=True)
class DeployedResult:
    """Evaluation of the recipe as deployed: scores of all windows, figures, tables by date and by age of the model."""

    stored: StoredScores
    recipe: RecipeEvaluation
    origins: list[Row]
    ages: list[Row]
    sentences: tuple[str, ...]
    latest: OriginFit


def fit_at_dates(
    data: TrainingData,
    recipe: Recipe,
    evaluated: CalibratedFit,
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[list[OriginFit], Fit]:
    """Fit the recipe at each earlier date, the latest first, and on every label known today."""
    seed, later = recipe.config.model.seed, data.judged
    windows = [np.flatnonzero(each.part == TEST) for each in data.tested]
    if not data.origins:
        later |= data.evaluation.part == VALIDATION

    def fit_origin(place: int) -> OriginFit:
        keep = data.judged
        if place == 0:
            # If earlier windows have too few results, the validation period calibrates.
            keep |= data.evaluation.select_fitting_rows(VALIDATION)
        # Earlier windows calibrate it. Examples are of the latest window.
        return _score_windows(fit_recipe(recipe, data.origins[place], keep), windows[place::-1], seed)

    fits: list[Callable[[], Any]] = [
        # The largest first.
        partial(fit_recipe, recipe, data.final, later),
        *(partial(fit_origin, place) for place in range(len(data.origins))),
    ]
    served, *origins = run_fits(fits, jobs, progress)
    return origins or [replace(_score_windows(evaluated, windows, seed), model=evaluated.model)], served


def _score_windows(fit: Fit, windows: Sequence[Ints], seed: int) -> OriginFit:
    """Score windows with a fit, and the first of them, its own, with baselines."""
    raw = tuple(map(fit.predict_raw, windows))
    baselines = score_baselines(fit, windows[0], seed)
    return OriginFit(fit.data, fit.matrix, fit.fitted, fit.trees, fit.linear, raw, baselines)


def score_baselines(fit: Fit, rows: Ints, seed: int) -> dict[str, Floats]:
    """Fit the baselines on the training rows of a fit, and score the consignments at some positions with each."""
    parts = SplitFeatures(fit.data, fit.matrix)
    train = np.flatnonzero(parts.select_fitting_rows(TRAIN))
    # Sampled here, because the training rows may not fit into memory.
    kept, weight = sample_negatives(parts.labels.positive[train].astype(np.float64), parts.weight[train])
    few = train[kept]
    positive = parts.labels.positive[few].astype(np.float64)
    fitted = fit_baselines(parts.matrix.take(few), positive, weight, parts.spec, seed=seed, linear=fit.linear)
    X, ids = fit.matrix.look_up(rows), parts.frame["consignment_id"].iloc[rows].tolist()
    return {baseline.name: baseline.compute_scores(X, ids) for baseline in fitted}


def collect_unseen(fits: Sequence[OriginFit], parts: SplitFeatures) -> list[UnseenScores]:
    """Collect the scores of each fit on its own window, the earliest first."""
    return [_weigh_unseen(parts, fit.tested, fit.raw[0]) for fit in fits[::-1]]


def _weigh_unseen(parts: SplitFeatures, rows: Ints, raw: Floats) -> UnseenScores:
    kept = parts.data.observed.kept
    return UnseenScores(rows, raw, parts.weigh_results(rows, kept.stands_for[rows]), kept.even[rows])


def calibrate_origins(
    fits: Sequence[OriginFit], config: TrainConfig, validation: UnseenScores, jobs: int = 1
) -> list[OriginFit]:
    """Calibrate each fit as it would have been served at its date; `validation` calibrates the latest if too little is known."""
    found = []
    for place, fit in enumerate(fits):
        # Of later arrivals only the quick results were known, which are mostly clear.
        settled = fit.data.split.test.begins - timedelta(days=config.split.label_delay_days)
        parts, unseen = SplitFeatures(fit.data, fit.matrix, jobs), []
        received = get_time_column_us(parts.frame, "received_at")
        for earlier in fits[:place:-1]:
            mine = (received < to_us(settled))[earlier.tested] & (fit.data.part[earlier.tested] == TRAIN)
            unseen.append(_weigh_unseen(parts, earlier.tested[mine], earlier.raw[0][mine]))
        model = _calibrate_then(fit, [each for each in unseen if len(each.rows)])
        if model is None and place == 0:
            model = _calibrate_then(fit, [validation])
        found.append(replace(fit, model=model))
    return found


def _calibrate_then(fit: OriginFit, unseen: Sequence[UnseenScores]) -> RiskModel | None:
    """Calibrate a fit on earlier scores as the served fit is; None if they have too few positive or negative results."""
    if not unseen:
        return None
    known = np.concatenate([each.rows[each.weight > 0] for each in unseen])
    positives = int(fit.data.labels.positive[known].sum())
    if positives < MIN_POSITIVES or positives == len(known) or not unseen[-1].even.any():
        return None
    return calibrate_final(fit, unseen).model


def evaluate_deployed(
    fits: Sequence[OriginFit],
    parts: SplitFeatures,
    config: EvaluationConfig,
    true_labels: Labels | None = None,
) -> DeployedResult:
    """Evaluate fits, the latest first, on their windows with the labels known today."""
    windows = []
    for fit in fits[::-1]:
        rows, true = fit.tested, pd.array([pd.NA] * len(fit.tested), "boolean")
        if true_labels is not None:
            true = pd.arrays.BooleanArray(true_labels.positive[rows], ~true_labels.known[rows])
        arrived = parts.data.observed.kept.stands_for[rows]
        consignee = classify_consignee(parts.matrix.look_up(rows), parts.spec)
        frame = parts.frame.iloc[rows].assign(**{CONSIGNEE: consignee})
        scores: dict[str, Any] = {RANK: 1.0 - compute_shares_above(fit.raw[0], arrived)}
        scores[PROBABILITY] = fit.predict()
        scores |= {"true_positive": true}
        for name, each in fit.baselines.items():
            scores[BASELINE + name] = 1.0 - compute_shares_above(each, arrived)
        labels = parts.data.labels.select_rows(rows)
        weight = parts.weigh_results(rows, arrived)
        windows.append(build_stored_frame(frame, labels, fit.window, arrived, weight, scores))
    stored, days = StoredScores(pd.concat(windows, ignore_index=True)), fits[0].data.split.test.days
    origins, ages = list[Row](), list[Row]()
    for age, fit in enumerate(fits):
        row: Row = {"as_of": f"{fit.learnt_until:%Y-%m-%d}", "from": fit.window}
        row |= {"until": f"{fit.data.split.test.ends:%Y-%m-%d}", "learnt_positives": fit.positives}
        row |= {"learnt_results": fit.labelled}
        origins.append(row | _evaluate_windows(stored, {fit.window: fit.raw[0]}, config))
        later = {newer.window: older.raw[age] for newer, older in zip(fits, fits[age:], strict=False)}
        row = {"days_old_from": age * days, "days_old_until": (age + 1) * days, "windows": len(later)}
        ages.append(row | _evaluate_windows(stored, later, config))
    recipe, sentence = evaluate_recipe(stored, config), _describe_fits(fits, config.origins)
    return DeployedResult(stored, recipe, origins, ages, (sentence,), latest=fits[0])


def _evaluate_windows(stored: StoredScores, scored: Mapping[str, Floats], config: EvaluationConfig) -> Row:
    """Evaluate any raw scores of some windows, which are named by their first day."""
    period, window = stored.to_period(), stored.frame["window"].to_numpy(object)
    ranks = np.full(len(window), np.nan)
    for name, raw in scored.items():
        mine = window == name
        ranks[mine] = 1.0 - compute_shares_above(raw, period.traffic[mine])
    inside = np.isfinite(ranks)
    ranked = period.select_rows(inside).replace_score(ranks[inside])
    found = evaluate(ranked, config)
    row: Row = {"consignments": round(float(period.traffic[inside].sum())), "positives": found.counts.known}
    row |= {f"found_at_{name}": found.counts.found[name] for name in ("1pct", "5pct")}
    return row | found[RECALLS[0]].to_columns(RECALLS[0]) | found[RECALLS[1]].to_columns(RECALLS[1])


def _describe_fits(fits: Sequence[OriginFit], asked: int) -> str:
    test, learnt = fits[0].data.split.test, fits[0].learnt_until
    tested = ArrivalWindow(fits[-1].data.split.test.begins, test.ends).describe()
    if learnt < test.begins:
        trained = f"trained on arrivals before {learnt:%Y-%m-%d} and tested on {tested}"
        return f"No earlier date could be evaluated. So the figures are those of the evaluation fit, which was {trained}."
    dates = format_count(len(fits), "date")
    if len(fits) < asked:
        dates += f" (of {asked} asked for: at earlier ones too few results were known)"
    return f"Evaluated as deployed: fitted at {dates} on all labels known then, and tested on the weeks after ({tested})."


def score_test_period(parts: SplitFeatures, model: RiskModel, rows: Ints) -> ScoredPeriod:
    """Score the consignments of the test period with the evaluation fit, and weight their results."""
    test, kept = parts.matrix.locate(rows), parts.data.observed.kept
    X = parts.matrix.take(test)
    consignee = classify_consignee(X, parts.spec)
    return ScoredPeriod(
        score=model.score(X, parts.get_channels(test)),
        day=parts.day[test],
        office=extract_texts(parts.frame, "office", rows),
        labelled=parts.labels.known[test],
        positive=parts.labels.positive[test],
        weight=parts.weigh_results(rows, kept.stands_for[rows]),
        slices=extract_slices(parts.frame, rows) | {CONSIGNEE: consignee},
        stands_for=kept.stands_for[rows] if kept.is_drawn else None,
    )
