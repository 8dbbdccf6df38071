"""Verb clock: acceptance of the system clock after a jump, and correction of times recorded by a clock that was ahead."""

import click

from cli.options import ApprovalOptions, approval_options, json_option
from cli.output import print_result
from cli.stores import read_settings


@click.group()
def clock() -> None:
    """Accept the system clock after a jump, or correct times.

    The service answers with 503 while the system clock has jumped forward. First check the system clock, and correct it if
    it is wrong. The service then goes on by itself.

    \b
    Examples:
    npsrisk clock accept
    npsrisk clock correct --approved-by "operations" --why "time server failed" --dry-run
    """


@clock.command()
@json_option
def accept(as_json: bool) -> None:
    """Accept the system clock as it is now.

    Use it after a jump of the clock, or after a long stop.

    Writes a file to the state directory. A running service goes on within a second. One that is started within ten minutes
    goes on too.

    \b
    Example:
    date -u && npsrisk clock accept
    """
    from consignments.timestamps import to_datetime
    from serving.process.clock import read_clock_us
    from serving.process.clock_acceptance import accept_clock

    now_us = read_clock_us()
    path = accept_clock(read_settings().state_dir, now_us)
    moment = to_datetime(now_us).isoformat(timespec="seconds")
    print_result({"accepted": moment, "file": str(path)}, as_json, f"Accepted {moment} -> {path}")


@clock.command()
@approval_options
@click.option("--dry-run", is_flag=True, help="Find the entries, and change nothing.")
@json_option
def correct(approval: ApprovalOptions, dry_run: bool, as_json: bool) -> None:
    """Correct times that were recorded in the future.

    All entries from the first one in the future count as recorded now. The entries stay as they are. The correction is a
    new entry with the person and the reason, so the hash chain stays valid. History is then built again from the log.

    Stop the service and check the system clock before. Start the service after.

    \b
    Example:
    npsrisk clock correct --approved-by "operations" --why "time server failed"
    """
    from serving.maintenance.clock_correction import correct_clock
    from serving.maintenance.retention import RetentionApproval
    from serving.process.clock import read_clock_us

    decision = RetentionApproval(approval.approved_by, approval.why)
    done = correct_clock(read_settings(), decision, read_clock_us(), dry_run=dry_run)
    verb = "Would correct" if dry_run else "Corrected"
    text = f"{verb} the times of entries {done.first:,} to {done.last:,}\nhead {done.head}"
    print_result(done._asdict(), as_json, text)
