"""Reader of the event log, in order or by consignment; the service may write the log at the same time."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa

from consignments.errors import BadSetting
from consignments.identifiers import normalize_identifier
from consignments.timestamps import US_PER_DAY
from serving.event_log.backend import URL_SETTING
from serving.event_log.clock_corrections import ClockCorrections
from serving.event_log.database import mask_password, open_engine, use_database
from serving.event_log.event_rows import decode_history_row, decode_row
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
from serving.event_log.queries import (
    LogQueries,
    build_consignment_query,
    build_consignments_query,
    build_entries_query,
    build_kind_query,
    build_places_query,
    build_scored_query,
    select_columns,
    select_history_columns,
)
from serving.event_log.tables import COLUMNS, EVENTS, LOG

MAX_IDS_PER_QUERY = 500
"""Maximum number of consignments in one query."""
Progress = Callable[[str, int, int], None]
"""Callback for progress: name of the task, amount done, total amount."""
E = TypeVar("E", AlertEvent, MessageEvent, RedactionEvent, KeyErasureEvent, ClockCorrectionEvent)


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
    corrections : ClockCorrections
        Corrections of times, which are applied to all entries that are read.
    queries : LogQueries
        Runner of the less frequent queries, for example in `serving.event_log.redactions`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self.queries = engine, LogQueries(engine)
        self.log_id, self.key_fingerprint = self._identify()
        self.last_sequence, self._head = self._read_head()
        kind = build_kind_query(ClockCorrectionEvent.kind)
        rows = self.queries.fetch_rows(kind)
        self.corrections = ClockCorrections([decode_row(row).plain for row in rows])

    @classmethod
    def open_to_read(cls, url: str) -> "LogReader":
        """Open an existing log for reading, without locking out its writer.

        Raises
        ------
        BadSetting
            The database URL is not valid, or there is no log.
        ServiceFault
            The database cannot be read.
        """
        with use_database(url) as address:
            engine = open_engine(address, read_only=True)
            try:
                _require_tables(engine, mask_password(address))
                return LogReader(engine)
            except BaseException:
                engine.dispose()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
            Columns of bytes that are not needed; they are read as `NOT_READ`, but `sealed` as None.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        for rows in self.queries.fetch_pages(select_columns(without), after, until, kinds):
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
        """Read the first entries of a kind after a sequence number, in order.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        query = sa.select(*select_columns(without)).where(EVENTS.c.sequence > after, EVENTS.c.kind == kind)
        rows = self.queries.fetch_all(query.order_by(EVENTS.c.sequence).limit(limit))
        return list(map(decode_row, rows))

    def read_event(self, sequence: int) -> Event:
        """Read one entry.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        (event,) = self._decode(
            self.queries.fetch_all(sa.select(*COLUMNS).where(EVENTS.c.sequence == sequence))
        )
        return event

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment up to the sequence number `until`, in order.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        query = build_consignment_query(tuple(without))
        return self._decode(self.queries.fetch_rows(query, until, name=consignment_id))

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

    def read_entries_of(self, event_type: type[E], until: int | None = None) -> list[E]:
        """Read all entries of a kind that has no consignment, up to the sequence number `until`, in order."""
        rows = self.queries.fetch_rows(build_kind_query(event_type.kind), until)
        return [event for event in self._decode(rows) if isinstance(event, event_type)]

    def list_links(self, after: int = 0, until: int | None = None) -> list[int]:
        """List the sequence numbers of the links of masters and houses in a range, in order; `after` is excluded."""
        query = build_places_query(LinkEvent.kind, whole=after == 0)
        return sorted(place for (place,) in self.queries.fetch_rows(query, until, after=after))

    def read_links(self, places: Sequence[int]) -> Iterator[LinkEvent]:
        """Read the links with some sequence numbers, in their order."""
        for start in range(0, len(places), MAX_IDS_PER_QUERY):
            here = list(places[start : start + MAX_IDS_PER_QUERY])
            events = {
                event.sequence: event
                for event in self._decode(self.queries.fetch_all(build_entries_query(), {"places": here}))
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
        query = build_scored_query(from_us, until_us, without)
        return self._decode(self.queries.fetch_rows(query, until))

    def read_history_rows(self, after: int, until: int, kinds: str) -> Iterator[Sequence[Any]]:
        """Read the history columns of entries in order, some thousands at a time.

        Parameters
        ----------
        after, until : int
            Range of sequence numbers; `after` excluded, `until` included.
        kinds : str
            Digest of the kinds of keys. An entry with other kinds is read with its fields, because its keys must be
            computed again.

        Yields
        ------
        sequence of rows
            Rows for `serving.event_log.event_rows.decode_history_row`; `plain` and `sealed` only if they are needed.
        """
        for rows in self.queries.fetch_pages(select_history_columns(kinds), after, until):
            yield self.corrections.correct_rows(rows)

    def read_history_events(self, consignment_ids: Sequence[str], until: int, kinds: str) -> list[Event]:
        """Read the history columns of the entries of many consignments up to the sequence number `until`, in order."""
        query, rows = build_consignments_query(kinds), list[Any]()
        for start in range(0, len(consignment_ids), MAX_IDS_PER_QUERY):
            names = list(consignment_ids[start : start + MAX_IDS_PER_QUERY])
            rows += self.queries.fetch_rows(query, until, names=names)
        rows.sort(key=itemgetter(0))
        return list(map(decode_history_row, self.corrections.correct_rows(rows)))

    def read_spellings(self) -> set[str]:
        """Read the identifiers of entries from before identifiers had a normal form, in which they differ from it."""
        query = sa.select(EVENTS.c.consignment_id).where(EVENTS.c.consignment_id.is_not(None)).distinct()
        return {name for (name,) in self.queries.fetch_all(query) if normalize_identifier(name) != name}

    def read_last_sequence(self) -> int:
        """Read the current sequence number of the last entry; return 0 if there is none.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        return int(self.queries.fetch_value(sa.select(sa.func.max(EVENTS.c.sequence))) or 0)

    def find_latest_decision_us(self, before_us: int) -> int | None:
        """Find when the latest consignment before a time was received and scored; None if there is none.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        query = sa.select(EVENTS.c.at_us).where(EVENTS.c.kind == "decision", EVENTS.c.at_us < before_us)
        found: int | None = self.queries.fetch_value(query.order_by(EVENTS.c.at_us.desc()).limit(1))
        return found

    def count_decisions(self, from_us: int, until_us: int) -> list[tuple[int, str, str, int]]:
        """Count the decisions on consignments received in a period, by UTC day (since the epoch), band and model.

        Raises
        ------
        ServiceFault
            The log cannot be read.
        """
        day = EVENTS.c.at_us // US_PER_DAY
        query = (
            sa.select(day, EVENTS.c.band, EVENTS.c.model, sa.func.count())
            .where(EVENTS.c.kind == "decision", EVENTS.c.at_us >= from_us, EVENTS.c.at_us < until_us)
            .group_by(day, EVENTS.c.band, EVENTS.c.model)
        )
        return [(int(found), *rest) for found, *rest in self.queries.fetch_all(query)]

    def read_hash(self, sequence: int) -> bytes | None:
        """Read the hash of an entry (0: the start of the chain); return None if there is no such entry."""
        if sequence == 0:
            return self.origin
        found: bytes | None = self.queries.fetch_value(
            sa.select(EVENTS.c.hash).where(EVENTS.c.sequence == sequence)
        )
        return found

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
            Neighbours by the sequence number of their entry; entries without a neighbour are not included.
        """
        mine, theirs = EVENTS.alias(), EVENTS.alias()
        on_that_side = theirs.c.sequence > mine.c.sequence if later else theirs.c.sequence < mine.c.sequence
        nearest = (sa.func.min if later else sa.func.max)(theirs.c.sequence)
        of_same = (
            theirs.c.consignment_id == mine.c.consignment_id,
            theirs.c.kind.in_(others),
            theirs.c.sequence <= self.last_sequence,
        )
        pairs = (
            sa.select(
                mine.c.sequence.label("of"),
                sa.select(nearest).where(*of_same, on_that_side).scalar_subquery().label("nearest"),
            )
            .where(mine.c.sequence.between(first, last), mine.c.kind.in_(kinds))
            .subquery()
        )
        query = sa.select(pairs.c.of, *COLUMNS).join(EVENTS, EVENTS.c.sequence == pairs.c.nearest)
        rows = self.queries.fetch_all(query)
        neighbours = self._decode([row[1:] for row in rows])
        return {row[0]: event for row, event in zip(rows, neighbours, strict=True)}

    @property
    def origin(self) -> bytes:
        """Return the start of the chain, which takes the place of the previous hash for the first entry."""
        return hashlib.sha256(f"npsrisk event log {self.log_id}".encode()).digest()

    @property
    def head(self) -> str:
        """Return the hash of the last entry, hexadecimal."""
        return self._head.hex()

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def format_decision_id(self, sequence: int) -> str:
        """Format the identifier of a decision from the name of this log and a sequence number."""
        return f"{self.log_id}-{sequence}"

    def _decode(self, rows: Sequence[Any]) -> list[Event]:
        return list(map(decode_row, self.corrections.correct_rows(rows)))

    def _identify(self) -> tuple[str, str]:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(LOG)).one()
        return str(found.log_id), str(found.key_fingerprint)

    def _read_head(self) -> tuple[int, bytes]:
        query = sa.select(EVENTS.c.sequence, EVENTS.c.hash).order_by(EVENTS.c.sequence.desc()).limit(1)
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return (0, self.origin) if found is None else (found.sequence, found.hash)


def _require_tables(engine: sa.Engine, where: str) -> None:
    if not {LOG.name, EVENTS.name} <= set(sa.inspect(engine).get_table_names()):
        raise BadSetting(
            "there is no event log",
            where=URL_SETTING,
            got=where,
            todo="set it to the database of the service, or set NPSRISK_STATE_DIR to its state directory",
        )
