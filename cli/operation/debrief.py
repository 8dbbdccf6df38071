"""The verb debrief."""

from pathlib import Path
from typing import NamedTuple

import click

from cli.operation.documents import log_option, write_document
from cli.options import (
    PeriodOptions,
    TableOptions,
    alerts_option,
    collect_options,
    collect_tables,
    consignments_option,
    json_option,
    out_option,
    outcomes_required_option,
    period_options,
    reject_options,
    table_option,
    target_option,
)
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.records import Consignment, Target


class DebriefOptions(NamedTuple):
    """Further options of a debrief: scores at arrival, capacity, and the date at which results are looked at."""

    scores: Path | None
    plan: Path | None
    capacity: int | None
    as_of: str | None
    target: Target


@click.command()
@collect_tables
@collect_options(DebriefOptions, "options")
@consignments_option
@outcomes_required_option
@alerts_option
@table_option(
    "--scores", "Score table: the scores as they were at arrival (npsrisk score, or npsrisk export)."
)
@table_option("--truth", "Truth of a simulated world: shows also what nobody inspected.")
@period_options(
    "Start of the operation. Default: the first arrival.",
    "End of the operation. Default: after the last arrival.",
)
@click.option(
    "--capacity",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Inspections for each office and day. Default: the mean number of selections for each office and day.",
)
@click.option(
    "--plan",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Plan of `npsrisk plan` to compare with.",
)
@click.option("--as-of", default=None, metavar="TIME", help="Use results visible at this time. Default: all.")
@target_option
@out_option("Page to write; the same numbers go to FILE.json.", metavar="FILE.html")
@log_option
@reject_options
@json_option
def debrief(
    tables: TableOptions,
    options: DebriefOptions,
    period: PeriodOptions,
    out: Path,
    log_run: bool,
    as_json: bool,
) -> None:
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
    from training.operation.debrief import DebriefInputs, build_debrief
    from training.operation.debrief_report import render_debrief, summarize_debrief
    from training.operation.inspections import find_period
    from training.operation.plan import read_plan

    reader = TableReader(tables)
    read = reader.read_tables(Consignment)
    scores = None if options.scores is None else read_scores(options.scores)
    when = find_period(read, period.parse_begin(), period.parse_end(), parse_time(options.as_of, "--as-of"))
    found = build_debrief(
        DebriefInputs(
            read,
            scores,
            reader.read_truth(),
            options.capacity,
            None if options.plan is None else read_plan(options.plan),
        ),
        when,
        options.target,
    )
    write_document(
        "debrief",
        out,
        render_debrief(found),
        found.to_plain(),
        summarize_debrief(found),
        log_run=log_run,
        as_json=as_json,
    )
