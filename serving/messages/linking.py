"""Linking of masters and houses that come as messages in different requests, by the rules of `npsrisk read`.

    9:00  house 180-1/A comes       a decision, and a link: A belongs to 180-1
    9:20  master 180-1 comes        A is read from the log and gains the route; a decision at 9:20, links of A and 180-1
    9:21  master 180-1 comes again  nothing new; the answer has A's score of 9:20
    9:30  house 180-1/B comes       it gains the route at once

Links are recorded after the decisions that follow from them. If the service ends between the two, the client gets no answer and
sends its message again: then the missing decisions are made, and the others are repeats.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import structs

from consignments.errors import ServiceFault
from consignments.identifiers import normalize_identifier
from consignments.messages.entries import DeclarationEntry, MasterEntry, digest_content
from consignments.messages.linking import (
    LinkedMaster,
    LinkedVersion,
    Linker,
    LinkKnowledge,
    Row,
    mark_version,
)
from consignments.messages.links import HouseLink, Link, MasterLink
from consignments.records import Consignment
from consignments.timestamps import to_datetime
from serving.event_log.event_codec import EventCodec, LoggedLink
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.event_log.group_commit import CommitGroup
from serving.event_log.reader import LogReader
from serving.event_log.versions import find_counting_version
from serving.scoring.active_model import ActiveModel
from serving.scoring.batching import MAX_BATCH_SIZE, yield_to_requests
from serving.scoring.scorer import decode_doubts
from serving.state.links import Links
from serving.state.state import State

MessageEntry = DeclarationEntry | MasterEntry
EXCLUDED_FROM_VERSIONS = ("features", "reasons")
MAX_LOOKUPS = 1_000
"""Consignments whose states are looked up together."""
MAX_ATTEMPTS = 10
"""Readings of consignments that other requests change meanwhile."""
MAX_BLOCKING = 64
"""Entries and known consignments that are linked at once; more of them are linked in a thread."""
KEPT_MARKS = 16
"""Marks of the last versions of a house that are kept."""
COLUMNS = frozenset(each.name for each in structs.fields(Consignment))


class KnownRow(NamedTuple):
    """The version of a consignment that counts: its record under the identifier of messages, and the digest of its content in the log."""

    row: Row
    content: bytes
    cancelled: bool


class LinkedRow(NamedTuple):
    """A consignment to be scored or answered from the log; `own` if a message of this request declares it."""

    row: Row
    own: bool


class LinkedMessages(NamedTuple):
    """The consignments that follow from the messages of one request, in order, and the numbers of masters of which none follows now."""

    rows: list[LinkedRow]
    unused: list[str]
    session: "LinkingSession"


class MessageLinker:
    """A linker of messages with those of earlier requests; `lock` is held from `link` to `record`."""

    def __init__(self, active: ActiveModel, log: LogReader) -> None:
        self._active, self._log = active, log
        self.lock = asyncio.Lock()

    async def link(self, entries: Sequence[MessageEntry]) -> LinkedMessages:
        """Return the consignments that follow from the entries of a request, in the order of their time."""
        links = self._active.state.links
        links.forget_until(self._active.clock())
        known = await self._read_known(list_concerned(entries, links))
        now = to_datetime(self._active.clock())

        def run() -> LinkedMessages:
            return LinkingSession(self._active.state.links, known, entries).run(now)

        return await asyncio.to_thread(run) if len(entries) + len(known) > MAX_BLOCKING else run()

    async def record(self, linked: LinkedMessages, asked_by: str) -> CommitGroup | None:
        """Record the links of a request after its consignments were scored; return their group, if there are any."""
        active, group = self._active, None
        now_us = active.clock()
        for place, link in enumerate(linked.session.list_links(active.state), start=1):
            if place % MAX_BATCH_SIZE == 0:
                await yield_to_requests()
                active.committer.check()
            sequence = active.committer.next_sequence
            event = active.entries.links.encode(sequence, LoggedLink.pack(link), now_us, asked_by)
            active.state.record_link(event, link)
            group = active.committer.add([event])
        return group

    async def _read_known(self, identifiers: Sequence[str]) -> dict[str, KnownRow]:
        """Read the versions that count of those consignments that the log has, and whose content can be read."""
        found: dict[str, KnownRow] = {}
        for start in range(0, len(identifiers), MAX_LOOKUPS):
            found |= await self._read_some(identifiers[start : start + MAX_LOOKUPS])
        return found

    async def _read_some(self, identifiers: Sequence[str]) -> dict[str, KnownRow]:
        for _ in range(MAX_ATTEMPTS):
            await self._active.prefetch(identifiers)
            state, entries = self._active.state, self._active.entries
            names = {
                identifier: name
                for identifier in identifiers
                if state.get_consignment(name := normalize_identifier(identifier)).version is not None
            }
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
            stored = self._log.read_consignment_events(name, None, EXCLUDED_FROM_VERSIONS)
            version = find_counting_version([*stored, *waiting.get(name, ())])
            if version is not None and not version.redacted:
                found[name] = version, entries.decode_consignment(version)
        return found


def link_alone(entries: Sequence[MessageEntry], now: datetime) -> list[Row]:
    """Return the rows of the consignments that follow from some messages alone, as if no others had come."""
    return [row for row, _ in LinkingSession(Links(), {}, entries).run(now).rows]


def _build_known(
    version: tuple[ArrivalEvent, Consignment], identifier: str, state: State, name: str
) -> KnownRow | None:
    """Build what is known of a consignment; None if another version has come since its entries were read."""
    event, record = version
    known = state.get_consignment(name)
    if known.version is None or known.version.content != event.content:
        return None
    values: dict[str, Any] = structs.asdict(record)
    extras = {key: value for key, value in values.items() if key not in COLUMNS and value is not None}
    base = Consignment(**{key: value for key, value in values.items() if key in COLUMNS})
    base = structs.replace(base, consignment_id=identifier)
    warnings = decode_doubts(event.warnings) if isinstance(event, DecisionEvent) else ()
    return KnownRow(Row(base, extras, tuple(warnings)), event.content, known.cancellation is not None)


def list_concerned(entries: Sequence[MessageEntry], links: Links) -> list[str]:
    """List the consignments whose earlier versions the rules may need: those of the messages, and those linked to them."""
    concerned: dict[str, None] = {}
    for entry in entries:
        if isinstance(entry, DeclarationEntry):
            name = entry.record.consignment_id
            numbers = [entry.record.master_id, links.members.get(name), *_list_masters(links, name)]
        else:
            name = entry.number
            numbers = [entry.number]
            concerned |= dict.fromkeys((*links.list_houses(name), *entry.members))
        concerned[name] = None
        concerned |= dict.fromkeys(number for number in numbers if number in links.masters)
    return list(concerned)


def _list_masters(links: Links, name: str) -> Sequence[str]:
    link = links.houses.get(name)
    return () if link is None else link.masters


@dataclass
class SessionRows:
    """The rows of one request, by their numbers: those that the log has come first, then the added ones; `listed` are to be scored."""

    rows: list[Row] = field(default_factory=list)
    known: int = 0
    listed: dict[int, None] = field(default_factory=dict)

    def add_known(self, row: Row) -> int:
        """Add a row that the log has; return its number."""
        self.known += 1
        self.rows.append(row)
        return len(self.rows) - 1

    def add(self, row: Row) -> int:
        """Add a row to score; return its number."""
        self.rows.append(row)
        self.listed[number := len(self.rows) - 1] = None
        return number

    def get(self, number: int) -> Row:
        """Return a row."""
        return self.rows[number]

    def replace(self, number: int, row: Row) -> None:
        """Replace a row by a cancelled one; one that the log has is scored too, so that it is cancelled there."""
        self.rows[number] = row
        self.listed[number] = None

    def remove(self, number: int) -> None:
        """Remove a row; one that the log has is cancelled."""
        if number >= self.known:
            del self.listed[number]
            return
        row = self.rows[number]
        record = structs.replace(row.record, cancelled_at=row.record.received_at)
        self.replace(number, structs.replace(row, record=record))


class LinkingSession:
    """The linking of the messages of one request."""

    def __init__(self, links: Links, known: dict[str, KnownRow], entries: Sequence[MessageEntry]) -> None:
        self._links, self._log_rows, self._entries = links, known, entries
        self._rows = SessionRows()
        self._linker = Linker(self._rows, self._build_knowledge())
        self._own: set[str] = set()
        self._marks: dict[str, list[bytes]] = {}

    def run(self, now: datetime) -> LinkedMessages:
        """Apply the rules to all entries; what follows is received, or cancelled, at `now`."""
        for entry in self._entries:
            if isinstance(entry, DeclarationEntry):
                self._add_declaration(entry)
            else:
                self._linker.add_master(entry)
        self._answer_again()
        answered = self._list_answered()
        unused = [
            entry.number
            for entry in self._entries
            if isinstance(entry, MasterEntry) and not self._is_used(entry, answered)
        ]
        rows = [self._date(self._rows.get(number), now) for number in self._rows.listed]
        return LinkedMessages(sorted(rows, key=lambda each: each.own), unused, self)

    def list_links(self, state: State) -> list[Link]:
        """List the links that are new or changed, after the rows were scored."""
        return [*self._list_house_links(state), *self._list_master_links()]

    def _add_declaration(self, entry: DeclarationEntry) -> None:
        name, mark = entry.record.consignment_id, mark_version(entry)
        self._linker.add_declaration(entry)
        self._own.add(name)
        if mark in self._linker.known.seen:
            self._marks.setdefault(name, []).append(mark)

    def _answer_again(self) -> None:
        """Answer what has no new version from its recorded decision: what was sent again, and the houses of a master."""
        versions, answered = self._linker.known.versions, self._list_answered()
        wanted: dict[str, None] = {}
        for entry in self._entries:
            if isinstance(entry, DeclarationEntry):
                wanted[entry.record.consignment_id] = None
                continue
            houses = self._linker.known.masters[entry.number].houses
            wanted |= {name: None for name in houses if name in versions and not versions[name].cancelled}
            if entry.declaration is not None and not houses:
                wanted[entry.number] = None
                self._own.add(entry.number)
        for name in wanted:
            if name not in answered and name in versions:
                self._rows.listed[versions[name].row] = None

    def _is_used(self, entry: MasterEntry, answered: set[str]) -> bool:
        """Check if any consignment of the answer follows from a master."""
        houses = self._linker.known.masters[entry.number].houses
        return entry.number in answered or any(name in answered for name in houses)

    def _list_answered(self) -> set[str]:
        return {self._rows.get(number).record.consignment_id for number in self._rows.listed}

    def _date(self, row: Row, now: datetime) -> LinkedRow:
        cancelled_at = None if row.record.cancelled_at is None else now
        record = structs.replace(row.record, received_at=now, cancelled_at=cancelled_at)
        return LinkedRow(structs.replace(row, record=record), record.consignment_id in self._own)

    def _build_knowledge(self) -> LinkKnowledge:
        """Build what the rules need of earlier requests, as far as this one concerns it."""
        known = LinkKnowledge()
        for name, (row, content, cancelled) in self._log_rows.items():
            link = self._links.houses.get(name)
            same = link is not None and link.content == content
            digest = link.digest if link and same else digest_content(row.record, "update", row.extras)
            number = self._rows.add_known(row)
            filled = link.filled if link and same else ()
            known.versions[name] = LinkedVersion(number, digest, row.record.issued_at, cancelled, filled)
            if link is not None:
                known.seen.update(link.marks)
            if name in self._links.members:
                known.masters_by_member[name] = self._links.members[name]
            for master in link.masters if link is not None else ():
                known.masters.setdefault(master, LinkedMaster()).houses[name] = None
        self._add_members(known)
        self._add_masters(known)
        return known

    def _add_members(self, known: LinkKnowledge) -> None:
        for entry in self._entries:
            names = [entry.record.consignment_id] if isinstance(entry, DeclarationEntry) else entry.members
            known.masters_by_member |= {
                name: self._links.members[name] for name in names if name in self._links.members
            }

    def _add_masters(self, known: LinkKnowledge) -> None:
        """Add the masters; all houses only of those that come now, because only these amend them."""
        concerned = {*known.masters, *known.masters_by_member.values()}
        for entry in self._entries:
            if isinstance(entry, MasterEntry):
                houses = dict.fromkeys(self._links.list_houses(entry.number))
                known.masters.setdefault(entry.number, LinkedMaster()).houses |= houses
            elif entry.record.master_id is not None:
                concerned.add(entry.record.master_id)
        for number in {*concerned, *known.masters}:
            link = self._links.masters.get(number)
            if link is not None:
                self._restore_master(known.masters.setdefault(number, LinkedMaster()), link, known)

    @staticmethod
    def _restore_master(master: LinkedMaster, link: MasterLink, known: LinkKnowledge) -> None:
        if link.fields is not None:
            master.entry = MasterEntry(link.number, link.fields, to_datetime(0), link.issued_at, None, "")
        own = known.versions.get(link.number)
        if link.stands and own is not None and not own.cancelled:
            master.row = own.row

    def _list_house_links(self, state: State) -> list[Link]:
        known, found = self._linker.known, list[Link]()
        masters: dict[str, list[str]] = {}
        for number, master in known.masters.items():
            for house in master.houses:
                masters.setdefault(house, []).append(number)
        for name, numbers in masters.items():
            version, before = known.versions.get(name), self._links.houses.get(name)
            if version is None:
                continue  # its content was removed
            logged = state.get_consignment(normalize_identifier(name)).version
            if logged is None:
                continue  # it was refused
            earlier = () if before is None else before.marks
            marks = tuple(dict.fromkeys((*earlier, *self._marks.get(name, ()))))[-KEPT_MARKS:]
            link = HouseLink(
                name, tuple(sorted(numbers)), version.digest, logged.content, marks, version.filled
            )
            if link != before:
                found.append(link)
        return found

    def _list_master_links(self) -> list[Link]:
        known, found = self._linker.known, list[Link]()
        listed: dict[str, dict[str, None]] = {}
        for entry in self._entries:
            if isinstance(entry, MasterEntry):
                mine = [name for name in entry.members if known.masters_by_member.get(name) == entry.number]
                listed.setdefault(entry.number, {}).update(dict.fromkeys(mine))
        for number, master in known.masters.items():
            before = self._links.masters.get(number)
            if number not in listed and before is None:
                continue  # only its houses are known
            fields = None if master.entry is None else master.entry.fields
            issued_at = None if master.entry is None else master.entry.issued_at
            members = tuple(listed.get(number, ()))
            link = MasterLink(number, fields, issued_at, master.row is not None, members)
            if before is None or not self._is_kept(link, before):
                found.append(link)
        return found

    def _is_kept(self, link: MasterLink, before: MasterLink) -> bool:
        """Check if a link says nothing that is not kept already."""
        kept = all(self._links.members.get(name) == link.number for name in link.members)
        return kept and link == structs.replace(before, members=link.members)
