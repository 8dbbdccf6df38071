"""The row of a consignment that counts: the same as in the history that scoring reads, and never one that came later."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from consignments.timestamps import NO_TIME
from consignments.versions import select_counting_rows
from features.history.states import CountedState

Rows = list[dict[str, Any]]
minutes = st.integers(0, 60)
version = {"consignment_id": st.sampled_from("ABC"), "received": minutes, "issued": st.none() | minutes}
versions = st.lists(st.fixed_dictionaries(version), min_size=1, max_size=14)


def build_table(rows: Rows) -> pd.DataFrame:
    """Build a table in the order of a log: sequence numbers ascend with the time of arrival."""
    ordered = sorted(rows, key=lambda row: int(row["received"]))
    table = pd.DataFrame(ordered)
    for column in ("received", "issued"):
        times = pd.to_datetime(table.pop(column).astype("Float64"), unit="m", utc=True)
        table[f"{column}_at"] = times.astype("datetime64[us, UTC]")
    return table.assign(sequence=np.arange(1, len(table) + 1))


def find_counting_in_history(rows: Rows, before: int, decided: dict[str, int]) -> set[int]:
    """Apply arrivals to the state of history as scoring does: up to a time, and up to each decision."""
    states: dict[str, CountedState] = {}
    for number, row in enumerate(sorted(rows, key=lambda row: int(row["received"]))):
        state = states.get(row["consignment_id"])
        after = row["received"] > decided.get(row["consignment_id"], 10**9)
        if row["received"] >= before or (after and state is not None):
            continue
        state = states.setdefault(row["consignment_id"], CountedState())
        issued_us = NO_TIME if row["issued"] is None else row["issued"] * 60_000_000
        state.record_arrival(number.to_bytes(8, "little"), 0, issued_us, 0)
    return {int.from_bytes(state.keys, "little") for state in states.values() if state.keys is not None}


@given(versions, st.integers(1, 61), st.dictionaries(st.sampled_from("ABC"), st.integers(0, 60)))
def test_the_row_that_counts_is_that_of_history(rows: Rows, before: int, decided: dict[str, int]) -> None:
    decisions = pd.Series({name: minute * 60_000_000 for name, minute in decided.items()}, dtype=np.int64)
    chosen = select_counting_rows(build_table(rows), before * 60_000_000, decisions)
    assert set(np.flatnonzero(chosen).tolist()) == find_counting_in_history(rows, before, decided)


@given(versions, versions, st.integers(1, 60))
def test_what_arrives_later_changes_no_row(rows: Rows, more: Rows, before: int) -> None:
    later = [row | {"received": before + row["received"]} for row in more]
    early = [row for row in rows if row["received"] < before]
    whole = select_counting_rows(build_table([*early, *later]), before * 60_000_000)
    alone = select_counting_rows(build_table(early)).tolist() if early else []
    assert whole[: len(early)].tolist() == alone
    assert not whole[len(early) :].any()


def test_versions_in_another_spelling_are_those_of_one_consignment() -> None:
    names = enumerate(("057-51987552", "05751987552", "057 51987552"))
    rows = [{"consignment_id": name, "received": minute, "issued": None} for minute, name in names]
    table = build_table(rows)
    assert select_counting_rows(table).tolist() == [False, False, True]
    decided = pd.Series({"05751987552": 60_000_000})
    assert select_counting_rows(table, None, decided).tolist() == [False, True, False]


def test_a_table_without_a_sequence_has_one_row_of_each() -> None:
    table = build_table([{"consignment_id": "A", "received": 3, "issued": None}]).drop(columns="sequence")
    assert select_counting_rows(table).tolist() == [True]
    assert select_counting_rows(table, 0).tolist() == [False]
