"""The risk model: trees, calibration and bands over the features of one spec; scores are calibrated probabilities.

Fitting needs LightGBM; scoring needs numpy and numba. One row and many give the same bits.
"""

import math
from collections.abc import Callable, Sequence
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
from models.linear_trees import StepFunction, blend_trees, fit_linear_part
from models.reasons import Reason, ReasonRanker
from models.rule_prior import RulePrior
from models.trees import Trees

LINEAR_SHARE_FACTORS = (1.0, 0.5, 0.0)
"""Multiples of the linear model's share that validation chooses from; of equal ones the first."""

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


class TreeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the trees are grown.

    Attributes
    ----------
    trees : int
        Most trees; validation stops earlier where more do not help.
    leaves, depth : int
        Most leaves and levels of a tree; at depth 8 exact reasons cost a third of a millisecond.
    learning_rate : float
    rows_in_leaf : int
        Fewest training rows in a leaf.
    feature_share : float
        Share of the features offered to each tree.
    l2 : float
        Ridge penalty on the values of leaves.
    patience : int
        Trees without gain on validation before fitting stops.
    linear_share : float
        Share of a linear model in the raw score (`models.linear_trees`); the trees have the rest. Where validation may stop
        the trees it may also lower this share (`LINEAR_SHARE_FACTORS`): the more finds, the less a sum of weak signs adds.
    """

    trees: Annotated[int, Meta(ge=1, le=5000)] = 300
    leaves: Annotated[int, Meta(ge=2, le=255)] = 31
    depth: Annotated[int, Meta(ge=1, le=16)] = 8
    learning_rate: Annotated[float, Meta(gt=0, le=1)] = 0.05
    rows_in_leaf: Annotated[int, Meta(ge=1)] = 20
    feature_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    l2: Annotated[float, Meta(ge=0)] = 5.0
    patience: Annotated[int, Meta(ge=1)] = 50
    linear_share: Annotated[float, Meta(ge=0, le=1)] = 0.3


class LabelledRows(NamedTuple):
    """Rows with labels.

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


class BandSample(NamedTuple):
    """A sample of all that arrived, opened or not: features and channels."""

    X: Rows
    channels: Sequence[str]


class FitOptions(NamedTuple):
    """How a model is fitted.

    Attributes
    ----------
    params : TreeParams
    seed : int
    threads : int
        The result is the same for any number.
    progress : callable or None
        Called after each tree.
    """

    params: TreeParams = TreeParams()
    seed: int = 1
    threads: int = 1
    progress: Progress | None = None


class Recipe(NamedTuple):
    """What validation chose for a fit: the number of grown trees, and the linear model's share of the raw score."""

    trees: int
    linear_share: float


