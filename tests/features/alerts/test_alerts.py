"""Alerts: matched in every pattern they give, at their time, and as cheaply with hundreds as with one."""

from math import isnan

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.described import describe_alerts
from support.examples import day, make_consignment

from consignments.records import Alert, Consignment
from features.alerts.alerts import Alerts
from features.alerts.patterns import list_unusable_criteria, match_word, normalize_pattern


def alert(alert_id="A1", issued_at=None, **changes):
    return Alert(alert_id=alert_id, issued_at=issued_at or day(-2), **changes)


def values(alerts, sequence=None, c=None, **changes):
    return describe_alerts(alerts, c or make_consignment(**changes), sequence)


def matching(one, **changes):
    return values(Alerts([one]), **changes)["matching"]


@pytest.mark.parametrize("case", read_cases("unusable_patterns"))
def test_an_alert_with_a_pattern_that_cannot_be_compared_matches_nothing_and_is_named(case, caplog):
    """Each line has a pattern and its text. Without it, the other patterns would match too much."""
    name, text = case["pattern"], case["text"]
    others = {"departure_country": "GB", "hs_code": "6109", "sender_name": "Orchid Trading"}
    usable = {each: value for each, value in others.items() if each != name}
    assert matching(alert(**usable)) == 1
    assert not caplog.messages
    given = alert(**usable, **{name: text})
    assert list_unusable_criteria(given) == [name]
    assert not any(normalize_pattern(given))
    assert matching(given) == 0
    assert caplog.messages[0].startswith(f"alert A1: {name} has nothing to compare")


@pytest.mark.parametrize("case", read_cases("alert_matches"))
def test_every_given_pattern_must_match_in_any_spelling(case):
    """Each line has an alert, the changes of a plain consignment, and if they match."""
    given = msgspec.to_builtins(make_consignment()) | case["given"]
    c = msgspec.convert(given, Consignment)
    assert values(Alerts([alert(**case["alert"])]), c=c)["matching"] == case["matching"]


def test_an_alert_counts_from_its_issue_until_before_its_end():
    one = alert(issued_at=day(0), expires_at=day(4), hs_code="61")
    for at, expected in ((-0.01, 0), (0, 1), (3.99, 1), (4, 0)):
        assert matching(one, received_at=day(at)) == expected


@pytest.mark.parametrize(
    ("entries", "sequence", "matches"),
    [
        ({10: "61"}, 9, 0), ({10: "61"}, 11, 1), ({10: "61"}, None, 1), ({None: "61"}, 5, 1),
        ({1: "61", 5: "61"}, 3, 1), ({1: "61", 5: "62"}, 4, 1), ({1: "61", 5: "62"}, 6, 0), ({1: "62", 5: "61"}, 6, 1),
    ],
    ids=["later in the log", "earlier", "a table", "no place in the log", "repeated", "before a version", "after it", "after another"],
)  # fmt: skip
def test_an_alert_counts_from_its_place_in_the_log_until_its_next_version(entries, sequence, matches):
    alerts = Alerts()
    for place, code in entries.items():
        alerts.add(alert(hs_code=code), place)
    assert values(alerts, sequence=sequence)["matching"] == matches
    assert len(alerts) == 1
    assert values(Alerts([alert(hs_code="61"), alert(hs_code="62")]))["matching"] == 0, "the last of a table"


def test_several_alerts_are_counted_and_the_newest_is_dated():
    far, near = {"hs_code": "61", "issued_at": day(-10)}, {"departure_country": "GB", "issued_at": day(-1.5)}
    other = alert("A3", hs_code="84")
    got = values(Alerts([alert("A1", **far), alert("A2", **near, sender_name="Orchid Trading"), other]))
    assert (got["matching"], got["days_since_issued"], got["closeness"]) == (2.0, 1.5, 2.0)
    assert (got["party"], got["goods"], got["route"]) == (1.0, 1.0, 1.0)
    assert isnan(values(Alerts([other]))["days_since_issued"])
    kinds = {"party": {"consignee_name": "Kim Min-su"}, "goods": {"hs_code": "61"}, "route": {"route": "LHR"}}
    for kind, pattern in kinds.items():
        got = values(Alerts([alert(**pattern)]))
        assert [name for name in kinds if got[name]] == [kind]


def test_a_pattern_of_many_stars_is_matched_in_bounded_time():
    hostile = tuple("a" for _ in range(50))
    assert not match_word((*hostile, "b"), "a" * 4000)
    assert match_word((*hostile, ""), "a" * 4000)


LETTERS = st.text("abc", max_size=6)


@given(st.lists(LETTERS, min_size=1, max_size=4), st.lists(LETTERS, min_size=4, max_size=4))
def test_a_word_matches_whatever_stands_for_its_stars(parts, between):
    text = "".join(part + gap for part, gap in zip(parts, [*between[: len(parts) - 1], ""], strict=False))
    if len(parts) > 1 or parts[0]:
        assert match_word(tuple(parts), text)


PATTERNS = st.fixed_dictionaries(
    {},
    optional={
        "description_pattern": st.sampled_from(["cotton", "cot*", "*ton", "*tto*", "c*n", "silk", "sil*"]),
        "hs_code": st.sampled_from(["61", "6109", "62"]),
        "sender_name": st.sampled_from(["Orchid Trading", "Lotus"]),
        "consignee_address": st.sampled_from(["45 Teheran-ro 101-1203", "1 Main St"]),
        "departure_country": st.sampled_from(["GB", "CN"]),
        "route": st.sampled_from(["LHR", "PVG>ICN"]),
    },
)


@given(st.lists(PATTERNS, max_size=8))
def test_many_alerts_together_match_as_each_alone(patterns):
    alerts = [alert(f"A{place}", **pattern) for place, pattern in enumerate(patterns)]
    assert values(Alerts(alerts))["matching"] == sum(matching(one) for one in alerts)
