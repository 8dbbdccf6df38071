"""Artifacts of a run, written into one folder: the bundles, the page, the tables and the plots.

bundle/          the final fit as data, which is served
evaluation/      the evaluation fit as data, which is tested on later time
config.json      every setting of the run, to repeat it
report.html      the page with all results
tables/*.json    the same names and columns in every run
plots/*.svg      the plots of the page
"""

from collections.abc import Sequence
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
from training.evaluation.capacity import AT_CAPACITY, compute_daily_capacity
from training.evaluation.fairness import COLUMNS as FAIRNESS_COLUMNS
from training.evaluation.fairness import Row
from training.evaluation.leakage import COLUMNS as LEAK_COLUMNS
from training.evaluation.metrics import Evaluation
from training.evaluation.name_invariance import COLUMNS as NAME_SWAP_COLUMNS
from training.evaluation.stored_scores import RecipeEvaluation
from training.fitting.deployed import RECALLS
from training.fitting.fit import TrafficScores
from training.fitting.search import SEARCH_SPACE
from training.gate.recommendation import FACT_COLUMNS, recommend
from training.gate.report import GATE_COLUMNS, GateReport
from training.gate.rules import GateEvidence, run_gate
from training.monitoring.traffic_profile import ScoredTraffic, build_traffic_profile, multiply_counts
from training.reporting.html import HEADLINE
from training.reporting.tables import serialize_table
from training.runs.explanations import compute_feature_importance, explain_sample
from training.runs.result import TrainingResult
from training.runs.run_pictures import compute_fairness, draw_pictures
from training.runs.run_report import build_report, render_report

BUNDLE_FOLDER, EVALUATION_FOLDER = "bundle", "evaluation"
EXAMPLES_PER_BAND = 20
CARD_DIGITS = 9
"""Significant digits of the level in the card, so that the last bits of sums rarely change it. Equal bytes are promised on one kind of processor."""
STORED_SCORES = "scores/deployed.parquet"
ENDS = ("", "_low", "_high")
RECALL_COLUMNS = (
    "found_at_1pct",
    "found_at_5pct",
    *(f"{name}{end}" for name in RECALLS for end in ENDS),
)
ORIGIN_COLUMNS = (
    "as_of",
    "from",
    "until",
    "learnt_positives",
    "learnt_results",
    "consignments",
    "positives",
    *RECALL_COLUMNS,
)
AGE_COLUMNS = ("days_old_from", "days_old_until", "windows", "consignments", "positives", *RECALL_COLUMNS)
ABLATION_COLUMNS = (
    "group",
    "features",
    *(f"{measure}{end}" for measure in ("worth", "recall_at_1pct") for end in ENDS),
)
TRIAL_COLUMNS = ("trial", "worth", "recall_at_1pct", *SEARCH_SPACE, "best")
METRIC_COLUMNS = ("metric", "value", "low", "high", "effective", "largest", "known", "shown", "why")
SLICE_COLUMNS = ("kind", "value", "consignments", "labelled", "positive")


