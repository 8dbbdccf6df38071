"""A small risk model on made-up rows, that tests of models start from; and LightGBM's text for trees given by hand."""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from features.spec import THEMES, Feature, Spec
from models.fitting.boosting import LabelledRows, TreeParams, fit_risk_model
from models.risk_model import RiskModel

UNITS = ("count", "share", "flag", "USD")
SPEC = Spec(
    Feature(f"made.f{i}", UNITS[i % 4], THEMES[i // 2], f"Feature {i} is {{value}}") for i in range(12)
)
LIGHTGBM_PARAMS = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1}
PARAMS = TreeParams(trees=40, leaves=15, depth=6, rows_in_leaf=10, learning_rate=0.1)


def make_rows(seed: int, count: int = 3000) -> LabelledRows:
    """Make rows whose first features tell, with a tenth missing, some zeros and two channels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, len(SPEC))).astype(np.float32)
    X[:, 2::3] = np.round(X[:, 2::3])
    margin = X[:, 0] + X[:, 1] * X[:, 2] + X[:, 4] - 3.5
    y = (rng.random(count) < 1 / (1 + np.exp(-margin))).astype(np.float64)
    X[rng.random(X.shape) < 0.1] = np.nan
    channels = np.where(rng.random(count) < 0.7, "postal", "air_cargo").tolist()
    return LabelledRows(X, y, rng.uniform(0.5, 5.0, count), channels)


def fit_small(**changes: Any) -> RiskModel:
    """Fit on made-up rows; `changes` replace arguments of `fit_risk_model`."""
    arguments: dict[str, Any] = {"rows": make_rows(1), "spec": SPEC, "later": make_rows(2), "params": PARAMS}
    return fit_risk_model(**(arguments | changes))


def grow_booster(X: Any = None, y: Any = None, rounds: int = 20, **params: Any) -> Any:
    """Grow a LightGBM booster on made-up rows, or on those given."""
    import lightgbm

    made = make_rows(3, 1500)
    data = lightgbm.Dataset(made.X if X is None else X, made.y if y is None else y)
    return lightgbm.train({"objective": "binary", "num_leaves": 15} | LIGHTGBM_PARAMS | params, data, rounds)


@cache
def small_model() -> RiskModel:
    return fit_small()


class Hand(NamedTuple):
    """One tree given by hand, as LightGBM numbers its parts: a child below 0 is leaf -1 - child."""

    feature: Sequence[int]
    threshold: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    rows: Sequence[int]
    value: Sequence[float]
    leaf_rows: Sequence[int]
    decision: int = 10


def grow_hand(rng: np.random.Generator, leaves: int, thresholds: Any, features: int, max_depth: int) -> Hand:
    """Split random leaves on random features at some of the thresholds, as LightGBM numbers them."""
    left, right, depth, parent = [0] * (leaves - 1), [0] * (leaves - 1), [0] * leaves, [(-1, 0)] * leaves
    for split in range(leaves - 1):
        leaf = int(rng.choice([at for at in range(split + 1) if depth[at] < max_depth]))
        above, side = parent[leaf]
        if above >= 0:
            (right if side else left)[above] = split
        left[split], right[split] = -1 - leaf, -2 - split
        parent[leaf], parent[split + 1] = (split, 0), (split, 1)
        depth[leaf] = depth[split + 1] = depth[leaf] + 1
    leaf_rows = rng.integers(1, 5, leaves).tolist()

    def count(node: int) -> int:
        return leaf_rows[-1 - node] if node < 0 else count(left[node]) + count(right[node])

    return Hand(
        rng.integers(0, features, leaves - 1).tolist(),
        rng.choice(thresholds, leaves - 1).tolist(),
        left,
        right,
        [count(split) for split in range(leaves - 1)],
        rng.normal(size=leaves).tolist(),
        leaf_rows,
        int(rng.choice([0, 2, 4, 6, 8, 10])),
    )


def text_of(trees: Sequence[Hand], features: int) -> str:
    """Write trees as LightGBM saves them."""
    blocks = [_block(number, tree) for number, tree in enumerate(trees)]
    names = " ".join(f"f{i}" for i in range(features))
    header = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
        f"max_feature_idx={features - 1}\nobjective=binary sigmoid:1\nfeature_names={names}\n"
        f"feature_infos={' '.join(['[-1:1]'] * features)}\ntree_sizes={_line(map(len, blocks))}\n\n"
    )
    return header + "".join(blocks) + "end of trees\n\nfeature_importances:\n\npandas_categorical:null\n"


def _block(number: int, tree: Hand) -> str:
    zeros, leaf_zeros = _line([0] * len(tree.feature)), _line([0] * len(tree.value))
    return (
        f"Tree={number}\nnum_leaves={len(tree.value)}\nnum_cat=0\nsplit_feature={_line(tree.feature)}\n"
        f"split_gain={zeros}\nthreshold={_line(map(repr, tree.threshold))}\n"
        f"decision_type={_line([tree.decision] * len(tree.feature))}\nleft_child={_line(tree.left)}\n"
        f"right_child={_line(tree.right)}\nleaf_value={_line(map(repr, tree.value))}\nleaf_weight={leaf_zeros}\n"
        f"leaf_count={_line(tree.leaf_rows)}\ninternal_value={zeros}\ninternal_weight={zeros}\n"
        f"internal_count={_line(tree.rows)}\nis_linear=0\nshrinkage=1\n\n\n"
    )


def _line(values: Any) -> str:
    return " ".join(str(value) for value in values)


def chain(depth: int) -> Hand:
    """Make a tree that splits on feature 0, 1, 2 … along one path, half the rows leaving each time."""
    total = 2 ** (depth + 1)
    return Hand(
        feature=range(depth),
        threshold=[0.0] * depth,
        left=[-1 - i for i in range(depth)],
        right=[*range(1, depth), -1 - depth],
        rows=[total >> i for i in range(depth)],
        value=[0.25 * i - 1.0 for i in range(depth + 1)],
        leaf_rows=[*(total >> (i + 1) for i in range(depth)), total >> depth],
    )
