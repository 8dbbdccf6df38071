"""A simulated operation with known truth: mail and cargo, networks that react, inspections, late laboratories, alerts.

There is no public data of NPS detections, so the parameters (`world.toml`) state what is sourced and what is assumed. Days are
simulated in order: seizures of one day change what networks send later. The truth is a separate table, for
evaluation only. The same seed gives the same tables, to the byte.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Alert, Consignment, Outcome, Truth
from consignments.schema import Field, get_fields
from consignments.tables import build_frame
from consignments.timestamps import US_PER_DAY
from training.simulation.context import CalendarDay, SimulationContext
from training.simulation.declarations import Columns, DeclarationGenerator
from training.simulation.hard_networks import HardNetworks
from training.simulation.hard_parties import HardParties
from training.simulation.hard_traffic import HardTraffic
from training.simulation.identifiers import IdentifierGenerator, assign_shared_masters
from training.simulation.inspection_outcomes import SimulatedDay, draw_flags_by_result
from training.simulation.legitimate_traffic import LegitimateTraffic
from training.simulation.networks import Networks
from training.simulation.parameters import SimulationParameters, check_size, load_parameters
from training.simulation.parties import Texts
from training.simulation.partner_alerts import AlertFeed
from training.simulation.shipments import NO_INDEX, RESULTS, Draws, Shipments
from training.simulation.targeting import TargetingCentre

FOUNDING, TRAFFIC, NETWORKS, REACTIONS, DECLARATIONS, INSPECTIONS, ALERTS, INTELLIGENCE, PICTURES = range(9)
"""Independent streams of random numbers. Officers' actions do not change what honest people send, nor what undetected
networks send."""
LEGITIMATE, TRAFFICKED = range(2)
"""Origin of declarations, intelligence and X-ray images."""

Progress = Callable[[str, int, int], None]
DayObserver = Callable[[SimulatedDay], None]


@dataclass(frozen=True)
class SimulatedTables:
    """The tables of a simulated world, as written by `npsrisk simulate`.

    Attributes
    ----------
    consignments, outcomes, alerts, truth : DataFrame
        With the columns of their records; missing texts are null, times are UTC.
    """

    consignments: pd.DataFrame
    outcomes: pd.DataFrame
    alerts: pd.DataFrame
    truth: pd.DataFrame

    def end_by(self, last_day: date) -> "SimulatedTables":
        """Move all times by whole weeks, so that the last consignment arrives on this day or up to six days before it.

        Everything else stays as it is, so the same world looks alike on any date.
        """
        ends = self.consignments["received_at"].max().date()
        shift = timedelta(weeks=(last_day - ends).days // 7)
        return SimulatedTables(
            _shift_times(self.consignments, shift),
            _shift_times(self.outcomes, shift),
            _shift_times(self.alerts, shift),
            self.truth,
        )


def _shift_times(frame: pd.DataFrame, shift: timedelta) -> pd.DataFrame:
    moved = {
        str(name): values + shift
        for name, values in frame.items()
        if pd.api.types.is_datetime64_any_dtype(values)
    }
    if "account_opened_on" in frame:
        moved["account_opened_on"] = frame["account_opened_on"].map(
            lambda day: day + shift, na_action="ignore"
        )
    return frame.assign(**moved)


class Simulation:
    """A simulated world that runs day by day.

    Parameters
    ----------
    world : SimulationParameters
    days : int
        Length in days; only the operation's date depends on it.
    per_day : int
        Mean consignments a day.
    prevalence : {"realistic", "enriched", "operation", "hard"}
    seed : int

    Attributes
    ----------
    stage : SimulationContext
    networks : Networks
    inspections : TargetingCentre
        May be replaced, for another policy in the same world.
    """

    def __init__(
        self, world: SimulationParameters, *, days: int, per_day: int, prevalence: str, seed: int
    ) -> None:
        check_size(days, per_day)
        self._seed, self._start = seed, np.datetime64(world.start, "D")
        self.stage = SimulationContext.build(world, world.get_preset(prevalence), per_day)
        operation_day = world.compute_operation_day(days, self.stage.prevalence)
        founding = self._draws(FOUNDING, 0)
        self._traffic, self.networks = _found_senders(self.stage, founding)
        first = int(founding.integers(0, 2**31))
        self._numberings = [IdentifierGenerator(world, first, half) for half in (LEGITIMATE, TRAFFICKED)]
        self._declarations = DeclarationGenerator(self.stage)
        self.inspections = TargetingCentre(self.stage, operation_day)
        self._alert_feed = AlertFeed(self.stage, self.networks, operation_day)

    def simulate_arrivals(self, since_start: int) -> SimulatedDay:
        """Simulate a day's arrivals; the days must be simulated in order."""
        day = self._day(since_start)
        honest = self._traffic.draw_day(self._draws(TRAFFIC, since_start), day)
        arrivals = self._declare(honest, since_start, LEGITIMATE)
        theirs = self.networks.draw_day(lambda number: self._draws(NETWORKS, since_start, number), day)
        if not theirs:
            return arrivals.select_rows(_order_by_time(honest))
        hidden = self._declare(Shipments.concatenate(theirs), since_start, TRAFFICKED)
        assign_shared_masters(hidden.columns, arrivals.columns, own=hidden.shipments.master != NO_INDEX)
        both = SimulatedDay.concatenate([arrivals, hidden])
        return both.select_rows(_order_by_time(both.shipments))

    def _declare(self, sent: Shipments, since_start: int, who: int) -> SimulatedDay:
        """Declare shipments of a day, and draw intelligence and X-ray images."""
        policy = self.stage.world.inspection
        return SimulatedDay(
            sent,
            self._declarations.declare(
                self._draws(DECLARATIONS, since_start, who), sent, since_start, self._numberings[who]
            ),
            since_start,
            tipped=draw_flags_by_result(self._draws(INTELLIGENCE, since_start, who), sent, policy.tips),
            pictured=draw_flags_by_result(self._draws(PICTURES, since_start, who), sent, policy.xray_hits),
        )

    def _day(self, since_start: int) -> CalendarDay:
        date = self._start + since_start
        return CalendarDay(
            since_start, int(date.astype(np.int64)), self.stage.world.calendar.get_volume_factor(date.item())
        )

    def issue_alerts(self, since_start: int) -> list[Alert]:
        """Return the alerts that partners issue on a day."""
        alerts = self._alert_feed.issue_alerts(self._draws(ALERTS, since_start), since_start)
        for alert in alerts:
            self.inspections.watchlist.add_alert(alert)
        return alerts

    def inspect(self, arrivals: SimulatedDay) -> list[Outcome]:
        """Select, inspect and return the outcomes; networks notice what is seized until the end of the day."""
        draws = self._draws(INSPECTIONS, arrivals.since_start)
        outcomes = self.inspections.inspect(draws, arrivals)
        finds = self.inspections.pop_detections((self._day(arrivals.since_start).utc + 1) * US_PER_DAY)
        seized = Counter(find.network for find in finds if find.drug and find.network != NO_INDEX)
        for network, times in seized.items():
            draws = self._draws(REACTIONS, arrivals.since_start, network)
            for _ in range(times):
                self.networks.record_seizure(draws, network, arrivals.since_start)
        return outcomes

    def build_truth(self, arrivals: SimulatedDay) -> Columns:
        """Build the truth of a day, as the columns of a truth table."""
        sent = arrivals.shipments
        held, substances = sent.substance != NO_INDEX, self.stage.substances
        names = np.array(substances.names, dtype=object)[sent.substance]
        families = np.array([family or None for family in substances.families], dtype=object)[sent.substance]
        return {
            "consignment_id": arrivals.columns["consignment_id"],
            "result": np.array(RESULTS, dtype=object)[sent.result],
            "substance": _mask_texts(names, held),
            "substance_family": _mask_texts(families, held),
            "quantity_g": np.round(sent.grams, 2),
            "network": np.array([self.networks.get_label(number) for number in sent.network], dtype=object),
        }

    def run(
        self, days: int, *, watch: DayObserver | None = None, progress: Progress | None = None
    ) -> SimulatedTables:
        """Run from the first day on, and return the tables.

        Parameters
        ----------
        days : int
        watch : callable, optional
            Called with each day's arrivals and their true contents, for measurements of the world.
        progress : callable, optional
            Called with the activity, the amount done, and the total.
        """
        consignments, truths, outcomes, alerts = [], [], [], []
        for since_start in _iterate_days(days, progress):
            alerts += self.issue_alerts(since_start)
            arrivals = self.simulate_arrivals(since_start)
            if watch is not None:
                watch(arrivals)
            outcomes += self.inspect(arrivals)
            consignments.append(arrivals.columns)
            truths.append(self.build_truth(arrivals))
        return SimulatedTables(
            consignments=concatenate_days(Consignment, consignments),
            outcomes=build_frame(outcomes, Outcome),
            alerts=build_frame(alerts, Alert),
            truth=concatenate_days(Truth, truths),
        )

    def _draws(self, stream: int, since_start: int, whose: int = 0) -> Draws:
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
    """Simulate an operation.

    Parameters
    ----------
    world : SimulationParameters, optional
        Default: the built-in parameters.
    days : int
        Length, from the world's start; the results of its last days become known after its end.
    per_day : int
        Mean consignments a day.
    prevalence : {"realistic", "enriched", "operation", "hard:SET"}
        A set of `hard` brings its own parameters, unless a world is given.
    seed : int
        The same seed gives the same tables.
    progress : callable, optional
        Called with the activity, the amount done, and the total.

    Raises
    ------
    UnknownName
        For an unknown preset of prevalence.
    BadInput
        For a world without days or traffic.
    """
    simulation = Simulation(
        world or load_parameters(preset=prevalence),
        days=days,
        per_day=per_day,
        prevalence=prevalence,
        seed=seed,
    )
    return simulation.run(days, progress=progress)


