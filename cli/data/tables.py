"""The verbs that write tables from messages and tables: read, features."""

from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cli.batch import Batch
from cli.options import (
    ALERTS,
    CONFIG,
    CONSIGNMENTS,
    DASK,
    HISTORY,
    JOBS,
    LARGE_OUT,
    OUTCOMES,
    REJECTS,
    STATE,
    STRICT,
    model_option,
    out_option,
)
from cli.stores import create_batch_pseudonyms, fetch_bundle
from cli.tables import GivenTables, table_options
from cli.verb import Result, argument, option, verb
from consignments.errors import FileFault
from consignments.rejects import Reject

if TYPE_CHECKING:
    from consignments.messages.reports import MessageReport
    from consignments.messages.spool import Spool
    from features.batch import Progress

READING_VERSION = "3"
"""Version of the temporary file: a run continues only with a file of the same version."""


@verb
def read(
    progress: "Progress",
    messages: tuple[Path, ...] = argument("MESSAGE…"),
    out: Path = out_option("Consignment table to write: .csv, .parquet or .jsonl."),
    received_at: datetime | None = option(
        "Time at which the messages reached customs. Default: the time at which each message was issued, else the file time."
    ),
    mapping: Path | None = option(
        "Mapping file for messages in a format of your own, for example the ITMATT of a postal administration.",
        metavar="FILE.toml",
    ),
    events: Path | None = option(
        "Also write the answers of customs (requests, holds and releases) to this table."
    ),
    jobs: int = JOBS,
    rejects: Path | None = REJECTS,
    strict: bool = STRICT,
) -> Result:
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
    from consignments.files.table_writers import refuse_unwritable, write_chunks, write_table
    from consignments.messages.post.mapping import load_mapping
    from consignments.messages.reading import ReadOptions, fill_spool, link_entries
    from consignments.messages.reports import build_event_frame, build_table, start_report
    from consignments.messages.spool import Spool
    from consignments.tables import write_rejects

    for path in (events, rejects):
        if path is not None:
            refuse_unwritable(path)
    mappings = () if mapping is None else (load_mapping(mapping),)
    mark = sha256(b"" if mapping is None else mapping.read_bytes()).hexdigest()
    spool = Spool(out.with_name(f".{out.name}.reading"), f"{READING_VERSION} {received_at} {mark}")
    fill_spool(messages, spool, ReadOptions(received_at, jobs, mappings), progress)
    linked = link_entries(spool, progress)
    report = start_report(spool, linked)
    if rejects is not None:
        write_rejects((Reject(place, name, "", why) for place, name, why in spool.read_rejects()), rejects)
    something = bool(len(spool) or report.states or report.ignored or report.repeats)
    if report.rejected and (strict or not something):
        what = "invalid messages with --strict" if something else "no valid message"
        fault = _build_fault(what, spool, report, rejects)
        spool.close(remove=True)
        raise fault
    write_chunks(build_table(spool, linked, report), out)
    if events is not None:
        write_table(build_event_frame(linked.states), events)
    spool.close(remove=True)
    return Result(
        {"out": str(out)} | report.to_dict(), _summarize_run(report, out), notes=(report.to_text(),)
    )


def _summarize_run(report: "MessageReport", out: Path) -> str:
    if report.consignments:
        return f"Read {report.consignments:,} consignments from {report.messages:,} messages -> {out}"
    why = "they contain no goods" if report.messages else "there are none"
    return f"Read no consignment from {report.messages:,} messages: {why} -> {out}, an empty table"


def _build_fault(what: str, spool: "Spool", report: "MessageReport", rejects: Path | None) -> FileFault:
    place, _, reason = next(spool.read_rejects())
    more = f", and {report.rejected - 1:,} more" if report.rejected > 1 else ""
    return FileFault(
        what,
        got=f"{report.rejected:,} of {spool.count_messages():,} messages rejected ({place}: {reason}{more})",
        todo="add --rejects FILE to see each reason"
        if rejects is None
        else f"see {rejects} for each message and its reason",
    )


@verb
def features(
    progress: "Progress",
    tables: GivenTables = table_options(
        consignments=CONSIGNMENTS, history=HISTORY, outcomes=OUTCOMES, alerts=ALERTS
    ),
    config: Path | None = CONFIG,
    model: str | None = model_option("no model"),
    state: Path | None = STATE,
    dask: str | None = DASK,
    jobs: int = JOBS,
    out: Path = LARGE_OUT,
) -> Result:
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
    from functools import partial

    from features.batch import FeatureParameters
    from features.fitted import FittedParameters
    from features.pipeline import Pipeline
    from features.streams import FeatureChunk
    from training.config import read_config

    digest = "none"
    if model is None:
        feature_config, fitted = read_config(config).features, FittedParameters.create_empty()
    else:
        bundle = fetch_bundle(model)
        feature_config, fitted = bundle.config, FittedParameters.from_plain(bundle.fitted, bundle.arrays)
        digest = bundle.sha256
    spec = Pipeline(feature_config, fitted, create_batch_pseudonyms()).spec
    shown = [place for place, each in enumerate(spec) if model is not None or not each.fitted]
    batch = Batch(tables, out, state, dask, jobs, progress)
    run = {
        "verb": "features",
        "model": digest,
        "features": spec.compute_digest(),
        "config": repr(feature_config),
    }
    rows = batch.write(
        run,
        FeatureParameters(feature_config, fitted, batch.load_pseudonyms()),
        lambda _: tables.open_sources(feature_config.build_record_type(), progress, jobs),
        lambda _: partial(FeatureChunk.to_table, spec=spec, shown=shown),
    ).rows
    values = {"out": str(out), "rows": rows, "features": len(shown)}
    return Result(values, f"Wrote {rows:,} rows of {len(shown)} features -> {out}")
