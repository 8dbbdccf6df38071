"""When an outcome counts: one rule for a record and for a table."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.examples import make_outcome

from consignments import visibility
from consignments.errors import BadInput
from consignments.records import Outcome
from consignments.tables import build_frame
from consignments.timestamps import NO_TIME, to_us

moments = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
outcomes = st.builds(
    make_outcome,
    status=st.sampled_from(["inspected", "missed"]),
    result=st.sampled_from([None, "nps", "controlled_drug", "other_offence", "clear", "pending"]),
    selected_at=moments,
    inspected_at=moments,
    known_at=moments,
    recorded_at=moments,
)


@pytest.mark.parametrize("case", read_cases("outcome_visibility"))
def test_results_are_seen_once_known_and_recorded(case: dict[str, Any]) -> None:
    """Each line has the changes of a clear outcome, and from when it is visible; null is never."""
    outcome = msgspec.convert(msgspec.to_builtins(make_outcome()) | case["changes"], Outcome)
    visible = case["visible"]
    expected = to_us(datetime.fromisoformat(visible)) if visible else NO_TIME
    assert visibility.get_visible_us(outcome) == expected


def test_a_final_result_without_known_at_is_refused_rather_than_visible_at_once() -> None:
    leaky = make_outcome(known_at=None)
    with pytest.raises(BadInput, match="has no known_at"):
        visibility.get_visible_us(leaky)
    with pytest.raises(BadInput, match="has no known_at"):
        visibility.compute_visible_us(build_frame([leaky], Outcome))


@given(st.lists(outcomes, max_size=8))
def test_a_table_and_its_records_become_visible_at_the_same_moments(records: list[Outcome]) -> None:
    sound = [record for record in records if visibility.find_outcome_fault(record) is None]
    alone = [visibility.get_visible_us(record) for record in sound]
    assert visibility.compute_visible_us(build_frame(sound, Outcome)).tolist() == alone


@given(st.lists(outcomes, max_size=8))
def test_a_table_and_its_records_have_the_same_faults(records: list[Outcome]) -> None:
    faults = visibility.find_outcome_faults(build_frame(records, Outcome))
    for place, record in enumerate(records):
        found = [(column, reason) for column, reason, rows in faults if rows[place]]
        expected = visibility.find_outcome_fault(record)
        assert (expected in found) if expected else not found
