"""Claims about the training set; the dates are those of the example in `training.data.splits`, as of 1 July 2024."""

import numpy as np
import pandas as pd
import pytest

from consignments.errors import BadInput
from features.batch import Tables
from features.streams import FeatureInputs
from training.config import SplitConfig, TrainConfig, WeightsConfig
from training.data.splits import OUTSIDE, TEST, TRAIN, VALIDATION
from training.data.training_set import (
    ObservedTables,
    build_data_set,
    get_labels_as_of,
    get_true_labels,
    select_current_outcomes,
)

AS_OF = pd.Timestamp("2024-07-01", tz="UTC").to_pydatetime()
TIMES = ("received_at", "issued_at", "cancelled_at", "selected_at", "inspected_at", "known_at", "recorded_at")


def frame(rows):
    table = pd.DataFrame(rows)
    for column in set(TIMES) & set(table.columns):
        table[column] = pd.to_datetime(table[column], utc=True, format="ISO8601").astype(
            "datetime64[us, UTC]"
        )
    return table


def parcel(name, received, **more):
    return {"consignment_id": name, "received_at": received, **more}


def outcome(name, result, known=None, inspected=None, status="inspected", **more):
    fields = {"consignment_id": name, "selected_by": "model", "status": status, "result": result}
    return fields | {"inspected_at": inspected or known, "known_at": known} | more


def at(text):
    return pd.Timestamp(text, tz="UTC").to_pydatetime()


def labels(parcels, outcomes, moment, target="nps"):
    return get_labels_as_of(frame(parcels)["consignment_id"], frame(outcomes), at(moment), target)


TWO = [parcel("A", "2024-03-01"), parcel("B", "2024-03-01")]


def test_a_result_is_a_label_from_the_moment_it_is_visible():
    outcomes = [outcome("A", "nps", "2024-03-20T12:00", recorded_at="2024-03-21T12:00")]
    assert labels(TWO, outcomes, "2024-03-21T11:59").known.tolist() == [False, False]
    assert labels(TWO, outcomes, "2024-03-21T12:00").known.tolist() == [True, False]


def test_the_target_decides_what_is_positive():
    outcomes = [outcome("A", "controlled_drug", "2024-03-02"), outcome("B", "clear", "2024-03-02")]
    positive = {
        target: labels(TWO, outcomes, "2024-04-01", target).positive.tolist()
        for target in ("nps", "controlled_drug", "any_offence")
    }
    assert positive == {
        "nps": [False, False],
        "controlled_drug": [True, False],
        "any_offence": [True, False],
    }


def test_missed_is_never_a_negative_and_pending_never_a_label():
    outcomes = [
        outcome("A", None, inspected="2024-03-02", status="missed"),
        outcome("B", "pending", inspected="2024-03-02"),
    ]
    seen = labels(TWO, outcomes, "2024-04-01")
    assert seen.known.tolist() == [False, False]
    assert seen.missed.tolist() == [True, False]
    assert seen.pending.tolist() == [False, True]


def test_a_later_correction_is_unseen_until_it_is_visible():
    outcomes = [outcome("A", "nps", "2024-03-20"), outcome("A", "clear", "2024-04-20")]
    assert labels(TWO, outcomes, "2024-04-19").positive.tolist() == [True, False]
    after = labels(TWO, outcomes, "2024-04-20")
    assert (after.known.tolist(), after.positive.tolist()) == ([True, False], [False, False])


def test_a_result_told_late_but_known_early_does_not_replace_a_later_one():
    outcomes = [
        outcome("A", "clear", "2024-03-20", recorded_at="2024-04-10"),
        outcome("A", "nps", "2024-03-25", recorded_at="2024-03-26"),
    ]
    assert labels(TWO, outcomes, "2024-05-01").positive.tolist() == [True, False]


def test_of_results_known_at_one_moment_the_last_in_the_log_stands():
    outcomes = [
        outcome("A", "clear", "2024-03-20", sequence=9),
        outcome("A", "nps", "2024-03-20", sequence=4),
    ]
    assert select_current_outcomes(frame(outcomes), 2**62)["result"].tolist() == ["clear"]


def test_a_parcel_that_waits_for_the_laboratory_counts_as_chosen():
    outcomes = [outcome("A", "nps", "2024-03-20", inspected="2024-03-04")]
    seen = labels(TWO, outcomes, "2024-03-10")
    assert (seen.known.tolist(), seen.chosen.tolist()) == ([False, False], [True, False])


def test_truth_of_another_world_is_refused():
    with pytest.raises(BadInput, match="another simulated world"):
        get_true_labels(
            frame(TWO)["consignment_id"], pd.DataFrame({"consignment_id": ["Z"], "result": ["nps"]}), "nps"
        )


