"""Reader of the event log, in order or by consignment; the service may write the log at the same time."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from threading import Condition
from typing import Any, NamedTuple, Self, cast

import sqlalchemy as sa

from consignments.errors import ServiceFault
from consignments.timestamps import US_PER_DAY
from consignments.workers import Progress as Progress
from serving.event_log.databases.backend import describe_error
from serving.event_log.databases.database import mask_password, open_engine, require_tables, use_database
from serving.event_log.databases.tables import ENTRIES, IS_DECISION, IS_OTHER, LOG, TERM_NAMES, TERMS
from serving.event_log.events import (
    ARRIVAL_KINDS,
    NAMES,
    NOT_READ,
    PLACES,
    ArrivalEvent,
    Columns,
    DecisionEvent,
    Event,
    Kind,
    RecordEntry,
    decode_row,
)
from serving.event_log.terms import Terms

DIGEST_BYTES = 8
PAGE_ENTRIES = 2_000
BATCH_ENTRIES = 20_000
MAX_SEQUENCE = (1 << 63) - 1
NOT_IN_HISTORY = frozenset(DecisionEvent.__struct_fields__) - {*ArrivalEvent.__struct_fields__}


class LogReader:
    """An event log that is open for reading; the service may write it at the same time.

    `log_id` is the random name of this log, which is part of each `decision_id` up to the first entry `restore`; `key_fingerprint` is that of the data key that it is
    written with; `last_sequence` is the number of the last durable entry when it was opened, 0 if there is none.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self.queries = engine, LogQueries(engine)
        with engine.connect() as connection:
            found = connection.execute(sa.select(LOG)).one()
        self.log_id, self.key_fingerprint = str(found.log_id), str(found.key_fingerprint)
        self.identifier_key = bytes(found.identifier_key)
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES, key=self.identifier_key)
        self.terms = Terms(lambda: self.queries.fetch_all(sa.select(TERMS)))
        self._named: dict[frozenset[str], CompiledQuery] = {}
        self.last_sequence = self.read_last_sequence()
        self.read_names()

    def read_names(self) -> None:
        """Read the names that restores and accepted losses gave the log; another process may have added one."""
        restores = [*self.read_events(kinds=("restore",))]
        self._restored = [event.sequence for event in restores]
        self._given_names = [self.log_id, *(event.plain.decode() for event in restores)]

    @classmethod
    def open_to_read(cls, url: str) -> "LogReader":
        """Open an existing log for reading, without locking out its writer."""
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
        self, names: Sequence[str], after: int = 0, until: int | None = None, size: int = BATCH_ENTRIES
    ) -> Iterator[list[Any]]:
        """Read some columns of entries, at most `size` entries at a time: for each batch a sequence of values a column."""
        columns = [ENTRIES.c.sequence, *(ENTRIES.c[name] for name in names)]
        for rows in self._fetch_pages(columns, after, until, (), size):
            _, *batch = zip(*rows, strict=True)
            for place, name in enumerate(names):
                if name in TERM_NAMES:
                    batch[place] = tuple(self.terms.get_texts(batch[place]))
            yield batch

    def read_hashed_rows(
        self, after: int, until: int | None = None
    ) -> Iterator[tuple[list[Columns], list[bytes]]]:
        """Read the columns and the hashes of entries in order, some thousands at a time."""
        for rows in self._fetch_pages([*list_columns(), ENTRIES.c.hash], after, until, (), PAGE_ENTRIES):
            yield self.terms.name_rows([row[:-1] for row in rows]), [bytes(row[-1]) for row in rows]

    def read_events(
        self,
        after: int = 0,
        until: int | None = None,
        without: Sequence[str] = (),
        kinds: Sequence[Kind] = (),
    ) -> Iterator[Event]:
        """Read entries of some kinds (all if empty), `after` excluded; columns `without` become `NOT_READ`, those of other values and `sealed` None."""
        columns = list_columns(frozenset(without))
        for rows in self._fetch_pages(columns, after, until, kinds, PAGE_ENTRIES):
            yield from self._decode(rows)

    def read_arrivals(
        self, after: int = 0, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[ArrivalEvent]:
        """Read arrivals, including decisions, in order; the parameters are those of `read_events`."""
        return cast("Iterator[ArrivalEvent]", self.read_events(after, until, without, ARRIVAL_KINDS))

    def read_decisions(
        self, until: int | None = None, without: Sequence[str] = ()
    ) -> Iterator[DecisionEvent]:
        """Read decisions in order; the parameters are those of `read_events`."""
        return cast("Iterator[DecisionEvent]", self.read_events(0, until, without, ("decision",)))

    def read_page(self, kind: Kind, after: int, limit: int, without: Sequence[str] = ()) -> list[Event]:
        """Read the first entries of a kind after a sequence number, in order."""
        pages = self._fetch_pages(list_columns(frozenset(without)), after, None, (kind,), limit)
        return self._decode(next(pages, ()))

    def read_event(self, sequence: int) -> Event:
        """Read one entry."""
        (row,) = self.read_places([sequence])
        return decode_row(row)

    def read_places(self, sequences: Sequence[int], without: frozenset[str] = frozenset()) -> list[Columns]:
        """Read the columns of the entries with some sequence numbers, in order; numbers without an entry are left out."""
        found = self.queries.fetch_among(sa.select(*list_columns(without)), ENTRIES.c.sequence, sequences)
        return self.terms.name_rows(sorted(found, key=_get_sequence))

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of one consignment up to the sequence number `until`, in order."""
        left_out = frozenset(without)
        query = self._named.get(left_out)
        if query is None:
            digest, limit = (sa.bindparam(name, 0, sa.BigInteger) for name in ("digest", "until"))
            named = select_entries(list_columns(left_out), until=limit).where(ENTRIES.c.digest == digest)
            query = self._named[left_out] = self.queries.compile(named, fixed=False)
        last = MAX_SEQUENCE if until is None else until
        found = self.queries.fetch_compiled(query, digest=self.compute_digest(consignment_id), until=last)
        return self._choose(found, {consignment_id})

    def read_events_of(
        self, consignment_ids: Sequence[str], until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Read the entries of some consignments, in order; the parameters are those of `read_consignment_events`."""
        digests = [*map(self.compute_digest, consignment_ids)]
        query = select_entries(list_columns(frozenset(without)), until=until)
        found = self.queries.fetch_among(query, ENTRIES.c.digest, digests)
        return self._choose(sorted(found, key=_get_sequence), set(consignment_ids))

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

    def find_latest_us(self, *kinds: Kind, before_us: int | None = None) -> int | None:
        """Find the latest time of the entries of some kinds, also before a time; None if there is none."""
        query = sa.select(sa.func.max(ENTRIES.c.at_us)).where(ENTRIES.c.kind.in_(kinds))
        if kinds == ("decision",):
            query = query.where(IS_DECISION)
        if before_us is not None:
            query = query.where(ENTRIES.c.at_us < before_us)
        found: int | None = self.queries.fetch_value(query)
        return found

    def count_decisions(self, from_us: int, until_us: int) -> list[tuple[int, str, str, int]]:
        """Count the decisions on consignments received in a period, by UTC day (since the epoch), band and model."""
        day = ENTRIES.c.at_us // sa.literal_column(str(US_PER_DAY), sa.BigInteger)
        groups = day, ENTRIES.c.band, ENTRIES.c.model
        query = sa.select(*groups, sa.func.count()).where(_decided(from_us, until_us)).group_by(*groups)
        found = []
        for day, *shared, count in self.queries.fetch_all(query):
            band, model = self.terms.get_texts(shared)
            found.append((int(day), band or "", model or "", count))
        return found

    def read_hash(self, sequence: int) -> bytes | None:
        """Read the hash of an entry (0: the start of the chain); return None if there is no such entry."""
        if sequence == 0:
            return self.origin
        found = self.queries.fetch_value(sa.select(ENTRIES.c.hash).where(ENTRIES.c.sequence == sequence))
        return None if found is None else bytes(found)

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
        """Return the name of the log since its last entry `restore`, or since its beginning."""
        return self._given_names[-1]

    def format_decision_id(self, sequence: int) -> str:
        """Format the identifier of a decision from the name that the log had then and a sequence number."""
        return f"{self._given_names[bisect_right(self._restored, sequence)]}-{sequence}"

    def _fetch_pages(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind], size: int
    ) -> Iterator[Sequence[Any]]:
        """Fetch entries in order, some at a time; the first column is the sequence number."""
        begin = sa.bindparam("after", after, sa.BigInteger)
        query = self.queries.compile(select_entries(columns, begin, until, kinds).limit(size))
        while rows := self.queries.fetch_compiled(query, after=after):
            yield rows
            if len(rows) < size:
                return
            after = rows[-1][0]

    def _decode(self, rows: Sequence[Any]) -> list[Event]:
        return [*map(decode_row, self.terms.name_rows(rows))]

    def _choose(self, rows: Sequence[Any], names: set[str]) -> list[Event]:
        """Decode the rows that have one of some identifiers, and not only its digest."""
        place = PLACES["consignment_id"]
        return self._decode([row for row in rows if row[place] in names])


