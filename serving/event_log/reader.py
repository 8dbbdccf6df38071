"""The event log as it is read: in order, by consignment, along its chain; it may be written meanwhile by the service."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from operator import itemgetter
from typing import Any, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import BadSetting, ServiceFault
from serving.encryption.key_file import PREFIX_BYTES, KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.backend import describe_error
from serving.event_log.database import mask_password, open_engine, use_database
from serving.event_log.events import ARRIVAL_KINDS, COLUMNS, EMPTY, EVENTS, LOG, Event, Kind
from serving.event_log.hash_chain import ChainVerifier, Redaction, VerificationResult

READ_ROWS = 5_000
"""Entries fetched at a time when the log is read through."""
MAX_IDS_PER_QUERY = 500
"""Consignments looked up by one query."""
MAX_SEQUENCE = 2**63 - 1
HEAD_PATTERN = "[0-9a-f]{64}"
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much is done, and how much there is."""
KEY_SEARCH_ENTRIES = 100_000
"""Entries among which a key that is missing is looked for when a log is opened; where there is no key at all, all are."""
_decode_redaction = msgspec.msgpack.Decoder(Redaction).decode
_decode_key_erasure = msgspec.msgpack.Decoder(KeyErasure).decode


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
            Columns that are not needed and come as None.
        kinds : sequence of str
            Only entries of these kinds; empty for all.
        """
        for rows in self._pages(_select_columns(without), after, until, kinds):
            yield from map(Event._make, rows)

    def read_event(self, sequence: int) -> Event:
        """Give one entry."""
        with self._engine.connect() as connection:
            query = sa.select(*COLUMNS).where(EVENTS.c.sequence == sequence)
            return Event._make(connection.execute(query).one())

    def read_consignment_events(
        self, consignment_id: str, until: int | None = None, without: Sequence[str] = ()
    ) -> list[Event]:
        """Give the entries of one consignment up to the sequence `until`, in their order.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        return self._look_up(_build_consignment_query(tuple(without)), name=consignment_id, until=until)

    def read_alerts(self, until: int | None = None) -> list[Event]:
        """Give the alerts up to the sequence `until`, in their order."""
        return self._look_up(_build_kind_query("alert"), until=until)

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
        scored = sa.select(EVENTS.c.consignment_id).where(
            EVENTS.c.kind == "decision", EVENTS.c.at_us >= from_us, EVENTS.c.at_us < until_us
        )
        here = EVENTS.c.consignment_id.in_(scored), EVENTS.c.sequence <= sa.bindparam("until")
        query = sa.select(*_select_columns(without)).where(*here).order_by(EVENTS.c.sequence)
        return self._look_up(query, until=until)

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
            The first fields of `Event`, up to `keys`; `plain` and `sealed` are None where they are not needed.
        """
        return self._pages(_select_history_columns(kinds), after, until)

    def read_history_events(self, consignment_ids: Sequence[str], until: int, kinds: str) -> list[Event]:
        """Read the same of the entries of many consignments up to the sequence `until`, in their order."""
        query, found = _build_consignments_query(kinds), list[Event]()
        for start in range(0, len(consignment_ids), MAX_IDS_PER_QUERY):
            names = list(consignment_ids[start : start + MAX_IDS_PER_QUERY])
            found += self._look_up(query, names=names, until=until)
        found.sort(key=itemgetter(0))
        return found

    def read_last_sequence(self) -> int:
        """Give the sequence of the last entry there is now; 0 where there is none.

        Raises
        ------
        ServiceFault
            Where the log cannot be read.
        """
        with self._connect() as connection:
            return int(connection.execute(sa.select(sa.func.max(EVENTS.c.sequence))).scalar_one() or 0)

    def read_hash(self, sequence: int) -> bytes | None:
        """Give the hash of the chain after an entry; None where there is no such entry."""
        if sequence == 0:
            return self._origin()
        query = sa.select(EVENTS.c.hash).where(EVENTS.c.sequence == sequence)
        with self._connect() as connection:
            found: bytes | None = connection.execute(query).scalar_one_or_none()
        return found

    def _look_up(self, query: Any, until: int | None = None, **values: Any) -> list[Event]:
        values["until"] = MAX_SEQUENCE if until is None else until
        with self._connect() as connection:
            return [Event(*row) for row in connection.execute(query, values).all()]

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
        with self._connect() as connection:
            return {row[0]: Event._make(row[1:]) for row in connection.execute(query)}

    @property
    def head(self) -> str:
        """Hash of the last entry, hexadecimal."""
        return self._head.hex()

    def verify(self, kept: str = "", progress: Progress | None = None) -> VerificationResult:
        """Walk along the chain from the first entry to the last one there was at the opening.

        Parameters
        ----------
        kept : str, optional
            Hash of an entry that was kept elsewhere, hexadecimal.
        progress : callable, optional
        """
        erased = {erasure.prefix for erasure in self.read_key_erasures()}
        walk = ChainVerifier(self._origin(), self.read_redactions(), kept, erased)
        for rows in self._pages([*COLUMNS, EVENTS.c.previous_hash, EVENTS.c.hash], 0, self.last_sequence):
            for row in rows:
                *values, stored, here = row
                event = Event._make(values)
                if not walk.check_event(event, stored, here):
                    return walk.get_result(broken_at=event.sequence)
            if progress is not None:
                progress("chain", walk.entries, self.last_sequence)
        return walk.get_result()

    def read_redactions(self) -> list[Redaction]:
        """Give what is on record of content that was removed, in the order in which that was done."""
        found = self._look_up(_build_kind_query("removal"))
        return [_decode_redaction(event.plain) for event in found if not event.redacted]

    def read_key_erasures(self) -> list[KeyErasure]:
        """Give what is on record of keys of months that were erased, in the order in which that was done."""
        return [_decode_key_erasure(event.plain) for event in self._look_up(_build_kind_query("erasure"))]

    def check_vault(self, vault: Vault) -> None:
        """Make sure that a vault is this log's, and tell it which keys were erased on record.

        Raises
        ------
        BadSetting
            Where its data key is not this log's.
        ServiceFault
            Where the key of a month that the log needs is missing without record.
        """
        vault.check_fingerprint(self.key_fingerprint)
        if vault.periods is None:
            return
        vault.periods.bind_log(self.log_id, self.read_key_erasures())
        last = self._last_sealed(KEY_SEARCH_ENTRIES if len(vault.periods) else self.last_sequence)
        if last is not None:
            vault.check_key(last.sealed, f"log entry {last.sequence}")

    def find_used_prefixes(self, prefixes: Sequence[bytes], after: int = 0) -> set[bytes]:
        """Tell which of these beginnings sealed fields have, of any entry behind the sequence `after`."""
        if not prefixes:
            return set()
        begins = sa.func.substr(EVENTS.c.sealed, 1, PREFIX_BYTES, type_=sa.LargeBinary)
        here = EVENTS.c.sequence > after, EVENTS.c.sealed.is_not(None), begins.in_(prefixes)
        with self._connect() as connection:
            return set(connection.execute(sa.select(begins).where(*here).distinct()).scalars())

    def _last_sealed(self, entries: int) -> Any:
        """Give place and sealed fields of the last consignment that has any, among so many entries; None where none has."""
        query = (
            sa.select(EVENTS.c.sequence, EVENTS.c.sealed)
            .where(
                EVENTS.c.sequence > self.last_sequence - entries,
                EVENTS.c.kind.in_(ARRIVAL_KINDS),
                EVENTS.c.sealed.is_not(None),
            )
            .order_by(EVENTS.c.sequence.desc())
            .limit(1)
        )
        with self._connect() as connection:
            return connection.execute(query).one_or_none()

    def find_redaction_end(self) -> int:
        """Give the sequence up to which consignments have no content any more; 0 where none was removed."""
        return max((removal.up_to for removal in self.read_redactions()), default=0)

    def find_first_recorded(self, moment_us: int) -> int | None:
        """Give the sequence of the first entry that was recorded at or after a moment; None where there is none."""
        recorded = sa.func.coalesce(EVENTS.c.recorded_us, EVENTS.c.at_us)
        query = sa.select(EVENTS.c.sequence).where(recorded >= moment_us).order_by(EVENTS.c.sequence).limit(1)
        with self._connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def find_latest_arrival_us(self) -> int | None:
        """Give the latest moment at which a consignment was received; None where there is none."""
        query = sa.select(sa.func.max(EVENTS.c.at_us)).where(EVENTS.c.kind.in_(ARRIVAL_KINDS))
        with self._connect() as connection:
            return connection.execute(query).scalar_one_or_none()

    def count_unredacted(self, after: int, until: int) -> int:
        """Count the consignments with content behind the sequence `after` up to `until`."""
        with self._connect() as connection:
            return int(
                connection.execute(
                    sa.select(sa.func.count()).where(*filter_unredacted(after, until))
                ).scalar_one()
            )

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()

    def format_decision_id(self, sequence: int) -> str:
        """Name a decision by its place in this log."""
        return f"{self.log_id}-{sequence}"

    def _pages(
        self, columns: Sequence[Any], after: int, until: int | None, kinds: Sequence[Kind] = ()
    ) -> Iterator[Sequence[Any]]:
        while True:
            query = sa.select(*columns).where(EVENTS.c.sequence > after)
            if kinds:
                query = query.where(EVENTS.c.kind.in_(kinds))
            if until is not None:
                query = query.where(EVENTS.c.sequence <= until)
            with self._connect() as connection:
                rows = connection.execute(query.order_by(EVENTS.c.sequence).limit(READ_ROWS)).all()
            if not rows:
                return
            yield rows
            after = rows[-1][0]

    @contextmanager
    def _connect(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be read", got=describe_error(error)) from error

    def _identify(self) -> tuple[str, str]:
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(LOG)).one()
        return str(found.log_id), str(found.key_fingerprint)

    def _origin(self) -> bytes:
        """What stands in place of the hash before the first entry."""
        return hashlib.sha256(f"npsrisk event log {self.log_id}".encode()).digest()

    def _read_head(self) -> tuple[int, bytes]:
        query = sa.select(EVENTS.c.sequence, EVENTS.c.hash).order_by(EVENTS.c.sequence.desc()).limit(1)
        with self._engine.connect() as connection:
            found = connection.execute(query).one_or_none()
        return (0, self._origin()) if found is None else (found.sequence, found.hash)


def _require_tables(engine: sa.Engine, where: str) -> None:
    if not {LOG.name, EVENTS.name} <= set(sa.inspect(engine).get_table_names()):
        raise BadSetting(
            "there is no event log",
            where="NPSRISK_DATABASE_URL",
            got=where,
            todo="name the database of the service, or its NPSRISK_STATE_DIR",
        )


@cache
def _build_kind_query(kind: Kind) -> Any:
    """Entries of no consignment: the index of identifiers finds them."""
    here = (
        EVENTS.c.consignment_id.is_(None),
        EVENTS.c.kind == kind,
        EVENTS.c.sequence <= sa.bindparam("until"),
    )
    return sa.select(*COLUMNS).where(*here).order_by(EVENTS.c.sequence)


def filter_unredacted(after: int, until: int) -> list[Any]:
    """Consignments with content, between two places."""
    place = EVENTS.c.sequence
    return [place > after, place <= until, EVENTS.c.kind.in_(ARRIVAL_KINDS), EVENTS.c.plain != EMPTY]


@cache
def _build_consignment_query(without: tuple[str, ...]) -> Any:
    """Built once: building costs more than looking up."""
    here = EVENTS.c.consignment_id == sa.bindparam("name"), EVENTS.c.sequence <= sa.bindparam("until")
    return sa.select(*_select_columns(without)).where(*here).order_by(EVENTS.c.sequence)


@cache
def _select_history_columns(kinds: str) -> list[Any]:
    needed = (EVENTS.c.kind == "outcome") | (EVENTS.c.kinds != kinds)
    columns = {column.name: column for column in COLUMNS[: Event._fields.index("keys") + 1]}
    return [
        *(
            columns | {name: sa.case((needed, columns[name])).label(name) for name in ("plain", "sealed")}
        ).values()
    ]


@cache
def _build_consignments_query(kinds: str) -> Any:
    names: sa.BindParameter[str] = sa.bindparam("names", expanding=True)
    here = EVENTS.c.consignment_id.in_(names), EVENTS.c.sequence <= sa.bindparam("until")
    return sa.select(*_select_history_columns(kinds)).where(*here)


def _select_columns(names: Sequence[str]) -> list[Any]:
    return [sa.null().label(column.name) if column.name in names else column for column in COLUMNS]
