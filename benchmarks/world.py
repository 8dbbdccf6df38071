"""Realism checks of the simulated world, of which docs/simulator.md has the figures and the pictures.

    python -m benchmarks.world    # simulates six worlds of a year or less; some minutes

It prints the checks and draws the pictures. With `--quick` the worlds are small and nothing is drawn, as a test that it runs.
"""

import hashlib
import io
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
from benchmarks.script import format_table, parse_options, run_verb, say
from training.reporting.charts import BLUE, GREY, ORANGE, STYLE_FILE
from training.simulation.parameters import SimulationParameters, load_parameters

PICTURES = Path(__file__).resolve().parent.parent / "docs" / "pictures"
SEED, MORE_SEEDS = 1, (2, 3)
"""The signs of NPS are measured over all of these, because in one world a few networks dominate them."""
FOUR_WEEKS = 4 * DAYS_PER_WEEK
TITLES: dict[Any, Any] = {"axes.titlesize": 11.5, "axes.titleweight": "bold"}
TABLES = ("consignments", "outcomes", "alerts", "truth")
VERDICTS = {None: "reported", True: "holds", False: "**does not hold**"}
Flags = NDArray[np.bool_]
Check = tuple[str, str, str, bool | None]
"""Claim, required and measured value, and whether it holds; None if it is only reported."""


class Size(NamedTuple):
    """Days, and consignments a day."""

    days: int
    per_day: int


def main() -> None:
    quick = parse_options(__doc__, quick=False).quick
    print(check_worlds(quick))


def check_worlds(quick: bool) -> str:
    """Simulate the worlds, draw the pictures, and return the table."""
    year, lane = (Size(120, 300), Size(120, 150)) if quick else (Size(366, 2000), Size(366, 1000))
    world = load_parameters()
    main_world = live(world, year, "enriched")
    sent = [main_world.sent, *(live(world, year, "enriched", seed).sent for seed in MORE_SEEDS)]
    usual = world.prevalence.enriched
    lanes = {}
    for name, p_change in (("react", world.adversary.p_change), ("do not react", 0.0)):
        # Five times the NPS, for pictures with more than a few.
        prevalence = {"operation": {**usual, "nps": 5 * usual.nps}}
        lanes[name] = live(
            world.replace(prevalence=prevalence, adversary={"p_change": p_change}), lane, "operation"
        )
    without = world.replace(inspection={"xray_share": 0.0})
    blind = live(without, Size(world.inspection.rules_only_days, year.per_day), "enriched")
    presets = {
        "enriched": main_world,
        "operation": live(world, Size(60, lane.per_day), "operation"),
        "realistic": live(world, year, "realistic"),
    }
    pictures = {
        "world_events.svg": draw_events(world, lanes["react"], main_world),
        "world_reaction.svg": draw_reaction(lanes),
    }
    for name, picture in pictures.items() if not quick else ():
        (PICTURES / name).write_text(picture)
    checks = [
        check_bytes(),
        *check_fields(world, main_world, pd.concat(sent, ignore_index=True)),
        *check_inspections(world, main_world, blind),
        *check_rarity(world, presets),
        check_reaction(lanes),
    ]
    title = f"Seed {SEED}; {year.days} days of {year.per_day:,}, `enriched`, unless stated otherwise."
    rows = [[*check[:3], VERDICTS[check[3]]] for check in checks]
    return f"{title}\n\n{format_table(['', 'required', 'measured', ''], rows)}"


def live(world: SimulationParameters, size: Size, prevalence: str, seed: int = SEED) -> SimulatedPeriod:
    say(f"simulating {size.days} days of {size.per_day:,}, {prevalence}")
    return simulate_period(world, days=size.days, per_day=size.per_day, prevalence=prevalence, seed=seed)


def check_bytes() -> Check:
    """Simulate twice, in processes that hash texts differently, and compare the files."""
    digests = []
    for seed_of_hashes in ("1", "2"):
        with tempfile.TemporaryDirectory() as folder:
            words = ["simulate", "--out", folder, "--days", "40", "--per-day", "300", "--seed", str(SEED)]
            run_verb({"PYTHONHASHSEED": seed_of_hashes}, *words)
            files = [(Path(folder) / f"{name}.parquet").read_bytes() for name in TABLES]
            digests.append([hashlib.sha256(file).hexdigest() for file in files])
    same = digests[0] == digests[1]
    claim = "the same seed gives the same Parquet, in two processes"
    return claim, "byte for byte", f"four files, {'equal' if same else 'different'}", same


