"""Training run, from tables to an evaluated model, in the order of its steps; only visible data are used."""

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from importlib.metadata import version as installed_version
from pathlib import Path

import numpy as np
import pandas as pd

from consignments.files.part_folder import PartFolder
from consignments.files.part_manifest import identify_tables
from consignments.records import Target
from features.batch import ComputeOptions, FeatureParameters, Progress, report_progress
from models.arrays import Ints, Row
from models.formats import format_count
from training.config import EvaluationConfig, TrainConfig
from training.data.data_hash import TableHash, hash_training_tables
from training.data.fit_rows import FitRows
from training.data.splits import TEST
from training.data.table_features import TableFeatures
from training.data.training_set import DataSet, ObservedTables, compute_fitting_weights, get_true_labels
from training.evaluation.leakage import (
    check_early_results,
    check_filled_columns,
    check_later_changes,
    check_predictive_column,
)
from training.evaluation.metrics import Evaluation, evaluate
from training.evaluation.name_invariance import measure_name_swaps, sample_evenly
from training.evaluation.stored_scores import EvaluationVerdict, judge_recipe
from training.evaluation.traffic import ScoredPeriod, fix_capacity
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
from training.fitting.fit import CalibratedFit, Recipe, SplitFeatures, calibrate_final, fit_evaluation
from training.runs.task import TrainingTask, require_outcomes

PROCESSOR_TAG = "processor"
RULE_PRIOR_SENTENCE = (
    "Some trees start from the score of the fixed rules, so the model holds what these know. "
    "Rules that choose what is inspected look too good."
)


@dataclass(frozen=True, repr=False)
class TrainingResult:
    """A trained model: the `evaluated` fit of the test period, the recipe as `deployed` before, and the `final` fit, which is served."""

    target: Target
    as_of: datetime
    config: TrainConfig
    data: DataSet
    data_sha256: str
    consignments: TableHash
    evaluated: CalibratedFit
    deployed: DeployedResult
    final: CalibratedFit
    test_traffic: ScoredPeriod
    name_swaps: list[Row]
    leaks: list[Row]
    verdict: EvaluationVerdict
    studied: DiagnosticsResult = field(default_factory=DiagnosticsResult)

    def __repr__(self) -> str:
        """Return target, date, positives and verdict."""
        return f"<TrainingResult {self.target} as of {self.as_of:%Y-%m-%d}, {self.final.positives} positives, verdict {self.verdict.name}>"

    @property
    def matrix(self) -> FitRows:
        """Feature rows under the evaluation fit; `matrix.rows` are positions among the kept consignments of `data`."""
        return self.evaluated.matrix

    @property
    def test_matrix_rows(self) -> Ints:
        """Rows of the feature matrix that belong to the test period, in the order of the test scores."""
        return np.flatnonzero(self.data.part[self.matrix.rows] == TEST)

    @property
    def test_rows(self) -> Ints:
        """Positions of the test period's consignments in the table, int64 (t,)."""
        return np.asarray(self.data.observed.kept.rows[self.matrix.rows[self.test_matrix_rows]])

    @cached_property
    def evaluation_fit(self) -> Evaluation:
        """The evaluation fit's own figures on the test period, by inspection results."""
        return evaluate(self.test_traffic, self.settings)

    @property
    def settings(self) -> EvaluationConfig:
        """Settings of the evaluation, with the daily capacity of the test period, which every figure of the run has."""
        return fix_capacity(self.config.evaluation, self.test_traffic)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics by their logged names; what is not shown is absent."""
        return self.deployed.recipe.flatten_metrics()

    @property
    def sentences(self) -> list[str]:
        """Summary of the run: what was counted, then the estimates, then what they rest on."""
        evaluated, final, kept = self.evaluated, self.final, self.data.observed.kept
        fits = (
            f"The final fit, which is served, was trained on {format_count(final.positives, 'positive')} among {final.labelled:,} results "
            f"known on {self.as_of:%Y-%m-%d}. The evaluation fit, which was tested on the test period, was trained on "
            f"{format_count(evaluated.positives, 'positive')} of arrivals before {evaluated.learnt_until:%Y-%m-%d}."
        )
        prior = [RULE_PRIOR_SENTENCE] if self.config.model.plain_share < 1 else []
        level, deployed = final.level.to_sentence(), self.deployed.sentences
        sentences = [*self.verdict.sentences, *prior, *deployed, fits, level]
        if kept.is_drawn:
            sentences.append(
                f"The table has {kept.of:,} consignments; {len(kept.rows):,} were kept. All inspected ones of the tested weeks are "
                f"evaluated. Of the others a uniform sample stands for all of them: up to {kept.stands_for.max():,.1f} consignments "
                "each. Shares of traffic, bands and the reference profile are estimates from this sample."
            )
        return sentences

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the run."""
        return {
            "kind": "training",
            "verdict": self.verdict.title,
            "target": self.target,
            "as_of": self.as_of.isoformat(),
            "code_version": installed_version("npsrisk"),
            "data_sha256": self.data_sha256,
            "feature_spec_sha256": self.evaluated.model.spec.compute_digest(),
            "traffic": "sample" if self.data.observed.kept.is_drawn else "all",
            PROCESSOR_TAG: describe_processor(),
        }


