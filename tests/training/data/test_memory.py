"""Claims about the memory that a training needs."""

from pathlib import Path

import pytest

from consignments.errors import BadInput
from training.data.memory import TrainingSize, find_memory_bytes, require_memory

SIZE = TrainingSize(10_000_000, 3_000_000, 2_500_000, 500_000, fits=5, features=627)


def test_workers_that_grow_trees_leave_columns_order_and_tested_rows_to_the_command() -> None:
    one, shared = SIZE.estimate_command_bytes(), SIZE.estimate_command_bytes(4)
    assert shared == 10_000_000 * (130 + 5 * 30) + 3_000_000 * 1000 + 500_000 * 4 * 627
    assert one == shared - 500_000 * 4 * 627 + 3_000_000 * 8 * 627 + 2_500_000 * (5 * 627 + 100)


def test_workers_hold_the_bins_of_their_rows() -> None:
    assert SIZE.tree_bytes == 2_500_000 * (627 + 100)


def test_a_training_that_fits_is_accepted() -> None:
    require_memory(SIZE, 0, SIZE.estimate_command_bytes())


def test_a_training_that_does_not_fit_is_refused_with_the_setting_that_helps() -> None:
    with pytest.raises(BadInput) as refused:
        require_memory(SIZE, 0, 16 * 10**9)
    for words in (
        "3,000,000 kept rows of 10,000,000",
        "about 28.9 GB needed",
        "at most 16 GB",
        "[model] tree_workers",
        "about 1.82 GB together, and the command 7.05 GB",
        "[weights] background_rows",
    ):
        assert words in str(refused.value)


def test_workers_are_not_proposed_if_the_rest_does_not_fit_either() -> None:
    for workers in (0, 4):
        with pytest.raises(BadInput) as refused:
            require_memory(SIZE, workers, 10**9)
        assert "tree_workers" not in str(refused.value)


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr("training.data.memory.LIMIT_FILE", limit)
    whole = find_memory_bytes()
    limit.write_text("1000\n")
    assert find_memory_bytes() == 1000
    limit.write_text("max\n")
    assert find_memory_bytes() == whole > 10**8
