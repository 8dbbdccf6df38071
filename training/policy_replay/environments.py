"""The worlds that a policy is replayed in: given tables, where nothing reacts, and a simulation that answers to seizures.

What an opening of a consignment yields, and when, depends on the seed and the consignment: not on who opens it, nor on what
else is opened. What partners name is opened beyond the capacity, whoever chooses.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Alert, Consignment, Outcome, Result
from consignments.tables import to_alerts, to_outcomes
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime
from features.batch import Tables
from models.baselines import RandomOrder
from training.evaluation.traffic import extract_texts
from training.policy_replay.observed_history import NO_ROWS
from training.policy_replay.policies import PolicyChoice
from training.simulation.context import SimulationContext
from training.simulation.inspection_outcomes import InspectionChoice, InspectionSimulator, SimulatedDay
from training.simulation.operation import Simulation, concatenate_days
from training.simulation.parameters import SimulationParameters, load_parameters
from training.simulation.shipments import CLEAR, CONCEALMENTS, NO_INDEX, RESULTS, Draws, Numbers, Shipments
from training.simulation.targeting import TargetingCentre
from training.simulation.watchlists import WATCHED_COLUMNS

LEGACY_STREAM = 77
"""Stream of random numbers of those who chose before."""
POWDER_CHAPTERS = ("28", "29", "30", "33", "38")
"""HS chapters of which clean goods are taken for powders that are tested, where only tables are given (assumed)."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TrueResults:
    """What is inside a day's arrivals; for evaluation, and for the oracle.

    Attributes
    ----------
    results : tuple of Result, (n,)
    networks : tuple of str or None, (n,)
        Kind of trafficking network.
    """

    results: tuple[Result, ...]
    networks: tuple[str | None, ...]


