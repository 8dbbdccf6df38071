"""The verbs that write a document of an operation: brief, plan, debrief."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cli import options
from cli.options import TARGET, Count, NewPage, Share, Table
from cli.stores import fetch_bundle, read_settings
from cli.tables import RESULT_TABLES, RESULTS, GivenTables, table_options
from cli.verb import Result, option, verb
from consignments.errors import BadInput
from consignments.records import Consignment, Target, Truth

if TYPE_CHECKING:
    from operation.documents.document import Document

DEFAULT_DAYS = 14
DEFAULT_EXPLORE = 0.1
PAGE = option("Page to write; the same numbers go to FILE.json.")
LOG_RUN = option("Log the page, and its numbers as tables and metrics, as a run in MLflow.")


@verb
def brief(
    tables: GivenTables = RESULT_TABLES,
    as_of: datetime | None = option("Use what was known at this time. Default: after the last arrival."),
    recent_days: Count = option("Days before this time that count as recent.", 60),
    target: Target = TARGET,
    out: NewPage = PAGE,
    log_run: bool = LOG_RUN,
) -> Result:
    """Report trends, blind spots and data quality of past months.

    Compares the results of recent days with earlier ones by office, channel, route, departure country, HS chapter and substance
    family. The comparisons are corrected for their number, and leave out the arrivals of the last days, whose detections are not
    known yet. Shows the traffic that nobody inspected, columns that are no longer filled, and the alerts in force.

    Run it before "npsrisk plan".

    \b
    Example:
    npsrisk brief --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out brief.html
    """
    from operation.documents.brief import build_brief
    from operation.documents.pages import build_brief_document

    made = build_brief(tables.read_tables(Consignment), as_of, recent_days, target)
    return write_document(build_brief_document(made), out, log_run=log_run)


@verb
def plan(
    scores: Table = option("Score table of recent days, of `npsrisk score`."),
    consignments: Table | None = option("Consignment table of these days, to list requests to partners."),
    capacity: tuple[str, ...] = option(
        "Inspections a day: N for each office, or OFFICE=N. May be repeated.",
        metavar="N|OFFICE=N",
        required=True,
    ),
    operation: str = option("Name of the operation.", "operation", metavar="NAME"),
    explore: Share = option("Share of the capacity for random inspections.", DEFAULT_EXPLORE),
    seed: int = options.SEED,
    model: options.ModelUri | None = option(f"{options.MODEL_TEXT} none. It widens the intervals."),
    from_: datetime | None = option("Start of the operation. Default: now."),
    until: datetime | None = option(f"End of the operation. Default: {DEFAULT_DAYS} days later."),
    target: Target = TARGET,
    out: NewPage = option("Page to write; the plan itself goes to FILE.json."),
    log_run: bool = LOG_RUN,
) -> Result:
    """Plan the inspections of an operation.

    Estimates from recent scores how many detections each office can expect at its capacity, and how many more it can expect
    from one more inspection. The plan is a file. "npsrisk select --plan" follows it, and "npsrisk debrief --plan" compares
    the results with it.

    First run "npsrisk score" on the traffic of recent days. Next, run "npsrisk select --plan".

    \b
    Example:
    npsrisk plan --scores scores.csv --capacity 20 --operation CATalyst --out plan.html
    """
    from consignments.tables import read_scores, read_table
    from operation.documents.pages import build_plan_document
    from operation.documents.plan import PlanDetails, build_plan

    departures: dict[str, str] | None = None
    if consignments is not None:
        frame = read_table(consignments, Consignment).frame
        given = frame.reindex(columns=["consignment_id", "departure_country"]).dropna()
        departures = dict(given.itertuples(index=False))
    first = from_ or datetime.now(UTC).replace(microsecond=0)
    last = until or first + timedelta(days=DEFAULT_DAYS)
    made = build_plan(
        read_scores(scores),
        parse_capacities(capacity),
        PlanDetails(operation, first, last, target, explore, seed),
        None if model is None else fetch_bundle(model).card.level,
        departures,
    )
    return write_document(build_plan_document(made), out, log_run=log_run)


def parse_capacities(texts: Sequence[str]) -> dict[str, int]:
    """Parse `N` (all offices, under '*') and `OFFICE=N`; raise `BadInput` for another form, or an office named twice."""
    found: dict[str, int] = {}
    for text in texts:
        office, mark, number = text.rpartition("=")
        name = office if mark else "*"
        if not number.isdigit() or int(number) < 1 or name in found:
            expected = "N, or OFFICE=N, each office once"
            raise BadInput("not a capacity", where="--capacity", got=text, expected=expected)
        found[name] = int(number)
    return found


@verb
def debrief(
    tables: GivenTables = table_options(
        RESULTS, truth=option("Truth of a simulated world: shows also what nobody inspected.")
    ),
    scores: Table | None = option("Scores as they were at arrival, of npsrisk score or npsrisk export."),
    from_: datetime | None = option("Start of the operation. Default: the first arrival."),
    until: datetime | None = option("End of the operation. Default: after the last arrival."),
    capacity: Count | None = option("Inspections for each office and day. Default: as selected."),
    plan: Path | None = option("Plan of `npsrisk plan` to compare with."),
    as_of: datetime | None = option("Use results visible at this time. Default: all."),
    target: Target = TARGET,
    out: NewPage = PAGE,
    log_run: bool = LOG_RUN,
) -> Result:
    """Report the results of an operation, with suggestions.

    Compares the detections with the number that the scores predicted, by office, channel, route and week. Compares each
    selector with random inspections. Shows missed consignments with the reason, and the detections of each alert. Each
    suggestion gives the numbers on which it is based.

    First run "npsrisk score", or "npsrisk export" for the scores of the service, and wait for the last results.

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
        find_period(read, from_, until, as_of),
        target,
        scores=None if scores is None else read_scores(scores),
        truth=tables.read_table(tables.truth, Truth),
        capacity=capacity,
        plan=None if plan is None else read_plan(plan),
    )
    return write_document(build_debrief_document(found), out, log_run=log_run)


def write_document(document: "Document", out: Path, *, log_run: bool) -> Result:
    """Write the page and its JSON file, and log the run if it is asked for."""
    data_file = document.write(out)
    values = {"out": str(out), "plan" if document.kind == "plan" else "numbers": str(data_file)}
    text = f"{document.summary}\n-> {out}, {data_file}"
    if log_run:
        from training.reporting import mlflow_tracking

        store = read_settings().mlflow_tracking_uri
        values["run_id"] = mlflow_tracking.log_run(document.to_record(), tracking_uri=store)
        text += f", run {values['run_id']}"
    return Result(values | document.numbers, text)
