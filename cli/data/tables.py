"""The verbs that write tables from messages and tables: read, features."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cli.batch import create_batch_pseudonyms
from cli.options import (
    TableOptions,
    batch_table_options,
    collect_options,
    config_option,
    dask_option,
    jobs_option,
    json_option,
    large_result_option,
    model_uri_option,
    out_option,
    reject_options,
    state_option,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.results import StateTarget, check_continued, write_result
from cli.stores import load_pseudonyms, open_registry
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import FileFault
from consignments.rejects import Reject

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from consignments.messages.reports import MessageReport
    from consignments.messages.spool import Spool
    from features.history.kept_state import StateRun


class MessageOptions(NamedTuple):
    """The messages to read, and the handling of invalid ones.

    Attributes
    ----------
    messages : tuple of Path
    received_at : str or None
        Time at which the messages reached customs, as entered; None for the time of issue in each message.
    mapping : Path or None
        Mapping file of an own feed.
    events : Path or None
        Output file for the answers of customs.
    rejects : Path or None
        File for the invalid messages.
    strict : bool
        True if any invalid message is a failure.
    jobs : int
    """

    messages: tuple[Path, ...]
    received_at: str | None
    mapping: Path | None
    events: Path | None
    rejects: Path | None
    strict: bool
    jobs: int


@click.command()
@collect_options(MessageOptions, "options")
@click.argument("messages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MESSAGE…")
@out_option("Consignment table to write: .csv, .parquet or .jsonl.")
@click.option(
    "--received-at",
    type=str,
    default=None,
    metavar="TIME",
    help="Time at which the messages reached customs. Default: the time at which each message was issued, else the file time.",
)
@click.option(
    "--mapping",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.toml",
    help="Mapping file for messages in a format of your own, for example the ITMATT of a postal administration.",
)
@click.option(
    "--events",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Also write the answers of customs (requests, holds and releases) to this table.",
)
@jobs_option
@reject_options
@json_option
def read(options: MessageOptions, out: Path, as_json: bool) -> None:
    """Read messages of post and air cargo into a consignment table.

    Reads files, folders and zip archives in any mixture: Cargo-XML, Cargo-IMP, ONE Record, EU ICS2 and postal declarations.
    The verb recognizes the kind of a message by its content. Each house waybill or postal item becomes one row. A master
    waybill adds its route and forwarder to the rows of its house waybills.

    A value that cannot be used is omitted, and its row gets a quality code. A message is rejected only if no consignment can be
    read from it. If a run was
    interrupted, run the same command again: it continues after the last message.

    Next, run "npsrisk score" on the table. Exit code 2 if no message is valid, or if any is invalid and --strict is given.

    \b
    Example:
    npsrisk read messages/ --out consignments.parquet --events states.parquet --rejects rejects.csv
    """
    from hashlib import sha256

    from consignments.files.table_writers import refuse_unwritable, write_chunks, write_table
    from consignments.messages.post.mapping import load_mapping
    from consignments.messages.reading import ReadOptions, fill_spool, link_entries
    from consignments.messages.reports import build_event_frame, build_table, start_report
    from consignments.messages.spool import Spool
    from consignments.tables import write_rejects

    for path in (out, options.events, options.rejects):
        if path is not None:
            refuse_unwritable(path)
    received_at = parse_time(options.received_at, "--received-at")
    mappings = () if options.mapping is None else (load_mapping(options.mapping),)
    told = None if options.mapping is None else options.mapping.read_bytes()
    mark = f"{READING_VERSION} {received_at} {sha256(told or b'').hexdigest()}"
    spool = Spool(out.with_name(f".{out.name}.reading"), mark)
    read_options = ReadOptions(received_at, options.jobs, mappings)
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


READING_VERSION = "3"
"""Version of the temporary file: a run continues only with a file of the same version."""


def _summarize_run(report: "MessageReport", out: Path) -> str:
    if report.consignments:
        return f"Read {report.consignments:,} consignments from {report.messages:,} messages -> {out}"
    why = "they contain no goods" if report.messages else "there are none"
    return f"Read no consignment from {report.messages:,} messages: {why} -> {out}, an empty table"


def _refuse_message_faults(options: MessageOptions, spool: "Spool", report: "MessageReport") -> None:
    """Raise `FileFault` if all messages were rejected, or if any was and --strict is given."""
    something = len(spool) or report.states or report.ignored or report.repeats
    if not report.rejected or (something and not options.strict):
        return
    place, _, reason = next(spool.read_rejects())
    hidden, given = report.rejected - 1, spool.count_messages()
    spool.close(remove=True)
    raise FileFault(
        "invalid messages with --strict" if something else "no valid message",
        got=f"{report.rejected:,} of {given:,} messages rejected ({place}: {reason}{f', and {hidden:,} more' if hidden else ''})",
        todo="add --rejects FILE to see each reason"
        if options.rejects is None
        else f"see {options.rejects} for each message and its reason",
    )


@click.command()
@batch_table_options
@config_option
@model_uri_option("no model")
@state_option
@dask_option
@jobs_option
@large_result_option
@reject_options
def features(
    tables: TableOptions,
    config: Path | None,
    model: str | None,
    jobs: int,
    state: Path | None,
    dask: str | None,
    out: Path,
) -> None:
    """Compute the features that the model sees, as a table.

    Writes one row per consignment: `consignment_id`, `sequence` if the table has it, and the features. Without --model,
    features with fitted parameters are omitted.

    First run "npsrisk simulate", "npsrisk read" or "npsrisk export". A sorted Parquet table is read in chunks and may be
    larger than the memory. Sort it by `sequence` if it has this column, else by `received_at`. If --out has no suffix, it is
    a folder of Parquet parts. The same command then continues an interrupted run after its last part.

    \b
    Examples:
    npsrisk features --consignments world/consignments.parquet --outcomes world/outcomes.parquet --out features.parquet
    npsrisk features --consignments year/ --out features
    """
    from dataclasses import replace
    from functools import partial

    import numpy as np

    from features.batch import ComputeOptions, FeatureParameters
    from features.buckets.coordinator import stream_on_cluster
    from features.fitted import FittedParameters
    from features.pipeline import Pipeline
    from features.streams import FeatureChunk, stream_features
    from training.config import read_config

    digest = "none"
    if model is None:
        feature_config, fitted = read_config(config).features, FittedParameters.create_empty()
    else:
        bundle = open_registry().fetch_bundle(open_registry().resolve(model))
        feature_config, fitted = bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays)
        digest = bundle.sha256
    spec = Pipeline(feature_config, fitted, create_batch_pseudonyms()).spec
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]

    pseudonyms = create_batch_pseudonyms() if state is None else load_pseudonyms()

    def compute_from(first_row: int, state_run: "StateRun | None") -> "Iterator[pa.Table]":
        check_continued(state_run, tables.history)
        inputs = TableReader(tables, jobs).open_sources(feature_config.build_record_type(), progress)
        inputs = replace(inputs, state_run=state_run)
        parameters = FeatureParameters(feature_config, fitted, pseudonyms)
        to_table = partial(FeatureChunk.to_table, spec=spec, shown=shown)
        wanted = np.arange(len(inputs.consignments)) >= first_row
        if dask is not None:
            return stream_on_cluster(
                dask, out, inputs, parameters, to_table, progress=progress, wanted=wanted
            )
        options = ComputeOptions(jobs, progress)
        return map(to_table, stream_features(inputs, parameters, options=options, wanted=wanted))

    run = {
        "verb": "features",
        "model": digest,
        "features": spec.compute_digest(),
        "config": repr(feature_config),
    }
    target = None if state is None else StateTarget(state, feature_config, pseudonyms)
    with show_progress_bar() as progress:
        rows = write_result(out, tables, run, compute_from, target).rows
    click.echo(f"Wrote {rows:,} rows of {len(shown)} features -> {out}")
