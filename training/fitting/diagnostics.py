"""Diagnostics of a training run besides its fits: ablation of features, and a search for better parameters.

Both use rolling origins whose windows end before any period that is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np

from consignments.errors import BadInput, UnknownName
from features.batch import FeatureParameters, Progress
from features.normalization.normal_forms import get_goods_text
from features.spec import Spec
from training.config import TrainConfig, hash_settings
from training.fitting.fit import Fit, Recipe
from training.fitting.rolling_origin import (
    RollingOrigin,
    build_rolling_origins,
    estimate_gain,
    evaluate_origins,
    select_learnt_rows,
)
from training.fitting.search import SearchBudget, check_start, search

ORIGINS = 3
"""Maximum number of dates for ablation and search."""
HISTORY_GROUP = "history"
GROUPS = "groups"
"""Stands for all groups of features among the names of an ablation."""


@dataclass(frozen=True)
class DiagnosticsOptions:
    """Options of the diagnostics: what an ablation leaves out, one after the other, and the budget of a search.

    `ablation` has names of features, of groups, of history keys (`history.sender`), and `GROUPS` for all groups; none: no ablation.
    """

    ablation: tuple[str, ...] = ()
    search: SearchBudget | None = None

    @property
    def is_wanted(self) -> bool:
        """True if any diagnostic is configured."""
        return bool(self.ablation) or self.search is not None

    def check(self, config: TrainConfig) -> None:
        """Raise `UnknownName` if a feature of the ablation does not exist, `BadSetting` if the search cannot start."""
        select_columns(FeatureParameters(config.features).build_pipeline().spec, self.ablation)
        if self.search is not None:
            check_start(config)


@dataclass(frozen=True)
class DiagnosticsResult:
    """Tables of the ablation and of the trials; empty if not configured."""

    ablation: list[dict[str, Any]] = field(default_factory=list)
    trials: list[dict[str, Any]] = field(default_factory=list)


def run_diagnostics(
    options: DiagnosticsOptions,
    fit: Fit,
    recipe: Recipe,
    before: datetime,
    name: str,
    progress: Progress | None = None,
) -> tuple[TrainConfig, DiagnosticsResult]:
    """Search for better settings and measure features, on origins before a date; return the best settings and the tables.

    `name` is that of the search, which continues under the same name.
    """
    config, trials, ablation = recipe.config, list[dict[str, Any]](), list[dict[str, Any]]()
    if not options.is_wanted:
        return config, DiagnosticsResult()
    origins = build_origins(fit, recipe, before)
    if options.search is not None:
        found = search(
            origins, config, options.search, name=f"{name} {hash_settings(config)[:16]}", progress=progress
        )
        config, trials = found.config, found.trials
    if options.ablation:
        ablation = run_ablation(origins, config, options.ablation, progress)
    return config, DiagnosticsResult(ablation, trials)


def build_origins(fit: Fit, recipe: Recipe, before: datetime) -> list[RollingOrigin]:
    """Build at most `ORIGINS` rolling origins before a date, or raise `BadInput` if there is none."""
    learnt = select_learnt_rows(fit.data, fit.matrix)
    texts = [get_goods_text(record) for record in recipe.source.get_records(learnt.rows)]
    built = build_rolling_origins(fit.data, learnt, np.array(texts, dtype=object), recipe.config, before)
    origins = list(islice(built, ORIGINS))
    if not origins:
        raise BadInput(
            "too few positives before the reported periods, for ablation and search",
            where=f"arrivals before {before:%Y-%m-%d}",
            todo="train without --ablation and --trials, with fewer `origins` in [evaluation], or provide earlier data",
        )
    return origins


def group_features(spec: Spec) -> dict[str, list[int]]:
    """Return the columns of each group, and within history those of each key: `goods`, `history`, `history.sender`, …."""
    groups: dict[str, list[int]] = {}
    for place, feature in enumerate(spec.features):
        groups.setdefault(feature.group, []).append(place)
        if feature.group == HISTORY_GROUP:
            groups.setdefault(feature.name.rpartition(".")[0], []).append(place)
    return groups


def select_columns(spec: Spec, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of each name of an ablation, in the order of the names; raise `UnknownName` for one that is none."""
    groups = group_features(spec)
    known = groups | {name: [place] for place, name in enumerate(spec.names)}
    found: dict[str, list[int]] = {}
    for name in names:
        if name == GROUPS:
            found |= groups
        elif name in known:
            found[name] = known[name]
        else:
            raise UnknownName.from_candidates(name, known, kind="feature or group", where="--ablation")
    return found


def run_ablation(
    origins: Sequence[RollingOrigin],
    config: TrainConfig,
    names: Sequence[str] = (GROUPS,),
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Fit at every origin without each of some features or groups, and return the loss of each, the largest first.

    `worth` is the loss of the log-discounted rank score, `recall_at_1pct` that of recall, each with `_low` and `_high`.
    """
    whole = evaluate_origins(origins, config.model, config.weights)
    rows = []
    groups = select_columns(origins[0].spec, names)
    for done, (group, columns) in enumerate(groups.items()):
        without = evaluate_origins(origins, config.model, config.weights, without=columns)
        row: dict[str, Any] = {"group": group, "features": len(columns)}
        for name, values in (("worth", "worth"), ("recall_at_1pct", "at_1pct")):
            loss = estimate_gain(whole, without, values)
            row |= {name: loss.value, f"{name}_low": loss.low, f"{name}_high": loss.high}
        rows.append(row)
        if progress is not None:
            progress("ablation", done + 1, len(groups))
    return sorted(rows, key=lambda row: -float(row["worth"]))
