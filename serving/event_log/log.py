"""Event log: everything the service received and decided, in order, append-only, as a SHA-256 hash chain.

The sequence numbers are the order of history. Only removal of content (`EventLog.redact`) changes an entry. One process
at a time writes the log.
"""

import secrets
from collections.abc import Sequence
from typing import Self

import msgspec
import sqlalchemy as sa

from consignments.errors import ServiceFault
from serving.encryption.key_file import KeyErasure
from serving.encryption.vault import Vault
from serving.event_log.backend import TableWriter, describe_error
from serving.event_log.blocks.codec import StoredBlock, encode_block, encode_blocks, open_block
from serving.event_log.database import create_writer, migrate, open_engine, use_database, wipe
from serving.event_log.event_rows import Columns, EventRow, encode_row
from serving.event_log.events import Event, KeyErasureEvent, RedactionEvent
from serving.event_log.hash_chain import Redaction, hash_row, hash_rows
from serving.event_log.key_erasures import check_vault
from serving.event_log.queries import HEADS, select_last
from serving.event_log.reader import LogReader
from serving.event_log.redactions import RebuiltKeys, list_content, remove_content
from serving.event_log.tables import BLOCKS, LOG
from serving.event_log.upkeep import LogUpkeep

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
    """

    def __init__(self, engine: sa.Engine, vault: Vault, writer: TableWriter) -> None:
        self.vault, self._writer = vault, writer
        super().__init__(engine)
        self._head = self._read_head()
        check_vault(self, vault)
        if vault.periods is not None:
            vault.periods.erase_keys()  # recorded erasures that were not completed
        self._upkeep = LogUpkeep(engine, writer, self.finder, self.read_names)
        self._upkeep.index_gaps(self.last_sequence)
        self.finder.is_fed = True
        self.finder.load(self.last_sequence)

    @property
    def head(self) -> str:
        """Return the hash of the last entry, hexadecimal."""
        return self._head.hex()

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
            writer = create_writer(engine, BLOCKS)
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
            with self._upkeep.paused(), self._engine.begin() as connection:
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
        try:
            self._writer.release()
            self._writer.acquire()
            self.last_sequence = self.read_last_sequence()
            self._head = self._read_head()
            self.finder.reset()
            with (
                self._engine.begin() as connection
            ):  # a write that changes nothing, to check disk space and permission
                connection.execute(sa.update(LOG).values(log_id=LOG.c.log_id))
        except sa.exc.SQLAlchemyError as error:
            raise ServiceFault("the event log cannot be used", got=describe_error(error)) from error

    def close(self) -> None:
        """Close the database."""
        self._upkeep.close()
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

    def _write(self, blocks: list[StoredBlock], head: bytes) -> None:
        try:
            self._writer.write(blocks)
        except sa.exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._resolve_lost_write(blocks, head)

    def _resolve_lost_write(self, blocks: list[StoredBlock], written: bytes) -> None:
        """Check over a new connection whether the blocks sent over a lost one were written; write them if not."""
        self._writer.release()
        self._writer.acquire()
        head = self._read_head()
        if head == self._head:
            self._writer.write(blocks)
        elif head != written:
            raise ServiceFault(
                "the event log was changed by another process",
                got=f"head {head.hex()[:12]}",
                expected=f"head {self._head.hex()[:12]}",
                todo="run npsrisk verify-log, and check if the database was restored or failed over to another server",
            )

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
