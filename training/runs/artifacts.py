"""Artifacts of a training run: both bundles, stored scores, settings, page, tables, charts and evidence (docs/data-scientist.md)."""

from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path

import numpy as np

from models.arrays import Row
from models.bundle import Bundle, FitKind, ModelCard, SelfTestExamples, load_bundle, write_bundle
from models.formats import round_significant
from models.registry import get_model_name
from models.signatures.keys import SigningKey
from models.traffic_profile import ReferenceProfile
from training.config import CONFIG_FILE, hash_settings
from training.data.splits import VALIDATION
from training.evaluation.estimate import ENDS
from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.metrics import Evaluation
from training.evaluation.traffic import compute_daily_capacity
from training.fitting.diagnostics import SEARCH_SPACE
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import UNSIGNED, GateEvidence, RuleResult, compute_run_figures
from training.gate.ways import Candidate
from training.monitoring.traffic_profile import ScoredTraffic, build_traffic_profile, multiply_counts
from training.reporting import plots
from training.reporting.charts import Chart
from training.reporting.mlflow_tracking import RunRecord
from training.reporting.tables import RunTable
from training.runs.evidence import Evidence, hash_files
from training.runs.explanations import ExplainedSample, draw_explanations
from training.runs.run_report import (
    FACTS_FILE,
    REPORT_END,
    REPORT_FILE,
    describe_periods,
    describe_run,
    render_report,
)
from training.runs.train import TrainingResult

BUNDLE_FOLDER, EVALUATION_FOLDER = "bundle", "evaluation"
STORED_SCORES = "scores/deployed.parquet"
EXAMPLES_PER_BAND = 20
ABLATION_MEASURES = tuple(f"{measure}{end}" for measure in ("worth", "recall_at_1pct") for end in ENDS)
TRIAL_COLUMNS = ("trial", "worth", "recall_at_1pct", *SEARCH_SPACE, "best")
METRIC_COLUMNS = ("name", "metric", "value", "low", "high", "effective", "largest", "known", "shown", "why")
SLICE_COLUMNS = ("kind", "value", "consignments", "labelled", "positive")


def build_training_record(
    trained: TrainingResult,
    gate: GateReport,
    folder: Path,
    key: SigningKey | None = None,
    address: str = REPORT_FILE,
) -> RunRecord:
    """Build the record of a training run, whose bundles are in a folder; a key signs its evidence, and its page has an address."""
    bundles = {name: load_bundle(folder / name) for name in (BUNDLE_FOLDER, EVALUATION_FOLDER)}
    sample = ExplainedSample.from_result(trained)
    fairness = compute_fairness_rows(trained.deployed.stored.to_period(), trained.settings)
    importance = sample.compute_importance(trained.final.model.spec.features)
    charts = {
        **_draw_evaluation(trained, fairness),
        "importance": plots.draw_importance(importance),
        **draw_explanations(bundles[BUNDLE_FOLDER].model, sample),
    }
    facts = describe_run(trained, gate, address)
    page = render_report(trained, gate, bundles[BUNDLE_FOLDER].model, charts, importance, fairness)
    record = RunRecord(
        name=f"{trained.target}, as of {trained.as_of:%Y-%m-%d}",
        description=f"{gate.to_markdown()}{REPORT_END}{facts}",
        tags=trained.tags,
        params={**describe_periods(trained), **trained.config.flatten()},
        metrics=trained.metrics,
        tables={
            **_list_tables(trained),
            "fairness": RunTable(fairness),
            "features": RunTable(importance),
            "gate": RunTable(gate.to_rows(), GATE_COLUMNS),
        },
        files={
            CONFIG_FILE: trained.config.to_json(),
            STORED_SCORES: trained.deployed.stored.content,
            REPORT_FILE: page,
            FACTS_FILE: facts,
            **{f"plots/{name}.svg": chart.svg for name, chart in charts.items()},
        },
        folder=folder,
    )
    evidence = Evidence(
        kind="training",
        target=trained.target,
        bundles={name: bundle.sha256 for name, bundle in bundles.items()},
        files=hash_files(record.list_files()),
        data_sha256=trained.data_sha256,
        settings_sha256=hash_settings(trained.config),
        as_of=trained.as_of,
    )
    return record.add_files(evidence.to_files(key))


def check_gate(
    trained: TrainingResult, folder: Path, champion: str | None = None, *, is_signed: bool = False
) -> GateReport:
    """Run the gate on the bundles in a folder, with the results of the run that wrote them; the champion is not compared yet."""
    served, deployed = load_bundle(folder / BUNDLE_FOLDER), trained.deployed
    looks = (trained.leaks, trained.name_swaps, trained.data.split.to_rows())
    figures = compute_run_figures(deployed.stored, trained.settings, *looks, deployed.recipe)
    verified = RuleResult(True, "the training run is signed") if is_signed else UNSIGNED
    candidate = None if champion is None else Candidate(champion)
    evidence = GateEvidence(trained.target, served, "", served.sha256, figures, verified, candidate=candidate)
    return GateReport.from_evidence(evidence)