PERIODS = {TRAIN: "2024-02", VALIDATION: "2024-04", TEST: "2024-06"}


def world(extra_parcels=(), extra_outcomes=()):
    """One NPS find and one clear parcel in each period, and ten unopened parcels."""
    parcels, outcomes = [], []
    for month in PERIODS.values():
        for name, result in (("N", "nps"), ("C", "clear")):
            parcels.append(parcel(f"{month}{name}", f"{month}-10"))
            outcomes.append(outcome(f"{month}{name}", result, f"{month}-15"))
        parcels += [parcel(f"{month}u{n}", f"{month}-11") for n in range(10)]
    parcels += [parcel("first", "2024-01-01"), parcel("last", "2024-06-28")]
    outcomes.append(outcome("last", "clear", "2024-06-29"))
    return frame([*parcels, *extra_parcels]), frame([*outcomes, *extra_outcomes])


def build(parcels, outcomes, *, held_out="validation and test", offered=None, **weights):
    settings = WeightsConfig(**({"background_share": 0.5} | weights))
    config = TrainConfig(split=SplitConfig(label_delay_days=14), weights=settings)
    return build_data_set(ObservedTables(parcels, outcomes, AS_OF, offered), "nps", config, held_out=held_out)


def row_of(parcels, name):
    return int(np.flatnonzero(parcels["consignment_id"] == name)[0])


def test_each_period_gets_its_labels_and_its_background():
    parcels, outcomes = world()
    data = build(parcels, outcomes)
    for part in PERIODS:
        assert (data.labels.known & (data.part == part)).sum() == 2
    assert data.background[data.part == TRAIN].sum() == 6  # of ten and the first parcel, half
    assert data.background[data.part == VALIDATION].sum() == 5
    assert not data.background[data.part == TEST].any()


def test_a_model_that_goes_to_work_at_once_learns_up_to_the_label_delay():
    parcels, outcomes = world()
    data = build(parcels, outcomes, held_out="validation")
    part = {month: data.part[row_of(parcels, f"{month}N")] for month in PERIODS.values()}
    assert part == {"2024-02": TRAIN, "2024-04": TRAIN, "2024-06": VALIDATION}
    assert not (data.part == TEST).any()


def test_background_is_drawn_of_what_was_kept_and_stands_for_all_of_it():
    parcels, outcomes = world()
    kept = parcels["consignment_id"].str.endswith(("u1", "u2", "u3")).to_numpy()
    data = build(parcels, outcomes, offered=kept, background_share=1.0)
    assert (data.background == (kept & (data.part != TEST))).all()
    assert data.traffic_weight[row_of(parcels, "2024-04u1")] == pytest.approx(10 / 3)


def test_a_training_parcel_whose_result_came_after_the_test_began_has_no_label():
    parcels, outcomes = world(
        [parcel("L", "2024-03-20")], [outcome("L", "nps", "2024-05-21", inspected="2024-03-22")]
    )
    data = build(parcels, outcomes)
    late = row_of(parcels, "L")
    assert data.part[late] == TRAIN
    assert not data.labels.known[late]
    assert not data.background[late]
    assert data.report[0]["known_too_late"] == 1


def test_the_opened_are_never_taken_for_background():
    waiting = [parcel(f"W{n}", "2024-03-20") for n in range(20)]
    parcels, outcomes = world(
        waiting, [outcome(p["consignment_id"], "nps", "2024-06-01", inspected="2024-03-22") for p in waiting]
    )
    data = build(parcels, outcomes, background_share=1.0)
    assert not data.background[parcels["consignment_id"].str.startswith("W")].any()


def test_only_the_latest_version_of_an_amended_consignment_is_used():
    parcels, outcomes = world([parcel("V", "2024-06-10"), parcel("V", "2024-06-11")])
    parcels["sequence"] = np.arange(len(parcels))
    data = build(parcels, outcomes)
    assert data.part[-2:].tolist() == [OUTSIDE, TEST]
    assert data.report[2]["amended_later"] == 1


def test_a_late_version_is_not_learnt_from():
    versions = [
        parcel("V", "2024-06-10", issued_at="2024-06-09"),
        parcel("V", "2024-06-11", issued_at="2024-06-11"),
        parcel("V", "2024-06-12", issued_at="2024-06-10"),
    ]
    parcels, outcomes = world(versions, [outcome("V", "nps", "2024-06-14")])
    parcels["sequence"] = np.arange(len(parcels))
    data = build(parcels, outcomes)
    assert data.part[-3:].tolist() == [OUTSIDE, TEST, OUTSIDE]
    assert data.report[2]["amended_later"] == 2


