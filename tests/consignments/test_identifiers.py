"""Check digits are reported, never enforced; numbers are read in all their forms, and spellings of one identifier belong together."""

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import day, make_consignment, make_outcome

from consignments.columns import normalize_names
from consignments.identifiers import (
    compute_check_digit,
    format_awb_number,
    has_valid_check_digit,
    normalize_identifier,
    parse_awb,
    parse_s10,
)
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, check_frame
from features.batch import Tables
from features.streams import EventTables, FeatureInputs

VALID = ("RB123456785GB", "EE000000005VN", "RA473124829CA", "ra 473 124 829 ca")
WRONG = ("CP001020301BR", "RB123456784GB")
OF_NO_FORM = ("", "RB12345678GB", "R1123456785GB", "RB123456785G١", "RB١23456785GB", "X" * 90)
CASES = dict.fromkeys(VALID, True) | dict.fromkeys(WRONG, False) | dict.fromkeys(OF_NO_FORM)


@pytest.mark.parametrize(("identifier", "holds"), CASES.items())
def test_a_check_digit_holds_is_wrong_or_unknown(identifier: str, holds: bool | None) -> None:
    assert has_valid_check_digit(identifier) is holds


def test_a_check_digit_of_ten_becomes_zero_and_eleven_becomes_five() -> None:
    assert parse_s10("RB123456785GB") == ("RB", "12345678", 5, "GB")
    assert compute_check_digit("00000000") == 5
    assert {compute_check_digit(f"{n:08d}") for n in range(200)} == set(range(10))


@pytest.mark.parametrize(
    ("written", "number", "house", "holds"),
    [
        ("057-51987552", "057-51987552", "", True),
        ("05751987552", "057-51987552", "", True),
        ("057 51987552", "057-51987552", "", True),
        (" 057-51987552 ", "057-51987552", "", True),
        ("057-51987552/SZX1", "057-51987552", "SZX1", True),
        ("057-51987553/H/1", "057-51987553", "H/1", False),
    ],
)
def test_waybill_numbers_read_alike_in_all_forms(written: str, number: str, house: str, holds: bool) -> None:
    parts = parse_awb(written)
    assert parts is not None
    assert (parts.number, parts.house, parts.check_holds) == (number, house, holds)
    assert format_awb_number(written) == number


@pytest.mark.parametrize("other", ["MEDU9876543", "USJFKAGBLALAAUN40001002000120", ""])
def test_a_number_that_is_no_waybill_stays_as_it_is(other: str) -> None:
    assert format_awb_number(other) == other


# Spellings


@pytest.mark.parametrize(
    ("identifier", "normal"),
    [
        ("rb999999999gb", "RB999999999GB"),
        ("RB999999999GB ", "RB999999999GB"),
        ("RB-999 999 999-GB", "RB999999999GB"),
        ("057-51987552", "05751987552"),
        ("057-51987552/h-1 a", "05751987552/h-1 a"),
        (" lot-7 b ", "lot-7 b"),
        (unicodedata.normalize("NFD", "Köln-7"), "Köln-7"),
        ("   ", "   "),
        ("057-5198755/1", "057-5198755/1"),
    ],
)
def test_the_normal_form(identifier: str, normal: str) -> None:
    assert normalize_identifier(identifier) == normalize_identifier(normal) == normal


WAYBILL = "057-51987552"
SPELLINGS = [WAYBILL, "०57-51987552", "Lot-7 ", "A1", *(f"{WAYBILL}/{end}" for end in ("", "\t1", "é"))]


@given(
    st.lists(
        st.from_regex(r"\A[ 0-9]{0,3}-?[0-9 ]{7,9}-?(/[ -\x7fÀ-ÿ]*)?\n?\Z")
        | st.from_regex(r"\A[A-Za-z]{2}[ -]?[0-9 ]{9}[a-zA-Z]{2}\Z")
        | st.sampled_from(SPELLINGS)
    )
)
def test_waybills_and_items_in_any_spelling_have_the_same_normal_forms(names: list[str]) -> None:
    found = normalize_names(pa.array(names, pa.large_string())).to_pylist()
    assert found == [normalize_identifier(name) for name in names]


def test_an_outcome_gets_the_spelling_of_its_consignment() -> None:
    names, others = ("057-51987552/H1", "RB123456785GB"), ("05751987552/H1", "rb 123456785 gb", "Z")
    consignments = build_frame(list(map(make_consignment, names)), Consignment)
    outcomes = build_frame(list(map(make_outcome, others)), Outcome)
    tables = Tables(consignments, outcomes).unify_spellings()
    assert tables.outcomes is not None
    assert tables.outcomes["consignment_id"].tolist() == ["057-51987552/H1", "RB123456785GB", "Z"]
    assert tables.consignments["consignment_id"].tolist() == ["057-51987552/H1", "RB123456785GB"]
    assert outcomes["consignment_id"].tolist()[0] == "05751987552/H1"
    events = EventTables.from_inputs(FeatureInputs.from_tables(Tables(consignments, outcomes)))
    assert events.outcomes.consignment_id[0] == "057-51987552/H1"


def test_a_past_consignment_that_is_given_in_another_spelling_counts_once() -> None:
    given = build_frame([make_consignment("057-51987552/H1")], Consignment)
    earlier = make_consignment("RB1", received_at=day(-3))
    past = build_frame([make_consignment("05751987552/H1"), earlier], Consignment)
    events = EventTables.from_inputs(FeatureInputs.from_tables(Tables(given), past))
    assert events.arrivals.consignment_id.to_pylist() == ["RB1", "057-51987552/H1"]
    assert [len(source) for source in events.sources] == [1, 1]


def test_two_spellings_of_one_consignment_are_a_repeated_identifier() -> None:
    names = ("RB123456785GB", "rb123456785gb", "RB2")
    table = check_frame(build_frame(list(map(make_consignment, names)), Consignment), Consignment)
    assert table.frame["consignment_id"].tolist() == ["RB123456785GB", "RB2"]
    assert len(table.rejects) == 1
