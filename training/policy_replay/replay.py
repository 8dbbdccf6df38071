"""Replay of the full loop for one policy: score the arrivals, select, inspect, receive results, retrain, next day.

All policies start from the same past: a warm-up under the previous operation, with its results. Example: the arrivals of
day 63 are scored by the model trained at the midnight before, on the results known by then. Lists are made at the end
of the day. An inspection on day 65 with a result on day 80 is used by the model trained on day 84.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.records import Alert, Outcome, Target
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime
from features.fitted import FittedParameters
from features.spec import Spec
from models.risk_model import RiskModel
from training.config import TrainConfig
from training.data.training_set import ObservedTables, build_data_set, is_positive
from training.fitting.fit import FitTask, fit_evaluation, fit_final, score_validation
from training.policy_replay.checkpoints import CheckpointFile, RecordedChoice, ReplayWeek
from training.policy_replay.environments import ReplayEnvironment, TrueResults, list_offices
from training.policy_replay.observed_history import (
    NO_ROWS,
    ObservedHistory,
    ObservedState,
    select_final_results,
)
from training.policy_replay.policies import Policy, PolicyChoice, SelectionContext, check_choices

DAYS_PER_WEEK = 7
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
NO_SCORES = np.empty(0)
SCREENING_SEED_OFFSET = 1_000_003
"""Added to the seed, so that the random selections for X-ray and for inspection are independent."""
INSPECTION_COLUMNS = (
    "round",
    "day",
    "consignment_id",
    "office",
    "channel",
    "selected_by",
    "selection_probability",
    "score",
    "within_capacity",
    "warm_up",
    "truth",
)
POSITIVE_COLUMNS = (
    "round",
    "day",
    "consignment_id",
    "office",
    "channel",
    "network",
    "opened",
    "within_capacity",
    "warm_up",
)
"""Columns of the tables; `result` and `found` are added at the end."""
Trainer = Callable[[ObservedState, TrainConfig, Target], tuple[FittedParameters, RiskModel]]


class ReplaySettings(msgspec.Struct, frozen=True):
    """Settings of a replay.

    Attributes
    ----------
    capacity : int
        Inspections for each office in each round (one day by default).
    explore : float
        Share of the capacity spent on exploration, by the policies that explore.
    warm_up_days, retrain_days : int
        Length of the common warm-up, and days from one training to the next.
    target : str
    background : float
        Share of the uninspected arrivals whose features are kept for training.
    """

    capacity: int
    explore: float = 0.1
    warm_up_days: int = 56
    retrain_days: int = 21
    target: Target = "nps"
    background: float = 0.05


def train_model(
    known: ObservedState, config: TrainConfig, target: Target
) -> tuple[FittedParameters, RiskModel]:
    """Train as in operation, with propensity weights, background negatives and calibration, without a test period."""
    observed = ObservedTables(known.consignments, known.outcomes, known.as_of, known.offered)
    data = build_data_set(observed, target, config, held_out="validation")
    everything = build_data_set(observed, target, config, held_out="nothing")
    evaluated = fit_evaluation(FitTask(data, known.features, config), also=everything.keep)
    unseen = score_validation(evaluated, data, config.model.seed)
    final = fit_final(FitTask(everything, known.features, config), evaluated.matrix, [unseen])
    return final.grown.fitted, final.model


@dataclass(frozen=True)
class ReplayTask:
    """Policy to replay, with its settings.

    Attributes
    ----------
    policy : Policy
    settings : ReplaySettings
    config : TrainConfig
        For the models inside the loop.
    seed : int
        For random draws and background.
    """

    policy: Policy
    settings: ReplaySettings
    config: TrainConfig
    seed: int


class PolicyReplay:
    """Replay of one policy in one environment.

    Parameters
    ----------
    world : ReplayEnvironment
        New: it is run from its first round.
    task : ReplayTask
    journal : CheckpointFile
    trainer : callable
        Returns the fitted parameters and the model for a state of knowledge.
    """

    def __init__(
        self,
        world: ReplayEnvironment,
        task: ReplayTask,
        journal: CheckpointFile,
        *,
        trainer: Trainer = train_model,
    ) -> None:
        self._world, self._journal, self._trainer = world, journal, trainer
        self._policy, self._settings = task.policy, task.settings
        self._config, self._seed = task.config, task.seed
        self._knowledge: ObservedHistory | None = None
        if self._policy.sees in ("features", "model"):
            self._knowledge = ObservedHistory(
                self._config.features, background=self._settings.background, seed=self._seed
            )
        self._model: RiskModel | None = None
        self._trained_on = -1
        self._account = _ResultRecorder(self._settings.target)

    def run(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Run the environment, continuing from the checkpoints, and write the tables.

        Returns
        -------
        openings, positives : DataFrame
            One row for each inspected consignment, and one for each positive one.
        """
        past = self._journal.read_weeks()
        rounds_a_week = max(1, DAYS_PER_WEEK // self._world.round_days)
        week: list[list[RecordedChoice]] = []
        for number in range(self._world.rounds):
            at, place = divmod(number, rounds_a_week)
            decided = past[at].rounds[place] if at < len(past) else None
            week.append(self._run_round(number, decided))
            if len(week) == rounds_a_week or number == self._world.rounds - 1:
                if at >= len(past):
                    self._journal.write_week(ReplayWeek(at, week))
                week = []
        tables = self._account.build_tables()
        self._journal.write_tables(*tables)
        return tables

    def _run_round(self, number: int, decided: list[RecordedChoice] | None) -> list[RecordedChoice]:
        """Run one round; if it was decided in a checkpoint, repeat the decision."""
        now = self._begin_round(number)
        if decided is None and now.warming:
            decided = now.record_choices(now.legacy, NO_SCORES)
        if decided is None and self._policy.learns:
            self._retrain(now.day)
        kept = self._mask_always_kept(now)
        X, scores = self._read_features(now, decided, kept)
        if decided is None:
            decided = now.record_choices(self._choose(now, X, scores), scores)
        outcomes = self._inspect(now, decided)
        if self._knowledge is not None:
            self._knowledge.keep_features(np.flatnonzero(kept | now.mask_rows(decided)).tolist())
            self._knowledge.schedule_outcomes(outcomes)
        self._account.add(now, decided, outcomes)
        return decided

    def _begin_round(self, number: int) -> "_ReplayRound":
        frame, alerts = self._world.receive_round(number)
        since_start = number * self._world.round_days
        warming = since_start < self._settings.warm_up_days
        capacity = self._world.compute_capacity(self._settings.capacity)
        asked = warming or self._policy.sees == "legacy"
        return _ReplayRound(
            number=number,
            day=self._world.start_day + since_start,
            warming=warming,
            capacity=capacity,
            frame=frame,
            alerts=alerts,
            tips=self._world.flag_intelligence(),
            truth=self._world.get_truth(),
            legacy=self._world.choose_legacy(capacity) if asked else [],
            ids=tuple(frame["consignment_id"].tolist()),
            offices=list_offices(frame),
        )

    def _retrain(self, day: int) -> None:
        """Train if the schedule requires it; after a restart, train the model that was in use then."""
        assert self._knowledge is not None
        first = self._world.start_day + self._settings.warm_up_days
        due = first + (day - first) // self._settings.retrain_days * self._settings.retrain_days
        due -= (due - self._world.start_day) % self._world.round_days
        if due == self._trained_on:
            return
        known = self._knowledge.get_state(to_datetime(due * US_PER_DAY))
        fitted, self._model = self._trainer(known, self._config, self._settings.target)
        self._knowledge.set_fitted(fitted)
        self._trained_on = due

    def _mask_always_kept(self, now: "_ReplayRound") -> Bools:
        """Return rows whose features are always kept: the background, and consignments with intelligence."""
        if self._knowledge is None:
            return now.tips
        return now.tips | self._knowledge.is_background(now.ids)

    def _read_features(
        self, now: "_ReplayRound", decided: list[RecordedChoice] | None, kept: Bools
    ) -> tuple[Rows, Floats]:
        """Add the arrivals to the history, and compute features and scores as needed."""
        if self._knowledge is None:
            return NO_ROWS, NO_SCORES
        wanted = np.ones(len(now.ids), dtype=bool) if decided is None else kept | now.mask_rows(decided)
        X = self._knowledge.add_arrivals(now.frame, now.alerts, wanted)
        if decided is not None or self._model is None:
            return X, NO_SCORES
        return X, self._model.score(X, now.frame["channel"].tolist())

    def _choose(self, now: "_ReplayRound", X: Rows, scores: Floats) -> list[PolicyChoice]:
        """Call the policy with its declared input only, and check the capacity."""
        rows = np.flatnonzero(~now.tips)
        offer = self._build_context(now, X, scores).select_rows(rows)
        if self._policy.sees in ("features", "model"):
            offer = self._screen(offer, rows)
        if self._policy.sees == "truth":
            picks = self._policy.choose(offer, tuple(now.truth.results[row] for row in rows.tolist()))
        elif self._policy.sees == "legacy":
            place = {row: at for at, row in enumerate(rows.tolist())}
            own = [pick._replace(row=place[pick.row]) for pick in now.legacy]
            picks = self._policy.choose(offer, lambda: own)
        else:
            picks = self._policy.choose(offer)
        check_choices(picks, offer, self._policy.name)
        return sorted(pick._replace(row=int(rows[pick.row])) for pick in picks)

    def _build_context(self, now: "_ReplayRound", X: Rows, scores: Floats) -> SelectionContext:
        """Build the context of all arrivals; its parts are copies."""
        return SelectionContext(
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
        )

    def _screen(self, offer: SelectionContext, rows: NDArray[np.int64]) -> SelectionContext:
        """Apply X-ray to the share that each office can screen, chosen by the policy itself, and add the suspicious images."""
        share, offices = self._world.screened_share, np.array(offer.offices, dtype=object)
        suspect = np.zeros(len(rows), dtype=bool)
        for office in sorted(set(offer.offices)) if share else ():
            mine = np.flatnonzero(offices == office)
            asked = replace(
                offer.select_rows(mine),
                capacity=max(1, round(share * len(mine))),
                seed=offer.seed + SCREENING_SEED_OFFSET,
            )
            picks = self._policy.choose(asked)
            check_choices(picks, asked, self._policy.name)
            screened = mine[[pick.row for pick in picks]]
            suspect[screened] = self._world.take_pictures(rows[screened])
        suspect.flags.writeable = False
        return replace(offer, suspect=suspect)

    def _inspect(self, now: "_ReplayRound", decided: Sequence[RecordedChoice]) -> list[Outcome]:
        """Inspect, and set the selection time to when the list of the office could be made."""
        received = pd.Series(get_time_column_us(now.frame, "received_at"))
        last = received.groupby(np.array(now.offices, dtype=object)).transform("max").tolist()
        listed = {one.consignment_id: to_datetime(last[one.row]) for one in decided}
        outcomes = self._world.inspect([one.pick for one in decided])
        return [clamp_times(outcome, listed.get(outcome.consignment_id)) for outcome in outcomes]


@dataclass(frozen=True)
class _ReplayRound:
    """One round of the environment; policies receive only parts of it."""

    number: int
    day: int
    warming: bool
    capacity: int
    frame: pd.DataFrame
    alerts: list[Alert]
    tips: Bools
    truth: TrueResults
    legacy: list[PolicyChoice]
    ids: tuple[str, ...]
    offices: tuple[str, ...]

    def mask_rows(self, decided: Sequence[RecordedChoice]) -> Bools:
        """Return a mask of the chosen rows."""
        chosen = np.zeros(len(self.ids), dtype=bool)
        chosen[[one.row for one in decided]] = True
        return chosen

    def record_choices(self, picks: Iterable[PolicyChoice], scores: Floats) -> list[RecordedChoice]:
        """Convert choices to the form of the checkpoints."""
        return [
            RecordedChoice(
                self.ids[pick.row],
                pick.row,
                pick.selected_by,
                pick.probability,
                float(scores[pick.row]) if len(scores) else None,
            )
            for pick in picks
        ]


def clamp_times(outcome: Outcome, listed_at: datetime | None) -> Outcome:
    """Move all times of an outcome to after the list on which it was chosen."""
    if listed_at is None:
        return outcome
    inspected = None if outcome.inspected_at is None else max(outcome.inspected_at, listed_at)
    known = None if outcome.known_at is None else max(outcome.known_at, inspected or listed_at)
    return msgspec.structs.replace(outcome, selected_at=listed_at, inspected_at=inspected, known_at=known)


class _ResultRecorder:
    """Records the inspected and the positive consignments."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._openings: list[tuple[object, ...]] = []
        self._positives: list[tuple[object, ...]] = []
        self._outcomes: list[Outcome] = []

    def add(self, now: _ReplayRound, decided: Sequence[RecordedChoice], outcomes: Sequence[Outcome]) -> None:
        self._outcomes += outcomes
        own = {one.row: one for one in decided}
        tipped = np.flatnonzero(now.tips).tolist()
        beyond = {row: RecordedChoice(now.ids[row], row, "intelligence", None, None) for row in tipped}
        for row, one in sorted((own | beyond).items()):
            chosen = (one.selected_by, one.probability, one.score, row not in beyond, now.warming)
            self._openings.append((*self._get_shared_values(now, row), *chosen, now.truth.results[row]))
        positive = is_positive(pd.Series(now.truth.results), self._target)
        for row in np.flatnonzero(positive).tolist():
            opened = (row in own or row in beyond, row in own and row not in beyond, now.warming)
            self._positives.append(
                (*self._get_shared_values(now, row), now.truth.networks[row] or "", *opened)
            )

    def _get_shared_values(self, now: _ReplayRound, row: int) -> tuple[object, ...]:
        channel = now.frame["channel"].iloc[row]
        return now.number, now.day, now.ids[row], now.offices[row], channel

    def build_tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Build both tables, with the final results."""
        results = select_final_results(self._outcomes)
        openings = pd.DataFrame(self._openings, columns=INSPECTION_COLUMNS)
        positives = pd.DataFrame(self._positives, columns=POSITIVE_COLUMNS)
        for frame in (openings, positives):
            stood = frame["consignment_id"].map(results)
            frame["result"] = stood.astype("str")
            frame["found"] = is_positive(stood, self._target)
        return openings, positives
