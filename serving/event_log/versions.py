"""Versions of consignments in the log: which one counts, by the rule of `consignments.timestamps.is_late`.

Selections, feeds, pages and the office of a key all ask here, so that a late version changes none of them.
"""

from collections.abc import Iterable, Iterator

from consignments.timestamps import NO_TIME, is_late
from serving.event_log.event_codec import decode_issued_us
from serving.event_log.events import NOT_READ, ArrivalEvent, Event


class LateVersionFilter:
    """A filter of entries that drops the late versions; the entries of each consignment must come in order."""

    def __init__(self) -> None:
        self._issued_us: dict[str, int] = {}

    def drop_late(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the entries that are no late versions; they must have been read with the column `keys`."""
        for event in events:
            if isinstance(event, ArrivalEvent):
                assert event.keys != NOT_READ, "the time of issue is in the column `keys`"
                issued_us = decode_issued_us(event)
                if is_late(issued_us, self._issued_us.get(event.consignment_id, NO_TIME)):
                    continue
                self._issued_us[event.consignment_id] = issued_us
            yield event


def find_counting_version(events: Iterable[Event]) -> ArrivalEvent | None:
    """Find the version that counts among the entries of one consignment; None if there is none."""
    found: ArrivalEvent | None = None
    for event in LateVersionFilter().drop_late(sorted(events, key=lambda each: each.sequence)):
        if isinstance(event, ArrivalEvent):
            found = event
    return found
