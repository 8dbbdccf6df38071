"""Hunt: what past consignments share with one that has a new result, or with an alert of a partner.

1 March  A arrives, is not selected and leaves
9 March  B arrives and is in hand
10 March a seizure is known whose sender's phone A and B share

A hunt on 10 March names A as passed and B as in hand. Each has the score that it had when it arrived, and the score that it would
have if it arrived now. Tables and the log of a service give the arrivals; all else is the same. A hunt compares as partners do: by keyed
hashes of all identifiers at all their resolutions, so other spellings are found too.
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from math import isnan
from typing import Any, NamedTuple

import pandas as pd
from msgspec import structs

from consignments.records import Alert, Consignment
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import SECRET_BYTES, OperationKey, OperationKeys
from features.indicators.values import compute_indicators
from features.normalization.normal_forms import normalize_consignment

HUNT_DAYS, IN_HAND_DAYS = 30, 3
"""Default number of days that a hunt goes back, and for which a consignment without an outcome counts as in hand."""
IN_HAND, NOT_INSPECTED, RELEASED = "in hand", "not inspected", "release"
CRITERIA = "criteria"
"""Name of what is shared if the patterns of an alert match, and none of its indicators."""
HUNT_COLUMNS = (
    "consignment_id", "office", "received_at", "state", "shared", "score_then", "score_now", "rank_then", "rank_now",
)  # fmt: skip


class HuntTarget(NamedTuple):
    """Target of a hunt: identifier, text for an officer, criteria and indicators, and their keys (None for the installed ones)."""

    name: str
    text: str
    alert: Alert
    keys: OperationKeys | None


class HuntLimits(NamedTuple):
    """The time of a hunt, how many days it goes back, and for how many days a consignment without an outcome counts as in hand."""

    as_of: datetime
    days: int = HUNT_DAYS
    in_hand_days: int = IN_HAND_DAYS

    @property
    def begins(self) -> datetime:
        """Return the first moment that counts."""
        return self.as_of - timedelta(days=self.days)

    def find_state(self, result: str | None, received_at: datetime) -> str:
        """Return a result or a release as the state; without one, whether the consignment is in hand."""
        fresh = received_at >= self.as_of - timedelta(days=self.in_hand_days)
        return result or (IN_HAND if fresh else NOT_INSPECTED)


class HuntRow(NamedTuple):
    """A consignment of a hunt: its state, what it shares with the target, its scores, and its ranks among what is in hand in its office."""

    consignment_id: str
    spelling: str
    office: str | None
    received_at: datetime
    state: str
    shared: tuple[str, ...] = ()
    score_then: float | None = None
    score_now: float | None = None
    rank_then: int | None = None
    rank_now: int | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return the values of `HUNT_COLUMNS` as plain JSON types."""
        shared = ", ".join(map(_format_identifier, self.shared))
        plain = self._asdict() | {"received_at": self.received_at.isoformat(), "shared": shared}
        return {name: plain[name] for name in HUNT_COLUMNS}


Found = tuple[HuntRow, Consignment]
Rescore = Callable[[list[Found]], tuple[list[HuntRow], str]]
"""Adds the scores of then and now to rows; the text says why there are none, if there are none."""


class SharedCount(NamedTuple):
    """Number of consignments that share one kind of identifier with the target, in all and by what became of them."""

    name: str
    total: int
    in_hand: int
    passed: int
    released: int


