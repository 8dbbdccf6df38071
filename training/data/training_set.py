"""The training set as of a date: labels, row weights, and a report of the rows left out and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.columns import normalize_column
from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime, to_us
from consignments.versions import select_counting_rows
from consignments.visibility import FINAL_RESULTS, compute_visible_us, list_positive_results
from features.batch import build_outcome_events
from features.history.ordering import sort_outcomes
from models.arrays import Bools, Floats, Ints, Texts
from models.fitting.baselines import RandomOrder
from training.config import LABEL_DELAY_DAYS, TrainConfig, WeightsConfig
from training.data.splits import (
    OUTSIDE,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    split_by_time,
    split_nothing,
    split_without_test,
    truncate_to_day,
)


@dataclass(frozen=True, repr=False)
class Labels:
    """Results known of each consignment at a time; `missed` rows were chosen and never presented."""

    known: Bools
    positive: Bools
    probability: Floats
    missed: Bools
    chosen: Bools
    selected_by: Texts

    def select_rows(self, rows: Ints) -> "Labels":
        """Return the labels of some rows."""
        return Labels(**{name: each[rows] for name, each in vars(self).items()})


def is_positive(result: "pd.Series", target: Target) -> Bools:
    """Check which final results count as positive for the target; `any_offence`: any final result but `clear`."""
    return result.isin(list_positive_results(target)).to_numpy(dtype=bool)


def select_current_outcomes(outcomes: pd.DataFrame, by_us: int) -> pd.DataFrame:
    """Select the valid outcome of each consignment at a time, as history does; of equal ones that of the later row."""
    events = build_outcome_events(outcomes)
    rows = sort_outcomes(events, np.flatnonzero(events.visible_us <= by_us))
    return outcomes.iloc[rows].drop_duplicates("consignment_id", keep="last")


def find_last_visible_time(outcomes: pd.DataFrame) -> datetime:
    """Return the time when the last final result became visible: pending rows may be of days to come."""
    final = outcomes[outcomes["result"].isin(FINAL_RESULTS)]
    return to_datetime(int(compute_visible_us(outcomes if final.empty else final).max()))


def find_settled_end(outcomes: pd.DataFrame) -> datetime:
    """Return the day until which most results of arrivals are known."""
    return truncate_to_day(find_last_visible_time(outcomes) - timedelta(days=LABEL_DELAY_DAYS))


def get_labels_as_of(
    consignment_id: "pd.Series", outcomes: pd.DataFrame, moment: datetime, target: Target
) -> Labels:
    """Read the labels of consignments, in their order, as they were known at a given time."""
    last = select_current_outcomes(outcomes, to_us(moment)).set_index("consignment_id")
    last = last.reindex(columns=["status", "result", "selected_by", "selection_probability"])
    mine = last.reindex(consignment_id)
    inspected = mine["status"].eq("inspected").to_numpy(dtype=bool, na_value=False)
    missed = mine["status"].eq("missed").to_numpy(dtype=bool, na_value=False)
    chosen = outcomes.loc[_find_chosen_us(outcomes) <= to_us(moment), "consignment_id"]
    known = inspected & mine["result"].isin(FINAL_RESULTS).to_numpy(dtype=bool)
    return Labels(
        known=known,
        positive=known & is_positive(mine["result"], target),
        probability=mine["selection_probability"].to_numpy(dtype=np.float64, na_value=np.nan),
        missed=missed,
        chosen=known | missed | consignment_id.isin(chosen).to_numpy(dtype=bool),
        selected_by=mine["selected_by"].astype(object).where(mine["selected_by"].notna(), "").to_numpy(),
    )


def _find_chosen_us(outcomes: pd.DataFrame) -> Ints:
    """Return when it was known that a consignment was chosen, which is long before its result."""
    selected = get_time_column_us(outcomes, "selected_at")
    chosen = np.where(selected == NO_TIME, get_time_column_us(outcomes, "inspected_at"), selected)
    return np.where(chosen == NO_TIME, compute_visible_us(outcomes), chosen)


def get_true_labels(consignment_id: "pd.Series", truth: pd.DataFrame, target: Target) -> Labels:
    """Return the truth of a simulated world in the form of labels; for evaluation only."""
    once = truth.drop_duplicates("consignment_id").set_index("consignment_id")
    result = once["result"].reindex(consignment_id)
    known = result.isin(FINAL_RESULTS).to_numpy(dtype=bool)
    if not known.any():
        raise BadInput(
            "the truth belongs to another simulated world",
            where="truth",
            got=f"{len(truth):,} rows with a result of none of the {len(result):,} consignments",
            expected="results of the consignments that were given",
            todo="provide the truth that was written with these consignments",
        )
    positive, missed = known & is_positive(result, target), np.zeros(len(result), dtype=bool)
    nobody = np.full(len(result), "", dtype=object)
    return Labels(known, positive, np.ones(len(result)), missed, chosen=known, selected_by=nobody)


def compute_effective_sample_size(weight: Floats) -> float:
    """Compute the number of equally weighted rows that would be as informative (Kish 1965)."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


