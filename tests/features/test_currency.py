"""Rates: the last published before the day, and nothing from after it."""

from datetime import UTC, datetime
from math import isnan

import numpy as np
import pytest

from consignments.timestamps import to_day
from features.currency import MAX_CLOSED_DAYS, ExchangeRates

MONDAY = to_day(datetime(2024, 3, 4, tzinfo=UTC))


@pytest.fixture
def rates():
    return ExchangeRates(
        np.array(["EUR", "KRW"]),
        np.array([MONDAY, MONDAY + 1], dtype=np.int32),
        np.array([[1.10, 0.0010], [1.20, 0.0011]]),
    )


def test_an_amount_is_valued_at_the_rate_of_the_day_before(rates):
    assert rates.convert_to_usd(100.0, "EUR", MONDAY + 1) == pytest.approx(110.0)


def test_a_rate_published_today_is_not_used_today(rates):
    assert isnan(rates.convert_to_usd(100.0, "EUR", MONDAY))


def test_over_closed_days_and_past_the_end_the_last_rate_holds(rates):
    assert rates.convert_to_usd(1000.0, "KRW", MONDAY + 500) == pytest.approx(1.1)


def test_dollars_and_what_is_fixed_to_them_need_no_table():
    assert ExchangeRates.create_empty().convert_to_usd(5.0, "USD", MONDAY) == 5.0
    assert ExchangeRates.create_empty().convert_to_usd(3.75, "SAR", MONDAY) == pytest.approx(1.0)


def test_an_unknown_currency_has_no_value(rates):
    assert isnan(rates.convert_to_usd(5.0, "XXX", MONDAY + 1))


def test_a_table_survives_its_arrays(rates):
    arrays = rates.to_arrays()
    assert not any(array.dtype.hasobject for array in arrays.values())
    assert ExchangeRates.from_arrays(arrays).convert_to_usd(100.0, "EUR", MONDAY + 2) == rates.convert_to_usd(
        100.0, "EUR", MONDAY + 2
    )
    assert isnan(
        ExchangeRates.from_arrays(ExchangeRates.create_empty().to_arrays()).convert_to_usd(1.0, "EUR", MONDAY)
    )


def test_a_currency_that_is_no_longer_published_has_no_value():
    """The ECB suspended the rouble after 1 March 2022."""
    pytest.importorskip("currency_converter")
    last = to_day(datetime(2022, 3, 1, tzinfo=UTC))
    table = ExchangeRates.load_ecb(last - 30, last + 60)
    assert not isnan(table.convert_to_usd(1000.0, "RUB", last + MAX_CLOSED_DAYS))
    assert isnan(table.convert_to_usd(1000.0, "RUB", last + 30))


def test_the_ecb_table_is_as_published():
    """1 EUR was 1.0846 USD and 1,444.94 KRW on 4 March 2024 (ECB reference rates)."""
    pytest.importorskip("currency_converter")
    table = ExchangeRates.load_ecb(MONDAY, MONDAY + 2)
    assert table.convert_to_usd(1.0, "EUR", MONDAY + 1) == pytest.approx(1.0846, abs=1e-9)
    assert table.convert_to_usd(1444.94, "KRW", MONDAY + 1) == pytest.approx(1.0846, abs=1e-9)


def test_the_ecb_table_reaches_back_over_a_weekend_before_its_first_day():
    pytest.importorskip("currency_converter")
    assert not isnan(ExchangeRates.load_ecb(MONDAY, MONDAY).convert_to_usd(1.0, "EUR", MONDAY))


def test_the_ecb_table_holds_nothing_published_after_its_last_day():
    pytest.importorskip("currency_converter")
    short, long = ExchangeRates.load_ecb(MONDAY, MONDAY), ExchangeRates.load_ecb(MONDAY, MONDAY + 30)
    assert short.convert_to_usd(1.0, "EUR", MONDAY + 60) == long.convert_to_usd(1.0, "EUR", MONDAY + 1)
    assert short.convert_to_usd(1.0, "EUR", MONDAY + 60) != long.convert_to_usd(1.0, "EUR", MONDAY + 60)
