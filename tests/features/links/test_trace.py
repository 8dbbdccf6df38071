"""A trace finds what hangs together, stops at what many share, says when it was cut, refuses what it cannot trace, and never sees the future."""

import operator
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.cases import read_cases
from support.examples import MONDAY, day, make_outcome
from support.link_examples import build_link_table, build_logged_table, make_anonymous

from consignments.errors import BadInput, UnknownName
from consignments.records import Consignment, Outcome
from consignments.timestamps import to_us
from features.history.keys import COMMON_KINDS
from features.links.identifiers import LINK_IDENTIFIERS
from features.links.report import TraceReport
from features.links.trace import LinkTable, TraceLimits, trace_links


def send(name: str, received: float, **fields: Any) -> Consignment:
    """Send a consignment between parties in Korea; `cancelled` and `issued` are days too."""
    times = {f"{what}_at": day(fields.pop(what)) for what in ("cancelled", "issued") if what in fields}
    places = {"sender_country": "KR", "consignee_country": "KR"}
    return make_anonymous(name, received_at=day(received), **places, **fields, **times)


@pytest.mark.parametrize("case", read_cases("trace_cases"))
def test_a_trace_finds(case: dict[str, Any]) -> None:
    """Each line has consignments and finds, by days, and of a trace the linked ones and more of its graph and its text, or an error."""
    rows = [send(name, at, **fields) for name, at, fields in case["consignments"]]
    times = {
        name: {"inspected_at": day(opened), "known_at": day(known)} for name, opened, known in case["finds"]
    }
    table = build_link_table(rows, [make_outcome(name, result="nps", **each) for name, each in times.items()])
    as_of_us = to_us(day(case["as_of"])) if "as_of" in case else None
    if "error" in case:
        with pytest.raises((UnknownName, BadInput), match=case["error"]):
            trace_links(table, case["trace"], as_of_us)
        return
    report = TraceReport(trace_links(table, case["trace"], as_of_us, TraceLimits(**case.get("limits", {}))))
    graph = report.to_dict()
    found: dict[str, Any] = {
        "linked": [node["consignment_id"] for node in graph["nodes"][1:]],
        "distances": [node["distance"] for node in graph["nodes"]],
        "followed": [[each["consignments"], each["followed"]] for each in graph["identifiers"]],
    }
    assert found | {name: case[name] for name in found.keys() & case} == found
    for edge in graph["edges"]:
        shared = [f"{each['from']} = {each['to']}" for each in edge["shared"]]
        assert case.get("shared", {}).get(f"{edge['from']} {edge['to']}", shared) == shared
    assert case.get("text", "") in " ".join(report.to_text().split())


def test_every_key_of_history_that_may_betray_a_party_is_in_an_identifier_with_a_noun_of_its_own() -> None:
    joined = {key for each in LINK_IDENTIFIERS for key in each.keys}
    assert joined == {kind.name for kind in COMMON_KINDS if kind.side and kind.read}
    assert len({each.noun for each in LINK_IDENTIFIERS}) == len(LINK_IDENTIFIERS)


NAMES, DAYS = "ABCDEF", 12
half_days = st.integers(0, 2 * DAYS).map(lambda number: number / 2)
few = st.sampled_from([None, "1", "2", "3"])


@st.composite
def draw_consignments(draw: Any) -> list[Consignment]:
    """Arrivals in the order of time, some of them amendments, some cancelled."""
    phones = few.map(lambda number: number and f"010-5550-111{number}")
    ends = half_days.map(lambda number: day(number) if number > DAYS - 3 else None)
    row = st.builds(
        send, st.sampled_from(NAMES), half_days, sender_phone=phones, consignee_phone=phones, account_id=few, cancelled_at=ends
    )  # fmt: skip
    drawn: list[Consignment] = draw(st.lists(row, min_size=2, max_size=14))
    return sorted(drawn, key=lambda c: c.received_at or MONDAY)


moments = half_days.map(day)
times = {"inspected_at": st.none(), "known_at": moments, "recorded_at": st.none() | moments}
results = st.sampled_from(["nps", "clear", "other_offence"])
outcome_row = st.builds(make_outcome, st.sampled_from(NAMES), result=results, **times)
outcome_rows = st.lists(outcome_row, max_size=10)


def unique_versions(rows: Sequence[Consignment]) -> list[Consignment]:
    return list({c.consignment_id: c for c in reversed(rows)}.values())[::-1]


def cut_off(rows: Sequence[Consignment], outcomes: Sequence[Outcome], moment: Any, is_past: Any) -> LinkTable:
    """Build the table of what was known at a moment."""
    past = [c for c in rows if is_past(c.received_at, moment)]
    kept = [structs.replace(c, cancelled_at=None) if (c.cancelled_at or moment) > moment else c for c in past]
    told = [each for each in outcomes if max(each.known_at, each.recorded_at or each.known_at) <= moment]
    return build_link_table(kept, told)


def show(table: LinkTable, *given: Any) -> dict[str, Any]:
    return TraceReport(trace_links(table, *given)).to_dict()


@settings(max_examples=25)
@given(draw_consignments(), outcome_rows, half_days, st.booleans())
def test_what_becomes_known_later_never_changes_a_trace_as_of_earlier_or_at_the_own_moment(
    rows: list[Consignment], outcomes: list[Outcome], moment: float, amended: bool
) -> None:
    rows = rows if amended else unique_versions(rows)
    whole, then = build_link_table(rows, outcomes), day(moment)
    for name in {c.consignment_id for c in rows if c.received_at is not None and c.received_at < then}:
        cut = cut_off(rows, outcomes, then, operator.lt)
        assert show(whole, name, to_us(then)) == show(cut, name, to_us(then))
    for root in [] if amended else rows:
        cut = cut_off(rows, outcomes, root.received_at, operator.le)
        assert show(whole, root.consignment_id) == show(cut, root.consignment_id)


@settings(max_examples=25)
@given(draw_consignments(), st.randoms())
def test_the_order_of_a_table_without_sequence_changes_nothing(rows: list[Consignment], random: Any) -> None:
    rows = unique_versions(rows)
    shuffled = random.sample(rows, len(rows))
    name = rows[-1].consignment_id
    assert show(build_link_table(shuffled), name) == show(build_link_table(rows), name)


@settings(max_examples=25)
@given(draw_consignments(), outcome_rows, st.randoms(), st.integers(1, 24))
def test_later_entries_of_a_log_never_change_the_trace_of_a_version_before_them(
    rows: list[Consignment], outcomes: list[Outcome], random: Any, place: int
) -> None:
    entries = [*rows, *outcomes]
    random.shuffle(entries)
    earlier, later = entries[:place], entries[place:]
    amended = {c.consignment_id for c in later if isinstance(c, Consignment)}
    whole, cut = build_logged_table(entries), build_logged_table(earlier)
    for name in {c.consignment_id for c in earlier if isinstance(c, Consignment)} - amended:
        assert show(whole, name) == show(cut, name)
