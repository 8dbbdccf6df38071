"""One fit, in the order in which it runs: features learn from the training fold, trees from training, then calibration and bands.

When the trees stop and how scores are calibrated is learnt from validation; the test period takes no part.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.records import Consignment
from consignments.timestamps import US_PER_DAY, get_time_column_us
from features.batch import FeatureMatrix, Progress, report_progress
from features.fitted import FittedParameters, fit_features
from features.normalization.normal_forms import get_goods_text
from models.bands import Bands
from models.calibration import Calibration, CalibrationLevel, anchor_calibration, match_scale
from models.risk_model import BandSample, FitOptions, LabelledRows, RiskModel
from training.config import TrainConfig
from training.data.propensity import compute_result_weights, estimate_known_probability
from training.data.splits import TEST, TRAIN, VALIDATION
from training.data.training_set import DataSet
from training.evaluation.traffic import extract_texts
from training.fitting.rolling_origin import TEXT_SCORE, compute_text_scores

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class FeatureSource(Protocol):
    """Where the features of a data set come from: computed from tables, or kept as they were at the time."""

    def get_records(self, rows: NDArray[np.int64]) -> list[Consignment]:
        """Give the consignments at some positions of the table."""

    def build_matrix(self, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Give the feature rows of the kept consignments, each as of its own moment of scoring."""

    def refit(self, matrix: FeatureMatrix, fitted: FittedParameters, keep: Bools) -> FeatureMatrix:
        """Give the feature rows of the kept consignments of a matrix under other fitted parameters."""


class OutOfTimeScores(NamedTuple):
    """What the scores of later time teach: the probability that a score is, its level, and the bands.

    Attributes
    ----------
    calibration : Calibration
        Anchored on random inspections.
    level : CalibrationLevel
    bands : Bands
    rows : int64 array, (n,)
        Positions in the table of the traffic that the bands are shares of.
    raw : float64 array, (n,)
        Its raw scores.
    """

    calibration: Calibration
    level: CalibrationLevel
    bands: Bands
    rows: NDArray[np.int64]
    raw: Floats


class FitResult(NamedTuple):
    """What was learnt, the feature rows that it was learnt from, and what its scores of validation taught."""

    fitted: FittedParameters
    matrix: FeatureMatrix
    model: RiskModel
    later: OutOfTimeScores


class TrafficScores(NamedTuple):
    """Feature rows of a period's traffic, and scores (n,) by fits that have not learnt of their row."""

    matrix: FeatureMatrix
    scores: Floats


class FinalFit(NamedTuple):
    """The recipe of an evaluation fit on every label known at the date of training; this is what is served.

    Attributes
    ----------
    fitted : FittedParameters
    model : RiskModel
        Its calibration and bands come from the evaluation fit's scores of later time.
    level : CalibrationLevel
        How far its promise may be off.
    positives, labelled : int
        Labels that it learnt from.
    learnt_until : datetime
        The end of the arrivals it learnt from.
    traffic : TrafficScores
        Of the last period of later time: what is usual.
    """

    fitted: FittedParameters
    model: RiskModel
    level: CalibrationLevel
    positives: int
    labelled: int
    learnt_until: datetime
    traffic: TrafficScores


class FitTask(NamedTuple):
    """What is fitted on which rows: a data set, where its features come from, and the settings."""

    data: DataSet
    source: FeatureSource
    config: TrainConfig


def fit_final(
    task: FitTask,
    first: FitResult,
    later: OutOfTimeScores,
    jobs: int = 1,
    progress: Progress | None = None,
) -> FinalFit:
    """Fit the recipe that was evaluated once more, with words and norms learnt anew, on all that is known.

    Parameters
    ----------
    task : FitTask
        Its data hold nothing out.
    first : FitResult
        The evaluation fit; its matrix holds the rows of `data.keep`.
    later : OutOfTimeScores
        Of the evaluation fit.
    jobs : int
        Threads that grow trees; any number gives the same model.
    progress : callable, optional
    """
    data, source, config = task
    keep = data.keep.copy()
    keep[later.rows] = True
    with report_progress(progress, "learning words again"):
        fitted, text_scores = _learn_features(data, source, config)
        matrix = source.refit(first.matrix, fitted, keep)
    parts = SplitFeatures(data, matrix)
    rows = parts.select_fitting_rows(TRAIN)
    matrix.X[rows, matrix.spec.get_column(TEXT_SCORE)] = text_scores
    recipe, nothing = first.model.recipe, np.zeros_like(rows)
    assert recipe is not None
    params = msgspec.structs.replace(
        config.model.build_tree_params(0), trees=recipe.trees, linear_share=recipe.linear_share
    )
    grown = RiskModel.fit(
        parts.select_labelled_rows(rows),
        spec=parts.spec,
        validation=parts.select_labelled_rows(nothing),
        traffic=BandSample(parts.X[rows], parts.get_channels(rows)),
        options=FitOptions(params, config.model.seed, jobs, progress),
    )
    known = rows & parts.known
    traffic = np.searchsorted(matrix.rows, later.rows)
    X, channels = matrix.X[traffic], [parts.get_channel(place) for place in traffic]
    unseen, raw = _select_unseen(data, later), grown.predict_raw(X)
    calibration = match_scale(later.calibration, raw[unseen], later.raw[unseen])
    # Everywhere the score of a fit that has not learnt of the row, on one scale.
    scores = later.calibration.calibrate(later.raw, channels)
    scores[unseen] = calibration.calibrate(raw, channels)[unseen]
    model = RiskModel(grown.trees, calibration, Bands.from_scores(scores), parts.spec)
    return FinalFit(
        fitted,
        model,
        later.level,
        int(parts.positive[known].sum()),
        int(known.sum()),
        data.split.train.ends,
        TrafficScores(FeatureMatrix(X, later.rows, parts.spec), scores),
    )


