"""Weights of n-grams against their definition."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.goods_oracle import plain_buckets

from features.goods.kernels import TEXT_BUCKETS, score_text
from features.goods.tables import encode_text, load_goods_tables
from features.goods.text_weights import fit_text_weights, score_out_of_fold

GOOD = ["white powder sample", "resin powder sample", "powder coating", "coating powder sample"]
HARMLESS = ["cotton shirt", "shirt and socks", "ceramic mug", "phone case", "cotton socks", "mug and phone"]
TEXTS = GOOD + HARMLESS
LABELS = np.array([1] * len(GOOD) + [0] * len(HARMLESS))
EQUAL = np.ones(len(TEXTS))


def score(text: str, weights: NDArray[np.float32]) -> float:
    return score_text(encode_text(text), load_goods_tables(), weights)


def plain_weights(texts: Sequence[str], labels: Any, weights: Any, share: float = 0.8) -> dict[int, float]:
    """Give the log-odds of the buckets that occur, from their definition; texts count as those of four folds in five."""
    rows = zip(texts, labels, weights, strict=True)
    known = [(set(plain_buckets(text)), label, w) for text, label, w in rows if text and w]
    mass = [sum(w for _, label, w in known if label == kind) for kind in (0, 1)]
    scale = [share * mass[kind] / sum(w * w for _, label, w in known if label == kind) for kind in (0, 1)]
    size = [mass[kind] * scale[kind] for kind in (0, 1)]
    learnt = {}
    for bucket in set().union(*(buckets for buckets, _, _ in known)):
        found = [sum(w for b, label, w in known if label == kind and bucket in b) for kind in (0, 1)]
        held = [found[kind] * scale[kind] for kind in (0, 1)]
        lift = [(held[kind] + 1) / (sum(held) * size[kind] / sum(size) + 1) for kind in (0, 1)]
        learnt[bucket] = float(np.log(lift[1]) - np.log(lift[0]))
    return learnt


@settings(max_examples=25)
@given(st.data())
def test_weights_are_the_smoothed_log_odds_of_each_bucket(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 8))
    texts = data.draw(st.lists(st.sampled_from([*TEXTS, "", "粉末"]), min_size=count, max_size=count))
    labels = [1, 0, *data.draw(st.lists(st.integers(0, 1), min_size=count - 2, max_size=count - 2))]
    weights = data.draw(st.lists(st.sampled_from([0.1, 1.0, 2.5, 0.0]), min_size=count, max_size=count))
    learnt = fit_text_weights(texts, np.array(labels), np.array(weights))
    live = {label for text, label, weight in zip(texts, labels, weights, strict=True) if text and weight}
    wanted = plain_weights(texts, labels, weights) if live == {0, 1} else {}
    assert np.flatnonzero(learnt).size <= len(wanted)
    for bucket, value in wanted.items():
        assert learnt[bucket] == pytest.approx(value, abs=1e-6)


def test_what_only_positives_say_scores_above_what_only_negatives_say() -> None:
    weights = fit_text_weights(TEXTS, LABELS, EQUAL)
    positive, negative, unknown = (score(text, weights) for text in ("Powder, white!", "socks", "zzzz"))
    assert positive > 0.5 > unknown == 0 > negative


def test_a_text_is_scored_without_its_own_fold() -> None:
    folds = np.array([3, 3, 8, 8, 3, 8, 3, 8, 3, 8])
    scores = score_out_of_fold([*TEXTS[:-1], ""], LABELS, EQUAL, folds)
    assert np.isnan(scores[-1])
    for fold in (3, 8):
        rows = np.flatnonzero((folds != fold) & (np.arange(len(TEXTS)) < len(TEXTS) - 1))
        plain = plain_weights([TEXTS[i] for i in rows], LABELS[rows], EQUAL[rows], share=1.0)
        weights = np.zeros(TEXT_BUCKETS, dtype=np.float32)
        weights[list(plain)] = list(plain.values())
        for place in np.flatnonzero(folds == fold)[: -1 if fold == 8 else None]:
            assert scores[place] == pytest.approx(score(TEXTS[place], weights), abs=1e-5)


def test_a_label_of_the_own_fold_changes_no_score_of_it() -> None:
    folds = np.arange(len(TEXTS)) % 5
    turned = LABELS.copy()
    turned[folds == 2] = 1 - turned[folds == 2]
    before, after = (score_out_of_fold(TEXTS, labels, EQUAL, folds) for labels in (LABELS, turned))
    np.testing.assert_array_equal(before[folds == 2], after[folds == 2])
    assert (before[folds != 2] != after[folds != 2]).any()
