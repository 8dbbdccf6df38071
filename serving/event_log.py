"""The event log: what the service saw and said, in order, append-only, each entry chained to the one before by SHA-256.

The sequence is the order of history. An entry is never changed; one process at a time writes.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from typing import Any, Literal, NamedTuple, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import BadSetting, ServiceFault
from serving.chain import Remains, Removal, Verdict, Walk, chain
from serving.databases import Writer, first_line, migrate, open_engine, shown, usable, wipe, writer_of
from serving.sealing import Vault

Kind = Literal["decision", "arrival", "outcome", "alert", "cancellation", "selection", "removal"]
ARRIVED: tuple[Kind, ...] = ("decision", "arrival")
EMPTY = b""
"""In place of the fields of an entry whose content was removed."""
READ_ROWS = 5_000
"""Entries fetched at a time when the log is read through."""
NAMES_AT_ONCE = 500
"""Consignments looked up by one query."""
MOST_SEQUENCE = 2**63 - 1
HEAD_FORM = "[0-9a-f]{64}"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""


class Event(NamedTuple):
    """One entry of the log, without the hashes of its chain.

    Attributes
    ----------
    sequence : int
        Place in the log, from 1, without gaps.
    kind : str
        `decision`: a consignment scored. `arrival`: one that counts in history without a decision (past data).
        `outcome`, `alert`, `cancellation`, `selection`. `removal`: that the content of entries was removed.
    consignment_id : str or None
        None for an alert.
    at_us : int
        When it happened, in microseconds since the epoch: received, visible, issued, cancelled, selected.
    recorded_us : int or None
        When the service was told, and scored; of past data as the table gives it.
    content : bytes
        Keyed digest of the record (`serving.sealing.Packed`), as are `plain` and `sealed`; of a removal, no bytes.
    kinds : str or None
        Digest of the kinds of history keys that `keys` holds.
    keys : bytes or None
        uint64 keys of history, then as many counterparts; little-endian.
    features : bytes or None
        The float32 row that was scored, little-endian.
    score : float or None
        Probability.
    band : str or None
    reasons : bytes or None
        MessagePack.
    model : str or None
        Name and version, `NAME/VERSION`.
    model_sha256, spec_sha256 : str or None
        Digests of the bundle and of its feature spec.
    asked_by : str
        Name of the API key, `local` where there are none, `import` for past data.
    """

    sequence: int
    kind: Kind
    consignment_id: str | None
    at_us: int
    recorded_us: int | None
    content: bytes
    plain: bytes
    sealed: bytes | None
    kinds: str | None = None
    keys: bytes | None = None
    features: bytes | None = None
    score: float | None = None
    band: str | None = None
    reasons: bytes | None = None
    model: str | None = None
    model_sha256: str | None = None
    spec_sha256: str | None = None
    asked_by: str = ""

    @property
    def emptied(self) -> bool:
        """Whether its content was removed: fields, features and reasons; its keys of history are left."""
        return self.plain == EMPTY


_metadata = sa.MetaData()
_log = sa.Table(
    "log",
    _metadata,
    sa.Column("log_id", sa.String(16), primary_key=True),
    sa.Column("key_fingerprint", sa.String(16), nullable=False),
)
_events = sa.Table(
    "events",
    _metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("consignment_id", sa.String(100), index=True),
    sa.Column("at_us", sa.BigInteger, nullable=False, index=True),
    sa.Column("recorded_us", sa.BigInteger),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("plain", sa.LargeBinary, nullable=False),
    sa.Column("sealed", sa.LargeBinary),
    sa.Column("kinds", sa.String(16)),
    sa.Column("keys", sa.LargeBinary),
    sa.Column("features", sa.LargeBinary),
    sa.Column("score", sa.Double),
    sa.Column("band", sa.String(16)),
    sa.Column("reasons", sa.LargeBinary),
    sa.Column("model", sa.String(200)),
    sa.Column("model_sha256", sa.String(64)),
    sa.Column("spec_sha256", sa.String(64)),
    sa.Column("asked_by", sa.String(100), nullable=False),
    sa.Column("previous_hash", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
_columns = [_events.c[name] for name in Event._fields]
_removal_of = msgspec.msgpack.Decoder(Removal).decode


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
        Of the last durable entry when it was opened; 0 where there is none.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
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
        with usable(url) as address:
            engine = open_engine(address, read_only=True)
            try:
                _require_tables(engine, shown(address))
                return LogReader(engine)
            except BaseException:
                engine.dispose()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def events(
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
            Columns that are not needed and come as None.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        for rows in self._pages(_without(without), after, until, kinds):
            yield from map(Event._make, rows)

    def at(self, sequence: int) -> Event:
        """Give one entry."""
        with self._engine.connect() as connection:
            query = sa.select(*_columns).where(_events.c.sequence == sequence)
            return Event._make(connection.execute(query).one())

    def of(self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()) -> list[Event]:
        """Give the entries of one consignment up to the sequence `until`, in their order.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        return self._look_up(_of_one(tuple(without)), name=consignment_id, until=until)

    def alerts(self, until: int | None = None) -> list[Event]:
        """Give the alerts up to the sequence `until`, in their order."""
        return self._look_up(_of_nobody, until=until)

    def of_scored(self, from_us: int, until_us: int, until: int, without: Sequence[str] = ()) -> list[Event]:
        """Give all entries, up to the sequence `until`, of the consignments with a decision in a time.

        Parameters
        ----------
        from_us, until_us : int
            When they were received; `until_us` excluded.
        until : int
        without : sequence of str
        """
        scored = sa.select(_events.c.consignment_id).where(
            _events.c.kind == "decision", _events.c.at_us >= from_us, _events.c.at_us < until_us
        )
        here = _events.c.consignment_id.in_(scored), _events.c.sequence <= sa.bindparam("until")
        query = sa.select(*_without(without)).where(*here).order_by(_events.c.sequence)
        return self._look_up(query, until=until)

    def to_count(self, after: int, until: int, kinds: str) -> Iterator[Sequence[Any]]:
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
            The first fields of `Event`, up to `keys`; `plain` and `sealed` are None where they are not needed.
        """
        return self._pages(_to_count(kinds), after, until)

    def to_count_of(self, consignment_ids: Sequence[str], until: int, kinds: str) -> list[Event]:
        """Read the same of the entries of many consignments up to the sequence `until`, in their order."""
        query, found = _of_many(kinds), list[Event]()
        for start in range(0, len(consignment_ids), NAMES_AT_ONCE):
            names = list(consignment_ids[start : start + NAMES_AT_ONCE])
            found += self._look_up(query, names=names, until=until)
        found.sort(key=itemgetter(0))
        return found

    def newest(self) -> int:
        """Give the sequence of the last entry there is now; 0 where there is none.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        with self._reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(_events.c.sequence))).scalar_one() or 0)

    def hash_at(self, sequence: int) -> bytes | None:
        """Give the hash of the chain after an entry; None where there is no such entry."""
        if sequence == 0:
            return self._origin()
        query = sa.select(_events.c.hash).where(_events.c.sequence == sequence)
        with self._reading() as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found

    def _look_up(self, query: Any, until: int | None = None, **values: Any) -> list[Event]:
        values["until"] = MOST_SEQUENCE if until is None else until
        with self._reading() as connection:
            return [Event(*row) for row in connection.execute(query, values).all()]

    def neighbours(
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
        mine, theirs = _events.alias(), _events.alias()
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
        query = sa.select(pairs.c.of, *_columns).join(_events, _events.c.sequence == pairs.c.nearest)
        with self._reading() as connection:
            return {row[0]: Event._make(row[1:]) for row in connection.execute(query)}

    @property
    def head(self) -> str:
        """Hash of the last entry, hexadecimal."""
        return self._head.hex()

    def verify(self, kept: str = "", progress: Progress | None = None) -> Verdict:
        """Walk along the chain from the first entry to the last one there was at the opening.

        Parameters
        ----------
        kept : str, optional
            Hash of an entry that was kept elsewhere, hexadecimal.
        progress : callable, optional
        """
        walk = Walk(self._origin(), self.removals(), kept)
        for rows in self._pages([*_columns, _events.c.previous_hash, _events.c.hash], 0, self.last_sequence):
            for row in rows:
                *values, stored, here = row
                event = Event._make(values)
                if not walk.step(event, stored, here):
                    return walk.verdict(broken_at=event.sequence)
            if progress is not None:
                progress("chain", walk.entries, self.last_sequence)
        return walk.verdict()

    def removals(self) -> list[Removal]:
        """Give what is on record of content that was removed, in the order in which that was done."""
        found = self.events(kinds=("removal",))
        return [_removal_of(event.plain) for event in found if not event.emptied]

    def emptied_up_to(self) -> int:
        """Give the sequence up to which consignments have no content any more; 0 where none was removed."""
        return max((removal.up_to for removal in self.removals()), default=0)

    def first_recorded_from(self, moment_us: int) -> int | None:
        """Give the sequence of the first entry that was recorded at or after a moment; None where there is none."""
        recorded = sa.func.coalesce(_events.c.recorded_us, _events.c.at_us)
        query = (
            sa.select(_events.c.sequence).where(recorded >= moment_us).order_by(_events.c.sequence).limit(1)
        )
        with self._reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def latest_arrival_us(self) -> int | None:
        """Give the latest moment at which a consignment was received; None where there is none."""
        query = sa.select(sa.func.max(_events.c.at_us)).where(_events.c.kind.in_(ARRIVED))
        with self._reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def count_whole(self, after: int, until: int) -> int:
        """Count the consignments with content behind the sequence `after` up to `until`."""
        with self._reading() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).where(*_whole(after, until))).scalar_one()
            )

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def decision_id(self, sequence: int) -> str:
        """Name a decision by its place in this log."""
        return f"{self.log_id}-{sequence}"

    def _pages(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind] = ()
    ) -> Iterator[Sequence[Any]]:
        while True:
            query = sa.select(*columns).where(_events.c.sequence > after)
            if kinds:
                query = query.where(_events.c.kind.in_(kinds))
            if until is not None:
                query = query.where(_events.c.sequence <= until)
            with self._reading() as connection:
                rows = connection.execute(query.order_by(_events.c.sequence).limit(READ_ROWS)).all()
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be read", got=first_line(error)) from error

    def _identify(self) -> tuple[str, str]:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(_log)).one()
        return str(found.log_id), str(found.key_fingerprint)

    def _origin(self) -> bytes:
        """What stands in place of the hash before the first entry."""
        return hashlib.sha256(f"npsrisk event log {self.log_id}".encode()).digest()

    def _read_head(self) -> tuple[int, bytes]:
        query = sa.select(_events.c.sequence, _events.c.hash).order_by(_events.c.sequence.desc()).limit(1)
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return (0, self._origin()) if found is None else (found.sequence, found.hash)


