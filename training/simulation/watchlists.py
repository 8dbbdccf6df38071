"""Watch list of the simulated operation: senders, addresses and phones of earlier detections, and the alerts in force.

It compares as clerks do, character by character ignoring case, so another spelling does not match. An entry with too many matches is removed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from consignments.records import Alert
from models.arrays import Bools, Columns

WATCHED_COLUMNS = ("sender_name", "sender_address", "sender_phone", "consignee_address", "consignee_phone")
NAMED_COLUMNS = ("sender_name", "sender_address", "consignee_address")
PATTERN_COLUMNS = (*NAMED_COLUMNS, "departure_country", "description_pattern")
PHONE_DIGITS = 8  # the last digits, which are the same in all formats of a number


@dataclass(frozen=True, order=True)
class Detection:
    """A detection of something prohibited, by the number of a network or -1, with names to watch from then on."""

    inspected_us: int
    network: int
    drug: bool
    names: tuple[str, ...] = ()


class Watchlist:
    """Names of earlier detections, and the alerts of partners."""

    def __init__(self, max_matches: int) -> None:
        self._max_matches = max_matches
        self._matches, self._offenders = dict[str, int](), dict[str, int]()
        self._alerts: list[Alert] = []

    def add(self, find: Detection) -> None:
        """Add the names of a detection: all for drugs, the sender for other goods."""
        for name in find.names if find.drug else ():
            self._matches.setdefault(name, 0)
        if find.names:
            self._offenders.setdefault(find.names[0], 0)

    def add_alerts(self, alerts: Iterable[Alert]) -> None:
        """Add alerts; a newsletter has no pattern and matches nothing."""
        self._alerts += [each for each in alerts if any(getattr(each, name) for name in PATTERN_COLUMNS)]

    def match_names(self, columns: Columns) -> Bools:
        """Match consignments with names of earlier drug detections."""
        rows = zip(*(columns[name] for name in WATCHED_COLUMNS), strict=True)
        return np.array([self._match(self._matches, list_watched_names(row)) for row in rows], dtype=bool)

    def match_offenders(self, columns: Columns) -> Bools:
        """Match consignments whose sender has sent prohibited goods before."""
        names = columns["sender_name"]
        return np.array([self._match(self._offenders, _fold_case(name)) for name in names], dtype=bool)

    def match_alerts(self, columns: Columns, moment: datetime) -> Bools:
        """Match consignments with the alerts in force."""
        found = np.zeros(len(columns["consignment_id"]), dtype=bool)
        for alert in self._alerts:
            if alert.issued_at <= moment and (alert.expires_at is None or moment < alert.expires_at):
                found |= _match_alert(alert, columns)
        return found

    def _match(self, entries: dict[str, int], names: tuple[str, ...]) -> bool:
        """Check whether an entry that is still in use matches; each match is counted."""
        matched = False
        for name in names:
            if name in entries:
                matched |= entries[name] < self._max_matches
                entries[name] += 1
        return matched


def list_watched_names(values: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the watch-list entries for the `WATCHED_COLUMNS` of one consignment."""
    name, address, phone, consignee_address, consignee_phone = values
    kept = [part for value in (name, address, consignee_address) for part in _fold_case(value)]
    numbers = [each.replace("-", "").replace(" ", "") for each in (phone, consignee_phone) if each]
    return (*kept, *(digits[-PHONE_DIGITS:] for digits in numbers))


def _fold_case(value: str | None) -> tuple[str, ...]:
    return (value.casefold(),) if value else ()


def _match_alert(alert: Alert, columns: Columns) -> Bools:
    found = np.ones(len(columns["consignment_id"]), dtype=bool)
    for name in NAMED_COLUMNS:
        wanted = getattr(alert, name)
        if wanted is not None:
            found &= np.array([_fold_case(value) == _fold_case(wanted) for value in columns[name]])
    if alert.departure_country is not None:
        found &= columns["departure_country"] == alert.departure_country
    if alert.description_pattern is not None:
        words = alert.description_pattern.replace("*", "").casefold().split()
        texts = [(text or "").casefold() for text in columns["description"]]
        found &= np.array([all(word in text for word in words) for text in texts])
    return found
