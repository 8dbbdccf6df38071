"""Environments of a replay: given tables, which do not react, and a simulation whose networks react to seizures.

The result of an inspection, and when it is known, depends on the seed and the consignment alone. It does not depend on who
inspects it or on the other inspections. Consignments with intelligence are inspected beyond the capacity, under every policy.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from msgspec.structs import replace

from consignments.errors import BadInput
from consignments.records import Alert, Consignment, Outcome, Result
from consignments.tables import to_alerts, to_outcomes
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime
from consignments.versions import select_counting_rows
from features.batch import Tables
from models.fitting.baselines import RandomOrder
from training.data.data_hash import hash_tables
from training.evaluation.traffic import extract_texts
from training.policy_replay.observed_history import NO_ROWS
from training.simulation.inspection_outcomes import InspectionChoice
from training.simulation.operation import Simulation, concatenate_days
from training.simulation.parameters import SimulationParameters, check_size, load_parameters
from training.simulation.shipments import Draws, Flags, Numbers

LEGACY_STREAM = 77
"""Stream of random numbers of the simulated previous operation."""
INSPECTED_AFTER = timedelta(days=2)
"""Time from the advance data to the inspection, if only tables are given (assumed)."""


class TrueResults(NamedTuple):
    """True results of a round's arrivals, and kinds of network; for evaluation, and for the oracle."""

    results: tuple[Result, ...]
    networks: tuple[str | None, ...]


@dataclass(frozen=True)
class ReplayedWorld:
    """A world that is replayed: the same environment again for every policy, under a seed."""

    create: Callable[[int], "ReplayEnvironment"]  # from a seed
    days: int
    first_day: int  # UTC day
    header: dict[str, Any]  # description as JSON values; other values mean another world
    events: list[tuple[str, int]] = field(default_factory=list)  # with the day from its start


def describe_simulation(path: Path | None, *, days: int, per_day: int, prevalence: str) -> ReplayedWorld:
    """Describe a simulated world whose networks react, by a TOML file of its parameters or the built-in ones."""
    check_size(days, per_day)
    world = load_parameters(path, prevalence)
    trends, operation_day = world.events, world.compute_operation_day(days, world.get_preset(prevalence))
    events = [
        ("class control; a substitute appears", trends.class_control.day),
        ("a substance that is on no list", trends.new_substance.day),
        ("producers move to another country", trends.origin_shift.day),
        ("a cover is no longer used", trends.cover_shift.day),
        ("advance data fail", trends.data_outage.day),
        ("operation with doubled capacity", operation_day),
    ]
    size: dict[str, Any] = {"days": days, "per_day": per_day, "prevalence": prevalence}
    return ReplayedWorld(
        partial(SimulatedEnvironment, world, **size),
        days,
        int(np.datetime64(world.start, "D").astype(np.int64)),
        {"world": world, **size},
        sorted(((name, day) for name, day in events if day < days), key=lambda event: event[1]),
    )


def describe_tables(
    tables: Tables, truth: pd.DataFrame, *, round_days: int = 1, share: float | None = None
) -> ReplayedWorld:
    """Describe tables of the past; a `share` of the arrivals of each round is then the capacity of each office."""
    received = get_time_column_us(tables.consignments, "received_at") // US_PER_DAY
    parts = {
        "consignments": tables.consignments,
        "truth": truth,
        "outcomes": tables.outcomes,
        "alerts": tables.alerts,
    }
    how = {"round_days": round_days, "share": share}
    return ReplayedWorld(
        partial(TableEnvironment, tables, truth, round_days=round_days, share=share),
        int(received.max() - received.min()) + 1,
        int(received.min()),
        {"data_sha256": hash_tables(parts), **how},
    )