SEED_OFFSET = 1_000_003  # keeps the draw of traffic apart from the random order of the same seed


class TrafficSample(NamedTuple):
    """The kept rows of a table; it is the same in any order of the rows, because identifier and seed alone decide what is drawn."""

    rows: Ints
    stands_for: Floats  # consignments of its period for which a row stands, regardless of labels
    even: Bools  # a uniform sample of the traffic of the periods, inspected or not
    of: int  # rows of the table

    @property
    def is_drawn(self) -> bool:
        """Return True if some traffic was left out."""
        return bool((self.stands_for > 1.0).any())

    def mark(self, rows: Ints) -> Bools:
        """Mark some rows of the table."""
        marked = np.zeros(self.of, dtype=bool)
        marked[rows] = True
        return marked


def sample_traffic(
    consignment_id: "pd.Series", learnt: Bools, periods: Sequence[Bools], limit: int, seed: int
) -> TrafficSample:
    """Keep all `learnt` rows, and of the other traffic of the tested periods at most `limit` rows; no row is in two periods."""
    traffic = np.logical_or.reduce([learnt & False, *periods])
    rest = np.flatnonzero(traffic & ~learnt)
    drawn = np.ones(len(learnt), dtype=bool)
    if len(rest) > limit:
        at = np.flatnonzero(traffic)
        number = np.ones(len(learnt))
        number[at] = RandomOrder(seed + SEED_OFFSET).compute_scores(
            np.empty((0, 0), dtype=np.float32), consignment_id.iloc[at].tolist()
        )
        drawn = number <= np.partition(number[rest], limit - 1)[limit - 1]
    stands_for = np.ones(len(learnt))
    for period in periods:
        mine = period & ~learnt
        stands_for[mine] = mine.sum() / max(int((mine & drawn).sum()), 1)
    rows = np.flatnonzero(learnt | (traffic & drawn))
    return TrafficSample(rows, stands_for[rows], drawn[rows], len(learnt))


HeldOut = Literal["validation and test", "validation", "nothing"]


@dataclass(frozen=True, repr=False)
class ObservedTables:
    """Tables that a training run may read, as they were visible at a date; background is drawn from the `offered` rows only."""

    consignments: pd.DataFrame
    outcomes: pd.DataFrame
    as_of: datetime
    offered: Bools | None = None
    sample: TrafficSample | None = None

    @property
    def kept(self) -> TrafficSample:
        """The sample that the consignments are, which may be whole."""
        rows = len(self.consignments)
        whole = TrafficSample(np.arange(rows), np.ones(rows), np.ones(rows, dtype=bool), rows)
        return self.sample or whole


@dataclass(frozen=True, repr=False)
class DataSet:
    """Rows of a training run; all arrays are as long as the consignment table."""

    observed: ObservedTables
    target: Target
    split: Split
    part: NDArray[np.int8]
    labels: Labels  # known by the date that the period of a row allows
    background: Bools  # uninspected rows of training and validation that were sampled as weak negatives
    background_rate: dict[int, float]  # by part
    weight: Floats  # in fitting, else 0
    report: list[dict[str, float | str]]

    @property
    def keep(self) -> Bools:
        """Rows whose features are needed: labelled or background rows, and all traffic of the test period."""
        tested: Bools = self.part == TEST
        return tested | self.select_fitting_rows(TRAIN) | self.select_fitting_rows(VALIDATION)

    def select_fitting_rows(self, part: int) -> Bools:
        """Select the rows of a part that are fitted on."""
        return np.asarray((self.part == part) & (self.labels.known | self.background))

    @property
    def traffic_weight(self) -> Floats:
        """Number of consignments of its period that each kept row stands for, regardless of labels."""
        rate = np.array([self.background_rate.get(part, 1.0) or 1.0 for part in range(4)])
        return np.asarray(np.where(self.background, 1.0 / rate[self.part], self.observed.kept.stands_for))

    def keep_rows(self, sample: TrafficSample, consignments: pd.DataFrame) -> "DataSet":
        """Return the data set of the rows that a sample kept of its table, given with all their columns."""
        rows = sample.rows
        return replace(
            self,
            observed=replace(self.observed, consignments=consignments, offered=None, sample=sample),
            part=self.part[rows],
            labels=self.labels.select_rows(rows),
            background=self.background[rows],
            weight=self.weight[rows],
        )


