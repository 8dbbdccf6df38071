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
    matched : int
        Consignments of the period that it matched.
    seen : int
        Of those: with one of its indicators.
    last_seen_on : str or None
        Day of the last of these.
    inspected, known, positives, offences : int
        Of the matched: presented to inspection, with a final result, with the target, with any offence.
    rate : Estimate
        Positives over known.
    """

    alert_id: str
    operation: str | None
    text: str | None
    matched: int
    seen: int
    last_seen_on: str | None
    inspected: int
    known: int
    positives: int
    offences: int
    rate: Estimate

    def to_row(self) -> dict[str, Any]:
        """Return the values by name."""
        row = self._asdict()
        rate = row.pop("rate")
        return row | {"rate": rate.value, "rate_low": rate.low, "rate_high": rate.high}


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
    return sorted(yields, key=lambda each: (-each.positives, -each.matched, each.alert_id))


def build_yield(alert: Alert, counts: YieldCounts) -> AlertYield:
    """Build the yield of an alert from its counts."""
    rate = estimate_rate(counts.positives, counts.known)
    return AlertYield(alert.alert_id, alert.operation, alert.text, *counts, rate)


def _read_results(inspections: pd.DataFrame) -> dict[str, InspectionResult]:
    presented = inspections[inspections["presented"].to_numpy(bool)]
    flags = presented[["final", "positive", "offence"]].to_numpy(bool).tolist()
    return {
        name: InspectionResult(*each) for name, each in zip(presented["consignment_id"], flags, strict=True)
    }
