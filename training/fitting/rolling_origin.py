"""Rolling origins for model selection: fits at earlier dates, each tested on the weeks after it, before any reported period.

If the earliest reported period begins on 20 May, the label delay is 14 days and a window 28:

    origin   training until   window                labels of both visible by
    0        25 March         8 April to 6 May      20 May: the reported period begins
    1        26 February      11 March to 8 April   22 April: the window's end and the gap
    2        29 January       12 February to 11 March   25 March

The text weights are learnt again at each origin; vocabularies and norms, which use no label, are those of the evaluation fit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from consignments.timestamps import US_PER_DAY, get_time_column_us, to_us
from features.batch import FeatureMatrix
from features.goods.text_weights import TEXT_FOLDS, fit_text_weights, score_out_of_fold, score_texts
from features.spec import Spec
from models.arrays import Bools, Floats, Ints, Rows, Texts
from models.fitting.boosting import LabelledRows, grow_trees
from training.config import ModelConfig, TrainConfig, WeightsConfig
from training.data.splits import TRAIN, ArrivalWindow, Split
from training.data.training_set import DataSet, compute_fitting_weights, get_labels_as_of
from training.evaluation.estimate import Estimate, compute_interval, draw_days

TEXT_SCORE = "goods.text_score"
MIN_POSITIVES = 3
MIN_TRAFFIC_SHARE = 0.001  # share of traffic: positives ranked above it get the full score
RESAMPLES = 500


@dataclass(frozen=True)
class RollingOrigin:
    """A date at which a model could have been trained: rows known then, and the weeks after it, by day."""

    train: LabelledRows
    background: Bools
    window: LabelledRows
    day: Ints
    spec: Spec

    def compute_weights(self, weights: WeightsConfig) -> Floats:
        """Compute the weights of the training rows with another weight of the background."""
        known = ~self.background
        total = float(self.train.weight[known].sum())
        each = weights.background_weight * total / max(int(self.background.sum()), 1)
        return np.where(known, self.train.weight, each)


@dataclass(frozen=True)
class DetectionRanks:
    """Ranks of the positives of the windows: the share of the traffic before each, which itself counts half; origin and day."""

    above: Floats
    origin: Ints
    day: Ints

    @property
    def worth(self) -> Floats:
        """Rank score of each positive: 1 within the top `MIN_TRAFFIC_SHARE`, falling with the logarithm of the share to 0."""
        return np.asarray(np.clip(np.log(self.above) / np.log(MIN_TRAFFIC_SHARE), 0.0, 1.0))

    def mark_within(self, share: float) -> Floats:
        """Mark the positives within the top `share` of the traffic, as 0 or 1."""
        return np.asarray(self.above <= share, dtype=np.float64)


def build_rolling_origins(
    data: DataSet, matrix: FeatureMatrix, texts: Texts, config: TrainConfig, before: datetime
) -> Iterator[RollingOrigin]:
    """Build the rolling origins before a date with enough positives, the latest first, from rows of training and validation."""
    rows, gap, observed = matrix.rows, data.split.gap, data.observed
    frame, background = observed.consignments.iloc[rows], data.background[rows]
    received, words = get_time_column_us(frame, "received_at"), matrix.spec.get_column(TEXT_SCORE)
    channels = frame["channel"].astype(str).to_numpy(dtype=object)
    for begins, ends in iterate_windows(data.split, before, config.split.validation_days):
        labels = get_labels_as_of(frame["consignment_id"], observed.outcomes, ends + gap, data.target)
        usable, positive = labels.known | background, labels.positive & ~background
        train = usable & (received < to_us(begins - gap))
        window = usable & ArrivalWindow(begins, ends).select(received)
        if min(int(positive[train].sum()), int(positive[window].sum())) < MIN_POSITIVES:
            continue
        part = np.where(train, TRAIN, 0).astype(np.int8)
        weight = compute_fitting_weights(part, labels, background & train, config.weights)[train]
        X = matrix.X.copy()
        X[train, words] = compute_text_scores(texts[train], positive[train], weight, received[train])
        learnt = fit_text_weights(texts[train].tolist(), positive[train].astype(np.int8), weight)
        X[window, words] = score_texts(texts[window], learnt)
        stands_for = data.traffic_weight[rows][window]
        yield RollingOrigin(
            LabelledRows(X[train], positive[train], weight, channels[train].tolist()),
            background[train],
            LabelledRows(X[window], positive[window], stands_for, channels[window].tolist()),
            received[window] // US_PER_DAY,
            matrix.spec,
        )


def iterate_windows(cut: Split, before: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
    """Iterate back from a gap before a date, while training rows before the window remain."""
    width, ends = timedelta(days=days), before - cut.gap
    while ends - width - cut.gap > cut.train.begins:
        yield ends - width, ends
        ends -= width


def compute_text_scores(texts: Texts, positive: Bools, weight: Floats, received_us: Ints) -> Rows:
    """Compute the text scores of training rows with weights from other blocks of time."""
    block = np.empty(len(texts), dtype=np.int64)
    block[np.argsort(received_us, kind="stable")] = np.arange(len(texts)) * TEXT_FOLDS // len(texts)
    return score_out_of_fold(texts.tolist(), positive.astype(np.int8), weight, block)


def evaluate_origins(
    origins: Sequence[RollingOrigin],
    model: ModelConfig,
    weights: WeightsConfig,
    *,
    without: Sequence[int] = (),
) -> DetectionRanks:
    """Fit at each origin, with the columns `without` missing and another background weight, and rank the positives of its window."""
    above, days, columns = [], [], list(without)
    for origin in origins:
        train, window = origin.train, origin.window
        X, later, found = train.X.copy(), window.X.copy(), np.asarray(window.y, dtype=bool)
        X[:, columns], later[:, columns] = np.nan, np.nan
        rows = LabelledRows(X, train.y, origin.compute_weights(weights), train.channels)
        trees, _ = grow_trees(rows, origin.spec, model, seed=model.seed)
        above.append(compute_shares_above(trees.predict_raw(later), window.weight)[found])
        days.append(origin.day[found])
    places = np.repeat(np.arange(len(origins)), list(map(len, above)))
    return DetectionRanks(np.concatenate(above), places, np.concatenate(days))


def compute_shares_above(score: Floats, weight: Floats) -> Floats:
    """Compute the share of the traffic that ranks before each row; ties count half."""
    _, group = np.unique(-score, return_inverse=True)
    sizes = np.bincount(group, weights=weight)
    return np.asarray(((np.cumsum(sizes) - sizes / 2) / sizes.sum())[group])


def estimate_gain(ranks: DetectionRanks, gain: Floats) -> Estimate:
    """Estimate the mean gain of one fit over another in the positives of both, with an interval from resampled days."""
    _, day = np.unique(ranks.origin * 1_000_000 + ranks.day, return_inverse=True)
    draws = draw_days(int(day.max()) + 1, RESAMPLES, seed=1)
    total, size = np.bincount(day, weights=gain), np.bincount(day).astype(np.float64)
    return compute_interval((draws @ total) / np.maximum(draws @ size, 1.0))
