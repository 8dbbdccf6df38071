"""The risk model: fit, score, bands and reasons."""

import subprocess
import sys
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_model import SPEC, Hand, fit_small, make_rows, small_model, text_of

from consignments.errors import BadInput, BundleRefused, ServiceFault
from features.spec import Feature, Spec
from models.bands import Bands
from models.calibration import Calibration
from models.risk_model import RiskModel
from models.trees import Trees

HELD_OUT = make_rows(7, 1000)


@given(st.lists(st.integers(0, len(HELD_OUT.X) - 1), min_size=1, max_size=30))
def test_a_row_gets_the_same_score_alone_among_others_and_by_the_booster(places: list[int]) -> None:
    model = small_model()
    X, channels = HELD_OUT.X[places], [HELD_OUT.channels[i] for i in places]
    many = model.score(X, channels)
    singly = [model.score(X[i : i + 1], channels[i : i + 1])[0] for i in range(len(X))]
    booster = lightgbm.Booster(model_str=model.trees.text)
    by_booster = model.calibration.calibrate(booster.predict(X, raw_score=True), channels)
    assert many.tobytes() == np.array(singly).tobytes() == by_booster.tobytes()


def test_bands_are_shares_of_the_traffic() -> None:
    model, traffic = small_model(), make_rows(2)
    bands = model.bands.assign_all(model.score(traffic.X, traffic.channels))
    assert bands.count("high") == 15  # 0.5 % of 3,000
    assert bands.count("elevated") == 60  # the next 2 %


@pytest.mark.parametrize(
    ("traffic", "score", "band"),
    [
        ([0.9] * 10 + [0.1] * 990, 0.9, "elevated"),
        ([0.9] * 10 + [0.1] * 990, 0.1, "routine"),
        ([0.2, 0.4], 0.4, "routine"),
        ([0.2, 0.4], 0.41, "high"),
    ],
    ids=["ties at a cut-off stay lower", "the rest", "seen in little traffic", "above all seen so far"],
)
def test_the_band_of_a_score_follows_from_the_traffic(traffic: list[float], score: float, band: str) -> None:
    assert Bands.from_scores(np.array(traffic)).assign(score) == band


def test_a_score_that_is_no_number_is_never_given() -> None:
    huge = Hand([0], [0.0], [-1], [-2], [4], [-1e308, 1e308], [2, 2])
    trees = Trees.from_text(text_of([huge, huge, huge], 1))
    spec = Spec([Feature("f0", "count", "made", "Made up: {value}")])
    model = RiskModel(trees, Calibration(1.0, 0.0, {}), Bands(0.2, 0.1), spec)
    with pytest.raises(ServiceFault, match="not a number"):
        model.score(np.ones((1, 1), dtype=np.float32), ["postal"])


def test_trees_on_other_features_than_the_spec_are_refused() -> None:
    model = small_model()
    swapped = Spec([SPEC.features[1], SPEC.features[0], *SPEC.features[2:]])
    with pytest.raises(BundleRefused, match=r"feature 0.*got made\.f0; expected made\.f1"):
        RiskModel(model.trees, model.calibration, model.bands, swapped)
    with pytest.raises(BundleRefused, match=r"feature 11.*got made\.f11; expected no further feature"):
        RiskModel(model.trees, model.calibration, model.bands, Spec(SPEC.features[:-1]))


def test_later_rows_without_positives_still_calibrate() -> None:
    later = make_rows(2)
    model = fit_small(later=later._replace(y=0 * later.y))
    assert model.trees.text.count("\nTree=") == 80 + len(SPEC)
    assert model.score(later.X, later.channels).mean() < 1e-3


BAD_ROWS = [
    ({"y": HELD_OUT.y * 0}, "needs positives and negatives.*got 0 positives of 1000 rows"),
    ({"y": HELD_OUT.y * 0 + 1}, "needs positives and negatives"),
    ({"y": HELD_OUT.y + 1}, "out of range"),
    ({"y": HELD_OUT.y[:-1]}, "do not fit together.*999 labels"),
    ({"weight": HELD_OUT.weight * -1}, "out of range"),
    ({"weight": HELD_OUT.weight * np.nan}, "out of range"),
    ({"channels": []}, "do not fit together.*0 channels"),
    ({"X": HELD_OUT.X[:, :-1]}, r"do not fit together.*\(1000, 11\).*expected 12 features"),
]


@pytest.mark.parametrize(("change", "said"), BAD_ROWS, ids=[said for _, said in BAD_ROWS])
def test_training_rows_that_do_not_fit_are_refused(change: Any, said: str) -> None:
    with pytest.raises(BadInput, match=f"training rows.*{said}"):
        fit_small(rows=HELD_OUT._replace(**change))


def test_without_traffic_there_are_no_bands() -> None:
    with pytest.raises(BadInput, match="no traffic"):
        fit_small(later=make_rows(2, 0))


def test_scoring_imports_neither_lightgbm_nor_pandas_nor_scikit_learn() -> None:
    heavy = "{'lightgbm', 'pandas', 'sklearn', 'mlflow', 'pyarrow'}"
    code = f"import sys, models.bundle, models.fitting.baselines, models.selection; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
