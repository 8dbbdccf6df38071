"""Blocks give back the entries that they were made of, and any changed byte of them is found."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.event_log.blocks.codec import (
    BODY_COLUMNS,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_ENTRIES,
    MIN_COLUMN_ENTRIES,
    DamagedBlock,
    StoredBlock,
    check_summary,
    encode_block,
    encode_blocks,
    encode_part,
    open_block,
)
from serving.event_log.blocks.frames import LZ4, RAW, ZSTD, add_crc, make_frame
from serving.event_log.event_rows import EventRow, encode_row
from serving.event_log.events import ARRIVAL_KINDS, NOT_READ, Event

Entry = Callable[..., Event]
texts = st.one_of(st.none(), st.text(max_size=4))
pieces = st.one_of(st.none(), st.binary(max_size=9))
numbers = st.integers(-(2**63), 2**63 - 1)
rows = st.lists(
    st.builds(
        EventRow,
        sequence=st.just(0), kind=st.sampled_from(["decision", "arrival", "outcome", "alert", "removal", "later"]),
        consignment_id=texts, at_us=numbers, recorded_us=st.one_of(st.none(), numbers), content=st.binary(max_size=17),
        plain=st.binary(max_size=9), sealed=pieces, kinds=texts, keys=pieces, features=pieces,
        score=st.one_of(st.none(), st.floats(0, 1)), band=texts, reasons=pieces, model=texts, model_sha256=texts,
        spec_sha256=texts, asked_by=st.text(max_size=3), history_sequence=st.one_of(st.none(), numbers),
    ),
    min_size=1,
    max_size=MAX_BLOCK_ENTRIES,
)  # fmt: skip


def decode(stored: StoredBlock, **more: Any) -> list[Any]:
    return open_block(stored.first, stored.last, stored.head, stored.body).read_rows(**more)


@settings(max_examples=60)
@given(rows, st.sampled_from([LZ4, ZSTD]))
def test_entries_of_any_values_come_back_as_they_were(given: list[EventRow], method: bytes) -> None:
    numbered = [
        tuple(row._replace(sequence=7 + place, features=row.features if row.kind in ARRIVAL_KINDS else None))
        for place, row in enumerate(given)
    ]
    hashes = [bytes([place]) * 32 for place in range(len(numbered))]
    stored = encode_block(numbered, hashes, method)
    assert decode(stored) == numbered
    assert open_block(stored.first, stored.last, stored.head).hashes == hashes
    check_summary(stored, numbered)
    block = open_block(stored.first, stored.last, stored.head, stored.body)
    for without in (frozenset(), frozenset({"features", "reasons", "score"}), BODY_COLUMNS):
        places = range(len(numbered))
        assert [block.read_row(place, without) for place in places] == block.read_rows(without)


def make_rows(entry: Entry, count: int, **changes: Any) -> list[Any]:
    return [encode_row(entry(sequence, **changes)) for sequence in range(1, count + 1)]


def test_a_block_ends_when_it_is_full_or_large_and_where_a_number_is_missing(entry: Entry) -> None:
    many = make_rows(entry, 2 * MAX_BLOCK_ENTRIES + 3)
    large = make_rows(entry, 3, plain=b"\x80" * (MAX_BLOCK_BYTES - 10))
    gap = make_rows(entry, 4)
    del gap[1]
    found = [
        [(block.first, block.last) for block in encode_blocks(rows, [b"h" * 32] * len(rows))]
        for rows in (many, large, gap)
    ]
    assert found == [[(1, 64), (65, 128), (129, 131)], [(1, 1), (2, 2), (3, 3)], [(1, 1), (3, 4)]]


@pytest.mark.parametrize("arrivals", [2, MIN_COLUMN_ENTRIES])
def test_columns_of_the_body_are_read_only_with_it(entry: Entry, arrivals: int) -> None:
    rows = make_rows(entry, arrivals, sealed=b"key prefix and text")
    rows.append(encode_row(entry(arrivals + 1, kind="outcome", sealed=b"text", plain=b"\x81")))
    stored = encode_block(rows, [b"h" * 32] * len(rows))
    (first, *_, outcome) = map(EventRow._make, open_block(stored.first, stored.last, stored.head).read_rows())
    assert (first.plain, first.sealed, first.features) == (NOT_READ, None, NOT_READ)
    assert tuple(outcome) == rows[-1]


@pytest.mark.parametrize("count", [MIN_COLUMN_ENTRIES - 1, MIN_COLUMN_ENTRIES])
@pytest.mark.parametrize("place", ["head", "body"])
def test_any_changed_byte_is_found(entry: Entry, place: str, count: int) -> None:
    rows = make_rows(entry, count, sealed=b"sealed")
    stored = encode_block(rows, [b"h" * 32] * count)
    blob = getattr(stored, place)
    for at in range(len(blob)):
        changed = stored._replace(**{place: blob[:at] + bytes([blob[at] ^ 1 << at % 8]) + blob[at + 1 :]})
        with pytest.raises(DamagedBlock, match="log entry 1: the event log is damaged"):
            decode(changed)


@pytest.mark.parametrize("column", ["last", "kinds", "min_us", "max_us"])
def test_numbers_that_are_not_those_of_the_entries_are_found(entry: Entry, column: str) -> None:
    rows = make_rows(entry, 3)
    stored = encode_block(rows, [b"h" * 32] * 3)
    with pytest.raises(DamagedBlock, match="numbers that are not those of its entries"):
        check_summary(stored._replace(**{column: getattr(stored, column) + 1}), rows)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"1234",
        add_crc(b""),
        add_crc(b"\x09\x01\0\0\0x"),
        add_crc(b"\x02\xff\xff\xff\xff" + bytes(40)),
        add_crc(b"\x01\xff\0\0\0" + bytes(40)),
        add_crc(make_frame(msgspec.msgpack.encode(["decision"]), LZ4)),
        add_crc(make_frame(msgspec.msgpack.encode([["decision"], ["decision"]]), RAW)),
        add_crc(make_frame(msgspec.msgpack.encode([]), RAW)),
        add_crc(make_frame(msgspec.msgpack.encode(["decision", ["a"], *[b"123"] * 16]), LZ4)),
    ],
)
def test_bytes_that_were_never_a_block_are_a_clear_fault(head: bytes) -> None:
    with pytest.raises(DamagedBlock, match="log entry 5: the event log is damaged"):
        open_block(5, 6, head).read_rows()


def test_a_block_of_too_many_entries_is_refused(entry: Entry) -> None:
    stored = encode_block(make_rows(entry, 2), [b"h" * 32] * 2)
    for last in (0, 10**12):
        with pytest.raises(DamagedBlock):
            open_block(1, last, stored.head)


def test_a_part_of_a_block_has_its_entries_and_what_the_block_lacks_is_refused(entry: Entry) -> None:
    rows = make_rows(entry, 11, sealed=b"sealed")[6:]
    stored = encode_block(rows, [b"h" * 32] * 5)
    block = open_block(stored.first, stored.last, stored.head, stored.body)
    assert decode(encode_part(block, 8, 10)) == rows[1:4]
    for first, last in ((6, 8), (10, 12), (10, 9)):
        with pytest.raises(ValueError, match=f"entries {first} to {last} are asked of a block with 7 to 11"):
            encode_part(block, first, last)


@settings(max_examples=60)
@given(rows, st.integers(1, 9), st.sets(st.integers(0, MAX_BLOCK_ENTRIES - 1)))
def test_times_and_keys_are_read_without_an_object_for_each_beside_keys_of_other_kinds(
    given: list[EventRow], width: int, places: set[int]
) -> None:
    numbered = [
        row._replace(sequence=1 + place, kinds="k", keys=(row.keys or b"").ljust(width, b"\0"))
        if place in places
        else row._replace(sequence=1 + place, kinds="other")
        for place, row in enumerate(given)
    ]
    stored = encode_block([tuple(row) for row in numbered], [b"h" * 32] * len(numbered))
    block = open_block(stored.first, stored.last, stored.head)
    assert block.read_times().tolist() == [row.at_us for row in numbered]
    same, keys = block.read_keys("k", width)
    assert same.tolist() == [row.kinds == "k" for row in numbered]
    assert [key.tobytes() for key in keys] == [
        row.keys[:width] for row in numbered if row.kinds == "k" and row.keys is not None
    ]


@pytest.mark.parametrize("count", [1, MIN_COLUMN_ENTRIES])
def test_an_entry_without_the_keys_that_it_should_have_is_damage(entry: Entry, count: int) -> None:
    rows = make_rows(entry, count, keys=b"12345678")
    stored = encode_block(rows, [b"h" * 32] * count)
    with pytest.raises(DamagedBlock, match="log entry 1"):
        open_block(stored.first, stored.last, stored.head).read_keys("k" * 16, 16)
