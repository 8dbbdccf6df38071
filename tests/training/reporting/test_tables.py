"""Tables as JSON."""

import json

from training.reporting.tables import RunTable


def test_a_table_of_rows_with_different_columns_has_all_of_them():
    assert json.loads(RunTable([{"a": 1}, {"b": float("nan")}], ["z"]).to_json()) == {
        "columns": ["z", "a", "b"],
        "data": [[None, 1, None], [None, None, None]],
    }
