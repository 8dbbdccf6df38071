"""The values of value and weight in plain Python: the oracle of the kernels in `features.value`."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import log, nan
from typing import NamedTuple

from consignments.records import Consignment, Item
from consignments.timestamps import to_day
from features.currency import PEGGED_UNITS_PER_DOLLAR, ExchangeRates
from features.normalization.normal_forms import NormalForms
from features.value import (
    CHAPTER_DIGITS,
    CURRENCY_LETTERS,
    DOLLAR,
    HEADING_DIGITS,
    MAX_FLOAT32,
    ROUND_STEP,
    VALUE_FEATURES,
    WEIGHT_UNIT,
)


class ValueMeasures(NamedTuple):
    """The amounts that have norms; NaN if missing.

    Attributes
    ----------
    unit : str
        `USD`; the currency if it has no rate; '' if no valid currency is given.
    value, per_kg, per_piece : float
        Declared value in `unit`: total, per kilogram, per piece.
    weight_per_piece : float
        Kilograms.
    """

    unit: str
    value: float
    per_kg: float
    per_piece: float
    weight_per_piece: float


class ItemSums(NamedTuple):
    """The sums over the items of a consignment. A sum is NaN if the value of any item is missing.

    Attributes
    ----------
    kinds : float
        Number of items.
    value, weight_kg, quantity : float
    incomplete : float
        Share of items without description, quantity, weight or value.
    largest : float
        Largest item's share of the items' value.
    """

    kinds: float
    value: float
    weight_kg: float
    quantity: float
    incomplete: float
    largest: float


NO_ITEMS = ItemSums(nan, nan, nan, nan, nan, nan)
NO_ITEM_VALUES = (nan,) * 6
Norm = Sequence[float] | None
"""Mean and standard deviation of natural logarithms."""


class ValueFeatures:
    """The features of value and weight."""

    features = VALUE_FEATURES

    def __init__(self, rates: ExchangeRates, norms: Mapping[str, Sequence[float]]) -> None:
        self._rates = rates
        self._norms = _group_by_measure(norms)

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the features of value and weight, NaN if missing."""
        sums = sum_items(c.items) if c.items else NO_ITEMS
        declared = get_declared_value(c, sums)
        unit, value, per_kg, per_piece, weight_per_piece = compute_measures(c, self._rates, declared)
        in_dollars = unit == DOLLAR
        usual_value, usual_per_kg, usual_per_piece, usual_weight = self._find_norms(
            unit, forms.hs[:HEADING_DIGITS]
        )
        weight, postage = _to_float(c.gross_weight_kg), _to_float(c.postage)
        return (
            MAX_FLOAT32 if declared > MAX_FLOAT32 else declared,
            value if in_dollars else nan,
            _compute_deviation(usual_value, value),
            1.0 if declared == 0.0 or declared == 1.0 else 0.0,
            1.0 if declared > 0.0 and declared % ROUND_STEP == 0.0 else 0.0,
            1.0 if declared != declared else 0.0,
            _divide(declared, weight),
            per_kg if in_dollars else nan,
            _compute_deviation(usual_per_kg, per_kg),
            per_piece if in_dollars else nan,
            _compute_deviation(usual_per_piece, per_piece),
            MAX_FLOAT32 if weight > MAX_FLOAT32 else weight,
            0.0 if weight > 0.0 else 1.0,
            1.0 if weight > 0.0 and weight % 1.0 == 0.0 else 0.0,
            min(_to_float(c.pieces), MAX_FLOAT32),
            weight_per_piece,
            _compute_deviation(usual_weight, weight_per_piece),
            _divide(postage, declared),
            _divide(postage, weight),
            *(NO_ITEM_VALUES if sums is NO_ITEMS else _item_values(c, sums, declared, weight)),
        )

    def _find_norms(self, unit: str, heading: str) -> tuple[Norm, ...]:
        """Find the norms of a product: value, value per kilogram, value per piece, weight per piece."""
        return tuple(
            self._get_norm(name, WEIGHT_UNIT if name == "weight_per_piece" else unit, heading)
            for name in ValueMeasures._fields[1:]
        )

    def _get_norm(self, measure: str, unit: str, heading: str) -> Norm:
        norms = self._norms.get((measure, unit), {})
        return norms.get(heading) or norms.get(heading[:CHAPTER_DIGITS]) or norms.get("")


