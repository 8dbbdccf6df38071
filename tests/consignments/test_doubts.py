"""Doubts name a field and never repeat its value; countries are read as what they are, in records and tables alike."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pycountry
import pytest
from support.cases import read_cases
from support.examples import day, make_consignment

from consignments import doubts
from consignments.files.table_writers import write_table
from consignments.records import Alert, Consignment, Item, create_consignment_type
from consignments.tables import build_frame, check_frame, read_table, stream_table, to_records
from consignments.validation import to_frame

DOUBTFUL = read_cases("doubtful_values")


@pytest.mark.parametrize(
    ("numeric", "category"), [(["time"], []), (["items_per_country"], []), ([], ["date"])]
)
def test_a_declared_column_may_have_the_name_of_a_kind(numeric: list[str], category: list[str]) -> None:
    values = dict.fromkeys(numeric, 1.0) | dict.fromkeys(category, "a")
    record = create_consignment_type(numeric, category)("RB123456785GB", "postal", **values)
    assert doubts.correct_consignment(record) == (record, [])


def build_frames(*changes: dict[str, object]) -> pd.DataFrame:
    return build_frame([convert(f"C{n}", each) for n, each in enumerate(changes)], Consignment)


def convert(name: str, changes: dict[str, object]) -> Consignment:
    """Make a consignment with changes as JSON has them."""
    return msgspec.convert(msgspec.to_builtins(make_consignment(name)) | changes, Consignment)


@pytest.mark.parametrize("case", DOUBTFUL)
def test_a_doubtful_value_is_read_as_what_it_is_and_named_for_records_and_tables(
    case: dict[str, Any],
) -> None:
    """Each line has a column, a value as it is sent and as it is read, and the text of the doubt."""
    column, sent, read, text = case.values()
    record, (doubt,) = doubts.correct_consignment(convert("C0", {column: sent}))
    assert record == convert("C0", {column: read})
    assert doubt.field == column
    assert str(sent) not in doubt.text
    table = check_frame(build_frames({}, {column: sent}, {column: sent}), Consignment)
    expected = [convert(f"C{n}", {column: read}) for n in (1, 2)]
    assert to_records(table.frame, Consignment)[1:] == expected
    assert table.report.warnings == {f"{column}: {text}": 2}
    assert f"  warning: 2 x {column}: {text}" in table.report.to_text()
    assert table.report.is_notable


def test_a_report_shows_what_doubtful_values_were_read_as_but_no_text_that_may_be_a_name() -> None:
    given = [{"sender_country": country} for country in ("China", "GBR", "ZZ", "Kim Geheim")]
    report = check_frame(build_frames(*given), Consignment).report
    assert report.to_text().splitlines()[1:3] == [
        f"  warning: 2 x sender_country: {doubts.COUNTRY_CONVERTED} (China as CN, GBR as GB)",
        f"  warning: 2 x sender_country: {doubts.NO_COUNTRY} (ZZ)",
    ]


def test_countries_of_items_are_read_too_and_give_one_doubt() -> None:
    items = tuple(Item("tea", origin_country=country) for country in ("China", "CHN"))
    sent = make_consignment("C0", items=items)
    record, told = doubts.correct_record(sent)
    assert [item.origin_country for item in record.items or ()] == ["CN", "CN"]
    assert told == [doubts.Doubt("country_read_as", "The country was read as CN.", "items.origin_country")]
    table = check_frame(build_frame([make_consignment("C1"), sent], Consignment), Consignment)
    assert to_records(table.rows, Consignment)[1] == record
    assert table.report.warnings == {f"items.origin_country: {doubts.COUNTRY_CONVERTED}": 1}
    unlike = (Item(origin_country="China"), Item(origin_country="XY"))
    same = doubts.correct_record(make_consignment("C0", items=unlike))[1]
    assert [each.code for each in same] == ["country_read_as", "unknown_country"]


def test_a_country_of_items_is_read_beneath_a_row_whose_items_are_too_many(tmp_path: Path) -> None:
    columns = {"consignment_id": ["C1001", "C1"], "channel": ["postal"] * 2, "received_at": [day(0)] * 2}
    items = [[{"origin_country": "China"}] * count for count in (1001, 1)]
    parquet.write_table(pa.table(columns | {"items": items}), tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", Consignment)
    assert [(reject.identifier, reject.column) for reject in table.rejects] == [("C1001", "items")]
    assert [c.items for c in to_records(table.rows, Consignment)] == [(Item(origin_country="CN"),)]


def test_ordinary_values_missing_ones_and_codes_in_small_letters_give_no_doubt() -> None:
    ordinary = make_consignment("C0", departure_country=" cn", currency=None, sender_country="XK")
    assert doubts.correct_consignment(ordinary) == (ordinary, [])
    assert not check_frame(build_frame([ordinary], Consignment), Consignment).report.warnings
    assert doubts.correct_record(alert := Alert("A1", datetime(2026, 1, 1, tzinfo=UTC))) == (alert, [])


def test_a_stream_counts_what_a_table_in_memory_counts(tmp_path: Path) -> None:
    cases = [each.values[0] for each in DOUBTFUL]
    changes = [{case["column"]: case["sent"]} for case in cases]
    frame = build_frames(*changes, {"departure_country": "Japan"})
    frame.loc[len(frame) - 1, "consignment_id"] = "C0"  # repeated: rejected, and not counted
    write_table(frame, tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", Consignment)
    stream = stream_table(tmp_path / "t.parquet", Consignment, piece_rows=4)
    assert stream.report.warnings == table.report.warnings
    assert table.report.warnings[f"departure_country: {doubts.COUNTRY_CONVERTED}"] == 1
    read = pd.concat([to_frame(chunk) for chunk in stream.read_chunks(Consignment)], ignore_index=True)
    pd.testing.assert_frame_equal(read, table.frame)


def test_the_lists_of_codes_are_those_of_the_standards() -> None:
    assert {country.alpha_2 for country in pycountry.countries} | {"AN", "XK"} == doubts.COUNTRIES
    ours = {each.alpha_3 for each in pycountry.currencies}
    ended = {"ANG", "BGN", "BYR", "CUC", "HRK", "LTL", "MRO", "SLL", "STD", "VEF", "ZWL"}
    assert not doubts.CURRENCIES - ours - ended
    funds = {"BOV", "CHE", "CHW", "CLF", "COU", "MXV", "USN", "UYI", "UYW"}
    assert {code for code in ours - doubts.CURRENCIES if not code.startswith("X")} == funds


def test_a_misspelt_column_is_named_with_the_column_that_it_may_be() -> None:
    given = build_frames({}).drop(columns="gross_weight_kg").assign(gross_weight=[0.5], colour=["red"])
    text = check_frame(given, Consignment).report.to_text()
    assert "unknown columns: gross_weight (did you mean gross_weight_kg?), colour" in text
