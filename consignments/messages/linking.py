"""Masters joined to their houses, versions to their consignments: entries in the order of their time become rows.

    9:00  master 180-1 comes                 a row of level master: its houses are not known
    9:20  house 180-1/A comes                the master's row is withdrawn; A's row has the master's route and forwarder
    9:30  master 180-2 has not come; house 180-2/B comes       B's row lacks them
    9:50  master 180-2 comes                 B is amended: a second row, received at 9:50
   10:00  house 180-1/A comes again, equal   nothing
   10:10  house 180-1/A is deleted           A's row gets `cancelled_at`

No row is changed by what comes later, but for its `cancelled_at`, which history reads at its own time.
"""

from collections import Counter
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

import msgspec

from consignments.doubts import Doubt
from consignments.messages.air.journeys import splice_stops
from consignments.messages.entries import (
    IN_FUTURE,
    DeclarationEntry,
    MasterEntry,
    digest_content,
    merge_versions,
)
from consignments.messages.quality import sort_codes
from consignments.records import Consignment
from consignments.timestamps import to_us_if_known
from consignments.versions import is_late

ROUTE_JOINT = ">"
T = TypeVar("T")


class Row(msgspec.Struct, array_like=True):
    """One row of the table to be."""

    record: Consignment
    extras: dict[str, str]
    warnings: tuple[Doubt, ...] = ()


class LinkedVersion(NamedTuple):
    """The latest version of a consignment."""

    row: int
    digest: bytes
    issued_at: datetime | None
    cancelled: bool
    filled: tuple[str, ...] = ()


@dataclass
class LinkedMaster:
    """A master and its houses."""

    entry: MasterEntry | None = None
    row: int | None = None
    earlier: int | None = None
    houses: dict[str, None] = field(default_factory=dict)


class Loaded(dict[str, T]):
    """Values by name, each loaded when it is first needed."""

    def __init__(self, load: Callable[[str], T]) -> None:
        self._load = load

    def __missing__(self, name: str) -> T:
        value = self[name] = self._load(name)
        return value


