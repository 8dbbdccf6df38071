"""Honest traffic of a hard world: senders with their own wordings and prices, as networks have."""

import numpy as np

from training.simulation.context import CalendarDay, SimulationContext
from training.simulation.hard_parameters import HardParameters
from training.simulation.legitimate_traffic import LegitimateTraffic
from training.simulation.parties import SELLERS, Ids
from training.simulation.shipments import HABIT, PLAIN, Draws, Shipments, draw_flags
from training.simulation.spelling_noise import draw_lasting

WORDING_WAY, PRICE_WAY, WEIGHT_WAY = 61, 62, 63
"""Keys of the lasting random numbers of a sender, by what they decide."""
WORDINGS = 10_000
"""As many as networks draw from."""
PRICES = 4
"""Prices at which a sender sells a kind of goods (assumed)."""
WEIGHT_RANGE_LOG, PRICE_RANGE_LOG = 1.2, 0.9
"""A lasting weight and price lie within e to the power of half of this from the class's median (assumed)."""


class HardTraffic(LegitimateTraffic):
    """Honest consignments with repeated wordings, weights and values.

    Parameters
    ----------
    stage : SimulationContext
    hard : HardParameters
    draws : Generator
    """

    def __init__(self, stage: SimulationContext, hard: HardParameters, draws: Draws) -> None:
        super().__init__(stage, draws)
        self._habits = hard.honest
        self._heaviest = np.array([held.heaviest_kg for held in stage.world.services.values()])

    def draw_day(self, draws: Draws, day: CalendarDay) -> Shipments:
        """Draw the consignments of one day, one or more."""
        shipments = super().draw_day(draws, day)
        sells = SELLERS[self._parties.kind[shipments.sender]]
        worded = sells & draw_flags(draws, self._habits.wording, len(shipments))
        worded &= (draw_lasting(shipments.sender, WORDING_WAY) < self._habits.wording) & (
            shipments.wording == PLAIN
        )
        shipments.habit[worded] = self._get_wording(shipments.sender[worded])
        shipments.wording[worded] = HABIT
        self._set_prices(
            draws, shipments, sells & draw_flags(draws, self._habits.price_points, len(shipments))
        )
        return shipments

    def _get_wording(self, senders: Ids) -> Ids:
        return 1 + (draw_lasting(senders, WORDING_WAY + 1000) * WORDINGS).astype(np.int64)

    def _set_prices(
        self, draws: Draws, shipments: Shipments, rows: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        """Set weight and value of some rows to one of the few pairs of their sender and goods."""
        at = np.flatnonzero(rows)
        ware = shipments.ware[at]
        pair = (shipments.sender[at] * 1000 + ware) * PRICES + draws.integers(0, PRICES, len(at))
        weight = np.exp((draw_lasting(pair, WEIGHT_WAY) - 0.5) * 2 * WEIGHT_RANGE_LOG)
        price = np.exp((draw_lasting(pair, PRICE_WAY) - 0.5) * 2 * PRICE_RANGE_LOG)
        kg = np.minimum(self._catalogue.kg[ware] * weight, self._heaviest[shipments.service[at]])
        shipments.kg[at] = np.maximum(np.round(kg, 2), 0.02)
        shipments.usd[at] = np.round(self._catalogue.usd_per_kg[ware] * kg * price, 0) + 0.9
