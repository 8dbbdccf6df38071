"""Tables as JSON."""

import json

from training.reporting.tables import serialize_table


def test_a_table_of_rows_with_different_columns_has_all_of_them():
    assert json.loads(serialize_table([{"a": 1}, {"b": float("nan")}], ["z"])) == {
        "columns": ["z", "a", "b"],
        "data": [[None, 1, None], [None, None, None]],
    }
