"""Yield of alerts: the consignments that each one matched while it was valid, and what their inspections brought.

Tables and the log of a service are counted by one counter (`operation.logged_yields` reads the log). A match is a match by patterns or by
indicators at the time of receipt. The yield is the share of detections among the known results.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from consignments.records import Alert, Consignment, Target
from consignments.tables import to_alerts
from consignments.timestamps import to_us
from consignments.validation import SEQUENCE
from consignments.visibility import FINAL_RESULTS, list_positive_results
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import OperationKeys
from features.normalization.normal_forms import normalize_consignment
from operation.inspections import estimate_rate
from training.evaluation.estimate import Estimate


class InspectionResult(NamedTuple):
    """Result of an inspection so far: whether it is known, and whether the target and any offence was found."""

    final: bool
    positive: bool
    offence: bool

    @classmethod
    def from_result(cls, result: str | None, target: Target) -> "InspectionResult":
        """Build it from the result of an outcome with the status `inspected`."""
        return cls(
            result in FINAL_RESULTS,
            result in list_positive_results(target),
            result in list_positive_results("any_offence"),
        )


class YieldCounts(NamedTuple):
    """Counts of one alert: consignments that it matched, those of them with one of its indicators, and results of the matched."""

    matched: int
    seen: int
    last_seen_on: str | None
    inspected: int
    known: int
    positives: int
    offences: int


class MatchCounter:
    """A counter of the consignments that alerts match; without keys, the installed ones make their indicators."""

    def __init__(self, keys: OperationKeys | None = None) -> None:
        self._every = Alerts(keys=keys)
        self._current: dict[str, Alert] = {}
        self._matched: dict[str, set[str]] = {}
        self._seen: dict[str, dict[str, str]] = {}

    def add_alert(self, alert: Alert, sequence: int | None = None) -> None:
        """Add an alert or a new version; with its sequence number, earlier consignments keep their match with the earlier one."""
        self._current[alert.alert_id] = alert
        self._every.add(alert, sequence)

    def list_alerts(self) -> list[Alert]:
        """List the latest version of each alert."""
        return list(self._current.values())

    def has_alert(self, alert_id: str) -> bool:
        """Check if an alert was added."""
        return alert_id in self._current

    def may_match(self, at_us: int) -> bool:
        """Check if an alert is in force at a time, in microseconds; if none is, the consignment need not be read."""
        return any(is_active(alert, at_us) for alert in self._current.values())

    def record(self, c: Consignment, sequence: int | None = None) -> None:
        """Record a consignment that was received, with its sequence number in the log."""
        for match in self._every.list_matches(c, normalize_consignment(c), sequence):
            alert_id = match.alert.alert_id
            self._matched.setdefault(alert_id, set()).add(c.consignment_id)
            if match.shared and c.received_at is not None:
                self._seen.setdefault(alert_id, {})[c.consignment_id] = f"{c.received_at:%Y-%m-%d}"

    def count(self, alert_id: str, results: Mapping[str, InspectionResult]) -> YieldCounts:
        """Count the matches of an alert, and the results of those that were presented to inspection, by identifier."""
        matched, seen = self._matched.get(alert_id, set()), self._seen.get(alert_id, {})
        mine = [results[name] for name in matched if name in results]
        return YieldCounts(
            len(matched),
            len(seen),
            max(seen.values(), default=None),
            len(mine),
            sum(each.final for each in mine),
            sum(each.positive for each in mine),
            sum(each.offence for each in mine),
        )


def is_active(alert: Alert, at_us: int) -> bool:
    """Check if an alert is in force at a time, in microseconds since the epoch."""
    return to_us(alert.issued_at) <= at_us and (alert.expires_at is None or at_us < to_us(alert.expires_at))


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