class SimulatedEnvironment:
    """A simulation whose networks react to the seizures of this policy."""

    round_days = 1

    def __init__(
        self, world: SimulationParameters, seed: int, *, days: int, per_day: int, prevalence: str
    ) -> None:
        self._simulation = Simulation(world, days=days, per_day=per_day, prevalence=prevalence, seed=seed)
        self._seed = seed % 2**63
        self._seen: Numbers | None = None
        self._world, self.rounds = world, days
        self.start_day = int(np.datetime64(world.start, "D").astype(np.int64))
        self.screened_share = float(world.inspection.xray_share)

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Return the declared data of a day's consignments, and the alerts of the day."""
        alerts = self._simulation.issue_alerts(number)
        self.arrivals = self._simulation.simulate_arrivals(number)
        return concatenate_days(Consignment, [self.arrivals.columns]), alerts

    def flag_intelligence(self) -> Flags:
        """Return which of them have intelligence from partners."""
        return self.arrivals.tipped

    def take_pictures(self, rows: Numbers) -> Flags:
        """Return which of some consignments look suspicious on an X-ray image."""
        return self.arrivals.pictured[rows]

    def get_truth(self) -> TrueResults:
        """Return the true results, and the kinds of network."""
        held = self._simulation.build_truth(self.arrivals)
        kinds = [label and label.partition("-")[0] for label in held["network"].tolist()]
        return TrueResults(tuple(held["result"].tolist()), tuple(kinds))

    def choose_legacy(self, capacity: int) -> list[InspectionChoice]:
        """Return the choices of rules and officers of the simulated operation; those beyond the capacity are dropped."""
        targeting, arrivals = self._simulation.inspections, self.arrivals
        draws = np.random.default_rng([self._seed, LEGACY_STREAM, arrivals.since_start])
        signs = targeting.detect_signs(arrivals)
        self._seen = targeting.encode_inputs(arrivals, signs)
        kept: list[InspectionChoice] = []
        full: Counter[str] = Counter()
        for choice in targeting.choose(draws, arrivals, signs, self._seen, capacity):
            office = arrivals.columns["office"][choice.row]
            if full[office] < capacity and not arrivals.tipped[choice.row]:
                full[office] += 1
                kept.append(choice)
        return kept

    def compute_capacity(self, capacity: int) -> int:
        """Compute the capacity of the day, which is higher during the operation."""
        on = self._simulation.inspections.get_operation(self.arrivals.since_start) is not None
        return round(capacity * self._world.operation.capacity) if on else capacity

    def inspect(self, choices: Sequence[InspectionChoice]) -> list[Outcome]:
        """Inspect, and update what the networks notice."""
        targeting, arrivals = self._simulation.inspections, self.arrivals
        chosen = [*targeting.list_intelligence(arrivals), *choices]
        draws_of = partial(create_generator, self._seed)
        outcomes = targeting.inspect_chosen(draws_of, arrivals, chosen, self._seen)
        self._seen = None
        self._simulation.react(arrivals.since_start)
        return outcomes


