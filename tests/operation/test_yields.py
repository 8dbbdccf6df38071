"""Yields: a plain second count of patterns, indicators, versions and results agrees."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.examples import NOBODY, day, make_consignment

from consignments.records import Alert
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.indicators.values import compute_indicators
from operation.yields import InspectionResult, MatchCounter, is_active

KEY = OperationKey("EXAMPLE", bytes(32))
SEIZURE = Alert("XA/S-1", day(0), day(9), author="XA", indicators=compute_indicators(make_consignment(), KEY))


@given(
    st.lists(
        st.tuples(st.sampled_from(["arrival", "bare", "end"]), st.sampled_from([None, "nps", "clear", "pending"])),
        max_size=12,
    )
)  # fmt: skip
def test_the_counts_of_a_log_are_a_plain_count(events: list[tuple[str, str | None]]) -> None:
    """An alert by HS code or indicator is ended in the middle: what came before keeps its match, what comes later has none."""
    counter = MatchCounter(OperationKeys([KEY]))
    counter.add_alert(SEIZURE, 1)
    results, matched, ended = {}, [], False
    for sequence, (kind, result) in enumerate(events, start=2):
        if kind == "end":
            counter.add_alert(structs.replace(SEIZURE, expires_at=day(0.01)), sequence)
            ended = True
            continue
        name = f"C{sequence}"
        parties = NOBODY if kind == "bare" else {}
        counter.record(make_consignment(name, received_at=day(1), **parties), sequence)
        if result is not None:
            results[name] = InspectionResult.from_result(result, "nps")
        if kind == "arrival" and not ended:
            matched.append(result)
    found = counter.count("XA/S-1", results)
    known = sum(each in ("nps", "clear") for each in matched)
    inspected = sum(each is not None for each in matched)
    assert found[:2] == (len(matched), len(matched))
    assert found[3:] == (inspected, known, matched.count("nps"), matched.count("nps"))
    assert all(more >= fewer for more, fewer in pairwise((found.matched, *found[3:6])))


def test_an_alert_is_in_force_from_its_issue_until_its_end() -> None:
    us = [int(day(at).timestamp() * 1e6) for at in (-0.1, 0, 8.9, 9)]
    assert [is_active(SEIZURE, each) for each in us] == [False, True, True, False]
