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


def sample(order=NUMBER, seed=1):
    ids, periods = IDS.iloc[order].reset_index(drop=True), [each[order] for each in PERIODS]
    return sample_traffic(ids, LEARNT[order], periods, limit=600, seed=seed)


def test_a_drawn_sample_has_the_limit_keeps_what_is_learnt_from_and_stands_for_all():
    drawn = sample()
    assert drawn.is_drawn
    assert len(drawn.rows) == LEARNT.sum() + 600
    assert (drawn.stands_for[LEARNT[drawn.rows]] == 1).all()
    for period in PERIODS:
        assert drawn.stands_for[period[drawn.rows]].sum() == pytest.approx(period.sum())
    traffic, learnt = drawn.rows >= 1000, LEARNT[drawn.rows]
    assert drawn.even[traffic & ~learnt].all()
    assert 0.1 < drawn.even[traffic & learnt].mean() < 0.35, "inspected and other traffic alike"


def test_the_draw_depends_on_identifiers_and_seed_and_not_on_the_order_of_the_rows():
    order = np.random.default_rng(2).permutation(ROWS)
    assert set(order[sample(order).rows]) == set(sample().rows) != set(sample(seed=2).rows)
