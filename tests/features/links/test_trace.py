"""A trace finds what hangs together, stops at what many share, says when it was cut, and never sees the future."""

import operator
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.examples import MONDAY, day, make_outcome
from support.link_examples import build_link_table, build_logged_table, list_names, make_anonymous

from consignments.records import Consignment, Outcome
from consignments.timestamps import to_us
from features.links.identifiers import LINK_IDENTIFIERS
from features.links.report import TraceReport
from features.links.trace import LinkTable, LinkTrace, TraceLimits, trace_links

PHONE, OTHER_PHONE, MAIL = "010-5550-1234", "010-5550-9999", "k@example.org"


def send(name: str, received: float, **changes: Any) -> Consignment:
    countries = {"sender_country": "KR", "consignee_country": "KR"}
    return make_anonymous(name, received_at=day(received), **countries, **changes)


def shared(trace: LinkTrace) -> dict[tuple[str, str], list[tuple[str, str]]]:
    def noun(column: int) -> str:
        return LINK_IDENTIFIERS[column].noun

    return {
        (link.source.consignment_id, link.target.consignment_id): [
            (noun(each.source_column), noun(each.target_column)) for each in link.shared
        ]
        for link in trace.links
    }


CHAIN = build_link_table(
    [
        send("A", 0, sender_phone=PHONE),
        send("B", 1, consignee_phone=PHONE, sender_email=MAIL),
        send("C", 2, sender_email=MAIL, account_id="ACC1"),
        send("D", 3, account_id="ACC1"),
        send("E", 4, sender_phone=OTHER_PHONE),
    ],
    [make_outcome("C", result="nps", inspected_at=day(3), known_at=day(6))],
)


def test_the_consignee_of_one_may_be_the_sender_of_another() -> None:
    trace = trace_links(CHAIN, "B")
    assert shared(trace) == {("B", "A"): [("consignee's phone", "sender's phone")]}


@pytest.mark.parametrize(("depth", "found"), [(1, ["C"]), (2, ["C", "B"]), (3, ["C", "B", "A"])])
def test_a_trace_goes_as_deep_as_it_is_asked_to(depth: int, found: list[str]) -> None:
    trace = trace_links(CHAIN, "D", limits=TraceLimits(depth))
    assert list_names(trace) == found
    assert [c.distance for c in trace.consignments] == list(range(depth + 1))


def test_a_shared_name_and_address_says_nothing_more_of_the_address() -> None:
    place = {"sender_address": "45 Teheran-ro", "sender_city": "Seoul"}
    names = {"A": "Kim Min-su", "B": "Lee", "C": "KIM, Minsu"}
    rows = [send(each, at, sender_name=name, **place) for at, (each, name) in enumerate(names.items())]
    links = shared(trace_links(build_link_table(rows), "C"))
    assert links["C", "A"] == [("sender's name and address",) * 2]
    assert links["C", "B"] == [("sender's address",) * 2]


def test_what_many_share_links_nothing_and_is_listed() -> None:
    crowd = [send(f"P{number}", number / 10, account_id="PLATFORM") for number in range(6)]
    others = [send("F", 1, sender_phone=PHONE), send("X", 5, account_id="PLATFORM", sender_phone=PHONE)]
    table = build_link_table([*crowd, *others])
    trace = trace_links(table, "X", limits=TraceLimits(sharing=6))
    assert list_names(trace) == ["F"]
    assert [(each.consignments, each.followed) for each in trace.identifiers] == [(2, True), (7, False)]
    assert "the shipper's account of X, which 7 consignments had in the last 365 days (more than 6)" in (
        " ".join(TraceReport(trace).to_text().split())
    )
    assert len(list_names(trace_links(table, "X", limits=TraceLimits(sharing=7)))) == 7


def test_one_consignment_that_has_an_identifier_twice_counts_once() -> None:
    both = {"sender_phone": PHONE, "consignee_phone": PHONE}
    table = build_link_table([send("A", 0, **both), send("B", 1, **both)])
    trace = trace_links(table, "B", limits=TraceLimits(sharing=2))
    assert list_names(trace) == ["A"]
    assert len(shared(trace)["B", "A"]) == 4


def test_consignments_of_more_than_a_year_ago_do_not_make_an_identifier_a_crowds() -> None:
    old = [send(f"P{number}", 0, account_id="ACC1") for number in range(6)]
    table = build_link_table([*old, send("X", 365, account_id="ACC1")])
    limits = TraceLimits(sharing=3)
    assert len(list_names(trace_links(table, "X", limits=limits))) == 6
    earlier = build_link_table([*old, send("X", 364, account_id="ACC1")])
    assert list_names(trace_links(earlier, "X", limits=limits)) == []


def test_a_trace_that_is_cut_keeps_finds_and_the_latest_and_says_so() -> None:
    rows = [send(f"P{number}", number, account_id="ACC1") for number in range(6)]
    found = make_outcome("P1", result="nps", inspected_at=day(2), known_at=day(9))
    table = build_link_table([*rows, send("X", 20, account_id="ACC1")], [found])
    trace = trace_links(table, "X", limits=TraceLimits(consignments=3))
    assert (list_names(trace), trace.left_out) == (["P1", "P5", "P4"], 3)
    assert "Limited to 3 consignments: at least 3 more linked" in TraceReport(trace).to_text()


def test_a_cancelled_consignment_links_nothing_from_then_on() -> None:
    first, *others = (send(name, at, sender_phone=PHONE) for name, at in (("A", 0), ("B", 1), ("C", 9)))
    table = build_link_table([structs.replace(first, cancelled_at=day(5)), *others])
    assert list_names(trace_links(table, "B")) == ["A"]
    assert list_names(trace_links(table, "C")) == ["B"]
    assert "A was cancelled by then" in TraceReport(trace_links(table, "A", to_us(day(6)))).to_text()


def test_an_amendment_links_by_its_own_identifiers_only() -> None:
    sent = [("A", PHONE), ("B", PHONE), ("C", OTHER_PHONE), ("B", OTHER_PHONE)]
    table = build_link_table([send(name, at, sender_phone=phone) for at, (name, phone) in enumerate(sent)])
    assert list_names(trace_links(table, "B")) == ["C"]
    assert list_names(trace_links(table, "B", to_us(day(2.5)))) == ["A"]


# --- never the future -------------------------------------------------------------------------------------------------

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


outcome_rows = st.lists(
    st.builds(
        make_outcome,
        st.sampled_from(NAMES),
        inspected_at=st.none(),
        known_at=half_days.map(day),
        recorded_at=st.none() | half_days.map(day),
        result=st.sampled_from(["nps", "clear", "other_offence"]),
    ),
    max_size=10,
)


def unique_versions(rows: Sequence[Consignment]) -> list[Consignment]:
    return list({c.consignment_id: c for c in reversed(rows)}.values())[::-1]


def visible(outcome: Outcome) -> Any:
    assert outcome.known_at is not None
    return max(outcome.known_at, outcome.recorded_at or outcome.known_at)


def cut_off(rows: Sequence[Consignment], outcomes: Sequence[Outcome], moment: Any, is_past: Any) -> LinkTable:
    """Build the table of what was known at a moment."""
    past = [c for c in rows if is_past(c.received_at, moment)]
    kept = [structs.replace(c, cancelled_at=None) if (c.cancelled_at or moment) > moment else c for c in past]
    return build_link_table(kept, [each for each in outcomes if visible(each) <= moment])


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
