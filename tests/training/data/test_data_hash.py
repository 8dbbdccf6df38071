"""Claims about the hash of the data."""

import numpy as np
import pandas as pd
import pytest

from training.data import data_hash as digests
from training.data.data_hash import hash_tables


def table():
    return pd.DataFrame(
        {
            "consignment_id": ["A", "B", "C"],
            "pieces": [1.0, np.nan, 3.0],
            "departure_country": ["NA", None, "KR"],
            "received_at": pd.to_datetime(
                ["2024-01-01T00:00Z", "2024-01-02T00:00Z", None], utc=True, format="ISO8601"
            ),
        }
    )


def digest(frame):
    return hash_tables({"consignments": frame})


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        ("consignment_id", object),
        ("consignment_id", "category"),
        ("consignment_id", "string"),
        ("departure_country", "category"),
        ("departure_country", object),
        ("pieces", "Float64"),
        ("pieces", np.float32),
        ("received_at", "datetime64[ns, UTC]"),
    ],
)
def test_the_way_pandas_holds_a_column_does_not_matter(column, dtype):
    assert digest(table().astype({column: dtype})) == digest(table())


def test_the_order_of_columns_and_the_index_do_not_matter():
    other = table()[table().columns[::-1]].set_index(pd.Index([7, 8, 9]))
    assert digest(other) == digest(table())


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.iloc[::-1],
        lambda f: f.iloc[:2],
        lambda f: f.rename(columns={"pieces": "postage"}),
        lambda f: f.assign(pieces=[1.0, np.nan, 3.0000001]),
        lambda f: f.assign(pieces=[1.0, 0.0, 3.0]),
        lambda f: f.assign(departure_country=["NA", "", "KR"]),
        lambda f: f.assign(consignment_id=["AB", "", "C"]),
        lambda f: f.assign(received_at=f["received_at"] + pd.Timedelta(microseconds=1)),
        lambda f: f.assign(extra=None),
    ],
)
def test_any_change_of_a_value_a_row_or_a_column_changes_the_hash(change):
    assert digest(change(table())) != digest(table())


def test_rows_far_beyond_the_first_block_count():
    rows = 2 * digests.BLOCK_ROWS + 10
    frame = pd.DataFrame({"pieces": np.zeros(rows)})
    changed = frame.copy()
    changed.loc[rows - 1, "pieces"] = 1.0
    assert digest(changed) != digest(frame)
