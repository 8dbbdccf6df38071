"""Training run, from tables to an evaluated model, in the order of its steps.

Only visible data are used: feature parameters are learnt from the training fold, trees from training, the
calibration from validation, and the test period only evaluates. `training.runs.registered_run` writes what `train_model` returns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import identify_tables
from features.batch import ComputeOptions, FeatureParameters, Progress, report_progress
from features.fitted import FittedParameters
from models.risk_model import RiskModel
from training.config import TrainConfig
from training.data.data_hash import hash_training_tables
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, get_true_labels
from training.evaluation.leakage import check_leakage
from training.evaluation.name_invariance import Row, measure_name_swaps, sample_evenly
from training.evaluation.traffic import ScoredPeriod
from training.evaluation.verdict import judge_recipe
from training.fitting.deployed import (
    TrainingData,
    build_scored_period,
    build_training_data,
    calibrate_origins,
    collect_unseen,
    evaluate_deployed,
    fit_at_dates,
    use_evaluation_fit,
)
from training.fitting.diagnostics import run_diagnostics
from training.fitting.fit import (
    FeatureSource,
    Recipe,
    SplitFeatures,
    calibrate_final,
    fit_evaluation,
    fit_final,
    score_test,
    score_validation,
)
from training.runs.result import TrainingResult
from training.runs.task import TrainingTask, require_outcomes

Floats = NDArray[np.float64]


def train_model(task: TrainingTask, jobs: int = 1, progress: Progress | None = None) -> TrainingResult:
    """Train a model on operation results as they were visible at a date, and evaluate it on later time.

    Parameters
    ----------
    task : TrainingTask
    jobs : int
        Processes that compute features, and threads that fit. Any number gives the same model, to the last byte of
        its bundle.
    progress : callable, optional

    Raises
    ------
    BadInput
        If the tables contain too little to train or to evaluate on.
    """
    task.check()
    data, source = _prepare_data(task, jobs, progress)
    return _fit_and_evaluate(task, data, source, jobs, progress)


def _fit_and_evaluate(
    task: TrainingTask,
    data: TrainingData,
    source: TableFeatures,
    jobs: int,
    progress: Progress | None,
) -> TrainingResult:
    config, target = task.config, task.target
    digest = hash_training_tables(task.inputs, source.table)
    as_of, options, recipe = (
        data.evaluation.split.as_of,
        ComputeOptions(jobs, progress),
        Recipe(source, config),
    )
    # The evaluation fit: the last weeks are held out.
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    name = f"{target} {as_of:%Y-%m-%d} {digest[:16]}"
    config, studied = run_diagnostics(task.diagnostics, evaluated, recipe, data.reported_from, name, progress)
    if config != recipe.config:
        data, recipe = data.reweight(config.weights), Recipe(source, config)
        evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    parts = SplitFeatures(data.evaluation, evaluated.matrix, jobs)
    with report_progress(progress, "weighting results"):
        test_traffic = _score_test_period(parts, evaluated.model, config)
    true_labels = None
    if task.truth is not None:
        true_labels = get_true_labels(source.frame["consignment_id"], task.truth, target)
    # The recipe as deployed: fits at earlier dates, each tested on the weeks after it, and the served fit on every label known today.
    validation = score_validation(evaluated, config.model.seed)
    if data.origins:
        known = SplitFeatures(data.final, evaluated.matrix, jobs)
        fits, served = fit_at_dates(data, recipe, evaluated.matrix, jobs, progress)
        unseen = collect_unseen(fits, known, test_traffic.weight, config.model.seed)
        with report_progress(progress, "calibrating as deployed"):
            fits = calibrate_origins(fits, config, validation)
        final = calibrate_final(served, unseen, progress)
    else:
        known, fits = parts, [use_evaluation_fit(evaluated, config.model.seed)]
        unseen = [validation, score_test(evaluated, test_traffic.weight)]
        final = fit_final(recipe, data.final, evaluated.matrix, unseen, options)
    with report_progress(progress, "evaluating as deployed"):
        weights = [period.weight for period in unseen[-len(fits) :]]
        deployed = evaluate_deployed(fits, known, weights, config.evaluation, true_labels)
    with report_progress(progress, "replacing names"):
        name_swaps = _swap_names(parts, source, evaluated.model, evaluated.fitted, config)
    leaks = check_leakage(
        task.inputs,
        parts.test_matrix.locate(data.evaluation.observed.kept.rows),
        test_traffic,
        source.frame.iloc[parts.test_matrix.rows],
        FeatureParameters(config.features, evaluated.fitted),
        options,
    )
    return TrainingResult(
        target=target,
        as_of=as_of,
        config=config,
        data=data.evaluation,
        data_sha256=digest,
        consignments=source.table,
        evaluated=evaluated,
        deployed=deployed,
        final=final,
        test_traffic=test_traffic,
        name_swaps=name_swaps,
        leaks=leaks,
        verdict=judge_recipe(deployed.recipe, target),
        studied=studied,
    )


def _prepare_data(
    task: TrainingTask, jobs: int, progress: Progress | None
) -> tuple[TrainingData, TableFeatures]:
    """Read labels and weights of all rows, select the rows to keep, and compute their features part by part."""
    config, inputs = task.config, task.inputs
    observed = ObservedTables(inputs.consignments.take_order(), require_outcomes(inputs), task.find_as_of())
    with report_progress(progress, "reading labels"):
        # Labels as of the dates of the split, and row weights.
        whole = build_training_data(observed, task.target, config)
        sample = whole.sample_rows(config.evaluation.traffic_rows, config.model.seed)
    dated = replace(inputs, as_of=pd.Timestamp(observed.as_of))
    options = ComputeOptions(jobs, progress)
    with _open_work_folder(task, sample.rows) as folder:
        source = TableFeatures.compute(dated, config.features, sample.rows, options, folder, task.cluster)
    return whole.keep_rows(sample, source.frame), source


@contextmanager
def _open_work_folder(task: TrainingTask, rows: NDArray[np.int64]) -> Iterator[PartFolder | None]:
    """Open the folder of the computed features for this run; None if none is wanted."""
    if task.work is None:
        yield None
        return
    paths = {name: Path(path) for name, path in task.sources.items() if name != "truth"}
    inputs = {
        "as_of": task.find_as_of().isoformat(),
        "config": repr(task.config.features),
        "features": FeatureParameters(task.config.features).build_pipeline().spec.compute_digest(),
        "npsrisk": installed_version("npsrisk"),
        "rows": sha256(rows.tobytes()).hexdigest(),
    }
    with PartFolder.open(task.work, inputs | identify_tables(paths)) as folder:
        yield folder


def _score_test_period(parts: SplitFeatures, model: RiskModel, config: TrainConfig) -> ScoredPeriod:
    """Score the test period with the evaluation fit, and weight its results."""
    test = parts.select_part(TEST)
    score = model.score(parts.X[test], parts.get_channels(test))
    weight = parts.estimate_result_weights(test, config.model.seed)[test]
    return build_scored_period(parts, parts.locate_rows(test), score, parts.data.labels, weight)


def _swap_names(
    parts: SplitFeatures,
    source: FeatureSource,
    model: RiskModel,
    fitted: FittedParameters,
    config: TrainConfig,
) -> list[Row]:
    """Measure the effect of names from other languages on a sample of the test traffic."""
    rows = parts.locate_rows(parts.select_part(TEST))
    sample = sample_evenly(len(rows), config.evaluation.name_rows)
    records = source.get_records(rows[sample])
    return measure_name_swaps(
        records, parts.X[parts.select_part(TEST)][sample], model, config.features, fitted
    )
