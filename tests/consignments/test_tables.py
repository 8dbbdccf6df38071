"""Tables: a bad row is told and left out, a bad file is refused, and every format says the same."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.cases import read_cases
from support.examples import day, make_consignment, make_outcome

from consignments import tables
from consignments.columns import BAD_SEQUENCE
from consignments.errors import FileFault
from consignments.files.table_writers import write_table
from consignments.records import Alert, Consignment, Item, Outcome, Truth, create_consignment_type
from consignments.validation import write_rejects

SUFFIXES = [".csv", ".parquet", ".jsonl"]
HEADER = "consignment_id,channel,received_at,sender_name,hs_code,pieces\n"


def read_csv(tmp_path: Path, text: str, record: Any = Consignment, **options: Any) -> tables.Table:
    path = tmp_path / "table.csv"
    path.write_text(text, encoding="utf-8")
    return tables.read_table(path, record, **options)


def reasons(table: tables.Table) -> list[tuple[str, str, str]]:
    return [(reject.place, reject.column, reject.reason) for reject in table.rejects]


ITEMS = (Item("shirts", 2.0, 0.25, 34.0, "010610", "NA"), Item("socks"))
TEXTS = {"master_id": "USLAXA", "sender_email": "a@b.example", "consignee_country": "NA", "account_id": "007"}
TIMES = {"account_opened_on": date(2024, 2, 1), "cancelled_at": day(2.5)}
FULL = make_consignment(**TEXTS, **TIMES, declarant="Forwarder, Ltd", hs_code="010610", items=ITEMS)
BARE = Consignment("X1", "air_cargo", day(0.123456))


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
amounts = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
moments = st.datetimes(timezones=st.just(UTC))
items = st.lists(st.builds(Item, st.none() | words, st.none() | amounts), max_size=2).map(tuple)
records = st.builds(
    Consignment,
    consignment_id=words.filter(str.strip),  # a blank one is rejected
    channel=st.sampled_from(["postal", "air_cargo"]),
    received_at=moments,
    sender_name=st.none() | words,
    consignee_address=st.none() | words,
    account_opened_on=st.none() | st.dates(),
    declared_value=st.none() | amounts,
    cancelled_at=st.none() | moments,
    items=st.none() | items,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.lists(records, max_size=4, unique_by=lambda record: record.consignment_id))
@example([FULL, BARE])
def test_any_records_survive_every_format(tmp_path: Path, given_records: list[Consignment]) -> None:
    frame = tables.build_frame(given_records, Consignment)
    for suffix in SUFFIXES:
        path = tmp_path / f"c{suffix}"
        write_table(frame, path)
        if path.stat().st_size:
            table = tables.read_table(path, Consignment)
            pd.testing.assert_frame_equal(table.frame, frame)
            assert (tables.to_records(table.frame, Consignment), table.rejects) == (given_records, ())


def test_the_canonical_frame_has_every_column_of_the_record_in_one_order_and_type(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "colour," + HEADER + "red,X1,postal,2024-03-04,,0610,2\n")
    columns = list(msgspec.structs.fields(Consignment))
    assert table.frame.columns.tolist() == [*(field.name for field in columns), "colour"]
    assert table.frame["received_at"].dtype == "datetime64[us, UTC]"
    assert table.frame["account_opened_on"].dtype == "date32[pyarrow]"
    assert table.frame["pieces"].dtype == "float64"
    assert table.frame["hs_code"].dtype == table.frame["cancelled_at"].astype("str").dtype == "str"
    assert table.frame.loc[0, ["hs_code", "colour"]].tolist() == ["0610", "red"]


@pytest.mark.parametrize("case", read_cases("tables"))
def test_a_table_is_read_as_its_line_says(tmp_path: Path, case: dict[str, Any]) -> None:
    """Each line has a claim, a text, and an error, or values of the rows kept, all rejects, and how each line of the report begins."""
    path = tmp_path / case.get("name", "table.csv")
    path.write_text(case["text"], encoding="utf-8")
    if "error" in case:
        with pytest.raises(FileFault, match=case["error"]):
            tables.read_table(path, Consignment)
        return
    table = tables.read_table(path, Alert if "alerts" in path.name else Consignment)
    assert {name: table.frame[name].tolist() for name in case["kept"]} == case["kept"]
    assert [[each.place, each.column, each.reason] for each in table.rejects] == case["rejects"]
    for line, start in zip(table.report.to_text().splitlines(), case["report"], strict=True):
        assert line.startswith(start)


def test_personal_data_never_stand_in_reasons_or_on_the_screen(tmp_path: Path) -> None:
    secret = "Kim Min-su" * 60
    table = read_csv(tmp_path, HEADER + f"X1,Kim Min-su,2024-03-04,{secret},,1\n")
    assert "Kim" not in f"{table.rejects[0]} {table.rejects[0]!r} {table.report.to_text()}"
    assert json.loads(table.rejects[0].row)["sender_name"] == secret


def test_an_unknown_column_may_change_its_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consignments.files.table_files.JSON_CHUNK_ROWS", 1)
    row = '{"consignment_id": "X%d", "channel": "postal", "received_at": "2024-03-04", "pieces": %s, "note": %s}'
    lines = [row % (1, 2, 7), row % (2, '"2"', '"x"'), row % (3, "null", "[1]")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    table = tables.read_table(tmp_path / "a.jsonl", Consignment)
    assert table.frame["note"].tolist() == ["7", "x", "[1]"]
    assert table.frame["pieces"].fillna(0).tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("changes", "column", "reason"),
    [
        ({"known_at": None}, "known_at", "required for a final result"),
        ({"known_at": day(0.5)}, "known_at", "before inspected_at"),
        ({"status": "missed"}, "result", "a missed consignment cannot have a final result"),
    ],
)
def test_a_contradictory_outcome_is_rejected(changes: dict[str, Any], column: str, reason: str) -> None:
    frame = tables.build_frame([make_outcome("X1", **changes), make_outcome("X2")], Outcome)
    table = tables.check_frame(frame, Outcome)
    (reject,) = table.rejects
    assert (reject.identifier, reject.column, reject.reason.startswith(reason)) == ("X1", column, True)
    assert table.frame["consignment_id"].tolist() == ["X2"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_place_of_a_cancellation_may_be_missing_and_must_be_whole(tmp_path: Path, suffix: str) -> None:
    frame = tables.build_frame([FULL, BARE, BARE], Consignment)
    late = 1_732_700_000_000_000_001
    frame["cancelled_sequence"] = pd.array([late, None, None], dtype="Int64")
    write_table(frame, tmp_path / f"table{suffix}")
    table = tables.read_table(tmp_path / f"table{suffix}", Consignment)
    assert table.frame["cancelled_sequence"].fillna(-1).tolist() == [late, -1, -1]
    assert table.report.unknown_columns == ()
    frame["cancelled_sequence"] = ["7", "7.5", ""]
    bad = tables.check_frame(frame, Consignment)
    assert reasons(bad) == [("table row 2", "cancelled_sequence", f"{BAD_SEQUENCE}, got '7.5'")]


CORRECTED = make_outcome("X1", result="clear", known_at=day(12))


@pytest.mark.parametrize(
    ("given_records", "sequence", "kept", "rejected", "repeats"),
    [
        ([make_outcome("X1"), CORRECTED, make_outcome("X1"), make_outcome("X2")], None, [0, 1, 3], 0, 1),
        ([make_outcome("X1"), make_outcome("X1"), make_outcome("X1")], [1, 2, 2], [0, 1], 0, 1),
        ([Alert("A1", day(0)), Alert("A1", day(1))], None, [0], 1, 0),
        ([Alert("A1", day(0)), Alert("A1", day(1))], [3, 8], [0, 1], 0, 0),
        ([Truth("X1", "nps"), Truth("X1", "clear")], None, [0], 1, 0),
    ],
    ids=["outcomes", "outcomes of a log", "alerts", "alerts of a log", "truth"],
)
def test_a_repeated_row_is_ignored_rejected_or_in_a_log_a_later_version(
    given_records: list[Any], sequence: list[int] | None, kept: list[int], rejected: int, repeats: int
) -> None:
    record = type(given_records[0])
    frame = tables.build_frame(given_records, record)
    table = tables.check_frame(frame if sequence is None else frame.assign(sequence=sequence), record)
    assert tables.to_records(table.frame, record) == [given_records[place] for place in kept]
    assert (len(table.rejects), table.report.repeats) == (rejected, repeats)


def test_strict_makes_any_reject_a_failure(tmp_path: Path) -> None:
    text = HEADER + "X1,postal,soon,,,1\nX2,postal,2024-03-04,,,1\n"
    with pytest.raises(FileFault, match=r"table.csv row 1 \(X1\), received_at"):
        read_csv(tmp_path, text, strict=True)
    assert len(read_csv(tmp_path, HEADER + "X2,postal,2024-03-04,,,1\n", strict=True).frame) == 1


def test_rejects_are_written_with_their_rows(tmp_path: Path) -> None:
    table = read_csv(tmp_path, HEADER + "X1,postal,soon,Kim,,1\n")
    write_rejects(table.rejects, tmp_path / "rejects.parquet")
    found = pd.read_parquet(tmp_path / "rejects.parquet")
    assert found.columns.tolist() == ["place", "identifier", "column", "reason", "row"]
    assert found.loc[0, "place"] == "table.csv row 1"
    assert json.loads(found.loc[0, "row"])["sender_name"] == "Kim"
    assert len(table.frame) == 0
    write_rejects([], tmp_path / "rejects.csv")
    assert (tmp_path / "rejects.csv").read_text() == '"place","identifier","column","reason","row"\n'


def test_declared_columns_are_read_with_their_kind(tmp_path: Path) -> None:
    record = create_consignment_type(numeric=["tax_rate"], category=["tax_type"])
    header = HEADER.replace("sender_name,hs_code,pieces", "tax_rate,tax_type")
    table = read_csv(tmp_path, header + "X1,postal,2024-03-04,8.5,07\nX2,postal,2024-03-04,high,\n", record)
    (found,) = tables.to_records(table.frame, record)
    assert (found.tax_rate, found.tax_type) == (8.5, "07")  # type: ignore[attr-defined]
    assert [reject.column for reject in table.rejects] == ["tax_rate"]
    assert table.report.unknown_columns == ()


def test_a_frame_of_any_types_is_checked_like_a_file() -> None:
    frame = pd.DataFrame(
        {
            "consignment_id": [1, 2, 3],
            "channel": pd.Categorical(["postal", "postal", "sea"]),
            "received_at": [datetime(2024, 3, 4), "2024-03-04T09:00:00+09:00", pd.Timestamp(day(1))],
            "cancelled_at": np.array(["2024-03-05", "NaT", "20000-01-01"], "datetime64[us]"),
            "hs_code": [61091000.0, None, 1.0],
            "pieces": ["2", 3, np.float32(1)],
            "items": [[{"description": "a"}], None, "[]"],
            7: ["x", "y", "z"],
        },
        index=[5, 5, 5],
    )
    table = tables.check_frame(frame, Consignment, name="input")
    first, second = tables.to_records(table.frame, Consignment)
    assert (first.consignment_id, first.hs_code) == ("1", "61091000")
    assert (first.pieces, first.items) == (2.0, (Item("a"),))
    assert first.received_at == second.received_at == datetime(2024, 3, 4, tzinfo=UTC)
    assert [f"{bad.place}: {bad.column}" for bad in table.rejects] == ["input row 3: channel, cancelled_at"]
    assert table.report.unknown_columns == ("7",)


def test_records_come_from_a_checked_frame_a_slice_and_a_frame_without_every_column() -> None:
    checked = tables.build_frame([FULL, BARE], Consignment)
    pd.testing.assert_frame_equal(tables.check_frame(checked, Consignment).frame, checked)
    frame = tables.build_frame([FULL, BARE, make_consignment("X3")], Consignment)
    assert tables.to_records(frame.iloc[1:2], Consignment) == [BARE]
    few = frame[["consignment_id", "channel", "received_at"]]
    assert tables.to_records(few, Consignment)[1] == BARE


def test_repeated_consignments_keep_their_order_by_a_sequence() -> None:
    frame = tables.build_frame([FULL, make_consignment("RB123456785GB", pieces=9.0)], Consignment)
    assert frame["sequence"].tolist() == [1, 2]
    assert tables.check_frame(frame, Consignment).rejects == ()
    assert "sequence" not in tables.build_frame([FULL, BARE], Consignment)
    assert "sequence" not in tables.build_frame([make_outcome(), make_outcome()], Outcome)


def test_a_score_table_is_read_back_with_codes_as_texts(tmp_path: Path) -> None:
    names = ["consignment_id", "score", "band", "model_version", "office", "received_at", "history"]
    rows = [
        ("X1", 0.25, "high", "03", "Incheon", day(0), "given", [{"code": "route"}]),
        ("X1", 1e-7, "routine", "03", None, day(1), None, None),
    ]
    scores = pd.DataFrame(rows, columns=[*names, "reasons"])
    for suffix in SUFFIXES:
        write_table(scores, tmp_path / f"s{suffix}")
        found = tables.read_scores(tmp_path / f"s{suffix}")
        assert found["score"].tolist() == [0.25, 1e-7]
        assert found["model_version"].tolist() == ["03", "03"]
        assert found["history"].dropna().tolist() == ["given"]
        assert found["reasons"].notna().tolist() == [True, False]
    (tmp_path / "s.csv").write_text("consignment_id,score,band,received_at\nX1,1.5,high,2024-03-04\n")
    with pytest.raises(FileFault, match="score: above 1"):
        tables.read_scores(tmp_path / "s.csv")


def test_a_row_of_a_log_dated_after_tomorrow_is_at_fault() -> None:
    soon, later = (pd.Timestamp.now("UTC").floor("s") + pd.Timedelta(days=days) for days in (0.9, 1.1))
    rows = tables.build_frame([make_consignment(name) for name in "ABC"], Consignment)
    rows.loc[[1, 2], "received_at"] = [soon, later]
    table = tables.check_frame(rows.assign(sequence=[1, 2, 3]), Consignment)
    assert [(reject.identifier, reject.column) for reject in table.rejects] == [("C", "received_at")]
    assert "after tomorrow" in table.rejects[0].reason
    # without a sequence it comes last and harms nothing
    assert not tables.check_frame(rows, Consignment).rejects
    told = tables.build_frame([make_outcome("A"), make_outcome("B")], Outcome)
    told["recorded_at"] = [soon, later]
    table = tables.check_frame(told.assign(sequence=[1, 2]), Outcome)
    assert [(reject.identifier, reject.column) for reject in table.rejects] == [("B", "recorded_at")]


def test_a_declared_column_that_the_table_lacks_is_refused_and_the_nearest_is_named(tmp_path: Path) -> None:
    frame = tables.build_frame([make_consignment("C1")], Consignment).assign(tax_rate=[0.1])
    write_table(frame, tmp_path / "t.parquet")
    told = r"t\.parquet: the table lacks the declared column tax_rat; .*did you mean 'tax_rate'\?"
    for read in (tables.read_table, tables.stream_table):
        with pytest.raises(FileFault, match=told):
            read(tmp_path / "t.parquet", create_consignment_type(numeric=["tax_rat"]))
    named = create_consignment_type(numeric=["tax_rate"])
    assert len(tables.read_table(tmp_path / "t.parquet", named).frame) == 1
