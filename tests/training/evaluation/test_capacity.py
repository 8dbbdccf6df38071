"""Claims about scored traffic and the inspection capacity."""

import numpy as np
import pytest
from support.training_judged import make_scored_period as traffic

from consignments.errors import BadInput
from training.config import EvaluationConfig
from training.evaluation.metrics import evaluate
from training.evaluation.traffic import compute_daily_capacity, index_office_days, select_at_capacity

QUICK = EvaluationConfig(smallest_slice=2)


def test_each_office_takes_its_best_of_each_day_with_ties_by_lot():
    group = np.array([0, 1, 1, 2, 0, 5, 3])
    office = np.array(["A", "A", "A", "A", "B", "B", "A"], dtype=object)
    day = np.array([1, 1, 1, 1, 1, 1, 2])
    assert select_at_capacity(group, index_office_days(office, day), 2).tolist() == [1, 0.5, 0.5, 0, 1, 1, 1]


def test_capacity_is_what_was_opened_unless_configured():
    labelled = np.arange(40) % 5 == 0
    day = np.repeat([1, 2], 20)
    seen = traffic(np.linspace(1.0, 0.1, 40), labelled, labelled, day=day)
    assert compute_daily_capacity(seen, QUICK) == 4
    assert compute_daily_capacity(seen, EvaluationConfig(capacity=1)) == 1
    assert evaluate(seen, EvaluationConfig(capacity=1)).counts.found["capacity"] == 2


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(BadInput, match=r"row 1 of 2 .*got nan; expected .*; score"):
        traffic([0.1, np.nan], [True, False])
