"""Simulated inspections: presented or missed, detected or not, field test, laboratory, and when the result is known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import heappop, heappush

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.records import Outcome, Result, Selector
from consignments.timestamps import to_datetime, to_us
from training.simulation.context import SimulationContext
from training.simulation.declarations import Columns
from training.simulation.hard_parameters import Shares
from training.simulation.shipments import (
    CLEAR,
    CONCEALMENTS,
    CONTROLLED,
    NPS,
    OTHER,
    RESULTS,
    Draws,
    Numbers,
    Shipments,
    draw_flags,
)
from training.simulation.watchlists import WATCHED_COLUMNS, Detection, list_watched_names

HOUR_US = 3_600_000_000
SELECTION_DELAY_HOURS = (0.3, 8.0)
"""Time from the advance data to the selection (assumed)."""
NOVEL_DAYS = 120
"""Days for which the laboratory takes longer with a new substance (assumed)."""
SCALE_ERROR = 0.03
"""Log sd of a measured quantity (assumed)."""
CORRECTION_DELAY_DAYS = (5.0, 40.0)
"""Time from a wrong final result to its correction (assumed)."""
CORRECTED_FROM = {NPS: CONTROLLED, CONTROLLED: NPS, OTHER: CLEAR, CLEAR: OTHER}
"""Result before a correction."""
DRUGS = (NPS, CONTROLLED)
OTHER_GOODS = "other_offence"


@dataclass(frozen=True)
class SimulatedDay:
    """One day of arrivals.

    Attributes
    ----------
    shipments : Shipments
        What was sent.
    columns : dict of arrays
        What was declared.
    since_start : int
        The day, from the start of the world.
    tipped : bool array, (n,)
        Consignments with intelligence from partners; inspected beyond the capacity.
    pictured : bool array, (n,)
        Consignments with a suspicious X-ray image, if one is taken. Both do not depend on who selects.
    """

    shipments: Shipments
    columns: Columns
    since_start: int
    tipped: NDArray[np.bool_]
    pictured: NDArray[np.bool_]

    @classmethod
    def concatenate(cls, parts: "Sequence[SimulatedDay]") -> "SimulatedDay":
        """Concatenate parts of one day."""
        return cls(
            Shipments.concatenate([part.shipments for part in parts]),
            {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
            parts[0].since_start,
            tipped=np.concatenate([part.tipped for part in parts]),
            pictured=np.concatenate([part.pictured for part in parts]),
        )

    def select_rows(self, rows: Numbers) -> "SimulatedDay":
        """Return some rows, in their order."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return SimulatedDay(
            self.shipments.select_rows(rows),
            columns,
            self.since_start,
            self.tipped[rows],
            self.pictured[rows],
        )


@dataclass(frozen=True)
class InspectionChoice:
    """One selected consignment.

    Attributes
    ----------
    row : int
        Its position in the day's arrivals.
    selected_by : Selector
    probability : float or None
        If it is known.
    operation : str or None
    """

    row: int
    selected_by: Selector
    probability: float | None = None
    operation: str | None = None


