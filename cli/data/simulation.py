"""The verb that simulates data: simulate."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.options import Count, Folder, Prevalence, TomlFile, days_option, per_day_option, prevalence_option
from cli.verb import Progress, Result, option, verb
from consignments.records import Consignment

if TYPE_CHECKING:
    from pandas import DataFrame


@verb
def simulate(
    progress: Progress,
    out: Folder = option("Folder to write the four tables to."),
    days: Count = days_option(240),
    per_day: Count = per_day_option(500),
    prevalence: Prevalence = prevalence_option("Frequency of NPS; see the table above."),
    seed: int = option("Random seed. The same seed gives the same tables.", 0),
    world: TomlFile | None = option(
        "Parameters that replace those of the same name in training/simulation/world.toml."
    ),
    until: datetime | None = option(
        "Move all times by whole weeks, so that the world ends in the week up to this day. Default: it begins on 2024-01-01.",
        metavar="DATE",
    ),
    messages: bool = option(
        "Also write the consignments as messages: Cargo-XML, Cargo-IMP, ONE Record and the postal schema."
    ),
) -> Result:
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

    parameters = load_parameters(world, prevalence)
    made = run(parameters, days=days, per_day=per_day, prevalence=prevalence, seed=seed, progress=progress)
    if until is not None:
        made = made.end_by(until.date())
    out.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {"out": str(out)}
    for name in ("consignments", "outcomes", "alerts", "truth"):
        frame: DataFrame = getattr(made, name)
        write_table(frame, out / f"{name}.parquet")
        values[name] = len(frame)
    text = "Simulated {consignments:,} consignments, {outcomes:,} outcomes, {alerts} alerts -> {out}"
    if messages:
        values["messages"] = _write_messages(made.consignments, out / "messages")
    return Result(values, text.format(**values))


def _write_messages(frame: "DataFrame", folder: Path) -> dict[str, int]:
    from consignments.tables import check_frame, to_consignments
    from training.simulation.messages.archives import write_archives

    return write_archives(to_consignments(check_frame(frame, Consignment).frame, Consignment), folder)