class ReplayEnvironment(Protocol):
    """A world that goes on round by round; each round is asked for once, in order.

    Attributes
    ----------
    rounds : int
    start_day : int
        UTC day of the first arrivals.
    round_days : int
        Days of one round, at whose end lists are drawn up.
    """

    rounds: int
    start_day: int
    round_days: int

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Let a round's consignments come: what is declared of them, and the alerts of the round."""

    def flag_intelligence(self) -> Bools:
        """Tell which of them partners name."""

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Take X-ray pictures of some of them, and tell which look wrong."""

    @property
    def screened_share(self) -> float:
        """Share of its arrivals that an office can take pictures of; 0 where there are none."""

    def get_truth(self) -> TrueResults:
        """Tell what is inside."""

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Let the operation as it was choose among them; to be asked at most once a round."""

    def compute_capacity(self, capacity: int) -> int:
        """Give what is left of, or comes on top of, the capacity of each office in this round."""

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Open what was chosen, and what partners name, and give all that will ever be reported of it."""


class SimulatedEnvironment:
    """A simulation whose networks answer to what this policy seizes.

    Parameters
    ----------
    world : SimulationParameters
    days, per_day : int
    prevalence : str
    seed : int
    """

    round_days = 1

    def __init__(
        self, world: SimulationParameters, *, days: int, per_day: int, prevalence: str, seed: int
    ) -> None:
        self._simulation = Simulation(world, days=days, per_day=per_day, prevalence=prevalence, seed=seed)
        self._seed = seed % 2**63
        stage = self._simulation.stage
        self._desk = _ReplayTargeting(stage, world.compute_operation_day(days, stage.prevalence), self._seed)
        self._simulation.inspections = self._desk
        self.rounds = days
        self.start_day = int(np.datetime64(world.start, "D").astype(np.int64))

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Let a day's consignments come."""
        alerts = self._simulation.issue_alerts(number)
        self._arrivals = self._simulation.simulate_arrivals(number)
        return concatenate_days(Consignment, [self._arrivals.columns]), alerts

    def flag_intelligence(self) -> Bools:
        """Tell which of them partners name."""
        return self._arrivals.tipped

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Take X-ray pictures of some of them, and tell which look wrong."""
        return self._arrivals.pictured[rows]

    @property
    def screened_share(self) -> float:
        """Share of its arrivals that an office can take pictures of."""
        return self._simulation.stage.world.inspection.xray_share

    def get_truth(self) -> TrueResults:
        """Tell what is inside, and of which kind of network it is."""
        held = self._simulation.build_truth(self._arrivals)
        kinds = [label and label.partition("-")[0] for label in held["network"].tolist()]
        return TrueResults(tuple(held["result"].tolist()), tuple(kinds))

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Let rules and officers of the simulated operation choose."""
        draws = np.random.default_rng([self._seed, LEGACY_STREAM, self._arrivals.since_start])
        return [
            PolicyChoice(choice.row, choice.selected_by, choice.probability)
            for choice in self._desk.choose_legacy(draws, self._arrivals, capacity)
        ]

    def compute_capacity(self, capacity: int) -> int:
        """Give the capacity of the day: more during the operation."""
        on = self._desk.get_operation(self._arrivals.since_start) is not None
        return round(capacity * self._simulation.stage.world.operation.capacity) if on else capacity

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Open, and let networks notice."""
        operation = self._desk.get_operation(self._arrivals.since_start)
        chosen = [InspectionChoice(pick.row, pick.selected_by, pick.probability, operation) for pick in picks]
        self._desk.chosen = [*self._desk.list_intelligence(self._arrivals), *chosen]
        return self._simulation.inspect(self._arrivals)


class _ReplayTargeting(TargetingCentre):
    """Opens what was chosen elsewhere, or chooses as the simulated operation does, under a capacity."""

    def __init__(self, stage: SimulationContext, operation_day: int, seed: int) -> None:
        super().__init__(stage, operation_day)
        self._seed, self._capacity = seed, 0
        self._seen: Numbers | None = None
        self.chosen: list[InspectionChoice] = []

    def compute_capacity(self, rows: Numbers, operation: str | None) -> float:  # noqa: ARG002
        """One more than the capacity: with the lots of `choose` never fewer than it, and the last ones are left out."""
        return float(min(self._capacity + 1, len(rows)))

    def choose_legacy(self, draws: Draws, arrivals: SimulatedDay, capacity: int) -> list[InspectionChoice]:
        self._capacity = capacity
        signs = self.detect_signs(arrivals)
        self._seen = np.column_stack([signs, self._encode_categories(arrivals)])
        kept: list[InspectionChoice] = []
        full: dict[str, int] = {}
        for choice in self.choose(draws, arrivals, signs, self._seen):
            office = arrivals.columns["office"][choice.row]
            if full.get(office, 0) < capacity and not arrivals.tipped[choice.row]:
                full[office] = full.get(office, 0) + 1
                kept.append(choice)
        return kept

    def get_operation(self, since_start: int) -> str | None:
        return self._get_operation(since_start)

    def inspect(self, draws: Draws, arrivals: SimulatedDay) -> list[Outcome]:  # noqa: ARG002
        outcomes = []
        for choice in self.chosen:
            name = arrivals.columns["consignment_id"][choice.row]
            reported = self._openings.inspect(create_generator(self._seed, name), arrivals, choice)
            if self._seen is not None:
                self._champion.record_outcomes(self._seen[choice.row], reported)
            outcomes += reported
        self._seen = None
        return outcomes


class TabularEnvironment:
    """Tables of the past: whatever is chosen, the same consignments come.

    Of a consignment that the outcome table has rows of, these rows are what its opening yields; of another one the
    truth says what is inside, and the simulated world's offices and laboratory how long it takes.

    Parameters
    ----------
    tables : Tables
        Of a consignment with several versions the last one of the round in which it first came is replayed: it is
        what was there to decide on when the list was drawn up.
    truth : DataFrame
    seed : int
    round_days : int
        Days between two lists.
    share : float, optional
        Capacity of each office as a share of all that arrived in the round, in place of a number.
    """

    def __init__(
        self,
        tables: Tables,
        truth: pd.DataFrame,
        *,
        seed: int,
        round_days: int = 1,
        share: float | None = None,
    ) -> None:
        self._share = share
        frame = _select_versions(tables.consignments, round_days)
        frame = frame.drop(columns=["sequence", "cancelled_sequence"], errors="ignore")
        received = get_time_column_us(frame, "received_at")
        order = np.lexsort([frame["consignment_id"].to_numpy(), received])
        self._frame = frame.iloc[order].reset_index(drop=True)
        day = received[order] // US_PER_DAY
        self.start_day, self.round_days, self._seed = int(day[0]), round_days, seed % 2**63
        self.rounds = int(day[-1] - day[0]) // round_days + 1
        first_days = day[0] + round_days * np.arange(self.rounds + 1)
        self._ends = np.searchsorted(day, first_days)
        held = truth.drop_duplicates("consignment_id").set_index("consignment_id")
        self._truth = held.reindex(self._frame["consignment_id"])
        if self._truth["result"].isna().any():
            raise BadInput(
                "the truth leaves consignments out",
                where="truth",
                got=f"{int(self._truth['result'].isna().sum()):,} consignments without one",
                expected="a row for every consignment",
            )
        self._alerts = [] if tables.alerts is None else to_alerts(tables.alerts)
        self._recorded: dict[str, list[Outcome]] = {}
        for outcome in [] if tables.outcomes is None else to_outcomes(tables.outcomes):
            self._recorded.setdefault(outcome.consignment_id, []).append(outcome)
        self._stage = SimulationContext.build(load_parameters(), load_parameters().get_preset("enriched"), 1)
        self._openings = InspectionSimulator(self._stage)

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Let a round's consignments come."""
        self._rows = slice(int(self._ends[number]), int(self._ends[number + 1]))
        self._number, self._now = number, self._frame.iloc[self._rows]
        self._names = self._now["consignment_id"].tolist()
        begins, ends = (
            to_datetime((self.start_day + at * self.round_days) * US_PER_DAY) for at in (number, number + 1)
        )
        first = datetime.min.replace(tzinfo=begins.tzinfo) if number == 0 else begins
        return self._now, [alert for alert in self._alerts if first <= alert.issued_at < ends]

    def flag_intelligence(self) -> Bools:
        """Tell which of them intelligence had chosen: who else had a tip is not in the tables."""
        return np.array([self._get_selector(name) == "intelligence" for name in self._names], dtype=bool)

    screened_share = 0.0
    """No table holds pictures."""

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Give none."""
        return np.zeros(len(rows), dtype=bool)

    def get_truth(self) -> TrueResults:
        """Tell what is inside."""
        held = self._truth.iloc[self._rows]
        networks = held["network"] if "network" in held else pd.Series(None, index=held.index, dtype=object)
        return TrueResults(
            tuple(held["result"].tolist()),
            tuple(_text_or_none(network) for network in networks),
        )

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Give what the outcome table says was chosen; where that is more than the capacity, lots decide."""
        rows: dict[str, list[int]] = {}
        for row, (name, office) in enumerate(zip(self._names, list_offices(self._now), strict=True)):
            if self._get_selector(name) not in (None, "intelligence"):
                rows.setdefault(office, []).append(row)
        return [pick for mine in rows.values() for pick in self._draw_within_capacity(mine, capacity)]

    def _draw_within_capacity(self, rows: list[int], capacity: int) -> list[PolicyChoice]:
        kept = min(1.0, capacity / len(rows))
        if kept < 1.0:
            lots = RandomOrder(self._seed).compute_scores(NO_ROWS, [self._names[row] for row in rows])
            rows = sorted(rows[place] for place in np.argsort(lots)[:capacity].tolist())
        first = [self._recorded[self._names[row]][0] for row in rows]
        chances = [one.selection_probability for one in first]
        return [
            PolicyChoice(row, one.selected_by, None if chance is None else chance * kept)
            for row, one, chance in zip(rows, first, chances, strict=True)
        ]

    def compute_capacity(self, capacity: int) -> int:
        """Give the capacity of the round: always the same, or a share of what arrived."""
        return capacity if self._share is None else max(1, round(self._share * len(self._now)))

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Open what was chosen and what intelligence named."""
        tips = [
            PolicyChoice(int(row), "intelligence", None) for row in np.flatnonzero(self.flag_intelligence())
        ]
        arrivals = self._build_day()
        return [outcome for pick in [*tips, *picks] for outcome in self._inspect_one(pick, arrivals)]

    def _inspect_one(self, pick: PolicyChoice, arrivals: SimulatedDay) -> list[Outcome]:
        name = self._names[pick.row]
        chosen = {"selected_by": pick.selected_by, "selection_probability": pick.probability}
        recorded = self._recorded.get(name)
        if recorded is not None:
            return [msgspec.structs.replace(outcome, **chosen) for outcome in recorded]
        choice = InspectionChoice(pick.row, pick.selected_by, pick.probability)
        made = self._openings.inspect(create_generator(self._seed, name), arrivals, choice)
        held = self._truth.iloc[self._rows.start + pick.row]
        inside = {part: _text_or_none(held.get(part)) for part in ("substance", "substance_family")}
        return [msgspec.structs.replace(each, **inside) if each.substance else each for each in made]

    def _get_selector(self, name: str) -> str | None:
        recorded = self._recorded.get(name)
        return None if recorded is None else recorded[0].selected_by

    def _build_day(self) -> SimulatedDay:
        """Give the round as the simulated offices take it: of the goods only what decides how an opening goes."""
        stage, count = self._stage, len(self._now)
        services = list(stage.world.services)
        channel = dict.fromkeys(services, "")
        channel |= {name: held.channel for name, held in stage.world.services.items()}
        usual = {"postal": services.index("small_packet"), "air_cargo": services.index("express")}
        given = zip(extract_texts(self._now, "service"), extract_texts(self._now, "channel"), strict=True)
        service = [services.index(name) if name in services else usual[own] for name, own in given]
        held = self._truth.iloc[self._rows]
        result = np.array([RESULTS.index(name) for name in held["result"]])
        powders, others = (
            int(np.flatnonzero(stage.catalogue.powder == powder)[0]) for powder in (True, False)
        )
        chapters = [code[:2] for code in extract_texts(self._now, "hs_code")]
        grams = held["quantity_g"] if "quantity_g" in held else pd.Series(np.nan, index=held.index)
        nothing, nowhere = np.zeros(count, dtype=np.int64), np.full(count, NO_INDEX)
        letter, goods = CONCEALMENTS.index("letter"), CONCEALMENTS.index("concealed_in_goods")
        shipments = Shipments(
            received_us=get_time_column_us(self._now, "received_at"),
            service=np.array(service, dtype=np.int64),
            departure=nothing,
            hub=nowhere,
            sender=nothing,
            consignee=nothing,
            named=nothing,
            ware=np.where(np.isin(chapters, POWDER_CHAPTERS), powders, others),
            hs_ware=nothing,
            wording=nothing,
            habit=nothing,
            kg=np.ones(count),
            usd=np.ones(count),
            gift=nothing,
            crypto=nothing,
            master=nowhere,
            result=result,
            substance=np.where(result == CLEAR, NO_INDEX, 0),
            grams=np.nan_to_num(grams.to_numpy(dtype=np.float64)),
            hidden=np.where(np.array(service) == services.index("letter"), letter, goods),
            network=nowhere,
        )
        columns = {
            name: self._now[name].astype(object).where(self._now[name].notna(), None).to_numpy()
            if name in self._now
            else np.full(count, None, dtype=object)
            for name in ("consignment_id", "office", *WATCHED_COLUMNS)
        }
        unseen = np.zeros(count, dtype=bool)
        return SimulatedDay(shipments, columns, self._number * self.round_days, unseen, unseen)


def _select_versions(consignments: pd.DataFrame, round_days: int) -> pd.DataFrame:
    """Keep one version of each consignment: the last of the round in which it first came."""
    if "sequence" in consignments:
        consignments = consignments.sort_values("sequence", kind="stable")
    day = get_time_column_us(consignments, "received_at") // US_PER_DAY
    number = pd.Series((day - day.min()) // round_days, index=consignments.index)
    first = number.groupby(consignments["consignment_id"]).transform("min")
    return consignments[number == first].drop_duplicates("consignment_id", keep="last")


def create_generator(seed: int, consignment_id: str) -> Draws:
    """Give the random numbers of one consignment's opening, whoever opens it and whatever came before."""
    digest = hashlib.blake2b(consignment_id.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def list_offices(frame: pd.DataFrame) -> tuple[str, ...]:
    """Give the office of each arrival; '' where unknown."""
    return tuple(extract_texts(frame, "office").tolist())


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
