"""The event log as it is read, in order or by consignment; the service may write it meanwhile."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Self, TypeVar, cast

import sqlalchemy as sa

from consignments.errors import BadSetting
from serving.event_log.backend import URL_SETTING
from serving.event_log.database import mask_password, open_engine, use_database
from serving.event_log.event_rows import decode_history_row, decode_row
from serving.event_log.events import (
    ARRIVAL_KINDS,
    AlertEvent,
    ArrivalEvent,
    DecisionEvent,
    Event,
    KeyErasureEvent,
    Kind,
    RedactionEvent,
)
from serving.event_log.queries import (
    LogQueries,
    build_consignment_query,
    build_consignments_query,
    build_kind_query,
    build_scored_query,
    select_columns,
    select_history_columns,
)
from serving.event_log.tables import COLUMNS, EVENTS, LOG

MAX_IDS_PER_QUERY = 500
"""Consignments looked up by one query."""
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""
E = TypeVar("E", AlertEvent, RedactionEvent, KeyErasureEvent)


class LogReader:
    """A log that is only read; it may be written meanwhile by the service.

    Parameters
    ----------
    engine : Engine

    Attributes
    ----------
    log_id : str
        Random name of this log; part of every `decision_id`.
    key_fingerprint : str
        Of the data key it is written with.
    last_sequence : int
        Of the last durable entry when it was opened; 0 if there is none.
    queries : LogQueries
        For questions that are asked seldom: `serving.event_log.redactions` and its neighbours.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self.queries = engine, LogQueries(engine)
        self.log_id, self.key_fingerprint = self._identify()
        self.last_sequence, self._head = self._read_head()

    @classmethod
    def open_to_read(cls, url: str) -> "LogReader":
        """Open a log that is there already; nothing is written, and nobody is kept from writing.

        Raises
        ------
        BadSetting
            For an address that means nothing, or where there is no log.
        ServiceFault
            Where the database cannot be read.
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
        """Read entries in their order.

        Parameters
        ----------
        after, until : int
            Sequences; `after` excluded, `until` included.
        without : sequence of str
            Columns of bytes that are not needed: they come as `NOT_READ`, but `sealed` as None.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        for rows in self.queries.fetch_pages(select_columns(without), after, until, kinds):
            yield from map(decode_row, rows)

    def read_arrivals(
        self, after: int = 0, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[ArrivalEvent]:
        """Read arrivals in their order, decisions among them; parameters as of `read_events`."""
        return cast("Iterator[ArrivalEvent]", self.read_events(after, until, without, ARRIVAL_KINDS))

    def read_decisions(
        self, after: int = 0, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[DecisionEvent]:
        """Read decisions in their order; parameters as of `read_events`."""
        return cast("Iterator[DecisionEvent]", self.read_events(after, until, without, ("decision",)))

    def read_event(self, sequence: int) -> Event:
        """Return one entry.

        Raises
        ------
        ServiceFault
            If the log cannot be read.
        """
        (row,) = self.queries.fetch_all(sa.select(*COLUMNS).where(EVENTS.c.sequence == sequence))
        return decode_row(row)

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment up to the sequence `until`, in their order.

        Raises
        ------
        ServiceFault
            If the log cannot be read.
        """
        query = build_consignment_query(tuple(without))
        return list(map(decode_row, self.queries.fetch_rows(query, until, name=consignment_id)))

    def read_entries_of(self, event_type: type[E], until: int | None = None) -> list[E]:
        """Read all entries of a kind that is about no consignment, up to the sequence `until`, in their order."""
        rows = self.queries.fetch_rows(build_kind_query(event_type.kind), until)
        return [event for event in map(decode_row, rows) if isinstance(event, event_type)]

    def read_scored(
        self, from_us: int, until_us: int, until: int, without: Sequence[str] = ()
    ) -> list[Event]:
        """Give all entries, up to the sequence `until`, of the consignments with a decision in a time.

        Parameters
        ----------
        from_us, until_us : int
            When they were received; `until_us` excluded.
        until : int
        without : sequence of str
        """
        query = build_scored_query(from_us, until_us, without)
        return list(map(decode_row, self.queries.fetch_rows(query, until)))

    def read_history_rows(self, after: int, until: int, kinds: str) -> Iterator[Sequence[Any]]:
        """Read what history needs of entries, in their order, some thousands at a time.

        Parameters
        ----------
        after, until : int
            Sequences; `after` excluded, `until` included.
        kinds : str
            Digest of the kinds of keys: an entry that holds others comes whole, for its keys have to be made anew.

        Yields
        ------
        sequence of rows
            As `serving.event_log.event_rows.decode_history_row` takes them; `plain` and `sealed` only if they are needed.
        """
        return self.queries.fetch_pages(select_history_columns(kinds), after, until)

    def read_history_events(self, consignment_ids: Sequence[str], until: int, kinds: str) -> list[Event]:
        """Read the same of the entries of many consignments up to the sequence `until`, in their order."""
        query, rows = build_consignments_query(kinds), list[Any]()
        for start in range(0, len(consignment_ids), MAX_IDS_PER_QUERY):
            names = list(consignment_ids[start : start + MAX_IDS_PER_QUERY])
            rows += self.queries.fetch_rows(query, until, names=names)
        rows.sort(key=itemgetter(0))
        return list(map(decode_history_row, rows))

    def read_last_sequence(self) -> int:
        """Give the sequence of the last entry there is now; 0 where there is none.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        return int(self.queries.fetch_value(sa.select(sa.func.max(EVENTS.c.sequence))) or 0)

    def read_hash(self, sequence: int) -> bytes | None:
        """Read the hash of the chain after an entry; None if there is no such entry."""
        if sequence == 0:
            return self.origin
        found: bytes | None = self.queries.fetch_value(
            sa.select(EVENTS.c.hash).where(EVENTS.c.sequence == sequence)
        )
        return found

    def find_neighbours(
        self, kinds: Sequence[Kind], others: Sequence[Kind], first: int, last: int, *, later: bool
    ) -> dict[int, Event]:
        """Find beside entries the nearest entry of other kinds that tells of the same consignment.

        Parameters
        ----------
        kinds : sequence of str
            Of the entries asked for, in the places `first` to `last`.
        others : sequence of str
            Of what is looked for.
        first, last : int
        later : bool
            Look for what comes after, up to the last entry there was at the opening; else for what came before.

        Returns
        -------
        dict
            Sequence of an entry to its neighbour; entries without one are not in it.
        """
        mine, theirs = EVENTS.alias(), EVENTS.alias()
        beside = theirs.c.sequence > mine.c.sequence if later else theirs.c.sequence < mine.c.sequence
        nearest = (sa.func.min if later else sa.func.max)(theirs.c.sequence)
        of_same = (
            theirs.c.consignment_id == mine.c.consignment_id,
            theirs.c.kind.in_(others),
            theirs.c.sequence <= self.last_sequence,
        )
        pairs = (
            sa.select(
                mine.c.sequence.label("of"),
                sa.select(nearest).where(*of_same, beside).scalar_subquery().label("nearest"),
            )
            .where(mine.c.sequence.between(first, last), mine.c.kind.in_(kinds))
            .subquery()
        )
        query = sa.select(pairs.c.of, *COLUMNS).join(EVENTS, EVENTS.c.sequence == pairs.c.nearest)
        return {row[0]: decode_row(row[1:]) for row in self.queries.fetch_all(query)}

    @property
    def origin(self) -> bytes:
        """What stands in place of the hash before the first entry."""
        return hashlib.sha256(f"npsrisk event log {self.log_id}".encode()).digest()

    @property
    def head(self) -> str:
        """Hash of the last entry, hexadecimal."""
        return self._head.hex()

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def format_decision_id(self, sequence: int) -> str:
        """Name a decision by its place in this log."""
        return f"{self.log_id}-{sequence}"

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
            todo="name the database of the service, or its NPSRISK_STATE_DIR",
        )
