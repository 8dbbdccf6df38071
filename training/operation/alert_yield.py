"""Yield of alerts: how many consignments each matched while it was valid, and what their inspections brought."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from consignments.records import Alert, Consignment
from models.operation.yields import InspectionResult, MatchCounter, YieldCounts
from training.evaluation.intervals import Estimate
from training.operation.tallies import estimate_rate


class AlertYield(NamedTuple):
    """Yield of one alert.

    Attributes
    ----------
    alert_id : str
    operation : str or None
    text : str or None
    counts : YieldCounts
        Of the consignments of the period.
    rate : Estimate
        Positives over known.
    """

    alert_id: str
    operation: str | None
    text: str | None
    counts: YieldCounts
    rate: Estimate

    def to_row(self) -> dict[str, Any]:
        """Return the values by name."""
        named = {"alert_id": self.alert_id, "operation": self.operation, "text": self.text}
        rate = {"rate": self.rate.value, "rate_low": self.rate.low, "rate_high": self.rate.high}
        return named | self.counts._asdict() | rate


def compute_yields(
    alerts: Iterable[Alert], consignments: Iterable[Consignment], inspections: pd.DataFrame
) -> list[AlertYield]:
    """Compute the yield of each alert, the most positives first.

    Parameters
    ----------
    alerts : iterable of Alert
        The last version of an alert counts.
    consignments : iterable of Consignment
        Arrivals of the period.
    inspections : DataFrame
        From `training.operation.inspections.join_inspections`.
    """
    counter = MatchCounter()
    for alert in alerts:
        counter.add_alert(alert)
    for c in consignments:
        counter.record(c)
    results = _read_results(inspections)
    yields = [build_yield(alert, counter.count(alert.alert_id, results)) for alert in counter.list_alerts()]
    return sorted(yields, key=lambda each: (-each.counts.positives, -each.counts.matched, each.alert_id))


def build_yield(alert: Alert, counts: YieldCounts) -> AlertYield:
    """Build the yield of an alert from its counts."""
    rate = estimate_rate(counts.positives, counts.known)
    return AlertYield(alert.alert_id, alert.operation, alert.text, counts, rate)


def _read_results(inspections: pd.DataFrame) -> dict[str, InspectionResult]:
    presented = inspections[inspections["presented"].to_numpy(bool)]
    flags = presented[["final", "positive", "offence"]].to_numpy(bool).tolist()
    return {
        name: InspectionResult(*each) for name, each in zip(presented["consignment_id"], flags, strict=True)
    }
