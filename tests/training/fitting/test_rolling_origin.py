"""Rolling origins: fits at earlier moments, judged on the weeks after them."""

from datetime import timedelta

import numpy as np
import pytest
from support.examples import day
from support.made_origins import CONFIG, made_origins

from features.goods.text_weights import fit_text_weights
from training.data.splits import Period, Split
from training.fitting import rolling_origin


def test_a_find_is_worth_one_at_the_top_and_nothing_at_the_bottom():
    above = np.array([0.0005, 0.001, 0.0316227766, 1.0])
    ranks = rolling_origin.DetectionRanks(above, np.zeros(4, np.int64), np.arange(4))
    assert ranks.worth.tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_a_fit_finds_more_than_chance_and_one_without_what_tells_finds_less():
    origins = made_origins()
    whole = rolling_origin.evaluate_origins(origins, CONFIG.model, CONFIG.weights)
    blind = rolling_origin.evaluate_origins(origins, CONFIG.model, CONFIG.weights, without=[0, 1, 2, 4])
    assert len(whole.above) == sum(int(origin.window.y.sum()) for origin in origins)
    assert rolling_origin.estimate_gain(whole, whole.worth - blind.worth).low > 0
    nothing = rolling_origin.estimate_gain(whole, whole.worth - whole.worth)
    assert nothing.value == nothing.high == 0.0
    assert abs(float(np.median(blind.above)) - 0.5) < 0.2


def test_a_window_ends_a_gap_before_the_date_and_has_training_rows_a_gap_before_it():
    ends = {"train": 60, "validation": 90, "test": 120}
    periods = (Period(name, day(0), day(end), day(120)) for name, end in ends.items())
    windows = rolling_origin.iterate_windows(Split(*periods, timedelta(days=21), day(120)), day(100), 28)
    assert [*windows] == [(day(51), day(79)), (day(23), day(51))]


def test_a_gain_on_a_single_day_has_no_interval():
    same = np.zeros(3, np.int64), np.zeros(3, np.int64)
    one, other = (rolling_origin.DetectionRanks(np.full(3, above), *same) for above in (0.1, 0.5))
    assert np.isnan(rolling_origin.estimate_gain(one, one.worth - other.worth).low)


def test_the_score_of_words_is_spread_in_training_as_it_is_in_service():
    """Few finds: out of fold the training rows' scores must not lie elsewhere than those of later texts."""
    rng = np.random.default_rng(3)
    kinds = ("cotton", "phone", "toy", "vitamin")
    goods = np.array([f"{kind} {form}" for kind in kinds for form in ("case", "set", "x 2")])
    texts = goods[rng.integers(0, len(goods), 4000)].astype(object)
    positive = np.zeros(len(texts), dtype=bool)
    positive[rng.choice(len(texts), 25, replace=False)] = True
    texts[positive] = np.array(["research powder", "vitamin powder"])[rng.integers(0, 2, 25)]
    received = np.arange(len(texts))
    scored = rolling_origin.compute_text_scores(texts, positive, np.ones(len(texts)), received)
    learnt = fit_text_weights(texts.tolist(), positive.astype(np.int8), np.ones(len(texts)))
    later = rolling_origin.score_texts(goods[rng.integers(0, len(goods), 2000)].astype(object), learnt)
    shares = (0.05, 0.5, 0.95)
    apart = np.quantile(scored[~positive], shares) - np.quantile(later, shares)
    assert np.abs(apart).max() < 0.5
    told = np.median(scored[positive]) - np.median(scored[~positive])
    assert told > 1.0
