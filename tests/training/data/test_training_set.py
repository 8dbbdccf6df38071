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
    for name in table.columns.intersection(TIMES):
        table[name] = pd.to_datetime(table[name], utc=True, format="ISO8601").dt.as_unit("us")
    return table


def parcel(name, received, **more):
    return {"consignment_id": name, "received_at": received, **more}


def outcome(name, result, known=None, inspected=None, status="inspected", **more):
    fields = {"consignment_id": name, "selected_by": "model", "status": status, "result": result}
    return fields | {"inspected_at": inspected or known, "known_at": known} | more


def at(text):
    return pd.Timestamp(text, tz="UTC").to_pydatetime()


TWO = frame([parcel("A", "2024-03-01"), parcel("B", "2024-03-01")])
TOLD_LATER = outcome("A", "nps", "2024-03-20T12:00", recorded_at="2024-03-21T12:00")
CORRECTED = [outcome("A", "nps", "2024-03-20"), outcome("A", "clear", "2024-04-20")]
KNOWN_EARLY = outcome("A", "clear", "2024-03-20", recorded_at="2024-04-10")
TOLD_LAST = [KNOWN_EARLY, outcome("A", "nps", "2024-03-25", recorded_at="2024-03-26")]
OF_TWO = [outcome("A", "controlled_drug", "2024-03-02"), outcome("B", "clear", "2024-03-02")]
LABELS = {
    "a result is no label before it is visible": ([TOLD_LATER], "2024-03-21T11:59", "nps", "", ""),
    "a result is a label from the moment it is visible": ([TOLD_LATER], "2024-03-21T12:00", "nps", "A", "A"),
    "another offence is no positive of the target nps": (OF_TWO, "2024-04-01", "nps", "AB", ""),
    "the target decides what is positive": (OF_TWO, "2024-04-01", "controlled_drug", "AB", "A"),
    "each offence is positive for any offence": (OF_TWO, "2024-04-01", "any_offence", "AB", "A"),
    "a later correction is unseen until it is visible": (CORRECTED, "2024-04-19", "nps", "A", "A"),
    "a visible correction replaces the result": (CORRECTED, "2024-04-20", "nps", "A", ""),
    "a result told late but known early replaces no later one": (TOLD_LAST, "2024-05-01", "nps", "A", "A"),
}


@pytest.mark.parametrize(("outcomes", "moment", "target", "known", "positive"), LABELS.values(), ids=LABELS)
def test_labels_are_the_results_visible_at_the_moment(outcomes, moment, target, known, positive):
    found = get_labels_as_of(TWO["consignment_id"], frame(outcomes), at(moment), target)
    assert "".join(TWO["consignment_id"][found.known]) == known
    assert "".join(TWO["consignment_id"][found.positive]) == positive


def test_missed_is_never_a_negative_pending_never_a_label_and_what_waits_counts_as_chosen():
    missed = outcome("A", None, inspected="2024-03-02", status="missed")
    pending = outcome("B", "pending", inspected="2024-03-02")
    seen = get_labels_as_of(TWO["consignment_id"], frame([missed, pending]), at("2024-04-01"), "nps")
    assert not seen.known.any()
    assert (seen.missed.tolist(), seen.chosen.tolist()) == ([True, False], [True, True])
    waiting = frame([outcome("A", "nps", "2024-03-20", inspected="2024-03-04")])
    seen = get_labels_as_of(TWO["consignment_id"], waiting, at("2024-03-10"), "nps")
    assert (seen.known.any(), seen.chosen.tolist()) == (False, [True, False])


def test_of_results_known_at_one_moment_the_last_in_the_log_stands():
    outcomes = [outcome("A", result, "2024-03-20", sequence=at) for result, at in (("clear", 9), ("nps", 4))]
    assert select_current_outcomes(frame(outcomes), 2**62)["result"].tolist() == ["clear"]


