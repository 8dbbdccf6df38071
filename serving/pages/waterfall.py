"""Waterfall of a score: how each reason moves it, in log-odds, from the usual consignment to this one."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from consignments.errors import BundleRefused, ServiceFault
from features.normalization.normal_forms import get_goods_text
from models.bundle import Bundle
from models.reasons.ranking import Reason
from models.risk_model import RiskModel
from serving.event_log.event_codec import EventCodec, decode_features
from serving.event_log.events import DecisionEvent
from serving.scoring.past_models import PastModels

MAX_BARS = 8
ALL_REASONS = 1_000
WIDTH, ROW_HEIGHT, TOP = 320.0, 26, 18
"""Size of the drawing in its own units."""


class WaterfallBar(NamedTuple):
    """One bar: what a reason adds, and the positions of its two ends in the drawing.

    Attributes
    ----------
    text : str
    value : float or None
        In log-odds; None for the whole.
    left, width, y : float
    end : float
        Where the bar ends; the next one begins there.
    kind : str
        `raises`, `lowers` or `whole`.
    """

    text: str
    value: float
    left: float
    width: float
    y: float
    end: float
    kind: str


class Waterfall(NamedTuple):
    """The bars of a score from the top, and the size of the drawing."""

    bars: list[WaterfallBar]
    height: float
    complete: bool
    zero: float


def explain_decision(
    event: DecisionEvent, models: PastModels, entries: EventCodec
) -> tuple[list[Reason], float] | None:
    """Compute all reasons of a decision, which add up with the base to its raw score.

    Returns
    -------
    tuple or None
        Reasons in the order of their contributions, and the base in log-odds; None if the model is not here or cannot say.
    """
    if event.redacted or event.features is None:
        return None
    try:
        risk = models.find(event.model, event.model_sha256).judge
    except (BundleRefused, ServiceFault):
        return None
    if not isinstance(risk, RiskModel):
        return None
    row = np.array(decode_features(event), dtype=np.float32)
    goods = get_goods_text(entries.decode_consignment(event))
    base = float(risk.trees.compute_contributions(row[None, :])[0][-1])
    return risk.explain(row, ALL_REASONS, lowering=True, goods=goods), base


def refuse_fetch(name: str, version: str) -> Bundle:
    """Refuse to fetch a model: pages use only models that are published here."""
    raise BundleRefused("models are not fetched from MLflow for pages", got=f"{name}/{version}")


def draw_waterfall(reasons: Sequence[Reason], base: float | None, words: tuple[str, str, str]) -> Waterfall:
    """Draw the strongest reasons as bars, the others as one bar, and the whole.

    Parameters
    ----------
    reasons : sequence of Reason
    base : float or None
        The usual score in log-odds; None if the reasons are not complete, then only they are drawn.
    words : tuple of str
        Texts of the usual consignment, of all other reasons, and of this consignment.
    """
    usual, rest, this = words
    ranked = sorted(reasons, key=lambda reason: -abs(reason.contribution))
    shown, others = ranked[:MAX_BARS], ranked[MAX_BARS:]
    steps = [(reason.text, reason.contribution) for reason in shown]
    start = base or 0.0
    if base is not None:
        steps.append((rest, sum((reason.contribution for reason in others), 0.0)))
    edges = np.cumsum([start, *(value for _, value in steps)]).tolist()
    low, high = min(0.0, *edges), max(0.0, *edges)
    scale = WIDTH / (high - low or 1.0)
    bars: list[WaterfallBar] = []
    if base is not None:
        bars.append(_build_bar(usual, 0.0, base, "whole", 0, low, scale))
    for (text, value), begin, end in zip(steps, edges[:-1], edges[1:], strict=True):
        bars.append(_build_bar(text, begin, end, "raises" if value >= 0 else "lowers", len(bars), low, scale))
    if base is not None:
        bars.append(_build_bar(this, 0.0, edges[-1], "whole", len(bars), low, scale))
    return Waterfall(bars, TOP + ROW_HEIGHT * len(bars), base is not None, (0.0 - low) * scale)


def _build_bar(
    text: str, begin: float, end: float, kind: str, place: int, low: float, scale: float
) -> WaterfallBar:
    left, right = sorted(((begin - low) * scale, (end - low) * scale))
    y = TOP + ROW_HEIGHT * place
    return WaterfallBar(
        text,
        end - begin,
        round(left, 1),
        round(max(right - left, 1.5), 1),
        y,
        round((end - low) * scale, 1),
        kind,
    )