def _item_values(c: Consignment, sums: ItemSums, declared: float, weight: float) -> tuple[float, ...]:
    return (
        sums.kinds,
        _divide(sums.value, _to_float(c.declared_value)),
        _divide(sums.weight_kg, weight),
        sums.incomplete,
        sums.largest,
        _divide(declared, sums.quantity),
    )


def _compute_deviation(norm: Norm, amount: float) -> float:
    """Compute the deviation of an amount's logarithm from the norm of its product, in standard deviations."""
    return (log(amount) - norm[0]) / norm[1] if norm and amount > 0.0 else nan


def get_declared_value(c: Consignment, sums: ItemSums) -> float:
    """Return the declared value, or the sum of the items if it is missing, in the currency of the consignment."""
    return sums.value if c.declared_value is None else c.declared_value


def compute_measures(c: Consignment, rates: ExchangeRates, declared: float) -> ValueMeasures:
    """Compute the amounts of a consignment that have norms."""
    unit = _clean_currency(c.currency) if c.currency else ""
    value = declared
    if unit and unit != DOLLAR:
        day = 0 if c.received_at is None else to_day(c.received_at)
        usd = convert_to_usd(rates, declared, unit, day)
        if usd == usd:
            unit, value = DOLLAR, usd
    weight, pieces = _to_float(c.gross_weight_kg), _to_float(c.pieces)
    return ValueMeasures(
        unit, min(value, MAX_FLOAT32), _divide(value, weight), _divide(value, pieces), _divide(weight, pieces)
    )


def sum_items(items: Sequence[Item]) -> ItemSums:
    """Sum up the items of a consignment."""
    value = weight = quantity = largest = 0.0
    incomplete = 0
    for item in items:
        parts = (item.value, item.net_weight_kg, item.quantity)
        if not item.description or None in parts:
            incomplete += 1
        value += _to_float(item.value)
        weight += _to_float(item.net_weight_kg)
        quantity += _to_float(item.quantity)
        largest = max(largest, item.value or 0.0)
    kinds = len(items)
    return ItemSums(float(kinds), value, weight, quantity, incomplete / kinds, _divide(largest, value))


def _clean_currency(currency: str) -> str:
    """Return the code of a currency in normal form; '' if the text is not a code."""
    unit = currency.strip().upper()
    return unit if len(unit) == CURRENCY_LETTERS and unit.isalpha() else ""


def _to_float(number: float | None) -> float:
    return nan if number is None else number


def _divide(one: float, other: float) -> float:
    """Divide two numbers; NaN if the divisor is zero. The result is at most the largest float32."""
    if not other:
        return nan
    ratio = one / other
    return MAX_FLOAT32 if ratio > MAX_FLOAT32 else ratio


def _group_by_measure(
    norms: Mapping[str, Sequence[float]],
) -> dict[tuple[str, str], dict[str, Sequence[float]]]:
    parted: dict[tuple[str, str], dict[str, Sequence[float]]] = {}
    for where, norm in norms.items():
        name, unit, product = where.split("|")
        parted.setdefault((name, unit), {})[product] = norm
    return parted


def convert_to_usd(rates: ExchangeRates, amount: float, currency: str, day: int) -> float:
    """Convert an amount to US dollars, at the last rate published before a day; NaN if there is none."""
    if currency == DOLLAR:
        return amount
    if currency in PEGGED_UNITS_PER_DOLLAR:
        return amount / PEGGED_UNITS_PER_DOLLAR[currency]
    arrays = rates.to_arrays()
    row = bisect_left(arrays["rate_days"].tolist(), day) - 1
    names = arrays["rate_currencies"].tolist()
    return (
        amount * float(arrays["rate_usd"][row, names.index(currency)])
        if row >= 0 and currency in names
        else nan
    )