class Hunt(NamedTuple):
    """The result of a hunt: what shares something with the target, and all that is in hand."""

    target: HuntTarget
    limits: HuntLimits
    hits: list[HuntRow]
    in_hand: list[HuntRow]
    fault: str

    def count_shared(self) -> list[SharedCount]:
        """Count the hits by each kind of identifier that they share with the target, the most frequent first."""
        states: dict[str, Counter[str]] = {}
        for row in self.hits:
            for name in row.shared:
                states.setdefault(name, Counter())[row.state] += 1
        counts = [
            SharedCount(name, n.total(), n[IN_HAND], n[NOT_INSPECTED] + n[RELEASED], n[RELEASED])
            for name, n in states.items()
        ]
        return sorted(counts, key=lambda each: (-each.total, each.name))

    def list_sentences(self) -> list[str]:
        """List one sentence for each kind of shared identifier."""
        return [
            f"{each.total} consignment{'s' if each.total > 1 else ''} of the last {self.limits.days} days "
            f"{'share' if each.total > 1 else 'shares'} its {_format_identifier(each.name)}; {each.passed} passed without an inspection"
            for each in self.count_shared()
        ]

    def to_plain(self) -> dict[str, Any]:
        """Return all values as plain JSON types."""
        return {
            "target": self.target.name,
            "text": self.target.text,
            "as_of": self.limits.as_of.isoformat(),
            "days": self.limits.days,
            "sentences": self.list_sentences(),
            "hits": [row.to_plain() for row in self.hits],
            "in_hand": [row.to_plain() for row in self.in_hand],
        }


def build_consignment_target(c: Consignment, as_of: datetime, text: str = "") -> HuntTarget:
    """Build the target of a consignment. Its identifiers are hashed with a key that is thrown away."""
    key = OperationKey("hunt", secrets.token_bytes(SECRET_BYTES))
    alert = Alert(alert_id=c.consignment_id, issued_at=as_of, indicators=compute_indicators(c, key))
    return HuntTarget(c.consignment_id, text, alert, OperationKeys([key]))


def hunt(target: HuntTarget, limits: HuntLimits, arrivals: Iterable[Found], rescore: Rescore) -> Hunt:
    """Find what shares something with a target, whenever it was valid, among the arrivals of the period, and rank again what is in hand."""
    lasting = structs.replace(target.alert, issued_at=limits.begins, expires_at=None)
    alerts = Alerts([lasting], keys=target.keys)
    found = [(row._replace(shared=_find_shared(alerts, c)), c) for row, c in arrivals]
    rows, fault = rescore([each for each in found if each[0].shared or each[0].state == IN_HAND])
    rows = rank_in_hand(rows)
    hits = [row for row in rows if row.shared]
    hits.sort(key=lambda row: (row.state != IN_HAND, -row.received_at.timestamp()))
    in_hand = [row for row in rows if row.state == IN_HAND]
    in_hand.sort(key=lambda row: (-(row.score_now or 0.0), -row.received_at.timestamp(), row.consignment_id))
    return Hunt(target, limits, hits, in_hand, fault)


def rank_in_hand(rows: list[HuntRow]) -> list[HuntRow]:
    """Rank what is in hand within its office, by the scores then and now; equal scores have the same rank."""
    waiting = pd.DataFrame([row for row in rows if row.state == IN_HAND], columns=HuntRow._fields)
    scores = waiting[["score_then", "score_now"]].astype(float)
    ranks = scores.groupby(waiting["office"], dropna=False).rank(method="min", ascending=False)
    found = zip(waiting["consignment_id"], ranks.to_numpy().tolist(), strict=True)
    placed = {name: [None if isnan(each) else int(each) for each in both] for name, both in found}
    nothing: list[int | None] = [None, None]
    return [
        row._replace(rank_then=then, rank_now=now)
        for row in rows
        for then, now in [placed.get(row.consignment_id, nothing)]
    ]


def _find_shared(alerts: Alerts, c: Consignment) -> tuple[str, ...]:
    """Find the identifiers of a consignment that the target has too, such as `sender_phone`; empty for nothing."""
    matches = alerts.list_matches(c, normalize_consignment(c))
    return (matches[0].shared or (CRITERIA,)) if matches else ()


def _format_identifier(name: str) -> str:
    side, _, kind = name.partition("_")
    return f"{side}'s {kind.replace('email', 'e-mail')}" if kind else name
