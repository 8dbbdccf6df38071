"""The reference of columns says what the checks of tables do, and names the columns that the verbs write."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.registered_model import make_new_consignments
from support.verbs import succeed

from cli.reference.tables import build_column_reference
from consignments.errors import NpsriskError
from consignments.files.table_writers import write_table
from consignments.records import Consignment
from consignments.tables import check_frame

TABLES = {table.title: table.rows for table in build_column_reference()}


def test_every_column_has_a_meaning() -> None:
    assert [row["column"] for rows in TABLES.values() for row in rows if not row["meaning"]] == []
    personal = {row["column"] for row in TABLES["consignments"] if row["personal"]}
    assert {"sender_name", "consignee_phone", "account_id"} <= personal
    assert personal.isdisjoint({"consignment_id", "channel", "declared_value"})


@pytest.mark.parametrize("row", TABLES["consignments"], ids=lambda row: row["column"])
def test_exactly_the_columns_called_required_make_a_table_without_them_invalid(row: dict[str, Any]) -> None:
    given = make_new_consignments()
    fewer = given.drop(columns=row["column"], errors="ignore")
    with pytest.raises(NpsriskError) if row["required"] else nullcontext():
        assert len(check_frame(fewer, Consignment).frame) == len(given)


def test_score_and_selection_tables_have_the_columns_of_the_reference(
    model_folder: Path, tmp_path: Path
) -> None:
    scores, chosen = tmp_path / "scores.parquet", tmp_path / "list.parquet"
    write_table(make_new_consignments(), tmp_path / "new.parquet")
    options = f"--model 1 --without-history --reasons 2 --out {scores}"
    succeed(f"score --consignments {tmp_path}/new.parquet {options}")
    succeed(f"select --scores {scores} --capacity 1 --out {chosen}")
    assert set(pd.read_parquet(scores)) == {row["column"] for row in TABLES["scores"]} | {"reasons"}
    assert set(pd.read_parquet(chosen)) == {row["column"] for row in TABLES["selection"]} | {"reasons"}
