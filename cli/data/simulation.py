"""The verb that simulates data: simulate."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli.options import collect_options, json_option, out_option, world_size_options
from cli.output import print_result
from cli.progress import show_progress_bar
from cli.times import parse_timestamp

if TYPE_CHECKING:
    from pandas import DataFrame


class SimulateOptions(NamedTuple):
    """The options of the simulation.

    Attributes
    ----------
    days, per_day : int
        Days of the simulated world, and its mean number of consignments per day.
    prevalence : str
        Name of a preset.
    seed : int
    spec : Path or None
        TOML file with parameters that replace the defaults.
    until : str or None
        Day on which the world ends, as entered; None for the dates of its parameters.
    messages : bool
        True if the consignments are also written as messages.
    """

    days: int
    per_day: int
    prevalence: str
    seed: int
    spec: Path | None
    until: str | None
    messages: bool


@click.command()
@collect_options(SimulateOptions, "options")
@out_option("Folder to write the four tables to.", metavar="DIR")
@world_size_options(
    240,
    500,
    per_day_text="Mean number of consignments per day.",
    prevalence_text="Frequency of NPS; see the table above.",
)
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=0,
    show_default=True,
    help="Random seed. The same seed gives the same tables.",
)
@click.option(
    "--world",
    "spec",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.toml",
    help="Parameters that replace those of the same name in training/simulation/world.toml.",
)
@click.option(
    "--until",
    default=None,
    metavar="DATE",
    help="Move all times by whole weeks, so that the world ends in the week up to this day. Default: it begins on 2024-01-01.",
)
@click.option(
    "--messages",
    is_flag=True,
    help="Also write the consignments as messages: Cargo-XML, Cargo-IMP, ONE Record and the postal schema.",
)
@json_option
def simulate(options: SimulateOptions, out: Path, as_json: bool) -> None:
    """Simulate the traffic and the inspections of an operation.

    Writes consignments, outcomes, alerts and truth as Parquet tables. The truth is for evaluation only; training and
    scoring never read it.

    \b
    preset       NPS         inspected  use
    realistic    1 in 10^5   0.12 %     volume and speed
    enriched     1 in 1000   2 %        training and comparison
    operation    1 in 200    2 %        small worlds with detections
    hard:SET     1 in 370    2 %        other countries and spellings, careful networks

    In the first 120 days, fixed rules select the inspections. After that, a model and officers also select. In a later
    period of 21 days, partners send alerts and the capacity is doubled. It begins on day 270, or after 75 % of the days if
    this is earlier (preset `operation`: 35 %). docs/simulator.md lists the assumptions and the limits.

    Next, run "npsrisk train" on the tables.

    \b
    Examples:
    npsrisk simulate --out world --days 60 --per-day 300
    npsrisk simulate --out year --days 366 --per-day 2000 --seed 1
    npsrisk simulate --out changed --world my-world.toml
    """
    from consignments.files.table_writers import write_table
    from training.simulation.operation import simulate as run
    from training.simulation.parameters import load_parameters

    with show_progress_bar() as progress:
        world = run(
            load_parameters(options.spec, options.prevalence),
            days=options.days,
            per_day=options.per_day,
            prevalence=options.prevalence,
            seed=options.seed,
            progress=progress,
        )
    until = parse_timestamp(options.until, "--until")
    if until is not None:
        world = world.end_by(until.date())
    out.mkdir(parents=True, exist_ok=True)
    tables = {
        "consignments": world.consignments,
        "outcomes": world.outcomes,
        "alerts": world.alerts,
        "truth": world.truth,
    }
    for name, frame in tables.items():
        write_table(frame, out / f"{name}.parquet")
    told: dict[str, Any] = {"out": str(out), **{name: len(frame) for name, frame in tables.items()}}
    if options.messages:
        told["messages"] = _write_messages(world.consignments, out / "messages")
    print_result(
        told,
        as_json,
        f"Simulated {len(world.consignments):,} consignments, {len(world.outcomes):,} outcomes, {len(world.alerts)} alerts -> {out}",
    )


def _write_messages(frame: "DataFrame", folder: Path) -> dict[str, int]:
    from consignments.records import Consignment
    from consignments.tables import check_frame, to_consignments
    from training.simulation.messages.archives import write_archives

    return write_archives(to_consignments(check_frame(frame, Consignment).frame, Consignment), folder)
