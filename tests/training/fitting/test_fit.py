"""Claims about fits that run side by side."""

import time

import pytest

from training.fitting.fit import run_fits


def test_results_have_the_order_of_the_fits_and_progress_counts_them() -> None:
    seen: list[tuple[str, int, int]] = []
    fits = [lambda: time.sleep(0.05) or 1, lambda: 2, lambda: 3]
    assert run_fits(fits, jobs=2, progress=lambda *each: seen.append(each)) == [1, 2, 3]
    assert seen == [("fitting as deployed", done, 3) for done in range(4)]


def test_the_error_of_a_fit_reaches_the_caller() -> None:
    def fail() -> int:
        raise ValueError("too few positives")

    with pytest.raises(ValueError, match="too few positives"):
        run_fits([lambda: 1, fail], jobs=2)
