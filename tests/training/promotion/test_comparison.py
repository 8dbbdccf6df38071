"""Two versions on the same consignments: counted finds first, only what they rank differently moves a difference, nothing personal."""

import re
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace

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
from models.registry import ModelVersion
from training.config import EvaluationConfig
from training.data.splits import ArrivalWindow
from training.evaluation.stored_scores import StoredScores
from training.promotion.comparison import (
    COMPARED,
    DISAGREEMENT_COLUMNS,
    REASON_SEPARATOR,
    ComparedTraffic,
    Comparison,
    FitScores,
    LoggedScores,
    compare,
    compare_stored,
)
from training.promotion.comparison_report import draw_comparison, render_comparison, summarize_comparison

SETTINGS = EvaluationConfig(smallest_slice=5)
FIRST = ModelVersion("nps-risk", "1", "run", {"target": "nps"}, ())
LATER = day(40)
"""After the date of the bundles."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> FitScores:
    return FitScores(load_bundle(make_bundle(tmp_path_factory.mktemp("one") / "bundle", FeatureConfig(), 1)))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> FitScores:
    return FitScores(load_bundle(make_bundle(tmp_path_factory.mktemp("two") / "bundle", FeatureConfig(), 2)))


@pytest.fixture(scope="module")
def compared(bundle: FitScores, other: FitScores) -> Comparison:
    """All arrivals, compared without a truth."""
    return compare(bundle, other, since(LATER), SETTINGS)


def tables() -> Tables:
    many = [
        make_consignment(
            f"C{n:04d}", received_at=LATER + timedelta(hours=3 * n), declared_value=float(n % 50)
        )
        for n in range(300)
    ]
    found = [
        make_outcome(
            f"C{n:04d}", result="nps" if n % 10 == 0 else "clear", inspected_at=day(90), known_at=day(100)
        )
        for n in range(300)
    ]
    return Tables(
        check_frame(build_frame(many, Consignment), Consignment).frame,
        check_frame(build_frame(found, Outcome), Outcome).frame,
    )


def since(begins: datetime | None) -> ComparedTraffic:
    return ComparedTraffic(tables(), window=ArrivalWindow(begins))


def test_the_summary_counts_the_finds_before_it_estimates(compared: Comparison) -> None:
    found = compared
    assert (found.consignments, found.labelled, found.pair.b.counts.known) == (300, 300, 30)
    said = summarize_comparison(found, "version 1", "version 2")
    ranked = [side.counts.found["1pct"] for side in (found.pair.a, found.pair.b)]
    assert said.startswith(f"Of 30 known NPS among {found.pair.b.arrivals.describe()}, version 1 ranks ")
    assert f"(top 1 %: {round(ranked[0], 1):g} and {round(ranked[1], 1):g})" in said


def test_a_comparison_has_the_capacity_of_the_training_run(bundle: FitScores, other: FitScores) -> None:
    """A run said 2 a day and its comparison 1, each the rounded mean of its own weeks."""
    reference = SimpleNamespace(first_day=f"{LATER:%Y-%m-%d}", capacity=7)
    with_reference = FitScores(replace(other.fit, reference=reference))
    found = compare(bundle, with_reference, since(LATER))
    assert (found.pair.a.daily_capacity, found.pair.b.daily_capacity) == (7, 7)
    assert "within the capacity of 7 a day" in summarize_comparison(found, "version 1", "version 2")


def test_one_more_clear_result_moves_no_difference(bundle: FitScores, other: FitScores) -> None:
    whole = tables()
    rare = whole.outcomes.assign(selection_probability=1.0)
    rare.loc[rare.index[1], "selection_probability"] = 0.001
    without = rare.drop(index=rare.index[1])
    fixed = msgspec.structs.replace(SETTINGS, capacity=3.0)
    gains = [
        compare(
            bundle,
            other,
            ComparedTraffic(Tables(whole.consignments, outcomes), window=ArrivalWindow(LATER)),
            fixed,
        ).pair.gains
        for outcomes in (rare, without)
    ]
    for name in COMPARED:
        assert gains[0][name].value == pytest.approx(gains[1][name].value, nan_ok=True)


def test_the_difference_is_b_minus_a_and_turns_with_them(
    bundle: FitScores, other: FitScores, compared: Comparison
) -> None:
    there = compared
    back = compare(other, bundle, since(LATER), SETTINGS)
    for name in COMPARED:
        gain = there.pair.gains[name].value
        assert gain == pytest.approx(there.pair.b[name].value - there.pair.a[name].value)
        assert gain == pytest.approx(-back.pair.gains[name].value)


def test_a_disagreement_has_goods_route_and_the_reasons_of_both_models_by_the_same_history(
    bundle: FitScores, other: FitScores, compared: Comparison
) -> None:
    found = compared
    assert found.disagreements
    made = tables()
    given = FeatureInputs.from_tables(made, made.consignments.iloc[:0])
    for model, side in ((bundle, "a"), (other, "b")):
        columns = ScoreColumns(reasons=3, lowering=True)
        scored = score_table(model.fit, given, Pseudonyms(BATCH_KEY), columns=columns)
        scored = scored.set_index("consignment_id")
        for row in found.disagreements:
            name = row["consignment_id"]
            reasons = msgspec.json.decode(scored.loc[name, "reasons"])
            texts = [f"{reason['text']} ({reason['direction']} the score)" for reason in reasons]
            assert row[f"reasons_{side}"] == REASON_SEPARATOR.join(texts)
            assert row[f"score_{side}"] == scored.loc[name, "score"]
    row = found.disagreements[0]
    given = made.consignments.set_index("consignment_id").loc[row["consignment_id"]]
    assert row["goods"] == given["description"]
    assert row["route"].split(" ")[0] == given["departure_country"]
    assert set(row) == set(DISAGREEMENT_COLUMNS)
    assert not re.search("Orchid|Kim", str(found.disagreements)), "they name no person"


def test_a_period_without_arrivals_is_refused_and_says_what_to_do(
    bundle: FitScores, other: FitScores
) -> None:
    with pytest.raises(BadInput, match="--from"):
        compare(bundle, other, since(day(500)), SETTINGS)


def test_without_outcomes_there_is_nothing_to_compare_against(bundle: FitScores, other: FitScores) -> None:
    with pytest.raises(BadInput, match=r"--outcomes: .*got no table; expected .*; provide --outcomes"):
        compare(
            bundle,
            other,
            ComparedTraffic(Tables(tables().consignments), window=ArrivalWindow(LATER)),
            SETTINGS,
        )


def test_weeks_that_a_model_has_learnt_of_are_refused(bundle: FitScores, other: FitScores) -> None:
    assert compare(bundle, other, since(None), SETTINGS).begins == bundle.fit.unseen_from
    early = bundle.fit.unseen_from - timedelta(days=1)
    with pytest.raises(BadInput, match="was trained on consignments of this period"):
        compare(bundle, other, since(early), SETTINGS)


def test_a_seized_house_that_its_master_amends_later_counts_once(bundle: FitScores, other: FitScores) -> None:
    whole = tables()
    versions = whole.consignments.assign(sequence=np.arange(300))
    amended = versions.iloc[[0]].assign(sequence=300, received_at=pd.Timestamp(day(95)).as_unit("us"))
    withdrawn = pd.Timestamp(day(60)).as_unit("us")
    versions["cancelled_at"] = pd.Series(withdrawn, versions.index).where(versions.index == 7)
    traffic = Tables(pd.concat([versions, amended], ignore_index=True), whole.outcomes.drop(index=7))
    found = compare(bundle, other, ComparedTraffic(traffic, window=ArrivalWindow(LATER)), SETTINGS)
    assert (found.consignments, found.labelled, found.pair.b.counts.known) == (299, 299, 30)


def test_arrivals_whose_results_are_not_known_yet_are_left_out(bundle: FitScores, other: FitScores) -> None:
    whole = tables()
    early = Tables(whole.consignments, whole.outcomes.assign(known_at=pd.Timestamp(day(72)).as_unit("us")))
    found = compare(bundle, other, ComparedTraffic(early), SETTINGS)
    # A pending row that becomes visible later moves nothing: it has no result.
    pending = make_outcome("C0299", result="pending", known_at=None, inspected_at=day(95))
    late = pd.concat([early.outcomes, check_frame(build_frame([pending], Outcome), Outcome).frame])
    moved = compare(bundle, other, ComparedTraffic(Tables(early.consignments, late)), SETTINGS)
    assert moved.notes[0] == found.notes[0]
    settled = early.consignments["received_at"] < pd.Timestamp(day(72)).floor("D") - pd.Timedelta(days=21)
    assert found.consignments == settled.sum() < 300
    assert found.notes[0].startswith(f"{300 - found.consignments} arrivals from ")
    chosen = ComparedTraffic(early, window=ArrivalWindow(ends=day(100)))
    assert compare(bundle, other, chosen, SETTINGS).consignments == 300


def test_results_without_a_logged_probability_stand_for_what_the_declarations_estimate(
    bundle: FitScores, other: FitScores
) -> None:
    """A comparison counted each once while the report of the same recipe estimated it, so its precision was a quarter of the truth."""
    few = tables().outcomes.iloc[::2]
    found = [
        compare(
            bundle,
            other,
            ComparedTraffic(Tables(tables().consignments, few.assign(selection_probability=probability))),
            SETTINGS,
        )
        for probability in (np.nan, 0.5)
    ]
    assert "150 of 150 results have no logged probability" in found[0].notes[-1]
    assert not found[1].notes
    for each in found:
        frame = each.stored.frame
        assert frame["weight"].sum() == pytest.approx(300, rel=0.2)
        assert (frame["weight"] > 0).sum() == 150


def test_a_comparison_looks_at_each_kind_of_consignee(compared: Comparison) -> None:
    """The column was blank, so no loss of a kind of consignee could stand against a promotion."""
    assert set(compared.stored.frame["consignee"]) == {"person"}
    (row,) = [row for row in compared.pair.slices if row["kind"] == "consignee"]
    assert (row["value"], row["consignments"], row["positive"]) == ("person", 300, 30)


def test_the_truth_is_shown_apart_and_decides_nothing(
    bundle: FitScores, other: FitScores, compared: Comparison
) -> None:
    whole = tables()
    ids = whole.consignments["consignment_id"]
    truth = pd.DataFrame({"consignment_id": ids, "result": np.where(np.arange(300) % 7 == 0, "nps", "clear")})
    plain = compared
    found = compare(bundle, other, ComparedTraffic(whole, truth, ArrivalWindow(LATER)), SETTINGS)
    assert found.truth is not None
    assert plain.truth is None
    assert found.truth.b.counts.known == 43
    assert found.verdict == plain.verdict
    assert {name: gain.value for name, gain in found.pair.gains.items()} == pytest.approx(
        {name: gain.value for name, gain in plain.pair.gains.items()}, nan_ok=True
    )


def test_slices_tell_where_a_version_gains(compared: Comparison) -> None:
    found = compared
    (postal,) = [row for row in found.pair.slices if row["kind"] == "channel"]
    assert (postal["value"], postal["consignments"], postal["positive"]) == ("postal", 300, 30)
    assert postal["difference"] == pytest.approx(found.pair.gains["roc_auc"].value)


def test_a_slice_with_too_few_finds_has_no_number_on_the_page(compared: Comparison) -> None:
    whole = compared
    frame = whole.stored.frame
    positive = frame["positive"] & (frame["positive"].cumsum() <= 4)
    few = replace(whole, stored=StoredScores(frame.assign(positive=positive)))
    assert [row["shown"] for row in few.pair.slices] == [0] * len(few.pair.slices)
    for found, drawn in ((whole, True), (few, False)):
        titles = [chart.title for chart in draw_comparison(found, "version 1", "version 2")]
        assert any("area under the ROC curve" in title for title in titles) == drawn
        page = render_comparison(found, FIRST, replace(FIRST, number="2"))
        assert ('colspan="4">too few results</td>' in page) != drawn


def test_versions_of_other_features_are_compared_by_what_the_service_decided(
    bundle: FitScores, other: FitScores, compared: Comparison
) -> None:
    made = tables()
    given = FeatureInputs.from_tables(made, made.consignments.iloc[:0])
    scored = score_table(bundle.fit, given, Pseudonyms(BATCH_KEY), columns=ScoreColumns(reasons=3))
    decisions = pd.DataFrame(
        {
            "sequence": np.arange(300),
            "consignment_id": scored["consignment_id"],
            "received_at": made.consignments["received_at"],
            "score": scored["score"],
            "reasons": scored["reasons"],
            "model": "nps-risk",
            "model_version": "1",
        }
    )
    logged = LoggedScores.from_decisions(decisions, FIRST)
    found, plain = compare(logged, other, since(LATER), SETTINGS), compared
    assert found.sources[0].describe() == "the decisions of the service"
    for name in COMPARED:
        assert found.pair.gains[name].value == pytest.approx(plain.pair.gains[name].value, nan_ok=True)
    with pytest.raises(BadInput, match="no decision with this version"):
        LoggedScores.from_decisions(decisions, replace(FIRST, number="2"))


def test_stored_scores_are_compared_on_the_weeks_that_both_runs_tested() -> None:
    one, other = build_stored_scores(seed=4), build_stored_scores(seed=4)
    late = StoredScores(other.frame[other.frame["window"] == "2024-10-18"].reset_index(drop=True))
    found = compare_stored(one, late, "nps")
    assert found.consignments == len(late.frame)
    assert found.pair.gains["roc_auc"].value == pytest.approx(0.0)
    renamed = StoredScores(late.frame.assign(consignment_id="X" + late.frame["consignment_id"]))
    with pytest.raises(BadInput, match="no tested weeks in common"):
        compare_stored(one, renamed, "nps")


def test_a_comparison_logs_no_calibration_which_it_does_not_measure(compared: Comparison) -> None:
    found = compared
    assert found.pair.b["calibration_ratio"].is_shown
    names = found.flatten_metrics()
    assert "b/roc_auc" in names
    assert not any("calibration" in name for name in names)
