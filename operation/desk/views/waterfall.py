"""Waterfall of a score: how each reason moves it, in log-odds, from the usual consignment to this one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from consignments.errors import BundleRefused, ServiceFault
from features.normalization.normal_forms import get_declared_texts
from models.reasons.ranking import Reason
from models.risk_model import RiskModel
from operation.desk.acts import PLAIN
from operation.desk.formats import PageTexts
from serving.event_log.event_codec import decode_features
from serving.event_log.events import DecisionEvent
from serving.scoring.loaded_model import PastModels

MAX_BARS = 8
ALL_REASONS = 1_000
WIDTH = 200.0  # width of the drawing in its own units
MIN_WIDTH = 1.5


def explain_decision(event: DecisionEvent, models: PastModels) -> tuple[list[Reason], float] | None:
    """Compute all reasons of a decision, which add up with the base to its raw score."""
    if event.redacted or event.features is None:
        return None
    try:
        risk = models.find(event.model, event.model_sha256).judge
    except (BundleRefused, ServiceFault):
        return None
    if not isinstance(risk, RiskModel):
        return None
    row = np.array(decode_features(event), dtype=np.float32)
    declared = get_declared_texts(PLAIN.decode_consignment(event))
    base = float(risk.trees.compute_contributions(row[None, :])[0][-1])
    return risk.explain(row, ALL_REASONS, lowering=True, declared=declared), base


def draw_waterfall(reasons: Sequence[Reason], base: float | None, texts: PageTexts) -> dict[str, Any]:
    """Draw the strongest reasons as bars, the others as one, and the whole; `complete` if the bars add up to the score."""
    ranked = sorted(reasons, key=lambda reason: -abs(reason.contribution))
    shown, others = ranked[:MAX_BARS], ranked[MAX_BARS:]
    steps = [("; ".join(fact.text for fact in each.facts) or each.text, each.contribution) for each in shown]
    if base is not None:
        steps.append((texts("reasons.others"), sum((reason.contribution for reason in others), 0.0)))
    edges = np.cumsum([base or 0.0, *(value for _, value in steps)]).tolist()
    low, factor = min(edges), (WIDTH - MIN_WIDTH) / (max(edges) - min(edges) or 1.0)

    def build_bar(text: str, value: float, begin: float, end: float, kind: str) -> dict[str, Any]:
        left, right = sorted(((begin - low) * factor, (end - low) * factor))
        drawn = {"left": left, "width": max(right - left, MIN_WIDTH), "end": (end - low) * factor}
        return {"text": text, "value": value, "kind": kind} | {name: round(x, 1) for name, x in drawn.items()}

    bars = [
        build_bar(text, value, begin, end, "raises" if value >= 0 else "lowers")
        for (text, value), begin, end in zip(steps, edges[:-1], edges[1:], strict=True)
    ]
    if base is not None:
        bars.insert(0, build_bar(texts("reasons.usual"), base, base, base, "usual"))
        bars.append(build_bar(texts("reasons.this"), edges[-1], base, edges[-1], "whole"))
    return {"bars": bars, "complete": base is not None}
