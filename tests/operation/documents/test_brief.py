"""The brief before an operation: trends by hand, blind spots, data quality, and nothing from later."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact
from support.examples import day, make_consignment, make_late_versions, make_outcome
from support.table_examples import build_tables

from consignments.records import Alert, Consignment
from consignments.tables import build_frame
from features.batch import Tables
from operation.documents.brief import Brief, build_brief, find_trends
from operation.documents.document import to_plain
from operation.documents.pages import build_brief_document, summarize_brief

AS_OF = day(100)


def make_tables(alerts: list[Alert] | None = None) -> Tables:
    """A hundred days: Incheon's rate rises after day 60, Busan sends 20 a day that nobody inspects after day 60."""
    consignments, outcomes = [], []
    for number in range(100):
        is_new, received = number >= 60, day(number)
        times = {"selected_at": received, "inspected_at": received, "known_at": received + timedelta(hours=5)}
        for office, positives in (("Incheon", 4 if is_new else 1), ("Gimhae", 1)):
            hs_code = None if office == "Gimhae" and is_new else "293399"
            family = "nitazene" if office == "Incheon" and is_new else "cathinone"
            for each in range(5):
                name = f"{office}-{number}-{each}"
                fields = {"received_at": received, "office": office, "hs_code": hs_code}
                consignments.append(make_consignment(name, **fields))
                is_positive = each < positives and number % 5 == 0
                result = {"result": "nps", "substance_family": family} if is_positive else {"result": "clear"}
                outcomes.append(make_outcome(name, **times, **result))
        consignments.append(make_consignment(f"B-{number}", received_at=received, office="Busan"))
    return build_tables(consignments, outcomes, alerts)


@pytest.fixture(scope="module")
def brief() -> Brief:
    given = [("A1", 0, None), ("A2", 0, day(50)), ("A3", 200, None), ("gone", 0, None), ("gone", 0, day(90))]
    alerts = [Alert(name, day(begins), ends, departure_country="GB") for name, begins, ends in given]
    return build_brief(make_tables(alerts), AS_OF, recent_days=40)


def test_a_rising_office_and_a_new_family_are_found_with_their_numbers(brief: Brief) -> None:
    trends = {(each.dimension, each.part): each for each in brief.trends}
    rising = trends["office", "Incheon"]
    assert (rising.recent_positives, rising.recent_known) == (16, 95)
    assert (rising.earlier_positives, rising.earlier_known) == (12, 300)
    assert rising.verdict == "rising"
    assert rising.p_value == pytest.approx(fisher_exact([[16, 79], [12, 288]]).pvalue)
    assert rising.ratio.low > 1
    assert trends["family", "nitazene"].verdict == "new"
    assert trends["office", "Gimhae"].verdict == "no clear change"
    assert all(each.adjusted >= each.p_value for each in brief.trends)
    told = "rising: office Incheon, 16 of 95; 12 of 300 before"
    page, summary = build_brief_document(brief).page, summarize_brief(brief)
    assert (told in page, told in summary) == (True, True)
    for words in ("the largest is HS chapter 61", "alerts in force: 1"):
        assert words in summary


def test_totals_blind_spots_quality_and_alerts(brief: Brief) -> None:
    assert (brief.arrivals, brief.recent_arrivals) == (1100, 440)
    assert (brief.known, brief.recent_known, brief.positives, brief.recent_positives) == (1000, 400, 64, 40)
    blind = [(each.dimension, each.part, each.arrivals) for each in brief.blind]
    assert blind == [("hs_chapter", "61", 40), ("office", "Busan", 40)]
    gimhae = next(each for each in brief.quality if (each.office, each.column) == ("Gimhae", "hs_code"))
    assert (gimhae.recent, gimhae.earlier, gimhae.arrivals) == (0.0, 1.0, 200)
    assert [(each.alert_id, each.counts.matched) for each in brief.alerts] == [("A1", 440)]


