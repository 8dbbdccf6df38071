"""Features of value and weight: declared amounts, their consistency, and their deviation from the norm of the product.

Norms are learnt from the training fold on logarithms: by HS heading, else by chapter, else over all products. Amounts are
compared in dollars if their currency has a rate. Else they are compared with amounts of the same currency, or without currency.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log, nan, sqrt
from typing import NamedTuple

from consignments.records import Consignment, Item
from consignments.timestamps import to_day
from features.currency import DOLLAR, ExchangeRates
from features.normalization.normal_forms import CHAPTER_DIGITS, HEADING_DIGITS, NormalForms, get_goods_hs
from features.table import MAX_FLOAT32, read_group

# A heading or chapter with fewer consignments gets no norm.
MIN_CONSIGNMENTS_FOR_NORM = 30
# Minimum standard deviation of logarithms. A smaller one means that nearly all values were equal, not that the next value is an outlier.
MIN_SPREAD = 0.1
WEIGHT_UNIT = "KG"
CURRENCY_LETTERS = 3
ROUND_STEP = 10.0
_VALUE = read_group("value.")
VALUE_FEATURES = _VALUE.features
Norm = Sequence[float] | None
"""Mean and standard deviation of natural logarithms."""
Values = dict[str, float]


class ValueMeasures(NamedTuple):
    """The amounts that have norms; NaN if missing."""

    unit: str  # USD; the currency if it has no rate; empty if no valid one is given
    value: float
    per_kg: float
    per_piece: float
    weight_per_piece: float


MEASURES = ValueMeasures._fields[1:]


class _ItemSums(NamedTuple):
    """The sums over the items of a consignment. A sum is NaN if the value of any item is missing."""

    items: float
    value: float
    weight_kg: float
    quantity: float
    incomplete_share: float
    largest_share: float


_NO_ITEMS = _ItemSums(nan, nan, nan, nan, nan, nan)


class ValueFeatures:
    """The features of value and weight."""

    def __init__(self, rates: ExchangeRates, norms: Mapping[str, Sequence[float]]) -> None:
        self._rates = rates
        self._norms: dict[tuple[str, str], dict[str, Sequence[float]]] = {}
        for where, norm in norms.items():
            measure, unit, product = where.split("|")
            self._norms.setdefault((measure, unit), {})[product] = norm

    def compute(self, c: Consignment, forms: NormalForms) -> tuple[float, ...]:
        """Compute the features of value and weight, NaN if missing."""
        sums = _sum_items(c.items) if c.items else _NO_ITEMS
        declared = _get_declared_value(c, sums)
        measures = _compute_measures(c, self._rates, declared)
        values = _describe_amounts(c, declared, measures)
        values |= self._compute_deviations(measures, forms.hs[:HEADING_DIGITS])
        return _VALUE.arrange(values | _describe_items(c, sums, declared))

    def _compute_deviations(self, measures: ValueMeasures, heading: str) -> Values:
        """Compute the deviation of each measure's logarithm from the norm of its product, in standard deviations."""
        unit, value, per_kg, per_piece, weight_per_piece = measures
        return {
            "usd_z": _compute_deviation(self._find_norm("value", unit, heading), value),
            "per_kg_z": _compute_deviation(self._find_norm("per_kg", unit, heading), per_kg),
            "per_piece_z": _compute_deviation(self._find_norm("per_piece", unit, heading), per_piece),
            "weight_per_piece_z": _compute_deviation(
                self._find_norm("weight_per_piece", WEIGHT_UNIT, heading), weight_per_piece
            ),
        }

    def _find_norm(self, measure: str, unit: str, heading: str) -> Norm:
        norms = self._norms.get((measure, unit))
        if norms is None:
            return None
        return norms.get(heading) or norms.get(heading[:CHAPTER_DIGITS]) or norms.get("")


def _compute_deviation(norm: Norm, amount: float) -> float:
    return (log(amount) - norm[0]) / norm[1] if norm and amount > 0.0 else nan


