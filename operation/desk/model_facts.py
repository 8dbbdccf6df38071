"""Facts on the model page that only the service knows: the active model, and the quality of its traffic since the start."""

from typing import Any

from consignments.timestamps import US_PER_DAY, to_us
from models.promotion_record import DeployedFigures, Figure
from serving.service import Service

MAX_ROWS = 12
METRICS = (
    "recall_at_capacity", "recall_at_1pct", "recall_at_5pct", "recall_at_10pct", "precision_at_capacity", "precision_at_1pct",
    "roc_auc", "average_precision", "calibration_ratio",
)  # fmt: skip
"""Metrics on the page, in their order."""


def collect_model_facts(service: Service) -> dict[str, Any]:
    """Collect the facts about the active model."""
    active, model = service.active, service.active.model
    card, release = model.card, model.release
    metrics, challenger = service.metrics, service.find_challenger()
    metrics.traffic.flush()
    scored = sum(metrics.read_counts("decisions").values())
    facts: dict[str, Any] = {
        "name": model.name,
        "scores": active.scorer is not None,
        "loaded_at": f"{model.loaded_at:%Y-%m-%d %H:%M}",
        "as_of": None,
        "figures": None,
        "metrics": [],
        "challenger": None if challenger is None else challenger.model,
        "warnings": service.list_warnings(),
        "missing": _rank_shares(metrics.read_counts("missing_values"), scored),
        "unknown": _rank_shares(metrics.read_counts("unknown_codes"), scored),
    }
    if card is not None and release is not None and model.as_of is not None:
        record = release.record
        figures = None if record is None else record.figures
        facts |= {
            "as_of": f"{model.as_of:%Y-%m-%d}",
            "age_days": max(0, (service.clock() - to_us(model.as_of)) // US_PER_DAY),
            "target": card.target,
            "positives": card.positives,
            "approved_by": "–" if record is None else record.approved_by,
            "figures": figures,
            "metrics": list_metrics(figures),
        }
    return facts


def list_metrics(figures: DeployedFigures | None) -> list[tuple[str, Figure]]:
    """List the metrics of the page with their names, in their order."""
    found = {} if figures is None else figures.metrics
    return [(name, found[name]) for name in METRICS if name in found]


def _rank_shares(counts: dict[str, int], scored: int) -> list[tuple[str, float]]:
    """Rank fields by the share of scored consignments that a counter has, the highest first, without zeros."""
    shares = [(field, min(1.0, count / scored)) for field, count in counts.items() if count and scored]
    return sorted(shares, key=lambda each: (-each[1], each[0]))[:MAX_ROWS]
