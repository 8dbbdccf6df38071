"""Claims about recall from the results of inspection lists, on a table small enough to count by hand."""

import numpy as np
import pandas as pd
import pytest

from consignments.errors import BadInput
from models.selection.selection import build_selection_table
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


def test_without_a_result_of_a_drawn_lower_score_recall_is_unknown():
    certain = selection({"C0": 1.0, "C1": 1.0, "C2": 1.0})
    found = estimate_drawn_recall(
        scores(), certain, outcomes({"C0": "nps", "C1": "clear", "C2": "clear"}), capacity=3, target="nps"
    )
    assert np.isnan(found.recall.value)
    assert (found.recall.low, found.recall.high, found.finds) == (0.0, 1.0, 1)
    pending = estimate_drawn_recall(
        scores(), DRAWN, outcomes({"C0": "nps", "C1": "nps"}), capacity=2, target="nps"
    )
    assert np.isnan(pending.recall.value)


def test_without_a_result_of_the_highest_scores_recall_is_unknown():
    found = estimate_drawn_recall(
        scores(), DRAWN, outcomes({"C5": "nps", "C9": "clear"}), capacity=2, target="nps"
    )
    assert np.isnan(found.recall.value)


def test_if_every_consignment_has_a_certain_result_recall_is_certain():
    everything = {f"C{row}": 1.0 for row in range(ROWS)}
    given = outcomes({name: "nps" if name in ("C0", "C11") else "clear" for name in everything})
    found = estimate_drawn_recall(scores(), selection(everything), given, capacity=3, target="nps")
    assert found.recall == pytest.approx((0.5, 0.5, 0.5))


def test_a_score_table_with_a_repeated_consignment_is_refused():
    twice = pd.concat([scores(), scores().iloc[:1].assign(office="PUS")], ignore_index=True)
    with pytest.raises(BadInput, match="an identifier repeats; got 'C0'"):
        estimate_drawn_recall(twice, DRAWN, outcomes({"C0": "nps"}), capacity=3, target="nps")


def test_the_interval_of_few_drawn_results_covers_the_true_recall():
    rng, rows, capacity = np.random.default_rng(4), 300, 15
    table = pd.DataFrame(
        {
            "consignment_id": [f"C{row}" for row in range(rows)],
            "score": np.linspace(0.3, 0.002, rows),
            "office": "ICN",
            "received_at": pd.to_datetime(["2024-03-04T01:00Z"] * rows).as_unit("us"),
        }
    )
    covered = []
    for seed in range(60):
        positive = rng.random(rows) < table["score"].to_numpy()
        drawn = build_selection_table(table, capacity=capacity, explore=0.2, seed=seed)
        chosen = drawn["consignment_id"].tolist()
        # About half of the results are known: sometimes none of a random inspection.
        results = {name: "nps" if positive[int(name[1:])] else "clear" for name in chosen}
        given = outcomes({name: results[name] for name in chosen if rng.random() < 0.5})
        found = estimate_drawn_recall(table, drawn, given, capacity=capacity, target="nps").recall
        covered.append(found.low <= positive[:capacity].sum() / positive.sum() <= found.high)
    assert np.mean(covered) >= 0.9