class EventLog(LogReader):
    """An open log.

    Parameters
    ----------
    engine : Engine
    vault : Vault
        Keys derived from the data key.
    writer : Writer
    """

    def __init__(self, engine: sa.Engine, vault: Vault, writer: Writer) -> None:
        self.vault, self._writer = vault, writer
        super().__init__(engine)
        vault.require(self.key_fingerprint)

    @classmethod
    def open(cls, url: str, vault: Vault) -> Self:
        """Open a log, made anew where there is none, and bring its tables up to date.

        Raises
        ------
        BadSetting
            For an address that means nothing, or a data key that is not this log's.
        ServiceFault
            Where the database cannot be used, or another process writes there.
        """
        with usable(url) as address:
            engine = open_engine(address)
            writer = writer_of(engine, _events)
            try:
                writer.hold()
                migrate(engine)
                return cls(engine, vault, writer)
            except BaseException:
                writer.drop()
                engine.dispose()
                raise

    def append(self, events: Sequence[Event]) -> None:
        """Write entries, all or none; they are durable when it returns.

        Raises
        ------
        ServiceFault
            Where they cannot be written, or do not follow the last entry. The log must then be `reread`.
        """
        previous, rows = self._head, []
        for event in events:
            here = chain(previous, event)
            rows.append((*event, previous, here))
            previous = here
        try:
            self._check_place(events)
            self._write(rows)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=first_line(error)) from error
        self.last_sequence, self._head = events[-1].sequence, previous

    def remove(self, removal: Removal, keys: Sequence[dict[str, Any]], recorded_us: int) -> Removal:
        """Remove the content of consignments, and put that on record as the next entry: all or nothing.

        Parameters
        ----------
        removal : Removal
            Its `emptied` and `digest` are filled in.
        keys : sequence of dict
            `at`, `new_kinds` and `new_keys` of entries whose keys of history were made anew, while that could be done.
        recorded_us : int
            Now.

        Raises
        ------
        ServiceFault
            Where the log cannot be written.
        """
        try:
            self._writer.hold()
            with self._engine.begin() as connection:
                if keys:
                    connection.execute(_rekeying, keys)
                connection.execute(_emptying(removal.after, removal.up_to))
                removal = _measured(connection, removal)
                event = Event(
                    self.last_sequence + 1, "removal", None, removal.before_us, recorded_us, EMPTY,
                    msgspec.msgpack.encode(removal), None,
                )  # fmt: skip
                head = chain(self._head, event)
                row = dict(zip(_events.c.keys(), (*event, self._head, head), strict=True))
                connection.execute(_events.insert().values(row))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=first_line(error)) from error
        self.last_sequence, self._head = event.sequence, head
        return removal

    def wipe(self) -> None:
        """Let go of the bytes of removed content, as far as the database can; `ServiceFault` where it cannot be written."""
        try:
            wipe(self._engine, _events)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=first_line(error)) from error

    def reread(self) -> None:
        """Find out what is durable, after a write that failed; `ServiceFault` while the log cannot be used."""
        try:
            self._writer.drop()
            self._writer.hold()
            self.last_sequence, self._head = self._read_head()
            with (
                self._engine.begin() as connection
            ):  # a write that changes nothing: is there room, may we write?
                connection.execute(sa.update(_log).values(log_id=_log.c.log_id))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be used", got=first_line(error)) from error

    def close(self) -> None:
        """Close the database."""
        self._writer.drop()
        super().close()

    def _check_place(self, events: Sequence[Event]) -> None:
        if events[0].sequence != self.last_sequence + 1:
            raise ServiceFault(
                "an entry does not follow the last one",
                where="event log",
                got=f"sequence {events[0].sequence}",
                expected=f"sequence {self.last_sequence + 1}",
            )

    def _write(self, rows: list[tuple[Any, ...]]) -> None:
        try:
            self._writer.write(rows)
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._settle(rows)

    def _settle(self, rows: list[tuple[Any, ...]]) -> None:
        """Over a new connection, see whether what went over a lost one was written; write it where it was not."""
        self._writer.drop()
        self._writer.hold()
        _, head = self._read_head()
        if head == self._head:
            self._writer.write(rows)
        elif head != rows[-1][-1]:
            raise ServiceFault(
                "the event log is not where it was left",
                got=f"head {head.hex()[:12]}",
                expected=f"head {self._head.hex()[:12]}",
                todo="if the database was restored or taken over by another server, run npsrisk verify-log",
            )

    def _identify(self) -> tuple[str, str]:
        with self._engine.begin() as connection:
            if connection.execute(sa.select(_log)).one_or_none() is None:
                name = secrets.token_hex(4)
                connection.execute(_log.insert().values(log_id=name, key_fingerprint=self.vault.fingerprint))
        return super()._identify()


