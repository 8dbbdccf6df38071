"""Two versions on the same consignments: paired by day, with `no difference` as a verdict, and nothing personal."""

from datetime import datetime, timedelta

import msgspec
import numpy as np
import pandas as pd
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import make_bundle

from consignments.errors import BadInput
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, check_frame
from features.batch import BATCH_KEY, Tables
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs
from models.batch_scoring import ScoreColumns, score_table
from models.bundle import Bundle, load_bundle
from training.config import EvaluationConfig
from training.data.splits import ArrivalWindow
from training.promotion.comparison import ComparedTraffic, compare
from training.promotion.comparison_report import summarize_comparison
from training.promotion.disagreements import DISAGREEMENT_COLUMNS, REASON_SEPARATOR

SETTINGS = EvaluationConfig(resamples=40, smallest_slice=5)
LATER = day(40)
"""After the date of the bundles."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("one") / "bundle", FeatureConfig(), 1))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("two") / "bundle", FeatureConfig(), 2))


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


def test_a_version_does_not_differ_from_itself(bundle: Bundle) -> None:
    found = compare(bundle, bundle, since(LATER), SETTINGS)
    assert found.verdict() == "no difference"
    assert {gain.value for gain in found.gains.values()} == {0.0}
    assert found.disagreements == []
    assert found.consignments == 300
    assert found.positive == 30
    assert "No significant difference between a and b" in summarize_comparison(found, "a", "b")


def test_the_difference_is_b_minus_a_and_turns_with_them(bundle: Bundle, other: Bundle) -> None:
    there = compare(bundle, other, since(LATER), SETTINGS)
    back = compare(other, bundle, since(LATER), SETTINGS)
    for name, gain in there.gains.items():
        assert gain.value == pytest.approx(there.b[name].value - there.a[name].value)
        assert gain.value == pytest.approx(-back.gains[name].value)


def test_a_single_day_decides_nothing(bundle: Bundle, other: Bundle) -> None:
    until = LATER.replace(hour=0) + timedelta(days=1)
    found = compare(bundle, other, ComparedTraffic(tables(), window=ArrivalWindow(LATER, until)), SETTINGS)
    assert np.isfinite(found.gains["recall_at_1pct"].value)
    assert all(np.isnan(gain.low) and np.isnan(gain.high) for gain in found.gains.values())
    assert found.verdict() == "no difference"
    assert "without an interval" in summarize_comparison(found, "a", "b")


def test_disagreements_name_no_person(bundle: Bundle, other: Bundle) -> None:
    found = compare(bundle, other, since(LATER), SETTINGS)
    told = str(found.disagreements)
    assert "Orchid" not in told
    assert "Kim" not in told


def test_a_disagreement_has_goods_route_and_the_reasons_of_both_models_by_the_same_history(
    bundle: Bundle, other: Bundle
) -> None:
    found = compare(bundle, other, since(LATER), SETTINGS)
    assert found.disagreements
    made = tables()
    given = FeatureInputs.from_tables(made, made.consignments.iloc[:0])
    for model, side in ((bundle, "a"), (other, "b")):
        scored = score_table(model, given, Pseudonyms(BATCH_KEY), columns=ScoreColumns(reasons=3))
        scored = scored.set_index("consignment_id")
        for row in found.disagreements:
            name = row["consignment_id"]
            texts = [reason["text"] for reason in msgspec.json.decode(scored.loc[name, "reasons"])]
            assert row[f"reasons_{side}"] == REASON_SEPARATOR.join(texts)
            assert row[f"score_{side}"] == scored.loc[name, "score"]
    row = found.disagreements[0]
    given = made.consignments.set_index("consignment_id").loc[row["consignment_id"]]
    assert row["goods"] == given["description"]
    assert row["route"].split(" ")[0] == given["departure_country"]
    assert set(row) == set(DISAGREEMENT_COLUMNS)


def test_a_period_without_arrivals_is_refused_and_says_what_to_do(bundle: Bundle) -> None:
    with pytest.raises(BadInput, match="--from"):
        compare(bundle, bundle, since(day(500)), SETTINGS)


def test_without_outcomes_and_truth_there_is_nothing_to_compare_against(bundle: Bundle) -> None:
    with pytest.raises(
        BadInput, match=r"--outcomes: .*got no table; expected .*; provide --outcomes or --truth"
    ):
        compare(
            bundle,
            bundle,
            ComparedTraffic(Tables(tables().consignments), window=ArrivalWindow(LATER)),
            SETTINGS,
        )


def test_weeks_that_a_model_has_learnt_of_are_refused(bundle: Bundle) -> None:
    assert compare(bundle, bundle, since(None), SETTINGS).begins == bundle.unseen_from
    early = bundle.unseen_from - timedelta(days=1)
    with pytest.raises(BadInput, match="was trained on consignments of this period"):
        compare(bundle, bundle, since(early), SETTINGS)


def test_a_seized_house_that_its_master_amends_later_counts_once(bundle: Bundle) -> None:
    whole = tables()
    versions = whole.consignments.assign(sequence=np.arange(300))
    amended = versions.iloc[[0]].assign(sequence=300, received_at=pd.Timestamp(day(95)).as_unit("us"))
    withdrawn = pd.Timestamp(day(60)).as_unit("us")
    versions["cancelled_at"] = pd.Series(withdrawn, versions.index).where(versions.index == 7)
    traffic = Tables(pd.concat([versions, amended], ignore_index=True), whole.outcomes.drop(index=7))
    found = compare(bundle, bundle, ComparedTraffic(traffic, window=ArrivalWindow(LATER)), SETTINGS)
    assert (found.consignments, found.labelled, found.positive) == (299, 299, 30)


def test_arrivals_whose_results_are_not_known_yet_are_left_out(bundle: Bundle) -> None:
    whole = tables()
    early = Tables(whole.consignments, whole.outcomes.assign(known_at=pd.Timestamp(day(72)).as_unit("us")))
    found = compare(bundle, bundle, ComparedTraffic(early), SETTINGS)
    settled = early.consignments["received_at"] < pd.Timestamp(day(72)).floor("D") - pd.Timedelta(days=21)
    assert found.consignments == settled.sum() < 300
    assert found.notes[0].startswith(f"{300 - found.consignments} arrivals from ")
    chosen = ComparedTraffic(early, window=ArrivalWindow(ends=day(100)))
    assert compare(bundle, bundle, chosen, SETTINGS).consignments == 300


def test_without_a_logged_probability_a_positive_may_stand_for_itself_alone(bundle: Bundle) -> None:
    whole = tables()
    few = whole.outcomes.iloc[::2]
    ends = {}
    for probability in (np.nan, 0.5):
        traffic = Tables(whole.consignments, few.assign(selection_probability=probability))
        found = compare(bundle, bundle, ComparedTraffic(traffic), SETTINGS)
        ends[probability] = found.a["precision_at_10pct"], found.notes
    (guessed, told), (logged, silent) = ends.values()
    assert guessed.value == pytest.approx(logged.value)
    assert guessed.low < logged.low
    assert guessed.high == pytest.approx(logged.high)
    assert "150 of 150 results have no logged probability" in told[-1]
    assert not silent


def test_slices_tell_where_a_version_gains(bundle: Bundle, other: Bundle) -> None:
    found = compare(bundle, other, since(None), SETTINGS)
    (postal,) = [row for row in found.slices if row["kind"] == "channel"]
    assert (postal["value"], postal["consignments"], postal["positive"]) == ("postal", 300, 30)
    gain = found.gains["roc_auc"]
    assert (postal["a"], postal["b"]) == (found.a["roc_auc"].value, found.b["roc_auc"].value)
    assert (postal["difference"], postal["low"], postal["high"]) == (gain.value, gain.low, gain.high)
