"""Comparison of past consignments with a target of a hunt: a consignment with a new result, or an alert of a partner.

A hunt compares as partners do: by keyed hashes of all identifiers at all their resolutions, so other spellings are found too.
"""

import secrets
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from msgspec import structs

from consignments.records import Alert, Consignment
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import SECRET_BYTES, OperationKey, OperationKeys
from features.indicators.values import compute_indicators
from features.normalization.normal_forms import normalize_consignment

HUNT_DAYS, IN_HAND_DAYS = 30, 3
"""Default number of days that a hunt goes back, and for which a consignment without an outcome counts as in hand."""
IN_HAND, NOT_INSPECTED = "in hand", "not inspected"
CRITERIA = "criteria"
"""Name of what is shared if the patterns of an alert match, and none of its indicators."""


class HuntTarget(NamedTuple):
    """Target of a hunt: identifier, text for an officer, criteria and indicators, and their keys (None for the installed ones)."""

    name: str
    text: str
    alert: Alert
    keys: OperationKeys | None


class SharedCount(NamedTuple):
    """Number of consignments that share one kind of identifier with the target, in all and by what became of them."""

    name: str
    total: int
    in_hand: int
    passed: int
    released: int


def build_consignment_target(c: Consignment, as_of: datetime, text: str = "") -> HuntTarget:
    """Build the target of a consignment. Its identifiers are hashed with a key that is thrown away."""
    key = OperationKey("hunt", secrets.token_bytes(SECRET_BYTES))
    alert = Alert(alert_id=c.consignment_id, issued_at=as_of, indicators=compute_indicators(c, key))
    return HuntTarget(c.consignment_id, text, alert, OperationKeys([key]))


class HuntMatcher:
    """A finder of what consignments share with a target, whenever it was valid; those received before `begins_at` share nothing."""

    def __init__(self, target: HuntTarget, begins_at: datetime) -> None:
        lasting = structs.replace(target.alert, issued_at=begins_at, expires_at=None)
        self._alerts = Alerts([lasting], keys=target.keys)

    def find_shared(self, c: Consignment) -> tuple[str, ...]:
        """Find the identifiers of a consignment that the target has too, such as `sender_phone`; empty for nothing."""
        matches = self._alerts.list_matches(c, normalize_consignment(c))
        return (matches[0].shared or (CRITERIA,)) if matches else ()


def count_shared(
    hits: Iterable[tuple[Iterable[str], str]], *, passed: str = NOT_INSPECTED, released: str | None = None
) -> list[SharedCount]:
    """Count consignments by each kind of identifier that they share with the target, the most frequent first.

    A hit has the names that a consignment shares, and its state. `passed` and `released` are states of consignments that passed
    without an inspection; a released one passed too.
    """
    every: Counter[tuple[str, str]] = Counter()
    for names, state in hits:
        every.update((name, state) for name in names)
    counts = [
        SharedCount(
            name,
            sum(count for (each, _), count in every.items() if each == name),
            every[name, IN_HAND],
            every[name, passed] + (every[name, released] if released is not None else 0),
            every[name, released] if released is not None else 0,
        )
        for name in {name for name, _ in every}
    ]
    return sorted(counts, key=lambda each: (-each.total, each.name))
