"""The verb brief."""

from datetime import datetime
from pathlib import Path

import click

from cli.operation.documents import LOG_RUN, PAGE, write_document
from cli.options import TARGET
from cli.tables import RESULT_TABLES, GivenTables
from cli.verb import Result, option, verb
from consignments.records import Consignment, Target


@verb
def brief(
    tables: GivenTables = RESULT_TABLES,
    as_of: datetime | None = option("Use what was known at this time. Default: after the last arrival."),
    recent_days: int = option("Days before this time that count as recent.", 60, click.IntRange(1)),
    target: Target = TARGET,
    out: Path = PAGE,
    log_run: bool = LOG_RUN,
) -> Result:
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
    from operation.documents.brief import build_brief
    from operation.documents.pages import build_brief_document

    made = build_brief(tables.read_tables(Consignment), as_of, recent_days, target)
    return write_document(build_brief_document(made), out, log_run=log_run)