class TableEnvironment:
    """Tables of the past: the same consignments arrive under every policy, without pictures.

    If the outcome table has rows of a consignment, they are the result of its inspection. Otherwise the truth gives the
    result, and the simulated world what inspections miss and the delay of the laboratory. Of several versions of a consignment, the last
    one of the round in which it first arrived is replayed: the version that existed when the list was made.
    """

    screened_share = 0.0

    def __init__(
        self,
        tables: Tables,
        truth: pd.DataFrame,
        seed: int,
        *,
        round_days: int = 1,
        share: float | None = None,
    ) -> None:
        self._share, self.round_days, self._seed = share, round_days, seed % 2**63
        frame = _select_versions(tables.consignments, round_days)
        frame = frame.drop(columns=["sequence", "cancelled_sequence"], errors="ignore")
        received = get_time_column_us(frame, "received_at")
        order = np.lexsort([frame["consignment_id"].to_numpy(), received])
        self._frame = frame.iloc[order].reset_index(drop=True)
        day = received[order] // US_PER_DAY
        self.start_day = int(day[0])
        self.rounds = int(day[-1] - day[0]) // round_days + 1
        self._ends = np.searchsorted(day, day[0] + round_days * np.arange(self.rounds + 1))
        held = truth.drop_duplicates("consignment_id").set_index("consignment_id")
        self._truth = held.reindex(self._frame["consignment_id"]).reindex(columns=["result", "network"])
        lost = int(self._truth["result"].isna().sum())
        if lost:
            raise BadInput(
                "the truth does not cover all consignments",
                where="truth",
                got=f"{lost:,} consignments without a true result",
                expected="a row for every consignment",
            )
        self._alerts = [] if tables.alerts is None else to_alerts(tables.alerts)
        self._recorded: dict[str, list[Outcome]] = {}
        for outcome in [] if tables.outcomes is None else to_outcomes(tables.outcomes):
            self._recorded.setdefault(outcome.consignment_id, []).append(outcome)
        self._world = load_parameters()

    def receive_round(self, number: int) -> tuple[pd.DataFrame, list[Alert]]:
        """Return the declared data of a round's consignments, and the alerts of the round."""
        rows = slice(int(self._ends[number]), int(self._ends[number + 1]))
        self._now, self._held = self._frame.iloc[rows], self._truth.iloc[rows]
        self._names = self._now["consignment_id"].tolist()
        begins, ends = (
            to_datetime((self.start_day + at * self.round_days) * US_PER_DAY) for at in (number, number + 1)
        )
        first = datetime.min.replace(tzinfo=begins.tzinfo) if number == 0 else begins
        return self._now, [alert for alert in self._alerts if first <= alert.issued_at < ends]

    def flag_intelligence(self) -> Flags:
        """Return which of them were chosen by intelligence; the tables do not show others with intelligence."""
        return np.array([self._get_selector(name) == "intelligence" for name in self._names], dtype=bool)

    def take_pictures(self, rows: Numbers) -> Flags:
        """Return no suspicious image."""
        return np.zeros(len(rows), dtype=bool)

    def get_truth(self) -> TrueResults:
        """Return the true results."""
        networks = self._held["network"].astype(object).where(self._held["network"].notna(), None)
        return TrueResults(tuple(self._held["result"]), tuple(networks))

    def choose_legacy(self, capacity: int) -> list[InspectionChoice]:
        """Return the choices in the outcome table; if they exceed the capacity, a random selection of them."""
        rows: dict[str, list[int]] = {}
        for row, (name, office) in enumerate(
            zip(self._names, extract_texts(self._now, "office"), strict=True)
        ):
            if self._get_selector(name) not in (None, "intelligence"):
                rows.setdefault(office, []).append(row)
        draw = RandomOrder(self._seed).compute_scores(NO_ROWS, self._names)
        choices = []
        for mine in rows.values():
            kept = min(1.0, capacity / len(mine))
            for row in sorted(sorted(mine, key=draw.__getitem__)[:capacity]):
                first = self._recorded[self._names[row]][0]
                chance = first.selection_probability
                chance = None if chance is None else chance * kept
                choices.append(InspectionChoice(row, first.selected_by, chance))
        return choices

    def compute_capacity(self, capacity: int) -> int:
        """Return the capacity of the round: constant, or a share of the arrivals."""
        return capacity if self._share is None else max(1, round(self._share * len(self._now)))

    def inspect(self, choices: Sequence[InspectionChoice]) -> list[Outcome]:
        """Inspect the chosen consignments and those with intelligence."""
        tipped = np.flatnonzero(self.flag_intelligence()).tolist()
        tips = [InspectionChoice(row, "intelligence") for row in tipped]
        return [outcome for choice in [*tips, *choices] for outcome in self._inspect_one(choice)]

    def _inspect_one(self, choice: InspectionChoice) -> list[Outcome]:
        name, held = self._names[choice.row], self._held.iloc[choice.row]
        chosen = {"selected_by": choice.selected_by, "selection_probability": choice.probability}
        recorded = self._recorded.get(name)
        if recorded is not None:
            return [replace(outcome, **chosen) for outcome in recorded]
        draws, policy, laboratory = (
            create_generator(self._seed, name),
            self._world.inspection,
            self._world.laboratory,
        )
        outcome = Outcome(name, choice.selected_by, "missed", choice.probability)
        if draws.random() < policy.missed:
            return [outcome]
        found = draws.random() < policy.detection.concealed_in_goods
        result: Result = held["result"] if found else "clear"
        days = draws.lognormal(*laboratory.log_days) if result != "clear" else 1.0
        inspected_at = self._now["received_at"].iloc[choice.row].to_pydatetime() + INSPECTED_AFTER
        known_at = inspected_at + timedelta(days=float(days))
        return [
            replace(outcome, status="inspected", inspected_at=inspected_at, result=result, known_at=known_at)
        ]

    def _get_selector(self, name: str) -> str | None:
        recorded = self._recorded.get(name)
        return None if recorded is None else recorded[0].selected_by


ReplayEnvironment = SimulatedEnvironment | TableEnvironment
"""It runs round by round: each round is received once, in order, and at its end lists are made."""


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
