"""Two tables read as one are in the order of history, and their features are those of one table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import features.merged_rows
from consignments.records import Consignment
from features.merged_rows import MergedRows
from features.streams import InMemoryTable, SelectedRows

START = pd.Timestamp("2024-03-01T00:00:00Z")


def make_source(minutes: Sequence[int], first: int, sequence: Sequence[int] | None = None) -> SelectedRows:
    frame = pd.DataFrame({
        "consignment_id": [f"c{first + number}" for number in range(len(minutes))],
        "received_at": START + pd.to_timedelta(list(minutes), "min"),
    })  # fmt: skip
    if sequence is not None:
        frame["sequence"] = sequence
    return SelectedRows.from_source(InMemoryTable(frame, piece_rows=4))


def read(source: MergedRows) -> list[str]:
    names: list[str] = []
    for chunk in source.read_chunks():
        assert 0 < len(chunk) <= features.merged_rows.CHUNK_ROWS
        names += chunk.to_frame(Consignment)["consignment_id"].tolist()
    assert names == source.take_order()["consignment_id"].tolist()
    assert len(names) == len(source)
    return names


times = st.lists(st.integers(0, 40), max_size=30)


@settings(max_examples=60)
@given(times, times.filter(len), st.integers(1, 9))
def test_each_block_has_the_next_rows_of_both(first: list[int], second: list[int], block: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(features.merged_rows, "CHUNK_ROWS", block)
        merged = MergedRows.from_sources(
            make_source(sorted(first), 0), make_source(sorted(second), len(first))
        )
        names = read(merged)
    assert sorted(names) == sorted(f"c{number}" for number in range(len(first) + len(second)))
    minutes = ((merged.take_order()["received_at"] - START).dt.total_seconds() / 60).tolist()
    for begin in range(0, len(minutes), block):
        assert max(minutes[:begin], default=-1) <= min(minutes[begin:])


def test_a_consignment_of_both_is_that_of_the_second() -> None:
    first, second = make_source([1, 2, 3, 4], 0), make_source([3, 4, 5], 2)
    merged = MergedRows.from_sources(first, second)
    assert read(merged) == ["c0", "c1", "c2", "c3", "c4"]
    assert len(merged.first) == 2
    logged = MergedRows.from_sources(make_source([1, 2], 0, [1, 7]), make_source([2, 2], 1, [7, 9]))
    assert len(read(logged)) == 4


def test_a_consignment_of_both_in_another_spelling_is_that_of_the_second() -> None:
    first, second = make_source([1], 0), make_source([2], 1)
    first.order["consignment_id"], second.order["consignment_id"] = "rb 123 456 785 gb", "RB123456785GB"
    assert len(MergedRows.from_sources(first, second)) == 1


def test_two_tables_without_rows_are_one_chunk_without_rows() -> None:
    merged = MergedRows.from_sources(make_source([], 0), make_source([], 0))
    assert [len(chunk) for chunk in merged.read_chunks()] == [0]


def test_a_table_in_another_order_follows_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features.merged_rows, "CHUNK_ROWS", 2)
    merged = MergedRows.from_sources(make_source([5, 6], 0), make_source([9, 1, 8], 2))
    assert read(merged) == ["c0", "c1", "c2", "c3", "c4"]
    assert len(merged.slice_rows(1, 2)) == 1


def test_rows_of_a_selection_are_selected_again() -> None:
    source = make_source(range(6), 0).select(np.array([True, False, True, True, False, True]))
    again = source.select(np.array([False, True, True, True]))
    assert again.order["consignment_id"].tolist() == ["c2", "c3", "c5"]
    found = pd.concat([chunk.to_frame(Consignment) for chunk in again.read_chunks()])
    assert found["consignment_id"].tolist() == ["c2", "c3", "c5"]
    assert again.slice_rows(1, 3).to_frame(Consignment)["consignment_id"].tolist() == ["c3", "c5"]
