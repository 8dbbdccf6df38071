"""Alerts of partners, matched with consignments at the time of scoring.

An alert issued on Monday that expires on Friday matches consignments received from Monday to Thursday night, if all its
patterns match. An alert without a pattern matches nothing. Each alert is indexed by its most selective pattern. A
consignment is therefore compared with few alerts, even if many are active.

An alert may have indicators too: keyed hashes of the parties of a partner's seizure. They match by themselves, if a party has one
of them, and have their own features. They count less with every day since the seizure.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from math import nan
from typing import NamedTuple

from consignments.records import Alert, Consignment
from features.alerts.index import MAX_TIME, AlertIndex, AlertVersion
from features.alerts.patterns import (
    ComparedConsignment,
    list_unusable_criteria,
    match_pattern,
    normalize_pattern,
)
from features.indicators.matching import IndicatorIndex, IndicatorMatch
from features.indicators.operation_keys import OperationKeys, get_installed_keys
from features.normalization.normal_forms import NormalForms
from features.table import read_group

NO_PATTERN = (0.0, nan, 0.0, 0.0, 0.0, 0.0)
NO_INDICATOR = (0.0, 0.0, nan, nan, 0.0)
NO_MATCH = NO_PATTERN + NO_INDICATOR
MIN_TIME = datetime.min.replace(tzinfo=UTC)
ONE_DAY = timedelta(days=1)
HALF_LIFE_DAYS = 30.0  # days after which a match with an indicator counts half (assumed)

log = logging.getLogger("npsrisk")


class AlertMatch(NamedTuple):
    """An alert that matches a consignment."""

    alert: Alert
    shared: tuple[str, ...]


class Alerts:
    """The alerts known so far, and the features of consignments that match them."""

    features = read_group("alerts.").features

    def __init__(
        self,
        alerts: Iterable[Alert] = (),
        sequences: Iterable[int] | None = None,
        keys: OperationKeys | None = None,
    ) -> None:
        self._index = AlertIndex()
        installed = get_installed_keys() if keys is None else keys
        self._indicators: IndicatorIndex[AlertVersion] = IndicatorIndex(installed)
        self._current: dict[str, AlertVersion] = {}
        self._first_issue, self._last_end = MAX_TIME, MIN_TIME
        for alert, sequence in zip(alerts, repeat(None) if sequences is None else sequences, strict=False):
            self.add(alert, sequence)

    def __len__(self) -> int:
        return len(self._current)

    def add(self, alert: Alert, sequence: int | None = None) -> None:
        """Add an alert in place of an earlier version; consignments before its sequence number in the log are not compared with it."""
        known = self._current.get(alert.alert_id)
        if known is not None:
            if known.alert == alert:
                return
            if sequence is None:
                self._index.remove(known)
                self._indicators.remove(known, known.alert.indicators or ())
            known.until = sequence
        pattern = normalize_pattern(alert)
        if not any(pattern) and (unusable := list_unusable_criteria(alert)):
            log.warning(
                "alert %s: %s has nothing to compare, so its patterns match nothing; correct it, or leave it out",
                alert.alert_id,
                unusable[0],
            )
        entry = AlertVersion(alert, pattern, sequence)
        self._current[alert.alert_id] = entry
        self._index.add(entry)
        self._indicators.add(entry, alert.indicators or ())
        self._first_issue = min(self._first_issue, alert.issued_at)
        self._last_end = max(self._last_end, entry.end)

    def find(self, alert_id: str) -> Alert | None:
        """Return the latest version of an alert; None if it is unknown."""
        known = self._current.get(alert_id)
        return None if known is None else known.alert

    def may_match(self, c: Consignment) -> bool:
        """Check if any alert was or will be in force when a consignment was received, so that its normal forms are needed."""
        moment = c.received_at
        return moment is not None and self._first_issue <= moment < self._last_end

    def list_matches(
        self, c: Consignment, forms: NormalForms, sequence: int | None = None
    ) -> "list[AlertMatch]":
        """List the alerts that match a consignment, each once; those at or after its sequence number do not count."""
        patterns, matches = self._find(c, forms, sequence)
        shared: dict[str, list[str]] = {}
        for match in matches:
            named = shared.setdefault(match.entry.alert.alert_id, [])
            named += [] if (noun := f"{match.side}_{match.kind}") in named else [noun]
        entries = {entry.alert.alert_id: entry.alert for entry in [*patterns, *(m.entry for m in matches)]}
        return [AlertMatch(alert, tuple(shared.get(alert_id, ()))) for alert_id, alert in entries.items()]

    def compute(self, c: Consignment, forms: NormalForms, sequence: int | None = None) -> Sequence[float]:
        """Compute the features of alerts for one consignment."""
        patterns, matches = self._find(c, forms, sequence)
        if c.received_at is None or not (patterns or matches):
            return NO_MATCH
        return _describe_patterns(patterns, c.received_at) + _describe_indicators(matches, c.received_at)

    def _find(
        self, c: Consignment, forms: NormalForms, sequence: int | None
    ) -> tuple[list[AlertVersion], list[IndicatorMatch[AlertVersion]]]:
        """Find the alerts in force whose patterns match, and the identifiers among the indicators of alerts in force."""
        moment = c.received_at
        if moment is None or not self.may_match(c):
            return [], []
        seen = ComparedConsignment(c, forms)
        patterns = [
            entry
            for entry in self._index.find_candidates(seen)
            if entry.is_active(moment, sequence) and match_pattern(entry.pattern, seen)
        ]
        matches = self._indicators.find(c, forms) if self._indicators else ()
        return patterns, [each for each in matches if each.entry.is_active(moment, sequence)]


def _describe_patterns(matching: list[AlertVersion], moment: datetime) -> tuple[float, ...]:
    if not matching:
        return NO_PATTERN
    patterns = [entry.pattern for entry in matching]
    newest = max(entry.alert.issued_at for entry in matching)
    return (
        float(len(matching)),
        (moment - newest) / ONE_DAY,
        float(any(p.sender or p.consignee or p.sender_street or p.consignee_street for p in patterns)),
        float(any(p.words or p.hs for p in patterns)),
        float(any(p.departure or p.places for p in patterns)),
        float(max(sum(map(bool, p)) for p in patterns)),
    )


def _describe_indicators(matches: list[IndicatorMatch[AlertVersion]], moment: datetime) -> tuple[float, ...]:
    """Count the identifiers of each side that match, the days since the newest of their seizures, and the decayed points."""
    if not matches:
        return NO_INDICATOR
    points: dict[tuple[str, str], float] = {}
    days: dict[str, float] = {}
    for side, kind, weight, entry in matches:
        age = max((moment - (entry.alert.occurred_at or entry.alert.issued_at)) / ONE_DAY, 0.0)
        points[side, kind] = max(points.get((side, kind), 0.0), weight * 0.5 ** (age / HALF_LIFE_DAYS))
        days[side] = min(days.get(side, age), age)
    return (
        float(sum(side == "sender" for side, _ in points)),
        float(sum(side == "consignee" for side, _ in points)),
        days.get("sender", nan),
        days.get("consignee", nan),
        float(sum(points[each] for each in sorted(points))),
    )
