"""The verb that makes data: simulate."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from cli.options import collect_options, json_option, out_option, world_size_options
from cli.output import print_result
from cli.progress import show_progress_bar

if TYPE_CHECKING:
    from pandas import DataFrame


class SimulateOptions(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    days, per_day : int
        Length of the world, and its mean consignments a day.
    prevalence : str
        Name of a preset.
    seed : int
    spec : Path or None
        TOML file with numbers that replace the usual ones.
    messages : bool
        Whether the consignments are written as messages too.
    """

    days: int
    per_day: int
    prevalence: str
    seed: int
    spec: Path | None
    messages: bool


@click.command()
@collect_options(SimulateOptions, "options")
@out_option("Where the four tables are written.", metavar="DIR")
@world_size_options(
    240,
    500,
    per_day_text="Mean consignments a day.",
    prevalence_text="How rare the threat is; hard:SET brings a world of its own.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--world",
    "spec",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE.toml",
    help="Numbers that replace those of training/simulation/world.toml, name by name.",
)
@click.option(
    "--messages",
    is_flag=True,
    help="Also write the consignments as messages: Cargo-XML, Cargo-IMP, ONE Record and the postal schema.",
)
@json_option
def simulate(options: SimulateOptions, out: Path, as_json: bool) -> None:
    """Simulate an operation: consignments, outcomes, alerts, and the truth apart.

    \b
    prevalence   NPS       opened  what for
    realistic    1 in 10^5  .12 %  volumes and speed: a million consignments hold ten NPS
    enriched     1 in 1000   2 %   training and comparing
    operation    1 in 200    2 %   a lane that an operation looks at: small worlds with finds in them
    hard:SET     1 in 370    2 %   telling methods apart: other countries, spellings, and networks that keep little

    For 120 days rules choose, then a model and officers too; the operation with its alerts begins on day 270, or at three
    quarters of a shorter world (operation: at a third). What changes when, what is assumed, and what the world lacks:
    docs/simulator.md. The truth is for evaluation only; no training or scoring reads it.

    \b
    npsrisk simulate --out world --days 60 --per-day 300
    npsrisk simulate --out year --days 366 --per-day 2000 --seed 1
    echo '[inspection]
    xray_share = 0.0' > blind.toml && npsrisk simulate --out blind --world blind.toml
    """
    from consignments.table_writers import write_table
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
        f"{len(world.consignments):,} consignments, {len(world.outcomes):,} outcomes, {len(world.alerts)} alerts -> {out}",
    )


def _write_messages(frame: "DataFrame", folder: Path) -> dict[str, int]:
    from consignments.messages.writers import write_archives
    from consignments.records import Consignment
    from consignments.tables import check_frame, to_consignments

    return write_archives(to_consignments(check_frame(frame, Consignment).frame, Consignment), folder)
