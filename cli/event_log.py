"""The verbs of the service's event log: import, export, parity, forget, verify-log."""

import re
from collections.abc import Sequence
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
from cli.stores import open_registry, open_vault, read_settings
from cli.table_reader import TableReader
from cli.times import parse_time
from consignments.errors import BadInput

if TYPE_CHECKING:
    from models.bundle import Bundle
    from serving.encryption.key_file import KeyErasure
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
    """Append past data to the service's log, as history without decisions; doing it twice changes nothing.

    The service must not be running on the same state directory.
    """
    from serving.maintenance.import_past import import_tables

    settings, reader = read_settings(), TableReader(tables)
    with show_progress_bar() as progress:
        counts = import_tables(reader.read_tables, settings, progress)
    print_result(counts, as_json, ", ".join(f"{count:,} {name}" for name, count in counts.items()))


@click.command()
@out_option("Folder for the tables: new, empty, or an earlier export, which is replaced.", metavar="DIR")
@click.option("--personal", is_flag=True, help="Write personal columns too; needs the data key.")
@json_option
def export(out: Path, personal: bool, as_json: bool) -> None:
    """Write the service's log as tables, with `sequence`, the order of history; the service may run meanwhile.

    consignments (every version), outcomes, alerts, selections, decisions, and a table of features for each feature
    spec, as Parquet. Without --personal no personal column is written and no data key is needed; with it the tables
    train and score as the log itself would.

    \b
    npsrisk export --out exported --personal
    npsrisk train --consignments exported/consignments.parquet --outcomes exported/outcomes.parquet
    """
    from serving.event_log.reader import LogReader
    from serving.maintenance.export import export_log

    settings = read_settings()
    with LogReader.open_to_read(settings.database_url) as log, show_progress_bar() as progress:
        written = export_log(log, open_vault() if personal else None, open_past_bundles(), out, progress)
    for note in written["notes"]:
        click.echo(note, err=True)
    rows = ", ".join(f"{count:,} {name}" for name, count in written["tables"].items())
    print_result({"out": str(out), **written}, as_json, f"{rows} -> {out}")


@click.command()
@period_options("Only decisions made from then on.", "Only decisions made before.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME/VERSION",
    help="Only decisions of this model; may be repeated.",
)
@out_option("Write all differences here.", required=False)
@json_option
@click.pass_context
def parity(
    context: click.Context, period: PeriodOptions, models: tuple[str, ...], out: Path | None, as_json: bool
) -> None:
    """Compute every logged decision anew, and compare features, score, band and keys bit for bit.

    Personal fields are decrypted with the data key, and nothing that the service computed goes in. The service may run
    meanwhile. History is computed from the first entry on, whichever decisions are compared. Exit code 0 only where all
    decisions were compared and all are equal, 1 where not.

    \b
    npsrisk parity --from 2024-06-27 --out differences.csv
    """
    from consignments.table_writers import write_chunks
    from features.history.pseudonyms import Pseudonyms, load_data_key
    from serving.event_log.reader import LogReader
    from serving.maintenance.parity import DecisionFilter, ParityCheck, RecomputationSources

    settings = read_settings()
    wanted = DecisionFilter(*period.to_us(), tuple(name.removeprefix("models:/") for name in models))
    with LogReader.open_to_read(settings.database_url) as log, show_progress_bar() as progress:
        pseudonyms = Pseudonyms(load_data_key(settings.data_key_file))
        sources = RecomputationSources(open_vault(), pseudonyms, open_past_bundles())
        comparison = ParityCheck(log, sources, wanted, progress)
        if out is None:
            comparison.run()
        else:
            write_chunks(comparison.iterate_tables(), out)
    print_result(comparison.findings.to_dict(), as_json, comparison.findings.to_text())
    context.exit(0 if comparison.findings.equal else 1)


