"""A sorted table has the same bytes for the same counts, and history goes on from it as if it had never been sorted."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.history_worlds import list_bytes, sort_history

from consignments.errors import ServiceFault
from features.history.kept_table import join_parts, sort_table
from features.history.kernels import ARRIVALS, CLEAR, NPS, STEP
from features.history.keys import KeyKind
from features.history.state_files import load_table, write_table
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


@settings(max_examples=50)
@given(days, st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 200, 366, 367, 900]))
def test_a_table_as_of_a_later_day_is_that_of_the_history(gaps: list[int], seed: int, later: int) -> None:
    steps, keys, others = make_steps(gaps, np.random.default_rng(seed))
    history = History(KINDS)
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    today = max(history.today, START)
    table = sort_history(history, today)
    later_table = join_parts(sort_table(table, today + later), today + later)
    assert list_bytes(later_table) == list_bytes(sort_history(history, today + later))


def test_parts_of_any_size_give_the_same_table_and_the_same_history(tmp_path: Path) -> None:
    random, rows = np.random.default_rng(3), 400
    history = History(KINDS)
    keys = random.integers(1, 2**64 - 1, (rows, 1), dtype=np.uint64)
    order = np.sort(random.integers(0, rows, 3 * rows))
    steps = np.array([(1, ARRIVALS if n % 7 else NPS, row, -1, START + row, START + row) for n, row in enumerate(order.tolist())], STEP)  # fmt: skip
    history.run(steps, keys, random.integers(1, 9, (rows, 1)).astype(np.uint64))
    today = history.today  # the first keys are forgotten
    table = sort_history(history, today)
    assert 300 < len(table.keys) < rows
    assert (np.diff(table.keys.astype(object)) > 0).all()
    for part_keys in (1, 7, 100):
        parts = list(sort_table(history.get_arrays(), today, part_keys))
        assert len(parts) > 1
        assert list_bytes(join_parts(parts, today)) == list_bytes(table)
        write_table(tmp_path, "table", parts, today)
        again = History.from_arrays(KINDS, load_table(tmp_path, "table"))
        assert list_bytes(sort_history(again, today)) == list_bytes(table)
    assert list_bytes(load_table(tmp_path, "table")) == list_bytes(table)


def test_a_state_whose_blocks_cannot_be_addressed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(KINDS)
    steps, keys, others = make_steps([0, 1] * 15, np.random.default_rng(1))
    run(history, steps, keys, others, np.zeros((len(steps), history.width), dtype=np.float32))
    table = sort_history(history, history.today)
    monkeypatch.setattr("features.history.kept_table.MAX_STORE_SIZE", max(map(len, table[2:])))
    History.from_arrays(KINDS, table)
    monkeypatch.setattr("features.history.kept_table.MAX_STORE_SIZE", max(map(len, table[2:])) - 1)
    for use in (lambda: History.from_arrays(KINDS, table), lambda: join_parts([table], history.today)):
        with pytest.raises(ServiceFault, match="full: its days and counterparts cannot be addressed"):
            use()