def _select_unseen(data: DataSet, later: OutOfTimeScores) -> Bools:
    """Select traffic of later time that the final fit does not learn from either: unopened, and not drawn as background."""
    unseen: Bools = ~data.keep[later.rows] & ~data.labels.chosen[later.rows]
    return unseen


def fit(
    data: DataSet,
    source: FeatureSource,
    config: TrainConfig,
    jobs: int = 1,
    progress: Progress | None = None,
    *,
    also: Bools | None = None,
) -> FitResult:
    """Learn the features' learnt part, then trees, calibration and bands.

    Parameters
    ----------
    data : DataSet
        Of its consignments `received_at` and `channel` suffice.
    source : FeatureSource
        Of the same rows.
    config : TrainConfig
    jobs : int
        Threads that grow trees; any number gives the same model.
    progress : callable, optional
    also : bool array, (consignments,), optional
        Further rows that the matrix shall hold, for the final fit; this fit takes no notice of them.
    """
    # What features learn, they learn from the training fold; its own rows get the score of words out of fold.
    with report_progress(progress, "learning words"):
        fitted, text_scores = _learn_features(data, source, config)
    # Rows only for what is fitted, calibrated or tested on.
    matrix = source.build_matrix(fitted, data.keep if also is None else data.keep | also)
    parts = SplitFeatures(data, matrix)
    matrix.X[parts.select_fitting_rows(TRAIN), matrix.spec.get_column(TEXT_SCORE)] = text_scores
    # Trees from training, stopped by validation; then calibrated on validation as if nobody had selected.
    return FitResult(fitted, matrix, *_fit_model(parts, config, jobs, progress))


class SplitFeatures:
    """The feature rows with what belongs to them, by part of the split."""

    def __init__(self, data: DataSet, matrix: FeatureMatrix) -> None:
        self.data, self.X, self.spec = data, matrix.X, matrix.spec
        self.frame = data.observed.consignments
        self._rows = matrix.rows
        self._part = data.part[matrix.rows]
        self.known = data.labels.known[matrix.rows]
        self.positive = data.labels.positive[matrix.rows]
        self.logged = data.labels.probability[matrix.rows]
        self.tipped = data.labels.selected_by[matrix.rows] == "intelligence"
        self.random = data.labels.selected_by[matrix.rows] == "random"
        self.weight = data.weight[matrix.rows]
        self.background = data.background[matrix.rows]
        self.stands_for = data.traffic_weight[matrix.rows]
        self.day = get_time_column_us(self.frame, "received_at")[matrix.rows] // US_PER_DAY
        self._channels = extract_texts(self.frame, "channel", matrix.rows)

    def select_part(self, part: int) -> Bools:
        """Feature rows of a part."""
        rows: Bools = self._part == part
        return rows

    def select_fitting_rows(self, part: int) -> Bools:
        """Feature rows of a part that are fitted on."""
        rows: Bools = self.select_part(part) & (self.known | self.background)
        return rows

    def locate_rows(self, part: int) -> NDArray[np.int64]:
        """Positions of a part's rows in the table."""
        return self._rows[self.select_part(part)]

    def locate_rows_of(self, mine: Bools) -> NDArray[np.int64]:
        """Positions of some feature rows in the table."""
        return self._rows[mine]

    @property
    def test_matrix(self) -> FeatureMatrix:
        """The feature rows of the test period."""
        return FeatureMatrix(self.X[self.select_part(TEST)], self.locate_rows(TEST), self.spec)

    def get_channel(self, place: int) -> str:
        """Channel of one feature row."""
        return str(self._channels[place])

    def get_channels(self, mine: Bools) -> list[str]:
        """Channels of some feature rows."""
        return list(self._channels[mine])

    def select_labelled_rows(self, mine: Bools) -> LabelledRows:
        """Give some feature rows with their labels and weights."""
        labels = self.positive[mine].astype(np.float64)
        return LabelledRows(self.X[mine], labels, self.weight[mine], self.get_channels(mine))

    def compute_result_weights(self, part: int, seed: int) -> Floats:
        """How many consignments each known result of a part stands for; for the rows of the part."""
        mine = self.select_part(part)
        known, logged = self.known[mine], self.logged[mine]
        if known.all():
            return np.ones(len(known))
        estimated = None
        if np.isnan(logged[known]).any():
            # What was opened on a tip stands for itself alone: nothing in the data tells who else had one.
            rest = ~self.tipped[mine]
            estimated = np.ones(len(known))
            estimated[rest] = estimate_known_probability(
                self.X[mine][rest], known[rest], self.stands_for[mine][rest], self.day[mine][rest], seed=seed
            )
        return compute_result_weights(known, logged, estimated)


