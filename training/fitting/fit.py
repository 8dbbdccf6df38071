"""Fits of one recipe: the evaluation fit, fits of earlier dates, and the final fit; no period chooses a setting."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import ComputeOptions, FeatureParameters, Progress, report_progress
from features.fitted import FittedParameters, fit_features
from features.normalization.normal_forms import get_goods_text
from models.arrays import Bools, Floats, Ints, Rows
from models.bands import Bands
from models.calibration import CalibrationLevel
from models.fitting.boosting import LabelledRows, grow_trees
from models.fitting.calibration import anchor_calibration, fit_calibration, fit_raw_scale
from models.fitting.linear import LogisticRegression
from models.risk_model import RiskModel
from models.trees import Trees
from training.config import TrainConfig
from training.data.fit_rows import FeatureSource, FitRows, compute_fit_rows
from training.data.propensity import estimate_result_weights, select_weighing_columns
from training.data.splits import TRAIN, VALIDATION
from training.data.training_set import DataSet
from training.evaluation.traffic import extract_texts
from training.fitting.rolling_origin import TEXT_SCORE, compute_text_scores

T = TypeVar("T")
ALONE = ComputeOptions()


class Recipe(NamedTuple):
    """The common parts of all fits of a training: the source of their features, and their settings."""

    source: FeatureSource
    config: TrainConfig


@dataclass(frozen=True, repr=False)
class Fit:
    """A fit of the recipe: its data, feature rows under its parameters, and what it learnt; `linear` has a share in the trees."""

    data: DataSet
    matrix: FitRows
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

    def predict_raw(self, rows: Ints) -> Floats:
        """Compute the raw scores of the consignments at some positions of the table."""
        return self.trees.predict_raw(self.matrix.look_up(rows))

    @property
    def _learnt(self) -> Bools:
        return self.data.select_fitting_rows(TRAIN) & self.data.labels.known


class UnseenScores(NamedTuple):
    """Raw scores of rows by a fit that was not trained on them, what each known result stands for, and a uniform sample of them."""

    rows: Ints
    raw: Floats
    weight: Floats
    even: Bools


@dataclass(frozen=True, repr=False)
class CalibratedFit(Fit):
    """A fit calibrated on scores of later time; `unseen` are those of the latest period."""

    model: RiskModel
    level: CalibrationLevel
    unseen: UnseenScores
    usual_scores: Floats

    @property
    def usual(self) -> Ints:
        """Positions of the uniform sample of the latest period, whose calibrated scores are `usual_scores`."""
        return self.unseen.rows[self.unseen.even]


def fit_recipe(
    recipe: Recipe, data: DataSet, also: Bools | None = None, options: ComputeOptions = ALONE
) -> Fit:
    """Learn text weights and norms, compute the features of the data and of `also`, and grow trees."""
    with report_progress(options.progress, "learning text weights"):
        fitted, text_scores = _learn_parameters(recipe, data)
    keep = data.keep if also is None else data.keep | also
    matrix = compute_fit_rows(recipe.source, FeatureParameters(recipe.config.features, fitted), keep)
    parts = SplitFeatures(data, matrix)
    rows = parts.select_fitting_rows(TRAIN)
    # The rows used to learn the text weights get their text score out of fold.
    matrix.replace_values(rows, TEXT_SCORE, text_scores)
    trees, linear = grow_trees(
        parts.build_labelled_rows(rows),
        parts.spec,
        recipe.config.model,
        seed=recipe.config.model.seed,
        threads=options.jobs,
        progress=options.progress,
    )
    return Fit(data, matrix, fitted, trees, linear)


def _learn_parameters(recipe: Recipe, data: DataSet) -> tuple[FittedParameters, Rows]:
    """Learn the parameters from the rows that are fitted on, and compute the text scores of these out of fold."""
    learnt = np.flatnonzero(data.select_fitting_rows(TRAIN))
    records = recipe.source.get_records(learnt)
    positive, weight = data.labels.positive[learnt], data.weight[learnt]
    fitted = fit_features(records, recipe.config.features, positive.astype(np.int8), weight)
    texts = np.array([get_goods_text(record) for record in records], dtype=object)
    received = get_time_column_us(data.observed.consignments, "received_at")[learnt]
    return fitted, compute_text_scores(texts, positive, weight, received)


def fit_evaluation(
    recipe: Recipe, data: DataSet, also: Bools | None = None, options: ComputeOptions = ALONE
) -> CalibratedFit:
    """Fit on the training period, and calibrate on the validation period."""
    fit = fit_recipe(recipe, data, also, options)
    with report_progress(options.progress, "calibrating"):
        return _calibrate(fit, [_score_validation(fit, recipe.config.model.seed, options.jobs)])


def calibrate_final(
    fit: Fit, unseen: Sequence[UnseenScores], progress: Progress | None = None
) -> CalibratedFit:
    """Calibrate a fit on the scores of earlier fits on later time, whose rows it has."""
    with report_progress(progress, "calibrating on later time"):
        return _calibrate(fit, [scale_to(fit, period) for period in unseen])


def _score_validation(fit: Fit, seed: int, jobs: int) -> UnseenScores:
    """Compute the raw scores of a fit on the known results of its validation period, and on a uniform sample of it."""
    parts = SplitFeatures(fit.data, fit.matrix, jobs)
    inside = parts.select_part(VALIDATION)
    weight = np.zeros(len(inside))
    weight[inside] = parts.weigh_results(parts.rows[inside], fit.data.traffic_weight[parts.rows[inside]])
    even, background = inside & parts.labels.known, inside & parts.background
    rate = parts.data.background_rate.get(VALIDATION, 0.0)
    if background.any() and rate > 0:
        # The background, and the same share of the inspected rows.
        even = background | (even & (np.random.default_rng([seed, VALIDATION, 1]).random(len(even)) < rate))
    mine = even | (weight > 0)
    rows = parts.rows[mine]
    return UnseenScores(rows, fit.predict_raw(rows), weight[mine], even[mine])


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

    def __init__(self, data: DataSet, matrix: FitRows, jobs: int = 1) -> None:
        self._jobs = jobs
        self.data, self.matrix = data, matrix
        self.spec, self.rows = matrix.spec, matrix.rows
        self.frame, self.labels = data.observed.consignments, data.labels.select_rows(matrix.rows)
        self.weight, self.background = data.weight[matrix.rows], data.background[matrix.rows]
        self.day = get_time_column_us(self.frame, "received_at")[matrix.rows] // US_PER_DAY
        self._weighed: dict[bytes, Floats] = {}

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
        return LabelledRows(self.matrix.take(mine), positive, self.weight[mine], self.get_channels(mine))

    def weigh_results(self, rows: Ints, traffic: Floats) -> Floats:
        """Estimate how many consignments each known result of a period stands for, else 0; `rows` are positions in the table."""
        asked = rows.tobytes() + traffic.tobytes()
        # A window is asked for twice: when it calibrates, and when it is evaluated.
        if asked not in self._weighed:
            at, columns = self.matrix.locate(rows), select_weighing_columns(self.spec)
            X, labels = np.take(self.matrix.take(at), columns, axis=1), self.labels.select_rows(at)
            weight = estimate_result_weights(X, labels, traffic, self.day[at], seed=1, jobs=self._jobs)
            self._weighed[asked] = weight
        return self._weighed[asked]


def scale_to(fit: Fit, period: UnseenScores) -> UnseenScores:
    """Convert another fit's raw scores to the scale of a fit; rows that it did not learn from get its own raw score."""
    labels, rows = fit.data.labels, period.rows
    learnt = labels.known[rows] | fit.data.background[rows] | labels.chosen[rows]
    own = fit.predict_raw(rows)
    ratio, offset = fit_raw_scale(period.raw[~learnt], own[~learnt])
    return period._replace(raw=np.where(learnt, ratio * period.raw + offset, own))


