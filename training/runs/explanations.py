"""Explanations of a model: exact contributions of features to the score, of single consignments and of a sample.

A contribution is a Shapley value of the trees in log-odds. The contributions of a row and the expected value add up to its
raw score.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.spec import Feature
from features.streams import list_goods_texts
from models.reasons.ranking import Reason
from models.reasons.texts import get_language, get_template
from models.risk_model import RiskModel
from training.reporting.consignments import describe_consignments
from training.runs.result import TrainingResult

TOP_EXAMPLES = 8
"""Number of highest scores that the page explains."""
MAX_REASONS = 3
MAX_STEPS = 7
"""Contributions of a waterfall that are shown one by one; the others are one step."""
EXPLAINED_ROWS = 400
"""Rows whose contributions give the importance of features: the highest scores and as many of all traffic."""
SHOWN_FEATURES = 10
"""Features whose contributions and dependence are drawn."""
MAX_GRID_VALUES = 13
"""Values at which a dependence is computed."""
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class ExplainedSample:
    """Contributions of a sample of the test period: the highest scores, and as many rows of all traffic.

    Attributes
    ----------
    X : float32 array, (n, features)
    contributions : float64 array, (n, features)
        In log-odds.
    """

    X: Rows
    contributions: Floats

    def rank_features(self) -> NDArray[np.int64]:
        """Return the columns, the largest mean absolute contribution first."""
        return np.argsort(-np.abs(self.contributions).mean(axis=0), kind="stable")


@dataclass(frozen=True)
class Dependence:
    """Partial dependence of the score on one feature.

    Attributes
    ----------
    feature : Feature
    title : str
        The feature in words.
    values : float64 array, (v,)
        Values of the feature, in rising order.
    effect : float64 array, (v,)
        Mean change of the raw score, in log-odds, if every row of the sample gets the value.
    missing : float
        The same without a value; NaN if no row of the sample lacks it.
    """

    feature: Feature
    title: str
    values: Floats
    effect: Floats
    missing: float


def explain_sample(trained: TrainingResult) -> ExplainedSample:
    """Compute the contributions of a sample of the test period."""
    rows = trained.test_matrix_rows
    highest = np.argsort(-trained.test_scores, kind="stable")[: EXPLAINED_ROWS // 2]
    evenly = np.linspace(0, len(rows) - 1, min(len(rows), EXPLAINED_ROWS // 2)).astype(np.int64)
    X = np.ascontiguousarray(trained.matrix.X[rows[np.unique(np.concatenate([highest, evenly]))]])
    return ExplainedSample(X, trained.model.trees.compute_contributions(X)[:, :-1])


def compute_feature_importance(
    trained: TrainingResult, sample: ExplainedSample | None = None
) -> list[dict[str, Any]]:
    """Compute each feature's share of the mean absolute contribution, largest first.

    Returns
    -------
    list of dict
        `feature`, `group`, `reason`, `share` (0 to 1).
    """
    sample = sample or explain_sample(trained)
    size = np.abs(sample.contributions).mean(axis=0)
    share = size / max(float(size.sum()), 1e-300)
    features = trained.model.spec.features
    return [
        {
            "feature": features[place].name,
            "group": features[place].group,
            "reason": features[place].reason,
            "share": float(share[place]),
        }
        for place in sample.rank_features()
    ]


def compute_dependence(model: RiskModel, sample: ExplainedSample) -> list[Dependence]:
    """Compute the partial dependence (Friedman 2001) of the features with the largest contributions."""
    before = float(model.predict_raw(sample.X).mean())
    found = []
    for column in sample.rank_features()[:SHOWN_FEATURES]:
        feature, present = model.spec.features[column], sample.X[:, column]
        values = _choose_grid(present[~np.isnan(present)])
        effect = [_predict_mean(model, sample.X, column, value) - before for value in values]
        missing = (
            _predict_mean(model, sample.X, column, np.nan) - before if np.isnan(present).any() else np.nan
        )
        found.append(Dependence(feature, name_feature(feature), values, np.array(effect), missing))
    return found


def name_feature(feature: Feature) -> str:
    """Return a feature in words: the text of its reason, with an ellipsis for the value."""
    texts = get_template(feature, get_language()).list_texts()
    text = texts.get("other") or texts.get("true") or next(iter(texts.values()))
    return text.replace("{value}", "…").replace("{currency}", "its currency").rstrip(" :")


def explain_highest_scores(trained: TrainingResult) -> list[dict[str, Any]]:
    """Explain the highest scores of the test period: facts, reasons and exact contributions; no personal data.

    Returns
    -------
    list of dict
        `consignment_id`, `score`, `band`, `channel`, `result`, `facts` (`ConsignmentFacts`), `reasons`, and `waterfall`: the steps of
        `build_waterfall`.
    """
    highest = np.argsort(-trained.test_scores, kind="stable")[:TOP_EXAMPLES]
    at = trained.test_matrix_rows[highest]
    frame = trained.data.observed.consignments.iloc[trained.matrix.rows[at]]
    bands, rows = trained.model.assign_bands(trained.test_scores[highest]), trained.matrix.X[at]
    facts, goods = describe_consignments(frame), list_goods_texts(frame)
    return [
        {
            "consignment_id": str(frame["consignment_id"].iloc[place]),
            "score": float(trained.test_scores[at]),
            "band": bands[place],
            "channel": str(frame["channel"].iloc[place]),
            "result": _describe_result(trained, int(at)),
            "facts": facts[place],
            "reasons": [
                reason.text for reason in trained.model.explain(rows[place], MAX_REASONS, goods=goods[place])
            ],
            "waterfall": build_waterfall(trained.model, rows[place], goods[place]),
        }
        for place, at in enumerate(highest)
    ]


def build_waterfall(model: RiskModel, row: NDArray[np.float32], goods: str = "") -> list[dict[str, Any]]:
    """Build the steps from the expected value to the raw score of a row.

    Parameters
    ----------
    model : RiskModel
    row : float32 array, (features,)
    goods : str
        Goods text, whose words are quoted.

    Returns
    -------
    list of dict
        `text`, `change` (log-odds), `factor` (by which the step multiplies the odds), `left` and `width` (0 to 100, for drawing), and
        `direction`. The first row is the expected value, the last the raw score; the changes between add up exactly.
    """
    every = model.explain(row, len(model.spec), lowering=True, goods=goods)
    shown = sorted(every, key=lambda reason: -abs(reason.contribution))[:MAX_STEPS]
    base = float(model.trees.compute_contributions(row[None, :])[0, -1])
    raw = float(model.predict_raw(row[None, :])[0])
    steps = [(reason.text, reason.contribution) for reason in _order_steps(shown)]
    rest = raw - base - sum(change for _, change in steps)
    if len(every) > len(shown):
        steps.append((f"All other features ({len(every) - len(shown)} groups)", rest))
    ends: list[float] = np.cumsum([base, *(change for _, change in steps)]).tolist()
    low, high = min(*ends, raw), max(*ends, raw)
    scale = 100 / ((high - low) or 1.0)
    bars = [
        _build_step(text, change, 100 - scale * (high - min(start, end)), scale * abs(change))
        for (text, change), start, end in zip(steps, ends[:-1], ends[1:], strict=True)
    ]
    return [
        _build_total(
            "Mean of the training rows, in which inspected ones are over-represented",
            base,
            scale * (base - low),
        ),
        *bars,
        _build_total("This consignment", raw, scale * (raw - low)),
    ]


def _build_step(text: str, change: float, left: float, width: float) -> dict[str, Any]:
    return {
        "text": text,
        "change": change,
        "factor": math.exp(change),
        "left": round(left, 2),
        "width": round(max(width, 0.3), 2),
        "direction": "raises" if change > 0 else "lowers",
    }


def _build_total(text: str, value: float, at: float) -> dict[str, Any]:
    return {
        "text": text,
        "change": value,
        "factor": math.nan,
        "left": round(min(max(at, 0.0), 99.0), 2),
        "width": 1.0,
        "direction": "total",
    }


def _order_steps(reasons: Sequence[Reason]) -> list[Reason]:
    """Order reasons for a waterfall: those that raise, the strongest first, then those that lower."""
    return sorted(reasons, key=lambda reason: -reason.contribution)


def _choose_grid(values: Rows) -> Floats:
    """Choose the values of a feature at which its effect is computed: all if they are few, else quantiles."""
    distinct = np.unique(values.astype(np.float64))
    if len(distinct) <= MAX_GRID_VALUES:
        return distinct
    return np.unique(
        np.quantile(values.astype(np.float64), np.linspace(0, 1, MAX_GRID_VALUES), method="nearest")
    )


def _predict_mean(model: RiskModel, X: Rows, column: int, value: float) -> float:
    changed = X.copy()
    changed[:, column] = value
    return float(model.predict_raw(changed).mean())


def _describe_result(trained: TrainingResult, at: int) -> str:
    if trained.test_traffic.positive[at]:
        return "positive"
    return "negative" if trained.test_traffic.labelled[at] else "not inspected"