def test_detections_that_become_known_late_are_no_falling_trend() -> None:
    """Each day has 2 detections of 20, known after 15 days; other results are known after one."""
    consignments, outcomes = [], []
    for number in range(100):
        for each in range(20):
            name, delay, result = f"{number}-{each}", *((15, "nps") if each < 2 else (1, "clear"))
            at = {"selected_at": day(number), "inspected_at": day(number), "known_at": day(number + delay)}
            consignments.append(make_consignment(name, received_at=day(number)))
            outcomes.append(make_outcome(name, result=result, **at))
    found = build_brief(build_tables(consignments, outcomes), AS_OF)
    trend = next(each for each in found.trends if each.dimension == "office")
    # Arrivals from day 40 until day 79 with earlier ones.
    assert (trend.recent_positives, trend.recent_known) == (2 * 39, 20 * 39)
    assert {each.verdict for each in found.trends} == {"no clear change"}
    # Of the last 21 days all other results are known, and the detections of the first 7.
    assert found.unsettled == 21 * 18 + 7 * 2
    assert "that trends leave out" in summarize_brief(found)


def test_versions_of_a_consignment_are_one_arrival() -> None:
    amended = [make_consignment(f"P-{n}", received_at=day(90), office="Busan") for n in range(60)]
    late = [version for n in range(60) for version in make_late_versions(f"P-{n}", 91, office="Busan")]
    found = build_brief(Tables(build_frame(amended + late, Consignment), make_tables().outcomes), AS_OF)
    assert (found.arrivals, found.recent_arrivals) == (60, 60)
    offices = [(each.part, each.arrivals) for each in found.blind if each.dimension == "office"]
    assert offices == [("Incheon", 60)]
    assert {each.arrivals for each in found.quality} <= {60}


def test_what_became_known_later_changes_nothing(brief: Brief) -> None:
    tables = make_tables([Alert("A1", issued_at=day(0), departure_country="GB")])
    times = {"selected_at": day(99), "inspected_at": day(99), "known_at": day(150)}
    arrived = make_consignment("later", received_at=day(120), office="Busan")
    later = build_tables([arrived], [make_outcome("Incheon-99-4", **times, result="nps")])
    consignments = pd.concat([tables.consignments, later.consignments], ignore_index=True)
    outcomes = pd.concat([tables.outcomes, later.outcomes], ignore_index=True)
    more = Tables(consignments, outcomes, tables.alerts)
    assert to_plain(build_brief(more, AS_OF, recent_days=40)) == to_plain(brief)


@pytest.mark.parametrize(
    ("earlier", "recent", "verdict"),
    [
        ((0, 10), (2, 1000), "no clear change"),
        ((0, 1000), (12, 1000), "new"),
        ((0, 0), (2, 1000), "nothing to compare"),
        ((0, 0), (1, 1000), "no clear change"),
    ],
)
def test_parts_are_new_beyond_chance(earlier: tuple[int, int], recent: tuple[int, int], verdict: str) -> None:
    found = [n < positives for positives, known in (earlier, recent) for n in range(known)]
    rows = pd.DataFrame({"positive": found}).assign(office="Incheon", family="cathinone")
    is_recent = pd.Series([False] * earlier[1] + [True] * recent[1])
    (trend,) = (each for each in find_trends(rows, is_recent, ["office"]) if each.dimension == "office")
    assert trend.verdict == verdict


def test_trends_of_pure_chance_are_rarely_called() -> None:
    called, numbers = 0, np.arange(3000)
    for seed in range(20):
        shuffled = np.random.default_rng(seed).permutation(numbers)
        rows = pd.DataFrame({"office": [f"O{n % 30}" for n in numbers], "positive": shuffled % 10 == 0})
        found = find_trends(rows.assign(family="cathinone"), pd.Series(numbers % 2 == 0), ["office"])
        called += sum(each.verdict in ("new", "rising", "falling") for each in found)
    assert called <= 6


def test_no_result_is_no_fault() -> None:
    tables = make_tables()
    quiet = build_brief(Tables(tables.consignments, tables.outcomes[:0]), AS_OF)
    assert (quiet.known, quiet.trends) == (0, [])
    assert "There is no detection yet." in build_brief_document(quiet).page
