"""The artifacts of a run: the bundle, the page, the tables and the pictures, written into one folder.

bundle/          the model as data
report.html      the page, with everything in it
tables/*.json    the same names and columns in every run
plots/*.svg      the pictures of the page
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.tables import build_frame
from consignments.timestamps import EPOCH
from features.batch import Tables
from features.config import FeatureConfig
from models.bundle import BundleContent, ModelCard, SelfTestExamples, write_bundle
from models.risk_model import RiskModel
from models.traffic_profile import ReferenceProfile
from training.data.splits import VALIDATION
from training.evaluation.fairness import COLUMNS as FAIRNESS_COLUMNS
from training.evaluation.fairness import Row, compute_fairness_rows
from training.evaluation.leakage import COLUMNS as LEAK_COLUMNS
from training.evaluation.metrics import (
    Evaluation,
    compute_capacity_curve,
    compute_daily_capacity,
    select_at_capacity,
)
from training.evaluation.name_invariance import COLUMNS as NAME_SWAP_COLUMNS
from training.evaluation.off_policy import COLUMNS as ESTIMATE_COLUMNS
from training.evaluation.verdict import TARGET_NAMES
from training.fitting.search import SEARCH_SPACE
from training.monitoring.traffic_profile import ScoredTraffic, build_traffic_profile
from training.reporting.html import (
    HEADLINE,
    VERDICT_WORDS,
    RunReport,
    build_key_figures,
    format_interval,
    format_metric,
    render_report,
)
from training.reporting.plots import (
    CapacityCurve,
    draw_ablation,
    draw_calibration,
    draw_capacity,
    draw_daily_detections,
    draw_fairness,
    draw_importance,
    draw_scores,
)
from training.runs.result import EvaluatedModel, TrainingResult

CURVE_SHARES = np.geomspace(0.0005, 0.2, 28)
"""Capacities of the picture."""
EXAMPLES_PER_BAND = 20
TOP_EXAMPLES = 12
"""Highest scores that the page explains."""
MAX_REASONS = 3
EXPLAINED_ROWS = 400
"""Rows whose contributions give the importance of features: the highest scores and as many of all traffic."""
MAX_FEATURES = 30
DAILY_CAPACITY_SHARE = 0.01
"""Of the traffic of a mean day, in the picture of finds by day."""
CARD_DIGITS = 9
"""Of a metric in the bundle: sums of metrics may differ in their last bits between machines, bundles may not."""
ORIGIN_COLUMNS = (
    "window_from",
    "window_until",
    "training_finds",
    "window_finds",
    "recall_at_1pct",
    "recall_at_5pct",
    "worth",
)
ABLATION_COLUMNS = (
    "group",
    "features",
    *(f"{measure}{end}" for measure in ("worth", "recall_at_1pct") for end in ("", "_low", "_high")),
)
TRIAL_COLUMNS = ("trial", "worth", "recall_at_1pct", *SEARCH_SPACE, "best")
METRIC_COLUMNS = ("metric", "value", "low", "high")
SLICE_COLUMNS = ("kind", "value", "consignments", "labelled", "positive")


def write_artifacts(trained: TrainingResult, tables: Tables, folder: Path) -> None:
    """Write everything a run leaves behind.

    Parameters
    ----------
    trained : Trained
    tables : Tables
        What it was trained on.
    folder : Path
        Made where it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_run_bundle(trained, tables, folder / "bundle")
    importance, fairness = compute_feature_importance(trained), compute_fairness(trained)
    pictures = draw_pictures(trained, importance, fairness)
    for name, picture in pictures.items():
        _write(folder / "plots" / f"{name}.svg", picture)
    for name, table in serialize_run_tables(trained, importance, fairness).items():
        _write(folder / "tables" / f"{name}.json", table)
    _write(
        folder / "report.html", render_report(build_report(trained, tables, pictures, importance, fairness))
    )


