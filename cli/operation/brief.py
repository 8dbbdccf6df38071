"""The verb brief."""

from pathlib import Path
from typing import NamedTuple

import click

from cli.operation.documents import log_option, write_document
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
    target_option,
)
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.records import Consignment, Target


class BriefOptions(NamedTuple):
    """Options of a brief."""

    as_of: str | None
    recent_days: int
    target: Target


@click.command()
@collect_tables
@collect_options(BriefOptions, "options")
@consignments_option
@outcomes_required_option
@alerts_option
@click.option(
    "--as-of",
    default=None,
    metavar="TIME",
    help="Use what was known at this time. Default: after the last arrival.",
)
@click.option(
    "--recent-days",
    type=click.IntRange(1),
    default=60,
    show_default=True,
    metavar="N",
    help="Days before this time that count as recent.",
)
@target_option
@out_option("Page to write; the same numbers go to FILE.json.", metavar="FILE.html")
@log_option
@reject_options
@json_option
def brief(tables: TableOptions, options: BriefOptions, out: Path, log_run: bool, as_json: bool) -> None:
    """Report trends, blind spots and data quality of past months.

    Compares the results of recent days with earlier ones by office, channel, route, departure country, HS chapter and substance
    family. The comparisons are corrected for their number, and leave out the arrivals of the last days, whose detections are not
    known yet. Shows the traffic that nobody inspected, columns that are no longer
    filled, and the alerts in force.

    Run it before "npsrisk plan". Writes the page and a JSON file of the same name. With --log-run the numbers are tables of a run in MLflow too.

    \b
    Example:
    npsrisk brief --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out brief.html
    """
    from training.operation.brief import build_brief
    from training.operation.brief_report import render_brief, summarize_brief

    made = build_brief(
        TableReader(tables).read_tables(Consignment),
        parse_time(options.as_of, "--as-of"),
        options.recent_days,
        options.target,
    )
    write_document(
        "brief",
        out,
        render_brief(made),
        made.to_plain(),
        summarize_brief(made),
        log_run=log_run,
        as_json=as_json,
    )