def _get_sequence(row: Any) -> int:
    return int(row[0])


def _decided(from_us: int, until_us: int) -> Any:
    """Build the condition for decisions on consignments received in a period; `until_us` excluded."""
    return IS_DECISION & (ENTRIES.c.at_us >= from_us) & (ENTRIES.c.at_us < until_us)


IN_LIMIT = 500  # values in one condition; every SQLite supports 999
IS_ARRIVAL = sa.or_(*(ENTRIES.c.kind == kind for kind in ARRIVAL_KINDS))


class CompiledQuery(NamedTuple):
    """A query in the words of the database; `names` are those of the values in their order, None if they are given by name."""

    text: str
    values: dict[str, Any]
    names: tuple[str, ...] | None


class LogQueries:
    """A runner of queries that converts database errors to `ServiceFault`."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._uses, self._closed, self._use_ended = 0, False, Condition()

    def close(self) -> None:
        """Refuse further uses of the log, and wait until those of other threads have ended."""
        with self._use_ended:
            self._closed = True
            self._use_ended.wait_for(lambda: self._uses == 0)

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep the log open inside the context; raise `ServiceFault` if it is closed."""
        with self._use_ended:
            if self._closed:
                raise ServiceFault("the event log is closed")
            self._uses += 1
        try:
            yield
        finally:
            with self._use_ended:
                self._uses -= 1
                self._use_ended.notify_all()

    def fetch_all(self, query: Any) -> list[Any]:
        """Fetch all rows of a query."""
        return self.fetch_compiled(self.compile(query))

    def compile(self, query: Any, *, fixed: bool = True) -> CompiledQuery:
        """Compile a query for `fetch_compiled`, with the values that it has now, or to be given others each time."""
        compiled = query.compile(self._engine, compile_kwargs={"render_postcompile": True} if fixed else {})
        names = tuple(compiled.positiontup) if compiled.positional else None
        return CompiledQuery(compiled.string, compiled.params, names)

    def fetch_compiled(self, query: CompiledQuery, **values: Any) -> list[Any]:
        """Fetch all rows of a compiled query by the driver itself, which takes a third of the time of `fetch_all`."""
        given = query.values | values
        named = given if query.names is None else [given[name] for name in query.names]
        failure = self._engine.dialect.loaded_dbapi.Error
        try:
            with self.use(), closing(self._engine.raw_connection()) as connection:
                cursor = connection.cursor()
                cursor.execute(query.text, named)
                return list(cursor.fetchall())
        except (sa.exc.SQLAlchemyError, failure) as error:
            raise ServiceFault("the event log cannot be read", got=describe_error(error)) from error

    def fetch_value(self, query: Any) -> Any:
        """Fetch the single value of a query, or None if there is no row."""
        rows = self.fetch_all(query)
        return rows[0][0] if rows else None

    def fetch_among(self, query: Any, column: sa.Column[Any], values: Sequence[Any]) -> list[Any]:
        """Fetch the rows of a query in which a column has one of some values, some hundred values at a time."""
        found: list[Any] = []
        for start in range(0, len(values), IN_LIMIT):
            found += self.fetch_all(query.where(column.in_(values[start : start + IN_LIMIT])))
        return found


