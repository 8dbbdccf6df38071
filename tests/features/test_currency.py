"""Rates: the last published before the day, and nothing from after it."""

from datetime import UTC, datetime
from math import nan

import numpy as np
import pytest

from consignments.timestamps import to_day
from features.currency import MAX_CLOSED_DAYS, ExchangeRates

MONDAY = to_day(datetime(2024, 3, 4, tzinfo=UTC))
ROUBLE_ENDS = to_day(datetime(2022, 3, 1, tzinfo=UTC))
DAYS = np.array([MONDAY, MONDAY + 1], dtype=np.int32)
RATES = ExchangeRates(np.array(["EUR", "KRW"]), DAYS, np.array([[1.10, 0.0010], [1.20, 0.0011]]))


AMOUNTS = {
    "the day before": (100.0, "EUR", MONDAY + 1, 110.0),
    "not today's": (100.0, "EUR", MONDAY, nan),
    "past the end": (1000.0, "KRW", MONDAY + 500, 1.1),
    "unknown": (5.0, "XXX", MONDAY + 1, nan),
    "dollars": (5.0, "USD", MONDAY, 5.0),
    "fixed to dollars": (3.75, "SAR", MONDAY, 1.0),
}
PUBLISHED = {
    "as published": (MONDAY, MONDAY + 2, 1.0, "EUR", MONDAY + 1, 1.0846),
    "another": (MONDAY, MONDAY + 2, 1444.94, "KRW", MONDAY + 1, 1.0846),
    "none after its last day": (MONDAY, MONDAY, 1.0, "EUR", MONDAY + 60, 1.0846),
    "over a weekend": (MONDAY, MONDAY, 1.0, "EUR", MONDAY, 1.0813),
    "closed days": (ROUBLE_ENDS - 30, ROUBLE_ENDS + 60, 1000.0, "RUB", ROUBLE_ENDS + MAX_CLOSED_DAYS, 9.5238),
    "no longer published": (ROUBLE_ENDS - 30, ROUBLE_ENDS + 60, 1.0, "RUB", ROUBLE_ENDS + 30, nan),
}


@pytest.mark.parametrize(("amount", "currency", "day", "usd"), AMOUNTS.values(), ids=AMOUNTS)
def test_an_amount_is_valued_at_the_last_rate_before_its_day(amount, currency, day, usd):
    for rates in (RATES, ExchangeRates.from_arrays(RATES.to_arrays())):
        assert rates.convert_to_usd(amount, currency, day) == pytest.approx(usd, nan_ok=True)
    empty = ExchangeRates.from_arrays(ExchangeRates.create_empty().to_arrays())
    expected = usd if currency in ("USD", "SAR") else nan
    assert empty.convert_to_usd(amount, currency, day) == pytest.approx(expected, nan_ok=True)
    assert not any(array.dtype.hasobject for array in RATES.to_arrays().values())


@pytest.mark.parametrize(
    ("first", "last", "amount", "currency", "day", "usd"), PUBLISHED.values(), ids=PUBLISHED
)
def test_the_ecb_table_is_as_published(first, last, amount, currency, day, usd):
    """1 EUR was 1.0813 USD on 1 March 2024, a Friday, and 1.0846 USD and 1,444.94 KRW on 4 March; the ECB suspended the rouble after 1 March 2022."""
    pytest.importorskip("currency_converter")
    rates = ExchangeRates.load_ecb(first, last)
    assert rates.convert_to_usd(amount, currency, day) == pytest.approx(usd, abs=1e-4, nan_ok=True)
