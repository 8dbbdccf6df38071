"""The plan of an operation: expectations counted by hand, and a selection that follows it."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from scipy.stats import poisson
from support.examples import day

from models.batch_scoring import build_selection_table
from models.calibration import CalibrationLevel
from operation.documents.pages import build_plan_document, summarize_plan
from operation.documents.plan import PlanDetails, build_plan, read_plan, select_by_plan

DETAILS = PlanDetails("CATalyst", day(20), day(30), "nps", explore=0.0)


def make_scores() -> pd.DataFrame:
    """Two days; Incheon has scores .9 .5 .1 each day, Busan .2 on the first."""
    rows = [
        (f"{office}-{n}-{number}", score, office, day(n) + timedelta(hours=number))
        for n in (0, 1)
        for office, scores in (("Incheon", (0.9, 0.5, 0.1)), ("Busan", (0.2,) if n == 0 else ()))
        for number, score in enumerate(scores)
    ]
    frame = pd.DataFrame(rows, columns=["consignment_id", "score", "office", "received_at"])
    received = pd.to_datetime(frame["received_at"], utc=True)
    return frame.assign(model_version="nps-risk/7", received_at=received)


def test_expectations_are_those_of_the_scores_within_capacity() -> None:
    plan = build_plan(make_scores(), {"*": 1, "Incheon": 2}, DETAILS)
    busan, incheon = plan.offices
    assert (busan.office, busan.capacity) == ("Busan", 1)
    assert (busan.expected_a_day, busan.arrivals_a_day) == (0.1, 0.5)
    assert (incheon.capacity, incheon.arrivals_a_day) == (2, 3.0)
    assert incheon.expected_a_day == pytest.approx(1.4)
    assert (incheon.one_more_a_day, busan.one_more_a_day) == (pytest.approx(0.1), 0.0)
    assert plan.expected == pytest.approx(15.0)
    assert (plan.expected_low, plan.expected_high) == tuple(poisson.ppf((0.025, 0.975), 15.0))
    assert (plan.observed_days, plan.model) == (2, "nps-risk/7")
    at_capacity = next(point for point in plan.curve if point.inspections_a_day == 3)
    assert at_capacity.expected_a_day == pytest.approx(1.5)
    random = build_plan(make_scores(), {"*": 2}, DETAILS._replace(explore=0.5))
    assert random.offices[1].expected_a_day == pytest.approx(0.9 + (0.5 + 0.1) / 2)
    page = build_plan_document(random).page
    assert [line for line in summarize_plan(random).split("\n") if line not in page] == []
    assert "<svg" in page


def test_the_uncertainty_of_the_level_widens_the_interval() -> None:
    level = CalibrationLevel(0.0, 0.5, 2.0, 40, 3)
    plan = build_plan(make_scores(), {"*": 2}, DETAILS, level)
    assert plan.expected_low == poisson.ppf(0.025, 0.5 * plan.expected)
    assert plan.expected_high == poisson.ppf(0.975, 2.0 * plan.expected)


def test_partners_are_asked_about_the_countries_of_most_expected_detections() -> None:
    scores = make_scores()
    departures = {each: "CN" if each.startswith("Incheon") else "NL" for each in scores["consignment_id"]}
    plan = build_plan(scores, {"*": 2}, DETAILS, departures=departures)
    asked = {each.departure_country: round(each.share, 3) for each in plan.requests}
    assert list(asked.items()) == [("CN", 0.933), ("NL", 0.067)]


def test_a_selection_follows_the_plan_of_each_office(tmp_path: Path) -> None:
    scores = make_scores()
    plan = build_plan(scores, {"Busan": 1, "Incheon": 2}, DETAILS)
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan))
    read = read_plan(tmp_path / "plan.json")
    assert read == plan
    chosen = select_by_plan(scores, read)
    assert chosen.groupby("office").size().to_dict() == {"Busan": 1, "Incheon": 4}
    incheon = scores[scores["office"].eq("Incheon")]
    expected = build_selection_table(incheon, capacity=2, explore=0.0, seed=0)
    mine = chosen[chosen["office"].eq("Incheon")].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, expected.reset_index(drop=True))
