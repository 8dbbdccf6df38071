"""Claims about the hash of the data."""

import numpy as np
import pandas as pd
import pytest

from training.data.data_hash import BLOCK_ROWS, hash_tables


def table():
    received = pd.to_datetime(["2024-01-01T00:00Z", "2024-01-02T00:00Z", None], utc=True, format="ISO8601")
    columns = {"consignment_id": ["A", "B", "C"], "pieces": [1.0, np.nan, 3.0]}
    return pd.DataFrame(columns | {"departure_country": ["NA", None, "KR"], "received_at": received})


def digest(frame):
    return hash_tables({"consignments": frame})


STORED_AS = {
    "consignment_id": (object, "category", "string"),
    "departure_country": ("category", object),
    "pieces": ("Float64", np.float32),
    "received_at": ("datetime64[ns, UTC]",),
}


@pytest.mark.parametrize(
    ("column", "dtype"), [(column, each) for column, dtypes in STORED_AS.items() for each in dtypes]
)
def test_neither_the_way_pandas_holds_a_column_nor_the_order_of_columns_nor_the_index_matters(column, dtype):
    other = table()[table().columns[::-1]].set_index(pd.Index([7, 8, 9]))
    assert digest(other.astype({column: dtype})) == digest(table())


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.iloc[::-1],
        lambda f: f.iloc[:2],
        lambda f: f.assign(departure_country=pd.array([None, None, None], "string")),
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
    pieces = np.zeros(2 * BLOCK_ROWS + 10)
    changed = np.append(pieces[1:], 1.0)
    assert digest(pd.DataFrame({"pieces": changed})) != digest(pd.DataFrame({"pieces": pieces}))
