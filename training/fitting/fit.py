"""Fits of one recipe: the evaluation fit, fits of earlier dates, and the final fit; no period chooses a setting."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import ComputeOptions, FeatureMatrix, Progress, report_progress
from features.fitted import FittedParameters, fit_features
from features.normalization.normal_forms import get_goods_text
from models.bands import Bands
from models.calibration import CalibrationLevel
from models.fitting.boosting import LabelledRows, grow_trees
from models.fitting.calibration import anchor_calibration, fit_calibration, fit_raw_scale
from models.fitting.linear import LogisticRegression
from models.risk_model import RiskModel
from models.trees import Trees
from training.arrays import Bools, Floats, Ints
from training.config import TrainConfig
from training.data.propensity import estimate_result_weights, select_weighing_columns
from training.data.splits import TRAIN, VALIDATION
from training.data.training_set import DataSet
from training.evaluation.traffic import extract_texts
from training.fitting.rolling_origin import TEXT_SCORE, compute_text_scores

T = TypeVar("T")
ALONE = ComputeOptions()


class FeatureSource(Protocol):
    """Source of the features of a data set: computed from tables, or kept as they were at the time."""

    def get_records(self, rows: Ints) -> list[Consignment]:
        """Return the consignments at some positions of the table."""

    def build_matrix(
        self, fitted: FittedParameters, keep: Bools, known: FeatureMatrix | None = None
    ) -> FeatureMatrix:
        """Return the feature rows of the kept consignments, copied from those of another fit if they are known."""


class Recipe(NamedTuple):
    """The common parts of all fits of a training: the source of their features, and their settings."""

    source: FeatureSource
    config: TrainConfig


@dataclass(frozen=True, repr=False)
class Fit:
    """A fit of the recipe: its data, feature rows under its parameters, and what it learnt; `linear` has a share in the trees."""

    data: DataSet
    matrix: FeatureMatrix
    fitted: FittedParameters
    trees: Trees
    linear: LogisticRegression | None

    @property
    def labelled(self) -> int:
        """Number of results it was fitted on."""
        return int(self._learnt.sum())

    @property
    def positives(self) -> int:
        """Number of positives among these results."""
        return int(self.data.labels.positive[self._learnt].sum())

    @property
    def learnt_until(self) -> datetime:
        """End of the arrivals it was fitted on."""
        return self.data.split.train.ends

    def keep_rows(self, keep: Bools) -> Self:
        """Return the same fit with the feature rows of some consignments only; they take most of its memory."""
        return replace(self, matrix=self.matrix.keep_rows(keep))

    @property
    def _learnt(self) -> Bools:
        return self.data.select_fitting_rows(TRAIN) & self.data.labels.known


@dataclass(frozen=True, repr=False)
class CalibratedFit(Fit):
    """A fit calibrated on scores of later time; `usual` is a uniform sample of them, from fits that were not trained on its rows."""

    model: RiskModel
    level: CalibrationLevel
    usual: FeatureMatrix
    usual_scores: Floats


class UnseenScores(NamedTuple):
    """Raw scores of rows by a fit that was not trained on them, what each known result stands for, and a uniform sample of them."""

    rows: Ints
    raw: Floats
    weight: Floats
    even: Bools


def fit_recipe(
    recipe: Recipe,
    data: DataSet,
    also: Bools | None = None,
    known: FeatureMatrix | None = None,
    options: ComputeOptions = ALONE,
) -> Fit:
    """Learn text weights and norms, compute features, and grow trees; unchanged features are copied from `known`."""
    source, config = recipe
    with report_progress(options.progress, "learning text weights"):
        learnt = np.flatnonzero(data.select_fitting_rows(TRAIN))
        records = source.get_records(learnt)
        positive, weight = data.labels.positive[learnt], data.weight[learnt]
        fitted = fit_features(records, config.features, positive.astype(np.int8), weight)
        texts = np.array([get_goods_text(record) for record in records], dtype=object)
        received = get_time_column_us(data.observed.consignments, "received_at")[learnt]
        text_scores = compute_text_scores(texts, positive, weight, received)
    matrix = source.build_matrix(fitted, data.keep if also is None else data.keep | also, known)
    parts = SplitFeatures(data, matrix)
    rows = parts.select_fitting_rows(TRAIN)
    # The rows used to learn the text weights get their text score out of fold.
    matrix.X[rows, matrix.spec.get_column(TEXT_SCORE)] = text_scores
    trees, linear = grow_trees(
        parts.build_labelled_rows(rows),
        parts.spec,
        config.model,
        seed=config.model.seed,
        threads=options.jobs,
        progress=options.progress,
    )
    return Fit(data, matrix, fitted, trees, linear)


def fit_evaluation(
    recipe: Recipe, data: DataSet, also: Bools | None = None, options: ComputeOptions = ALONE
) -> CalibratedFit:
    """Fit on the training period, and calibrate on the validation period."""
    fit = fit_recipe(recipe, data, also, options=options)
    with report_progress(options.progress, "calibrating"):
        return _calibrate(fit, [score_validation(fit, recipe.config.model.seed, options.jobs)])


def calibrate_final(
    fit: Fit, unseen: Sequence[UnseenScores], progress: Progress | None = None
) -> CalibratedFit:
    """Calibrate a fit on the scores of earlier fits on later time, whose rows it has; it keeps only the usual ones."""
    with report_progress(progress, "calibrating on later time"):
        nothing = np.zeros(len(fit.data.part), dtype=bool)
        return _calibrate(fit, [scale_to(fit, period) for period in unseen]).keep_rows(nothing)


def score_validation(fit: Fit, seed: int, jobs: int = 1) -> UnseenScores:
    """Compute the raw scores of a fit on the known results of its validation period, and on a uniform sample of it."""
    parts = SplitFeatures(fit.data, fit.matrix, jobs)
    inside = parts.select_part(VALIDATION)
    weight = parts.estimate_result_weights(inside, seed)
    even, background = inside & parts.labels.known, inside & parts.background
    rate = parts.data.background_rate.get(VALIDATION, 0.0)
    if background.any() and rate > 0:
        # The background, and the same share of the inspected rows.
        even = background | (even & (np.random.default_rng([seed, VALIDATION, 1]).random(len(even)) < rate))
    mine = even | (weight > 0)
    return UnseenScores(parts.rows[mine], fit.trees.predict_raw(parts.X[mine]), weight[mine], even[mine])


def run_fits(fits: Sequence[Callable[[], T]], jobs: int = 1, progress: Progress | None = None) -> list[T]:
    """Run independent fits, `jobs` at a time on one thread each, and return their results in order."""
    # The limit is one of the process: a fit that ends must not lift it for the others.
    with threadpool_limits(1), ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(fit) for fit in fits]
        for done, _ in enumerate(chain([None], as_completed(running))):
            if progress is not None:
                progress("fitting as deployed", done, len(fits))
    return [each.result() for each in running]


class SplitFeatures:
    """Feature rows with their labels and weights, by part of the split; `jobs` threads estimate the weights of results."""

    def __init__(self, data: DataSet, matrix: FeatureMatrix, jobs: int = 1) -> None:
        self._jobs = jobs
        self.data, self.matrix = data, matrix
        self.X, self.spec, self.rows = matrix.X, matrix.spec, matrix.rows
        self.frame, self.labels = data.observed.consignments, data.labels.select_rows(matrix.rows)
        self.weight, self.background = data.weight[matrix.rows], data.background[matrix.rows]
        self.day = get_time_column_us(self.frame, "received_at")[matrix.rows] // US_PER_DAY

    def select_part(self, part: int) -> Bools:
        """Select the feature rows of a part."""
        return np.asarray(self.data.part[self.rows] == part)

    def select_fitting_rows(self, part: int) -> Bools:
        """Select the feature rows of a part that are fitted on."""
        return self.data.select_fitting_rows(part)[self.rows]

    def get_channels(self, mine: Bools | Ints) -> list[str]:
        """Return the channels of some feature rows."""
        return [str(channel) for channel in extract_texts(self.frame, "channel", self.rows[mine])]

    def build_labelled_rows(self, mine: Bools) -> LabelledRows:
        """Return a copy of some feature rows with their labels and weights."""
        positive = self.labels.positive[mine].astype(np.float64)
        return LabelledRows(self.X[mine], positive, self.weight[mine], self.get_channels(mine))

    def estimate_result_weights(self, mine: Bools, seed: int, stands_for: Floats | None = None) -> Floats:
        """Estimate how many consignments each known result of a period stands for, else 0."""
        traffic = self.data.traffic_weight[self.rows] if stands_for is None else stands_for
        weight, labels = np.zeros(len(self.X)), self.labels.select_rows(np.flatnonzero(mine))
        weight[mine] = estimate_result_weights(
            self.X[mine], labels, traffic[mine], self.day[mine], seed=seed, jobs=self._jobs
        )
        return weight

    def weigh_results(self, at: Ints, stands_for: Floats) -> Floats:
        """Estimate how many consignments each known result of some rows stands for, as runs of other settings do."""
        X = self.X[np.ix_(at, select_weighing_columns(self.spec))]
        labels, day = self.labels.select_rows(at), self.day[at]
        return estimate_result_weights(X, labels, stands_for, day, seed=1, jobs=self._jobs)


def scale_to(fit: Fit, period: UnseenScores) -> UnseenScores:
    """Convert another fit's raw scores to the scale of a fit; rows that it did not learn from get its own raw score."""
    labels, rows = fit.data.labels, period.rows
    learnt = labels.known[rows] | fit.data.background[rows] | labels.chosen[rows]
    own = fit.trees.predict_raw(fit.matrix.X[np.searchsorted(fit.matrix.rows, rows)])
    ratio, offset = fit_raw_scale(period.raw[~learnt], own[~learnt])
    return period._replace(raw=np.where(learnt, ratio * period.raw + offset, own))


