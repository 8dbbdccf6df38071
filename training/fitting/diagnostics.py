"""Diagnostics of a training run besides its fits: ablation of features, and a search for better parameters under a budget.

Both use rolling origins whose windows end before any period that is reported. The first trial of a search is the configuration
as given, so the result is never worse than it. A search with the same data and configuration continues from its file.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from consignments.errors import BadInput, BadSetting, UnknownName
from features.batch import FeatureParameters, Progress
from features.normalization.normal_forms import get_goods_text
from features.spec import Spec
from models.arrays import Row
from training.config import TrainConfig, hash_settings
from training.data.splits import TRAIN, VALIDATION
from training.fitting.fit import Fit, Recipe
from training.fitting.rolling_origin import (
    RollingOrigin,
    build_rolling_origins,
    estimate_gain,
    evaluate_origins,
)

MAX_ORIGINS = 3
GROUPS = "groups"  # stands for all groups of features among the names of an ablation


class SearchRange(NamedTuple):
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
    "model.trees": SearchRange(20, 200),
    "model.linear_share": SearchRange(0.0, 1.0),
    "model.plain_share": SearchRange(0.0, 1.0),
    "weights.background_weight": SearchRange(0.3, 10.0, log=True),
}


@dataclass(frozen=True)
class SearchBudget:
    """Maximum number of trials, those of an earlier run included, minutes until no new one starts, and a file to resume it from."""

    trials: int
    minutes: float | None = None
    study: Path | None = None


@dataclass(frozen=True)
class DiagnosticsOptions:
    """Features, groups and history keys (or `GROUPS`) that an ablation leaves out, one after the other, and the budget of a search."""

    ablation: tuple[str, ...] = ()
    search: SearchBudget | None = None

    def check(self, config: TrainConfig) -> None:
        """Raise `UnknownName` if a feature of the ablation does not exist, `BadSetting` if the search cannot start."""
        select_columns(FeatureParameters(config.features).build_pipeline().spec, self.ablation)
        if self.search is not None:
            check_start(config)


@dataclass(frozen=True)
class DiagnosticsResult:
    """Tables of the ablation and of the trials; empty if not configured."""

    ablation: list[Row] = field(default_factory=list)
    trials: list[Row] = field(default_factory=list)


def run_diagnostics(
    options: DiagnosticsOptions,
    fit: Fit,
    recipe: Recipe,
    before: datetime,
    name: str,
    progress: Progress | None = None,
) -> tuple[TrainConfig, DiagnosticsResult]:
    """Search for better settings under a name, and measure features, on origins before a date; return the best settings and the tables."""
    config, trials, ablation = recipe.config, list[Row](), list[Row]()
    if options.ablation or options.search is not None:
        learnt = fit.matrix.keep_rows(np.isin(fit.data.part, (TRAIN, VALIDATION)))
        texts = [get_goods_text(record) for record in recipe.source.get_records(learnt.rows)]
        built = build_rolling_origins(fit.data, learnt, np.array(texts, dtype=object), config, before)
        origins = list(islice(built, MAX_ORIGINS))
        if not origins:
            raise BadInput(
                "too few positives before the reported periods, for ablation and search",
                where=f"arrivals before {before:%Y-%m-%d}",
                todo="train without --ablation and --trials, with fewer `origins` in [evaluation], or provide earlier data",
            )
    if options.search is not None:
        name = f"{name} {hash_settings(config)[:16]}"
        config, trials = search(origins, config, options.search, name=name, progress=progress)
    if options.ablation:
        ablation = run_ablation(origins, config, options.ablation, progress)
    return config, DiagnosticsResult(ablation, trials)


def group_features(spec: Spec) -> dict[str, list[int]]:
    """Return the columns of each group, and within history those of each key: `goods`, `history`, `history.sender`, …."""
    groups: dict[str, list[int]] = {}
    for place, feature in enumerate(spec.features):
        groups.setdefault(feature.group, []).append(place)
        if feature.group == "history":
            groups.setdefault(feature.name.rpartition(".")[0], []).append(place)
    return groups


def select_columns(spec: Spec, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of each name of an ablation, in the order of the names; raise `UnknownName` for one that is none."""
    groups = group_features(spec)
    known = groups | {name: [place] for place, name in enumerate(spec.names)}
    found: dict[str, list[int]] = {}
    for name in names:
        if name != GROUPS and name not in known:
            raise UnknownName.from_candidates(name, known, kind="feature or group", where="--ablation")
        found |= groups if name == GROUPS else {name: known[name]}
    return found


