"""The verbs of the service's event log: import, export, parity, forget, verify-log."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.options import (
    ApprovalOptions,
    PeriodOptions,
    TableOptions,
    alerts_option,
    approval_options,
    collect_tables,
    consignments_option,
    json_option,
    out_option,
    outcomes_option,
    period_options,
    reject_options,
)
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.stores import (
    install_operation_keys,
    load_pseudonyms,
    open_registry,
    open_vault,
    read_settings,
)
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import BadInput

if TYPE_CHECKING:
    from models.bundle import Bundle
    from serving.event_log.hash_chain import VerificationResult
    from serving.maintenance.retention import RetentionResult
    from serving.scoring.past_models import PastModels


@click.command("import")
@collect_tables
@consignments_option
@outcomes_option
@alerts_option
@reject_options
@json_option
def import_(tables: TableOptions, as_json: bool) -> None:
    """Import past tables into the event log of the service.

    Imported consignments become history for the consignments that are scored later. They get no score and no decision.
    Importing the same tables again adds nothing.

    First run "npsrisk publish", and stop the service if it uses the same log or state directory. Next, run "npsrisk serve".

    Writes to the log of NPSRISK_DATABASE_URL. Exit code 2 if the tables are invalid, or if another process uses the log or the state directory.

    \b
    Example:
    npsrisk import --consignments past.parquet --outcomes outcomes.parquet
    """
    from serving.maintenance.import_past import import_tables

    settings, reader = read_settings(), TableReader(tables)
    with show_progress_bar() as progress:
        counts = import_tables(lambda record: reader.open_sources(record, progress), settings, progress)
    notices = counts["notices"]
    lines = [", ".join(f"{count:,} {name}" for name, count in counts.items() if name != "notices")]
    if notices:
        lines.append(f"{notices:,} of the given alerts have only a text, so they match no consignment")
    print_result(counts, as_json, "\n".join(lines))


@click.command()
@out_option(
    "Folder of tables to write: new, empty, or an earlier export. An earlier export is replaced.",
    metavar="DIR",
    required=False,
)
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the history after the log to this folder instead, for --state of npsrisk score. This needs the data key.",
)
@click.option("--personal", is_flag=True, help="Also write personal columns. This needs the data key.")
@json_option
def export(out: Path | None, state: Path | None, personal: bool, as_json: bool) -> None:
    """Export the event log as tables, or as the state of a batch.

    Writes Parquet tables: consignments (every version), outcomes, alerts, selections, answers of customs (states), decisions of officers (actions)
    and answers of the service (decisions). It also writes the logged features, one table for each list of features that a model used. The column
    `sequence` is the order of the log.

    Without --personal, personal columns are left out and no data key is needed. With --personal, training and scoring
    on these tables give the same results as the service. Who exported them is recorded in access.jsonl in the state directory.

    With --state, "npsrisk score --state" and "npsrisk features --state" can go on where the log ends. The state has the history keys of
    the published model, and no names or identifiers.

    The service may keep running. Next, run "npsrisk train" on the tables.

    \b
    Examples:
    npsrisk export --state state
    npsrisk export --out exported --personal
    npsrisk train --consignments exported/consignments.parquet --outcomes exported/outcomes.parquet
    """
    from serving.event_log.reader import LogReader
    from serving.maintenance.access_log import record_access
    from serving.maintenance.export import export_log

    if (out is None) == (state is None) or (personal and state is not None):
        raise BadInput(
            "name what to write",
            where="options",
            got="neither --out nor --state"
            if out is None and state is None
            else "--state with --out or --personal",
            expected="--out DIR [--personal], or --state DIR",
        )
    if state is not None:
        _export_state(state, as_json)
        return
    assert out is not None
    settings = read_settings()
    with LogReader.open_to_read(settings.database_url) as log, show_progress_bar() as progress:
        if personal:
            record_access(settings.state_dir, log, "export --personal", out)
        written = export_log(log, open_vault() if personal else None, open_past_bundles(), out, progress)
    for note in written["notes"]:
        click.echo(note, err=True)
    rows = ", ".join(f"{count:,} {name}" for name, count in written["tables"].items())
    print_result({"out": str(out), **written}, as_json, f"{rows} -> {out}")


@click.command()
@period_options(
    "Compare only decisions made at or after this time.", "Compare only decisions made before this time."
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME/VERSION",
    help="Compare only decisions of this model. May be repeated. Default: all models.",
)
@out_option("Table of all differences to write. Default: print examples only.", required=False)
@json_option
@click.pass_context
def parity(
    context: click.Context, period: PeriodOptions, models: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Recompute logged decisions and compare them bit for bit.

    Compares features, score, band and history keys. Everything is recomputed from the logged fields, which are decrypted
    with the data key. History is always recomputed from the first entry of the log.

    The service may keep running. Run it every night, together with "npsrisk verify-log".

    Exit code 0 if all selected decisions were compared and are equal. Exit code 1 if any differs or could not be compared.
    Exit code 2 if the check could not run.

    \b
    Example:
    npsrisk parity --from 2024-06-27 --out differences.csv
    """
    from consignments.files.table_writers import write_chunks
    from serving.event_log.reader import LogReader
    from serving.maintenance.parity import DecisionFilter, ParityCheck

    settings = read_settings()
    install_operation_keys()
    wanted = DecisionFilter(*period.to_us(), tuple(name.removeprefix("models:/") for name in models))
    with LogReader.open_to_read(settings.database_url) as log, show_progress_bar() as progress:
        comparison = ParityCheck(log, open_vault(), open_past_bundles(), wanted, progress)
        if out is None:
            comparison.run()
        else:
            write_chunks(comparison.iterate_tables(), out)
    print_result(comparison.findings.to_dict(), as_json, comparison.findings.to_text())
    context.exit(0 if comparison.findings.equal else 1)


