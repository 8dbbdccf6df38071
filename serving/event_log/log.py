"""Event log: everything the service received and decided, in order, append-only, as a SHA-256 hash chain.

The sequence numbers are the order of history. Only removal of content (`EventLog.redact`) changes an entry. One process
at a time writes the log.
"""

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from consignments.errors import ServiceFault
from serving.encryption.key_file import KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.backend import TableWriter, describe_error
from serving.event_log.database import create_writer, migrate, open_engine, use_database, wipe
from serving.event_log.event_rows import EventRow, encode_row
from serving.event_log.events import EMPTY, Event, KeyErasureEvent, RedactionEvent
from serving.event_log.hash_chain import RedactedDigest, Redaction, hash_row
from serving.event_log.key_erasures import check_vault
from serving.event_log.queries import PAGE_ROWS, filter_removable
from serving.event_log.reader import LogReader
from serving.event_log.tables import COLUMNS, EVENTS, LOG


class RebuiltKeys(NamedTuple):
    """The history keys that replace those of an entry, with columns as in `EventRow`."""

    sequence: int
    kinds: str
    keys: bytes


class EventLog(LogReader):
    """An event log that is open for writing.

    Parameters
    ----------
    engine : Engine
    vault : Vault
        Encryption keys of the log.
    writer : TableWriter
    """

    def __init__(self, engine: sa.Engine, vault: Vault, writer: TableWriter) -> None:
        self.vault, self._writer = vault, writer
        super().__init__(engine)
        check_vault(self, vault)
        if vault.periods is not None:
            vault.periods.erase_keys()  # recorded erasures that were not completed

    @classmethod
    def open(cls, url: str, vault: Vault) -> Self:
        """Open a log, or create it if there is none, and migrate its tables.

        Raises
        ------
        BadSetting
            The database URL is not valid, or the log was written with another data key.
        ServiceFault
            The database cannot be used, another process writes the log, or a monthly key is missing.
        """
        with use_database(url) as address:
            engine = open_engine(address)
            writer = create_writer(engine, EVENTS)
            try:
                writer.acquire()
                migrate(engine)
                return cls(engine, vault, writer)
            except BaseException:
                writer.release()
                engine.dispose()
                raise

    def append(self, events: Sequence[Event]) -> None:
        """Write all entries or none; they are durable on return.

        Raises
        ------
        ServiceFault
            The entries cannot be written, or do not follow the last entry. Then call `reread`.
        """
        previous, rows = self._head, []
        for event in events:
            row = encode_row(event)
            here = hash_row(previous, row)
            rows.append((*row, previous, here))
            previous = here
        try:
            self._check_sequence(events)
            self._write(rows)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        self.last_sequence, self._head = events[-1].sequence, previous

    def redact(self, removal: Redaction, keys: Sequence[RebuiltKeys], recorded_us: int) -> Redaction:
        """Remove the content of consignments and record the removal as the next entry, in one transaction.

        Parameters
        ----------
        removal : Redaction
            The removal; its `emptied` and `digest` are filled in.
        keys : sequence of RebuiltKeys
            New history keys of entries, computed while their content still existed.
        recorded_us : int
            Current time.

        Raises
        ------
        ServiceFault
            The log cannot be written.
        """
        try:
            self._writer.acquire()
            with self._engine.begin() as connection:
                if keys:
                    connection.execute(
                        _UPDATE_KEYS, [dict(zip(_KEY_PARAMETERS, each, strict=True)) for each in keys]
                    )
                here = _select_concerned(connection, removal)
                connection.execute(_build_redact_statement(removal))
                removal = _complete_redaction(connection, removal, here)
                event = RedactionEvent(
                    self.last_sequence + 1, removal.before_us, recorded_us, msgspec.msgpack.encode(removal)
                )
                row = encode_row(event)
                head = hash_row(self._head, row)
                values = dict(zip(EVENTS.c.keys(), (*row, self._head, head), strict=True))
                connection.execute(EVENTS.insert().values(values))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        self.last_sequence, self._head = event.sequence, head
        return removal

    def erase_keys(self, erasures: Sequence[KeyErasure]) -> None:
        """Erase monthly keys that no entry needs: first record the erasures in the log, then delete the keys.

        Raises
        ------
        ServiceFault
            The log or the key file cannot be written. Recorded erasures are completed when the log is opened next.
        """
        assert self.vault.periods is not None
        first = self.last_sequence + 1
        self.append([_build_erasure_event(first + place, erasure) for place, erasure in enumerate(erasures)])
        self.vault.periods.record_erasures(erasures)
        self.vault.periods.erase_keys()

    def wipe(self) -> None:
        """Release the bytes of removed content, as far as the database supports it.

        Raises
        ------
        ServiceFault
            The log cannot be written.
        """
        try:
            wipe(self._engine, EVENTS)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error

    def reread(self) -> None:
        """Read again what is durable, after a failed write; raise `ServiceFault` while the log cannot be used."""
        try:
            self._writer.release()
            self._writer.acquire()
            self.last_sequence, self._head = self._read_head()
            with (
                self._engine.begin() as connection
            ):  # a write that changes nothing, to check disk space and permission
                connection.execute(sa.update(LOG).values(log_id=LOG.c.log_id))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be used", got=describe_error(error)) from error

    def close(self) -> None:
        """Close the database."""
        self._writer.release()
        super().close()

    def _check_sequence(self, events: Sequence[Event]) -> None:
        if events[0].sequence != self.last_sequence + 1:
            raise ServiceFault(
                "a new entry does not follow the last entry",
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
            self._resolve_lost_write(rows)

    def _resolve_lost_write(self, rows: list[tuple[Any, ...]]) -> None:
        """Check over a new connection whether the rows sent over a lost one were written; write them if not."""
        self._writer.release()
        self._writer.acquire()
        _, head = self._read_head()
        if head == self._head:
            self._writer.write(rows)
        elif head != rows[-1][-1]:
            raise ServiceFault(
                "the event log was changed by another process",
                got=f"head {head.hex()[:12]}",
                expected=f"head {self._head.hex()[:12]}",
                todo="run npsrisk verify-log, and check if the database was restored or failed over to another server",
            )

    def _identify(self) -> tuple[str, str]:
        with self._engine.begin() as connection:
            if connection.execute(sa.select(LOG)).one_or_none() is None:
                name = secrets.token_hex(4)
                connection.execute(LOG.insert().values(log_id=name, key_fingerprint=self.vault.fingerprint))
        return super()._identify()


def _build_erasure_event(sequence: int, erasure: KeyErasure) -> KeyErasureEvent:
    plain = msgspec.msgpack.encode(erasure)
    return KeyErasureEvent(sequence, erasure.erased_us, erasure.erased_us, plain)


_KEY_PARAMETERS = "at", "new_kinds", "new_keys"
_UPDATE_KEYS = (
    sa.update(EVENTS)
    .where(EVENTS.c.sequence == sa.bindparam("at"))
    .values(kinds=sa.bindparam("new_kinds"), keys=sa.bindparam("new_keys"))
)


def _select_concerned(connection: Connection, removal: Redaction) -> list[Any]:
    """Return the conditions for the entries that the record of a removal covers, after the removal."""
    place = EVENTS.c.sequence
    if not removal.consignment_id:
        return [place > removal.after, place <= removal.up_to, EVENTS.c.plain == EMPTY]
    concerned = connection.execute(sa.select(place).where(*_filter_concerned(removal))).scalars().all()
    return [place.in_(concerned)]


def _filter_concerned(removal: Redaction) -> list[Any]:
    single = [EVENTS.c.consignment_id == removal.consignment_id] if removal.consignment_id else []
    return [*filter_removable(removal.after, removal.up_to), *single]


def _build_redact_statement(removal: Redaction) -> Any:
    nothing: dict[str, Any] = {"sealed": None, "features": None, "reasons": None}
    return sa.update(EVENTS).where(*_filter_concerned(removal)).values(plain=EMPTY, **nothing)


def _complete_redaction(connection: Connection, removal: Redaction, here: list[Any]) -> Redaction:
    """Complete the record of a removal with number and digest of the remains."""
    remains = RedactedDigest()
    query = sa.select(*COLUMNS, EVENTS.c.hash).where(*here).order_by(EVENTS.c.sequence)
    for row in connection.execute(query.execution_options(yield_per=PAGE_ROWS)):
        remains.add(EventRow._make(row[:-1]), row[-1])
    return msgspec.structs.replace(removal, emptied=remains.entries, digest=remains.digest())
