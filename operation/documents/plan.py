"""Plan of an operation: capacity by office, expected detections with their interval, and what one more inspection brings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from msgspec import Meta
from scipy.stats import poisson

from consignments.errors import BadInput
from models.arrays import Floats, Ints
from models.batch_scoring import build_list_table, read_score_columns
from models.calibration import CalibrationLevel
from models.selection import (
    SelectedConsignment,
    SelectionRule,
    check_rows,
    compute_selection_probabilities,
    select,
)
from operation.inspections import OperationPeriod
from training.evaluation.estimate import INTERVAL_QUANTILES

Count = Annotated[int, Meta(ge=1)]
MAX_REQUESTS = 5
MIN_REQUEST_SHARE = 0.05
"""A departure country with at least this share of the expected detections is one whose administration is asked."""
CURVE_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
"""Multiples of the planned capacity for which the plan gives the expected detections."""


class OfficePlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Plan of one office: its capacity, arrivals and expected detections each day, and what one more inspection a day adds."""

    office: str
    capacity: Count
    arrivals_a_day: float
    expected_a_day: float
    one_more_a_day: float


class PartnerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A departure country whose administration is asked for intelligence, with its share of the expected detections."""

    departure_country: str
    share: float


class CurvePoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Expected detections each day at a multiple of the planned capacity."""

    inspections_a_day: int
    expected_a_day: float


class InspectionPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Plan of an operation, with the 95 % interval of its expected detections; `npsrisk select` and `npsrisk debrief` read it."""

    format: Literal[1] = 1
    operation: str
    begins: datetime
    ends: datetime
    target: str
    model: str
    explore: Annotated[float, Meta(ge=0, le=1)]
    seed: int
    observed_days: int
    expected: float
    expected_low: float
    expected_high: float
    offices: tuple[OfficePlan, ...]
    curve: tuple[CurvePoint, ...] = ()
    requests: tuple[PartnerRequest, ...] = ()

    def get_capacity(self, office: str) -> int:
        """Return the capacity of an office."""
        for each in self.offices:
            if each.office == office:
                return each.capacity
        raise BadInput(
            "the plan has no such office",
            got=office or "no office",
            expected=", ".join(each.office or "no office" for each in self.offices),
            todo="make the plan again with its scores, or leave its consignments out",
        )


class PlanDetails(NamedTuple):
    """Settings of a plan: name, period, target, exploration share and seed."""

    operation: str
    begins: datetime
    ends: datetime
    target: str
    explore: float
    seed: int = 0


def build_plan(
    scores: pd.DataFrame,
    capacities: Mapping[str, int],
    details: PlanDetails,
    level: CalibrationLevel | None = None,
    departures: Mapping[str, str] | None = None,
) -> InspectionPlan:
    """Build a plan from recent scores, with inspections a day by office ('*' for any other); without `level` the interval is of chance."""
    if not len(scores):
        what, todo = "no score to plan with", "score them with npsrisk score"
        raise BadInput(what, where="--scores", got="no row", expected="the scores of recent days", todo=todo)
    OperationPeriod(details.begins, details.ends, details.ends)  # checks the dates
    ids, score, offices, days = _read_checked(scores)
    observed = len(np.unique(days))
    place = np.array(offices, dtype=object)
    rows = {name: np.flatnonzero(place == name) for name in sorted(set(offices))}
    capacity = {name: _find_capacity(name, capacities) for name in rows}

    def weigh(name: str, amount: int) -> Floats:
        """Compute the scores of an office, weighted with the probability of selection at a capacity."""
        mine = rows[name]
        chances = compute_selection_probabilities(
            score[mine], [name] * len(mine), days[mine], capacity=amount, explore=details.explore
        )
        expected: Floats = chances * score[mine]
        return expected

    def expect(name: str, amount: int) -> float:
        return float(weigh(name, amount).sum()) / observed

    plans = []
    for name, amount in capacity.items():
        expected, more = expect(name, amount), expect(name, amount + 1)
        arrivals, gain = len(rows[name]) / observed, max(more - expected, 0.0)
        plans.append(OfficePlan(name, amount, arrivals, expected, gain))
    curve = []
    for factor in CURVE_FACTORS:
        scaled = {name: max(1, round(factor * amount)) for name, amount in capacity.items()}
        total = sum(expect(name, amount) for name, amount in scaled.items())
        curve.append(CurvePoint(sum(scaled.values()), total))
    weighted = np.zeros(len(score))
    for name, amount in capacity.items():
        weighted[rows[name]] = weigh(name, amount)
    length = max((details.ends - details.begins).total_seconds() / 86_400, 1.0)
    expected = sum(each.expected_a_day for each in plans) * length
    low, high = (1.0, 1.0) if level is None else (level.low, level.high)
    first, last = INTERVAL_QUANTILES
    return InspectionPlan(
        **details._asdict(),
        model=str(scores["model_version"].iloc[-1]) if "model_version" in scores else "",
        observed_days=observed,
        expected=expected,
        expected_low=float(poisson.ppf(first, low * expected)),
        expected_high=float(poisson.ppf(last, high * expected)),
        offices=tuple(plans),
        curve=tuple(curve),
        requests=tuple(_find_requests(ids, weighted, departures or {})),
    )


def read_plan(path: Path) -> InspectionPlan:
    """Read a plan file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=InspectionPlan)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(
            "the plan cannot be read",
            where=str(path),
            got=str(error),
            expected="the JSON file of npsrisk plan",
            todo="make it again with npsrisk plan",
        ) from error


def select_by_plan(scores: pd.DataFrame, plan: InspectionPlan) -> pd.DataFrame:
    """Build the inspection lists of a plan: each office with its capacity."""
    ids, score, offices, days = _read_checked(scores)
    chosen: list[SelectedConsignment] = []
    for office in sorted(set(offices)):
        places = np.flatnonzero(np.array(offices, dtype=object) == office)
        rule = SelectionRule(plan.get_capacity(office), plan.explore, plan.seed)
        rows = select([ids[at] for at in places], score[places], [office] * len(places), days[places], rule)
        chosen += [row._replace(place=int(places[row.place])) for row in rows]
    return build_list_table(scores, chosen)


def _read_checked(scores: pd.DataFrame) -> tuple[list[str], Floats, list[str], Ints]:
    """Read the columns of a score table, and check its rows of all offices together."""
    columns = read_score_columns(scores)
    check_rows(columns[0], columns[1])
    return columns


def _find_capacity(office: str, capacities: Mapping[str, int]) -> int:
    found = capacities.get(office, capacities.get("*"))
    if found is None:
        raise BadInput(
            "an office of the scores has no capacity",
            where="--capacity",
            got=office or "no office",
            expected="OFFICE=N for each office, or one N for all",
            todo="add the office to --capacity, or leave its scores out",
        )
    return found


def _find_requests(
    ids: Sequence[str], expected: Floats, departures: Mapping[str, str]
) -> list[PartnerRequest]:
    """Find the departure countries from which most of the expected detections come."""
    sums, total = Counter[str](), float(expected.sum())
    for name, each in zip(ids, expected.tolist(), strict=True):
        if country := departures.get(name):
            sums[country] += each
    shares = [PartnerRequest(country, each / total) for country, each in sums.items() if total]
    largest = sorted(shares, key=lambda each: (-each.share, each.departure_country))[:MAX_REQUESTS]
    return [each for each in largest if each.share >= MIN_REQUEST_SHARE]