def write_run_bundle(trained: TrainingResult, tables: Tables, folder: Path) -> str:
    """Write the bundle with examples of each band from validation; gives its sum."""
    from models.registry import get_model_name

    values, arrays = trained.fitted.to_plain()
    rows = np.flatnonzero(trained.data.part[trained.matrix.rows] == VALIDATION)
    channel = (
        tables.consignments["channel"].iloc[trained.matrix.rows[rows]].astype(str).to_numpy(dtype=object)
    )
    chosen = _select_band_examples(trained.model, trained.matrix.X[rows], channel)
    card = ModelCard(
        name=get_model_name(trained.target),
        target=trained.target,
        as_of=trained.as_of.isoformat(),
        data_sha256=trained.data_sha256,
        code_version=installed_version("npsrisk"),
        feature_spec_sha256=trained.model.spec.compute_digest(),
        metrics={
            name: float(f"{value:.{CARD_DIGITS}g}")
            for name, value in trained.metrics.items()
            if name.count("/") == 1
        },
    )
    examples = SelfTestExamples.compute(
        trained.model,
        np.ascontiguousarray(trained.matrix.X[rows[chosen]]),
        [str(name) for name in channel[chosen]],
    )
    content = BundleContent(
        config=trained.config.features,
        fitted=values,
        arrays=arrays,
        model=trained.model,
        examples=examples,
        reference=build_reference(trained, tables),
    )
    return write_bundle(folder, card, content)


def build_reference(trained: TrainingResult, tables: Tables) -> ReferenceProfile:
    """Take the portrait of the test period's traffic, against which later traffic is watched."""
    seen = ScoredTraffic(
        frame=tables.consignments.iloc[trained.test_rows],
        X=trained.matrix.X[_locate_test_rows(trained)],
        spec=trained.model.spec,
        score=trained.test_scores,
        config=trained.config.features,
    )
    return build_traffic_profile(
        seen, compute_daily_capacity(trained.test.traffic, trained.config.evaluation)
    )