@click.command()
@click.option(
    "--before", required=True, metavar="DATE", help="What was recorded before; a year ago, or earlier."
)
@approval_options
@click.option("--dry-run", is_flag=True, help="Only count; change nothing.")
@json_option
def forget(before: str, approval: ApprovalOptions, dry_run: bool, as_json: bool) -> None:
    """Remove the content of old consignments from the service's log: fields, personal or not, features and reasons.

    What is left of each is its identifier, moments, keys of history, score, band and model, so that history stays as it is and
    verify-log proves what is left. It cannot be undone, and is put on record in the log itself. The service must not be
    running.

    Then the key of each month that ended before the date goes, once no entry needs it: personal fields of that month can no
    longer be read in any copy of the log. Copies still hold the rest of what was removed.

    \b
    npsrisk forget --before 2022-01-01 --approved-by "data protection" --why "three years have passed" --dry-run
    """
    from serving.maintenance.retention import RetentionApproval
    from serving.maintenance.retention import forget as run

    date = parse_time(before, "--before")
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
    help="Head that an earlier walk printed, kept elsewhere: it must be in the chain.",
)
@json_option
@click.pass_context
def verify_log(context: click.Context, head: str, as_json: bool) -> None:
    """Walk along the chain of the event log: was an entry changed, taken out or put in?

    Prints the head, the hash of the last entry. A log that was cut off, or written anew as a whole, still holds
    together; a head that was kept elsewhere and is given back by --head shows it. Needs no data key, and the service
    may run meanwhile. Exit code 1 where something is wrong.

    \b
    npsrisk verify-log | sed -n 's/^head //p' > /elsewhere/head
    npsrisk verify-log --head "$(cat /elsewhere/head)"
    """
    from serving.event_log.key_erasures import read_key_erasures
    from serving.event_log.reader import LogReader
    from serving.event_log.verification import HEAD_PATTERN, verify_chain

    if head and not re.fullmatch(HEAD_PATTERN, head):
        raise BadInput("not a head", where="--head", got=repr(head), expected="64 hexadecimal digits")
    with LogReader.open_to_read(read_settings().database_url) as log, show_progress_bar() as progress:
        verdict, erasures = verify_chain(log, head, progress), read_key_erasures(log)
    fault = verdict.describe_fault(head)
    text = _summarize_verification(verdict, erasures)
    result = {**verdict._asdict(), "fault": fault, "erased_months": [each.month for each in erasures]}
    print_result(result, as_json, f"{text}\n{fault}" if fault else text)
    context.exit(1 if fault else 0)


def open_past_bundles() -> "PastModels":
    """Find bundles of past decisions in the state directory, else in MLflow, whose store must exist."""
    from serving.scoring.past_models import PastModels

    def fetch(name: str, version: str) -> "Bundle":
        return open_registry().fetch_bundle(open_registry().resolve(f"models:/{name}/{version}"))

    return PastModels(read_settings().state_dir, fetch)


def _summarize_retention(done: "RetentionResult", dry_run: bool) -> str:
    """Summarize what was removed from the log, or would be."""
    verb = "would lose" if dry_run else "lost"
    text = f"{done.consignments:,} consignments {verb} their content, up to entry {done.up_to:,}"
    if done.months:
        text += (
            f"\nthe keys of these months {'would be' if dry_run else 'were'} erased: {', '.join(done.months)}"
        )
    return text + f"\nhead {done.head}"


def _summarize_verification(verdict: "VerificationResult", erasures: "Sequence[KeyErasure]") -> str:
    """Summarize what a walk along the chain found."""
    text = f"{verdict.entries:,} entries hold together\nhead {verdict.head}"
    if verdict.emptied:
        text += f"\n{verdict.emptied:,} of them without content, which was removed on record"
    if verdict.erased:
        text += f"\n{verdict.erased:,} of them with personal fields that nobody can read any more"
    if erasures:
        text += f"\n{len(erasures):,} keys of months were erased on record; the last: {erasures[-1]}"
    if verdict.kept_at is not None:
        text += f"\nthe head that was kept is entry {verdict.kept_at:,}"
    return text
