"""Reader of the event log, in order or by consignment; the service may write the log at the same time."""

import hashlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa

from consignments.errors import BadSetting, ServiceFault
from consignments.identifiers import normalize_identifier
from consignments.timestamps import US_PER_DAY
from serving.event_log.blocks.codec import (
    ARRIVAL_BITS,
    BODY_COLUMNS,
    EntryBlock,
    combine_kinds,
    cut_block,
    open_block,
)
from serving.event_log.blocks.history_chunks import NOT_IN_HISTORY, HistoryChunk
from serving.event_log.clock_corrections import ClockCorrections
from serving.event_log.databases.backend import URL_SETTING
from serving.event_log.databases.database import mask_password, open_engine, use_database
from serving.event_log.databases.tables import BLOCKS, LOG, SPANS
from serving.event_log.event_rows import Columns, decode_row
from serving.event_log.events import (
    ARRIVAL_KINDS,
    AlertEvent,
    ArrivalEvent,
    ClockCorrectionEvent,
    DecisionEvent,
    Event,
    KeyErasureEvent,
    Kind,
    LinkEvent,
    MessageEvent,
    RedactionEvent,
)
from serving.event_log.identifiers.finder import SequenceFinder
from serving.event_log.queries import (
    HEADS,
    PAGE_BLOCKS,
    WHOLE,
    LogQueries,
    select_decided,
    select_last,
    select_place,
)
from serving.event_log.time_spans import EntryRange, list_ranges

Progress = Callable[[str, int, int], None]
"""Callback for progress: name of the task, amount done, total amount."""
E = TypeVar("E", AlertEvent, MessageEvent, RedactionEvent, KeyErasureEvent, ClockCorrectionEvent)
HEAD_ONLY = BODY_COLUMNS
CHUNK_ENTRIES = 100_000
"""Entries that a rebuild of the state applies together; with more, blocks of earlier entries are read less often."""
NOT_IN_STATES = frozenset({"features"})
NOTHING_LEFT_OUT: frozenset[str] = frozenset()
MAX_PICKED_ROWS = 3
"""Entries of a block that are decoded one by one; of more, all entries are decoded together."""
LINKS_PER_READING = 5_000
LATEST_BLOCKS = 16
"""Blocks fetched at a time when the latest decision is searched."""


