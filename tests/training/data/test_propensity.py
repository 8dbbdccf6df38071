"""Claims about the estimated probability of a known result."""

import numpy as np
import pytest

from training.data.propensity import compute_result_weights, estimate_known_probability

ROWS = 6000
NUMBERS = np.random.default_rng(5)
X = NUMBERS.normal(size=(ROWS, 4)).astype(np.float32)
DAY = np.arange(ROWS) % 20
CHANCE = np.where(X[:, 0] > 0.5, 0.4, 0.02)
KNOWN = NUMBERS.random(ROWS) < CHANCE


def estimate(**changes):
    given = {"X": X, "known": KNOWN, "traffic": np.ones(ROWS), "day": DAY, "seed": 1} | changes
    return estimate_known_probability(**given)


def test_the_weights_bring_back_the_traffic_and_a_rate_the_opened_ones_hide():
    positive = NUMBERS.random(ROWS) < np.where(X[:, 0] > 0.5, 0.3, 0.05)
    weight = compute_result_weights(KNOWN, np.full(ROWS, np.nan), estimate())
    corrected = (weight * positive).sum() / weight.sum()
    assert corrected == pytest.approx(positive.mean(), abs=0.03)
    assert positive[KNOWN].mean() > positive.mean() + 0.08


def test_sampled_traffic_counts_as_what_it_stands_for():
    kept = KNOWN | (np.arange(ROWS) % 4 == 0)
    traffic = np.where(KNOWN, 1.0, 4.0)[kept]
    found = estimate(X=X[kept], known=KNOWN[kept], traffic=traffic, day=DAY[kept])
    assert (found * traffic).sum() == pytest.approx(KNOWN.sum(), rel=0.1)
    often = X[kept, 0] > 0.5
    assert np.median(found[often]) == pytest.approx(0.4, abs=0.08)
    assert np.median(found[~often]) == pytest.approx(0.02, abs=0.01)


def test_the_probabilities_add_up_to_about_the_number_of_results_also_if_some_are_at_their_limit():
    one_sided = np.random.default_rng(6).random(ROWS) < np.where(X[:, 0] > 1.0, 0.9, 0.001)
    found = estimate(known=one_sided)
    assert found.max() <= 1.0
    assert found.sum() == pytest.approx(one_sided.sum(), rel=0.15)


@pytest.mark.parametrize(
    ("known", "logged", "estimated", "weights"),
    [
        ([True, True, False], [0.5, 0.25, np.nan], None, [2.0, 4.0, 0.0]),
        ([True, True, True], [0.001, np.nan, 0.5], [0.2, 0.1, 0.1], [5.0, 10.0, 2.0]),
    ],
    ids=["logged alone", "both"],
)
def test_of_a_logged_and_an_estimated_probability_the_larger_holds(known, logged, estimated, weights):
    estimated = None if estimated is None else np.array(estimated)
    assert compute_result_weights(np.array(known), np.array(logged), estimated).tolist() == weights