def _calibrate(fit: Fit, unseen: Sequence[UnseenScores]) -> CalibratedFit:
    """Calibrate raw scores in the scale of a fit on their known results; random inspections anchor the level."""
    parts = SplitFeatures(fit.data, fit.matrix)
    places = [fit.matrix.locate(period.rows) for period in unseen]
    parts_of = [(each.raw, each.weight) for each in unseen]
    raw, weight = (np.concatenate(each) for each in zip(*parts_of, strict=True))
    known = weight > 0
    at, raw, weight = np.concatenate(places)[known], raw[known], weight[known]
    positive, drawn = parts.labels.positive[at], parts.labels.selected_by[at] == "random"
    chosen = fit_calibration(raw, positive.astype(np.float64), weight, parts.get_channels(at))
    random = raw[drawn], parts.get_channels(at[drawn]), positive[drawn]
    calibration, level = anchor_calibration(chosen, *random)
    last = unseen[-1]
    usual = places[-1][last.even]
    scores = calibration.calibrate(last.raw[last.even], parts.get_channels(usual))
    model = RiskModel(fit.trees, calibration, Bands.from_scores(scores), parts.spec)
    return CalibratedFit(fit.data, fit.matrix, fit.fitted, fit.trees, fit.linear, model, level, last, scores)
