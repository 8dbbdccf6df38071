"""An estimate says what it rests on, and is shown only if enough results carry it."""

import numpy as np
import pytest

from training.evaluation.estimate import Estimate, attach_finds, describe_estimate

NAN = float("nan")


@pytest.mark.parametrize(
    ("estimate", "said"),
    [
        (Estimate(0.4, 0.3, 0.5, effective=41, known=60), "40.0 % (30.0 to 50.0)"),
        (Estimate(0.4, 0.3, 0.5, effective=5, known=16), "too few results: 16 known, about 16 more needed"),
        (
            Estimate(0.14, 0.0, 0.97, effective=30, known=69),
            "too few results: 69 known, about 191 more needed",
        ),
        (Estimate(NAN, NAN, NAN, effective=0, known=0), "too few results: 0 known, about 10 more needed"),
        (Estimate(1.2, 0.7, 2.1, effective=20, known=20, is_share=False), "1.2 (0.7 to 2.1)"),
        (Estimate(0.4, NAN, NAN, effective=20, known=20), "too few results: 20 known, of too few days"),
    ],
    ids=["carried", "few effective finds", "wide interval", "no find", "a wide ratio", "one day"],
)
def test_an_estimate_is_shown_only_if_enough_results_carry_it(estimate: Estimate, said: str) -> None:
    assert describe_estimate(estimate).startswith(said)
    assert estimate.is_shown == (not said.startswith("too few"))
    assert np.isnan(estimate.shown) == said.startswith("too few")
    assert bool(estimate.to_row()["why"]) == said.startswith("too few")


def test_one_large_weight_makes_few_effective_finds() -> None:
    found = attach_finds(Estimate(0.5, 0.4, 0.6), np.array([1000.0, *[1.0] * 99]))
    assert found.known == 100
    assert found.effective < 1.3
    assert found.largest > 0.9
    assert not found.is_shown