class RiskModel:
    """Score consignments by their features.

    Parameters
    ----------
    trees : Trees
    calibration : Calibration
    bands : Bands
    spec : Spec
        The features, in the order of the row.

    Attributes
    ----------
    recipe : Recipe or None
        Of a model that was fitted in this process; a bundle does not keep it.

    Raises
    ------
    BundleRefused
        Where the trees were grown on other features than the spec's.
    """

    recipe: Recipe | None = None

    def __init__(self, trees: Trees, calibration: Calibration, bands: Bands, spec: Spec) -> None:
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
                "the trees were grown on other features than the spec names",
                where=f"feature {at}" if at >= 0 else "features",
                got=trees.feature_names[at] if at >= 0 else f"{len(trees.feature_names)} features",
                expected=spec.names[at] if at >= 0 else f"{len(spec)} features",
                todo="train the model again",
            )
        self.trees, self.calibration, self.bands, self.spec = trees, calibration, bands, spec
        self._reasons = ReasonRanker(spec)

    @classmethod
    def fit(
        cls,
        rows: LabelledRows,
        *,
        spec: Spec,
        validation: LabelledRows,
        traffic: BandSample,
        options: FitOptions | None = None,
    ) -> "RiskModel":
        """Grow trees, stop them and calibrate them on later rows, and set the bands.

        Parameters
        ----------
        rows : LabelledRows
            Training rows.
        spec : Spec
            The features, in the order of the columns.
        validation : LabelledRows
            Rows of a later time: they stop the trees and fit the calibration.
        traffic : BandSample
            Sample of all traffic of that time: it sets the bands.
        options : FitOptions, optional

        Raises
        ------
        BadInput
            Where the rows do not fit together, or training has no positives or no negatives.
        """
        options = options or FitOptions()
        training = _check_rows(rows, spec, "training rows")
        later = _check_rows(validation, spec, "validation rows")
        if not 0 < float(np.sum(training.weight * training.y)) < float(np.sum(training.weight)):
            raise BadInput(
                "a model needs positives and negatives",
                where="training rows",
                got=f"{int(training.y.sum())} positives of {len(training.y)} rows",
                todo="take a longer period, or another target",
            )
        if not len(traffic.X):
            raise BadInput(
                "there is no traffic to set the bands by", where="validation period", todo="take a longer one"
            )
        prior = RulePrior.fit(training.X, training.y, training.weight, spec)
        text = _grow_trees(training, later, prior, options)
        share = options.params.linear_share
        trees, share = _blend_linear(text, prior.to_step_functions(training.X), training, later, share)
        calibration = Calibration.fit(trees.predict_raw(later.X), later.y, later.weight, later.channels)
        bands = Bands.from_scores(calibration.calibrate(trees.predict_raw(traffic.X), traffic.channels))
        model = cls(trees, calibration, bands, spec)
        model.recipe = Recipe(text.count("\nTree="), share)
        return model

    def replace_spec(self, installed: Spec) -> "RiskModel":
        """Return the same model with the texts of the installed version's spec.

        Raises
        ------
        BundleRefused
            If it was trained on other features than this version of npsrisk computes.
        """
        installed.require(self.spec)
        return RiskModel(self.trees, self.calibration, self.bands, installed)

    def predict_raw(self, X: Rows) -> Floats:
        """Give the raw scores, in log-odds, float64 (n,).

        Raises
        ------
        BadInput
            If the features were computed without fitted parameters.
        ServiceFault
            Where one is not a finite number: no such score ever leaves the model.
        """
        _refuse_unfitted(X)
        raw = self.trees.predict_raw(X)
        if not np.isfinite(raw).all():
            raise _build_score_fault()
        return raw

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:
        """Give the calibrated probabilities.

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
            If the features were computed without fitted parameters: the scores would look right and mean nothing.
        ServiceFault
            Where a score is not a number.
        """
        return self.calibration.calibrate(self.predict_raw(X), channels)

    def score_row(self, row: Rows, channel: str) -> float:
        """Give the calibrated probability of one row, float32 (features,), to the bits of `score`."""
        _refuse_unfitted(row)
        raw = float(self.trees.predict_raw(row[None, :])[0])
        if not math.isfinite(raw):
            raise _build_score_fault()
        return self.calibration.calibrate_row(raw, channel)

    def assign_bands(self, score: Floats) -> list[Band]:
        """Give the band of each score."""
        return [self.bands.assign(value) for value in score.tolist()]

    def explain(self, row: Rows, top: int = 3, *, lowering: bool = False) -> list[Reason]:
        """Give the reasons of one row's score, the weightiest first; see `ReasonRanker.rank`.

        Parameters
        ----------
        row : float32 array, (features,)
        top : int
        lowering : bool
            Also give reasons that lower the score.
        """
        _refuse_unfitted(row)
        return self._reasons.rank(
            row, self.trees.compute_contributions(row[None, :])[0], top, lowering=lowering
        )


def _refuse_unfitted(X: Rows) -> None:
    """Raise `BadInput` if features were computed without the vocabularies, norms and weights that a model learns."""
    if isinstance(X, UnfittedRows):
        raise BadInput(
            "a feature matrix that was not fitted cannot be scored",
            where=f"features {X.shape}",
            got="features computed without fitted parameters",
            expected="those of the model that scores",
            todo="compute them with models.batch_scoring.build_feature_parameters(bundle, pseudonyms), "
            "or score the table with score_table",
        )