@cache
def list_columns(without: frozenset[str] = frozenset()) -> tuple[Any, ...]:
    """List the columns of a row for a query; arrivals have NOT_READ in place of bytes left out, and None for `sealed` and other values."""
    return tuple(_leave_out(ENTRIES.c[name]) if name in without else ENTRIES.c[name] for name in NAMES)


def _leave_out(column: sa.Column[Any]) -> Any:
    readable = column.name == "sealed" or not isinstance(column.type, sa.LargeBinary)
    instead: sa.ColumnElement[Any] = sa.null() if readable else sa.literal(NOT_READ, sa.LargeBinary)
    if column.name in RecordEntry.__struct_fields__:  # of other entries than arrivals too
        instead = sa.case((IS_ARRIVAL, instead), else_=column)
    return instead.label(column.name)


def select_entries(
    columns: Iterable[Any], after: Any = 0, until: Any = None, kinds: Sequence[Kind] = ()
) -> Any:
    """Build the query for the entries of a range and of some kinds (all if empty), in order; `after` is excluded, `until` included."""
    query = sa.select(*columns).where(ENTRIES.c.sequence > after).order_by(ENTRIES.c.sequence)
    if until is not None:
        query = query.where(ENTRIES.c.sequence <= until)
    if kinds:
        query = query.where(ENTRIES.c.kind.in_(kinds))
        if "decision" not in kinds:
            query = query.where(IS_OTHER)
    return query