def _describe_amounts(c: Consignment, declared: float, measures: ValueMeasures) -> Values:
    in_dollars = measures.unit == DOLLAR
    weight, postage = _to_float(c.gross_weight_kg), _to_float(c.postage)
    return {
        "declared": _limit(declared),
        "usd": measures.value if in_dollars else nan,
        "zero_or_one": 1.0 if declared in (0.0, 1.0) else 0.0,
        "round": 1.0 if declared > 0.0 and declared % ROUND_STEP == 0.0 else 0.0,
        "missing": 1.0 if declared != declared else 0.0,
        "per_kg": _divide(declared, weight),
        "per_kg_usd": measures.per_kg if in_dollars else nan,
        "per_piece_usd": measures.per_piece if in_dollars else nan,
        "gross_weight_kg": _limit(weight),
        "weight_missing": 0.0 if weight > 0.0 else 1.0,
        "weight_round": 1.0 if weight > 0.0 and weight % 1.0 == 0.0 else 0.0,
        "pieces": _limit(_to_float(c.pieces)),
        "weight_per_piece_kg": measures.weight_per_piece,
        "postage_share": _divide(postage, declared),
        "postage_per_kg": _divide(postage, weight),
    }


def _describe_items(c: Consignment, sums: _ItemSums, declared: float) -> Values:
    return {
        "items": sums.items,
        "items_sum_share": _divide(sums.value, _to_float(c.declared_value)),
        "items_weight_share": _divide(sums.weight_kg, _to_float(c.gross_weight_kg)),
        "items_incomplete": sums.incomplete_share,
        "items_largest": sums.largest_share,
        "per_unit": _divide(declared, sums.quantity),
    }


def _get_declared_value(c: Consignment, sums: _ItemSums) -> float:
    """Return the declared value, or the sum of the items if it is missing, in the currency of the consignment."""
    return sums.value if c.declared_value is None else c.declared_value


def _compute_measures(c: Consignment, rates: ExchangeRates, declared: float) -> ValueMeasures:
    unit, value = _clean_currency(c.currency), declared
    if unit and unit != DOLLAR:
        usd = rates.convert_to_usd(declared, unit, 0 if c.received_at is None else to_day(c.received_at))
        if usd == usd:
            unit, value = DOLLAR, usd
    weight, pieces = _to_float(c.gross_weight_kg), _to_float(c.pieces)
    ratios = _divide(value, weight), _divide(value, pieces), _divide(weight, pieces)
    return ValueMeasures(unit, _limit(value), *ratios)


def _sum_items(items: Sequence[Item]) -> _ItemSums:
    value = weight = quantity = largest = 0.0
    incomplete = 0
    for item in items:
        if not item.description or None in (item.value, item.net_weight_kg, item.quantity):
            incomplete += 1
        value += _to_float(item.value)
        weight += _to_float(item.net_weight_kg)
        quantity += _to_float(item.quantity)
        largest = max(largest, item.value or 0.0)
    count = len(items)
    return _ItemSums(float(count), value, weight, quantity, incomplete / count, _divide(largest, value))


def _clean_currency(currency: str | None) -> str:
    """Return the code of a currency in capitals; '' if the text is not a code."""
    unit = currency.strip().upper() if currency else ""
    return unit if len(unit) == CURRENCY_LETTERS and unit.isalpha() else ""


def _to_float(number: float | None) -> float:
    return nan if number is None else number


def _divide(one: float, other: float) -> float:
    """Divide two numbers; NaN if the divisor is zero. The result is at most the largest float32."""
    return _limit(one / other) if other else nan


def _limit(number: float) -> float:
    """Return a number, at most the largest float32."""
    return MAX_FLOAT32 if number > MAX_FLOAT32 else number


def fit_norms(consignments: Iterable[Consignment], rates: ExchangeRates) -> dict[str, list[float]]:
    """Learn mean and deviation of the logarithms of values and weights by product from the training fold."""
    sums: dict[str, list[float]] = {}
    for c in consignments:
        declared = _get_declared_value(c, _sum_items(c.items) if c.items else _NO_ITEMS)
        unit, *amounts = _compute_measures(c, rates, declared)
        for name, amount in zip(MEASURES, amounts, strict=True):
            if amount > 0.0:
                where = f"{name}|{WEIGHT_UNIT if name == 'weight_per_piece' else unit}|"
                _add_amount(sums, where, get_goods_hs(c), log(amount))
    norms = {}
    for where, (count, total, squares) in sorted(sums.items()):
        if count >= (MIN_CONSIGNMENTS_FOR_NORM if where[-1].isdigit() else 2):
            mean = total / count
            norms[where] = [mean, max(sqrt(max(squares / count - mean * mean, 0.0)), MIN_SPREAD)]
    return norms


def _add_amount(sums: dict[str, list[float]], where: str, hs: str, amount: float) -> None:
    for product in {"", hs[:CHAPTER_DIGITS], hs[:HEADING_DIGITS]}:
        total = sums.setdefault(where + product, [0.0, 0.0, 0.0])
        total[0] += 1.0
        total[1] += amount
        total[2] += amount * amount
