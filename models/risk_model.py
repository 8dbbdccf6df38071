"""The risk model: trees, calibration and bands over the features of one spec; scores are calibrated probabilities.

Fitting needs LightGBM; scoring needs numpy and numba. One row and many give the same bits.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from consignments.errors import BadInput, BundleRefused, ServiceFault
from features.fitted import UnfittedRows
from features.spec import Spec
from models.bands import Band, Bands
from models.calibration import Calibration
from models.lightgbm_text import strip_parameters
from models.linear import LogisticRegression
from models.linear_trees import blend_trees, fit_linear_part
from models.reasons.ranking import Reason, ReasonRanker
from models.reasons.sentences import NO_CONTEXT, ReasonContext
from models.rule_prior import RulePrior
from models.trees import Trees

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""A callback that receives the name of the work, the amount done, and the total."""


TreeCount = Annotated[
    int,
    Meta(
        ge=1,
        le=5000,
        description="Number of trees. It is fixed, because there are too few positives for early stopping on later rows.",
    ),
]
LeafCount = Annotated[
    int,
    Meta(
        ge=2,
        le=255,
        description="Maximum number of leaves of a tree. Small trees suit few positives.",
    ),
]
TreeDepth = Annotated[
    int,
    Meta(
        ge=1,
        le=16,
        description="Maximum number of levels of a tree. Exact reasons take longer with deep trees.",
    ),
]
LearningRate = Annotated[float, Meta(gt=0, le=1, description="Share of each tree in the sum of the trees.")]
LeafRows = Annotated[int, Meta(ge=1, description="Minimum number of training rows in a leaf.")]
FeatureShare = Annotated[float, Meta(gt=0, le=1, description="Share of the features offered to each tree.")]
L2Penalty = Annotated[float, Meta(ge=0, description="L2 penalty on the values of leaves.")]
LinearShare = Annotated[
    float,
    Meta(
        ge=0,
        le=1,
        description="Share of a linear model (logistic regression) in the raw score. The trees have the rest.",
    ),
]


class TreeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of the trees; their types hold the meaning and the limits."""

    trees: TreeCount = 300
    leaves: LeafCount = 31
    depth: TreeDepth = 8
    learning_rate: LearningRate = 0.05
    rows_in_leaf: LeafRows = 20
    feature_share: FeatureShare = 0.5
    l2: L2Penalty = 5.0
    linear_share: LinearShare = 0.4


class LabelledRows(NamedTuple):
    """The labelled feature rows of a fit.

    Attributes
    ----------
    X : float32 array, (n, features)
        NaN is missing.
    y : array, (n,)
        1 positive, 0 negative.
    weight : float64 array, (n,)
        At least 0.
    channels : sequence of str, (n,)
    """

    X: Rows
    y: NDArray[Any]
    weight: Floats
    channels: Sequence[str]


class FitOptions(NamedTuple):
    """The options of a fit.

    Attributes
    ----------
    params : TreeParams
    seed : int
    threads : int
        With two or more, the boosted trees and the linear part are fitted at the same time. The result does not depend on it.
    progress : callable or None
        Callback after each tree.
    """

    params: TreeParams = TreeParams()
    seed: int = 1
    threads: int = 1
    progress: Progress | None = None


class RiskModel:
    """The risk model, which scores consignments by their features.

    Parameters
    ----------
    trees : Trees
    calibration : Calibration
    bands : Bands
    spec : Spec
        The features, in the order of the row.
    context : ReasonContext
        Values and names that its reasons use.

    Raises
    ------
    BundleRefused
        If the trees were trained on features other than those of the spec.
    """

    def __init__(
        self,
        trees: Trees,
        calibration: Calibration,
        bands: Bands,
        spec: Spec,
        context: ReasonContext = NO_CONTEXT,
    ) -> None:
        if trees.feature_names != spec.names:
            at = next(
                (
                    i
                    for i, pair in enumerate(zip(trees.feature_names, spec.names, strict=False))
                    if pair[0] != pair[1]
                ),
                -1,
            )
            raise BundleRefused(
                "the trees were trained on features other than those of the spec",
                where=f"feature {at}" if at >= 0 else "features",
                got=trees.feature_names[at] if at >= 0 else f"{len(trees.feature_names)} features",
                expected=spec.names[at] if at >= 0 else f"{len(spec)} features",
                todo="train the model again",
            )
        self.trees, self.calibration, self.bands, self.spec = trees, calibration, bands, spec
        self._context = context

    @classmethod
    def fit(
        cls, rows: LabelledRows, *, spec: Spec, later: LabelledRows, options: FitOptions | None = None
    ) -> "RiskModel":
        """Fit the trees, calibrate them on later rows, and compute the bands from these rows as if they were all traffic."""
        trees = grow_trees(rows, spec, options).trees
        checked = _check_rows(later, spec, "later rows")
        raw = predict_finite(trees, checked.X)
        calibration = Calibration.fit(raw, checked.y, checked.weight, checked.channels)
        bands = Bands.from_scores(calibration.calibrate(raw, checked.channels))
        return cls(trees, calibration, bands, spec)

    def replace_spec(self, installed: Spec) -> "RiskModel":
        """Return the same model with the texts of the installed version's spec."""
        installed.require(self.spec)
        return RiskModel(self.trees, self.calibration, self.bands, installed, self._context)

    @cached_property
    def reasons(self) -> ReasonRanker:
        """The ranker of its reasons. It is built at the first use, because most models of a training give none."""
        return ReasonRanker(self.spec, self._context)

    def predict_raw(self, X: Rows) -> Floats:
        """Compute the raw scores in log-odds, float64 (n,); raise `ServiceFault` if one is not finite."""
        return predict_finite(self.trees, X)

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:
        """Compute the calibrated probabilities.

        Parameters
        ----------
        X : float32 array, (n, features)
            NaN is missing.
        channels : sequence of str, (n,)

        Returns
        -------
        float64 array, (n,)
            Above 0 and below 1.

        Raises
        ------
        BadInput
            If the features were computed without fitted parameters. The scores would look right but would be meaningless.
        ServiceFault
            If a score is not a number.
        """
        return self.calibration.calibrate(self.predict_raw(X), channels)

    def assign_bands(self, score: Floats) -> list[Band]:
        """Return the band of each score."""
        return [self.bands.assign(value) for value in score.tolist()]

    def explain(self, row: Rows, top: int = 3, *, lowering: bool = False, goods: str = "") -> list[Reason]:
        """Return the reasons of the score of one row, the most important first; see `ReasonRanker.rank`.

        Parameters
        ----------
        row : float32 array, (features,)
        top : int
        lowering : bool
            Also return reasons that lower the score.
        goods : str
            Goods text, whose words are quoted; '' if it is not available.
        """
        _refuse_unfitted(row)
        return self.reasons.rank(
            row, self.trees.compute_contributions(row[None, :])[0], top, lowering=lowering, goods=goods
        )


