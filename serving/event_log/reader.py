"""Reader of the event log, in order or by consignment; the service may write the log at the same time."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa

from consignments.timestamps import US_PER_DAY
from serving.event_log.databases.database import mask_password, open_engine, require_tables, use_database
from serving.event_log.databases.tables import ENTRIES, IS_DECISION, LOG, TERM_NAMES, TERMS
from serving.event_log.events import (
    ARRIVAL_KINDS,
    PLACES,
    AlertEvent,
    ArrivalEvent,
    Columns,
    DecisionEvent,
    Event,
    Kind,
    LinkEvent,
    MessageEvent,
    RedactionEvent,
    RestoreEvent,
    decode_row,
)
from serving.event_log.queries import CompiledQuery, LogQueries, list_columns, select_entries, select_named
from serving.event_log.terms import Terms

Progress = Callable[[str, int, int], None]
"""Callback for progress: name of the task, amount done, total amount."""
E = TypeVar("E", AlertEvent, MessageEvent, RedactionEvent, RestoreEvent)
DIGEST_BYTES = 8
PAGE_ENTRIES = 2_000
"""Entries fetched at a time with all their columns."""
BATCH_ENTRIES = 20_000
"""Entries fetched at a time with few columns."""
LINKS_PER_READING = 5_000
FEW_ROWS = 8
"""Rows up to which texts are put in place row by row; of more, column by column."""
CONTENT_COLUMNS = frozenset({"plain", "sealed", "features", "reasons"})
NOT_IN_HISTORY = frozenset({"features", "reasons"})


class LogReader:
    """An event log that is open for reading; the service may write it at the same time.

    `log_id` is the random name of this log, which is part of each `decision_id` up to the first restore; `key_fingerprint` is that of the data key that it is
    written with; `last_sequence` is the number of the last durable entry when it was opened, 0 if there is none.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self.queries = engine, LogQueries(engine)
        self.log_id, self.key_fingerprint, self.identifier_key = self._identify()
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES, key=self.identifier_key)
        self.terms = Terms(lambda: self.queries.fetch_all(sa.select(TERMS)))
        self._named: dict[frozenset[str], CompiledQuery] = {}
        self.last_sequence = self.read_last_sequence()
        restores = self.read_entries_of(RestoreEvent)
        self._restored = [event.sequence for event in restores]
        self._given_names = [self.log_id, *(event.plain.decode() for event in restores)]

    @classmethod
    def open_to_read(cls, url: str) -> "LogReader":
        """Open an existing log for reading, without locking out its writer.

        Raises `BadSetting` if the URL is not valid or there is no log of this version, `ServiceFault` if it cannot be read.
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

    def compute_digest(self, name: str | None) -> int | None:
        """Compute the keyed digest of an identifier, a signed number of 64 bits."""
        if name is None:
            return None
        digest = self._digest.copy()
        digest.update(name.encode())
        return int.from_bytes(digest.digest(), "little", signed=True)

    def read_columns(
        self,
        names: Sequence[str],
        after: int = 0,
        until: int | None = None,
        kinds: Sequence[Kind] = (),
        size: int = BATCH_ENTRIES,
    ) -> Iterator[list[Any]]:
        """Read some columns of entries in order, at most `size` entries at a time: for each batch a sequence of values a column.

        The other parameters are those of `read_events`. Names are those of `EventRow`, and `hash`.
        """
        columns = [ENTRIES.c.sequence, *(ENTRIES.c[name] for name in names)]
        for rows in self._fetch_pages(columns, after, until, kinds, size):
            _, *batch = zip(*rows, strict=True)
            for place, name in enumerate(names):
                if name in TERM_NAMES:
                    batch[place] = tuple(map(self.terms.get_text, batch[place]))
            yield batch

    def read_rows(
        self,
        after: int = 0,
        until: int | None = None,
        without: Sequence[str] = (),
        kinds: Sequence[Kind] = (),
    ) -> Iterator[list[Columns]]:
        """Read the columns of entries in order, some thousands at a time; the parameters are those of `read_events`."""
        columns = list_columns(frozenset(without))
        for rows in self._fetch_pages(columns, after, until, kinds, PAGE_ENTRIES):
            yield self.name_terms(rows)

    def read_hashed_rows(
        self, after: int, until: int | None = None
    ) -> Iterator[tuple[list[Columns], list[bytes]]]:
        """Read the columns and the hashes of entries in order, some thousands at a time."""
        for rows in self._fetch_pages([*list_columns(), ENTRIES.c.hash], after, until, (), PAGE_ENTRIES):
            yield self.name_terms([row[:-1] for row in rows]), [bytes(row[-1]) for row in rows]

    def read_events(
        self,
        after: int = 0,
        until: int | None = None,
        without: Sequence[str] = (),
        kinds: Sequence[Kind] = (),
    ) -> Iterator[Event]:
        """Read entries of some kinds (all if empty) in order, in a range of sequence numbers; `after` is excluded, `until` included.

        `without` are columns of bytes that are not needed of arrivals: they are read as `NOT_READ`, but `sealed` as None.
        """
        for rows in self.read_rows(after, until, without, kinds):
            yield from map(decode_row, rows)

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
        """Read the first entries of a kind after a sequence number, in order."""
        rows = self._fetch_page(list_columns(frozenset(without)), after, None, (kind,), limit)
        return self._decode(rows)

    def read_event(self, sequence: int) -> Event:
        """Read one entry."""
        (row,) = self.read_places([sequence])
        return decode_row(row)

    def read_places(self, sequences: Sequence[int], without: frozenset[str] = frozenset()) -> list[Columns]:
        """Read the columns of the entries with some sequence numbers, in order; numbers without an entry are left out."""
        found = self.queries.fetch_among(sa.select(*list_columns(without)), ENTRIES.c.sequence, sequences)
        return self.name_terms(sorted(found, key=_get_sequence))

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment up to the sequence number `until`, in order."""
        left_out = frozenset(without)
        query = self._named.get(left_out)
        if query is None:
            query = self._named[left_out] = self.queries.compile(select_named(left_out), fixed=False)
        found = self.queries.fetch_compiled(query, digest=self.compute_digest(consignment_id))
        return self._choose(found, {consignment_id}, until)

    def read_events_of(
        self, consignment_ids: Sequence[str], until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of some consignments, in order; the parameters are those of `read_consignment_events`."""
        digests = [*map(self.compute_digest, consignment_ids)]
        query = sa.select(*list_columns(frozenset(without)))
        found = self.queries.fetch_among(query, ENTRIES.c.digest, digests)
        return self._choose(sorted(found, key=_get_sequence), set(consignment_ids), until)

    def read_entries_of(self, event_type: type[E], until: int | None = None, after: int = 0) -> list[E]:
        """Read all entries of a kind that has no consignment, up to the sequence number `until`, in order; `after` is excluded."""
        found = self.read_events(after, until, (), (event_type.kind,))
        return [event for event in found if isinstance(event, event_type)]

    def list_links(self, after: int = 0, until: int | None = None) -> list[int]:
        """List the sequence numbers of the links of masters and houses in a range, in order; `after` is excluded."""
        batches = self.read_columns(("sequence",), after, until, (LinkEvent.kind,))
        return [sequence for (sequences,) in batches for sequence in sequences]

    def read_links(self, places: Sequence[int]) -> Iterator[LinkEvent]:
        """Read the links with some sequence numbers, in their order."""
        for start in range(0, len(places), LINKS_PER_READING):
            here = places[start : start + LINKS_PER_READING]
            events = {row[0]: decode_row(row) for row in self.read_places(here)}
            found = (events.get(place) for place in here)
            yield from (event for event in found if isinstance(event, LinkEvent))

    def read_scored(
        self, from_us: int, until_us: int, until: int, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read all entries, up to the sequence number `until`, of the consignments with a decision in a period; `until_us` is excluded."""
        query = sa.select(ENTRIES.c.consignment_id).where(_decided(from_us, until_us)).distinct()
        names = [name for (name,) in self.queries.fetch_all(query)]
        return self.read_events_of(names, until, without)

    def read_last_sequence(self) -> int:
        """Read the current sequence number of the last entry; return 0 if there is none."""
        return int(self.queries.fetch_value(sa.select(sa.func.max(ENTRIES.c.sequence))) or 0)

    def find_latest_decision_us(self, before_us: int) -> int | None:
        """Find when the latest consignment before a time was received and scored; None if there is none."""
        return self._find_latest_us(_decided(None, before_us))

    def find_latest_arrival_us(self) -> int | None:
        """Find when the latest consignment was received; None if there is none."""
        return self._find_latest_us(ENTRIES.c.kind.in_(ARRIVAL_KINDS))

    def _find_latest_us(self, condition: Any) -> int | None:
        found: int | None = self.queries.fetch_value(sa.select(sa.func.max(ENTRIES.c.at_us)).where(condition))
        return found

    def count_decisions(self, from_us: int, until_us: int) -> list[tuple[int, str, str, int]]:
        """Count the decisions on consignments received in a period, by UTC day (since the epoch), band and model."""
        day = ENTRIES.c.at_us // sa.literal_column(str(US_PER_DAY), sa.BigInteger)
        groups = day, ENTRIES.c.band, ENTRIES.c.model
        query = sa.select(*groups, sa.func.count()).where(_decided(from_us, until_us)).group_by(*groups)
        name = self.terms.get_text
        return [
            (int(day), name(band) or "", name(model) or "", count)
            for day, band, model, count in self.queries.fetch_all(query)
        ]

    def read_hash(self, sequence: int) -> bytes | None:
        """Read the hash of an entry (0: the start of the chain); return None if there is no such entry."""
        if sequence == 0:
            return self.origin
        found = self.queries.fetch_value(sa.select(ENTRIES.c.hash).where(ENTRIES.c.sequence == sequence))
        return None if found is None else bytes(found)

    def find_neighbours(
        self, kinds: Sequence[Kind], others: Sequence[Kind], first: int, last: int, *, later: bool
    ) -> dict[int, Event]:
        """Find the nearest entry of other kinds for the same consignment, for each entry of some kinds from `first` to `last`.

        It is the next one, up to the last one at the time of opening, if `later`, else the previous one. Arrivals are read without their
        content. Returns them by the sequence number of their entry; entries without a neighbour are not included.
        """
        mine = {
            sequence: name
            for sequences, names in self.read_columns(("sequence", "consignment_id"), first - 1, last, kinds)
            for sequence, name in zip(sequences, names, strict=True)
            if name is not None
        }
        names = list(dict.fromkeys(mine.values()))
        events = self.read_events_of(names, self.last_sequence, tuple(CONTENT_COLUMNS))
        nearest: dict[int, Event] = {}
        known: dict[str, Event] = {}
        for event in reversed(events) if later else events:
            assert event.consignment_id is not None  # only entries of the given consignments are read
            if event.sequence in mine and event.consignment_id in known:
                nearest[event.sequence] = known[event.consignment_id]
            if event.kind in others:
                known[event.consignment_id] = event
        return nearest

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

    @property
    def name(self) -> str:
        """Return the name of the log since its last restore from a backup, or since its beginning."""
        return self._given_names[-1]

    def format_decision_id(self, sequence: int) -> str:
        """Format the identifier of a decision from the name that the log had then and a sequence number."""
        return f"{self._given_names[bisect_right(self._restored, sequence)]}-{sequence}"

    def _identify(self) -> tuple[str, str, bytes]:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(LOG)).one()
        return str(found.log_id), str(found.key_fingerprint), bytes(found.identifier_key)

    def _fetch_pages(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind], size: int
    ) -> Iterator[Sequence[Any]]:
        """Fetch entries in order, some at a time; the first column is the sequence number."""
        while rows := self._fetch_page(columns, after, until, kinds, size):
            yield rows
            if len(rows) < size:
                return
            after = rows[-1][0]

    def _fetch_page(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind], size: int
    ) -> list[Any]:
        query = select_entries(columns, after, until, kinds).limit(size)
        return self.queries.fetch_compiled(self.queries.compile(query))

    def name_terms(self, rows: Sequence[Any]) -> list[Columns]:
        """Return rows with texts in place of their numbers."""
        if len(rows) <= FEW_ROWS:
            return [*map(self.terms.name_row, rows)]
        columns: list[Sequence[Any]] = [*zip(*rows, strict=True)]
        for name in TERM_NAMES:
            numbers = columns[PLACES[name]]
            columns[PLACES[name]] = [*map(self.terms.get_text, numbers)]
        return [*zip(*columns, strict=True)]

    def _decode(self, rows: Sequence[Any]) -> list[Event]:
        return [*map(decode_row, self.name_terms(rows))]

    def _choose(self, rows: Sequence[Any], names: set[str], until: int | None) -> list[Event]:
        """Decode the rows that have one of some identifiers, and not only its digest, up to the sequence number `until`."""
        place = PLACES["consignment_id"]
        return self._decode(
            [row for row in rows if row[place] in names and (until is None or row[0] <= until)]
        )


def _get_sequence(row: Any) -> int:
    return int(row[0])


def _decided(from_us: int | None, until_us: int) -> Any:
    """Build the condition for decisions on consignments received in a period; `until_us` excluded."""
    at_us = ENTRIES.c.at_us
    within = at_us < until_us if from_us is None else (at_us >= from_us) & (at_us < until_us)
    return IS_DECISION & within
