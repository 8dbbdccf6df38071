"""Fits of one recipe: the evaluation fit, which is tested on later time, fits of earlier dates, and the final fit, which is served.

Feature parameters are learnt from the fitted rows, then trees, then calibration and bands from scores of later time. The number of
trees, the shares and the weights are fixed beforehand (`training.config`); no period chooses them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import ComputeOptions, FeatureMatrix, Progress, report_progress
from features.fitted import FittedParameters, fit_features
from features.normalization.normal_forms import get_goods_text
from models.bands import Bands
from models.calibration import Calibration, CalibrationLevel, anchor_calibration, fit_raw_scale
from models.linear import LogisticRegression
from models.risk_model import FitOptions, LabelledRows, RiskModel, grow_trees, predict_finite
from models.trees import Trees
from training.config import TrainConfig
from training.data.propensity import compute_result_weights, estimate_known_probability
from training.data.splits import TEST, TRAIN, VALIDATION
from training.data.training_set import DataSet
from training.evaluation.traffic import extract_texts
from training.fitting.rolling_origin import TEXT_SCORE, compute_text_scores

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]
T = TypeVar("T")
ALONE = ComputeOptions()
"""One thread, no progress."""


class FeatureSource(Protocol):
    """Source of the features of a data set: computed from tables, or kept as they were at the time."""

    def get_records(self, rows: Positions) -> list[Consignment]:
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
    """A fit of the recipe: the data it learnt from, feature rows under its parameters, and what it learnt.

    The rows are at least those of its data. `linear` is the linear model that has a share in the trees, if any.
    """

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
    """A fit with its model, calibrated on scores of later time, and the uncertainty of the level of these scores.

    `usual` is a uniform sample of later traffic with its scores (n,), the reference for what is usual. Each of these scores
    comes from a fit that was not trained on the row.
    """

    model: RiskModel
    level: CalibrationLevel
    usual: FeatureMatrix
    usual_scores: Floats


class UnseenScores(NamedTuple):
    """Raw scores of traffic by a fit that was not trained on that period.

    `rows` (n,) are positions in the table. `weight` is how many consignments a known result stands for, 0 if none is known.
    `even` marks a uniform sample of all arrivals.
    """

    rows: Positions
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
    """Learn text weights and norms, compute the features with them, and grow trees on the training rows.

    `also` marks further rows whose features are wanted. `known` are rows of another fit, of which the features are copied that no
    fit changes. The number of jobs changes no bit.
    """
    source, config = recipe
    with report_progress(options.progress, "learning text weights"):
        fitted, text_scores = _learn_features(recipe, data)
    matrix = source.build_matrix(fitted, data.keep if also is None else data.keep | also, known)
    parts = SplitFeatures(data, matrix)
    rows = parts.select_fitting_rows(TRAIN)
    # The rows used to learn the text weights get their text score out of fold.
    matrix.X[rows, matrix.spec.get_column(TEXT_SCORE)] = text_scores
    if options.progress is not None:
        options.progress("growing trees", 0, config.model.trees)
    fit_options = FitOptions(
        config.model.build_tree_params(), config.model.seed, options.jobs, options.progress
    )
    trees, linear = grow_trees(parts.build_labelled_rows(rows), parts.spec, fit_options)
    return Fit(data, matrix, fitted, trees, linear)


def fit_evaluation(
    recipe: Recipe, data: DataSet, also: Bools | None = None, options: ComputeOptions = ALONE
) -> CalibratedFit:
    """Fit on the training period, and calibrate on the validation period."""
    fit = fit_recipe(recipe, data, also, options=options)
    with report_progress(options.progress, "calibrating"):
        return _calibrate(fit, [score_validation(fit, recipe.config.model.seed, options.jobs)])


def fit_final(
    recipe: Recipe,
    data: DataSet,
    known: FeatureMatrix,
    unseen: Sequence[UnseenScores],
    options: ComputeOptions = ALONE,
) -> CalibratedFit:
    """Fit on data that hold nothing out, and calibrate on the scores of earlier fits; the last ones are the usual traffic."""
    later = np.zeros(len(data.part), dtype=bool)
    for period in unseen:
        later[period.rows] = True
    return calibrate_final(fit_recipe(recipe, data, later, known, options), unseen, options.progress)


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
    weight = parts.estimate_result_weights(parts.select_part(VALIDATION), seed)
    even = _sample_validation(parts, seed)
    mine = even | (weight > 0)
    return UnseenScores(parts.rows[mine], predict_finite(fit.trees, parts.X[mine]), weight[mine], even[mine])


def score_test(fit: Fit, weight: Floats) -> UnseenScores:
    """Compute the raw scores of a fit on its test period; `weight` belongs to the rows of this period."""
    test = fit.data.part[fit.matrix.rows] == TEST
    rows = fit.matrix.rows[test]
    return UnseenScores(
        rows, predict_finite(fit.trees, fit.matrix.X[test]), weight, fit.data.observed.kept.even[rows]
    )


def run_fits(fits: Sequence[Callable[[], T]], jobs: int = 1, progress: Progress | None = None) -> list[T]:
    """Run independent fits, `jobs` at a time, and return their results in order.

    Each fit takes one thread, so its result does not depend on the others. It holds its own feature rows in memory.
    """
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
        self.data, self.X, self.spec, self.rows = data, matrix.X, matrix.spec, matrix.rows
        self.frame = data.observed.consignments
        self._part = data.part[matrix.rows]
        labels = data.labels
        self.known, self.positive = labels.known[matrix.rows], labels.positive[matrix.rows]
        self.chosen, self.logged = labels.chosen[matrix.rows], labels.probability[matrix.rows]
        self.tipped = labels.selected_by[matrix.rows] == "intelligence"
        self.random = labels.selected_by[matrix.rows] == "random"
        self.weight, self.background = data.weight[matrix.rows], data.background[matrix.rows]
        self.stands_for = data.traffic_weight[matrix.rows]
        self.day = get_time_column_us(self.frame, "received_at")[matrix.rows] // US_PER_DAY
        self._channels = extract_texts(self.frame, "channel", matrix.rows)

    def select_part(self, part: int) -> Bools:
        """Select the feature rows of a part."""
        rows: Bools = self._part == part
        return rows

    def select_fitting_rows(self, part: int) -> Bools:
        """Select the feature rows of a part that are fitted on."""
        rows: Bools = self.select_part(part) & (self.known | self.background)
        return rows

    def locate_rows(self, mine: Bools) -> Positions:
        """Return the positions of some feature rows in the table."""
        return self.rows[mine]

    @property
    def test_matrix(self) -> FeatureMatrix:
        """The feature rows of the test period."""
        test = self.select_part(TEST)
        return FeatureMatrix(self.X[test], self.rows[test], self.spec)

    def get_channels(self, mine: Bools | Positions) -> list[str]:
        """Return the channels of some feature rows."""
        return [str(channel) for channel in self._channels[mine]]

    def build_labelled_rows(self, mine: Bools) -> LabelledRows:
        """Return a copy of some feature rows with their labels and weights."""
        labels = self.positive[mine].astype(np.float64)
        return LabelledRows(self.X[mine], labels, self.weight[mine], self.get_channels(mine))

    def estimate_result_weights(self, mine: Bools, seed: int, stands_for: Floats | None = None) -> Floats:
        """Estimate how many consignments each known result of a period stands for; 0 outside and without a result.

        The period has all its traffic, or a sample of which each row stands for `stands_for`; by default as the data set sampled it.
        """
        traffic = self.stands_for if stands_for is None else stands_for
        known, logged = self.known[mine], self.logged[mine]
        weight = np.zeros(len(self.X))
        if known.all():
            weight[mine] = 1.0
            return weight
        estimated = None
        if np.isnan(logged[known]).any():
            # Rows inspected on intelligence stand for themselves: the data do not show which others had intelligence.
            rest = mine & ~self.tipped
            estimated = np.ones(len(known))
            estimated[rest[mine]] = estimate_known_probability(
                self.X[rest], self.known[rest], traffic[rest], self.day[rest], seed=seed, jobs=self._jobs
            )
        weight[mine] = compute_result_weights(known, logged, estimated)
        return weight


def _learn_features(recipe: Recipe, data: DataSet) -> tuple[FittedParameters, NDArray[np.float32]]:
    """Fit the feature parameters, and compute the text scores of the training rows out of fold."""
    rows = np.flatnonzero(data.select_fitting_rows(TRAIN))
    records = recipe.source.get_records(rows)
    positive, weight = data.labels.positive[rows], data.weight[rows]
    fitted = fit_features(records, recipe.config.features, positive.astype(np.int8), weight)
    texts = np.array([get_goods_text(record) for record in records], dtype=object)
    received = get_time_column_us(data.observed.consignments, "received_at")[rows]
    return fitted, compute_text_scores(texts, positive, weight, received)


def scale_to(fit: Fit, period: UnseenScores) -> UnseenScores:
    """Convert another fit's raw scores to the scale of a fit; rows that it did not learn from get its own raw score."""
    labels, rows = fit.data.labels, period.rows
    learnt = labels.known[rows] | fit.data.background[rows] | labels.chosen[rows]
    own = predict_finite(fit.trees, fit.matrix.X[np.searchsorted(fit.matrix.rows, rows)])
    ratio, offset = fit_raw_scale(period.raw[~learnt], own[~learnt])
    return period._replace(raw=np.where(learnt, ratio * period.raw + offset, own))


