"""LightGBM's text: what is read of it, and what is refused before it is walked."""

import re
from typing import Any

import lightgbm
import numpy as np
import pytest
from support.small_model import LIGHTGBM_PARAMS, chain, grow_booster, make_rows, text_of

from consignments.errors import BundleRefused
from models.tree_kernels import MAX_DEPTH
from models.trees import Trees


def test_names_with_points_signs_and_other_scripts_come_through() -> None:
    names = ["value.per_kg", "history.hs_code+route.new", "column.세율"]
    data = lightgbm.Dataset(make_rows(3).X[:, :3], make_rows(3).y, feature_name=names)
    booster = lightgbm.train({"objective": "binary"} | LIGHTGBM_PARAMS, data, 2)
    assert Trees.from_text(booster.model_to_string()).feature_names == tuple(names)


OTHER_KINDS = [
    ({"objective": "regression"}, "objective.*another kind; got 'regression'"),
    ({"objective": "multiclass", "num_class": 2}, "num_class.*another kind; got '2'"),
    ({"objective": "binary", "sigmoid": 2.0}, "objective.*another kind; got 'binary sigmoid:2'"),
    ({"objective": "cross_entropy"}, "objective.*another kind"),
    ({"linear_tree": True}, "linear leaves|not understood"),
    ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "not understood; got 'average_output'"),
]


@pytest.mark.parametrize(("params", "said"), OTHER_KINDS, ids=[str(params) for params, _ in OTHER_KINDS])
def test_a_model_of_another_kind_is_refused(params: dict[str, Any], said: str) -> None:
    rows = make_rows(3)
    text = grow_booster(np.nan_to_num(rows.X).astype(np.float64), rows.y, **params).model_to_string()
    with pytest.raises(BundleRefused, match=said):
        Trees.from_text(text)


def test_categorical_splits_are_refused() -> None:
    X = make_rows(3).X.clip(0)
    data = lightgbm.Dataset(X, make_rows(3).y, categorical_feature=[2])
    booster = lightgbm.train({"objective": "binary", "min_data_per_group": 1} | LIGHTGBM_PARAMS, data, 20)
    with pytest.raises(BundleRefused, match=r"categorical|not understood"):
        Trees.from_text(booster.model_to_string())


def test_a_path_that_is_too_deep_is_refused() -> None:
    with pytest.raises(BundleRefused, match=f"too deep.*{MAX_DEPTH + 1} splits.*at most {MAX_DEPTH}"):
        Trees.from_text(text_of([chain(MAX_DEPTH + 1)], MAX_DEPTH + 1))


# Line of a tree of three splits, what it is changed to, and what is said of it.
DAMAGES = [
    ("left_child=-1 -2 -3", "left_child=-1 -2 -9", "do not make a tree"),
    ("left_child=-1 -2 -3", "left_child=-1 -2 99", "do not make a tree"),
    ("left_child=-1 -2 -3", "left_child=0 -2 -3", "do not make a tree"),
    ("right_child=1 2 -4", "right_child=2 1 -4", "do not make a tree"),
    ("right_child=1 2 -4", "right_child=1 1 -4", "do not make a tree"),
    ("right_child=1 2 -4", "right_child=1 -4", "wrong length; got 2; expected 3"),
    ("split_feature=0 1 2", "split_feature=0 1 3", "feature that is not there; expected 0 to 2"),
    ("split_feature=0 1 2", "split_feature=0 1 -1", "feature that is not there"),
    ("split_feature=0 1 2", "split_feature=0 1 99999999999999", "not whole numbers"),
    ("split_feature=0 1 2", "split_feature=0 1 1_0", "not whole numbers"),
    ("threshold=0.0 0.0 0.0", "threshold=0.0 0.0 nan", "not numbers"),
    ("threshold=0.0 0.0 0.0", "threshold=0.0 0.0 1_0", "not numbers"),
    ("threshold=0.0 0.0 0.0", "threshold=0.0 0.0 1e", "not numbers"),
    ("leaf_value=-1.0", "leaf_value=inf", "not numbers"),
    ("leaf_value=-1.0", "leaf_value=1e999", "out of range"),
    ("decision_type=10 10 10", "decision_type=10 10 11", "not walked here"),
    ("decision_type=10 10 10", "decision_type=10 10 12", "not walked here"),
    ("decision_type=10 10 10", "decision_type=10 10 -2", "not walked here"),
    ("internal_count=16", "internal_count=0", "cannot be"),
    ("internal_count=16", "internal_count=-16", "cannot be"),
    ("leaf_count=8", "leaf_count=-8", "cannot be"),
    ("num_leaves=4", "num_leaves=0", "too many leaves or none"),
    ("num_leaves=4", "num_leaves=5", "wrong length"),
    ("num_cat=0", "num_cat=1", "categorical"),
    ("is_linear=0", "is_linear=1", "linear"),
    ("shrinkage=1", "shrinkage=1\ncat_threshold=1", "not understood"),
    ("shrinkage=1", "shrinkage=1\nshrinkage=1", "not understood"),
    ("shrinkage=1\n", "", "lines are missing.*shrinkage"),
    ("version=v4", "version=v5", "another kind; got 'v5'; expected 'v4'"),
    ("max_feature_idx=2", "max_feature_idx=3", "do not fit"),
    ("feature_names=f0 f1 f2", "feature_names=f0 f1", "do not fit"),
    ("Tree=0", "Tree=1", "sizes"),
    ("end of trees", "and of trees", "do not end"),
    ("tree\n", "bush\n", "not the text"),
]


@pytest.mark.parametrize(("line", "change", "said"), DAMAGES, ids=[change for _, change, _ in DAMAGES])
def test_a_damaged_text_is_refused(line: str, change: str, said: str) -> None:
    text = text_of([chain(3)], 3)
    assert line in text
    with pytest.raises(BundleRefused, match=said):
        Trees.from_text(with_sizes(text.replace(line, change, 1)))


def with_sizes(text: str) -> str:
    """Correct the size of the one tree, so that only the damage itself is left to find."""
    start = text.index("\n\n") + 2
    end = text.find("end of trees", start)
    size = (end if end >= 0 else text.index("and of trees")) - start
    return re.sub(r"tree_sizes=.*", f"tree_sizes={size}", text)


@pytest.mark.parametrize("sizes", ["0", "-5", "1", "999999", "", "10 10"])
def test_sizes_that_are_not_those_of_the_trees_are_refused(sizes: str) -> None:
    with pytest.raises(BundleRefused):
        Trees.from_text(re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", text_of([chain(3)], 3)))