@click.command()
@click.option(
    "--before",
    default=None,
    metavar="DATE",
    help="Delete the content recorded before this date. It must be at least 368 days before the latest consignment.",
)
@click.option(
    "--consignment",
    default=None,
    metavar="ID",
    help="Delete the content of this one consignment, whatever its date.",
)
@approval_options
@click.option("--dry-run", is_flag=True, help="Count what would be deleted, and change nothing.")
@json_option
def forget(
    before: str | None, consignment: str | None, approval: ApprovalOptions, dry_run: bool, as_json: bool
) -> None:
    """Delete the content of consignments from the event log.

    Deletes all fields, features and reasons of the consignments. Identifier, times, history keys, score, band and model
    stay. History features and the hash chain therefore stay valid.

    Copies of the log keep the content until they expire ("npsrisk backup --keep-days"). What was deleted is written to the list
    forgotten.jsonl next to the data key, as digests; a log that is restored from a copy is cleared by it before anything is served.

    This cannot be undone. The deletion is recorded in the log. First stop the service, and run with --dry-run. At the end,
    store the head that the verb prints, and pass it to "npsrisk verify-log".

    \b
    Example:
    npsrisk forget --before 2022-01-01 --approved-by "data protection" --why "three years have passed" --dry-run
    npsrisk forget --consignment RB123456785DE --approved-by "data protection" --why "request 12/2026"
    """
    from serving.maintenance.retention import forget as run
    from serving.maintenance.retention import forget_consignment
    from serving.state.forgetting import RetentionApproval

    date = parse_time(before, "--before")
    if (date is None) == (consignment is None):
        raise BadInput(
            "give either --before or --consignment", where="npsrisk forget", todo="run npsrisk forget --help"
        )
    if consignment is not None:
        approved = RetentionApproval(approval.approved_by, approval.why)
        erased = forget_consignment(read_settings(), consignment, approved, dry_run=dry_run)
        verb = "Would delete" if dry_run else "Deleted"
        text = f"{verb} the content of {consignment} ({erased.versions:,} versions)\nhead {erased.head}"
        print_result(erased._asdict(), as_json, text)
        return
    assert date is not None
    with show_progress_bar() as progress:
        decision = RetentionApproval(approval.approved_by, approval.why)
        done = run(read_settings(), date, decision, dry_run=dry_run, progress=progress)
    print_result(done._asdict(), as_json, _summarize_retention(done, dry_run))