def check_fields(
    world: SimulationParameters, main_world: SimulatedPeriod, sent: pd.DataFrame
) -> Iterator[Check]:
    """Check what single fields, names and signs reveal."""
    best, auc = next(iter(measure_field_aucs(main_world.tables.consignments, main_world.nps).items()))
    yield "no single raw field identifies NPS", "AUC at most .85", f"{auc:.3f} (`{best}`)", auc <= 0.85
    found = match_descriptions(main_world, list_substance_names(world))
    recall, false = found[main_world.nps].mean(), found[~main_world.nps].mean()
    yield "exact names of substances detect few NPS", "under 10 %", f"{recall:.1%}", recall < 0.10
    auc = 0.5 + (recall - false) / 2
    yield "a lexicon alone is weak", "AUC under .70", f"{auc:.3f}", auc < 0.70
    ratios = [sign.ratio for sign in measure_signs(sent).values()]
    weak = all(2 <= ratio <= 10 for ratio in ratios)
    shown = f"{min(ratios):.1f} to {max(ratios):.1f}"
    yield "each of eleven signs is weak", "likelihood ratios of 2 to 10", shown, weak


def check_inspections(
    world: SimulationParameters, main_world: SimulatedPeriod, blind: SimulatedPeriod
) -> Iterator[Check]:
    """Check hit rates, shares of the selectors, and the laboratory."""
    rules_only = world.inspection.rules_only_days
    early = InspectionResults.from_tables(main_world.tables, until_day=rules_only)
    whole = InspectionResults.from_tables(main_world.tables)
    yield (
        f"any prohibited goods among inspections, first {rules_only} days", "25 to 40 %",
        f"{early.hits:.1%} of {len(early.final):,}", 0.25 <= early.hits <= 0.40,
    )  # fmt: skip
    found, held = early.compute_share("nps"), (early.opened["held"] == "nps").mean()
    yield (
        "NPS detected among inspections, same days", "2 to 10 %",
        f"{found:.2%} detected; {held:.2%} of the inspected contained them", 0.02 <= found <= 0.10,
    )  # fmt: skip
    final = InspectionResults.from_tables(blind.tables).final
    own = final[final["selected_by"] != "intelligence"]
    yield (
        "the same without X-ray images and intelligence: what declarations alone give the rules", "-",
        f"{(own['result'] == 'nps').mean():.2%} NPS, {(own['result'] != 'clear').mean():.1%} any", None,
    )  # fmt: skip
    nps = whole.final[whole.final["result"] == "nps"]
    tipped = (nps["selected_by"] == "intelligence").mean()
    claim = "NPS detections from intelligence, beyond the capacity"
    yield claim, "(assumed: a tenth)", f"{tipped:.0%} of {len(nps)}", None
    chosen = main_world.tables.outcomes.drop_duplicates("consignment_id")
    missed = (chosen["status"] == "missed").mean()
    yield "selected, but never presented", "12 %", f"{missed:.1%}", abs(missed - 0.12) < 0.01
    prohibited = (main_world.tables.truth["result"] != "clear").sum()
    caught = (whole.final["result"] != "clear").sum() / prohibited
    yield (
        "share of all prohibited goods that is detected", "(ANAO: 12.5 %, with .12 % inspected)",
        f"{caught:.1%}; of the NPS {len(nps) / main_world.nps.sum():.0%}", None,
    )  # fmt: skip
    median, late = np.quantile(whole.compute_laboratory_days(), (0.5, 0.95))
    yield (
        "laboratory, from inspection to result", "median 7 to 14 days, 95 % within 25 to 75",
        f"median {median:.1f}, 95 % within {late:.0f}", bool(7 <= median <= 14 and 25 <= late <= 75),
    )  # fmt: skip
    shares = [(whole.submitted["result"] == name).mean() for name in ("nps", "controlled_drug", "clear")]
    yield (
        "submissions to the laboratory: NPS, other controlled, nothing controlled",
        "18, 36, 46 %, plus or minus 10 points", ", ".join(f"{share:.0%}" for share in shares),
        all(abs(share - near) < 0.1 for share, near in zip(shares, (0.18, 0.36, 0.46), strict=True)),
    )  # fmt: skip


def check_rarity(world: SimulationParameters, presets: Mapping[str, SimulatedPeriod]) -> Iterator[Check]:
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
        shown, measured = (", ".join(f"{share:.1e}" for share in each) for each in (expected, there))
        claim = f"prevalence of NPS, other drugs, other goods in `{name}`"
        yield claim, shown, f"{measured} of {len(result):,}", all(near)
    for name in ("enriched", "operation"):
        ratio = compute_look_alike_ratio(presets[name])
        yield f"legitimate look-alikes for each NPS in `{name}`", "30 or more", f"{ratio:.0f}", ratio >= 30


def check_reaction(lanes: Mapping[str, SimulatedPeriod]) -> Check:
    """Check what seizures change."""
    react, not_react = (
        measure_kept_senders(lanes[name], range(2, 3))[2] for name in ("react", "do not react")
    )
    return (
        "networks change after seizures: parcels under earlier names, in the third week after one",
        "fewer than if they do not react", f"{react:.0%} compared with {not_react:.0%}", react < not_react,
    )  # fmt: skip


def list_selected(living: SimulatedPeriod) -> Flags:
    """Return the mask of the consignments that were selected."""
    tables = living.tables
    return tables.consignments["consignment_id"].isin(tables.outcomes["consignment_id"]).to_numpy(dtype=bool)


