"""Hyperparameter search under a budget: sequential trials, each tested at origins before any reported period.

The first trial is the configuration as given, so the result is never worse than it. Trials are stored in a file; a
search with the same data and configuration continues from it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from consignments.errors import BadSetting
from features.batch import Progress
from training.config import TrainConfig
from training.fitting.rolling_origin import RollingOrigin, evaluate_origins

SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True)
class SearchRange:
    """Range of a parameter; whole numbers if both ends are."""

    low: float
    high: float
    log: bool = False


SEARCH_SPACE: Mapping[str, SearchRange] = {
    "model.leaves": SearchRange(4, 31),
    "model.depth": SearchRange(3, 8),
    "model.learning_rate": SearchRange(0.02, 0.15, log=True),
    "model.rows_in_leaf": SearchRange(3, 100, log=True),
    "model.feature_share": SearchRange(0.05, 0.8, log=True),
    "model.l2": SearchRange(0.1, 50.0, log=True),
    "model.trees": SearchRange(50, 400),
    "model.linear_share": SearchRange(0.0, 1.0),
    "weights.background_weight": SearchRange(0.3, 10.0, log=True),
}
"""Searched parameters, by their names in the configuration."""


@dataclass(frozen=True)
class SearchBudget:
    """Budget of a search: the maximum number of trials, those of an earlier run included, and the minutes until no new one starts.

    Trials are stored in the file `study`; without one a search cannot be resumed. The first trial is made in any case.
    """

    trials: int
    minutes: float | None = None
    study: Path | None = None


@dataclass(frozen=True)
class SearchResult:
    """The best configuration, and a row for each trial: `trial`, `worth`, `recall_at_1pct`, the parameters, and `best`."""

    config: TrainConfig
    trials: list[dict[str, Any]]


def search(
    origins: Sequence[RollingOrigin],
    config: TrainConfig,
    budget: SearchBudget,
    *,
    name: str,
    progress: Progress | None = None,
) -> SearchResult:
    """Search for better parameters with Optuna's tree-structured Parzen estimator; the name is the one under which it continues."""
    import optuna

    check_start(config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name, storage=_open_storage(budget.study), direction="maximize", load_if_exists=True
    )
    flat, ends = config.flatten(), time.monotonic() + SECONDS_PER_MINUTE * (budget.minutes or 0.0)
    # A trial whose process was killed stays `RUNNING` for ever.
    if not any(trial.value is not None or trial.state.name == "WAITING" for trial in study.trials):
        study.enqueue_trial({parameter: flat[parameter] for parameter in SEARCH_SPACE})
    while (done := len(_list_finished_trials(study))) < budget.trials:
        # The configuration as given is always tried: without any trial there is no result.
        if done and budget.minutes is not None and time.monotonic() > ends:
            break
        # A resumed search draws the same trials as one that was never stopped.
        study.sampler = optuna.samplers.TPESampler(seed=config.model.seed * 10_000 + done)
        trial = study.ask(_build_distributions(optuna, flat))
        tried = replace_parameters(config, trial.params)
        found = evaluate_origins(origins, tried.model, tried.weights)
        trial.set_user_attr("recall_at_1pct", found.compute_recall(0.01))
        study.tell(trial, float(found.worth.mean()))
        if progress is not None:
            progress("search", done + 1, budget.trials)
    return _build_result(study, config)


def check_start(config: TrainConfig) -> None:
    """Raise `BadSetting` if a parameter that is searched on a logarithmic scale is zero."""
    flat = config.flatten()
    for name, range_ in SEARCH_SPACE.items():
        if range_.log and flat[name] <= 0:
            raise BadSetting(
                "a search cannot start from this value",
                where=name,
                got=str(flat[name]),
                expected=f"a number above 0, such as {range_.low}: it is searched on a logarithmic scale",
                todo="change the setting, or train without a search",
            )


def replace_parameters(config: TrainConfig, parameters: Mapping[str, Any]) -> TrainConfig:
    """Return a configuration with some settings, named `table.name`, replaced."""
    for name, value in parameters.items():
        table, _, setting = name.partition(".")
        changed = msgspec.structs.replace(getattr(config, table), **{setting: value})
        config = msgspec.structs.replace(config, **{table: changed})
    return config


def _build_distributions(optuna: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Build the ranges, each wide enough for the given value."""
    of = optuna.distributions
    found: dict[str, Any] = {}
    for name, range_ in SEARCH_SPACE.items():
        low, high = min(range_.low, given[name]), max(range_.high, given[name])
        kind = of.IntDistribution if isinstance(range_.low, int) else of.FloatDistribution
        found[name] = kind(low, high, log=range_.log)
    return found


def _open_storage(path: Path | None) -> Any:
    if path is None:
        return None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(path)))


def _list_finished_trials(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.value is not None]


def _build_result(study: Any, config: TrainConfig) -> SearchResult:
    finished = _list_finished_trials(study)
    # Of equally good trials the earliest, so that the given configuration is kept unless another is better.
    best = finished[int(np.argmax([trial.value for trial in finished]))]
    rows = [
        {
            "trial": trial.number,
            "worth": trial.value,
            "recall_at_1pct": trial.user_attrs["recall_at_1pct"],
            **trial.params,
            "best": trial.number == best.number,
        }
        for trial in finished
    ]
    return SearchResult(replace_parameters(config, best.params), rows)