class LinkStore:
    """The knowledge of a linker about earlier messages, and the rows that it makes, by number; in memory for a run over files."""

    def __init__(
        self,
        rows: MutableMapping[int, Row],
        load_version: Callable[[str], LinkedVersion | None] = lambda _: None,
        load_master: Callable[[str], LinkedMaster] = lambda _: LinkedMaster(),
        load_listing: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.rows, self.last_row = rows, 0
        self.versions, self.masters, self.listings = (
            Loaded(load_version),
            Loaded(load_master),
            Loaded(load_listing),
        )
        self.seen: set[bytes] = set()

    def add_row(self, row: Row) -> int:
        """Add a row; give its number."""
        self.last_row += 1
        self.rows[self.last_row] = row
        return self.last_row


@dataclass
class Linker:
    """Makes rows of entries that come in the order of their time."""

    store: LinkStore
    repeats: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    extras: set[str] = field(default_factory=set)

    def add_declaration(self, entry: DeclarationEntry) -> None:
        """Add a version of a house, a direct waybill or a postal item."""
        record, known = entry.record, self.store.versions[entry.record.consignment_id]
        if self._is_repeat(entry, known):
            self.repeats += 1
            return
        if entry.purpose == "delete" and known is not None:
            self._cancel(record.consignment_id, known, entry)
            return
        standing: bytes | None = None
        filled: tuple[str, ...] = ()
        if entry.partial and known is not None:
            before = self.store.rows[known.row]
            filled = tuple(name for name in known.filled if getattr(record, name) is None)
            entry = merge_versions(before.record, entry, before.extras)
            if not known.cancelled or record.issued_at is None:  # without a time it may be an old list again
                standing = digest_content(before.record, "update", before.extras)
            if entry.digest == standing:
                self.repeats += 1
                return
            record = entry.record
        record = self._name_master(record)
        master = self._join_master(record)
        if master is not None and master.entry is not None:
            filled += list_filled(record, master.entry)
            record = enrich_house(record, master.entry)
        if standing is not None and standing == digest_content(record, "update", entry.extras):
            self.repeats += 1  # what the list says otherwise is what the master adds
            return
        if entry.purpose == "delete":
            record = msgspec.structs.replace(record, cancelled_at=record.received_at)
            self.counts["cancelled"] += 1
        self.counts["amended" if known is not None else "new"] += 1
        self._add_row(record, entry, known, filled)

    def add_master(self, entry: MasterEntry) -> None:
        """Add a master: amend the known houses, and keep it for those that follow."""
        master = self.store.masters[entry.number]
        before = master.entry
        if before is not None and is_late(to_us_if_known(entry.issued_at), to_us_if_known(before.issued_at)):
            return
        changed = before is None or before.fields != entry.fields
        withdrawn = entry.declaration is not None and entry.declaration.purpose == "delete"
        master.entry = None if withdrawn else entry
        self._take_members(master, entry)
        if changed and not withdrawn:
            for house in master.houses:
                self._amend_house(house, before, entry)
        if entry.declaration is None or (withdrawn and master.row is None):
            return
        if master.houses:
            self.repeats += before is not None and not changed
            return
        self._add_consolidation(master, entry.declaration)

    def _take_members(self, master: LinkedMaster, entry: MasterEntry) -> None:
        """Note the houses or items that a master lists; those known already are amended with the others."""
        for member in entry.members:
            self.store.listings[member] = self.store.listings[member] or entry.number
            version = self.store.versions[member]
            if version is not None and self.store.rows[version.row].record.master_id is None:
                master.houses[member] = None

    def _add_consolidation(self, master: LinkedMaster, entry: DeclarationEntry) -> None:
        codes = sort_codes({*(entry.record.quality or ()), "consolidation_without_houses"})
        record = msgspec.structs.replace(entry.record, quality=codes)
        entry = msgspec.structs.replace(entry, record=record)
        before = self.store.versions[record.consignment_id]
        self.add_declaration(entry)
        after = self.store.versions[record.consignment_id]
        if after is not None and after != before:
            master.earlier = master.row
            master.row = None if after.cancelled else after.row

    def _name_master(self, record: Consignment) -> Consignment:
        """Add the master that has listed a house or item which does not name it itself."""
        master = self.store.listings[record.consignment_id]
        if master is None or record.master_id is not None:
            return record
        return msgspec.structs.replace(record, master_id=master)

    def _join_master(self, record: Consignment) -> LinkedMaster | None:
        """Note a house with its master; the first one withdraws the consolidation's own row."""
        if record.master_id is None or record.level == "master":
            return None
        master = self.store.masters[record.master_id]
        if record.consignment_id not in master.houses:
            master.houses[record.consignment_id] = None
            if master.row is not None:
                self._withdraw_consolidation(record.master_id, master, record.received_at)
                master.row = None
        return master

    def _withdraw_consolidation(self, name: str, master: LinkedMaster, at: datetime | None) -> None:
        """End a consolidation's own row; one that came at the same moment as its house never was."""
        number = master.row
        assert number is not None
        if self.store.rows[number].record.received_at == at:
            del self.store.rows[number]
            if master.earlier is None:
                self.store.versions[name] = None
                return
            number = master.earlier
        self._withdraw(number, at)
        known = self.store.versions[name]
        if known is not None:
            self.store.versions[name] = known._replace(row=number, cancelled=True)
        self.counts["consolidations withdrawn"] += 1

    def _amend_house(self, house: str, earlier: MasterEntry | None, master: MasterEntry) -> None:
        """Add a row with what its master says now, in place of what an earlier version of the master filled."""
        version = self.store.versions[house]
        if version is None or version.cancelled:
            return
        before = self.store.rows[version.row]
        said = {} if earlier is None else earlier.fields
        old = [name for name in version.filled if name in said and getattr(before.record, name) == said[name]]
        own = msgspec.structs.replace(self._name_master(before.record), **dict.fromkeys(old))
        record = enrich_house(own, master)
        filled = tuple(name for name in version.filled if name not in old) + list_filled(own, master)
        if record == before.record:
            self.store.versions[house] = version._replace(filled=filled)
            return
        record = msgspec.structs.replace(record, received_at=master.received_at)
        number = self.store.add_row(Row(record, before.extras, before.warnings))
        self.store.versions[house] = version._replace(row=number, filled=filled)
        self.counts["houses amended by their master"] += 1

    def _is_repeat(self, entry: DeclarationEntry, known: LinkedVersion | None) -> bool:
        """Check whether a version is the latest one again, or an old one sent again with its own time of issue."""
        record = entry.record
        if known is None:
            self.store.seen.add(mark_version(entry))
            return False
        if known.digest == entry.digest and not known.cancelled:
            return True
        mark = mark_version(entry)
        seen = mark in self.store.seen and (record.issued_at is not None or IN_FUTURE in entry.warnings)
        self.store.seen.add(mark)
        return seen

    def _cancel(self, consignment_id: str, known: LinkedVersion, entry: DeclarationEntry) -> None:
        if known.cancelled or is_late(
            to_us_if_known(entry.record.issued_at), to_us_if_known(known.issued_at)
        ):
            self.repeats += known.cancelled
            return
        self._withdraw(known.row, entry.record.received_at)
        self.store.versions[consignment_id] = known._replace(cancelled=True)
        self.counts["cancelled"] += 1

    def _withdraw(self, number: int, at: datetime | None) -> None:
        row = self.store.rows[number]
        record = msgspec.structs.replace(row.record, cancelled_at=at)
        self.store.rows[number] = msgspec.structs.replace(row, record=record)

    def _add_row(
        self,
        record: Consignment,
        entry: DeclarationEntry,
        known: LinkedVersion | None,
        filled: tuple[str, ...],
    ) -> None:
        self.extras.update(entry.extras)
        number = self.store.add_row(Row(record, entry.extras, entry.warnings))
        if known is not None and is_late(to_us_if_known(record.issued_at), to_us_if_known(known.issued_at)):
            return  # a late retry: recorded, and the newer version stays
        self.store.versions[record.consignment_id] = LinkedVersion(
            number, entry.digest, record.issued_at, record.cancelled_at is not None, filled
        )

    def find_repeated(self) -> bool:
        """Check whether any consignment has several rows."""
        return self.counts["amended"] > 0 or self.counts["houses amended by their master"] > 0


def mark_version(entry: DeclarationEntry) -> bytes:
    """Return what identifies a version: the digest of its content, and when it was issued."""
    issued = entry.record.issued_at
    return entry.digest + (b"" if issued is None else issued.isoformat().encode())


def list_filled(house: Consignment, master: MasterEntry) -> tuple[str, ...]:
    """List the columns of a house that only its master gives; the route has stops of both."""
    return tuple(name for name in master.fields if name != "route" and getattr(house, name, None) is None)


def enrich_house(house: Consignment, master: MasterEntry) -> Consignment:
    """Add to a house what only its master says: the stops of the flight, the forwarder, the carrier, the payment."""
    own = tuple(_split_route(house.route))
    places = splice_stops(own, _split_route(master.fields.get("route")))
    filled = {name: master.fields[name] for name in list_filled(house, master)}
    route = ROUTE_JOINT.join(places) or None
    if route is not None and len(route) > MAX_ROUTE:
        route = house.route
    return msgspec.structs.replace(house, route=route, **filled)


MAX_ROUTE = 100


def _split_route(route: str | None) -> list[str]:
    return route.split(ROUTE_JOINT) if route else []