def _learn_features(
    data: DataSet, source: FeatureSource, config: TrainConfig
) -> tuple[FittedParameters, NDArray[np.float32]]:
    """Fit the learnt part of the features, and score the training rows' words out of fold."""
    rows = np.flatnonzero(data.select_fitting_rows(TRAIN))
    records = source.get_records(rows)
    labels, weights = data.labels.positive[rows].astype(np.int8), data.weight[rows]
    fitted = fit_features(records, config.features, labels, weights)
    texts = np.array([get_goods_text(record) for record in records], dtype=object)
    received = get_time_column_us(data.observed.consignments, "received_at")[rows]
    return fitted, compute_text_scores(texts, data.labels.positive[rows], weights, received)


def _fit_model(
    parts: SplitFeatures, config: TrainConfig, jobs: int, progress: Progress | None
) -> tuple[RiskModel, OutOfTimeScores]:
    train, later = parts.select_fitting_rows(TRAIN), parts.select_fitting_rows(VALIDATION)
    finds = int(parts.positive[later].sum())
    # Few finds would stop the trees by chance; without rows they are all grown.
    stopping = later if config.model.can_stop_early(finds) else np.zeros_like(later)
    sample = _sample_traffic(parts, config.model.seed)
    params = config.model.build_tree_params(finds)
    if progress is not None:
        progress("growing trees", 0, params.trees)
    grown = RiskModel.fit(
        parts.select_labelled_rows(train),
        spec=parts.spec,
        validation=parts.select_labelled_rows(stopping),
        traffic=BandSample(parts.X[sample], parts.get_channels(sample)),
        options=FitOptions(params, config.model.seed, jobs, progress),
    )
    with report_progress(progress, "calibrating"):
        scores = calibrate(parts, grown, (VALIDATION,), config)
    model = RiskModel(grown.trees, scores.calibration, scores.bands, grown.spec)
    model.recipe = grown.recipe
    return model, scores


def calibrate(
    parts: SplitFeatures, model: RiskModel, periods: Sequence[int], config: TrainConfig
) -> OutOfTimeScores:
    """Learn from a fit's scores of later time what they are worth.

    Known results count each for as many consignments as it stands for; random inspections anchor the level; the bands are shares of
    the traffic of the last period.

    Parameters
    ----------
    parts : SplitFeatures
    model : RiskModel
        It has learnt nothing of the periods.
    periods : sequence of {VALIDATION, TEST}
    config : TrainConfig
    """
    masks = [parts.select_part(period) for period in periods]
    weight = np.zeros(len(parts.X))
    for period, mine in zip(periods, masks, strict=True):
        weight[mine] = parts.compute_result_weights(period, config.model.seed)
    known = np.logical_or.reduce(masks) & parts.known
    raw, channels = model.predict_raw(parts.X[known]), parts.get_channels(known)
    positive = parts.positive[known]
    chosen = Calibration.fit(raw, positive.astype(np.float64), weight[known], channels)
    drawn = parts.random[known]
    calibration, level = anchor_calibration(
        chosen, raw[drawn], [channels[place] for place in np.flatnonzero(drawn)], positive[drawn]
    )
    last = periods[-1]
    sample = parts.select_part(TEST) if last == TEST else _sample_traffic(parts, config.model.seed)
    seen = model.predict_raw(parts.X[sample])
    bands = Bands.from_scores(calibration.calibrate(seen, parts.get_channels(sample)))
    return OutOfTimeScores(calibration, level, bands, parts.locate_rows_of(sample), seen)


def _sample_traffic(parts: SplitFeatures, seed: int) -> Bools:
    """Draw validation traffic evenly: the background, and of the opened ones the same share."""
    known = parts.select_part(VALIDATION) & parts.known
    background = parts.select_part(VALIDATION) & parts.background
    rate = parts.data.background_rate.get(VALIDATION, 0.0)
    if not background.any() or rate <= 0:
        return known
    drawn = np.random.default_rng([seed, VALIDATION, 1]).random(len(known)) < rate
    sample: Bools = background | (known & drawn)
    return sample
