"""Facts of the data: identity, periods, quantities, columns, selection, completeness, leakage checks."""

from collections.abc import Iterator
from typing import Any

from consignments.records import Alert, Outcome
from consignments.schema import Field, get_fields
from training.dossier.blocks import Block, Column, build_pairs, build_table
from training.dossier.evidence import DossierEvidence

MAX_MIX_VALUES = 8
"""Most frequent values of a column that the page shows; the others are counted together."""
MIX_COLUMNS = ("channel", "service", "departure_country")
QUANTITY_TITLES = {
    "arrived": "arrived",
    "used": "used",
    "labelled": "with a label",
    "positive": "positive",
    "background": "weak negatives",
    "missed": "selected, not presented",
    "pending": "result pending",
    "known_too_late": "result known too late",
    "amended_later": "amended later",
    "withdrawn": "cancelled",
    "without_logged_probability": "no logged probability",
    "effective_sample_size": "effective sample size",
}
"""Columns of the run's table `data`, in the order of the document."""


def describe_data_identity(evidence: DossierEvidence) -> list[Block]:
    """Describe which data the model was trained on: hash and date."""
    card = evidence.served.card
    return build_pairs(
        {
            "SHA-256 of all training tables": card.data_sha256,
            "knowledge as of": card.as_of,
            "last arrivals in the training data of the served fit": card.learnt_until,
        }
    )


def describe_simulation(evidence: DossierEvidence) -> list[Block]:
    """State that the run was evaluated with the truth of a simulated world; nothing if it was not."""
    if not evidence.tables["truth"]:
        return []
    return [
        Block(
            (
                "The run was evaluated with the truth of a simulated world. Its figures do not hold for real traffic.",
            )
        )
    ]


def list_periods(evidence: DossierEvidence) -> list[Block]:
    """List the periods of training, validation and test."""
    columns = (
        Column("period", "period"),
        Column("arrivals_from", "arrivals from"),
        Column("arrivals_until", "until"),
        Column("labels_visible_by", "labels visible by"),
    )
    return build_table(columns, evidence.tables["split"])


def list_quantities(evidence: DossierEvidence) -> list[Block]:
    """List the consignments of each period: used, labelled, and left out with the reason."""
    rows = evidence.tables["data"]
    known = {name for row in rows for name in row}
    columns = [Column("period", "period")]
    columns += [Column(name, title, "number") for name, title in QUANTITY_TITLES.items() if name in known]
    return build_table(columns, rows)


def list_columns(evidence: DossierEvidence) -> list[Block]:
    """List the columns of consignments, outcomes and alerts that the model may read."""
    records = {
        "consignment": evidence.served.config.build_record_type(),
        "outcome": Outcome,
        "alert": Alert,
    }
    rows = [
        {
            "record": name,
            "column": field.name,
            "type": field.kind,
            "personal": _name_personal(field),
            "meaning": field.meaning,
        }
        for name, record in records.items()
        for field in get_fields(record)
    ]
    columns = (
        Column("record", "record"),
        Column("column", "column"),
        Column("type", "type"),
        Column("personal", "personal"),
        Column("meaning", "meaning"),
    )
    return build_table(columns, rows)


def list_declared_columns(evidence: DossierEvidence) -> list[Block]:
    """List the columns and history keys that the training configuration declares."""
    config = evidence.served.config
    return build_pairs(
        {
            "declared columns with numbers": ", ".join(config.columns.numeric),
            "declared columns with categories": ", ".join(config.columns.category),
            "declared history keys": "; ".join(" + ".join(key) for key in config.history.keys),
        }
    ) or [Block(("The training configuration declares no further column or history key.",))]


def list_personal_columns(evidence: DossierEvidence) -> list[Block]:
    """Name the personal columns of consignments."""
    fields = get_fields(evidence.served.config.build_record_type())
    names = ", ".join(field.name for field in fields if field.personal)
    return [Block((f"Personal columns of a consignment: {names}.",))]


