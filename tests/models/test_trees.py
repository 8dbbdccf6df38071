"""The walk and the contributions, against LightGBM."""

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_model import Hand, chain, grow_booster, grow_hand, make_rows, text_of

from consignments.errors import BundleRefused
from models.lightgbm_text import MAX_DEPTH, format_trees, parse_trees
from models.tree_kernels import ZERO_THRESHOLD
from models.trees import Trees

NEAR_ZERO = (0.0, -0.0, ZERO_THRESHOLD, -ZERO_THRESHOLD, ZERO_THRESHOLD / 3, -ZERO_THRESHOLD / 3)
AWKWARD = np.array([np.nan, np.inf, -np.inf, *NEAR_ZERO, 1e-38, 3e38, -3e38, 1.0, 0.5], dtype=np.float32)


def awkward_rows(features: int = 12, count: int = 400) -> Any:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(count, features)).astype(np.float32)
    return np.where(rng.random(X.shape) < 0.3, rng.choice(AWKWARD, X.shape), X).astype(np.float32)


BOOSTERS = {
    "missing is NaN": {},
    "zero is missing": {"zero_as_missing": True},
    "no value is missing": {"use_missing": False},
    "dart": {"boosting": "dart"},
    "goss": {"data_sample_strategy": "goss"},
    "extra trees": {"extra_trees": True},
    "monotone": {"monotone_constraints": [1] + [0] * 11},
    "bagging": {"bagging_fraction": 0.5, "bagging_freq": 1},
    "deep": {"max_depth": MAX_DEPTH, "num_leaves": 63, "min_data_in_leaf": 1},
    "shallow": {"max_depth": 2},
}


@pytest.mark.parametrize("params", BOOSTERS.values(), ids=BOOSTERS)
def test_the_walk_equals_the_booster_to_the_last_bit_and_contributions_nearly(params: dict[str, Any]) -> None:
    booster = grow_booster(**params)
    trees = Trees.from_text(booster.model_to_string())
    for X in (make_rows(5).X, awkward_rows()):
        assert trees.predict_raw(X).tobytes() == booster.predict(X, raw_score=True).tobytes()
        got = trees.compute_contributions(X[:200])
        assert np.abs(got - booster.predict(X[:200], pred_contrib=True)).max() < 1e-9
        assert np.abs(got.sum(axis=1) - trees.predict_raw(X[:200])).max() < 1e-9


THRESHOLDS = [
    *AWKWARD[1:].astype(float),
    *np.random.default_rng(7).normal(size=20),
    *(1e-45, -1e-45, 1e-50, -1e-50, 3.4028235e38, 1e39, -1e39, 0.1, 16777217.0),
]
with np.errstate(all="ignore"):
    ROUNDED = np.array(THRESHOLDS).astype(np.float32)
    NEIGHBOURS = [np.nextafter(ROUNDED, np.float32(end)) for end in (-np.inf, np.inf)]
NUMBERS = np.concatenate([AWKWARD, ROUNDED, *NEIGHBOURS])


@given(
    seed=st.integers(0, 2**32),
    leaves=st.lists(st.sampled_from([1, 2, 3, 16, 31, 32, 33, 63, 64, 65, 90]), min_size=1, max_size=6),
    rows=st.sampled_from([1, 7, 8, 9, 127, 128, 129, 300]),
)
def test_random_trees_give_the_bits_of_the_booster(seed: int, leaves: list[int], rows: int) -> None:
    rng = np.random.default_rng(seed)
    text = text_of([grow_hand(rng, count, THRESHOLDS, 4, MAX_DEPTH) for count in leaves], 4)
    X = rng.choice(NUMBERS, (rows, 4))
    trees, expected = Trees.from_text(text), lightgbm.Booster(model_str=text).predict(X, raw_score=True)
    assert trees.predict_raw(X).tobytes() == expected.tobytes()
    assert trees.predict_raw(X[-1:]).tobytes() == expected[-1:].tobytes()
    together, singly = (trees.compute_contributions(each) for each in (X[:70], X[:1]))
    assert together[:1].tobytes() == singly.tobytes()
    expected = lightgbm.Booster(model_str=text).predict(X[:70], pred_contrib=True)
    assert np.abs(together - expected).max() < 1e-9