def _build_score_fault() -> ServiceFault:
    return ServiceFault(
        "the model gave a score that is not a number", todo="roll back to the previous version"
    )


def _check_rows(rows: LabelledRows, spec: Spec, where: str) -> LabelledRows:
    """Bring labelled rows to their types, or raise `BadInput` where they do not fit together."""
    X, y, weight, channels = rows
    sizes = {len(X), len(y), len(weight), len(channels)}
    if X.ndim != 2 or X.shape[1] != len(spec) or len(sizes) != 1:
        raise BadInput(
            "rows, labels, weights and channels do not fit together",
            where=where,
            got=f"features {X.shape}, {len(y)} labels, {len(weight)} weights, {len(channels)} channels",
            expected=f"{len(spec)} features a row, as many of each",
        )
    labels, weights = np.asarray(y, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    if not np.isin(labels, (0, 1)).all() or not (np.isfinite(weights) & (weights >= 0)).all():
        raise BadInput(
            "labels or weights out of range", where=where, expected="labels 0 or 1, weights from 0"
        )
    return LabelledRows(np.ascontiguousarray(X, dtype=np.float32), labels, weights, channels)


def _grow_trees(training: LabelledRows, later: LabelledRows, prior: RulePrior, options: FitOptions) -> str:
    """Grow the trees with LightGBM, from what the rules say on, and give the model text up to the best tree."""
    import lightgbm

    params, progress = options.params, options.progress
    data = lightgbm.Dataset(
        training.X,
        training.y,
        weight=training.weight,
        init_score=prior.predict_raw(training.X),
        feature_name=list(prior.rules.spec.names),
    )
    judge = data.create_valid(later.X, later.y, weight=later.weight, init_score=prior.predict_raw(later.X))
    stops = _has_both_labels(later)
    callbacks: list[Callable[..., Any]] = []
    if stops:
        callbacks.append(lightgbm.early_stopping(params.patience, verbose=False))
    if progress is not None:
        callbacks.append(lambda at: progress("growing trees", at.iteration + 1, at.end_iteration))
    booster = lightgbm.train(
        _build_lightgbm_params(options),
        data,
        num_boost_round=params.trees,
        valid_sets=[judge] if stops else [],
        callbacks=callbacks,
    )
    text: str = booster.model_to_string(num_iteration=booster.best_iteration if stops else -1)
    return strip_parameters(text)


def _has_both_labels(later: LabelledRows) -> bool:
    """Tell whether a loss on these rows says anything: they hold both kinds of labels."""
    return bool(0 < later.y.sum() < len(later.y))


def _blend_linear(
    text: str, start: Sequence[StepFunction], training: LabelledRows, later: LabelledRows, share: float
) -> tuple[Trees, float]:
    """Blend grown trees, with what they started from, and a linear model; later rows, if they can, choose its share."""
    part = fit_linear_part(training.X, training.y, training.weight) if share else []
    shares = [share * each for each in LINEAR_SHARE_FACTORS] if share and _has_both_labels(later) else [share]
    blends = [
        (Trees.from_text(blend_trees(text, part, each, start), where="the trees just grown"), each)
        for each in shares
    ]
    if len(blends) == 1:
        return blends[0]
    return min(blends, key=lambda blend: _compute_calibrated_loss(blend[0], later))


def _compute_calibrated_loss(trees: Trees, rows: LabelledRows) -> float:
    """Give the weighted logarithmic loss of some rows under the calibration that suits them best."""
    raw = trees.predict_raw(rows.X)
    chance = Calibration.fit(raw, rows.y, rows.weight, rows.channels).calibrate(raw, rows.channels)
    return -float(np.sum(rows.weight * np.log(np.where(rows.y == 1, chance, 1.0 - chance))))


def _build_lightgbm_params(options: FitOptions) -> dict[str, Any]:
    """Give LightGBM's parameters; `deterministic` and `force_row_wise` make them the same for any number of threads."""
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
        "force_row_wise": True,
        "num_threads": options.threads,
        "verbosity": -1,
    }
