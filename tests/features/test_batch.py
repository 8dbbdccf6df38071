"""Tables and parameters that did not come from npsrisk are refused with what to call instead."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.examples import make_consignment, make_outcome
from support.serving_examples import make_bundle

from consignments.errors import BadInput
from consignments.files.table_writers import write_table
from consignments.records import Consignment, Item, Outcome
from consignments.tables import build_frame, check_frame, read_table
from features.batch import FeatureParameters, Tables
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.streams import compute_feature_matrix
from models.batch_scoring import build_feature_parameters
from models.bundle import load_bundle

ITEMS = (Item(description="cotton shirts", quantity=2.0),)
FRAME = build_frame([make_consignment("C1", items=ITEMS), make_consignment("C2")], Consignment)


def test_a_table_that_pandas_read_is_refused_and_check_frame_makes_it_right(tmp_path: Path) -> None:
    write_table(FRAME, tmp_path / "t.parquet")
    given = pd.read_parquet(tmp_path / "t.parquet")
    told = r"consignments, items: the table was not read by npsrisk; .*check_frame"
    with pytest.raises(BadInput, match=told):
        Tables(given)
    own = read_table(tmp_path / "t.parquet", Consignment).frame
    pd.testing.assert_frame_equal(check_frame(given, Consignment).frame, own)
    assert compute_feature_matrix(Tables(own)).X.shape[0] == 2


def test_times_as_text_are_refused_in_each_table_and_columns_without_a_value_may_have_any_type() -> None:
    with pytest.raises(BadInput, match=r"consignments, received_at: .*time zone"):
        Tables(FRAME.assign(received_at=["2024-03-04", "2024-03-05"]))
    outcomes = build_frame([make_outcome("C1")], Outcome).assign(known_at="2024-03-09")
    with pytest.raises(BadInput, match="outcomes, known_at"):
        Tables(FRAME, outcomes)
    assert len(Tables(FRAME.assign(items=np.nan, cancelled_at=None)).consignments) == 2


def test_the_plain_parameters_of_a_bundle_are_refused_and_the_right_call_is_named(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "bundle", FeatureConfig(), seed=1))
    with pytest.raises(BadInput, match=r"got dict; expected FittedParameters; use models\.batch_scoring"):
        FeatureParameters(bundle.config, bundle.fitted)  # type: ignore[arg-type]
    right = build_feature_parameters(bundle, Pseudonyms(b"a key of at least thirty-two bytes"))
    assert right.fitted.vocabularies is not None
