"""Rates: the last published before the day, and nothing from after it."""

from datetime import date
from math import nan
from typing import Any

import numpy as np
import pytest
from support.cases import read_cases

from features.currency import ExchangeRates

EPOCH = date(1970, 1, 1)


def count_days(day: str) -> int:
    return (date.fromisoformat(day) - EPOCH).days


DAYS = np.array([count_days("2024-03-04"), count_days("2024-03-05")], dtype=np.int32)
RATES = ExchangeRates(np.array(["EUR", "KRW"]), DAYS, np.array([[1.10, 0.0010], [1.20, 0.0011]]))
EMPTY = ExchangeRates.create_empty()


@pytest.mark.parametrize("case", read_cases("currency_amounts"))
def test_an_amount_is_valued_at_the_last_rate_before_its_day(case: dict[str, Any]) -> None:
    """Each line has a claim, an amount, its value or null, and for which days the rates of the ECB are known, unless it is about `RATES`.

    1 EUR was 1.0813 USD on 1 March 2024, a Friday, and 1.0846 USD and 1,444.94 KRW on 4 March; the ECB suspended the rouble after 1 March 2022.
    """
    if "published" in case:
        pytest.importorskip("currency_converter")
        tables = [ExchangeRates.load_ecb(*map(count_days, case["published"]))]
    else:
        tables = [RATES, ExchangeRates.from_arrays(RATES.to_arrays())]
    amount, currency, usd = case["amount"], case["currency"], nan if case["usd"] is None else case["usd"]
    for rates in tables:
        found = rates.convert_to_usd(amount, currency, count_days(case["on"]))
        assert found == pytest.approx(usd, abs=1e-4, nan_ok=True)
    for rates in (EMPTY, ExchangeRates.from_arrays(EMPTY.to_arrays())):
        known = usd if currency in ("USD", "SAR") else nan
        found = rates.convert_to_usd(amount, currency, count_days(case["on"]))
        assert found == pytest.approx(known, nan_ok=True)


def test_rates_are_kept_as_plain_arrays() -> None:
    assert not any(array.dtype.hasobject for array in RATES.to_arrays().values())
