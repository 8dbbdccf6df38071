"""Environments of a replay: given tables, which do not react, and a simulation whose networks react to seizures.

The result of an inspection, and when it is known, depends on the seed and the consignment alone. It does not depend on who
inspects it or on the other inspections. Consignments with intelligence are inspected beyond the capacity, under every policy.
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
from consignments.versions import select_counting_rows
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
"""Stream of random numbers of the simulated previous operation."""
POWDER_CHAPTERS = ("28", "29", "30", "33", "38")
"""HS chapters whose clean goods count as powders that are tested, if only tables are given (assumed)."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class TrueResults:
    """True results of a day's arrivals; for evaluation, and for the oracle.

    Attributes
    ----------
    results : tuple of Result, (n,)
    networks : tuple of str or None, (n,)
        Kind of trafficking network.
    """

    results: tuple[Result, ...]
    networks: tuple[str | None, ...]


class ReplayEnvironment(Protocol):
    """An environment that runs round by round; each round is received once, in order.

    Attributes
    ----------
    rounds : int
    start_day : int
        UTC day of the first arrivals.
    round_days : int
        Days of one round, at whose end lists are made.
    """

    rounds: int
    start_day: int
    round_days: int

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Return the declared data of a round's consignments, and the alerts of the round."""

    def flag_intelligence(self) -> Bools:
        """Return which of them have intelligence from partners."""

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Return which of some consignments look suspicious on an X-ray image."""

    @property
    def screened_share(self) -> float:
        """Share of its arrivals that an office can X-ray; 0 if it has no X-ray."""

    def get_truth(self) -> TrueResults:
        """Return the true results."""

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Return the choices of the previous operation; to be called at most once a round."""

    def compute_capacity(self, capacity: int) -> int:
        """Compute the capacity of each office in this round from the usual one."""

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Inspect the chosen consignments and those with intelligence, and return all outcomes they will ever have."""


class SimulatedEnvironment:
    """A simulation whose networks react to the seizures of this policy.

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
        """Return the declared data of a day's consignments, and the alerts of the day."""
        alerts = self._simulation.issue_alerts(number)
        self._arrivals = self._simulation.simulate_arrivals(number)
        return concatenate_days(Consignment, [self._arrivals.columns]), alerts

    def flag_intelligence(self) -> Bools:
        """Return which of them have intelligence from partners."""
        return self._arrivals.tipped

    @property
    def consignee_numbers(self) -> Numbers:
        """Numbers of the consignees of the day's arrivals, by which a world is divided among administrations."""
        return self._arrivals.shipments.consignee

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Return which of some consignments look suspicious on an X-ray image."""
        return self._arrivals.pictured[rows]

    @property
    def screened_share(self) -> float:
        """Share of its arrivals that an office can X-ray."""
        return self._simulation.stage.world.inspection.xray_share

    def get_truth(self) -> TrueResults:
        """Return the true results, and the kinds of network."""
        held = self._simulation.build_truth(self._arrivals)
        kinds = [label and label.partition("-")[0] for label in held["network"].tolist()]
        return TrueResults(tuple(held["result"].tolist()), tuple(kinds))

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Return the choices of rules and officers of the simulated operation."""
        draws = np.random.default_rng([self._seed, LEGACY_STREAM, self._arrivals.since_start])
        return [
            PolicyChoice(choice.row, choice.selected_by, choice.probability)
            for choice in self._desk.choose_legacy(draws, self._arrivals, capacity)
        ]

    def compute_capacity(self, capacity: int) -> int:
        """Compute the capacity of the day, which is higher during the operation."""
        on = self._desk.get_operation(self._arrivals.since_start) is not None
        return round(capacity * self._simulation.stage.world.operation.capacity) if on else capacity

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Inspect, and update what the networks notice."""
        operation = self._desk.get_operation(self._arrivals.since_start)
        chosen = [InspectionChoice(pick.row, pick.selected_by, pick.probability, operation) for pick in picks]
        self._desk.chosen = [*self._desk.list_intelligence(self._arrivals), *chosen]
        return self._simulation.inspect(self._arrivals)


class _ReplayTargeting(TargetingCentre):
    """Targeting that inspects given choices, or chooses as the simulated operation does, under a capacity."""

    def __init__(self, stage: SimulationContext, operation_day: int, seed: int) -> None:
        super().__init__(stage, operation_day)
        self._seed, self._capacity = seed, 0
        self._seen: Numbers | None = None
        self.chosen: list[InspectionChoice] = []

    def compute_capacity(self, rows: Numbers, operation: str | None) -> float:  # noqa: ARG002
        """Return the capacity plus one: with the random selection in `choose` never too few, and the last ones are dropped."""
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
    """Tables of the past: the same consignments arrive under every policy.

    If the outcome table has rows of a consignment, they are the result of its inspection. Otherwise the truth gives the
    result, and the offices and laboratory of the simulated world give the delays.

    Parameters
    ----------
    tables : Tables
        If a consignment has several versions, the last one of the round in which it first arrived is replayed: the version
        that existed when the list was made.
    truth : DataFrame
    seed : int
    round_days : int
        Days between two lists.
    share : float, optional
        Capacity of each office as a share of all arrivals of the round, instead of a number.
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
                "the truth does not cover all consignments",
                where="truth",
                got=f"{int(self._truth['result'].isna().sum()):,} consignments without a true result",
                expected="a row for every consignment",
            )
        self._alerts = [] if tables.alerts is None else to_alerts(tables.alerts)
        self._recorded: dict[str, list[Outcome]] = {}
        for outcome in [] if tables.outcomes is None else to_outcomes(tables.outcomes):
            self._recorded.setdefault(outcome.consignment_id, []).append(outcome)
        self._stage = SimulationContext.build(load_parameters(), load_parameters().get_preset("enriched"), 1)
        self._openings = InspectionSimulator(self._stage)

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Return the declared data of a round's consignments, and the alerts of the round."""
        self._rows = slice(int(self._ends[number]), int(self._ends[number + 1]))
        self._number, self._now = number, self._frame.iloc[self._rows]
        self._names = self._now["consignment_id"].tolist()
        begins, ends = (
            to_datetime((self.start_day + at * self.round_days) * US_PER_DAY) for at in (number, number + 1)
        )
        first = datetime.min.replace(tzinfo=begins.tzinfo) if number == 0 else begins
        return self._now, [alert for alert in self._alerts if first <= alert.issued_at < ends]

    def flag_intelligence(self) -> Bools:
        """Return which of them were chosen by intelligence; the tables do not show others with intelligence."""
        return np.array([self._get_selector(name) == "intelligence" for name in self._names], dtype=bool)

    screened_share = 0.0
    """Tables contain no images."""

    def take_pictures(self, rows: NDArray[np.int64]) -> Bools:
        """Return no suspicious image."""
        return np.zeros(len(rows), dtype=bool)

    def get_truth(self) -> TrueResults:
        """Return the true results."""
        held = self._truth.iloc[self._rows]
        networks = held["network"] if "network" in held else pd.Series(None, index=held.index, dtype=object)
        return TrueResults(
            tuple(held["result"].tolist()),
            tuple(_text_or_none(network) for network in networks),
        )

    def choose_legacy(self, capacity: int) -> list[PolicyChoice]:
        """Return the choices in the outcome table; if they exceed the capacity, a random selection of them."""
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
        """Return the capacity of the round: constant, or a share of the arrivals."""
        return capacity if self._share is None else max(1, round(self._share * len(self._now)))

    def inspect(self, picks: Sequence[PolicyChoice]) -> list[Outcome]:
        """Inspect the chosen consignments and those with intelligence."""
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
        """Build the round in the form of the simulated offices; goods have only the values that matter for an inspection."""
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
    """Select one version of each consignment: the one that counts at the end of the round in which it first arrived."""
    if "sequence" in consignments:
        consignments = consignments.sort_values("sequence", kind="stable")
    day = get_time_column_us(consignments, "received_at") // US_PER_DAY
    number = pd.Series((day - day.min()) // round_days, index=consignments.index)
    first = number.groupby(consignments["consignment_id"]).transform("min")
    early = consignments[number == first]
    return early[select_counting_rows(early)].drop_duplicates("consignment_id", keep="last")


def create_generator(seed: int, consignment_id: str) -> Draws:
    """Create the random generator of one consignment's inspection, independent of the policy and of earlier ones."""
    digest = hashlib.blake2b(consignment_id.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def list_offices(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the office of each arrival; '' if unknown."""
    return tuple(extract_texts(frame, "office").tolist())


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None
