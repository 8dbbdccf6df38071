"""Search over parameters: the given configuration first, better or equal at the end, resumable, the same again."""

import pytest
from support.made_origins import CONFIG, made_origins

from consignments.errors import BadSetting
from training.fitting.diagnostics import SEARCH_SPACE, SearchBudget, replace_parameters, search

ORIGINS = made_origins(1, 400)
FLAT = CONFIG.flatten()
GIVEN = {name: FLAT[name] for name in SEARCH_SPACE}


def searched(trials, study=None, minutes=None):
    return search(ORIGINS, CONFIG, SearchBudget(trials, minutes, study), name="of a test")


def test_the_first_trial_is_the_configuration_as_given_and_the_best_is_no_worse():
    config, trials = searched(4)
    best = next(row for row in trials if row["best"])
    assert trials[0].items() >= GIVEN.items()
    assert best["worth"] == max(row["worth"] for row in trials) >= trials[0]["worth"]
    assert {name: config.flatten()[name] for name in SEARCH_SPACE}.items() <= best.items()


def test_a_search_that_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(tmp_path):
    whole, study = searched(5, tmp_path / "whole.log"), tmp_path / "parts.log"
    searched(2, study)
    assert len(searched(50, study, minutes=0.0)[1]) == 2, "no trial begins when the minutes are over"
    assert searched(5, study) == whole
    assert searched(5, study) == whole


def test_a_search_that_was_killed_in_its_first_trial_begins_with_the_given_configuration(
    tmp_path, monkeypatch
):
    def kill(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("training.fitting.diagnostics.evaluate_origins", kill)
        with pytest.raises(KeyboardInterrupt):
            searched(1, tmp_path / "killed.log")
    assert searched(1, tmp_path / "killed.log")[1][0].items() >= GIVEN.items()


@pytest.mark.parametrize("name", ["model.l2", "weights.background_weight"])
def test_a_search_from_zero_on_a_logarithmic_scale_is_refused_by_name(name):
    given = replace_parameters(CONFIG, {name: 0.0})
    with pytest.raises(BadSetting, match=name):
        search(ORIGINS, given, SearchBudget(1), name="of a test")
