"""Linking of masters and houses that come as messages in different requests, by the rules of `npsrisk read`.

    9:00  house 180-1/A comes       a decision, and a link: A belongs to 180-1
    9:20  master 180-1 comes        A is read from the log and gains the route; a decision at 9:20, links of A and 180-1
    9:21  master 180-1 comes again  nothing new; the answer has A's score of 9:20
    9:30  house 180-1/B comes       it gains the route at once

Links are recorded after the decisions that follow from them. If the service ends between the two, the client gets no answer and
sends its message again: then the missing decisions are made, and the others are repeats.
"""

import asyncio
from collections import ChainMap
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Self

import msgspec
from msgspec import structs

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from consignments.messages.entries import MasterEntry, Version, digest_content
from consignments.messages.linking import LinkedMaster, Linker, enrich_house, is_older, mark_version
from consignments.records import Consignment
from consignments.timestamps import to_datetime
from serving.event_log.event_codec import EventCodec, LoggedLink, find_counting_version
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.event_log.group_commit import CommitGroup
from serving.event_log.message_links import HouseLink, Link, MasterLink, pack_link
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.scorer import decode_doubts
from serving.state.links import Links
from serving.state.state import State

MessageEntry = Version | MasterEntry
EXCLUDED_FROM_VERSIONS = ("features", "reasons")
MAX_LOOKUPS = 1_000  # consignments whose states are looked up together
MAX_ATTEMPTS = 10  # readings of consignments that other requests change meanwhile
MAX_BLOCKING = 64
"""Entries and known consignments that are linked at once; more of them are linked in a thread."""
KEPT_MARKS = 16  # marks of the last versions of a house that are kept
COLUMNS = frozenset(each.name for each in structs.fields(Consignment))


class KnownVersion(NamedTuple):
    """The version of a consignment that counts, and whether its link is of it: it came as a message."""

    row: Version
    is_linked: bool


class MessageLinker:
    """A linker of messages with those of earlier requests; `lock` is held from `link` to `record`."""

    def __init__(self, active: ActiveModel) -> None:
        self._active = active
        self.lock = asyncio.Lock()

    async def link(self, entries: Sequence[MessageEntry]) -> "LinkingSession":
        """Link the entries of a request with those of earlier ones."""
        links = self._active.state.links
        links.forget_until(self._active.clock())
        concerned, known = list_concerned(entries, links), dict[str, KnownVersion]()
        for start in range(0, len(concerned), MAX_LOOKUPS):
            known |= await self._read_known(concerned[start : start + MAX_LOOKUPS])
        now = to_datetime(self._active.clock())

        def run() -> LinkingSession:
            return LinkingSession(self._active.state.links, known, entries).run(now)

        return await asyncio.to_thread(run) if len(entries) + len(known) > MAX_BLOCKING else run()

    async def record(
        self, linked: "LinkingSession", asked_by: str, refused: Collection[str] = ()
    ) -> CommitGroup | None:
        """Record the links of a request after its consignments were scored or refused; return their group, if there are any."""
        active, group = self._active, None
        now_us = active.clock()
        for place, link in enumerate(linked.list_links(active.state, refused), start=1):
            if place % MAX_BATCH_SIZE == 0:
                await yield_to_requests()
                active.committer.check()
            sequence = active.committer.next_sequence
            event = active.entries.links.encode(sequence, LoggedLink(pack_link(link)), now_us, asked_by)
            active.state.apply(event)
            group = active.committer.add([event])
        return group

    async def _read_known(self, identifiers: Sequence[str]) -> dict[str, KnownVersion]:
        """Read the versions that count of those consignments that the log has, and whose content can be read."""
        for _ in range(MAX_ATTEMPTS):
            await self._active.prefetch(identifiers)
            state, entries = self._active.state, self._active.entries
            both = ((each, normalize_identifier(each)) for each in identifiers)
            names = {each: name for each, name in both if state.get_consignment(name).version is not None}
            if not names:
                return {}
            pending = self._active.committer.list_pending()
            events = await asyncio.to_thread(self._read_versions, names.values(), pending, entries)
            found = {
                identifier: _build_known(events[name], identifier, state, name)
                for identifier, name in names.items()
                if name in events
            }
            if all(known is not None for known in found.values()) and state is self._active.state:
                return {identifier: known for identifier, known in found.items() if known is not None}
        raise ServiceFault("consignments of these messages change too often", todo="send the messages again")

    def _read_versions(
        self, names: Iterable[str], pending: Sequence[Event], entries: EventCodec
    ) -> dict[str, tuple[ArrivalEvent, Consignment]]:
        """Read the versions that count; leave out those whose content was removed."""
        wanted = set(names)
        waiting: dict[str, list[Event]] = {}
        for event in pending:
            if event.consignment_id in wanted:
                waiting.setdefault(event.consignment_id, []).append(event)
        found: dict[str, tuple[ArrivalEvent, Consignment]] = {}
        for name in wanted:
            stored = self._active.log.read_consignment_events(name, None, EXCLUDED_FROM_VERSIONS)
            version = find_counting_version([*stored, *waiting.get(name, ())])
            if version is not None and not version.redacted:
                found[name] = version, entries.decode_consignment(version)
        return found


