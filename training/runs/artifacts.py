"""Artifacts of a run, written into one folder: the bundles, the page, the tables and the charts.

bundle/                   the final fit as data, which is served
evaluation/               the evaluation fit as data
scores/deployed.parquet   the scores that the figures are computed from
config.json               every setting of the run, to repeat it
report.html               the page with all results
tables/*.json             the same names and columns in every run
plots/*.svg               the charts of the page
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.batch import FeatureMatrix
from models.bundle import BundleContent, FitKind, ModelCard, SelfTestExamples, load_bundle, write_bundle
from models.calibration import CalibrationLevel
from models.risk_model import RiskModel
from models.traffic_profile import ReferenceProfile
from training.config import CONFIG_FILE
from training.data.splits import VALIDATION
from training.evaluation.capacity import compute_daily_capacity
from training.evaluation.fairness import COLUMNS as FAIRNESS_COLUMNS
from training.evaluation.fairness import Row
from training.evaluation.leakage import COLUMNS as LEAK_COLUMNS
from training.evaluation.metrics import Evaluation
from training.evaluation.name_invariance import COLUMNS as NAME_SWAP_COLUMNS
from training.fitting.deployed import RECALLS
from training.fitting.search import SEARCH_SPACE
from training.gate.figures import compute_run_figures
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import UNSIGNED, CheckResult, GateEvidence
from training.gate.ways import Candidate
from training.monitoring.traffic_profile import ScoredTraffic, build_traffic_profile, multiply_counts
from training.reporting.tables import RunTable, write_tables
from training.runs.explanations import compute_feature_importance, explain_sample
from training.runs.result import TrainingResult
from training.runs.run_pictures import compute_fairness, draw_charts
from training.runs.run_report import render_report

BUNDLE_FOLDER, EVALUATION_FOLDER = "bundle", "evaluation"
EXAMPLES_PER_BAND = 20
CARD_DIGITS = 9
"""Significant digits of the level in the card, so that the last bits of sums rarely change it. Equal bytes are promised on one kind of processor."""
STORED_SCORES, REPORT_FILE = "scores/deployed.parquet", "report.html"
ENDS = ("", "_low", "_high")
RECALL_COLUMNS = (
    "found_at_1pct",
    "found_at_5pct",
    *(f"{name}{end}" for name in RECALLS for end in ENDS),
)
ORIGIN_COLUMNS = ("as_of", "from", "until", "learnt_positives", "learnt_results", "consignments", "positives")
AGE_COLUMNS = ("days_old_from", "days_old_until", "windows", "consignments", "positives")
ABLATION_COLUMNS = (
    "group",
    "features",
    *(f"{measure}{end}" for measure in ("worth", "recall_at_1pct") for end in ENDS),
)
TRIAL_COLUMNS = ("trial", "worth", "recall_at_1pct", *SEARCH_SPACE, "best")
ESTIMATE_COLUMNS = ("value", "low", "high", "effective", "largest", "known", "shown", "why")
METRIC_COLUMNS = ("name", "metric", *ESTIMATE_COLUMNS)
SLICE_COLUMNS = ("kind", "value", "consignments", "labelled", "positive")


def write_artifacts(
    trained: TrainingResult, folder: Path, champion: str | None = None, *, is_signed: bool = False
) -> GateReport:
    """Write all artifacts of a run, whose evidence will be signed or not."""
    folder.mkdir(parents=True, exist_ok=True)
    write_run_bundles(trained, folder)
    (folder / CONFIG_FILE).write_text(trained.config.to_json(), encoding="utf-8")
    trained.deployed.stored.write(folder / STORED_SCORES)
    sample, fairness = explain_sample(trained), compute_fairness(trained)
    importance = compute_feature_importance(trained, sample)
    charts = draw_charts(trained, sample, importance, fairness)
    (folder / "plots").mkdir(exist_ok=True)
    for name, chart in charts.items():
        (folder / "plots" / f"{name}.svg").write_text(chart.svg, encoding="utf-8")
    gate = check_gate(trained, folder, champion, is_signed=is_signed)
    tables = list_run_tables(trained, importance, fairness)
    write_tables(folder, tables | {"gate": RunTable(gate.to_rows(), GATE_COLUMNS)})
    served = load_bundle(folder / BUNDLE_FOLDER).model
    page = render_report(trained, gate, served, charts, importance, fairness)
    (folder / REPORT_FILE).write_text(page, encoding="utf-8")
    return gate


def check_gate(
    trained: TrainingResult, folder: Path, champion: str | None = None, *, is_signed: bool = False
) -> GateReport:
    """Run the gate on the bundles in a folder, with the results of the run that wrote them; the champion is not compared yet."""
    served, deployed = load_bundle(folder / BUNDLE_FOLDER), trained.deployed
    figures = compute_run_figures(
        deployed.stored, trained.config.evaluation, trained.leaks, trained.name_swaps, deployed.recipe
    )
    evidence = GateEvidence(
        target=trained.target,
        bundle=served,
        evaluation=load_bundle(folder / EVALUATION_FOLDER),
        refusal="",
        registered_sha256=served.sha256,
        figures=figures,
        verified=CheckResult(True, "the training run is signed") if is_signed else UNSIGNED,
        candidate=None if champion is None else Candidate(champion),
    )
    return GateReport.from_evidence(evidence)


def write_run_bundles(trained: TrainingResult, folder: Path) -> None:
    """Write the final fit into `bundle`, and the evaluation fit into `evaluation`; both without data from a truth.

    The examples of both come from each band of validation. Both contain a profile of the test period's traffic, each with its own scores.
    """
    kinds: dict[FitKind, str] = {"evaluation": EVALUATION_FOLDER, "final": BUNDLE_FOLDER}
    for kind, name in kinds.items():
        _write_bundle(trained, kind, build_reference(trained, kind), folder / name)


def _write_bundle(trained: TrainingResult, kind: FitKind, reference: ReferenceProfile, folder: Path) -> None:
    from models.registry import get_model_name

    written = trained.final if kind == "final" else trained.evaluated
    rows = np.flatnonzero(trained.data.part[trained.matrix.rows] == VALIDATION)
    values, arrays = written.fitted.to_plain()
    frame = trained.data.observed.consignments
    channel = frame["channel"].iloc[trained.matrix.rows[rows]].astype(str).to_numpy(dtype=object)
    chosen = _select_band_examples(written.model, trained.matrix.X[rows], channel)
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
        level=_round_level(written.level),
    )
    examples = SelfTestExamples.compute(
        written.model,
        np.ascontiguousarray(trained.matrix.X[rows[chosen]]),
        [str(name) for name in channel[chosen]],
    )
    content = BundleContent(
        config=trained.config.features,
        fitted=values,
        arrays=arrays,
        model=written.model,
        examples=examples,
        reference=reference,
    )
    write_bundle(folder, card, content)


def _round_level(level: CalibrationLevel) -> CalibrationLevel:
    shift, low, high = (float(f"{value:.{CARD_DIGITS}g}") for value in (level.shift, level.low, level.high))
    return level._replace(shift=shift, low=low, high=high)


def build_reference(trained: TrainingResult, kind: FitKind = "final") -> ReferenceProfile:
    """Build the profile of the test period's traffic under a fit, as the reference for later traffic.

    The scores of the final fit are, row by row, those of a fit that was not trained on the row. If the traffic is a sample, the
    profile counts its uniform part.
    """
    matrix, kept = trained.matrix, trained.data.observed.kept
    even = kept.even[matrix.rows[trained.test_matrix_rows]]
    rows = trained.test_matrix_rows[even]
    evaluated = FeatureMatrix(matrix.X[rows], matrix.rows[rows], matrix.spec)
    final = trained.final.usual, trained.final.usual_scores
    traffic, scores = final if kind == "final" else (evaluated, trained.test_scores[even])
    seen = ScoredTraffic(
        frame=trained.data.observed.consignments.iloc[traffic.rows],
        X=traffic.X,
        spec=traffic.spec,
        score=scores,
        config=trained.config.features,
        stands_for=float(trained.test_traffic.traffic.sum()) / len(traffic.rows),
    )
    capacity = compute_daily_capacity(trained.test_traffic, trained.config.evaluation)
    return multiply_counts(build_traffic_profile(seen, capacity), seen.stands_for)


def list_run_tables(
    trained: TrainingResult, importance: Sequence[dict[str, Any]], fairness: Sequence[Row]
) -> dict[str, RunTable]:
    """List the tables of a run by name; `deployed` is the recipe as deployed, `evaluation_fit` another fit."""
    deployed, recipe = trained.deployed, trained.deployed.recipe
    return {
        "deployed": _build_metric_table({"model": recipe.model}),
        "baselines": _build_metric_table(recipe.baselines),
        "deployed_truth": _build_metric_table({"model": recipe.truth.model} if recipe.truth else {}),
        "evaluation_fit": _build_metric_table({"evaluation fit": trained.evaluation_fit}),
        "capacity": RunTable(recipe.model.capacity),
        "calibration": RunTable(recipe.model.calibration),
        "slices": RunTable(recipe.model.slices, SLICE_COLUMNS),
        "origins": RunTable(deployed.origins, (*ORIGIN_COLUMNS, *RECALL_COLUMNS)),
        "ages": RunTable(deployed.ages, (*AGE_COLUMNS, *RECALL_COLUMNS)),
        "fairness": RunTable(fairness, FAIRNESS_COLUMNS),
        "name_swaps": RunTable(trained.name_swaps, NAME_SWAP_COLUMNS),
        "leaks": RunTable(trained.leaks, LEAK_COLUMNS),
        "split": RunTable(list(trained.data.split.to_rows())),
        "data": RunTable(trained.data.report),
        "features": RunTable(importance),
        "ablation": RunTable(trained.studied.ablation, ABLATION_COLUMNS),
        "search": RunTable(trained.studied.trials, TRIAL_COLUMNS),
    }


def _build_metric_table(evaluations: Mapping[str, Evaluation]) -> RunTable:
    rows = [
        {"name": name, "metric": metric, **estimate.to_row()}
        for name, evaluation in evaluations.items()
        for metric, estimate in evaluation.metrics.items()
    ]
    return RunTable(rows, METRIC_COLUMNS)


def _select_band_examples(
    model: RiskModel, X: NDArray[np.float32], channel: NDArray[np.object_]
) -> NDArray[np.int64]:
    """Select the highest scores of each band."""
    score = model.score(X, list(channel))
    band = np.array(model.assign_bands(score), dtype=object)
    order = np.argsort(-score, kind="stable")
    return np.concatenate(
        [order[band[order] == name][:EXAMPLES_PER_BAND] for name in ("high", "elevated", "routine")]
    )