@click.command("verify-log")
@click.option(
    "--head",
    default="",
    metavar="HASH",
    help="Head that an earlier run printed. Fail if no entry of the chain has this hash.",
)
@json_option
@click.pass_context
def verify_log(context: click.Context, head: str, as_json: bool) -> None:
    """Verify the hash chain of the event log.

    Detects changed, deleted and inserted entries. Prints the head, which is the hash of the last entry.

    Truncation, or a complete rewrite, leaves a valid chain. To detect it, store the head elsewhere and pass it with
    --head in the next run.

    The service may keep running, and no data key is needed. Exit code 0 if the chain is valid, 1 if it is not.

    \b
    Example:
    npsrisk verify-log | sed -n 's/^head //p' > /elsewhere/head
    npsrisk verify-log --head "$(cat /elsewhere/head)"
    """
    from serving.event_log.reader import LogReader
    from serving.event_log.verification.chain import HEAD_PATTERN, verify_chain

    if head and not re.fullmatch(HEAD_PATTERN, head):
        raise BadInput(
            "not the hash of an entry", where="--head", got=repr(head), expected="64 hexadecimal digits"
        )
    with LogReader.open_to_read(read_settings().database_url) as log, show_progress_bar() as progress:
        verdict = verify_chain(log, head, progress)
    fault = verdict.describe_fault(head)
    text = _summarize_verification(verdict)
    result = {**verdict._asdict(), "fault": fault}
    print_result(result, as_json, f"{text}\n{fault}" if fault else text)
    context.exit(1 if fault else 0)


def _export_state(folder: Path, as_json: bool) -> None:
    """Write the history after the log as the state of a batch."""
    from serving.event_log.log_keys import check_vault
    from serving.event_log.reader import LogReader
    from serving.maintenance.export_state import export_state
    from serving.state.published_config import build_key_reader

    settings, vault, pseudonyms = read_settings(), open_vault(), load_pseudonyms()
    with LogReader.open_to_read(settings.database_url) as log, show_progress_bar() as progress:
        check_vault(log, vault)
        keys = build_key_reader(settings.state_dir, vault)
        written = export_state(log, keys, pseudonyms, folder, progress)
    result = {
        "state": str(folder),
        "last_sequence": written.manifest.header.last_sequence,
        "keys": len(written.state.table.keys) - 1,
        "consignments": sum(len(segment.open().number) for segment in written.state.segments),
    }
    text = (
        f"History of {result['consignments']:,} consignments with {result['keys']:,} keys -> {written.folder}"
    )
    print_result(result, as_json, text)


def open_past_bundles() -> "PastModels":
    """Open the bundles of past decisions: those in the state directory, else those in MLflow, whose store must exist."""
    from serving.scoring.past_models import PastModels

    def fetch(name: str, version: str) -> "Bundle":
        return open_registry().fetch_bundle(open_registry().resolve(f"models:/{name}/{version}"))

    return PastModels(read_settings().state_dir, fetch)


def _summarize_retention(done: "RetentionResult", dry_run: bool) -> str:
    """Summarize what was deleted from the log, or would be."""
    verb = "Would delete" if dry_run else "Deleted"
    text = f"{verb} the content of {done.consignments:,} consignments, up to entry {done.up_to:,}"
    return text + f"\nhead {done.head}"


def _summarize_verification(verdict: "VerificationResult") -> str:
    """Summarize the verification of the chain."""
    text = f"{'Chain broken after' if verdict.broken_at is not None else 'Chain valid:'} {verdict.entries:,} entries\nhead {verdict.head}"
    if verdict.emptied:
        text += f"\n{verdict.emptied:,} of them without content (deletion recorded in the log)"
    if verdict.kept_at is not None:
        text += f"\nThe stored head is entry {verdict.kept_at:,}"
    return text