class GrownTrees(NamedTuple):
    """The trees of a fit, and the linear model that has a share in them. It is None if its share is 0."""

    trees: Trees
    linear: LogisticRegression | None


def grow_trees(rows: LabelledRows, spec: Spec, options: FitOptions | None = None) -> GrownTrees:
    """Fit trees that start from the rule prior, and blend them with a linear model."""
    options = options or FitOptions()
    training = _check_rows(rows, spec, "training rows")
    if not 0 < float(np.sum(training.weight * training.y)) < float(np.sum(training.weight)):
        raise BadInput(
            "a model needs positives and negatives",
            where="training rows",
            got=f"{int(training.y.sum())} positives of {len(training.y)} rows",
            todo="use a longer period, or another target",
        )
    prior, share = RulePrior.fit(training.X, training.y, training.weight, spec), options.params.linear_share
    with ThreadPoolExecutor(1) as pool:
        line = pool.submit(fit_linear_part, training.X, training.y, training.weight) if share else None
        if line is not None and options.threads == 1:
            wait([line])
        text = _grow_boosted_trees(training, prior.predict_raw(training.X), spec, options)
    linear, steps = (None, []) if line is None else line.result()
    blended = blend_trees(text, steps, share, prior.to_step_functions(training.X))
    return GrownTrees(Trees.from_text(blended, where="the trees just grown"), linear)


def _grow_boosted_trees(rows: LabelledRows, start: Floats | None, spec: Spec, options: FitOptions) -> str:
    """Grow the trees of LightGBM from raw scores to start from, and return the model text without its parameters."""
    import lightgbm

    data = lightgbm.Dataset(
        rows.X, rows.y, weight=rows.weight, init_score=start, feature_name=list(spec.names)
    )
    callbacks: list[Callable[..., Any]] = []
    if (progress := options.progress) is not None:
        callbacks.append(lambda at: progress("growing trees", at.iteration + 1, at.end_iteration))
    params, trees = _build_lightgbm_params(options), options.params.trees
    booster = lightgbm.train(params, data, num_boost_round=trees, callbacks=callbacks)
    return strip_parameters(str(booster.model_to_string(num_iteration=-1)))


def predict_finite(trees: Trees, X: Rows) -> Floats:
    """Compute the raw scores of trees in log-odds, float64 (n,); raise `ServiceFault` if one is not finite."""
    _refuse_unfitted(X)
    raw = trees.predict_raw(X)
    if not np.isfinite(raw).all():
        raise ServiceFault(
            "the model computed a score that is not a number", todo="roll back to the previous version"
        )
    return raw


def _refuse_unfitted(X: Rows) -> None:
    """Raise `BadInput` if features were computed without the fitted parameters of a model."""
    if isinstance(X, UnfittedRows):
        raise BadInput(
            "a feature matrix without fitted parameters cannot be scored",
            where=f"features {X.shape}",
            got="features computed without fitted parameters",
            expected="features computed with the fitted parameters of the model",
            todo="compute them with models.batch_scoring.build_feature_parameters(bundle, pseudonyms), "
            "or score the table with score_table",
        )


def _check_rows(rows: LabelledRows, spec: Spec, where: str) -> LabelledRows:
    """Convert labelled rows to their types; raise `BadInput` if they do not fit together."""
    X, y, weight, channels = rows
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
        raise BadInput(
            "labels or weights are out of range", where=where, expected="labels 0 or 1, weights of at least 0"
        )
    return LabelledRows(np.ascontiguousarray(X, dtype=np.float32), labels, weights, channels)


def _build_lightgbm_params(options: FitOptions) -> dict[str, Any]:
    """Build the parameters of LightGBM.

    Column by column, a histogram reads only the features offered to the tree. This takes two thirds of the time of row by row. With
    two threads, each of the thousands of small loops of a tree waits for the slower core. On a busy machine this took ten times as long.
    """
    params = options.params
    return {
        "objective": "binary",
        "metric": "binary_logloss",
        "num_leaves": params.leaves,
        "max_depth": params.depth,
        "learning_rate": params.learning_rate,
        "min_data_in_leaf": params.rows_in_leaf,
        "feature_fraction": params.feature_share,
        "lambda_l2": params.l2,
        "seed": options.seed,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
