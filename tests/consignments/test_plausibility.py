"""Values that cannot be are counted as warnings, and their rows are kept."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pycountry
import pytest
from support.examples import make_consignment

from consignments.files.table_writers import write_table
from consignments.parquet_stream import stream_table
from consignments.plausibility import (
    BAD_YEAR,
    COUNTRIES,
    CURRENCIES,
    NO_COUNTRY,
    NO_CURRENCY,
    count_implausible,
)
from consignments.records import Consignment
from consignments.tables import build_frame, check_frame, read_table

IMPLAUSIBLE = [
    ("departure_country", "China", NO_COUNTRY),
    ("sender_country", "ZZ", NO_COUNTRY),
    ("currency", "EURO", NO_CURRENCY),
    ("currency", "ZZZ", NO_CURRENCY),
    ("gross_weight_kg", 99_999_999_999.0, "more than 1,000,000 kg"),
    ("pieces", 1e9, "more than 1,000,000 pieces"),
    ("declared_value", 1e15, "more than 10,000,000,000,000"),
    ("received_at", datetime(1900, 1, 1, tzinfo=UTC), BAD_YEAR),
    ("received_at", datetime(2900, 1, 1, tzinfo=UTC), BAD_YEAR),
]


def frame_of(*changes: dict[str, object]) -> pd.DataFrame:
    return build_frame([make_consignment(f"C{n}", **each) for n, each in enumerate(changes)], Consignment)


@pytest.mark.parametrize(("column", "value", "kind"), IMPLAUSIBLE)
def test_a_value_that_cannot_be_is_counted_and_its_row_is_kept(column: str, value: object, kind: str) -> None:
    table = check_frame(frame_of({}, {column: value}, {column: value}), Consignment)
    assert (len(table.frame), table.rejects) == (3, ())
    assert table.report.warnings == {f"{column}: {kind}": 2}
    assert f"  warning: 2 x {column}: {kind}" in table.report.to_text().splitlines()
    assert table.report.is_notable


def test_ordinary_values_missing_ones_and_codes_in_small_letters_give_no_warning() -> None:
    ordinary = frame_of({}, {"departure_country": " cn", "currency": None, "sender_country": "XK"})
    assert not count_implausible(ordinary, Consignment)


def test_a_stream_counts_what_a_table_in_memory_counts(tmp_path: Path) -> None:
    changes = [{column: value} for column, value, _ in IMPLAUSIBLE]
    frame = frame_of(*changes, {"departure_country": "Japan"})
    frame.loc[len(frame) - 1, "consignment_id"] = "C0"  # repeated: rejected, and not counted
    write_table(frame, tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", Consignment)
    stream = stream_table(tmp_path / "t.parquet", Consignment, piece_rows=4)
    assert stream.report.warnings == table.report.warnings
    assert table.report.warnings[f"departure_country: {NO_COUNTRY}"] == 1


def test_the_lists_of_codes_are_those_of_the_standards() -> None:
    assert {country.alpha_2 for country in pycountry.countries} | {"AN", "XK"} == COUNTRIES
    ours = {each.alpha_3 for each in pycountry.currencies}
    assert (
        not CURRENCIES - ours - {"ANG", "BGN", "BYR", "CUC", "HRK", "LTL", "MRO", "SLL", "STD", "VEF", "ZWL"}
    )
    funds = {"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"}
    assert {code for code in ours - CURRENCIES if not code.startswith("X")} == funds


def test_a_misspelt_column_is_named_with_the_column_that_it_may_be() -> None:
    given = frame_of({}).drop(columns="gross_weight_kg").assign(gross_weight=[0.5], colour=["red"])
    text = check_frame(given, Consignment).report.to_text()
    assert "unknown columns: gross_weight (did you mean gross_weight_kg?), colour" in text