def build_data_set(
    observed: ObservedTables,
    target: Target,
    config: TrainConfig,
    *,
    held_out: HeldOut = "validation and test",
) -> DataSet:
    """Build the training, validation and test sets as they were visible at a date."""
    as_of, received = observed.as_of, get_time_column_us(observed.consignments, "received_at")
    decided, withdrawn, labels = final = _observe_rows(observed, target, as_of)
    labelled = decided & labels.known
    if not labelled.any():
        raise _explain_missing_results(observed)
    first = to_datetime(int(received[decided].min()))
    if held_out == "validation and test":
        cut = split_by_time(first, to_datetime(int(received[labelled].max())), as_of, config.split)
    elif held_out == "validation":
        cut = split_without_test(first, as_of, config.split)
    else:
        cut = split_nothing(first, as_of)
    placed = cut.assign_parts(received)
    if cut.train.labels_by != as_of:
        # A parcel that was amended or withdrawn later was as it was on the day on which the labels are read.
        early = np.isin(placed, (TRAIN, VALIDATION))
        then = _observe_rows(observed, target, cut.train.labels_by)
        decided, withdrawn = np.where(early, then[0], decided), np.where(early, then[1], withdrawn)
        pairs = zip(vars(then[2]).items(), vars(labels).values(), strict=True)
        labels = Labels(**{name: np.where(early, one, other) for (name, one), other in pairs})
    part = np.where(decided & ~withdrawn, placed, OUTSIDE).astype(np.int8)
    background, rates = _draw_background(part, labels.chosen, observed.offered, config)
    weight = compute_fitting_weights(part, labels, background, config.weights)
    data = DataSet(observed, target, cut, part, labels, background, rates, weight, report=[])
    _require_both_kinds(data)
    return replace(data, report=_build_report(data, placed, decided, withdrawn, final[2]))


def _explain_missing_results(observed: ObservedTables) -> BadInput:
    """Describe why no consignment has a result: there is none, none is visible yet, or the tables do not belong together."""
    outcomes, ids = observed.outcomes, observed.consignments["consignment_id"]
    final = outcomes["result"].isin(FINAL_RESULTS).to_numpy(dtype=bool)
    visible_us = compute_visible_us(outcomes)[final]
    visible = int((visible_us <= to_us(observed.as_of)).sum())
    if not final.any():
        todo = f"provide final results ({', '.join(sorted(FINAL_RESULTS))})"
    elif not visible:
        todo = f"train as of a later date: the first result is visible on {to_datetime(int(visible_us.min())):%Y-%m-%d}"
    else:
        examples = ", ".join(repr(each.iloc[0]) for each in (outcomes["consignment_id"], ids) if len(each))
        todo = f"check that the identifiers of outcomes and consignments match (the first are {examples})"
    return BadInput(
        "no final result of any consignment is visible",
        where=f"outcomes as of {observed.as_of:%Y-%m-%d}",
        got=f"{len(outcomes):,} outcomes, {int(final.sum()):,} of them final, {visible:,} of these visible by then, "
        f"for {len(ids):,} consignments",
        expected="final results of consignments that arrived before",
        todo=todo,
    )


def _observe_rows(observed: ObservedTables, target: Target, moment: datetime) -> tuple[Bools, Bools, Labels]:
    """Return which rows are decided versions, which were withdrawn, and the labels, as known at a time."""
    frame, outcomes = observed.consignments, observed.outcomes
    labels = get_labels_as_of(frame["consignment_id"], outcomes, moment, target)
    return *_select_versions(frame, outcomes, moment), labels


def select_counted_consignments(
    frame: pd.DataFrame, outcomes: pd.DataFrame | None, moment: datetime | None = None
) -> Bools:
    """Select one row of each consignment: the version on which the decision was made, unless its sender withdrew it before one."""
    decided, withdrawn = _select_versions(frame, outcomes, moment)
    return decided & ~withdrawn


def _select_versions(
    frame: pd.DataFrame, outcomes: pd.DataFrame | None, moment: datetime | None
) -> tuple[Bools, Bools]:
    """Select the versions received before their consignment was chosen, and the withdrawn rows that nobody had chosen."""
    moment_us = None if moment is None else to_us(moment)
    chosen = pd.Series(dtype=np.int64)
    if outcomes is not None:
        chosen_us = _find_chosen_us(outcomes)
        known = (chosen_us != NO_TIME) & (True if moment_us is None else chosen_us <= moment_us)
        names = normalize_column(outcomes["consignment_id"][known]).to_pandas()
        chosen = pd.Series(chosen_us[known], dtype=np.int64).groupby(names.to_numpy()).min()
    cancelled = get_time_column_us(frame, "cancelled_at")
    withdrawn = (cancelled != NO_TIME) & (True if moment_us is None else cancelled < moment_us)
    names = normalize_column(frame["consignment_id"]).to_pandas()
    withdrawn &= ~names.isin(chosen.index).to_numpy(dtype=bool)
    return select_counting_rows(frame, moment_us, chosen), withdrawn


