"""Realism checks of the simulated world: compute every line and picture of docs/simulator.md.

    python -m benchmarks.world    # simulates six worlds of a year or less; some minutes

It writes its block of docs/simulator.md and prints it. With `--quick` the worlds are small and only printed, as a test that it runs.
"""

import argparse
import hashlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from benchmarks.realism import (
    DAYS_PER_WEEK,
    InspectionResults,
    SignStrength,
    SimulatedPeriod,
    compute_look_alike_ratio,
    compute_shares_by_period,
    list_substance_names,
    match_descriptions,
    measure_field_aucs,
    measure_kept_senders,
    measure_signs,
    simulate_period,
)
from training.reporting.charts import BLUE, GREY, ORANGE, STYLE_FILE
from training.simulation.parameters import SimulationParameters, load_parameters

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE, PICTURES = DOCS / "simulator.md", DOCS / "pictures"
SEED, MORE_SEEDS = 1, (2, 3)
"""The signs of NPS are measured over all of these, because in one world a few networks dominate them."""
FOUR_WEEKS = 4 * DAYS_PER_WEEK
TITLES: dict[Any, Any] = {"axes.titlesize": 11.5, "axes.titleweight": "bold"}
Flags = NDArray[np.bool_]
TABLES = ("consignments", "outcomes", "alerts", "truth")


class Size(NamedTuple):
    """Days, and consignments a day."""

    days: int
    per_day: int

    def __str__(self) -> str:
        return f"{self.days} days of {self.per_day:,}"


class Line(NamedTuple):
    """A realism check: claim, required and measured value, and whether it holds; None if it is only reported."""

    claim: str
    wanted: str
    measured: str
    holds: bool | None

    def __str__(self) -> str:
        if self.holds is None:
            return f"| {self.claim} | {self.wanted} | {self.measured} | reported |"
        return f"| {self.claim} | {self.wanted} | {self.measured} | {'holds' if self.holds else '**does not hold**'} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small worlds, without writing")
    quick = parser.parse_args().quick
    block = acceptance(quick)
    print(block)
    if not quick:
        write_block("acceptance", block)


