"""LightGBM's text: what is read of it, and what is refused before it is walked."""

import re
from typing import Any

import lightgbm
import numpy as np
import pytest
from support.cases import read_cases
from support.small_model import LIGHTGBM_PARAMS, chain, grow_booster, make_rows, text_of

from consignments.errors import BundleRefused
from models.lightgbm_text import MAX_DEPTH
from models.trees import Trees


def test_names_with_points_signs_and_other_scripts_come_through() -> None:
    names = ["value.per_kg", "history.hs_code+route.new", "column.세율"]
    data = lightgbm.Dataset(make_rows(3).X[:, :3], make_rows(3).y, feature_name=names)
    booster = lightgbm.train({"objective": "binary"} | LIGHTGBM_PARAMS, data, 2)
    assert Trees.from_text(booster.model_to_string()).feature_names == tuple(names)


@pytest.mark.parametrize("case", read_cases("other_boosters"))
def test_a_model_of_another_kind_is_refused(case: dict[str, Any]) -> None:
    """Each line has the parameters of a model, and what is said of it."""
    rows = make_rows(3)
    text = grow_booster(np.nan_to_num(rows.X).astype(np.float64), rows.y, **case["params"]).model_to_string()
    with pytest.raises(BundleRefused, match=case["said"]):
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


@pytest.mark.parametrize("damage", read_cases("damaged_trees"))
def test_a_damaged_text_is_refused(damage: dict[str, str]) -> None:
    """Each line has a line of a tree of three splits, what it is changed to, and what is said of it."""
    line, change, said = damage.values()
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
