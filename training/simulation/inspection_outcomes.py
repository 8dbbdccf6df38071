"""Simulated inspections: presented or missed, detected or not, field test, laboratory, and when the result is known."""

from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from consignments.records import Outcome, Selector
from consignments.timestamps import to_datetime
from models.arrays import Bools
from training.simulation.context import SimulationContext
from training.simulation.parameters import Parameters
from training.simulation.shipments import (
    CONCEALMENTS,
    HOUR_US,
    RESULTS,
    Contents,
    Draws,
    Shipments,
    SimulatedDay,
    draw_flags,
)

CORRECTED_FROM = (Contents.OTHER, Contents.CONTROLLED, Contents.NPS, Contents.CLEAR)
"""Contents that were reported before a correction, by the true ones."""
DRUGS = (Contents.NPS, Contents.CONTROLLED)


class InspectionChoice(NamedTuple):
    """A consignment that is selected for inspection."""

    row: int  # its position in the arrivals
    selected_by: Selector
    probability: float | None = None  # of being chosen under the whole policy, in (0, 1]; None if unknown
    score: float | None = None  # of the model that ranked it, if one did


class InspectionSimulator:
    """Simulator of the inspections of one world."""

    def __init__(self, context: SimulationContext) -> None:
        self._context, world = context, context.world
        self._policy, self._laboratory = world.inspection, world.laboratory
        self._services = [*world.services.values()]
        new, control = world.events.new_substance, world.events.class_control
        self._came = {new.name: new.day, control.substitute: control.day}

    def inspect(
        self, draws: Draws, arrivals: SimulatedDay, choice: InspectionChoice, operation: str | None
    ) -> tuple[list[Outcome], int]:
        """Inspect a consignment, if it is presented; returns its rows of the outcome table, and what was found on the spot."""
        policy, sent, row = self._policy, arrivals.shipments, choice.row
        received = int(sent.received_us[row])
        selected = received + _draw_us(draws, policy.selection_hours)
        chosen = Outcome(
            consignment_id=arrivals.columns["consignment_id"][row],
            selected_by=choice.selected_by,
            selection_probability=choice.probability,
            selected_at=to_datetime(selected),
            status="missed",
            operation=operation,
            office=arrivals.columns["office"][row],
        )
        if draws.random() < policy.missed:
            return [chosen], Contents.CLEAR
        arrived = received + _draw_us(draws, self._services[sent.service[row]].transit_h)
        inspected = max(arrived, selected) + _draw_us(draws, policy.open_hours)
        opened = replace(chosen, status="inspected", inspected_at=to_datetime(inspected))
        how = CONCEALMENTS[sent.hidden[row]] if sent.result[row] in DRUGS else "other_offence"
        result = int(sent.result[row]) if draws.random() < policy.detection[how] else Contents.CLEAR
        hours, test = self._laboratory.plain_log_hours, self._laboratory.presumptive
        is_powder = result == Contents.CLEAR and self._context.catalogue.powder[sent.ware[row]]
        if result in DRUGS or (is_powder and draws.random() < test.tested_if_clean):
            if self._is_submitted(draws, arrivals, row, result):
                return self._examine(draws, arrivals, row, opened, result), result
            result, hours = Contents.CLEAR, test.log_hours
        delay = timedelta(hours=float(draws.lognormal(*hours)))
        return self._report_final(draws, sent, row, opened, result, delay), result

    def _is_submitted(self, draws: Draws, arrivals: SimulatedDay, row: int, result: int) -> bool:
        """Simulate the field test: positive, unreadable or doubted samples go to the laboratory."""
        test = self._laboratory.presumptive
        positive = 1.0 - test.specificity if result == Contents.CLEAR else test.sensitivity
        unknown = test.unknown_if_new if self._is_new(arrivals, row) else 0.0
        submitted = unknown + (1.0 - unknown) * (positive + (1.0 - positive) * test.doubted[RESULTS[result]])
        return bool(draws.random() < submitted)

    def _is_new(self, arrivals: SimulatedDay, row: int) -> bool:
        """Check whether it contains a recent substance, which tests and laboratories do not know well."""
        day = self._came.get(self._context.substances.names[arrivals.shipments.substance[row]], -np.inf)
        return bool(arrivals.since_start < day + self._laboratory.new_substance_days)

    def _examine(
        self, draws: Draws, arrivals: SimulatedDay, row: int, opened: Outcome, result: int
    ) -> list[Outcome]:
        """Return a pending outcome, and the laboratory's final result if there is one."""
        pending = replace(opened, result="pending")
        if draws.random() < self._laboratory.never:
            return [pending]
        slower = self._laboratory.new_substance if self._is_new(arrivals, row) else 1.0
        delay = timedelta(days=float(draws.lognormal(*self._laboratory.log_days)) * slower)
        return [pending, *self._report_final(draws, arrivals.shipments, row, opened, result, delay)]

    def _report_final(
        self, draws: Draws, sent: Shipments, row: int, opened: Outcome, result: int, delay: timedelta
    ) -> list[Outcome]:
        """Return the final result; a few are wrong at first and corrected later."""
        assert opened.inspected_at is not None
        known_at, number = opened.inspected_at + delay, int(sent.substance[row])
        found: dict[str, Any] = {}
        if result != Contents.CLEAR:
            found["substance"] = self._context.substances.names[number]
        if result in DRUGS:
            measured = sent.grams[row] * np.exp(draws.normal(0, self._laboratory.scale_error))
            found["substance_family"] = self._context.substances.families[number]
            found |= {"quantity_g": round(float(measured), 2), "concealment": CONCEALMENTS[sent.hidden[row]]}
        final = replace(opened, result=RESULTS[result], known_at=known_at, **found)
        if draws.random() >= self._laboratory.corrected:
            return [final]
        wrong = replace(final, result=RESULTS[CORRECTED_FROM[result]], substance=None, substance_family=None)
        later = timedelta(days=float(draws.uniform(*self._laboratory.correction_days)))
        return [wrong, replace(final, known_at=known_at + later)]


def draw_flags_by_result(draws: Draws, sent: Shipments, chances: Parameters) -> Bools:
    """Draw a flag for each shipment with a probability by its true result, for X-ray or intelligence."""
    chance = np.array([chances[result] for result in RESULTS])[sent.result]
    return draw_flags(draws, chance, len(sent))


def _draw_us(draws: Draws, hours: tuple[float, float]) -> int:
    return int(draws.uniform(*hours) * HOUR_US)
