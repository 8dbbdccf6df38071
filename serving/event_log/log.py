"""Event log: everything the service received and decided, in order, append-only, as a SHA-256 hash chain.

The sequence numbers are the order of history. Only removal of content (`EventLog.redact`) changes an entry. One process
at a time writes the log.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Lock
from typing import NoReturn, Self

import msgspec
import sqlalchemy as sa

from consignments.errors import ServiceFault
from serving.encryption.key_file import KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.blocks.codec import StoredBlock, encode_block, encode_blocks, open_block
from serving.event_log.databases.backend import LogWriter, TableWriter, describe_error
from serving.event_log.databases.database import (
    create_writer,
    mask_password,
    migrate,
    open_engine,
    use_database,
    wipe,
)
from serving.event_log.databases.tables import BLOCKS, LOG
from serving.event_log.event_rows import Columns, EventRow, encode_row
from serving.event_log.events import Event, KeyErasureEvent, RedactionEvent
from serving.event_log.hash_chain import Redaction, hash_row, hash_rows
from serving.event_log.key_erasures import check_vault
from serving.event_log.queries import HEADS, select_last
from serving.event_log.reader import LogReader, require_tables
from serving.event_log.redactions import RebuiltKeys, list_content, remove_content
from serving.event_log.upkeep import LogUpkeep
from serving.process.clock import read_elapsed_seconds

IDENTIFIER_KEY_BYTES = 16
NAME = EventRow._fields.index("consignment_id")


class EventLog(LogReader):
    """An event log that is open for writing.

    Parameters
    ----------
    engine : Engine
    vault : Vault
        Encryption keys of the log.
    writer : TableWriter
    writes : bool
        Whether this process holds the lock of the writer. If not, it follows the log until `try_to_write` succeeds.
    standby : bool
        Whether another process may take the lock if the connection of this one is lost.

    Attributes
    ----------
    writes : bool
    confirmed_seconds : float
        Latest time (`read_elapsed_seconds`) at which it was certain that no other process writes the log.
    """

    def __init__(
        self,
        engine: sa.Engine,
        vault: Vault,
        writer: TableWriter,
        *,
        writes: bool = True,
        standby: bool = False,
    ) -> None:
        self.vault, self._writer = vault, writer
        self._patience = 0.0 if standby else None
        self.writes, self.confirmed_seconds = writes, read_elapsed_seconds()
        self._turn = Lock()
        super().__init__(engine)
        self._head = self._read_head()
        self._upkeep = LogUpkeep(engine, writer, self.finder, self.read_names)
        check_vault(self, vault)
        if writes:
            self._begin_to_write()

    @property
    def head(self) -> str:
        """Return the hash of the last entry, hexadecimal."""
        return self._head.hex()

    @classmethod
    def open(cls, url: str, vault: Vault, *, standby: bool = False) -> Self:
        """Open a log, or create it if there is none, and migrate its tables.

        Parameters
        ----------
        url : str
        vault : Vault
        standby : bool
            If another process writes the log, follow it: `writes` is then False.

        Raises
        ------
        BadSetting
            The database URL is not valid, or the log was written with another data key.
        LogInUse
            Another process writes the log.
        ServiceFault
            The database cannot be used, or a monthly key is missing.
        """
        with use_database(url) as address:
            engine = open_engine(address)
            writer = create_writer(engine, BLOCKS)
            try:
                writes = writer.try_acquire()
                if not writes and not standby:
                    writer.acquire()
                    writes = True
                if writes:
                    migrate(engine)
                else:
                    require_tables(engine, mask_password(address))
                return cls(engine, vault, writer, writes=writes, standby=standby)
            except BaseException:
                writer.release()
                engine.dispose()
                raise

    def try_to_write(self) -> bool:
        """Acquire the right to write the log if no other process has it; the log may then have later entries than before.

        Raises
        ------
        ServiceFault
            The log cannot be used, or a monthly key is missing. Another process may become the writer.
        """
        with _convert_errors():
            if not self._writer.try_acquire():
                return False
            try:
                self.confirmed_seconds = read_elapsed_seconds()
                migrate(self._engine)
                self._read_end()
                check_vault(self, self.vault)
                self._begin_to_write()
            except BaseException:
                self._writer.release()
                raise
        return True

    def stop_writing(self) -> None:
        """Stop, so that another process can write the log."""
        self._upkeep.wait()
        self._writer.release()
        self.writes = self.finder.is_fed = False
        self.finder.reset()

    def refresh(self) -> None:
        """Read what another process has written: the last entry, and corrections of times; raise `ServiceFault` if it cannot be read."""
        with _convert_errors():
            self.__dict__.pop("corrections", None)
            self._read_end()

    def find_writer(self) -> LogWriter | None:
        """Find the process that writes the log; raise `ServiceFault` if the database cannot be used."""
        with _convert_errors():
            return self._writer.find_writer()

    def end_writer(self, writer: LogWriter) -> None:
        """End the session of another process that writes the log: what it has not committed is never written.

        Raises
        ------
        ServiceFault
            The database cannot be used, or this role may not end the session.
        """
        with _convert_errors():
            self._writer.end_writer(writer)

    def renew(self) -> None:
        """Send standbys a sign of life, unless entries are being written, which is one too.

        If the connection was lost, the lock is acquired again. If the database cannot be reached, nothing is confirmed.

        Raises
        ------
        ServiceFault
            Another process has written the log, or writes it now (`LogInUse`). Then call `reread`.
        """
        if not self._turn.acquire(blocking=False):
            return
        try:
            begun = read_elapsed_seconds()
            with suppress(sa.exc.SQLAlchemyError):
                self._renew()
                self.confirmed_seconds = begun
        finally:
            self._turn.release()

    def append(self, events: Sequence[Event]) -> None:
        """Write all entries or none; they are durable on return.

        Raises
        ------
        ServiceFault
            The entries cannot be written, or do not follow the last entry. Then call `reread`.
        """
        rows = list(map(encode_row, events))
        self._check_sequences(rows)
        hashes = hash_rows(self._head, rows)
        try:
            self._write(encode_blocks(rows, hashes), hashes[-1])
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        self.last_sequence, self._head = rows[-1][0], hashes[-1]
        self.finder.add(rows[0][0], [row[NAME] for row in rows])
        self._upkeep.run_when_due(self.last_sequence)

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
        concerned = None
        if removal.consignment_id:
            places = list_content(self, removal.consignment_id)
            concerned = {place for place in places if removal.after < place <= removal.up_to}
        try:
            self._writer.acquire()
            with (
                self._upkeep.paused(),
                self._engine.connect() as connection,
                self._writer.begin(connection),
            ):
                removal = remove_content(
                    connection, removal, {each.sequence: each for each in keys}, concerned
                )
                event = RedactionEvent(
                    self.last_sequence + 1, removal.before_us, recorded_us, msgspec.msgpack.encode(removal)
                )
                row = encode_row(event)
                head = hash_row(self._head, row)
                connection.execute(BLOCKS.insert().values(encode_block([row], [head])))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error
        self.last_sequence, self._head = event.sequence, head
        self.finder.add(event.sequence, [None])
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
            wipe(self._engine, BLOCKS)
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be written", got=describe_error(error)) from error

    def reread(self) -> None:
        """Read again what is durable, after a failed write; raise `ServiceFault` while the log cannot be used."""
        with self.queries.use(), _convert_errors():
            with self._turn:
                self._writer.release()
                self._writer.acquire(self._patience)
                self.confirmed_seconds = read_elapsed_seconds()
            self._read_end()
            self.finder.reset()
            with (
                self._engine.begin() as connection
            ):  # a write that changes nothing, to check disk space and permission
                connection.execute(sa.update(LOG).values(log_id=LOG.c.log_id))

    def close(self) -> None:
        """Close the database, after the work of other threads, one of which may be acquiring the lock."""
        self._upkeep.close()
        self.queries.close()
        self._writer.release()
        super().close()

    def _check_sequences(self, rows: Sequence[Columns]) -> None:
        for expected, row in enumerate(rows, start=self.last_sequence + 1):
            if row[0] != expected:
                raise ServiceFault(
                    "a new entry does not follow the last entry",
                    where="event log",
                    got=f"sequence {row[0]}",
                    expected=f"sequence {expected}",
                )

    def _begin_to_write(self) -> None:
        """Do what only the writer does: complete erasures of keys, index what is not yet indexed, keep the newest in memory."""
        if self.vault.periods is not None:
            self.vault.periods.erase_keys()  # recorded erasures that were not completed
        self._upkeep.index_gaps(self.last_sequence)
        self.finder.is_fed = True
        self.finder.load(self.last_sequence)
        self.writes = True

    def _write(self, blocks: list[StoredBlock], head: bytes) -> None:
        with self._turn:
            begun = read_elapsed_seconds()
            try:
                self._writer.write(blocks)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._resolve_lost_write(blocks, head)
            self.confirmed_seconds = begun

    def _resolve_lost_write(self, blocks: list[StoredBlock], written: bytes) -> None:
        """Check over a new connection whether the blocks sent over a lost one were written; write them if not."""
        head = self._reconnect()
        if head == self._head:
            self._writer.write(blocks)
        elif head != written:
            self._refuse_head(head)

    def _renew(self) -> None:
        try:
            self._writer.renew()
        except sa.exc.SQLAlchemyError:
            head = self._reconnect()
            if head != self._head:
                self._refuse_head(head)
            self._writer.renew()

    def _reconnect(self) -> bytes:
        """Acquire the lock again over a new connection, and return the hash of the last entry."""
        self._writer.release()
        self._writer.acquire(self._patience)
        return self._read_head()

    def _refuse_head(self, head: bytes) -> NoReturn:
        raise ServiceFault(
            "the event log was changed by another process",
            got=f"head {head.hex()[:12]}",
            expected=f"head {self._head.hex()[:12]}",
            todo="run npsrisk verify-log, and check if the database was restored or failed over to another server",
        )

    def _read_end(self) -> None:
        self.last_sequence = self.read_last_sequence()
        self._head = self._read_head()

    def _read_head(self) -> bytes:
        """Read the hash of the last entry; the start of the chain if there is none."""
        with self._engine.connect() as connection:
            found = connection.execute(select_last(HEADS)).one_or_none()
        return self.origin if found is None else open_block(*found).hashes[-1]

    def _identify(self) -> tuple[str, str, bytes]:
        with self._engine.begin() as connection:
            if connection.execute(sa.select(LOG)).one_or_none() is None:
                name, key = secrets.token_hex(4), secrets.token_bytes(IDENTIFIER_KEY_BYTES)
                identity = {"log_id": name, "key_fingerprint": self.vault.fingerprint, "identifier_key": key}
                connection.execute(LOG.insert().values(identity))
        return super()._identify()


def _build_erasure_event(sequence: int, erasure: KeyErasure) -> KeyErasureEvent:
    plain = msgspec.msgpack.encode(erasure)
    return KeyErasureEvent(sequence, erasure.erased_us, erasure.erased_us, plain)


@contextmanager
def _convert_errors() -> Iterator[None]:
    """Convert database errors to `ServiceFault`."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise ServiceFault("the event log cannot be used", got=describe_error(error)) from error
