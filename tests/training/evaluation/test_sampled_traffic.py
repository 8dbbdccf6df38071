"""A row that stands for several consignments counts as if each of them were in the table."""

from typing import Any

import msgspec
import numpy as np
import pytest

from training.config import EvaluationConfig
from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.metrics import evaluate
from training.evaluation.traffic import ScoredPeriod, compute_daily_capacity

CONFIG = EvaluationConfig(smallest_slice=5)


def build(times: np.ndarray, *, complete: bool, repeated: bool) -> ScoredPeriod:
    """Build traffic whose rows stand for several consignments each, or in which they are repeated."""
    rng = np.random.default_rng(7)
    rows = len(times)
    labelled = np.ones(rows, dtype=bool) if complete else times == 1
    score = rng.random(rows).round(2)
    fields: dict[str, Any] = {
        "score": score,
        "day": rng.integers(0, 9, rows),
        "office": rng.choice(["A", "B"], rows).astype(object),
        "labelled": labelled,
        "positive": labelled & (rng.random(rows) < score),
        "weight": np.where(labelled, times if complete else rng.uniform(1, 8, rows), 0.0),
    }
    channel = rng.choice(["postal", "air_cargo"], rows).astype(object)
    if not repeated:
        return ScoredPeriod(**fields, slices={"channel": channel}, stands_for=times.astype(np.float64))
    whole = {name: np.repeat(values, times) for name, values in fields.items()}
    return ScoredPeriod(**whole, slices={"channel": np.repeat(channel, times)})


@pytest.fixture(params=[False, True], ids=["inspected", "truth"])
def both(request: pytest.FixtureRequest) -> tuple[ScoredPeriod, ScoredPeriod]:
    times = np.random.default_rng(6).choice([1, 1, 4, 7], 500)
    return tuple(build(times, complete=request.param, repeated=each) for each in (False, True))  # type: ignore[return-value]


def test_metrics_are_those_of_repeated_rows(both: tuple[ScoredPeriod, ScoredPeriod]) -> None:
    sampled, whole = (evaluate(traffic, CONFIG) for traffic in both)
    for name, estimate in whole.metrics.items():
        assert sampled[name].value == pytest.approx(estimate.value), name
    assert sampled.counts.found == pytest.approx(whole.counts.found)
    assert sampled.counts.known == whole.counts.known
    for name in ("capacity", "slices", "calibration"):
        one, other = ([row["consignments"] for row in getattr(each, name)] for each in (sampled, whole))
        assert one == other, name
    for one, other in zip(sampled.capacity, whole.capacity, strict=True):
        assert one["labelled_share"] == pytest.approx(other["labelled_share"])


def test_capacity_and_burden_are_those_of_repeated_rows(both: tuple[ScoredPeriod, ScoredPeriod]) -> None:
    assert compute_daily_capacity(both[0], CONFIG) == compute_daily_capacity(both[1], CONFIG)
    config = msgspec.structs.replace(CONFIG, capacity=5)
    for rows in zip(*(compute_fairness_rows(traffic, config) for traffic in both), strict=True):
        for name in ("consignments", "chosen", "selection_rate", "hit_rate"):
            assert rows[0][name] == pytest.approx(rows[1][name], nan_ok=True), name
