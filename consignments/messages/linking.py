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
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import structs

from consignments.messages.air.waybills import splice_stops
from consignments.messages.entries import IN_FUTURE, MasterEntry, Version, digest_content, merge_versions
from consignments.messages.parsed import StateRow
from consignments.messages.quality import sort_codes
from consignments.records import TEXT_LIMITS, Consignment
from consignments.timestamps import to_us_if_known
from consignments.versions import is_late

HOLDS = frozenset(("request_for_information", "request_for_screening", "do_not_load"))
MAX_TEXT = 4000
ROUTE_JOINT = ">"


@dataclass
class LinkedMaster:
    """A master and its houses; `row` is that of a consolidation without houses, `earlier` the one before it."""

    entry: MasterEntry | None = None
    row: int | None = None
    earlier: int | None = None
    houses: dict[str, None] = field(default_factory=dict)


class Linker:
    """Makes rows, by number, of entries that come in the order of their time, by its knowledge of earlier ones."""

    def __init__(self, rows: MutableMapping[int, Version]) -> None:
        self.rows, self.last_row = rows, 0
        self.repeats, self.changes, self.extras = 0, Counter[str](), set[str]()
        self.versions: dict[str, int] = {}
        self.masters: dict[str, LinkedMaster] = {}
        self.listings: MutableMapping[str, str] = {}
        self.seen: set[bytes] = set()

    def find_version(self, name: str) -> tuple[int, Version] | None:
        """Find the latest version of a consignment, and the number of its row."""
        number = self.versions.get(name)
        return None if number is None else (number, self.rows[number])

    def get_master(self, number: str) -> LinkedMaster:
        """Return a master; one that is not known has no houses."""
        return self.masters.setdefault(number, LinkedMaster())

    def add_row(self, row: Version) -> int:
        """Add a row; give its number."""
        self.last_row += 1
        self.set_row(self.last_row, row)
        return self.last_row

    def set_row(self, number: int, row: Version) -> None:
        """Set a row."""
        self.rows[number] = row

    def delete_row(self, number: int) -> None:
        """Delete a row that came to nothing at the moment at which it came."""
        del self.rows[number]

    def add_declaration(self, entry: Version) -> None:
        """Add a version of a house, a direct waybill or a postal item."""
        record, known = entry.record, self.find_version(entry.record.consignment_id)
        if self._is_repeat(entry, known):
            self.repeats += 1
            return
        if entry.purpose == "delete" and known is not None:
            if known[1].cancelled or is_older(record.issued_at, known[1].record.issued_at):
                self.repeats += known[1].cancelled
            else:
                self._withdraw(known[0], record.received_at)
                self.changes["cancelled"] += 1
            return
        standing: bytes | None = None
        filled: tuple[str, ...] = ()
        if entry.partial and known is not None:
            before = known[1]
            filled = tuple(name for name in before.filled if getattr(record, name) is None)
            entry = merge_versions(before, entry)
            if not before.cancelled or record.issued_at is None:  # without a time it may be an old list again
                standing = digest_content(before.record, "update", before.extras)
            if entry.digest == standing:
                self.repeats += 1
                return
        record = self._name_master(entry.record)
        master = self._join_master(record)
        if master is not None and master.entry is not None:
            filled += list_filled(record, master.entry)
            record = enrich_house(record, master.entry)
        if standing is not None and standing == digest_content(record, "update", entry.extras):
            self.repeats += 1  # what the list says otherwise is what the master adds
            return
        if entry.purpose == "delete":
            record = structs.replace(record, cancelled_at=record.received_at)
            self.changes["cancelled"] += 1
        if known is not None:
            self.changes["amended"] += 1
        self.extras.update(entry.extras)
        cancelled = record.cancelled_at is not None
        number = self.add_row(structs.replace(entry, record=record, filled=filled, cancelled=cancelled))
        if known is None or not is_older(record.issued_at, known[1].record.issued_at):
            # A late retry is recorded, and the newer version stays.
            self.versions[record.consignment_id] = number

    def add_master(self, entry: MasterEntry) -> None:
        """Add a master: amend the known houses, and keep it for those that follow."""
        master = self.get_master(entry.number)
        before = master.entry
        if before is not None and is_older(entry.issued_at, before.issued_at):
            return
        changed = before is None or before.fields != entry.fields
        withdrawn = entry.declaration is not None and entry.declaration.purpose == "delete"
        master.entry = None if withdrawn else entry
        for member in entry.members:
            self.listings.setdefault(member, entry.number)
            known = self.find_version(member)
            if known is not None and known[1].record.master_id is None:
                master.houses[member] = None
        if changed and not withdrawn:
            for house in master.houses:
                self._amend_house(house, before, entry)
        if entry.declaration is None or (withdrawn and master.row is None):
            return
        if master.houses:
            self.repeats += before is not None and not changed
            return
        self._add_consolidation(master, entry.declaration)

    def _add_consolidation(self, master: LinkedMaster, entry: Version) -> None:
        codes = sort_codes({*(entry.record.quality or ()), "consolidation_without_houses"})
        name = entry.record.consignment_id
        before = self.find_version(name)
        self.add_declaration(structs.replace(entry, record=structs.replace(entry.record, quality=codes)))
        after = self.find_version(name)
        if after is not None and after != before:
            master.earlier = master.row
            master.row = None if after[1].cancelled else after[0]

    def _name_master(self, record: Consignment) -> Consignment:
        """Add the master that has listed a house or item which does not name it itself."""
        master = self.listings.get(record.consignment_id)
        if master is None or record.master_id is not None:
            return record
        return structs.replace(record, master_id=master)

    def _join_master(self, record: Consignment) -> LinkedMaster | None:
        """Note a house with its master; the first one withdraws the consolidation's own row."""
        if record.master_id is None or record.level == "master":
            return None
        master = self.get_master(record.master_id)
        if record.consignment_id not in master.houses:
            master.houses[record.consignment_id] = None
            self._withdraw_consolidation(record.master_id, master, record.received_at)
        return master

    def _withdraw_consolidation(self, name: str, master: LinkedMaster, at: datetime | None) -> None:
        """End a consolidation's own row, if it has one; one that came at the same moment as its house never was."""
        number, master.row = master.row, None
        if number is None:
            return
        if self.rows[number].record.received_at == at:
            self.delete_row(number)
            if master.earlier is None:
                self.versions.pop(name, None)
                return
            number = master.earlier
        self._withdraw(number, at)
        if name in self.versions:
            self.versions[name] = number
        self.changes["consolidations withdrawn"] += 1

    def _amend_house(self, house: str, earlier: MasterEntry | None, master: MasterEntry) -> None:
        """Add a row with what its master says now, in place of what an earlier version of the master filled."""
        known = self.find_version(house)
        if known is None or known[1].cancelled:
            return
        number, before = known
        said = {} if earlier is None else earlier.fields
        old = [name for name in before.filled if name in said and getattr(before.record, name) == said[name]]
        own = structs.replace(self._name_master(before.record), **dict.fromkeys(old))
        record = enrich_house(own, master)
        filled = tuple(name for name in before.filled if name not in old) + list_filled(own, master)
        if record == before.record:
            self.rows[number] = structs.replace(before, filled=filled)
            return
        record = structs.replace(record, received_at=master.received_at)
        self.versions[house] = self.add_row(structs.replace(before, record=record, filled=filled))
        self.changes["houses amended by their master"] += 1

    def _is_repeat(self, entry: Version, known: tuple[int, Version] | None) -> bool:
        """Check whether a version is the latest one again, or an old one sent again with its own time of issue."""
        if known is not None and known[1].digest == entry.digest and not known[1].cancelled:
            return True
        mark = mark_version(entry)
        seen = mark in self.seen and (entry.record.issued_at is not None or IN_FUTURE in entry.warnings)
        self.seen.add(mark)
        return seen and known is not None and not self.answers_again(entry, known[1])

    def answers_again(self, entry: Version, known: Version) -> bool:
        """Check whether an old version that was sent again is to be answered by a row of its own."""
        del entry, known
        return False

    def _withdraw(self, number: int, at: datetime | None) -> None:
        row = self.rows[number]
        record = structs.replace(row.record, cancelled_at=at)
        self.set_row(number, structs.replace(row, record=record, cancelled=True))


