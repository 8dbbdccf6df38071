"""Replay of the full loop for one policy: score the arrivals, select, inspect, receive results, retrain, next day.

All policies start from the same past: a warm-up under the previous operation, with its results. Example: the arrivals of
day 63 are scored by the model trained at the midnight before, on the results known by then. Lists are made at the end
of the day. An inspection on day 65 with a result on day 80 is used by the model trained on day 84.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from consignments.records import Alert, Outcome, Target
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime
from features.fitted import FittedParameters
from features.spec import Spec
from models.arrays import Bools, Floats, Ints, Rows
from models.risk_model import RiskModel
from training.config import TrainConfig
from training.data.training_set import ObservedTables, build_data_set, is_positive
from training.evaluation.traffic import extract_texts
from training.fitting.fit import Recipe, calibrate_final, fit_evaluation, fit_recipe
from training.policy_replay.environments import SimulatedEnvironment, TrueResults
from training.policy_replay.observed_history import (
    NO_ROWS,
    ObservedHistory,
    ObservedState,
    select_final_results,
)
from training.policy_replay.policies import Policy, SelectionContext, check_choices
from training.simulation.inspection_outcomes import InspectionChoice

SCREENING_SEED_OFFSET = 1_000_003  # added to the seed, for draws that are independent of inspections
Trainer = Callable[[ObservedState, TrainConfig, Target], tuple[FittedParameters, RiskModel]]


class ReplaySettings(msgspec.Struct, frozen=True):
    """Settings of a replay."""

    capacity: int  # inspections for each office and day
    explore: float = 0.1  # share of the capacity spent on exploration, by the policies that explore
    warm_up_days: int = 56
    retrain_days: int = 21
    target: Target = "nps"
    background: float = 0.05  # share of the uninspected arrivals whose features are kept for training


def train_model(
    known: ObservedState, config: TrainConfig, target: Target
) -> tuple[FittedParameters, RiskModel]:
    """Train as in operation, with propensity weights, background negatives and calibration, without a test period."""
    observed = ObservedTables(known.consignments, known.outcomes, known.as_of, known.offered)
    data = build_data_set(observed, target, config, held_out="validation")
    everything = build_data_set(observed, target, config, held_out="nothing")
    recipe = Recipe(known.features, config)
    evaluated = fit_evaluation(recipe, data, everything.keep)
    later = np.zeros(len(everything.part), dtype=bool)
    later[evaluated.unseen.rows] = True
    final = calibrate_final(fit_recipe(recipe, everything, later), [evaluated.unseen])
    return final.fitted, final.model


class PolicyReplay:
    """Replay of one policy in one new environment; the trainer returns the model for a state of knowledge."""

    def __init__(
        self,
        world: SimulatedEnvironment,
        policy: Policy,
        settings: ReplaySettings,
        config: TrainConfig,
        seed: int,
        *,
        trainer: Trainer = train_model,
    ) -> None:
        self._world, self._trainer = world, trainer
        self._policy, self._settings, self._config, self._seed = policy, settings, config, seed
        self._knowledge: ObservedHistory | None = None
        if policy.sees in ("features", "model"):
            self._knowledge = ObservedHistory(config.features, background=settings.background, seed=seed)
        self._model: RiskModel | None = None
        self._trained_on = -1
        self._openings, self._positives = list[dict[str, Any]](), list[dict[str, Any]]()
        self._outcomes = list[Outcome]()

    def run(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Run the world; returns a table with a row for each inspected consignment, and one for each positive one."""
        for number in range(self._world.days):
            self._run_day(self._begin_day(number))
        results = select_final_results(self._outcomes)
        openings, positives = pd.DataFrame(self._openings), pd.DataFrame(self._positives)
        for frame in (openings, positives) if len(positives) else (openings,):
            stood = frame["consignment_id"].map(results)
            frame["result"], frame["found"] = stood.astype("str"), is_positive(stood, self._settings.target)
        return openings, positives

    def _run_day(self, now: "_ReplayDay") -> None:
        """Score the arrivals of a day, select, inspect, and schedule what becomes known."""
        X, scores = NO_ROWS, np.empty(0)
        if self._policy.sees == "model" and not now.warming:
            self._retrain(now.day)
        if self._knowledge is not None:
            kept = now.tips | self._knowledge.is_background(now.ids)
            wanted = kept | now.mask_rows(now.legacy) if now.warming else np.ones(len(now.ids), dtype=bool)
            X = self._knowledge.add_arrivals(now.frame, now.alerts, wanted)
            if self._model is not None:
                scores = self._model.score(X, now.frame["channel"].tolist())
        chosen = now.legacy if now.warming else self._choose(now, X, scores)
        outcomes = self._inspect(now, chosen)
        if self._knowledge is not None:
            self._knowledge.keep_features(np.flatnonzero(kept | now.mask_rows(chosen)).tolist())
            self._knowledge.schedule_outcomes(outcomes)
        self._record(now, chosen, outcomes)

    def _begin_day(self, number: int) -> "_ReplayDay":
        frame, alerts = self._world.receive_day(number)
        warming = number < self._settings.warm_up_days
        capacity = self._world.compute_capacity(self._settings.capacity)
        asked = warming or self._policy.sees == "legacy"
        return _ReplayDay(
            day=self._world.start_day + number,
            warming=warming,
            capacity=capacity,
            frame=frame,
            alerts=alerts,
            tips=self._world.arrivals.tipped,
            truth=self._world.get_truth(),
            legacy=self._world.choose_legacy(capacity) if asked else [],
            ids=tuple(frame["consignment_id"].tolist()),
            offices=tuple(extract_texts(frame, "office").tolist()),
        )

    def _retrain(self, day: int) -> None:
        """Train if the schedule requires it."""
        assert self._knowledge is not None
        first = self._world.start_day + self._settings.warm_up_days
        due = first + (day - first) // self._settings.retrain_days * self._settings.retrain_days
        if due == self._trained_on:
            return
        known = self._knowledge.get_state(to_datetime(due * US_PER_DAY))
        fitted, self._model = self._trainer(known, self._config, self._settings.target)
        self._knowledge.set_fitted(fitted)
        self._trained_on = due

    def _choose(self, now: "_ReplayDay", X: Rows, scores: Floats) -> list[InspectionChoice]:
        """Call the policy with its declared input only, and check the capacity."""
        rows = np.flatnonzero(~now.tips)
        offer = SelectionContext(
            consignment_ids=now.ids,
            offices=now.offices,
            day=now.day,
            capacity=now.capacity,
            explore=self._settings.explore,
            seed=self._seed,
            X=X,
            spec=Spec([]) if self._knowledge is None else self._knowledge.spec,
            scores=scores,
            model=self._model,
            suspect=np.zeros(len(now.ids), dtype=bool),
        ).select_rows(rows)
        if self._policy.sees in ("features", "model"):
            offer = self._screen(offer, rows)
        more: tuple[Any, ...] = ()
        if self._policy.sees == "truth":
            more = (tuple(now.truth.results[row] for row in rows.tolist()),)
        elif self._policy.sees == "legacy":
            place = {row: at for at, row in enumerate(rows.tolist())}
            more = ([pick._replace(row=place[pick.row]) for pick in now.legacy],)
        picks = self._policy.choose(offer, *more)
        check_choices(picks, offer, self._policy.name)
        known = offer.scores.tolist() or [None] * len(rows)
        return sorted(pick._replace(row=int(rows[pick.row]), score=known[pick.row]) for pick in picks)

    def _screen(self, offer: SelectionContext, rows: Ints) -> SelectionContext:
        """Apply X-ray to the share that each office can screen, chosen by the policy itself, and add the suspicious images."""
        share, offices = self._world.screened_share, np.array(offer.offices, dtype=object)
        suspect = np.zeros(len(rows), dtype=bool)
        for office in sorted(set(offer.offices)) if share else ():
            mine = np.flatnonzero(offices == office)
            capacity, seed = max(1, round(share * len(mine))), offer.seed + SCREENING_SEED_OFFSET
            asked = replace(offer.select_rows(mine), capacity=capacity, seed=seed)
            picks = self._policy.choose(asked)
            check_choices(picks, asked, self._policy.name)
            screened = mine[[pick.row for pick in picks]]
            suspect[screened] = self._world.arrivals.pictured[rows[screened]]
        suspect.flags.writeable = False
        return replace(offer, suspect=suspect)

    def _inspect(self, now: "_ReplayDay", chosen: Sequence[InspectionChoice]) -> list[Outcome]:
        """Inspect, and set the selection time to when the list of the office could be made."""
        received = pd.Series(get_time_column_us(now.frame, "received_at"))
        last = received.groupby(np.array(now.offices, dtype=object)).transform("max").tolist()
        listed = {now.ids[one.row]: to_datetime(last[one.row]) for one in chosen}
        outcomes = self._world.inspect(chosen)
        return [clamp_times(outcome, listed.get(outcome.consignment_id)) for outcome in outcomes]

    def _record(self, now: "_ReplayDay", chosen: Sequence[InspectionChoice], outcomes: list[Outcome]) -> None:
        """Record the inspected and the positive consignments of a day."""
        self._outcomes += outcomes
        own = {one.row: one for one in chosen}
        tips = {row: InspectionChoice(row, "intelligence") for row in np.flatnonzero(now.tips).tolist()}
        for row, one in sorted((own | tips).items()):
            choice = {"selected_by": one.selected_by, "selection_probability": one.probability}
            facts = {"score": one.score, "within_capacity": row not in tips, "truth": now.truth.results[row]}
            self._openings.append(now.describe(row) | choice | facts)
        positives = np.flatnonzero(is_positive(pd.Series(now.truth.results), self._settings.target))
        for row in positives.tolist():
            seen = {"opened": row in own or row in tips, "within_capacity": row in own and row not in tips}
            self._positives.append(now.describe(row) | {"network": now.truth.networks[row] or ""} | seen)


