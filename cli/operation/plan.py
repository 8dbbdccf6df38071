"""The verb plan."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click
import msgspec

from cli.operation.documents import log_document_run, log_option
from cli.options import (
    PeriodOptions,
    collect_options,
    json_option,
    model_uri_option,
    out_option,
    period_options,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.stores import open_registry
from consignments.errors import BadInput
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from consignments.records import Target

if TYPE_CHECKING:
    from models.calibration import CalibrationLevel

DEFAULT_DAYS = 14
DEFAULT_EXPLORE = 0.1


class PlanOptions(NamedTuple):
    """Options of a plan."""

    scores: Path
    consignments: Path | None
    capacity: tuple[str, ...]
    operation: str
    explore: float
    seed: int
    model: str | None
    target: Target


@click.command()
@collect_options(PlanOptions, "options")
@table_option("--scores", "Score table of recent days, of `npsrisk score`.", required=True)
@table_option(
    "--consignments", "Consignment table of these days. With it, the plan also lists requests to partners."
)
@click.option(
    "--capacity",
    multiple=True,
    required=True,
    metavar="N|OFFICE=N",
    help="Inspections a day: N for each office, or OFFICE=N. May be repeated.",
)
@click.option(
    "--operation", default="operation", show_default=True, metavar="NAME", help="Name of the operation."
)
@click.option(
    "--explore",
    type=click.FloatRange(0, 1),
    default=DEFAULT_EXPLORE,
    show_default=True,
    metavar="SHARE",
    help="Share of the capacity for random inspections.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the random draws.")
@model_uri_option("none. With a model, the intervals include the uncertainty of the level of its scores")
@period_options(
    "Start of the operation. Default: now.", f"End of the operation. Default: {DEFAULT_DAYS} days later."
)
@target_option
@out_option("Page to write; the plan itself goes to FILE.json.", metavar="FILE.html")
@log_option
@json_option
def plan(options: PlanOptions, period: PeriodOptions, out: Path, log_run: bool, as_json: bool) -> None:
    """Plan the inspections of an operation.

    Estimates from recent scores how many detections each office can expect at its capacity, and how many more it can expect
    from one more inspection. The plan is a file. "npsrisk select --plan" follows it, and "npsrisk debrief --plan" compares
    the results with it.

    First run "npsrisk score" on the traffic of recent days. Next, run "npsrisk select --plan".

    \b
    Example:
    npsrisk plan --scores scores.csv --capacity 20 --operation CATalyst --out plan.html
    """
    from consignments.tables import read_scores
    from training.operation.plan import PlanDetails, build_plan
    from training.operation.plan_report import render_plan, summarize_plan

    begins = period.parse_begin() or datetime.now(UTC).replace(microsecond=0)
    details = PlanDetails(
        options.operation,
        begins,
        period.parse_end() or begins + timedelta(days=DEFAULT_DAYS),
        options.target,
        options.explore,
        options.seed,
    )
    departures = None if options.consignments is None else _read_departures(options.consignments)
    made = build_plan(
        read_scores(options.scores),
        parse_capacities(options.capacity),
        details,
        _read_level(options.model),
        departures,
    )
    numbers = out.with_suffix(".json")
    page = render_plan(made)
    replace_file(out, page.encode(), PUBLIC_MODE)
    replace_file(numbers, msgspec.json.format(msgspec.json.encode(made)) + b"\n", PUBLIC_MODE)
    plain = msgspec.to_builtins(made)
    summary = summarize_plan(made)
    run, place = log_document_run("plan", page, plain, summary, log_run=log_run)
    result = {"out": str(out), "plan": str(numbers), **run, **plain}
    print_result(result, as_json, f"{summary}\n-> {out}, {numbers}{place}")


def parse_capacities(texts: Sequence[str]) -> dict[str, int]:
    """Parse `N` (all offices, under '*') and `OFFICE=N`.

    Raises
    ------
    BadInput
        If a text has another form, or an office is named twice.

    Examples
    --------
    >>> parse_capacities(["20", "Busan=5"])
    {'*': 20, 'Busan': 5}
    """
    found: dict[str, int] = {}
    for text in texts:
        office, mark, number = text.rpartition("=")
        name = office if mark else "*"
        if not number.isdigit() or int(number) < 1 or name in found:
            raise BadInput(
                "not a capacity", where="--capacity", got=text, expected="N, or OFFICE=N, each office once"
            )
        found[name] = int(number)
    return found


def _read_level(model: str | None) -> "CalibrationLevel | None":
    if model is None:
        return None
    registry = open_registry()
    return registry.fetch_bundle(registry.resolve(model)).card.level


def _read_departures(path: Path) -> dict[str, str]:
    from consignments.records import Consignment
    from consignments.tables import read_table

    frame = read_table(path, Consignment).frame
    if "departure_country" not in frame:
        return {}
    given = frame[frame["departure_country"].notna()]
    return dict(zip(given["consignment_id"], given["departure_country"], strict=True))