def is_older(issued_at: datetime | None, known: datetime | None) -> bool:
    """Check whether a version was issued before the one that is known."""
    return is_late(to_us_if_known(issued_at), to_us_if_known(known))


def mark_version(entry: Version) -> bytes:
    """Return what identifies a version: the digest of its content, and when it was issued."""
    issued = entry.record.issued_at
    return entry.digest + (b"" if issued is None else issued.isoformat().encode())


def list_filled(house: Consignment, master: MasterEntry) -> tuple[str, ...]:
    """List the columns of a house that only its master gives; the route has stops of both."""
    return tuple(name for name in master.fields if name != "route" and getattr(house, name, None) is None)


def enrich_house(house: Consignment, master: MasterEntry) -> Consignment:
    """Add to a house what only its master says: the stops of the flight, the forwarder, the carrier, the payment."""
    routes = (house.route, master.fields.get("route"))
    own, stops = (route.split(ROUTE_JOINT) if route else [] for route in routes)
    route = ROUTE_JOINT.join(splice_stops(own, stops)) or None
    if route is not None and len(route) > TEXT_LIMITS[Consignment]["route"]:
        route = house.route
    filled = {name: master.fields[name] for name in list_filled(house, master)}
    return structs.replace(house, route=route, **filled)


def resolve_states(answers: Iterable[StateRow]) -> Iterator[StateRow]:
    """Return the states of answers given in the order of time; repeated answers are left out.

    One code says both that an assessment is complete and that a hold is removed. It is `resolved` if a hold stands:

        9:00  RI  request_for_information     a hold stands
        9:40  CO  resolved                    none stands any more
       10:00  CO  assessment_complete
    """
    standing: set[str] = set()
    seen: set[StateRow] = set()
    last: dict[str, StateRow] = {}
    for answer in answers:
        name, state = answer.consignment_id, answer.state
        repeated = answer in seen if answer.issued_at is not None else answer == last.get(name)
        seen.add(answer)
        last[name] = answer
        if repeated:
            continue
        if state == "assessment_complete" and name in standing:
            state = "resolved"
        if state in HOLDS:
            standing.add(name)
        elif state == "resolved":
            standing.discard(name)
        yield structs.replace(answer, state=state, text=answer.text[:MAX_TEXT] if answer.text else None)