def write_artifacts(trained: TrainingResult, folder: Path, champion: str | None = None) -> GateReport:
    """Write all artifacts of a run.

    Parameters
    ----------
    trained : TrainingResult
    folder : Path
        Created if it does not exist.
    champion : str, optional
        Number of the version that is champion now, which the gate compares with.

    Returns
    -------
    GateReport
        Every rule of the gate, without a repeated training run, and the recommendation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_run_bundles(trained, folder)
    _write(folder / CONFIG_FILE, trained.config.to_json())
    sample, fairness = explain_sample(trained), compute_fairness(trained)
    importance = compute_feature_importance(trained, sample)
    pictures = draw_pictures(trained, sample, importance, fairness)
    for name, picture in pictures.items():
        _write(folder / "plots" / f"{name}.svg", picture.svg)
    gate = check_gate(trained, folder, champion)
    for name, table in (
        serialize_run_tables(trained, importance, fairness) | serialize_gate_tables(trained, gate)
    ).items():
        _write(folder / "tables" / f"{name}.json", table)
    report = build_report(trained, gate, pictures, importance, fairness)
    _write(folder / "report.html", render_report(report))
    trained.deployed.stored.write(folder / STORED_SCORES)
    return gate


def check_gate(trained: TrainingResult, folder: Path, champion: str | None = None) -> GateReport:
    """Run the gate on the bundles in a folder, with the results of the run that wrote them.

    Parameters
    ----------
    trained : TrainingResult
    folder : Path
        With the bundles that `write_run_bundles` wrote.
    champion : str, optional
        Number of the version that is champion now. It is not compared yet.
    """
    served = load_bundle(folder / BUNDLE_FOLDER)
    evidence = GateEvidence(
        bundle=served,
        evaluation=load_bundle(folder / EVALUATION_FOLDER),
        refusal="",
        registered_sha256=served.sha256,
        metrics=trained.metrics,
        looks={str(row["look"]): row for row in trained.leaks},
        slices=trained.deployed.recipe.model.slices,
        champion=champion,
    )
    rules = run_gate(evidence)
    return GateReport(rules, recommend(rules, trained.deciding_facts))


def serialize_gate_tables(trained: TrainingResult, gate: GateReport) -> dict[str, str]:
    """Return the tables of the gate as JSON, by name: every rule, and the facts that decide."""
    return {
        "gate": serialize_table(gate.to_rows(), GATE_COLUMNS),
        "deciding_facts": serialize_table(trained.deciding_facts.to_rows(), FACT_COLUMNS),
    }


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
    values, arrays = written.grown.fitted.to_plain()
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
        positives=written.grown.positives,
        learnt_until=written.grown.learnt_until.isoformat(),
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
    own = TrafficScores(evaluated, trained.test_scores[even])
    traffic = trained.final.traffic if kind == "final" else own
    seen = ScoredTraffic(
        frame=trained.data.observed.consignments.iloc[traffic.matrix.rows],
        X=traffic.matrix.X,
        spec=traffic.matrix.spec,
        score=traffic.scores,
        config=trained.config.features,
        stands_for=float(trained.test_traffic.traffic.sum()) / len(traffic.matrix.rows),
    )
    capacity = compute_daily_capacity(trained.test_traffic, trained.config.evaluation)
    return multiply_counts(build_traffic_profile(seen, capacity), seen.stands_for)


def serialize_run_tables(
    trained: TrainingResult, importance: Sequence[dict[str, Any]], fairness: Sequence[Row]
) -> dict[str, str]:
    """Return the tables as JSON, by name."""
    recipe = trained.deployed.recipe
    return {
        "deployed": serialize_table(_build_metric_rows(recipe.model), METRIC_COLUMNS),
        "deployed_truth": serialize_table(
            _build_metric_rows(recipe.truth.model) if recipe.truth else [], METRIC_COLUMNS
        ),
        "evaluation_fit": serialize_table(_build_metric_rows(trained.evaluation_fit), METRIC_COLUMNS),
        "baselines": serialize_table(build_baseline_rows(recipe)),
        "capacity": serialize_table(recipe.model.capacity),
        "calibration": serialize_table(recipe.model.calibration),
        "slices": serialize_table(recipe.model.slices, SLICE_COLUMNS),
        "fairness": serialize_table(fairness, FAIRNESS_COLUMNS),
        "name_swaps": serialize_table(trained.name_swaps, NAME_SWAP_COLUMNS),
        "leaks": serialize_table(trained.leaks, LEAK_COLUMNS),
        "split": serialize_table(list(trained.data.split.to_rows())),
        "data": serialize_table(trained.data.report),
        "features": serialize_table(list(importance)),
        "origins": serialize_table(trained.deployed.origins, ORIGIN_COLUMNS),
        "ages": serialize_table(trained.deployed.ages, AGE_COLUMNS),
        "ablation": serialize_table(trained.studied.ablation, ABLATION_COLUMNS),
        "search": serialize_table(trained.studied.trials, TRIAL_COLUMNS),
    }


def build_baseline_rows(recipe: RecipeEvaluation) -> list[dict[str, Any]]:
    """Build a table of the model and its baselines, one row each: what was counted, and every key metric with its interval."""
    return [
        {
            "name": name,
            "found_at_capacity": evaluation.counts.found[AT_CAPACITY],
            "found_at_1pct": evaluation.counts.found["1pct"],
            **{
                f"{metric}{end}": value
                for metric in HEADLINE
                for end, value in evaluation[metric].list_ends()
            },
        }
        for name, evaluation in {"model": recipe.model, **recipe.baselines}.items()
    ]


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


def _build_metric_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [{"metric": name, **estimate.to_row()} for name, estimate in evaluation.metrics.items()]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
