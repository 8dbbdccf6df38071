"""Debrief of an operation: detections compared with what was expected, who selected best, what was missed and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from consignments.records import Consignment, Target
from consignments.tables import to_records
from consignments.timestamps import get_time_column_us, to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from models.formats import format_percent
from operation.documents.plan import InspectionPlan
from operation.documents.tallies import (
    DIMENSIONS,
    REFERENCE_SELECTOR,
    Handling,
    SelectorComparison,
    Tally,
    classify_detections,
    classify_truth,
    compare_selectors,
    count_by,
    count_inspections,
    rank_within_capacity,
)
from operation.inspections import (
    NOT_GIVEN,
    AlertYield,
    OperationPeriod,
    compute_yields,
    estimate_rate,
    join_inspections,
    select_valid_alerts,
)
from training.evaluation.estimate import Estimate

MAX_NOT_PRESENTED = 0.1  # share of the selected that may not be presented before a change is suggested
MIN_RANDOM = 30
"""Random inspections with a result from which on their rate says something about the rest of the traffic."""
MIN_SELECTED = 20
MIN_MATCHED = 10
MAX_PENDING = 0.1
MAX_BELOW_PLAN = 0.25  # share of the planned selections that an office may lack before a change is suggested


EXPECTATIONS = {
    "fewer": "Look at how {} inspects, and whether its traffic has changed",
    "more": "Train again: {} had more detections than the scores expected",
}
"""Changes that a verdict of a tally suggests."""


class FamilyTally(NamedTuple):
    """Detections of one substance family."""

    family: str
    positives: int
    quantity_g: float


class Suggestion(NamedTuple):
    """A change that the numbers suggest, drafted for the meeting."""

    what: str
    because: str


class OfficeComparison(NamedTuple):
    """An office compared with its plan: selections a day, as planned and as made."""

    office: str
    planned: int | None
    made: float


class PlanComparison(NamedTuple):
    """The plan of an operation compared with what was done."""

    expected: Estimate
    offices: list[OfficeComparison]


@dataclass(frozen=True)
class Debrief:
    """Numbers of a debrief; `capacity` is for each office and day. They have the same names in its JSON file."""

    begins: datetime
    ends: datetime
    as_of: datetime
    target: Target
    arrivals: int
    capacity: int
    total: Tally
    by_office: list[Tally]
    by_channel: list[Tally]
    by_route: list[Tally]
    by_week: list[Tally]
    by_selected_by: list[Tally]
    selectors: list[SelectorComparison]
    families: list[FamilyTally]
    handled: list[Handling]
    handled_truth: list[Handling] | None
    alerts: list[AlertYield]
    suggestions: list[Suggestion]
    plan: PlanComparison | None


def build_debrief(
    tables: Tables,
    period: OperationPeriod,
    target: Target = "nps",
    *,
    scores: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    capacity: int | None = None,
    plan: InspectionPlan | None = None,
) -> Debrief:
    """Compute the debrief of an operation; `scores` are those at arrival, and `capacity` is for each office and day."""
    inspections = join_inspections(tables, scores, period, target)
    received = tables.consignments[select_counting_rows(tables.consignments, to_us(period.ends))]
    arrivals = received[get_time_column_us(received, "received_at") >= to_us(period.begins)]
    capacity = capacity or _compute_capacity(inspections, arrivals)
    within = {} if scores is None else rank_within_capacity(received, scores, capacity)
    tallies = {name: count_by(inspections, name) for name in DIMENSIONS}
    alerts = select_valid_alerts(tables.alerts, period.begins, period.ends)
    found = Debrief(
        begins=period.begins,
        ends=period.ends,
        as_of=period.as_of,
        target=target,
        arrivals=len(arrivals),
        capacity=capacity,
        total=count_inspections(inspections),
        **{f"by_{name}": each for name, each in tallies.items()},
        selectors=compare_selectors(tallies["selected_by"], inspections),
        families=_count_families(inspections),
        handled=classify_detections(inspections, within),
        handled_truth=None if truth is None else classify_truth(inspections, arrivals, truth, within, target),
        alerts=compute_yields(alerts, to_records(arrivals, Consignment), inspections) if alerts else [],
        suggestions=[],
        plan=None if plan is None else _compare_with_plan(plan, tallies["office"], period),
    )
    found.suggestions.extend(suggest_changes(found))
    return found


def suggest_changes(debrief: Debrief) -> Iterator[Suggestion]:
    """Find changes to suggest, each with the numbers behind it."""
    for each in debrief.by_office:
        lost = each.selected - each.presented
        share = estimate_rate(lost, each.selected)
        if each.selected >= MIN_SELECTED and share.low > MAX_NOT_PRESENTED:
            value, low, high = (format_percent(end) for end in (share.value, share.low, share.high))
            yield Suggestion(
                f"Find out why office {each.part} does not present what is selected",
                f"{lost} of {each.selected} selected consignments were not presented ({value}, {low} to {high})",
            )
    for name, tallies in (("office", debrief.by_office), ("channel", debrief.by_channel)):
        for each in tallies:
            if each.verdict in EXPECTATIONS:
                yield Suggestion(
                    EXPECTATIONS[each.verdict].format(f"{name} {each.part}"),
                    f"{each.scored_positives} detections; the scores expected {each.expected.value:.1f} "
                    f"({each.expected.low:.0f} to {each.expected.high:.0f})",
                )
    known = next((each.known for each in debrief.by_selected_by if each.part == REFERENCE_SELECTOR), 0)
    if known < MIN_RANDOM:
        yield Suggestion(
            "Plan more random inspections",
            f"{known} random inspections have a result; with fewer than {MIN_RANDOM} nobody knows the rate in the rest of the traffic",
        )
    counts = {each.name: each.positives for each in debrief.handled}
    low_ranks, within = counts.get("ranked low", 0), counts.get("ranked within capacity", 0)
    if low_ranks > within:
        yield Suggestion(
            "Train on the results of this operation before the next one",
            f"{low_ranks} detections ranked below the capacity, {within} within it",
        )
    yield from _suggest_alerts(debrief.alerts)
    total, pending = debrief.total, debrief.total.presented - debrief.total.known
    if total.presented >= MIN_SELECTED and pending > MAX_PENDING * total.presented:
        yield Suggestion(
            "Repeat this debrief when the laboratory has answered",
            f"{pending} of {total.presented} inspections have no result yet",
        )
    for office in [] if debrief.plan is None else debrief.plan.offices:
        if office.planned is not None and office.made < (1 - MAX_BELOW_PLAN) * office.planned:
            yield Suggestion(
                f"Give office {office.office} the capacity that it has, or the inspectors that the plan counts on",
                f"{office.made:.1f} selections a day; the plan had {office.planned}",
            )


def _suggest_alerts(yields: Sequence[AlertYield]) -> Iterator[Suggestion]:
    silent = [each.alert_id for each in yields if not each.counts.matched]
    if silent:
        yield Suggestion(
            "Ask the authors of alerts that matched nothing for other criteria",
            f"{len(silent)} of {len(yields)} alerts matched no consignment: {', '.join(silent[:10])}",
        )
    for each in yields:
        counts = each.counts
        if counts.known >= MIN_MATCHED and not counts.offences:
            yield Suggestion(
                f"Ask the author of alert {each.alert_id} to narrow or withdraw it",
                f"it matched {counts.matched} consignments; {counts.known} have a result, none has an offence",
            )


def _compare_with_plan(
    plan: InspectionPlan, offices: Sequence[Tally], period: OperationPeriod
) -> PlanComparison:
    """Compare the selections of each office with its planned capacity."""
    days = max((period.ends - period.begins).total_seconds() / 86_400, 1.0)
    planned = {each.office or NOT_GIVEN: each.capacity for each in plan.offices}
    made = {each.part: each.selected / days for each in offices}
    names = sorted({*planned, *made})
    compared = [OfficeComparison(name, planned.get(name), made.get(name, 0.0)) for name in names]
    return PlanComparison(Estimate(plan.expected, plan.expected_low, plan.expected_high), compared)


def _compute_capacity(inspections: pd.DataFrame, arrivals: pd.DataFrame) -> int:
    """Compute the average number of selections for each office and day with arrivals."""
    offices = max(int(inspections["office"].nunique()), 1)
    days = arrivals["received_at"].dt.floor("D").nunique() if len(arrivals) else 1
    return max(1, round(len(inspections) / (offices * max(int(days), 1))))


def _count_families(inspections: pd.DataFrame) -> list[FamilyTally]:
    positive = inspections[inspections["positive"].to_numpy(bool)]
    found = [
        FamilyTally(str(family), len(rows), float(rows["quantity_g"].fillna(0).sum()))
        for family, rows in positive.groupby("family", sort=True)
    ]
    return sorted(found, key=lambda each: (-each.positives, each.family == NOT_GIVEN, each.family))
