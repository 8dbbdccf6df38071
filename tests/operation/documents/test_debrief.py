"""The debrief of an operation, against a second, plain implementation of every number."""

import json
import math
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from scipy.stats.contingency import relative_risk
from support.examples import day, make_consignment, make_late_versions, make_outcome
from support.table_examples import build_tables

from consignments.records import Alert
from consignments.tables import build_frame
from operation.documents.debrief import Debrief, build_debrief
from operation.documents.document import to_plain
from operation.documents.pages import build_debrief_document, summarize_debrief
from operation.documents.tallies import compare_selectors, count_by, estimate_expected, estimate_rate
from operation.inspections import OperationPeriod, find_period, select_valid_alerts
from training.evaluation.estimate import Estimate

PERIOD = OperationPeriod(day(0), day(14), day(60))
OFFICES = ("Incheon", "Busan")
SELECTORS = ("model", "random", "officer")
RESULTS = ("nps", "controlled_drug", "clear", "pending", None)
POSTAL = {"office": "Incheon", "channel": "postal", "day": 1.0}
ONE_FIND = POSTAL | {"score": 0.5, "selected_by": "model", "result": "nps"}


def build_operation(rows: list[dict[str, Any]]) -> dict[str, Any]:
    consignments, outcomes, scores = [], [], []
    for number, row in enumerate(rows):
        name, received, result = f"C{number:03}", day(row["day"]), row["result"]
        fields = {"office": row["office"], "channel": row["channel"], "route": "AAA>BBB"}
        consignments.append(make_consignment(name, received_at=received, **fields))
        if row["score"] is not None:
            scores.append({"consignment_id": name, "score": row["score"]})
        if row["selected_by"] is None:
            continue
        missed = result is None
        inspected_at = None if missed else received + timedelta(hours=2)
        known_at = None if missed or result == "pending" else received + timedelta(days=3)
        selection = {"selected_by": row["selected_by"], "selected_at": received + timedelta(hours=1)}
        inspection = {"status": "missed" if missed else "inspected", "inspected_at": inspected_at}
        found = {"substance_family": "cathinone", "quantity_g": 10.0} if result == "nps" else {}
        found |= {"result": result, "known_at": known_at}
        outcomes.append(make_outcome(name, **selection, **inspection, **found))
    ranked = pd.DataFrame(scores, columns=["consignment_id", "score"])
    return {"tables": build_tables(consignments, outcomes), "scores": ranked, "capacity": 2}


row_strategy = st.fixed_dictionaries(
    {
        "day": st.integers(0, 13).map(float),
        "office": st.sampled_from(OFFICES),
        "channel": st.sampled_from(("postal", "air_cargo")),
        "score": st.none() | st.floats(0.001, 0.9).map(lambda value: round(value, 3)),
        "selected_by": st.none() | st.sampled_from(SELECTORS),
        "result": st.sampled_from(RESULTS),
    }
)
FIELDS = ("selected", "presented", "known", "positives", "offences", "scored", "scored_positives")


def count_plainly(rows: list[dict[str, Any]], part: str | None, value: str | None) -> dict[str, float]:
    found: Counter[str] = Counter()
    for row in rows:
        if row["selected_by"] is None or (part is not None and row[part] != value):
            continue
        result, is_scored = row["result"], row["score"] is not None
        is_known = result not in (None, "pending")
        found["selected"] += 1
        found["presented"] += result is not None
        found["known"] += is_known
        found["positives"] += result == "nps"
        found["offences"] += is_known and result != "clear"
        found["scored"] += is_known and is_scored
        found["scored_positives"] += result == "nps" and is_scored
        found["expected"] += row["score"] if is_known and is_scored else 0
    return dict(found)


@settings(max_examples=25)
@given(st.lists(row_strategy, min_size=1, max_size=25))
def test_every_count_is_that_of_a_plain_loop(rows: list[dict[str, Any]]) -> None:
    if all(row["selected_by"] is None for row in rows):
        rows[0]["selected_by"] = "model"
    found = build_debrief(**build_operation(rows), period=PERIOD)
    parts = [("office", each) for each in OFFICES] + [("selected_by", each) for each in SELECTORS]
    for part, name in ((None, None), *parts):
        listed = [found.total] if part is None else getattr(found, f"by_{part}")
        tallies = [each for each in listed if part is None or each.part == name]
        plain = count_plainly(rows, part, name)
        if not plain:
            assert tallies == []
            continue
        (tally,) = tallies
        assert [getattr(tally, field) for field in FIELDS] == [plain[field] for field in FIELDS], name
        if plain["scored"]:
            assert tally.expected.value == pytest.approx(plain["expected"])
    for part in ("office", "channel", "week", "selected_by", "route"):
        for count in ("selected", "positives"):
            parts = [getattr(each, count) for each in getattr(found, f"by_{part}")]
            assert sum(parts) == getattr(found.total, count)
    handled = sum(each.positives for each in found.handled)
    assert handled == found.total.positives + found.total.selected - found.total.presented
    json.dumps(to_plain(found), allow_nan=False)