@dataclass
class InspectionSimulator:
    """Simulator of inspections; keeps the detections until the day on which they are made."""

    stage: SimulationContext
    _finds: list[Detection] = field(default_factory=list)

    def pop_detections(self, us: int) -> list[Detection]:
        """Return and remove the detections made before a time."""
        made = []
        while self._finds and self._finds[0].inspected_us < us:
            made.append(heappop(self._finds))
        return made

    def inspect(self, draws: Draws, arrivals: SimulatedDay, choice: InspectionChoice) -> list[Outcome]:
        """Inspect a consignment, if it is presented, and return its rows of the outcome table."""
        policy, sent, row = self.stage.world.inspection, arrivals.shipments, choice.row
        received = int(sent.received_us[row])
        selected = received + _hours_us(draws.uniform(*SELECTION_DELAY_HOURS))
        chosen = Outcome(
            consignment_id=arrivals.columns["consignment_id"][row],
            selected_by=choice.selected_by,
            selection_probability=choice.probability,
            selected_at=to_datetime(selected),
            status="missed",
            operation=choice.operation,
            office=arrivals.columns["office"][row],
        )
        if draws.random() < policy.missed:
            return [chosen]
        services = list(self.stage.world.services.values())
        arrived = received + _hours_us(draws.uniform(*services[sent.service[row]].transit_h))
        inspected = max(arrived, selected) + _hours_us(draws.uniform(*policy.open_hours))
        opened = _replace_fields(chosen, status="inspected", inspected_at=to_datetime(inspected))
        return self._report(draws, arrivals, row, opened)

    def _report(self, draws: Draws, arrivals: SimulatedDay, row: int, opened: Outcome) -> list[Outcome]:
        sent, laboratory = arrivals.shipments, self.stage.world.laboratory
        result = int(sent.result[row]) if self._is_found(draws, sent, row) else CLEAR
        hours = laboratory.plain_log_hours
        if result in DRUGS or (result == CLEAR and self._is_tested_though_clean(draws, sent, row)):
            if self._is_submitted(draws, arrivals, row, result):
                self._record_detection(arrivals, row, opened, result)
                return self._send_to_laboratory(draws, arrivals, row, opened, result)
            result, hours = CLEAR, laboratory.presumptive.log_hours
        self._record_detection(arrivals, row, opened, result)
        delay = timedelta(hours=float(draws.lognormal(*hours)))
        return self._report_final(draws, self._build_final(draws, sent, row, opened, result, delay), result)

    def _is_found(self, draws: Draws, sent: Shipments, row: int) -> bool:
        how = CONCEALMENTS[sent.hidden[row]] if sent.result[row] in DRUGS else OTHER_GOODS
        return bool(draws.random() < self.stage.world.inspection.detection[how])

    def _is_tested_though_clean(self, draws: Draws, sent: Shipments, row: int) -> bool:
        powder = bool(self.stage.catalogue.powder[sent.ware[row]])
        return powder and draws.random() < self.stage.world.laboratory.presumptive.tested_if_clean

    def _is_submitted(self, draws: Draws, arrivals: SimulatedDay, row: int, result: int) -> bool:
        """Simulate the field test: positive, unreadable or doubted samples go to the laboratory."""
        test = self.stage.world.laboratory.presumptive
        positive = 1.0 - test.specificity if result == CLEAR else test.sensitivity
        unknown = (
            test.unknown_if_new if self._is_novel(arrivals.shipments, row, arrivals.since_start) else 0.0
        )
        submitted = unknown + (1.0 - unknown) * (positive + (1.0 - positive) * test.doubted[RESULTS[result]])
        return bool(draws.random() < submitted)

    def _record_detection(self, arrivals: SimulatedDay, row: int, opened: Outcome, result: int) -> None:
        if result == CLEAR:
            return
        assert opened.inspected_at is not None
        names = list_watched_names(tuple(arrivals.columns[name][row] for name in WATCHED_COLUMNS))
        network = int(arrivals.shipments.network[row])
        heappush(self._finds, Detection(to_us(opened.inspected_at), network, result in DRUGS, names))

    def _send_to_laboratory(
        self, draws: Draws, arrivals: SimulatedDay, row: int, opened: Outcome, result: int
    ) -> list[Outcome]:
        """Return a pending outcome, and the laboratory's final result if there is one."""
        laboratory, sent = self.stage.world.laboratory, arrivals.shipments
        pending = _replace_fields(opened, result="pending")
        if draws.random() < laboratory.never:
            return [pending]
        days = float(draws.lognormal(*laboratory.log_days))
        if self._is_novel(sent, row, arrivals.since_start):
            days *= laboratory.new_substance
        final = self._build_final(draws, sent, row, opened, result, timedelta(days=days))
        return [pending, *self._report_final(draws, final, result)]

    def _is_novel(self, sent: Shipments, row: int, since_start: int) -> bool:
        """Check whether it contains a recent substance: the unknown one, or the substitute."""
        events = self.stage.world.events
        came = {events.new_substance.name: events.new_substance.day}
        came[events.class_control.substitute] = events.class_control.day
        day = came.get(self.stage.substances.names[sent.substance[row]])
        return day is not None and since_start < day + NOVEL_DAYS

    def _build_final(
        self, draws: Draws, sent: Shipments, row: int, opened: Outcome, result: int, delay: timedelta
    ) -> Outcome:
        assert opened.inspected_at is not None
        final = _replace_fields(opened, result=_decode_result(result), known_at=opened.inspected_at + delay)
        if result == CLEAR:
            return final
        substance, names = int(sent.substance[row]), self.stage.substances
        if result == OTHER:
            return _replace_fields(final, substance=names.names[substance])
        return _replace_fields(
            final,
            substance=names.names[substance],
            substance_family=names.families[substance],
            quantity_g=round(float(sent.grams[row] * np.exp(draws.normal(0, SCALE_ERROR))), 2),
            concealment=CONCEALMENTS[sent.hidden[row]],
        )

    def _report_final(self, draws: Draws, final: Outcome, result: int) -> list[Outcome]:
        """Return the final result; a few are wrong at first and corrected later."""
        if draws.random() >= self.stage.world.laboratory.corrected:
            return [final]
        wrong = _replace_fields(
            final, result=_decode_result(CORRECTED_FROM[result]), substance=None, substance_family=None
        )
        assert final.known_at is not None
        later = timedelta(days=float(draws.uniform(*CORRECTION_DELAY_DAYS)))
        return [wrong, _replace_fields(final, known_at=final.known_at + later)]


def draw_flags_by_result(draws: Draws, sent: Shipments, chances: Shares) -> NDArray[np.bool_]:
    """Draw a flag for each shipment with a probability by its true result, for X-ray or intelligence."""
    chance = np.array([chances[result] for result in RESULTS])[sent.result]
    return draw_flags(draws, chance, len(sent))


def _decode_result(number: int) -> Result:
    return RESULTS[number]


def _replace_fields(outcome: Outcome, **changes: object) -> Outcome:
    return msgspec.structs.replace(outcome, **changes)


def _hours_us(hours: float) -> int:
    return int(hours * HOUR_US)