def draw_events(world: SimulationParameters, lane: SimulatedPeriod, main_world: SimulatedPeriod) -> str:
    """Draw each trend event over the weeks."""
    events, truth, declared = world.events, lane.tables.truth, lane.tables.consignments
    control, new = events.class_control, events.new_substance
    shift, outage = events.origin_shift, events.data_outage
    substance, family = (truth[name].to_numpy(object) for name in ("substance", "substance_family"))
    cathinone = np.asarray(family == new.family, dtype=bool)
    wares = np.array(list(lane.context.catalogue.number))[lane.sent["ware"]]
    departure = declared["departure_country"].to_numpy()
    packets = (main_world.tables.consignments["service"] == outage.service).to_numpy(dtype=bool)
    announced = main_world.tables.consignments["nature"].notna().to_numpy(dtype=bool)
    everything = np.ones(len(packets), dtype=bool)
    chemicals = ("lab_chemicals", "pigments_resins")
    cosmetics = ("cosmetics_powder", "supplements", "creams", "pharma_personal")

    def share(
        part: Any, whole: Flags, living: SimulatedPeriod = lane, days: int = FOUR_WEEKS
    ) -> NDArray[np.float64]:
        day = living.sent["day"].to_numpy()
        return compute_shares_by_period(day, np.asarray(part, dtype=bool), whole, days)

    panels = [
        ("Class control", control.day, "of NPS", FOUR_WEEKS, {
            control.family: share(family == control.family, lane.nps),
            control.substitute: share(substance == control.substitute, lane.nps),
        }),
        ("Unseen substance", new.day, "of cathinones", FOUR_WEEKS, {new.name: share(substance == new.name, cathinone)}),
        ("Origin shift", shift.day, "of cathinones", FOUR_WEEKS, {
            f"from {shift['from']}": share(departure == shift["from"], cathinone),
            f"from {shift.to}": share(departure == shift.to, cathinone),
        }),
        ("Cover shift", events.cover_shift.day, "of NPS", FOUR_WEEKS, {
            "as chemicals": share(np.isin(wares, chemicals), lane.nps),
            "as cosmetics, supplements": share(np.isin(wares, cosmetics), lane.nps),
        }),
        ("Data outage", outage.day, "of small packets", DAYS_PER_WEEK, {
            "with advance data": share(announced, packets, main_world, DAYS_PER_WEEK),
        }),
        ("Operation", world.operation.day, "of all", DAYS_PER_WEEK, {
            "selected": share(list_selected(main_world), everything, main_world, DAYS_PER_WEEK),
        }),
    ]  # fmt: skip
    with mpl.rc_context(TITLES, STYLE_FILE):
        figure = Figure(figsize=(10.4, 5.2), layout="constrained")
        for ax, (title, day, of, days, series) in zip(figure.subplots(2, 3).flat, panels, strict=True):
            for (name, shares), colour in zip(series.items(), (BLUE, ORANGE), strict=False):
                ax.plot(
                    (np.arange(len(shares)) + 0.5) * days, shares, color=colour, linewidth=1.8, label=name
                )
            ax.axvline(day, color=GREY, linestyle="--", linewidth=1.2)
            ax.set(title=title, ylabel=of, xlabel="day", ylim=(0, 1.4 * ax.dataLim.y1))
            finish_panel(ax, fontsize=8.5, loc="upper left")
        return render_svg(figure)


def draw_reaction(lanes: Mapping[str, SimulatedPeriod]) -> str:
    """Draw how networks replace their names after a seizure, and the share of NPS that is selected."""
    with mpl.rc_context(TITLES, STYLE_FILE):
        figure = Figure(figsize=(10.4, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for (name, living), colour in zip(lanes.items(), (BLUE, ORANGE), strict=True):
            kept = measure_kept_senders(living, range(-4, 11))
            left.plot(list(kept), list(kept.values()), color=colour, linewidth=2, label=f"networks {name}")
            day = living.sent["day"].to_numpy()
            shares = compute_shares_by_period(day, list_selected(living), living.nps, FOUR_WEEKS)
            middle = (np.arange(len(shares)) + 0.5) * FOUR_WEEKS
            right.plot(middle, shares, color=colour, linewidth=2, label=f"networks {name}")
        left.axvline(0, color=GREY, linestyle="--", linewidth=1.2)
        left.set(title="Parcels under names used before", xlabel="weeks since a seizure", ylim=(0, 1.05))
        right.set(title="NPS that are selected, by four weeks", xlabel="day", ylim=(0, None))
        for ax in (left, right):
            finish_panel(ax, fontsize=9)
        return render_svg(figure)


def finish_panel(ax: Axes, **legend: Any) -> None:
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    ax.legend(**legend)


def render_svg(figure: Figure) -> str:
    """Render a figure as SVG; the same values give the same bytes."""
    FigureCanvasSVG(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return drawn[drawn.index("<svg") :]


if __name__ == "__main__":
    main()
