"""Facts on the model page that only the service knows: the active model, and the quality of its traffic since the start."""

from typing import Any, NamedTuple

from consignments.timestamps import US_PER_DAY, to_us
from models.promotion_record import DeployedFigures, Figure
from serving.service import Service
from serving.telemetry.metrics import DataQualityCounters

MAX_ROWS = 12
METRICS = (
    "recall_at_capacity", "recall_at_1pct", "recall_at_5pct", "recall_at_10pct", "precision_at_capacity", "precision_at_1pct",
    "roc_auc", "average_precision", "calibration_ratio",
)  # fmt: skip
"""Metrics on the page, in their order."""
DATE = "%Y-%m-%d"
TIME = "%Y-%m-%d %H:%M"


class MetricRow(NamedTuple):
    """A metric of the model by its name."""

    name: str
    figure: Figure


def collect_model_facts(service: Service) -> dict[str, Any]:
    """Collect the facts about the active model."""
    active, model = service.active, service.active.model
    card, release = model.card, model.release
    traffic, challenger = service.metrics.hot.traffic, service.find_challenger()
    traffic.flush()
    scored = sum(service.metrics.hot.decisions.values())
    facts: dict[str, Any] = {
        "name": model.name,
        "scores": active.scorer is not None,
        "loaded_at": model.loaded_at.strftime(TIME),
        "as_of": None,
        "figures": None,
        "metrics": [],
        "challenger": None if challenger is None else challenger.model,
        "warnings": service.list_warnings(),
        "missing": _rank_shares(traffic, "missing", scored),
        "unknown": _rank_shares(traffic, "unknown", scored),
    }
    if card is not None and release is not None and model.as_of is not None:
        figures = None if release.record is None else release.record.figures
        age_us = service.clock() - to_us(model.as_of)
        facts |= {
            "as_of": model.as_of.strftime(DATE),
            "age_days": max(0, age_us // US_PER_DAY),
            "target": card.target,
            "positives": card.positives,
            "approved_by": "–" if release.record is None else release.record.approved_by,
            "figures": figures,
            "metrics": list_metrics(figures),
        }
    return facts


def list_metrics(figures: DeployedFigures | None) -> list[MetricRow]:
    """List the metrics of the page in their order."""
    found = {} if figures is None else figures.metrics
    return [MetricRow(name, found[name]) for name in METRICS if name in found]


def _rank_shares(traffic: DataQualityCounters, name: str, scored: int) -> list[tuple[str, float]]:
    """Rank fields by the share of scored consignments that a counter has, the highest first, without zeros."""
    counts = traffic.missing if name == "missing" else traffic.unknown
    shares = [(field, min(1.0, count / scored)) for (field,), count in counts.items() if count and scored]
    return sorted(shares, key=lambda each: (-each[1], each[0]))[:MAX_ROWS]
