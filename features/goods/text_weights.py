"""Weights of the n-grams of goods texts: their log-odds of being in the texts of positives."""

from collections.abc import Iterable, Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.goods.kernels import TEXT_BUCKETS, Array, count_buckets, score_text
from features.goods.tables import encode_text, load_goods_tables

TEXT_FOLDS = 5
"""Number of folds of the training texts. Each fold is scored with the weights of the other folds."""
PRIOR_TEXTS = 1.0  # prior number of texts of every bucket in each class, which shrinks its weight


class BucketCounts(NamedTuple):
    """The counts of buckets in the texts of each fold, by class (0 negative, 1 positive)."""

    texts: NDArray[np.float64]  # (folds, 2, TEXT_BUCKETS)
    weight: NDArray[np.float64]  # (folds, 2)
    squares: NDArray[np.float64]


def fit_text_weights(texts: Sequence[str], labels: Array, weights: Array) -> NDArray[np.float32]:
    """Learn the log-odds of every bucket of n-grams."""
    counts = _count_texts(texts, labels, weights, np.zeros(len(texts), dtype=np.int64), 1)
    # As many texts as the weights that scored the training texts out of fold: later scores have the same scale.
    return _compute_log_odds(counts, np.ones(1, dtype=bool), (TEXT_FOLDS - 1) / TEXT_FOLDS)


def score_out_of_fold(
    texts: Sequence[str], labels: Array, weights: Array, folds: Array
) -> NDArray[np.float32]:
    """Compute the score of each text with weights that are learnt from the other folds only."""
    names, places = np.unique(folds, return_inverse=True)
    counts = _count_texts(texts, labels, weights, places, len(names))
    scores = np.empty(len(texts), dtype=np.float32)
    for fold in range(len(names)):
        learnt = _compute_log_odds(counts, np.arange(len(names)) != fold)
        inside = places == fold
        scores[inside] = score_texts(compress(texts, inside), learnt)
    return scores


def score_texts(texts: Iterable[str], learnt: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the text scores of texts with given weights; NaN if a text is empty."""
    tables = load_goods_tables()
    scores = [score_text(encode_text(text), tables, learnt) if text else np.nan for text in texts]
    return np.array(scores, dtype=np.float32)


def _count_texts(
    texts: Sequence[str], labels: Array, weights: Array, places: Array, folds: int
) -> BucketCounts:
    counts = BucketCounts(np.zeros((folds, 2, TEXT_BUCKETS)), np.zeros((folds, 2)), np.zeros((folds, 2)))
    rows = zip(texts, labels.tolist(), weights.tolist(), places.tolist(), strict=True)
    for text, label, weight, fold in rows:
        if text and weight > 0:
            kind = int(label)
            count_buckets(encode_text(text), load_goods_tables(), counts.texts[fold, kind], float(weight))
            counts.weight[fold, kind] += weight
            counts.squares[fold, kind] += weight * weight
    return counts


def _compute_log_odds(counts: BucketCounts, learnt_from: Array, share: float = 1.0) -> NDArray[np.float32]:
    """Compute the log-odds of each bucket: means of a gamma-Poisson posterior (DuMouchel 1999), with effective counts (Kish)."""
    weight, squares = counts.weight[learnt_from].sum(axis=0), counts.squares[learnt_from].sum(axis=0)
    if not (weight > 0).all():
        return np.zeros(TEXT_BUCKETS, dtype=np.float32)
    held = counts.texts[learnt_from].sum(axis=0) * (share * weight / squares)[:, None]
    effective = share * weight * weight / squares
    expected = held.sum(axis=0) * (effective / effective.sum())[:, None]
    lift: NDArray[np.float64] = np.log(held + PRIOR_TEXTS) - np.log(expected + PRIOR_TEXTS)
    return np.asarray(lift[1] - lift[0], dtype=np.float32)