def describe_processor() -> str:
    """Describe the kind of this processor by its vector instructions: libraries that choose others may give other last bits."""
    found = np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", [])
    return " ".join([platform.machine(), *found])


def train_model(task: TrainingTask, jobs: int = 1, progress: Progress | None = None) -> TrainingResult:
    """Train a model on results as they were visible at a date, and evaluate it on later time; `BadInput` if the tables hold too little."""
    task.check()
    options = ComputeOptions(jobs, progress)
    data, source = _prepare_data(task, options)
    digest = hash_training_tables(task.inputs, source.table)
    data, recipe, evaluated, studied = _fit_evaluation(task, data, source, digest, options)
    tested, matrix = np.flatnonzero(data.evaluation.part == TEST), evaluated.matrix
    known = SplitFeatures(data.final, matrix, jobs)
    with report_progress(progress, "weighting results"):
        test_traffic = score_test_period(known, evaluated.model, tested)
    true_labels = None
    if task.truth is not None:
        true_labels = get_true_labels(source.frame["consignment_id"], task.truth, task.target)
    # At earlier dates, each tested on the weeks after it, and on every label known today, which gives the served fit.
    fits, served = fit_at_dates(data, recipe, evaluated, jobs, progress)
    unseen = collect_unseen(fits, known)
    if data.origins:
        with report_progress(progress, "calibrating as deployed"):
            fits = calibrate_origins(fits, recipe.config, evaluated.unseen, jobs)
    else:
        unseen = [evaluated.unseen, *unseen]
    final = calibrate_final(served, unseen, progress)
    with report_progress(progress, "evaluating as deployed"):
        settings = fix_capacity(recipe.config.evaluation, test_traffic)
        deployed = evaluate_deployed(fits, known, settings, true_labels)
    with report_progress(progress, "replacing names"):
        features = task.config.features
        sample = tested[sample_evenly(len(tested), task.config.evaluation.name_rows)]
        X = matrix.look_up(sample)
        swaps = measure_name_swaps(source.get_records(sample), X, evaluated.model, features, evaluated.fitted)
    inspected = matrix.keep_rows(data.judged & data.final.labels.known)
    rows = data.evaluation.observed.kept.rows[tested]
    fitted = FeatureParameters(features, evaluated.fitted)
    outcomes, as_of = require_outcomes(task.inputs), data.evaluation.split.as_of
    leaks = [
        check_later_changes(task.inputs, rows, lambda at: matrix.look_up(tested[at]), fitted, options),
        check_early_results(task.inputs.consignments.take_order(), outcomes, as_of),
        check_predictive_column(inspected, data.final.labels.positive[inspected.rows]),
        check_filled_columns(source.frame.iloc[tested], test_traffic.labelled, features.build_record_type()),
    ]
    return TrainingResult(
        target=task.target,
        as_of=as_of,
        config=recipe.config,
        data=data.evaluation,
        data_sha256=digest,
        consignments=source.table,
        evaluated=evaluated,
        deployed=deployed,
        final=final,
        test_traffic=test_traffic,
        name_swaps=swaps,
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


def _open_work_folder(task: TrainingTask, rows: Ints) -> AbstractContextManager[PartFolder | None]:
    if task.work is None:
        return nullcontext()
    paths = {name: Path(path) for name, path in task.sources.items() if name != "truth"}
    inputs = {
        "as_of": task.find_as_of().isoformat(),
        "config": repr(task.config.features),
        "features": FeatureParameters(task.config.features).build_pipeline().spec.compute_digest(),
        "npsrisk": installed_version("npsrisk"),
        "rows": sha256(rows.tobytes()).hexdigest(),
    }
    return PartFolder.open(task.work, inputs | identify_tables(paths))


def _fit_evaluation(
    task: TrainingTask, data: TrainingData, source: TableFeatures, digest: str, options: ComputeOptions
) -> tuple[TrainingData, Recipe, CalibratedFit, DiagnosticsResult]:
    """Fit with the last weeks held out, and again if a search finds better settings, which all later fits then have."""
    recipe = Recipe(source, task.config)
    evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    name = f"{task.target} {data.evaluation.split.as_of:%Y-%m-%d} {digest[:16]}"
    # Before the earliest period whose figures are reported.
    before = data.tested[-1].split.test.begins
    config, studied = run_diagnostics(task.diagnostics, evaluated, recipe, before, name, options.progress)
    if config != recipe.config:
        recipe = Recipe(source, config)
        data = data.change_sets(
            lambda each: replace(
                each, weight=compute_fitting_weights(each.part, each.labels, each.background, config.weights)
            )
        )
        evaluated = fit_evaluation(recipe, data.evaluation, data.keep, options)
    return data, recipe, evaluated, studied
