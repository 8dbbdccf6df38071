"""One row for one consignment: the same bits alone and in a table, and nothing from later."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from support.messages import read_messages

from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame, check_frame, to_alerts, to_consignments, to_outcomes
from consignments.timestamps import NO_TIME, to_day, to_us
from consignments.visibility import get_known_us, get_visible_us
from features.alerts.alerts import Alerts
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters, fit_features
from features.history.live import LiveHistory, VisibleOutcome
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import compute_feature_matrix
from training.simulation.operation import simulate

CONFIG = FeatureConfig()
KEY = Pseudonyms(b"a key of the tests, 32 bytes long")
MESSAGES = Path(__file__).resolve().parents[2] / "docs" / "samples"
COLLECTED = MESSAGES.parent.parent.parent / "shared" / "data" / "messages"


@pytest.fixture(scope="module")
def world() -> Tables:
    made = simulate(days=40, per_day=30, prevalence="operation", seed=5)
    return Tables(
        check_frame(made.consignments, Consignment).frame,
        check_frame(made.outcomes, Outcome).frame,
        check_frame(made.alerts, Alert).frame,
    )


@pytest.fixture(scope="module")
def fitted(world: Tables) -> FittedParameters:
    records = to_consignments(world.consignments, Consignment)[:600]
    labels = np.arange(600) % 7 == 0
    return fit_features(records, CONFIG, labels.astype(np.int8), np.ones(600))


def test_rows_without_keys_and_rows_refitted_have_the_bits_of_rows_computed_as_a_whole(
    world: Tables, fitted: FittedParameters
) -> None:
    alerts = Alerts(to_alerts(world.alerts))
    pipeline = Pipeline(CONFIG, FittedParameters.from_plain(*fitted.to_plain()), KEY, alerts)
    unfitted = Pipeline(CONFIG, FittedParameters.create_empty(), KEY, alerts)
    records = to_consignments(world.consignments, Consignment)[:200]
    X = np.zeros((3, len(records), len(pipeline.spec)), dtype=np.float32)
    keys = np.zeros((2, len(records), len(pipeline.kinds)), dtype=np.uint64)
    pipeline.fill_rows(records, X[0], *keys)
    pipeline.fill_rows(records, X[1])
    unfitted.fill_rows(records, X[2])
    assert X[2].tobytes() != X[0].tobytes()
    pipeline.fill_fitted(records, X[2])
    assert X[1].tobytes() == X[0].tobytes()
    assert X[2].tobytes() == X[0].tobytes()


def one_by_one(tables: Tables, fitted: FittedParameters) -> NDArray[np.float32]:
    """Live: every event in the order of time, outcomes and cancellations before arrivals, then by identifier."""
    assert tables.outcomes is not None
    alerts = Alerts(to_alerts(tables.alerts)) if tables.alerts is not None else None
    pipeline = Pipeline(CONFIG, fitted, KEY, alerts)
    ledger = LiveHistory(pipeline.create_history())
    records = to_consignments(tables.consignments, Consignment)
    X = np.empty((len(records), len(pipeline.spec)), dtype=np.float32)
    events: list[tuple[int, int, str, int, Consignment | Outcome | None]] = []
    for place, record in enumerate(records):
        assert record.received_at is not None
        events.append((to_us(record.received_at), 1, record.consignment_id, place, record))
        if record.cancelled_at is not None:
            events.append((to_us(record.cancelled_at), 0, record.consignment_id, place, None))
    for place, outcome in enumerate(to_outcomes(tables.outcomes)):
        events.append((get_visible_us(outcome), 0, outcome.consignment_id, place, outcome))
    keys = np.zeros(len(pipeline.kinds), dtype=np.uint64)
    counterparts = np.zeros_like(keys)
    for moment, _kind, name, place, event in sorted(events, key=lambda each: each[:4]):
        if isinstance(event, Outcome):
            recorded = NO_TIME if event.recorded_at is None else to_us(event.recorded_at)
            result = event.result if event.status == "inspected" else None
            ledger.record_outcome(name, VisibleOutcome(moment, get_known_us(event), recorded, None, result))
        elif event is None:
            ledger.cancel(name)
        else:
            assert event.received_at is not None
            pipeline.fill_rows([event], X[place][None], keys[None], counterparts[None])
            ledger.record_arrival(name, to_day(event.received_at), keys, counterparts, X[place])
    return X


def test_a_table_and_one_by_one_give_the_same_bits(world: Tables, fitted: FittedParameters) -> None:
    matrix = compute_feature_matrix(world, FeatureParameters(CONFIG, fitted, KEY))
    np.testing.assert_array_equal(matrix.X.view(np.uint32), one_by_one(world, fitted).view(np.uint32))


@pytest.mark.parametrize("folder", [MESSAGES, COLLECTED], ids=["own", "collected"])
def test_messages_in_a_table_and_one_by_one_give_the_same_bits(
    fitted: FittedParameters, folder: Path
) -> None:
    if not folder.exists():
        pytest.skip("the collected messages are not beside this checkout")
    found = read_messages(sorted(folder.rglob("*.xml")))
    frame = check_frame(build_frame(found.consignments, Consignment), Consignment).frame
    tables = Tables(frame, check_frame(build_frame([], Outcome), Outcome).frame)
    assert len(frame) >= 1
    matrix = compute_feature_matrix(tables, FeatureParameters(CONFIG, fitted, KEY))
    np.testing.assert_array_equal(matrix.X.view(np.uint32), one_by_one(tables, fitted).view(np.uint32))


def test_neither_the_key_of_pseudonyms_nor_the_rows_not_wanted_change_a_feature(
    world: Tables, fitted: FittedParameters
) -> None:
    keep = np.arange(len(world.consignments)) % 5 == 0
    other = Pseudonyms(b"another key, also 32 bytes long!!")
    some = compute_feature_matrix(world, FeatureParameters(CONFIG, fitted, other), keep=keep)
    everything = compute_feature_matrix(world, FeatureParameters(CONFIG, fitted, KEY))
    np.testing.assert_array_equal(some.X, everything.X[keep])
    np.testing.assert_array_equal(some.rows, np.flatnonzero(keep))


@pytest.mark.parametrize("cut", [1, 17, 30])
def test_what_is_known_after_a_moment_changes_nothing_before_it(
    world: Tables, fitted: FittedParameters, cut: int
) -> None:
    assert world.outcomes is not None
    received = world.consignments["received_at"]
    moment = received.min().floor("D") + pd.Timedelta(days=cut)
    before = (received < moment).to_numpy()
    visible = pd.Series([get_visible_us(each) for each in to_outcomes(world.outcomes)], world.outcomes.index)
    known = world.outcomes[visible < to_us(moment.to_pydatetime())]
    past = Tables(world.consignments[before], known, world.alerts)
    parameters = FeatureParameters(CONFIG, fitted, KEY)
    whole = compute_feature_matrix(world, parameters, keep=before)
    np.testing.assert_array_equal(compute_feature_matrix(past, parameters).X, whole.X)