def _require_tables(engine: sa.Engine, where: str) -> None:
    if not {_log.name, _events.name} <= set(sa.inspect(engine).get_table_names()):
        raise BadSetting(
            "there is no event log",
            where="NPSRISK_DATABASE_URL",
            got=where,
            todo="name the database of the service, or its NPSRISK_STATE_DIR",
        )


_of_nobody = (
    sa.select(*_columns)
    .where(
        _events.c.consignment_id.is_(None),
        _events.c.kind == "alert",
        _events.c.sequence <= sa.bindparam("until"),
    )
    .order_by(_events.c.sequence)
)


def _whole(after: int, until: int) -> list[Any]:
    """Consignments with content, between two places."""
    place = _events.c.sequence
    return [place > after, place <= until, _events.c.kind.in_(ARRIVED), _events.c.plain != EMPTY]


_rekeying = (
    sa.update(_events)
    .where(_events.c.sequence == sa.bindparam("at"))
    .values(kinds=sa.bindparam("new_kinds"), keys=sa.bindparam("new_keys"))
)


def _emptying(after: int, until: int) -> Any:
    nothing: dict[str, Any] = {"sealed": None, "features": None, "reasons": None}
    return sa.update(_events).where(*_whole(after, until)).values(plain=EMPTY, **nothing)


