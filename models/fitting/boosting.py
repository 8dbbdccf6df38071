"""Boosted trees of LightGBM: some start from the rule prior, some do not; a linear model has a share."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from consignments.errors import BadInput
from features.batch import Progress
from features.spec import Spec
from models.arrays import Floats, Rows
from models.bands import Bands
from models.fitting.calibration import fit_calibration
from models.fitting.linear import LogisticRegression
from models.fitting.linear_trees import blend_trees, fit_linear_part
from models.fitting.rule_prior import RulePrior
from models.risk_model import RiskModel
from models.trees import Trees


class TreeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of the trees, which are small because positives are few (`benchmarks/learners.py`)."""

    trees: Annotated[int, Meta(ge=1, le=4000)] = 60
    leaves: Annotated[int, Meta(ge=2, le=255)] = 12
    depth: Annotated[int, Meta(ge=1, le=16)] = 5
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.1
    rows_in_leaf: Annotated[int, Meta(ge=1)] = 20
    feature_share: Annotated[float, Meta(gt=0, le=1)] = 0.25
    l2: Annotated[float, Meta(ge=0)] = 5.0
    linear_share: Annotated[float, Meta(ge=0, le=1)] = 0.15
    plain_share: Annotated[float, Meta(ge=0, le=1)] = 0.6


class LabelledRows(NamedTuple):
    """Feature rows with a label of 0 or 1, a weight of at least 0 and a channel each; NaN is missing."""

    X: Rows
    y: NDArray[Any]
    weight: Floats
    channels: Sequence[str]

    def check(self, spec: Spec, where: str) -> "LabelledRows":
        """Convert the rows to their types; raise `BadInput` if they do not fit together."""
        X, y, weight, channels = self
        sizes = {len(X), len(y), len(weight), len(channels)}
        if X.ndim != 2 or X.shape[1] != len(spec) or len(sizes) != 1:
            raise BadInput(
                "rows, labels, weights and channels do not fit together",
                where=where,
                got=f"features {X.shape}, {len(y)} labels, {len(weight)} weights, {len(channels)} channels",
                expected=f"{len(spec)} features per row, and one label, weight and channel per row",
            )
        labels, weights = np.asarray(y, dtype=np.float64), np.asarray(weight, dtype=np.float64)
        if not np.isin(labels, (0, 1)).all() or not (np.isfinite(weights) & (weights >= 0)).all():
            expected = "labels 0 or 1, weights of at least 0"
            raise BadInput("labels or weights are out of range", where=where, expected=expected)
        return LabelledRows(np.ascontiguousarray(X, dtype=np.float32), labels, weights, channels)


def fit_risk_model(
    rows: LabelledRows, later: LabelledRows, spec: Spec, params: TreeParams, **options: Any
) -> RiskModel:
    """Fit trees with the options of `grow_trees`, and compute calibration and bands from later rows as if they were all traffic."""
    trees, _ = grow_trees(rows, spec, params, **options)
    later = later.check(spec, "later rows")
    raw = trees.predict_raw(later.X)
    calibration = fit_calibration(raw, later.y, later.weight, later.channels)
    bands = Bands.from_scores(calibration.calibrate(raw, later.channels))
    return RiskModel(trees, calibration, bands, spec)


def grow_trees(
    rows: LabelledRows,
    spec: Spec,
    params: TreeParams,
    *,
    seed: int = 1,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[Trees, LogisticRegression | None]:
    """Fit trees and the linear model that has a share in them, None if the share is 0; `threads` changes no bit."""
    import lightgbm

    rows = rows.check(spec, "training rows")
    if not 0 < float(np.sum(rows.weight * rows.y)) < float(np.sum(rows.weight)):
        got = f"{int(rows.y.sum())} positives of {len(rows.y)} rows"
        what, todo = "a model needs positives and negatives", "use a longer period, or another target"
        raise BadInput(what, where="training rows", got=got, todo=todo)
    prior, linear_share = RulePrior.fit(rows.X, rows.y, rows.weight, spec), params.linear_share
    plain_share = (1.0 - linear_share) * params.plain_share
    guided_share = 1.0 - linear_share - plain_share
    # An even chance at the start, not the rare mean, keeps the first leaves small.
    even = np.zeros(len(rows.y))
    start = prior.predict_raw(rows.X)
    kinds = [(even if start is None else start, guided_share)]
    if plain_share:
        kinds.append((even, plain_share))
    if progress is not None:
        progress("growing trees", 0, len(kinds) * params.trees)
    with ThreadPoolExecutor(1) as pool:
        line = pool.submit(fit_linear_part, rows.X, rows.y, rows.weight) if linear_share else None
        if line is not None and threads == 1:
            wait([line])
        data = lightgbm.Dataset(rows.X, rows.y, weight=rows.weight, feature_name=list(spec.names))
        boosted: list[tuple[str, float]] = []
        for kind, (log_odds, share) in enumerate(kinds):
            callbacks = [] if progress is None else [_build_progress_callback(progress, kind, len(kinds))]
            data.set_init_score(log_odds)
            settings = _build_lightgbm_params(params, seed ^ kind)
            booster = lightgbm.train(settings, data, num_boost_round=params.trees, callbacks=callbacks)
            boosted.append((str(booster.model_to_string(num_iteration=-1)), share))
    linear, steps = (None, []) if line is None else line.result()
    stairs = [(stair, guided_share) for stair in prior.to_step_functions(rows.X)]
    stairs += [(stair, linear_share) for stair in steps]
    return Trees.from_text(blend_trees(boosted, stairs), where="the trees just grown"), linear


def _build_progress_callback(progress: Progress, kind: int, kinds: int) -> Callable[..., None]:
    """Build the callback of LightGBM that counts the trees of all kinds."""

    def report(at: Any) -> None:
        progress("growing trees", kind * at.end_iteration + at.iteration + 1, kinds * at.end_iteration)

    return report


def _build_lightgbm_params(params: TreeParams, seed: int) -> dict[str, Any]:
    """Build the parameters of LightGBM: column by column reads only the features offered, and more threads wait for each other."""
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "num_leaves": params.leaves,
        "max_depth": params.depth,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.rows_in_leaf,
        "feature_fraction": params.feature_share,
        "lambda_l2": params.l2,
        "seed": seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
