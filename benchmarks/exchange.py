"""Measure what exchange between administrations brings: keyed indicators, plain sharing, and neither, in one simulated world.

    python -m benchmarks.exchange --seeds 1 2 [--days 42 --per-day 300]

Three administrations divide the arrivals of one world by their consignees (60, 25 and 15 %). Networks send to all three and react to
seizures. Each administration inspects a share of its arrivals each day: in the warm-up by the rules, then by a model that it
trained on its own results. What differs is what the others learn of a confirmed detection:

- alone: nothing.
- exchange: a signed seizure with keyed indicators, and a warning without a name. They pass through the same signing, checking and
  matching as in the service.
- plain: the whole consignment and its result, which then count in the history of the others, and the same warning.

Every way runs in a world of its own with the same seed, because the networks react to what is seized.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from msgspec import structs

from benchmarks.script import format_table, parse_options
from benchmarks.worlds import describe_interval
from consignments.errors import BadInput
from consignments.exchange.alerts import list_alert_changes
from consignments.exchange.documents import AnyMessage, Withdrawal
from consignments.records import Alert, Consignment, Outcome, Target
from consignments.tables import to_records
from consignments.timestamps import US_PER_DAY, to_datetime, to_us
from features.indicators.operation_keys import OperationKey, OperationKeys, install_keys
from features.indicators.values import compute_indicators
from models.rules import RULES, Rules
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import read_signed_message, sign_message
from operation.exchange.drafts import (
    MAX_SHARING,
    ConfirmedSeizure,
    DraftOptions,
    draft_seizure,
    draft_warning,
)
from training.config import TrainConfig
from training.policy_replay.environments import SimulatedEnvironment
from training.policy_replay.experiment import LOOP_CONFIG
from training.policy_replay.observed_history import ObservedHistory
from training.policy_replay.replay import clamp_times, train_model
from training.simulation.inspection_outcomes import InspectionChoice
from training.simulation.parameters import load_parameters

MIN_INDICATOR_STRENGTH = next(each.at_least for each in RULES if each.feature == "alerts.indicator_strength")
Way = Literal["alone", "exchange", "plain"]
WAYS: tuple[Way, ...] = ("alone", "exchange", "plain")
SHARES = {"XA": 0.60, "XB": 0.25, "XC": 0.15}
"""Administrations, and the share of all consignees that each has."""
MIX = 0x9E3779B97F4A7C15
EXPLORE = 0.1
TARGET: Target = "nps"
BACKGROUND = 0.05
RESAMPLES = 1000


class SharingHistory(ObservedHistory):
    """Knowledge of an office, with consignments that partners share."""

    def add_shared(self, records: Sequence[Consignment], outcomes: Iterable[Outcome]) -> None:
        """Count consignments of a partner in the history, with their results, from the time they were shared (`received_at`) on.

        They are no rows of the own tables.
        """
        _, keys, counterparts = self._describe(list(records), np.zeros(len(records), dtype=bool))
        for record, own, met in zip(records, keys, counterparts, strict=True):
            assert record.received_at is not None
            now = to_us(record.received_at)
            self._apply_events_until(now)
            self._ledger.record_arrival(record.consignment_id, now // US_PER_DAY, own, met)
        for outcome in outcomes:
            self._schedule_result(outcome)


class Plan(NamedTuple):
    """Size of a run: days of the warm-up and of the operation, and arrivals a day of all administrations."""

    warm_up_days: int
    operation_days: int
    per_day: int
    prevalence: str
    config: TrainConfig
    learns: bool = True
    inspected_share: float = 0.05

    @property
    def days(self) -> int:
        return self.warm_up_days + self.operation_days


@dataclass
class Administration:
    """One administration: what it knows, and how it selects."""

    name: str
    history: "SharingHistory"
    key: SigningKey
    capacity: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    records: dict[str, Consignment] = field(default_factory=dict)
    sent: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alerts: dict[str, Alert] = field(default_factory=dict)
    pending: list[Alert] = field(default_factory=list)
    scorer: Any = None
    tokens: Counter[str] = field(default_factory=Counter)
    frames: list[pd.DataFrame] = field(default_factory=list)
    matched: "np.ndarray[Any, Any]" = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def apply(self, message: AnyMessage, at: datetime) -> None:
        """Apply the message of a partner."""
        for alert in list_alert_changes(message, at, self.alerts.get, withdrawn=(), administration=None):
            self.alerts[alert.alert_id] = alert
            self.pending.append(alert)

    def train(self, plan: Plan, at: datetime) -> bool:
        """Train on what is known; with too few results the rules stay. Return whether there is a model."""
        self.scorer = Rules(self.history.spec)
        if not plan.learns:
            return False
        try:
            fitted, model = train_model(self.history.get_state(at), plan.config, TARGET)
        except BadInput:
            return False
        self.history.set_fitted(fitted)
        self.scorer = model
        return True

    def list_confirmed(self, at: datetime) -> dict[str, Outcome]:
        """Return the final result of each consignment that is known at a time, if it is a detection."""
        last: dict[str, Outcome] = {}
        for outcome in self.outcomes:
            if outcome.known_at is not None and outcome.known_at <= at:
                known = last.get(outcome.consignment_id)
                if known is None or known.known_at is None or known.known_at <= outcome.known_at:
                    last[outcome.consignment_id] = outcome
        return {name: outcome for name, outcome in last.items() if outcome.result == TARGET}


class DayCounts(NamedTuple):
    """Counts of one day at one administration; `matched` had an indicator of a partner."""

    way: str
    seed: int
    day: int
    administration: str
    arrivals: int
    positives: int
    inspected: int
    found: int
    matched: int
    matched_positives: int


class ExchangeRun:
    """One way of sharing in one world."""

    def __init__(
        self, way: Way, plan: Plan, seed: int, folder: Path, key: OperationKey | None = None
    ) -> None:
        self.way, self.plan, self.seed = way, plan, seed
        world = load_parameters(preset=plan.prevalence)
        self.world = SimulatedEnvironment(
            world, days=plan.days, per_day=plan.per_day, prevalence=plan.prevalence, seed=seed
        )
        self.key = key or OperationKey("EXAMPLE", bytes([seed % 256]) * 32)
        install_keys(OperationKeys([self.key]))
        self.members = [
            Administration(
                name,
                SharingHistory(plan.config.features, background=BACKGROUND, seed=seed),
                SigningKey.create(folder / f"{way}-{seed}-{name}.key"),
            )
            for name in SHARES
        ]
        for each in self.members:
            each.scorer = Rules(each.history.spec)
        self.partners = Partners(Partner(each.name, each.key.public.text) for each in self.members)
        self.draws = np.random.default_rng([seed, 20])
        self.rows: list[DayCounts] = []
        self.messages: Counter[str] = Counter()
        self.models = 0
        self.feed: list[Alert] = []

    def run(self) -> pd.DataFrame:
        """Run all days; return `DayCounts` of the operation."""
        self.run_days(0, self.plan.warm_up_days)
        at = self.get_midnight(self.plan.warm_up_days)
        self.models = sum(each.train(self.plan, at) for each in self.members)
        self.run_days(self.plan.warm_up_days, self.plan.days)
        return pd.DataFrame(self.rows, columns=DayCounts._fields)

    def run_days(self, begin: int, end: int) -> None:
        """Run days; what became known by the midnight before a day is shared."""
        for day in range(begin, end):
            if self.way != "alone":
                self._share(self.get_midnight(day))
            self._run_day(day)

    def get_midnight(self, day: int) -> datetime:
        """Return the time at which a day begins."""
        return to_datetime((self.world.start_day + day) * US_PER_DAY)

    def _run_day(self, day: int) -> None:
        frame, alerts = self.world.receive_day(day)
        self.feed += alerts
        owners = divide(self.world.arrivals.shipments.consignee)
        tips, truth = self.world.arrivals.tipped, self.world.get_truth()
        positive = np.array([result == TARGET for result in truth.results], dtype=bool)
        picks: list[InspectionChoice] = []
        by_owner: list[list[int]] = []
        for number, member in enumerate(self.members):
            rows = np.flatnonzero(owners == number)
            mine = self._choose(member, frame.iloc[rows], [*alerts, *member.pending], tips[rows])
            member.pending = []
            by_owner.append(sorted({int(rows[at]) for at in mine} | set(rows[tips[rows]].tolist())))
            picks += [
                InspectionChoice(int(rows[at]), selector, chance) for at, (selector, chance) in mine.items()
            ]
        outcomes: dict[str, list[Outcome]] = {}
        ends = frame["received_at"].max().to_pydatetime()
        for outcome in self.world.inspect(picks):
            outcomes.setdefault(outcome.consignment_id, []).append(clamp_times(outcome, ends))
        names = frame["consignment_id"].tolist()
        for number, member in enumerate(self.members):
            rows = np.flatnonzero(owners == number)
            place = {int(row): at for at, row in enumerate(rows)}
            background = np.flatnonzero(member.history.is_background([names[row] for row in rows]))
            member.history.keep_features({*background.tolist(), *(place[row] for row in by_owner[number])})
            found = [outcome for row in by_owner[number] for outcome in outcomes.get(names[row], [])]
            member.history.schedule_outcomes(found)
            member.outcomes += found
            if self.way == "exchange":
                for c in to_records(frame.iloc[rows], Consignment):
                    member.tokens.update(compute_indicators(c, self.key))
            member.frames.append(frame.iloc[rows])
            hits = [
                row
                for row in by_owner[number]
                if any(each.result == TARGET for each in outcomes.get(names[row], []))
            ]
            for c in to_records(frame.iloc[hits], Consignment):
                member.records[c.consignment_id] = c
            if day >= self.plan.warm_up_days:
                found_here = int(sum(positive[row] for row in hits))
                counts = len(rows), int(positive[rows].sum()), len(by_owner[number]), found_here
                matches = int(member.matched.sum()), int(positive[rows[member.matched]].sum())
                self.rows.append(DayCounts(self.way, self.seed, day, member.name, *counts, *matches))

    def _choose(
        self, member: Administration, frame: pd.DataFrame, alerts: list[Alert], tips: "np.ndarray[Any, Any]"
    ) -> dict[int, tuple[Any, float | None]]:
        """Return the rows that a member inspects: the highest scores, and a random share."""
        X = member.history.add_arrivals(frame, alerts, np.ones(len(frame), dtype=bool))
        strength = X[:, member.history.spec.get_column("alerts.indicator_strength")]
        member.matched = strength >= MIN_INDICATOR_STRENGTH
        member.capacity += self.plan.inspected_share * len(frame)
        count = min(int(member.capacity), len(frame))
        member.capacity -= count
        open_rows = np.flatnonzero(~tips)
        drawn = int(self.draws.binomial(count, EXPLORE))
        lots = self.draws.permutation(open_rows)[:drawn]
        chance = count * EXPLORE / max(len(open_rows), 1)
        scores = np.asarray(member.scorer.score(X, frame["channel"].tolist()))
        order = np.argsort(-scores[open_rows], kind="stable")
        top = [row for row in open_rows[order].tolist() if row not in set(lots.tolist())][: count - drawn]
        return {
            **dict.fromkeys(top, ("model", None)),
            **{row: ("random", max(chance, 1e-9)) for row in lots.tolist()},
        }

    def _share(self, at: datetime) -> None:
        """Send what became known, and withdraw what is no longer true."""
        for member in self.members:
            confirmed = member.list_confirmed(at)
            for name in [each for each in member.sent if each not in confirmed]:
                for message_id in member.sent.pop(name):
                    withdrawal = Withdrawal(
                        message_id=f"X-{message_id}", author=member.name, issued_at=at, about=message_id
                    )
                    self._send(member, withdrawal, at)
            for name, outcome in confirmed.items():
                if name in member.sent or name not in member.records:
                    continue
                found = ConfirmedSeizure(member.records[name], outcome)
                messages = self._draft(member, found, at)
                member.sent[name] = tuple(each.message_id for each in messages)
                for message in messages:
                    self._send(member, message, at)
                if self.way == "plain":
                    self._share_plain(member, found, at)

    def _draft(self, member: Administration, found: ConfirmedSeizure, at: datetime) -> list[AnyMessage]:
        common = frozenset(
            token
            for token in compute_indicators(found.consignment, self.key)
            if member.tokens[token] > MAX_SHARING
        )
        options = DraftOptions(member.name, at, self.key, common=common)
        seizure = draft_seizure(found, options, f"{member.name}{len(member.sent)}")
        warning = draft_warning(seizure)
        wanted = [seizure if self.way == "exchange" else None, warning]
        return [each for each in wanted if each is not None]

    def _send(self, author: Administration, message: AnyMessage, at: datetime) -> None:
        signed = read_signed_message(sign_message(message, author.key), self.partners, at)
        self.messages[type(signed.message).__name__.lower()] += 1
        for each in self.members:
            if each is not author:
                each.apply(signed.message, at)

    def _share_plain(self, author: Administration, found: ConfirmedSeizure, at: datetime) -> None:
        name = f"{author.name}/{found.consignment.consignment_id}"
        record = structs.replace(found.consignment, consignment_id=name, received_at=at, cancelled_at=None)
        outcome = structs.replace(found.outcome, consignment_id=name, known_at=at, recorded_at=None)
        for each in self.members:
            if each is not author:
                each.history.add_shared([record], [outcome])


def divide(consignees: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    """Return the administration of each consignee, a lasting property."""
    mixed = (consignees.astype(np.uint64) + np.uint64(1)) * np.uint64(MIX)
    share = (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
    return np.searchsorted(np.cumsum(list(SHARES.values())), share, side="right").clip(max=len(SHARES) - 1)


def run_ways(plan: Plan, seed: int, ways: Sequence[Way] = WAYS) -> pd.DataFrame:
    """Run the ways of sharing with one seed; print the time of each."""
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for way in ways:
            began = time.perf_counter()
            run = ExchangeRun(way, plan, seed, Path(folder))
            tables.append(run.run())
            found, seconds = int(tables[-1]["found"].sum()), time.perf_counter() - began
            print(
                f"seed {seed}, {way}: {found} detections, {run.models} models, messages {dict(run.messages)}, {seconds:.0f} s",
                flush=True,
            )
    return pd.concat(tables, ignore_index=True)


def compare(table: pd.DataFrame) -> Iterator[list[str]]:
    """Yield detections of each way and those of `alone`, and their ratio with a 95 % interval from resampled whole days of each seed."""
    for way in WAYS[1:]:
        for name in ("all", *SHARES):
            chosen = table if name == "all" else table[table["administration"] == name]
            days = chosen.pivot_table(
                index=["seed", "day"], columns="way", values="found", aggfunc="sum", fill_value=0
            )
            pairs = days[[way, "alone"]].to_numpy(dtype=float)
            drawn = np.random.default_rng(0).integers(0, len(pairs), (RESAMPLES, len(pairs)))
            sums = np.vstack([pairs.sum(axis=0), pairs[drawn].sum(axis=1)])
            ratio = describe_interval(sums[:, 0] / np.maximum(sums[:, 1], 1))
            yield [way, name, f"{sums[0, 0]:.0f}", f"{sums[0, 1]:.0f}", ratio if sums[0, 1] else "–"]


def format_summary(table: pd.DataFrame) -> str:
    """Format the comparison as a table for people."""
    positives = table[table["way"] == "alone"]["positives"].sum()
    inspected = table.groupby("way")["inspected"].sum().to_dict()
    heads = ["way", "administration", "detections", "alone", "ratio and 95 % interval"]
    title = f"{positives:,} consignments with NPS arrive in the operation; inspected: {inspected}"
    return f"{title}\n{format_table(heads, compare(table))}"


def main() -> None:
    options = parse_options(__doc__, seeds=[1], warm_up=120, days=42, per_day=300, prevalence="operation")
    plan = Plan(options.warm_up, options.days, options.per_day, options.prevalence, LOOP_CONFIG)
    table = pd.concat([run_ways(plan, seed) for seed in options.seeds], ignore_index=True)
    print(format_summary(table))


if __name__ == "__main__":
    main()
