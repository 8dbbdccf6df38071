"""Links of masters and houses that came as messages in different requests, derived from the log.

Each is forgotten some days after its last entry; if there are too many, the ones with the oldest entries are forgotten. So the
same links follow from the entries of these days alone, and no snapshot holds them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from consignments.messages.links import HouseLink, Link, MasterLink
from consignments.timestamps import US_PER_DAY
from serving.event_log.event_codec import EventCodec
from serving.event_log.events import LinkEvent

DEFAULT_LINK_DAYS = 30
DEFAULT_MAX_LINKS = 200_000


class LinkLimits(NamedTuple):
    """Maximum age and number of links.

    Attributes
    ----------
    days : float
        Days after the last entry of a master or a house.
    most : int
        Maximum number of masters, houses and listed members together, of about half a kilobyte each.
    """

    days: float = DEFAULT_LINK_DAYS
    most: int = DEFAULT_MAX_LINKS

    def find_first_us(self, now_us: int) -> int:
        """Return the time before which entries are forgotten, in microseconds since the epoch."""
        return now_us - int(self.days * US_PER_DAY)


DEFAULT_LIMITS = LinkLimits()


class _Kept(NamedTuple):
    """When the last entry of a link was recorded, and its sequence number."""

    at_us: int
    sequence: int


class Links:
    """The links that are kept.

    Parameters
    ----------
    limits : LinkLimits

    Attributes
    ----------
    houses : dict
        Links of houses by their identifier, in the order of their last entries.
    masters : dict
        Links of masters by their number, in the same order.
    members : dict
        Number of the master that has listed a house or item, in the same order.
    last : int
        Sequence number of the last entry applied.
    """

    def __init__(self, limits: LinkLimits = DEFAULT_LIMITS) -> None:
        self.limits, self.last = limits, 0
        self.houses: dict[str, HouseLink] = {}
        self.masters: dict[str, MasterLink] = {}
        self.members: dict[str, str] = {}
        self._by_master: dict[str, dict[str, None]] = {}
        self._kept: dict[str, dict[str, _Kept]] = {"houses": {}, "masters": {}, "members": {}}

    def __len__(self) -> int:
        """Return the number of masters, houses and listed members."""
        return len(self.houses) + len(self.masters) + len(self.members)

    def list_houses(self, number: str) -> Sequence[str]:
        """List the houses of a master."""
        return tuple(self._by_master.get(number, ()))

    def apply(self, event: LinkEvent, link: Link | None) -> None:
        """Apply an entry; without its content it only counts as applied."""
        assert event.recorded_us is not None
        self.last = event.sequence
        self.forget_until(event.recorded_us)
        kept = _Kept(event.recorded_us, event.sequence)
        if isinstance(link, HouseLink):
            self._drop("houses", link.consignment_id)
            self.houses[link.consignment_id] = link
            self._kept["houses"][link.consignment_id] = kept
            for number in link.masters:
                self._by_master.setdefault(number, {})[link.consignment_id] = None
        elif isinstance(link, MasterLink):
            self._drop("masters", link.number)
            self.masters[link.number] = link
            self._kept["masters"][link.number] = kept
            for member in link.members:
                self._drop("members", member)
                self.members[member] = link.number
                self._kept["members"][member] = kept
        while len(self) > self.limits.most:
            self._drop(*min(self._list_oldest())[1:])

    def restore(self, events: Iterable[LinkEvent], entries: EventCodec) -> None:
        """Apply the entries after the last one applied, given the newest first, as far back as they count."""
        found: list[tuple[LinkEvent, Link | None]] = []
        names: set[str] = set()
        first_us: int | None = None
        for event in events:
            assert event.recorded_us is not None
            first_us = self.limits.find_first_us(event.recorded_us) if first_us is None else first_us
            too_old = event.recorded_us < first_us or len(names) > self.limits.most
            if event.sequence <= self.last or too_old:
                break
            link = entries.decode_link(event)
            names.update(_list_names(link))
            found.append((event, link))
        for event, link in reversed(found):
            self.apply(event, link)

    def forget_until(self, now_us: int) -> None:
        """Forget what is too old at a time, in microseconds since the epoch."""
        first_us = self.limits.find_first_us(now_us)
        for what, kept in self._kept.items():
            while kept and (name := next(iter(kept))) and kept[name].at_us < first_us:
                self._drop(what, name)

    def _list_oldest(self) -> list[tuple[int, str, str]]:
        """List the oldest link of each kind: sequence number, kind and name."""
        return [
            (kept[name].sequence, what, name)
            for what, kept in self._kept.items()
            for name in [next(iter(kept), None)]
            if name is not None
        ]

    def _drop(self, what: str, name: str) -> None:
        if self._kept[what].pop(name, None) is None:
            return
        if what == "masters":
            del self.masters[name]
        elif what == "members":
            del self.members[name]
        else:
            for number in self.houses.pop(name).masters:
                houses = self._by_master[number]
                houses.pop(name, None)
                if not houses:
                    del self._by_master[number]


def _list_names(link: Link | None) -> Iterable[str]:
    """List what a link takes the place of, as many names as it counts for."""
    if isinstance(link, HouseLink):
        return (f"h{link.consignment_id}",)
    if isinstance(link, MasterLink):
        return (f"m{link.number}", *(f"l{member}" for member in link.members))
    return ()