@pytest.mark.parametrize("depth", range(1, MAX_DEPTH + 1))
def test_contributions_are_exact_at_every_depth(depth: int) -> None:
    text = text_of([chain(depth)], MAX_DEPTH)
    X = awkward_rows(MAX_DEPTH, 64)
    X[0] = 1.0
    oracle = lightgbm.Booster(model_str=text).predict(X, pred_contrib=True)
    assert np.abs(Trees.from_text(text).compute_contributions(X) - oracle).max() < 1e-9


# Feature 0 splits twice on one path, and a leaf and a whole branch hold no training row.
REPEATED = Hand(
    feature=[0, 1, 0, 2],
    threshold=[0.0, 0.5, -1.0, 0.0],
    left=[1, 2, -1, -4],
    right=[3, -2, -3, -5],
    rows=[10, 10, 7, 0],
    value=[1.0, -2.0, 0.5, 3.0, -1.5],
    leaf_rows=[7, 3, 0, 0, 0],
)


def test_contributions_add_up_if_no_training_row_is_in_a_branch() -> None:
    trees, X = Trees.from_text(text_of([chain(3), REPEATED], 4)), awkward_rows(4)
    assert np.abs(trees.compute_contributions(X).sum(axis=1) - trees.predict_raw(X)).max() < 1e-9


def test_the_spread_is_that_of_committees_of_every_so_many_th_tree() -> None:
    booster, X = grow_booster(), make_rows(5).X
    trees = Trees.from_text(booster.model_to_string())
    each = np.array(
        [booster.predict(X, raw_score=True, start_iteration=at, num_iteration=1) for at in range(20)]
    )
    votes = np.array([4 * each[part::4].sum(axis=0) for part in range(4)])
    assert np.allclose(trees.compute_disagreement(X, parts=4), votes.std(axis=0), rtol=1e-9)
    assert (trees.compute_disagreement(X, parts=1) == 0).all()


def test_rows_that_are_read_only_or_in_another_layout_give_the_same() -> None:
    trees = Trees.from_text(grow_booster().model_to_string())
    X = awkward_rows(count=20)
    frozen = X.copy()
    frozen.flags.writeable = False
    for other in (frozen, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        assert trees.predict_raw(other).tobytes() == trees.predict_raw(X).tobytes()


def test_rows_of_another_width_are_an_error_and_never_reach_the_kernel() -> None:
    trees = Trees.from_text(text_of([chain(3)], 4))
    for shape in ((2, 3), (2, 5), (4,)):
        with pytest.raises(ValueError, match="for 4 features"):
            trees.predict_raw(np.zeros(shape, dtype=np.float32))


def test_trees_that_are_read_and_written_load_into_lightgbm_and_predict_the_same() -> None:
    booster, X = grow_booster(), awkward_rows()
    text = booster.model_to_string()
    written = format_trees(text, parse_trees(text, "")[1])
    assert ("num_threads" in text, "num_threads" in written) == (True, False)
    assert lightgbm.Booster(model_str=written).predict(X).tobytes() == booster.predict(X).tobytes()


@given(st.data())
def test_a_text_changed_anywhere_is_refused_or_walked_within_bounds(data: st.DataObject) -> None:
    text = text_of([chain(3), REPEATED], 4)
    at = data.draw(st.integers(0, len(text) - 1))
    put = data.draw(st.sampled_from([*"0123456789-. e\n=", "", "99999", "inf"]))
    try:
        trees = Trees.from_text(text[:at] + put + text[at + 1 :])
    except BundleRefused:
        return
    X = np.zeros((3, len(trees.feature_names)), dtype=np.float32)
    assert trees.predict_raw(X).shape == (3,)
    assert trees.compute_contributions(X).shape == (3, X.shape[1] + 1)
