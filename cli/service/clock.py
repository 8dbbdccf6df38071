"""Verb clock: acceptance of the system clock after a jump."""

import click

from cli.options import json_option
from cli.output import print_result
from cli.stores import read_settings


@click.group()
def clock() -> None:
    """Accept the system clock after a jump.

    The service answers with 503 while the system clock has jumped forward. First check the system clock, and correct it if
    it is wrong. The service then goes on by itself.

    \b
    Example:
    npsrisk clock accept
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