def hand_made() -> Debrief:
    """Twelve consignments counted by hand: six selected, one not presented, one pending, two detections."""
    given: list[tuple[float, str | None, str | None]] = [
        (0.9, "model", "nps"),
        (0.8, "model", "clear"),
        (0.1, "officer", "nps"),
        (0.2, "random", "clear"),
        (0.3, "model", None),
        (0.4, "model", "pending"),
        *[(0.01, None, "clear")] * 6,
    ]
    named = ("score", "selected_by", "result")
    inputs = build_operation([POSTAL | dict(zip(named, each, strict=True)) for each in given])
    truth = pd.DataFrame({"consignment_id": [f"C{n:03}" for n in (0, 1, 2, 4, 5, 6)], "result": ["nps"] * 6})
    alert = Alert("A1", issued_at=day(0), departure_country=make_consignment().departure_country)
    never = Alert("A2", issued_at=day(0), description_pattern="unobtainium")
    late = Alert("A3", issued_at=day(90), description_pattern="unobtainium")
    inputs["tables"] = replace(inputs["tables"], alerts=build_frame([alert, never, late], Alert))
    return build_debrief(**inputs, period=PERIOD, truth=truth)


def count_handled(handled: Any) -> dict[str, int]:
    return {each.name: each.positives for each in handled}


def test_a_small_operation_counted_by_hand_and_told_on_the_page_and_in_the_summary() -> None:
    found = hand_made()
    total = found.total
    assert (found.arrivals, total.selected, total.presented, total.known, total.positives) == (12, 6, 5, 4, 2)
    assert total.expected.value == pytest.approx(0.9 + 0.8 + 0.1 + 0.2)
    handled = {"ranked within capacity": 1, "ranked low": 1, "not presented": 1}
    assert count_handled(found.handled) == handled
    assert count_handled(found.handled_truth) == handled | {
        "inspected without detection": 1, "ranked low, not selected": 1, "result pending": 1,
    }  # fmt: skip
    (family,) = found.families
    assert (family.family, family.positives, family.quantity_g) == ("cathinone", 2, 20.0)
    counts = {each.alert_id: each.counts for each in found.alerts}
    assert [(each.matched, each.known, each.positives) for each in counts.values()] == [(12, 4, 2), (0, 0, 0)]
    assert list(counts) == ["A1", "A2"]
    ratios = [(each.selector, math.isnan(each.ratio.value)) for each in found.selectors]
    assert ratios == [("model", True), ("officer", True)]
    asked = "Ask the authors of alerts that matched nothing for other criteria"
    assert [each.what for each in found.suggestions] == ["Plan more random inspections", asked]
    detected = "Detections of new psychoactive substances: 2"
    for text in ("6 of 12 consignments were selected", detected, "Plan more random inspections"):
        assert text in summarize_debrief(found)
        assert text in build_debrief_document(found).page
    for text in ("cathinone", "<svg"):
        assert text in build_debrief_document(found).page


def test_a_withdrawn_alert_is_not_reported_and_a_later_version_replaces_the_earlier() -> None:
    versions = {
        "A1": [(-9, None, "29"), (-9, day(-2), "29")],
        "A2": [(-9, day(-2), None), (-9, None, "30")],
        "A3": [(-9, None, "31"), (90, None, "32")],
    }
    rows = [(name, *version) for name, both in versions.items() for version in both]
    alerts = build_frame([Alert(name, day(at), ends, hs_code=code) for name, at, ends, code in rows], Alert)
    valid = select_valid_alerts(alerts, PERIOD.begins, PERIOD.ends)
    assert [(each.alert_id, each.hs_code) for each in valid] == [("A2", "30"), ("A3", "31")]
    shuffled = alerts.assign(sequence=[1, 2, 3, 4, 5, 6]).iloc[[1, 0, 3, 2, 5, 4]]
    assert select_valid_alerts(shuffled, PERIOD.begins, PERIOD.ends) == valid