def test_truth_of_another_world_is_refused():
    other = pd.DataFrame({"consignment_id": ["Z"], "result": ["nps"]})
    with pytest.raises(BadInput, match="another simulated world"):
        get_true_labels(TWO["consignment_id"], other, "nps")


PERIODS = {TRAIN: "2024-02", VALIDATION: "2024-04", TEST: "2024-06"}


def world(extra_parcels=(), extra_outcomes=()):
    """One NPS find and one clear parcel in each period, and ten unopened parcels; `sequence` as they were logged."""
    parcels, outcomes = [], []
    for month in PERIODS.values():
        for name, result in (("N", "nps"), ("C", "clear")):
            parcels.append(parcel(f"{month}{name}", f"{month}-10"))
            outcomes.append(outcome(f"{month}{name}", result, f"{month}-15"))
        parcels += [parcel(f"{month}u{n}", f"{month}-11") for n in range(10)]
    parcels += [parcel("first", "2024-01-01"), parcel("last", "2024-06-28"), *extra_parcels]
    outcomes.append(outcome("last", "clear", "2024-06-29"))
    whole = frame(parcels)
    return whole.assign(sequence=np.arange(len(whole))), frame([*outcomes, *extra_outcomes])


WORLD = world()


def build(parcels, outcomes, *, held_out="validation and test", offered=None, **weights):
    settings = WeightsConfig(**({"background_share": 0.5} | weights))
    config = TrainConfig(split=SplitConfig(label_delay_days=14), weights=settings)
    return build_data_set(ObservedTables(parcels, outcomes, AS_OF, offered), "nps", config, held_out=held_out)


def row_of(parcels, name):
    return int(np.flatnonzero(parcels["consignment_id"] == name)[0])


def test_each_period_gets_its_labels_and_its_background():
    data = build(*WORLD)
    for part, background in ((TRAIN, 6), (VALIDATION, 5), (TEST, 0)):
        mine = data.part == part
        assert (data.labels.known & mine).sum() == 2
        assert data.background[mine].sum() == background, "half of ten, and of the first parcel"


def test_a_model_that_goes_to_work_at_once_learns_up_to_the_label_delay():
    data = build(*WORLD, held_out="validation")
    part = {month: data.part[row_of(WORLD[0], f"{month}N")] for month in PERIODS.values()}
    assert part == {"2024-02": TRAIN, "2024-04": TRAIN, "2024-06": VALIDATION}
    assert not (data.part == TEST).any()


def test_background_is_drawn_of_what_was_kept_within_its_limit_and_stands_for_all_of_it():
    kept = WORLD[0]["consignment_id"].str.endswith(("u1", "u2", "u3")).to_numpy()
    data = build(*WORLD, offered=kept, background_share=1.0)
    assert (data.background == (kept & (data.part != TEST))).all()
    assert data.traffic_weight[row_of(WORLD[0], "2024-04u1")] == pytest.approx(10 / 3)
    limited = build(*WORLD, background_share=1.0, background_rows=7)
    assert limited.background.sum() in (6, 7, 8)
    drawn = limited.background & (limited.part == TRAIN)
    assert limited.traffic_weight[drawn].sum() == pytest.approx(11)


def test_a_training_parcel_whose_result_came_after_the_test_began_has_no_label():
    late = outcome("L", "nps", "2024-05-21", inspected="2024-03-22")
    data = build(*world([parcel("L", "2024-03-20")], [late]))
    assert (data.part[-1], data.labels.known[-1], data.background[-1]) == (TRAIN, False, False)
    assert data.report[0]["known_too_late"] == 1


def test_the_opened_are_never_taken_for_background():
    names = [f"W{n}" for n in range(20)]
    waiting = [outcome(name, "nps", "2024-06-01", inspected="2024-03-22") for name in names]
    data = build(*world([parcel(name, "2024-03-20") for name in names], waiting), background_share=1.0)
    assert not data.background[-20:].any()


