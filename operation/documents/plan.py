"""Plan of an operation: capacity by office, expected detections with their interval, and what one more inspection brings."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from msgspec import Meta
from numpy.typing import NDArray
from scipy.stats import poisson

from consignments.errors import BadInput
from models.calibration import CalibrationLevel
from models.selection import (
    SelectedConsignment,
    SelectionRule,
    build_list_table,
    check_rows,
    compute_selection_probabilities,
    read_score_columns,
    select,
)
from operation.inspections import OperationPeriod
from training.evaluation.estimate import INTERVAL_QUANTILES, Estimate

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
    """Plan of an operation, with the 95 % interval of its expected detections.

    `npsrisk select --plan` follows it, and `npsrisk debrief --plan` compares results with it.
    """

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
    """Build a plan from the scores of recent days, which the operation is expected to resemble.

    `capacities` are inspections a day by office, '*' for any other. Without `level` the interval holds chance alone.
    """
    if not len(scores):
        raise BadInput(
            "no score to plan with",
            where="--scores",
            got="no row",
            expected="the scores of recent days",
            todo="score them with npsrisk score",
        )
    OperationPeriod(details.begins, details.ends, details.ends).check()
    ids, score, offices, days = _read_checked(scores)
    names = sorted(set(offices))
    capacity = {name: _find_capacity(name, capacities) for name in names}
    cells = _OfficeCells(np.array(offices, dtype=object), score, days, len(np.unique(days)))
    plans = tuple(cells.plan_office(name, capacity[name], details.explore) for name in names)
    taken = cells.select_all(capacity, details.explore)
    length = max((details.ends - details.begins).total_seconds() / 86_400, 1.0)
    expected = float(sum(each.expected_a_day for each in plans)) * length
    interval = _estimate_total(expected, level)
    return InspectionPlan(
        operation=details.operation,
        begins=details.begins,
        ends=details.ends,
        target=details.target,
        model=str(scores["model_version"].iloc[-1]) if "model_version" in scores else "",
        explore=details.explore,
        seed=details.seed,
        observed_days=cells.days_observed,
        expected=interval.value,
        expected_low=interval.low,
        expected_high=interval.high,
        offices=plans,
        curve=tuple(cells.draw_curve(capacity, details.explore)),
        requests=tuple(_find_requests(ids, score * taken, departures or {})),
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


def _read_checked(
    scores: pd.DataFrame,
) -> tuple[list[str], NDArray[np.float64], list[str], NDArray[np.int64]]:
    """Read the columns of a score table, and check its rows of all offices together."""
    columns = read_score_columns(scores)
    check_rows(columns[0], columns[1])
    return columns


class _OfficeCells(NamedTuple):
    """Scores by office and day."""

    offices: NDArray[np.object_]
    score: NDArray[np.float64]
    days: NDArray[np.int64]
    days_observed: int

    def plan_office(self, office: str, capacity: int, explore: float) -> OfficePlan:
        mine = self.offices == office
        expected, more = (self._expect(mine, each, explore) for each in (capacity, capacity + 1))
        return OfficePlan(
            office, capacity, float(mine.sum()) / self.days_observed, expected, max(more - expected, 0.0)
        )

    def select_all(self, capacity: Mapping[str, int], explore: float) -> NDArray[np.float64]:
        """Compute the selection probability of every row."""
        taken = np.zeros(len(self.score))
        for office, amount in capacity.items():
            mine = self.offices == office
            taken[mine] = self._select(mine, amount, explore)
        return taken

    def draw_curve(self, capacity: Mapping[str, int], explore: float) -> "Sequence[CurvePoint]":
        points = []
        for factor in CURVE_FACTORS:
            scaled = {office: max(1, round(factor * amount)) for office, amount in capacity.items()}
            expected = sum(
                self._expect(self.offices == office, each, explore) for office, each in scaled.items()
            )
            points.append(CurvePoint(sum(scaled.values()), expected))
        return points

    def _expect(self, mine: NDArray[np.bool_], capacity: int, explore: float) -> float:
        return float((self._select(mine, capacity, explore) * self.score[mine]).sum()) / self.days_observed

    def _select(self, mine: NDArray[np.bool_], capacity: int, explore: float) -> NDArray[np.float64]:
        return compute_selection_probabilities(
            self.score[mine], self.offices[mine].tolist(), self.days[mine], capacity=capacity, explore=explore
        )


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


def _estimate_total(expected: float, level: CalibrationLevel | None) -> Estimate:
    low, high = (1.0, 1.0) if level is None else (level.low, level.high)
    first, last = INTERVAL_QUANTILES
    return Estimate(
        expected, float(poisson.ppf(first, low * expected)), float(poisson.ppf(last, high * expected))
    )


def _find_requests(
    ids: Sequence[str], expected: NDArray[np.float64], departures: Mapping[str, str]
) -> list[PartnerRequest]:
    """Find the departure countries from which most of the expected detections come."""
    if not departures or not expected.sum():
        return []
    countries = pd.Series([departures.get(each) for each in ids], dtype="object")
    shares = (
        pd.Series(expected).groupby(countries).sum().sort_values(ascending=False, kind="stable")
        / expected.sum()
    )
    return [
        PartnerRequest(str(country), float(share))
        for country, share in shares.items()
        if share >= MIN_REQUEST_SHARE
    ][:MAX_REQUESTS]
