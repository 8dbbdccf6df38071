"""Explanations of a model: exact contributions of features to raw scores (Shapley values of trees and linear part together, in log-odds)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.normalization.normal_forms import DeclaredTexts
from features.spec import THEMES, Feature
from features.streams import list_declared_texts
from models.arrays import Floats, Ints, Rows
from models.batch_scoring import describe_consignments
from models.fitting.calibration import fit_raw_scale
from models.formats import format_number, format_percent, format_score, round_significant
from models.reasons.ranking import Reason, ReasonRanker
from models.reasons.sentences import ReasonContext
from models.reasons.texts import get_template, name_feature
from models.risk_model import RiskModel
from training.fitting.deployed import OriginFit
from training.reporting.charts import Chart
from training.reporting.plots import draw_beeswarm, draw_dependence
from training.runs.train import TrainingResult

TOP_EXAMPLES = 8
MAX_REASONS = 3
EXPLAINED_ROWS = 400  # rows for the importance of features: the highest scores, and as many of all traffic
SHOWN_FEATURES = 10
MAX_GRID_VALUES = 13
MIN_PROBABILITY = 1e-9
FIRST_STEP = "Mean raw score of the training rows"
LAST_STEP = "Calibration, from the raw score to a probability"


@dataclass(frozen=True)
class ExplainedSample:
    """Feature rows (n, features) of the highest scores and of all traffic, and their contributions in log-odds."""

    X: Rows
    contributions: Floats

    @classmethod
    def from_result(cls, trained: TrainingResult) -> "ExplainedSample":
        """Compute the contributions of the served fit to a sample of the latest traffic."""
        usual, scores = trained.final.usual, trained.final.usual_scores
        highest = np.argsort(-scores, kind="stable")[: EXPLAINED_ROWS // 2]
        size = len(scores)
        evenly = np.linspace(0, size - 1, min(size, EXPLAINED_ROWS // 2)).astype(np.int64)
        X = trained.final.matrix.look_up(usual[np.unique(np.concatenate([highest, evenly]))])
        return cls(X, trained.final.model.trees.compute_contributions(X)[:, :-1])

    def rank_features(self) -> Ints:
        """Return the columns, the largest mean absolute contribution first."""
        return np.argsort(-np.abs(self.contributions).mean(axis=0), kind="stable")

    def compute_importance(self, features: Sequence[Feature]) -> list[dict[str, Any]]:
        """Compute each feature's `share` (0 to 1) of the mean absolute contribution to the scores, largest first."""
        size = np.abs(self.contributions).mean(axis=0)
        share = size / max(float(size.sum()), 1e-300)
        ranked = [(features[place], float(share[place])) for place in self.rank_features()]
        return [
            {"feature": each.name, "group": each.group, "theme": each.theme, "share": size}
            for each, size in ranked
        ]


def draw_explanations(model: RiskModel, sample: ExplainedSample) -> dict[str, Chart]:
    """Draw the contributions to single scores, and the dependence of the score on the features with the largest ones."""
    columns = sample.rank_features()[:SHOWN_FEATURES].tolist()
    titles = [name_feature(model.spec.features[column]) for column in columns]
    charts = {"beeswarm": draw_beeswarm(titles, sample.X[:, columns], sample.contributions[:, columns])}
    for number, (column, title) in enumerate(zip(columns, titles, strict=True), start=1):
        feature, found = model.spec.features[column], compute_dependence(model, sample.X, column)
        names = [name_value(feature, value, model.reasons.context) for value in found[0].tolist()]
        unit = "" if feature.unit in ("flag", "code") else feature.unit
        charts[f"dependence_{number:02d}"] = draw_dependence(f"{number}. {title}", *found, names, unit)
    return charts


def name_value(feature: Feature, value: float, context: ReasonContext) -> str:
    """Name a value of a feature on the axis of a chart: yes or no, the name of a code, a share in percent, or a number."""
    if feature.unit == "flag":
        return "yes" if value else "no"
    if feature.unit == "code":
        name = context.name_code(feature.name, value, get_template(feature).codes)
        return name.replace("_", " ") or "other"
    rounded = round_significant(value, 2)
    return format_percent(rounded) if feature.unit == "share" else format_number(rounded)


def compute_dependence(model: RiskModel, X: Rows, column: int) -> tuple[Floats, Floats, float]:
    """Compute the partial dependence (Friedman 2001) on a feature: values, mean change of the raw score, that of a missing value."""
    before = float(model.trees.predict_raw(X).mean())

    def predict_change(value: float) -> float:
        changed = X.copy()
        changed[:, column] = value
        return float(model.trees.predict_raw(changed).mean()) - before

    known = ~np.isnan(X[:, column])
    values = np.unique(X[known, column].astype(np.float64))
    if len(values) > MAX_GRID_VALUES:
        spread = np.linspace(0, 1, MAX_GRID_VALUES)
        values = np.unique(np.quantile(X[known, column].astype(np.float64), spread, method="nearest"))
    effect = np.array([predict_change(float(value)) for value in values])
    return values, effect, np.nan if known.all() else predict_change(np.nan)


