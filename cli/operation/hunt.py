"""The verb hunt."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cli.options import MODEL_TEXT, Count, ModelUri, NewTable
from cli.stores import create_batch_pseudonyms, fetch_bundle
from cli.tables import RESULT_TABLES, GivenTables
from cli.verb import Result, argument, option, verb
from consignments.errors import BadInput
from consignments.records import Consignment
from models.formats import format_number, format_score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.bundle import Bundle
    from operation.hunts.hunt import Hunt
    from operation.hunts.tables import ScoreRows

MAX_SHOWN = 20


@verb
def hunt(
    consignment_id: str | None = argument("[ID]"),
    alert: str | None = option("Hunt for an alert of the alert table, in place of ID.", metavar="ALERT"),
    tables: GivenTables = RESULT_TABLES,
    as_of: datetime | None = option("Time of the hunt in ISO 8601. Default: after the last arrival."),
    days: Count = option("Days to go back.", 30),
    in_hand_days: int = option(
        "Days for which a consignment without an outcome counts as in hand.", 3, type=click.IntRange(0)
    ),
    model: ModelUri | None = option(f"{MODEL_TEXT} no scores."),
    out: NewTable | None = option("Table of the consignments to write: .csv, .parquet or .jsonl."),
) -> Result:
    """Find past consignments that share an identifier.

    ID is a consignment with a new or changed result. Names the consignments that share an identifier with it, in any spelling. With
    --model it ranks again what is in hand: each consignment has the score of its arrival, and the score that it would have
    now.

    Run it after a detection or "npsrisk exchange import". Changes nothing.

    \b
    Examples:
    npsrisk hunt RB123456785GB --consignments c.parquet --outcomes o.parquet --model models:/nps-risk@champion
    npsrisk hunt --alert XA/S-7 --consignments c.parquet --outcomes o.parquet --alerts a.parquet
    """
    import pandas as pd

    from consignments.files.table_writers import write_table
    from operation.hunts.hunt import HUNT_COLUMNS, HuntLimits
    from operation.hunts.tables import find_alert_target, find_consignment_target, hunt_tables

    if (consignment_id is None) == (alert is None):
        raise BadInput("name one thing to hunt for", expected="either ID or --alert ALERT")
    bundle = None if model is None else fetch_bundle(model)
    read = tables.read_tables(Consignment if bundle is None else bundle.config.build_record_type())
    if read.consignments.empty:
        where, todo = "--consignments", "give a table with rows"
        raise BadInput("no consignment to hunt among", where=where, got="no row", todo=todo)
    last = read.consignments["received_at"].max()
    time = as_of or last.to_pydatetime() + timedelta(microseconds=1)
    limits = HuntLimits(time, days, in_hand_days)
    if alert is not None:
        target = find_alert_target(read, alert)
    else:
        target = find_consignment_target(read, consignment_id or "", limits)
    found = hunt_tables(read, target, limits, None if bundle is None else _build_scorer(bundle))
    if out is not None:
        rows = [row.to_plain() for row in found.hits]
        frame = pd.DataFrame(rows, columns=list(HUNT_COLUMNS))
        write_table(frame.assign(received_at=[row.received_at for row in found.hits]), out)
    return Result(found.to_plain(), _format_hunt(found))


def _build_scorer(bundle: "Bundle") -> "ScoreRows":
    from features.batch import Tables
    from features.streams import compute_feature_matrix
    from models.batch_scoring import build_feature_parameters

    parameters = build_feature_parameters(bundle, create_batch_pseudonyms())

    def score(tables: Tables, keep: "NDArray[np.bool_]", second: bool) -> "NDArray[np.float64]":
        matrix = compute_feature_matrix(tables, parameters, keep=keep, second=second)
        model = bundle.model.replace_spec(matrix.spec)
        return model.score(matrix.X, tables.consignments["channel"].iloc[matrix.rows].tolist())

    return score


def _format_hunt(found: "Hunt") -> str:
    lines = [f"hunt for {found.target.text}, as of {found.limits.as_of:%Y-%m-%d %H:%M} UTC"]
    lines += found.list_sentences() or ["no consignment shares anything with it"]
    lines += [_format_hit(row) for row in found.to_plain()["hits"][:MAX_SHOWN]]
    more = len(found.hits) - MAX_SHOWN
    return "\n".join([*lines, *([f"  and {more} more"] if more > 0 else [])])


def _format_hit(row: dict[str, Any]) -> str:
    text = f"  {row['consignment_id']} ({row['received_at'][:10]}, {row['state']}): {row['shared']}"
    if row["score_now"] is not None:
        text += f"; score {format_score(row['score_then'])} then, {format_score(row['score_now'])} now"
    if row["rank_now"] is not None:
        text += f"; rank {format_number(row['rank_then'])} then, {format_number(row['rank_now'])} now"
    return text
