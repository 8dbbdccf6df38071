"""Yield of alerts: how many consignments each matched while it was valid, and what their inspections brought."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from consignments.records import Alert, Consignment
from features.alerts import Alerts
from features.described_rows import normalize_consignment
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
    current = {alert.alert_id: alert for alert in alerts}
    every = Alerts(current.values())
    matched: dict[str, set[str]] = {alert_id: set() for alert_id in current}
    seen: dict[str, dict[str, str]] = {alert_id: {} for alert_id in current}
    for c in consignments:
        for match in every.list_matches(c, normalize_consignment(c)):
            matched[match.alert.alert_id].add(c.consignment_id)
            if match.shared and c.received_at is not None:
                seen[match.alert.alert_id][c.consignment_id] = f"{c.received_at:%Y-%m-%d}"
    yields = [
        _count(alert, matched[alert_id], seen[alert_id], inspections) for alert_id, alert in current.items()
    ]
    return sorted(yields, key=lambda each: (-each.positives, -each.matched, each.alert_id))


def _count(alert: Alert, matched: set[str], seen: dict[str, str], inspections: pd.DataFrame) -> AlertYield:
    mine = inspections[inspections["consignment_id"].isin(matched)]
    known, positives = int(mine["final"].sum()), int(mine["positive"].sum())
    return AlertYield(
        alert_id=alert.alert_id,
        operation=alert.operation,
        text=alert.text,
        matched=len(matched),
        seen=len(seen),
        last_seen_on=max(seen.values(), default=None),
        inspected=int(mine["presented"].sum()),
        known=known,
        positives=positives,
        offences=int(mine["offence"].sum()),
        rate=estimate_rate(positives, known),
    )
