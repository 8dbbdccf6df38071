"""What was known at a moment: amendments, cancellations and results as history counts them, and clear refusals."""

import numpy as np
import pytest
from msgspec import structs
from support.examples import day, make_late_versions, make_outcome
from support.link_examples import build_link_table, make_anonymous

from consignments.errors import BadInput, UnknownName
from consignments.timestamps import to_us
from features.links.known import find_known

WORLD = build_link_table(
    [
        make_anonymous("A", received_at=day(0)),
        make_anonymous("B", received_at=day(2), cancelled_at=day(11)),
        make_anonymous("C", received_at=day(5)),
    ],
    [make_outcome("A", result="nps", known_at=day(8)), make_outcome("A", result="clear", known_at=day(9))],
)


def known(name: str, as_of: float | None = None):
    at = None if as_of is None else to_us(day(as_of))
    found = find_known(WORLD.arrivals, WORLD.outcomes, name, at)
    names = [WORLD.arrivals.consignment_id[row].as_py() for row in found.rows]
    results = [None if row < 0 else WORLD.outcomes.result[row] for row in found.outcome]
    return dict(zip(names, results, strict=True)), found.cancelled


@pytest.mark.parametrize(
    ("name", "as_of", "expected"),
    [
        ("C", None, {"A": None, "B": None, "C": None}),
        ("B", None, {"A": None, "B": None}),
        ("C", 8, {"A": "nps", "B": None, "C": None}),
        ("C", 10, {"A": "clear", "B": None, "C": None}),
        ("C", 12, {"A": "clear", "C": None}),
        ("A", 2, {"A": None}),
    ],
)
def test_only_what_was_visible_by_then_is_known(
    name: str, as_of: float | None, expected: dict[str, str | None]
) -> None:
    assert known(name, as_of) == (expected, False)


def test_a_cancelled_consignment_can_be_traced_and_is_said_to_be_cancelled() -> None:
    assert known("B", 12) == ({"A": "clear", "B": None, "C": None}, True)


def test_the_latest_version_is_traced_and_earlier_versions_do_not_count() -> None:
    rows = [make_anonymous("A", received_at=day(number)) for number in (0, 3, 6)]
    table = build_link_table([*rows[:2], make_anonymous("B", received_at=day(4)), rows[2]])
    assert find_known(table.arrivals, table.outcomes, "A").root == 3
    assert np.sort(find_known(table.arrivals, table.outcomes, "B").rows).tolist() == [1, 2]
    assert find_known(table.arrivals, table.outcomes, "A", to_us(day(5))).root == 1


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
    with pytest.raises(BadInput, match=told):
        find_known(WORLD.arrivals, WORLD.outcomes, "C", to_us(day(5)))
