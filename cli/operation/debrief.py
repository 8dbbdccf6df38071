"""The verb debrief."""

from datetime import datetime
from pathlib import Path

import click

from cli.operation.documents import LOG_RUN, PAGE, write_document
from cli.options import ALERTS, CONSIGNMENTS, REQUIRED_OUTCOMES, TARGET, table_option
from cli.tables import GivenTables, table_options
from cli.verb import Result, option, verb
from consignments.records import Consignment, Target


@verb
def debrief(
    tables: GivenTables = table_options(
        consignments=CONSIGNMENTS,
        outcomes=REQUIRED_OUTCOMES,
        alerts=ALERTS,
        truth=table_option("Truth of a simulated world: shows also what nobody inspected."),
    ),
    scores: Path | None = table_option(
        "Score table: the scores as they were at arrival (npsrisk score, or npsrisk export)."
    ),
    begins: datetime | None = option("Start of the operation. Default: the first arrival.", name="--from"),
    until: datetime | None = option("End of the operation. Default: after the last arrival."),
    capacity: int | None = option(
        "Inspections for each office and day. Default: the mean number of selections for each office and day.",
        type=click.IntRange(1),
    ),
    plan: Path | None = option("Plan of `npsrisk plan` to compare with."),
    as_of: datetime | None = option("Use results visible at this time. Default: all."),
    target: Target = TARGET,
    out: Path = PAGE,
    log_run: bool = LOG_RUN,
) -> Result:
    """Report the results of an operation, with suggestions.

    Compares the detections with the number that the scores predicted, by office, channel, route and week. Compares each
    selector with random inspections. Shows missed consignments with the reason, and the detections of each alert. Each
    suggestion gives the numbers on which it is based.

    First run "npsrisk score", or "npsrisk export" for the scores of the service, and wait for the last results.

    Writes the page and a JSON file of the same name.

    \b
    Example:
    npsrisk debrief --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out debrief.html
    """
    from consignments.tables import read_scores
    from operation.documents.debrief import build_debrief
    from operation.documents.pages import build_debrief_document
    from operation.documents.plan import read_plan
    from operation.inspections import find_period

    read = tables.read_tables(Consignment)
    found = build_debrief(
        read,
        find_period(read, begins, until, as_of),
        target,
        scores=None if scores is None else read_scores(scores),
        truth=tables.read_truth(),
        capacity=capacity,
        plan=None if plan is None else read_plan(plan),
    )
    return write_document(build_debrief_document(found), out, log_run=log_run)
