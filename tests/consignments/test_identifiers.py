"""Spellings of one identifier belong together; `test_texts` has the forms and check digits of single ones."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from support.examples import day, make_consignment, make_outcome

from consignments.columns import normalize_names
from consignments.identifiers import normalize_identifier
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame
from features.batch import Tables
from features.streams import EventTables, FeatureInputs

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
