"""Event log: everything the service received and decided, in order, append-only, as a SHA-256 hash chain.

The sequence numbers are the order of history. Only removal of content (`EventLog.redact`) changes an entry. One process
at a time writes the log, and over one connection.
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn, Self

import msgspec
import sqlalchemy as sa

from consignments.errors import BadSetting, ServiceFault
from features.history.data_keys import KEY_SETTING, read_data_keys
from serving.encryption.vault import Vault
from serving.event_log.databases.backend import EntryWriter, LogWriter, describe_error
from serving.event_log.databases.database import (
    create_writer,
    find_sqlite_path,
    mask_password,
    migrate,
    open_engine,
    require_tables,
    use_database,
)
from serving.event_log.databases.tables import ENTRIES, LOG
from serving.event_log.events import (
    ARRIVAL_KINDS,
    Columns,
    Event,
    MaintenanceEvent,
    encode_row,
    hash_row,
    hash_rows,
)
from serving.event_log.reader import LogReader
from serving.event_log.redactions import RebuiltKeys, Redaction, insert_row, remove_content
from serving.event_log.terms import NewTerms, Terms
from serving.process.clock import read_elapsed_seconds

KEY_SEARCH_ENTRIES = 100_000  # number of last entries searched for a missing sealing key when a log is opened


class EventLog(LogReader):
    """An event log that is open for writing, or waits; at `confirmed_seconds` it was last certain that no other process writes it."""

    def __init__(
        self,
        engine: sa.Engine,
        vault: Vault,
        writer: EntryWriter,
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
        check_vault(self, vault)

    @property
    def head(self) -> str:
        """Return the hash of the last entry, hexadecimal."""
        return self._head.hex()

    @classmethod
    def open(cls, url: str, vault: Vault, *, standby: bool = False) -> Self:
        """Open a log, or create it if there is none; while another process writes it, only with `standby`, and `writes` is then False."""
        with use_database(url) as address:
            engine = open_engine(address)
            writer = create_writer(engine)
            try:
                writes = writer.try_acquire() if standby else True
                if writes:
                    _prepare(writer, vault, mask_password(address))
                else:
                    require_tables(engine, mask_password(address))
                return cls(engine, vault, writer, writes=writes, standby=standby)
            except BaseException:
                writer.release()
                engine.dispose()
                raise

    def try_to_write(self, is_silent: Callable[[LogWriter | None], bool] = lambda _: False) -> bool:
        """Acquire the right to write the log if no other process has it, or one that is silent, whose session is ended."""
        with _convert_errors():
            if not self._writer.try_acquire():
                writer = self._writer.find_writer()
                if not is_silent(writer) or writer is None:
                    return False
                self._writer.end_writer(writer)
                if not self._writer.try_acquire():
                    return False
            try:
                self.confirmed_seconds = read_elapsed_seconds()
                _prepare(self._writer, self.vault, "")
                self._read_end()
                check_vault(self, self.vault)
                self.writes = True
            except BaseException:
                self._writer.release()
                raise
        return True

    def stop_writing(self) -> None:
        """Stop, so that another process can write the log."""
        self._writer.release()
        self.writes = False

    def renew(self) -> None:
        """Send a sign of life, and acquire a lost lock again; after `ServiceFault` the log must be read again (`reread`)."""
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
        """Write all entries or none; they are durable on return."""
        rows = [encode_row(event, self.compute_digest(event.consignment_id)) for event in events]
        self._check_sequences(rows)
        hashes = hash_rows(self._head, rows)
        numbered, terms = self.terms.number_rows(rows)
        for values, here in zip(numbered, hashes, strict=True):
            values.append(here)
        with _convert_errors("written", self.terms):
            self._write(numbered, terms, hashes[-1])
        self.last_sequence, self._head = rows[-1][0], hashes[-1]

    def rename(self, now_us: int) -> MaintenanceEvent:
        """Record that later entries were lost, and begin another name of the log; return the entry."""
        name = secrets.token_hex(4).encode()
        event = MaintenanceEvent(self.last_sequence + 1, now_us, None, name, "restore")
        self.append([event])
        self.read_names()
        return event

    def redact(self, removal: Redaction, keys: Sequence[RebuiltKeys], recorded_us: int) -> Redaction:
        """Remove the content of consignments and record the removal as the next entry, in one transaction."""
        sequence = self.last_sequence + 1
        with _convert_errors("written", self.terms):
            self._writer.acquire()
            with self._writer.transaction() as connection:
                removal = remove_content(self, connection, removal, keys)
                plain = msgspec.msgpack.encode(removal)
                row = encode_row(MaintenanceEvent(sequence, removal.before_us, recorded_us, plain, "removal"))
                head = hash_row(self._head, row)
                insert_row(self, connection, row, head)
        self.last_sequence, self._head = sequence, head
        return removal

    def wipe(self) -> None:
        """Release the bytes of removed content, as far as the database supports it."""
        with _convert_errors("written"), self._engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(self._writer.wipe)

    def reread(self) -> None:
        """Read again what is durable, after a failed write; raise `ServiceFault` while the log cannot be used."""
        with self.queries.use(), _convert_errors():
            with self._turn:
                self._writer.release()
                self._writer.acquire(self._patience)
                self.confirmed_seconds = read_elapsed_seconds()
            self._read_end()
            # A write that changes nothing, to check disk space and permission.
            with self._writer.transaction() as connection:
                connection.execute(sa.update(LOG).values(log_id=LOG.c.log_id))

    def close(self) -> None:
        """Close the database, after the work of other threads, one of which may be acquiring the lock."""
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

    def _write(self, rows: list[list[Any]], terms: NewTerms, head: bytes) -> None:
        with self._turn:
            begun = read_elapsed_seconds()
            try:
                self._writer.write(rows, terms)
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._resolve_lost_write(rows, terms, head)
            self.confirmed_seconds = begun

    def _resolve_lost_write(self, rows: list[list[Any]], terms: NewTerms, written: bytes) -> None:
        """Check over a new connection whether the rows sent over a lost one were written; write them if not."""
        head = self._reconnect()
        if head == self._head:
            self._writer.write(rows, terms)
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
        self.terms.reset()
        self.last_sequence = self.read_last_sequence()
        self.read_names()
        self._head = self._read_head()

    def _read_head(self) -> bytes:
        """Read the hash of the last entry; the start of the chain if there is none."""
        with self._engine.connect() as connection:
            query = sa.select(ENTRIES.c.hash).order_by(ENTRIES.c.sequence.desc()).limit(1)
            found = connection.execute(query).scalar_one_or_none()
        return self.origin if found is None else bytes(found)


def _prepare(writer: EntryWriter, vault: Vault, where: str) -> None:
    """Create what a log needs: its tables, and its identity."""
    writer.acquire()
    with writer.transaction() as connection:
        migrate(connection, where)
        if connection.execute(sa.select(LOG.c.log_id)).first() is None:
            identity = {
                "log_id": secrets.token_hex(4),
                "key_fingerprint": vault.fingerprint,
                "identifier_key": vault.identifier_key,
            }
            connection.execute(LOG.insert().values(identity))


@contextmanager
def _convert_errors(done: str = "used", terms: Terms | None = None) -> Iterator[None]:
    """Convert database errors to `ServiceFault`; then forget the terms, which may not be in the database."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        if terms is not None:
            terms.reset()
        raise ServiceFault(f"the event log cannot be {done}", got=describe_error(error)) from error


