"""Entries as rows: they come back as they were, and hashes stay as logs have them."""

from typing import get_args

import pytest
from msgspec import structs
from msgspec.structs import astuple

from consignments.errors import ServiceFault
from serving.event_log.events import NAMES, DecisionEvent, EventRow, Kind, decode_row, encode_row, hash_rows

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
]  # fmt: skip
HASHES = [
    "344029e128e2871dc6e97d7b4942ecec696a8d6ed4e55393542289f4378a5de9",
    "341888a16c22e269fe88be617a8926e8d011f73ca9ab55823c3690e9ac15c668",
    "aeb34c31e04f397e510d811f1bdfd434dcefb0661696a3b60263a9cba0607c68",
    "664a79a01d817e42a8fa497cb876662b89e5349caf0f9a6f9e19a8d5c94cd73d",
    "2c12ddb85c3ecd2c7bf936bb4e2c415bdb8aff6a946f3c2f104b40d82a7ee933",
    "d4c30b3e14d717e169c4714eedffc030d8185ac29ba30901a25b09b2e918e591",
    "d03db98878fdc4127e784571d0ad5e83cda16d6903dc471572d7ec74372cfb47",
    "ba32c6206957da8e035fb49686b5e7286232e06f29b402e229a5f1e9d2bab775",
    "d7774c0f5cb687b54c718796beb031b7bae2c5eaf8d9d16748bf0ca32da1bb14",
    "9c34139331ab9a3ec5f0bb3cec1eab260777ec78b29043685c1825d1d33dd7cc",
    "3e850d38b3a67010734f579f685bf03fb309c5b5c1b4123f048fc200d68fecac",
    "0596a8a57d3c5bf4a07a8f28580b90d2bd129eda0c82b73823d19dd148518f15",
    "157ccfb99b2a513b204b36ab6e5a7b822efe7b463750f26d37d9ba1740f14ab4",
    "efaa1d4bb5a806e834aaccde74c9eba803649a8e0bb3cca31b189d24d26f7c11",
]
"""Of these entries, one after the other."""


def test_each_kind_has_a_row_here() -> None:
    assert [row.kind for row in ROWS] == [
        "decision", "arrival", "outcome", "alert", "cancellation", "selection", "removal",
        "action", "message", "state", "link", "restore", "downgrade", "access",
    ]  # fmt: skip
    assert set(get_args(Kind)) == {row.kind for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_an_entry_gives_back_the_row_it_was_made_of(row: EventRow) -> None:
    event = decode_row(astuple(row))
    assert event.kind == row.kind
    assert encode_row(event) == astuple(row)
    assert encode_row(event, 7) == astuple(structs.replace(row, digest=7))
    for name in type(event).__struct_fields__:
        assert getattr(event, name) == getattr(row, name)


def test_an_entry_whose_content_was_removed_gives_back_its_row() -> None:
    row = structs.replace(ROWS[0], plain=b"", sealed=None, features=None, reasons=None)
    event = decode_row(astuple(row))
    assert isinstance(event, DecisionEvent)
    assert event.redacted
    assert encode_row(event) == astuple(row)


def test_hashes_stay_as_logs_have_them() -> None:
    rows = [encode_row(decode_row(astuple(row)), place) for place, row in enumerate(ROWS)]
    assert [each.hex() for each in hash_rows(bytes(32), rows)] == HASHES


@pytest.mark.parametrize("name", NAMES)
def test_a_hash_covers_each_column(name: str) -> None:
    row = structs.replace(ROWS[0], digest=1, history_sequence=2, office="a", warnings=b"b")
    value = getattr(row, name)
    other = value + (value[:1] if isinstance(value, str | bytes) else 1)
    hashes = {hash_rows(b"", [astuple(each)])[0] for each in (row, structs.replace(row, **{name: other}))}
    assert len(hashes) == 2


def test_empty_columns_at_the_end_change_no_hash() -> None:
    row = astuple(ROWS[0])
    assert hash_rows(b"", [row]) == hash_rows(b"", [(*row, None)])
    assert hash_rows(b"", [row]) != hash_rows(b"", [(*row, None, 1)])


def test_a_kind_that_is_not_known_is_a_fault_that_names_the_entry() -> None:
    with pytest.raises(ServiceFault, match=r"log entry 3: a log entry has an unknown kind; got later"):
        decode_row((3, "later", *astuple(ROWS[2])[2:]))
