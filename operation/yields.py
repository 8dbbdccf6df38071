"""Yield of alerts: the consignments that each one matched while it was valid, and what their inspections brought.

One counter counts tables (`operation.inspections`) and the log of a service (`operation.logged_yields`). A match is a match by patterns
or by indicators at the time of receipt. The yield is the share of detections among the known results.
"""

from collections.abc import Mapping
from typing import NamedTuple

from consignments.records import Alert, Consignment, Target
from consignments.timestamps import to_us
from consignments.visibility import FINAL_RESULTS, list_positive_results
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import OperationKeys
from features.normalization.normal_forms import normalize_consignment


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
    """A counter of the consignments that alerts match; without keys, the installed ones make their indicators.

    `alerts` has the latest version of each alert.
    """

    def __init__(self, keys: OperationKeys | None = None) -> None:
        self._every = Alerts(keys=keys)
        self.alerts: dict[str, Alert] = {}
        self._matched: dict[str, set[str]] = {}
        self._seen: dict[str, dict[str, str]] = {}

    def add_alert(self, alert: Alert, sequence: int | None = None) -> None:
        """Add an alert or a new version; with its sequence number, earlier consignments keep their match with the earlier one."""
        self.alerts[alert.alert_id] = alert
        self._every.add(alert, sequence)

    def may_match(self, at_us: int) -> bool:
        """Check if an alert is in force at a time, in microseconds; if none is, the consignment need not be read."""
        return any(is_active(alert, at_us) for alert in self.alerts.values())

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
