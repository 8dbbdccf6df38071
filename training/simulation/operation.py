"""A simulated operation with known truth: mail and cargo, networks that react, inspections, late laboratories, alerts.

There is no public data of NPS detections, so the parameters (`world.toml`) state what is sourced and what is assumed. Days are
simulated in order: seizures of one day change what networks send later. The truth is a separate table, for
evaluation only. The same seed gives the same tables, to the byte.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import msgspec
import numpy as np
import pandas as pd

from consignments.records import Alert, Consignment, Field, Outcome, Truth, get_fields
from consignments.tables import build_frame
from consignments.timestamps import US_PER_DAY
from consignments.workers import Progress as Progress
from models.arrays import Columns, Ints, Texts
from training.simulation.context import GoodsCatalogue, SimulationContext, Substances
from training.simulation.declarations import DeclarationGenerator
from training.simulation.identifiers import IdentifierGenerator, assign_shared_masters
from training.simulation.inspection_outcomes import draw_flags_by_result
from training.simulation.legitimate_traffic import LegitimateTraffic
from training.simulation.networks import Networks
from training.simulation.parameters import SimulationParameters, check_size, load_parameters
from training.simulation.parties import SimulatedParties
from training.simulation.partner_alerts import AlertFeed
from training.simulation.shipments import NO_INDEX, RESULTS, CalendarDay, Draws, Shipments, SimulatedDay
from training.simulation.targeting import TargetingCentre

FOUNDING, TRAFFIC, NETWORKS, REACTIONS, DECLARATIONS, INSPECTIONS, ALERTS, INTELLIGENCE, PICTURES = range(9)
"""Independent streams of random numbers. Officers' actions do not change what honest people send, nor what undetected networks send."""
LEGITIMATE, TRAFFICKED = range(2)  # origin of declarations, intelligence and X-ray images
EMPTY_TYPES = {"time": "datetime64[us, UTC]", "number": "float64"}
"""Type of a column without data, by the kind of its field; others are texts."""

DayObserver = Callable[[SimulatedDay], None]


