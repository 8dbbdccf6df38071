"""The verb plan."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from cli.operation.documents import LOG_RUN, write_document
from cli.options import SEED, TARGET, model_option, out_option, table_option
from cli.stores import fetch_bundle
from cli.verb import Result, option, verb
from consignments.errors import BadInput
from consignments.records import Target

DEFAULT_DAYS = 14
DEFAULT_EXPLORE = 0.1


@verb
def plan(
    scores: Path = table_option("Score table of recent days, of `npsrisk score`.", required=True),
    consignments: Path | None = table_option(
        "Consignment table of these days. With it, the plan also lists requests to partners."
    ),
    capacity: tuple[str, ...] = option(
        "Inspections a day: N for each office, or OFFICE=N. May be repeated.",
        metavar="N|OFFICE=N",
        required=True,
    ),
    operation: str = option("Name of the operation.", "operation", metavar="NAME"),
    explore: float = option(
        "Share of the capacity for random inspections.", DEFAULT_EXPLORE, click.FloatRange(0, 1)
    ),
    seed: int = SEED,
    model: str | None = model_option(
        "none. With a model, the intervals include the uncertainty of the level of its scores"
    ),
    begins: datetime | None = option("Start of the operation. Default: now.", name="--from"),
    until: datetime | None = option(f"End of the operation. Default: {DEFAULT_DAYS} days later."),
    target: Target = TARGET,
    out: Path = out_option("Page to write; the plan itself goes to FILE.json.", metavar="FILE.html"),
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
    from consignments.tables import read_scores
    from operation.documents.pages import build_plan_document
    from operation.documents.plan import PlanDetails, build_plan

    first = begins or datetime.now(UTC).replace(microsecond=0)
    last = until or first + timedelta(days=DEFAULT_DAYS)
    made = build_plan(
        read_scores(scores),
        parse_capacities(capacity),
        PlanDetails(operation, first, last, target, explore, seed),
        None if model is None else fetch_bundle(model).card.level,
        None if consignments is None else _read_departures(consignments),
    )
    return write_document(build_plan_document(made), out, log_run=log_run)


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


def _read_departures(path: Path) -> dict[str, str]:
    from consignments.records import Consignment
    from consignments.tables import read_table

    frame = read_table(path, Consignment).frame
    if "departure_country" not in frame:
        return {}
    given = frame[frame["departure_country"].notna()]
    return dict(zip(given["consignment_id"], given["departure_country"], strict=True))