def explain_highest_scores(trained: TrainingResult, served: RiskModel) -> list[dict[str, Any]]:
    """Explain the highest scores of the latest window by the fit that had not seen it, without personal data."""
    unseen = UnseenModel.from_result(trained, served)
    frame = trained.data.observed.consignments.iloc[unseen.fit.tested]
    scores = unseen.score(frame["channel"].astype(str).tolist())
    highest = np.argsort(-scores, kind="stable")[:TOP_EXAMPLES]
    window = trained.deployed.stored.frame.tail(len(frame)).iloc[highest]
    frame, bands = frame.iloc[highest], served.bands.assign_all(scores[highest])
    found, labelled = (window[name].to_numpy(bool) for name in ("positive", "labelled"))
    results = np.where(found, "positive", np.where(labelled, "negative", "not inspected")).astype(object)
    results[~found & window["true_positive"].fillna(False).to_numpy(bool)] += ", but positive by the truth"
    facts, declared = describe_consignments(frame), list_declared_texts(frame)
    return [
        {
            "consignment_id": str(frame["consignment_id"].iloc[place]),
            "score": float(scores[at]),
            "band": str(bands[place]),
            "channel": str(frame["channel"].iloc[place]),
            "result": results[place],
            "facts": facts[place],
            "reasons": [
                reason.text for reason in unseen.rank(at, MAX_REASONS, declared[place], lowering=False)
            ],
            "waterfall": unseen.build_waterfall(at, float(scores[at]), declared[place]),
        }
        for place, at in enumerate(highest.tolist())
    ]


@dataclass(frozen=True)
class UnseenModel:
    """The latest fit that had not seen its window, on the scale of the served fit."""

    fit: OriginFit
    model: RiskModel
    reasons: ReasonRanker
    ratio: float
    offset: float

    @classmethod
    def from_result(cls, trained: TrainingResult, served: RiskModel) -> "UnseenModel":
        """Build it from a training result and the served model, which knows what is usual."""
        fit, usual = trained.deployed.latest, trained.final.usual
        labelled = trained.deployed.stored.frame["labelled"].to_numpy(bool)
        # The served fit may have seen the labelled rows.
        free = usual[np.isin(usual, fit.tested[~labelled[-len(fit.tested) :]])]
        raw = fit.raw[0][np.searchsorted(fit.tested, free)]
        ratio, offset = fit_raw_scale(raw, trained.final.predict_raw(free))
        values, _ = fit.fitted.to_plain()
        known = served.reasons.context
        context = ReasonContext(known.usual, values.get("vocabularies", {}))
        model = RiskModel(fit.trees, served.calibration, served.bands, served.spec)
        return cls(fit, model, ReasonRanker(served.spec, context), ratio, offset)

    def score(self, channels: list[str]) -> Floats:
        """Compute the scores of the window as the served fit scales them; float64 (n,)."""
        return self.model.calibration.calibrate(self.ratio * self.fit.raw[0] + self.offset, channels)

    def rank(self, at: int, top: int, declared: DeclaredTexts, *, lowering: bool) -> list[Reason]:
        """List the most important reasons of a row, each with what is usual."""
        X = self._look_up(at)
        effects = self.model.trees.compute_contributions(X)[0] * self.ratio
        return self.reasons.rank(X[0], effects, top, lowering=lowering, declared=declared)

    def build_waterfall(self, at: int, score: float, declared: DeclaredTexts) -> list[dict[str, Any]]:
        """Build the steps from the mean of the training rows to the score of a row."""
        mean = float(self.model.trees.compute_contributions(self._look_up(at))[0][-1])
        base = self.ratio * mean + self.offset
        every = self.rank(at, len(THEMES), declared, lowering=True)
        every.sort(key=lambda reason: -reason.contribution)
        steps = [(reason.text, reason.contribution) for reason in every]
        total = math.log(max(score, MIN_PROBABILITY) / max(1.0 - score, MIN_PROBABILITY))
        steps.append((LAST_STEP, total - base - sum(change for _, change in steps)))
        return _place_bars(base, steps, total, f"Score {format_score(score)}")

    def _look_up(self, at: int) -> Rows:
        return self.fit.matrix.look_up(self.fit.tested[at : at + 1])


def _place_bars(base: float, steps: list[tuple[str, float]], total: float, end: str) -> list[dict[str, Any]]:
    """Add to each step the place of its bar, in percent, which begins at the end of the bar above it."""
    ends = np.cumsum([base, *(change for _, change in steps)])
    scale = 100 / (float(np.ptp(ends)) or 1.0)
    starts = [base, *ends[:-1], total]
    rows, named = list[dict[str, Any]](), [(FIRST_STEP, base), *steps, (end, total)]
    for (text, change), start, stop in zip(named, starts, [*ends, total], strict=True):
        is_total = start == stop and text in (FIRST_STEP, end)
        row = {"text": text, "change": change, "factor": math.nan if is_total else math.exp(change)}
        left = float(np.clip(scale * (min(start, stop) - ends.min()), 0.0, 99.0))
        width = 1.0 if is_total else round(max(scale * abs(change), 0.3), 2)
        direction = "total" if is_total else "raises" if change > 0 else "lowers"
        rows.append({**row, "left": round(left, 2), "width": width, "direction": direction})
    return rows