@dataclass(frozen=True)
class SimulatedTables:
    """The tables of a simulated world, with the columns of their records; missing texts are null, times are UTC."""

    consignments: pd.DataFrame
    outcomes: pd.DataFrame
    alerts: pd.DataFrame
    truth: pd.DataFrame

    def end_by(self, last_day: date) -> "SimulatedTables":
        """Move all times by whole weeks, so that the last consignment arrives on this day or up to six days before it."""
        ends = self.consignments["received_at"].max().date()
        shift = timedelta(weeks=(last_day - ends).days // 7)
        names = ("consignments", "outcomes", "alerts")
        return replace(self, **{name: _shift_times(getattr(self, name), shift) for name in names})


def _shift_times(frame: pd.DataFrame, shift: timedelta) -> pd.DataFrame:
    moved = {str(name): frame[name] + shift for name in frame.select_dtypes("datetimetz").columns}
    if "account_opened_on" in frame:
        opened = frame["account_opened_on"]
        moved["account_opened_on"] = opened.map(lambda day: day + shift, na_action="ignore")
    return frame.assign(**moved)


class Simulation:
    """A simulated world that runs day by day, for `days` days of `per_day` consignments on average.

    Its `inspections` may be replaced, for another policy in the same world.
    """

    def __init__(
        self, world: SimulationParameters, *, days: int, per_day: int, prevalence: str, seed: int
    ) -> None:
        check_size(days, per_day)
        self._seed, self._start = seed, np.datetime64(world.start, "D")
        preset = world.get_preset(prevalence)
        goods, substances = GoodsCatalogue(world, preset.nps), Substances.list_from(world)
        self.context = SimulationContext(world, SimulatedParties(world), goods, substances, preset, per_day)
        operation_day = world.compute_operation_day(days, self.context.prevalence)
        founding = self._create_draws(FOUNDING, 0)
        self._traffic = LegitimateTraffic(self.context, founding)
        self.networks = Networks(self.context, self._traffic, founding)
        first = int(founding.integers(0, 2**31))
        self._numberings = [IdentifierGenerator(world, first, half) for half in (LEGITIMATE, TRAFFICKED)]
        self._declarations = DeclarationGenerator(self.context)
        self.inspections = TargetingCentre(self.context, operation_day)
        self._alert_feed = AlertFeed(self.context, self.networks, operation_day)

    def simulate_arrivals(self, since_start: int) -> SimulatedDay:
        """Simulate a day's arrivals; the days must be simulated in order."""
        day = self._get_day(since_start)
        honest = self._traffic.draw_day(self._create_draws(TRAFFIC, since_start), day)
        arrivals = self._declare(honest, since_start, LEGITIMATE)
        theirs = self.networks.draw_day(lambda number: self._create_draws(NETWORKS, since_start, number), day)
        if theirs:
            hidden = self._declare(Shipments.concatenate(theirs), since_start, TRAFFICKED)
            own = hidden.shipments.master != NO_INDEX
            assign_shared_masters(hidden.columns, arrivals.columns, own)
            arrivals = SimulatedDay.concatenate([arrivals, hidden])
        return arrivals.select_rows(np.argsort(arrivals.shipments.received_us, kind="stable"))

    def _declare(self, sent: Shipments, since_start: int, who: int) -> SimulatedDay:
        """Declare shipments of a day, and draw intelligence and X-ray images."""
        policy = self.context.world.inspection
        declarations, intelligence, pictures = (
            self._create_draws(stream, since_start, who) for stream in (DECLARATIONS, INTELLIGENCE, PICTURES)
        )
        columns = self._declarations.declare(declarations, sent, since_start, self._numberings[who])
        tipped = draw_flags_by_result(intelligence, sent, policy.tips)
        pictured = draw_flags_by_result(pictures, sent, policy.xray_hits)
        return SimulatedDay(sent, columns, since_start, tipped, pictured)

    def _get_day(self, since_start: int) -> CalendarDay:
        day = self._start + since_start
        height = self.context.world.get_volume_factor(day.item())
        return CalendarDay(since_start, int(day.astype(np.int64)), height)

    def issue_alerts(self, since_start: int) -> list[Alert]:
        """Return the alerts that partners issue on a day."""
        alerts = self._alert_feed.issue_alerts(self._create_draws(ALERTS, since_start), since_start)
        self.inspections.watchlist.add_alerts(alerts)
        return alerts

    def inspect(self, arrivals: SimulatedDay) -> list[Outcome]:
        """Select, inspect and return the outcomes; networks notice what is seized until the end of the day."""
        draws = self._create_draws(INSPECTIONS, arrivals.since_start)
        outcomes = self.inspections.inspect(draws, arrivals)
        self.react(arrivals.since_start)
        return outcomes

    def react(self, since_start: int) -> None:
        """Record the seizures until the end of a day, to which networks react."""
        finds = self.inspections.pop_detections((self._get_day(since_start).utc + 1) * US_PER_DAY)
        seized = Counter(find.network for find in finds if find.drug and find.network != NO_INDEX)
        for network, times in seized.items():
            draws = self._create_draws(REACTIONS, since_start, network)
            for _ in range(times):
                self.networks.record_seizure(draws, network, since_start)

    def build_truth(self, arrivals: SimulatedDay) -> Columns:
        """Build the truth of a day, as the columns of a truth table."""
        sent, substances = arrivals.shipments, self.context.substances
        families = [family or None for family in substances.families]
        return {
            "consignment_id": arrivals.columns["consignment_id"],
            "result": np.array(RESULTS, dtype=object)[sent.result],
            "substance": _take_texts(substances.names, sent.substance),
            "substance_family": _take_texts(families, sent.substance),
            "quantity_g": np.round(sent.grams, 2),
            "network": np.array([self.networks.get_label(number) for number in sent.network], dtype=object),
        }

    def run(
        self, days: int, *, watch: DayObserver | None = None, progress: Progress | None = None
    ) -> SimulatedTables:
        """Run from the first day on, and return the tables; `watch` gets each day's arrivals with their true contents."""
        consignments, truths, outcomes, alerts = [], [], [], []
        for since_start in range(days):
            alerts += self.issue_alerts(since_start)
            arrivals = self.simulate_arrivals(since_start)
            if watch is not None:
                watch(arrivals)
            outcomes += self.inspect(arrivals)
            consignments.append(arrivals.columns)
            truths.append(self.build_truth(arrivals))
            if progress is not None:
                progress("simulate", since_start + 1, days)
        return SimulatedTables(
            consignments=concatenate_days(Consignment, consignments),
            outcomes=build_frame(outcomes, Outcome),
            alerts=build_frame(alerts, Alert),
            truth=concatenate_days(Truth, truths),
        )

    def _create_draws(self, stream: int, since_start: int, whose: int = 0) -> Draws:
        return np.random.default_rng([self._seed % 2**63, stream, since_start, whose])


def simulate(
    world: SimulationParameters | None = None,
    *,
    days: int,
    per_day: int,
    prevalence: str = "enriched",
    seed: int = 0,
    progress: Progress | None = None,
) -> SimulatedTables:
    """Simulate an operation of `days` days, from the world's start, with `per_day` consignments a day on average.

    The world is by default the built-in one; `prevalence` is "realistic", "enriched", "operation" or "hard:SET", a set of hard worlds with
    parameters of its own. The results of the last days become known after its end. The same `seed` gives the same tables. `progress` is called
    with the activity, the amount done, and the total.
    """
    world = world or load_parameters(preset=prevalence)
    made = Simulation(world, days=days, per_day=per_day, prevalence=prevalence, seed=seed)
    return made.run(days, progress=progress)


def concatenate_days(record: type[msgspec.Struct], days: Sequence[Columns]) -> pd.DataFrame:
    """Concatenate the days of a table, in the columns and types of its record; columns without data are missing values."""
    rows = sum(len(next(iter(columns.values()))) for columns in days)
    frame = {field.name: _concatenate_column(field, days, rows) for field in get_fields(record)}
    return pd.DataFrame(frame, index=pd.RangeIndex(rows))


def _concatenate_column(field: Field, days: Sequence[Columns], rows: int) -> pd.Series:
    if any(field.name not in columns for columns in days):
        return pd.Series([None] * rows, dtype=EMPTY_TYPES.get(field.kind, "str"))
    values = np.concatenate([columns[field.name] for columns in days])
    if field.kind == "time":
        return pd.Series(pd.to_datetime(pd.Series(values), utc=True).astype("datetime64[us, UTC]"))
    if field.kind == "date":
        return pd.Series(values.astype("datetime64[D]").astype(object))
    return pd.Series(values, dtype="float64" if field.kind == "number" else "str")


def _take_texts(values: Sequence[str | None], numbers: Ints) -> Texts:
    """Return the text of each number; None for a number that names nothing."""
    return np.array([*values, None], dtype=object)[numbers]
