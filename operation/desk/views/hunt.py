"""Hunt of a page: read in the background, without consignments of offices that the viewer may not see."""

from collections.abc import Callable
from typing import Any

from operation.desk.background import BackgroundValue, BackgroundValues
from operation.desk.messages import Viewer
from operation.hunts.hunt import HUNT_DAYS, IN_HAND_DAYS, Hunt
from operation.hunts.logged import LogHunter
from serving.event_log.event_codec import EventCodec

MAX_HITS, MAX_IN_HAND = 200, 50
"""Maximum numbers of consignments that a page shows."""
MAX_HUNTS = 8
"""Maximum number of hunts whose results are kept."""


class Hunts:
    """The hunts of the last pages; `load_entries` returns an event codec with a vault."""

    def __init__(self, hunter: LogHunter, load_entries: Callable[[], EventCodec]) -> None:
        self._hunter, self._load_entries = hunter, load_entries
        self._hunts: BackgroundValues[tuple[str, bool], Hunt | None] = BackgroundValues(MAX_HUNTS)
        self._now_us = 0

    def start(self, name: str, alert: bool, now_us: int) -> BackgroundValue[Hunt | None] | None:
        """Start a hunt, or return the one of an earlier page; None if too many hunts are being read."""
        self._now_us = max(self._now_us, now_us)
        return self._hunts.start(
            (name, alert), lambda: self._hunter.hunt(name, self._load_entries(), self._now_us, alert=alert)
        )


def list_hunt_values(found: Hunt | None, viewer: Viewer) -> dict[str, Any]:
    """List the values of the page of a hunt."""
    hits = [] if found is None else [row for row in found.hits if viewer.may_see(row.office)]
    in_hand = [] if found is None else [row for row in found.in_hand if viewer.may_see(row.office)]
    return {
        "hunt": found,
        "counts": [] if found is None else found.count_shared(),
        "days": HUNT_DAYS,
        "in_hand_days": IN_HAND_DAYS,
        "hits": hits[:MAX_HITS],
        "foreign": 0 if found is None else len(found.hits) - len(hits),
        "in_hand": in_hand[:MAX_IN_HAND],
        "in_hand_count": len(in_hand),
    }