def compute_feature_importance(trained: TrainingResult) -> list[dict[str, Any]]:
    """Give each feature's share of the mean absolute contribution, largest first.

    Returns
    -------
    list of dict
        `feature`, `group`, `reason`, `share` (0 to 1).
    """
    rows = _locate_test_rows(trained)
    highest = np.argsort(-trained.test_scores, kind="stable")[: EXPLAINED_ROWS // 2]
    evenly = np.linspace(0, len(rows) - 1, min(len(rows), EXPLAINED_ROWS // 2)).astype(np.int64)
    X = trained.matrix.X[rows[np.unique(np.concatenate([highest, evenly]))]]
    size = np.abs(trained.model.trees.compute_contributions(X)[:, :-1]).mean(axis=0)
    share = size / max(float(size.sum()), 1e-300)
    features = trained.model.spec.features
    return [
        {
            "feature": features[place].name,
            "group": features[place].group,
            "reason": features[place].reason,
            "share": float(share[place]),
        }
        for place in np.argsort(-share, kind="stable")
    ]


def compute_fairness(trained: TrainingResult) -> list[Row]:
    """Give the burden of each group by what was found and, on a simulated world, by the truth."""
    settings = trained.config.evaluation
    capacity = compute_daily_capacity(trained.test.traffic, settings)
    judged = {"outcomes": trained.test, "truth": trained.truth}
    return [
        row
        for name, each in judged.items()
        if each is not None
        for row in compute_fairness_rows(each.traffic, capacity, settings, name)
    ]


def draw_pictures(
    trained: TrainingResult, importance: Sequence[dict[str, Any]], fairness: Sequence[Row]
) -> dict[str, str]:
    """Draw the pictures of the page; name to SVG, in their order."""
    judged = trained.truth or trained.test
    finds = "known finds" if trained.truth is None else "there, by the truth"
    band = np.array(trained.model.assign_bands(trained.test_scores), dtype=object)
    groups: dict[str, float] = {}
    for row in importance:
        groups[row["group"]] = groups.get(row["group"], 0.0) + row["share"]
    pictures = {"capacity": _draw_capacity_curves(trained, trained.test)}
    if trained.truth is not None:
        pictures["capacity_truth"] = _draw_capacity_curves(trained, trained.truth)
    if trained.studied.ablation:
        pictures["ablation"] = draw_ablation(trained.studied.ablation)
    return pictures | {
        "calibration": draw_calibration(judged.model.calibration, _describe_labels(trained, judged)),
        "scores": draw_scores(trained.test_scores, band, judged.traffic.positive, finds),
        "daily": _draw_daily(judged, finds),
        "fairness": draw_fairness(_select_best_labels(trained, fairness)),
        "importance": draw_importance(groups),
    }


def serialize_run_tables(
    trained: TrainingResult, importance: Sequence[dict[str, Any]], fairness: Sequence[Row]
) -> dict[str, str]:
    """Give the tables as JSON, by name."""
    return {
        "metrics": serialize_table(_build_metric_rows(trained.test.model), METRIC_COLUMNS),
        "truth": serialize_table(
            _build_metric_rows(trained.truth.model) if trained.truth else [], METRIC_COLUMNS
        ),
        "baselines": serialize_table(build_baseline_rows(trained.test)),
        "capacity": serialize_table(trained.test.model.capacity),
        "estimates": serialize_table(trained.estimates.rows, ESTIMATE_COLUMNS),
        "calibration": serialize_table(trained.test.model.calibration),
        "slices": serialize_table(trained.test.model.slices, SLICE_COLUMNS),
        "fairness": serialize_table(fairness, FAIRNESS_COLUMNS),
        "name_swaps": serialize_table(trained.name_swaps, NAME_SWAP_COLUMNS),
        "leaks": serialize_table(trained.leaks, LEAK_COLUMNS),
        "split": serialize_table(list(trained.data.split.to_rows())),
        "data": serialize_table(trained.data.report),
        "features": serialize_table(list(importance)),
        "origins": serialize_table(trained.studied.origins, ORIGIN_COLUMNS),
        "ablation": serialize_table(trained.studied.ablation, ABLATION_COLUMNS),
        "search": serialize_table(trained.studied.trials, TRIAL_COLUMNS),
    }


def serialize_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> str:
    """Write a table as MLflow shows and compares it: columns once, then the rows; unknown numbers are null.

    Parameters
    ----------
    rows : sequence of dict
    columns : sequence of str
        Columns that are there even where no row has them; they come first.

    Examples
    --------
    >>> table_json([{"metric": "roc_auc", "value": 0.5}, {"metric": "recall", "value": float("nan")}])
    '{"columns":["metric","value"],"data":[["roc_auc",0.5],["recall",null]]}'
    """
    columns = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    data = [[_to_json_value(row.get(name)) for name in columns] for row in rows]
    return json.dumps({"columns": columns, "data": data}, separators=(",", ":"), ensure_ascii=False)


def build_baseline_rows(judged: EvaluatedModel) -> list[dict[str, Any]]:
    """Put the model and its baselines side by side, one row each."""
    rows = {"model": judged.model, **judged.baselines}
    return [
        {"name": name, **{metric: evaluation[metric].value for metric in HEADLINE}}
        for name, evaluation in rows.items()
    ]


def build_report(
    trained: TrainingResult,
    tables: Tables,
    pictures: dict[str, str],
    importance: Sequence[dict[str, Any]],
    fairness: Sequence[Row],
) -> RunReport:
    """Gather what the page shows."""
    return RunReport(
        name=f"{TARGET_NAMES[trained.target].capitalize()}: model as of {trained.as_of:%Y-%m-%d}",
        target=trained.target,
        as_of=trained.as_of,
        facts={
            "data": trained.data_sha256[:12],
            "code": installed_version("npsrisk"),
            "features": f"{len(trained.model.spec)} ({trained.model.spec.compute_digest()[:12]})",
            "trees": str(len(trained.model.trees)),
            "test traffic": f"{len(trained.test_scores):,}",
        },
        verdict=trained.verdict,
        model=trained.test.model,
        baselines=_rename_baselines(trained.test),
        truth=trained.truth.model if trained.truth else None,
        truth_baselines=_rename_baselines(trained.truth) if trained.truth else {},
        pictures=pictures,
        fairness=_select_best_labels(trained, fairness),
        estimates=trained.estimates,
        name_swaps=trained.name_swaps,
        leaks=trained.leaks,
        data=trained.data.report,
        split=list(trained.data.split.to_rows()),
        examples=explain_highest_scores(trained, tables),
        features=list(importance[:MAX_FEATURES]),
        origins=trained.studied.origins,
        ablation=trained.studied.ablation,
        trials=trained.studied.trials,
        config=trained.config.flatten(),
    )


def explain_highest_scores(trained: TrainingResult, tables: Tables) -> list[dict[str, Any]]:
    """Explain the highest scores of the test period; no personal data."""
    highest = np.argsort(-trained.test_scores, kind="stable")[:TOP_EXAMPLES]
    rows = _locate_test_rows(trained)
    frame = tables.consignments.iloc[trained.test_rows[highest]]
    bands = trained.model.assign_bands(trained.test_scores[highest])
    return [
        {
            "consignment_id": str(frame["consignment_id"].iloc[place]),
            "score": float(trained.test_scores[at]),
            "band": bands[place],
            "channel": str(frame["channel"].iloc[place]),
            "result": _describe_result(trained, int(at)),
            "reasons": [
                reason.text for reason in trained.model.explain(trained.matrix.X[rows[at]], MAX_REASONS)
            ],
        }
        for place, at in enumerate(highest)
    ]


def describe_run(trained: TrainingResult) -> str:
    """Describe the run in Markdown, for its page in MLflow and that of the version."""
    first, *rest = trained.verdict.sentences
    lines = [
        f"**{VERDICT_WORDS[trained.verdict.name]}.** {first}",
        "",
        *[f"{sentence}\n" for sentence in rest],
        "| figure on the test period | value (95 % interval) |",
        "|---|---|",
        *[_format_figure_row(row) for row in build_key_figures(trained.test.model, {})],
        "",
        "When things arrived, and which labels were known:",
        "",
        "| period | arrivals, and the day by which labels were visible |",
        "|---|---|",
        *[
            f"| {row['period']} | {row['arrivals_from']} to {row['arrivals_until']}; {row['labels_visible_by'][:10]} |"
            for row in trained.data.split.to_rows()
        ],
        "",
        "`report.html` among the artifacts is the page to read: pictures, slices, reasons, what was used and what was left out.",
    ]
    return "\n".join(lines)


def build_example_consignments(config: FeatureConfig) -> pd.DataFrame:
    """Give two invented consignments as a table, to show what the model takes; nobody in it exists."""
    record = config.build_record_type()
    packet = record(
        consignment_id="RR473124829GB",
        channel="postal",
        received_at=datetime(2024, 7, 1, 9, 30, tzinfo=UTC),
        service="small_packet",
        nature="sale",
        sender_name="Example Trading Ltd",
        sender_address="1 Example Street",
        sender_city="London",
        sender_country="GB",
        consignee_name="A. Example",
        consignee_address="12 Example-ro",
        consignee_city="Seoul",
        consignee_country="KR",
        office="Incheon",
        departure_country="GB",
        destination_country="KR",
        route="LHR>ICN",
        description="cotton shirts",
        hs_code="610910",
        pieces=2.0,
        gross_weight_kg=0.6,
        declared_value=34.0,
        currency="GBP",
    )
    house = record(
        consignment_id="180-12345675/H0001",
        channel="air_cargo",
        received_at=datetime(2024, 7, 1, 11, 0, tzinfo=UTC),
        service="express",
        sender_name="Example Chemicals Co",
        sender_country="CN",
        consignee_name="B. Example",
        consignee_country="KR",
        departure_country="CN",
        destination_country="KR",
        route="PVG>ICN",
        description="pigment sample",
        hs_code="320417",
        gross_weight_kg=1.2,
        declared_value=20.0,
        currency="USD",
    )
    frame: pd.DataFrame = build_frame([packet, house], record)
    return frame


def _select_band_examples(
    model: RiskModel, X: NDArray[np.float32], channel: NDArray[np.object_]
) -> NDArray[np.int64]:
    """Choose the highest scores of each band."""
    score = model.score(X, list(channel))
    band = np.array(model.assign_bands(score), dtype=object)
    order = np.argsort(-score, kind="stable")
    return np.concatenate(
        [order[band[order] == name][:EXAMPLES_PER_BAND] for name in ("high", "elevated", "routine")]
    )


def _locate_test_rows(trained: TrainingResult) -> NDArray[np.int64]:
    """Rows of the feature matrix that belong to the test period, in the order of the test scores."""
    return np.searchsorted(trained.matrix.rows, trained.test_rows)


def _select_best_labels(trained: TrainingResult, fairness: Sequence[Row]) -> list[Row]:
    """Keep the rows judged by the truth where there is one, else by what was found."""
    wanted = "outcomes" if trained.truth is None else "truth"
    return [row for row in fairness if row["judged_by"] == wanted]


def _draw_capacity_curves(trained: TrainingResult, judged: EvaluatedModel) -> str:
    settings = trained.config.evaluation
    curves = {
        name: CapacityCurve(
            name, **compute_capacity_curve(judged.traffic.replace_score(score), CURVE_SHARES, settings)
        )
        for name, score in {"model": judged.traffic.score, **_rename_baseline_scores(judged)}.items()
    }
    return draw_capacity(
        CURVE_SHARES, curves.pop("model"), list(curves.values()), _describe_labels(trained, judged)
    )


def _describe_labels(trained: TrainingResult, judged: EvaluatedModel) -> str:
    return "by the truth" if judged is trained.truth else "by what was found"


def _draw_daily(judged: EvaluatedModel, finds: str) -> str:
    traffic = judged.traffic
    days, day = np.unique(traffic.day, return_inverse=True)
    capacity = max(1, round(DAILY_CAPACITY_SHARE * len(day) / len(days)))
    _, group = np.unique(-traffic.score, return_inverse=True)
    taken = select_at_capacity(group, day, capacity)
    found = np.bincount(day, weights=traffic.positive * taken, minlength=len(days)).astype(np.float64)
    there = np.bincount(day, weights=traffic.positive, minlength=len(days)).astype(np.float64)
    names = [f"{EPOCH + pd.Timedelta(days=int(number)):%d %b}" for number in days]
    return draw_daily_detections(names, found, there, finds)


def _build_metric_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {"metric": name, "value": estimate.value, "low": estimate.low, "high": estimate.high}
        for name, estimate in evaluation.metrics.items()
    ]


def _rename_baselines(judged: EvaluatedModel) -> dict[str, Evaluation]:
    return {name.replace("_", " "): evaluation for name, evaluation in judged.baselines.items()}


def _rename_baseline_scores(judged: EvaluatedModel) -> dict[str, NDArray[np.float64]]:
    return {name.replace("_", " "): score for name, score in judged.scores.items()}


def _describe_result(trained: TrainingResult, at: int) -> str:
    if trained.test.traffic.positive[at]:
        return "found"
    opened = "opened, not found" if trained.test.traffic.labelled[at] else "not opened"
    holds = trained.truth is not None and trained.truth.traffic.positive[at]
    return f"holds it, {opened}" if holds else opened


def _format_figure_row(row: Any) -> str:
    estimate, metric = row["estimate"], row["metric"]
    value, low, high = (format_metric(each, metric) for each in (estimate.value, estimate.low, estimate.high))
    return f"| {row['title']} | {value} ({format_interval(low, high)}) |"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _to_json_value(value: Any) -> Any:
    """Give a value as JSON has it."""
    if isinstance(value, float) and value != value:
        return None
    return value.item() if hasattr(value, "item") else value
