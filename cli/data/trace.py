"""The verb that shows links between consignments: trace."""

from contextlib import nullcontext
from datetime import datetime

import click

from cli.options import JOBS, OUTCOMES, Count
from cli.stores import create_batch_pseudonyms, open_log, open_vault
from cli.tables import GivenTables, table_options, to_bound_us
from cli.verb import Progress, Result, argument, option, verb
from consignments.errors import BadInput


@verb
def trace(
    progress: Progress,
    consignment_id: str = argument("ID"),
    tables: GivenTables = table_options(
        consignments=option("Consignment table. Default: the event log of the service."),
        history=option("Past consignments, which can also be linked."),
        outcomes=OUTCOMES,
    ),
    as_of: datetime | None = option("Ignore what was not known at this time. Default: receipt of ID."),
    depth: int = option("Largest number of links to a linked consignment.", 2, type=click.IntRange(1, 5)),
    max_consignments: Count = option("Largest number of linked consignments.", 200),
    max_sharing: Count | None = option("Ignore what more than N consignments share. Default: as history."),
    personal: bool = option("Print the shared names, addresses, phones, e-mails and accounts."),
    jobs: Count = JOBS,
) -> Result:
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
    from cli.data.link_tables import LinkTableReader
    from consignments.records import Consignment
    from features.links.report import TraceReport, read_values
    from features.links.trace import TraceLimits, trace_links

    limits = TraceLimits(depth, max_consignments)
    if max_sharing is not None:
        limits = limits._replace(sharing=max_sharing)
    given = tables.list_sources()
    if given and tables.consignments is None:
        got, expected = (
            f"--{next(iter(given))}",
            "--consignments as well, or no table, to trace in the event log",
        )
        raise BadInput("the consignment table is missing", where="options", got=got, expected=expected)
    with nullcontext() if given else open_log() as log:
        if log is None:
            reader = LinkTableReader(tables.open_sources(Consignment, progress))
            table, read = reader.read(jobs, progress), reader.read_consignments
        else:
            from operation.logged_links import LoggedLinks

            links = LoggedLinks(log, open_vault(), create_batch_pseudonyms())
            table, read = links.read(progress), links.read_consignments
            for reason, count in links.unread.items():
                click.echo(f"{count:,} consignments were left out of the links: {reason}", err=True)
        found = trace_links(table, consignment_id, to_bound_us(as_of), limits)
        report = TraceReport(found, read_values(found, read) if personal else ())
    return Result(report.to_dict(), report.to_text())
