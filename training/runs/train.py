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

import pandas as pd

from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import identify_tables
from features.batch import ComputeOptions, FeatureParameters, Progress, report_progress
from training.arrays import Ints
from training.data.data_hash import hash_training_tables
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import Labels, ObservedTables, compute_fitting_weights, get_true_labels
from training.evaluation.leakage import check_leakage
from training.evaluation.name_invariance import measure_name_swaps, sample_evenly
from training.evaluation.stored_scores import judge_recipe
from training.evaluation.traffic import ScoredPeriod
from training.fitting.deployed import (
    DeployedResult,
    TrainingData,
    build_training_data,
    calibrate_origins,
    collect_unseen,
    evaluate_deployed,
    fit_at_dates,
    score_test_period,
)
from training.fitting.diagnostics import DiagnosticsResult, run_diagnostics
from training.fitting.fit import (
    CalibratedFit,
    Recipe,
    SplitFeatures,
    calibrate_final,
    fit_evaluation,
    score_validation,
)
from training.runs.result import TrainingResult
from training.runs.task import TrainingTask, require_outcomes


def train_model(task: TrainingTask, jobs: int = 1, progress: Progress | None = None) -> TrainingResult:
    """Train a model on results as they were visible at a date, and evaluate it on later time; `BadInput` if the tables hold too little."""
    task.check()
    options = ComputeOptions(jobs, progress)
    data, source = _prepare_data(task, options)
    digest = hash_training_tables(task.inputs, source.table)
    data, recipe, evaluated, studied = _fit_evaluation(task, data, source, digest, options)
    parts = SplitFeatures(data.evaluation, evaluated.matrix, jobs)
    with report_progress(progress, "weighting results"):
        test_traffic = score_test_period(parts, evaluated.model, recipe.config.model.seed)
    true_labels = None
    if task.truth is not None:
        true_labels = get_true_labels(source.frame["consignment_id"], task.truth, task.target)
    final, deployed = _fit_as_deployed(data, recipe, evaluated, test_traffic, true_labels, options)
    matrix = parts.matrix.keep_rows(data.evaluation.part == TEST)
    with report_progress(progress, "replacing names"):
        sample, features = (
            sample_evenly(len(matrix.rows), task.config.evaluation.name_rows),
            task.config.features,
        )
        records = source.get_records(matrix.rows[sample])
        name_swaps = measure_name_swaps(
            records, matrix.X[sample], evaluated.model, features, evaluated.fitted
        )
    leaks = check_leakage(
        task.inputs,
        matrix.locate(data.evaluation.observed.kept.rows),
        test_traffic,
        source.frame.iloc[matrix.rows],
        FeatureParameters(features, evaluated.fitted),
        options,
    )
    return TrainingResult(
        target=task.target,
        as_of=data.evaluation.split.as_of,
        config=recipe.config,
        data=data.evaluation,
        data_sha256=digest,
        consignments=source.table,
        evaluated=evaluated,
        deployed=deployed,
        final=final,
        test_traffic=test_traffic,
        name_swaps=name_swaps,
        leaks=leaks,
        verdict=judge_recipe(deployed.recipe, task.target),
        studied=studied,
    )


def _prepare_data(task: TrainingTask, options: ComputeOptions) -> tuple[TrainingData, TableFeatures]:
    """Read labels and weights of all rows, select the rows to keep, and compute their features part by part."""
    config, inputs = task.config, task.inputs
    observed = ObservedTables(inputs.consignments.take_order(), require_outcomes(inputs), task.find_as_of())
    with report_progress(options.progress, "reading labels"):
        # Labels as of the dates of the split, and row weights.
        whole = build_training_data(observed, task.target, config)
        sample = whole.sample_rows(config.evaluation.traffic_rows, config.model.seed)
    dated = replace(inputs, as_of=pd.Timestamp(observed.as_of))
    with _open_work_folder(task, sample.rows) as folder:
        source = TableFeatures.compute(dated, config.features, sample.rows, options, folder, task.cluster)
    return whole.change_sets(lambda each: each.keep_rows(sample, source.frame)), source


@contextmanager
def _open_work_folder(task: TrainingTask, rows: Ints) -> Iterator[PartFolder | None]:
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


def _fit_evaluation(
    task: TrainingTask, data: TrainingData, source: TableFeatures, digest: str, options: ComputeOptions
) -> tuple[TrainingData, Recipe, CalibratedFit, DiagnosticsResult]:
    """Fit with the last weeks held out, and again if a search finds better settings, which all later fits then have."""
    recipe = Recipe(source, task.config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    name = f"{task.target} {data.evaluation.split.as_of:%Y-%m-%d} {digest[:16]}"
    config, studied = run_diagnostics(
        task.diagnostics, evaluated, recipe, data.reported_from, name, options.progress
    )
    if config != recipe.config:
        recipe = Recipe(source, config)
        data = data.change_sets(
            lambda each: replace(
                each,
                weight=compute_fitting_weights(each.part, each.labels, each.background, config.weights),
            )
        )
        evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    return data, recipe, evaluated, studied


def _fit_as_deployed(
    data: TrainingData,
    recipe: Recipe,
    evaluated: CalibratedFit,
    test_traffic: ScoredPeriod,
    true_labels: Labels | None,
    options: ComputeOptions,
) -> tuple[CalibratedFit, DeployedResult]:
    seed, progress = recipe.config.model.seed, options.progress
    known = SplitFeatures(data.final, evaluated.matrix, options.jobs)
    fits, served = fit_at_dates(data, recipe, evaluated, options.jobs, progress)
    unseen = collect_unseen(fits, known, test_traffic.weight, seed)
    validation = score_validation(evaluated, seed)
    if data.origins:
        with report_progress(progress, "calibrating as deployed"):
            fits = calibrate_origins(fits, recipe.config, validation)
    else:
        unseen = [validation, *unseen]
    final = calibrate_final(served, unseen, progress)
    with report_progress(progress, "evaluating as deployed"):
        weights = [period.weight for period in unseen[-len(fits) :]]
        return final, evaluate_deployed(fits, known, weights, recipe.config.evaluation, true_labels)
