"""Two fits in one training run: the evaluation fit, which is tested on later time, and the final fit, which is deployed.

The recipe is the same: feature parameters are learnt from the fitted rows, then trees, then calibration and bands from scores of
later time. The number of trees, the shares and the weights are fixed beforehand (`training.config`); no period chooses them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from itertools import chain
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import FeatureMatrix, Progress, report_progress
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


class FeatureSource(Protocol):
    """Source of the features of a data set: computed from tables, or kept as they were at the time."""

    def get_records(self, rows: Positions) -> list[Consignment]:
        """Return the consignments at some positions of the table."""

    def build_matrix(self, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Compute the feature rows of the kept consignments, each as of its own time of scoring."""

    def refit(self, matrix: FeatureMatrix, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Return the feature rows of the kept consignments of a matrix under other fitted parameters."""


class FitTask(NamedTuple):
    """Input of a fit.

    Attributes
    ----------
    data : DataSet
    source : FeatureSource
        Source of its features.
    config : TrainConfig
    """

    data: DataSet
    source: FeatureSource
    config: TrainConfig


class GrownFit(NamedTuple):
    """A fit before its scores are calibrated.

    Attributes
    ----------
    fitted : FittedParameters
    trees : Trees
    linear : LogisticRegression or None
        The linear model that has a share in the trees.
    positives, labelled : int
        Numbers of labels it was fitted on.
    learnt_until : datetime
        End of the arrivals it was fitted on.
    """

    fitted: FittedParameters
    trees: Trees
    linear: LogisticRegression | None
    positives: int
    labelled: int
    learnt_until: datetime


class UnseenScores(NamedTuple):
    """Raw scores of traffic by a fit that was not trained on that period.

    Attributes
    ----------
    rows : int64 array, (n,)
        Positions in the table.
    raw : float64 array, (n,)
    weight : float64 array, (n,)
        How many consignments a known result stands for; 0 if none is known.
    even : bool array, (n,)
        Rows that are a uniform sample of all arrivals.
    """

    rows: Positions
    raw: Floats
    weight: Floats
    even: Bools


class EvaluationFit(NamedTuple):
    """The fit that is evaluated on later time.

    Attributes
    ----------
    grown : GrownFit
    matrix : FeatureMatrix
        Feature rows of its data, and of additional rows if requested.
    model : RiskModel
        Calibrated on validation.
    level : CalibrationLevel
        Uncertainty of the level of its scores.
    """

    grown: GrownFit
    matrix: FeatureMatrix
    model: RiskModel
    level: CalibrationLevel


class TrafficScores(NamedTuple):
    """Feature rows of a period's traffic, and scores (n,) by fits that were not trained on the row."""

    matrix: FeatureMatrix
    scores: Floats


class FinalFit(NamedTuple):
    """The recipe fitted on every label known at the date of training; this fit is served.

    Attributes
    ----------
    grown : GrownFit
    model : RiskModel
        Calibrated on scores of later time by earlier fits of the recipe.
    level : CalibrationLevel
        Uncertainty of the level of its scores.
    traffic : TrafficScores
        Traffic of the last later period, as the reference for what is usual.
    """

    grown: GrownFit
    model: RiskModel
    level: CalibrationLevel
    traffic: TrafficScores


def grow_fit(
    task: FitTask,
    build_matrix: Callable[[FittedParameters], FeatureMatrix],
    jobs: int = 1,
    progress: Progress | None = None,
) -> tuple[GrownFit, FeatureMatrix]:
    """Learn text weights and norms, compute the features with them, and grow trees on the training rows.

    Parameters
    ----------
    task : FitTask
    build_matrix : callable
        Returns the feature rows under the fitted parameters; at least those of the task's data.
    jobs, progress
        As in `fit_evaluation`.
    """
    data, source, config = task
    with report_progress(progress, "learning text weights"):
        fitted, text_scores = _learn_features(data, source, config)
    matrix = build_matrix(fitted)
    parts = SplitFeatures(data, matrix)
    rows = parts.select_fitting_rows(TRAIN)
    # The rows used to learn the text weights get their text score out of fold.
    matrix.X[rows, matrix.spec.get_column(TEXT_SCORE)] = text_scores
    if progress is not None:
        progress("growing trees", 0, config.model.trees)
    options = FitOptions(config.model.build_tree_params(), config.model.seed, jobs, progress)
    labelled = parts.build_labelled_rows(rows)
    trees, linear = grow_trees(labelled, parts.spec, options)
    known = rows & parts.known
    positives, results = int(parts.positive[known].sum()), int(known.sum())
    return GrownFit(fitted, trees, linear, positives, results, data.split.train.ends), matrix


def fit_evaluation(
    task: FitTask, jobs: int = 1, progress: Progress | None = None, *, also: Bools | None = None
) -> EvaluationFit:
    """Fit on the training period, and calibrate on the validation period.

    Parameters
    ----------
    task : FitTask
        Its consignments need only `received_at` and `channel`.
    jobs : int
        Threads that fit the parts of a model and estimate the weights of results; any number gives the same model.
    progress : callable, optional
    also : bool array, (consignments,), optional
        Further rows that the matrix shall hold; this fit does not use them.
    """
    data, source, config = task
    keep = data.keep if also is None else data.keep | also
    grown, matrix = grow_fit(task, lambda fitted: source.build_matrix(fitted, keep), jobs, progress)
    parts = SplitFeatures(data, matrix, jobs)
    with report_progress(progress, "calibrating"):
        weight = parts.estimate_result_weights(parts.select_part(VALIDATION), config.model.seed)
        known, sample = weight > 0, _sample_validation(parts, config.model.seed)
        raw = predict_finite(grown.trees, parts.X[known])
        calibration, level = _calibrate(parts, known, raw, weight[known])
        seen = predict_finite(grown.trees, parts.X[sample])
        bands = Bands.from_scores(calibration.calibrate(seen, parts.get_channels(sample)))
    model = RiskModel(grown.trees, calibration, bands, parts.spec)
    return EvaluationFit(grown, matrix, model, level)


def score_validation(evaluated: EvaluationFit, data: DataSet, seed: int) -> UnseenScores:
    """Compute the scores of the evaluation fit on the validation period.

    Parameters
    ----------
    evaluated : EvaluationFit
    data : DataSet
        The data that it was fitted on.
    seed : int
        For the weights of the results.
    """
    parts = SplitFeatures(data, evaluated.matrix)
    weight = parts.estimate_result_weights(parts.select_part(VALIDATION), seed)
    even = _sample_validation(parts, seed)
    mine = even | (weight > 0)
    raw = predict_finite(evaluated.grown.trees, parts.X[mine])
    return UnseenScores(parts.locate_rows(mine), raw, weight[mine], even[mine])


def score_test(evaluated: EvaluationFit, data: DataSet, weight: Floats) -> UnseenScores:
    """Compute the scores of the evaluation fit on the test period; `weight` belongs to its known results."""
    parts = SplitFeatures(data, evaluated.matrix)
    test = parts.select_part(TEST)
    raw, rows = predict_finite(evaluated.grown.trees, parts.X[test]), parts.locate_rows(test)
    return UnseenScores(rows, raw, weight, data.observed.kept.even[rows])


def fit_as_deployed(
    task: FitTask, matrix: FeatureMatrix, keep: Bools, jobs: int = 1, progress: Progress | None = None
) -> tuple[GrownFit, FeatureMatrix]:
    """Fit the recipe on every label that a data set contains, and learn text weights and norms again.

    Parameters
    ----------
    task : FitTask
        Its data hold nothing out.
    matrix : FeatureMatrix
        From any fit; it contains the rows to keep.
    keep : bool array, (consignments,)
        Rows whose features are needed under this fit, in addition to those it is fitted on.
    jobs, progress
        As in `fit_evaluation`.

    Returns
    -------
    GrownFit
    FeatureMatrix
        The rows that it was fitted on, and the kept ones.
    """
    wanted = task.data.keep | keep
    return grow_fit(task, lambda fitted: task.source.refit(matrix, fitted, wanted), jobs, progress)


def fit_final(
    task: FitTask,
    matrix: FeatureMatrix,
    unseen: Sequence[UnseenScores],
    jobs: int = 1,
    progress: Progress | None = None,
) -> FinalFit:
    """Fit the recipe on all known labels, and calibrate it on the scores of earlier fits on later time.

    Parameters
    ----------
    task : FitTask
        Its data hold nothing out.
    matrix : FeatureMatrix
        Of the evaluation fit.
    unseen : sequence of UnseenScores
        At least one; the last is the reference for usual traffic.
    jobs, progress
        As in `fit_evaluation`.
    """
    later = np.zeros(len(task.data.part), dtype=bool)
    for period in unseen:
        later[period.rows] = True
    grown, own = fit_as_deployed(task, matrix, later, jobs, progress)
    return calibrate_final(task.data, grown, own, unseen, progress)


def calibrate_final(
    data: DataSet,
    grown: GrownFit,
    own: FeatureMatrix,
    unseen: Sequence[UnseenScores],
    progress: Progress | None = None,
) -> FinalFit:
    """Calibrate a fit on all known labels on the scores of earlier fits on later time.

    Parameters
    ----------
    data : DataSet
        That it was fitted on.
    grown, own
        As `fit_as_deployed` returns them; the rows include those of `unseen`.
    unseen, progress
        As in `fit_final`.
    """
    with report_progress(progress, "calibrating on later time"):
        parts = SplitFeatures(data, own)
        places = [np.searchsorted(own.rows, period.rows) for period in unseen]
        scaled = [
            _scale_to(grown.trees, parts, at, period.raw) for at, period in zip(places, unseen, strict=True)
        ]
        known = [period.weight > 0 for period in unseen]
        calibration, level = _calibrate(
            parts,
            np.concatenate([at[mine] for at, mine in zip(places, known, strict=True)]),
            np.concatenate([raw[mine] for raw, mine in zip(scaled, known, strict=True)]),
            np.concatenate([period.weight[mine] for period, mine in zip(unseen, known, strict=True)]),
        )
        even = unseen[-1].even
        usual = places[-1][even]
        scores = calibration.calibrate(scaled[-1][even], parts.get_channels(usual))
    model = RiskModel(grown.trees, calibration, Bands.from_scores(scores), parts.spec)
    traffic = TrafficScores(FeatureMatrix(parts.X[usual], unseen[-1].rows[even], parts.spec), scores)
    return FinalFit(grown, model, level, traffic)


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


def _scale_to(trees: Trees, parts: "SplitFeatures", at: Positions, raw: Floats) -> Floats:
    """Convert another fit's raw scores of some feature rows to the scale of these trees.

    Rows that the trees were not fitted on get their own raw score.
    """
    learnt = parts.known[at] | parts.background[at] | parts.chosen[at]
    own = predict_finite(trees, parts.X[at])
    ratio, offset = fit_raw_scale(raw[~learnt], own[~learnt])
    scaled: Floats = np.where(learnt, ratio * raw + offset, own)
    return scaled


class SplitFeatures:
    """Feature rows with their labels and weights, by part of the split.

    Parameters
    ----------
    data : DataSet
    matrix : FeatureMatrix
    jobs : int
        Number of threads that estimate the weights of results, which do not depend on it.
    """

    def __init__(self, data: DataSet, matrix: FeatureMatrix, jobs: int = 1) -> None:
        self._jobs = jobs
        self.data, self.X, self.spec = data, matrix.X, matrix.spec
        self.frame = data.observed.consignments
        self.rows = matrix.rows
        self._part = data.part[matrix.rows]
        self.known = data.labels.known[matrix.rows]
        self.positive = data.labels.positive[matrix.rows]
        self.chosen = data.labels.chosen[matrix.rows]
        self.logged = data.labels.probability[matrix.rows]
        self.tipped = data.labels.selected_by[matrix.rows] == "intelligence"
        self.random = data.labels.selected_by[matrix.rows] == "random"
        self.weight = data.weight[matrix.rows]
        self.background = data.background[matrix.rows]
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
        return FeatureMatrix(self.X[test], self.locate_rows(test), self.spec)

    def get_channels(self, mine: Bools | Positions) -> list[str]:
        """Return the channels of some feature rows."""
        return [str(channel) for channel in self._channels[mine]]

    def build_labelled_rows(self, mine: Bools) -> LabelledRows:
        """Return a copy of some feature rows with their labels and weights."""
        labels = self.positive[mine].astype(np.float64)
        return LabelledRows(self.X[mine], labels, self.weight[mine], self.get_channels(mine))

    def estimate_result_weights(self, mine: Bools, seed: int, stands_for: Floats | None = None) -> Floats:
        """Estimate how many consignments each known result of a period stands for.

        Parameters
        ----------
        mine : bool array, (feature rows,)
            The period: known results and its traffic, or a sample of it.
        seed : int
        stands_for : float64 array, (feature rows,), optional
            How many consignments a row of traffic stands for. Default: as the data set sampled it.

        Returns
        -------
        float64 array, (feature rows,)
            0 for rows outside, and if no result is known.
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
                self.X[rest],
                self.known[rest],
                traffic[rest],
                self.day[rest],
                seed=seed,
                jobs=self._jobs,
            )
        weight[mine] = compute_result_weights(known, logged, estimated)
        return weight


def _learn_features(
    data: DataSet, source: FeatureSource, config: TrainConfig
) -> tuple[FittedParameters, NDArray[np.float32]]:
    """Fit the feature parameters, and compute the text scores of the training rows out of fold."""
    rows = np.flatnonzero(data.select_fitting_rows(TRAIN))
    records = source.get_records(rows)
    labels, weights = data.labels.positive[rows].astype(np.int8), data.weight[rows]
    fitted = fit_features(records, config.features, labels, weights)
    texts = np.array([get_goods_text(record) for record in records], dtype=object)
    received = get_time_column_us(data.observed.consignments, "received_at")[rows]
    return fitted, compute_text_scores(texts, data.labels.positive[rows], weights, received)


def _calibrate(
    parts: SplitFeatures, at: Bools | Positions, raw: Floats, weight: Floats
) -> tuple[Calibration, CalibrationLevel]:
    """Fit the calibration of raw scores with known results; random inspections anchor the level.

    Parameters
    ----------
    parts : SplitFeatures
    at : bool array or int64 array
        The feature rows with a known result.
    raw, weight : float64 array, (known results,)
    """
    channels, positive, drawn = parts.get_channels(at), parts.positive[at], parts.random[at]
    chosen = Calibration.fit(raw, positive.astype(np.float64), weight, channels)
    return anchor_calibration(
        chosen, raw[drawn], [channels[place] for place in np.flatnonzero(drawn)], positive[drawn]
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
