"""Claims about boosted trees that several processes grow."""

import numpy as np
import pytest

from features.buckets.cluster import find_free_port
from models.boosting import BoostingRows, BoostingTask, Peers, grow_boosted_trees, predict_boosted
from models.lightgbm_text import join_trees, list_tree_blocks, parse_trees

PARAMS = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5, "num_threads": 1, "verbosity": -1}


def grow(seed: int, trees: int, peers: Peers | None = None) -> str:
    random = np.random.default_rng(seed)
    X = random.normal(size=(200, 3)).astype(np.float32)
    rows = BoostingRows(X, (X[:, 0] > 0).astype(np.float64), np.ones(200), np.zeros(200))
    return grow_boosted_trees(BoostingTask(rows, ("a.x", "a.y", "a.z"), trees, PARAMS), peers)


def test_the_score_of_joined_models_is_the_sum_of_theirs() -> None:
    texts = [grow(seed, trees) for seed, trees in ((1, 3), (2, 12), (3, 1))]
    joined = join_trees(texts)
    X = np.random.default_rng(4).normal(size=(50, 3)).astype(np.float32)
    expected = sum(predict_boosted(text, X) for text in texts)
    np.testing.assert_allclose(predict_boosted(joined, X), expected, rtol=1e-12)
    names, trees = parse_trees(joined, "joined")
    assert (names, len(trees)) == (["a.x", "a.y", "a.z"], 16)
    assert list_tree_blocks(joined) == [block for text in texts for block in list_tree_blocks(text)]


def test_one_model_joined_is_itself() -> None:
    text = grow(1, 2)
    assert join_trees([text]) == text


def test_peers_agree_on_addresses_and_each_listens_on_its_own_port() -> None:
    params = [Peers(place, ["10.0.0.1:4000", "10.0.0.2:5000"]).build_params() for place in (0, 1)]
    assert {each["machines"] for each in params} == {"10.0.0.1:4000,10.0.0.2:5000"}
    assert [each["local_listen_port"] for each in params] == [4000, 5000]
    assert {each["num_machines"] for each in params} == {2}


def test_messages_of_the_network_do_not_reach_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    print("before")
    grow(1, 2, Peers(0, [f"127.0.0.1:{find_free_port()}"]))
    print("after")
    assert capfd.readouterr().out.splitlines() == ["before", "after"]