def describe_weights(evidence: DossierEvidence) -> list[Block]:
    """Describe the weights of training rows, as they were set."""
    if evidence.config is None:
        return []
    weights = evidence.config.weights
    return build_pairs(
        {
            "share of uninspected consignments sampled as weak negatives": weights.background_share,
            "maximum number of them": weights.background_rows,
            "their total weight, as a multiple of the labelled rows": weights.background_weight,
        }
    )


def describe_propensities(evidence: DossierEvidence) -> list[Block]:
    """Describe how many results have a logged selection probability, and the limit of their weights."""
    rows = [
        {
            "period": row["period"],
            "labelled": row.get("labelled"),
            "without": row.get("without_logged_probability"),
            "effective": row.get("effective_sample_size"),
        }
        for row in evidence.tables["data"]
        if row.get("without_logged_probability") is not None
    ]
    columns = (
        Column("period", "period"),
        Column("labelled", "results", "number"),
        Column("without", "with an estimated probability", "number"),
        Column("effective", "effective sample size", "number"),
    )
    clip = evidence.config.weights.ipw_clip if evidence.config is not None else None
    limit = [] if clip is None else [f"In training an inverse probability counts at most {clip:g}."]
    return build_table(columns, rows, *limit)


def describe_completeness(evidence: DossierEvidence) -> list[Block]:
    """Compute the share of consignments of the test period without a value, by column and channel."""
    reference = evidence.served.reference
    if reference is None:
        return []
    channels = [name for name in sorted(reference.channels) if reference.channels[name]]
    names = sorted({column for channel in channels for column in reference.missing.get(channel, {})})
    rows = [
        {"column": name}
        | {
            channel: reference.missing[channel].get(name, 0) / reference.channels[channel]
            for channel in channels
        }
        for name in names
    ]
    present = [row for row in rows if any(row[channel] for channel in channels)]
    columns = [Column("column", "column")]
    columns += [Column(name, f"missing in {name.replace('_', ' ')}", "figure") for name in channels]
    full = len(rows) - len(present)
    return build_table(
        columns,
        sorted(present, key=lambda row: (-max(float(row[channel]) for channel in channels), row["column"])),
        f"Of the test period. In {full} further columns every consignment has a value.",
    )


def describe_mix(evidence: DossierEvidence) -> list[Block]:
    """Describe the composition of the test period's traffic by channel, service and country of departure."""
    reference = evidence.served.reference
    if reference is None:
        return []
    rows = [row for column in MIX_COLUMNS for row in _list_shares(column, reference.mix.get(column, {}))]
    columns = (
        Column("column", "column"),
        Column("value", "value"),
        Column("consignments", "consignments", "number"),
        Column("share", "share", "figure"),
    )
    return build_table(columns, rows)


def list_leakage_checks(evidence: DossierEvidence) -> list[Block]:
    """List the checks for data that were not known at the time of scoring."""
    columns = (
        Column("look", "check"),
        Column("found", "value", "decimal"),
        Column("bound", "limit", "decimal"),
        Column("rows", "rows", "number"),
        Column("where", "column or place"),
    )
    return build_table(columns, evidence.tables["leaks"], "Leakage checks of the training run.")


def describe_traffic(evidence: DossierEvidence) -> list[Block]:
    """Describe the traffic of the test period, and the capacity that was used."""
    reference = evidence.served.reference
    if reference is None:
        return []
    received = sum(reference.channels.values())
    return build_pairs(
        {
            "first day of the test period": reference.first_day,
            "days": reference.days,
            "consignments": received,
            "consignments a day": received / reference.days,
            "inspections for each office and day, as evaluated": reference.capacity,
        }
    )


def _list_shares(column: str, counts: dict[str, int]) -> Iterator[dict[str, Any]]:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in ranked[MAX_MIX_VALUES:])
    shown = [(value or "missing", count) for value, count in ranked[:MAX_MIX_VALUES]]
    if rest:
        shown.append((f"{len(ranked) - MAX_MIX_VALUES} others", rest))
    for value, count in shown:
        yield {"column": column, "value": value, "consignments": count, "share": count / total}


def _name_personal(field: Field) -> str:
    return "yes" if field.personal else ""
