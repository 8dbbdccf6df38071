"""The verbs that write tables from messages and tables: read, features."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.batch import count_cores, create_batch_pseudonyms
from cli.options import (
    TableOptions,
    batch_table_options,
    collect_options,
    config_option,
    jobs_option,
    json_option,
    model_uri_option,
    out_option,
    reject_options,
    result_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import open_registry
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import FileFault

if TYPE_CHECKING:
    from consignments.cargo_xml import ParsedMessages


class MessageOptions(NamedTuple):
    """The messages to read, and the handling of invalid ones.

    Attributes
    ----------
    messages : tuple of Path
    received_at : str or None
        Time at which the messages reached customs, as entered; None for the time of issue in each message.
    rejects : Path or None
        File for the invalid messages.
    strict : bool
        True if any invalid message is a failure.
    """

    messages: tuple[Path, ...]
    received_at: str | None
    rejects: Path | None
    strict: bool


@click.command()
@collect_options(MessageOptions, "options")
@click.argument("messages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MESSAGE…")
@out_option("Consignment table to write: .csv, .parquet or .jsonl.")
@click.option(
    "--received-at",
    type=str,
    default=None,
    metavar="TIME",
    help="Time at which the messages reached customs. Default: the time at which each message was issued.",
)
@reject_options
@json_option
def read(options: MessageOptions, out: Path, as_json: bool) -> None:
    """Read Cargo-XML messages into a consignment table.

    Reads IATA Cargo-XML house waybills (XFZB) and waybills (XFWB). Each house waybill becomes one row. A master waybill
    adds its route and forwarder to the rows of its house waybills.

    Next, run "npsrisk score" on the table. Exit code 2 if no message is valid, or if any is invalid and --strict is given.

    \b
    Example:
    npsrisk read master.xml house1.xml house2.xml --out consignments.parquet
    """
    from consignments.cargo_xml import read_messages
    from consignments.records import Consignment
    from consignments.table_writers import write_table
    from consignments.tables import build_frame, write_rejects

    messages = options.messages
    found = read_messages(messages, received_at=parse_time(options.received_at, "--received-at"))
    for message in (*found.notes, *found.rejects):
        click.echo(str(message), err=True)
    if options.rejects is not None:
        write_rejects(found.rejects, options.rejects)
    if found.rejects and (options.strict or not found.consignments):
        raise _build_message_fault(options, found)
    write_table(build_frame(found.consignments, Consignment), out)
    print_result(
        {"out": str(out), "consignments": len(found.consignments), "rejects": len(found.rejects)},
        as_json,
        f"Read {len(found.consignments)} consignments from {len(messages)} messages -> {out}",
    )


def _build_message_fault(options: MessageOptions, found: "ParsedMessages") -> FileFault:
    """Build the error for the case that no valid message is left, or --strict finds an invalid one."""
    hidden = len(found.rejects) - 1
    more = f", and {hidden} more" if hidden else ""
    return FileFault(
        "invalid messages with --strict" if found.consignments else "no valid message",
        got=f"{len(found.rejects)} of {len(options.messages)} messages rejected ({found.rejects[0]}{more})",
        todo="see the reasons above"
        if options.rejects is None
        else f"see {options.rejects} for each message and its reason",
    )


@click.command()
@batch_table_options
@config_option
@model_uri_option("no model")
@jobs_option
@result_option
@reject_options
def features(
    tables: TableOptions, config: Path | None, model: str | None, jobs: int | None, out: Path
) -> None:
    """Compute the features that the model sees, as a table.

    Writes one row per consignment: `consignment_id`, `sequence` if the table has it, and the features. Without --model,
    features with fitted parameters are omitted.

    First run "npsrisk simulate", "npsrisk read" or "npsrisk export". A sorted Parquet table is read in chunks and may be
    larger than the memory. Sort it by `sequence` if it has this column, else by `received_at`.

    \b
    Example:
    npsrisk features --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out features.parquet
    """
    from consignments.table_writers import write_chunks
    from features.batch import ComputeOptions, FeatureParameters
    from features.fitted import FittedParameters
    from features.pipeline import Pipeline
    from features.streams import stream_features
    from training.config import read_config

    if model is None:
        feature_config, fitted = read_config(config).features, FittedParameters.create_empty()
    else:
        bundle = open_registry().fetch_bundle(open_registry().resolve(model))
        feature_config, fitted = bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays)
    spec = Pipeline(feature_config, fitted, create_batch_pseudonyms()).spec
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]
    with show_progress_bar() as progress:
        pieces = stream_features(
            TableReader(tables).open_sources(feature_config.build_record_type(), progress),
            FeatureParameters(feature_config, fitted, create_batch_pseudonyms()),
            options=ComputeOptions(jobs or count_cores(), progress),
        )
        rows = write_chunks((piece.to_table(spec, shown) for piece in pieces), out)
    click.echo(f"Wrote {rows:,} rows of {len(shown)} features -> {out}")