def link_alone(entries: Sequence[MessageEntry], now: datetime) -> list[Version]:
    """Return the rows of the consignments that follow from some messages alone, as if no others had come."""
    linked = LinkingSession(Links(), {}, entries).run(now)
    return [*linked.amended, *linked.declared]


def build_records(rows: Iterable[Version], record: type[Consignment]) -> list[Consignment]:
    """Return the consignments of rows, with the extra columns that the model declares."""
    if record is Consignment:
        return [row.record for row in rows]
    names = {field.name for field in structs.fields(record)}
    records = []
    for row in rows:
        extras = {name: value for name, value in row.extras.items() if name in names}
        records.append(msgspec.convert(structs.asdict(row.record) | extras, record))
    return records


def _build_known(
    version: tuple[ArrivalEvent, Consignment], identifier: str, state: State, name: str
) -> KnownVersion | None:
    """Build what is known of a consignment; None if another version has come since its entries were read."""
    event, record = version
    known, link = state.get_consignment(name), state.links.houses.get(identifier)
    if known.version is None or known.version.content != event.content:
        return None
    if link is not None and link.content != event.content:
        link = None  # of a version that came as a message before
    values: dict[str, Any] = structs.asdict(record)
    extras = {key: value for key, value in values.items() if key not in COLUMNS and value is not None}
    base = Consignment(**{key: value for key, value in values.items() if key in COLUMNS})
    base = structs.replace(base, consignment_id=identifier)
    warnings = decode_doubts(event.warnings) if isinstance(event, DecisionEvent) else ()
    digest = digest_content(base, "update", extras) if link is None else link.digest
    filled, cancelled = () if link is None else link.filled, known.cancellation is not None
    row = Version(base, extras, tuple(warnings), digest, filled=filled, cancelled=cancelled)
    return KnownVersion(row, link is not None)


def name_entry(entry: MessageEntry) -> str:
    """Return the identifier of the consignment or master that an entry is of."""
    return entry.record.consignment_id if isinstance(entry, Version) else entry.number


def list_concerned(entries: Sequence[MessageEntry], links: Links) -> list[str]:
    """List the consignments whose earlier versions the rules may need: those of the messages, and those linked to them."""
    concerned: dict[str, None] = {}
    for entry in entries:
        name = name_entry(entry)
        if isinstance(entry, Version):
            link = links.houses.get(name)
            numbers = [entry.record.master_id, links.members.get(name), *(link.masters if link else ())]
        else:
            numbers = [name]
            concerned |= dict.fromkeys((*links.list_houses(name), *entry.members))
        concerned[name] = None
        concerned |= dict.fromkeys(number for number in numbers if number in links.masters)
    return list(concerned)


class LogLinker(Linker):
    """The linker of one request: it knows what the links and the log say of earlier messages; `listed` are the rows to be scored."""

    def __init__(self, links: Links, known: dict[str, KnownVersion]) -> None:
        super().__init__({})
        self.links, self.known = links, known
        self.listings = ChainMap({}, links.members)
        self.listed: dict[int, None] = {}
        for number, (name, version) in enumerate(known.items(), start=1):
            self.rows[number], self.versions[name] = version.row, number
            self.seen.update(links.houses[name].marks if name in links.houses else ())
        self.last_row = len(known)

    def get_master(self, number: str) -> LinkedMaster:
        """Return a master as its link says, with all its houses."""
        if number in self.masters:
            return self.masters[number]
        link, own = self.links.masters.get(number), self.find_version(number)
        master = self.masters[number] = LinkedMaster(houses=dict.fromkeys(self.links.list_houses(number)))
        if link is not None and link.fields is not None:
            master.entry = MasterEntry(number, link.fields, to_datetime(0), link.issued_at)
        if link is not None and link.stands and own is not None and not own[1].cancelled:
            master.row = own[0]
        return master

    def lacks(self, house: str, master: MasterEntry) -> bool:
        """Check whether a house came as a message, and the version that the log has lacks what its master says."""
        known = self.known.get(house)
        if known is None or not known.is_linked or known.row.cancelled:
            return False
        return enrich_house(known.row.record, master) != known.row.record

    def answers_again(self, entry: Version, known: Version) -> bool:
        """Check whether a whole version was issued before the one that is known: it has a decision of its own, as in JSON."""
        is_version = entry.purpose != "delete" and not entry.partial
        return is_version and is_older(entry.record.issued_at, known.record.issued_at)

    def set_row(self, number: int, row: Version) -> None:
        """Set a row, which is scored then: a cancelled one that the log has is cancelled there."""
        super().set_row(number, row)
        self.listed[number] = None

    def delete_row(self, number: int) -> None:
        """Delete a row; one that the log has is cancelled."""
        if number <= len(self.known):
            row = self.rows[number]
            record = structs.replace(row.record, cancelled_at=row.record.received_at)
            self.set_row(number, structs.replace(row, record=record))
        else:
            super().delete_row(number)
            del self.listed[number]


