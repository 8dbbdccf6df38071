"""Each look finds its leak and nothing else."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from support.examples import MONDAY, make_consignment, make_outcome

from consignments.records import Consignment, Outcome
from consignments.tables import build_frame, check_frame
from consignments.timestamps import to_us
from features.batch import FeatureMatrix, FeatureParameters, Tables
from features.spec import Feature, Spec
from features.streams import FeatureInputs, compute_feature_matrix
from models.arrays import Row
from training.evaluation import leakage

ROWS = 200
PARAMETERS = FeatureParameters()


def tables(delay: timedelta = timedelta(days=9)) -> Tables:
    """Ten consignments a day of one sender, each opened and answered some days later."""
    arrivals = [MONDAY + timedelta(hours=2.4 * n) for n in range(ROWS)]
    many = [make_consignment(f"C{n:03d}", received_at=moment) for n, moment in enumerate(arrivals)]
    found = []
    for n, moment in enumerate(arrivals):
        times = {"inspected_at": moment + delay / 2, "known_at": moment + delay}
        found.append(make_outcome(f"C{n:03d}", result="nps" if n % 7 == 0 else "clear", **times))
    frames = (build_frame(many, Consignment), Consignment), (build_frame(found, Outcome), Outcome)
    return Tables(*(check_frame(frame, record).frame for frame, record in frames))


def described(given: Tables) -> FeatureMatrix:
    return compute_feature_matrix(given, PARAMETERS, keep=np.arange(ROWS) >= ROWS // 2)


def check_later_changes(tested: FeatureMatrix) -> Row:
    inputs = FeatureInputs.from_tables(tables())
    return leakage.check_later_changes(inputs, tested.rows, lambda at: tested.X[at], PARAMETERS)


def test_honest_features_do_not_move_when_the_tables_end_at_their_moment() -> None:
    row = check_later_changes(described(tables()))
    assert (row["look"], row["found"], row["rows"]) == (leakage.LATER_CHANGES, 0.0, ROWS // 4 + 1)


def test_features_that_knew_results_of_later_move_and_are_named() -> None:
    row = check_later_changes(described(tables(delay=timedelta(hours=1))))
    assert row["found"] == 1.0
    assert "were inspected in the last 365 days" in str(row["where"])


def test_tables_of_a_log_end_at_a_place_of_the_log() -> None:
    given = tables()
    outcomes = given.outcomes.assign(sequence=ROWS + np.arange(ROWS))
    ended = pd.array([ROWS + 2, ROWS + 9] + [None] * (ROWS - 2), "Int64")
    arrived = given.consignments.assign(sequence=np.arange(ROWS), cancelled_sequence=ended)
    logged = Tables(arrived.assign(cancelled_at=arrived["received_at"].where(~ended.isna())), outcomes)
    inputs, _ = leakage.get_inputs_as_of(FeatureInputs.from_tables(logged), to_us(MONDAY), ROWS + 4)
    seen = inputs.consignments.take_order()
    assert (len(seen), len(inputs.outcomes), list(seen.index[seen["cancelled_at"].notna()])) == (ROWS, 5, [0])


@pytest.mark.parametrize(("delay", "share"), [(timedelta(minutes=1), 0.0), (timedelta(0), 1.0)])
def test_results_dated_at_the_arrival_are_counted(delay: timedelta, share: float) -> None:
    given = tables(delay)
    for known, rows in ((ROWS, ROWS), (ROWS - 4, ROWS - 4)):
        as_of = given.outcomes["known_at"].sort_values().iloc[known - 1].to_pydatetime()
        row = leakage.check_early_results(given.consignments, given.outcomes, as_of)
        told = row["look"], row["found"], row["rows"]
        assert told == (leakage.EARLY_RESULTS, share, rows), "later ones are not known yet"


def matrix(X: np.ndarray) -> FeatureMatrix:
    names = [Feature(f"made.f{place}", "count", "r", "D") for place in range(X.shape[1])]
    return FeatureMatrix(X.astype(np.float32), np.arange(len(X)), Spec(names))


@pytest.mark.parametrize("missing", [False, True])
def test_the_column_that_is_the_result_is_named_also_where_it_only_lacks_for_finds(missing: bool) -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(2000) < 0.05
    X = rng.normal(size=(2000, 3)) + 0.8 * positive[:, None]
    honest = leakage.check_predictive_column(matrix(X), positive)
    assert 0.5 < float(honest["found"]) < leakage.BOUNDS[leakage.PREDICTIVE_COLUMN]
    X[:, 1] = np.where(positive, np.nan, 1.0) if missing else 1.0 - positive
    row = leakage.check_predictive_column(matrix(X), positive)
    assert (row["look"], row["found"], row["where"]) == (leakage.PREDICTIVE_COLUMN, 1.0, "D")
    few = leakage.check_predictive_column(matrix(X), np.arange(2000) < 3)
    assert np.isnan(few["found"]), "too few finds"


def test_a_column_that_only_opened_consignments_have_is_named_with_its_channel() -> None:
    frame = tables().consignments.assign(hs_code="851712", description="phones")
    opened = np.arange(ROWS) % 3 == 0
    assert leakage.check_filled_columns(frame, opened, Consignment)["found"] == 0.0
    told = frame.assign(hs_code=frame["hs_code"].where(opened))
    row = leakage.check_filled_columns(told, opened, Consignment)
    assert (row["look"], row["where"]) == (leakage.FILLED_COLUMN, "hs code in postal")
    assert float(row["found"]) > leakage.BOUNDS[leakage.FILLED_COLUMN]
    few = np.arange(ROWS) < 2
    rare = frame.assign(hs_code=frame["hs_code"].where(few))
    assert leakage.check_filled_columns(rare, few, Consignment)["found"] < 0.5
