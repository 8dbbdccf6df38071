"""Two versions on the same consignments: counted finds first, only what they rank differently moves a difference, nothing personal."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import make_bundle
from support.training_judged import build_stored_scores

from consignments.errors import BadInput
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, check_frame
from features.batch import BATCH_KEY, Tables
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import load_bundle
from models.reasons.sentences import format_amount
from models.registry import ModelVersion
from training.config import EvaluationConfig
from training.data.splits import ArrivalWindow
from training.evaluation.stored_scores import StoredScores
from training.promotion import comparison as comparing
from training.promotion.comparison_report import (
    describe_comparison,
    draw_comparison,
    render_comparison,
    summarize_comparison,
)
from training.reporting.html import format_estimate

SETTINGS = EvaluationConfig(smallest_slice=5)
FIRST, SECOND = (ModelVersion("nps-risk", number, "run", {"target": "nps"}, ()) for number in "12")
LATER = day(40)
"""After the date of the bundles."""
ROWS = 300
Sides = tuple[comparing.FitScores, comparing.FitScores]


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Sides:
    """Two models that were never trained on what is compared."""
    folder = tmp_path_factory.mktemp("bundles")
    one, other = (make_bundle(folder / str(seed), FeatureConfig(), seed) for seed in (1, 2))
    return comparing.FitScores(load_bundle(one)), comparing.FitScores(load_bundle(other))


@cache
def make_tables() -> Tables:
    """Make a consignment every three hours, all inspected, and NPS in every tenth."""
    many, results, known = [], [], {"inspected_at": day(90), "known_at": day(100)}
    for n in range(ROWS):
        own = {"received_at": LATER + timedelta(hours=3 * n), "declared_value": float(n % 50)}
        many.append(make_consignment(f"C{n:04d}", **own))
        results.append(make_outcome(f"C{n:04d}", result="clear" if n % 10 else "nps", **known))
    frames = (build_frame(many, Consignment), Consignment), (build_frame(results, Outcome), Outcome)
    return Tables(*(check_frame(frame, record).frame for frame, record in frames))


def compare(
    sides: tuple[Any, comparing.FitScores],
    settings: EvaluationConfig | None = SETTINGS,
    truth: pd.DataFrame | None = None,
    begins: datetime | None = LATER,
    **tables: pd.DataFrame | None,
) -> comparing.Comparison:
    """Compare on the made tables, some of them replaced, from a day on."""
    traffic = comparing.ComparedTraffic(replace(make_tables(), **tables), truth, ArrivalWindow(begins))
    return comparing.compare(*sides, traffic, settings)


@pytest.fixture(scope="module")
def compared(sides: Sides) -> comparing.Comparison:
    return compare(sides)


def test_a_comparison_has_the_capacity_of_the_training_run(sides: Sides) -> None:
    reference = SimpleNamespace(first_day=f"{LATER:%Y-%m-%d}", capacity=7)
    with_reference = comparing.FitScores(replace(sides[1].fit, reference=reference))
    found = compare((sides[0], with_reference), settings=None)
    assert (found.pair.a.daily_capacity, found.pair.b.daily_capacity) == (7, 7)
    said = summarize_comparison(found, "version 1", "version 2")
    assert said.startswith(f"Of 30 known NPS among {found.pair.b.arrivals.describe()}, version 1 ranks ")
    assert "within the capacity of 7 a day" in said


def test_a_disagreement_has_goods_route_and_reasons(sides: Sides, compared: comparing.Comparison) -> None:
    assert compared.disagreements
    for model, side in zip(sides, "ab", strict=True):
        scored = score_all(model, ScoreColumns(reasons=3, lowering=True)).set_index("consignment_id")
        for row in compared.disagreements:
            name = row["consignment_id"]
            reasons = msgspec.json.decode(scored.loc[name, "reasons"])
            told = [reason for reason in reasons if reason["facts"]]
            texts = [f"{reason['text']} ({reason['direction']} the score)" for reason in told]
            assert row[f"reasons_{side}"] == comparing.REASON_SEPARATOR.join(texts)
            assert row[f"score_{side}"] == scored.loc[name, "score"]
    row = compared.disagreements[0]
    given = make_tables().consignments.set_index("consignment_id").loc[row["consignment_id"]]
    assert (row["goods"], row["route"].split(" ")[0]) == (given["description"], given["departure_country"])
    value = f"{format_amount(given['declared_value'])} {given['currency']}"
    assert row["value"] == value, "29 USD stood above 28.96 USD"
    assert set(row) == set(comparing.DISAGREEMENT_COLUMNS)
    assert not re.search("Orchid|Kim", str(compared.disagreements)), "they name no person"
    page = " ".join(render_comparison(compared, FIRST, SECOND).split())
    assert "Scores of version 1 and version 2 are those of the evaluation fit, whose level is not" in page
    assert "so dollars of one consignment may differ between the versions" in page


def score_all(model: comparing.FitScores, columns: ScoreColumns) -> pd.DataFrame:
    made = make_tables()
    given = FeatureInputs.from_tables(made, made.consignments.iloc[:0])
    return score_table(model.fit, given, Pseudonyms(BATCH_KEY), columns=columns)


def test_without_outcomes_nothing_is_compared(sides: Sides) -> None:
    with pytest.raises(BadInput, match=r"--outcomes: .*got no table; expected .*; provide --outcomes"):
        compare(sides, outcomes=None)


def test_a_comparison_begins_when_neither_model_has_learnt_of_the_arrivals(sides: Sides) -> None:
    assert compare(sides, begins=None).begins == sides[0].fit.unseen_from == day(28).replace(hour=0)


def test_a_seized_house_that_its_master_amends_later_counts_once(sides: Sides) -> None:
    versions = make_tables().consignments.assign(sequence=np.arange(ROWS))
    amended = versions.iloc[[0]].assign(sequence=ROWS, received_at=pd.Timestamp(day(95)).as_unit("us"))
    withdrawn = pd.Timestamp(day(60)).as_unit("us")
    versions["cancelled_at"] = pd.Series(withdrawn, versions.index).where(versions.index == 7)
    both = pd.concat([versions, amended], ignore_index=True)
    found = compare(sides, consignments=both, outcomes=make_tables().outcomes.drop(index=7))
    assert (found.consignments, found.labelled, found.pair.b.counts.known) == (ROWS - 1, ROWS - 1, 30)


def test_arrivals_whose_results_are_not_known_yet_are_left_out(sides: Sides) -> None:
    made = make_tables()
    early = made.outcomes.assign(known_at=pd.Timestamp(day(72)).as_unit("us"))
    # A pending row that becomes visible later moves nothing: it has no result.
    pending = make_outcome("C0299", result="pending", known_at=None, inspected_at=day(95))
    late = pd.concat([early, check_frame(build_frame([pending], Outcome), Outcome).frame])
    found, moved = (compare(sides, begins=None, outcomes=outcomes) for outcomes in (early, late))
    assert moved.notes[0] == found.notes[0]
    settled = made.consignments["received_at"] < pd.Timestamp(day(72)).floor("D") - pd.Timedelta(days=21)
    assert found.consignments == settled.sum() < ROWS
    assert found.notes[0].startswith(f"{ROWS - found.consignments} arrivals from ")
    chosen = comparing.ComparedTraffic(replace(made, outcomes=early), window=ArrivalWindow(ends=day(100)))
    assert comparing.compare(*sides, chosen, SETTINGS).consignments == ROWS


def test_results_without_a_logged_probability_stand_for_what_the_declarations_estimate(sides: Sides) -> None:
    few = make_tables().outcomes.iloc[::2]
    tables = (few.assign(selection_probability=probability) for probability in (np.nan, 0.5))
    unlogged, logged = (compare(sides, begins=None, outcomes=table) for table in tables)
    assert "150 of 150 results have no logged probability" in unlogged.notes[-1]
    assert not logged.notes
    for each in (unlogged, logged):
        weight = each.stored.frame["weight"]
        assert weight.sum() == pytest.approx(ROWS, rel=0.2)
        assert (weight > 0).sum() == 150


def test_a_comparison_says_for_which_consignees_a_version_gains(compared: comparing.Comparison) -> None:
    rows = {row["kind"]: row for row in compared.pair.slices}
    for kind, value in (("consignee", "person"), ("channel", "postal")):
        row = rows[kind]
        assert (row["value"], row["consignments"], row["positive"]) == (value, ROWS, 30)
        assert row["difference"] == pytest.approx(compared.pair.gains["roc_auc"].value)


def test_the_truth_is_shown_apart_and_decides_nothing(sides: Sides, compared: comparing.Comparison) -> None:
    ids = make_tables().consignments["consignment_id"]
    results = np.where(np.arange(ROWS) % 7 == 0, "nps", "clear")
    found = compare(sides, truth=pd.DataFrame({"consignment_id": ids, "result": results}))
    assert compared.truth is None
    assert found.truth.b.counts.known == 43
    assert found.verdict == compared.verdict
    assert read_gains(found) == pytest.approx(read_gains(compared), nan_ok=True)


def test_each_side_has_its_interval_as_in_the_report_of_its_run(compared: comparing.Comparison) -> None:
    page = render_comparison(compared, FIRST, SECOND)
    table, text = page[page.index("By inspection results") :], describe_comparison(compared, "one", "other")
    for side in (compared.pair.a, compared.pair.b):
        shown = [name for name in comparing.COMPARED if side[name].is_shown]
        assert "recall_averaged" in shown
        for name in shown:
            value, interval = format_estimate(side[name], name)
            cell = f"{value}<br><small>{interval}</small>".replace(" %", "\N{NO-BREAK SPACE}%")
            assert cell in re.sub(r"\s*\n\s*", "", table)
            assert f"| {value} ({interval}) |" in text


def read_gains(found: comparing.Comparison) -> dict[str, float]:
    return {name: gain.value for name, gain in found.pair.gains.items()}


def test_a_slice_with_too_few_finds_has_no_number_on_the_page(compared: comparing.Comparison) -> None:
    frame = compared.stored.frame
    positive = frame["positive"] & (frame["positive"].cumsum() <= 4)
    few = replace(compared, stored=StoredScores(frame.assign(positive=positive)))
    assert [row["shown"] for row in few.pair.slices] == [0] * len(few.pair.slices)
    for found, drawn in ((compared, True), (few, False)):
        titles = [chart.title for chart in draw_comparison(found, "version 1", "version 2")]
        assert any("area under the ROC curve" in title for title in titles) == drawn
        assert ('colspan="4">too few results</td>' in render_comparison(found, FIRST, SECOND)) != drawn


def test_versions_of_other_features_are_compared_by_logged_decisions(
    sides: Sides, compared: comparing.Comparison
) -> None:
    scored = score_all(sides[0], ScoreColumns(reasons=3))[["consignment_id", "score", "reasons"]]
    about = {"received_at": make_tables().consignments["received_at"], "sequence": np.arange(ROWS)}
    decisions = scored.assign(**about, model="nps-risk", model_version="1")
    found = compare((comparing.LoggedScores.from_decisions(decisions, FIRST), sides[1]))
    assert found.sources[0].describe() == "the decisions of the service"
    assert read_gains(found) == pytest.approx(read_gains(compared), nan_ok=True)
    with pytest.raises(BadInput, match="no decision with this version"):
        comparing.LoggedScores.from_decisions(decisions, SECOND)


def test_stored_scores_are_compared_on_the_weeks_that_both_runs_tested() -> None:
    one, other = build_stored_scores(seed=4), build_stored_scores(seed=4)
    late = StoredScores(other.frame[other.frame["window"] == "2024-10-18"].reset_index(drop=True))
    found = comparing.compare_stored(one, late, "nps")
    assert found.consignments == len(late.frame)
    assert found.pair.gains["roc_auc"].value == pytest.approx(0.0)
    renamed = StoredScores(late.frame.assign(consignment_id="X" + late.frame["consignment_id"]))
    with pytest.raises(BadInput, match="no tested weeks in common"):
        comparing.compare_stored(one, renamed, "nps")


def test_a_comparison_logs_no_calibration_which_it_does_not_measure(compared: comparing.Comparison) -> None:
    assert compared.pair.b["calibration_ratio"].is_shown
    names = compared.flatten_metrics()
    assert "b/roc_auc" in names
    assert not any("calibration" in name for name in names)