def check_vault(log: LogReader, vault: Vault) -> None:
    """Check that a vault belongs to a log, and has the sealing key of its last consignment."""
    vault.check_fingerprint(log.key_fingerprint)
    query = sa.select(ENTRIES.c.sequence, ENTRIES.c.sealed).where(
        ENTRIES.c.sequence > log.read_last_sequence() - KEY_SEARCH_ENTRIES,
        ENTRIES.c.kind.in_(ARRIVAL_KINDS),
        ENTRIES.c.sealed.is_not(None),
    )
    for sequence, sealed in log.queries.fetch_all(query.order_by(ENTRIES.c.sequence.desc()).limit(1)):
        vault.check_key(bytes(sealed), f"log entry {sequence}")


def load_or_create_vault(path: Path, state_dir: Path, url: str) -> Vault:
    """Load the vault of a log from its file; create keys only in the state directory, for a log that has none."""
    if path.exists() or path.parent.resolve() == state_dir.resolve():
        if not path.exists():
            _require_unused(path, url)
        return Vault(read_data_keys(path, create=True), path)
    raise BadSetting(
        "there is no data key in the given file",
        where=KEY_SETTING,
        got=str(path),
        expected="an existing file; a new key is created only in the state directory",
        todo="mount or restore the file, or start once without this setting and move data.key there",
    )


def _require_unused(path: Path, url: str) -> None:
    """Refuse to create a data key if there are log entries, which need the earlier one."""
    file = find_sqlite_path(url)
    if file is not None and not file.exists():
        return
    try:
        log = LogReader.open_to_read(url)
    except BadSetting:  # a database without a log
        return
    with log:
        if log.last_sequence:
            raise BadSetting(
                "the data key is missing",
                where=str(path),
                got=f"no file, but {log.last_sequence:,} log entries",
                todo="restore data.key from its backup; no new key was created",
            )
