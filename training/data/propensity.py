"""Propensity: the probability that a consignment gets a known result, estimated on other days if none was logged."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from features.batch import FeatureParameters
from features.spec import Spec
from models.arrays import Bools, Floats, Ints, Rows
from training.data.training_set import Labels

FOLDS = 5
MAX_UNKNOWN_ROWS = 12_500
"""Maximum rows without a result that are fitted on; four times as many fit no better (log loss .0724 against .0727) at 3.5 times the cost."""
MIN_RELATIVE_PROBABILITY = 0.1  # of the mean one: no row stands for more than ten average rows
TREES = 30
PARAMS = {
    **{"objective": "binary", "num_leaves": 3, "learning_rate": 0.2, "min_data_in_leaf": 50},
    **{"feature_fraction": 0.5, "lambda_l2": 10.0, "max_bin": 63, "deterministic": True},
    **{"force_col_wise": True, "num_threads": 1, "verbosity": -1},
}
"""Log loss .0825 over 18 periods of three worlds; twice as many trees of eight leaves reach .0830 at twice the cost."""


def estimate_known_probability(
    X: Rows, known: Bools, traffic: Floats, day: Ints, *, seed: int, jobs: int = 1
) -> Floats:
    """Estimate from its features, in (0, 1], the probability that a consignment has a known result; `traffic` is what each stands for."""
    import lightgbm

    if not traffic.sum():
        return np.ones(len(known))
    mean = float(known.sum() / traffic.sum())
    estimate = np.full(len(known), mean)
    fold = np.unique(day, return_inverse=True)[1] % FOLDS
    unknown = np.flatnonzero(~known)
    step = max(1, -(-len(unknown) // MAX_UNKNOWN_ROWS))
    kept = np.concatenate([np.flatnonzero(known), unknown[::step]])
    weight = traffic[kept] * np.where(known[kept], 1.0, float(step))
    params = {**PARAMS, "seed": seed}
    # Of all folds: to find the limits of bins takes as long as to grow the trees.
    data = lightgbm.Dataset(X[kept], known[kept].astype(float), weight=weight, params=params).construct()

    def estimate_fold(each: int) -> None:
        mine, others = fold == each, np.flatnonzero(fold[kept] != each)
        if 0 < known[kept[others]].sum() < len(others):
            booster = lightgbm.train(params, data.subset(others.tolist()), num_boost_round=TREES)
            estimate[mine] = booster.predict(X[mine], num_threads=1)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(estimate_fold, np.unique(fold).tolist()))
    estimate = np.clip(estimate, MIN_RELATIVE_PROBABILITY * mean, 1.0)
    scale = known.sum() / max(float((estimate * traffic).sum()), 1e-300)
    return np.asarray(np.clip(estimate * scale, MIN_RELATIVE_PROBABILITY * mean, 1.0))


def estimate_result_weights(
    X: Rows, labels: Labels, traffic: Floats, day: Ints, *, seed: int, jobs: int = 1
) -> Floats:
    """Estimate how many consignments each known result of a period stands for, 0 without one; 1 if every row has a result."""
    known, logged = labels.known, labels.probability
    if known.all():
        return np.ones(len(known))
    estimated = None
    if np.isnan(logged[known]).any():
        # Rows inspected on intelligence stand for themselves: the data do not show which others had intelligence.
        rest, estimated = labels.selected_by != "intelligence", np.ones(len(known))
        mine = slice(None) if rest.all() else rest
        estimated[rest] = estimate_known_probability(
            X[mine], known[mine], traffic[mine], day[mine], seed=seed, jobs=jobs
        )
    return compute_result_weights(known, logged, estimated)


def select_weighing_columns(spec: Spec) -> Ints:
    """Select the features that every configuration has and no fit changes: by them, the same results weigh the same in every run."""
    common = {feature.name for feature in FeatureParameters().build_pipeline().spec if not feature.fitted}
    return np.flatnonzero([name in common for name in spec.names])


def compute_result_weights(known: Bools, logged: Floats, estimated: Floats | None) -> Floats:
    """Compute what each known result stands for, by the larger of the logged and the estimated probability; 0 without a result."""
    chance = np.where(np.isnan(logged), 0.0, logged)
    if estimated is not None:
        chance = np.maximum(chance, estimated)
    return np.divide(1.0, chance, out=np.zeros(len(known)), where=known & (chance > 0))
