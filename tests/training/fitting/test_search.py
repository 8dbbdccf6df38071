"""Search over parameters: the given configuration first, better or equal at the end, resumable, the same again."""

from pathlib import Path
from typing import Any

import pytest
from support.made_origins import CONFIG, made_origins

from consignments.errors import BadSetting
from training.config import TrainConfig
from training.fitting.diagnostics import SEARCH_SPACE, SearchBudget, replace_parameters, search
from training.fitting.rolling_origin import DetectionRanks

ORIGINS = made_origins(1, 400)


def searched(
    trials: int, study: Path | None = None, minutes: float | None = None
) -> tuple[TrainConfig, list[dict[str, Any]]]:
    return search(ORIGINS, CONFIG, SearchBudget(trials, minutes, study), name="of a test")


def test_the_first_trial_is_the_configuration_as_given_and_the_best_is_no_worse() -> None:
    config, trials = searched(4)
    flat, chosen = CONFIG.flatten(), config.flatten()
    assert {name: trials[0][name] for name in SEARCH_SPACE} == {name: flat[name] for name in SEARCH_SPACE}
    best = next(row for row in trials if row["best"])
    assert best["worth"] == max(row["worth"] for row in trials) >= trials[0]["worth"]
    assert {name: chosen[name] for name in SEARCH_SPACE} == {name: best[name] for name in SEARCH_SPACE}


def test_a_search_that_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = searched(5, tmp_path / "whole.log")
    searched(2, tmp_path / "parts.log")
    assert searched(5, tmp_path / "parts.log") == whole
    assert searched(5, tmp_path / "parts.log") == whole


def test_no_trial_begins_when_the_minutes_are_over(tmp_path: Path) -> None:
    searched(1, tmp_path / "study.log")
    assert len(searched(50, tmp_path / "study.log", minutes=0.0)[1]) == 1


def test_a_search_that_was_killed_in_its_first_trial_begins_with_the_given_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> DetectionRanks:
        raise KeyboardInterrupt

    budget = SearchBudget(1, study=tmp_path / "killed.log")
    with monkeypatch.context() as killed:
        killed.setattr("training.fitting.diagnostics.evaluate_origins", kill)
        with pytest.raises(KeyboardInterrupt):
            search(ORIGINS, CONFIG, budget, name="of a test")
    first = searched(1, tmp_path / "killed.log")[1][0]
    flat = CONFIG.flatten()
    assert {name: first[name] for name in SEARCH_SPACE} == {name: flat[name] for name in SEARCH_SPACE}


@pytest.mark.parametrize("name", ["model.l2", "weights.background_weight"])
def test_a_search_from_zero_on_a_logarithmic_scale_is_refused_by_name(name: str) -> None:
    given = replace_parameters(CONFIG, {name: 0.0})
    with pytest.raises(BadSetting, match=name):
        search(ORIGINS, given, SearchBudget(1), name="of a test")
