"""The verb hunt."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli.batch import create_batch_pseudonyms
from cli.options import (
    TableOptions,
    alerts_option,
    collect_options,
    collect_tables,
    consignments_option,
    json_option,
    out_option,
    outcomes_required_option,
    reject_options,
)
from cli.output import print_result
from cli.stores import open_registry
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import BadInput
from consignments.records import Consignment
from models.formats import format_number, format_score

if TYPE_CHECKING:
    import numpy as np

    from models.bundle import Bundle
    from training.operation.hunt import Hunt, ScoreRows

MAX_SHOWN = 20


class HuntOptions(NamedTuple):
    """Options of a hunt."""

    alert: str | None
    as_of: str | None
    days: int
    in_hand_days: int
    model: str | None


@click.command()
@collect_tables
@collect_options(HuntOptions, "options")
@click.argument("consignment_id", metavar="[ID]", required=False)
@click.option(
    "--alert", default=None, metavar="ALERT", help="Hunt for an alert of the alert table, in place of ID."
)
@consignments_option
@outcomes_required_option
@alerts_option
@click.option(
    "--as-of",
    default=None,
    metavar="TIME",
    help="Time of the hunt in ISO 8601. Default: after the last arrival.",
)
@click.option(
    "--days", type=click.IntRange(1), default=30, show_default=True, metavar="N", help="Days to go back.",
)  # fmt: skip
@click.option(
    "--in-hand-days", type=click.IntRange(0), default=3, show_default=True, metavar="N",
    help="Days for which a consignment without an outcome counts as in hand.",
)  # fmt: skip
@click.option(
    "--model", default=None, metavar="URI",
    help="Model that ranks again: models:/NAME/VERSION or models:/NAME@ALIAS. Default: no scores.",
)  # fmt: skip
@out_option("Table of the consignments to write: .csv, .parquet or .jsonl.", required=False)
@reject_options
@json_option
def hunt(
    consignment_id: str | None, tables: TableOptions, options: HuntOptions, out: Path | None, as_json: bool
) -> None:
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
    from datetime import timedelta

    from consignments.files.table_writers import write_table
    from training.operation.hunt import HuntLimits, find_alert_target, find_consignment_target
    from training.operation.hunt import hunt as run

    if (consignment_id is None) == (options.alert is None):
        raise BadInput("name one thing to hunt for", expected="either ID or --alert ALERT")
    bundle = None if options.model is None else _fetch_bundle(options.model)
    record = Consignment if bundle is None else bundle.config.build_record_type()
    read = TableReader(tables).read_tables(record)
    if read.consignments.empty:
        raise BadInput(
            "no consignment to hunt among",
            where="--consignments",
            got="no row",
            expected="the consignments of the past days",
            todo="give a table with rows",
        )
    last = read.consignments["received_at"].max()
    as_of = parse_time(options.as_of, "--as-of") or last.to_pydatetime() + timedelta(microseconds=1)
    target = (
        find_alert_target(read, options.alert)
        if options.alert is not None
        else find_consignment_target(read, consignment_id or "", as_of)
    )
    limits = HuntLimits(as_of, options.days, options.in_hand_days)
    found = run(read, target, limits, None if bundle is None else _build_scorer(bundle))
    if out is not None:
        write_table(found.hits, out)
    print_result(found.to_plain(), as_json, _format_hunt(found))


def _fetch_bundle(uri: str) -> "Bundle":
    registry = open_registry()
    return registry.fetch_bundle(registry.resolve(uri))


def _build_scorer(bundle: "Bundle") -> "ScoreRows":
    from features.batch import Tables
    from features.streams import compute_feature_matrix
    from models.batch_scoring import build_feature_parameters

    parameters = build_feature_parameters(bundle, create_batch_pseudonyms())

    def score(
        tables: Tables, keep: "np.ndarray[tuple[int], np.dtype[np.bool_]]", second: bool
    ) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
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
