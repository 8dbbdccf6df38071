"""Small scored periods and stored scores, from which tests of figures, verdicts, charts and pages start."""

import numpy as np
import pandas as pd

from training.config import EvaluationConfig
from training.evaluation.stored_scores import StoredScores
from training.evaluation.traffic import ScoredPeriod

QUICK = EvaluationConfig(smallest_slice=5)


def make_scored_period(score, positive, labelled=None, weight=None, day=None, office=None, **slices):
    """Give literal traffic: every row labelled, four days, one office, unless given."""
    rows = len(score)
    labelled = np.ones(rows, dtype=bool) if labelled is None else np.array(labelled, dtype=bool)
    return ScoredPeriod(
        score=np.array(score, dtype=float),
        day=np.arange(rows) % 4 if day is None else np.array(day),
        office=np.full(rows, "Incheon", dtype=object) if office is None else np.array(office, dtype=object),
        labelled=labelled,
        positive=np.array(positive, dtype=bool) & labelled,
        weight=labelled.astype(float) if weight is None else np.array(weight, dtype=float),
        slices={kind: np.array(values, dtype=object) for kind, values in slices.items()},
    )


def build_stored_scores(rows=3000, seed=4):
    """Give the stored scores of two windows with 14 days each: every tenth row has a result, and the truth is known."""
    numbers = np.random.default_rng(seed)
    risk = np.exp(numbers.normal(-4, 1.5, rows)).clip(0, 0.9)
    day = 20_000 + np.arange(rows) % 28
    late = day >= 20_014
    truth = numbers.random(rows) < risk
    labelled = (numbers.random(rows) < 0.1) | (truth & (numbers.random(rows) < 0.5))
    drawn, noise = numbers.random(rows), np.exp(numbers.normal(0, 2, rows))
    scores = {"rank": risk, "baseline_random": drawn, "baseline_rules": risk * noise}
    ranks = {name: pd.Series(score).groupby(late).rank(pct=True) for name, score in scores.items()}
    frame = pd.DataFrame(
        {
            "consignment_id": [f"C{row}" for row in range(rows)],
            "window": np.where(late, "2024-10-18", "2024-10-04"),
            "day": day,
            "office": "Incheon",
            "channel": np.where(np.arange(rows) % 3 == 0, "postal", "air_cargo"),
            "service": "parcel",
            "departure_country": "CN",
            "consignee": "person",
            "stands_for": 1.0,
            "labelled": labelled,
            "positive": truth & labelled,
            "chosen_by": np.where(labelled, "rule", ""),
            "weight": np.where(labelled, 1.0 / np.where(truth, 0.55, 0.1), 0.0),
            "guessed": False,
            "probability": risk,
            "true_positive": pd.array(truth, "boolean"),
            **ranks,
        }
    )
    return StoredScores(frame)