def _found_senders(stage: SimulationContext, draws: Draws) -> tuple[LegitimateTraffic, Networks]:
    """Create the honest traffic and the networks of a world, or of a hard world."""
    hard, parties = stage.world.hard, stage.parties
    if hard is None or not isinstance(parties, HardParties):
        traffic = LegitimateTraffic(stage, draws)
        return traffic, Networks(stage, traffic, draws)
    crowd = HardTraffic(stage, hard, draws)
    return crowd, HardNetworks(stage, crowd, draws, hard, parties)


def concatenate_days(record: type[msgspec.Struct], days: Sequence[Columns]) -> pd.DataFrame:
    """Concatenate the days of a table, in the columns and types of its record; columns without data are missing values."""
    rows = sum(len(next(iter(columns.values()))) for columns in days)
    return pd.DataFrame(
        {field.name: _concatenate_column(field, days, rows) for field in get_fields(record)},
        index=pd.RangeIndex(rows),
    )


def _concatenate_column(field: Field, days: Sequence[Columns], rows: int) -> pd.Series:
    if any(field.name not in columns for columns in days):
        kind = (
            "datetime64[us, UTC]" if field.kind == "time" else "float64" if field.kind == "number" else "str"
        )
        return pd.Series([None] * rows, dtype=kind)
    return _convert_values(field, np.concatenate([columns[field.name] for columns in days]))


def _order_by_time(sent: Shipments) -> NDArray[np.int64]:
    return np.argsort(sent.received_us, kind="stable")


def _mask_texts(values: Texts, rows: NDArray[np.bool_]) -> Texts:
    kept = values.copy()
    kept[~rows] = None
    return kept


def _convert_values(field: Field, values: "np.ndarray[tuple[int], np.dtype[np.generic]]") -> pd.Series:
    if field.kind == "time":
        return pd.Series(pd.to_datetime(pd.Series(values), utc=True).astype("datetime64[us, UTC]"))
    if field.kind == "date":
        return pd.Series(values.astype("datetime64[D]").astype(object))
    return pd.Series(values, dtype="float64" if field.kind == "number" else "str")


def _iterate_days(days: int, progress: Progress | None) -> Iterator[int]:
    for day in range(days):
        yield day
        if progress is not None:
            progress("simulate", day + 1, days)