def test_what_arrived_before_the_period_is_ranked_among_its_own_day_if_there_are_scores() -> None:
    inputs = build_operation([ONE_FIND | {"score": score} for score in (0.9, 0.8, 0.1)])
    period = OperationPeriod(day(1.01), PERIOD.ends, PERIOD.as_of)
    found = build_debrief(**inputs | {"capacity": 1}, period=period)
    assert found.arrivals == 0
    assert count_handled(found.handled) == {"ranked within capacity": 1, "ranked low": 2}
    inputs = build_operation([ONE_FIND, ONE_FIND | {"selected_by": None, "result": "clear"}])
    truth = pd.DataFrame({"consignment_id": ["C000", "C001"], "result": ["nps"] * 2})
    found = build_debrief(inputs["tables"], PERIOD, truth=truth, capacity=1)
    assert count_handled(found.handled_truth) == {"not scored": 1, "not scored, not selected": 1}


def compare_with_random(probabilities: list[float]) -> Estimate:
    """Compare a model that detected in one of two with four random inspections, of which the first detected."""
    rows = {
        "selected_by": ["model"] * 2 + ["random"] * 4,
        "selection_probability": [1.0, 1.0, *probabilities],
        "positive": [True, False, True, False, False, False],
    }
    fixed = {"presented": True, "final": True, "offence": False, "score": np.nan}
    inspections = pd.DataFrame(rows).assign(**fixed)
    (found,) = compare_selectors(count_by(inspections, "selected_by"), inspections)
    return found.ratio


def test_random_inspections_count_with_the_inverse_of_their_probability() -> None:
    found = compare_with_random([0.5, 0.5, 0.01, 0.01])
    # Weights 2, 2, 100, 100: the detection counts 2 of 204, worth 204^2 / 20,008 inspections.
    size = 204**2 / 20_008
    factor = math.exp(1.959964 * math.sqrt(1 / 1 - 1 / 2 + 1 / (size * 2 / 204) - 1 / size))
    ratio = 0.5 / (2 / 204)
    assert (found.value, found.low, found.high) == pytest.approx((ratio, ratio / factor, ratio * factor))
    nearly_nothing = compare_with_random([1.0, 1e-7, 1e-7, 1e-7])
    assert (nearly_nothing.low, nearly_nothing.high) == (0.0, math.inf)
    assert math.isnan(compare_with_random([0.5, 0.01, np.nan, np.nan]).value), "some lack their probability"


@pytest.mark.parametrize("probability", [0.02, np.nan])
def test_random_inspections_of_one_probability_count_the_same(probability: float) -> None:
    found = compare_with_random([probability] * 4)
    plain = relative_risk(1, 2, 1, 4)
    low, high = plain.confidence_interval(0.95)
    assert (found.value, found.low, found.high) == pytest.approx((plain.relative_risk, low, high))


def test_versions_of_a_consignment_are_one_arrival_and_results_that_became_known_later_do_not_count() -> None:
    rows = [*make_late_versions("A", 1), *(make_consignment("B", received_at=day(at)) for at in (13.5, 14.5))]
    outcome = make_outcome("A", selected_at=day(1.5), inspected_at=day(2), result="nps")
    tables = build_tables(rows, [outcome], [Alert("A1", issued_at=day(0), departure_country="GB")])
    found = build_debrief(tables, PERIOD)
    assert (found.arrivals, [each.counts.matched for each in found.alerts]) == (2, [2])
    for as_of, known in ((day(2), 0), (PERIOD.as_of, 1)):
        found = build_debrief(**build_operation([ONE_FIND]), period=replace(PERIOD, as_of=as_of))
        assert (found.total.known, found.total.positives) == (known, known)


def test_an_interval_of_a_rate_is_the_exact_one() -> None:
    low, high = beta.ppf(0.025, 3, 18), beta.ppf(0.975, 4, 17)
    found = estimate_rate(3, 20)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert math.isnan(estimate_rate(0, 0).value)


def test_halves_join_to_the_distribution_of_all_trials() -> None:
    chances = np.random.default_rng(2).uniform(0.0, 0.2, 2501)
    plain = np.ones(1)
    for chance in chances:
        plain = np.convolve(plain, (1.0 - chance, chance))
    low, high = np.searchsorted(np.cumsum(plain), (0.025, 0.975))
    found = estimate_expected(chances)
    assert (found.low, found.high) == (low, high)


def test_a_period_follows_from_the_tables() -> None:
    found = find_period(build_operation([ONE_FIND])["tables"], None, None, None)
    assert (found.begins, found.as_of) == (day(1), day(4))
    assert found.ends > day(1)
