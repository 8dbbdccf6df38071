"""The verbs that decide which model is champion: compare, promote."""

import json
from datetime import UTC, datetime
from typing import NamedTuple

import click

from cli.options import (
    ApprovalOptions,
    PeriodOptions,
    TableOptions,
    alerts_option,
    approval_options,
    collect_options,
    collect_tables,
    consignments_option,
    json_option,
    outcomes_option,
    period_options,
    reject_options,
    table_option,
    target_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_registry, read_settings
from cli.table_reader import TableReader
from consignments.records import Target


class ComparedVersions(NamedTuple):
    """Two versions of one target: numbers, aliases or models:/NAME/VERSION; `b` might replace `a`."""

    a: str
    b: str
    target: Target


class GateOptions(NamedTuple):
    """The comparison that the gate reads, None for the latest; and whether a rule that does not hold is overruled."""

    comparison: str | None
    force: bool


@click.command()
@collect_tables
@collect_options(ComparedVersions, "compared")
@click.argument("a")
@click.argument("b")
@consignments_option
@outcomes_option
@alerts_option
@table_option("--truth", "Truth of a simulated world, in place of the outcomes.")
@period_options(
    "First arrival; default: the first day that no compared fit has learnt of.",
    "End of the arrivals, not included.",
)
@target_option
@reject_options
@json_option
def compare(tables: TableOptions, compared: ComparedVersions, period: PeriodOptions, as_json: bool) -> None:
    """Compare two versions of one target on the same consignments, paired by day; logs a comparison run.

    A and B are numbers, aliases or models:/NAME/VERSION; B is the one that might replace A. Of each version the newest fit that
    has learnt nothing of the compared period is compared: the final fit, which is served, or else the evaluation fit.

    \b
    npsrisk compare champion challenger --consignments later.parquet --outcomes outcomes.parquet
    """
    from training.data.splits import ArrivalWindow
    from training.promotion.comparison import ComparedTraffic
    from training.promotion.comparison import compare as run
    from training.promotion.comparison_report import log_comparison, summarize_comparison

    names = (compared.a, compared.b)
    versions = [open_registry().resolve(name, target=compared.target) for name in names]
    fits = [open_registry().fetch_fits(version) for version in versions]
    begins = period.parse_begin() or max(each.first_unseen for each in fits)
    one, other = (each.choose(begins) for each in fits)
    reader = TableReader(tables)
    with show_progress_bar() as progress:
        traffic = ComparedTraffic(
            reader.read_tables(one.config.build_record_type()),
            truth=reader.read_truth(),
            window=ArrivalWindow(begins, period.parse_end()),
        )
        found = run(one, other, traffic, progress=progress)
    run_id = log_comparison(found, versions[0], versions[1], read_settings().mlflow_tracking_uri)
    result = {"run_id": run_id, "verdict": found.verdict(), "metrics": found.flatten_metrics()}
    print_result(
        result, as_json, f"{summarize_comparison(found, versions[0].title, versions[1].title)}\nrun {run_id}"
    )


@click.command()
@collect_options(GateOptions, "gate")
@click.argument("version")
@approval_options
@click.option(
    "--comparison", default=None, metavar="RUN", help="MLflow run of the comparison; default: the latest."
)
@click.option("--force", is_flag=True, help="Promote although a rule does not hold; recorded as such.")
@target_option
@json_option
def promote(version: str, approval: ApprovalOptions, gate: GateOptions, target: str, as_json: bool) -> None:
    """Run the gate and make VERSION the champion; the old champion becomes `previous`.

    VERSION is a number, an alias or models:/NAME/VERSION. Roll back with: npsrisk promote previous …

    \b
    npsrisk promote 1 --approved-by "duty reviewer" --why "first model of the operation"
    """
    from training.promotion.promote import Approval
    from training.promotion.promote import promote as run

    record = run(
        open_registry(),
        open_registry().resolve(version, target=target),
        Approval(approval.approved_by, approval.why, datetime.now(UTC)),
        comparison=gate.comparison,
        force=gate.force,
    )
    print_result(
        json.loads(record.to_json()),
        as_json,
        f"{record.name} version {record.version} is champion"
        + (f"; version {record.replaces} is previous" if record.replaces else "")
        + (" (forced)" if record.forced else "")
        + f"; record {record.number}, {record.compute_sha256()[:12]}",
    )