def _draw_background(
    part: NDArray[np.int8], chosen: Bools, offered: Bools | None, config: TrainConfig
) -> tuple[Bools, dict[int, float]]:
    """Draw uninspected rows of training and validation uniformly, each part within its share of the limit."""
    pools = {code: np.flatnonzero((part == code) & ~chosen) for code in (TRAIN, VALIDATION)}
    everything = sum(len(pool) for pool in pools.values())
    weights = config.weights
    rate = min(weights.background_share, weights.background_rows / everything if everything else 0.0)
    # The order does not depend on what is known by then, so fits of several dates share most of their background.
    order = np.random.default_rng(config.model.seed).random(len(part))
    background = np.zeros(len(part), dtype=bool)
    rates = {}
    for code, pool in pools.items():
        kept = pool if offered is None else pool[offered[pool]]
        drawn = kept[np.argsort(order[kept], kind="stable")[: round(rate * len(pool))]]
        background[drawn] = True
        rates[code] = len(drawn) / len(pool) if len(pool) else 0.0
    return background, rates


def compute_fitting_weights(
    part: NDArray[np.int8], labels: Labels, background: Bools, config: WeightsConfig
) -> Floats:
    """Compute the weight of each row in fitting: inverse selection probability, clipped, and background weights (Horvitz and Thompson 1952)."""
    inverse = np.where(np.isnan(labels.probability), 1.0, 1.0 / labels.probability)
    weight = np.where(labels.known, np.minimum(inverse, config.ipw_clip), 0.0)
    for code in (TRAIN, VALIDATION):
        mine = background & (part == code)
        if mine.any():
            labelled = weight[labels.known & (part == code)].sum()
            weight[mine] = config.background_weight * labelled / mine.sum()
    return weight


def _require_both_kinds(data: DataSet) -> None:
    """Refuse a data set that cannot be fitted or evaluated; the error names the period and what it lacks."""
    for code, period in enumerate(data.split.periods, TRAIN):
        mine = (data.part == code) & data.labels.known
        positives = int(data.labels.positive[mine].sum())
        negatives = int(mine.sum()) - positives
        lacks_positives = not positives and code == TRAIN  # without others, only less is known of the model
        if period.days and (lacks_positives or not negatives):
            raise BadInput(
                f"the {period.name} period has no {'positive' if lacks_positives else 'negative'} label",
                where=f"arrivals {period.begins:%Y-%m-%d} to {period.ends:%Y-%m-%d}",
                got=f"{positives} positive and {negatives} negative results visible by {period.labels_by:%Y-%m-%d}",
                todo="lengthen the period in [split], provide more data, or choose a less rare target",
            )


def _build_report(
    data: DataSet, placed: NDArray[np.int8], decided: Bools, withdrawn: Bools, final: Labels
) -> list[dict[str, float | str]]:
    received, labels = get_time_column_us(data.observed.consignments, "received_at"), data.labels
    late = received >= to_us(data.split.as_of)
    rows: list[dict[str, float | str]] = []
    for code, period in enumerate(data.split.periods, TRAIN):
        here, mine = placed == code, data.part == code
        labelled, waiting, background = mine & labels.known, mine & ~labels.known, mine & data.background
        counted = {
            "arrived": here,
            "used": mine if code == TEST else labelled | background,
            "labelled": labelled,
            "positive": labelled & labels.positive,
            "background": background,
            "missed": mine & labels.missed,
            "pending": waiting & labels.chosen & ~labels.missed,
            "known_too_late": waiting & final.known,
            "amended_later": here & ~late & ~decided,
            "cancelled": here & withdrawn,
            "without_logged_probability": labelled & np.isnan(labels.probability),
        }
        effective = round(compute_effective_sample_size(data.weight[labelled]), 1)
        counts = {name: int(each.sum()) for name, each in counted.items()}
        rows.append({"period": period.name, **counts, "effective_sample_size": effective})
    outside = {"gaps and too young": (placed == OUTSIDE) & ~late, "received after as-of": late}
    return rows + [{"period": each, "arrived": int(out.sum()), "used": 0.0} for each, out in outside.items()]
