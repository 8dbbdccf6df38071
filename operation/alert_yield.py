"""Yield of alerts: how many consignments each matched while it was valid, and what their inspections brought."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import pandas as pd

from consignments.records import Alert, Consignment
from consignments.tables import to_alerts
from consignments.validation import SEQUENCE
from operation.inspections import estimate_rate
from operation.yields import InspectionResult, MatchCounter, YieldCounts
from training.evaluation.estimate import Estimate


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


def select_valid_alerts(alerts: pd.DataFrame | None, begins: datetime, until: datetime) -> list[Alert]:
    """Select the alerts that were valid at any time of a period: of several versions of an alert, the last issued before its end.

    Parameters
    ----------
    alerts : DataFrame or None
        Alert table; a row replaces the earlier ones of its alert, by `sequence` if the table has this column.
    begins, until : datetime
        What expired by the first, or was issued at the second or later, is left out.
    """
    if alerts is None:
        return []
    ordered = alerts.sort_values(SEQUENCE, kind="stable") if SEQUENCE in alerts else alerts
    last = {each.alert_id: each for each in to_alerts(ordered) if each.issued_at < until}
    return [each for each in last.values() if each.expires_at is None or each.expires_at > begins]


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
        From `operation.inspections.join_inspections`.
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