def write_block(name: str, block: str) -> None:
    """Write a block between its two marks in the page."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    PAGE.write_text(f"{before}{begin}\n{block}\n\n{end}{after}", encoding="utf-8")


def acceptance(quick: bool) -> str:
    """Simulate the worlds, draw the pictures, and return the tables."""
    year, lane = (Size(120, 300), Size(120, 150)) if quick else (Size(366, 2000), Size(366, 1000))
    world = load_parameters()
    main_world = live(world, year, "enriched")
    sent = [main_world.sent, *(live(world, year, "enriched", seed).sent for seed in MORE_SEEDS)]
    signs = measure_signs(pd.concat(sent, ignore_index=True))
    lanes = {
        name: live(many_nps(world, p_change), lane, "operation")
        for name, p_change in (("react", world.adversary.p_change), ("do not react", 0.0))
    }
    blind = live(
        world.replace(inspection={"xray_share": 0.0}),
        Size(world.inspection.rules_only_days, year.per_day),
        "enriched",
    )
    presets = {"enriched": main_world, "operation": live(world, Size(60, lane.per_day), "operation")}
    presets["realistic"] = live(world, year, "realistic")
    if not quick:
        (PICTURES / "world_events.svg").write_text(events_picture(world, lanes["react"], main_world))
        (PICTURES / "world_reaction.svg").write_text(reaction_picture(lanes))
    else:
        events_picture(world, lanes["react"], main_world)
        reaction_picture(lanes)
    lines = [
        same_bytes(),
        *from_fields(world, main_world, signs),
        *from_openings(world, main_world, blind),
        *from_rarity(world, presets),
        *from_reaction(lanes),
    ]
    return "\n\n".join(
        [
            f"Seed {SEED}; {year}, `enriched`, unless stated otherwise.",
            table(["", "required", "measured", ""], [str(line) for line in lines]),
            f"The signs, in the worlds of seeds {SEED} to {MORE_SEEDS[-1]}, from the 30th day on; negatives contain no drugs:",
            tells_table(signs),
        ]
    )


def many_nps(world: SimulationParameters, p_change: float) -> SimulationParameters:
    """Return a world like `enriched` with five times the NPS, for pictures with more than a few."""
    usual = world.prevalence.enriched
    return world.replace(
        prevalence={"operation": {**usual, "nps": 5 * usual.nps}}, adversary={"p_change": p_change}
    )


def live(world: SimulationParameters, size: Size, prevalence: str, seed: int = SEED) -> SimulatedPeriod:
    print(f"simulating {size}, {prevalence}", file=sys.stderr, flush=True)
    return simulate_period(world, days=size.days, per_day=size.per_day, prevalence=prevalence, seed=seed)


def table(columns: list[str], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *rows])


def same_bytes() -> Line:
    """Simulate twice, in processes that hash texts differently, and compare the files."""
    digests = []
    for seed_of_hashes in ("1", "2"):
        with tempfile.TemporaryDirectory() as folder:
            words = ["simulate", "--out", folder, "--days", "40", "--per-day", "300", "--seed", str(SEED)]
            subprocess.run(
                [sys.executable, "-c", "from npsrisk import main; main()", *words],
                env={**os.environ, "PYTHONHASHSEED": seed_of_hashes},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            digests.append(
                [
                    hashlib.sha256((Path(folder) / f"{name}.parquet").read_bytes()).hexdigest()
                    for name in TABLES
                ]
            )
    same = digests[0] == digests[1]
    equal = "equal" if same else "different"
    return Line(
        "the same seed gives the same Parquet, in two processes",
        "byte for byte",
        f"four files, {equal}",
        same,
    )


def from_fields(
    world: SimulationParameters, main_world: SimulatedPeriod, signs: Mapping[str, SignStrength]
) -> Iterator[Line]:
    """Check what single fields, names and signs reveal."""
    best, auc = next(iter(measure_field_aucs(main_world.tables.consignments, main_world.nps).items()))
    yield Line("no single raw field identifies NPS", "AUC at most .85", f"{auc:.3f} (`{best}`)", auc <= 0.85)
    found = match_descriptions(main_world, list_substance_names(world))
    recall, false = found[main_world.nps].mean(), found[~main_world.nps].mean()
    yield Line("exact names of substances detect few NPS", "under 10 %", f"{recall:.1%}", recall < 0.10)
    auc = 0.5 + (recall - false) / 2
    yield Line("a lexicon alone is weak", "AUC under .70", f"{auc:.3f}", auc < 0.70)
    ratios = {name: tell.ratio for name, tell in signs.items()}
    weak = [ratio for ratio in ratios.values() if 2 <= ratio <= 10]
    yield Line(
        "each sign is weak (below)",
        "likelihood ratios of 2 to 10",
        f"{min(ratios.values()):.1f} to {max(ratios.values()):.1f}; {len(weak)} of {len(ratios)} within",
        len(weak) == len(ratios),
    )


def from_openings(
    world: SimulationParameters, main_world: SimulatedPeriod, blind: SimulatedPeriod
) -> Iterator[Line]:
    """Check hit rates, shares of the selectors, and the laboratory."""
    rules_only = world.inspection.rules_only_days
    early, whole = (
        InspectionResults.from_tables(main_world.tables, until_day=rules_only),
        InspectionResults.from_tables(main_world.tables),
    )
    yield Line(
        f"any prohibited goods among inspections, first {rules_only} days",
        "25 to 40 %",
        f"{early.hits:.1%} of {len(early.final):,}",
        0.25 <= early.hits <= 0.40,
    )
    found, held = early.compute_share("nps"), (early.opened["held"] == "nps").mean()
    yield Line(
        "NPS detected among inspections, same days",
        "2 to 10 %",
        f"{found:.2%} detected; {held:.2%} of the inspected contained them",
        0.02 <= found <= 0.10,
    )
    without = InspectionResults.from_tables(blind.tables)
    own = without.final[without.final["selected_by"] != "intelligence"]
    yield Line(
        "the same without X-ray images and intelligence: what declarations alone give the rules",
        "-",
        f"{(own['result'] == 'nps').mean():.2%} NPS, {(own['result'] != 'clear').mean():.1%} any",
        None,
    )
    nps = whole.final[whole.final["result"] == "nps"]
    tipped = (nps["selected_by"] == "intelligence").mean()
    yield Line(
        "NPS detections from intelligence, beyond the capacity",
        "(assumed: a tenth)",
        f"{tipped:.0%} of {len(nps)}",
        None,
    )
    chosen = main_world.tables.outcomes.drop_duplicates("consignment_id")
    missed = (chosen["status"] == "missed").mean()
    yield Line("selected, but never presented", "12 %", f"{missed:.1%}", abs(missed - 0.12) < 0.01)
    prohibited = (main_world.tables.truth["result"] != "clear").sum()
    caught = (whole.final["result"] != "clear").sum() / prohibited
    yield Line(
        "share of all prohibited goods that is detected",
        "(ANAO: 12.5 %, with .12 % inspected)",
        f"{caught:.1%}; of the NPS {len(nps) / main_world.nps.sum():.0%}",
        None,
    )
    days = whole.compute_laboratory_days()
    median, late = np.median(days), np.quantile(days, 0.95)
    yield Line(
        "laboratory, from inspection to result",
        "median 7 to 14 days, 95 % within 25 to 75",
        f"median {median:.1f}, 95 % within {late:.0f}",
        bool(7 <= median <= 14 and 25 <= late <= 75),
    )
    share = {name: (whole.submitted["result"] == name).mean() for name in ("nps", "controlled_drug", "clear")}
    yield Line(
        "submissions to the laboratory: NPS, other controlled, nothing controlled",
        "18, 36, 46 %, plus or minus 10 points",
        ", ".join(f"{each:.0%}" for each in share.values()),
        all(abs(share[name] - near) < 0.1 for name, near in zip(share, (0.18, 0.36, 0.46), strict=True)),
    )


def from_rarity(world: SimulationParameters, presets: Mapping[str, SimulatedPeriod]) -> Iterator[Line]:
    """Check prevalence and look-alikes by preset."""
    for name, living in presets.items():
        wanted, result = world.prevalence[name], living.tables.truth["result"]
        there = [(result == kind).mean() for kind in ("nps", "controlled_drug", "other_offence")]
        expected = (wanted.nps, wanted.controlled_drugs, wanted.other_prohibited)
        counts = [share * len(result) for share in expected]
        near = [
            abs(share * len(result) - count) < max(4 * count**0.5, 0.2 * count)
            for share, count in zip(there, counts, strict=True)
        ]
        yield Line(
            f"prevalence of NPS, other drugs, other goods in `{name}`",
            ", ".join(f"{share:.1e}" for share in expected),
            ", ".join(f"{share:.1e}" for share in there) + f" of {len(result):,}",
            all(near),
        )
    for name in ("enriched", "operation"):
        each = compute_look_alike_ratio(presets[name])
        yield Line(
            f"legitimate look-alikes for each NPS in `{name}`", "30 or more", f"{each:.0f}", each >= 30
        )


def from_reaction(lanes: Mapping[str, SimulatedPeriod]) -> Iterator[Line]:
    """Check what seizures change."""
    kept = {name: measure_kept_senders(living, range(2, 3))[2] for name, living in lanes.items()}
    yield Line(
        "networks change after seizures: parcels under earlier names, in the third week after one",
        "fewer than if they do not react",
        f"{kept['react']:.0%} compared with {kept['do not react']:.0%}",
        kept["react"] < kept["do not react"],
    )


def tells_table(signs: Mapping[str, SignStrength]) -> str:
    return table(
        ["sign", "of NPS", "of negatives", "likelihood ratio"],
        [
            f"| {name.replace('_', ' ')} | {tell.positives:.3f} | {tell.negatives:.3f} | {tell.ratio:.1f} |"
            for name, tell in signs.items()
        ],
    )


def events_picture(world: SimulationParameters, lane: SimulatedPeriod, main_world: SimulatedPeriod) -> str:
    """Draw each trend event over the weeks."""
    events, day = world.events, lane.sent["day"].to_numpy()
    truth, declared = lane.tables.truth, lane.tables.consignments
    control, new = events.class_control, events.new_substance
    substance, family = truth["substance"].astype(object), truth["substance_family"].astype(object)
    nitazene = (family == control.family).to_numpy(dtype=bool)
    substitute = (substance == control.substitute).to_numpy(dtype=bool)
    cathinone = (family == new.family).to_numpy(dtype=bool)
    wares = np.array(list(lane.context.catalogue.number))[lane.sent["ware"]]
    chemical = np.isin(wares, ["lab_chemicals", "pigments_resins"])
    cosmetic = np.isin(wares, ["cosmetics_powder", "supplements", "creams", "pharma_personal"])
    departure = declared["departure_country"].to_numpy()
    packets = (main_world.tables.consignments["service"] == events.data_outage.service).to_numpy(dtype=bool)
    announced = main_world.tables.consignments["nature"].notna().to_numpy(dtype=bool)
    opened = main_world.tables.consignments["consignment_id"].isin(
        main_world.tables.outcomes["consignment_id"]
    )
    own_day = main_world.sent["day"].to_numpy()
    everything = np.ones(len(own_day), dtype=bool)
    shift = events.origin_shift

    def share(part: Flags, whole: Flags) -> NDArray[np.float64]:
        return compute_shares_by_period(day, part, whole, FOUR_WEEKS)

    with mpl.rc_context(TITLES, STYLE_FILE):
        figure, axes = create_figure(2, 3, width=10.4, height=5.2)
        panel(axes[0], "Class control", control.day, "of NPS", FOUR_WEEKS, {
            control.family: share(nitazene, lane.nps),
            control.substitute: share(substitute, lane.nps),
        })  # fmt: skip
        panel(axes[1], "Unseen substance", new.day, "of cathinones", FOUR_WEEKS, {
            new.name: share((substance == new.name).to_numpy(dtype=bool), cathinone),
        })  # fmt: skip
        panel(axes[2], "Origin shift", shift.day, "of cathinones", FOUR_WEEKS, {
            f"from {shift['from']}": share(departure == shift["from"], cathinone),
            f"from {shift.to}": share(departure == shift.to, cathinone),
        })  # fmt: skip
        panel(axes[3], "Cover shift", events.cover_shift.day, "of NPS", FOUR_WEEKS, {
            "as chemicals": share(chemical, lane.nps),
            "as cosmetics, supplements": share(cosmetic, lane.nps),
        })  # fmt: skip
        panel(axes[4], "Data outage", events.data_outage.day, "of small packets", DAYS_PER_WEEK, {
            "with advance data": compute_shares_by_period(own_day, announced, packets, DAYS_PER_WEEK),
        })  # fmt: skip
        panel(axes[5], "Operation", world.operation.day, "of all", DAYS_PER_WEEK, {
            "selected": compute_shares_by_period(own_day, opened.to_numpy(dtype=bool), everything, DAYS_PER_WEEK),
        })  # fmt: skip
        return render_svg(figure)


def create_figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """Create a figure with panels, sizes in inches; to be used within `mpl.rc_context(TITLES, STYLE_FILE)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def render_svg(figure: Figure) -> str:
    """Render a figure as SVG; the same values give the same bytes."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


def panel(
    ax: Axes, title: str, event_day: int, of: str, days: int, series: Mapping[str, NDArray[np.float64]]
) -> None:
    for (name, shares), colour in zip(series.items(), (BLUE, ORANGE), strict=False):
        ax.plot((np.arange(len(shares)) + 0.5) * days, shares, color=colour, linewidth=1.8, label=name)
    ax.axvline(event_day, color=GREY, linestyle="--", linewidth=1.2)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.set(title=title, ylabel=of, xlabel="day", ylim=(0, 1.4 * ax.dataLim.y1))
    ax.legend(fontsize=8.5, loc="upper left")


def reaction_picture(lanes: Mapping[str, SimulatedPeriod]) -> str:
    """Draw how networks replace their names after a seizure, and the share of NPS that is selected."""
    weeks = range(-4, 11)
    with mpl.rc_context(TITLES, STYLE_FILE):
        figure, (left, right) = create_figure(1, 2, width=10.4, height=3.2)
        for (name, living), colour in zip(lanes.items(), (BLUE, ORANGE), strict=True):
            kept = measure_kept_senders(living, weeks)
            left.plot(list(kept), list(kept.values()), color=colour, linewidth=2, label=f"networks {name}")
            nps = living.nps
            chosen = living.tables.consignments["consignment_id"].isin(
                living.tables.outcomes["consignment_id"]
            )
            day = living.sent["day"].to_numpy()
            shares = compute_shares_by_period(day, chosen.to_numpy(dtype=bool), nps, FOUR_WEEKS)
            middle = (np.arange(len(shares)) + 0.5) * FOUR_WEEKS
            right.plot(middle, shares, color=colour, linewidth=2, label=f"networks {name}")
        left.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
        left.set(title="Parcels under names used before", xlabel="weeks since a seizure", ylim=(0, 1.05))
        right.set(title="NPS that are selected, by four weeks", xlabel="day", ylim=(0, None))
        for ax in (left, right):
            ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            ax.legend(fontsize=9)
        return render_svg(figure)


if __name__ == "__main__":
    main()