def write_run_bundles(trained: TrainingResult, folder: Path) -> None:
    """Write the final fit into `bundle`, and the evaluation fit into `evaluation`; both without data from a truth."""
    kinds: dict[FitKind, str] = {"evaluation": EVALUATION_FOLDER, "final": BUNDLE_FOLDER}
    for kind, name in kinds.items():
        write_bundle(folder / name, _build_bundle(trained, kind))


def _build_bundle(trained: TrainingResult, kind: FitKind) -> Bundle:
    """Build a bundle, with the highest scores of each band in the validation period as examples."""
    written = trained.final if kind == "final" else trained.evaluated
    rows = np.flatnonzero(trained.data.part[trained.matrix.rows] == VALIDATION)
    values, arrays = written.fitted.to_plain()
    frame = trained.data.observed.consignments
    channel = frame["channel"].iloc[trained.matrix.rows[rows]].astype(str).to_numpy(dtype=object)
    X = trained.matrix.take(rows)
    scores = written.model.score(X, list(channel))
    band = np.array(written.model.bands.assign_all(scores), dtype=object)
    order = np.argsort(-scores, kind="stable")
    ranked = [order[band[order] == name] for name in ("high", "elevated", "routine")]
    chosen = np.concatenate([each[:EXAMPLES_PER_BAND] for each in ranked])
    level = written.level
    shift, low, high = (round_significant(each) for each in (level.shift, level.low, level.high))
    card = ModelCard(
        name=get_model_name(trained.target),
        target=trained.target,
        as_of=trained.as_of.isoformat(),
        data_sha256=trained.data_sha256,
        code_version=installed_version("npsrisk"),
        feature_spec_sha256=written.model.spec.compute_digest(),
        fit=kind,
        positives=written.positives,
        learnt_until=written.learnt_until.isoformat(),
        level=level._replace(shift=shift, low=low, high=high),
    )
    examples = SelfTestExamples.compute(written.model, X[chosen], [str(name) for name in channel[chosen]])
    return Bundle(
        card=card,
        config=trained.config.features,
        fitted=values,
        arrays=arrays,
        model=written.model,
        examples=examples,
        reference=build_reference(trained, kind),
    )


def build_reference(trained: TrainingResult, kind: FitKind = "final") -> ReferenceProfile:
    """Build the profile of the test period's traffic under a fit, as the reference for later traffic."""
    # The scores of the final fit are, row by row, those of a fit that was not trained on the row.
    matrix, rows, scores = trained.final.matrix, trained.final.usual, trained.final.usual_scores
    if kind == "evaluation":
        matrix = trained.matrix
        rows = matrix.rows[trained.test_matrix_rows]
        even = trained.data.observed.kept.even[rows]
        rows, scores = rows[even], trained.test_traffic.score[even]
    frame, config = trained.data.observed.consignments.iloc[rows], trained.config.features
    stands_for = float(trained.test_traffic.traffic.sum()) / len(rows)
    seen = ScoredTraffic(frame, matrix.look_up(rows), matrix.spec, scores, config, stands_for)
    capacity = compute_daily_capacity(trained.test_traffic, trained.settings)
    return multiply_counts(build_traffic_profile(seen, capacity), seen.stands_for)


def _draw_evaluation(trained: TrainingResult, fairness: list[Row]) -> dict[str, Chart]:
    stored, model = trained.deployed.stored, trained.deployed.recipe.model
    charts = {"daily": plots.draw_daily_detections(model)}
    if model["recall_at_1pct"].is_shown:
        charts |= plots.draw_capacity_curves(stored, trained.deployed.recipe)
    if model["calibration_ratio"].is_shown:
        charts["calibration"] = plots.draw_calibration(model)
    charts |= plots.draw_fairness(fairness)
    if trained.studied.ablation:
        charts["ablation"] = plots.draw_ablation(trained.studied.ablation)
    return charts


def _tabulate(sides: Mapping[str, Evaluation]) -> RunTable:
    rows = [
        {"name": side, "metric": metric, **estimate.to_row()}
        for side, evaluation in sides.items()
        for metric, estimate in evaluation.metrics.items()
    ]
    return RunTable(rows, METRIC_COLUMNS)


def _list_tables(trained: TrainingResult) -> dict[str, RunTable]:
    """List the tables of results by name; `deployed` is the recipe as deployed, `evaluation_fit` another fit."""
    deployed, recipe, studied = trained.deployed, trained.deployed.recipe, trained.studied
    return {
        "deployed": _tabulate({"model": recipe.model}),
        "baselines": _tabulate(recipe.baselines),
        "deployed_truth": _tabulate({"model": recipe.truth.model} if recipe.truth else {}),
        "evaluation_fit": _tabulate({"evaluation fit": trained.evaluation_fit}),
        "capacity": RunTable(recipe.model.capacity),
        "calibration": RunTable(recipe.model.calibration),
        "slices": RunTable(recipe.model.slices, SLICE_COLUMNS),
        "origins": RunTable(deployed.origins),
        "ages": RunTable(deployed.ages),
        "name_swaps": RunTable(trained.name_swaps),
        "leaks": RunTable(trained.leaks),
        "split": RunTable(list(trained.data.split.to_rows())),
        "data": RunTable(trained.data.report),
        "ablation": RunTable(studied.ablation, ("left_out", "kind", "features", *ABLATION_MEASURES)),
        "search": RunTable(studied.trials, TRIAL_COLUMNS),
    }
