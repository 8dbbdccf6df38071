"""Claims about scored traffic."""

import numpy as np
import pandas as pd
import pytest
from support.training_judged import make_scored_period as traffic

from consignments.errors import BadInput
from training.config import EvaluationConfig
from training.evaluation.traffic import extract_slices, extract_texts

QUICK = EvaluationConfig(smallest_slice=2)


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(BadInput, match=r"row 1 of 2 .*got nan; expected .*; score"):
        traffic([0.1, np.nan], [True, False])


def test_texts_are_empty_where_a_value_or_the_whole_column_is_missing():
    frame = pd.DataFrame({"channel": ["postal", None, "air_cargo"]})
    assert extract_texts(frame, "channel").tolist() == ["postal", "", "air_cargo"]
    assert extract_texts(frame, "office", np.array([0, 2])).tolist() == ["", ""]


def test_slices_are_of_the_columns_that_are_there():
    frame = pd.DataFrame({"channel": ["postal", "air_cargo"], "departure_country": ["NL", "CN"]})
    slices = extract_slices(frame, np.array([1]))
    assert {kind: values.tolist() for kind, values in slices.items()} == {
        "channel": ["air_cargo"],
        "departure": ["CN"],
    }
