"""Facts on the model page that only the service knows: the active model, and the quality of its traffic since the start."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from consignments.timestamps import US_PER_DAY, to_us
from serving.service import Service
from serving.telemetry.data_quality import DataQualityCounters

MAX_ROWS = 12
METRICS = (
    "recall_at_capacity", "recall_at_1pct", "recall_at_5pct", "recall_at_10pct", "precision_at_capacity", "precision_at_1pct",
    "roc_auc", "average_precision", "calibration_error",
)  # fmt: skip
"""Metrics on the page, in their order."""
PERIODS = ("deployed", "test")
"""Evaluations that a card can have; the page shows a metric of the first that has it, as the report does."""
DATE = "%Y-%m-%d"
TIME = "%Y-%m-%d %H:%M"


class MetricRow(NamedTuple):
    """A metric of the model with the ends of its 95 % interval; None if they are not known."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def collect_model_facts(service: Service) -> dict[str, Any]:
    """Collect the facts about the active model."""
    active, model = service.active, service.active.model
    card, release = model.card, model.release
    traffic = service.metrics.hot.traffic
    traffic.flush()
    scored = sum(service.metrics.hot.decisions.values())
    facts: dict[str, Any] = {
        "name": model.name,
        "scores": active.scorer is not None,
        "loaded_at": model.loaded_at.strftime(TIME),
        "as_of": None,
        "metrics": [],
        "challenger": None if service.shadow.release is None else service.shadow.release.model,
        "warnings": service.list_warnings(),
        "missing": _rank_shares(traffic, "missing", scored),
        "unknown": _rank_shares(traffic, "unknown", scored),
    }
    if card is not None and release is not None and model.as_of is not None:
        age_us = service.clock() - to_us(model.as_of)
        facts |= {
            "as_of": model.as_of.strftime(DATE),
            "age_days": max(0, age_us // US_PER_DAY),
            "target": card.target,
            "positives": card.positives,
            "approved_by": "–" if release.record is None else release.record.approved_by,
            "metrics": list_metrics(card.metrics),
        }
    return facts


def list_metrics(metrics: Mapping[str, float | None]) -> list[MetricRow]:
    """List the metrics of the page with their intervals.

    Examples
    --------
    >>> list_metrics({"test/roc_auc": 0.7, "deployed/roc_auc": 0.8, "deployed/roc_auc_low": 0.7, "deployed/roc_auc_high": 0.9})
    [MetricRow(name='roc_auc', value=0.8, low=0.7, high=0.9)]
    """
    rows = []
    for name in METRICS:
        found = next(
            (f"{period}/{name}" for period in PERIODS if metrics.get(f"{period}/{name}") is not None), None
        )
        if found is not None:
            rows.append(
                MetricRow(name, metrics[found], metrics.get(f"{found}_low"), metrics.get(f"{found}_high"))
            )
    return rows


def _rank_shares(traffic: DataQualityCounters, name: str, scored: int) -> list[tuple[str, float]]:
    """Rank fields by the share of scored consignments that a counter has, the highest first, without zeros."""
    counts = traffic.missing if name == "missing" else traffic.unknown
    shares = [(field, min(1.0, count / scored)) for (field,), count in counts.items() if count and scored]
    return sorted(shares, key=lambda each: (-each[1], each[0]))[:MAX_ROWS]
