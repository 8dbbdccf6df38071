"""The verbs that make tables of tables and messages: read, features."""

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
    model_option,
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
from consignments.rejects import Reject

if TYPE_CHECKING:
    from consignments.messages.reports import MessageReport
    from consignments.messages.spool import Spool


class MessageOptions(NamedTuple):
    """Messages that are read.

    Attributes
    ----------
    messages : tuple of Path
    received_at : str or None
        Time at which they reached customs, as it was typed; None for the time of issue in each.
    mapping : Path or None
        How messages of a feed of one's own are read.
    events : Path or None
        Where the answers of customs are written.
    rejects : Path or None
        File for the messages at fault.
    strict : bool
        Whether any message at fault is a failure.
    jobs : int or None
    """

    messages: tuple[Path, ...]
    received_at: str | None
    mapping: Path | None
    events: Path | None
    rejects: Path | None
    strict: bool
    jobs: int | None


@click.command()
@collect_options(MessageOptions, "options")
@click.argument("messages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MESSAGE…")
@out_option("Where the consignment table is written.")
@click.option(
    "--received-at",
    type=str,
    default=None,
    metavar="TIME",
    help="When the messages reached customs; default: the time of issue in each, else when its file was written.",
)
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.toml",
    help="How messages of a feed of one's own are read, such as an administration's ITMATT.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Where the answers of customs are written: requests, holds and releases.",
)
@jobs_option
@reject_options
@json_option
def read(options: MessageOptions, out: Path, as_json: bool) -> None:
    """Read real messages of post and air cargo into a consignment table: files, folders and zip archives, of mixed kinds.

    What a message is, its content tells. Houses are scored; a master waybill adds its route and forwarder to them. Doubts
    become quality codes; only a message that gives no consignment at all is rejected. A run that was stopped goes on when it
    is started again.

    \b
    npsrisk read messages/ --out consignments.parquet --events states.parquet --rejects rejects.csv
    """
    from hashlib import sha256

    from consignments.messages.post.mapping import load_mapping
    from consignments.messages.reading import ReadOptions, fill_spool, link_entries
    from consignments.messages.reports import build_event_frame, build_table, start_report
    from consignments.messages.spool import Spool
    from consignments.table_writers import refuse_unwritable, write_chunks, write_table
    from consignments.tables import write_rejects

    for path in (out, options.events, options.rejects):
        if path is not None:
            refuse_unwritable(path)
    received_at = parse_time(options.received_at, "--received-at")
    mapping = None if options.mapping is None else load_mapping(options.mapping)
    told = None if options.mapping is None else options.mapping.read_bytes()
    mark = f"{READING_VERSION} {received_at} {sha256(told or b'').hexdigest()}"
    spool = Spool(out.with_name(f".{out.name}.reading"), mark)
    read_options = ReadOptions(received_at, options.jobs or count_cores(), mapping)
    with show_progress_bar() as progress:
        fill_spool(options.messages, spool, read_options, progress)
        linked = link_entries(spool, progress)
    report = start_report(spool, linked)
    if options.rejects is not None:
        write_rejects(
            (Reject(place, name, "", why) for place, name, why in spool.read_rejects()), options.rejects
        )
    _refuse_message_faults(options, spool, report)
    write_chunks(build_table(spool, linked, report), out)
    if options.events is not None:
        write_table(build_event_frame(linked.states), options.events)
    spool.close(remove=True)
    click.echo(report.to_text(), err=True)
    print_result({"out": str(out)} | report.to_dict(), as_json, _summarize_run(report, out))


READING_VERSION = "1"
"""What a run that was stopped must share with the one that goes on."""


def _summarize_run(report: "MessageReport", out: Path) -> str:
    if report.consignments:
        return f"{report.consignments:,} consignments from {report.messages:,} messages -> {out}"
    why = "they hold no goods" if report.messages else "there was none"
    return f"no consignment in {report.messages:,} messages: {why} -> {out}, an empty table"


def _refuse_message_faults(options: MessageOptions, spool: "Spool", report: "MessageReport") -> None:
    """Raise if messages were given and all were rejected, or if any was and none may be."""
    something = len(spool) or report.states or report.ignored or report.repeats
    if not report.rejected or (something and not options.strict):
        return
    place, _, reason = next(spool.read_rejects())
    hidden = report.rejected - 1
    spool.close(remove=True)
    raise FileFault(
        "messages at fault, where none may be" if something else "no consignment is left",
        got=f"{report.rejected:,} messages rejected ({place}: {reason}{f', and {hidden:,} more' if hidden else ''})",
        todo="see their reasons with --rejects FILE"
        if options.rejects is None
        else f"each with its reason is in {options.rejects}",
    )


@click.command()
@batch_table_options
@config_option
@model_option
@jobs_option
@result_option
@reject_options
def features(
    tables: TableOptions, config: Path | None, model: str | None, jobs: int | None, out: Path
) -> None:
    """Write the features exactly as the model sees them, with `consignment_id` and, where the table has it, `sequence`.

    Without --model, the features that need a fitted model are left out. A Parquet table in the order of time, or of
    sequence where it has one, is never whole in memory, however large.

    \b
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
    click.echo(f"{rows:,} rows of {len(shown)} features -> {out}")
