"""The verb that reads messages into a table: read."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from cli.options import JOBS, REJECTS, STRICT, Count, NewTable, TomlFile, require_one
from cli.verb import Progress, Result, argument, option, verb
from consignments.errors import FileFault
from consignments.files.whole_files import PUBLIC_MODE, replace_file
from consignments.messages.parsed import StateRow
from consignments.messages.post.drafting import draft_mapping
from consignments.messages.post.mapping import load_mapping, load_mappings
from consignments.offices import OfficeTable, complete_office

READING_VERSION = "7"
"""Version of the temporary file: a run continues only with a file of the same version."""


@verb
def read(
    progress: Progress,
    messages: tuple[Path, ...] = argument("MESSAGE…"),
    out: NewTable | None = option("Consignment table to write. Required without --draft-mapping."),
    received_at: datetime | None = option("Time of receipt. Default: issue of a message, else file time."),
    office: str | None = option("Customs office of the rows whose message names none.", metavar="OFFICE"),
    offices: Path | None = option("Table of offices by place of destination.", metavar="CSV"),
    mapping: TomlFile | None = option("Mapping file for messages in a format of your own."),
    draft_mapping: Path | None = option("Propose a mapping file, and read nothing.", metavar="OUT.toml"),
    events: Path | None = option("Also write the answers of customs, as requests and holds, to this table."),
    jobs: Count = JOBS,
    rejects: Path | None = REJECTS,
    strict: bool = STRICT,
) -> Result:
    """Read messages of post and air cargo into a consignment table.

    Reads files, folders and zip archives in any mixture: Cargo-XML, Cargo-IMP, ONE Record, EU ICS2 and postal declarations.
    The verb recognizes the kind of a message by its content. Each house waybill or postal item becomes one row. A master
    waybill adds its route and forwarder to the rows of its house waybills.

    A value that cannot be used is omitted, and its row gets a quality code. A message is rejected only if no consignment can be
    read from it. If a run was interrupted, run the same command again: it continues after the last message.

    Few messages name a customs office. The office of a row is that in its message, else --office, else that of its place of
    destination in --offices, a CSV with the columns place (airport, mail office or country) and office.

    Messages in a format of your own are recognized by --mapping, else by the mapping files in the folder NPSRISK_MAPPINGS_DIR.
    With --draft-mapping, the messages are samples of an unknown declaration, and the verb proposes a mapping. Correct it.
    Next, run "npsrisk score" on the table. Exit code 2 if no message is valid, or if any is invalid and --strict is given.

    \b
    Examples:
    npsrisk read --draft-mapping post.toml sample.xml
    npsrisk read messages/ --out consignments.parquet --events states.parquet --rejects rejects.csv
    """
    from consignments.files.table_writers import refuse_unwritable, write_chunks, write_table
    from consignments.messages.reading import ReadOptions, fill_spool, link_entries
    from consignments.messages.reports import build_table, start_report
    from consignments.messages.spool import Spool, Topic
    from consignments.tables import build_frame
    from consignments.validation import write_rejects

    require_one("npsrisk read", out=out, draft_mapping=draft_mapping)
    if draft_mapping is not None:
        return _draft_mapping(messages, draft_mapping)
    assert out is not None
    for path in (events, rejects):
        if path is not None:
            refuse_unwritable(path)
    table = OfficeTable({}) if offices is None else OfficeTable.read(offices, "--offices")
    own, folder = [] if mapping is None else [load_mapping(mapping)], os.environ.get("NPSRISK_MAPPINGS_DIR")
    mappings = (*own, *(load_mappings(folder) if folder else []))
    digest = sha256(repr([asdict(each) for each in mappings]).encode()).hexdigest()
    spool = Spool(out.with_name(f".{out.name}.reading"), f"{READING_VERSION} {received_at} {digest}")
    fill_spool(messages, spool, ReadOptions(received_at, jobs, mappings), progress)
    linker, states = link_entries(spool, progress)
    report = start_report(spool, linker, states)
    if rejects is not None:
        write_rejects(spool.read(Topic.REJECT), rejects)
    something = bool(len(linker.rows) or report.states or report.ignored or report.repeats)
    if report.rejected and (strict or not something):
        what = "invalid messages with --strict" if something else "no valid message"
        first = next(spool.read(Topic.REJECT))
        more = f", and {report.rejected - 1:,} more" if report.rejected > 1 else ""
        got = f"{report.rejected:,} of {spool.count(Topic.MESSAGE):,} messages rejected ({first.place}: {first.reason}{more})"
        see = "add --rejects FILE to see" if rejects is None else f"see {rejects} for"
        spool.remove()
        raise FileFault(what, got=got, todo=f"{see} each message and its reason")
    complete = partial(complete_office, office=office, table=table)
    write_chunks(build_table(linker, report, complete), out)
    if events is not None:
        write_table(build_frame(states, StateRow), events)
    spool.remove()
    if report.consignments:
        text = f"Read {report.consignments:,} consignments from {report.messages:,} messages -> {out}"
    else:
        why = "they contain no goods" if report.messages else "there are none"
        text = f"Read no consignment from {report.messages:,} messages: {why} -> {out}, an empty table"
    return Result({"out": str(out)} | asdict(report), text, notes=(report.to_text(),))


def _draft_mapping(samples: Sequence[Path], out: Path) -> Result:
    """Propose a mapping, and show each guess with its value in the samples and what is not sure about it."""
    try:
        draft = draft_mapping([(path.name, path.read_bytes()) for path in samples])
        replace_file(out, draft.text.encode(), PUBLIC_MODE)
    except OSError as error:
        raise FileFault("cannot be used", where=str(error.filename), got=str(error.strerror)) from error
    guesses = [
        {"table": table, "column": each.column, "value": each.value, "unsure": each.doubt}
        for table, found in (("record", draft.record), ("items", draft.items))
        for each in found
    ]
    unsure = draft.text.count("unsure:")
    text = f"{draft.text}\n{len(guesses)} columns, {unsure} notes of what is unsure; {len(draft.unused)} elements are not used"
    values = {"out": str(out), "guesses": guesses, "unused": [name for name, _ in draft.unused]}
    return Result(values, f"{text} -> {out}\nCorrect the file, and read the messages with --mapping {out}")
