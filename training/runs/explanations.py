"""Explanations of a model: exact contributions of features to scores, of a sample and of single consignments.

A contribution is a Shapley value of the trees in log-odds. The contributions of a row and the expected value add up to its
raw score. The sample explains the served fit. The examples come from the latest fit that had not seen their weeks, converted to
the scale of the served fit.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.spec import Feature
from features.streams import list_goods_texts
from models.calibration import fit_raw_scale
from models.formats import format_count, format_score
from models.reasons.ranking import Reason, ReasonRanker
from models.reasons.sentences import ReasonContext
from models.reasons.texts import get_language, get_template
from models.risk_model import RiskModel, predict_finite
from training.reporting.consignments import ConsignmentFacts, describe_consignments
from training.runs.result import TrainingResult

TOP_EXAMPLES = 8
"""Number of highest scores that the page explains."""
MAX_REASONS = 3
MAX_STEPS = 7
"""Contributions of a waterfall that are shown one by one."""
EXPLAINED_ROWS = 400
"""Rows whose contributions give the importance of features: the highest scores and as many of all traffic."""
SHOWN_FEATURES = 10
"""Features whose contributions and dependence are drawn."""
MAX_GRID_VALUES = 13
"""Values at which a dependence is computed."""
MIN_PROBABILITY = 1e-9
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class ExplainedSample:
    """Feature rows (n, features) of the highest scores and of all traffic, and their contributions in log-odds."""

    X: Rows
    contributions: Floats

    def rank_features(self) -> NDArray[np.int64]:
        """Return the columns, the largest mean absolute contribution first."""
        return np.argsort(-np.abs(self.contributions).mean(axis=0), kind="stable")


class Dependence(NamedTuple):
    """Partial dependence of the score on one feature: mean change of the raw score at each value, and without a value."""

    feature: Feature
    title: str
    values: Floats
    effect: Floats
    missing: float


class Example(NamedTuple):
    """One of the highest scores: its facts, its reasons, and the steps from the mean of the training rows to the score."""

    consignment_id: str
    score: float
    band: str
    channel: str
    result: str
    facts: ConsignmentFacts
    reasons: list[str]
    waterfall: list[dict[str, Any]]


def explain_sample(trained: TrainingResult) -> ExplainedSample:
    """Compute the contributions of the served fit to a sample of the latest traffic."""
    usual, scores = trained.final.usual, trained.final.usual_scores
    highest = np.argsort(-scores, kind="stable")[: EXPLAINED_ROWS // 2]
    size = len(scores)
    evenly = np.linspace(0, size - 1, min(size, EXPLAINED_ROWS // 2)).astype(np.int64)
    X = np.ascontiguousarray(usual.X[np.unique(np.concatenate([highest, evenly]))])
    return ExplainedSample(X, trained.final.model.trees.compute_contributions(X)[:, :-1])


def compute_feature_importance(
    trained: TrainingResult, sample: ExplainedSample | None = None
) -> list[dict[str, Any]]:
    """Compute each feature's share of the mean absolute contribution to the served fit's scores, largest first.

    Returns
    -------
    list of dict
        `feature`, `group`, `reason`, `share` (0 to 1).
    """
    sample = sample or explain_sample(trained)
    size = np.abs(sample.contributions).mean(axis=0)
    share = size / max(float(size.sum()), 1e-300)
    features = trained.final.model.spec.features
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

    def predict_change(column: int, value: float) -> float:
        changed = sample.X.copy()
        changed[:, column] = value
        return float(model.predict_raw(changed).mean()) - before

    found = []
    for column in sample.rank_features()[:SHOWN_FEATURES].tolist():
        feature, present = model.spec.features[column], sample.X[:, column]
        known = ~np.isnan(present)
        values = _choose_grid(present[known].astype(np.float64))
        effect = np.array([predict_change(column, float(value)) for value in values])
        missing = np.nan if known.all() else predict_change(column, np.nan)
        found.append(Dependence(feature, name_feature(feature), values, effect, missing))
    return found


def name_feature(feature: Feature) -> str:
    """Return a feature in words: the text of its reason, with an ellipsis for the value."""
    texts = get_template(feature, get_language()).list_texts()
    text = texts.get("other") or texts.get("true") or next(iter(texts.values()))
    return text.replace("{value}", "…").replace("{currency}", "its currency").rstrip(" :")


def explain_highest_scores(trained: TrainingResult, served: RiskModel) -> list[Example]:
    """Explain the highest scores of the latest window by the fit that had not seen it; no personal data."""
    unseen = UnseenModel.from_result(trained, served)
    frame = trained.data.observed.consignments.iloc[unseen.rows]
    scores = unseen.score(frame["channel"].astype(str).tolist())
    highest = np.argsort(-scores, kind="stable")[:TOP_EXAMPLES]
    frame = frame.iloc[highest]
    window = trained.deployed.stored.frame.tail(len(unseen.rows)).iloc[highest]
    bands = served.assign_bands(scores[highest])
    facts, goods = describe_consignments(frame), list_goods_texts(frame)
    return [
        Example(
            consignment_id=str(frame["consignment_id"].iloc[place]),
            score=float(scores[at]),
            band=str(bands[place]),
            channel=str(frame["channel"].iloc[place]),
            result=_describe_result(window.iloc[place]),
            facts=facts[place],
            reasons=unseen.list_reasons(int(at), goods[place]),
            waterfall=unseen.build_waterfall(int(at), float(scores[at]), goods[place]),
        )
        for place, at in enumerate(highest)
    ]


@dataclass(frozen=True)
class UnseenModel:
    """The latest fit that had not seen its window, on the scale of the served fit."""

    rows: NDArray[np.int64]
    X: Rows
    model: RiskModel
    reasons: ReasonRanker
    ratio: float
    offset: float

    @classmethod
    def from_result(cls, trained: TrainingResult, served: RiskModel) -> "UnseenModel":
        """Build it from a training result and the served model, which knows what is usual."""
        fit, rows = trained.deployed.latest, trained.deployed.latest.origin.window
        X = fit.matrix.X[np.searchsorted(fit.matrix.rows, rows)]
        usual, labelled = trained.final.usual, trained.deployed.stored.frame["labelled"].to_numpy(bool)
        # The served fit may have seen the labelled rows.
        free = np.isin(usual.rows, rows[~labelled[-len(rows) :]])
        raw = predict_finite(fit.trees, X)
        ratio, offset = fit_raw_scale(
            raw[np.searchsorted(rows, usual.rows[free])], predict_finite(served.trees, usual.X[free])
        )
        values, arrays = fit.fitted.to_plain()
        known = served.reasons.context
        context = ReasonContext(
            known.medians, values.get("vocabularies", {}), arrays.get("text_weights"), known.channel_medians
        )
        model = RiskModel(fit.trees, served.calibration, served.bands, served.spec)
        return cls(rows, X, model, ReasonRanker(served.spec, context), ratio, offset)

    def score(self, channels: list[str]) -> Floats:
        """Compute the scores of the window as the served fit scales them; float64 (n,)."""
        raw = self.ratio * predict_finite(self.model.trees, self.X) + self.offset
        return self.model.calibration.calibrate(raw, channels)

    def list_reasons(self, at: int, goods: str) -> list[str]:
        """List the most important reasons of a row, each with what is usual."""
        return [reason.text for reason in self._rank(at, MAX_REASONS, goods, lowering=False)]

    def build_waterfall(self, at: int, score: float, goods: str = "") -> list[dict[str, Any]]:
        """Build the steps from the mean of the training rows to the score of a row."""
        base = self.ratio * self._contribute(at)[-1] + self.offset
        every = self._rank(at, len(self.model.spec), goods, lowering=True)
        shown = sorted(every, key=lambda reason: -abs(reason.contribution))[:MAX_STEPS]
        steps = [
            (reason.text, reason.contribution)
            for reason in sorted(shown, key=lambda each: -each.contribution)
        ]
        steps += _sum_others([reason for reason in every if reason not in shown])
        total = math.log(max(score, MIN_PROBABILITY) / max(1.0 - score, MIN_PROBABILITY))
        calibration = total - base - sum(change for _, change in steps)
        steps.append(("Calibration, from the raw score to a probability", calibration))
        return _draw_steps(base, steps, f"Score {format_score(score)}")

    def _rank(self, at: int, top: int, goods: str, *, lowering: bool) -> list[Reason]:
        return self.reasons.rank(
            self.X[at], self._contribute(at) * self.ratio, top, lowering=lowering, goods=goods
        )

    def _contribute(self, at: int) -> Floats:
        contributions: Floats = self.model.trees.compute_contributions(self.X[at : at + 1])[0]
        return contributions


def _sum_others(reasons: list[Reason]) -> list[tuple[str, float]]:
    """Sum the reasons that are not shown one by one: those that raise the score, and those that lower it."""
    found = []
    for verb, mine in (
        ("raise", [each.contribution for each in reasons if each.contribution > 0]),
        ("lower", [each.contribution for each in reasons if each.contribution < 0]),
    ):
        if mine:
            most = math.exp(max(mine, key=abs))
            text = f"{format_count(len(mine), 'other fact')} that {verb} it, none by more than × {most:.3g}"
            found.append((text, sum(mine)))
    return found


def _draw_steps(base: float, steps: list[tuple[str, float]], end: str) -> list[dict[str, Any]]:
    """Add to each step the place of its bar, which begins at the end of the bar above it."""
    ends = np.cumsum([base, *(change for _, change in steps)])
    low, scale = float(ends.min()), 100 / (float(np.ptp(ends)) or 1.0)

    def build(text: str, change: float, left: float, width: float, direction: str) -> dict[str, Any]:
        place = round(min(max(scale * (left - low), 0.0), 99.0), 2)
        factor = math.nan if direction == "total" else math.exp(change)
        width = round(max(scale * width, 0.3), 2) if direction != "total" else 1.0
        return {
            "text": text,
            "change": change,
            "factor": factor,
            "left": place,
            "width": width,
            "direction": direction,
        }

    mean = "Mean of the training rows, in which inspected ones are over-represented"
    return [
        build(mean, base, base, 0.0, "total"),
        *(
            build(text, change, min(before, after), abs(change), "raises" if change > 0 else "lowers")
            for (text, change), before, after in zip(steps, ends[:-1], ends[1:], strict=True)
        ),
        build(end, float(ends[-1]), float(ends[-1]), 0.0, "total"),
    ]


def _choose_grid(values: Floats) -> Floats:
    """Choose the values of a feature at which its effect is computed: all if they are few, else quantiles."""
    distinct = np.unique(values)
    if len(distinct) <= MAX_GRID_VALUES:
        return distinct
    return np.unique(np.quantile(values, np.linspace(0, 1, MAX_GRID_VALUES), method="nearest"))


def _describe_result(row: "pd.Series[Any]") -> str:
    result = "positive" if row["positive"] else "negative" if row["labelled"] else "not inspected"
    is_true = pd.notna(row["true_positive"]) and bool(row["true_positive"])
    return f"{result}, but positive by the truth" if is_true and not row["positive"] else result
