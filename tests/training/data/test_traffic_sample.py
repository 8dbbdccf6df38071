"""Claims about the rows that a training run keeps of a table."""

import numpy as np
import pandas as pd
import pytest

from training.data.training_set import sample_traffic

ROWS = 4000
NUMBER = np.arange(ROWS)
IDS = pd.Series([f"C{number}" for number in NUMBER])
PERIODS = [(NUMBER >= 1000) & (NUMBER < 2000), NUMBER >= 2000]
LEARNT = NUMBER % 20 == 0


def test_a_drawn_sample_has_the_limit_keeps_what_is_learnt_from_and_stands_for_all() -> None:
    sample = sample_traffic(IDS, LEARNT, PERIODS, limit=600, seed=1)
    assert sample.is_drawn
    assert len(sample.rows) == LEARNT.sum() + 600
    assert (sample.stands_for[LEARNT[sample.rows]] == 1).all()
    for period in PERIODS:
        assert sample.stands_for[period[sample.rows]].sum() == pytest.approx(period.sum())


def test_the_even_rows_are_drawn_from_inspected_and_other_traffic_alike() -> None:
    sample = sample_traffic(IDS, LEARNT, PERIODS, limit=600, seed=1)
    traffic = sample.rows >= 1000
    learnt = LEARNT[sample.rows]
    assert sample.even[traffic & ~learnt].all()
    assert 0.1 < sample.even[traffic & learnt].mean() < 0.35


def test_the_draw_depends_on_identifiers_and_seed_and_not_on_the_order_of_the_rows() -> None:
    order = np.random.default_rng(2).permutation(ROWS)
    one = sample_traffic(IDS, LEARNT, PERIODS, limit=600, seed=1)
    other = sample_traffic(
        IDS.iloc[order].reset_index(drop=True), LEARNT[order], [each[order] for each in PERIODS], 600, 1
    )
    again = sample_traffic(IDS, LEARNT, PERIODS, limit=600, seed=2)
    assert set(order[other.rows]) == set(one.rows)
    assert set(again.rows) != set(one.rows)
