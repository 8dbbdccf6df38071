"""What was known at a moment: amendments, cancellations and results as history counts them, and clear refusals."""

import pytest
from msgspec import structs
from support.examples import day, make_late_versions, make_outcome
from support.link_examples import build_link_table, make_anonymous

from consignments.errors import BadInput, UnknownName
from consignments.timestamps import to_us
from features.links.known import find_known


def test_a_late_version_is_not_traced_and_does_not_count() -> None:
    first, late = make_late_versions("A", 1)
    table = build_link_table([first, late, make_anonymous("B", received_at=day(4))])
    assert find_known(table.arrivals, table.outcomes, "A").root == 0
    assert find_known(table.arrivals, table.outcomes, "A", to_us(day(5))).root == 0
    assert find_known(table.arrivals, table.outcomes, "B").rows.tolist() == [0, 2]


def test_versions_and_outcomes_in_another_spelling_are_those_of_the_consignment() -> None:
    names = {"057-51987552": 0, "05751987552": 3}
    rows = [make_anonymous(name, received_at=day(at)) for name, at in names.items()]
    outcomes = [make_outcome("057-51987552", result="nps", known_at=day(8))]
    table = build_link_table([*rows, make_anonymous("B", received_at=day(4))], outcomes)
    for typed in ("057-51987552", "05751987552", " 057 5198-7552"):
        found = find_known(table.arrivals, table.outcomes, typed, to_us(day(9)))
        assert (found.root, found.rows.tolist(), found.outcome.tolist()) == (1, [1, 2], [0, -1])


def test_a_late_version_brings_no_cancelled_consignment_back() -> None:
    first, late = make_late_versions("A", 1)
    rows = [structs.replace(first, cancelled_at=day(1.01)), late, make_anonymous("B", received_at=day(4))]
    table = build_link_table(rows)
    assert find_known(table.arrivals, table.outcomes, "B").rows.tolist() == [2]
    assert find_known(table.arrivals, table.outcomes, "A", to_us(day(5))).cancelled


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("RB123456788GB", "did you mean 'RB123456785GB'"),
        ("RC123456785GB", "did you mean 'RB123456785GB'"),
        ("05751987552/h1", "did you mean '057-51987552/H1'"),
        *((typed, "") for typed in ("", "%_.*", "X" * 5_000, "\ud800", "only an outcome")),
    ],
)
def test_an_unknown_identifier_is_refused_and_the_nearest_is_named(typed: str, told: str) -> None:
    names = ("RB123456785GB", "057-51987552/H1")
    table = build_link_table(list(map(make_anonymous, names)), [make_outcome("only an outcome")])
    with pytest.raises(UnknownName, match=f"unknown consignment.*{told}"):
        find_known(table.arrivals, table.outcomes, typed)


def test_a_moment_before_the_consignment_is_refused_with_the_first_one_that_is_not() -> None:
    told = r"C arrived later than this time.*expected a time after 2024-03-09 09:00:00"
    table = build_link_table([make_anonymous(name, received_at=day(at)) for name, at in (("A", 0), ("C", 5))])
    with pytest.raises(BadInput, match=told):
        find_known(table.arrivals, table.outcomes, "C", to_us(day(5)))
