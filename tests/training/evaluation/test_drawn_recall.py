"""Claims about recall from the results of inspection lists, on a table small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from consignments.errors import BadInput
from training.evaluation.drawn_recall import compute_answered_shares, estimate_drawn_recall

ROWS = 12


def scores():
    return pd.DataFrame(
        {
            "consignment_id": [f"C{row}" for row in range(ROWS)],
            "score": np.linspace(0.9, 0.01, ROWS),
            "office": ["ICN"] * ROWS,
            "received_at": pd.to_datetime(["2024-03-04T01:00Z"] * ROWS).as_unit("us"),
        }
    )


def selection(probability):
    return pd.DataFrame(
        {"consignment_id": list(probability), "selection_probability": list(probability.values())}
    )


def outcomes(results):
    moment = pd.to_datetime(["2024-03-10T00:00Z"] * len(results)).as_unit("us")
    never = pd.to_datetime([None] * len(results), utc=True).as_unit("us")
    return pd.DataFrame(
        {
            "consignment_id": list(results),
            "selected_by": "model",
            "selection_probability": np.nan,
            "selected_at": moment,
            "inspected_at": moment,
            "known_at": moment,
            "recorded_at": never,
            "status": ["missed" if result is None else "inspected" for result in results.values()],
            "result": list(results.values()),
        }
    )


DRAWN = selection({"C0": 1.0, "C1": 1.0, "C5": 0.25, "C9": 0.25})


def test_a_find_of_the_lower_scores_stands_for_those_that_were_not_drawn():
    given = outcomes({"C0": "nps", "C1": "nps", "C5": "nps", "C9": "clear"})
    found = estimate_drawn_recall(scores(), DRAWN, given, capacity=3, target="nps")
    assert found.recall.value == pytest.approx(2 / 6)
    assert (found.chosen, found.results, found.finds) == (4, 4, 3)
    assert found.recall.low < 2 / 6 < found.recall.high


def test_what_was_missed_is_no_negative():
    given = outcomes({"C0": "nps", "C1": "nps", "C5": "nps", "C9": None})
    found = estimate_drawn_recall(scores(), DRAWN, given, capacity=3, target="nps")
    assert found.recall.value == pytest.approx(2 / 10)
    assert (found.chosen, found.results) == (4, 3)


def test_the_answered_share_is_of_each_side():
    within, probability = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.5, 0.1, 0.1])
    known = np.array([True, False, True, True])
    assert compute_answered_shares(within, probability, known).tolist() == pytest.approx([1 / 3, 1 / 3, 1, 1])


def test_a_chosen_consignment_without_a_score_is_named():
    with pytest.raises(BadInput, match="'other'"):
        estimate_drawn_recall(
            scores(), selection({"other": 0.5}), outcomes({"other": "nps"}), capacity=3, target="nps"
        )
