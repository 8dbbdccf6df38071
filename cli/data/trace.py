"""The verb that shows links between consignments: trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.batch import create_batch_pseudonyms
from cli.options import (
    TableOptions,
    collect_options,
    collect_tables,
    jobs_option,
    json_option,
    outcomes_option,
    reject_options,
    table_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_vault, read_settings
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import BadInput

if TYPE_CHECKING:
    from features.batch import Progress
    from features.links.report import ReadConsignments
    from features.links.trace import LinkTable


class TraceOptions(NamedTuple):
    """The options of a trace.

    Attributes
    ----------
    as_of : str or None
        Time as entered; None for the time at which the consignment was received.
    depth, max_consignments, max_sharing : int
        See `features.links.trace.TraceLimits`.
    personal : bool
        True if the values of identifiers are shown.
    jobs : int
        Number of processes.
    """

    as_of: str | None
    depth: int
    max_consignments: int
    max_sharing: int
    personal: bool
    jobs: int


@click.command()
@collect_tables
@collect_options(TraceOptions, "options")
@click.argument("consignment_id", metavar="ID")
@table_option("--consignments", "Consignment table. Default: the event log of the service.")
@table_option(
    "--history", "Past consignments, which can also be linked. A consignment in both tables counts once."
)
@outcomes_option
@click.option(
    "--as-of",
    type=str,
    default=None,
    metavar="TIME",
    help="Time in ISO 8601. Ignore later arrivals, and outcomes that became visible later. Default: the time at which the consignment was received.",
)
@click.option(
    "--depth",
    type=click.IntRange(1, 5),
    metavar="N",
    default=2,
    show_default=True,
    help="Largest number of links from the consignment to a linked one.",
)
@click.option(
    "--max-consignments",
    type=click.IntRange(1),
    metavar="N",
    default=200,
    show_default=True,
    help="Largest number of linked consignments.",
)
@click.option(
    "--max-sharing",
    type=click.IntRange(1),
    metavar="N",
    default=50,
    show_default=True,
    help="Ignore an identifier that more than N consignments had in the last 365 days.",
)
@click.option(
    "--personal", is_flag=True, help="Print the shared names, addresses, phones, e-mails and accounts."
)
@jobs_option
@reject_options
@json_option
def trace(consignment_id: str, tables: TableOptions, options: TraceOptions, as_json: bool) -> None:
    """Trace the consignments linked to one, and their detections.

    Two consignments are linked if they share a name and address, an address, a phone, an e-mail address or an account. Values
    are normalized before they are compared. The sender of one may be the consignee of the other.

    Reads the event log of the service. This needs the data key, and the service may keep running. With --consignments it
    reads tables instead. Prints which identifiers are shared. With --personal it also prints their values. Changes nothing.

    \b
    Examples:
    npsrisk trace RB123456785GB --as-of 2024-03-20
    npsrisk trace RB123456785GB --consignments c.parquet --outcomes o.parquet
    """
    from consignments.timestamps import to_us
    from features.links.report import TraceReport, read_values
    from features.links.trace import TraceLimits, trace_links

    as_of = parse_time(options.as_of, "--as-of")
    limits = TraceLimits(options.depth, options.max_consignments, options.max_sharing)
    with show_progress_bar() as progress, _open_links(tables, options.jobs, progress) as (table, read):
        found = trace_links(table, consignment_id, None if as_of is None else to_us(as_of), limits)
        report = TraceReport(found, read_values(found, read) if options.personal else ())
    print_result(report.to_dict(), as_json, report.to_text())


@contextmanager
def _open_links(
    tables: TableOptions, jobs: int, progress: "Progress"
) -> "Iterator[tuple[LinkTable, ReadConsignments]]":
    """Open the links of the given tables, or of the event log if no table is given."""
    if tables.consignments is None:
        _refuse_tables_alone(tables)
        with _open_logged_links(progress) as links:
            yield links
        return
    from cli.data.link_tables import LinkTableReader
    from consignments.records import Consignment
    from features.batch import ComputeOptions

    inputs = TableReader(tables, jobs).open_sources(Consignment, progress)
    reader = LinkTableReader(inputs, ComputeOptions(jobs, progress))
    yield reader.read(), reader.read_consignments


@contextmanager
def _open_logged_links(progress: "Progress") -> "Iterator[tuple[LinkTable, ReadConsignments]]":
    from serving.event_log.reader import LogReader
    from serving.maintenance.logged_links import LoggedLinks

    with LogReader.open_to_read(read_settings().database_url) as log:
        links = LoggedLinks(log, open_vault(), create_batch_pseudonyms())
        table = links.read(progress)
        for reason, count in links.unread.items():
            click.echo(f"{count:,} consignments were left out of the links: {reason}", err=True)
        yield table, links.read_consignments


def _refuse_tables_alone(tables: TableOptions) -> None:
    given = [name for name in ("history", "outcomes") if getattr(tables, name) is not None]
    if given:
        raise BadInput(
            "the consignment table is missing",
            where="options",
            got=f"--{given[0]}",
            expected="--consignments T as well, or no table, to trace in the event log",
        )