@dataclass(frozen=True)
class _ReplayDay:
    """One day of the environment; policies receive only parts of it."""

    day: int  # UTC
    warming: bool
    capacity: int
    frame: pd.DataFrame
    alerts: list[Alert]
    tips: Bools
    truth: TrueResults
    legacy: list[InspectionChoice]
    ids: tuple[str, ...]
    offices: tuple[str, ...]

    def mask_rows(self, chosen: Sequence[InspectionChoice]) -> Bools:
        """Return a mask of the chosen rows."""
        mask = np.zeros(len(self.ids), dtype=bool)
        mask[[one.row for one in chosen]] = True
        return mask

    def describe(self, row: int) -> dict[str, Any]:
        """Return what both tables have of a consignment."""
        about = {"day": self.day, "consignment_id": self.ids[row], "office": self.offices[row]}
        return about | {"channel": self.frame["channel"].iloc[row], "warm_up": self.warming}


def clamp_times(outcome: Outcome, listed_at: datetime | None) -> Outcome:
    """Move all times of an outcome to after the list on which it was chosen."""
    if listed_at is None:
        return outcome
    inspected = None if outcome.inspected_at is None else max(outcome.inspected_at, listed_at)
    known = None if outcome.known_at is None else max(outcome.known_at, inspected or listed_at)
    return msgspec.structs.replace(outcome, selected_at=listed_at, inspected_at=inspected, known_at=known)