def _measured(connection: Connection, removal: Removal) -> Removal:
    """Complete the record of a removal with what it left."""
    place = _events.c.sequence
    here = place > removal.after, place <= removal.up_to, _events.c.plain == EMPTY
    remains = Remains()
    query = sa.select(*_columns, _events.c.hash).where(*here).order_by(place)
    for row in connection.execute(query.execution_options(yield_per=READ_ROWS)):
        remains.add(Event._make(row[:-1]), row[-1])
    return msgspec.structs.replace(removal, emptied=remains.entries, digest=remains.digest())


@cache
def _of_one(without: tuple[str, ...]) -> Any:
    """Built once: building costs more than looking up."""
    here = _events.c.consignment_id == sa.bindparam("name"), _events.c.sequence <= sa.bindparam("until")
    return sa.select(*_without(without)).where(*here).order_by(_events.c.sequence)


@cache
def _to_count(kinds: str) -> list[Any]:
    needed = (_events.c.kind == "outcome") | (_events.c.kinds != kinds)
    columns = {column.name: column for column in _columns[: Event._fields.index("keys") + 1]}
    return [
        *(
            columns | {name: sa.case((needed, columns[name])).label(name) for name in ("plain", "sealed")}
        ).values()
    ]


@cache
def _of_many(kinds: str) -> Any:
    names: sa.BindParameter[str] = sa.bindparam("names", expanding=True)
    here = _events.c.consignment_id.in_(names), _events.c.sequence <= sa.bindparam("until")
    return sa.select(*_to_count(kinds)).where(*here)


def _without(names: Sequence[str]) -> list[Any]:
    return [sa.null().label(column.name) if column.name in names else column for column in _columns]
