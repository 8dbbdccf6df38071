"""Facts of the results: metrics, capacity, baselines, slices, groups, names, limits."""

from collections.abc import Iterator
from typing import Any

from models.formats import format_number, format_percent
from training.dossier.blocks import Block, Column, build_table
from training.dossier.evidence import DossierEvidence, Row
from training.evaluation.name_invariance import MAX_LOG_ODDS_CHANGE
from training.evaluation.verdict import MIN_POSITIVES
from training.reporting.html import AREA_METRICS, HEADLINE

ENDS = ("", "_low", "_high")


def list_metrics(evidence: DossierEvidence) -> list[Block]:
    """List the key metrics of the evaluation fit on the test period, with intervals."""
    return _list_headline(evidence.tables["metrics"])


def list_deployed_metrics(evidence: DossierEvidence) -> list[Block]:
    """List the key metrics of the recipe at earlier dates, with intervals."""
    return _list_headline(evidence.tables["deployed"])


def _list_headline(rows: Any) -> list[Block]:
    by_name = {row["metric"]: row for row in rows}
    found = [_format_metric_row(title, by_name[name]) for name, title in HEADLINE.items() if name in by_name]
    columns = (
        Column("metric", "metric"),
        Column("value", "value (95 % interval)"),
        Column("value_low", "lower end"),
        Column("value_high", "upper end"),
    )
    return build_table(columns, found)


def _format_metric_row(title: str, row: Row) -> dict[str, str | None]:
    ends = {"value": "value", "value_low": "low", "value_high": "high"}
    return {"metric": title} | {key: _format_metric(row.get(end), row["metric"]) for key, end in ends.items()}


def _format_metric(value: float | None, name: str) -> str | None:
    if value is None:
        return None
    return format_number(value) if name in AREA_METRICS else format_percent(value)


def list_baselines(evidence: DossierEvidence) -> list[Block]:
    """Compare the model with simple baselines on the test period."""
    columns = (
        Column("name", "ranking"),
        Column("roc_auc", "area under the ROC curve", "decimal"),
        Column("average_precision", "average precision", "decimal"),
        Column("recall_at_1pct", "recall at 1 % of traffic", "figure"),
        Column("recall_at_capacity", "recall at the capacity", "figure"),
    )
    rows = [{**row, "name": str(row["name"]).replace("_", " ")} for row in evidence.tables["baselines"]]
    return build_table(columns, rows, "The model and simple baselines on the test period.")


def list_capacities(evidence: DossierEvidence) -> list[Block]:
    """List precision and recall at each capacity, with intervals."""
    columns = (
        Column("capacity", "capacity"),
        Column("consignments", "consignments", "number"),
        *_interval_columns("precision", "precision", "figure"),
        *_interval_columns("recall", "recall", "figure"),
        Column("labelled_share", "share with a result", "figure"),
    )
    rows = [
        {**row, "capacity": str(row["capacity"]).replace("pct", " % of traffic")}
        for row in evidence.tables["capacity"]
    ]
    return build_table(columns, rows)


def list_slices(evidence: DossierEvidence) -> list[Block]:
    """List the order and calibration of each slice, with intervals."""
    columns = (
        Column("kind", "slice"),
        Column("value", "value"),
        Column("consignments", "consignments", "number"),
        Column("positive", "positives", "number"),
        *_interval_columns("roc_auc", "area under the ROC curve", "decimal"),
        *_interval_columns("recall_at_1pct", "recall at 1 %", "figure"),
        *_interval_columns("calibration_ratio", "predicted over observed positives", "decimal"),
    )
    return build_table(columns, [_name_plainly(row) for row in evidence.tables["slices"]])


def list_fairness(evidence: DossierEvidence) -> list[Block]:
    """List the inspection burden of each group, by inspection results."""
    columns = (
        Column("kind", "group"),
        Column("value", "value"),
        Column("consignments", "consignments", "number"),
        Column("chosen", "selected", "number"),
        *_interval_columns("selection_rate", "selection rate", "figure"),
        *_interval_columns("hit_rate", "hit rate", "figure"),
        *_interval_columns("false_opens_per_1000", "unsuccessful inspections per 1,000", "number"),
    )
    rows = [_name_plainly(row) for row in evidence.tables["fairness"] if row["judged_by"] == "outcomes"]
    return build_table(columns, rows, "At the daily capacity of each office, by inspection results.")


def describe_name_effect(evidence: DossierEvidence) -> list[Block]:
    """Describe the effect on scores of names from other languages."""
    columns = (
        Column("language", "language of the new names"),
        Column("rows", "replacements", "number"),
        Column("moved", "scores changed", "figure"),
        Column("move_95pct", "95 % change by less than (log-odds)", "decimal"),
        Column("move_largest", "largest change (log-odds)", "decimal"),
    )
    limit = f"Personal names are replaced by names from another language, with the history unchanged. The limit is {MAX_LOG_ODDS_CHANGE} log-odds."
    return build_table(columns, evidence.tables["name_swaps"], limit)


def describe_power(evidence: DossierEvidence) -> list[Block]:
    """Describe what the number of positives of the test period allows to say."""
    test = next((row for row in evidence.tables["data"] if row["period"] == "test"), {})
    return [Block(tuple(_list_power_sentences(test, evidence.get_metric("recall_at_1pct"))))] if test else []


def _list_power_sentences(test: Row, recall: Row) -> Iterator[str]:
    positives = int(test["positive"])
    known = "1 positive is" if positives == 1 else f"{positives:,} positives are"
    yield f"{known} known in the test period."
    if positives < MIN_POSITIVES:
        yield f"With fewer than {MIN_POSITIVES} positives no confident decision is possible."
    if recall.get("low") is not None and recall.get("high") is not None:
        low, high = format_percent(max(recall["low"], 0.0)), format_percent(recall["high"])
        yield f"Recall at 1 % of traffic is known only to lie between {low} and {high} (95 % interval)."


def describe_inspected_share(evidence: DossierEvidence) -> list[Block]:
    """Describe how much of the highest scores was inspected; the rest of the precision is an estimate."""
    share = evidence.get_metric("labelled_share_at_1pct").get("value")
    if share is None:
        return []
    return [
        Block(
            (
                f"{format_percent(share)} of the top 1 % of traffic was inspected and has a result. The rest is estimated.",
            )
        )
    ]


def describe_level(evidence: DossierEvidence) -> list[Block]:
    """Describe how well the level of the served scores is known."""
    level = evidence.served.card.level
    return [] if level is None else [Block((level.to_sentence(),))]


def _name_plainly(row: Row) -> dict[str, Any]:
    """Return the row of a group or slice with plain words instead of a code."""
    return {**row, "value": str(row["value"]).replace("_", " ")}


def _interval_columns(name: str, title: str, form: str) -> tuple[Column, ...]:
    titles = (title, "lower end", "upper end")
    return tuple(Column(f"{name}{end}", each, form) for end, each in zip(ENDS, titles, strict=True))