def _calibrate(fit: Fit, unseen: Sequence[UnseenScores]) -> CalibratedFit:
    """Calibrate raw scores in the scale of a fit on their known results; random inspections anchor the level."""
    parts = SplitFeatures(fit.data, fit.matrix)
    places = [np.searchsorted(fit.matrix.rows, period.rows) for period in unseen]
    known = [period.weight > 0 for period in unseen]
    at = np.concatenate([rows[mine] for rows, mine in zip(places, known, strict=True)])
    raw = np.concatenate([period.raw[mine] for period, mine in zip(unseen, known, strict=True)])
    weight = np.concatenate([period.weight[mine] for period, mine in zip(unseen, known, strict=True)])
    channels, positive, drawn = parts.get_channels(at), parts.positive[at], parts.random[at]
    chosen = Calibration.fit(raw, positive.astype(np.float64), weight, channels)
    drawn_channels = [channels[place] for place in np.flatnonzero(drawn)]
    calibration, level = anchor_calibration(chosen, raw[drawn], drawn_channels, positive[drawn])
    even = unseen[-1].even
    usual = places[-1][even]
    scores = calibration.calibrate(unseen[-1].raw[even], parts.get_channels(usual))
    model = RiskModel(fit.trees, calibration, Bands.from_scores(scores), parts.spec)
    reference = FeatureMatrix(parts.X[usual], parts.rows[usual], parts.spec)
    return CalibratedFit(
        fit.data, fit.matrix, fit.fitted, fit.trees, fit.linear, model, level, reference, scores
    )


def _sample_validation(parts: SplitFeatures, seed: int) -> Bools:
    """Draw a uniform sample of validation traffic: the background, and the same share of the inspected rows."""
    known = parts.select_part(VALIDATION) & parts.known
    background = parts.select_part(VALIDATION) & parts.background
    rate = parts.data.background_rate.get(VALIDATION, 0.0)
    if not background.any() or rate <= 0:
        return known
    drawn = np.random.default_rng([seed, VALIDATION, 1]).random(len(known)) < rate
    sample: Bools = background | (known & drawn)
    return sample
