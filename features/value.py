"""Features of value and weight: declared amounts, their consistency, and their deviation from the norm of the product.

Norms are learnt from the training fold on logarithms: by HS heading, else by chapter, else over all products. Amounts are
compared in dollars if their currency has a rate. Else they are compared with amounts of the same currency, or without currency.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import log, nan, sqrt
from typing import NamedTuple

from consignments.records import Consignment, Item
from consignments.timestamps import to_day
from features.currency import ExchangeRates
from features.normalization.normal_forms import NormalForms
from features.spec import Feature

# Largest finite float32, the type of feature rows.
MAX_FLOAT32 = 3.4028e38
# A heading or chapter with fewer consignments gets no norm.
MIN_CONSIGNMENTS_FOR_NORM = 30
# Minimum standard deviation of logarithms. A smaller one means that nearly all values were equal, not that the next value is an outlier.
MIN_SPREAD = 0.1
DOLLAR = "USD"
CURRENCY_LETTERS = 3
WEIGHT_UNIT = "KG"
ROUND_STEP = 10.0
HEADING_DIGITS, CHAPTER_DIGITS = 4, 2
PRODUCT_CACHE_SIZE, UNIT_CACHE_SIZE = 1 << 13, 1 << 10


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
    """The features of value and weight.

    Parameters
    ----------
    rates : ExchangeRates
        US dollars per unit of each currency by day.
    norms : mapping
        Result of `fit_norms`.
    """

    features = (
        Feature("value.declared", "currency", "declared_value"),
        Feature("value.usd", "USD", "declared_value", fitted=True),
        Feature(
            "value.usd_z",
            "standard deviations",
            "value_for_product",
            fitted=True,
        ),
        Feature("value.zero_or_one", "flag", "token_value"),
        Feature("value.round", "flag", "token_value"),
        Feature("value.missing", "flag", "token_value"),
        Feature(
            "value.per_kg",
            "currency/kg",
            "value_for_product",
        ),
        Feature(
            "value.per_kg_usd",
            "USD/kg",
            "value_for_product",
            fitted=True,
        ),
        Feature(
            "value.per_kg_z",
            "standard deviations",
            "value_for_product",
            fitted=True,
        ),
        Feature(
            "value.per_piece_usd",
            "USD/piece",
            "value_for_product",
            fitted=True,
        ),
        Feature(
            "value.per_piece_z",
            "standard deviations",
            "value_for_product",
            fitted=True,
        ),
        Feature("value.gross_weight_kg", "kg", "weight"),
        Feature("value.weight_missing", "flag", "weight"),
        Feature("value.weight_round", "flag", "weight"),
        Feature("value.pieces", "count", "weight"),
        Feature("value.weight_per_piece_kg", "kg", "weight_for_product"),
        Feature(
            "value.weight_per_piece_z",
            "standard deviations",
            "weight_for_product",
            fitted=True,
        ),
        Feature("value.postage_share", "ratio", "postage"),
        Feature("value.postage_per_kg", "currency/kg", "postage"),
        Feature("value.items", "count", "items"),
        Feature("value.items_sum_share", "ratio", "items"),
        Feature("value.items_weight_share", "ratio", "items"),
        Feature("value.items_incomplete", "share", "items"),
        Feature("value.items_largest", "share", "items"),
        Feature("value.per_unit", "currency", "items"),
    )

    def __init__(self, rates: ExchangeRates, norms: Mapping[str, Sequence[float]]) -> None:
        self._rates = rates
        self._norms = _group_by_measure(norms)
        self._norms_of = lru_cache(PRODUCT_CACHE_SIZE)(self._find_norms)

    def compute(self, c: Consignment, forms: NormalForms) -> Sequence[float]:
        """Compute the features of value and weight, NaN if missing."""
        sums = sum_items(c.items) if c.items else NO_ITEMS
        declared = get_declared_value(c, sums)
        unit, value, per_kg, per_piece, weight_per_piece = compute_measures(c, self._rates, declared)
        in_dollars = unit == DOLLAR
        usual_value, usual_per_kg, usual_per_piece, usual_weight = self._norms_of(
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


def fit_norms(
    consignments: Iterable[Consignment], forms: Iterable[NormalForms], rates: ExchangeRates
) -> dict[str, list[float]]:
    """Learn the norms of values and weights by product.

    Parameters
    ----------
    consignments : iterable of Consignment
        The training fold only.
    forms : iterable of NormalForms
        Their normal forms, in the same order.
    rates : ExchangeRates

    Returns
    -------
    dict
        `measure|unit|heading`, `measure|unit|chapter` or `measure|unit|` to mean and standard deviation of the natural
        logarithm, over the consignments that have the measure above zero.
    """
    sums: dict[str, list[float]] = {}
    for c, form in zip(consignments, forms, strict=True):
        declared = get_declared_value(c, sum_items(c.items) if c.items else NO_ITEMS)
        unit, *amounts = compute_measures(c, rates, declared)
        for name, amount in zip(ValueMeasures._fields[1:], amounts, strict=True):
            if amount > 0.0:
                where = f"{name}|{WEIGHT_UNIT if name == 'weight_per_piece' else unit}|"
                _add_amount(sums, where, form.hs, log(amount))
    return {
        where: _compute_mean_and_spread(*total)
        for where, total in sorted(sums.items())
        if _is_enough(where, total)
    }


def get_declared_value(c: Consignment, sums: ItemSums) -> float:
    """Return the declared value, or the sum of the items if it is missing, in the currency of the consignment."""
    return sums.value if c.declared_value is None else c.declared_value


def compute_measures(c: Consignment, rates: ExchangeRates, declared: float) -> ValueMeasures:
    """Compute the amounts of a consignment that have norms."""
    unit = _clean_currency(c.currency) if c.currency else ""
    value = declared
    if unit and unit != DOLLAR:
        day = 0 if c.received_at is None else to_day(c.received_at)
        usd = rates.convert_to_usd(declared, unit, day)
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
        if item.description is None or None in parts:
            incomplete += 1
        value += _to_float(item.value)
        weight += _to_float(item.net_weight_kg)
        quantity += _to_float(item.quantity)
        largest = max(largest, item.value or 0.0)
    kinds = len(items)
    return ItemSums(float(kinds), value, weight, quantity, incomplete / kinds, _divide(largest, value))


@lru_cache(UNIT_CACHE_SIZE)
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


def _add_amount(sums: dict[str, list[float]], where: str, hs: str, amount: float) -> None:
    for product in {"", hs[:CHAPTER_DIGITS], hs[:HEADING_DIGITS]}:
        total = sums.setdefault(where + product, [0.0, 0.0, 0.0])
        total[0] += 1.0
        total[1] += amount
        total[2] += amount * amount


def _is_enough(where: str, total: Sequence[float]) -> bool:
    return total[0] >= (MIN_CONSIGNMENTS_FOR_NORM if where[-1].isdigit() else 2)


def _compute_mean_and_spread(count: float, total: float, squares: float) -> list[float]:
    mean = total / count
    return [mean, max(sqrt(max(squares / count - mean * mean, 0.0)), MIN_SPREAD)]


def _group_by_measure(
    norms: Mapping[str, Sequence[float]],
) -> dict[tuple[str, str], dict[str, Sequence[float]]]:
    parted: dict[tuple[str, str], dict[str, Sequence[float]]] = {}
    for where, norm in norms.items():
        name, unit, product = where.split("|")
        parted.setdefault((name, unit), {})[product] = norm
    return parted
