"""Figures of a training run for the gate, computed from its stored scores, and the same figures for the promotion record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.promotion_record import DeployedFigures, Figure
from training.config import EvaluationConfig
from training.evaluation.metrics import LOGGED_METRICS, Evaluation, PairedEvaluation
from training.evaluation.name_invariance import find_worst_move
from training.evaluation.stored_scores import BASELINE, RULES, RecipeEvaluation, StoredScores, evaluate_recipe

Row = Mapping[str, Any]


@dataclass(frozen=True)
class RunFigures:
    """Figures of a training run: the recipe, the recipe against the fixed rules (`a`), leakage checks by name, and the effect of names."""

    recipe: RecipeEvaluation
    against_rules: PairedEvaluation
    finds_per_week: float
    looks: Mapping[str, Row]
    name_swap: float


def compute_run_figures(
    stored: StoredScores,
    config: EvaluationConfig,
    leaks: Iterable[Row],
    name_swaps: Iterable[dict[str, Any]],
    recipe: RecipeEvaluation | None = None,
) -> RunFigures:
    """Compute the figures of the deployed recipe from its stored scores, with the settings of its run."""
    return RunFigures(
        recipe=recipe or evaluate_recipe(stored, config),
        against_rules=stored.compare(config, base=BASELINE + RULES),
        finds_per_week=count_finds_per_week(stored),
        looks={str(row["look"]): row for row in leaks},
        name_swap=find_worst_move(name_swaps),
    )


def count_finds_per_week(stored: StoredScores) -> float:
    """Compute the rate at which finds became known in the tested weeks."""
    return 7 * float(stored.frame["positive"].sum()) / max(stored.frame["day"].nunique(), 1)


def build_deployed_figures(model: Evaluation) -> DeployedFigures:
    """Build the figures of the promotion record, with three significant digits."""
    return DeployedFigures(
        known=model.counts.known,
        effective=_round(model.counts.effective),
        found={name: _round(found) for name, found in model.counts.found.items()},
        metrics={
            name: Figure(*(_round(end) for _, end in found.list_ends()))
            if (found := model[name]).is_shown
            else Figure(None, reason=found.explain_missing())
            for name in LOGGED_METRICS
            if not name.endswith("_0.1pct")
        },
    )


def _round(value: float) -> float:
    return float(f"{np.float64(value):.3g}")
