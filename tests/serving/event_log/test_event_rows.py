"""Entries as rows: they come back as they were, and hashes stay as logs have them."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import astuple
from support.databases import Entry, database_in, execute, reader_of

from consignments.errors import BadSetting, ServiceFault
from serving.encryption.vault import Vault
from serving.event_log.databases.database import open_engine
from serving.event_log.events import NAMES, EventRow, Kind, decode_row, encode_row, hash_rows
from serving.event_log.log import EventLog
from serving.event_log.packed_features import pack_rows, unpack_row
from serving.event_log.verification import verify_chain

ROWS = [
    EventRow(
        1, "decision", "RB1", 10, 11, b"c", b"\x80", b"s", "k", b"keys", b"ffff", 0.25, "high", b"\x90", "nps-risk/1",
        "a", "b", "local",
    ),
    EventRow(2, "arrival", "RB2", 12, None, b"c", b"\x80", None, "k", b"keys", asked_by="import"),
    EventRow(3, "outcome", "RB1", 13, 14, b"c", b"\x80", None, asked_by="lab"),
    EventRow(4, "alert", None, 15, 16, b"c", b"\x80", b"s", asked_by="partner"),
    EventRow(5, "cancellation", "RB2", 17, None, b"c", b"\x80", None, asked_by="import"),
    EventRow(6, "selection", "RB1", 18, 18, b"c", b"\x80", None, asked_by="office"),
    EventRow(7, "removal", None, 19, 20, b"", b"\x91\x01", None),
    EventRow(10, "action", "RB1", 22, 22, b"c", b"\x80", b"s", asked_by="officer"),
    EventRow(11, "message", None, 23, 24, b"c", b"\x80", b"s", asked_by="partner"),
    EventRow(12, "state", "RB1", 25, 26, b"c", b"\x80", b"s", asked_by="carrier"),
    EventRow(13, "link", None, 27, 27, b"c", b"\x80", b"s", asked_by="carrier"),
    EventRow(14, "restore", None, 19, None, b"", b"0badc0de", None),
    EventRow(15, "downgrade", None, 28, 29, b"", b"\x92\xa1a\xa1b", None),
    EventRow(16, "access", None, 30, 30, b"", b"\x92\xa1a\xa1b", None),
    EventRow(17, "release", None, 31, 31, b"", b"\x93\xa1a\xa1b\x02", None),
]  # fmt: skip
HEAD = "539f8f9dc48cb5c308c2973d7e4eb5d283c50e80d3b0f338ea946b8571160ab5"
"""The hash of the last of these entries, one after the other: it covers the hashes of all."""
EMPTIED = structs.replace(ROWS[0], plain=b"", sealed=None, features=None, reasons=None)


@pytest.mark.parametrize("row", [*ROWS, EMPTIED], ids=[*(row.kind for row in ROWS), "emptied"])
def test_an_entry_gives_back_the_row_it_was_made_of(row: EventRow) -> None:
    event = decode_row(astuple(row))
    assert (event.kind, getattr(event, "redacted", False)) == (row.kind, row is EMPTIED)
    assert encode_row(event) == astuple(row)
    assert encode_row(event, 7) == astuple(structs.replace(row, digest=7))
    for name in type(event).__struct_fields__:
        assert getattr(event, name) == getattr(row, name)


def test_hashes_stay_as_logs_have_them() -> None:
    assert {row.kind for row in ROWS} == set(get_args(Kind))
    rows = [encode_row(decode_row(astuple(row)), place) for place, row in enumerate(ROWS)]
    assert hash_rows(bytes(32), rows)[-1].hex() == HEAD


@pytest.mark.parametrize("name", NAMES)
def test_a_hash_covers_each_column(name: str) -> None:
    row = structs.replace(ROWS[0], digest=1, history_sequence=2, office="a", warnings=b"b")
    value = getattr(row, name)
    other = value + (value[:1] if isinstance(value, str | bytes) else 1)
    hashes = {hash_rows(b"", [astuple(each)])[0] for each in (row, structs.replace(row, **{name: other}))}
    assert len(hashes) == 2


def test_a_kind_that_is_not_known_is_a_fault_that_names_the_entry() -> None:
    with pytest.raises(ServiceFault, match=r"log entry 3: a log entry has an unknown kind; got later"):
        decode_row((3, "later", *astuple(ROWS[2])[2:]))


COMMON = [0, 0x80000000, 0x7FC00000, 0xFFC00000, 0x7FC00001, 0x3F800000, 0xBF800000, 0x7F800000, 1]
"""Zeros, NaN and ones with and without sign, another NaN, infinity, and the smallest number."""
words = st.one_of(st.sampled_from(COMMON), st.integers(0, 2**32 - 1))


@given(
    st.integers(1, 9).flatmap(
        lambda width: st.lists(st.lists(words, min_size=width, max_size=width), min_size=1)
    )
)
def test_rows_come_back_bit_for_bit(rows: list[list[int]]) -> None:
    given = np.array(rows, dtype="<u4")
    packed = pack_rows(given.view("<f4"))
    assert [unpack_row(each).tobytes() for each in packed] == [row.tobytes() for row in given]


def test_zero_nan_and_one_take_two_bits_and_what_cannot_be_a_row_is_refused() -> None:
    row = np.array([[0.0, np.nan, 1.0, 0.0, 0.25]], dtype="<f4")
    assert pack_rows(row) == [bytes([5, 0, 0b00_10_01_00, 0b11]) + row.tobytes()[-4:]]
    for packed in (b"\4\0\3", b"\4\0\0abcd", b"\4\0\3abc", b"\x09\0\0"):
        with pytest.raises(ValueError, match=r"packed features of another length|multiple of element size"):
            unpack_row(packed)
    assert unpack_row(b"").size == 0


def test_a_log_without_a_column_gets_it_with_its_hashes(tmp_path: Path, vault: Vault, entry: Entry) -> None:
    with EventLog.open(database_in(tmp_path), vault) as log:
        log.append([entry(1), entry(2)])
        head = log.head
    execute(tmp_path, "ALTER TABLE entries DROP COLUMN warnings")
    with pytest.raises(BadSetting, match=r"without warnings; copy the database, then start the service once"):
        reader_of(tmp_path)
    with EventLog.open(database_in(tmp_path), vault) as log:
        assert log.head == head
        log.append([entry(3, warnings=b"\x91\x01")])
        assert log.read_event(3).warnings == b"\x91\x01"  # type: ignore[union-attr]
        found = verify_chain(log)
        assert (found.entries, found.broken_at) == (3, None)


@pytest.mark.parametrize("table", ["events", "blocks"])
def test_a_log_of_earlier_tables_is_refused_by_version(tmp_path: Path, vault: Vault, table: str) -> None:
    engine = open_engine(sa.make_url(database_in(tmp_path)))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE log (log_id VARCHAR(16), key_fingerprint VARCHAR(16))"))
        connection.execute(sa.text(f"CREATE TABLE {table} (first INTEGER)"))
    engine.dispose()
    for use in (lambda: reader_of(tmp_path), lambda: EventLog.open(database_in(tmp_path), vault)):
        with pytest.raises(BadSetting, match=r"earlier version.*export it with npsrisk of commit 049ba582"):
            use()