def versions(*received, issued=None, **more):
    """Parcels of one name, as many as moments of receipt."""
    rows = [parcel("V", f"2024-{moment}", **more) for moment in received]
    told = [{}] * len(rows) if issued is None else [{"issued_at": f"2024-{moment}"} for moment in issued]
    return [row | each for row, each in zip(rows, told, strict=True)]


def of_versions(known, **more):
    return [outcome("V", "nps", f"2024-{known}", **more)]


LATE = versions("06-10", "06-11", "06-12", issued=("06-09", "06-11", "06-10"))
AFTER_INSPECTION = of_versions("06-14", inspected="2024-06-12")
VERSIONS = {
    "the latest": (versions("06-10", "06-11"), [], [OUTSIDE, TEST], 1),
    "a late one not": (LATE, of_versions("06-14"), [OUTSIDE, TEST, OUTSIDE], 2),
    "none after": (versions("06-10", "06-11", "06-13"), AFTER_INSPECTION, [OUTSIDE, TEST, OUTSIDE], 2),
    "withdrawn": (versions("06-10", cancelled_at="2024-06-11"), [], [OUTSIDE], 0),
    "withdrawn, opened": (versions("06-10", cancelled_at="2024-06-20"), of_versions("06-15"), [TEST], 0),
    "withdrawn after the date": (versions("06-10", cancelled_at="2024-07-20"), [], [TEST], 0),
}


@pytest.mark.parametrize(("parcels", "outcomes", "parts", "amended"), VERSIONS.values(), ids=VERSIONS)
def test_of_the_versions_of_a_parcel_the_one_that_was_inspected_is_used(parcels, outcomes, parts, amended):
    data = build(*world(parcels, outcomes))
    assert data.part[-len(parts) :].tolist() == parts
    assert data.report[2]["amended_later"] == amended


def test_an_amendment_in_another_spelling_is_the_version_with_the_label():
    named = [parcel("057-51987552", "2024-06-10"), parcel("05751987552", "2024-06-11")]
    given = Tables(*world(named, [outcome("05751987552", "nps", "2024-06-14")]))
    tables = given.unify_spellings()
    data = build(tables.consignments, tables.outcomes)
    assert data.part[-2:].tolist() == [OUTSIDE, TEST]
    assert data.labels.known[-1]
    repeatable = FeatureInputs.to_repeatable(given)
    assert repeatable.consignments.take_order()["consignment_id"].tolist()[-1] == "057-51987552"
    assert repeatable.outcomes["consignment_id"].tolist()[-1] == "057-51987552"


def test_what_happens_to_a_parcel_after_the_test_begins_changes_no_row_that_is_learnt_from():
    """A parcel cancelled, one amended and one amended and inspected in June are in training as on 20 May."""
    later = [
        parcel("X", "2024-03-20", cancelled_at="2024-06-11"),
        *(parcel(name, received) for name, received in (("Y", "2024-03-20"), ("Y", "2024-06-10"))),
        *(parcel(name, received) for name, received in (("Z", "2024-03-20"), ("Z", "2024-05-15"))),
    ]
    inspected = outcome("Z", "nps", "2024-06-20", inspected="2024-05-10")
    data = build(*world(later, [inspected]), background_share=1.0)
    assert data.part[-5:].tolist() == [TRAIN, TRAIN, TEST, TRAIN, OUTSIDE]
    assert data.background[-5:].tolist() == [True, True, False, False, False]


def without(name):
    parcels, outcomes = WORLD
    return parcels, outcomes[outcomes["consignment_id"] != name]


def test_a_training_period_without_a_positive_label_is_named():
    with pytest.raises(BadInput, match=r"period has no positive label.*got 0 positive and"):
        build(*without(f"{PERIODS[TRAIN]}N"))


@pytest.mark.parametrize("period", [VALIDATION, TEST])
def test_a_validation_or_test_without_finds_is_taken_as_it_is(period):
    assert build(*without(f"{PERIODS[period]}N")).report[period - TRAIN]["positive"] == 0
