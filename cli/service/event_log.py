"""The verbs of the service's event log: import, export, parity, forget, verify-log."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.options import FROM, UNTIL, Folder, NewTable, require_one
from cli.stores import (
    fetch_bundle,
    install_operation_keys,
    load_pseudonyms,
    open_log,
    open_vault,
    read_settings,
)
from cli.tables import PAST, GivenTables, table_options, to_bound_us
from cli.verb import Progress, Result, option, verb
from consignments.errors import BadInput

if TYPE_CHECKING:
    from models.bundle import Bundle
    from serving.scoring.loaded_model import PastModels


@verb
def import_(progress: Progress, tables: GivenTables = table_options(PAST)) -> Result:
    """Import past tables into the event log of the service.

    Imported consignments become history for the consignments that are scored later. They get no score and no decision.
    Importing the same tables again adds nothing. Exit code 2 if another process uses the log or the state directory.
    First run "npsrisk publish", and stop the service. Next, run "npsrisk serve".

    \b
    Example:
    npsrisk import --consignments past.parquet --outcomes outcomes.parquet
    """
    from serving.maintenance.import_past import import_tables

    counts = import_tables(lambda record: tables.open_sources(record, progress), read_settings(), progress)
    text = ", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "notices")
    if notices := counts["notices"]:
        text += f"\n{notices:,} of the given alerts have only a text, so they match no consignment"
    return Result(counts, text)


@verb
def export(
    progress: Progress,
    out: Folder | None = option("Folder of tables to write: new, empty, or an earlier export to replace."),
    state: Folder | None = option("Folder for the history after the log, for npsrisk score --state."),
    personal: bool = option("Also write personal columns. This needs the data key."),
) -> Result:
    """Export the event log as tables, or as the state of a batch.

    Writes Parquet tables: consignments (every version), outcomes, alerts, selections, answers of customs (states), decisions of
    officers (actions), answers of the service (decisions), and the logged features, one table for each list of features that a
    model used. The column `sequence` is the order of the log.

    Without --personal, personal columns are left out and no data key is needed. With --personal, training and scoring
    on these tables give the same results as the service. Who exported them is recorded in access.jsonl in the state directory.
    With --state, "npsrisk score" and "npsrisk features" can go on where the log ends. The state has the history keys of the
    published model, and no names or identifiers. The service may keep running. Next, run "npsrisk train" on the tables.

    \b
    Examples:
    npsrisk export --state state
    npsrisk export --out exported --personal
    npsrisk train --consignments exported/consignments.parquet --outcomes exported/outcomes.parquet
    """
    require_one("npsrisk export", out=out, state=state)
    if personal:
        require_one("npsrisk export", state=state, personal=True)
    if state is not None:
        return _export_state(state, progress)
    assert out is not None
    from serving.maintenance.access_log import record_access
    from serving.maintenance.export import export_log

    with open_log() as log:
        if personal:
            record_access(read_settings().state_dir, log, "export --personal", out)
        written = export_log(log, open_vault() if personal else None, open_past_bundles(), out, progress)
    rows = ", ".join(f"{count:,} {name}" for name, count in written["tables"].items())
    return Result({"out": str(out), **written}, f"{rows} -> {out}", notes=tuple(written["notes"]))


def _export_state(folder: Path, progress: Progress) -> Result:
    """Write the history after the log as the state of a batch."""
    from serving.event_log.log import check_vault
    from serving.maintenance.export_state import export_state
    from serving.state.history_keys import build_key_reader

    vault, pseudonyms = open_vault(), load_pseudonyms()
    with open_log() as log:
        check_vault(log, vault)
        keys = build_key_reader(read_settings().state_dir, vault)
        written = export_state(log, keys, pseudonyms, folder, progress)
    values: dict[str, Any] = {
        "state": str(folder),
        "last_sequence": written.manifest.header.last_sequence,
        "keys": len(written.state.table.keys) - 1,
        "consignments": sum(len(segment.open().number) for segment in written.state.segments),
    }
    text = "History of {consignments:,} consignments with {keys:,} keys".format(**values)
    return Result(values, f"{text} -> {written.folder}")


@verb
def parity(
    progress: Progress,
    from_: datetime | None = FROM,
    until: datetime | None = UNTIL,
    model: tuple[str, ...] = option("Compare only this model. May be repeated.", metavar="NAME/VERSION"),
    out: NewTable | None = option("Table of all differences to write. Default: print examples only."),
) -> Result:
    """Recompute logged decisions and compare them bit for bit.

    Compares features, score, band and history keys. Everything is recomputed from the logged fields, which are decrypted
    with the data key, and history from the first entry of the log. The service may keep running. Run it every night, together
    with "npsrisk verify-log". Exit code 1 if any decision differs or could not be compared.

    \b
    Example:
    npsrisk parity --from 2024-06-27 --out differences.csv
    """
    from consignments.files.table_writers import write_chunks
    from serving.maintenance.parity import ParityCheck
    from serving.maintenance.recomputation import DecisionFilter
    from serving.process.state_directory import record_done

    names = tuple(name.removeprefix("models:/") for name in model)
    wanted = DecisionFilter(to_bound_us(from_), to_bound_us(until), names)
    install_operation_keys()
    with open_log() as log:
        comparison = ParityCheck(log, open_vault(), open_past_bundles(), wanted, progress)
        if out is None:
            comparison.run()
        else:
            write_chunks(comparison.iterate_tables(), out)
    found = comparison.findings
    if found.equal:
        record_done(read_settings().state_dir, "parity")
    return Result(found.to_dict(), found.to_text(), failed=not found.equal)


@verb
def forget(
    progress: Progress,
    before: datetime | None = option(
        "Delete what was recorded before it, at least 368 days before the latest consignment.", metavar="DATE"
    ),
    consignment: str | None = option("Delete the content of this one consignment.", metavar="ID"),
    approved_by: str = option("Person who approves; recorded.", metavar="WHO", required=True),
    why: str = option("Reason for the decision; recorded.", metavar="TEXT", required=True),
    dry_run: bool = option("Count what would be deleted, and change nothing."),
) -> Result:
    """Delete the content of consignments from the event log.

    Deletes all fields, features and reasons of the consignments. Identifier, times, history keys, score, band and model stay, so
    history features and the hash chain stay valid.

    Copies of the log keep the content until they expire ("npsrisk backup --keep-days"). What was deleted is written to the list
    forgotten.jsonl next to the data key, as digests; a log that is restored from a copy is cleared by it before anything is served.

    This cannot be undone, and is recorded in the log. First run with --dry-run; the service may keep running then. Stop the service
    for the deletion. At the end, store the head that the verb prints, and pass it to "npsrisk verify-log".

    \b
    Example:
    npsrisk forget --before 2022-01-01 --approved-by "data protection" --why "three years have passed" --dry-run
    npsrisk forget --consignment RB123456785DE --approved-by "data protection" --why "request 12/2026"
    """
    from models.formats import format_count
    from serving.state.forgetting import RetentionApproval, forget_consignment
    from serving.state.forgetting import forget as run

    require_one("npsrisk forget", before=before, consignment=consignment)
    approval, what = RetentionApproval(approved_by, why), "Would delete" if dry_run else "Deleted"
    if consignment is not None:
        erased = forget_consignment(read_settings(), consignment, approval, dry_run=dry_run)
        versions = format_count(erased.versions, "version")
        text = f"{what} the content of {consignment} ({versions})\nhead {erased.head}"
        return Result(erased._asdict(), text)
    assert before is not None
    done = run(read_settings(), before, approval, dry_run=dry_run, progress=progress)
    text = f"{what} the content of {done.consignments:,} consignments, up to entry {done.up_to:,}"
    return Result(done._asdict(), f"{text}\nhead {done.head}")


@verb
def verify_log(
    progress: Progress,
    head: str = option("Head that an earlier run printed. Fail if no entry has it.", "", metavar="HASH"),
) -> Result:
    """Verify the hash chain of the event log.

    Detects changed, deleted and inserted entries. Truncation, or a complete rewrite, leaves a valid chain. To detect it, store
    the head, which is the hash of the last entry, elsewhere, and pass it with --head in the next run. The service may keep
    running, and no data key is needed. Exit code 1 if the chain is not valid.

    \b
    Example:
    npsrisk verify-log | sed -n 's/^head //p' > /elsewhere/head
    npsrisk verify-log --head "$(cat /elsewhere/head)"
    """
    from serving.event_log.verification import HEAD_PATTERN, verify_chain
    from serving.process.state_directory import record_done

    if head and not re.fullmatch(HEAD_PATTERN, head):
        expected = "64 hexadecimal digits"
        raise BadInput("not the hash of an entry", where="--head", got=repr(head), expected=expected)
    with open_log() as log:
        verdict = verify_chain(log, head, progress)
    fault = verdict.describe_fault(head)
    if not fault:
        record_done(read_settings().state_dir, "verify-log")
    what = "Chain valid:" if verdict.broken_at is None else "Chain broken after"
    lines = [f"{what} {verdict.entries:,} entries", f"head {verdict.head}"]
    if verdict.emptied:
        lines.append(f"{verdict.emptied:,} of them without content (deletion recorded in the log)")
    if verdict.kept_at is not None:
        lines.append(f"The stored head is entry {verdict.kept_at:,}")
    lines += [fault] if fault else []
    return Result({**verdict._asdict(), "fault": fault}, "\n".join(lines), failed=bool(fault))


def open_past_bundles() -> "PastModels":
    """Open the bundles of past decisions: those in the state directory, else those in MLflow, whose store must exist."""
    from serving.scoring.loaded_model import PastModels

    def fetch(name: str, version: str) -> "Bundle":
        return fetch_bundle(f"models:/{name}/{version}")

    return PastModels(read_settings().state_dir, fetch)
