"""Rows of consignments: the same bits refitted, and nothing from later."""

import numpy as np
import pandas as pd
import pytest
from support.feature_worlds import simulate_ordered

from consignments.records import Consignment
from consignments.tables import to_alerts, to_consignments, to_outcomes
from consignments.timestamps import to_us
from consignments.visibility import get_visible_us
from features.alerts.alerts import Alerts
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.fitted import FittedParameters, fit_features
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import compute_feature_matrix

CONFIG = FeatureConfig()
KEY = Pseudonyms(b"a key of the tests, 32 bytes long")


@pytest.fixture(scope="module")
def world() -> Tables:
    return simulate_ordered(days=40, per_day=30)


@pytest.fixture(scope="module")
def fitted(world: Tables) -> FittedParameters:
    records = to_consignments(world.consignments, Consignment)[:600]
    labels = np.arange(600) % 7 == 0
    return fit_features(records, CONFIG, labels.astype(np.int8), np.ones(600))


def test_rows_without_keys_and_rows_refitted_have_the_same_bits(
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


@pytest.mark.parametrize("cut", [1, 17, 30])
def test_what_is_known_later_changes_nothing_before(
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
