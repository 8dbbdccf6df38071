"""The sorted table has the same bytes for the same counts, and history goes on from it as if it had never been sorted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consignments.errors import ServiceFault
from features.history.kernels import ARRIVALS, CLEAR, NPS, STEP
from features.history.keys import KeyKind
from features.history.sorted_table import SortedTable
from features.history.table import History

KINDS = (KeyKind("sender", "sender", "consignee", (), side="sender"),)
START = 19_783
days = st.lists(st.sampled_from([0, 0, 1, 7, 30, 200, 366, 367, 500]), min_size=1, max_size=30)


def make_steps(gaps: list[int], random: "np.random.Generator") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrivals and results of a few keys on days with gaps, some of them taken back."""
    steps, day = [], START
    for gap in gaps:
        day += gap
        row = int(random.integers(0, 4))
        counter = int(random.choice([ARRIVALS, ARRIVALS, NPS, CLEAR]))
        steps.append((1, counter, row, len(steps), day, day))
        if random.integers(0, 4) == 0:
            steps.append((-1, counter, row, -1, day, day))
    keys = np.array([[11], [2**63 + 5], [7], [2**64 - 1]], dtype=np.uint64)
    others = random.integers(1, 12, (4, 1)).astype(np.uint64)
    made = np.array([(*step[:3], place if step[3] >= 0 else -1, *step[4:]) for place, step in enumerate(steps)], STEP)  # fmt: skip
    return made, keys, others


def run(history: History, steps: np.ndarray, keys: np.ndarray, others: np.ndarray, out: np.ndarray) -> None:
    for step in steps:  # a new counterpart for each arrival
        others += np.uint64(1)
        history.run(np.array([step], STEP), keys, others.copy(), out)


@settings(max_examples=150)
@given(days, st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_history_goes_on_from_a_sorted_table(gaps: list[int], seed: int, cut: int) -> None:
    steps, keys, others = make_steps(gaps, np.random.default_rng(seed))
    expected = np.zeros((len(steps), History(KINDS).width), dtype=np.float32)
    read = expected.copy()
    whole = History(KINDS, capacity=2)
    run(whole, steps, keys, others.copy(), expected)
    half = History(KINDS, capacity=2)
    run(half, steps[:cut], keys, others.copy(), read)
    today = max(half.today, START)
    table = SortedTable.from_arrays(SortedTable.from_history(half, today).to_arrays())
    again = table.to_history(KINDS, today)
    run(again, steps[cut:], keys, others + np.uint64(len(steps[:cut])), read)
    assert read.tobytes() == expected.tobytes()
    end = max(whole.today, START)
    for one, other in zip(
        SortedTable.from_history(whole, end).to_arrays().values(),
        SortedTable.from_history(again, end).to_arrays().values(),
        strict=True,
    ):
        assert one.tobytes() == other.tobytes()


@settings(max_examples=50)
@given(days, st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 200, 366, 367, 900]))
def test_a_table_as_of_a_later_day_is_that_of_the_history(gaps: list[int], seed: int, later: int) -> None:
    steps, keys, others = make_steps(gaps, np.random.default_rng(seed))
    history = History(KINDS)
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    today = max(history.today, START)
    table = SortedTable.from_history(history, today)
    assert list_bytes(table.forget(today + later)) == list_bytes(
        SortedTable.from_history(history, today + later)
    )


def test_parts_of_a_table_are_put_together_again() -> None:
    history = History(KINDS)
    steps, keys, others = make_steps([0, 1] * 15, np.random.default_rng(1))
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    table = SortedTable.from_history(history, history.today)
    for ends in ([1, 2, 5], [0, 3, 3, 5], [5]):
        parts = list(table.split(ends))
        assert list_bytes(SortedTable.concatenate(parts)) == list_bytes(table)
        mixed = SortedTable.concatenate(parts[::-1])
        assert list_bytes(mixed.select(np.argsort(mixed.key))) == list_bytes(table)
    empty = SortedTable.from_arrays(SortedTable.create_empty().to_arrays())
    assert list_bytes(empty) == list_bytes(SortedTable.from_history(History(KINDS), START))


def test_parts_of_any_size_give_the_same_table_and_the_same_history(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(3), 400
    history = History(KINDS)
    keys = random.integers(1, 2**64 - 1, (rows, 1), dtype=np.uint64)
    order = np.sort(random.integers(0, rows, 3 * rows))
    steps = np.array([(1, ARRIVALS if n % 7 else NPS, row, -1, START + row, START + row) for n, row in enumerate(order.tolist())], STEP)  # fmt: skip
    history.run(steps, keys, random.integers(1, 9, (rows, 1)).astype(np.uint64))
    today = history.today  # the first keys are forgotten
    table = SortedTable.from_history(history, today)
    assert 300 < len(table.key) < rows
    for part_keys in (1, 7, 100):
        parts = list(SortedTable.split_history(history, today, part_keys))
        assert len(parts) > 1
        assert list_bytes(SortedTable.concatenate(parts)) == list_bytes(table)
        for name, array in table.to_arrays().items():
            np.save(tmp_path / name, array)
        stored = SortedTable(
            *(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in table.to_arrays())
        )
        again = stored.to_history(KINDS, today, part_keys=part_keys)
        assert list_bytes(SortedTable.from_history(again, today)) == list_bytes(table)
    assert list_bytes(stored) == list_bytes(table)


def test_keys_out_of_order_are_refused() -> None:
    empty = SortedTable.create_empty()
    for keys in ([9, 5], [5, 5], [2**63 + 1, 1]):
        others = [replace(empty, key=np.array([key], np.uint64)) for key in keys]
        with pytest.raises(ServiceFault, match="do not belong together"):
            SortedTable.from_arrays(SortedTable.concatenate([empty, *others]).to_arrays())


def test_a_state_whose_blocks_cannot_be_addressed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(KINDS)
    steps, keys, others = make_steps([0, 1] * 15, np.random.default_rng(1))
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    table = SortedTable.from_history(history, history.today)
    most = max(len(view) for name, view in history.get_views().items() if name in ("days", "counterparts"))
    monkeypatch.setattr("features.history.table.MAX_STORE_SIZE", most)
    table.to_history(KINDS, history.today, part_keys=2)
    monkeypatch.setattr("features.history.table.MAX_STORE_SIZE", most // 4)
    with pytest.raises(ServiceFault, match="history is full: its days and counterparts cannot be addressed"):
        table.to_history(KINDS, history.today, part_keys=2)


def list_bytes(table: SortedTable) -> list[bytes]:
    return [array.tobytes() for array in table.to_arrays().values()]


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    history = History(KINDS)
    steps, keys, others = make_steps([0, 1] * 15, np.random.default_rng(1))
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    arrays = SortedTable.from_history(history, history.today).to_arrays()
    assert all(array.size for array in arrays.values())
    for name in arrays:
        with pytest.raises(ServiceFault, match="do not belong together"):
            SortedTable.from_arrays({**arrays, name: arrays[name][:-1]})
