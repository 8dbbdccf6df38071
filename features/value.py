"""Features of value and weight: declared amounts, their consistency, and their deviation from the norm of the product.

Norms are learnt from the training fold on logarithms: by HS heading, else by chapter, else over all products. Amounts are
compared in dollars if their currency has a rate. Else they are compared with amounts of the same currency, or without currency.
A kernel computes the features and the amounts; `fit_norms` learns from the amounts of the kernel.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import log, nan, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.currency import PEGGED_UNITS_PER_DOLLAR, ExchangeRates
from features.items import (
    HS_DIGITS,
    INCOMPLETE,
    KINDS,
    LARGEST_VALUE,
    SUM_OF_QUANTITIES,
    SUM_OF_VALUES,
    SUM_OF_WEIGHTS,
)
from features.normalization.compiling import START, Array, Bool, Int, Tables, kernel
from features.normalization.letters import ALPHABETIC, KNOWN, NEEDS_PAGE, PAGE_BITS, UPPER, read_letters
from features.normalization.record_kernels import NOTHING, NUMBER, find_fields, get_number, has_text
from features.normalization.text_codes import TextCodes, find_code
from features.spec import Feature

# Largest finite float32, the type of feature rows.
MAX_FLOAT32 = 3.4028e38
# A heading or chapter with fewer consignments gets no norm.
MIN_CONSIGNMENTS_FOR_NORM = 30
# Minimum standard deviation of logarithms. A smaller one means that nearly all values were equal, not that the next value is an outlier.
MIN_SPREAD = 0.1
DOLLAR = "USD"
WEIGHT_UNIT = "KG"
CURRENCY_LETTERS = 3
ROUND_STEP = 10.0
HEADING_DIGITS, CHAPTER_DIGITS = 4, 2
MEASURES = ("value", "per_kg", "per_piece", "weight_per_piece")
"""The amounts that have norms: the declared value in total, per kilogram and per piece, and the kilograms of a piece."""
NORM_VALUES = 2  # mean and standard deviation of natural logarithms
UNIT_AT = len(MEASURES)
MEASURE_COLUMNS = UNIT_AT + CURRENCY_LETTERS
"""The measures of a row: the amounts, NaN if missing, and the letters of their currency as code points, 0 if it has none."""

VALUE_FEATURES = (
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

(
    DECLARED, USD, USD_Z, ZERO_OR_ONE, ROUND, MISSING, PER_KG, PER_KG_USD, PER_KG_Z, PER_PIECE_USD, PER_PIECE_Z, WEIGHT, WEIGHT_MISSING,
    WEIGHT_ROUND, PIECES, WEIGHT_PER_PIECE, WEIGHT_PER_PIECE_Z, POSTAGE_SHARE, POSTAGE_PER_KG, FIRST_OF_ITEMS, ITEMS_SUM_SHARE,
    ITEMS_WEIGHT_SHARE, ITEMS_INCOMPLETE, ITEMS_LARGEST, PER_UNIT,
) = range(len(VALUE_FEATURES))  # fmt: skip
VALUE_COUNT = len(VALUE_FEATURES)
RECEIVED_AT, DECLARED_VALUE, CURRENCY, GROSS_WEIGHT, PIECE_COUNT, POSTAGE = find_fields(
    "received_at", "declared_value", "currency", "gross_weight_kg", "pieces", "postage"
)
VALUE, VALUE_PER_KG, VALUE_PER_PIECE, KG_PER_PIECE = map(np.int64, range(len(MEASURES)))
SEPARATOR = ord("|")
DOLLAR_LETTERS, WEIGHT_LETTERS = tuple(map(ord, DOLLAR)), tuple(map(ord, WEIGHT_UNIT))
WEIGHT_SIZE = np.int64(len(WEIGHT_UNIT))
PEGGED = tuple(PEGGED_UNITS_PER_DOLLAR.values())
CURRENCY_LIST, NORM_LIST = map(np.int64, range(2))
"""The lists of a `TextCodes` that the kernel reads: currencies, and units of measures with their products."""


class ValueTables(NamedTuple):
    """The norms and rates that the kernel reads, and the two lists of texts that lead to them.

    Attributes
    ----------
    norms : float64 array, (norms, measures, NORM_VALUES)
        NaN if a measure has no norm.
    rates : float64 array, (days, 1 + currencies)
        The day of publication, ascending, and US dollars per unit.
    currencies : dict
        Currency to its code: those of PEGGED, then the columns of `rates`.
    products : dict
        `unit|product` to the row of `norms`.
    """

    norms: NDArray[np.float64]
    rates: NDArray[np.float64]
    currencies: dict[str, int]
    products: dict[str, int]


def build_value_tables(rates: ExchangeRates, norms: Mapping[str, Sequence[float]]) -> ValueTables:
    """Build the tables from exchange rates and from the result of `fit_norms`."""
    products: dict[str, int] = {}
    for where in norms:
        products.setdefault(where.partition("|")[2], len(products))
    rows = np.full((len(products), len(MEASURES), NORM_VALUES), nan)
    for where, norm in norms.items():
        measure, _, product = where.partition("|")
        rows[products[product], MEASURES.index(measure)] = norm
    arrays = rates.to_arrays()
    usd = np.concatenate([arrays["rate_days"][:, None], arrays["rate_usd"]], axis=1)
    currencies = {name: len(PEGGED) + place for place, name in enumerate(arrays["rate_currencies"].tolist())}
    currencies |= {name: place for place, name in enumerate(PEGGED_UNITS_PER_DOLLAR)}
    return ValueTables(rows, usd.astype(np.float64), currencies, products)


@kernel
def write_values(
    tables: Tables, data: Array, codes: TextCodes, norms: Array, rates: Array, row: Array, measures: Array
) -> Int:
    """Write the features of value and weight, and the measures of the row. Return 0, or what is needed first."""
    declared = get_number(tables, DECLARED_VALUE)
    if tables.kinds[DECLARED_VALUE] == NOTHING:
        declared = tables.item_sums[SUM_OF_VALUES] if tables.item_counts[KINDS] > 0 else np.nan
    size = _read_unit(tables, data)
    if size < 0:
        return size
    size = _write_measures(tables, codes, rates, declared, size, measures)
    _write_amounts(tables, declared, measures, row)
    _write_deviations(tables, codes, norms, size, measures, row)
    _write_item_values(tables, declared, row)
    return 0


@kernel
def _read_unit(tables: Tables, data: Array) -> Int:
    """Write the currency in capitals to the beginning of `letters`. Return its size, 0 if it is not the code of a currency, or NEEDS_PAGE."""
    if not has_text(tables, CURRENCY):
        return 0
    start, end = read_letters(tables, data, tables.fields[CURRENCY], UPPER, START)
    if start < 0:
        return start
    if end - start != CURRENCY_LETTERS:
        return 0
    for place in range(CURRENCY_LETTERS):
        letter = int(tables.letters[start + place])
        if tables.latin[letter] & KNOWN == 0:
            tables.page[0] = letter >> PAGE_BITS
            return NEEDS_PAGE
        if tables.latin[letter] & ALPHABETIC == 0:
            return 0
        tables.letters[place] = letter
    return CURRENCY_LETTERS


@kernel
def _is_dollar(tables: Tables, size: Int) -> Bool:
    for place in range(size):
        if tables.letters[place] != DOLLAR_LETTERS[place]:
            return False
    return size > 0


@kernel
def _write_measures(
    tables: Tables, codes: TextCodes, rates: Array, declared: float, size: Int, measures: Array
) -> Int:
    """Write the measures, in dollars if the currency has a rate. Return the size of their unit, which is in `letters`."""
    value = declared
    if size > 0 and not _is_dollar(tables, size):
        usd = _convert_to_usd(tables, codes, rates, declared, size)
        if usd == usd:
            value = usd
            for place in range(size):
                tables.letters[place] = DOLLAR_LETTERS[place]
    weight, pieces = get_number(tables, GROSS_WEIGHT), get_number(tables, PIECE_COUNT)
    measures[VALUE] = _limit(value)
    measures[VALUE_PER_KG] = _divide(value, weight)
    measures[VALUE_PER_PIECE] = _divide(value, pieces)
    measures[KG_PER_PIECE] = _divide(weight, pieces)
    for place in range(CURRENCY_LETTERS):
        measures[UNIT_AT + place] = float(tables.letters[place]) if size > 0 else 0.0
    return size


@kernel
def _convert_to_usd(tables: Tables, codes: TextCodes, rates: Array, amount: float, size: Int) -> Any:
    """Convert an amount at the last rate published before the day. NaN for an unknown currency, and for days before the first rate."""
    code = find_code(codes, CURRENCY_LIST, tables.letters, START, size)
    if 0 <= code < len(PEGGED):
        return amount / PEGGED[code]
    day = tables.numbers[RECEIVED_AT] if tables.kinds[RECEIVED_AT] == NUMBER else 0.0
    first, after = 0, rates.shape[0]
    while first < after:
        middle = (first + after) // 2
        if rates[middle, 0] < day:
            first = middle + 1
        else:
            after = middle
    if code < 0 or first == 0:
        return np.nan
    return amount * rates[first - 1, 1 + code - len(PEGGED)]


@kernel
def _write_amounts(tables: Tables, declared: float, measures: Array, row: Array) -> None:
    weight, postage = get_number(tables, GROSS_WEIGHT), get_number(tables, POSTAGE)
    in_dollars = measures[UNIT_AT] != 0.0
    for place in range(CURRENCY_LETTERS):
        in_dollars = in_dollars and measures[UNIT_AT + place] == DOLLAR_LETTERS[place]
    row[DECLARED] = _limit(declared)
    row[USD] = measures[VALUE] if in_dollars else np.nan
    row[ZERO_OR_ONE] = 1.0 if declared == 0.0 or declared == 1.0 else 0.0
    row[ROUND] = 1.0 if declared > 0.0 and declared % ROUND_STEP == 0.0 else 0.0
    row[MISSING] = 1.0 if declared != declared else 0.0
    row[PER_KG] = _divide(declared, weight)
    row[PER_KG_USD] = measures[VALUE_PER_KG] if in_dollars else np.nan
    row[PER_PIECE_USD] = measures[VALUE_PER_PIECE] if in_dollars else np.nan
    row[WEIGHT] = _limit(weight)
    row[WEIGHT_MISSING] = 0.0 if weight > 0.0 else 1.0
    row[WEIGHT_ROUND] = 1.0 if weight > 0.0 and weight % 1.0 == 0.0 else 0.0
    row[PIECES] = _limit(get_number(tables, PIECE_COUNT))
    row[WEIGHT_PER_PIECE] = measures[KG_PER_PIECE]
    row[POSTAGE_SHARE] = _divide(postage, declared)
    row[POSTAGE_PER_KG] = _divide(postage, weight)


@kernel
def _write_deviations(
    tables: Tables, codes: TextCodes, norms: Array, size: Int, measures: Array, row: Array
) -> None:
    heading, chapter, whole = _find_norms(tables, codes, size)
    row[USD_Z] = _compute_deviation(norms, heading, chapter, whole, VALUE, measures)
    row[PER_KG_Z] = _compute_deviation(norms, heading, chapter, whole, VALUE_PER_KG, measures)
    row[PER_PIECE_Z] = _compute_deviation(norms, heading, chapter, whole, VALUE_PER_PIECE, measures)
    for place in range(len(WEIGHT_LETTERS)):
        tables.letters[place] = WEIGHT_LETTERS[place]
    heading, chapter, whole = _find_norms(tables, codes, WEIGHT_SIZE)
    row[WEIGHT_PER_PIECE_Z] = _compute_deviation(norms, heading, chapter, whole, KG_PER_PIECE, measures)


@kernel
def _find_norms(tables: Tables, codes: TextCodes, size: Int) -> tuple[Int, Int, Int]:
    """Return the rows of the norms of the heading, the chapter and all products in the unit that is in `letters`; -1 if there is none."""
    tables.letters[size] = SEPARATOR
    whole = find_code(codes, NORM_LIST, tables.letters, START, size + 1)
    digits = min(tables.item_counts[HS_DIGITS], HEADING_DIGITS)
    for place in range(digits):
        tables.letters[size + 1 + place] = tables.hs[place]
    heading = find_code(codes, NORM_LIST, tables.letters, START, size + 1 + digits)
    chapter = find_code(codes, NORM_LIST, tables.letters, START, size + 1 + min(digits, CHAPTER_DIGITS))
    return heading, chapter, whole


@kernel
def _compute_deviation(
    norms: Array, heading: Int, chapter: Int, whole: Int, measure: Int, measures: Array
) -> Any:
    """Compute the deviation of an amount's logarithm from the norm of its product, in standard deviations."""
    amount = measures[measure]
    if not amount > 0.0:
        return np.nan
    for product in (heading, chapter, whole):
        if product >= 0 and norms[product, measure, 1] == norms[product, measure, 1]:
            return (np.log(amount) - norms[product, measure, 0]) / norms[product, measure, 1]
    return np.nan


