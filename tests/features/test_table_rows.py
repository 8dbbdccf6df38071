"""Rows of tables are, bit for bit, those of single consignments."""

import random
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from support.frozen_rows import CONFIG, PSEUDONYMS, RECORD, WEIGHTS, build_rates, read_parameters
from support.hostile_rows import BASES, make_hostile

from consignments.records import Alert, Item
from consignments.tables import (
    build_frame,
    check_frame,
    iterate_consignments,
    to_arrow_rows,
    to_consignments,
)
from consignments.validation import SEQUENCE
from features.alerts.alerts import Alerts
from features.fitted import FittedParameters
from features.pipeline import Pipeline
from features.streams import describe_rows

FITTED = FittedParameters(**read_parameters(), rates=build_rates(), text_weights=WEIGHTS)
ALERT = Alert(
    "A", datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 4, 12, tzinfo=UTC), sender_name="Orchid Trading"
)
START = datetime(2024, 3, 1, tzinfo=UTC)
ALERTS = (
    ALERT,
    Alert("B", START, hs_code="6109"),
    Alert("C", START, description_pattern="*ton t-shirts", departure_country="GB"),
    Alert("D", START, consignee_address="12 Student Dormitory, Flat 3"),
    Alert("E", START, route="hkg>icn"),
)
HOSTILE_ROWS = 1200
"""More than one chunk."""


def make_table(seed: int, rows: int = HOSTILE_ROWS) -> pa.Table:
    """Build a table of hostile consignments that pass the check. Some have the same identifier, so there is a sequence."""
    draws = random.Random(seed)
    made = (make_hostile(draws, draws.choice(BASES), RECORD) for _ in range(rows))
    records = [RECORD(**values) for values in map(_make_storable, made) if values is not None]
    checked = check_frame(build_frame(records, RECORD), RECORD)
    assert rows > len(checked.frame) > rows // 4
    return to_arrow_rows(checked.frame, RECORD)


def _make_storable(value: Any) -> Any:
    """Turn numbers to floats; return None for a record with a text that no table can hold."""
    try:
        msgspec.msgpack.encode(values := msgspec.structs.asdict(value))
    except (UnicodeEncodeError, OverflowError):
        return None
    for name, each in values.items():
        if isinstance(each, int | float):
            values[name] = float(each)
    if values["items"] is not None:
        fields = [msgspec.structs.asdict(item) for item in values["items"]]
        values["items"] = tuple(
            Item(
                **{
                    name: float(each) if isinstance(each, int | float) else each
                    for name, each in item.items()
                }
            )
            for item in fields
        )
    return values


def describe_singly(pipeline: Pipeline, table: pa.Table) -> tuple[NDArray[Any], ...]:
    described = create_rows(pipeline, len(table))
    sequences = table.column(SEQUENCE).to_pylist() if SEQUENCE in table.column_names else [None] * len(table)
    for place, (c, sequence) in enumerate(zip(to_consignments(table, RECORD), sequences, strict=True)):
        pipeline.fill_rows([c], *(array[place : place + 1] for array in described), [sequence])
    return described


def create_rows(pipeline: Pipeline, rows: int) -> tuple[NDArray[Any], ...]:
    keys = np.zeros((2, rows, len(pipeline.kinds)), np.uint64)
    X = np.full((rows, pipeline.history_at), -9, np.float32)
    return X, *keys


@pytest.mark.parametrize("alerts", [(), (ALERT,), ALERTS])
def test_hostile_rows_have_the_bits_of_single_consignments(alerts: tuple[Alert, ...]) -> None:
    table = make_table(seed=5)
    pipeline = Pipeline(CONFIG, FITTED, PSEUDONYMS, Alerts(alerts, [7, 90, 90, 7, 90][: len(alerts)]))
    expected = describe_singly(pipeline, table)
    found = describe_rows(pipeline, table, np.ones(len(table), bool))
    for one, other in zip(found[:3], expected, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.tobytes() == other.tobytes()


def test_rows_that_are_not_wanted_get_their_keys() -> None:
    table = make_table(seed=7).drop_columns("sequence")
    pipeline = Pipeline(CONFIG, FITTED, PSEUDONYMS)
    expected = describe_singly(pipeline, table)
    wanted = np.arange(len(table)) % 3 == 0
    found = describe_rows(pipeline, table, wanted)
    assert found.X.tobytes() == expected[0][wanted].tobytes()
    assert found.keys.tobytes() == expected[1].tobytes()
    assert found.counterparts.tobytes() == expected[2].tobytes()


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_any_number_of_rows_is_described(rows: int) -> None:
    table = make_table(seed=9, rows=1500).slice(0, rows)
    pipeline = Pipeline(CONFIG, FITTED, PSEUDONYMS)
    found = describe_rows(pipeline, table, np.ones(rows, bool))
    assert len(table) == rows
    assert found.X.tobytes() == describe_singly(pipeline, table)[0].tobytes()


@pytest.mark.parametrize("single", [False, True])
def test_hostile_rows_refitted_have_the_bits_of_rows_computed_as_a_whole(*, single: bool) -> None:
    table = make_table(seed=9)
    pipeline, unfitted = (
        Pipeline(CONFIG, fitted, PSEUDONYMS) for fitted in (FITTED, FittedParameters.create_empty())
    )
    records = to_consignments(table, RECORD)
    X = np.zeros((2, len(table), len(pipeline.spec)), np.float32)
    pipeline.fill_features(records, X[0])
    unfitted.fill_features(records, X[1])
    assert X[1].tobytes() != X[0].tobytes()
    if single:
        pipeline.fill_fitted(records, X[1])
    else:
        pipeline.fill_fitted(iterate_consignments(table, pipeline.record_type), X[1])
    assert X[1].tobytes() == X[0].tobytes()