def test_an_amendment_after_the_inspection_is_not_learnt_from():
    versions = [parcel("V", "2024-06-10"), parcel("V", "2024-06-11"), parcel("V", "2024-06-13")]
    inspected = outcome("V", "nps", "2024-06-14", inspected="2024-06-12")
    parcels, outcomes = world(versions, [inspected])
    parcels["sequence"] = np.arange(len(parcels))
    assert build(parcels, outcomes).part[-3:].tolist() == [OUTSIDE, TEST, OUTSIDE]


def test_an_amendment_in_another_spelling_is_the_version_with_the_label():
    versions = [parcel("057-51987552", "2024-06-10"), parcel("05751987552", "2024-06-11")]
    parcels, outcomes = world(versions, [outcome("05751987552", "nps", "2024-06-14")])
    parcels["sequence"] = np.arange(len(parcels))
    tables = Tables(parcels, outcomes).unify_spellings()
    data = build(tables.consignments, tables.outcomes)
    assert data.part[-2:].tolist() == [OUTSIDE, TEST]
    assert data.labels.known[-1]
    repeatable = FeatureInputs.to_repeatable(Tables(parcels, outcomes))
    assert repeatable.consignments.take_order()["consignment_id"].tolist()[-1] == "057-51987552"
    assert repeatable.outcomes["consignment_id"].tolist()[-1] == "057-51987552"


def test_a_parcel_withdrawn_by_its_sender_is_left_out_unless_it_was_opened():
    withdrawn = [
        parcel("X", "2024-06-10", cancelled_at="2024-06-11"),
        parcel("Y", "2024-06-10", cancelled_at="2024-06-20"),
        parcel("Z", "2024-06-10", cancelled_at="2024-07-20"),
    ]
    parcels, outcomes = world(withdrawn, [outcome("Y", "clear", "2024-06-15")])
    data = build(parcels, outcomes)
    assert data.part[-3:].tolist() == [OUTSIDE, TEST, TEST]


def test_what_happens_to_a_parcel_after_the_test_begins_changes_no_row_that_is_learnt_from():
    """A parcel cancelled, one amended and one amended and inspected in June are in training as on 20 May."""
    parcels, outcomes = world(
        [
            parcel("X", "2024-03-20", cancelled_at="2024-06-11"),
            parcel("Y", "2024-03-20"),
            parcel("Y", "2024-06-10"),
            parcel("Z", "2024-03-20"),
            parcel("Z", "2024-05-15"),
        ],
        [outcome("Z", "nps", "2024-06-20", inspected="2024-05-10")],
    )
    parcels["sequence"] = np.arange(len(parcels))
    data = build(parcels, outcomes, background_share=1.0)
    assert data.part[-5:].tolist() == [TRAIN, TRAIN, TEST, TRAIN, OUTSIDE]
    assert data.background[-5:].tolist() == [True, True, False, False, False]


def test_the_background_is_drawn_within_its_limit_and_stands_for_its_traffic():
    parcels, outcomes = world()
    data = build(parcels, outcomes, background_share=1.0, background_rows=7)
    drawn = data.background & (data.part == TRAIN)
    assert data.background.sum() in (6, 7, 8)
    assert data.traffic_weight[drawn].sum() == pytest.approx(11)


@pytest.mark.parametrize("month", [PERIODS[TRAIN], PERIODS[TEST]])
def test_a_period_without_a_positive_label_is_named(month):
    parcels, outcomes = world()
    with pytest.raises(BadInput, match=r"period has no positive label.*got 0 positive and"):
        build(parcels, outcomes[outcomes["consignment_id"] != f"{month}N"])


def test_a_validation_without_finds_is_taken_as_it_is():
    parcels, outcomes = world()
    data = build(parcels, outcomes[outcomes["consignment_id"] != "2024-04N"])
    assert data.report[1]["positive"] == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"consignment_id": "other"},
            r"7 outcomes, 7 of them final.*identifiers of outcomes and consignments match .*'other'",
        ),
        (
            {"result": "pending"},
            r"7 outcomes, 0 of them final.*provide final results \(clear, controlled_drug",
        ),
        (
            {"known_at": pd.Timestamp("2025-03-01", tz="UTC")},
            r"0 of these visible.*the first result is visible on 2025-03-01",
        ),
    ],
)
def test_without_any_visible_result_the_error_says_why(change, told):
    parcels, outcomes = world()
    with pytest.raises(BadInput, match=told):
        build(parcels, outcomes.assign(**change))