class LinkingSession:
    """The linking of the messages of one request: the consignments that follow from them, and the masters of which none follows now."""

    def __init__(self, links: Links, known: dict[str, KnownVersion], entries: Sequence[MessageEntry]) -> None:
        self._linker, self._entries = LogLinker(links, known), entries
        self._masters = [entry for entry in entries if isinstance(entry, MasterEntry)]
        self._own: set[str] = set()
        self._marks: dict[str, list[bytes]] = {}
        self.amended, self.declared, self.unused = list[Version](), list[Version](), list[str]()

    def run(self, now: datetime) -> Self:
        """Apply the rules to all entries, and return itself; what follows is received, or cancelled, at `now`, in the order of the entries."""
        for entry in self._entries:
            if isinstance(entry, Version):
                self._linker.add_declaration(entry)
                self._own.add(entry.record.consignment_id)
                if (mark := mark_version(entry)) in self._linker.seen:
                    self._marks.setdefault(entry.record.consignment_id, []).append(mark)
            else:
                master = self._linker.get_master(entry.number)
                said = None if master.entry is None else master.entry.fields
                if said == entry.fields and any(self._linker.lacks(house, entry) for house in master.houses):
                    master.entry = None  # it could not amend a house for an earlier sender
                self._linker.add_master(entry)
        self._answer_again()
        answered = self._list_answered()
        self.unused = [
            entry.number
            for entry in self._masters
            if answered.isdisjoint([entry.number, *self._linker.get_master(entry.number).houses])
        ]
        for row in (self._linker.rows[number] for number in self._linker.listed):
            cancelled_at = None if row.record.cancelled_at is None else now
            record = structs.replace(row.record, received_at=now, cancelled_at=cancelled_at)
            rows = self.declared if record.consignment_id in self._own else self.amended
            rows.append(structs.replace(row, record=record))
        places = {name: place for place, name in enumerate(dict.fromkeys(map(name_entry, self._entries)))}
        self.declared.sort(key=lambda row: places[row.record.consignment_id])
        return self

    def list_links(self, state: State, refused: Collection[str] = ()) -> list[Link]:
        """List the links that are new or changed, after the rows were scored; those of refused consignments stay."""
        houses = [link for link in self._list_house_links(state) if link.consignment_id not in refused]
        return [*houses, *self._list_master_links(refused)]

    def _answer_again(self) -> None:
        """Answer what has no new version from its recorded decision: what was sent again, and the houses of a master."""
        answered, wanted = self._list_answered(), dict[str, bool]()
        for entry in self._entries:
            if isinstance(entry, Version):
                wanted[entry.record.consignment_id] = True
                continue
            houses = self._linker.get_master(entry.number).houses
            for house in houses:
                wanted.setdefault(house, False)
            if entry.declaration is not None and not houses:
                wanted[entry.number] = True
                self._own.add(entry.number)
        for name, even_if_cancelled in wanted.items():
            known = self._linker.find_version(name)
            if name not in answered and known is not None and (even_if_cancelled or not known[1].cancelled):
                self._linker.listed[known[0]] = None

    def _list_answered(self) -> set[str]:
        return {self._linker.rows[number].record.consignment_id for number in self._linker.listed}

    def _list_house_links(self, state: State) -> Iterator[HouseLink]:
        """Yield the links of the houses whose versions were needed."""
        linked = self._linker.links.houses
        masters = {name: set[str]() for name in self._marks if name in linked}
        for number, master in self._linker.masters.items():
            for house in master.houses:
                masters.setdefault(house, set()).add(number)
        for name, numbers in masters.items():
            known, before = self._linker.find_version(name), linked.get(name)
            logged = state.get_consignment(normalize_identifier(name)).version
            if known is None or logged is None:
                continue  # its content was removed, or it was refused
            numbers |= set(() if before is None else before.masters)
            earlier = () if before is None else before.marks
            marks = tuple(dict.fromkeys((*earlier, *self._marks.get(name, ()))))[-KEPT_MARKS:]
            row = known[1]
            link = HouseLink(name, tuple(sorted(numbers)), row.digest, logged.content, marks, row.filled)
            if link != before:
                yield link

    def _list_master_links(self, refused: Collection[str]) -> Iterator[Link]:
        links, listed = self._linker.links, dict[str, dict[str, None]]()
        for entry in self._masters:
            mine = [name for name in entry.members if self._linker.listings.get(name) == entry.number]
            listed.setdefault(entry.number, {}).update(dict.fromkeys(mine))
        for number, master in self._linker.masters.items():
            before = links.masters.get(number)
            if number not in listed and before is None:
                continue  # only its houses are known
            fields = None if master.entry is None else master.entry.fields
            issued_at = None if master.entry is None else master.entry.issued_at
            stands = master.row is not None
            if number in refused:
                stands = before is not None and before.stands
            members = tuple(listed.get(number, ()))
            link = MasterLink(number, fields, issued_at, stands, members)
            is_kept = all(links.members.get(name) == number for name in members)
            if before is None or not is_kept or link != structs.replace(before, members=members):
                yield link