def run_ablation(
    origins: Sequence[RollingOrigin],
    config: TrainConfig,
    names: Sequence[str] = (GROUPS,),
    progress: Progress | None = None,
) -> list[Row]:
    """Fit at every origin without each of some features or groups, and return the loss of each in rank score and recall."""
    whole = evaluate_origins(origins, config.model, config.weights)
    rows, spec = list[Row](), origins[0].spec
    chosen, groups = select_columns(spec, names), group_features(spec)
    by_group = {each.group for each in spec}
    for done, (name, columns) in enumerate(chosen.items()):
        without = evaluate_origins(origins, config.model, config.weights, without=columns)
        kind = "group" if name in by_group else "history key" if name in groups else "feature"
        row: Row = {"left_out": name, "kind": kind, "features": len(columns)}
        recall = whole.mark_within(0.01) - without.mark_within(0.01)
        for measure, loss in (("worth", whole.worth - without.worth), ("recall_at_1pct", recall)):
            row |= {f"{measure}{end}": value for end, value in estimate_gain(whole, loss).list_ends()}
        rows.append(row)
        if progress is not None:
            progress("ablation", done + 1, len(chosen))
    return sorted(rows, key=lambda row: -float(row["worth"]))


def search(
    origins: Sequence[RollingOrigin],
    config: TrainConfig,
    budget: SearchBudget,
    *,
    name: str,
    progress: Progress | None = None,
) -> tuple[TrainConfig, list[Row]]:
    """Search with Optuna's tree-structured Parzen estimator; return the best configuration, and a row for each trial."""
    import optuna
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    check_start(config)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage, flat = None, config.flatten()
    if budget.study is not None:
        budget.study.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(budget.study)))
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    ends, ranges = time.monotonic() + 60.0 * (budget.minutes or 0.0), dict[str, Any]()
    for setting, (low, high, log) in SEARCH_SPACE.items():
        kind = IntDistribution if isinstance(low, int) else FloatDistribution
        ranges[setting] = kind(min(low, flat[setting]), max(high, flat[setting]), log=log)
    # A trial whose process was killed stays `RUNNING` for ever.
    if not any(trial.value is not None or trial.state.name == "WAITING" for trial in study.trials):
        study.enqueue_trial({parameter: flat[parameter] for parameter in SEARCH_SPACE})
    while (done := len(_list_finished(study))) < budget.trials:
        # The configuration as given is always tried: without any trial there is no result.
        if done and budget.minutes is not None and time.monotonic() > ends:
            break
        # A resumed search draws the same trials as one that was never stopped.
        study.sampler = optuna.samplers.TPESampler(seed=config.model.seed * 10_000 + done)
        trial = study.ask(ranges)
        tried = replace_parameters(config, trial.params)
        found = evaluate_origins(origins, tried.model, tried.weights)
        trial.set_user_attr("recall_at_1pct", float(found.mark_within(0.01).mean()))
        study.tell(trial, float(found.worth.mean()))
        if progress is not None:
            progress("search", done + 1, budget.trials)
    trials = _list_finished(study)
    # Of equally good trials the earliest, so that the given configuration is kept unless another is better.
    best = trials[int(np.argmax([trial.value for trial in trials]))]
    names = [{"trial": each.number, "worth": each.value} for each in trials]
    each_found = zip(names, trials, strict=True)
    rows = [row | each.user_attrs | each.params | {"best": each is best} for row, each in each_found]
    return replace_parameters(config, best.params), rows


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


def _list_finished(study: Any) -> list[Any]:
    return [trial for trial in study.trials if trial.value is not None]
