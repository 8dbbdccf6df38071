"""Yield of the alerts of tables, and the rate of detections of each alert."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from consignments.records import Alert, Consignment
from consignments.tables import to_alerts
from consignments.validation import SEQUENCE
from operation.inspections import estimate_rate
from operation.yields import InspectionResult, MatchCounter, YieldCounts
from training.evaluation.estimate import Estimate


class AlertYield(NamedTuple):
    """Yield of one alert: its counts in a period, and the rate of positives among the known results."""

    alert_id: str
    operation: str | None
    text: str | None
    counts: YieldCounts
    rate: Estimate


def select_valid_alerts(alerts: pd.DataFrame | None, begins: datetime, until: datetime) -> list[Alert]:
    """Select the alerts that were valid at any time of a period: of several versions of an alert, the last issued before its end."""
    if alerts is None:
        return []
    ordered = alerts.sort_values(SEQUENCE, kind="stable") if SEQUENCE in alerts else alerts
    last = {each.alert_id: each for each in to_alerts(ordered) if each.issued_at < until}
    return [each for each in last.values() if each.expires_at is None or each.expires_at > begins]


def compute_yields(
    alerts: Iterable[Alert], consignments: Iterable[Consignment], inspections: pd.DataFrame
) -> list[AlertYield]:
    """Compute the yield of each alert, the most positives first."""
    counter = MatchCounter()
    for alert in alerts:
        counter.add_alert(alert)
    for c in consignments:
        counter.record(c)
    presented = inspections[inspections["presented"].to_numpy(bool)]
    flags = presented[["final", "positive", "offence"]].to_numpy(bool).tolist()
    results = {
        name: InspectionResult(*each) for name, each in zip(presented["consignment_id"], flags, strict=True)
    }
    yields = [build_yield(alert, counter.count(alert.alert_id, results)) for alert in counter.alerts.values()]
    return sorted(yields, key=lambda each: (-each.counts.positives, -each.counts.matched, each.alert_id))


def build_yield(alert: Alert, counts: YieldCounts) -> AlertYield:
    """Build the yield of an alert from its counts."""
    rate = estimate_rate(counts.positives, counts.known)
    return AlertYield(alert.alert_id, alert.operation, alert.text, counts, rate)