class LogReader:
    """An event log that is open for reading; the service may write it at the same time.

    Parameters
    ----------
    engine : Engine

    Attributes
    ----------
    log_id : str
        Random name of this log; part of every `decision_id`.
    key_fingerprint : str
        Fingerprint of the data key that the log is written with.
    last_sequence : int
        Sequence number of the last durable entry when the log was opened; 0 if there is none.
    queries : LogQueries
        Runner of the less frequent queries, for example in `serving.event_log.redactions`.
    finder : SequenceFinder
        Finder of the entries of consignments.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self.queries = engine, LogQueries(engine)
        self.log_id, self.key_fingerprint, self.identifier_key = self._identify()
        self.last_sequence = self.read_last_sequence()
        self.finder = SequenceFinder(self.queries, self.identifier_key, self.read_names)

    @classmethod
    def open_to_read(cls, url: str) -> "LogReader":
        """Open an existing log for reading, without locking out its writer.

        Raises
        ------
        BadSetting
            The database URL is not valid, there is no log, or the log has the tables of an earlier version.
        ServiceFault
            The database cannot be read.
        """
        with use_database(url) as address:
            engine = open_engine(address, read_only=True)
            try:
                require_tables(engine, mask_password(address))
                return LogReader(engine)
            except BaseException:
                engine.dispose()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @cached_property
    def corrections(self) -> ClockCorrections:
        """Return the corrections of times, which are applied to all entries that are read."""
        kind: Kind = ClockCorrectionEvent.kind
        rows = chain.from_iterable(self.read_rows(kinds=(kind,)))
        return ClockCorrections([decode_row(row).plain for row in rows])

    def read_rows(
        self,
        after: int = 0,
        until: int | None = None,
        without: Sequence[str] = (),
        kinds: Sequence[Kind] = (),
    ) -> Iterator[list[Columns]]:
        """Read the columns of entries in order, some thousands at a time; the parameters are those of `read_events`."""
        left_out = frozenset(without)
        needs_body = not left_out >= BODY_COLUMNS and (not kinds or combine_kinds(kinds) & ARRIVAL_BITS)
        for found in self.queries.fetch_blocks(WHOLE if needs_body else HEADS, after, until, kinds):
            rows: list[Columns] = []
            for stored in found:
                block = open_block(*stored)
                rows += _select_rows(block.read_rows(left_out), after, until, kinds)
                after = max(after, block.last)  # the next one may have been joined with this one meanwhile
            yield rows

    def read_events(
        self,
        after: int = 0,
        until: int | None = None,
        without: Sequence[str] = (),
        kinds: Sequence[Kind] = (),
    ) -> Iterator[Event]:
        """Read entries in order.

        Parameters
        ----------
        after, until : int
            Range of sequence numbers; `after` excluded, `until` included.
        without : sequence of str
            Columns of bytes that are not needed; they are read as `NOT_READ`, but `sealed` as None. Entries that are not
            arrivals may have them nevertheless.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        for rows in self.read_rows(after, until, without, kinds):
            yield from self._decode(rows)

    def read_arrivals(
        self, after: int = 0, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[ArrivalEvent]:
        """Read arrivals, including decisions, in order; the parameters are those of `read_events`."""
        return cast("Iterator[ArrivalEvent]", self.read_events(after, until, without, ARRIVAL_KINDS))

    def read_decisions(
        self, after: int = 0, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[DecisionEvent]:
        """Read decisions in order; the parameters are those of `read_events`."""
        return cast("Iterator[DecisionEvent]", self.read_events(after, until, without, ("decision",)))

    def read_page(self, kind: Kind, after: int, limit: int, without: Sequence[str] = ()) -> list[Event]:
        """Read the first entries of a kind after a sequence number, in order, with their times as logged.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        found: list[Columns] = []
        for rows in self.read_rows(after, None, without, (kind,)):
            found += rows[: limit - len(found)]
            if len(found) == limit:
                break
        return list(map(decode_row, found))

    def read_event(self, sequence: int) -> Event:
        """Read one entry.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        (event,) = self._decode(self.read_places([sequence], NOTHING_LEFT_OUT))
        return event

    def read_places(self, sequences: Sequence[int], without: frozenset[str]) -> list[Columns]:
        """Read the columns of the entries with these ascending sequence numbers; numbers without an entry are left out."""
        columns = HEADS if without >= BODY_COLUMNS else WHOLE
        blocks = (open_block(*stored) for stored in self.queries.fetch_places(columns, sequences))
        return _pick_rows(blocks, sequences, without)

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment up to the sequence number `until`, in order.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        return self.read_events_of([consignment_id], until, without)

    def read_events_of(
        self, consignment_ids: Sequence[str], until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of some consignments, in order; the parameters are those of `read_consignment_events`."""
        return self._decode(self._read_named(consignment_ids, until, frozenset(without)))

    def read_spelled_events(
        self, identifier: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment, in order, whatever its spelling.

        They are under its normal identifier. Entries from before identifiers had one are under the spelling of their sender. The
        parameters are those of `read_consignment_events`.
        """
        names = dict.fromkeys((normalize_identifier(identifier), identifier))
        found = [event for name in names for event in self.read_consignment_events(name, until, without)]
        return sorted(found, key=lambda event: event.sequence)

    def read_entries_of(self, event_type: type[E], until: int | None = None, after: int = 0) -> list[E]:
        """Read all entries of a kind that has no consignment, up to the sequence number `until`, in order; `after` is excluded."""
        kind: Kind = event_type.kind
        found = self.read_events(after, until, (), (kind,))
        return [event for event in found if isinstance(event, event_type)]

    def list_links(self, after: int = 0, until: int | None = None) -> list[int]:
        """List the sequence numbers of the links of masters and houses in a range, in order; `after` is excluded."""
        pages = self.read_rows(after, until, tuple(HEAD_ONLY), (LinkEvent.kind,))
        return [row[0] for rows in pages for row in rows]

    def read_links(self, places: Sequence[int]) -> Iterator[LinkEvent]:
        """Read the links with some sequence numbers, in their order."""
        for start in range(0, len(places), LINKS_PER_READING):
            here = places[start : start + LINKS_PER_READING]
            events = {
                event.sequence: event for event in self._decode(self.read_places(sorted(here), HEAD_ONLY))
            }
            found = (events.get(place) for place in here)
            yield from (event for event in found if isinstance(event, LinkEvent))

    def read_scored(
        self, from_us: int, until_us: int, until: int, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read all entries, up to the sequence number `until`, of the consignments with a decision in a period.

        Parameters
        ----------
        from_us, until_us : int
            Period in which the consignments were received; `until_us` excluded.
        until : int
            Last sequence number to read.
        without : sequence of str
            The same as of `read_events`.
        """
        names = dict.fromkeys(name for _, name in self._read_decided(from_us, until_us, "consignment_id"))
        return self.read_events_of(list(names), until, without)

    def read_history_chunks(self, after: int, until: int, kinds: str) -> Iterator[HistoryChunk]:
        """Read entries in order as history needs them, up to some hundred thousand at a time.

        Parameters
        ----------
        after, until : int
            Range of sequence numbers; `after` excluded, `until` included.
        kinds : str
            Digest of the kinds of keys. An entry with other kinds is read with its fields, because its keys must be
            computed again.
        """
        blocks: list[EntryBlock] = []
        found = chain.from_iterable(self.queries.fetch_blocks(HEADS, after, until))
        for block in self._read_history(found, kinds):
            blocks.append(block)
            if block.last - blocks[0].first >= CHUNK_ENTRIES:
                yield HistoryChunk(blocks, after, until, self.corrections)
                blocks = []
        if blocks:
            yield HistoryChunk(blocks, after, until, self.corrections)

    def read_history_events(self, consignment_ids: Sequence[str], until: int, kinds: str) -> list[Event]:
        """Read the entries of many consignments up to the sequence number `until`, in order, as history needs them."""
        wanted, sequences = set(consignment_ids), sorted(self._find_sequences(consignment_ids, until))
        blocks = self._read_history(self.queries.fetch_places(HEADS, sequences), kinds)
        rows = _pick_rows(blocks, sequences, NOT_IN_HISTORY)
        return self._decode([row for row in rows if row[2] in wanted])

    def read_known_events(self, consignment_id: str, until: int, kinds: str) -> list[Event]:
        """Read the entries of one consignment up to the sequence number `until`, in order, as its state needs them.

        Arrivals have no features, and their fields only if the kinds of their history keys are others than `kinds`.
        """
        sequences = sorted(self._find_sequences([consignment_id], until))
        blocks = self._read_history(self.queries.fetch_places(HEADS, sequences), kinds)
        rows = _pick_rows(blocks, sequences, NOT_IN_STATES)
        return self._decode([row for row in rows if row[2] == consignment_id])

    def read_spellings(self) -> set[str]:
        """Read the identifiers of entries from before identifiers had a normal form, in which they differ from it."""
        names = {
            name for _, here in self.read_names(0, self.last_sequence) for name in here if name is not None
        }
        return {name for name in names if normalize_identifier(name) != name}

    def read_last_sequence(self) -> int:
        """Read the current sequence number of the last entry; return 0 if there is none.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        return int(self.queries.fetch_value(select_last([BLOCKS.c.last])) or 0)

    def find_latest_decision_us(self, before_us: int) -> int | None:
        """Find when the latest consignment before a time was received and scored; None if there is none.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        latest = None
        ranges = list_ranges(self.queries, None, before_us)
        for within in sorted(ranges, key=lambda each: each.max_us, reverse=True):
            if latest is not None and within.max_us <= latest:
                break
            latest = self._find_latest(within, before_us, latest)
        return latest

    def count_decisions(self, from_us: int, until_us: int) -> list[tuple[int, str, str, int]]:
        """Count the decisions on consignments received in a period, by UTC day (since the epoch), band and model.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        decided = self._read_decided(from_us, until_us, "band", "model")
        counts = Counter((at_us // US_PER_DAY, band, model) for at_us, band, model in decided)
        return [(*group, count) for group, count in counts.items()]

    def read_hash(self, sequence: int) -> bytes | None:
        """Read the hash of an entry (0: the start of the chain); return None if there is no such entry."""
        if sequence == 0:
            return self.origin
        for stored in self.queries.fetch_all(select_place(HEADS, sequence)):
            block = open_block(*stored)
            return block.hashes[sequence - block.first] if sequence <= block.last else None
        return None

    def find_neighbours(
        self, kinds: Sequence[Kind], others: Sequence[Kind], first: int, last: int, *, later: bool
    ) -> dict[int, Event]:
        """Find, for each of some entries, the nearest entry of other kinds for the same consignment.

        Parameters
        ----------
        kinds : sequence of str
            Kinds of the entries with sequence numbers `first` to `last` that neighbours are found for.
        others : sequence of str
            Kinds of the neighbours.
        first, last : int
        later : bool
            Find the next entry, up to the last one at the time of opening; else the previous entry.

        Returns
        -------
        dict
            Neighbours by the sequence number of their entry; entries without a neighbour are not included. Neighbours that
            are arrivals are read without the columns in the body.
        """
        mine = {
            row[0]: row[2]
            for rows in self.read_rows(first - 1, last, tuple(HEAD_ONLY), kinds)
            for row in rows
            if row[2] is not None
        }
        rows = self._read_named(list(dict.fromkeys(mine.values())), self.last_sequence, HEAD_ONLY)
        nearest: dict[int, Columns] = {}
        known: dict[str, Columns] = {}
        for row in reversed(rows) if later else rows:
            name = row[2]
            if row[0] in mine and name in known:
                nearest[row[0]] = known[name]
            if row[1] in others:
                known[name] = row
        events = self._decode(list(nearest.values()))
        return dict(zip(nearest, events, strict=True))

    @property
    def origin(self) -> bytes:
        """Return the start of the chain, which takes the place of the previous hash for the first entry."""
        return hashlib.sha256(f"npsrisk event log {self.log_id}".encode()).digest()

    @property
    def head(self) -> str:
        """Return the hash of the last entry, hexadecimal."""
        found = self.read_hash(self.last_sequence)
        return "" if found is None else found.hex()

    def close(self) -> None:
        """Close the database, after the queries of other threads."""
        self.queries.close()
        self._engine.dispose()

    def format_decision_id(self, sequence: int) -> str:
        """Format the identifier of a decision from the name of this log and a sequence number."""
        return f"{self.log_id}-{sequence}"

    def _decode(self, rows: Sequence[Columns]) -> list[Event]:
        return list(map(decode_row, self.corrections.correct_rows(rows)))

    def _read_named(self, names: Sequence[str], until: int | None, without: frozenset[str]) -> list[Columns]:
        """Read the columns of all entries of some consignments up to the sequence number `until`, in order."""
        wanted = set(names)
        last = self.read_last_sequence() if until is None else until
        return [
            row
            for row in self.read_places(sorted(self._find_sequences(names, last)), without)
            if row[2] in wanted
        ]

    def _find_sequences(self, names: Sequence[str], until: int) -> set[int]:
        return set(chain.from_iterable(self.finder.find(names, until).values())) if names else set()

    def read_names(self, after: int, until: int) -> Iterator[tuple[int, Sequence[str | None]]]:
        """Read the identifiers of entries of a range; yield the first sequence number of each part with its identifiers."""
        for found in self.queries.fetch_blocks(HEADS, after, until):
            for stored in found:
                block = open_block(*stored)
                skipped = max(0, after + 1 - block.first)
                yield block.first + skipped, block.names[skipped : until - block.first + 1]

    def _read_decided(self, from_us: int, until_us: int, *names: str) -> Iterator[tuple[Any, ...]]:
        """Read when the consignments with a decision in a period were received, with some columns of the decisions."""
        for within in list_ranges(self.queries, from_us, until_us):
            query = select_decided(within.after, within.until, until_us).where(BLOCKS.c.max_us >= from_us)
            for stored in self.queries.fetch_all(query.order_by(BLOCKS.c.first)):
                for values in _read_decisions(stored, within, names):
                    if from_us <= values[0] < until_us:
                        yield values

    def _find_latest(self, within: EntryRange, before_us: int, latest: int | None) -> int | None:
        """Find the time of `find_latest_decision_us` in a range of entries; `latest` is the one found so far."""
        query = select_decided(within.after, within.until, before_us).order_by(BLOCKS.c.max_us.desc())
        start = 0
        while rows := self.queries.fetch_all(query.limit(LATEST_BLOCKS).offset(start)):
            for stored in rows:
                if latest is not None and stored.max_us <= latest:
                    return latest
                found = [at_us for (at_us,) in _read_decisions(stored, within, ()) if at_us < before_us]
                latest = max([*found, *([] if latest is None else [latest])], default=None)
            start += len(rows)
        return latest

    def _read_history(self, found: Iterable[Any], kinds: str) -> Iterator[EntryBlock]:
        """Open blocks of which the heads were read, some at a time; read the bodies too of those with other kinds of history keys.

        Blocks that are joined meanwhile are cut, so that each entry is read once. Where joined blocks meet within an earlier block, it
        is read from both.
        """
        waiting, done = iter(found), 0
        while heads := list(islice(waiting, PAGE_BLOCKS)):
            blocks, begins = [open_block(*stored) for stored in heads], list[int]()
            for block in blocks:
                begins.append(max(block.first, done + 1))
                done = max(done, block.last)
            again = {
                begin: block.last
                for block, begin in zip(blocks, begins, strict=True)
                if begin <= block.last and (begin > block.first or block.needs_body(kinds))
            }
            places = sorted({*again, *again.values()})
            whole = [open_block(*stored) for stored in self.queries.fetch_places(WHOLE, places)]
            for block, begin in zip(blocks, begins, strict=True):
                if begin in again:
                    yield from _cut_range(whole, begin, block.last)
                elif begin <= block.last:
                    yield block

    def _identify(self) -> tuple[str, str, bytes]:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(LOG)).one()
        return str(found.log_id), str(found.key_fingerprint), bytes(found.identifier_key)


def _read_decisions(stored: Any, within: EntryRange, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Read the times and some columns of the decisions of a block that are in a range of entries."""
    block = open_block(*stored[: len(HEADS)])
    here = slice(max(0, within.after + 1 - block.first), within.until and within.until + 1 - block.first)
    columns = block.read_columns("kind", "at_us", *names)
    for kind, *values in zip(*(column[here] for column in columns), strict=True):
        if kind == "decision":
            yield tuple(values)


def _select_rows(rows: list[Columns], after: int, until: int | None, kinds: Sequence[Kind]) -> list[Columns]:
    """Select the entries of a range and of some kinds."""
    if rows and (rows[0][0] <= after or (until is not None and rows[-1][0] > until)):
        rows = [row for row in rows if row[0] > after and (until is None or row[0] <= until)]
    return [row for row in rows if row[1] in kinds] if kinds else rows


def _cut_range(blocks: Sequence[EntryBlock], first: int, last: int) -> Iterator[EntryBlock]:
    """Cut the entries from `first` to `last` out of blocks that were read in order, and in part before others of them were joined."""
    start = bisect_left(blocks, first, key=lambda block: block.last)
    while first <= last:
        if start == len(blocks) or blocks[start].first > first:
            raise ServiceFault(
                "the event log changes while it is read",
                where=f"entry {first}",
                todo="try again; if it stays, run npsrisk verify-log",
            )
        end = min(last, blocks[start].last)
        yield cut_block(blocks[start], first, end)
        first, start = end + 1, start + 1


def _pick_rows(
    blocks: Iterable[EntryBlock], sequences: Sequence[int], without: frozenset[str]
) -> list[Columns]:
    """Read the entries with these ascending sequence numbers from blocks in order, each once if blocks are joined meanwhile."""
    rows: list[Columns] = []
    end = 0
    for block in blocks:
        begin = max(end, bisect_left(sequences, block.first))
        end = max(end, bisect_right(sequences, block.last))
        here = sequences[begin:end]
        if not here:
            continue
        if len(here) <= MAX_PICKED_ROWS:
            rows += [block.read_row(sequence - block.first, without) for sequence in here]
        else:
            found = block.read_rows(without)
            rows += [found[sequence - block.first] for sequence in here]
    return rows


def require_tables(engine: sa.Engine, where: str) -> None:
    """Raise `BadSetting` if a database has no log, or one with the tables of an earlier version; `where` names it."""
    found = set(sa.inspect(engine).get_table_names())
    if {LOG.name, BLOCKS.name, SPANS.name} <= found:
        return
    if LOG.name in found and found & {"events", BLOCKS.name}:
        raise BadSetting(
            "the event log has the tables of an earlier version",
            where=URL_SETTING,
            got=where,
            todo="back it up, then start the service once: it converts the log",
        )
    raise BadSetting(
        "there is no event log",
        where=URL_SETTING,
        got=where,
        todo="set it to the database of the service, or set NPSRISK_STATE_DIR to its state directory",
    )