def _calibrate(fit: Fit, unseen: Sequence[UnseenScores]) -> CalibratedFit:
    """Calibrate raw scores in the scale of a fit on their known results; random inspections anchor the level."""
    parts = SplitFeatures(fit.data, fit.matrix)
    places = [np.searchsorted(fit.matrix.rows, period.rows) for period in unseen]
    parts_of = [(each.raw, each.weight) for each in unseen]
    raw, weight = (np.concatenate(each) for each in zip(*parts_of, strict=True))
    known = weight > 0
    at, raw, weight = np.concatenate(places)[known], raw[known], weight[known]
    positive, drawn = parts.labels.positive[at], parts.labels.selected_by[at] == "random"
    chosen = fit_calibration(raw, positive.astype(np.float64), weight, parts.get_channels(at))
    random = raw[drawn], parts.get_channels(at[drawn]), positive[drawn]
    calibration, level = anchor_calibration(chosen, *random)
    even = unseen[-1].even
    usual = places[-1][even]
    scores = calibration.calibrate(unseen[-1].raw[even], parts.get_channels(usual))
    model = RiskModel(fit.trees, calibration, Bands.from_scores(scores), parts.spec)
    reference = FeatureMatrix(parts.X[usual], parts.rows[usual], parts.spec)
    return CalibratedFit(
        fit.data, fit.matrix, fit.fitted, fit.trees, fit.linear, model, level, reference, scores
    )
