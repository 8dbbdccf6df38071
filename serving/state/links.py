"""Links of masters and houses that came as messages in different requests, derived from the log.

Each is forgotten some days after its last entry; if there are too many, the ones with the oldest entries are forgotten. So the
same links follow from the entries of these days alone. A snapshot holds only the sequence numbers of these entries.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import US_PER_DAY
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import SharedEvent, decode_row
from serving.event_log.message_links import HouseLink, Link, MasterLink
from serving.event_log.reader import PAGE_ENTRIES, LogReader


class StateLimits(NamedTuple):
    """The limits of a state: number of history keys; days and number of masters and houses with listed members."""

    max_keys: int | None = None
    link_days: float = 30
    max_links: int = 200_000


NO_LIMITS = StateLimits()
Kind = Literal["houses", "masters", "members"]
KINDS: tuple[Kind, ...] = ("houses", "masters", "members")


class Links:
    """The links that are kept, in the order of their last entries: houses, masters, and which master lists which."""

    def __init__(self, limits: StateLimits = NO_LIMITS) -> None:
        self.limits, self.last = limits, 0
        self.houses: dict[str, HouseLink] = {}
        self.masters: dict[str, MasterLink] = {}
        self.members: dict[str, str] = {}
        self._by_master: dict[str, dict[str, None]] = {}
        self._last: dict[Kind, dict[str, tuple[int, int]]] = {kind: {} for kind in KINDS}  # sequence and time
        self._stored: Sequence[int] = ()

    @classmethod
    def from_places(cls, limits: StateLimits, places: NDArray[np.int64], last: int) -> Self:
        """Return links that `restore` reads from the entries with some sequence numbers, and those after `last`."""
        links = cls(limits)
        links._stored, links.last = np.unique(places).tolist(), last
        return links

    def get_places(self) -> NDArray[np.int64]:
        """Return the sequence numbers of the entries that the links follow from, in any order."""
        numbers = [sequence for entries in self._last.values() for sequence, _ in entries.values()]
        return np.array(numbers, dtype=np.int64)

    def __len__(self) -> int:
        """Return the number of masters, houses and listed members."""
        return len(self.houses) + len(self.masters) + len(self.members)

    def list_houses(self, number: str) -> Sequence[str]:
        """List the houses of a master."""
        return tuple(self._by_master.get(number, ()))

    def apply(self, event: SharedEvent, link: Link | None) -> None:
        """Apply an entry; without its content it only counts as applied."""
        assert event.recorded_us is not None
        self.last = event.sequence
        self.forget_until(event.recorded_us)
        if isinstance(link, HouseLink):
            self._keep("houses", link.consignment_id, event)
            self.houses[link.consignment_id] = link
            for number in link.masters:
                self._by_master.setdefault(number, {})[link.consignment_id] = None
        elif isinstance(link, MasterLink):
            self._keep("masters", link.number, event)
            self.masters[link.number] = link
            for member in link.members:
                self._keep("members", member, event)
                self.members[member] = link.number
        while len(self) > self.limits.max_links:
            oldest = ((next(iter(last.items())), kind) for kind, last in self._last.items() if last)
            _, kind, name = min((sequence, kind, name) for (name, (sequence, _)), kind in oldest)
            self._drop(kind, name)

    def restore(self, log: LogReader, entries: EventCodec, until: int) -> None:
        """Apply the stored entries, and those after the last one applied up to the sequence number `until`."""
        starts = range(0, len(self._stored), PAGE_ENTRIES)
        pages = (log.read_places(self._stored[start : start + PAGE_ENTRIES]) for start in starts)
        stored = map(decode_row, chain.from_iterable(pages))
        for event in chain(stored, log.read_events(self.last, until, kinds=("link",))):
            assert isinstance(event, SharedEvent)
            self.apply(event, entries.decode_link(event))
        self._stored = ()

    def forget_until(self, now_us: int) -> None:
        """Forget what is too old at a time, in microseconds since the epoch."""
        first_us = now_us - int(self.limits.link_days * US_PER_DAY)
        for kind, last in self._last.items():
            while last and last[name := next(iter(last))][1] < first_us:
                self._drop(kind, name)

    def _keep(self, kind: Kind, name: str, event: SharedEvent) -> None:
        """Note the entry of a link as the newest."""
        assert event.recorded_us is not None
        self._drop(kind, name)
        self._last[kind][name] = event.sequence, event.recorded_us

    def _drop(self, kind: Kind, name: str) -> None:
        if self._last[kind].pop(name, None) is None:
            return
        if kind == "masters":
            del self.masters[name]
        elif kind == "members":
            del self.members[name]
        else:
            for number in self.houses.pop(name).masters:
                houses = self._by_master[number]
                houses.pop(name, None)
                if not houses:
                    del self._by_master[number]