@kernel
def _write_item_values(tables: Tables, declared: float, row: Array) -> None:
    kinds, sums = tables.item_counts[KINDS], tables.item_sums
    if kinds <= 0:
        for place in range(FIRST_OF_ITEMS, VALUE_COUNT):
            row[place] = np.nan
        return
    row[FIRST_OF_ITEMS] = kinds
    row[ITEMS_SUM_SHARE] = _divide(sums[SUM_OF_VALUES], get_number(tables, DECLARED_VALUE))
    row[ITEMS_WEIGHT_SHARE] = _divide(sums[SUM_OF_WEIGHTS], get_number(tables, GROSS_WEIGHT))
    row[ITEMS_INCOMPLETE] = tables.item_counts[INCOMPLETE] / kinds
    row[ITEMS_LARGEST] = _divide(sums[LARGEST_VALUE], sums[SUM_OF_VALUES])
    row[PER_UNIT] = _divide(declared, sums[SUM_OF_QUANTITIES])


@kernel
def _divide(one: float, other: float) -> Any:
    """Divide two numbers; NaN if the divisor is zero."""
    return np.nan if other == 0.0 else _limit(one / other)


@kernel
def _limit(number: float) -> Any:
    """Return a number, at most the largest float32."""
    return MAX_FLOAT32 if number > MAX_FLOAT32 else number


def fit_norms(measures: NDArray[np.float64], hs_codes: Iterable[str]) -> dict[str, list[float]]:
    """Learn the norms of values and weights by product.

    Parameters
    ----------
    measures : float64 array, (n, MEASURE_COLUMNS)
        From `features.rows.described_rows.measure_rows`, of the training fold only.
    hs_codes : iterable of str, (n,)
        Results of `get_goods_hs`.

    Returns
    -------
    dict
        `measure|unit|heading`, `measure|unit|chapter` or `measure|unit|` to mean and standard deviation of the natural
        logarithm, over the consignments that have the measure above zero.
    """
    sums: dict[str, list[float]] = {}
    for row, hs in zip(measures.tolist(), hs_codes, strict=True):
        unit = "".join(chr(int(letter)) for letter in row[UNIT_AT:] if letter)
        for name, amount in zip(MEASURES, row, strict=False):
            if amount > 0.0:
                where = f"{name}|{WEIGHT_UNIT if name == 'weight_per_piece' else unit}|"
                _add_amount(sums, where, hs, log(amount))
    return {
        where: _compute_mean_and_spread(*total)
        for where, total in sorted(sums.items())
        if _is_enough(where, total)
    }


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
